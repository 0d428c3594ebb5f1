"""A producer and a consumer for each queue that go on through faults, and the verdict at the end.

The producer keeps a window of numbered messages in flight over one connection to whoever a name
server calls the master; it asks them in turn. When a send is refused, or the connection breaks or says nothing for a while,
it looks for the master again and sends everything that was not acknowledged once more, in order. So a
message may be there twice. Acknowledged is what was answered with SEND_OK: 11 and 12 promise nothing.

  lost        acknowledged, and not at the queue offset that was told
  reordered   acknowledged before another was sent, and not before it in the queue
  vanished    seen by the consumer, and not at that queue offset any more
  duplicated  there more than once; no promise is broken by it
"""
import collections
import json
import re
import socket
import struct
import threading
import time

from lib import codes, messages, remoting
from lib.claims import Broken

_REPLY = re.compile(rb'"opaque":\s*(-?\d+)')
_CODE = re.compile(rb'"code":\s*(\d+)')
_OFFSET = re.compile(rb'"queueOffset":\s*"?(\d+)')
_ADDRESS = re.compile(r'(?<![\d"])"?0"?:"([\d.]+):(\d+)"')
BODY = struct.Struct(">IQ")  # queue, number

Acked = collections.namedtuple("Acked", "number offset sent_at acked_at")


def master_address(names, topic, seconds=1):
    """Of the first name server that answers and knows a master; (host, port) or None. The next search
    begins with another one: this one may not have heard of a new master."""
    for _ in range(len(names)):
        address = names[0]
        names.rotate(-1)
        try:
            with socket.create_connection(address, timeout=seconds) as s:
                s.settimeout(seconds)
                s.sendall(remoting.encode(remoting.Frame(codes.ROUTE, {"topic": topic}, opaque=1)))
                size = struct.unpack(">I", _read(s, 4))[0]
                reply = remoting.decode(_read(s, size))
        except (OSError, remoting.Closed, remoting.Malformed):
            continue
        if reply.code == 0:
            brokers = reply.body.decode()
            found = _ADDRESS.search(brokers[brokers.index("brokerAddrs"):])
            if found:
                return found.group(1), int(found.group(2))
    return None


