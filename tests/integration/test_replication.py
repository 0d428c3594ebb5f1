"""A master and its slaves, all real: every byte of the log, topics, groups and offsets arrive; sends and
consumers are served through stops and kills of either; a log that has parted is not followed."""
import json
import os
import time

from lib import admin, claims, codes, dialect, load, messages, process, remoting
from lib.claims import contains, equal, true, until
from lib.messages import pull, send

RUNS_SANITIZED = True

SMALL = {"mappedFileSizeCommitLog": 131072, "maxMessageSize": 65536, "scrubBytesPerSecond": 0}
FAST = {"haSendHeartbeatInterval": 200, "slaveMetadataInterval": 300}


def log_bytes(broker, count):
    folder = os.path.join(broker.store, "commitlog")
    data = {int(name): open(os.path.join(folder, name), "rb").read()
            for name in sorted(os.listdir(folder))}
    return min(data), b"".join(data.values())[:count - min(data)]


class Group:
    """A name server, a master and slaves of one broker name."""

    def __init__(self, role="ASYNC_MASTER", **settings):
        self.settings = {**SMALL, **FAST, **settings}
        self.namesrv = process.Namesrv()
        self.role, self.brokers, self.clients = role, {}, {}
        self.master = self.start_master()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for client in self.clients.values():
            client.close()
        for broker in reversed(list(self.brokers.values())):
            if not broker.expected_end:
                broker.thaw()
                broker.stop()
        self.namesrv.stop()

    def _start(self, **settings):
        broker = process.Broker(namesrv=self.namesrv, **{**self.settings, **settings})
        self.brokers[broker.pid] = broker
        return broker

    def start_master(self, store=None, **settings):
        self.master = self._start(brokerRole=self.role, store=store, **settings)
        return self.master

    def start_slave(self, number=1, store=None, **settings):
        return self._start(brokerRole="SLAVE", brokerId=number, store=store, **settings)

    def client(self, broker):
        if broker.pid not in self.clients:
            self.clients[broker.pid] = remoting.Client(broker.port)
        return self.clients[broker.pid]

    def info(self, broker):
        return admin.runtime_info(self.client(broker))

    def end(self, broker):
        return int(self.info(broker)["ternCommitLogWritten"])

    def caught_up(self, *slaves):
        """Waits until the slaves have all that the master has now."""
        end = self.end(self.master)
        for slave in slaves:
            until(lambda: self.end(slave) >= end, f"slave at {end}")
        return end

    def same_bytes(self, *slaves):
        end = self.caught_up(*slaves)
        for slave in slaves:
            begin, ours = log_bytes(slave, end)
            equal(ours == log_bytes(self.master, end)[1][begin:], True, "the same bytes")
        return end

    def state(self, slave):
        return self.info(slave)["ternSlaveState"]


def fill(client, topic, count, queues=4, size=3000):
    for i in range(count):
        send(client, topic, b"%d." % i + b"b" * (i * 977 % size), i % queues)


def tables(client):
    """What a slave has to know of its master."""
    return {name: dialect.loads(admin.expect(client.call(code)).body)[table]
            for name, code, table in (("topics", codes.ALL_TOPICS, "topicConfigTable"),
                                      ("groups", codes.ALL_GROUPS, "subscriptionGroupTable"),
                                      ("offsets", codes.ALL_OFFSETS, "offsetTable"),
                                      ("delays", codes.ALL_DELAYS, "offsetTable"))}


