"""Looking for messages: by key, by id, by time, over the wire and with ternctl, and through crashes."""
import json
import os
import shutil
import subprocess

from lib import admin, claims, codes, messages, process, remoting
from lib.claims import claim, contains, equal, true, until
from lib.process import CTL

RUNS_SANITIZED = "asan"
FOREVER = 9223372036854775807
DONE, REFUSED, USAGE, UNREACHABLE, NOT_FOUND = range(5)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

namesrv = process.Namesrv()
broker = process.Broker(namesrv)
client = remoting.Client(broker.port)
for name in ("Found", "Times", "Who"):
    admin.make_topic(client, name, 2)


def query(at, topic, key, most=64, begin=0, end=FOREVER, code=0, **more):
    """The messages that a query by key gives, or the remark when it is to find none."""
    reply = at.call(codes.QUERY_MESSAGE, {"topic": topic, "key": key, "maxNum": most,
                                          "beginTimestamp": begin, "endTimestamp": end, **more})
    equal(reply.code, code, f"code for key {key} ({reply.remark})")
    return messages.decode_all(reply.body) if code == 0 else reply.remark


def bodies(found):
    return [m.body for m in found]


def put(at, topic, number, queue=0, **properties):
    properties = {"UNIQ_KEY": f"U{topic}{number}", "KEYS": f"k{number} all", **properties}
    return messages.send(at, topic, b"message %d" % number, queue, properties)


def view(at, sent):
    reply = admin.expect(at.call(codes.VIEW_MESSAGE, {"offset": sent.log_offset}))
    return messages.decode(reply.body)


def ctl(*arguments, code=DONE, names=None):
    found, out, err = process.run_program([CTL, *arguments], env={
        "TERN_NAMESRV": names or namesrv.address})
    equal(found, code, f"exit status of ternctl {' '.join(arguments)} ({out}{err})")
    return out if code == DONE else err


# --- by key ---

@claim
def a_message_is_found_from_its_answer_on():
    for number in range(50):
        put(client, "Found", number, number % 2)
        for key in (f"UFound{number}", f"k{number}"):
            equal(bodies(query(client, "Found", key)), [b"message %d" % number])
    equal(bodies(query(client, "Found", "UFound7", 1, _UNIQUE_KEY_QUERY="true")), [b"message 7"])


@claim
def the_newest_are_given_the_oldest_of_them_first():
    equal(bodies(query(client, "Found", "all", 3)), [b"message %d" % n for n in (47, 48, 49)])
    equal(len(query(client, "Found", "all", 1000)), 50)  # maxMsgsNumBatch is 64
    with remoting.Client(broker.port) as other:
        admin.expect(other.call(codes.UPDATE_CONFIG, None, b"maxMsgsNumBatch=10\n"))
        equal(len(query(other, "Found", "all", 1000)), 10)
        admin.expect(other.call(codes.UPDATE_CONFIG, None, b"maxMsgsNumBatch=64\n"))


@claim
def times_are_inclusive_and_to_the_millisecond():
    stored = [view(client, put(client, "Times", n, 1, KEYS="hour")).store_time for n in range(3)]
    equal(len(query(client, "Times", "hour", begin=stored[0], end=stored[2])), 3)
    for first, last in ((stored[2] + 1, FOREVER), (0, stored[0] - 1)):
        contains(query(client, "Times", "hour", begin=first, end=last, code=codes.NOT_FOUND), "hour")


@claim
def messages_of_a_batch_are_found_one_by_one():
    batch = b"".join(messages.batch_item(b"part %d" % n, {"UNIQ_KEY": f"UB{n}", "KEYS": f"b{n}"})
                     for n in range(20))
    messages.send(client, "Found", batch, batch=True)
    for number in range(20):
        equal(bodies(query(client, "Found", f"UB{number}")), [b"part %d" % number])
        equal(bodies(query(client, "Found", f"b{number}")), [b"part %d" % number])


@claim
def an_answer_has_an_end():
    for number in range(4):
        messages.send(client, "Found", bytes([number]) * 3_000_000, 0, {"KEYS": "large"})
    found = query(client, "Found", "large")
    equal([m.body[0] for m in found], [2, 3])


@claim
def a_delayed_message_is_found_where_it_waits():
    messages.send(client, "Found", b"later", 0, {"KEYS": "late", "DELAY": "18"})
    equal(bodies(query(client, "SCHEDULE_TOPIC_XXXX", "late")), [b"later"])
    query(client, "Found", "late", code=codes.NOT_FOUND)


@claim
def under_sync_flush_an_acknowledged_message_is_found_too():
    syncing = process.Broker(flushDiskType="SYNC_FLUSH")
    with remoting.Client(syncing.port) as other:
        for number in range(10):
            put(other, "Found", number)
            equal(bodies(query(other, "Found", f"k{number}")), [b"message %d" % number])
    syncing.stop()


@claim
def a_broker_without_an_index_says_so():
    store = process.new_path("store")
    without = process.Broker(store=store, messageIndexEnable=False)
    with remoting.Client(without.port) as other:
        put(other, "Found", 1)
        contains(query(other, "Found", "k1", code=codes.NOT_FOUND), "messageIndexEnable=false")
    without.stop()
    true(not os.path.exists(os.path.join(store, "index")), "there is no index folder")


