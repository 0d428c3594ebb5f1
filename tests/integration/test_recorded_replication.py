"""Recorded replication of RocketMQ 4.9.8: its slaves' and testers' bytes to our master, its masters' bytes to
our slave, and what ours say is held against what RocketMQ said.

Our logs get the recorded geometry: file size, ends of records, ends of logs; so all log offsets must be
the recorded ones. Log bytes were not recorded whole: they are compared between our two sides. Replies
are compared as in test_recorded. Periods are shortened by our settings; that RocketMQ's peers wait 5 s
before a first report is not repeated. What differs is either listed with its reason, or it is a fault.
"""
import json
import os
import re
import shutil

from lib import admin, claims, codes, dialect, ha, messages, process, recorded, remoting
from lib.claims import Broken, equal, true, until
from lib.java_master import FILE, Log, Master

RUNS_SANITIZED = True

WITH_A_SLAVE = ["d1_fresh_slave_joins", "d2_idle_heartbeats", "d3_sync_master_send",
                "d4_topic_created_and_metadata_pulled", "d5_pull_and_admin_on_slave",
                "d6_slave_frozen_then_resumed", "d7_slave_stops_and_returns",
                "d8_master_stops_and_returns"]
FAKE_SLAVES = ["e1_fake_slave", "e2_fake_slave_beyond_end", "e3_fake_slave_below_start"]
FAKE_MASTERS = ["e4_fake_master_java_slave", "e5_fake_master_mid_file",
                "e6_fake_master_oversize_and_refused"]
# Where the log ends at the end of a recording.
ENDS = {"d1": 356864, "d2": 356864, "d3": 513632, "d4": 513632, "d5": 513632, "d6": 514314, "d7": 517724,
        "d8": 517724, "e1": 387812, "e2": 394468, "e3": 395446}

BATCH = 32768
# Records without our CRC have RocketMQ's sizes, haFreshSlaveFrom=last begins where its masters do.
STORE = {"mappedFileSizeCommitLog": FILE, "maxMessageSize": 65536, "scrubBytesPerSecond": 0,
         "haSendHeartbeatInterval": 50, "haFreshSlaveFrom": "last", "registerBrokerTimeoutMills": 1000}
MASTER = {"brokerRole": "SYNC_MASTER", "recordCrcEnable": False, "slaveTimeout": 60000, **STORE}
SLAVE = {"brokerRole": "SLAVE", "brokerId": 1, "slaveMetadataInterval": 100, **STORE}
IMPATIENT = {"slaveTimeout": 200}
# A recording begins with these; at some marks the master is started again with others.
SETTINGS = {"d6": {"haHousekeepingInterval": 1000}, "e1": IMPATIENT, "e2": IMPATIENT, "e3": IMPATIENT}
RESTARTS = {("e1", "send, acked only up to the previous end"): {},
            ("e1", "zero got (11.233"): IMPATIENT,
            ("e1", "now idle"): {"haHousekeepingInterval": 500}}

# Transactions come later, and their topic with them.
LEFT_OUT = re.compile("RMQ_SYS_TRANS|TRANS_CHECK_MAX_TIME_TOPIC")

# (request code, place in the reply, reason)
EVERYWHERE = [
    (codes.RUNTIME_INFO, r"body\.table\.(EndTransaction.*|remainTransientStoreBufferNumbs|dispatchMaxBuffer|"
                         r"putMessageDistributeTime|putLatency99.?|[gp].tMessageEntireTimeMax)",
     "there is nothing behind them: docs/protocol/remoting.md"),
]
REPLIES = {
    "e2": [(codes.SEND, "code (0|12) -> 11", "RocketMQ counts a first report beyond its end as a copy of all, "
                                             "and its connection as a slave; ours refuses it")],
    "e3": [(codes.RUNTIME_INFO, "code 1 -> 0", "RocketMQ's fails with a NoSuchElementException")],
}
# (recording, connection): RocketMQ goes on with it, ours closes it at its first report
REFUSED = {
    ("e2", 4): "beyond the end: it is not a copy of this log",
    ("e3", 2): "below the first file: RocketMQ sends heartbeats for ever",
    ("e3", 3): "likewise",
    ("e3", 5): "negative: RocketMQ says nothing for ever",
}


def short(name):
    return name.split("_")[0]


