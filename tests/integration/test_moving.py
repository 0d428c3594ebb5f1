"""Moving in from RocketMQ while it runs, and back: a plain slave of a RocketMQ master takes its place with
its messages, offsets and delayed messages, stays the master, and becomes a slave again when it is told to."""
import json
import os
import signal
import subprocess
import time

from lib import admin, claims, codes, ha, messages, order, process, remoting
from lib.claims import contains, equal, true, until
from lib.java_master import FILE, Log, Master

RUNS_SANITIZED = True

SETTINGS = {"mappedFileSizeCommitLog": FILE, "maxMessageSize": 65536, "scrubBytesPerSecond": 0,
            "haSendHeartbeatInterval": 200, "slaveMetadataInterval": 200,
            "registerNameServerPeriod": 10000}
AS_SLAVE = {"brokerRole": "SLAVE", "brokerId": 1}


def topic(name, queues):
    return {"order": False, "perm": 6, "readQueueNums": queues, "writeQueueNums": queues,
            "topicFilterType": "SINGLE_TAG", "topicName": name, "topicSysFlag": 0}


def rocketmq(log=None):
    master = Master(log)
    master.tables[codes.ALL_TOPICS]["topicConfigTable"] = {
        "Orders": topic("Orders", 2), "SCHEDULE_TOPIC_XXXX": topic("SCHEDULE_TOPIC_XXXX", 18)}
    master.tables[codes.ALL_GROUPS]["subscriptionGroupTable"] = {
        "Readers": admin.group_config("Readers")}
    master.tables[codes.ALL_OFFSETS]["offsetTable"] = {"Orders@Readers": {"0": 7, "1": 9}}
    return master


class Cluster:
    """A name server, a RocketMQ master at it, and a TernMQ slave that follows it."""

    def __init__(self, log=None, **settings):
        self.namesrv = process.Namesrv()
        self.master = rocketmq(log or Log().fill("Orders", 60))
        self.master.register(self.namesrv)
        self.settings = {**SETTINGS, **AS_SLAVE, "listenPort": process.free_port(), **settings}
        self.slave = process.Broker(namesrv=self.namesrv, **self.settings)
        self.connection = self.master.slave()
        self.follows()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.master.close()
        if not self.slave.expected_end:
            self.slave.stop()
        self.namesrv.stop()

    def follows(self):
        """The slave has the master's log and knows its tables."""
        self.stream(self.connection.report(), self.master.log.end)
        self.connection.reported(self.master.log.end)
        with remoting.Client(self.slave.port) as client:
            until(lambda: admin.query_offset(client, "Readers", "Orders", 1) == 9, "the offsets")

    def stream(self, begin, end):
        while begin < end:
            size = min(32768, end - begin, FILE - begin % FILE)
            self.connection.frame(begin, self.master.log.bytes(begin, begin + size))
            begin += size

    def start(self, **settings):
        """The slave's process again, on its store."""
        self.slave = process.Broker(namesrv=self.namesrv, store=self.slave.store,
                                    **{**self.settings, **settings})

    def ctl(self, *arguments, code=0):
        found, out, err = order.give(
            [process.CTL, *arguments, "--broker-name", "broker-a", "-n", self.namesrv.address])
        equal(found, code, f"{arguments}: {out}{err}")
        return out + err

    def registered(self, server):
        """Waits until the name server knows it; its start does not."""
        with remoting.Client(self.namesrv.port) as client:
            until(lambda: f'"{server.address}"'.encode() in client.call(codes.CLUSTER_INFO).body,
                  f"{server.address} is registered")

    def lose_master(self):
        """The master is gone, and its slave has noticed."""
        self.master.close()
        with remoting.Client(self.slave.port) as client:
            until(lambda: json.loads(client.call(7101).body)["follows"]["silentMs"] == -1,
                  "the slave has lost its master")

    def promoted(self):
        self.lose_master()
        self.ctl("promote")
        return remoting.Client(self.slave.port)

    def members(self):
        with remoting.Client(self.namesrv.port) as client:
            addresses = admin.route(client, "Orders")["brokerDatas"][0]["brokerAddrs"]
            return {int(broker_id): address for broker_id, address in addresses.items()}