# --- crashes ---

SMALL = {"maxHashSlotNum": 1000, "maxIndexNum": 4000, "mappedFileSizeCommitLog": 262144,
         "maxMessageSize": 65536}


def expect_all(at, count):
    """Every message by both of its keys, once the index is there."""
    until(lambda: (lambda info: info["ternIndexRepairBytes"] == info["ternIndexBehindBytes"] == "0")(
        admin.runtime_info(at)), "the index")
    for number in range(count):
        for key in (f"UFound{number}", f"k{number}"):
            equal(bodies(query(at, "Found", key)), [b"message %d" % number])


@claim
def nothing_is_lost_by_kill_9():
    store = process.new_path("store")
    for life in range(3):
        hit = process.Broker(store=store, **SMALL)
        with remoting.Client(hit.port) as other:
            for number in range(life * 700, life * 700 + 700):
                put(other, "Found", number, number % 4)
            equal(bodies(query(other, "Found", "k5")), [b"message 5"])
        hit.kill()
    hit = process.Broker(store=store, **SMALL)
    with remoting.Client(hit.port) as other:
        expect_all(other, 2100)
        equal(len(query(other, "Found", "all", 64)), 64)
    hit.stop()


@claim
def a_lost_index_is_made_again_while_the_broker_serves():
    store = process.new_path("store")
    first = process.Broker(store=store, **SMALL)
    with remoting.Client(first.port) as other:
        for number in range(1500):
            put(other, "Found", number, number % 4)
    first.stop()
    files = sorted(os.listdir(os.path.join(store, "index")))
    equal(len(files), 2)
    os.truncate(os.path.join(store, "index", files[0]), 5000)  # the middle of it, so to say
    os.unlink(os.path.join(store, "index", files[1]))
    again = process.Broker(store=store, **SMALL)
    contains(again.log(), files[0])
    with remoting.Client(again.port) as other:
        until(lambda: int(admin.runtime_info(other)["ternIndexRepairBytes"]) == 0, "the repair")
        put(other, "Found", 1500)
        expect_all(other, 1501)
    again.stop()
    shutil.rmtree(os.path.join(store, "index"))
    os.unlink(os.path.join(store, "tern", "index"))
    again = process.Broker(store=store, **SMALL)
    with remoting.Client(again.port) as other:
        expect_all(other, 1501)
        equal(int(admin.runtime_info(other)["ternIndexBehindBytes"]), 0)
    again.stop()


@claim
def the_index_of_rocketmq_is_used_and_continued():
    folder = process.new_path("rocketmq")
    os.mkdir(folder)
    archive = os.path.join(ROOT, "data", "rocketmq-store", "clean49.tar.xz")
    subprocess.run(["tar", "-xJf", archive, "-C", folder], check=True)
    settings = {"mappedFileSizeCommitLog": 131072, "mappedFileSizeConsumeQueue": 2000,
                "maxHashSlotNum": 500, "maxIndexNum": 2000, "maxMessageSize": 65536}
    with open(os.path.join(folder, "sent.tsv"), encoding="utf-8") as rows:
        sent = [row.rstrip("\n").split("\t") for row in rows if row.startswith("sent\t")]
    for life in range(2):
        taken = process.Broker(store=os.path.join(folder, "store"), **settings)
        with remoting.Client(taken.port) as other:
            for row in sent[::17]:
                found = query(other, row[1], row[4], _UNIQUE_KEY_QUERY="true")
                equal([(m.queue_id, m.queue_offset) for m in found], [(int(row[2]), int(row[3]))])
            put(other, "FixOrders", life)
            equal(bodies(query(other, "FixOrders", f"UFixOrders{life}")), [b"message %d" % life])
            true(int(admin.runtime_info(other)["ternIndexEntries"]) < 20, "nothing is made again")
        taken.stop()


# --- by time ---

@claim
def a_queue_offset_is_found_by_time():
    def at(ms, boundary=None, queue=0):
        reply = admin.expect(client.call(codes.SEARCH_OFFSET, {
            "topic": "Times", "queueId": queue, "timestamp": ms, "boundaryType": boundary}))
        return int(reply.fields["offset"])

    # two at one time, since a batch is stored at once; then two more, later
    pair = messages.batch_item(b"a") + messages.batch_item(b"b")
    times = []
    for _ in range(2):
        sent = messages.send(client, "Times", pair, 0, batch=True)
        times += [view(client, sent).store_time] * 2
        until(lambda: view(client, messages.send(client, "Clock")).store_time > times[-1] + 3,
              "the clock to move on")
    first, second = times[0], times[2]
    true(second > first, str(times))
    for ms, nearest, lower, upper in (
            (0, 0, 0, 0), (first - 1, 0, 0, 0), (first, 0, 0, 1), (first + 1, 1, 2, 1),
            (second - 1, 2, 2, 1), (second, 2, 2, 3), (second + 1, 3, 4, 3), (FOREVER, 3, 4, 3)):
        equal((at(ms), at(ms, "LOWER"), at(ms, "UPPER")), (nearest, lower, upper),
              f"{ms - first} ms after the first")
    equal(at(first, queue=77), 0, "in a queue that is not there")