class Replay(recorded.Comparison):
    """The rows of one recording, one after the other."""

    needed = set()  # of the decisions

    def __init__(self, name):
        super().__init__()
        self.name, self.rows = short(name), recorded.load(name)
        self.decisions = EVERYWHERE + REPLIES.get(self.name, [])
        self.where, self.by = {}, {}  # of a connection
        self.closed = set()
        self.asked = {}  # (connection, opaque) -> row
        self.ports = {}

    def left_out(self, text):
        return LEFT_OUT.search(text)

    def to_ours(self, text):
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: "127.0.0.1:%d" % self.ports.get(
            int(m[1]), int(m[1])), text)

    def to_recorded(self, text):
        back = {ours: theirs for theirs, ours in self.ports.items()}
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: "127.0.0.1:%d" % back.get(
            int(m[1]), int(m[1])), text)

    def learn(self, recorded_id, our_id):
        theirs, ours = (messages.parse_offset_id(i)[1] for i in (recorded_id, our_id))
        if theirs != ours:
            self.differences.append(f"a message is at log offset {ours}, recorded {theirs}")

    def differ(self, row, place, recorded, ours):
        super().differ(row, f"code {recorded} -> {ours}" if place == "code" else place, recorded, ours)

    def raw(self, row):
        """The bytes of a request, with our ports."""
        fields = row.get("e")
        if fields:
            fields = {name: self.to_ours(value) for name, value in fields.items()}
        return recorded.frame(row, fields)

    def run(self):
        self.begin()
        for self.at, row in enumerate(self.rows):
            if "mark" in row:
                self.mark(row["mark"])
            elif "open" in row:
                self.where[row["s"]], self.by[row["s"]] = row["open"], row.get("by", "client")
                self.open(row["s"], row)
            elif row["s"] not in self.closed:
                if "close" in row:
                    self.close(row["s"], row["close"] == "<")
                elif "h" in row:
                    self.replicate(row["s"], row)
                else:
                    self.exchange(row["s"], row)
        self.end()
        if self.differences:
            raise Broken(f"{len(self.differences)} differences:\n      " +
                         "\n      ".join(self.differences[:60]))

    def later(self, stream):
        """The next row of the connection."""
        return next((r for r in self.rows[self.at + 1:] if r.get("s") == stream), {})

    def compare_fields(self, asked, row, ours):
        if ours.fields:
            ours.fields = {name: self.to_recorded(value) for name, value in ours.fields.items()}
        super().compare_fields(asked, row, ours)

    def compare_body(self, asked, row, ours):
        if asked["c"] != codes.RUNTIME_INFO:
            super().compare_body(asked, row, ours)
        elif "n" not in row:
            names = [{re.sub("_/.*", "_PATH", name) for name in table} for table in (
                dialect.loads(row["b"])["table"], dialect.loads(ours.body)["table"])]
            for name in sorted(names[0] - names[1]):
                self.differ(asked, f"body.table.{name}", "there", None)

    def ask(self, client, stream, row):
        self.asked[stream, row["o"]] = row
        client.send_frame(self.raw(row), row["o"])

    def answered(self, client, stream, row):
        asked = self.asked.pop((stream, row["o"]))
        self.compare(asked, row, client.reply(row["o"]))


# --- our master ---

class Cluster:
    """A name server, and a master whose log goes on from recording to recording."""

    def __init__(self):
        self.namesrv, self.store, self.broker = process.Namesrv(), None, None
        with remoting.Client(self.namesrv.port) as client:
            # RocketMQ answers registrations with an empty table when there has been an ordered topic.
            named = {"namespace": "ORDER_TOPIC_CONFIG", "key": "T"}
            admin.expect(client.call(codes.PUT_KV, {**named, "value": "broker-a:1"}))
            admin.expect(client.call(codes.DELETE_KV, named))

    def start(self, settings):
        if self.broker:
            self.broker.stop()
        self.broker = process.Broker(self.namesrv, store=self.store, **{**MASTER, **settings})
        self.store = self.broker.store
        with remoting.Client(self.namesrv.port) as client:
            until(lambda: admin.route(client, "TBW102"), "the master is registered")

    def info(self, name):
        with remoting.Client(self.broker.port) as client:
            return int(admin.runtime_info(client)[name])

    def log(self):
        folder = os.path.join(self.store, "commitlog")
        return {int(name): open(os.path.join(folder, name), "rb").read()
                for name in os.listdir(folder)}


