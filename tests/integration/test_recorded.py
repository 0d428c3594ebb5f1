"""Recorded conversations of real clients and tools with RocketMQ 4.9.8, held again with our servers.

Each recorded request is sent as it was; our reply must have the recorded code, the same names in
extFields with the same values, and a body with the same members, types and values. What depends on
time, ports or the bytes of our records is mapped or left out. Everything else that differs is either
listed in DECISIONS with its reason, or it is a fault.
"""
import json
import re

from lib import admin, claims, codes, messages, process, recorded, remoting
from lib.claims import Broken

RUNS_SANITIZED = True

SCENARIOS = ["a1_namesrv_and_master_start", "a2_update_topics", "b1_producer_sync",
             "b2_producer_async", "b3_producer_orderbatch", "b4_producer_delay",
             "b6_producer_compress", "b8_binary_header", "b9_vip_channel", "c1_consumer_two",
             "c2_consumer_filter", "c3_consumer_orderly", "c4_consumer_broadcast",
             "c5_consumer_fail", "c6_consumer_lite", "a3_mqadmin_queries", "a4_mqadmin_changes"]

# Requests that a later version will serve: answered 3 now.
LATER = {37: "transactions", 222: "resetting offsets of online consumers",
         307: "relayed to a consumer", 315: "statistics", 316: "cleaning topics",
         317: "statistics of all groups"}

# (request code, place in the reply, reason)
DECISIONS = [
    (codes.ALL_GROUPS, r"body\.subscriptionGroupTable\.G_sqlbad", "taking leave makes no group"),
    (codes.UPDATE_CONFIG, "code", "an unknown key is refused: a misspelt one must not pass unnoticed"),
    (codes.CHECK_CLIENT, "code", "SQL92 comes later and is refused by name"),
    (codes.CONSUME_STATS, r"body\.offsetTable\..*'TopicA'.*\.consumerOffset",
     "committed by G_bin after its recording had ended"),
    (codes.WIPE_PERM, r"extFields\.wipeTopicCount", "the topics of scenarios that are left out"),
    (codes.ADD_PERM, r"extFields\.addTopicCount", "the topics of scenarios that are left out"),
]

# Made or used by scenarios that are left out (transactions, request-reply, admin on online consumers).
LEFT_OUT = re.compile("TopicT|TopicR|G_tx|G_rpc|G_on|TRANS_CHECK_MAX_TIME_TOPIC|RMQ_SYS_TRANS")
# Made before the recordings began.
EARLIER_TOPICS = {"TopicZ": 2, "TopicF": 2, "TopicE": 2, "TopicL": 2}


class Replay:
    """The cluster, and what a recorded value is here."""

    def __init__(self):
        self.namesrv = process.Namesrv()
        self.broker = process.Broker(self.namesrv, maxMessageSize=65536)
        self.offsets = {}  # recorded log offset -> ours
        self.ports = {9876: self.namesrv.port, 10911: self.broker.port,
                      10909: self.broker.port - 2, 10912: self.broker.port + 1}
        self.recorded_ports = {ours: theirs for theirs, ours in self.ports.items()}
        with self.connect("main") as client:
            for topic, queues in EARLIER_TOPICS.items():
                admin.make_topic(client, topic, queues)

    def connect(self, where):
        return remoting.Client({"namesrv": self.namesrv.port, "main": self.broker.port,
                                "vip": self.broker.port - 2}[where])

    def to_ours(self, text):
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: "127.0.0.1:%d" % self.ports.get(
            int(m[1]), int(m[1])), text)

    def to_recorded(self, text):
        """Addresses of servers as they were recorded, of clients as one word."""
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: "127.0.0.1:" + str(self.recorded_ports.get(
            int(m[1]), int(m[1]) if int(m[1]) in self.ports else "client")), text)

    def learn(self, recorded_id, our_id):
        self.offsets[messages.parse_offset_id(recorded_id)[1]] = messages.parse_offset_id(our_id)[1]

    def our_id(self, recorded_id):
        """A recorded message id as it is here; itself when it is of no message known."""
        offset = self.offsets.get(messages.parse_offset_id(recorded_id)[1])
        if offset is None:
            return recorded_id
        return messages.offset_id(("127.0.0.1", self.broker.port), offset)


_replay = None


def replay():
    global _replay
    if _replay is None:
        _replay = Replay()
    return _replay


