"""The remoting protocol once more: frames, both header serializations, a client.

Written from the description of the protocol and from recorded conversations, not from the C code,
so that a misunderstanding there meets a different one here.

    length i32 (what follows) | serialize type u8 | header length u24 | header | body
"""
import json
import socket
import struct
import threading
import time

JSON, BINARY = 0, 1
FLAG_RESPONSE, FLAG_ONEWAY = 1, 2
FRAME_MAX = 16777216
VERSION = 409

LANGUAGES = ["JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO",
             "PHP", "OMS", "RUST", "NODE_JS"]


class Malformed(Exception):
    pass


class Closed(Exception):
    """The peer closed the connection."""


class Frame:
    """A decoded frame. `fields` is None when the header has no extFields at all."""

    def __init__(self, code, fields=None, body=b"", opaque=0, flag=0, remark=None, version=VERSION,
                 language="JAVA", serialize=JSON):
        self.code, self.fields, self.body, self.opaque = code, fields, body, opaque
        self.flag, self.remark, self.version = flag, remark, version
        self.language, self.serialize = language, serialize
        self.raw_header = b""

    @property
    def is_response(self):
        return bool(self.flag & FLAG_RESPONSE)

    def __repr__(self):
        return (f"Frame(code={self.code} opaque={self.opaque} flag={self.flag} "
                f"serialize={self.serialize} fields={self.fields} remark={self.remark!r} "
                f"body={self.body[:300]!r}{'...' if len(self.body) > 300 else ''})")


def _text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def encode_json_header(frame):
    header = {"code": frame.code, "flag": frame.flag, "language": frame.language,
              "opaque": frame.opaque, "serializeTypeCurrentRPC": "JSON", "version": frame.version}
    if frame.fields is not None:
        header["extFields"] = {k: _text(v) for k, v in frame.fields.items() if v is not None}
    if frame.remark is not None:
        header["remark"] = frame.remark
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()


def encode_binary_header(frame):
    remark = (frame.remark or "").encode()
    entries = b""
    for key, value in (frame.fields or {}).items():
        if value is None:
            continue
        key, value = key.encode(), _text(value).encode()
        entries += struct.pack(">H", len(key)) + key + struct.pack(">I", len(value)) + value
    return (struct.pack(">hBHiiI", frame.code, LANGUAGES.index(frame.language), frame.version,
                        frame.opaque, frame.flag, len(remark)) + remark +
            struct.pack(">I", len(entries)) + entries)


def encode(frame):
    header = (encode_binary_header if frame.serialize == BINARY else encode_json_header)(frame)
    return pack(header, frame.body, frame.serialize)


def pack(header, body=b"", serialize=JSON):
    return (struct.pack(">II", 4 + len(header) + len(body), serialize << 24 | len(header)) +
            header + body)


def _no_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Malformed(f"a name occurs twice in {names}")
    return dict(pairs)


def decode_json_header(header):
    try:
        tree = json.loads(header.decode(), object_pairs_hook=_no_duplicates)
    except ValueError as error:
        raise Malformed(f"header is no JSON: {error}: {header!r}") from None
    if not isinstance(tree, dict):
        raise Malformed(f"header is no object: {header!r}")
    for name in ("code", "flag", "opaque", "version"):
        if type(tree.get(name)) is not int:
            raise Malformed(f"{name} is no integer in {header!r}")
    fields = tree.get("extFields")
    if fields is not None:
        if not isinstance(fields, dict):
            raise Malformed(f"extFields is no object in {header!r}")
        for key, value in fields.items():
            if not isinstance(value, str):
                raise Malformed(f"field {key} is {value!r}, not a string, in {header!r}")
    if "remark" in tree and not isinstance(tree["remark"], str):
        raise Malformed(f"remark is no string in {header!r}")
    return Frame(tree["code"], fields, b"", tree["opaque"], tree["flag"], tree.get("remark"),
                 tree["version"], tree.get("language"), JSON)


def decode_binary_header(header):
    def take(count):
        nonlocal at
        if count < 0 or count > len(header) - at:
            raise Malformed(f"{count} bytes wanted at {at} of a header of {len(header)}")
        at += count
        return header[at - count:at]

    at = 0
    code, language, version, opaque, flag, remark_len = struct.unpack(">hBHiiI", take(17))
    remark = take(remark_len).decode()
    end = struct.unpack(">I", take(4))[0] + at
    if end != len(header):
        raise Malformed(f"the entries end at {end}, the header at {len(header)}")
    fields = {}
    while at < end:
        key = take(struct.unpack(">H", take(2))[0]).decode()
        value = take(struct.unpack(">I", take(4))[0]).decode()
        if not key or not value:
            raise Malformed(f"an empty string is written: {key!r}={value!r}")
        if key in fields:
            raise Malformed(f"field {key} occurs twice")
        fields[key] = value
    return Frame(code, fields, b"", opaque, flag, remark or None, version,
                 LANGUAGES[language] if language < len(LANGUAGES) else language, BINARY)


