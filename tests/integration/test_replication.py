"""A master and its slaves, all real: every byte of the log, topics, groups and offsets arrive; sends and
consumers are served through stops and kills of either; a log that has parted is not followed."""
import json
import os
import signal

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
                broker.signal(signal.SIGCONT)
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
        until(lambda: tables(client) == tables(master), "the same tables again")
        true("Gone" not in tables(client)["topics"], "a deleted topic without messages is gone")
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
        group.start_master(store=first.store)
        true(group.master.port != first.port, "another port")
        fill(group.client(group.master), "Back", 50)
        group.same_bytes(slave)
        group.master.stop()
        group.start_master(store=first.store)
        fill(group.client(group.master), "Back", 50)
        group.same_bytes(slave)


claims.run()
