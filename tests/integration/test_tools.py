"""ternctl and tern-bench as people and scripts use them: output, JSON, messages, exit statuses."""
import base64
import json
import os
import re
import signal
import socket
import subprocess
import threading
import zlib

from lib import admin, claims, codes, dialect, messages, process, remoting
from lib.claims import claim, contains, equal, true, until
from lib.process import BENCH, CTL

RUNS_SANITIZED = "asan"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

namesrv = process.Namesrv(orderMessageEnable=True)
broker = process.Broker(namesrv, maxMessageSize=100000)
second = process.Broker(namesrv, brokerName="broker-b", maxMessageSize=100000)
NAMES = f"{namesrv.address}"
# It takes 5 s to give up; the other claims need not wait for that.
silent = socket.create_server(("127.0.0.1", 0))
silent_asker = subprocess.Popen(
    [CTL, "cluster", "-n", "127.0.0.1:%d" % silent.getsockname()[1]], stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
DONE, REFUSED, USAGE, UNREACHABLE, NOT_FOUND = range(5)


def dead_address():
    """Where nobody listens."""
    return f"127.0.0.1:{process.free_port()}"


def run(program, *arguments, code=DONE, stdin="", names=NAMES, env=None):
    """stdout; stderr is one sentence when it failed."""
    found, out, err = process.run_program([program, *arguments], stdin=stdin,
                                          env={"TERN_NAMESRV": names, **(env or {})})
    what = f"{os.path.basename(program)} {' '.join(arguments)}"
    equal(found, code, f"exit status of {what} ({out}{err})")
    if code == DONE:
        return out
    true(err.startswith(os.path.basename(program) + ": "), f"stderr of {what}: {err!r}")
    return out, err


def ctl(*arguments, **options):
    return run(CTL, *arguments, **options)


def ctl_json(*arguments, **options):
    """The one document on stdout."""
    out = ctl(*arguments, "--json", **options)
    equal(out.count("\n"), 1, "lines of JSON")
    return json.loads(out)


def fails(code, *arguments, **options):
    """Nothing on stdout; what stderr says."""
    out, err = ctl(*arguments, code=code, **options)
    equal(out, "", f"stdout of {' '.join(arguments)}")
    return err


class Ghost:
    """A broker that is registered at a name server, and at whose address nobody listens."""

    def __init__(self, at, name, *topics):
        self.address = dead_address()
        self.client = remoting.Client(at.port)
        table = {topic: {"topicName": topic, "readQueueNums": 4, "writeQueueNums": 4, "perm": 6,
                         "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False}
                 for topic in topics}
        body = {"topicConfigSerializeWrapper": {
            "topicConfigTable": table, "dataVersion": {"counter": 1, "timestamp": 1}},
            "filterServerList": []}
        admin.expect(self.client.call(codes.REGISTER_BROKER, {
            "brokerName": name, "brokerAddr": self.address, "clusterName": "DefaultCluster",
            "haServerAddr": self.address, "brokerId": 0}, json.dumps(body).encode()))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.client.close()


def registered(at, *brokers):
    """Waits until a name server knows these and no others. A broker's start does not wait for it."""
    with remoting.Client(at) as client:
        until(lambda: set(dialect.loads(client.call(codes.CLUSTER_INFO).body)["brokerAddrTable"]) ==
              set(brokers), f"{brokers} are registered")


def rows(text):
    """The cells of a table: column heads, then one list for each line."""
    return [re.split(r"  +", line.strip()) for line in text.splitlines() if line]


def stored(topic, queues=8, of=None):
    found = []
    with remoting.Client((of or broker).port) as client:
        for queue in range(queues):
            found += messages.pull_all(client, topic, queue)
    return found


# --- command line ---

def all_commands(program):
    """As the help lists them."""
    return re.findall(r"^  ([a-z]+(?:-[a-z]+)?(?: [a-z]+)?)  +\S|^  ([a-z]+(?: [a-z]+)?) [A-Z\[]",
                      run(program, "--help"), re.M)


def commands(program):
    return [a or b for a, b in all_commands(program)]


@claim
def help_lists_the_commands_and_each_explains_itself_without_a_server():
    equal(sorted(commands(CTL)), sorted(["topic create", "topic list", "topic describe",
                                         "topic delete", "route", "cluster", "group", "promote",
                                         "drain", "demote", "send", "consume",
                                         "message get", "message query", "message at",
                                         "store verify", "store dump", "store repair", "backup"]))
    equal(sorted(commands(BENCH)), sorted(["send", "pull", "echo", "echo-server", "compare"]))
    for program, forms in ((CTL, ("{} --help", "{} -h", "help {}", "--help {}")),
                           (BENCH, ("{} --help", "{} -h"))):
        for command in commands(program):
            texts = {run(program, *form.format(command).split(), names="127.0.0.1:1")
                     for form in forms}
            equal(len(texts), 1, f"texts of {command}")
            text = texts.pop()
            contains(text, f"usage: {os.path.basename(program)} {command}")
            contains(text, "--json")
        equal(run(program, "--version").split()[0], os.path.basename(program))
    contains(ctl("topic", "--help"), "topic describe")


@claim
def every_option_of_the_documentation_is_one_of_the_program():
    others = {"--help", "--version", "--standalone"}
    for name in os.listdir(os.path.join(ROOT, "scripts")):  # the pages name some of their options
        with open(os.path.join(ROOT, "scripts", name), encoding="utf-8") as file:
            others |= set(re.findall(r"--[a-z-]+", file.read()))
    for program, page in ((CTL, "ternctl.md"), (BENCH, "benchmarks.md")):
        known = set(others)
        for command in commands(program):
            known |= set(re.findall(r"--[a-z-]+", run(program, *command.split(), "--help")))
        with open(os.path.join(ROOT, "docs", "operations", page), encoding="utf-8") as file:
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", file.read()))
        equal(named - known, set(), f"options only in {page}")


@claim
def wrong_usage_leaves_with_2_and_names_what_is_wrong_before_anything_is_asked():
    for text, word in (
            ("topic", "create, list"), ("topic crate T", "topic create"), ("sned T", "send"),
            ("nonsense", "nonsense"), ("topic create", "TOPIC"), ("topic create a b", "too many"),
            ("send", "TOPIC"), ("send T a b", "too many"), ("cluster x", "too many"),
            ("cluster --jsno", "--json"), ("topic list --all=1", "--all"),
            ("send T x --tag", "--tag"), ("send T x --queue -1", "--queue"),
            ("send T x --queue 99999999999999999999", "--queue"),
            ("send T x --delay-level 19", "1 to 18"), ("send T x --delay-level 0", "1 to 18"),
            ("send T x -p novalue", "NAME=VALUE"), ("send T x -p KEYS=k", "--key"),
            ("send T x -p =v", "NAME=VALUE"), ("topic create a/b", "a/b"),
            ("topic create T --queues 0", "--queues"), ("topic create T -q 65537", "65536"),
            ("topic create T --perm x", "rw, r or w"), ("topic create T -q 3x", "3x"),
            ("consume T --from here", "first or last"), ("consume T --max 0", "--max"),
            ("consume T --timeout x", "seconds"), ("consume T --group a/b", "a/b"),
            ("cluster -n :1", ":1"), ("cluster -n host:99999", "99999"), ("cluster -n ;", "empty"),
            ("cluster -n host:", "host:"), ("cluster -n a;b:x", "b:x")):
        err = fails(USAGE, *text.split(), names="127.0.0.1:1")
        contains(err, word, text)
        contains(err, "Try: ternctl ", text)
    contains(fails(USAGE, "topic", "create", ""), "1 to 127")
    contains(fails(USAGE, "topic", "create", "x" * 128), "1 to 127")
    code, out, err = process.run_program([CTL])
    equal((code, out), (USAGE, ""))
    contains(err, "usage: ternctl")
    for arguments, word in ((["nonsense"], "nonsense"), (["send", "--size", "-1"], "--size"),
                            (["send", "stray"], "stray"), (["echo", "-c", "0"], "-c")):
        found, out, err = process.run_program([BENCH, *arguments])
        equal((found, out), (USAGE, ""), f"tern-bench {arguments}")
        contains(err, word.lstrip("-"))


# --- name servers ---

EVERY = (("topic", "create", "T"), ("topic", "list"), ("topic", "describe", "T"),
         ("topic", "delete", "T"), ("route", "T"), ("cluster",), ("send", "T", "x"),
         ("consume", "T"))


@claim
def a_name_server_that_is_not_there_is_named_and_the_status_is_3():
    dead = dead_address()
    for command in EVERY:
        err = fails(UNREACHABLE, *command, "-n", dead)
        contains(err, f"{dead} (connection refused)", " ".join(command))
        contains(err, "-n", " ".join(command))
    contains(fails(UNREACHABLE, "cluster", names=f"{dead};localhost:1"), "localhost:1")
    contains(fails(UNREACHABLE, "cluster", "-n", "no-such-host.invalid"),
             "no-such-host.invalid:9876")
    out, err = run(BENCH, "send", "-n", dead, code=UNREACHABLE)
    equal(out, "")
    contains(err, dead)


@claim
def one_name_server_of_several_is_enough():
    names = f"{dead_address()};{namesrv.address}"
    ctl("topic", "create", "Several", "-n", names)
    for command in (("topic", "list"), ("topic", "describe", "Several"), ("route", "Several"),
                    ("cluster",), ("send", "Several", "x")):
        ctl(*command, names=names)
    contains(ctl("consume", "Several", "--max", "1", "-n", names), "x")


@claim
def a_broker_in_the_place_of_a_name_server_is_recognized():
    contains(fails(REFUSED, "topic", "list", "-n", broker.address), "is it a broker?")


@claim
def a_topic_that_is_not_there_leaves_with_4_and_says_how_to_make_it():
    for command in (("topic", "describe"), ("route",), ("consume",)):
        err = fails(NOT_FOUND, *command, "Nowhere")
        contains(err, f"no topic Nowhere at name server {NAMES}")
        contains(err, "ternctl topic create Nowhere")
    contains(fails(NOT_FOUND, "topic", "delete", "Nowhere"), "no topic Nowhere")
    for option in ("--broker", "--cluster"):
        contains(fails(NOT_FOUND, "topic", "create", "T", option, "nobody"), "nobody")


@claim
def an_empty_cluster_leaves_with_4():
    empty = process.Namesrv()
    contains(fails(NOT_FOUND, "cluster", names=empty.address), "no broker is registered")
    out, err = ctl("cluster", "--json", names=empty.address, code=NOT_FOUND)
    equal(json.loads(out), {"brokers": []})
    contains(fails(NOT_FOUND, "topic", "create", "T", names=empty.address), "no master")
    contains(fails(NOT_FOUND, "send", "T", "x", names=empty.address), "no topic T")
    equal(ctl_json("topic", "list", names=empty.address), {"topics": []})
    empty.stop()


class Pretender:
    """Answers every request on one port with the same code, remark and body."""

    def __init__(self, code=0, remark=None, body=b"", raw=None):
        self.answer = lambda opaque: raw or remoting.encode(remoting.Frame(
            code, {}, body, opaque, remoting.FLAG_RESPONSE, remark))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with client:
                head = client.recv(4, socket.MSG_WAITALL)
                if len(head) == 4:
                    size = int.from_bytes(head, "big")
                    request = remoting.decode(client.recv(size, socket.MSG_WAITALL))
                    client.sendall(self.answer(request.opaque))
                    client.recv(1)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@claim
def what_a_strange_server_says_is_one_line_and_steers_no_terminal():
    evil = '{"brokerDatas":[{"brokerName":"\\u001b[2J\\nx","brokerAddrs":{"y":"z"}}]}'
    for pretender in ({"code": 1, "remark": "\x1b[2J\nsecond line"}, {"body": evil.encode()},
                      {"body": b"\x1b[2J\n"}, {"raw": b"HTTP/1.1 400 \x1b[2J\r\n\r\n"},
                      {"raw": b"\x00\x00\x00\x10\x00\x00\x00\x7f"}, {"raw": b"\xff" * 8}):
        with Pretender(**pretender) as there:
            out, err = run(CTL, "route", "T", "-n", there.address,
                           code=UNREACHABLE if "raw" in pretender else REFUSED)
            equal((out, err.count("\n"), "\x1b" in err), ("", 1, False), f"{pretender}: {err!r}")


# --- topics ---

def on(server, name, **more):
    return {"broker": name, "cluster": "DefaultCluster", "address": server.address, **more}


@claim
def a_topic_is_made_on_all_masters_and_can_be_used_at_once():
    made = ctl_json("topic", "create", "Made", "--queues", "3")
    shape = {"readQueues": 3, "writeQueues": 3, "perm": 6, "changed": True}
    equal(made, {"topic": "Made", "brokers": [on(broker, "broker-a", **shape),
                                              on(second, "broker-b", **shape)]})
    ctl("send", "Made", "x")
    out = ctl("topic", "create", "MadeToo", "-q", "2", "--write-queues", "1")
    equal([line.split(" (")[0] for line in out.splitlines()],
          ["topic MadeToo is on broker broker-a", "topic MadeToo is on broker broker-b"])
    contains(out, "2 read and 1 write queues, perm RW")


@claim
def a_topic_that_is_there_is_changed_only_when_told_to():
    ctl("topic", "create", "Kept", "--queues", "2")
    same = ctl_json("topic", "create", "Kept")
    equal([b["changed"] for b in same["brokers"]], [False, False])
    contains(ctl("topic", "create", "Kept", "-q2"), "is already on broker broker-a")
    err = fails(REFUSED, "topic", "create", "Kept", "--queues", "5")
    contains(err, "2 read and 2 write queues, perm RW")
    contains(err, "--update")
    changed = ctl_json("topic", "create", "Kept", "--queues", "5", "--perm", "r", "--update")
    equal([(b["readQueues"], b["perm"], b["changed"]) for b in changed["brokers"]],
          [(5, 4, True)] * 2)
    one = ctl_json("topic", "create", "Kept", "--perm=rw", "--update", "--broker", "broker-b")
    equal([(b["broker"], b["readQueues"], b["perm"]) for b in one["brokers"]],
          [("broker-b", 5, 6)], "what was not given stays")
    equal([b["perm"] for b in ctl_json("route", "Kept")["brokers"]], [4, 6])


@claim
def an_ordered_topic_is_known_to_the_name_servers():
    ctl("topic", "create", "Ordered", "--order", "-q", "2")
    equal(ctl_json("route", "Ordered")["order"], "broker-a:2;broker-b:2")
    equal([b["order"] for b in ctl_json("topic", "describe", "Ordered")["brokers"]], [True, True])
    ctl("topic", "delete", "Ordered")
    with remoting.Client(namesrv.port) as client:
        equal(client.call(codes.GET_KV, {"namespace": "ORDER_TOPIC_CONFIG", "key": "Ordered"}).code,
              codes.NOT_FOUND, "the entry of a deleted topic")


@claim
def topics_are_listed_those_of_the_system_only_on_demand():
    ctl("topic", "create", "ListMe", "-q", "3")
    listed = ctl_json("topic", "list")["topics"]
    true(not any(t["system"] for t in listed), f"system topics in {listed}")
    entry = {"topic": "ListMe", "system": False, "brokers": 2, "readQueues": 6, "writeQueues": 6,
             "perm": 6}
    true(entry in listed, f"{entry} is not in {listed}")
    every = ctl_json("topic", "list", "--all")["topics"]
    names = [t["topic"] for t in every]
    equal(names, sorted(names))
    equal([t for t in every if not t["system"]], listed)
    for name in ("TBW102", "broker-a", "broker-b", "DefaultCluster", "SCHEDULE_TOPIC_XXXX"):
        true(name in names, f"{name} is not in {names}")
    table = rows(ctl("topic", "list", "--all"))
    equal(table[0], ["TOPIC", "BROKERS", "READ", "WRITE", "PERM"])
    equal(table[1:], [[t["topic"], str(t["brokers"]), str(t["readQueues"]), str(t["writeQueues"]),
                       {0: "-", 2: "W", 4: "R", 6: "RW"}[t["perm"] & 6]] for t in every])


@claim
def a_description_has_settings_queues_with_their_ends_and_the_lag_of_groups():
    ctl("topic", "create", "Described", "-q", "2", "--broker", "broker-a")
    contains(ctl("topic", "describe", "Described"), "no consumer group has read it")
    ctl("send", "Described", stdin="a\nb\nc\n", )
    with remoting.Client(broker.port) as client:
        ends = [admin.max_offset(client, "Described", q) for q in (0, 1)]
        equal(sum(ends), 3)
        admin.commit_offset(client, "describers", "Described", 0, ends[0] - 1)
        admin.commit_offset(client, "describers", "Described", 1, ends[1] - 1)
        admin.heartbeat(client, "c1", [admin.consumer("describers",
                                                      [admin.subscription("Described")])])
        found = ctl_json("topic", "describe", "Described")
        text = ctl("topic", "describe", "Described")
    newest = max(m.store_time for m in stored("Described", 2))
    equal(max(q.pop("lastUpdateTimestamp") for q in found["queues"]), newest)
    equal(found, {
        "topic": "Described",
        "brokers": [{"broker": "broker-a", "cluster": "DefaultCluster", "master": broker.address,
                     "readQueues": 2, "writeQueues": 2, "perm": 6, "order": False}],
        "queues": [{"broker": "broker-a", "queue": q, "minOffset": 0, "maxOffset": ends[q]}
                   for q in (0, 1)],
        "groups": [{"group": "describers", "clients": 1, "lag": 2}]})
    table = rows(text)
    true(["broker-a", "DefaultCluster", broker.address, "2", "2", "RW", "no"] in table, text)
    for queue in (0, 1):
        true(any(row[:5] == ["broker-a", str(queue), "0", str(ends[queue]), str(ends[queue])]
                 for row in table), text)
    true(["describers", "1", "2"] in table, text)


@claim
def a_deleted_topic_is_gone_everywhere():
    ctl("topic", "create", "Gone")
    ctl("send", "Gone", "x")
    contains(ctl("topic", "delete", "Gone"), "topic Gone is deleted")
    fails(NOT_FOUND, "route", "Gone")
    for server in (broker, second):
        with remoting.Client(server.port) as client:
            equal(messages.pull(client, "Gone", 0, 0).code, codes.NO_TOPIC)
    ctl("topic", "create", "Gone")
    equal(ctl_json("topic", "delete", "Gone"), {"topic": "Gone", "deleted": True})
    contains(fails(REFUSED, "topic", "delete", "TBW102"), "system topic")


@claim
def a_route_names_brokers_members_and_addresses():
    ctl("topic", "create", "Routed", "-q", "4")
    entry = {"cluster": "DefaultCluster", "readQueues": 4, "writeQueues": 4, "perm": 6}
    equal(ctl_json("route", "Routed"), {"topic": "Routed", "order": None, "brokers": [
        {"broker": name, **entry, "members": [{"id": 0, "address": server.address}]}
        for name, server in (("broker-a", broker), ("broker-b", second))]})
    equal(rows(ctl("route", "Routed")),
          [["BROKER", "CLUSTER", "ID", "ADDRESS", "READ", "WRITE", "PERM"],
           ["broker-a", "DefaultCluster", "0", broker.address, "4", "4", "RW"],
           ["broker-b", "DefaultCluster", "0", second.address, "4", "4", "RW"]])


@claim
def a_cluster_shows_every_broker_and_those_that_do_not_answer():
    found = ctl_json("cluster")["brokers"]
    equal([(b["cluster"], b["broker"], b["id"], b["address"], b["reachable"]) for b in found],
          [("DefaultCluster", f"broker-{c}", 0, s.address, True)
           for c, s in (("a", broker), ("b", second))])
    with remoting.Client(broker.port) as client:
        info = admin.runtime_info(client)
    equal((found[0]["commitLogMaxOffset"], found[0]["bootTimestamp"], found[0]["version"]),
          (int(info["commitLogMaxOffset"]), int(info["bootTimestamp"]), info["brokerVersionDesc"]))
    true(0 < found[0]["diskRatio"] < 1, f"disk {found[0]['diskRatio']}")
    equal([row[1] for row in rows(ctl("cluster"))], ["BROKER", "broker-a", "broker-b"])
    with Ghost(namesrv, "ghost") as ghost:
        out, err = ctl("cluster", code=UNREACHABLE)
        equal([row[1] for row in rows(out)], ["BROKER", "broker-a", "broker-b", "ghost"])
        contains(out, "no answer")
        contains(err, f"broker ghost (id 0) at {ghost.address} (connection refused)")
        out, err = ctl("cluster", "--json", code=UNREACHABLE)
        equal([b["reachable"] for b in json.loads(out)["brokers"]], [True, True, False])
        contains(fails(UNREACHABLE, "topic", "create", "Partly"),
                 f"broker ghost at {ghost.address} (connection refused)")
        ctl("topic", "create", "Partly", "--broker", "broker-a")
    registered(namesrv.port, "broker-a", "broker-b")


# --- sending ---

@claim
def a_message_lies_where_the_answer_says_with_all_that_was_given():
    ctl("topic", "create", "Sent", "-q", "2", "--broker", "broker-a")
    sent = json.loads(ctl("send", "Sent", "Grüße", "--json", "--tag", "new", "--key", "k1 k2",
                          "-p", "colour=a=b", "-pempty-is=no", "--queue", "1"))
    lying = stored("Sent", 2)
    equal(len(lying), 1)
    m = lying[0]
    equal(sent, {"topic": "Sent", "broker": "broker-a", "queue": 1, "offset": 0,
                 "msgId": m.properties["UNIQ_KEY"], "offsetMsgId": m.offset_id, "code": 0,
                 "status": "SEND_OK"})
    equal((m.body, m.queue_id, m.properties["TAGS"], m.properties["KEYS"], m.properties["colour"],
           m.properties["empty-is"]),
          ("Grüße".encode(), 1, "new", "k1 k2", "a=b", "no"))
    out = ctl("send", "Sent", "x", "--queue=1")
    m = stored("Sent", 2)[1]
    equal(out, f"sent to broker-a queue 1 offset 1, id {m.properties['UNIQ_KEY']}\n")
    ctl("send", "Sent", "--", "--tag")
    true(b"--tag" in [m.body for m in stored("Sent", 2)], "a message that looks like an option")
    contains(fails(NOT_FOUND, "send", "Sent", "x", "--queue", "2"), "ternctl route Sent")


@claim
def single_sends_and_lines_are_spread_over_all_queues():
    ctl("topic", "create", "Spread", "-q", "2")
    ctl("send", "Spread", stdin="x\n" * 8)
    equal([q["maxOffset"] for q in ctl_json("topic", "describe", "Spread")["queues"]], [2] * 4)


@claim
def each_line_of_stdin_is_a_message():
    ctl("topic", "create", "Lines", "-q", "1", "--broker", "broker-a")
    out = ctl("send", "Lines", stdin="one\n\n three \nlast without end")
    true(re.fullmatch(r"4 messages sent to topic Lines in \d+\.\d\d s\n", out), out)
    equal([m.body for m in stored("Lines", 1)], [b"one", b"", b" three ", b"last without end"])
    equal(ctl("send", "Lines", stdin="")[:16], "0 messages sent ")
    sent = [json.loads(line) for line in ctl("send", "Lines", "--json", stdin="a\nb\n").splitlines()]
    equal([(s["offset"], s["status"]) for s in sent], [(4, "SEND_OK"), (5, "SEND_OK")])
    ctl("send", "Lines", stdin="y" * 99000 + "\n" + "z" * 99000 + "\n")
    equal([len(m.body) for m in stored("Lines", 1)[6:]], [99000, 99000])


@claim
def sending_stops_at_the_first_line_that_fails_and_says_how_far_it_came():
    ctl("topic", "create", "Stops", "-q", "1", "--broker", "broker-a")
    out, err = ctl("send", "Stops", stdin="a\nb\n" + "x" * 100001 + "\nd\n", code=REFUSED)
    contains(out, "2 messages sent to topic Stops")
    contains(err, "100000")
    contains(err, "13")
    equal([m.body for m in stored("Stops", 1)], [b"a", b"b"])


@claim
def a_delayed_message_comes_later_and_once():
    ctl("topic", "create", "Late", "-q", "1", "--broker", "broker-a")
    contains(ctl("send", "Late", "later", "--delay-level", "1"), "(delayed)")
    out = ctl("consume", "Late", "--max", "1", "--timeout", "30")
    equal(out, "later\n")
    m = stored("Late", 1)[0]
    true(m.store_time - m.born_time >= 1000, f"stored {m.store_time - m.born_time} ms after")


@claim
def a_topic_is_made_by_its_first_message_if_the_brokers_allow_it():
    code, out, err = process.run_program([CTL, "send", "FirstOfAll", "x", "-n", NAMES])
    equal(code, DONE, err)
    contains(err, "there was no topic FirstOfAll")
    strict = process.Broker(brokerName="strict", autoCreateTopicEnable=False)
    names = f"127.0.0.1:{strict.namesrv_port}"
    registered(strict.namesrv_port, "strict")
    contains(fails(NOT_FOUND, "send", "Strictly", "x", "-n", names), "Strictly")
    strict.stop()


@claim
def a_broker_that_is_gone_is_passed_over_and_a_topic_on_none_is_not_sent_to():
    names = process.Namesrv()
    with Ghost(names, "ghost", "Two", "Ghostly"):
        real = process.Broker(names, brokerName="real")
        registered(names.port, "ghost", "real")
        ctl("topic", "create", "Two", "-q", "4", "--broker", "real", "-n", names.address)
        out = ctl("send", "Two", "--json", "-n", names.address, stdin="x\n" * 8)
        equal([json.loads(line)["broker"] for line in out.splitlines()], ["real"] * 8)
        err = fails(UNREACHABLE, "send", "Ghostly", "x", "-n", names.address)
        contains(err, "broker ghost")
        contains(err, "(connection refused)")
        real.stop()
    names.stop()


# --- consuming ---

class Consumer(process.Server):
    """ternctl consume, running; log() has what it printed."""

    def __init__(self, topic, *options, names=NAMES):
        super().__init__("consume", [CTL, "consume", topic, *options, "-n", names])

    def wait(self, text):
        until(lambda: text in self.log() or not self.running(), f"{text!r} from the consumer")
        contains(self.log(), text)


@claim
def messages_are_printed_as_they_come_and_a_signal_stores_how_far():
    ctl("topic", "create", "Live", "-q", "2")
    for number, name in ((signal.SIGINT, "int"), (signal.SIGTERM, "term"),
                         (signal.SIGHUP, "hup")):
        consumer = Consumer("Live", "--group", "livers")
        for text in (f"{name} first", f"{name} second"):
            ctl("send", "Live", text)
            consumer.wait(text + "\n")
        consumer.signal(number)
        consumer.wait_end(0)
        equal(consumer.log().count("\n"), 2, "lines: what was read before does not come again")
    equal(ctl_json("topic", "describe", "Live")["groups"],
          [{"group": "livers", "clients": 0, "lag": 0}])


@claim
def max_and_timeout_end_it_with_0():
    ctl("topic", "create", "Some", "-q", "1", "--broker", "broker-a")
    ctl("send", "Some", stdin="".join(f"{i}\n" for i in range(50)))
    first = ctl("consume", "Some", "--max", "20").splitlines()
    equal(first, [str(i) for i in range(20)])
    rest = []

    def read_on():
        rest.extend(ctl("consume", "Some", "--max", "1000", "--timeout", "0.2").splitlines())
        return len(rest) >= 30

    until(read_on, "the rest")
    equal(rest, [str(i) for i in range(20, 50)], "it goes on where the group stopped")
    equal(ctl("consume", "Some", "--timeout", "0.05"), "")
    equal(len(ctl("consume", "Some", "--from", "first", "-m", "50").splitlines()), 50)
    equal(len(ctl("consume", "Some", "--group", "another", "-m", "50").splitlines()), 50)


@claim
def from_last_takes_only_what_comes_from_now_on():
    ctl("topic", "create", "Newest", "-q", "1", "--broker", "broker-a")
    ctl("send", "Newest", "old")
    consumer = Consumer("Newest", "--from", "last", "--group", "newest")
    # its heartbeat comes after it has looked for the ends
    with remoting.Client(broker.port) as client:
        until(lambda: admin.consumer_ids(client, "newest"), "the consumer's heartbeat")
    ctl("send", "Newest", "new")
    consumer.wait("new\n")
    consumer.signal(signal.SIGINT)
    consumer.wait_end(0)
    equal(consumer.log(), "new\n")


@claim
def a_tag_expression_selects():
    ctl("topic", "create", "Tags", "-q", "1", "--broker", "broker-a")
    for tag in ("red", "green", "blue"):
        ctl("send", "Tags", f"is {tag}", "-t", tag)
    equal(ctl("consume", "Tags", "--tag", "red || blue", "--max", "2"), "is red\nis blue\n")
    equal(ctl("consume", "Tags", "--tag", "green", "--timeout", "0.2"), "",
          "the group has passed over the others")


@claim
def json_of_a_message_has_all_that_is_stored_of_it():
    ctl("topic", "create", "Whole", "-q", "1", "--broker", "broker-a")
    ctl("send", "Whole", 'a "quoted"\tline', "--tag", "t", "--key", "k1 k2", "-p", "x=y")
    found = [json.loads(line) for line in ctl("consume", "Whole", "--max", "1",
                                              "--json").splitlines()]
    m = stored("Whole", 1)[0]
    visible = {k: v for k, v in m.properties.items() if k != messages.CRC_NAME}
    equal(found, [{
        "topic": "Whole", "broker": "broker-a", "queue": 0, "offset": 0,
        "msgId": m.properties["UNIQ_KEY"], "offsetMsgId": m.offset_id, "tag": "t", "keys": "k1 k2",
        "properties": visible, "bornTimestamp": m.born_time, "storeTimestamp": m.store_time,
        "bornHost": "%s:%d" % m.born_host, "storeHost": "%s:%d" % m.store_host,
        "reconsumeTimes": 0, "flag": 0, "body": 'a "quoted"\tline'}])
    line = ctl("consume", "Whole", "--from", "first", "--max", "1", "--verbose")
    for part in ("broker-a", "k1 k2", 'a "quoted"\tline'):
        contains(line, part)


@claim
def bodies_cannot_steer_a_terminal_and_stay_whole_in_json():
    bodies = [b"two\nlines\r", b"\x1b[31mred\x07", b"\xff\xfe not utf-8", "žluť\u0085".encode(),
              b"", zlib.compress(b"packed"), b"claims to be packed"]
    printed = ["two\\nlines\\r", "\\x1B[31mred\\x07", "\\xFF\\xFE not utf-8", "žluť\\xC2\\x85", "",
               "packed"]
    ctl("topic", "create", "Wild", "-q", "1", "--broker", "broker-a")
    with remoting.Client(broker.port) as client:
        for body in bodies:
            packed = body[:1] == b"\x78" or b"claims" in body
            messages.send(client, "Wild", body, sysFlag=messages.SYS_COMPRESSED if packed else 0)
    lines = ctl("consume", "Wild", "--max", "7", "-g", "a").split("\n")
    equal(lines[:6], printed)
    equal(len(lines), 8, "one line for each message")
    found = [json.loads(line) for line in ctl("consume", "Wild", "--max", "7", "-g", "b",
                                              "--json").split("\n")[:-1]]
    equal([m.get("body") for m in found],
          ["two\nlines\r", "\x1b[31mred\x07", None, "žluť\u0085", "", "packed", None])
    equal(base64.b64decode(found[2]["bodyBase64"]), bodies[2])
    equal(base64.b64decode(found[6]["packedBodyBase64"]), bodies[6])


@claim
def a_group_that_others_consume_in_is_left_alone_unless_told_to_join():
    ctl("topic", "create", "Used", "-q", "1", "--broker", "broker-a")
    ctl("send", "Used", "x")
    with remoting.Client(broker.port) as client:
        admin.heartbeat(client, "somebody", [admin.consumer("users", [admin.subscription("Used")])])
        err = fails(REFUSED, "consume", "Used", "--group", "users", "--max", "1")
        contains(err, "users")
        contains(err, "--join")
        equal(ctl("consume", "Used", "--group", "users", "--max", "1", "--join"), "x\n")
        equal(ctl("consume", "Used", "--group", "lookers", "--max", "1"), "x\n")


@claim
def a_consumer_outlives_its_broker():
    names = process.Namesrv()
    one = process.Broker(names, brokerName="one", listenPort=process.free_port())
    registered(names.port, "one")
    ctl("topic", "create", "Outlive", "-q", "1", "-n", names.address)
    consumer = Consumer("Outlive", names=names.address)
    ctl("send", "Outlive", "before", "-n", names.address)
    consumer.wait("before\n")
    one.kill()
    consumer.wait("lost broker one")
    again = process.Broker(names, store=one.store, brokerName="one", listenPort=one.port)
    registered(names.port, "one")
    consumer.wait("is back")
    ctl("send", "Outlive", "after", "-n", names.address)
    consumer.wait("after\n")
    consumer.signal(signal.SIGINT)
    consumer.wait_end(0)
    again.stop()
    names.stop()


# --- stdout that is closed, full, or no longer read ---

def shell(command):
    """Runs a line of bash with the tools' names as variables: its output, and that of stderr."""
    done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60,
                          env=dict(os.environ, CTL=CTL, BENCH=BENCH, TERN_NAMESRV=NAMES))
    return done.stdout, done.stderr


@claim
def a_reader_that_wants_no_more_is_no_failure():
    ctl("topic", "create", "Piped", "-q", "1", "--broker", "broker-a")
    ctl("send", "Piped", stdin="x" * 2000 + "\n" + ("y" * 2000 + "\n") * 300)
    for command in ("topic list --all", "cluster --json", "consume Piped --max 301"):
        out, err = shell(f'"$CTL" {command} | true; echo ${{PIPESTATUS[0]}}')
        equal((out, err), ("0\n", ""), command)
    out, err = shell('"$CTL" consume Piped --group heads | head -1; echo ${PIPESTATUS[0]}')
    equal(out, "x" * 2000 + "\n0\n")
    equal(err, "")
    out, err = shell('yes x | "$CTL" send Piped --json | true; echo ${PIPESTATUS[1]}')
    equal(out, "1\n")
    true(re.search(r"Broken pipe; [1-9]\d* messages were sent", err), err)


@claim
def an_output_that_cannot_be_written_is_a_failure():
    for command in ("topic list", "cluster --json", "send Piped x", "--version", "--help",
                    "consume Piped --from first --max 5"):
        for to, why in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
            out, err = shell(f'("$CTL" {command} {to}); echo $?')
            equal(out, "1\n", command)
            contains(err, f"write to stdout: {why}", command)
    out, err = shell('("$BENCH" --help >/dev/full); echo $?')
    equal(out, "1\n")
    equal(len(ctl("consume", "Piped", "--max", "301").splitlines()), 301,
          "what was not written comes again")


@claim
def closed_descriptors_are_not_given_to_connections():
    before = namesrv.log() + broker.log()
    for closed in (">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
        shell(f'"$CTL" topic create Piped {closed}; "$CTL" send Piped x {closed}; '
              f'"$CTL" nonsense {closed}')
    equal(namesrv.log() + broker.log(), before, "what servers complain about")


# --- tern-bench ---

SHORT = ("--warmup", "0.05", "--duration", "1", "--json")


def bench(*arguments, code=DONE):
    out = run(BENCH, *arguments, code=code)
    equal(out.count("\n"), 1, "lines of JSON")
    return json.loads(out)


def check_figures(what, found, batch=1):
    true(found["messages"] > 0 and found["messages"] % batch == 0, f"{what}: {found['messages']}")
    true(abs(found["rate"] * found["seconds"] - found["messages"]) < 1, f"{what}: rate {found}")
    equal((found["refused"], found["unanswered"]), ({}, 0), what)
    latency = found["latencyMicros"]
    if latency:
        ordered = [latency[p] for p in ("p50", "p90", "p99", "p999")]
        equal(ordered, sorted(ordered), f"{what}: percentiles")
        # a percentile is the upper end of a bucket of at most 1/64 of the value
        true(0 < ordered[-1] <= latency["max"] * (1 + 1 / 64) and latency["mean"] <= latency["max"],
             f"{what}: {latency}")


def bench_sum(topic):
    return sum(q["maxOffset"] for q in ctl_json("topic", "describe", topic)["queues"])


@claim
def sends_that_were_measured_are_in_the_topic():
    found = bench("send", "-n", NAMES, "-t", "BenchSend", "-q", "2", "-c", "2", "-w", "4",
                  "--pid", str(broker.pid), *SHORT)
    check_figures("send", found)
    equal((found["what"], found["topic"], found["connections"], found["window"], found["batch"],
           found["size"], found["oneway"]), ("send", "BenchSend", 2, 4, 1, 128, False))
    equal(sorted(found["addresses"]), sorted([broker.address, second.address]))
    true(found["server"]["cpuSeconds"] >= 0, "server")
    true(bench_sum("BenchSend") >= found["messages"], "messages in the topic")
    equal({len(m.body) for m in stored("BenchSend", 2)}, {128})
    ids = [m.properties["UNIQ_KEY"] for m in stored("BenchSend", 2) + stored("BenchSend", 2,
                                                                             second)]
    equal(len(set(ids)), len(ids), "ids that differ")


@claim
def a_count_ends_a_run_exactly():
    found = bench("send", "-n", NAMES, "-t", "BenchCount", "--count", "500", "--warmup", "0",
                  "--json")
    check_figures("count", found)
    equal((found["messages"], bench_sum("BenchCount")), (500, 500))


@claim
def batches_binary_headers_and_threads_store_what_they_count():
    found = bench("send", "-n", NAMES, "-t", "BenchBatch", "-c", "4", "-w", "2", "-b", "10", "-s",
                  "16", "--binary", "--threads", "2", *SHORT)
    check_figures("batch", found, batch=10)
    true(bench_sum("BenchBatch") >= found["messages"], "messages in the topic")
    equal({len(m.body) for m in stored("BenchBatch", 8)}, {16})


@claim
def one_way_sends_are_counted_in_the_queues():
    found = bench("send", "-n", NAMES, "-t", "BenchOneway", "--oneway", "-c", "2", *SHORT)
    check_figures("oneway", found)
    equal(found["latencyMicros"], None)
    equal(found["stored"], bench_sum("BenchOneway"))
    true(found["stored"] >= found["messages"], f"{found}")


@claim
def a_measurement_lasts_until_there_is_something_to_tell():
    """Of requests that take longer than the time that is measured."""
    own = process.Namesrv()
    with_room = process.Broker(own)
    found = bench("send", "-n", own.address, "-t", "BenchSlow", "-s", "4000000", "--warmup", "0", "--duration",
                  "0.001", "--json")
    check_figures("slow", found)
    with_room.stop()
    own.stop()
    true(found["latencyMicros"]["max"] > 0 and found["seconds"] >= 0.001, f"{found}")


@claim
def refused_sends_are_told_by_code_and_in_no_rate():
    found, err = run(BENCH, "send", "-n", NAMES, "-t", "BenchRefused", "-s", "100001", *SHORT,
                     code=REFUSED)
    found = json.loads(found)
    equal((found["messages"], found["rate"], found["latencyMicros"]), (0, 0, None))
    equal(list(found["refused"]), ["13"])
    contains(err, "no message was accepted")
    contains(err, "100000")


@claim
def pulls_read_what_there_is():
    ctl("topic", "create", "BenchPull", "-q", "2")
    ctl("send", "BenchPull", stdin="0123456789\n" * 100)
    found = bench("pull", "-n", NAMES, "-t", "BenchPull", "--json")
    equal(found["messages"], 100)
    contains(run(BENCH, "pull", "-n", NAMES, "-t", "BenchPull"), "100")
    out, err = run(BENCH, "pull", "-n", NAMES, "-t", "Nowhere", code=NOT_FOUND)
    contains(err, "Nowhere")


@claim
def echo_measures_without_a_broker():
    for arguments in (("-c", "2", "-w", "3"), ("-b", "5"), ("--binary",)):
        found = bench("echo", *arguments, *SHORT)
        check_figures("echo", found)
        equal(found["what"], "echo")
    text = run(BENCH, "echo", *SHORT[:-1])
    for word in ("rate", "latency", "p99.9", "server CPU"):
        contains(text, word)


@claim
def an_echo_server_runs_until_it_is_told_to_stop():
    server = process.Server("echo-server", [BENCH, "echo-server"])
    until(lambda: "echo server on 127.0.0.1:" in server.log(), "the echo server's line")
    port = int(re.search(r"127\.0\.0\.1:(\d+)", server.log()).group(1))
    with remoting.Client(port) as client:
        equal(messages.send(client, "Echo", b"x").queue_id, 0)
    code, out, err = process.run_program([BENCH, "echo-server", "--port", str(port)])
    equal((code, out), (REFUSED, ""))
    contains(err, str(port))
    server.signal(signal.SIGINT)
    server.wait_end(0)


@claim
def a_comparison_has_both_sides_of_every_situation():
    found = bench("compare", "-n", NAMES, "-t", "BenchCompare", "--rounds", "1", "--duration",
                  "0.5", "--warmup", "0.02", "--json")
    equal([(c["connections"], c["window"], c["batch"], c["size"]) for c in found["cases"]],
          [(1, 1, 1, 128), (64, 1, 1, 128), (2, 500, 1, 128), (16, 4, 32, 10)])
    for case in found["cases"]:
        for side in ("broker", "echo"):
            check_figures(f"{side} of {case['connections']}", case[side], case["batch"])
        ratio = case["broker"]["rate"] / case["echo"]["rate"]
        true(abs(case["ratio"] - ratio) <= 0.001 * ratio + 0.0001, f"ratio {case['ratio']}, {ratio}")


@claim
def load_stays_on_loopback_unless_told_otherwise():
    out, err = run(BENCH, "send", "-n", "192.0.2.1:9876", code=USAGE)
    equal(out, "")
    contains(err, "--allow-remote")


# --- documentation ---

@claim
def the_quickstart_works_with_what_is_built_and_leaves_nothing_behind():
    folder = process.new_path("quickstart folder")
    os.mkdir(folder)
    done = subprocess.run(["bash", os.path.join(ROOT, "scripts", "quickstart"), "--once",
                           process.BUILD], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120, env=dict(os.environ, TMPDIR=folder))
    equal(done.returncode, 0, done.stdout + done.stderr)
    contains(done.stdout, "1000 of 1000 came back")
    true(done.stdout.endswith("all is well\n"), done.stdout)
    equal(os.listdir(folder), [])
    for pid in re.findall(r"pid (\d+)", done.stdout):
        true(not os.path.exists(f"/proc/{pid}"), f"{pid} still runs")


@claim
def the_page_of_settings_is_that_of_the_programs_and_links_lead_somewhere():
    done = subprocess.run(["bash", os.path.join(ROOT, "scripts", "check-docs"), process.BUILD],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0, done.stdout + done.stderr)


@claim
def a_name_server_that_is_silent_is_given_up():
    out, err = silent_asker.communicate(timeout=60)
    equal((silent_asker.returncode, out), (UNREACHABLE, ""))
    contains(err, "no answer within 5 s")


if __name__ == "__main__":
    claims.run()
