"""Hostile bytes: the connection is closed or the request refused by name, with one line in the log, and
everybody else goes on."""
import os
import socket
import struct

from lib import admin, claims, codes, messages, process, remoting
from lib.claims import add, claim, contains, equal, true

RUNS_SANITIZED = True

broker = process.Broker(autoCreateTopicEnable=True, maxMessageSize=100000)
namesrv = process.Namesrv()


def raw(port, data):
    """Sends bytes; True when the server closes the connection without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(data)
        answer = b""
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    break
                answer += more
        except ConnectionResetError:
            pass
        return answer


HEADER = b'{"code":30,"flag":0,"language":"JAVA","opaque":1,"version":409}'
JUNK = {
    "an_http_request": b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a_tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "a_length_over_the_limit": struct.pack(">I", 16777213) + b"\x00" * 64,
    "a_negative_length": struct.pack(">i", -1) + b"\x00" * 64,
    "a_length_below_four": struct.pack(">I", 3) + b"\x00\x00\x00",
    "a_header_longer_than_its_frame": struct.pack(">II", 4 + 10, 11) + b"x" * 10,
    "an_unknown_serialization": struct.pack(">II", 4 + len(HEADER), 7 << 24 | len(HEADER)) + HEADER,
    "a_header_that_is_no_json": struct.pack(">II", 4 + 9, 9) + b"[not json",
    "a_header_that_ends_early": struct.pack(">II", 4 + 20, 20) + HEADER[:20],
    "a_binary_header_that_lies": struct.pack(">II", 4 + 21, 1 << 24 | 21) +
                                 struct.pack(">hBhiiii", 30, 0, 409, 1, 0, 1000, 0),
    "random_bytes": bytes((i * 151 + 7) % 256 for i in range(4096)),
}

for name, data in JUNK.items():
    for server in (broker, namesrv):
        def check(data=data, server=server):
            before = remoting.Client(server.port)  # somebody else, undisturbed
            before.round_trip()
            equal(raw(server.port, data), b"", "answer")
            before.round_trip()
            before.close()
            true(server.running(), "the server is gone")
        add(f"{name}_closes_the_connection_at_the_{server.name}", check)


@claim
def the_log_names_the_peer_once_a_minute():
    for server in (broker, namesrv):
        for _ in range(20):
            raw(server.port, b"\xff" * 32)
        lines = [line for line in server.log().splitlines() if "127.0.0.1" in line and "WARN" in line]
        true(1 <= len(lines) <= 3, f"{len(lines)} lines about one peer: {lines}")


NAMES = ["../../etc/passwd", "..", ".", "a/b", "/abs", "a\\b", "a b", "a\x00b", "\u00e9", "x" * 128,
         "a\nb", "*", "t\x01p"]


@claim
def names_that_could_leave_the_store_are_refused_everywhere():
    with remoting.Client(broker.port) as c:
        before = sorted(os.listdir(os.path.join(broker.store, "consumequeue")))
        for name in NAMES:
            sent = c.call(codes.SEND_V2, messages.send_fields(name), b"x")
            equal(sent.code, 1, f"send to {name!r}")
            made = c.call(codes.UPDATE_TOPIC, admin.topic_fields(name))
            equal(made.code, 1, f"create {name!r}")
            pulled = c.call(codes.PULL, messages.pull_fields(name))
            true(pulled.code in (17, 1), f"pull of {name!r}: {pulled}")
            committed = c.call(codes.UPDATE_OFFSET, {
                "consumerGroup": name if len(name) < 128 else name * 2, "topic": "T", "queueId": 0,
                "commitOffset": 1})
            equal(committed.code, 1, f"offset of group {name!r}")
            admin.heartbeat(c, "id", [admin.consumer(name if len(name) < 128 else name * 2, [])], code=1)
        equal(sorted(os.listdir(os.path.join(broker.store, "consumequeue"))), before, "queue folders")
        true(not os.path.exists("/etc/passwd/0"), "a folder outside of the store")


@claim
def malformed_bodies_are_refused_and_say_why():
    with remoting.Client(broker.port) as c:
        for code in (codes.HEART_BEAT, codes.LOCK, codes.UNLOCK,
                     codes.UPDATE_GROUP, codes.CHECK_CLIENT):
            for body in (b"", b"{", b"nonsense", b"[1,2", b"\xff\xfe", b'{"clientID":1e999}',
                         b'{"a":' * 100 + b"1" + b"}" * 100):
                reply = c.call(code, None, body)
                equal(reply.code, 1, f"code {code}, body {body[:20]!r}")
                true(reply.remark, f"code {code} has no remark")
        c.round_trip()


@claim
def messages_over_the_limits_are_refused_by_name():
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Limits", 4)
        big = c.call(codes.SEND_V2, messages.send_fields("Limits"), b"x" * 100001)
        equal(big.code, 13, "body over maxMessageSize")
        contains(big.remark, "100000", "remark")
        equal(c.call(codes.SEND_V2, messages.send_fields("Limits"), b"x" * 100000).code, 0,
              "a body of just maxMessageSize")
        many = c.call(codes.SEND_V2, messages.send_fields("Limits", properties={"K": "v" * 32800}), b"x")
        equal(many.code, 13, "properties over 32767 bytes")
        for queue in (4, 5, 2147483647):
            refused = c.call(codes.SEND_V2, messages.send_fields("Limits", queue), b"x")
            equal(refused.code, 1, f"queue {queue}")
            contains(refused.remark, str(queue), "remark")
        for queue in (-1, 4, 65536):
            refused = c.call(codes.PULL, messages.pull_fields("Limits", queue))
            equal(refused.code, 1, f"pull of queue {queue}")


@claim
def a_batch_that_lies_is_refused_whole():
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Lies", 1)
        good = messages.batch_item(b"one")
        for bad in (messages.batch_item(b"two", total=10), messages.batch_item(b"two", body_len=1 << 30),
                    messages.batch_item(b"two", properties_len=5), b"\x00\x00"):
            reply = c.call(codes.SEND_BATCH, messages.send_fields("Lies", batch=True), good + bad)
            equal(reply.code, 13, f"a batch with {bad[:8]!r}")
        small = messages.batch_item(b"")
        reply = c.call(codes.SEND_BATCH, messages.send_fields("Lies", batch=True), small * 4097)
        equal(reply.code, 13, "4097 messages")
        contains(reply.remark, "4096", "remark")
        equal(admin.max_offset(c, "Lies"), 0, "messages stored")


@claim
def what_comes_later_is_refused_by_name():
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Later", 1)
        for properties, code, word in (({"TRAN_MSG": "true"}, 16, "transactional"),
                                       ({"TIMER_DELAY_SEC": "5"}, 13, "timer"),
                                       ({"TIMER_DELIVER_MS": "5"}, 13, "timer"),
                                       ({"TIMER_DELAY_MS": "5"}, 13, "timer")):
            reply = c.call(codes.SEND_V2, messages.send_fields("Later", properties=properties), b"x")
            equal(reply.code, code, f"{properties}")
            contains(reply.remark, word, "remark")
        sql = c.call(codes.PULL, messages.pull_fields("Later", expressionType="SQL92",
                                                      subscription="a > 1"))
        equal(sql.code, 1, "SQL92")
        contains(sql.remark, "SQL92", "remark")
        equal(admin.max_offset(c, "Later"), 0, "messages stored")


@claim
def unknown_codes_are_answered():
    for server in (broker, namesrv):
        with remoting.Client(server.port) as c:
            for code in (0, 16, 37, 361, 400, 9999, 32767, 200050, -1):
                equal(c.call(code, {}).code, 3, f"code {code} at {server.name}")


if __name__ == "__main__":
    claims.run()
