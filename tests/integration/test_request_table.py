"""The table of requests: what each one is answered, in both header serializations.

A row is one request and what its reply must be. Besides what the row says, every reply must carry
the request's opaque and serialization, the response flag, members in alphabetical order, and a
remark when it is a refusal. Rows run in order on one cluster; each serialization has names of its
own (the suffix `s`).
"""
import itertools
import json
import struct
import time
import zlib

from lib import admin, claims, codes, dialect, messages, process, remoting
from lib.claims import Broken, contains, equal, true, until

RUNS_SANITIZED = True

BROKER, NAMESRV = "broker", "namesrv"
PUSH = "CONSUME_PASSIVELY"


class Row:
    """`fields`: names that the reply must have, or a dict with their values (a callable judges);
    {} demands an empty extFields, None allows anything. `remark`: texts that it must hold. `body`:
    judges the reply's body. `given` is the request's body. `soon`: a change of the broker that the
    name server hears of by itself; the code may be another one for a moment."""

    def __init__(self, to, code, what, ask=None, given=b"", expect=0, fields=None, remark=(),
                 body=None, version=remoting.VERSION, language="JAVA", soon=False):
        self.to, self.code, self.what, self.ask, self.given = to, code, what, ask, given
        self.expect, self.fields, self.body = expect, fields, body
        self.remark = (remark,) if isinstance(remark, str) else remark
        self.version, self.language, self.soon = version, language, soon


def to_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


# --- judges of bodies ---

def empty(body, _):
    equal(body, b"", "body")


def tree(judge):
    """The body as JSON in RocketMQ's dialect."""
    return lambda body, cluster: judge(dialect.loads(body), cluster)


def has(*names):
    def judge(value, _):
        equal(sorted(value), sorted(names), "members")
    return tree(judge)


def same(expected):
    return tree(lambda value, _: equal(value, expected, "body"))


def one_message(topic, text):
    def judge(body, _):
        found = messages.decode_all(body)
        equal([(m.topic, m.body) for m in found], [(topic, text)], "messages")
    return judge


def number(text):
    return text.lstrip("-").isdigit()