def unread(port):
    """Bytes that wait for whoever listens on `port` to read them."""
    total = 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            local, _, state, queues = line.split()[1:5]
            if int(local.split(":")[1], 16) == port and state == "01":
                total += int(queues.split(":")[1], 16)
    return total


def bodies(client, name, queue_id=0):
    return [m.body for m in messages.pull_all(client, name, queue_id)]


@claims.claim
def a_slave_takes_the_place_of_its_rocketmq_master():
    log = Log().fill("Orders", 60)
    log.append("SCHEDULE_TOPIC_XXXX", b"in a second", 0, properties={
        "DELAY": "1", "REAL_TOPIC": "Orders", "REAL_QID": "1"})
    with Cluster(log) as cluster:
        equal(cluster.members(), {0: cluster.master.address, 1: cluster.slave.address})
        contains(cluster.ctl("promote", code=1), f"the master at {cluster.master.address} is alive")
        cluster.lose_master()
        out = cluster.ctl("promote")
        contains(out, f"broker 1 at {cluster.slave.address}: slave, log end {log.end}; "
                      f"its master's was {log.end} when last heard")
        contains(out, f"broker {cluster.slave.address} is the master of broker-a: log end ")
        contains(out, f"name server {cluster.namesrv.address} routes to {cluster.slave.address}")
        equal(cluster.members(), {0: cluster.slave.address})
        with remoting.Client(cluster.slave.port) as client:
            equal(bodies(client, "Orders")[:3], [b"%d." % i + b"b" * (i * 977 % 1000)
                                                 for i in (0, 2, 4)])
            equal([admin.query_offset(client, "Readers", "Orders", q) for q in (0, 1)], [7, 9])
            equal(messages.send(client, "Orders", b"after", 0).queue_offset, 30)
            until(lambda: bodies(client, "Orders", 1)[-1] == b"in a second", "the delayed message")
            admin.make_topic(client, "New")
            equal(admin.runtime_info(client)["ternPromoted"], "true")
        equal(cluster.slave.log().count("serves on"), 2, "begun again")
        contains(cluster.ctl("promote", code=1), "no slave that could be promoted")


@claims.claim
def an_old_rocketmq_master_that_comes_back_gets_no_clients():
    with Cluster() as cluster:
        cluster.promoted().close()
        with rocketmq(cluster.master.log) as back:
            reply = back.register(cluster.namesrv)
            contains(reply.remark, "stateVersion")
            equal(reply.fields or {}, {})
            equal(cluster.members(), {0: cluster.slave.address})


@claims.claim
def it_stays_the_master_over_crashes_and_restarts_until_its_file_says_master():
    with Cluster() as cluster:
        with cluster.promoted() as client:
            messages.send(client, "Orders", b"1")
        port = cluster.slave.port
        for way in ("kill", "stop"):
            getattr(cluster.slave, way)()
            cluster.start()
            contains(cluster.slave.log(), "it was promoted (tern/promoted)")
            with remoting.Client(port) as client:
                messages.send(client, "Orders", way.encode())
        cluster.slave.stop()
        mark = os.path.join(cluster.slave.store, "tern", "promoted")
        true(os.path.exists(mark), "the mark")
        cluster.start(brokerRole="ASYNC_MASTER", brokerId=0)
        equal(os.path.exists(mark), False)
        with remoting.Client(port) as client:
            equal(bodies(client, "Orders")[-3:], [b"1", b"kill", b"stop"])
            cluster_says = admin.runtime_info(client)
        equal((cluster_says["ternRole"], cluster_says["ternPromoted"]), ("master", "false"))
        cluster.registered(cluster.slave)
        contains(cluster.ctl("demote", code=1), "because its configuration says so")
        cluster.slave.stop()
        cluster.start()
        with remoting.Client(port) as client:
            messages.send(client, "Orders", expect=codes.NOT_AVAILABLE)  # a slave takes none


