"""What the measure-* scripts share: a broker to start, load and stop."""
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from lib import messages, remoting  # noqa: E402  the independent encoder of the tests


class Broker:
    """A standalone broker on free ports of loopback, with its store below `folder`."""

    def __init__(self, build, folder, more=(), wrapper=()):
        self.build, self.folder = os.path.abspath(build), folder
        self.more, self.wrapper = list(more), list(wrapper)
        self.port = self.names = None
        self.process = None
        os.makedirs(folder, exist_ok=True)

    def start(self, patience=60):
        """Seconds from exec to the first accepted send."""
        files = [os.path.join(self.folder, name) for name in ("port", "names")]
        for path in files:
            if os.path.exists(path):
                os.unlink(path)
        log = open(os.path.join(self.folder, "log"), "ab")
        started = time.monotonic()
        self.process = subprocess.Popen(
            [*self.wrapper, os.path.join(self.build, "broker", "tern-broker"), "--standalone",
             "-o", "listenPort=0", "-o", f"portFile={files[0]}", "-o", "namesrvListenPort=0",
             "-o", f"namesrvPortFile={files[1]}", "-o", f"storePathRootDir={self.folder}/store",
             *self.more], stderr=log, stdout=log)
        ports = []
        for path in files:
            while not (os.path.exists(path) and os.path.getsize(path)):
                if self.process.poll() is not None:
                    sys.exit(f"the broker ended with {self.process.returncode}:\n" +
                             open(log.name, encoding="utf-8").read()[-2000:])
                if time.monotonic() - started > patience:
                    sys.exit(f"the broker wrote no {path} within {patience} s")
                time.sleep(0.0005)
            ports.append(int(open(path, encoding="ascii").read()))
        self.port, self.names = ports
        with remoting.Client(self.port) as client:
            messages.send(client, "Measure", b"first")
        return time.monotonic() - started

    def stop(self, how):
        began = time.monotonic()
        self.process.send_signal(how)
        self.process.wait()
        return time.monotonic() - began

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

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
