"""What is deleted when, and what producers and consumers notice of it: messages that are gone, nothing
else."""
import os
import re
import time

from lib import admin, claims, codes, load, messages, process, remoting, store_reader
from lib.claims import claim, contains, equal, true, until

SEGMENT = 1 << 20
DISK = 48 << 20
ALL_HOURS = ";".join(str(hour) for hour in range(24))
# Looks often, deletes without pauses.
SETTINGS = {"mappedFileSizeCommitLog": SEGMENT, "maxMessageSize": 100000,
            "cleanResourceInterval": 20, "deleteCommitLogFilesInterval": 0,
            "deleteConsumeQueueFilesInterval": 0}
BODY = 20000


def other_hour():
    """deleteWhen that is not now, nor soon."""
    return (time.localtime().tm_hour + 12) % 24


def segments(broker):
    return sorted(int(n) for n in os.listdir(os.path.join(broker.store, "commitlog")))


def age(broker, bases, hours=100):
    """These segments were last written to so long ago."""
    then = time.time() - hours * 3600
    for base in bases:
        try:
            os.utime(os.path.join(broker.store, "commitlog", f"{base:020d}"), (then, then))
        except FileNotFoundError:
            pass  # it went in this moment


def runs(offsets):
    """[first, end) of each row without holes: short enough to be read when it is wrong."""
    found = []
    for offset in offsets:
        if found and found[-1][1] == offset:
            found[-1][1] = offset + 1
        else:
            found.append([offset, offset + 1])
    return found[:20]


def min_offset(c, topic, queue_id=0):
    reply = c.call(codes.MIN_OFFSET, {"topic": topic, "queueId": queue_id})
    return int(admin.expect(reply).fields["offset"])


def log_min(c):
    return int(admin.runtime_info(c)["commitLogMinOffset"])


def fill_segments(c, topic, count, group=None):
    """Messages 0 .. n-1 over that many segments and a little more; n. `group` consumes the first one."""
    n = 0
    while int(admin.runtime_info(c)["commitLogMaxOffset"]) < count * SEGMENT + BODY:
        for _ in range(10):
            messages.send(c, topic, f"{n}-".encode() + b"x" * BODY)
            n += 1
    if group:
        admin.commit_offset(c, group, topic, 0, 1)
    return n


def all_from_min(c, topic, end):
    """Everything that is left can be read from the queue's min on, in order, without holes."""
    first = min_offset(c, topic)
    found = messages.pull_all(c, topic, offset=first)
    equal(runs([m.queue_offset for m in found]), [[first, end]], "offsets that are left")
    equal(runs([int(m.body.split(b"-")[0]) for m in found]), [[first, end]], "messages")
    return first


class Consumer(load.Consumer):
    """Reads from the start; goes where it is told when messages are gone."""

    def __init__(self, port, topic):
        super().__init__(port, topic, 0)
        self.offsets, self.jumps, self.ending = [], [], False

    def run(self):
        try:
            with remoting.Client(self.port) as client:
                offset = 0
                while not self.ending:
                    pulled = messages.pull(client, self.topic, 0, offset)
                    self.offsets += [m.queue_offset for m in pulled.messages]
                    if pulled.messages and pulled.messages[0].queue_offset > offset:
                        self.jumps.append((offset, pulled.messages[0].queue_offset))
                    elif pulled.code in (codes.PULL_MOVED, codes.PULL_RETRY):
                        self.jumps.append((offset, pulled.next))
                    elif pulled.code not in (0, codes.PULL_NOT_FOUND):
                        raise claims.Broken(f"a pull at {offset}: {pulled.reply}")
                    offset = pulled.next
        except Exception as error:  # shown by whoever joins
            self.error = error