@claims.claim
def a_slave_has_every_byte_every_queue_and_all_metadata():
    with Group() as group:
        master = group.client(group.master)
        admin.make_topic(master, "Wide", 9, perm=4)
        admin.make_topic(master, "Gone", 2)
        admin.make_group(master, "Readers", retryMaxTimes=3)
        fill(master, "Log", 200)
        admin.commit_offset(master, "Readers", "Log", 1, 17)
        slave = group.start_slave()
        group.same_bytes(slave)
        client = group.client(slave)
        for q in range(4):
            equal([m.body for m in messages.pull_all(client, "Log", q)],
                  [m.body for m in messages.pull_all(master, "Log", q)])
        until(lambda: tables(client) == tables(master), "the same tables")
        contains(tables(client)["topics"], "Wide")
        # and what comes later
        admin.make_topic(master, "Later", 3)
        admin.expect(master.call(codes.DELETE_TOPIC, {"topic": "Gone"}))
        admin.make_group(master, "Late")
        fill(master, "Later", 60, 3)
        admin.commit_offset(master, "Late", "Later", 0, 5)
        admin.commit_offset(master, "Readers", "Log", 1, 3)
        group.same_bytes(slave)
        def same_but_gone():
            ours = tables(client)
            return ours["topics"].pop("Gone", None) and ours == tables(master)
        # Absence deletes nothing: a master may have lost its configuration.
        until(same_but_gone, "the same tables again, and what the master names no more")
        equal(admin.query_offset(client, "Readers", "Log", 1), 3)
        info = group.info(slave)
        equal((info["ternSlaveState"], info["ternSlaveLag"]), ("following", "0"))
        equal(info["ternMaster"], group.master.address)


@claims.claim
def a_slave_goes_on_after_stops_and_kills_under_load():
    with Group() as group:
        producer = load.Producer(group.master.port, "Load", 0, size=2000)
        producer.start()
        slave = group.start_slave()
        for way in ("kill", "stop", "kill"):
            load.wait_acked([producer], len(producer.acked) + 150)
            getattr(slave, way)()
            load.wait_acked([producer], len(producer.acked) + 50)
            slave = group.start_slave(store=slave.store)
        load.wait_acked([producer], len(producer.acked) + 50)
        producer.stop()
        group.same_bytes(slave)
        load.check_queue(group.client(slave), producer)


@claims.claim
def a_slave_follows_a_master_that_comes_back_elsewhere():
    with Group() as group:
        fill(group.client(group.master), "Back", 50)
        slave = group.start_slave()
        group.same_bytes(slave)
        group.master.kill()
        first = group.master
        group.start_master(store=first.store, listenPort=process.free_port())
        true(group.master.port != first.port, "another port")
        fill(group.client(group.master), "Back", 50)
        group.same_bytes(slave)
        group.master.stop()
        group.start_master(store=first.store)
        fill(group.client(group.master), "Back", 50)
        group.same_bytes(slave)


@claims.claim
def a_sync_master_answers_with_the_slaves_copy_and_shows_nothing_before():
    with Group("SYNC_MASTER", replicaAck="strict", slaveTimeout=60000) as group:
        master = group.client(group.master)
        slave = group.start_slave()
        until(lambda: group.info(group.master)["ternSlavesNear"] == "1", "the slave is near")
        send(master, "Sync", b"one")
        equal([m.body for m in messages.pull_all(group.client(slave), "Sync")], [b"one"])
        slave.freeze()
        opaque = master.send(codes.SEND_V2, messages.send_fields("Sync"), b"two")
        with remoting.Client(group.master.port) as reader:
            until(lambda: group.end(group.master) > int(group.info(group.master)
                                                        ["commitLogMaxOffset"]), "it is stored")
            equal([m.body for m in messages.pull_all(reader, "Sync")], [b"one"])
            true(not master.has_reply(opaque), "no answer without the copy")
            slave.thaw()
            equal(master.reply(opaque).code, 0)
            equal([m.body for m in messages.pull_all(reader, "Sync")], [b"one", b"two"])


@claims.claim
def under_load_no_send_is_answered_before_its_copy_is_known():
    with Group("SYNC_MASTER", slaveTimeout=60000) as group:
        slave = group.start_slave()
        until(lambda: group.info(group.master)["ternSlavesNear"] == "1", "the slave is near")
        code, out, err = process.run_program(
            [process.BENCH, "send", "-n", group.namesrv.address, "-c", "8", "-w", "64",
             "--warmup", "0", "--count", "20000", "--duration", "60", "--json"], 120)
        equal(code, 0, err)
        equal(json.loads(out)["refused"], {})
        group.same_bytes(slave)


