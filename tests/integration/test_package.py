"""The Debian package: made, installed, used and purged, in a copy of this system that is thrown away.

The copy is an overlay in a mount namespace, so the package manager, the maintainer scripts and the user
database are the real ones. There is no systemd inside: what a unit says is done by hand, as its user.
"""
import configparser
import glob
import os
import subprocess

from lib import claims, process
from lib.claims import contains, equal, true

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPY = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=0755 none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" none "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/run"
echo ready
read line || true
"""


class Copy:
    """This system, to be changed at will."""

    def __init__(self):
        self.at = process.new_path("copy")
        os.mkdir(self.at)
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--", "sh", "-c", COPY, "sh", self.at], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.holder.stdout.readline()
        if line != "ready\n":
            raise AssertionError(f"no copy of the system: {line}{self.holder.stdout.read()}")

    def command(self, *arguments):
        return ["nsenter", "-t", str(self.holder.pid), "-m", "--", "chroot", f"{self.at}/root",
                "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                *arguments]

    def run(self, *arguments, code=0):
        found, out, err = process.run_program(self.command(*arguments), seconds=300)
        equal(found, code, f"{' '.join(arguments)}: {out[-3000:]}{err[-3000:]}")
        return out

    def write(self, path, text, mode="0644"):
        process.run_program(self.command("install", "-m", mode, "-g", "ternmq", "/dev/stdin", path),
                            stdin=text)

    def gone(self):
        self.holder.stdin.close()
        self.holder.wait()


def service(copy, name, instance=""):
    """What systemd would do for a unit: its folder, its user, its environment, its ExecStart line."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(copy.run("cat", f"/lib/systemd/system/{name}"))
    unit = {key: value.replace("%i", instance) for key, value in parser["Service"].items()}
    state = f"/var/lib/{unit['StateDirectory']}"
    copy.run("mkdir", "-p", os.path.dirname(state))
    copy.run("install", "-d", "-o", unit["User"], "-g", unit["Group"], "-m",
             unit["StateDirectoryMode"], state)
    return process.Server(name, copy.command(
        "setpriv", f"--reuid={unit['User']}", f"--regid={unit['Group']}", "--clear-groups",
        "--no-new-privs", "--bounding-set=-all", "--pdeathsig=KILL",
        "env", unit["Environment"], *unit["ExecStart"].split()))


def port(copy, server, path):
    def written():
        true(server.running(), server.log())
        code, out, _ = process.run_program(copy.command("cat", path))
        return int(out) if code == 0 and out.endswith("\n") else 0
    return claims.until(written, f"{path} in {server.log()}")


@claims.claim
def the_package_is_installed_used_upgraded_and_purged_without_touching_messages():
    code, out, err = process.run_program(
        [os.path.join(ROOT, "scripts", "build-deb"), "-o", process.folder(), process.BUILD],
        seconds=300)
    equal(code, 0, out + err)
    package, = glob.glob(os.path.join(process.folder(), "*.deb"))
    copy = Copy()
    copy.run("dpkg", "-i", package)

    equal(copy.run("getent", "passwd", "ternmq").split(":")[5:],
          ["/var/lib/ternmq", "/usr/sbin/nologin\n"])
    equal(copy.run("stat", "-c", "%U %G %a", "/etc/ternmq"), "root ternmq 750\n")
    contains(copy.run("dpkg-query", "-W", "-f", "${Conffiles}", "ternmq"),
             "/etc/ternmq/namesrv.conf")
    # Nothing has been started, and nothing will be at a boot.
    equal(copy.run("find", "/var/lib/ternmq"), "/var/lib/ternmq\n")
    equal(copy.run("find", "/etc/systemd/system", "-name", "*tern-*"), "")
    # As it is, the name server serves this machine alone.
    contains(copy.run("tern-namesrv", "-c", "/etc/ternmq/namesrv.conf", "--print-config"),
             "127.0.0.1")
    for name in ("tern-namesrv.service", "tern-broker@a.service"):
        copy.run("systemd-analyze", "verify", "--man=no", f"/lib/systemd/system/{name}")

    copy.run("sed", "-i", "s/^listenPort=.*/listenPort=0/", "/etc/ternmq/namesrv.conf")
    copy.run("sh", "-c", "echo portFile=/var/lib/ternmq/namesrv/port >>/etc/ternmq/namesrv.conf")
    namesrv = service(copy, "tern-namesrv.service")
    address = f"127.0.0.1:{port(copy, namesrv, '/var/lib/ternmq/namesrv/port')}"
    copy.write("/etc/ternmq/broker-a.conf", "\n".join((
        "brokerName=broker-a", "listenPort=0", f"namesrvAddr={address}",
        "mappedFileSizeCommitLog=8388608", "portFile=/var/lib/ternmq/broker-a/port", "")), "0640")
    broker = service(copy, "tern-broker@.service", "a")
    port(copy, broker, "/var/lib/ternmq/broker-a/port")
    copy.run("ternctl", "topic", "create", "orders", "-n", address)
    copy.run("ternctl", "send", "orders", "hello", "-n", address)
    contains(copy.run("ternctl", "consume", "orders", "--from", "first", "--max", "1", "--timeout",
                      "60", "-n", address), "hello")

    # An upgrade leaves what runs alone, and what people wrote.
    copy.run("dpkg", "-i", package)
    copy.run("ternctl", "send", "orders", "again", "-n", address)
    contains(copy.run("cat", "/etc/ternmq/namesrv.conf"), "listenPort=0")
    broker.stop()
    namesrv.stop()

    copy.run("dpkg", "--purge", "ternmq")
    left = copy.run("find", "/etc/ternmq", "/usr/bin", "/lib/systemd/system", "/usr/lib/sysusers.d",
                    "/usr/lib/tmpfiles.d", "-path", "*/tern*")
    equal(left, "/etc/ternmq\n/etc/ternmq/broker-a.conf\n")
    copy.run("test", "-d", "/var/lib/ternmq/broker-a/store/commitlog")
    copy.gone()


if __name__ == "__main__":
    claims.run()
