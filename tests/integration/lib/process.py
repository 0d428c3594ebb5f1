"""Servers under test: each with ports and a folder of its own, and gone at the end whatever happens.

A server that was started must end in a way that the test asked for: stop() expects exit code 0 after
SIGTERM, kill() is the only other end. Anything else, and any report of a sanitizer in the log, is
remembered and makes the file fail.
"""
import atexit
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BUILD = os.environ.get("TERN_BUILD", "")
BROKER = os.path.join(BUILD, "broker", "tern-broker")
NAMESRV = os.path.join(BUILD, "namesrv", "tern-namesrv")
CTL = os.path.join(BUILD, "tools", "ternctl")
BENCH = os.path.join(BUILD, "tools", "tern-bench")
SANITIZED = "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ

_REPORT = re.compile(r"(Sanitizer: |runtime error: |WARNING: ThreadSanitizer|Assertion .* failed)")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

_folder = None
_servers = []
_undo = []
_complaints = []
_counter = 0
_claimed = []


def folder():
    """The folder of this test, removed at the end."""
    global _folder
    if not BUILD:
        raise SystemExit("TERN_BUILD is not set: name a meson build folder")
    if _folder is None:
        _folder = tempfile.mkdtemp(prefix="integration-")
    return _folder


def new_path(name):
    """A path below folder() that nobody uses yet."""
    global _counter
    _counter += 1
    return os.path.join(folder(), f"{name}-{_counter}")


