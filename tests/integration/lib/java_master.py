"""A master made of bytes, as RocketMQ 4.9 looks to its slaves: the replication port, the main port and the
one two below it. It streams what it is told to, and remembers what it was asked and told."""
import json
import queue
import socket
import struct
import threading
import time

from lib import codes, messages, process, recorded, remoting
from lib.claims import Broken

FILE = 131072


def record(topic, queue_id, queue_offset, log_offset, body, store_time=1795364003581, properties=()):
    """A stored message as RocketMQ 4.9 writes it; properties=None: not even those of each."""
    if properties is None:
        properties = {}
    else:
        properties = {"UNIQ_KEY": "7F0000010001", "WAIT": "true", **dict(properties)}
    topic = topic.encode()
    properties = "\x02".join(f"{k}\x01{v}" for k, v in properties.items()).encode()
    host = socket.inet_aton("127.0.0.1") + struct.pack(">i", 10911)
    rest = (struct.pack(">iIiiiqqiq", 0, messages.MAGIC, messages.crc31(body), queue_id, 0,
                        queue_offset, log_offset, 0, store_time - 1) + host +
            struct.pack(">q", store_time) + host + struct.pack(">iq", 0, 0) +
            struct.pack(">i", len(body)) + body + bytes([len(topic)]) + topic +
            struct.pack(">h", len(properties)) + properties)
    return struct.pack(">i", len(rest)) + rest[4:]


class Log:
    """What has been stored from `begin` on, with blanks where a message did not fit its file."""

    def __init__(self, begin=0, file_size=FILE):
        self.begin, self.file_size, self.data = begin, file_size, b""
        self.ends, self.queues = [begin], {}

    @property
    def end(self):
        return self.begin + len(self.data)

    def append(self, topic, body, queue_id=0, properties=()):
        offset = self.queues.get((topic, queue_id), 0)
        size = len(record(topic, queue_id, offset, 0, body, properties=properties))
        left = self.file_size - self.end % self.file_size
        if size + 8 > left:
            self.data += struct.pack(">iI", left, messages.BLANK_MAGIC) + bytes(left - 8)
        self.data += record(topic, queue_id, offset, self.end, body, properties=properties)
        self.queues[topic, queue_id] = offset + 1
        self.ends.append(self.end)
        return self

    def append_bytes(self, topic, size, queue_id=0):
        """A message without properties whose record has this size."""
        bare = len(record(topic, 0, 0, 0, b"", properties=None))
        return self.append(topic, b"b" * (size - bare), queue_id, None)

    def fill(self, topic, count, size=1000):
        for i in range(count):
            self.append(topic, b"%d." % i + b"b" * (i * 977 % size), i % 2)
        return self

    def bytes(self, begin, end=None):
        return self.data[begin - self.begin:None if end is None else end - self.begin]


class Connection:
    """A slave's replication connection."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened = time.monotonic()
        self.input = b""

    def close(self):
        self.socket.close()

    def frame(self, offset, data=b"", size=None):
        self.raw(struct.pack(">qi", offset, len(data) if size is None else size) + data)

    def raw(self, data):
        self.socket.settimeout(60)
        self.socket.sendall(data)

    def await_report(self, seconds=60):
        """The next report has come, and is the next one still."""
        end = time.monotonic() + seconds
        while len(self.input) < 8:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                more = self.socket.recv(4096)
            except socket.timeout:
                raise Broken(f"no report within {seconds:.0f} s") from None
            if not more:
                raise ConnectionResetError("closed by the slave")
            self.input += more

    def report(self, seconds=60):
        """The next report."""
        self.await_report(seconds)
        found, self.input = self.input[:8], self.input[8:]
        return struct.unpack(">q", found)[0]

    def reported(self, offset):
        """Reads reports until this one; it may not be passed."""
        while True:
            found = self.report()
            if found == offset:
                return
            if found > offset:
                raise Broken(f"reports {found}, beyond {offset}")

    def end(self):
        """Closes it after what was sent."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(4096):
                pass
        except OSError:
            pass
        self.close()

    def reports_until_closed(self):
        found = []
        try:
            while True:
                found.append(self.report())
        except (ConnectionResetError, BrokenPipeError):
            return found


