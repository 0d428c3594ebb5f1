"""Sending and pulling: what is stored, what is found, and who waits for how long."""
import time
import zlib

from lib import admin, claims, codes, dialect, messages, process, remoting
from lib.claims import contains, equal, true, until
from lib.messages import pull, send

RUNS_SANITIZED = True

FOREVER_MS = 600000  # longer than any test: an answer before was not caused by this timer

broker = process.Broker(ioThreads=3)


def connect(**options):
    return remoting.Client(broker.port, **options)


main = connect()


def waiting_pull(client, topic, queue_id=0, offset=0, suspend_ms=FOREVER_MS, sys_flag=6, **more):
    return client.send(codes.PULL, messages.pull_fields(topic, queue_id, offset, sys_flag=sys_flag,
                                                        suspend_ms=suspend_ms, **more))


# --- what is stored ---

@claims.claim
def both_forms_of_a_send_store_every_field():
    for code in (codes.SEND, codes.SEND_V2):
        topic = f"Fields{code}"
        properties = {"KEYS": "k1 k2", "TAGS": "TagA", "own key": "\u00fcber \U0001f600"}
        with connect() as client:
            before = int(time.time() * 1000)
            sent = send(client, topic, b"\x00body\xff", 3, properties, code=code, sysFlag=0x301,
                        flag=-77, bornTimestamp=1234567890123, reconsumeTimes=2)
            stored = pull(client, topic, 3).messages[0]
            after = int(time.time() * 1000)
            born = client.local
        equal((stored.body, stored.flag, stored.sys_flag, stored.born_time),
              (b"\x00body\xff", -77, 0x301, 1234567890123))
        equal((stored.queue_id, stored.queue_offset, stored.reconsume_times,
               stored.prepared_offset), (3, 0, 2, 0))
        equal("%s:%d" % stored.born_host, born, "born host")
        equal("%s:%d" % stored.store_host, broker.address, "store host")
        true(before - 1000 <= stored.store_time <= after + 1000, "store time is now")
        equal(sent.ids, [stored.offset_id])
        crc = stored.properties.pop(messages.CRC_NAME)
        equal(len(crc), 10)
        equal(stored.properties, {**properties, "CLUSTER": "DefaultCluster"})
        seen = main.call(codes.VIEW_MESSAGE, {"offset": stored.log_offset})
        equal(messages.decode_all(seen.body)[0].body, stored.body)
        equal(len(seen.body), stored.size)


@claims.claim
def properties_are_kept_byte_for_byte_except_for_what_is_none():
    raw = "A\x01 1 \x02\x01novalue\x02NoSeparator\x02EMPTY\x01\x02B\x012\x01with one\x02WAIT\x01true" \
          "\x02CLUSTER\x01Forged\x02__CRC32#\x010123456789\x02unknown\x01x=y;z\x02"
    reply = main.call(codes.SEND_V2, {**messages.send_fields("Properties"), "i": raw}, b"x")
    equal(reply.code, 0)
    stored = pull(main, "Properties").messages[0]
    stored.properties.pop(messages.CRC_NAME)
    equal(stored.properties, {"A": " 1 ", "B": "2\x01with one", "unknown": "x=y;z",
                              "CLUSTER": "DefaultCluster"})
    equal(stored.raw_properties.count(b"CLUSTER"), 1)
    equal(stored.raw_properties.count(b"__CRC32#"), 1)


@claims.claim
def a_compressed_body_is_stored_and_pulled_as_it_came():
    body = zlib.compress(b"much text " * 1000)
    send(main, "Compressed", body, sysFlag=1)
    stored = pull(main, "Compressed").messages[0]
    equal((stored.sys_flag & 1, stored.body), (1, body))


@claims.claim
def address_bits_of_the_sender_are_not_taken_over():
    send(main, "Bits", b"x", sysFlag=0x30)
    equal(pull(main, "Bits").messages[0].sys_flag & 0x30, 0)


@claims.claim
def transaction_bits_of_the_sender_are_refused_like_the_property():
    for bits in (4, 8, 12):
        refused = send(main, "TransactionBits", b"x", sysFlag=bits, expect=16)
        contains(refused.remark, "transactional")
    send(main, "TransactionBits", b"stored")
    equal([m.body for m in pull(main, "TransactionBits").messages], [b"stored"])