@claims.claim
def a_sync_master_goes_on_as_rocketmq_does_while_the_slave_is_away():
    with Group("SYNC_MASTER") as group:
        master = group.client(group.master)
        send(master, "Away", b"alone", expect=11)
        slave = group.start_slave()
        until(lambda: group.info(group.master)["ternSlavesNear"] == "1", "the slave is near")
        send(master, "Away", b"copied")
        slave.kill()
        until(lambda: group.info(group.master)["ternSlavesNear"] == "0", "the slave is gone")
        send(master, "Away", b"alone again", expect=11)
        slave = group.start_slave(store=slave.store)
        until(lambda: group.info(group.master)["ternSlavesNear"] == "1", "the slave is back")
        send(master, "Away", b"copied again")
        group.same_bytes(slave)


@claims.claim
def two_slaves_on_hosts_of_their_own_are_two_copies():
    with Group("SYNC_MASTER", inSyncReplicas=3) as group:
        master = group.client(group.master)
        first = group.start_slave(1, bindAddress="127.0.0.2")
        until(lambda: group.info(group.master)["ternSlavesNear"] == "1", "one slave")
        send(master, "Two", b"too few", expect=11)
        second = group.start_slave(2, bindAddress="127.0.0.3")
        until(lambda: group.info(group.master)["ternSlavesNear"] == "2", "two slaves")
        for i in range(30):
            send(master, "Two", b"%d" % i)
        with remoting.Client(first.port, "127.0.0.2") as a, \
                remoting.Client(second.port, "127.0.0.3") as b:
            for client in (a, b):
                equal(len(messages.pull_all(client, "Two")), 31)
        end = group.end(group.master)
        for slave in (first, second):
            equal(log_bytes(slave, end) == log_bytes(group.master, end), True, "the same bytes")


@claims.claim
def consumers_read_from_the_slave_while_the_master_is_away():
    with Group() as group:
        master = group.client(group.master)
        admin.make_group(master, "Readers")
        fill(master, "Read", 40, 1)
        admin.commit_offset(master, "Readers", "Read", 0, 10)
        slave = group.start_slave()
        client = group.client(slave)
        group.caught_up(slave)
        until(lambda: admin.query_offset(client, "Readers", "Read") == 10, "the offset")
        store = group.master.store
        group.master.stop()
        with remoting.Client(group.namesrv.port) as names:
            until(lambda: list(admin.route(names, "Read")["brokerDatas"][0]["brokerAddrs"]
                               .values()) == [slave.address], "only the slave in the route")
        admin.heartbeat(client, "c1", [admin.consumer("Readers", [admin.subscription("Read")])])
        pulled = pull(client, "Read", 0, 10, group="Readers", sys_flag=0)
        equal([m.queue_offset for m in pulled.messages], list(range(10, 40)))
        admin.commit_offset(client, "Readers", "Read", 0, 40)
        equal(pull(client, "Read", 0, 0, group="Unheard").code, 0, "a group nobody has made")
        # It comes back with the older offset.
        looks = int(group.info(slave)["ternSlaveConnections"])
        group.start_master(store=store)
        master = group.client(group.master)
        equal(admin.query_offset(master, "Readers", "Read"), 10)
        until(lambda: int(group.info(slave)["ternSlaveConnections"]) > looks, "it follows again")
        send(master, "Read", b"more")
        group.caught_up(slave)
        admin.make_group(master, "Marker")
        until(lambda: "Marker" in tables(client)["groups"], "the slave has looked")
        equal(admin.query_offset(client, "Readers", "Read"), 40)
        true("Unheard" not in tables(client)["groups"], "groups are made by the master")


@claims.claim
def a_slave_takes_no_messages_and_no_changes():
    with Group() as group:
        fill(group.client(group.master), "Kept", 8, 1)
        slave = group.start_slave()
        group.caught_up(slave)
        client = group.client(slave)
        until(lambda: tables(client) == tables(group.client(group.master)), "the same tables")
        before = tables(client)
        for code in (codes.SEND, codes.SEND_V2):
            contains(send(client, "Kept", b"x", expect=14, code=code).remark, "slave")
        contains(send(client, "Unmade", b"x", expect=14).remark, "slave")
        remark = "Can't modify topic or subscription group from slave broker, please execute it from"
        for reply in (client.call(codes.UPDATE_TOPIC, admin.topic_fields("New")),
                      client.call(codes.DELETE_TOPIC, {"topic": "Kept"}),
                      client.call(codes.UPDATE_GROUP, {}, json.dumps(admin.group_config("N")).encode()),
                      client.call(codes.DELETE_GROUP, {"groupName": "N"})):
            equal(reply.code, 1)
            contains(reply.remark, remark)
        message = messages.pull_all(client, "Kept")[0]
        reply = client.call(codes.SEND_BACK, {"offset": message.log_offset, "group": "G",
                                              "delayLevel": 0, "originTopic": "Kept",
                                              "originMsgId": "", "unitMode": False})
        equal(reply.code, 1)
        admin.heartbeat(client, "c1", [admin.consumer("New", [admin.subscription("Kept")])])
        equal(tables(client)["topics"].keys(), before["topics"].keys())


