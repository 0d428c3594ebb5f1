"""Hosts made by the test: a network whose hosts can be cut off from each other in one direction or
both, and small disks.

The test process moves into namespaces of its own and is the router of the network; each host is
another network namespace with one link to it. What the router does not forward does not arrive, and
nobody is told: exactly what a cut is. Nothing of it has a name, so that nothing is left behind, and no
packet leaves it. Needs root, iproute2, mount and nsenter.
"""
import ctypes
import os
import subprocess
import threading

from lib import process

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
ROUTER = "10.99.0.254"


def _unshare(what):
    if _libc.unshare(what) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"no namespaces: {os.strerror(error)}; this test needs root")


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stdout.strip()}")


def fill(path):
    """Takes the rest of a disk."""
    with open(path, "wb", buffering=0) as file:
        size = 1 << 20
        while size >= 4096:
            try:
                file.write(b"\xff" * size)
            except OSError:
                size //= 2


class Host:
    """One address. What runs here is started with `wrapper` before its command."""

    def __init__(self, number):
        self.number, self.address = number, f"10.99.{1 + number // 250}.{1 + number % 250}"
        made = []

        def make():
            try:
                _unshare(_CLONE_NEWNET)
                made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                made.append(error)

        maker = threading.Thread(target=make)
        maker.start()
        maker.join()
        if isinstance(made[0], OSError):
            raise made[0]
        self.descriptor = made[0]
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        self.wrapper = ["nsenter", f"--net={self.path}", "--"]
        link = f"host{number}"
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "wire", "netns", self.path)
        run("ip", "link", "set", link, "up")
        run("ip", "route", "add", self.address, "dev", link, "src", ROUTER)
        run(*self.wrapper, "ip", "link", "set", "lo", "up")
        run(*self.wrapper, "ip", "addr", "add", self.address, "dev", "wire", "peer", ROUTER)
        run(*self.wrapper, "ip", "link", "set", "wire", "up")
        run(*self.wrapper, "ip", "route", "add", "default", "via", ROUTER)

    def close(self):
        """Takes it away; nothing runs there any more."""
        run("ip", "link", "del", f"host{self.number}")
        os.close(self.descriptor)

    def __repr__(self):
        return f"host {self.number}"


class Network:
    """To be made once, before the test has threads: these would stay outside."""

    def __init__(self):
        _unshare(_CLONE_NEWNS | _CLONE_NEWNET)
        run("mount", "--make-rprivate", "/")
        run("ip", "link", "set", "lo", "up")
        run("ip", "addr", "add", ROUTER, "dev", "lo")
        for name in ("ip_forward", "conf/all/rp_filter", "conf/default/rp_filter"):
            with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
                file.write("1" if name == "ip_forward" else "0")
        self.made, self.cuts = 0, set()

    def host(self):
        self.made += 1
        return Host(self.made)

    def cut_one_way(self, source, target):
        """Nothing from `source` arrives at `target` any more."""
        if (source, target) not in self.cuts:
            self._rule("add", source, target)
            self.cuts.add((source, target))

    def cut(self, one, other):
        self.cut_one_way(one, other)
        self.cut_one_way(other, one)

    def heal(self):
        for source, target in self.cuts:
            self._rule("del", source, target)
        self.cuts = set()

    @staticmethod
    def small_disk(size):
        """A folder on a disk of so many bytes."""
        folder = process.new_path("disk")
        os.mkdir(folder)
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder)
        process.at_clean_up(lambda: run("umount", "-l", folder))
        return folder

    @staticmethod
    def _rule(verb, source, target):
        run("ip", "rule", verb, "from", source.address, "to", target.address, "blackhole")
