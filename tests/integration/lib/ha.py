"""RocketMQ's default replication protocol from the slave's side: reports of 8 bytes, frames of 12 and
the bytes of the log."""
import socket
import struct
import time

from lib.claims import Broken


class Slave:
    """Says what it is told to say, and keeps what it was sent."""

    def __init__(self, port, host="127.0.0.1", source=None):
        self.socket = socket.create_connection((host, port), timeout=60,
                                               source_address=source and (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.frames = []  # (log offset, bytes)
        self.log = {}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def report(self, offset):
        self.socket.sendall(struct.pack(">q", offset))

    def send_raw(self, data):
        self.socket.sendall(data)

    def _fill(self, count, end):
        while len(self.input) < count:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(1 << 20)
            except socket.timeout:
                return False
            if not more:
                raise ConnectionResetError("closed by the master")
            self.input += more
        return True

    def frame(self, seconds=60):
        """The next frame: its log offset and bytes (none: a heartbeat)."""
        end = time.monotonic() + seconds
        if not self._fill(12, end):
            raise Broken(f"no frame within {seconds} s")
        offset, size = struct.unpack(">qi", self.input[:12])
        if not self._fill(12 + size, end):
            raise Broken(f"frame of {size} bytes at {offset} not complete within {seconds} s")
        data, self.input = self.input[12:12 + size], self.input[12 + size:]
        self.frames.append((offset, data))
        return offset, data

    def follow(self, to, ack=True):
        """Takes frames until the log is there up to `to`; returns the bytes of all of them."""
        taken = b""
        while True:
            offset, data = self.frame()
            taken += data
            if ack and data:
                self.report(offset + len(data))
            if offset + len(data) >= to:
                return taken

    def take(self, body):
        """Takes and acknowledges frames until `body` has come."""
        taken = b""
        while body not in taken:
            offset, data = self.frame()
            taken += data
            if data:
                self.report(offset + len(data))

    def wait_closed(self, seconds=60):
        end = time.monotonic() + seconds
        try:
            while True:
                if not self._fill(len(self.input) + 1, end):
                    raise Broken(f"the connection is open after {seconds} s")
        except (ConnectionResetError, BrokenPipeError):
            pass