class Master:
    def __init__(self, log=None, port=0):
        self.log = log or Log()
        self.min = None  # what it says that its log begins at; None: the truth
        self.tables = {codes.ALL_TOPICS: {"dataVersion": {"counter": 1, "timestamp": 1},
                                          "topicConfigTable": {}},
                       codes.ALL_OFFSETS: {"offsetTable": {}},
                       codes.ALL_DELAYS: {"offsetTable": {}},
                       codes.ALL_GROUPS: {"dataVersion": {"counter": 0, "timestamp": 1},
                                          "subscriptionGroupTable": {}}}
        self.asked = []  # (port: "main" or "vip", code, fields)
        self.requests = []  # (port, frame)
        self.refused = set()  # request codes answered with an error
        self.recorded = {}  # request code -> row of a recording: answered with these bytes
        self.connections = queue.Queue()
        self.namesrv = None
        self._sockets, self._lock, self._closed = [], threading.Lock(), False
        self._bind(port)
        for name, listener in self.listeners.items():
            threading.Thread(target=self._accept, args=(name, listener), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _bind(self, port):
        """Another one at the same port later finds it free."""
        self.port = port or process.free_port()
        self.listeners = {name: socket.create_server(("127.0.0.1", each)) for name, each in
                          (("main", self.port), ("vip", self.port - 2), ("ha", self.port + 1))}

    @property
    def ha_address(self):
        return f"127.0.0.1:{self.port + 1}"

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def register(self, namesrv, name="broker-a"):
        """As RocketMQ 4.9 does every 30 s, over one connection; the answer."""
        if self.namesrv is None:
            self.namesrv = remoting.Client(namesrv.port)
        body = {"filterServerList": [], "topicConfigSerializeWrapper": self.tables[codes.ALL_TOPICS]}
        return self.namesrv.call(codes.REGISTER_BROKER, {
            "brokerName": name, "brokerAddr": self.address, "clusterName": "DefaultCluster",
            "haServerAddr": self.ha_address, "brokerId": 0}, json.dumps(body).encode())

    def close(self):
        if self.namesrv is not None:
            self.namesrv.close()
        with self._lock:
            self._closed = True
            for one in list(self.listeners.values()) + self._sockets:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()

    def _accept(self, name, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._sockets.append(connection)
                if self._closed:
                    connection.close()
                    return
            if name == "ha":
                self.connections.put(Connection(connection))
            else:
                threading.Thread(target=self._serve, args=(name, connection), daemon=True).start()

    def connection(self, seconds=60):
        """The next replication connection, whatever becomes of it."""
        try:
            return self.connections.get(timeout=max(0, seconds))
        except queue.Empty:
            raise Broken(f"no slave has connected within {seconds:.0f} s") from None

    def slave(self, seconds=60):
        """The next one whose first report has come: the slave follows. One that it gives up before is passed
        over, since it comes again when an answer takes long, or what it was told has changed meanwhile."""
        end = time.monotonic() + seconds
        while True:
            connection = self.connection(end - time.monotonic())
            try:
                connection.await_report(end - time.monotonic())
                return connection
            except (ConnectionResetError, BrokenPipeError):
                connection.close()

    def _serve(self, name, connection):
        stream = connection.makefile("rb")
        try:
            while True:
                head = stream.read(4)
                if len(head) < 4:
                    return
                request = remoting.decode(stream.read(struct.unpack(">I", head)[0]))
                self.requests.append((name, request))
                self.asked.append((name, request.code, request.fields))
                if request.code in self.recorded:
                    connection.sendall(recorded.frame(self.recorded[request.code],
                                                      opaque=request.opaque))
                else:
                    connection.sendall(remoting.encode(self._answer(request)))
        except OSError:
            pass

    def _answer(self, request):
        body, code = b"", 0
        if request.code in self.refused:
            code = 1
        elif request.code == codes.RUNTIME_INFO:
            begin = self.log.begin if self.min is None else self.min
            body = json.dumps({"table": {"commitLogMinOffset": str(begin),
                                         "commitLogMaxOffset": str(self.log.end),
                                         "brokerVersionDesc": "V4_9_8"}}).encode()
        elif request.code == codes.VIEW_MESSAGE:
            body = self._message(int(request.fields["offset"]))
            code = 0 if body else 1
        elif request.code in self.tables:
            body = json.dumps(self.tables[request.code]).encode()
        else:
            code = 3
        return remoting.Frame(code, None, body, request.opaque, remoting.FLAG_RESPONSE)

    def _message(self, offset):
        if not self.log.begin <= offset < self.log.end:
            return b""
        size = struct.unpack(">i", self.log.bytes(offset, offset + 4))[0]
        return self.log.bytes(offset, offset + size)