@claims.claim
def as_a_member_of_a_group_it_has_only_the_roles_of_that():
    with Cluster() as cluster:
        cluster.promoted().close()
        port = cluster.slave.port
        cluster.slave.stop()
        members = {"groupMembers": f"1@127.0.0.1:{port};2@127.0.0.1:1", "memberId": 1}
        cluster.start(brokerRole="ASYNC_MASTER", brokerId=0, **members)
        cluster.slave.stop()
        cluster.start()  # in no group again, and its file says SLAVE
        with remoting.Client(port) as client:
            messages.send(client, "Orders", expect=codes.NOT_AVAILABLE)  # a slave takes none


@claims.claim
def rocketmq_gets_its_log_back_and_the_broker_is_its_slave_again():
    with Cluster() as cluster:
        with cluster.promoted() as client:
            for i in range(20):
                messages.send(client, "Orders", b"ours %d" % i, i % 2)
            admin.commit_offset(client, "Readers", "Orders", 0, 35)
            end = int(admin.runtime_info(client)["commitLogMaxOffset"])
            with ha.Slave(cluster.slave.port + 1) as theirs:  # a RocketMQ broker, as a slave
                theirs.report(0)
                log = theirs.follow(end)
            equal(log[:cluster.master.log.end] == cluster.master.log.data, True, "from the start on")
        # It becomes the master, by RocketMQ's ways: a changed file and a restart.
        contains(cluster.ctl("demote"), "is a slave again, with brokerId 1")
        back = rocketmq(Log())
        back.log.data, back.log.queues = log, {("Orders", 0): 40, ("Orders", 1): 40}
        back.tables[codes.ALL_OFFSETS]["offsetTable"] = {"Orders@Readers": {"0": 36, "1": 9}}
        back.register(cluster.namesrv)
        cluster.master, cluster.connection = back, back.slave()
        equal(cluster.connection.report(), end, "it goes on where it was")
        back.log.append("Orders", b"theirs")
        cluster.stream(end, back.log.end)
        cluster.connection.reported(back.log.end)
        equal(cluster.members(), {0: back.address, 1: cluster.slave.address})
        with remoting.Client(cluster.slave.port) as client:
            until(lambda: admin.query_offset(client, "Readers", "Orders", 0) == 36, "the offset")
            equal(bodies(client, "Orders")[-2:], [b"ours 18", b"theirs"])
            messages.send(client, "Orders", expect=codes.NOT_AVAILABLE)  # a slave takes none
        contains(cluster.ctl("demote", code=1), "no master that is TernMQ")


@claims.claim
def who_waits_for_a_copy_is_told_that_the_broker_steps_down():
    with Cluster(inSyncReplicas=2, replicaAck="strict", slaveTimeout=60000) as cluster:
        with cluster.promoted() as client, ha.Slave(cluster.slave.port + 1) as slave:
            slave.report(cluster.master.log.end)
            until(lambda: admin.runtime_info(client)["ternSlavesNear"] == "1", "it has a slave")
            waits = client.send(codes.SEND_V2, messages.send_fields("Orders"), b"not acknowledged")
            slave.follow(cluster.master.log.end + 1, ack=False)
            cluster.ctl("demote")
            reply = client.reply(waits)
            equal(reply.code, codes.NOT_AVAILABLE)
            contains(reply.remark, "not the master any more")


