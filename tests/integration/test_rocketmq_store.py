"""Directories that RocketMQ 4.9.8 wrote open with its own settings: everything that its clients were told
is there, and after more traffic the directory is one that RocketMQ would open again."""
import hashlib
import json
import os
import shutil
import struct
import tarfile
import time
import zlib

from lib import admin, claims, codes, dialect, messages, process, remoting, store_reader
from lib.claims import contains, equal, true, until

RUNS_SANITIZED = False

ARCHIVES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "rocketmq-store")
SEGMENT_BYTES, QUEUE_FILE_BYTES = 131072, 2000  # as in the directories' broker.conf
INDEX_SHAPE = 500, 2000
OURS = {n + s for n in ("topics.json", "subscriptionGroup.json", "consumerOffset.json",
                        "delayOffset.json") for s in ("", ".bak")}
# Files of RocketMQ 5 that a directory may also hold; nobody here reads them.
FOREIGN = {"config/timercheck": b"\0" * 4096, "config/timermetrics": b'{"timingCount":{}}',
           "config/consumerOrderInfo.json": b'{"table":{}}', "timerwheel": bytes(range(256)) * 16,
           "consumequeue_ext/FixLog/0/00000000000000000000": b"\0\x14" * 24}


class Directory:
    """An unpacked archive: `sent` has the rows of sent.tsv by kind, `before` what the second reader
    found in it."""

    def __init__(self, name):
        self.name, self.path = name, process.new_path(name)
        os.makedirs(self.path)
        with tarfile.open(os.path.join(ARCHIVES, name + ".tar.xz")) as archive:
            archive.extractall(self.path)
        self.store = os.path.join(self.path, "store")
        self.sent = {}
        with open(os.path.join(self.path, "sent.tsv"), encoding="utf-8") as rows:
            for row in rows:
                kind, *columns = row.rstrip("\n").split("\t")
                self.sent.setdefault(kind, []).append(columns)
        self.crashed = name.startswith("killed")
        self.before = self.judge(self.crashed)
        self.config = self.before.config

    def judge(self, crashed=False):
        found = store_reader.Store(self.store, crashed, record_crc=False,
                                   segment_bytes=SEGMENT_BYTES, queue_file_bytes=QUEUE_FILE_BYTES,
                                   index_shape=INDEX_SHAPE)
        equal(found.problems, [], f"problems of {self.name}")
        return found

    def judge_log(self):
        """Where the log ends."""
        return store_reader.Store(self.store, True, record_crc=False).end

    def start(self, **more):
        return process.Broker(store=self.store, config=os.path.join(self.path, "broker.conf"),
                              sizes=None, storePathCommitLog=os.path.join(self.store, "commitlog"),
                              **more)

    def records_of(self, topic, queue_id=0):
        return self.before.expected[topic, queue_id]


def fields_of(m):
    """All that a stored message says."""
    return {name: value for name, value in vars(m).items() if name != "whole_crc"}


def view(client, log_offset):
    return messages.decode_all(admin.expect(client.call(codes.VIEW_MESSAGE,
                                                        {"offset": log_offset})).body)[0]


def search(client, topic, queue_id, ms):
    return int(admin.expect(client.call(codes.SEARCH_OFFSET, {
        "topic": topic, "queueId": queue_id, "timestamp": ms})).fields["offset"])


# --- what is checked of both directories ---

def check_queues(directory, client):
    """Every message of every queue, field by field, and no other but delayed ones that came due."""
    for (topic, queue_id), wanted in directory.before.expected.items():
        pulled = messages.pull_all(client, topic, queue_id)
        equal([fields_of(m) for m in pulled[:len(wanted)]], [fields_of(m) for m in wanted],
              f"{directory.name}: {topic}-{queue_id}")
        for m in pulled[len(wanted):]:
            equal(m.properties.get("DELAY"), "18", f"a message that was not there: {m}")


def check_sent(directory, client):
    stored = {}
    for topic, queue_id, offset, unique, message_id, body in directory.sent["sent"]:
        key = topic, int(queue_id)
        if key not in stored:
            stored[key] = messages.pull_all(client, *key)
        by_queue = stored[key][int(offset)]
        host, log_offset = messages.parse_offset_id(message_id)
        by_id = view(client, log_offset)
        equal(fields_of(by_queue), fields_of(by_id), "by queue offset and by id")
        equal((by_id.topic, by_id.queue_id, by_id.queue_offset, by_id.store_host,
               by_id.body.decode(), by_id.properties["UNIQ_KEY"]),
              (topic, int(queue_id), int(offset), host, body, unique))
    # Flags, tags and keys of many kinds are among them.
    all_of = [m for queue in stored.values() for m in queue]
    true(len({m.flag for m in all_of}) > 3, "flags")
    true(len({m.properties.get("TAGS") for m in all_of}) > 3, "tags, and none")
    true(any("group-" in m.properties.get("KEYS", "") for m in all_of), "keys")
    true(any("KEYS" not in m.properties for m in all_of), "messages without keys")
    true(any({"price", "side"} <= set(m.properties) for m in all_of), "user properties")


