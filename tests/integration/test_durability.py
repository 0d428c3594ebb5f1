"""What was acknowledged survives kill -9 and clean stops, and a second reader finds nothing wrong in the
directories that are left behind."""
import json
import os
import shutil
import struct
import subprocess

from lib import admin, claims, codes, load, messages, process, remoting, store_reader
from lib.claims import equal, true, until

RUNS_SANITIZED = True

SHORT = process.SANITIZED
ROUNDS = 1 if SHORT else 2
ACKED = 300 if SHORT else 800
QUEUES = 2 if SHORT else 4
# Small segments, so that the log rolls many times.
SMALL = {"mappedFileSizeCommitLog": 262144, "maxMessageSize": 65536,
         "mappedFileSizeConsumeQueue": 4000}


def judge(store, crashed, **options):
    found = store_reader.Store(store, crashed=crashed, **options)
    equal(found.problems, [], f"problems in {store}")
    return found


def kill_under_load(flush):
    store = process.new_path("store")
    earlier = {}
    for number in range(ROUNDS):
        broker = process.Broker(store=store, flushDiskType=flush, **SMALL)
        if number == 0:
            with remoting.Client(broker.port) as client:
                admin.make_topic(client, "Load", QUEUES)
        producers = [load.Producer(broker.port, "Load", q, name=f"r{number}") for q in
                     range(QUEUES)]
        consumers = [load.Consumer(broker.port, "Load", q) for q in range(QUEUES)]
        for thread in producers + consumers:
            thread.start()
        load.wait_acked(producers, ACKED)
        broker.kill()
        for thread in producers + consumers:
            thread.join(60)
            true(thread.error is None or isinstance(thread.error, (remoting.Closed, OSError)),
                 f"{thread}: {thread.error!r}")
        for producer in producers:
            equal(producer.refused, [], "refused sends")
        crashed = judge(store, crashed=True)
        true(len(crashed.records) >= sum(len(p.acked) for p in producers), "records in the log")

        broker = process.Broker(store=store, flushDiskType=flush, **SMALL)
        with remoting.Client(broker.port) as client:
            for producer, consumer in zip(producers, consumers):
                queue = producer.queue_id
                bodies = load.check_queue(client, producer, earlier.get(queue, ()))
                equal(consumer.seen, bodies[:len(consumer.seen)], "what a consumer had seen")
                earlier[queue] = bodies
        broker.stop()
        stopped = judge(store, crashed=False)
        equal(len(stopped.records), sum(len(b) for b in earlier.values()), "records")
        true(stopped.end > (0 if SHORT else 2 * SMALL["mappedFileSizeCommitLog"]), "the log rolled")


@claims.claim
def acknowledged_messages_survive_kill_9_under_async_flush():
    kill_under_load("ASYNC_FLUSH")


@claims.claim
def acknowledged_messages_survive_kill_9_under_sync_flush():
    kill_under_load("SYNC_FLUSH")


@claims.claim
def a_broker_killed_again_and_again_while_it_starts_loses_nothing():
    store = process.new_path("store")
    broker = process.Broker(store=store, **SMALL)
    producer = load.Producer(broker.port, "Again", 0, size=1000)
    producer.start()
    load.wait_acked([producer], ACKED)
    broker.kill()
    producer.join(60)
    for _ in range(3 if SHORT else 6):
        broker = process.Broker(store=store, ready=False, **SMALL)
        # at a different moment each time: as soon as it said its first, second, ... line
        lines = _ + 1
        until(lambda: broker.log().count("\n") >= min(lines, 3) or not broker.running(), "a line")
        broker.kill()
        judge(store, crashed=True)
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        load.check_queue(client, producer)
    broker.stop()
    judge(store, crashed=False)


@claims.claim
def only_a_record_that_ends_too_early_passes_for_one_that_a_kill_has_cut_short():
    store = process.new_path("store")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        for _ in range(3):
            messages.send(client, "Cut", b"x" * 500)
    broker.kill()
    last = judge(store, crashed=True).last_record()
    log = os.path.join(store, "commitlog", f"{0:020d}")

    def problems(at, data, crashed=True):
        with open(log, "r+b") as file:
            file.seek(at)
            before = file.read(len(data))
            file.seek(at)
            file.write(data)
        found = [p for p in store_reader.Store(store, crashed=crashed).problems if p.startswith("commitlog")]
        with open(log, "r+b") as file:
            file.seek(at)
            file.write(before)
        return found

    end = last.log_offset + last.size
    for kept in (6, 100, last.size - 1):
        cut = bytes(last.size - kept)
        equal(problems(end - len(cut), cut), [], f"{kept} bytes of the last record")
        true(problems(end - len(cut), cut, crashed=False), "after a clean stop it is damage")
        true(problems(end - len(cut), cut + b"behind"), "what lies behind it is told")
    true(problems(last.log_offset + 300, bytes(8)), "damage within the last record is told")
    judge(store, crashed=True)


