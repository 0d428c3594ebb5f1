"""What a service manager sees of a start, a life and a stop, and what the files of deploy/ promise."""
import configparser
import os
import re
import signal
import socket

from lib import claims, process
from lib.claims import contains, equal, true

RUNS_SANITIZED = "tsan"

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Manager:
    """The socket of a service manager."""

    def __init__(self, watchdog_usec=None):
        path = process.new_path("notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(60)
        self.env = {"NOTIFY_SOCKET": path}
        if watchdog_usec:
            self.env["WATCHDOG_USEC"] = str(watchdog_usec)

    def told(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def told_of(self, key):
        while True:
            found = self.told()
            if key in found:
                return found


def start_namesrv(manager):
    server = process.Server("namesrv", [process.NAMESRV, "-o", "listenPort=0", "-o",
                                        f"kvConfigPath={process.new_path('kv')}"], env=manager.env)
    return server, manager.told_of("READY")


@claims.claim
def a_broker_is_ready_when_its_store_is_recovered_and_its_port_answers():
    manager = Manager()
    broker = process.Broker(ready=False, env=manager.env)
    contains(manager.told()["STATUS"], f"recovering the store {broker.store}")
    ready = manager.told()
    equal(ready["READY"], "1")
    address = re.search(r"serves on (\S+):(\d+)$", ready["STATUS"])
    true(address, ready)
    socket.create_connection((address[1], int(address[2])), timeout=60).close()
    broker.wait_ready()
    equal(int(address[2]), broker.port)
    broker.signal(signal.SIGTERM)
    equal(manager.told()["STOPPING"], "1")
    broker.stop()


@claims.claim
def a_name_server_is_ready_when_its_port_answers():
    manager = Manager()
    server, ready = start_namesrv(manager)
    address = re.search(r"serves on (\S+) port (\d+)$", ready["STATUS"])
    socket.create_connection((address[1], int(address[2])), timeout=60).close()
    server.signal(signal.SIGTERM)
    equal(manager.told()["STOPPING"], "1")
    server.stop()


@claims.claim
def signs_of_life_come_again_and_again_when_they_are_wanted():
    manager = Manager(watchdog_usec=200000)
    broker = process.Broker(env=manager.env, ioThreads=2)
    for _ in range(3):
        manager.told_of("WATCHDOG")
    broker.stop()
    manager = Manager(watchdog_usec=200000)
    server, _ = start_namesrv(manager)
    for _ in range(3):
        manager.told_of("WATCHDOG")
    server.stop()


@claims.claim
def a_broker_that_cannot_start_is_never_ready():
    holder = process.Broker()
    manager = Manager()
    second = process.Broker(ready=False, env=manager.env, store=holder.store)
    second.wait_end(3)
    contains(manager.told()["STATUS"], "recovering")
    manager.socket.setblocking(False)
    try:
        raise claims.Broken(f"told {manager.told()}")
    except BlockingIOError:
        pass
    holder.stop()


# --- unit files ---

def unit(name):
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str
    with open(os.path.join(ROOT, "deploy", "systemd", name), encoding="utf-8") as file:
        parser.read_file(file)
    return parser


UNITS = {"tern-broker@.service": process.BROKER, "tern-namesrv.service": process.NAMESRV}


@claims.claim
def a_configuration_error_is_no_reason_to_start_again():
    for name, program in UNITS.items():
        service = unit(name)["Service"]
        final = [int(code) for code in service["RestartPreventExitStatus"].split()]
        for arguments in (["-o", "listenPort=eighty"], ["-c", "/no/such/file"], ["--no-such"]):
            code, _, err = process.run_program([program, *arguments])
            true(code in final, f"{name}: {arguments}: {code} not in {final} ({err})")
    # What may be different the next time is: a port that somebody has.
    taken = socket.create_server(("127.0.0.1", 0))
    code, _, err = process.run_program([process.NAMESRV, "-o",
                                        f"listenPort={taken.getsockname()[1]}"])
    true(code not in final, f"{code} ({err})")
    taken.close()


@claims.claim
def an_error_of_the_configuration_has_the_level_of_one_in_the_journal():
    for program in UNITS.values():
        for journal, expected in ((True, "<3>tern-"), (False, "tern-")):
            reader, writer = os.pipe()
            at = os.fstat(writer)
            stream = f"{at.st_dev}:{at.st_ino}" if journal else f"{at.st_dev}:{at.st_ino + 1}"
            command = ["sh", "-c", f"exec '{program}' -o listenPort=eighty 2>&{writer}"]
            process.subprocess.run(command, pass_fds=[writer], check=False,
                                   env=dict(os.environ, JOURNAL_STREAM=stream))
            os.close(writer)
            text = os.read(reader, 65536).decode()
            os.close(reader)
            true(text.startswith(expected), f"{program}: {text}")


@claims.claim
def the_units_are_well_formed_and_hardly_exposed():
    for name in UNITS:
        path = os.path.join(ROOT, "deploy", "systemd", name)
        code, out, err = process.run_program(
            ["systemd-analyze", "security", "--offline=true", "--threshold=12", "--no-pager", path])
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", out)
        true(found, f"{name}: {out[-2000:]}{err}")
        true(code == 0 and float(found[1]) <= 1.2, f"{name}: exposure {found[1]}\n{out}")
        # Names of programs, users and targets are those of an installed system.
        code, out, err = process.run_program(["systemd-analyze", "verify", "--man=no", path])
        unknown = [line for line in (out + err).splitlines()
                   if os.path.basename(path) in line and ("Unknown" in line or "Failed" in line
                                                          or "Invalid" in line)]
        equal(unknown, [], name)


@claims.claim
def the_example_configurations_are_accepted_without_a_complaint():
    folder = os.path.join(ROOT, "deploy", "examples")
    found = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names
                   if name.endswith(".conf"))
    true(found, folder)
    for path in found:
        program = process.NAMESRV if os.path.basename(path) == "namesrv.conf" else process.BROKER
        equal(process.run_program([program, "--check", "-c", path]),
              (0, "the configuration is fine\n", ""), path)


if __name__ == "__main__":
    claims.run()