@claims.claim
def a_pull_that_waits_at_a_slave_is_answered_by_what_arrives():
    with Group() as group:
        master = group.client(group.master)
        send(master, "Wait", b"one")
        slave = group.start_slave()
        group.caught_up(slave)
        client = group.client(slave)
        at_end = client.send(codes.PULL, messages.pull_fields("Wait", 0, 1, sys_flag=6,
                                                              suspend_ms=60000))
        beyond = client.send(codes.PULL, messages.pull_fields("Wait", 0, 2, sys_flag=6,
                                                              suspend_ms=60000))
        client.round_trip()
        true(not client.has_reply(at_end) and not client.has_reply(beyond), "both wait")
        send(master, "Wait", b"two")
        equal(messages.Pulled(client.reply(at_end)).messages[0].body, b"two")
        send(master, "Wait", b"three")
        equal(messages.Pulled(client.reply(beyond)).messages[0].body, b"three")


@claims.claim
def an_offset_that_a_slave_does_not_have_is_left_as_it_is_unless_it_may_check():
    with Group() as group:
        master = group.client(group.master)
        admin.make_group(master, "Elsewhere", brokerId=3)
        send(master, "Off", b"one")
        slave = group.start_slave()
        group.caught_up(slave)
        client = group.client(slave)
        until(lambda: "Elsewhere" in tables(client)["groups"], "the group")
        pulled = pull(client, "Off", 0, 7, group="Elsewhere")
        equal((pulled.code, pulled.next), (codes.PULL_RETRY, 7))
        equal(pulled.reply.fields["suggestWhichBrokerId"], "3")
        admin.expect(client.call(codes.UPDATE_CONFIG, {}, b"offsetCheckInSlave=true\n"))
        pulled = pull(client, "Off", 0, 7, group="Elsewhere")
        equal((pulled.code, pulled.next), (codes.PULL_MOVED, 1))


@claims.claim
def a_consumer_far_behind_is_sent_to_the_slave_where_slaves_may_be_read():
    with Group(accessMessageInMemoryMaxRatio=0) as group:
        master = group.client(group.master)
        admin.make_group(master, "Slow", whichBrokerWhenConsumeSlowly=2)
        for i in range(3):
            send(master, "Far", b"%d" % i)

        def suggested(offset, count=1):
            return pull(master, "Far", 0, offset, group="Slow",
                        count=count).reply.fields["suggestWhichBrokerId"]

        equal(suggested(0), "0")
        admin.expect(master.call(codes.UPDATE_CONFIG, {}, b"slaveReadEnable=true\n"))
        equal(suggested(0), "2")
        equal(suggested(3), "0", "at the end")


@claims.claim
def delayed_messages_are_delivered_by_the_master_only():
    with Group(messageDelayLevel="1s 1h") as group:
        master = group.client(group.master)
        slave = group.start_slave()
        send(master, "Delayed", b"soon", properties={"DELAY": "1"})
        send(master, "Delayed", b"late", properties={"DELAY": "2"})
        until(lambda: admin.max_offset(master, "Delayed") == 1, "the delivery")
        group.same_bytes(slave)
        client = group.client(slave)
        equal([m.body for m in messages.pull_all(client, "Delayed")], [b"soon"])
        until(lambda: tables(client)["delays"].get(1) == 1, "the cursor")
        group.same_bytes(slave)