class Stream:
    """A replication connection to our master, as another host than the others."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.slave = ha.Slave(cluster.broker.port + 1, source=f"127.0.0.{number + 1}")
        self.next = self.said = None  # log offset that must come next; last report

    def report(self, offsets, cut=0):
        """In one write, or in two, with the cut after so many bytes."""
        self.said = offsets[-1]
        data = b"".join(o.to_bytes(8, "big", signed=True) for o in offsets)
        if cut:
            self.slave.send_raw(data[:cut])
            self.cluster.info("ternSlavesNear")  # time enough to look at it
        self.slave.send_raw(data[cut:])

    def frame(self):
        offset, data = self.slave.frame()
        equal(offset, self.next, "log offset of a frame")
        true(len(data) <= BATCH, f"{len(data)} bytes in one frame")
        true(offset % FILE + len(data) <= FILE, f"{offset} + {len(data)} crosses the end of a file")
        self.next += len(data)
        return data

    def expect(self, offset, size):
        """Frames up to the end of the recorded one; more only when they were joined."""
        if self.next is None:
            self.next = offset
        if size == 0:
            while self.frame():
                pass
            equal(self.next, offset, "log offset of a heartbeat")
        while self.next < offset + size:
            self.frame()

    def check(self, log):
        for offset, data in self.slave.frames:
            begin = offset // FILE * FILE
            true(data == log[begin][offset - begin:offset - begin + len(data)],
                 f"the bytes at {offset} are those of the log")


class MasterSide(Replay):
    """Our name server and our master; slaves, clients and tools are recorded."""

    cluster = None  # goes on from recording to recording

    def begin(self):
        self.clients, self.streams, self.lost, self.beside = {}, {}, [], []
        self.rows = self.reports_together()
        self.start(SETTINGS.get(self.name, {}))
        if self.name[0] == "d" and self.name != "d1":
            registered = next(r for r in recorded.load(WITH_A_SLAVE[0]) if r.get("c") == 103)
            self.beside.append(remoting.Client(self.cluster.namesrv.port))
            self.beside[0].send_frame(self.raw(registered), registered["o"])
            equal(self.beside[0].reply(registered["o"]).code, 0)

    def reports_together(self):
        """Reports with nothing between them: they are sent in one write."""
        rows = []
        for row in self.rows:
            if rows and "h" in row and row["d"] == ">" and "h" in rows[-1] and \
                    (rows[-1]["s"], rows[-1]["d"]) == (row["s"], row["d"]):
                rows[-1] = {**row, "h": rows[-1]["h"] + row["h"]}
            else:
                rows.append(row)
        return rows

    def start(self, settings):
        self.cluster.start(settings)
        port = self.cluster.broker.port
        main, self.vip = (13911, 13909) if self.name[0] == "e" else (10911, 10909)
        self.ports = {9876: self.cluster.namesrv.port, main: port, main - 2: port - 2,
                      main + 1: port + 1}

    def restart(self, settings):
        """With other settings; who was connected is again, and slaves say what they have said."""
        before = self.streams
        for client in self.clients.values():
            client.close()
        self.start(settings)
        for stream in self.clients:
            self.clients[stream] = self.connect(stream)
        self.streams = {}
        for stream, old in before.items():
            old.check(self.cluster.log())
            if stream in self.closed:
                continue
            new = self.streams[stream] = Stream(self.cluster, stream)
            if old.said is not None:
                new.report([old.said])
                new.next = old.said
                new.expect(old.said, old.next - old.said)
        self.near()

    def connect(self, stream):
        return remoting.Client({"namesrv": self.cluster.namesrv.port, "main": self.cluster.broker.port,
                                "vip": self.cluster.broker.port - 2}[self.where[stream]])

    def near(self, gone=False):
        """The master knows who is connected, or who is not any more."""
        count = len([s for s in self.streams if s not in self.closed])
        until(lambda: gone and self.cluster.info("ternSlavesNear") < count or
              self.cluster.info("ternSlavesNear") == count, f"{count} slaves")

    def mark(self, text):
        for (name, begin), settings in RESTARTS.items():
            if name == self.name and text.startswith(begin):
                self.restart({**SETTINGS.get(self.name, {}), **settings}
                             if settings is not IMPATIENT else IMPATIENT)
        if text.startswith("two reports (100, max) in one write"):
            stream = max(self.streams)
            self.streams[stream].next = self.streams[stream].said
            equal(self.streams[stream].frame(), b"", "data after a report of the end")
        elif text.startswith(("zero closed", "second closed")):
            self.streams[3 if text.startswith("zero") else 7].slave.wait_closed()
        elif text.startswith("no connection left: send"):
            # the recording ends before its rows
            code, offset = re.search(r"\((\d+), .*'(\w+)'", text).groups()
            row = next(r for r in reversed(self.rows) if r.get("c") == codes.SEND)
            with self.connect(row["s"]) as client:
                client.send_frame(self.raw(row), row["o"])
                reply = client.reply(row["o"])
            equal(reply.code, int(code))
            self.learn(offset, reply.fields["msgId"])
        elif text == "master gone":
            self.cluster.broker.stop()
            for stream in self.lost:
                self.lose(stream)
        elif text == "master starts again":
            self.start({})

    def open(self, stream, row):
        if self.by[stream] == "master" or row["open"] == "slave" or "refused" in row:
            self.closed.add(stream)  # ours does it by itself; SlaveSide's; nobody is there
        elif row["open"] != "ha":
            self.clients[stream] = self.connect(stream)
        elif self.name != "d6" or "old" in row:
            self.open_stream(stream)
            if "old" in row:
                self.streams[stream].report(self.later(stream)["h"][:1])

    def open_stream(self, stream):
        self.streams[stream] = Stream(self.cluster, stream)
        self.near()

    def lose(self, stream):
        self.closed.add(stream)
        if stream in self.streams:
            self.streams[stream].slave.wait_closed()
        else:
            self.clients[stream].wait_closed()

    def close(self, stream, by_master):
        if by_master and self.name == "d8":
            self.lost.append(stream)  # RocketMQ takes a while to stop
        elif by_master:
            self.lose(stream)
            self.near(gone=True)
        elif stream in self.streams:
            self.closed.add(stream)
            self.streams[stream].slave.close()
            self.near()
        else:
            self.closed.add(stream)
            self.clients[stream].close()

    def replicate(self, stream, row):
        if stream in self.lost:
            return
        if row["d"] == "<":
            offset, size = row["h"]
            after = self.later(stream)
            # RocketMQ's clock begins with the connection: a heartbeat may come just before data
            if size > 0 or after.get("d") != "<" or after["h"][1] == 0:
                self.streams[stream].expect(offset, size)
            return
        if stream not in self.streams:
            self.open_stream(stream)  # not before it is needed: silence is measured
        ours = self.streams[stream]
        if self.rows[self.at - 1].get("mark", "").startswith("after 5 bytes of a report"):
            ours.report(row["h"], 5)
            return
        ours.report(row["h"])
        if (self.name, stream) in REFUSED:
            self.needed.add((self.name, stream))
            self.lose(stream)
            self.near()

    def exchange(self, stream, row):
        if stream in self.lost:
            return
        client = self.clients[stream]
        if row["d"] == ">":
            self.ask(client, stream, row)
        else:
            self.answered(client, stream, row)

    def end(self):
        until(lambda: self.cluster.info("ternCommitLogWritten") == ENDS[self.name],
              f"the log ends at {ENDS[self.name]}")
        for number, ours in self.streams.items():
            ours.check(self.cluster.log())
            ours.slave.close()
        for client in list(self.clients.values()) + self.beside:
            client.close()


class RealSlaves(MasterSide):
    """As recorded with a slave of RocketMQ."""

    def begin(self):
        if self.name == "d1":
            MasterSide.cluster = Cluster()
            self.cluster.start({})
            with remoting.Client(self.cluster.broker.port) as client:
                admin.make_topic(client, "TopicA", 2)
                for i in range(300):  # records of 1184 bytes
                    messages.send(client, "TopicA", b"b" * 1065, i % 2, expect=codes.NO_SLAVE)
            equal(self.cluster.info("ternCommitLogWritten"), ENDS["d1"])
        super().begin()


class FakeSlaves(MasterSide):
    """As recorded with connections of a tester."""

    def begin(self):
        if self.name == "e1":
            MasterSide.cluster = Cluster()
        elif self.name == "e3":
            self.cluster.broker.stop()
            os.unlink(os.path.join(self.cluster.store, "commitlog", "%020d" % 0))
        super().begin()


_begun = set()


def play(kind, recordings, name):
    """The ones before it, too, when only this one was asked for."""
    for earlier in recordings[:recordings.index(name) + 1]:
        if (kind, earlier) not in _begun:
            _begun.add((kind, earlier))
            kind(earlier).run()


for side, kind, recordings in (("our_master_in_", RealSlaves, WITH_A_SLAVE),
                               ("our_master_in_", FakeSlaves, FAKE_SLAVES)):
    for recording in recordings:
        claims.add(side + recording, lambda a=(kind, recordings, recording): play(*a))


@claims.claim
def every_decision_is_still_needed():
    listed = [*EVERYWHERE, *sum(REPLIES.values(), []), *REFUSED]
    equal([d for d in listed if d not in Replay.needed], [])


claims.run()
