#!/usr/bin/env python3
"""A second reader of the store, written from the description of the format alone.

    store_reader.py [--crashed] [--deleted TOPIC]... [--list] DIR

Judges a directory that a broker left behind and lists every problem: the segments and each record of
the commit log with all checksums, blanks, what lies behind the end; the consume queues against the
log in both directions; checkpoint, abort, lock; the configuration files and how they are written;
files that nobody asked for; and, after a clean stop, whether RocketMQ's own way to open a directory
would come to the same end. It never writes. Exit code 0: no problem, 1: problems, 2: usage.

What a hard stop may leave (--crashed, or an `abort` file): a last record that was cut short, with nothing
behind it; queues that end before the log does, configuration files that lag or do not exist yet. It
may not leave holes, wrong entries, or damage below the end of the log.
"""
import argparse
import os
import re
import struct
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# pylint: disable=wrong-import-position
from lib import dialect, messages  # noqa: E402

UNIT = 20
SEGMENT_NAME = re.compile(r"^[0-9]{20}$")
TOPIC_NAME = re.compile(r"^[%|a-zA-Z0-9_-]{1,127}$")
BLANK_MIN = 8
PRE_BLANK = (0, 0x7FFFFFFF, 0)
SCHEDULE = "SCHEDULE_TOPIC_XXXX"
NOT_CONFIGURED = {"RMQ_SYS_TRANS_OP_HALF_TOPIC"}  # RocketMQ makes it without writing it down
DELAYS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"
TRANSACTION_MASK, PREPARED, ROLLBACK = 0xC, 0x4, 0xC
CHECKPOINT_SIZE = 4096
# What may stand in the root. tern/ is ours; the rest is RocketMQ's, of 4.9 and of 5.
ROOT_NAMES = {"commitlog", "consumequeue", "consumequeue_ext", "batchconsumequeue", "index", "config",
              "checkpoint", "abort", "abort.bak", "lock", "tern", "timerwheel", "timerlog",
              "compaction", "kvStore", "epochFileCheckpoint", "brokerIdentity"}
TEXT_OF_JAVA = {"topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"}


def delay_ms(text):
    unit = {"s": 1000, "m": 60000, "h": 3600000, "d": 86400000}
    return [int(item[:-1]) * unit[item[-1]] for item in text.split(" ")]