def _read(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise remoting.Closed("by the peer")
        data += more
    return data


class _Worker(threading.Thread):
    """Goes on at the master, whoever that is, until it is told to end."""

    def __init__(self, names, topic, queue_id):
        super().__init__(daemon=True)
        self.names = collections.deque(names)
        self.topic, self.queue_id = topic, queue_id
        self.ending, self.gone = threading.Event(), threading.Event()
        self.failure = None
        self.input = b""

    def give_up(self):
        """Ends soon, whatever was not acknowledged."""
        self.ending.set()
        self.gone.set()

    def run(self):
        try:
            while not self.done() and not self.gone.is_set():
                address = master_address(self.names, self.topic)
                if address is None:
                    time.sleep(0.02)
                    continue
                try:
                    with socket.create_connection(address, timeout=1) as s:
                        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        s.settimeout(self.patience)
                        self.input = b""
                        self.serve(s)
                except (OSError, remoting.Closed):
                    time.sleep(0.02)
        except Exception as error:  # shown by whoever joins
            self.failure = error

    def frames(self, s):
        """At least one whole frame: header and body."""
        while True:
            more = s.recv(1 << 18)
            if not more:
                raise remoting.Closed("by the broker")
            self.input += more
            found, at = [], 0
            while len(self.input) - at >= 8:
                size, header = struct.unpack_from(">II", self.input, at)
                if len(self.input) - at < 4 + size:
                    break
                header &= 0xFFFFFF
                found.append((self.input[at + 8:at + 8 + header],
                              self.input[at + 8 + header:at + 4 + size]))
                at += 4 + size
            self.input = self.input[at:]
            if found:
                return found


class Producer(_Worker):
    patience = 3  # s without any answer

    def __init__(self, names, topic, queue_id, window=64, size=200):
        super().__init__(names, topic, queue_id)
        self.window, self.size = window, size
        self.next, self.again = 0, []  # the next new number; what is to be sent once more
        self.acked, self.stored, self.refusals = [], 0, collections.Counter()
        self.first_ack_after = []  # (when, by whom) each connection had its first acknowledgement
        header = remoting.encode_json_header(remoting.Frame(
            codes.SEND_V2, messages.send_fields(topic, queue_id, group="verdict"), opaque=77777777))
        self.before, self.after = header.split(b"77777777")

    def done(self):
        return self.ending.is_set() and not self.again

    def _frame(self, number):
        header = self.before + b"%08d" % (10000000 + number) + self.after
        body = BODY.pack(self.queue_id, number).ljust(self.size, b".")
        return struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body

    def serve(self, s):
        waiting = collections.OrderedDict()  # number -> when it was sent
        told = False
        try:
            while True:
                out = []
                while len(waiting) < self.window:
                    if self.again:
                        number = self.again.pop(0)
                    elif not self.ending.is_set():
                        number, self.next = self.next, self.next + 1
                    else:
                        break
                    waiting[number] = time.monotonic()
                    out.append(self._frame(number))
                if not waiting:
                    return
                if out:
                    s.sendall(b"".join(out))
                for header, _ in self.frames(s):
                    number = int(_REPLY.search(header).group(1)) - 10000000
                    code = int(_CODE.search(header).group(1))
                    sent = waiting.get(number)
                    if sent is None:
                        raise Broken(f"an answer to {number}, which nobody waits for: {header!r}")
                    if code in (codes.OK, 10, 11, 12):
                        now = time.monotonic()
                        del waiting[number]
                        if code == codes.OK:
                            self.acked.append(Acked(number, int(_OFFSET.search(header).group(1)),
                                                    sent, now))
                            if not told:
                                told = True
                                self.first_ack_after.append((now, s.getpeername()))
                        else:
                            self.stored += 1
                            self.refusals[code] += 1
                        continue
                    self.refusals[code] += 1
                    raise remoting.Closed(f"refused with {code}")
        finally:
            self.again = sorted([*waiting, *self.again])


class Consumer(_Worker):
    patience = 3

    def __init__(self, names, topic, queue_id):
        super().__init__(names, topic, queue_id)
        self.seen = []  # numbers, by queue offset

    def done(self):
        return self.ending.is_set()

    def serve(self, s):
        while not self.done():
            numbers, code = pull(self, s, self.topic, self.queue_id, len(self.seen))
            self.seen += numbers
            if not numbers:
                if code not in (codes.OK, codes.PULL_NOT_FOUND, codes.PULL_RETRY):
                    raise remoting.Closed(f"refused with {code}")
                time.sleep(0.02)


def pull(worker, s, topic, queue_id, offset):
    """Numbers of the messages from `offset` on, and the code."""
    fields = messages.pull_fields(topic, queue_id, offset, 1000, sys_flag=4)
    s.sendall(remoting.encode(remoting.Frame(codes.PULL, fields, opaque=1)))
    header, body = worker.frames(s)[0]
    code = json.loads(header)["code"]
    numbers, at = [], 0
    while code == codes.OK and at < len(body):
        size, found_queue, found_offset = (struct.unpack_from(">i", body, at)[0],
                                           struct.unpack_from(">i", body, at + 12)[0],
                                           struct.unpack_from(">q", body, at + 20)[0])
        queue, number = BODY.unpack_from(body, at + 88)
        if (found_queue, queue, found_offset) != (queue_id, queue_id, offset + len(numbers)):
            raise Broken(f"pulled from {topic}-{queue_id} at {offset + len(numbers)}: a message of "
                         f"queue {found_queue}, {found_offset}, with a body of queue {queue}")
        numbers.append(number)
        at += size
    return numbers, code


class Reader(_Worker):
    """Reads a queue from its start to its end, once."""

    patience = 10

    def __init__(self, names, topic, queue_id):
        super().__init__(names, topic, queue_id)
        self.numbers, self.whole = [], False

    def done(self):
        return self.whole

    def serve(self, s):
        while not self.whole:
            numbers, code = pull(self, s, self.topic, self.queue_id, len(self.numbers))
            self.numbers += numbers
            if not numbers:
                if code not in (codes.PULL_NOT_FOUND, codes.PULL_RETRY):
                    raise remoting.Closed(f"refused with {code}")
                self.whole = True


Verdict = collections.namedtuple("Verdict", "acked lost reordered vanished duplicated examples")


class Load:
    """Producers and consumers of `queues` queues of a topic that exists."""

    def __init__(self, group, topic, queues=2, window=64, size=200, consume=True):
        self.names = [(h.address, 9876) for h in group.name_hosts]
        self.topic, self.queues = topic, queues
        self.producers = [Producer(self.names, topic, q, window, size) for q in range(queues)]
        self.consumers = ([Consumer(self.names, topic, q) for q in range(queues)]
                          if consume else [])

    def start(self):
        for worker in self.producers + self.consumers:
            worker.start()
        return self

    def acked(self):
        return sum(len(p.acked) for p in self.producers)

    def stored(self):
        return sum(len(p.acked) + p.stored for p in self.producers)

    def _all_move(self, counts, more, what, seconds):
        begin = [count() for count in counts]
        end = time.monotonic() + seconds
        while any(count() < was + more for count, was in zip(counts, begin)):
            for worker in self.producers + self.consumers:
                if worker.failure:
                    raise worker.failure
            if time.monotonic() > end:
                raise Broken(f"no {more} more {what} of each queue in {seconds} s: "
                             f"{[(len(p.acked), p.stored, p.refusals) for p in self.producers]}")
            time.sleep(0.005)

    def wait_acked(self, more=1, seconds=60):
        """Until each queue has so many more acknowledged messages."""
        self._all_move([lambda p=p: len(p.acked) for p in self.producers], more, "acknowledged",
                       seconds)

    def wait_stored(self, more=1, seconds=60):
        """The same, with those that were answered 10, 11 or 12."""
        self._all_move([lambda p=p: len(p.acked) + p.stored for p in self.producers], more,
                       "stored", seconds)

    def finish(self, seconds=60):
        """Ends the load, reads everything and judges."""
        for producer in self.producers:
            producer.ending.set()
        _join(self.producers, seconds)
        for consumer in self.consumers:
            consumer.ending.set()
        _join(self.consumers, seconds)
        readers = [Reader(self.names, self.topic, q) for q in range(self.queues)]
        for reader in readers:
            reader.start()
        _join(readers, seconds)
        total = [0] * 5
        examples = []
        for number in range(self.queues):
            seen = self.consumers[number].seen if self.consumers else []
            found = judge(self.producers[number].acked, seen, readers[number].numbers)
            total = [a + b for a, b in zip(total, found[:5])]
            examples += [f"queue {number}: {e}" for e in found.examples]
        return Verdict(*total, examples)


def _join(workers, seconds):
    end = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0, end - time.monotonic()))
        if worker.failure:
            raise worker.failure
        if worker.is_alive():
            raise Broken(f"{type(worker).__name__} of queue {worker.queue_id} does not end")


def judge(acked, seen, stored):
    """`stored`, `seen`: numbers by queue offset."""
    examples = []

    def example(text):
        if len(examples) < 5:
            examples.append(text)

    lost = reordered = vanished = 0
    for one in acked:
        if one.offset >= len(stored) or stored[one.offset] != one.number:
            lost += 1
            example(f"{one.number} was acknowledged at {one.offset}, the queue ends at "
                    f"{len(stored)}")
    for offset, number in enumerate(seen):
        if offset >= len(stored) or stored[offset] != number:
            vanished += 1
            example(f"{number} was seen at {offset}, the queue ends at {len(stored)}")
    # The highest offset among all that had been acknowledged when this one was sent.
    by_time = sorted(acked, key=lambda a: a.acked_at)
    highest, at = -1, 0
    for one in sorted(acked, key=lambda a: a.sent_at):
        while at < len(by_time) and by_time[at].acked_at < one.sent_at:
            highest = max(highest, by_time[at].offset)
            at += 1
        if one.offset < highest:
            reordered += 1
            example(f"{one.number} at {one.offset} was sent when {highest} was acknowledged")
    duplicated = len(stored) - len(set(stored))
    return Verdict(len(acked), lost, reordered, vanished, duplicated, examples)