def check_special(directory, client):
    topic, queue_id, offset, unique = directory.sent["compressed"][0]
    m = messages.pull(client, topic, int(queue_id), int(offset), count=1).messages[0]
    equal((m.properties["UNIQ_KEY"], m.sys_flag & messages.SYS_COMPRESSED), (unique, 1))
    true(len(zlib.decompress(m.body)) > 10 * len(m.body), "the compressed body opens")

    topic, queue_id, offset, unique = directory.sent["utf8"][0]
    m = messages.pull(client, topic, int(queue_id), int(offset), count=1).messages[0]
    equal(m.properties["UNIQ_KEY"], unique)
    for text in (m.properties["TAGS"], m.properties["KEYS"], m.body.decode()):
        true(not text.isascii(), f"text beyond ASCII: {text!r}")
    # The tags code in its entry is that of UTF-16: a pull by that tag finds it.
    by_tag = messages.pull_all(client, topic, int(queue_id), group="ByTag",
                               subscription=m.properties["TAGS"])
    equal([t.properties["UNIQ_KEY"] for t in by_tag], [unique], "by its tag")

    topic, queue_id, offset, ids = directory.sent["batch"][0]
    ids = ids.split(",")
    pulled = messages.pull(client, topic, int(queue_id), int(offset), count=len(ids)).messages
    equal([m.properties["UNIQ_KEY"] for m in pulled], ids, "the messages of a batch")


def check_retries(directory, client):
    retried = messages.pull_all(client, "%RETRY%Fix_G")
    dead = messages.pull_all(client, "%DLQ%Fix_G")
    true(len(retried) >= len(dead) > 5, f"{len(retried)} retried, {len(dead)} dead")
    originals = {m.properties["UNIQ_KEY"]: m for m in directory.before.records
                 if m.topic == "FixOrders"}
    for m in retried + dead:
        original = originals[m.properties["UNIQ_KEY"]]
        equal((m.body, m.flag, m.properties["RETRY_TOPIC"], m.properties["ORIGIN_MESSAGE_ID"]),
              (original.body, original.flag, "FixOrders", original.offset_id))
    equal({m.reconsume_times for m in retried}, {1}, "retried once")
    equal({m.reconsume_times for m in dead}, {2}, "dead after that")


def check_tables(directory, client):
    topics = dialect.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]
    for name, config in directory.config["topics.json"]["topicConfigTable"].items():
        equal(topics.get(name), config, f"topic {name}")
    groups = dialect.loads(client.call(codes.ALL_GROUPS).body)["subscriptionGroupTable"]
    for name, config in directory.config["subscriptionGroup.json"]["subscriptionGroupTable"].items():
        equal(groups.get(name), config, f"group {name}")
    for place, table in directory.config["consumerOffset.json"]["offsetTable"].items():
        topic, group = place.split("@")
        for queue_id, offset in table.items():
            equal(admin.query_offset(client, group, topic, queue_id), offset,
                  f"{group} in {topic}-{queue_id}")


def check_times(directory, client):
    """By store time: an exact one is found, others give the nearer neighbour."""
    for topic, queue_id in (("FixOrders", 1), ("FixLog", 3)):
        records = directory.records_of(topic, queue_id)
        times = [r.store_time for r in records]
        for ms in times[::7] + [times[-1]]:
            equal(times[search(client, topic, queue_id, ms)], ms, f"{topic}-{queue_id} by time")
        equal(search(client, topic, queue_id, times[0] - 1000), 0, "before the first")
        equal(search(client, topic, queue_id, 1 << 60), admin.max_offset(client, topic, queue_id)
              - 1, "after the last")
        wide = max(range(1, len(times)), key=lambda i: times[i] - times[i - 1])
        gap = times[wide] - times[wide - 1]
        true(gap > 4, "a pause between two messages")
        equal(times[search(client, topic, queue_id, times[wide] - 1)], times[wide])
        equal(times[search(client, topic, queue_id, times[wide - 1] + 1)], times[wide - 1])
    equal(int(client.call(codes.EARLIEST_TIME, {"topic": "FixLog", "queueId": 0})
              .fields["timestamp"]), directory.records_of("FixLog")[0].store_time, "earliest")


