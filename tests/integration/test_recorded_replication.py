"""Recorded replication of RocketMQ 4.9.8: its slaves' and a tester's bytes to our master, its masters'
bytes to our slave; what ours say is held against what RocketMQ said.

Our logs get the recorded geometry: file size, ends of records and of logs; so all log offsets must be the
recorded ones. Log bytes were not recorded whole: what was sent is compared with the log. Replies are
compared as in test_recorded. What differs is either listed with its reason, or it is a fault.

Not compared, since docs/protocol/replication.md leaves it open or has it otherwise:
* how what is written is cut into transfers, but for their size and the ends of files;
* when: our settings shorten the periods, and RocketMQ's slaves report only 5 s after they connect;
* one report for several frames, and whole records only, where RocketMQ's slaves report every frame;
* two connections of one host are one copy for our master: the tester's come from hosts of their own;
* our slave's other requests to its master, 28 and 33.
"""
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
ENDS = {"d1": 356864, "d2": 356864, "d3": 513632, "d4": 513632, "d5": 513632, "d6": 514314,
        "d7": 517724, "d8": 517724, "e1": 387812, "e2": 394468, "e3": 395446}

BATCH = 32768
# Records without our CRC have RocketMQ's sizes, haFreshSlaveFrom=last begins where its masters do.
STORE = {"mappedFileSizeCommitLog": FILE, "maxMessageSize": 65536, "scrubBytesPerSecond": 0,
         "haSendHeartbeatInterval": 50, "haFreshSlaveFrom": "last",
         "registerBrokerTimeoutMills": 1000}
MASTER = {"brokerRole": "SYNC_MASTER", "recordCrcEnable": False, "slaveTimeout": 60000, **STORE}
SLAVE = {"brokerRole": "SLAVE", "brokerId": 1, "slaveMetadataInterval": 100, **STORE}
IMPATIENT = {"slaveTimeout": 200}
SILENCE = {"haHousekeepingInterval": 3000}
# A recording begins with these; at some marks the master is started again with others.
SETTINGS = {"d6": IMPATIENT, "e1": IMPATIENT, "e2": IMPATIENT, "e3": IMPATIENT}
RESTARTS = {("e1", "send, acked only up to the previous end"): {},
            ("e1", "zero got (11.233"): IMPATIENT,
            ("e1", "now idle"): SILENCE}

# Of the runtime information; everything else there depends on the machine or the moment.
OF_THE_LOG = ("commitLogMinOffset", "commitLogMaxOffset")
# Transactions come later, and their topic with them.
LEFT_OUT = re.compile("RMQ_SYS_TRANS|TRANS_CHECK_MAX_TIME_TOPIC")