@claims.claim
def a_batch_goes_to_one_queue_with_consecutive_offsets_and_common_properties():
    items = b"".join(messages.batch_item(
        b"item%d" % i, {"UNIQ_KEY": f"U{i}", "WAIT": "true", "TAGS": "TagB" if i % 2 else "TagA"},
        flag=i) for i in range(10))
    send(main, "Batch", b"first", 1)
    sent = send(main, "Batch", items, 1, {"COMMON": "yes"}, batch=True, code=codes.SEND_BATCH)
    stored = pull(main, "Batch", 1, 1).messages
    equal(sent.queue_offset, 1)
    equal(sent.ids, [m.offset_id for m in stored])
    equal([m.queue_offset for m in stored], list(range(1, 11)))
    equal([(m.body, m.flag) for m in stored], [(b"item%d" % i, i) for i in range(10)])
    for i, message in enumerate(stored):
        message.properties.pop(messages.CRC_NAME)
        equal(message.properties, {"UNIQ_KEY": f"U{i}", "WAIT": "true", "COMMON": "yes",
                                   "TAGS": "TagB" if i % 2 else "TagA",
                                   "CLUSTER": "DefaultCluster"})
    filtered = pull(main, "Batch", 1, 1, subscription="TagB").messages
    equal([m.body for m in filtered], [b"item%d" % i for i in range(1, 10, 2)])


@claims.claim
def the_flag_decides_whether_a_body_is_a_batch_and_not_the_code():
    item = messages.batch_item(b"inside")
    send(main, "FlagDecides", item, code=codes.SEND_BATCH, batch=False)
    send(main, "FlagDecides", item, code=codes.SEND_V2, batch=True)
    equal([m.body for m in pull(main, "FlagDecides").messages], [item, b"inside"])


@claims.claim
def one_way_sends_are_stored_in_order_and_not_answered():
    with connect() as client:
        for i in range(200):
            client.send(codes.SEND_V2, messages.send_fields("OneWay"), b"%d" % i,
                        flag=remoting.FLAG_ONEWAY)
        send(client, "OneWay", b"200")
        equal(len(client.arrived), 1, "replies")
    equal([m.body for m in messages.pull_all(main, "OneWay")], [b"%d" % i for i in range(201)])


@claims.claim
def an_order_of_sends_on_one_connection_is_kept():
    with connect() as client:
        opaques = [client.send(codes.SEND_V2, messages.send_fields("Ordered"), b"%d" % i)
                   for i in range(500)]
        offsets = [int(client.reply(o).fields["queueOffset"]) for o in opaques]
    equal(offsets, list(range(500)))
    equal([m.body for m in messages.pull_all(main, "Ordered")], [b"%d" % i for i in range(500)])


@claims.claim
def a_message_as_large_as_allowed_is_stored_and_one_byte_more_is_refused():
    body = bytes(range(256)) * 16384
    equal(len(body), 4194304)
    send(main, "Large", body)
    refused = send(main, "Large", body + b"x", expect=codes.ILLEGAL)
    contains(refused.remark, "maxMessageSize")
    pulled = pull(main, "Large")
    equal([m.body == body for m in pulled.messages], [True])


# --- auto-creation ---