@claims.claim
def a_slave_with_a_fresh_store_begins_with_the_last_file_where_the_master_says_so():
    with Group(haFreshSlaveFrom="last") as group:
        fill(group.client(group.master), "Fresh", 150, 3)
        slave = group.start_slave()
        group.same_bytes(slave)
        begin = int(group.info(slave)["commitLogMinOffset"])
        true(begin >= 131072, f"it begins at {begin}")
        for q in range(3):
            whole = messages.pull_all(group.client(group.master), "Fresh", q)
            part = pull(group.client(slave), "Fresh", q)
            equal(part.max, len(whole))
            equal([m.body for m in messages.pull_all(group.client(slave), "Fresh", q, part.min)],
                  [m.body for m in whole[part.min:]])
        send(group.client(group.master), "Fresh", b"named", properties={"KEYS": "thing"})
        group.caught_up(slave)
        now = int(time.time() * 1000)
        found = until(lambda: messages.decode_all(group.client(slave).call(
            codes.QUERY_MESSAGE, {"topic": "Fresh", "key": "thing", "maxNum": 4,
                                  "beginTimestamp": 0, "endTimestamp": now + 60000}).body),
            "the slave's index has it")
        equal([m.body for m in found], [b"named"])


@claims.claim
def a_topic_deleted_on_the_master_keeps_its_messages_until_it_is_made_anew():
    with Group() as group:
        master = group.client(group.master)
        fill(master, "Again", 12, 2)
        slave = group.start_slave()
        client = group.client(slave)
        group.caught_up(slave)
        admin.expect(master.call(codes.DELETE_TOPIC, {"topic": "Again"}))
        admin.make_group(master, "Marker")
        until(lambda: "Marker" in tables(client)["groups"], "the slave has looked")
        equal(len(messages.pull_all(client, "Again", 1)), 6)
        admin.make_topic(master, "Again", 2)
        send(master, "Again", b"new", 1)
        group.caught_up(slave)
        for q, bodies in ((0, []), (1, [b"new"])):
            equal([m.body for m in messages.pull_all(client, "Again", q)], bodies)


@claims.claim
def roles_are_exchanged_by_hand_while_nothing_is_lost():
    # The old master delivers nothing, however late it is stopped: that would be with it alone.
    with Group(messageDelayLevel="1s 1h") as group:
        master = group.client(group.master)
        fill(master, "Roles", 30, 2)
        admin.make_group(master, "Readers")
        admin.commit_offset(master, "Readers", "Roles", 1, 9)
        slave = group.start_slave()
        group.caught_up(slave)
        until(lambda: admin.query_offset(group.client(slave), "Readers", "Roles", 1) == 9, "offset")
        send(master, "Roles", b"delayed", 0, properties={"DELAY": "2"})
        group.caught_up(slave)
        old = group.master
        old.stop()
        slave.stop()
        group.start_master(store=slave.store, messageDelayLevel="1s 5s")
        master = group.client(group.master)
        equal(admin.query_offset(master, "Readers", "Roles", 1), 9)
        until(lambda: b"delayed" in [m.body for m in messages.pull_all(master, "Roles", 0)],
              "the delayed message")
        fill(master, "Roles", 10, 2)
        slave = group.start_slave(store=old.store)
        group.same_bytes(slave)
        for q in range(2):
            equal([m.body for m in messages.pull_all(group.client(slave), "Roles", q)],
                  [m.body for m in messages.pull_all(master, "Roles", q)])


@claims.claim
def a_slave_that_has_more_than_its_master_does_not_follow_it():
    with Group() as group:
        fill(group.client(group.master), "Ahead", 20, 1)
        slave = group.start_slave()
        end = group.caught_up(slave)
        group.master.kill()
        group.start_master()  # an empty store: an operator's mistake
        fill(group.client(group.master), "Ahead", 3, 1)
        until(lambda: group.state(slave) == "logs apart", "it stays away")
        contains(slave.log(), f"not following master {group.master.address}")
        contains(slave.log(), str(end))
        fill(group.client(group.master), "Ahead", 30, 1)
        equal(group.info(group.master)["ternReplicationRefused"], "0", "it reports nothing")
        equal(group.end(slave), end)
        equal(len(messages.pull_all(group.client(slave), "Ahead")), 20)


claims.run()