def decode(content):
    """A frame without its length field."""
    if len(content) < 4:
        raise Malformed(f"a frame of {len(content)} bytes")
    serialize, header_len = content[0], int.from_bytes(content[1:4], "big")
    if header_len > len(content) - 4:
        raise Malformed(f"header length {header_len} in a frame of {len(content)}")
    header = content[4:4 + header_len]
    if serialize == JSON:
        frame = decode_json_header(header)
    elif serialize == BINARY:
        frame = decode_binary_header(header)
    else:
        raise Malformed(f"serialize type {serialize}")
    frame.body = content[4 + header_len:]
    frame.raw_header = header
    return frame


class Client:
    """One connection. A thread reads; replies are found by opaque, requests of the server (and
    replies that nobody asked for) are collected in the order of their arrival in `arrived`."""

    def __init__(self, port, host="127.0.0.1", serialize=JSON, version=VERSION, language="JAVA"):
        self.serialize, self.version, self.language = serialize, version, language
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(None)
        self.local = "%s:%d" % self.socket.getsockname()
        self.arrived = []  # all frames
        self.replies = {}  # opaque -> frame, until it is taken
        self.asked = set()
        self.end = None
        self._changed = threading.Condition()
        self._opaque = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self._reader.join(10)

    def _receive(self, count):
        data = bytearray(count)
        view, at = memoryview(data), 0
        while at < count:
            n = self.socket.recv_into(view[at:])
            if n == 0:
                raise Closed("in the middle of a frame" if at else "between frames")
            at += n
        return bytes(data)

    def _read(self):
        error = Closed("closed")
        try:
            while True:
                length = struct.unpack(">I", self._receive(4))[0]
                if length > FRAME_MAX - 4:
                    raise Malformed(f"a frame of {length} bytes")
                frame = decode(self._receive(length))
                with self._changed:
                    self.arrived.append(frame)
                    if frame.is_response and frame.opaque in self.asked:
                        self.asked.discard(frame.opaque)
                        self.replies[frame.opaque] = frame
                    self._changed.notify_all()
        except (Closed, Malformed) as found:
            error = found
        except OSError as found:
            error = Closed(str(found))
        with self._changed:
            self.end = error
            self._changed.notify_all()

    def next_opaque(self):
        self._opaque += 1
        return self._opaque

    def send_raw(self, data):
        self.socket.sendall(data)

    def send_frame(self, data, opaque):
        """Sends the bytes of a request that is answered."""
        with self._changed:
            self.asked.add(opaque)
        self.send_raw(data)

    def send(self, code, fields=None, body=b"", flag=0, serialize=None, opaque=None, version=None,
             language=None):
        """Sends a request and returns its opaque."""
        frame = Frame(code, fields, body, self.next_opaque() if opaque is None else opaque, flag,
                      None, self.version if version is None else version,
                      language or self.language,
                      self.serialize if serialize is None else serialize)
        with self._changed:
            if not flag & FLAG_ONEWAY:
                self.asked.add(frame.opaque)
        self.send_raw(encode(frame))
        return frame.opaque

    def answer(self, request, code=0, fields=None, body=b"", remark=None):
        """Answers a request of the server."""
        self.send_raw(encode(Frame(code, fields, body, request.opaque, FLAG_RESPONSE, remark,
                                   self.version, self.language, request.serialize)))

    def _wait(self, condition, what, seconds):
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                value = condition()
                if value is not None:
                    return value
                if self.end is not None:
                    raise type(self.end)(f"{self.end}, while waiting for {what}")
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no {what} within {seconds} s; arrived: "
                                         f"{self.arrived[-3:]}")
                self._changed.wait(left)

    def reply(self, opaque, seconds=60):
        return self._wait(lambda: self.replies.pop(opaque, None), f"reply to opaque {opaque}",
                          seconds)

    def call(self, code, fields=None, body=b"", seconds=60, **options):
        return self.reply(self.send(code, fields, body, **options), seconds)

    def has_reply(self, opaque):
        with self._changed:
            return opaque in self.replies

    def requests(self, code=None):
        """What the server asked so far."""
        with self._changed:
            return [f for f in self.arrived
                    if not f.is_response and (code is None or f.code == code)]

    def wait_requests(self, code, count, seconds=60):
        def enough():
            found = [f for f in self.arrived if not f.is_response and f.code == code]
            return found if len(found) >= count else None

        return self._wait(enough, f"{count} requests {code} of the server", seconds)

    def wait_closed(self, seconds=60):
        end = time.monotonic() + seconds
        with self._changed:
            while self.end is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"still connected after {seconds} s")
                self._changed.wait(left)
        if isinstance(self.end, Malformed):
            raise self.end

    def round_trip(self, seconds=60):
        """A request that every server answers: what was sent before has been looked at."""
        return self.call(3, None, seconds=seconds)