@claims.claim
def an_auto_created_topic_has_the_smaller_queue_count_and_no_inherit_bit():
    for asked, queues in ((3, 3), (8, 8), (100, 8)):
        send(main, f"Made{asked}", b"x", defaultTopicQueueNums=asked)
        table = dialect.loads(main.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        config = table[f"Made{asked}"]
        equal((config["readQueueNums"], config["writeQueueNums"], config["perm"]),
              (queues, queues, 6))
        with remoting.Client(broker.namesrv_port) as namesrv:
            found = until(lambda: admin.route(namesrv, f"Made{asked}"), "a route")
            equal(found["queueDatas"][0]["perm"], 6)


@claims.claim
def a_pull_never_makes_a_topic():
    equal(pull(main, "NeverMade").code, codes.NO_TOPIC)
    table = dialect.loads(main.call(codes.ALL_TOPICS).body)["topicConfigTable"]
    true("NeverMade" not in table, "it was made")


@claims.claim
def the_switch_of_auto_creation_holds_at_start_and_while_running():
    off = process.Broker(autoCreateTopicEnable=False, autoCreateSubscriptionGroup=False)
    with remoting.Client(off.port) as client:
        refused = send(client, "Switch", b"x", expect=codes.NO_TOPIC)
        contains(refused.remark, "Switch")
        equal(pull(client, "BenchmarkTest", group="NoGroup").code, codes.NO_GROUP)
        equal(pull(client, "BenchmarkTest", group="CID_RMQ_SYS_x").code, codes.PULL_NOT_FOUND)
        table = dialect.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        true("Switch" not in table, "it was made")
    off.stop()
    on = process.Broker()
    with remoting.Client(on.port) as client:
        send(client, "Before", b"x")
        admin.expect(client.call(codes.UPDATE_CONFIG, {}, b"autoCreateTopicEnable=false\n"))
        send(client, "After", b"x", expect=codes.NO_TOPIC)
        send(client, "Before", b"x")
        admin.expect(client.call(codes.UPDATE_CONFIG, {}, b"autoCreateTopicEnable=true\n"))
        send(client, "After", b"x")
    on.stop()


@claims.claim
def the_permission_of_the_broker_can_be_taken_and_shows_in_routes():
    own = process.Broker()
    with remoting.Client(own.port) as client, remoting.Client(own.namesrv_port) as namesrv:
        send(client, "Perm", b"x")
        admin.make_topic(client, "PermOrder", 1, order=True)
        admin.expect(client.call(codes.UPDATE_CONFIG, {}, b"brokerPermission=4\n"))
        until(lambda: admin.route(namesrv, "Perm")["queueDatas"][0]["perm"] == 4, "perm 4")
        contains(send(client, "PermOrder", b"x", expect=codes.NO_PERMISSION).remark, "broker")
        equal(pull(client, "Perm").code, 0)
        admin.expect(client.call(codes.UPDATE_CONFIG, {}, b"brokerPermission=2\n"))
        equal(pull(client, "Perm").code, codes.NO_PERMISSION)
        send(client, "PermOrder", b"x")
        admin.expect(client.call(codes.UPDATE_CONFIG, {}, b"brokerPermission=6\n"))
        until(lambda: admin.route(namesrv, "Perm")["queueDatas"][0]["perm"] == 6, "perm 6")
        equal(pull(client, "Perm").code, 0)
    own.stop()


@claims.claim
def the_permission_of_a_topic_stops_pulls_but_not_sends():
    admin.make_topic(main, "NoRead", 1, perm=2)
    send(main, "NoRead", b"x")
    equal(pull(main, "NoRead").code, codes.NO_PERMISSION)
    admin.make_topic(main, "NoRead", 1, perm=4)
    send(main, "NoRead", b"x")
    equal(len(pull(main, "NoRead").messages), 2)
    admin.make_group(main, "MayNot", consumeEnable=False)
    equal(pull(main, "NoRead", group="MayNot").code, codes.NO_PERMISSION)


# --- the answers of a pull ---

@claims.claim
def each_situation_of_a_pull_has_its_code_and_next_offset():
    admin.make_topic(main, "Table", 2)
    for i in range(10):
        send(main, "Table", b"%d" % i, 0, {"TAGS": "TagA" if i < 5 else "TagB"})
    for offset, code, after in (
            (0, codes.OK, 10), (9, codes.OK, 10), (10, codes.PULL_NOT_FOUND, 10),
            (11, codes.PULL_MOVED, 10), (1 << 60, codes.PULL_MOVED, 10),
            (-1, codes.PULL_MOVED, 0), (-(1 << 60), codes.PULL_MOVED, 0)):
        found = pull(main, "Table", 0, offset)
        equal((found.code, found.next, found.min, found.max), (code, after, 0, 10), f"at {offset}")
    for offset, code in ((0, codes.PULL_NOT_FOUND), (5, codes.PULL_MOVED),
                         (-1, codes.PULL_MOVED)):
        found = pull(main, "Table", 1, offset)
        equal((found.code, found.next, found.max), (code, 0, 0), f"empty queue at {offset}")
    found = pull(main, "Table", 0, 2, subscription="TagB", count=3)
    equal((found.code, [m.body for m in found.messages], found.next), (0, [b"5", b"6", b"7"], 8))
    found = pull(main, "Table", 0, 5, subscription="TagA")
    equal((found.code, found.next, found.messages), (codes.PULL_RETRY, 10, []))


@claims.claim
def an_answer_holds_at_most_what_was_asked_32_messages_and_256_kib():
    for _ in range(3):
        batch = b"".join(messages.batch_item(b"small") for _ in range(50))
        send(main, "Limits", batch, batch=True)
    equal(len(pull(main, "Limits", count=5).messages), 5)
    equal(len(pull(main, "Limits", count=1000).messages), 32)
    for _ in range(5):
        send(main, "Limits", b"L" * 100000, 1)
    send(main, "Limits", b"H" * 1000000, 2)
    send(main, "Limits", b"after", 2)
    found = pull(main, "Limits", 1)
    equal(len(found.messages), 2, "messages of 100,000 bytes in 262,144")
    equal(found.next, 2)
    equal([len(m.body) for m in pull(main, "Limits", 2).messages], [1000000])


@claims.claim
def a_pull_of_many_unmatched_messages_goes_on_behind_them_at_last():
    for _ in range(20):
        batch = b"".join(messages.batch_item(b"x", {"TAGS": "Other"}) for _ in range(100))
        send(main, "Unmatched", batch, batch=True)
    send(main, "Unmatched", b"wanted", 0, {"TAGS": "Wanted"})
    offset, rounds = 0, 0
    while True:
        found = pull(main, "Unmatched", 0, offset, subscription="Wanted")
        rounds += 1
        if found.code == 0:
            break
        equal(found.code, codes.PULL_RETRY)
        true(found.next > offset, "it goes on")
        offset = found.next
    equal([m.body for m in found.messages], [b"wanted"])
    true(2 <= rounds <= 4, f"{rounds} rounds of at most 800 entries")


@claims.claim
def tags_are_filtered_by_their_hash_alone():
    """Aa, BB and C# collide; a client compares the text."""
    equal({messages.java_hash(t) for t in ("Aa", "BB", "C#")}, {2112})
    negative = "TagA123456"
    true(messages.java_hash(negative) < 0, "a negative hash")
    tags = ["Aa", "BB", "C#", None, negative, "\u00fc\U0001f600"]
    for tag in tags:
        send(main, "Tags", b"x", 0, {"TAGS": tag} if tag else {})

    def seen(subscription):
        return [m.properties.get("TAGS") for m in
                pull(main, "Tags", subscription=subscription).messages]

    equal(seen("*"), tags)
    equal(seen(None), tags)
    equal(seen("Aa"), ["Aa", "BB", "C#"])
    equal(seen(negative), [negative])
    equal(seen("\u00fc\U0001f600"), ["\u00fc\U0001f600"])
    equal(seen(f" {negative} ||  || BB"), ["Aa", "BB", "C#", negative])
    equal(seen("NoSuchTag"), [])


@claims.claim
def the_code_set_of_a_heartbeat_decides_and_is_computed_when_it_is_missing():
    for i, tag in enumerate(["TagA", "TagB", "TagC"]):
        send(main, "CodeSet", b"%d" % i, 0, {"TAGS": tag})
    for name, more in (("Given", {"codeSet": [2598919]}), ("AsText", {"codeSet": ["2598919"]}),
                       ("Absent", {"codeSet": None}), ("Empty", {"codeSet": []})):
        with connect() as client:
            subscription = {k: v for k, v in {**admin.subscription("CodeSet", "TagA"),
                                              **more}.items() if v is not None}
            admin.heartbeat(client, "c", [admin.consumer(f"CodeSet{name}", [subscription])])
            found = pull(client, "CodeSet", group=f"CodeSet{name}", sys_flag=0, sub_version=1)
            equal([m.body for m in found.messages], [b"0"], name)


@claims.claim
def a_commit_offset_in_a_pull_is_stored_even_when_the_pull_waits():
    send(main, "Piggyback", b"x")
    with connect() as client:
        waiting_pull(client, "Piggyback", 0, 1, group="PiggyG", sys_flag=7, commit=1)
        client.round_trip()
        equal(admin.query_offset(main, "PiggyG", "Piggyback", setZeroIfNotFound=False), 1)
        pull(client, "Piggyback", 0, 0, group="PiggyG", sys_flag=4, commit=0)
        equal(admin.query_offset(main, "PiggyG", "Piggyback"), 1, "without the bit")


# --- waiting ---

@claims.claim
def a_waiting_pull_is_answered_by_the_arrival_in_its_own_serialization():
    for serialize in (remoting.JSON, remoting.BINARY):
        with connect(serialize=serialize) as client:
            offset = admin.max_offset(main, "Arrival") if serialize else 0
            if not serialize:
                admin.make_topic(main, "Arrival", 1)
            opaque = waiting_pull(client, "Arrival", 0, offset)
            client.round_trip()
            true(not client.has_reply(opaque), "it waits")
            send(main, "Arrival", b"now%d" % serialize)
            reply = client.reply(opaque)
            equal((reply.code, reply.serialize, reply.flag), (0, serialize, 1))
            found = messages.Pulled(reply)
            equal(([m.body for m in found.messages], found.next),
                  ([b"now%d" % serialize], offset + 1))


@claims.claim
def a_waiting_pull_is_answered_by_its_timeout_when_nothing_arrives():
    admin.make_topic(main, "Silence", 1)
    for suspend_ms in (1, 300):
        with connect() as client:
            started = time.monotonic()
            reply = client.reply(waiting_pull(client, "Silence", suspend_ms=suspend_ms))
            found = messages.Pulled(reply)
            equal((found.code, found.next), (codes.PULL_NOT_FOUND, 0))
            true(time.monotonic() - started >= suspend_ms / 1000 - 0.01, "not before its time")
            client.round_trip()
            equal(len([f for f in client.arrived if f.opaque == reply.opaque]), 1, "answers")


@claims.claim
def a_pull_does_not_wait_unless_it_says_so_or_when_there_is_something():
    admin.make_topic(main, "NoWait", 1)
    equal(pull(main, "NoWait", sys_flag=4, suspend_ms=FOREVER_MS).code, codes.PULL_NOT_FOUND)
    equal(pull(main, "NoWait", sys_flag=6, suspend_ms=0).code, codes.PULL_NOT_FOUND)
    equal(pull(main, "NoWait", 0, 5, sys_flag=6, suspend_ms=FOREVER_MS).code, codes.PULL_MOVED)
    send(main, "NoWait", b"x", 0, {"TAGS": "TagA"})
    equal(pull(main, "NoWait", sys_flag=6, suspend_ms=FOREVER_MS).code, 0)
    equal(pull(main, "NoWait", sys_flag=6, suspend_ms=FOREVER_MS, subscription="TagB").code,
          codes.PULL_RETRY)


@claims.claim
def every_loop_answers_its_waiting_pulls_on_every_queue():
    """Three loops: 12 connections wait on 4 queues, 3 on each; senders sit on all loops too."""
    admin.make_topic(main, "Loops", 4)
    waiters = [connect() for _ in range(12)]
    senders = [connect() for _ in range(3)]
    for turn in range(10):
        opaques = [waiting_pull(c, "Loops", i % 4, turn) for i, c in enumerate(waiters)]
        for client in waiters:
            client.round_trip()
        for queue in range(4):
            send(senders[(queue + turn) % 3], "Loops", b"%d-%d" % (turn, queue), queue)
        for i, (client, opaque) in enumerate(zip(waiters, opaques)):
            found = messages.Pulled(client.reply(opaque))
            equal([m.body for m in found.messages], [b"%d-%d" % (turn, i % 4)])
    for client in waiters + senders:
        client.close()


@claims.claim
def a_message_that_does_not_match_wakes_nobody():
    admin.make_topic(main, "Match", 1)
    with connect() as one, connect() as two:
        for_a = waiting_pull(one, "Match", subscription="TagA")
        for_b = waiting_pull(one, "Match", subscription="TagB")
        for_all = waiting_pull(two, "Match")
        one.round_trip()
        two.round_trip()
        send(main, "Match", b"b", 0, {"TAGS": "TagB"})
        found = messages.Pulled(one.reply(for_b))
        equal([m.body for m in found.messages], [b"b"])
        equal(messages.Pulled(two.reply(for_all)).code, 0)
        one.round_trip()
        true(not one.has_reply(for_a), "TagA still waits")
        send(main, "Match", b"none")
        one.round_trip()
        true(not one.has_reply(for_a), "TagA still waits")
        send(main, "Match", b"a", 0, {"TAGS": "TagA"})
        found = messages.Pulled(one.reply(for_a))
        equal(([m.body for m in found.messages], found.next), ([b"a"], 3))


@claims.claim
def pulls_of_connections_that_are_gone_are_forgotten():
    admin.make_topic(main, "Gone", 1)
    for _ in range(30):
        client = connect()
        for _ in range(10):
            waiting_pull(client, "Gone")
        client.round_trip()
        client.close()
    with connect() as client:
        opaque = waiting_pull(client, "Gone")
        client.round_trip()
        send(main, "Gone", b"x")
        equal(messages.Pulled(client.reply(opaque)).code, 0)


@claims.claim
def many_pulls_of_one_connection_wait_and_are_answered_once_each():
    admin.make_topic(main, "Many", 8)
    with connect() as client:
        opaques = {waiting_pull(client, "Many", i % 8): i % 8 for i in range(400)}
        client.round_trip()
        for queue in range(8):
            send(main, "Many", b"%d" % queue, queue)
        for opaque, queue in opaques.items():
            found = messages.Pulled(client.reply(opaque))
            equal([m.body for m in found.messages], [b"%d" % queue])
        client.round_trip()
        equal(len(client.arrived), 402, "frames")


@claims.claim
def a_one_way_pull_is_neither_held_nor_answered():
    admin.make_topic(main, "OneWayPull", 1)
    with connect() as client:
        for suspend_ms in (1, FOREVER_MS):
            client.send(codes.PULL, messages.pull_fields("OneWayPull", sys_flag=6,
                                                         suspend_ms=suspend_ms),
                        flag=remoting.FLAG_ONEWAY)
        client.round_trip()
        send(main, "OneWayPull", b"x")
        equal(pull(client, "OneWayPull", 0, 1, sys_flag=6, suspend_ms=50).code,
              codes.PULL_NOT_FOUND)
        equal(len(client.arrived), 2, "frames")


@claims.claim
def without_long_polling_a_pull_waits_for_a_short_time_only():
    own = process.Broker(longPollingEnable=False, shortPollingTimeMills=50)
    with remoting.Client(own.port) as client:
        admin.make_topic(client, "Short", 1)
        found = pull(client, "Short", sys_flag=6, suspend_ms=FOREVER_MS)
        equal(found.code, codes.PULL_NOT_FOUND)
    own.stop()


@claims.claim
def sync_flush_answers_sends_and_wakes_pulls_after_the_flush():
    own = process.Broker(flushDiskType="SYNC_FLUSH", ioThreads=2)
    with remoting.Client(own.port) as client, remoting.Client(own.port) as other:
        admin.make_topic(client, "Sync", 1)
        for i in range(20):
            opaque = waiting_pull(other, "Sync", 0, i)
            send(client, "Sync", b"%d" % i, 0, {"WAIT": "false"} if i % 3 == 0 else {})
            equal([m.body for m in messages.Pulled(other.reply(opaque)).messages], [b"%d" % i])
        info = admin.runtime_info(client)
        true(int(info["ternFlushes"]) > 0, "it flushed")
        opaques = [client.send(codes.SEND_V2, messages.send_fields("Sync"), b"x") for _ in
                   range(500)]
        equal([int(client.reply(o).fields["queueOffset"]) for o in opaques],
              list(range(20, 520)))
    own.stop()


# --- times, ports ---

@claims.claim
def an_offset_is_found_by_store_time():
    for i in range(20):
        send(main, "Times", b"%d" % i)
        known = pull(main, "Times", 0, i).messages[0].store_time
        until(lambda known=known: time.time() * 1000 > known + 2, "the clock moves")
    times = [m.store_time for m in messages.pull_all(main, "Times")]

    def search(ms, **more):
        reply = main.call(codes.SEARCH_OFFSET, {"topic": "Times", "queueId": 0, "timestamp": ms,
                                                **more})
        return int(admin.expect(reply).fields["offset"])

    for offset, ms in enumerate(times):
        equal(search(ms), offset)
        equal(search(ms, boundaryType="LOWER"), offset)
    equal((search(0), search(times[-1] + 100000)), (0, 19))
    equal(search(times[-1] + 100000, boundaryType="LOWER"), 20)
    for offset in range(19):
        between = times[offset] + 1
        if between < times[offset + 1]:
            nearer = offset if between - times[offset] <= times[offset + 1] - between else offset + 1
            equal(search(between), nearer, f"nearest to {between} of {times}")
            equal(search(between, boundaryType="LOWER"), offset + 1)
    earliest = main.call(codes.EARLIEST_TIME, {"topic": "Times", "queueId": 0})
    equal(earliest.fields["timestamp"], str(times[0]))


@claims.claim
def the_port_two_below_serves_everything_but_pulls():
    with remoting.Client(broker.port - 2) as vip:
        sent = send(vip, "Vip", b"x")
        equal(sent.host, ("127.0.0.1", broker.port))
        refused = pull(vip, "Vip")
        equal(refused.code, codes.NOT_SUPPORTED)
        contains(refused.reply.remark, str(broker.port))
        admin.heartbeat(vip, "vip", producers=["VipP"])
    equal([m.body for m in pull(main, "Vip").messages], [b"x"])


claims.run()