@claims.claim
def a_topic_and_a_group_whose_making_was_answered_survive_kill_9():
    store = process.new_path("store")
    broker = process.Broker(store=store)
    with remoting.Client(broker.port) as client:
        for i in range(20):
            admin.make_topic(client, f"Durable{i}", 3, perm=4)
            admin.make_group(client, f"Group{i}", retryMaxTimes=i)
    broker.kill()
    broker = process.Broker(store=store)
    with remoting.Client(broker.port) as client:
        topics = json.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        groups = json.loads(client.call(codes.ALL_GROUPS).body)["subscriptionGroupTable"]
        for i in range(20):
            equal((topics[f"Durable{i}"]["readQueueNums"], topics[f"Durable{i}"]["perm"]), (3, 4))
            equal(groups[f"Group{i}"]["retryMaxTimes"], i)
        admin.expect(client.call(codes.DELETE_TOPIC, {"topic": "Durable0"}))
        admin.expect(client.call(codes.DELETE_GROUP, {"groupName": "Group0"}))
    broker.kill()
    broker = process.Broker(store=store)
    with remoting.Client(broker.port) as client:
        topics = json.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        groups = json.loads(client.call(codes.ALL_GROUPS).body)["subscriptionGroupTable"]
        true("Durable0" not in topics and "Durable1" in topics, "a deleted topic stays deleted")
        true("Group0" not in groups and "Group1" in groups, "a deleted group stays deleted")
    broker.stop()
    judge(store, crashed=False)


@claims.claim
def consumer_offsets_survive_kill_9_once_the_journal_has_them():
    store = process.new_path("store")
    broker = process.Broker(store=store)
    with remoting.Client(broker.port) as client:
        for i in range(10):
            messages.send(client, "Offsets", b"%d" % i)
        for offset in (7, 4):  # backwards is meant
            last = int(admin.runtime_info(client)["ternMetadataLast"])
            admin.commit_offset(client, "G", "Offsets", 0, offset)
            until(lambda last=last: int(admin.runtime_info(client)["ternMetadataDurable"]) > last,
                  "the offset in the journal")
    broker.kill()
    broker = process.Broker(store=store)
    with remoting.Client(broker.port) as client:
        equal(admin.query_offset(client, "G", "Offsets"), 4)
    broker.stop()
    found = judge(store, crashed=False)
    equal(found.config["consumerOffset.json"]["offsetTable"]["Offsets@G"], {0: 4})


@claims.claim
def everything_is_there_after_a_clean_stop():
    store = process.new_path("store")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        admin.make_topic(client, "Clean", 3, order=True, topicSysFlag=1)
        admin.make_group(client, "CleanGroup", retryQueueNums=2, consumeBroadcastEnable=False)
        sent = [messages.send(client, "Clean", b"%d" % i * 300, queue_id=i % 3,
                              properties={"TAGS": f"Tag{i % 5}", "KEYS": "k \u00fc"})
                for i in range(600)]
        batch = b"".join(messages.batch_item(b"batch%d" % i) for i in range(20))
        messages.send(client, "Clean", batch, 1, batch=True)
        messages.send(client, "Clean", b"later", 0, {"DELAY": "18"})
        admin.commit_offset(client, "CleanGroup", "Clean", 1, 5)
        before = [(m.body, m.properties, m.log_offset, m.store_time)
                  for q in range(3) for m in messages.pull_all(client, "Clean", q)]
        info = json.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]["Clean"]
    broker.stop()
    found = judge(store, crashed=False)
    equal(len(found.records), 621)
    equal([s.log_offset in found.by_offset for s in sent], [True] * 600)
    true(found.end > found.segment_bytes, "the log has several segments")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        after = [(m.body, m.properties, m.log_offset, m.store_time)
                 for q in range(3) for m in messages.pull_all(client, "Clean", q)]
        equal(after, before, "messages")
        tables = json.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        equal(tables["Clean"], info, "topic")
        groups = json.loads(client.call(codes.ALL_GROUPS).body)["subscriptionGroupTable"]
        equal((groups["CleanGroup"]["retryQueueNums"],
               groups["CleanGroup"]["consumeBroadcastEnable"]), (2, False), "group")
        equal(admin.query_offset(client, "CleanGroup", "Clean", 1), 5)
        equal(messages.send(client, "Clean", b"next", 1).queue_offset, 220)
    broker.stop()
    judge(store, crashed=False)