def query(client, topic, key, unique=False):
    """Log offsets of what a client that looks for a key gets."""
    reply = client.call(codes.QUERY_MESSAGE, {
        "topic": topic, "key": key, "maxNum": 64, "beginTimestamp": 0,
        "endTimestamp": (1 << 63) - 1, **({"_UNIQUE_KEY_QUERY": "true"} if unique else {})})
    return [m.log_offset for m in messages.decode_all(reply.body)] if reply.code == 0 else []


def check_keys(directory, client):
    """Messages by the id that their client gave them, and by the words of their keys."""
    for topic, _, _, unique, message_id, _ in directory.sent["sent"][::5]:
        true(messages.parse_offset_id(message_id)[1] in query(client, topic, unique, True),
             f"{unique} of {topic} is found")
    topic, _, _, unique = directory.sent["utf8"][0]
    equal(len(query(client, topic, unique, True)), 1, "the one beyond ASCII by its id")
    by_key = {}
    for m in directory.before.records:
        for word in m.properties.get("KEYS", "").split(" "):
            by_key.setdefault((m.topic, word), []).append(m.log_offset)
    for (topic, word), offsets in sorted(by_key.items())[::9]:
        if word and not topic.startswith("%"):
            equal(query(client, topic, word)[-1:], offsets[-1:], f"the newest {word} of {topic}")
            equal(set(query(client, topic, word)) - set(offsets), set(), f"others than {word}")


def send_more(directory, client):
    """Enough that the log and the queues roll, of every kind."""
    ends = {q: admin.max_offset(client, "FixOrders", q) for q in range(4)}
    for i in range(480):
        sent = messages.send(client, "FixOrders", b"ours %d " % i + b"x" * 500, i % 4,
                             {"TAGS": "TagA", "KEYS": f"ours-{i}"}, flag=i % 3)
        equal(sent.queue_offset, ends[i % 4] + i // 4, "the queue goes on where RocketMQ left it")
    batch = b"".join(messages.batch_item(b"batch%d" % i) for i in range(20))
    messages.send(client, "FixLog", batch, 1, batch=True)
    messages.send(client, "FixLog", b"later", 0, {"DELAY": "18"})
    admin.make_topic(client, "Ours", 3)
    admin.make_group(client, "OursGroup")
    messages.send(client, "Ours", b"first", 2)
    admin.commit_offset(client, "OursGroup", "Ours", 2, 1)
    admin.commit_offset(client, "Fix_G", "FixOrders", 1, ends[1])


def hashes(store):
    """Of the files that are RocketMQ's own business."""
    found = {}
    for folder, _, names in os.walk(store):
        for name in names:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, store)
            part = relative.split(os.sep)[0]
            if part == "config" and name not in OURS or relative in FOREIGN:
                with open(path, "rb") as file:
                    found[relative] = hashlib.sha256(file.read()).hexdigest()
    return found


def takes_in(name):
    directory = Directory(name)
    for path, content in FOREIGN.items():
        os.makedirs(os.path.dirname(os.path.join(directory.store, path)), exist_ok=True)
        with open(os.path.join(directory.store, path), "wb") as file:
            file.write(content)
    untouched = hashes(directory.store)
    true("config/consumerFilter.json" in untouched, "the archive has a consumerFilter.json")
    broker = directory.start()
    with remoting.Client(broker.port) as client:
        equal(admin.runtime_info(client)["ternDamagedRecords"], "0", "damage")
        check_tables(directory, client)
        check_queues(directory, client)
        check_sent(directory, client)
        check_special(directory, client)
        check_retries(directory, client)
        check_times(directory, client)
        check_keys(directory, client)
        send_more(directory, client)
    broker.stop()
    after = directory.judge()
    equal(hashes(directory.store), untouched, "files that are none of our business")
    true(after.end > directory.before.end + SEGMENT_BYTES, "the log has rolled")
    equal(after.last_record().whole_crc is None, False, "ours carry a checksum of their own")
    for key, wanted in directory.before.expected.items():
        equal([fields_of(m) for m in after.expected[key][:len(wanted)]],
              [fields_of(m) for m in wanted], f"{key} after the stop")
    equal(after.config["consumerOffset.json"]["offsetTable"]["Ours@OursGroup"], {2: 1})
    true("Ours" in after.config["topics.json"]["topicConfigTable"], "our topic in topics.json")
    for place, table in directory.config["consumerOffset.json"]["offsetTable"].items():
        for queue_id, offset in table.items():
            if (place, queue_id) != ("FixOrders@Fix_G", 1):
                equal(after.config["consumerOffset.json"]["offsetTable"][place][queue_id], offset)
    # And once more, from our own state this time.
    broker = directory.start()
    contains(broker.log(), "clean stop", "how the second start went")
    with remoting.Client(broker.port) as client:
        check_queues_have(client, after)
        check_sent(directory, client)
        check_keys(directory, client)
        equal(len(query(client, "FixOrders", "ours-77")), 1, "one of ours by its key")
    broker.stop()
    directory.judge()