SENT = {"msgId": lambda v: messages.parse_offset_id(v) is not None, "queueId": number,
        "queueOffset": number, "MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}
SEND_REFUSED = {"MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}
PULLED = {"suggestWhichBrokerId": "0", "nextBeginOffset": number, "minOffset": number,
          "maxOffset": number}


# --- what a request needs ---

# Code: (server, a request that is complete, the names that must not be missing, those that are
# numbers). From these come rows with one thing missing or wrong.
def complete_requests(s):
    send = messages.send_fields(f"Table{s}")
    v1 = messages.send_fields(f"Table{s}", v1=True)
    queue = {"topic": f"Table{s}", "queueId": 0}
    group_queue = {"consumerGroup": f"TableG{s}", **queue}
    identity = {"brokerName": "broker-x", "brokerAddr": "127.0.0.1:7", "clusterName": "C",
                "brokerId": 1}
    return {
        codes.SEND: (BROKER, v1, {"producerGroup": None, "topic": None, "queueId": None},
                     ["queueId", "sysFlag", "bornTimestamp", "flag", "reconsumeTimes",
                      "defaultTopicQueueNums"]),
        codes.SEND_V2: (BROKER, send, {"a": "producerGroup", "b": "topic", "e": "queueId"},
                        {"d": "defaultTopicQueueNums", "e": "queueId", "f": "sysFlag",
                         "g": "bornTimestamp", "h": "flag", "j": "reconsumeTimes"}),
        codes.SEND_BATCH: (BROKER, {**send, "m": "true"},
                           {"a": "producerGroup", "b": "topic", "e": "queueId"},
                           {"e": "queueId"}),
        codes.PULL: (BROKER, messages.pull_fields(f"Table{s}", group=f"TableG{s}"),
                     ["consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag"],
                     ["queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset",
                      "suspendTimeoutMillis", "subVersion"]),
        codes.QUERY_OFFSET: (BROKER, group_queue, ["consumerGroup", "topic", "queueId"],
                             ["queueId"]),
        codes.UPDATE_OFFSET: (BROKER, {**group_queue, "commitOffset": 0},
                              ["consumerGroup", "topic", "queueId", "commitOffset"],
                              ["queueId", "commitOffset"]),
        codes.UPDATE_TOPIC: (BROKER, admin.topic_fields(f"Table{s}"),
                             ["topic", "readQueueNums", "writeQueueNums", "perm"],
                             ["readQueueNums", "writeQueueNums", "perm", "topicSysFlag"]),
        codes.SEARCH_OFFSET: (BROKER, {**queue, "timestamp": 0}, ["topic", "queueId", "timestamp"],
                              ["queueId", "timestamp"]),
        codes.MAX_OFFSET: (BROKER, queue, ["topic", "queueId"], ["queueId"]),
        codes.MIN_OFFSET: (BROKER, queue, ["topic", "queueId"], ["queueId"]),
        codes.EARLIEST_TIME: (BROKER, queue, ["topic", "queueId"], ["queueId"]),
        codes.VIEW_MESSAGE: (BROKER, {"offset": 0}, ["offset"], ["offset"]),
        codes.QUERY_MESSAGE: (BROKER, {"topic": f"Table{s}", "key": "none", "maxNum": 9,
                                       "beginTimestamp": 0, "endTimestamp": 1},
                              ["topic", "key", "maxNum", "beginTimestamp", "endTimestamp"],
                              ["maxNum", "beginTimestamp", "endTimestamp"]),
        codes.QUERY_QUEUE: (BROKER, {**queue, "index": 0, "count": 1},
                            ["topic", "queueId", "index", "count"], ["queueId", "index", "count"]),
        codes.UNREGISTER_CLIENT: (BROKER, {"clientID": "nobody"}, ["clientID"], []),
        codes.SEND_BACK: (BROKER, {"offset": 0, "group": f"TableG{s}", "delayLevel": 0},
                          ["offset", "group"], ["offset", "delayLevel", "maxReconsumeTimes"]),
        codes.CONSUMER_LIST: (BROKER, {"consumerGroup": "nobody"}, ["consumerGroup"], []),
        codes.TOPIC_STATS: (BROKER, {"topic": f"Table{s}"}, ["topic"], []),
        codes.CONSUMER_CONNECTIONS: (BROKER, {"consumerGroup": "g"}, ["consumerGroup"], []),
        codes.PRODUCER_CONNECTIONS: (BROKER, {"producerGroup": "g"}, ["producerGroup"], []),
        codes.DELETE_GROUP: (BROKER, {"groupName": "g"}, ["groupName"], []),
        codes.CONSUME_STATS: (BROKER, {"consumerGroup": "g"}, ["consumerGroup"], []),
        codes.DELETE_TOPIC: (BROKER, {"topic": "t"}, ["topic"], []),
        codes.CONSUMED_BY_WHO: (BROKER, {"topic": "t"}, ["topic"], []),
        codes.PUT_KV: (NAMESRV, {"namespace": "n", "key": "k", "value": "v"},
                       ["namespace", "key", "value"], []),
        codes.GET_KV: (NAMESRV, {"namespace": "n", "key": "k"}, ["namespace", "key"], []),
        codes.DELETE_KV: (NAMESRV, {"namespace": "n", "key": "k"}, ["namespace", "key"], []),
        codes.KV_LIST: (NAMESRV, {"namespace": "n"}, ["namespace"], []),
        codes.REGISTER_BROKER: (NAMESRV, {**identity, "haServerAddr": "127.0.0.1:8"},
                                ["brokerName", "brokerAddr", "clusterName", "haServerAddr",
                                 "brokerId"],
                                ["brokerId", "bodyCrc32", "heartbeatTimeoutMillis"]),
        codes.UNREGISTER_BROKER: (NAMESRV, identity,
                                  ["brokerName", "brokerAddr", "clusterName", "brokerId"],
                                  ["brokerId"]),
        codes.QUERY_DATA_VERSION: (NAMESRV, identity,
                                   ["brokerName", "brokerAddr", "clusterName", "brokerId"],
                                   ["brokerId"]),
        codes.BROKER_HEARTBEAT: (NAMESRV, identity, ["brokerName", "brokerAddr", "clusterName"],
                                 []),
        codes.ROUTE: (NAMESRV, {"topic": "t"}, ["topic"], []),
        codes.WIPE_PERM: (NAMESRV, {"brokerName": "x"}, ["brokerName"], []),
        codes.ADD_PERM: (NAMESRV, {"brokerName": "x"}, ["brokerName"], []),
        codes.DELETE_TOPIC_IN_NAMESRV: (NAMESRV, {"topic": "t"}, ["topic"], []),
        codes.REGISTER_TOPIC: (NAMESRV, {"topic": "t"}, ["topic"], []),
        codes.TOPICS_BY_CLUSTER: (NAMESRV, {"cluster": "c"}, ["cluster"], []),
        codes.MEMBER_GROUP: (NAMESRV, {"clusterName": "c", "brokerName": "b"},
                             ["clusterName", "brokerName"], []),
    }


def wrong_field_rows(s):
    for code, (to, ask, needed, numbers) in complete_requests(s).items():
        named = needed if isinstance(needed, dict) else {n: n for n in needed}
        for key, name in named.items():
            # an empty string is as good as absent; a binary header cannot even tell them apart
            for how, value in (("without", None), ("with an empty", "")):
                if (code, key, value) == (codes.PUT_KV, "value", "") and s == "J":
                    continue  # a value that a JSON header can hold
                yield Row(to, code, f"{how} {name or key} is refused by name", {**ask, key: value},
                          expect=codes.SYSTEM_ERROR, remark=name or key)
        named = numbers if isinstance(numbers, dict) else {n: n for n in numbers}
        for key, name in named.items():
            for value in ("12x", "99999999999999999999"):
                yield Row(to, code, f"with {name}={value} is refused by name", {**ask, key: value},
                          expect=codes.SYSTEM_ERROR, remark=name)


# --- rows ---

def topic_rows(s):
    topic = f"Table{s}"

    def listed(value, _):
        config = value["topicConfigTable"][topic]
        equal(config, {"order": False, "perm": 6, "readQueueNums": 3, "topicFilterType":
                       "SINGLE_TAG", "topicName": topic, "topicSysFlag": 0, "writeQueueNums": 2},
              "configuration")
        equal(sorted(value["dataVersion"]), ["counter", "timestamp"])
        true("TBW102" in value["topicConfigTable"], "the template is listed")

    ask = admin.topic_fields(topic, readQueueNums=3, writeQueueNums=2)
    yield Row(BROKER, codes.UPDATE_TOPIC, "makes a topic", ask, body=empty)
    yield Row(BROKER, codes.UPDATE_TOPIC, "may be repeated", ask, body=empty)
    for name, why in (("", "missing"), ("a b", "a b"), ("../up", "../up"), ("a/b", "a/b"),
                      ("nul\0", "nul"), ("T" * 128, "TTT"), ("\u00fc", "topic")):
        yield Row(BROKER, codes.UPDATE_TOPIC, f"refuses the name {name[:20]!r}",
                  admin.topic_fields(name), expect=1, remark=("topic", why))
    for name in ("TBW102", "SCHEDULE_TOPIC_XXXX", "rmq_sys_x", "DefaultCluster", "broker-a",
                 "DefaultCluster_REPLY_TOPIC", "RMQ_SYS_TRANS_HALF_TOPIC", "OFFSET_MOVED_EVENT"):
        yield Row(BROKER, codes.UPDATE_TOPIC, f"refuses the system topic {name}",
                  admin.topic_fields(name), expect=1, remark=(name, "system"))
        yield Row(BROKER, codes.DELETE_TOPIC, f"refuses the system topic {name}", {"topic": name},
                  expect=1, remark=(name, "system"))
    for key, value in (("perm", 16), ("perm", -1), ("readQueueNums", -1),
                       ("writeQueueNums", 2000000), ("topicFilterType", "NO_TAG")):
        yield Row(BROKER, codes.UPDATE_TOPIC, f"refuses {key}={value}",
                  admin.topic_fields(topic, **{key: value}), expect=1, remark=(key, str(value)))
    yield Row(BROKER, codes.ALL_TOPICS, "lists the topics", body=tree(listed))
    yield Row(BROKER, codes.SYSTEM_TOPICS_BROKER, "lists the system topics", body=tree(
        lambda v, c: (equal(list(v), ["topicList"]),
                      true({"TBW102", "SELF_TEST_TOPIC", "SCHEDULE_TOPIC_XXXX", "BenchmarkTest",
                            "OFFSET_MOVED_EVENT", "DefaultCluster", "broker-a",
                            "DefaultCluster_REPLY_TOPIC"} <= set(v["topicList"]), str(v)))))
    yield Row(BROKER, codes.DELETE_TOPIC, "of an unknown topic is no failure",
              {"topic": "NeverMade"}, body=empty)
    yield Row(BROKER, codes.DELETE_TOPIC, "refuses a name that is none", {"topic": "../x"},
              expect=1, remark="../x")


def send_rows(s):
    topic = f"Table{s}"
    for code, v1 in ((codes.SEND, True), (codes.SEND_V2, False), (codes.SEND_BATCH, False)):
        def ask(name=topic, queue_id=0, properties=None, v1=v1, **more):
            return messages.send_fields(name, queue_id, properties=properties, v1=v1, **more)

        yield Row(BROKER, code, "stores a message", ask(properties={"TAGS": "TagA"}), b"hello",
                  fields=SENT, body=empty)
        yield Row(BROKER, code, "stores an empty message", ask(), fields=SENT)
        yield Row(BROKER, code, "picks a queue for queueId -1", ask(queue_id=-1), b"x",
                  fields={**SENT, "queueId": lambda v: v in ("0", "1")})
        yield Row(BROKER, code, "takes a queue id below the larger queue count",
                  ask(queue_id=2), b"x", fields={**SENT, "queueId": "2"})
        yield Row(BROKER, code, "refuses a queue id above", ask(queue_id=3), b"x", expect=1,
                  fields=SEND_REFUSED, remark=("queueId", "3"))
        yield Row(BROKER, code, "refuses a huge queue id", ask(queue_id=2147483647), b"x",
                  expect=1, fields=SEND_REFUSED, remark=("queueId", "2147483647"))
        yield Row(BROKER, code, "makes a topic on demand", ask(name=f"Auto{code}{s}", queue_id=3),
                  b"x", fields={**SENT, "queueId": "3", "queueOffset": "0"})
        yield Row(BROKER, code, "refuses an unknown topic without a template",
                  ask(name=f"NoTemplate{s}", defaultTopic="NeverMade"), b"x", expect=17,
                  fields=SEND_REFUSED, remark=f"NoTemplate{s}")
        yield Row(BROKER, code, "refuses a template that may not be inherited from",
                  ask(name=f"NoTemplate{s}", defaultTopic=topic), b"x", expect=17,
                  fields=SEND_REFUSED, remark=f"NoTemplate{s}")
        for name in ("../../etc", "a/b", "nul\0x", "a b", "T" * 128, "."):
            yield Row(BROKER, code, f"refuses the topic {name[:20]!r}", ask(name=name), b"x",
                      expect=1, fields=SEND_REFUSED, remark=("topic", name[:3]))
        for name in ("SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "SELF_TEST_TOPIC",
                     "RMQ_SYS_TRANS_OP_HALF_TOPIC", "OFFSET_MOVED_EVENT",
                     "TRANS_CHECK_MAX_TIME_TOPIC"):
            yield Row(BROKER, code, f"refuses the system topic {name}", ask(name=name), b"x",
                      expect=codes.NO_PERMISSION, fields=SEND_REFUSED, remark=name)
        yield Row(BROKER, code, "refuses a transactional message",
                  ask(properties={"TRAN_MSG": "true", "PGROUP": "P"}), b"x",
                  expect=codes.NO_PERMISSION, fields=SEND_REFUSED, remark="transaction")
        for name in ("TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"):
            yield Row(BROKER, code, f"refuses {name}", ask(properties={name: "1000"}), b"x",
                      expect=codes.ILLEGAL, fields=SEND_REFUSED, remark="TIMER")
        yield Row(BROKER, code, "answers a delayed message with the queue that was asked for",
                  ask(queue_id=1, properties={"DELAY": "18"}), b"later",
                  fields={**SENT, "queueId": "1"})
        yield Row(BROKER, code, "to an unknown group's retry topic makes the group",
                  ask(name=f"%RETRY%Auto{code}{s}"), b"x", fields=SENT)
    batch = (messages.batch_item(b"b1", {"UNIQ_KEY": "A1"}) +
             messages.batch_item(b"b2", {"UNIQ_KEY": "A2"}))
    for code in (codes.SEND_V2, codes.SEND_BATCH):
        def ask_batch(**more):
            return messages.send_fields(topic, 1, batch=True, **more)

        yield Row(BROKER, code, "stores a batch and answers with one id for each message",
                  ask_batch(), batch,
                  fields={**SENT, "msgId": lambda v: len(v.split(",")) == 2, "queueId": "1"})
        yield Row(BROKER, code, "refuses an empty batch", ask_batch(), b"", expect=codes.ILLEGAL,
                  fields=SEND_REFUSED, remark="batch")
        for what, item in (
                ("a total beyond the body", messages.batch_item(b"x", total=1000)),
                ("a total that is too small", messages.batch_item(b"x", total=21)),
                ("a negative total", messages.batch_item(b"x", total=-1)),
                ("a body length beyond the message", messages.batch_item(b"x", body_len=100)),
                ("a negative body length", messages.batch_item(b"x", body_len=-5)),
                ("a properties length beyond the message",
                 messages.batch_item(b"x", properties_len=9)),
                ("half a message", batch[:-3]),
                ("a few stray bytes at the end", batch + b"\0\0"),
        ):
            yield Row(BROKER, code, f"refuses a batch with {what}", ask_batch(), item,
                      expect=codes.ILLEGAL, fields=SEND_REFUSED, remark="batch")
        yield Row(BROKER, code, "refuses a delayed message in a batch", ask_batch(),
                  messages.batch_item(b"x", {"DELAY": "3"}), expect=codes.ILLEGAL,
                  fields=SEND_REFUSED, remark="delayed")
        yield Row(BROKER, code, "refuses a transactional message in a batch", ask_batch(),
                  messages.batch_item(b"x", {"TRAN_MSG": "true"}), expect=codes.NO_PERMISSION,
                  fields=SEND_REFUSED, remark="transaction")
        yield Row(BROKER, code, "refuses a timer message in a batch", ask_batch(),
                  messages.batch_item(b"x", {"TIMER_DELAY_SEC": "3"}), expect=codes.ILLEGAL,
                  fields=SEND_REFUSED, remark="TIMER")
        yield Row(BROKER, code, "refuses a batch to a retry topic",
                  messages.send_fields(f"%RETRY%G{s}", 0, batch=True), batch,
                  expect=codes.ILLEGAL, fields=SEND_REFUSED, remark="retry")


INDEXED = {"indexLastUpdatePhyoffset": number, "indexLastUpdateTimestamp": number}


def lookup_rows(s):
    topic = f"Table{s}"
    forever = {"beginTimestamp": 0, "endTimestamp": 9223372036854775807}

    def ask(key, most=64, **more):
        return {"topic": topic, "key": key, "maxNum": most, **forever, **more}

    def bodies(*expected):
        return lambda body, _: equal([m.body for m in messages.decode_all(body)],
                                     list(expected), "bodies, the oldest first")

    for text, properties in ((b"l1", {"UNIQ_KEY": f"L1{s}", "KEYS": "order-7 blue"}),
                             (b"l2", {"UNIQ_KEY": f"L2{s}", "KEYS": "blue"}),
                             (b"l3", {"KEYS": "Aa"}), (b"l4", {"KEYS": "BB"})):
        yield Row(BROKER, codes.SEND_V2, f"stores {text.decode()}",
                  messages.send_fields(topic, 1, properties=properties), text, fields=SENT)
    for row in (("the words of KEYS", ask("order-7"), bodies(b"l1")),
                ("a word that several have", ask("blue"), bodies(b"l1", b"l2")),
                ("the newest when fewer are wanted", ask("blue", 1), bodies(b"l2")),
                ("UNIQ_KEY without saying so", ask(f"L2{s}"), bodies(b"l2")),
                ("UNIQ_KEY, whatever maxNum is", ask(f"L1{s}", 0, _UNIQUE_KEY_QUERY="true"),
                 bodies(b"l1")),
                ("no stranger whose hash is the same", ask("Aa"), bodies(b"l3"))):
        yield Row(BROKER, codes.QUERY_MESSAGE, f"finds {row[0]}", row[1], fields=INDEXED,
                  body=row[2])
    for what, wrong in (("an unknown key", ask("nobody")), ("another topic", ask("blue") |
                                                            {"topic": "Elsewhere"}),
                        ("an earlier time", ask("blue", endTimestamp=1)),
                        ("a later time", ask("blue", beginTimestamp=9223372036854775807)),
                        ("a time that ends before it begins", ask("blue", endTimestamp=-1)),
                        ("no message", ask("blue", 0)), ("fewer than none", ask("blue", -5))):
        yield Row(BROKER, codes.QUERY_MESSAGE, f"finds nothing for {what}", wrong,
                  expect=codes.NOT_FOUND, fields=INDEXED, remark=wrong["key"], body=empty)

    def entries(value, _):
        equal(sorted(value), ["maxQueueIndex", "minQueueIndex", "queueData"])
        equal((value["minQueueIndex"], len(value["queueData"])), (0, 2))
        first = value["queueData"][0]
        equal(sorted(first), ["eval", "physicOffset", "physicSize", "tagsCode"])
        true(first["eval"] is False and first["physicSize"] > 91, str(first))

    queue = {"topic": topic, "queueId": 1, "index": 0, "count": 2}
    yield Row(BROKER, codes.QUERY_QUEUE, "shows entries of a queue", queue, body=tree(entries))
    yield Row(BROKER, codes.QUERY_QUEUE, "says when a group is not there",
              {**queue, "consumerGroup": "nobody"}, body=tree(lambda v, c: (
                  contains(v["filterData"], "offline"), true("subscriptionData" not in v, str(v)))))
    yield Row(BROKER, codes.QUERY_QUEUE, "shows as many as there are", {**queue, "count": 2 ** 31 - 1},
              body=tree(lambda v, c: equal(len(v["queueData"]), v["maxQueueIndex"])))
    yield Row(BROKER, codes.QUERY_QUEUE, "has nothing for a negative count", {**queue, "count": -1},
              body=tree(lambda v, c: equal(v["queueData"], [])))
    for index in (-1, 1000000):
        yield Row(BROKER, codes.QUERY_QUEUE, f"has no body for index {index}",
                  {**queue, "index": index}, remark=str(index), body=empty)
    yield Row(BROKER, codes.QUERY_QUEUE, "of a queue that is not there is refused",
              {**queue, "queueId": 77}, expect=1, remark=(topic, "77"))


def pull_rows(s):
    topic, group = f"Table{s}", f"TableG{s}"

    def ask(queue_id=0, offset=0, **more):
        return messages.pull_fields(topic, queue_id, offset, **{"group": group, **more})

    def first(body, _):
        equal(messages.decode_all(body)[0].body, b"hello", "first message")

    yield Row(BROKER, codes.PULL, "gives the stored messages", ask(), fields=PULLED, body=first)
    yield Row(BROKER, codes.PULL, "gives as many as were asked for", ask(count=1),
              fields={**PULLED, "nextBeginOffset": "1"}, body=one_message(topic, b"hello"))
    yield Row(BROKER, codes.PULL, "filters by tag", ask(subscription="TagB || TagA", count=1),
              fields=PULLED, body=one_message(topic, b"hello"))
    yield Row(BROKER, codes.PULL, "says where to go on when nothing matched",
              ask(subscription="NoSuchTag"), expect=codes.PULL_RETRY,
              fields={**PULLED, "nextBeginOffset": lambda v: int(v) > 0}, body=empty)
    yield Row(BROKER, codes.PULL, "beyond the end is sent to the end", ask(offset=1000000),
              expect=codes.PULL_MOVED, fields={**PULLED, "nextBeginOffset": number}, body=empty)
    yield Row(BROKER, codes.PULL, "below the start is sent to the start", ask(offset=-1),
              expect=codes.PULL_MOVED, fields={**PULLED, "nextBeginOffset": "0"}, body=empty)
    yield Row(BROKER, codes.PULL, "of another group without heartbeat or subscription is refused",
              ask(group=f"Stranger{s}", sys_flag=0), expect=codes.NO_SUBSCRIPTION, fields={},
              remark=f"Stranger{s}")
    yield Row(BROKER, codes.PULL, "of an unknown topic is refused",
              messages.pull_fields(f"Unknown{s}", group=group), expect=codes.NO_TOPIC,
              fields={}, remark=f"Unknown{s}")
    yield Row(BROKER, codes.PULL, "of a queue above the read queues is refused", ask(queue_id=3),
              expect=1, fields={}, remark=("queueId", "3"))
    yield Row(BROKER, codes.PULL, "of a negative queue is refused", ask(queue_id=-1), expect=1,
              remark=("queueId", "-1"))
    yield Row(BROKER, codes.PULL, "of no messages is refused", ask(count=0), expect=1,
              remark="maxMsgNums")
    yield Row(BROKER, codes.PULL, "with an offset to commit but none given is refused by name",
              ask(sys_flag=5, commit=None), expect=1, fields={}, remark="commitOffset")
    yield Row(BROKER, codes.PULL, "by SQL92 is refused by name", ask(expressionType="SQL92"),
              expect=1, remark="SQL92")


def group_rows(s):
    group, topic = f"TableG{s}", f"Table{s}"

    def listed(value, _):
        equal(value["subscriptionGroupTable"][group],
              {**admin.group_config(group), "retryMaxTimes": 5}, "configuration")
        true("TOOLS_CONSUMER" in value["subscriptionGroupTable"], "built-in groups are listed")
        equal(sorted(value["dataVersion"]), ["counter", "timestamp"])

    yield Row(BROKER, codes.UPDATE_GROUP, "makes a group", {},
              to_json(admin.group_config(group, retryMaxTimes=5)), body=empty)
    yield Row(BROKER, codes.ALL_GROUPS, "lists the groups", body=tree(listed))
    yield Row(BROKER, codes.UPDATE_GROUP, "fills in what is not given", {},
              to_json({"groupName": f"Few{s}"}))
    for name in ("", "a/b", "../g", "a b", "G" * 256):
        yield Row(BROKER, codes.UPDATE_GROUP, f"refuses the name {name[:10]!r}", {},
                  to_json(admin.group_config(name)), expect=1, remark=("groupName", name[:3]))
    for key, value in (("retryQueueNums", -1), ("retryQueueNums", 10 ** 7), ("retryMaxTimes", -2)):
        yield Row(BROKER, codes.UPDATE_GROUP, f"refuses {key}={value}", {},
                  to_json(admin.group_config(group, **{key: value})), expect=1,
                  remark=(key, str(value)))
    for body in (b"", b"[]", b'{"groupName":', b"\xff\xfe", b"[" * 1000):
        yield Row(BROKER, codes.UPDATE_GROUP, f"refuses the body {body[:12]!r}", {}, body,
                  expect=1, remark="body")
    # offsets
    queue = {"consumerGroup": group, "topic": topic, "queueId": 0}
    yield Row(BROKER, codes.QUERY_OFFSET, "of a young queue without one is 0", queue,
              fields={"offset": "0"}, body=empty)
    yield Row(BROKER, codes.QUERY_OFFSET, "without one is not found when 0 is not wanted",
              {**queue, "setZeroIfNotFound": "false"}, expect=codes.NOT_FOUND, remark="offset")
    yield Row(BROKER, codes.UPDATE_OFFSET, "stores an offset", {**queue, "commitOffset": 2},
              fields={}, body=empty)
    yield Row(BROKER, codes.QUERY_OFFSET, "finds it", queue, fields={"offset": "2"})
    yield Row(BROKER, codes.QUERY_OFFSET, "of an unknown topic is 0",
              {**queue, "topic": f"Unknown{s}"}, fields={"offset": "0"})
    yield Row(BROKER, codes.UPDATE_OFFSET, "refuses a name that is none",
              {**queue, "topic": "../x", "commitOffset": 1}, expect=1, remark="../x")
    yield Row(BROKER, codes.UPDATE_OFFSET, "refuses a negative queue",
              {**queue, "queueId": -1, "commitOffset": 1}, expect=1, remark=("queue", "-1"))
    at = {"topic": topic, "queueId": 1}
    unknown = {"topic": f"Unknown{s}", "queueId": 0}
    yield Row(BROKER, codes.MAX_OFFSET, "counts the messages", at,
              fields={"offset": lambda v: int(v) >= 4}, body=empty)
    yield Row(BROKER, codes.MIN_OFFSET, "of a young queue is 0", at, fields={"offset": "0"})
    for code in (codes.MAX_OFFSET, codes.MIN_OFFSET):
        yield Row(BROKER, code, "of an unknown topic is 0", unknown, fields={"offset": "0"})
        yield Row(BROKER, code, "of an unknown queue is 0", {**at, "queueId": 77},
                  fields={"offset": "0"})
    yield Row(BROKER, codes.SEARCH_OFFSET, "before the first message gives it",
              {**at, "timestamp": 0}, fields={"offset": "0"})
    yield Row(BROKER, codes.SEARCH_OFFSET, "after the last message gives it",
              {**at, "timestamp": 1 << 50}, fields={"offset": lambda v: int(v) >= 3})
    yield Row(BROKER, codes.SEARCH_OFFSET, "of an unknown topic is 0",
              {**unknown, "timestamp": 5}, fields={"offset": "0"})
    yield Row(BROKER, codes.SEARCH_OFFSET, "refuses an unknown boundary",
              {**at, "timestamp": 5, "boundaryType": "MIDDLE"}, expect=1, remark="MIDDLE")
    yield Row(BROKER, codes.EARLIEST_TIME, "is the store time of the first message", at,
              fields={"timestamp": lambda v: int(v) > 1500000000000})
    yield Row(BROKER, codes.EARLIEST_TIME, "of an unknown topic is -1", unknown,
              fields={"timestamp": "-1"})
    yield Row(BROKER, codes.VIEW_MESSAGE, "gives the message at a log offset", {"offset": 0},
              body=lambda b, c: equal(len(messages.decode_all(b)), 1))
    for offset in (1, -1, 1 << 40):
        yield Row(BROKER, codes.VIEW_MESSAGE, f"where none begins ({offset}) is refused",
                  {"offset": offset}, expect=1, remark=str(offset))
    # progress
    mq = dialect.mq

    def stats(value, _):
        equal(list(value), ["offsetTable"])
        equal(sorted(value["offsetTable"], key=lambda k: k["queueId"]), [mq(topic, 0), mq(topic, 1)])
        row = value["offsetTable"][mq(topic, 1)]
        equal(sorted(row), ["lastUpdateTimestamp", "maxOffset", "minOffset"])
        true(row["maxOffset"] >= 4 and row["minOffset"] == 0, str(row))
        true(row["lastUpdateTimestamp"] > 1500000000000, str(row))

    def progress(value, _):
        equal(sorted(value), ["consumeTps", "offsetTable"])
        true(isinstance(value["consumeTps"], float), "consumeTps is a decimal")
        row = value["offsetTable"][mq(topic, 0)]
        equal(row["consumerOffset"], 2, "consumerOffset")
        equal(sorted(row), ["brokerOffset", "consumerOffset", "lastTimestamp"])
        true(row["brokerOffset"] > 2 and row["lastTimestamp"] > 1500000000000, str(row))

    yield Row(BROKER, codes.TOPIC_STATS, "shows each write queue", {"topic": topic},
              body=tree(stats))
    yield Row(BROKER, codes.TOPIC_STATS, "of an unknown topic is refused",
              {"topic": f"Unknown{s}"}, expect=codes.NO_TOPIC, remark=f"Unknown{s}")
    yield Row(BROKER, codes.CONSUME_STATS, "shows the topics of a group",
              {"consumerGroup": group}, body=tree(progress))
    yield Row(BROKER, codes.CONSUME_STATS, "shows one topic",
              {"consumerGroup": group, "topic": topic}, body=tree(progress))
    yield Row(BROKER, codes.CONSUME_STATS, "of an unknown group is empty",
              {"consumerGroup": f"Unknown{s}"}, body=same({"consumeTps": 0.0, "offsetTable": {}}))
    yield Row(BROKER, codes.CONSUMED_BY_WHO, "names the groups of a topic", {"topic": topic},
              body=same({"groupList": [group]}))
    yield Row(BROKER, codes.CONSUMED_BY_WHO, "of an unknown topic is empty",
              {"topic": f"Unknown{s}"}, body=same({"groupList": []}))
    yield Row(BROKER, codes.ALL_OFFSETS, "lists the offsets, queue ids bare", body=tree(
        lambda v, c: equal(v["offsetTable"][f"{topic}@{group}"], {0: 2})))
    yield Row(BROKER, codes.ALL_DELAYS, "lists the progress of the delay levels", body=tree(
        lambda v, c: (equal(list(v), ["offsetTable"]),
                      true(all(type(k) is int for k in v["offsetTable"]), str(v)))))
    yield Row(BROKER, codes.DELETE_GROUP, "of an unknown group is no failure",
              {"groupName": f"Unknown{s}", "removeOffset": "true"}, body=empty)


def client_rows(s):
    group, topic, client_id = f"TableC{s}", f"Table{s}", f"127.0.0.1@{s}#1"
    beat = {"clientID": client_id,
            "consumerDataSet": [admin.consumer(group, [
                admin.subscription(topic, "TagA || TagB", 7),
                admin.subscription(f"%RETRY%{group}", "*", 8)])],
            "producerDataSet": [{"groupName": f"TableP{s}"}]}

    def member(value):
        equal(sorted(value), ["clientAddr", "clientId", "language", "version"])
        equal((value["clientId"], value["language"], value["version"]), (client_id, "JAVA", 409))
        contains(value["clientAddr"], "127.0.0.1:")

    def consumers(value, _):
        equal(sorted(value), ["connectionSet", "consumeFromWhere", "consumeType", "messageModel",
                              "subscriptionTable"])
        equal(len(value["connectionSet"]), 1)
        member(value["connectionSet"][0])
        equal((value["consumeFromWhere"], value["consumeType"], value["messageModel"]),
              ("CONSUME_FROM_FIRST_OFFSET", PUSH, "CLUSTERING"))
        equal(sorted(value["subscriptionTable"]), sorted([topic, f"%RETRY%{group}"]))
        found = value["subscriptionTable"][topic]
        found["codeSet"].sort()
        found["tagsSet"].sort()
        equal(found, {"classFilterMode": False, "codeSet": [2598919, 2598920], "expressionType":
                      "TAG", "subString": "TagA || TagB", "subVersion": 7,
                      "tagsSet": ["TagA", "TagB"], "topic": topic})

    def producers(value, _):
        equal(list(value), ["connectionSet"])
        equal(len(value["connectionSet"]), 1)
        member(value["connectionSet"][0])

    yield Row(BROKER, codes.HEART_BEAT, "takes a client in", None, to_json(beat), body=empty)
    yield Row(NAMESRV, codes.ROUTE, "knows the retry topic after a heartbeat",
              {"topic": f"%RETRY%{group}"}, soon=True, body=has("brokerDatas", "filterServerTable",
                                                     "queueDatas"))
    yield Row(BROKER, codes.CONSUMER_LIST, "names the consumers of a group",
              {"consumerGroup": group}, body=same({"consumerIdList": [client_id]}))
    yield Row(BROKER, codes.CONSUMER_CONNECTIONS, "shows the consumers of a group",
              {"consumerGroup": group}, body=tree(consumers))
    yield Row(BROKER, codes.QUERY_QUEUE, "shows what a group subscribes to",
              {"topic": topic, "queueId": 0, "index": 0, "count": 1, "consumerGroup": group},
              body=tree(lambda v, c: (equal(v["filterData"], "null"), equal(
                  (v["subscriptionData"]["topic"], v["subscriptionData"]["subString"]),
                  (topic, "TagA || TagB")))))
    yield Row(BROKER, codes.PRODUCER_CONNECTIONS, "shows the producers of a group",
              {"producerGroup": f"TableP{s}"}, body=tree(producers))
    yield Row(BROKER, codes.CONSUMED_BY_WHO, "names a group that is online",
              {"topic": f"%RETRY%{group}"}, body=same({"groupList": [group]}))
    yield Row(BROKER, codes.PULL, "by the registered subscription",
              messages.pull_fields(topic, group=group, sys_flag=0, sub_version=7, count=1),
              fields=PULLED, body=one_message(topic, b"hello"))
    yield Row(BROKER, codes.PULL, "with an older subscription than registered is served",
              messages.pull_fields(topic, group=group, sys_flag=0, sub_version=6, count=1))
    yield Row(BROKER, codes.PULL, "with a newer subscription than registered is refused",
              messages.pull_fields(topic, group=group, sys_flag=0, sub_version=8),
              expect=codes.NOT_LATEST, fields={}, remark=group)
    yield Row(BROKER, codes.PULL, "of a topic the group does not subscribe to is refused",
              messages.pull_fields("BenchmarkTest", group=group, sys_flag=0),
              expect=codes.NO_SUBSCRIPTION, fields={}, remark="BenchmarkTest")
    tolerated = {"clientID": client_id, "consumerDataSet": [
        {"groupName": group, "consumeType": 1, "messageModel": 1, "consumeFromWhere": 4,
         "subscriptionDataSet": [{"topic": topic, "subString": "TagA || TagB", "subVersion": "7",
                                  "codeSet": ["2598919", "2598920"], "tagsSet": ["TagA", "TagB"]},
                                 {"topic": f"%RETRY%{group}", "subString": "*", "subVersion": 8}],
         "unknownMember": None}]}
    yield Row(BROKER, codes.HEART_BEAT, "takes ordinals, numbers as text, absent sets", None,
              to_json(tolerated) + b"\n", body=empty)
    yield Row(BROKER, codes.CONSUMER_CONNECTIONS, "shows the same after that",
              {"consumerGroup": group}, body=tree(consumers))
    bad = [b"", b"{}", b"[]", b"null", b'{"clientID":"x"', b"\x00\x01", b'{"clientID":7}',
           b'{"clientID":"x","consumerDataSet":[{"groupName":"a/b"}]}',
           b'{"clientID":"x","consumerDataSet":[{"groupName":"g","consumeType":"NONE"}]}',
           b'{"clientID":"x","consumerDataSet":[{"groupName":"g","messageModel":9}]}',
           b'{"clientID":"x","producerDataSet":[{"groupName":"../p"}]}',
           b'{"clientID":"x","consumerDataSet":[{"groupName":"g","subscriptionDataSet":'
           b'[{"topic":"../t","subString":"*"}]}]}']
    for body in bad:
        yield Row(BROKER, codes.HEART_BEAT, f"refuses the body {body[-40:]!r}", None, body,
                  expect=1, remark="heartbeat")
    yield Row(BROKER, codes.CHECK_CLIENT, "accepts a TAG subscription", {}, to_json(
        {"clientId": client_id, "group": group, "subscriptionData": admin.subscription(topic)}),
        body=empty)
    yield Row(BROKER, codes.CHECK_CLIENT, "refuses an SQL92 subscription", {}, to_json(
        {"clientId": client_id, "group": group,
         "subscriptionData": admin.subscription(topic, "a > 1", expressionType="SQL92")}),
        expect=1, remark="SQL92")
    for code in (codes.CHECK_CLIENT, codes.LOCK, codes.UNLOCK):
        for body in (b"", b"{", b"[1]"):
            yield Row(BROKER, code, f"refuses the body {body!r}", None, body, expect=1,
                      remark=lambda r: True if r else False)
    # locks
    mqs = [dict(dialect.mq(topic, q)) for q in (0, 1)]
    lock = {"clientId": client_id, "consumerGroup": group, "mqSet": mqs}
    other = {**lock, "clientId": "other", "mqSet": mqs[:1]}

    def held(*queues):
        return tree(lambda v, c: equal(
            sorted(m["queueId"] for m in v["lockOKMQSet"]), list(queues), "locked queues"))

    yield Row(BROKER, codes.LOCK, "locks queues", None, to_json(lock), body=held(0, 1))
    yield Row(BROKER, codes.LOCK, "may be repeated by the owner", None, to_json(lock),
              body=held(0, 1))
    yield Row(BROKER, codes.LOCK, "leaves out what another holds", None, to_json(other),
              body=same({"lockOKMQSet": []}))
    yield Row(BROKER, codes.UNLOCK, "of what another holds changes nothing", None,
              to_json(other), body=empty)
    yield Row(BROKER, codes.LOCK, "is still refused then", None, to_json(other), body=held())
    yield Row(BROKER, codes.UNLOCK, "gives queues back", None, to_json(lock), body=empty)
    yield Row(BROKER, codes.LOCK, "is free for another then", None, to_json(other), body=same(
        {"lockOKMQSet": mqs[:1]}))
    yield Row(BROKER, codes.LOCK, "without names is refused", None,
              to_json({"clientId": "", "consumerGroup": group, "mqSet": mqs}), expect=1,
              remark="clientId")
    # send back
    yield Row(BROKER, codes.SEND_BACK, "stores the message for a retry",
              {"offset": 0, "group": group, "delayLevel": 18, "originMsgId": "x",
               "originTopic": topic, "unitMode": "false", "maxReconsumeTimes": 16}, body=empty)
    yield Row(BROKER, codes.SEND_BACK, "to the dead letters by a negative delay level",
              {"offset": 0, "group": group, "delayLevel": -1}, body=empty)
    yield Row(NAMESRV, codes.ROUTE, "learns of the dead-letter topic", {"topic": f"%DLQ%{group}"},
              soon=True)
    yield Row(BROKER, codes.SEND_BACK, "of no message is refused",
              {"offset": 1, "group": group, "delayLevel": 0}, expect=1, remark="offset 1")
    yield Row(BROKER, codes.SEND_BACK, "with a group that cannot be is refused",
              {"offset": 0, "group": "../g", "delayLevel": 0}, expect=codes.NO_GROUP,
              remark="../g")
    # leaving
    yield Row(BROKER, codes.UNREGISTER_CLIENT, "takes a client out",
              {"clientID": client_id, "consumerGroup": group, "producerGroup": f"TableP{s}"},
              fields={}, body=empty)
    yield Row(BROKER, codes.UNREGISTER_CLIENT, "of a stranger is no failure",
              {"clientID": "nobody", "consumerGroup": "", "producerGroup": "None"}, fields={})
    yield Row(BROKER, codes.CONSUMER_LIST, "of a group without consumers is refused",
              {"consumerGroup": group}, expect=1, fields={}, remark=group)
    yield Row(BROKER, codes.CONSUMER_CONNECTIONS, "of a group without consumers says not online",
              {"consumerGroup": group}, expect=codes.NOT_ONLINE, remark=group)
    yield Row(BROKER, codes.PRODUCER_CONNECTIONS, "of a group without producers is refused",
              {"producerGroup": f"TableP{s}"}, expect=1, remark=f"TableP{s}")
    yield Row(BROKER, codes.DELETE_GROUP, "removes a group", {"groupName": group,
                                                              "removeOffset": "true"}, body=empty)
    yield Row(BROKER, codes.ALL_GROUPS, "does not list it any more", body=tree(
        lambda v, c: true(group not in v["subscriptionGroupTable"], "the group is still there")))


def broker_rows(s):
    def runtime(value, _):
        equal(list(value), ["table"])
        true(all(isinstance(v, str) for v in value["table"].values()), "values are text")
        for name in ("brokerVersionDesc", "putTps", "getTransferedTps", "getTransferredTps",
                     "getTotalTps", "getFoundTps", "getMissTps",
                     "msgPutTotalTodayNow", "msgPutTotalTodayMorning",
                     "msgPutTotalYesterdayMorning", "msgGetTotalTodayNow",
                     "msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning",
                     "sendThreadPoolQueueSize", "sendThreadPoolQueueHeadWaitTimeMills",
                     "sendThreadPoolQueueCapacity", "pullThreadPoolQueueSize",
                     "pullThreadPoolQueueHeadWaitTimeMills", "queryThreadPoolQueueSize",
                     "pageCacheLockTimeMills", "earliestMessageTimeStamp", "commitLogDiskRatio",
                     "bootTimestamp", "brokerVersion", "commitLogDirCapacity",
                     "commitLogMaxOffset", "commitLogMinOffset", "consumeQueueDiskRatio",
                     "dispatchBehindBytes", "putMessageAverageSize",
                     "putMessageFailedTimes", "putMessageSizeTotal", "putMessageTimesTotal",
                     "remainHowManyDataToFlush", "runtime",
                     "startAcceptSendRequestTimeStamp"):
            true(name in value["table"], f"{name} is missing")
        for name in ("putTps", "getTransferedTps", "getTotalTps"):
            equal(len([float(x) for x in value["table"][name].split(" ")]), 3, name)

    def config(body, cluster):
        lines = dict(line.split("=", 1) for line in body.decode().splitlines())
        equal(lines["listenPort"], str(cluster.broker.port), "listenPort")
        for name in ("brokerName", "brokerClusterName", "autoCreateTopicEnable", "flushDiskType",
                     "brokerPermission", "storePathRootDir", "bindAddress"):
            true(name in lines, f"{name} is missing")

    yield Row(BROKER, codes.RUNTIME_INFO, "has every figure that tools read", body=tree(runtime))
    yield Row(BROKER, codes.CLEAN_LOG, "asks for the deletion of what is expired", {}, body=empty)
    yield Row(BROKER, codes.CLEAN_QUEUES, "asks for a look at all queue files", {}, body=empty)
    yield Row(BROKER, codes.GET_CONFIG, "gives the settings as properties", body=config, fields={
        "version": lambda v: sorted(json.loads(v)) == ["counter", "timestamp"]})
    yield Row(BROKER, codes.UPDATE_CONFIG, "changes what may change", {},
              b"longPollingEnable=true\nautoCreateTopicEnable=true\n", body=empty)
    yield Row(BROKER, codes.UPDATE_CONFIG, "without a body changes nothing", {})
    for line, code in (("storePathRootDir=/tmp/x", 16), ("portFile=/tmp/x", 16),
                       ("listenPort=1", 16), ("brokerIP1=1.2.3.4", 16),
                       ("storePathCommitLog=/tmp/x", 16), ("namesrvAddr=1.2.3.4:1", 16),
                       ("brokerConfigPath=/tmp/x", 16), ("configBlackList=", 16),
                       ("brokerPermission=eleven", 1), ("brokerPermission=99", 1),
                       ("autoCreateTopicEnabel=true", 1), ("longPollingEnable=maybe", 1)):
        yield Row(BROKER, codes.UPDATE_CONFIG, f"refuses {line}", {},
                  ("longPollingEnable=false\n" + line).encode(), expect=code,
                  remark=line.split("=")[0] if code else ())
    yield Row(BROKER, codes.GET_CONFIG, "is unchanged by what was refused", body=lambda b, c: (
        contains(b.decode().splitlines(), "longPollingEnable=true"),
        contains(b.decode().splitlines(), f"storePathRootDir={c.broker.store}")))
    for code in (0, 1, 2, 3, 13, 22, 37, 39, 40, 99, 103, 105, 222, 307, 315, 324, 325,
                 361, 400, 3001, -1, -32768, 32767):
        yield Row(BROKER, code, "is not supported", {}, expect=3, remark=str(code))
    if s == "J":  # does not fit into a binary header
        for code in (200050, 2147483647, -2147483648):
            yield Row(BROKER, code, "is not supported", {}, expect=3, remark=str(code))
            yield Row(NAMESRV, code, "is not supported", {}, expect=3, remark=str(code))


def namesrv_rows(s):
    name, cluster = f"broker-{s}", f"Cluster{s}"
    version = {"counter": 3, "timestamp": 1700000000000}
    topics = {f"Reg{s}": {"order": False, "perm": 6, "readQueueNums": 8, "topicFilterType":
                          "SINGLE_TAG", "topicName": f"Reg{s}", "topicSysFlag": 0,
                          "writeQueueNums": 8},
              f"Unit{s}": {"order": False, "perm": 6, "readQueueNums": 1, "topicFilterType":
                           "SINGLE_TAG", "topicName": f"Unit{s}", "topicSysFlag": 1,
                           "writeQueueNums": 1},
              f"Sub{s}": {"order": False, "perm": 6, "readQueueNums": 1, "topicFilterType":
                          "SINGLE_TAG", "topicName": f"Sub{s}", "topicSysFlag": 2,
                          "writeQueueNums": 1},
              f"Both{s}": {"order": False, "perm": 6, "readQueueNums": 1, "topicFilterType":
                           "SINGLE_TAG", "topicName": f"Both{s}", "topicSysFlag": 3,
                           "writeQueueNums": 1}}
    wrapper = {"dataVersion": version, "topicConfigTable": topics}
    plain = to_json({"filterServerList": [], "topicConfigSerializeWrapper": wrapper})
    identity = {"brokerName": name, "brokerAddr": "127.0.0.1:19001", "clusterName": cluster,
                "haServerAddr": "127.0.0.1:19002", "brokerId": 0}
    slave = {**identity, "brokerAddr": "127.0.0.1:19011", "haServerAddr": "127.0.0.1:19012",
             "brokerId": 1}

    def packed():
        def block(text):
            return struct.pack(">i", len(text)) + text
        body = block(to_json(version)) + struct.pack(">i", 1)
        body += block(f"Packed{s} 8 8 6 SINGLE_TAG".encode()) + block(b"[]")
        return zlib.compress(body, 9)

    def queue_data(broker, perm=6, queues=8, flag=0):
        return {"brokerName": broker, "perm": perm, "readQueueNums": queues,
                "topicSysFlag": flag, "writeQueueNums": queues}

    def route(standard, perm=6):
        def judge(body, _):
            addresses = b'{"0":"127.0.0.1:19001"' if standard else b'{0:"127.0.0.1:19001"'
            contains(body, b'"brokerAddrs":' + addresses)
            value = dialect.loads(body)
            equal(sorted(value), ["brokerDatas", "filterServerTable", "queueDatas"])
            equal([(b["brokerName"], b["cluster"]) for b in value["brokerDatas"]],
                  [(name, cluster)])
            equal(value["queueDatas"], [queue_data(name, perm)])
            equal(value["filterServerTable"], {})
            true(b" " not in body and b"\n" not in body, "no white space")
        return judge

    crc = zlib.crc32(plain) & 0x7FFFFFFF
    yield Row(NAMESRV, codes.REGISTER_BROKER, "takes a master in",
              {**identity, "bodyCrc32": crc, "compressed": "false"}, plain, fields={}, body=empty)
    yield Row(NAMESRV, codes.REGISTER_BROKER, "tells a slave its master", slave, plain,
              fields={"masterAddr": "127.0.0.1:19001", "haServerAddr": "127.0.0.1:19002"})
    yield Row(NAMESRV, codes.REGISTER_BROKER, "takes a compressed body",
              {**identity, "compressed": "true", "bodyCrc32": zlib.crc32(packed()) & 0x7FFFFFFF},
              packed(), fields={})
    yield Row(NAMESRV, codes.ROUTE, "knows what came compressed", {"topic": f"Packed{s}"},
              body=tree(lambda v, c: equal(v["queueDatas"], [queue_data(name)])))
    yield Row(NAMESRV, codes.REGISTER_BROKER, "refuses a wrong checksum",
              {**identity, "bodyCrc32": crc ^ 1}, plain, expect=1, remark="bodyCrc32")
    for what, body, more in (("no JSON", b"{", {}), ("an array", b"[]", {}),
                             ("no zlib stream", plain, {"compressed": "true"}),
                             ("half a zlib stream", packed()[:-8], {"compressed": "true"}),
                             ("a topic table that is none",
                              to_json({"topicConfigSerializeWrapper": {"topicConfigTable": 7}}),
                              {})):
        yield Row(NAMESRV, codes.REGISTER_BROKER, f"refuses {what}", {**identity, **more}, body,
                  expect=1, remark="body")
    yield Row(NAMESRV, codes.REGISTER_BROKER, "refuses an address that is none",
              {**identity, "brokerAddr": "here"}, plain, expect=1, remark=("brokerAddr", "here"))
    yield Row(NAMESRV, codes.REGISTER_BROKER, "refuses a negative id",
              {**identity, "brokerId": -1}, plain, expect=1, remark=("brokerId", "-1"))
    yield Row(NAMESRV, codes.ROUTE, "has strict keys for version 409", {"topic": f"Reg{s}"},
              body=route(True))
    yield Row(NAMESRV, codes.ROUTE, "has strict keys for version 401", {"topic": f"Reg{s}"},
              body=route(True), version=401)
    yield Row(NAMESRV, codes.ROUTE, "has bare keys for version 400", {"topic": f"Reg{s}"},
              body=route(False), version=400)
    yield Row(NAMESRV, codes.ROUTE, "has strict keys for those that ask",
              {"topic": f"Reg{s}", "acceptStandardJsonOnly": "true"}, body=route(True),
              version=121)
    yield Row(NAMESRV, codes.ROUTE, "of an unknown topic is not found", {"topic": "NeverMade"},
              expect=codes.NO_TOPIC, remark="NeverMade", body=empty)
    yield Row(NAMESRV, codes.CLUSTER_INFO, "shows clusters and brokers, ids bare", body=tree(
        lambda v, c: (equal(v["brokerAddrTable"][name],
                            {"brokerAddrs": {0: "127.0.0.1:19001", 1: "127.0.0.1:19011"},
                             "brokerName": name, "cluster": cluster}),
                      equal(v["clusterAddrTable"][cluster], [name]))))
    yield Row(NAMESRV, codes.MEMBER_GROUP, "shows the members of a group",
              {"clusterName": cluster, "brokerName": name}, body=same({"brokerMemberGroup": {
                  "brokerAddrs": {0: "127.0.0.1:19001", 1: "127.0.0.1:19011"},
                  "brokerName": name, "cluster": cluster}}))
    yield Row(NAMESRV, codes.MEMBER_GROUP, "of an unknown group is empty",
              {"clusterName": cluster, "brokerName": "nobody"}, body=same(
                  {"brokerMemberGroup": {"brokerAddrs": {}, "brokerName": "nobody",
                                         "cluster": cluster}}))
    yield Row(NAMESRV, codes.QUERY_DATA_VERSION, "says that nothing changed",
              {k: identity[k] for k in ("brokerName", "brokerAddr", "clusterName", "brokerId")},
              to_json(version), fields={"changed": "false"}, body=same(version))
    yield Row(NAMESRV, codes.QUERY_DATA_VERSION, "says that something changed", identity,
              to_json({**version, "counter": 4}), fields={"changed": "true"},
              body=same(version))
    yield Row(NAMESRV, codes.QUERY_DATA_VERSION, "of a stranger is a change",
              {**identity, "brokerAddr": "127.0.0.1:1"}, to_json(version),
              fields={"changed": "true"}, body=empty)
    yield Row(NAMESRV, codes.QUERY_DATA_VERSION, "refuses a body that is none", identity, b"x",
              expect=1, remark="body")
    yield Row(NAMESRV, codes.BROKER_HEARTBEAT, "is answered", identity, body=empty)
    yield Row(NAMESRV, codes.BROKER_HEARTBEAT, "of a stranger is answered",
              {**identity, "brokerAddr": "127.0.0.1:1"}, body=empty)
    # lists
    ours = {f"Packed{s}", f"Reg{s}", f"Unit{s}", f"Sub{s}", f"Both{s}"}
    yield Row(NAMESRV, codes.ALL_TOPIC_NAMES, "lists all topics", body=tree(
        lambda v, c: true(ours | {"TBW102"} <= set(v["topicList"]), str(v))))
    yield Row(NAMESRV, codes.TOPICS_BY_CLUSTER, "lists those of a cluster", {"cluster": cluster},
              body=tree(lambda v, c: equal(set(v["topicList"]), ours)))
    yield Row(NAMESRV, codes.TOPICS_BY_CLUSTER, "of an unknown cluster is empty",
              {"cluster": "nobody"}, body=tree(lambda v, c: equal(v["topicList"], [])))
    yield Row(NAMESRV, codes.SYSTEM_TOPICS_NAMESRV, "lists clusters and brokers", body=tree(
        lambda v, c: (true({name, cluster, "broker-a", "DefaultCluster"} <= set(v["topicList"]),
                           str(v)), contains(v["brokerAddr"], "127.0.0.1:"))))
    for code, wanted in ((codes.UNIT_TOPICS, {f"Unit{s}", f"Both{s}"}),
                         (codes.UNIT_SUB_TOPICS, {f"Sub{s}", f"Both{s}"}),
                         (codes.UNIT_SUB_UNUNIT_TOPICS, {f"Sub{s}"})):
        yield Row(NAMESRV, code, "lists by the unit flags", body=tree(
            lambda v, c, wanted=wanted: equal({t for t in v["topicList"] if t.endswith(s)},
                                              wanted)))
    # write permission
    yield Row(NAMESRV, codes.WIPE_PERM, "takes it from all topics of a broker",
              {"brokerName": name}, fields={"wipeTopicCount": "5"})
    yield Row(NAMESRV, codes.ROUTE, "shows it", {"topic": f"Reg{s}"}, body=route(True, 4))
    yield Row(NAMESRV, codes.ADD_PERM, "gives it back", {"brokerName": name},
              fields={"addTopicCount": "5"})
    yield Row(NAMESRV, codes.ROUTE, "shows that too", {"topic": f"Reg{s}"}, body=route(True, 6))
    for code, field in ((codes.WIPE_PERM, "wipeTopicCount"), (codes.ADD_PERM, "addTopicCount")):
        yield Row(NAMESRV, code, "of an unknown broker changes nothing", {"brokerName": "nobody"},
                  fields={field: "0"})
    # topics
    yield Row(NAMESRV, codes.REGISTER_TOPIC, "adds a topic to a registered broker",
              {"topic": f"Added{s}"}, to_json({"queueDatas": [queue_data(name)],
                                               "brokerDatas": []}), body=empty)
    yield Row(NAMESRV, codes.ROUTE, "shows it", {"topic": f"Added{s}"}, body=route(True))
    yield Row(NAMESRV, codes.REGISTER_TOPIC, "of an unknown broker is no failure",
              {"topic": f"Nobody{s}"}, to_json({"queueDatas": [queue_data("nobody")]}))
    yield Row(NAMESRV, codes.REGISTER_TOPIC, "refuses a body that is none",
              {"topic": f"Added{s}"}, b"x", expect=1, remark="body")
    yield Row(NAMESRV, codes.DELETE_TOPIC_IN_NAMESRV, "of another cluster changes nothing",
              {"topic": f"Added{s}", "clusterName": "DefaultCluster"}, body=empty)
    yield Row(NAMESRV, codes.ROUTE, "is still there", {"topic": f"Added{s}"}, body=route(True))
    yield Row(NAMESRV, codes.DELETE_TOPIC_IN_NAMESRV, "removes a topic",
              {"topic": f"Added{s}", "clusterName": cluster}, body=empty)
    yield Row(NAMESRV, codes.ROUTE, "has none then", {"topic": f"Added{s}"},
              expect=codes.NO_TOPIC)
    yield Row(NAMESRV, codes.DELETE_TOPIC_IN_NAMESRV, "of an unknown topic is no failure",
              {"topic": "NeverMade"}, body=empty)
    # keys
    place = {"namespace": f"Space{s}", "key": "k"}
    yield Row(NAMESRV, codes.GET_KV, "of an unknown key is not found", place,
              expect=codes.NOT_FOUND)
    yield Row(NAMESRV, codes.KV_LIST, "of an unknown namespace is not found", place,
              expect=codes.NOT_FOUND)
    yield Row(NAMESRV, codes.DELETE_KV, "of an unknown key is no failure", place, body=empty)
    yield Row(NAMESRV, codes.PUT_KV, "stores a value", {**place, "value": 'v"\\\u00fc'},
              body=empty)
    yield Row(NAMESRV, codes.GET_KV, "finds it", place, fields={"value": 'v"\\\u00fc'})
    yield Row(NAMESRV, codes.KV_LIST, "lists it", place, body=same(
        {"table": {"k": 'v"\\\u00fc'}}))
    yield Row(NAMESRV, codes.DELETE_KV, "removes it", place, body=empty)
    yield Row(NAMESRV, codes.GET_KV, "has none then", place, expect=codes.NOT_FOUND)
    # configuration
    yield Row(NAMESRV, codes.GET_NAMESRV_CONFIG, "gives the settings", body=lambda b, c: contains(
        b.decode().splitlines(), "orderMessageEnable=false"))
    yield Row(NAMESRV, codes.UPDATE_NAMESRV_CONFIG, "changes what may change", {},
              b"orderMessageEnable=false\n", body=empty)
    for key in ("configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"):
        yield Row(NAMESRV, codes.UPDATE_NAMESRV_CONFIG, f"refuses {key}", {},
                  f"orderMessageEnable=true\n{key}=/tmp/x".encode(), expect=codes.NO_PERMISSION,
                  remark=key)
    yield Row(NAMESRV, codes.UPDATE_NAMESRV_CONFIG, "refuses a bad value", {},
              b"orderMessageEnable=perhaps", expect=1, remark="orderMessageEnable")
    yield Row(NAMESRV, codes.UPDATE_NAMESRV_CONFIG, "ignores an unknown key", {},
              b"noSuchKey=1")
    yield Row(NAMESRV, codes.GET_NAMESRV_CONFIG, "is unchanged by what was refused",
              body=lambda b, c: contains(b.decode().splitlines(), "orderMessageEnable=false"))
    # leaving
    yield Row(NAMESRV, codes.UNREGISTER_BROKER, "of another address changes nothing",
              {**identity, "brokerAddr": "127.0.0.1:1"}, body=empty)
    yield Row(NAMESRV, codes.ROUTE, "is still there", {"topic": f"Reg{s}"}, body=route(True))
    for who in (identity, slave):
        yield Row(NAMESRV, codes.UNREGISTER_BROKER, f"takes member {who['brokerId']} out", who,
                  body=empty)
    yield Row(NAMESRV, codes.ROUTE, "has none then", {"topic": f"Reg{s}"}, expect=codes.NO_TOPIC)
    for code in (0, 1, 10, 11, 34, 99, 107, 310, 900, 902, 1001, -1, 32767):
        yield Row(NAMESRV, code, "is not supported", {}, expect=3, remark=str(code))


def last_rows(s):
    topic = f"Table{s}"
    yield Row(BROKER, codes.DELETE_TOPIC, "removes a topic", {"topic": topic}, body=empty)
    yield Row(BROKER, codes.TOPIC_STATS, "does not know it any more", {"topic": topic},
              expect=codes.NO_TOPIC)
    yield Row(BROKER, codes.MAX_OFFSET, "is 0 then", {"topic": topic, "queueId": 0},
              fields={"offset": "0"})


ALL_ROWS = (topic_rows, send_rows, group_rows, pull_rows, lookup_rows, client_rows, broker_rows,
            namesrv_rows, wrong_field_rows, last_rows)


# --- the runner ---

class Cluster:
    """One of each, and a connection to each for either serialization."""

    def __init__(self):
        self.namesrv = process.Namesrv()
        # A name server that takes longer for an answer is one that nobody waits for.
        self.broker = process.Broker(self.namesrv, registerBrokerTimeoutMills=60000)
        self.clients = {
            (to, serialize): remoting.Client(port, serialize=serialize)
            for to, port in ((BROKER, self.broker.port), (NAMESRV, self.namesrv.port))
            for serialize in (remoting.JSON, remoting.BINARY)}


_cluster = None


def cluster():
    global _cluster
    if _cluster is None:
        _cluster = Cluster()
    return _cluster


def judge_frame(row, reply, opaque, serialize):
    """What holds for every reply."""
    equal(reply.opaque, opaque, "opaque")
    equal(reply.flag, 1, "flag")
    equal(reply.serialize, serialize, "serialization")
    true(reply.version >= 232, f"version {reply.version}")
    equal(reply.language, "JAVA", "language")
    if serialize == remoting.JSON:
        header = json.loads(reply.raw_header)
        equal(list(header), sorted(header), "order of the members")
        equal(header["serializeTypeCurrentRPC"], "JSON")
        true(b": " not in reply.raw_header.split(b'"remark"')[0], "no white space")
    if row.expect is not None:
        equal(reply.code, row.expect, f"code (remark {reply.remark!r}, fields {reply.fields})")
    if reply.code not in (codes.OK,):
        true(reply.remark, "a refusal has a remark")


def judge_fields(row, reply, serialize):
    if row.fields is None:
        return
    if serialize == remoting.JSON:
        true(reply.fields is not None, "extFields is missing")
    found = reply.fields or {}
    equal(sorted(found), sorted(row.fields), "names in extFields")
    for name, expected in row.fields.items():
        if callable(expected):
            true(expected(found[name]), f"{name} is {found[name]!r}")
        else:
            equal(found[name], expected, name)


def run_row(row, serialize):
    client = cluster().clients[row.to, serialize]

    def ask():
        opaque = client.send(row.code, row.ask, row.given, version=row.version,
                             language=row.language)
        reply = client.reply(opaque)
        return (opaque, reply) if not row.soon or reply.code == row.expect else None

    opaque, reply = until(ask, f"code {row.expect}")
    judge_frame(row, reply, opaque, serialize)
    judge_fields(row, reply, serialize)
    if callable(row.remark):
        true(row.remark(reply.remark or ""), f"remark {reply.remark!r}")
    else:
        for part in row.remark:
            contains(reply.remark or "", part, "remark")
    if row.body:
        row.body(reply.body, cluster())


def knows_what_is_made(what, serialize, s):
    """Judged when the answer comes within the second for which a name server is waited for: after that the
    broker answers without it."""
    client, number = cluster().clients[BROKER, serialize], itertools.count()

    def made_in_time():
        topic, began = f"Soon{s}{next(number)}", time.monotonic()
        cluster().namesrv.freeze()
        try:
            opaque = client.send(codes.UPDATE_TOPIC, admin.topic_fields(topic, readQueueNums=3,
                                                                        writeQueueNums=2))
            until(lambda: f'"{topic}"'.encode() in client.call(codes.ALL_TOPICS).body, "the topic")
            admin.make_group(client, f"Soon{s}")  # on the disk, and with that the topic
            client.round_trip()
            early = client.has_reply(opaque)
        finally:
            cluster().namesrv.thaw()
        admin.expect(client.reply(opaque))
        if time.monotonic() - began > 0.9:
            return None
        equal(early, False, "answered while the name server stands still")
        return topic

    run_row(Row(NAMESRV, codes.ROUTE, what, {"topic": until(made_in_time, "a topic is made in time")},
                body=tree(lambda v, c: equal(
                    v["queueDatas"], [{"brokerName": "broker-a", "perm": 6, "readQueueNums": 3,
                                       "topicSysFlag": 0, "writeQueueNums": 2}]))), serialize)


def register(serialize, s):
    what = "knows a topic as soon as its making is answered"
    claims.add(f"{codes.ROUTE} at the {NAMESRV} {what} [{'JB'[serialize]}]",
               lambda: knows_what_is_made(what, serialize, s))
    for rows in ALL_ROWS:
        for row in rows(s):
            claims.add(f"{row.code} at the {row.to} {row.what} [{'JB'[serialize]}]",
                       lambda row=row: run_row(row, serialize))


register(remoting.JSON, "J")
register(remoting.BINARY, "B")


# --- one-way ---

HANDLED = {BROKER: (10, 310, 320, 11, 14, 15, 17, 21, 25, 26, 28, 29, 30, 31, 32, 33, 34, 35, 36,
                    38, 41, 42, 43, 45, 46, 200, 201, 202, 203, 204, 207, 208, 215, 300, 305, 12,
                    321, 37, 9999),
           NAMESRV: (100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311,
                     312, 313, 318, 319, 322, 327, 901, 904, 10, 9999)}


def one_way(to, serialize):
    """Complete ones, refused ones, unknown ones; then requests that are answered, several times, so
    that a late answer would have come."""
    port = cluster().broker.port if to == BROKER else cluster().namesrv.port
    with remoting.Client(port, serialize=serialize) as client:
        complete = {code: ask for code, (at, ask, _, _) in complete_requests("W").items()
                    if at == to}
        for code in HANDLED[to]:
            client.send(code, complete.get(code, {}), flag=remoting.FLAG_ONEWAY)
            client.send(code, {}, flag=remoting.FLAG_ONEWAY)
            client.send(code, complete.get(code, {}), b"\x00[{", flag=remoting.FLAG_ONEWAY)
        barrier = codes.RUNTIME_INFO if to == BROKER else codes.PUT_KV
        asked = 0
        for _ in range(20):
            client.call(barrier, {"namespace": "n", "key": "k", "value": "v"})
            client.round_trip()
            asked += 2
        found = [f for f in client.arrived if f.is_response]
        equal(len(found), asked, "replies")


for server in (BROKER, NAMESRV):
    for header in (remoting.JSON, remoting.BINARY):
        claims.add(f"a one-way request to the {server} is never answered [{'JB'[header]}]",
                   lambda server=server, header=header: one_way(server, header))


@claims.claim
def header_members_that_real_clients_send_are_understood():
    """Numbers and booleans in extFields, numbers as text, ordinals, unknown members, any order."""
    client = cluster().clients[BROKER, remoting.JSON]
    fields = ('"extFields":{"topic":"BenchmarkTest","queueId":%s,"extra":null,"b":true,'
              '"f":1.5}')
    for header in ('{"code":30,"opaque":-7,' + fields % "0" + "}",
                   '{"opaque":"-8","code":"30","flag":"0","version":"409",' + fields % '"0"' + "}",
                   ' {\n "language" : 9 , "code":30,"opaque":-9,"remark":null,"unknown":[{"a":1}],'
                   + fields % "0" + " }\n",
                   '{"language":"KLINGON","code":30,"opaque":-10,"remark":"","serializeTypeCurrent'
                   'RPC":"ROCKETMQ",' + fields % "0" + "}",
                   '{"code":30,"opaque":-11,"extFields":{"\\u0074opic":"BenchmarkTest",'
                   '"queueId":0}}'):
        opaque = int(json.loads(header)["opaque"])
        client.asked.add(opaque)
        client.send_raw(remoting.pack(header.encode()))
        reply = client.reply(opaque)
        equal((reply.code, reply.fields), (0, {"offset": "0"}), header)


@claims.claim
def replies_to_pipelined_requests_are_matched_by_opaque():
    client = cluster().clients[BROKER, remoting.JSON]
    opaques = [client.send((codes.MAX_OFFSET, codes.RUNTIME_INFO, codes.SEND_V2)[i % 3],
                           {"topic": "BenchmarkTest", "queueId": 0} if i % 3 < 2 else
                           messages.send_fields("BenchmarkTest"), opaque=2 ** 31 - 1 - i,
                           serialize=i % 2)
               for i in range(300)]
    for i, opaque in enumerate(opaques):
        reply = client.reply(opaque)
        equal((reply.code, reply.serialize), (0, i % 2))


claims.run()