@claims.claim
def a_deleted_topic_that_is_made_again_begins_at_zero():
    store = process.new_path("store")
    broker = process.Broker(store=store)
    with remoting.Client(broker.port) as client:
        for i in range(5):
            messages.send(client, "Reborn", b"old%d" % i)
        admin.expect(client.call(codes.DELETE_TOPIC, {"topic": "Reborn"}))
        equal(messages.send(client, "Reborn", b"new").queue_offset, 0)
    for hard in (True, False):
        (broker.kill if hard else broker.stop)()
        judge(store, crashed=hard, deleted=["Reborn"])
        broker = process.Broker(store=store)
        with remoting.Client(broker.port) as client:
            equal([m.body for m in messages.pull_all(client, "Reborn")], [b"new"])


@claims.claim
def the_second_reader_notices_damage():
    """The judge is judged: each of these must be found."""
    store = process.new_path("store")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        for i in range(30):
            messages.send(client, "Judged", b"body%02d" % i, i % 2, {"TAGS": "TagA"})
        admin.commit_offset(client, "G", "Judged", 0, 3)
    broker.stop()
    good = judge(store, False)
    log = os.path.join("commitlog", "0" * 20)
    queue = os.path.join("consumequeue", "Judged", "0", "0" * 20)
    third = good.records[3].log_offset

    def patch(name, at, data):
        with open(os.path.join(copy, name), "r+b") as file:
            file.seek(at)
            file.write(data)

    def write(name, data):
        with open(os.path.join(copy, name), "wb") as file:
            file.write(data)

    damages = {
        "a bit of a body": lambda: patch(log, third + 90, b"\xff"),
        "a bit of a header": lambda: patch(log, third + 17, b"\xff"),
        "a wrong size": lambda: patch(log, third + 3, b"\x01"),
        "a byte behind the end": lambda: patch(log, good.end + 5, b"x"),
        "an entry that leads elsewhere": lambda: patch(queue, 20 * 3 + 7, b"\x01"),
        "a wrong tags code": lambda: patch(queue, 20 * 3 + 19, b"\x01"),
        "an entry that is gone": lambda: patch(queue, 20 * 14, b"\0" * 20),
        "a hole": lambda: patch(queue, 20 * 3, b"\0" * 20),
        "an entry too many": lambda: patch(queue, 20 * 15, b"\0" * 8 + b"\0\0\0\1" + b"\0" * 8),
        "a short segment": lambda: os.truncate(os.path.join(copy, log), 1000),
        "a stray file": lambda: write("commitlog/x.tmp", b""),
        "an abort file": lambda: write("abort", b""),
        "no lock": lambda: os.unlink(os.path.join(copy, "lock")),
        "a checkpoint from the future": lambda: patch("checkpoint", 0, b"\x7f"),
        "an offset beyond the end": lambda: write(
            "config/consumerOffset.json", b'{"offsetTable":{"Judged@G":{0:99}}}'),
        "quoted queue ids": lambda: write(
            "config/consumerOffset.json", b'{"offsetTable":{"Judged@G":{"0":1}}}'),
        "an entry behind the end of the log": lambda: patch(
            queue, 20 * 15, struct.pack(">qiq", good.end, 100, 0)),
        "spaces in a configuration file": lambda: write(
            "config/consumerOffset.json", b'{\n  "offsetTable":{}\n}'),
        "members out of order": lambda: write(
            "config/topics.json", b'{\n\t"topicConfigTable":{\n\t},\n\t"dataVersion":{\n\t\t'
            b'"counter":1,\n\t\t"timestamp":1\n\t}\n}'),
        "a file in the root": lambda: write("queues.tmp", b""),
        "malformed JSON": lambda: write("config/topics.json", b'{"topicConfigTable":'),
    }
    for name, damage in damages.items():
        copy = process.new_path("copy")
        subprocess.run(["cp", "-r", "--sparse=always", store, copy], check=True)
        damage()
        true(store_reader.Store(copy, crashed=False).problems, f"{name} was not noticed")
        shutil.rmtree(copy)
    copy = process.new_path("copy")
    subprocess.run(["cp", "-r", "--sparse=always", store, copy], check=True)
    write("abort", b"")
    equal(store_reader.Store(copy).problems, [], "problems of the copy, as if crashed")
    code, out, _ = process.run_program(["python3", store_reader.__file__, store])
    equal(code, 0, out)
    patch(queue, 20 * 3, b"\0" * 20)
    code, out, _ = process.run_program(["python3", store_reader.__file__, copy])
    equal(code, 1, out)
    true("lies behind empty ones" in out, out)


claims.run()