def check_queues_have(client, found):
    for (topic, queue_id), wanted in found.expected.items():
        equal([fields_of(m) for m in messages.pull_all(client, topic, queue_id)],
              [fields_of(m) for m in wanted], f"{topic}-{queue_id}")


@claims.claim
def a_directory_that_rocketmq_stopped_cleanly_is_taken_in_whole():
    takes_in("clean49")


@claims.claim
def a_directory_of_a_killed_rocketmq_is_recovered_with_all_that_was_acknowledged():
    takes_in("killed49")


# --- delays ---

def level_18(directory):
    return directory.records_of(store_reader.SCHEDULE, 17)


def make_pending(directory, now_ms):
    """The archive is old, so its delayed messages are long due. As if they had been stored now: the
    time in the record, which no checksum of RocketMQ's covers, and the delivery time in the entry."""
    queue = os.path.join(directory.store, "consumequeue", store_reader.SCHEDULE, "17", "0" * 20)
    for number, record in enumerate(level_18(directory)):
        segment = record.log_offset // SEGMENT_BYTES * SEGMENT_BYTES
        with open(os.path.join(directory.store, "commitlog", f"{segment:020d}"), "r+b") as log:
            log.seek(record.log_offset - segment + 56)
            log.write(struct.pack(">q", now_ms))
        with open(queue, "r+b") as file:
            file.seek(number * store_reader.UNIT + 12)
            file.write(struct.pack(">q", now_ms + 2 * 3600 * 1000))
    shutil.rmtree(os.path.join(directory.store, "index"))  # which has the times, too


@claims.claim
def delayed_messages_of_rocketmq_that_are_due_are_delivered_once():
    directory = Directory("clean49")
    wanted = sorted((m.properties["REAL_TOPIC"], int(m.properties["REAL_QID"]),
                     m.properties["UNIQ_KEY"], m.body) for m in level_18(directory))
    equal(len(wanted), 2, "pending messages")
    for _ in range(2):  # the second start must not deliver again
        broker = directory.start()
        with remoting.Client(broker.port) as client:
            until(lambda c=client: delay_offset(c, 18) == len(wanted), "both are delivered")
            equal(delay_offset(client, 1), directory.config["delayOffset.json"]["offsetTable"][1])
        broker.stop()
    after = directory.judge()
    delivered = sorted((m.topic, m.queue_id, m.properties["UNIQ_KEY"], m.body)
                       for m in after.records[len(directory.before.records):])
    equal(delivered, wanted, "what was delivered")
    equal(after.config["delayOffset.json"]["offsetTable"], {1: 24, 18: 2})


def delay_offset(client, level):
    table = dialect.loads(admin.expect(client.call(codes.ALL_DELAYS)).body)["offsetTable"]
    return table.get(level, 0)


@claims.claim
def delayed_messages_of_rocketmq_that_are_not_due_stay_pending():
    directory = Directory("clean49")
    now_ms = int(time.time() * 1000)
    make_pending(directory, now_ms)
    broker = directory.start()
    with remoting.Client(broker.port) as client:
        messages.send(client, "FixLog", b"soon", 0, {"DELAY": "1"})
        until(lambda: delay_offset(client, 1) == 25, "a later message of level 1 is delivered")
        equal(delay_offset(client, 18), 0, "the level's offset")
    broker.stop()
    after = directory.judge()
    equal(after.config["delayOffset.json"]["offsetTable"].get(18, 0), 0, "in the file")
    equal([(m.log_offset, m.body, m.store_time) for m in after.expected[store_reader.SCHEDULE, 17]],
          [(m.log_offset, m.body, now_ms) for m in level_18(directory)], "pending messages")
    equal([m.body for m in after.records[len(directory.before.records):]], [b"soon"] * 2)