class Store:
    """What was found: `records` in log order, `end` of the log, `queues` ((topic, id) -> units),
    `config` (file name -> tree), and `problems` in words."""

    def __init__(self, root, crashed=None, deleted=(), delays=DELAYS, record_crc=True,
                 segment_bytes=None, queue_file_bytes=None, index_shape=None):
        """The sizes are the settings of the broker that is to open it; None: as they are. index_shape:
        (maxHashSlotNum, maxIndexNum); None: the index is not looked at."""
        self.root = root
        self.wanted_sizes = {"commitlog": segment_bytes}
        self.queue_file_bytes = queue_file_bytes
        self.index_shape = index_shape
        self.problems = []
        self.records, self.by_offset, self.queues, self.config = [], {}, {}, {}
        self.raw_queues, self.units_in_file = {}, 1  # with fillers
        self.start = self.end = 0
        self.deleted = set(deleted)
        self.delays = delay_ms(delays)
        self.record_crc = record_crc
        self.has_abort = os.path.exists(os.path.join(root, "abort"))
        self.crashed = self.has_abort if crashed is None else crashed
        self._read_log()
        self._check_offsets()
        self._read_queues()
        self._check_queues()
        if index_shape:
            self._check_index()
        self._check_small_files()
        self._read_config()
        self._check_config()
        if not self.crashed:
            self._open_as_rocketmq()

    def bad(self, text):
        self.problems.append(text)

    def last_record(self):
        return self.records[-1] if self.records else None

    # --- segments ---

    def _segments(self, folder, what):
        """[(first byte, path)], sizes equal, one after the other; None when that fails."""
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return [], 0
        size = self.wanted_sizes.get(what, self.queue_file_bytes)
        found = []
        for name in names:
            path = os.path.join(folder, name)
            if not SEGMENT_NAME.match(name) or not os.path.isfile(path):
                self.bad(f"{what}: {name} does not belong there")
                continue
            length = os.path.getsize(path)
            if size is None:
                size = length
            elif length != size:
                self.bad(f"{what}: {name} has {length} bytes, expected {size}")
                continue
            found.append((int(name), path))
        for (first, path), (second, _) in zip(found, found[1:]):
            if second != first + size:
                self.bad(f"{what}: {os.path.basename(path)} is followed by {second:020d}")
        if found and size and found[0][0] % size:
            self.bad(f"{what}: {found[0][0]:020d} is no multiple of {size}")
        return found, size or 0

    # --- commit log ---

    def _read_log(self):
        segments, size = self._segments(os.path.join(self.root, "commitlog"), "commitlog")
        self.segment_bytes = size
        if segments:
            self.start = self.end = segments[0][0]
        ended = False
        for index, (first, path) in enumerate(segments):
            with open(path, "rb") as file:
                data = file.read()
            if ended:
                if any(data):
                    self.bad(f"commitlog: {first:020d} lies behind the end of the log and is not "
                             f"empty")
                elif not self.crashed:
                    self.bad(f"commitlog: {first:020d} was prepared and is left after a clean stop")
                continue
            used = self._read_segment(data, first)
            self.end = first + used
            if used < len(data):
                ended = True
                tail = data[used:]
                if tail.count(0) != len(tail) and not self._is_cut_short(tail):
                    self.bad(f"commitlog: bytes that are no record at {self.end}: "
                             f"{tail[:32].hex()}")
            elif index == len(segments) - 1:
                ended = True

    def _read_segment(self, data, first):
        """Bytes up to the end of the last record; all of them when a blank ends the segment."""
        at = 0
        while at < len(data):
            if len(data) - at < BLANK_MIN:
                self.bad(f"commitlog: no blank record at the end of {first:020d}")
                return at
            total, magic = struct.unpack_from(">iI", data, at)
            if magic == messages.BLANK_MAGIC:
                if total != len(data) - at:
                    self.bad(f"commitlog: the blank at {first + at} says {total}, there are "
                             f"{len(data) - at} bytes")
                return len(data)
            if total == 0 and magic == 0:
                return at
            try:
                record = messages.decode(data, at)
            except messages.BadRecord as error:
                if not self._is_cut_short(data[at:]):
                    self.bad(f"commitlog: record at {first + at}: {error}")
                return at
            self._check_record(record, first + at, len(data) - at)
            self.records.append(record)
            self.by_offset[first + at] = record
            at += record.size
        return at

    def _is_cut_short(self, data):
        """A whole record ends with its checksum, which is text: there is no zero at its end."""
        if not self.crashed or not self.record_crc or len(data) < BLANK_MIN:
            return False
        total, = struct.unpack_from(">i", data)
        return len(data.rstrip(b"\0")) < total <= len(data)

    def _check_record(self, record, offset, left):
        where = f"commitlog: record at {offset}"
        if record.log_offset != offset:
            self.bad(f"{where} says that it is at {record.log_offset}")
        if record.size + BLANK_MIN > left:
            self.bad(f"{where} leaves no room for a blank")
        if not TOPIC_NAME.match(record.topic):
            self.bad(f"{where} has topic {record.topic!r}")
        if record.queue_id < 0:
            self.bad(f"{where} has queue id {record.queue_id}")
        if self.record_crc and record.whole_crc is None:
            self.bad(f"{where} has no checksum of the whole record")
        if len(record.raw_properties) > 32767:
            self.bad(f"{where} has {len(record.raw_properties)} bytes of properties")
        if record.store_time <= 0:
            self.bad(f"{where} has store time {record.store_time}")

    @staticmethod
    def _is_queued(record):
        return record.sys_flag & TRANSACTION_MASK not in (PREPARED, ROLLBACK)

    def _check_offsets(self):
        """In the log the offsets of a queue go up by one, from 0 when the log has its start."""
        self.expected = {}  # (topic, queue) -> records in order
        for record in self.records:
            if not self._is_queued(record):
                continue
            key = record.topic, record.queue_id
            of_queue = self.expected.setdefault(key, [])
            if of_queue and record.topic in self.deleted and record.queue_offset == 0:
                of_queue.clear()  # made again
            wanted = of_queue[-1].queue_offset + 1 if of_queue else \
                (0 if self.start == 0 else record.queue_offset)
            if record.queue_offset != wanted:
                self.bad(f"commitlog: record at {record.log_offset} has offset "
                         f"{record.queue_offset} in queue {record.topic}-{record.queue_id}, "
                         f"expected {wanted}")
            of_queue.append(record)

    # --- consume queues ---

    def _read_queues(self):
        folder = os.path.join(self.root, "consumequeue")
        if not os.path.isdir(folder):
            self.bad("consumequeue is missing")
            return
        for topic in sorted(os.listdir(folder)):
            if not TOPIC_NAME.match(topic):
                self.bad(f"consumequeue: {topic!r} is no topic name")
                continue
            for queue_id in sorted(os.listdir(os.path.join(folder, topic))):
                if not queue_id.isdigit():
                    self.bad(f"consumequeue: {topic}/{queue_id} is no queue")
                    continue
                self._read_queue(topic, int(queue_id), os.path.join(folder, topic, queue_id))

    def _read_queue(self, topic, queue_id, folder):
        what = f"queue {topic}-{queue_id}"
        segments, size = self._segments(folder, what)
        if size % UNIT:
            self.bad(f"{what}: files of {size} bytes")
            return
        self.units_in_file = size // UNIT
        raw = self.raw_queues.setdefault((topic, queue_id), {})
        units, ended = {}, False
        for first, path in segments:
            with open(path, "rb") as file:
                data = file.read()
            for at in range(0, len(data), UNIT):
                unit = struct.unpack_from(">qiq", data, at)
                number = (first + at) // UNIT
                if unit != (0, 0, 0):
                    raw[number] = unit
                if unit == (0, 0, 0):
                    ended = True
                elif ended:
                    self.bad(f"{what}: entry {number} lies behind empty ones")
                    ended = False
                if unit not in ((0, 0, 0), PRE_BLANK):
                    units[number] = unit
                elif unit == PRE_BLANK and units:
                    self.bad(f"{what}: entry {number} is a filler after real entries")
        self.queues[topic, queue_id] = units

    def _tags_code(self, record):
        if record.topic == SCHEDULE and record.properties.get("DELAY", "").isdigit():
            level = min(int(record.properties["DELAY"]), len(self.delays))
            if level > 0:
                return record.store_time + self.delays[level - 1]
        return messages.java_hash(record.properties.get("TAGS", ""))

    def _check_queues(self):
        for (topic, queue_id), units in self.queues.items():
            what = f"queue {topic}-{queue_id}"
            for number, (offset, size, code) in units.items():
                record = self.by_offset.get(offset)
                if record is None:
                    if offset >= self.start:
                        self.bad(f"{what}: entry {number} leads to {offset}, where no record is")
                    continue
                found = record.topic, record.queue_id, record.queue_offset, record.size
                wanted = topic, queue_id, number, size
                if found != wanted:
                    self.bad(f"{what}: entry {number} of {size} bytes leads to {found} at {offset}")
                elif code != self._tags_code(record):
                    self.bad(f"{what}: entry {number} has tags code {code}, the record "
                             f"{self._tags_code(record)}")
        for (topic, queue_id), records in self.expected.items():
            if topic in self.deleted and (topic, queue_id) not in self.queues:
                continue
            units = self.queues.get((topic, queue_id), {})
            missing = [r.queue_offset for r in records if r.queue_offset not in units]
            if missing and self.crashed:
                # only the end may be missing
                rest = [r.queue_offset for r in records if r.queue_offset >= missing[0]]
                missing = [] if missing == rest else missing
            if missing:
                self.bad(f"queue {topic}-{queue_id}: no entries for offsets {missing[:10]} "
                         f"({len(missing)} in all)")

    # --- key index ---

    def _check_index(self):
        """Each file's counts, chains and ends; every entry leads to a record with that key; and after
        a clean stop every key of every record is there. Entry 0 of a file is never used; the count
        is one more than there are."""
        folder = os.path.join(self.root, "index")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        slots, most = self.index_shape
        found, before = set(), 0
        for name in names:
            path = os.path.join(folder, name)
            if not name.isdigit():
                self.bad(f"index: {name} does not belong there")
                continue
            with open(path, "rb") as file:
                data = file.read()
            size = 40 + 4 * slots + 20 * most
            if len(data) != size:
                self.bad(f"index: {name} has {len(data)} bytes, expected {size}")
                continue
            before = self._check_index_file(name, data, before, found)
        for record in self.records if names and not self.crashed else ():
            if record.sys_flag & TRANSACTION_MASK == ROLLBACK:
                continue
            for key in self._keys(record):
                if (self._key_hash(record, key), record.log_offset) not in found:
                    self.bad(f"index: key {key!r} of the record at {record.log_offset} is missing")
                    return

    @staticmethod
    def _keys(record):
        unique = record.properties.get("UNIQ_KEY")
        return ([unique] if unique else []) + \
            [word for word in record.properties.get("KEYS", "").split(" ") if word]

    @staticmethod
    def _key_hash(record, key):
        value = abs(messages.java_hash(f"{record.topic}#{key}"))
        return 0 if value >= 1 << 31 else value

    def _check_index_file(self, name, data, before, found):
        """Returns the log offset of the file's last entry."""
        slots, most = self.index_shape
        begin_ms, end_ms, begin, end, used, count = struct.unpack_from(">qqqqii", data, 0)
        what = f"index: {name}"
        if not 1 <= count <= most or used > slots:
            self.bad(f"{what} has the counts {used} and {count}")
            return before
        heads = struct.unpack_from(f">{slots}i", data, 40)
        entries = [struct.unpack_from(">iqii", data, 40 + 4 * slots + 20 * i)
                   for i in range(count)]
        if sum(head > 0 for head in heads) != used:
            self.bad(f"{what}: {sum(head > 0 for head in heads)} slots are used, it says {used}")
        seen = 0
        for slot, number in enumerate(heads):
            while number > 0:
                if number >= count:
                    self.bad(f"{what}: slot {slot} leads to entry {number} of {count}")
                    break
                hashed, _, _, previous = entries[number]
                if hashed % slots != slot or previous >= number:
                    self.bad(f"{what}: entry {number} in slot {slot} has hash {hashed}, then comes "
                             f"{previous}")
                    break
                seen += 1
                number = previous
        if seen != count - 1:
            self.bad(f"{what}: {seen} entries are in chains, it says {count - 1}")
        for number, (hashed, offset, delta, _) in enumerate(entries[1:], 1):
            record = self.by_offset.get(offset)
            if record is None:
                if offset >= self.start:
                    self.bad(f"{what}: entry {number} leads to {offset}, where no record is")
                continue
            if hashed not in {self._key_hash(record, key) for key in self._keys(record)}:
                self.bad(f"{what}: entry {number} leads to {offset}, which has no such key")
            if delta != max(0, (record.store_time - begin_ms) // 1000):
                self.bad(f"{what}: entry {number} has time {delta}, begin is {begin_ms}, the record's "
                         f"{record.store_time}")
            found.add((hashed, offset))
        if count > 1 and (entries[1][1], entries[-1][1]) != (begin, end):
            self.bad(f"{what}: from {entries[1][1]} to {entries[-1][1]}, it says {begin} to {end}")
        if begin < before or end < begin or end_ms < begin_ms:
            self.bad(f"{what}: from {begin} to {end}, {begin_ms} to {end_ms} ms, the one before ends "
                     f"at {before}")
        return end

    # --- opening it as RocketMQ 4.9 does after a clean stop ---

    def _open_as_rocketmq(self):
        """Its recovery believes more than we do: it looks at the last three files of everything, and
        takes what is well formed for good. It must come to the same ends, find nothing left to
        dispatch, and give the next message of each queue the right offset."""
        end = self._log_end_of_rocketmq()
        if end != self.end:
            self.bad(f"opened by RocketMQ, the log ends at {end}, not at {self.end}")
        dispatched = 0
        for (topic, queue_id), units in sorted(self.raw_queues.items()):
            what = f"opened by RocketMQ, queue {topic}-{queue_id}"
            numbers = sorted(units)
            first = numbers[0] // self.units_in_file if numbers else 0
            last = numbers[-1] // self.units_in_file if numbers else 0
            at = max(first, last - 2) * self.units_in_file
            while units.get(at, (0, 0, 0))[0] >= 0 and units.get(at, (0, 0, 0))[1] > 0:
                offset, size, _ = units[at]
                if offset + size > end:
                    self.bad(f"{what}: entry {at} ends behind the log")
                dispatched = max(dispatched, offset + size)
                at += 1
            records = self.expected.get((topic, queue_id), [])
            wanted = records[-1].queue_offset + 1 if records else at
            if at != wanted:
                self.bad(f"{what}: the next offset is {at}, not {wanted}")
        left = [r.log_offset for r in self.records
                if r.log_offset >= dispatched and self._is_queued(r)]
        if left:
            self.bad(f"opened by RocketMQ, {len(left)} records from {left[0]} on are dispatched anew")

    def _log_end_of_rocketmq(self):
        folder = os.path.join(self.root, "commitlog")
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        end = 0
        for name in names[-3:]:
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            at = 0
            while len(data) - at >= BLANK_MIN:
                total, magic = struct.unpack_from(">iI", data, at)
                if magic == messages.BLANK_MAGIC:
                    at = len(data)
                    break
                try:
                    at += messages.decode(data, at).size
                except messages.BadRecord:
                    break
            end = int(name) + at
            if at < len(data):
                break
        return end

    # --- small files ---

    def _check_small_files(self):
        for name in sorted(os.listdir(self.root)):
            if name not in ROOT_NAMES:
                self.bad(f"{name} does not belong there")
        if self.has_abort and not self.crashed:
            self.bad("abort is left after a clean stop")
        if self.crashed and not self.has_abort:
            self.bad("abort is missing after a hard stop")
        try:
            with open(os.path.join(self.root, "lock"), "rb") as file:
                if file.read() != b"lock":
                    self.bad("lock does not hold the text lock")
        except FileNotFoundError:
            self.bad("lock is missing")
        path = os.path.join(self.root, "checkpoint")
        if not os.path.exists(path):
            if not self.crashed:
                self.bad("checkpoint is missing after a clean stop")
            return
        with open(path, "rb") as file:
            data = file.read()
        if len(data) != CHECKPOINT_SIZE:
            self.bad(f"checkpoint has {len(data)} bytes")
            return
        self.checkpoint = struct.unpack_from(">qqq", data)
        # Times that are too new would make a recovery begin too late.
        newest = self.records[-1].store_time if self.records else 0
        for name, value in zip(("physical", "logic"), self.checkpoint):
            if value < 0 or (self.records and value > newest):
                self.bad(f"checkpoint: the {name} time {value} is later than the last record's "
                         f"{newest}")

    # --- configuration ---

    def _read_config(self):
        folder = os.path.join(self.root, "config")
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in names:
            if name.endswith(".tmp") and not self.crashed:
                self.bad(f"config: {name} is left after a clean stop")
            if not name.endswith(".json"):
                continue
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            try:
                self.config[name] = dialect.loads(data)
            except dialect.BadText as error:
                self.bad(f"config: {name}: {error}")
                continue
            if name in TEXT_OF_JAVA:
                self._check_text(name, data.decode())
                self._check_members(name, self.config[name])

    def _check_text(self, name, text):
        """Laid out as fastjson does it: a member a line, indented by its depth in tabs; integer keys
        stay on the line of the brace."""
        depth = 0
        for number, line in enumerate(text.split("\n"), 1):
            closes = len(line) - len(line.lstrip("\t}")) - (len(line) - len(line.lstrip("\t")))
            tabs = len(line) - len(line.lstrip("\t"))
            if tabs != depth - closes or line.strip() != line.lstrip("\t"):
                self.bad(f"config: {name}: line {number} is laid out otherwise: {line!r}")
                return
            plain = re.sub(r'"(\\.|[^"\\])*"', '""', line)
            depth += plain.count("{") - plain.count("}")

    def _check_members(self, name, tree):
        """Members of objects are in order and never null; the keys of tables are as they come."""
        if not isinstance(tree, dict):
            return
        tables = ("topicConfigTable", "subscriptionGroupTable", "offsetTable")
        keys = list(tree)
        if any(value is None for value in tree.values()):
            self.bad(f"config: {name}: a null")
        if not any(isinstance(k, int) for k in keys) and \
                not all(isinstance(v, dict) and k != "dataVersion" for k, v in tree.items()) and \
                keys != sorted(keys):
            self.bad(f"config: {name}: members {keys} are not in order")
        for key, value in tree.items():
            for one in value.values() if key in tables and isinstance(value, dict) else [value]:
                self._check_members(name, one)

    def _wanted(self, name):
        if name not in self.config:
            if not self.crashed:
                self.bad(f"config: {name} is missing after a clean stop")
            return None
        return self.config[name]

    def _version(self, name, tree):
        version = tree.get("dataVersion")
        if not isinstance(version, dict) or \
                any(type(version.get(k)) is not int for k in ("counter", "timestamp")):
            self.bad(f"config: {name} has the data version {version}")

    def _check_config(self):
        topics = self._wanted("topics.json")
        if topics is not None:
            self._version("topics.json", topics)
            self._check_topics(topics["topicConfigTable"])
        groups = self._wanted("subscriptionGroup.json")
        if groups is not None:
            self._version("subscriptionGroup.json", groups)
            for name, group in groups["subscriptionGroupTable"].items():
                if group.get("groupName") != name:
                    self.bad(f"config: group {name} is called {group.get('groupName')}")
                for key in ("brokerId", "retryMaxTimes", "retryQueueNums",
                            "whichBrokerWhenConsumeSlowly"):
                    if type(group.get(key)) is not int:
                        self.bad(f"config: group {name} has {key}={group.get(key)!r}")
        offsets = self.config.get("consumerOffset.json")
        if offsets is not None:
            for place, table in offsets["offsetTable"].items():
                self._check_consumer_offsets(place, table)
        delays = self.config.get("delayOffset.json")
        if delays is not None:
            for level, offset in delays["offsetTable"].items():
                end = self._queue_end(SCHEDULE, level - 1) if type(level) is int else -1
                if type(level) is not int or type(offset) is not int or not 0 <= offset <= end:
                    self.bad(f"config: delay level {level!r} is at {offset!r}, the queue ends at "
                             f"{end}")

    def _check_topics(self, table):
        for name, topic in table.items():
            if topic.get("topicName") != name:
                self.bad(f"config: topic {name} is called {topic.get('topicName')}")
            for key in ("perm", "readQueueNums", "writeQueueNums", "topicSysFlag"):
                if type(topic.get(key)) is not int:
                    self.bad(f"config: topic {name} has {key}={topic.get(key)!r}")
            if topic.get("topicFilterType") not in ("SINGLE_TAG", "MULTI_TAG"):
                self.bad(f"config: topic {name} has the filter type "
                         f"{topic.get('topicFilterType')!r}")
        if self.crashed:
            return
        for topic, _ in self.queues:
            if topic not in table and topic not in NOT_CONFIGURED:
                self.bad(f"config: topic {topic} has queues and no configuration")
        for topic in {r.topic for r in self.records} - self.deleted - NOT_CONFIGURED:
            if topic not in table:
                self.bad(f"config: topic {topic} has messages and no configuration")

    def _queue_end(self, topic, queue_id):
        records = self.expected.get((topic, queue_id))
        return records[-1].queue_offset + 1 if records else 0

    def _check_consumer_offsets(self, place, table):
        topic, separator, group = place.partition("@")
        if not separator or not group:
            self.bad(f"config: consumer offsets of {place!r}")
            return
        for queue_id, offset in table.items():
            if type(queue_id) is not int or type(offset) is not int:
                self.bad(f"config: {place} has the offset {queue_id!r}:{offset!r}")
            elif (topic, queue_id) in self.expected and \
                    offset > self._queue_end(topic, queue_id):
                self.bad(f"config: {place} is at {offset} of queue {queue_id}, which ends at "
                         f"{self._queue_end(topic, queue_id)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--crashed", action="store_true", default=None,
                        help="the broker was stopped hard (default: when there is an abort file)")
    parser.add_argument("--deleted", action="append", default=[], metavar="TOPIC",
                        help="a topic that was deleted while its messages are in the log")
    parser.add_argument("--delays", default=DELAYS, help="the broker's messageDelayLevel")
    parser.add_argument("--no-record-crc", action="store_true",
                        help="records need no checksum of their own (RocketMQ wrote them)")
    parser.add_argument("--list", action="store_true", help="list the records")
    parser.add_argument("directory")
    args = parser.parse_args()
    store = Store(args.directory, args.crashed, args.deleted, args.delays, not args.no_record_crc)
    if args.list:
        for record in store.records:
            print(record)
    for problem in store.problems:
        print(problem)
    print(f"{args.directory}: log from {store.start} to {store.end}, {len(store.records)} records, "
          f"{len(store.queues)} queues, {'crashed' if store.crashed else 'stopped cleanly'}: "
          f"{len(store.problems)} problems")
    return 1 if store.problems else 0


if __name__ == "__main__":
    sys.exit(main())