# --- ternctl ---

sent = [put(client, "Who", n, 0, TAGS="TagA", KEYS=f"w{n} who") for n in range(3)]


def groups_of(text):
    return {g["group"]: (g["state"], g["offset"]) for g in json.loads(text)["messages"][0]["groups"]}


@claim
def ternctl_gets_a_message_by_either_id():
    for arguments in ((sent[1].ids[0],), ("UWho1", "--topic", "Who"),
                      (sent[1].ids[0], "--broker", "broker-a")):
        out = ctl("message", "get", *arguments)
        for text in (sent[1].ids[0], "message 1", "KEYS = w1 who", "TAGS = TagA", "queue 0, offset 1"):
            contains(out, text)
        found = json.loads(ctl("message", "get", *arguments, "--json"))["messages"]
        equal([(m["body"], m["msgId"], m["queue"], m["offset"], m["logOffset"], m["broker"])
               for m in found], [("message 1", "UWho1", 0, 1, sent[1].log_offset, "broker-a")])


@claim
def ternctl_says_who_has_consumed_a_message():
    admin.commit_offset(client, "Behind", "Who", 0, 1)
    admin.commit_offset(client, "Ahead", "Who", 0, 2)
    admin.commit_offset(client, "Other", "Who", 0, 3)
    with remoting.Client(broker.port) as member:
        for group, subscription, more in (("Other", "TagB", {}), ("Each", "*", {
                "messageModel": "BROADCASTING"})):
            admin.heartbeat(member, f"127.0.0.1@{group}", [admin.consumer(
                group, [admin.subscription("Who", subscription)], **more)])
        out = ctl("message", "get", sent[1].ids[0], "--json")
        equal(groups_of(out), {"Ahead": ("consumed", 2), "Behind": ("not yet", 1),
                               "Other": ("passed over", 3), "Each": ("broadcast", 0)})
        text = ctl("message", "get", sent[1].ids[0])
        for line in ("Ahead: consumed", "Behind: not yet", "Other: passed over", "Each: broadcast"):
            contains(text, line)


@claim
def ternctl_queries_by_key():
    out = ctl("message", "query", "--topic", "Who", "--key", "who")
    equal([out.count(f"message {n}\n") for n in range(3)], [1, 1, 1])
    found = json.loads(ctl("message", "query", "-t", "Who", "-k", "who", "--max", "2", "--json"))
    equal([m["body"] for m in found["messages"]], ["message 1", "message 2"])
    stored = found["messages"][1]["storeTimestamp"]
    ctl("message", "query", "-t", "Who", "-k", "w2", "--begin", str(stored), "--end", str(stored))
    for arguments in (("--key", "nobody"), ("--key", "w2", "--begin", str(stored + 1)),
                      ("--key", "w2", "--end", str(stored - 1))):
        contains(ctl("message", "query", "--topic", "Who", *arguments, code=NOT_FOUND), "no message")


@claim
def ternctl_shows_what_was_stored_at_a_time():
    out = json.loads(ctl("message", "at", "Who", "2020-01-01", "--json"))
    equal([(q["broker"], q["queue"], q["offset"], q["maxOffset"],
            q["message"] and q["message"]["body"]) for q in out["queues"]],
          [("broker-a", 0, 0, 3, "message 0"), ("broker-a", 1, 0, 0, None)])
    stored = view(client, sent[2]).store_time
    contains(ctl("message", "at", "Who", str(stored), "--queue", "0"), "KEYS = w")
    contains(ctl("message", "at", "Who", "2037-01-01", code=NOT_FOUND), "then or later")


@claim
def ternctl_refuses_what_it_cannot_look_for():
    id_of_nobody = messages.offset_id(("127.0.0.1", 1), 0)
    nothing_there = messages.offset_id(("127.0.0.1", broker.port), 1)
    for code, text, arguments in (
            (USAGE, "--topic", ("get", "UWho1")),
            (USAGE, "missing", ("get",)),
            (USAGE, "--broker", ("get", "UWho1", "--topic", "Who", "--broker", "broker-a")),
            (NOT_FOUND, "127.0.0.1:1", ("get", id_of_nobody)),
            (NOT_FOUND, "no broker x", ("get", id_of_nobody, "--broker", "x")),
            (NOT_FOUND, "no message begins", ("get", nothing_there)),
            (NOT_FOUND, "nobody", ("get", "nobody", "--topic", "Who")),
            (NOT_FOUND, "NoTopic", ("get", "UWho1", "--topic", "NoTopic")),
            (USAGE, "--key", ("query", "--topic", "Who")),
            (USAGE, "no time", ("query", "--topic", "Who", "--key", "k", "--begin", "soon")),
            (USAGE, "no time", ("at", "Who", "soon")),
            (NOT_FOUND, "NoTopic", ("at", "NoTopic", "0"))):
        contains(ctl("message", *arguments, code=code), text)


claims.run()