@claims.claim
def the_second_reader_notices_a_wrong_index():
    directory = Directory("clean49")
    folder = os.path.join(directory.store, "index")
    name = sorted(os.listdir(folder))[0]
    with open(os.path.join(folder, name), "rb") as file:
        good = file.read()
    entry = 40 + 4 * INDEX_SHAPE[0] + 20 * 7
    wrong = {"a hash": entry + 3, "an offset": entry + 11, "a time": entry + 15,
             "a chain": entry + 19, "the count": 39, "the begin": 23, "the end": 31}
    for what, at in wrong.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(good[:at] + bytes([good[at] ^ 0x08]) + good[at + 1:])
        found = store_reader.Store(directory.store, False, record_crc=False, index_shape=INDEX_SHAPE)
        true(found.problems, f"{what} was not noticed")
    os.truncate(os.path.join(folder, name), 1000)
    found = store_reader.Store(directory.store, False, record_crc=False, index_shape=INDEX_SHAPE)
    true(found.problems, "a short file was not noticed")


# --- configuration files ---

CONFIG_FILES = ("topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json")


def broken_texts(good):
    """Ways in which a file can be no good, by name."""
    return {"cut off": good[:len(good) // 2], "binary": bytes(range(1, 200)), "a list": b"[1,2]",
            "no JSON": b"hello", "another table": b'{"offsetTable":7,"topicConfigTable":[],'
            b'"subscriptionGroupTable":"x"}'}


def with_config(name, text, backup):
    """A fresh directory whose file of that name holds `text`, and its .bak `backup` (None: absent)."""
    directory = Directory("clean49")
    for suffix, content in (("", text), (".bak", backup)):
        path = os.path.join(directory.store, "config", name + suffix)
        if content is None:
            os.unlink(path)
        else:
            with open(path, "wb") as file:
                file.write(content)
    return directory


def read_config(directory, name):
    with open(os.path.join(directory.store, "config", name), "rb") as file:
        return file.read()


@claims.claim
def a_broken_configuration_file_gives_way_to_its_backup_with_a_warning():
    original = Directory("clean49")
    for name in CONFIG_FILES:
        good = read_config(original, name)
        texts = broken_texts(good)
        for what in ("cut off", "another table") if name != "topics.json" else texts:
            directory = with_config(name, texts[what], good)
            broker = directory.start()
            warnings = [line for line in broker.log().splitlines()
                        if "WARN" in line and f"config/{name} cannot be read" in line]
            equal(len(warnings), 1, f"warnings about {name}, {what}")
            contains(warnings[0], f"{name}.bak is used instead")
            with remoting.Client(broker.port) as client:
                check_tables(original, client)
                equal(delay_offset(client, 1), 24, "level 1")
            broker.stop()
            equal(read_config(directory, name + ".broken"), texts[what], "the broken file is kept")
            found = directory.judge()
            true(found.config[name], f"{name} is whole again")


@claims.claim
def an_empty_or_missing_configuration_file_gives_way_to_its_backup():
    original = Directory("clean49")
    for name in ("topics.json", "consumerOffset.json"):
        for text in (None, b"", b" \n"):
            directory = with_config(name, text, read_config(original, name))
            broker = directory.start()
            with remoting.Client(broker.port) as client:
                check_tables(original, client)
            broker.stop()
            directory.judge()


@claims.claim
def a_broken_configuration_file_without_a_good_backup_stops_the_start():
    for name in reversed(CONFIG_FILES):
        for backup in (None, b'{"offsetTable'):
            directory = with_config(name, b'{"topicConfigTable":{"a":', backup)
            broker = directory.start(ready=False)
            broker.wait_end(3)
            line = broker.log().splitlines()[-1]
            contains(line, f"config/{name}", "the reason")
            contains(line, "there is no good copy of it")
            contains(line, "restore it, or remove it")
            # Nothing was changed, so that it can be restored.
            equal(read_config(directory, name), b'{"topicConfigTable":{"a":')
            true(not os.path.exists(os.path.join(directory.store, "abort")), "no abort file")
            true(directory.judge_log() == directory.before.end, "the log is as it was")
    # topics.json removed, as the line says: the broker goes on with what the messages tell.
    os.unlink(os.path.join(directory.store, "config", name))
    if os.path.exists(os.path.join(directory.store, "config", name + ".bak")):
        os.unlink(os.path.join(directory.store, "config", name + ".bak"))
    broker = directory.start()
    with remoting.Client(broker.port) as client:
        check_queues(directory, client)
    broker.stop()
    directory.judge()


claims.run()
