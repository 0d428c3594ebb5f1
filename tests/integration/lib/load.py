"""Producers that keep a window of sends in flight, and remember what they were told."""
import threading
import time

from lib import codes, messages, remoting
from lib.claims import Broken


class Producer(threading.Thread):
    """Sends numbered messages to one queue over one connection until it is stopped or the broker is
    gone. `acked` holds (number, queue offset) of each SEND_OK in the order of the sends; `asked` counts
    what was sent."""

    def __init__(self, port, topic, queue_id, window=16, size=100, name="p", properties=None):
        super().__init__(daemon=True)
        self.port, self.topic, self.queue_id, self.window = port, topic, queue_id, window
        self.size, self.tag, self.properties = size, name, properties or {}
        self.acked, self.asked, self.refused = [], 0, []
        self.error = None
        self._ending = threading.Event()

    def body(self, number):
        text = f"{self.tag}-{self.queue_id}-{number}-".encode()
        return text + b"." * max(0, self.size - len(text))

    def number_of(self, body):
        tag, queue_id, number, _ = body.decode().split("-", 3)
        if (tag, int(queue_id)) != (self.tag, self.queue_id):
            raise Broken(f"a message of another producer: {body[:40]!r}")
        return int(number)

    def stop(self):
        self._ending.set()
        self.join(60)
        if self.is_alive():
            raise Broken("a producer does not end")

    def run(self):
        try:
            with remoting.Client(self.port) as client:
                self._send(client)
        except (remoting.Closed, OSError) as error:
            self.error = error

    def _send(self, client):
        waiting = []
        while not self._ending.is_set():
            while len(waiting) < self.window:
                fields = messages.send_fields(self.topic, self.queue_id, group=self.tag,
                                              properties=self.properties)
                waiting.append((self.asked, client.send(codes.SEND_V2, fields,
                                                        self.body(self.asked))))
                self.asked += 1
            self._take(client, waiting.pop(0))
        for one in waiting:
            self._take(client, one)

    def _take(self, client, one):
        number, opaque = one
        reply = client.reply(opaque)
        if reply.code == 0:
            self.acked.append((number, int(reply.fields["queueOffset"])))
        else:
            self.refused.append((number, reply.code, reply.remark))


class Consumer(threading.Thread):
    """Reads one queue from its start for as long as the broker lives; `seen` are the bodies in order."""

    def __init__(self, port, topic, queue_id):
        super().__init__(daemon=True)
        self.port, self.topic, self.queue_id = port, topic, queue_id
        self.seen = []
        self.error = None

    def run(self):
        try:
            with remoting.Client(self.port) as client:
                while True:
                    pulled = messages.pull(client, self.topic, self.queue_id, len(self.seen),
                                           sys_flag=6, suspend_ms=2000)
                    self.seen += [m.body for m in pulled.messages]
        except (remoting.Closed, OSError):
            pass
        except Exception as error:  # shown by whoever joins
            self.error = error


def check_queue(client, producer, earlier=()):
    """Everything acknowledged is in its place, in order; no holes; nothing twice. `earlier`: bodies
    that lie before the producer's. Returns all bodies of the queue."""
    stored = messages.pull_all(client, producer.topic, producer.queue_id)
    offsets = [m.queue_offset for m in stored]
    if offsets != list(range(len(stored))):
        raise Broken(f"offsets of {producer.topic}-{producer.queue_id} have holes")
    bodies = [m.body for m in stored]
    if bodies[:len(earlier)] != list(earlier):
        raise Broken(f"what was in {producer.topic}-{producer.queue_id} before has changed")
    numbers = [producer.number_of(b) for b in bodies[len(earlier):]]
    if numbers != list(range(len(numbers))):
        raise Broken(f"messages of {producer.topic}-{producer.queue_id} are out of order, or some "
                     f"in the middle are missing")
    for number, offset in producer.acked:
        if offset >= len(bodies) or bodies[offset] != producer.body(number):
            raise Broken(f"message {number} was acknowledged at offset {offset} of "
                         f"{producer.topic}-{producer.queue_id}, which ends at {len(bodies)}")
    return bodies


def check_restored(client, producer, count):
    """In a copy made while the producer went on: its first `count` acknowledged messages are in their
    places, in order, without holes. Returns all bodies of the queue."""
    bodies = [m.body for m in messages.pull_all(client, producer.topic, producer.queue_id)]
    if [producer.number_of(b) for b in bodies] != list(range(len(bodies))):
        raise Broken(f"messages of {producer.topic}-{producer.queue_id} are out of order or missing")
    for number, offset in producer.acked[:count]:
        if offset >= len(bodies) or bodies[offset] != producer.body(number):
            raise Broken(f"message {number}, acknowledged at offset {offset} of {producer.topic}-"
                         f"{producer.queue_id}, is not in a copy that ends at {len(bodies)}")
    return bodies


def wait_acked(producers, count, seconds=60):
    end = time.monotonic() + seconds
    while any(len(p.acked) < count for p in producers):
        for p in producers:
            if not p.is_alive():
                raise Broken(f"a producer ended early: {p.error}, {p.refused[:3]}")
        if time.monotonic() > end:
            raise Broken(f"only {[len(p.acked) for p in producers]} sends acknowledged in "
                         f"{seconds} s")
        time.sleep(0.002)