@claim
def expired_segments_go_while_clients_send_and_consume():
    broker = process.Broker(deleteWhen=ALL_HOURS, **SETTINGS)
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Old", 1)
        producer = load.Producer(broker.port, "Old", 0, size=BODY)
        consumer = Consumer(broker.port, "Old")
        producer.start()
        consumer.start()

        def five_gone():
            true(producer.is_alive() and not producer.refused, f"{producer.error} {producer.refused[:1]}")
            age(broker, segments(broker)[:-3])
            return log_min(c) >= 5 * SEGMENT

        until(five_gone, "five segments to go")
        producer.stop()
        equal(producer.refused, [])
        equal(producer.error, None)
        until(lambda: consumer.error or consumer.offsets[-1:] == [len(producer.acked) - 1],
              "the consumer to come to the end")
        consumer.ending = True
        consumer.join()
        equal(consumer.error, None)
        # What it did not see was gone, and it was told so.
        missed = set(range(len(producer.acked))) - set(consumer.offsets)
        for offset in missed:
            true(any(a <= offset < b for a, b in consumer.jumps), f"message {offset} is missing")
        true(max(missed, default=-1) < min_offset(c, "Old"), "what it did not see is gone")
        # A round that is under way ends before the new setting counts.
        admin.expect(c.call(codes.UPDATE_CONFIG, {}, b"fileReservedTime=1000000\n"))

        def whole():
            first = min_offset(c, "Old")
            left = runs([m.queue_offset for m in messages.pull_all(c, "Old", offset=first)])
            return first > 0 and left == [[first, len(producer.acked)]]

        until(whole, "what is left to be without holes")
    true(", expired, last written to " in broker.log(), "no line says that a segment has expired")
    broker.stop()
    judged = store_reader.Store(broker.store)
    equal(judged.problems, [])


def broker_on_small_disk(**settings):
    folder = process.new_path("disk")
    os.makedirs(folder, exist_ok=True)
    mount = f'mount -t tmpfs -o size={DISK} none "{folder}" && exec "$@"'
    broker = process.Broker(store=os.path.join(folder, "store"),
                            wrapper=["unshare", "-m", "--", "sh", "-c", mount, "sh"],
                            **{**SETTINGS, **settings})
    return broker, f"/proc/{broker.pid}/root{folder}"