@claims.claim
def two_of_ours_follow_it_and_one_of_them_follows_the_other_afterwards():
    with Cluster(inSyncReplicas=2) as cluster:
        other = process.Broker(namesrv=cluster.namesrv, **{**SETTINGS, **AS_SLAVE, "brokerId": 2})
        second = cluster.master.slave()
        first, cluster.connection = cluster.connection, second
        cluster.follows()
        cluster.master.log.append("Orders", b"for one only")
        cluster.connection = first
        cluster.stream(cluster.master.log.ends[-2], cluster.master.log.end)
        first.reported(cluster.master.log.end)
        cluster.lose_master()
        contains(cluster.ctl("promote", "--to", "2", code=1),
                 f"broker 1 at {cluster.slave.address} has ")
        with cluster.promoted() as client:  # 1, since it has more
            equal(cluster.members(), {0: cluster.slave.address, 2: other.address})
            until(lambda: admin.runtime_info(client)["ternSlavesNear"] == "1", "the other follows")
            equal(admin.runtime_info(client)["ternCopies"], "2")
            messages.send(client, "Orders", b"on two")
            with remoting.Client(other.port) as slave:
                equal(bodies(slave, "Orders")[-2:], [b"for one only", b"on two"])
        other.stop()


def stands_still_while_it_is_promoted():
    """True: it was asked twice while it stood still, and waited for. False: it stood still too late."""
    with Cluster() as cluster:
        cluster.lose_master()
        command = [process.CTL, "promote", "--broker-name", "broker-a", "-n", cluster.namesrv.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as promoting:
            lines = iter(promoting.stdout.readline, "")
            true(any("becomes the master" in line for line in lines), "the order is answered")
            cluster.slave.freeze()
            try:
                until(lambda: unread(cluster.slave.port) or promoting.poll() is not None,
                      "it is asked")
                asked = unread(cluster.slave.port)
                if asked:
                    until(lambda: unread(cluster.slave.port) > asked, "it is asked once more")
            finally:
                cluster.slave.thaw()
            out, _ = promoting.communicate()
        contains(out, f"routes to {cluster.slave.address}")
        return asked > 0


@claims.claim
def a_broker_that_takes_long_to_begin_again_is_waited_for():
    until(stands_still_while_it_is_promoted, "it stands still before it has begun again")


@claims.claim
def of_two_that_were_promoted_without_knowing_of_each_other_the_later_one_is_routed_to():
    with Cluster() as cluster:
        with cluster.promoted() as client:
            epoch = json.loads(client.call(7101).body)["promoted"]
        port = cluster.slave.port
        cluster.slave.kill()
        until(lambda: time.time() >= epoch + 1, "the clock has gone on")
        other = process.Broker(namesrv=cluster.namesrv, **{**SETTINGS, **AS_SLAVE, "brokerId": 2})
        cluster.registered(other)
        cluster.ctl("promote", "--unclean")
        with remoting.Client(other.port) as client:
            admin.make_topic(client, "Orders")
        cluster.start()
        until(lambda: "holds brokerName broker-a, brokerId 0 with a newer epoch" in cluster.slave.log(),
              "the earlier one has been refused")
        equal(cluster.members()[0], other.address)
        other.stop()


@claims.claim
def a_promotion_is_refused_while_the_master_lives_or_when_something_is_known_to_be_missing():
    with Cluster() as cluster:
        with remoting.Client(cluster.slave.port) as client:
            contains(client.call(7102).remark, "its master at " + cluster.master.address)
            equal(client.call(7102, {"unclean": "perhaps"}).code, codes.SYSTEM_ERROR)
            contains(client.call(7104).remark, "not the master")
            contains(client.call(7103).remark, "in no group")
        known = cluster.master.log.end
        cluster.master.log.append("Orders", b"missing")
        asked = len(cluster.master.asked)
        until(lambda: [one for one in cluster.master.asked[asked:] if one[1] == codes.RUNTIME_INFO],
              "the slave has asked")
        # A part of it has arrived: it is given up, like any torn record.
        cluster.connection.frame(known, cluster.master.log.bytes(known, known + 40))
        with remoting.Client(cluster.slave.port) as client:
            until(lambda: admin.runtime_info(client)["ternMasterLogEnd"] ==
                  str(cluster.master.log.end), "it knows")
        missing = cluster.master.log.end - known
        cluster.lose_master()
        contains(cluster.ctl("promote", code=1), f"{missing} bytes are missing")
        contains(cluster.ctl("group"), "slave")
        cluster.ctl("promote", "--unclean")
        with remoting.Client(cluster.slave.port) as client:
            equal(messages.send(client, "Orders", b"instead").queue_offset, 30)
            equal(bodies(client, "Orders")[-1], b"instead")


@claims.claim
def a_log_that_was_not_its_masters_is_not_promoted_because_that_one_is_gone():
    with Cluster() as cluster:
        cluster.master.close()
        with rocketmq(Log().fill("Orders", 80, 700)) as other:
            other.register(cluster.namesrv)
            until(lambda: "logs apart" in cluster.ctl("group"), "it has found out")
        until(lambda: "logs apart" not in cluster.ctl("group"), "it has tried again")
        contains(cluster.ctl("promote", code=1),
                 f"its log is not that of its master at {other.address} (logs apart; ")
        contains(cluster.ctl("group"), "slave")
        cluster.ctl("promote", "--unclean")


@claims.claim
def a_slave_without_a_byte_is_promoted_only_when_that_is_meant():
    namesrv = process.Namesrv()
    slave = process.Broker(namesrv=namesrv, **{**SETTINGS, **AS_SLAVE})
    command = [process.CTL, "promote", "--broker-name", "broker-a", "-n", namesrv.address]
    until(lambda: process.run_program([process.CTL, "group", *command[2:]])[0] == 0, "it is known")
    code, out, err = process.run_program(command)
    equal(code, 1, out)
    contains(err, "its log is empty")
    contains(err, "(--unclean promotes all the same)")
    equal(process.run_program(command + ["--unclean"])[0], 0)
    with remoting.Client(slave.port) as client:
        equal(messages.send(client, "Orders").queue_offset, 0)
    slave.stop()
    namesrv.stop()


@claims.claim
def a_slave_whose_stop_is_not_clean_names_no_mark_that_it_does_not_have():
    with Cluster() as cluster:
        os.mkdir(os.path.join(cluster.slave.store, "tern", "queues.tmp"))
        cluster.slave.signal(signal.SIGTERM)
        cluster.slave.wait_end(3)
        contains(cluster.slave.log(), "the stop was not clean")
        equal("promoted" in cluster.slave.log(), False, "the mark is named")


@claims.claim
def a_slave_that_has_not_heard_its_master_since_its_start_does_not_know_what_is_missing():
    with Cluster() as cluster:
        cluster.master.close()
        cluster.slave.stop()
        cluster.start()
        cluster.registered(cluster.slave)
        contains(cluster.ctl("promote", code=1), "whether something is missing is not known")
        cluster.ctl("promote", "--unclean")
        with remoting.Client(cluster.slave.port) as client:
            equal(messages.send(client, "Orders", b"after").queue_offset, 30)


@claims.claim
def a_damaged_mark_is_named_and_nothing_is_guessed():
    with Cluster() as cluster:
        cluster.promoted().close()
        cluster.slave.stop()
        mark = os.path.join(cluster.slave.store, "tern", "promoted")
        with open(mark, "rb") as file:
            whole = file.read()
        for text, why in ((whole[:-2] + b"\n", "checksum"), (b"", "checksum"), (b"x" * 5000, "4096"),
                          (b"format=2\n", "format"), (whole.replace(b"=1\n", b"=2\n", 1), "format")):
            with open(mark, "wb") as file:
                file.write(text)
            refused = process.Broker(namesrv=cluster.namesrv, store=cluster.slave.store,
                                     ready=False, **cluster.settings)
            refused.wait_end(3)
            contains(refused.log(), f"{mark} is damaged: ")
            contains(refused.log(), why)
        with open(mark, "wb") as file:
            file.write(whole)
        cluster.start()
        with remoting.Client(cluster.slave.port) as client:
            messages.send(client, "Orders", b"master")


claims.run()