def at_clean_up(undo):
    """Called when the servers are gone and before the folder goes; the last one first."""
    _undo.append(undo)


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Whoever runs the tests may ignore it (nohup); servers would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _claim_ten(ten):
    """True: no other test program that runs, nor this one, has these ten ports or will get them."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0tern-test-ports-{ten}")
    except OSError:
        name.close()
        return False
    _claimed.append(name)
    return True


def free_port():
    """P with P - 2 up to P + 2, below the ports that the system gives to clients. They belong to this
    program while it lives, so that a server may be started again where it was, or nobody listens."""
    while True:
        ten = random.randrange(1200, 3100)
        port = 10 * ten + 5
        held = []
        try:
            for each in range(port - 2, port + 3):
                held.append(socket.socket())
                held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held[-1].bind(("127.0.0.1", each))
            if _claim_ten(ten):
                return port
        except OSError:
            continue
        finally:
            for one in held:
                one.close()


class Server:
    """One process. `port_files` maps a name to the file that the process writes a port to."""

    def __init__(self, name, command, port_files=None, env=None, wrapper=None):
        self.name = name
        self.command = (wrapper or []) + command
        self.port_files = port_files or {}
        self.ports = {}
        self.log_path = new_path(name) + ".log"
        self.expected_end = None
        for path in self.port_files.values():
            if os.path.exists(path):
                os.unlink(path)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=dict(os.environ, **(env or {})), preexec_fn=_die_with_parent)
        self.pid = self.process.pid
        _servers.append(self)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def running(self):
        return self.process.poll() is None

    def wait_ready(self, seconds=60):
        end = time.monotonic() + seconds
        while True:
            for name, path in self.port_files.items():
                if name not in self.ports:
                    try:
                        with open(path, encoding="ascii") as file:
                            text = file.read()
                    except FileNotFoundError:
                        continue
                    if text.endswith("\n"):
                        self.ports[name] = int(text)
            if len(self.ports) == len(self.port_files):
                return self
            if not self.running():
                self.expected_end = "failed start"
                raise AssertionError(f"{self.name} ended with {self.process.returncode} while it "
                                     f"started:\n{self.log()[-4000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} wrote no port file in {seconds} s:\n"
                                     f"{self.log()[-4000:]}")
            time.sleep(0.005)

    def signal(self, number):
        self.process.send_signal(number)

    def freeze(self, seconds=60):
        """Stops it where it stands, with all of its threads."""
        self.signal(signal.SIGSTOP)
        end = time.monotonic() + seconds
        while not self._stands_still():
            if time.monotonic() > end:
                raise AssertionError(f"{self.name} does not stand still in {seconds} s")
            time.sleep(0.002)

    def _stands_still(self):
        try:
            return all(self._state_of(thread) == "T" for thread in self.threads())
        except (FileNotFoundError, ProcessLookupError):
            return False  # a thread has ended meanwhile

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """Hard, as a power button for the process."""
        self.expected_end = "killed"
        self.process.kill()
        self.process.wait()
        self._check_log()

    def stop(self, seconds=60):
        """SIGTERM; the exit code must be 0."""
        if self.expected_end:
            return
        if self.running():
            self.signal(signal.SIGTERM)
        self.wait_end(0, seconds)

    def wait_end(self, code, seconds=60):
        self.expected_end = "stopped"
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            _complain(f"{self.name} did not end within {seconds} s after SIGTERM")
            raise AssertionError(_complaints[-1]) from None
        self._check_log()
        if self.process.returncode != code:
            _complain(f"{self.name} ended with {self.process.returncode}, expected {code}:\n"
                      f"{self.log()[-3000:]}")
            raise AssertionError(_complaints[-1])

    def _check_log(self):
        log = self.log()
        found = _REPORT.search(log)
        if found:
            _complain(f"{self.name}: a report in the log:\n{log[found.start():][:6000]}")

    # What the kernel knows of it.

    def status(self, key):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise KeyError(key)

    def state(self):
        """One letter: R, S, D, T (stopped by a signal), Z."""
        return self._state_of(self.pid)

    def _state_of(self, thread):
        with open(f"/proc/{self.pid}/task/{thread}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def threads(self):
        return sorted(int(t) for t in os.listdir(f"/proc/{self.pid}/task"))

    def voluntary_switches(self):
        total = 0
        for thread in self.threads():
            with open(f"/proc/{self.pid}/task/{thread}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("voluntary_ctxt_switches:"):
                        total += int(line.split()[1])
        return total

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def _complain(text):
    _complaints.append(text)


def _options(settings):
    arguments = []
    for key, value in settings.items():
        if isinstance(value, bool):
            value = "true" if value else "false"
        arguments += ["-o", f"{key}={value}"]
    return arguments


# Small files: every test makes a store of its own. The segment still takes the largest message.
STORE_SETTINGS = {"mappedFileSizeCommitLog": 8 << 20, "mappedFileSizeConsumeQueue": 20000}
# A disk, or another member, may stand still for seconds. Who tests what these times end sets them.
PATIENCE = {"syncFlushTimeout": 60000, "slaveTimeout": 60000}


class Namesrv(Server):
    def __init__(self, port=0, ready=True, wrapper=None, **settings):
        port_file = new_path("namesrv-port")
        settings = {"listenPort": port, "portFile": port_file,
                    "kvConfigPath": new_path("kv") + ".json", **settings}
        super().__init__("namesrv", [NAMESRV] + _options(settings), {"main": port_file},
                         wrapper=wrapper)
        if ready:
            self.wait_ready()

    @property
    def port(self):
        return self.ports["main"]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


class Broker(Server):
    """With namesrv=None it carries a name server inside (--standalone). The sizes of its files are
    STORE_SETTINGS, and it has PATIENCE, unless `sizes` says that the configuration file has them."""

    def __init__(self, namesrv=None, store=None, ready=True, env=None, wrapper=None, config=None,
                 sizes=STORE_SETTINGS, **settings):
        self.store = store or new_path("store")
        port_file = new_path("broker-port")
        port_files = {"main": port_file}
        settings = {**({**sizes, **PATIENCE} if sizes else {}), "listenPort": 0, "portFile": port_file,
                    "storePathRootDir": self.store, **settings}
        command = [BROKER]
        if config:
            command += ["-c", config]
        if namesrv is None:
            command.append("--standalone")
            port_files["namesrv"] = new_path("inner-namesrv-port")
            settings = {"namesrvListenPort": 0, "namesrvPortFile": port_files["namesrv"],
                        **settings}
        else:
            command += ["-n", namesrv if isinstance(namesrv, str) else namesrv.address]
        super().__init__("broker", command + _options(settings), port_files, env, wrapper)
        if ready:
            self.wait_ready()

    @property
    def port(self):
        return self.ports["main"]

    @property
    def namesrv_port(self):
        return self.ports["namesrv"]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


def run_program(arguments, seconds=60, env=None, stdin=""):
    """For short runs (--check, --help, tools): exit code, stdout, stderr."""
    done = subprocess.run(arguments, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds, encoding="utf-8", errors="surrogateescape",
                          env=dict(os.environ, **(env or {})), preexec_fn=_die_with_parent)
    found = _REPORT.search(done.stderr)
    if found:
        _complain(f"{' '.join(arguments)}: a report:\n{done.stderr[found.start():][:6000]}")
    return done.returncode, done.stdout, done.stderr


def stop_all():
    """Ends what still runs, and says what went wrong with any server of this file."""
    for server in reversed(_servers):
        if server.expected_end:
            continue
        if not server.running():
            code = server.process.returncode
            server.expected_end = "died"
            server._check_log()
            _complain(f"{server.name} ended by itself with {code}:\n{server.log()[-3000:]}")
            continue
        server.signal(signal.SIGCONT)
        try:
            server.stop()
        except AssertionError:
            pass  # remembered
    if _complaints:
        raise AssertionError("\n".join(_complaints))


def count():
    """Of the servers that were started so far."""
    return len(_servers)


def print_logs(since=0, most=6000):
    """Of the servers that were started after the first so many, or are running."""
    for number, server in enumerate(_servers):
        if number < since and not server.running():
            continue
        print(f"--- log of {server.name} (pid {server.pid}, {server.expected_end})")
        print(server.log()[-most:].rstrip())
    print("--- end of the logs", flush=True)


def clean_up():
    global _folder
    for server in _servers:
        if server.running():
            server.process.kill()
            server.process.wait()
    while _undo:
        _undo.pop()()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
        _folder = None


atexit.register(clean_up)