def fill_disk(root, percent):
    """A file that leaves so much of the disk in use."""
    path = os.path.join(root, "filler")
    space = os.statvfs(root)
    used = (space.f_blocks - space.f_bfree) * space.f_frsize
    with open(path, "wb", buffering=0) as f:
        os.posix_fallocate(f.fileno(), 0, DISK * percent // 100 - used)
    return path


@claim
def a_disk_too_full_loses_the_oldest_segments_and_says_what_nobody_had_consumed():
    broker, root = broker_on_small_disk(deleteWhen=other_hour())
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Forced", 1)
        n = fill_segments(c, "Forced", 5, group="Slow")
        equal(log_min(c), 0)
        fill_disk(root, 88)
        until(lambda: log_min(c) > 0, "a segment to be deleted")
        # No more than what makes room: a segment is 2 % of the disk.
        until(lambda: float(admin.runtime_info(c)["commitLogDiskRatio"]) <= 0.85, "room")
        ratio = float(admin.runtime_info(c)["commitLogDiskRatio"])
        true(ratio > 0.80, f"more has gone than needed: {ratio}")
        line = next(line for line in broker.log().splitlines() if "deleting" in line)
        contains(line, "/commitlog/00000000000000000000, before its time: the disk is ")
        contains(line, "% full, more than diskSpaceCleanForciblyRatio=85; ")
        contains(line, "not yet consumed of it: group Slow of topic Forced (queue 0 from offset 1 on)")
        # A consumer far behind is sent to the first message that is left, and goes on from there.
        first = all_from_min(c, "Forced", n)
        pulled = messages.pull(c, "Forced", offset=admin.query_offset(c, "Slow", "Forced"))
        true(pulled.code in (codes.PULL_MOVED, codes.PULL_RETRY), f"{pulled.reply}")
        equal(pulled.next, first, "where it is sent")
        until(lambda: messages.pull(c, "Forced", offset=1).code == codes.PULL_MOVED,
              "the queue to know its begin")
        earliest = admin.expect(c.call(codes.EARLIEST_TIME, {"topic": "Forced", "queueId": 0}))
        equal(int(earliest.fields["timestamp"]),
              messages.pull(c, "Forced", offset=first).messages[0].store_time, "earliest time")
        # A new group does not begin at 0, since that is gone.
        equal(admin.query_offset(c, "New", "Forced"), None, "offset of a new group")
        messages.send(c, "Forced", f"{n}-".encode())
        all_from_min(c, "Forced", n + 1)
    broker.stop()


@claim
def above_the_warning_ratio_sends_are_refused_and_resume_by_themselves():
    broker, root = broker_on_small_disk(deleteWhen=other_hour(), cleanFileForciblyEnable=False)
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Warned", 1)
        n = fill_segments(c, "Warned", 2)
        filler = fill_disk(root, 95)

        def refused():
            reply = c.call(codes.SEND_V2, messages.send_fields("Warned"), b"y")
            return reply.code != 0 and reply

        reply = until(refused, "a send to be refused")
        equal(reply.code, codes.NOT_AVAILABLE)
        true(re.search(r"\d+% full, more than diskSpaceWarningLevelRatio=90", reply.remark), reply.remark)
        contains(reply.remark, os.path.dirname(broker.store))
        equal(messages.pull(c, "Warned", offset=0).code, 0, "a pull")
        admin.commit_offset(c, "G", "Warned", 0, 1)
        equal(admin.query_offset(c, "G", "Warned"), 1, "an offset")
        equal(admin.runtime_info(c)["ternDiskFull"], "true")
        equal(log_min(c), 0, "begin of the log")
        os.unlink(filler)
        until(lambda: c.call(codes.SEND_V2, messages.send_fields("Warned"), b"z").code == 0,
              "sends to resume")
        true(min_offset(c, "Warned") == 0 and admin.max_offset(c, "Warned") > n, "messages")
    contains(broker.log(), "takes writes again")
    broker.stop()


@claim
def a_request_deletes_what_is_expired_at_any_hour():
    broker = process.Broker(deleteWhen=other_hour(), **SETTINGS)
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Asked", 1)
        n = fill_segments(c, "Asked", 4)
        age(broker, [0, SEGMENT])
        admin.expect(c.call(codes.CLEAN_LOG))
        until(lambda: log_min(c) == 2 * SEGMENT, "two segments to go")
        until(lambda: segments(broker)[0] == 2 * SEGMENT, "their files to go")
        all_from_min(c, "Asked", n)
        admin.expect(c.call(codes.CLEAN_QUEUES))
        until(lambda: "ternDeletedSegments" in admin.runtime_info(c) and
              admin.runtime_info(c)["ternDeletedSegments"] == "2", "the count")
    broker.stop()


@claim
def bounds_can_be_set_while_it_runs():
    broker = process.Broker(deleteWhen=other_hour(), **SETTINGS)
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Bound", 1)
        n = fill_segments(c, "Bound", 6)
        admin.expect(c.call(codes.UPDATE_CONFIG, {}, f"commitLogBytesMax={3 * SEGMENT}\n".encode()))
        until(lambda: int(admin.runtime_info(c)["ternCommitLogBytes"]) <= 3 * SEGMENT,
              "the log to keep to its bound")
        true(log_min(c) >= 4 * SEGMENT, f"begin of the log: {log_min(c)}")
        all_from_min(c, "Bound", n)
    broker.stop()
    equal(store_reader.Store(broker.store).problems, [])


@claim
def a_kill_in_the_middle_of_deletions_loses_nothing_else():
    store, sent = None, {}
    for _ in range(3):
        broker = process.Broker(store=store, deleteWhen=other_hour(), **SETTINGS)
        store = broker.store
        with remoting.Client(broker.port) as c:
            if not sent:
                admin.make_topic(c, "Killed", 1)
            first, end = min_offset(c, "Killed"), admin.max_offset(c, "Killed")
            true(end > max(sent, default=-1), f"the queue ends at {end} of {max(sent, default=-1)}")
            left = messages.pull_all(c, "Killed", offset=first)
            equal(runs([m.queue_offset for m in left]), [[first, end]] if end else [], "what is left")
            for m in left:
                true(sent.get(m.queue_offset, m.body) == m.body, f"message {m.queue_offset} is another")
            producer = load.Producer(broker.port, "Killed", 0, size=BODY, name=f"p{end}")
            producer.start()
            began = log_min(c)
            admin.expect(c.call(codes.UPDATE_CONFIG, {}, f"commitLogBytesMax={3 * SEGMENT}\n"
                                f"cleanResourceInterval=1\n".encode()))
            until(lambda: log_min(c) >= began + 3 * SEGMENT, "segments to go")
        broker.kill()
        producer.join()
        equal(producer.refused, [])
        sent.update({offset: producer.body(number) for number, offset in producer.acked})
    broker = process.Broker(store=store, **SETTINGS)
    broker.stop()
    equal(store_reader.Store(store).problems, [])


if __name__ == "__main__":
    claims.run()