# (request code, place in the reply, reason)
EVERYWHERE = [
    (codes.RUNTIME_INFO, r"body\.table\.(EndTransaction.*|remainTransientStoreBufferNumbs|"
                         r"dispatchMaxBuffer|putMessageDistributeTime|putLatency99.?|"
                         r"[gp].tMessageEntireTimeMax)",
     "there is nothing behind them: docs/protocol/remoting.md"),
]
REPLIES = {
    "e2": [(codes.SEND, "code (0|12) -> 11",
            "RocketMQ counts a first report beyond its end as a copy of all, and its connection as a "
            "slave; ours refuses it")],
    "e3": [(codes.RUNTIME_INFO, "code 1 -> 0", "RocketMQ fails with a NoSuchElementException")],
}
# (recording, connection): RocketMQ goes on with it, ours closes it at its first report
REFUSED = {
    ("e2", 4): "beyond the end: it is not a copy of this log",
    ("e3", 2): "below the first file: RocketMQ sends heartbeats for ever",
    ("e3", 3): "likewise",
    ("e3", 5): "negative: RocketMQ says nothing for ever",
}
# (recording, log offset, size of a frame): what our slave does, and why not what RocketMQ's does
FRAMES = {
    ("e4", 325344, 67972): ("crosses", "RocketMQ's drops what crosses the end of a file; ours has no "
                                       "reason to"),
    ("e4", 393516, 64): ("refuses_garbage", "what is no record is not acknowledged"),
    ("e4", 393580, -1): ("refuses", "RocketMQ's goes back by a byte"),
    ("e5", 132072, 500): ("refuses", "RocketMQ's puts it at the beginning of the file, where it does "
                                     "not belong"),
    ("e6", 263144, 5242880): ("refuses", "above 4 MiB: RocketMQ's waits for ever"),
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

    def differ(self, row, place, theirs, ours):
        if place == "code":
            place = f"code {theirs} -> {ours}"
        super().differ(row, place, theirs, ours)

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
            theirs, mine = ({re.sub("_/.*", "_PATH", name): value for name, value in table.items()}
                            for table in (dialect.loads(row["b"])["table"],
                                          dialect.loads(ours.body)["table"]))
            for name in theirs:
                if name not in mine or name in OF_THE_LOG and theirs[name] != mine[name]:
                    self.differ(asked, f"body.table.{name}", theirs[name], mine.get(name))

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
            # After an ordered topic, registrations are answered with an empty table.
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
        main = 13911 if self.name[0] == "e" else 10911
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
        if settings is not SILENCE:
            self.near()

    def connect(self, stream):
        main = self.cluster.broker.port
        return remoting.Client({"namesrv": self.cluster.namesrv.port, "main": main,
                                "vip": main - 2}[self.where[stream]])

    def near(self, gone=False):
        """The master knows who is connected, or who is not any more."""
        count = len([s for s in self.streams if s not in self.closed])
        until(lambda: gone and self.cluster.info("ternSlaves") < count or
              self.cluster.info("ternSlaves") == count, f"{count} slaves")

    def compare(self, asked, row, ours):
        # RocketMQ waits for a slave that takes nothing with each send; ours does it once, and it
        # depends on the moment whether the next send is told so.
        if asked["c"] == codes.SEND and (row["c"], ours.code) == (12, codes.NO_SLAVE):
            row = {**row, "c": codes.NO_SLAVE}
        super().compare(asked, row, ours)

    def mark(self, text):
        for (name, begin), settings in RESTARTS.items():
            if name == self.name and text.startswith(begin):
                self.restart(settings)
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
        else:
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
        elif by_master and self.name == "d6":  # it has been silent for too long
            self.restart(SILENCE)
            self.lose(stream)
            self.restart({})
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
            # One heartbeat for several; none before data: RocketMQ sends one when the first report
            # comes late.
            if size > 0 or after.get("d") != "<":
                self.streams[stream].expect(offset, size)
            return
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
        for ours in self.streams.values():
            if ours.next is None:
                equal(ours.slave.input, b"", "what was sent to a slave that has not reported")
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


# --- our slave ---

LOOK = [("vip", codes.ALL_TOPICS), ("main", codes.ALL_OFFSETS), ("main", codes.ALL_DELAYS),
        ("main", codes.ALL_GROUPS)]


class SlaveSide(Replay):
    """Our slave; its master, its name server, clients and tools are recorded."""

    # These go on from recording to recording.
    master = namesrv = slave = connection = None

    def begin(self):
        self.clients, self.answers, self.said = {}, {}, b""
        self.prepare()
        self.kept = 0
        self.bounds = {*self.master.log.ends, *range(0, self.master.log.end, FILE)}

    def prepare(self):
        if self.name == "d1":
            log = Log(begin=2 * FILE)
            log.queues = {("TopicA", 0): 110, ("TopicA", 1): 110}
            for i in range(80):
                log.append_bytes("TopicA", 1184, i % 2)
            for size, queue_id in ((682, 0), (682, 1), (682, 0), (60208, 0), (60208, 1), (682, 0),
                                   (682, 1), (682, 0), (682, 1), (682, 0), (682, 1)):
                log.append_bytes("TopicA", size, queue_id)
            equal(log.end, ENDS["d8"])
            SlaveSide.namesrv, SlaveSide.master = Master(), Master(log)
            SlaveSide.slave = None
        self.map_ports()
        if self.slave is None:
            first = next(r for r in self.rows if r.get("c") == 0)
            self.namesrv.recorded[codes.REGISTER_BROKER] = self.mapped(first)
            self.start()

    def map_ports(self):
        self.ports = {9876: self.namesrv.port, 10911: self.master.port, 10909: self.master.port - 2,
                      10912: self.master.port + 1}
        if self.slave is not None:
            self.ports.update({10921: self.slave.port, 10922: self.slave.port + 1})

    def mapped(self, row):
        fields = {k: self.to_ours(v) for k, v in (row.get("e") or {}).items()}
        return {**row, "e": fields} if "e" in row else row

    def start(self):
        port, store = ((self.slave.port, self.slave.store) if self.slave else
                       (process.free_port(), None))
        SlaveSide.slave = process.Broker(namesrv=self.namesrv.address, store=store, listenPort=port,
                                         **SLAVE)
        self.map_ports()

    def mark(self, text):
        if text.startswith("slave frozen"):
            self.slave.freeze()
        elif text.startswith("slave resumed"):
            self.slave.thaw()
        elif text.startswith("slave starts again"):
            self.start()
        elif text == "master gone":
            self.master.close()
        elif text == "master up":
            again = Master(self.master.log, self.master.port)
            again.recorded = self.master.recorded
            SlaveSide.master = again

    def open(self, stream, row):
        if row["open"] == "slave":
            self.clients[stream] = remoting.Client(self.slave.port)
        elif self.by[stream] != "slave" or "refused" in row:
            self.closed.add(stream)
        elif row["open"] == "ha" and "old" not in row:
            SlaveSide.connection = self.master.slave()

    def close(self, stream, by_peer):
        self.closed.add(stream)
        if stream in self.clients:
            self.clients[stream].close()
        elif self.where[stream] != "ha":
            pass  # it keeps its connections as it likes
        elif by_peer:
            self.connection.end()
        else:
            if self.name == "d7":
                self.slave.stop()
            self.connection.reports_until_closed()

    def replicate(self, stream, row):
        after = self.rows[self.at + 1] if self.at + 1 < len(self.rows) else {}
        more = "h" in after and (after["s"], after["d"]) == (stream, row["d"])
        if row["d"] == ">":
            if not more:  # one report answers several frames
                self.expect_report(row["h"][0])
            return
        offset, size = row["h"]
        self.said += self.frame(offset, size)
        self.sent = offset + size
        if not more:
            self.connection.raw(self.said)
            self.said = b""

    def frame(self, offset, size):
        return (offset.to_bytes(8, "big") + size.to_bytes(4, "big", signed=True) +
                self.master.log.bytes(offset, offset + max(size, 0)))

    def expect_report(self, recorded_offset):
        """RocketMQ reports every byte that has come, ours whole records."""
        wanted = max(b for b in self.bounds if b <= recorded_offset)
        found = -1
        while found != wanted:
            before, found = found, self.connection.report()
            true(found in self.bounds and before <= found <= wanted,
                 f"reports {found} after {before}, recorded {recorded_offset}: {wanted}")
        self.kept = wanted

    def exchange(self, stream, row):
        if stream in self.clients:
            if row["d"] == ">":
                self.taken()
                self.ask(self.clients[stream], stream, row)
            else:
                self.answered(self.clients[stream], stream, row)
        elif row["d"] == ">":
            self.asked[stream, row["o"]] = row
        else:
            asked = self.asked.pop((stream, row["o"]))
            peer = self.namesrv if self.where[stream] == "namesrv" else self.master
            peer.recorded[asked["c"]] = self.mapped(row)
            self.answers[asked["c"]] = asked, row, self.where[stream]

    def taken(self):
        """The answers that are served now have been taken."""
        seen = len(self.master.requests)
        until(lambda: self.looks(seen) > 1, "two looks at the master's tables")

    def looks(self, since=0):
        return [f.code for _, f in self.master.requests[since:]].count(codes.ALL_GROUPS)

    def end(self):
        if self.name == "d3":  # its last message came after the end of the recording
            for begin in range(self.sent, ENDS["d3"], BATCH):
                self.connection.raw(self.frame(begin, min(BATCH, ENDS["d3"] - begin)))
            self.expect_report(ENDS["d3"])
        if codes.ALL_GROUPS in self.answers:
            self.taken()
            self.compare_look()
            with remoting.Client(self.slave.port) as client:
                for asked, row, where in self.answers.values():
                    if where != "namesrv":
                        self.compare(asked, row, client.call(asked["c"]))
        if codes.REGISTER_BROKER in self.answers:
            self.compare_registration(self.answers[codes.REGISTER_BROKER][0])
        if codes.UNREGISTER_BROKER in self.answers:
            self.compare_request(self.answers[codes.UNREGISTER_BROKER][0], until(
                lambda: next((f for _, f in self.namesrv.requests
                              if f.code == codes.UNREGISTER_BROKER), None), "it takes its leave"))
        self.check_log(ENDS[self.name])

    def check_log(self, end):
        folder = os.path.join(self.slave.store, "commitlog")
        log = {int(f): open(os.path.join(folder, f), "rb").read() for f in os.listdir(folder)}
        ours = b"".join(log[begin] for begin in sorted(log))[:end - min(log)]
        true((min(log), ours) == (2 * FILE, self.master.log.bytes(2 * FILE, end)), "the same bytes")

    def compare_look(self):
        """What was asked last, on which port, and how."""
        requests = self.master.requests
        last = max(i for i, (_, f) in enumerate(requests) if f.code == codes.ALL_GROUPS)
        ours = [r for r in requests[:last + 1] if r[1].code not in (
            codes.RUNTIME_INFO, codes.VIEW_MESSAGE)][-len(LOOK):]
        equal([(port, f.code) for port, f in ours], LOOK, "a look")
        for port, f in ours:
            asked, _, where = self.answers[f.code]
            # our language is OTHER: nobody acts on it
            equal((port, f.fields, f.flag, f.version, f.serialize, f.body),
                  (where, asked.get("e"), 0, 409, 0, b""), f"request {f.code}")

    def registered(self):
        """Fields and body of our last registration; what changes is registered by itself."""
        ours = [f for _, f in self.namesrv.requests if f.code == codes.REGISTER_BROKER]
        topics = {}
        for body in (dialect.loads(f.body) for f in ours):
            topics.update(body["topicConfigSerializeWrapper"]["topicConfigTable"])
        body["topicConfigSerializeWrapper"]["topicConfigTable"] = topics
        return ours[-1], body

    def compare_registration(self, asked):
        theirs = dialect.loads(asked["b"])
        names = {name for name in theirs["topicConfigSerializeWrapper"]["topicConfigTable"]
                 if not self.left_out(name)}
        until(lambda: names <= set(
            self.registered()[1]["topicConfigSerializeWrapper"]["topicConfigTable"]), f"{names}")
        ours, body = self.registered()
        equal(int(ours.fields["bodyCrc32"]), messages.crc31(ours.body), "bodyCrc32")
        self.compare_request(asked, ours)
        self.compare_trees(asked, "request.body", theirs, body)

    def compare_request(self, asked, ours):
        for name in sorted((set(ours.fields) | set(asked["e"])) - {"bodyCrc32"}):
            theirs, mine = asked["e"].get(name), self.to_recorded(ours.fields.get(name, ""))
            if theirs != mine:
                self.differ(asked, f"request.{name}", theirs, mine)


class FakeMasters(SlaveSide):
    """Our slave with an empty store, and a tester that listens. His records end with his frames."""

    def prepare(self):
        self.slave = None
        log = Log(begin=2 * FILE)
        for size in (1000, 700, 700, 700, 60000, 100, 60000, 67872 - 60000 - 72, 300):
            log.append_bytes("T", size)
        self.master = Master(log)
        equal((log.end, log.ends[-2] + 72), (3 * FILE + 300, 3 * FILE))

    def mark(self, text):
        if text.startswith("12-byte header of a transfer at end-1"):
            self.connection.frame(325243, size=100)
        elif text.startswith("frame of 5 MiB") and self.name == "e4":
            self.connection.frame(3 * FILE + 300, size=5 << 20)

    def open(self, stream, row):
        if "refused" in row:
            self.closed.add(stream)
        elif self.slave is None:
            self.start(None)
        else:
            self.connection = self.master.slave()

    def replicate(self, stream, row):
        decided = (self.name, *row["h"])
        if decided in FRAMES:
            self.needed.add(decided)
            getattr(self, FRAMES[decided][0])(stream, *row["h"])
        elif row["d"] == ">" and row["h"][0] > self.master.log.end:
            self.expect_report(self.master.log.end)  # garbage and a byte less of it have not come
        else:
            super().replicate(stream, row)

    def start(self, store):
        self.slave = process.Broker("127.0.0.1:1", haMasterAddress=self.master.ha_address,
                                    store=store, **SLAVE)
        self.connection = self.master.slave()

    def crosses(self, stream, offset, size):
        """Taken: with a copy of the store, since the recording goes on without it."""
        self.slave.stop()
        before, store = self.slave.store, process.new_path("store")
        shutil.copytree(before, store)
        self.start(store)
        self.connection.raw(self.frame(offset, size))
        self.expect_report(offset + size)
        self.check_log(self.kept)
        self.slave.stop()
        self.start(before)
        self.expect_report(offset)

    def refuses(self, stream, offset, size, data=b""):
        """It closes the connection and stays where it was."""
        kept = self.kept
        self.connection.frame(min(offset, kept) if kept else offset, data, size)
        true(set(self.connection.reports_until_closed()) <= {kept}, "no other report")
        if self.later(stream).get("close") is None:
            self.connection = self.master.slave()
            equal(self.connection.report(), kept)
        self.closed.add(stream)

    def refuses_garbage(self, stream, offset, size):
        self.refuses(stream, offset, size, b"\xaa" * size)
        self.closed.discard(stream)  # the recording goes on with it

    def end(self):
        if self.kept:
            self.check_log(self.kept)
        self.slave.stop()
        self.master.close()


_begun = set()


def play(kind, recordings, name):
    """The ones before it, too, when only this one was asked for."""
    for earlier in recordings[:recordings.index(name) + 1]:
        if (kind, earlier) not in _begun:
            _begun.add((kind, earlier))
            kind(earlier).run()


for side, kind, recordings in (("our_master_in_", RealSlaves, WITH_A_SLAVE),
                               ("our_master_in_", FakeSlaves, FAKE_SLAVES),
                               ("our_slave_in_", SlaveSide, WITH_A_SLAVE)):
    for recording in recordings:
        claims.add(side + recording, lambda a=(kind, recordings, recording): play(*a))

for recording in FAKE_MASTERS:
    claims.add("our_slave_in_" + recording, lambda name=recording: FakeMasters(name).run())


@claims.claim
def every_decision_is_still_needed():
    listed = [*EVERYWHERE, *sum(REPLIES.values(), []), *REFUSED, *FRAMES]
    equal([d for d in listed if d not in Replay.needed], [])


claims.run()