class Scenario(recorded.Comparison):
    decisions = DECISIONS

    def __init__(self, name):
        super().__init__()
        self.rows = recorded.load(name)
        self.clients = {}
        self.skipped = set()  # (connection, opaque)
        self.asked = {}  # (connection, opaque) -> row of the request
        self.notified = {}  # connection -> requests of the broker so far

    def left_out(self, text):
        return LEFT_OUT.search(text)

    def to_recorded(self, text):
        return replay().to_recorded(text)

    def learn(self, recorded_id, our_id):
        replay().learn(recorded_id, our_id)

    def our_id(self, recorded_id):
        return replay().our_id(recorded_id)

    def run(self):
        for at, row in enumerate(self.rows):
            if "mark" in row:
                continue
            connection = row["s"]
            if "open" in row:
                self.clients[connection] = replay().connect(row["open"])
            elif "close" in row:
                self.clients.pop(connection).close()
            elif row["d"] == ">":
                self.request(at, row)
            elif row.get("f", 0) & remoting.FLAG_RESPONSE:
                self.reply(row)
            else:
                self.notification(row)
        for client in self.clients.values():
            client.close()
        if self.differences:
            raise Broken(f"{len(self.differences)} differences:\n      " +
                         "\n      ".join(self.differences[:60]))

    # --- requests ---

    def find_reply(self, at, row):
        for later in self.rows[at:]:
            if later.get("s") == row["s"] and later.get("d") == "<" and \
                    later["o"] == row["o"] and later.get("f", 0) & remoting.FLAG_RESPONSE:
                return later
        return None

    def request(self, at, row):
        if row.get("f", 0) & remoting.FLAG_RESPONSE:
            return  # the client's answer to a request that we do not make
        key = row["s"], row["o"]
        fields = dict(row.get("e") or {}) or None
        if LEFT_OUT.search(json.dumps(fields)) or \
                (fields or {}).get("expressionType") == "SQL92":
            self.skipped.add(key)
            return
        reply = self.find_reply(at, row)
        if row["c"] == codes.PULL and reply is not None and reply["c"] == codes.NOT_LATEST:
            # it overtook its heartbeat: a race between threads, which we do not have
            self.skipped.add(key)
            return
        if row["c"] == codes.PULL and reply is not None and reply["c"] == codes.PULL_NOT_FOUND:
            fields["suspendTimeoutMillis"] = "200"  # it was held until its time was up
        if row["c"] in (codes.SEND_BACK, codes.VIEW_MESSAGE):
            offset = replay().offsets.get(int(fields["offset"]))
            if offset is None:
                self.skipped.add(key)
                return
            fields["offset"] = str(offset)
        if fields:
            fields = {k: replay().to_ours(v) for k, v in fields.items()}
        body = recorded.body_of(row)
        if "b" in row:
            body = replay().to_ours(row["b"]).encode()
        if row["c"] == codes.SEND_BATCH and "n" in row:  # as many, since these were not kept
            body = messages.batch_item(b"one") * len(reply["e"]["msgId"].split(","))
        self.asked[key] = row, fields, body
        self.send(key)

    def send(self, key):
        row, fields, body = self.asked[key]
        self.clients[key[0]].send(
            row["c"], fields, body, opaque=row["o"], flag=row.get("f", 0), version=row.get("v", 409),
            language=row.get("l", "JAVA"), serialize=row.get("S", 0))

    # --- replies ---

    def reply(self, row):
        key = row["s"], row["o"]
        if key in self.skipped or key not in self.asked:
            return
        asked = self.asked[key][0]
        client = self.clients[row["s"]]
        ours = client.reply(row["o"])
        if asked["c"] in LATER:
            if ours.code != codes.NOT_SUPPORTED:
                self.differ(asked, "code", row["c"], ours.code)
            return
        if asked["c"] == codes.ROUTE and ours.code != row["c"]:
            # what the broker did lately is on its way to the name server
            def again():
                self.send(key)
                found = client.reply(row["o"])
                return found if found.code == row["c"] else None

            try:
                ours = claims.until(again, "the route")
            except Broken:
                pass
        before = len(self.differences)
        self.compare(asked, row, ours)
        del self.asked[key]
        for i in range(before, len(self.differences)):
            self.differences[i] += f" (remarks {row.get('r')!r}, {ours.remark!r})"

    # --- what the broker asks ---

    def notification(self, row):
        if row["c"] != codes.NOTIFY_CONSUMERS_CHANGED:
            return
        count = self.notified.get(row["s"], 0) + 1
        self.notified[row["s"]] = count
        try:
            ours = self.clients[row["s"]].wait_requests(row["c"], count)[count - 1]
        except AssertionError as error:
            self.differ(row, "request of the broker", row.get("e"), str(error))
            return
        if (ours.fields, ours.flag) != (row.get("e"), row.get("f")):
            self.differ(row, "request of the broker", row.get("e"), ours.fields)


def run(name):
    if name == "a3_mqadmin_queries":
        with replay().connect("main") as client:  # what a scenario that is left out had sent
            messages.send(client, "TopicC", b"hello", 2)
    Scenario(name).run()


for scenario in SCENARIOS:
    claims.add(scenario, lambda scenario=scenario: run(scenario))


@claims.claim
def every_decision_is_still_needed():
    claims.equal([d for d in DECISIONS if d not in Scenario.needed], [])


claims.run()
