"""What the measure-* scripts share: a broker to start, load and stop."""
import json
import os
import random
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from lib import admin, messages, remoting  # noqa: E402  the independent encoder of the tests


def free_port():
    """A port P with P-2, P and P+1 free just now, below those of outgoing connections."""
    while True:
        port = random.randrange(12000, 31000)
        try:
            for p in (port - 2, port, port + 1):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", p))
        except OSError:
            continue
        return port


class Broker:
    """A broker on loopback, with its store below `folder`; standalone, unless `names` is the port of a
    name server. `port`: any free one unless it is given."""

    def __init__(self, build, folder, more=(), wrapper=(), names=None, port=0):
        self.build, self.folder = os.path.abspath(build), folder
        self.more, self.wrapper = list(more), list(wrapper)
        self.asked_port, self.given_names = port, names
        self.port = self.names = None
        self.process = None
        os.makedirs(folder, exist_ok=True)

    def start(self, patience=60):
        """Seconds from exec to the first accepted send."""
        started = time.monotonic()
        self.launch()
        self.wait_ports(patience)
        with remoting.Client(self.port) as client:
            messages.send(client, "Measure", b"first")
        return time.monotonic() - started

    def launch(self):
        self.port_file, self.names_file = (os.path.join(self.folder, n) for n in ("port", "names"))
        for path in (self.port_file, self.names_file):
            if os.path.exists(path):
                os.unlink(path)
        if self.given_names:
            names = ["-n", f"127.0.0.1:{self.given_names}"]
        else:
            names = ["--standalone", "-o", "namesrvListenPort=0", "-o",
                     f"namesrvPortFile={self.names_file}"]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, os.path.join(self.build, "broker", "tern-broker"), *names,
                 "-o", f"listenPort={self.asked_port}", "-o", f"portFile={self.port_file}",
                 "-o", f"storePathRootDir={self.folder}/store", *self.more],
                stderr=log, stdout=log)

    def wait_ports(self, patience=60):
        self.port = self._wait_port(self.port_file, patience)
        self.names = self.given_names or self._wait_port(self.names_file, patience)

    def _wait_port(self, path, patience):
        began = time.monotonic()
        while not (os.path.exists(path) and os.path.getsize(path)):
            if self.process.poll() is not None:
                with open(os.path.join(self.folder, "log"), encoding="utf-8") as log:
                    sys.exit(f"the broker ended with {self.process.returncode}:\n" +
                             log.read()[-2000:])
            if time.monotonic() - began > patience:
                sys.exit(f"the broker wrote no {path} within {patience} s")
            time.sleep(0.0005)
        with open(path, encoding="ascii") as file:
            return int(file.read())

    def stop(self, how):
        began = time.monotonic()
        self.process.send_signal(how)
        self.process.wait()
        return time.monotonic() - began

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self):
        """User and system time of all its threads so far, in steps of 10 ms."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def info(self):
        with remoting.Client(self.port) as client:
            return admin.runtime_info(client)

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def start_bench(self, command, *args):
        return subprocess.Popen(
            [os.path.join(self.build, "tools", "tern-bench"), command, "-n",
             f"127.0.0.1:{self.names}", "--json", *args], stdout=subprocess.PIPE)

    def bench(self, command, *args):
        done = self.start_bench(command, *args)
        text = done.communicate()[0]
        if done.returncode != 0:
            sys.exit(f"tern-bench {command} {' '.join(args)}: exit status {done.returncode}")
        return json.loads(text)
