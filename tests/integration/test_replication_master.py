"""A master's side of replication, against a slave made of bytes: what is streamed, what counts as a copy,
what a send is answered with and what a consumer sees."""
import os
import struct

from lib import admin, claims, codes, ha, messages, process, remoting
from lib.claims import contains, equal, true, until
from lib.messages import pull, send

RUNS_SANITIZED = True

SMALL = {"mappedFileSizeCommitLog": 131072, "maxMessageSize": 65536}
FAST = {"slaveTimeout": 300, "haSendHeartbeatInterval": 100}


class Group:
    """One master and a client of it."""

    def __init__(self, role="SYNC_MASTER", **settings):
        self.broker = process.Broker(brokerRole=role, **{**SMALL, **FAST, **settings})
        self.client = remoting.Client(self.broker.port)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.client.close()
        self.broker.stop()

    def slave(self):
        return ha.Slave(self.broker.port + 1)

    def end(self):
        table = admin.runtime_info(self.client)
        return int(table["ternCommitLogWritten"])

    def log_bytes(self, count):
        folder = os.path.join(self.broker.store, "commitlog")
        data = b"".join(open(os.path.join(folder, name), "rb").read()
                        for name in sorted(os.listdir(folder)))
        return data[:count]


def send_later(client, topic, body=b"x", **more):
    return client.send(codes.SEND_V2, messages.send_fields(topic, **more), body)


def sent_and_copied(group, slave, topic, body):
    """The answer to a send whose bytes the slave acknowledges as soon as it has them."""
    opaque = send_later(group.client, topic, body)
    slave.take(body)
    return group.client.reply(opaque).code


def near(group, count):
    until(lambda: admin.runtime_info(group.client)["ternSlavesNear"] == str(count),
          f"{count} slaves near")


@claims.claim
def a_slave_gets_every_byte_of_the_log_in_frames_that_cross_no_file():
    with Group("ASYNC_MASTER", haTransferBatchSize=10000) as group:
        for i in range(40):
            send(group.client, "Stream", b"%d." % i + b"b" * (i * 977 % 9000), 0)
        end = group.end()
        true(end > 131072, "the log has several files")
        with group.slave() as slave:
            slave.report(0)
            taken = slave.follow(end)
            equal(taken == group.log_bytes(end), True, "the same bytes")
            at = 0
            for offset, data in slave.frames:
                equal(offset, at)
                true(len(data) <= 10000, f"a frame of {len(data)} bytes")
                true(offset // 131072 == (offset + max(len(data), 1) - 1) // 131072,
                     f"frame {offset} + {len(data)} crosses a file")
                at = offset + len(data)
            send(group.client, "Stream", b"more", 0)
            contains(slave.follow(end + 1), b"more")


@claims.claim
def a_slave_goes_on_from_where_it_says():
    with Group("ASYNC_MASTER") as group:
        for i in range(10):
            send(group.client, "From", b"%d" % i, 0)
        end = group.end()
        expected = (end - 50, group.log_bytes(end)[-50:])
        with group.slave() as slave:
            slave.send_raw(struct.pack(">q", end - 50)[:5])
            group.client.round_trip()
            slave.send_raw(struct.pack(">q", end - 50)[5:])
            equal(slave.frame(), expected)
        with group.slave() as slave:
            slave.send_raw(struct.pack(">qqq", 10, 20, end - 50))
            equal(slave.frame(), expected, "of several reports the last")


@claims.claim
def an_empty_slave_may_be_started_with_the_last_file():
    with Group("ASYNC_MASTER", haFreshSlaveFrom="last") as group:
        for _ in range(5):
            send(group.client, "Last", b"b" * 60000, 0)
        with group.slave() as slave:
            slave.report(0)
            equal(slave.frame()[0], group.end() // 131072 * 131072)


@claims.claim
def nothing_is_sent_before_the_first_report_and_heartbeats_after_it():
    with Group("ASYNC_MASTER") as group:
        send(group.client, "Beat", b"x", 0)
        end = group.end()
        with group.slave() as slave, group.slave() as silent:
            slave.report(0)
            slave.follow(end)
            equal([slave.frame() for _ in range(3)], [(end, b"")] * 3)
            equal(silent.input, b"")
            silent.socket.setblocking(False)
            try:
                silent.socket.recv(1)
                raise claims.Broken("bytes before the first report")
            except BlockingIOError:
                pass


@claims.claim
def a_silent_slave_is_let_go():
    with Group("ASYNC_MASTER", haHousekeepingInterval=400) as group:
        with group.slave() as slave, group.slave() as other:
            other.report(0)
            slave.wait_closed()
            other.wait_closed()


@claims.claim
def a_send_is_answered_when_the_copy_is_acknowledged_and_visible_only_then():
    with Group(slaveTimeout=60000) as group, remoting.Client(group.broker.port) as reader:
        with group.slave() as slave:
            slave.report(0)
            near(group, 1)
            opaque = send_later(group.client, "Veil", b"one")
            offset, data = slave.frame()
            while not data:
                offset, data = slave.frame()
            end = offset + len(data)
            slave.report(end - 1)
            equal(pull(reader, "Veil").max or 0, 0)
            true(not group.client.has_reply(opaque), "no answer for all bytes but one")
            slave.report(end)
            equal(group.client.reply(opaque).code, 0)
            equal([m.body for m in pull(reader, "Veil").messages], [b"one"])


@claims.claim
def a_waiting_pull_is_answered_by_the_acknowledgement():
    with Group(slaveTimeout=60000) as group, remoting.Client(group.broker.port) as reader:
        admin.make_topic(group.client, "Held", 1)
        with group.slave() as slave:
            slave.report(0)
            near(group, 1)
            held = reader.send(codes.PULL, messages.pull_fields("Held", sys_flag=6,
                                                                suspend_ms=60000))
            reader.round_trip()
            opaque = send_later(group.client, "Held", b"one")
            end = sum(map(len, [slave.follow(1, ack=False)]))
            reader.round_trip()
            true(not reader.has_reply(held), "the pull waits")
            slave.report(end)
            equal(reader.reply(held).code, 0)
            equal(group.client.reply(opaque).code, 0)


@claims.claim
def without_a_slave_it_is_stored_and_answered_11_at_once():
    with Group(slaveTimeout=60000) as group:
        refused = send(group.client, "Alone", b"one", expect=11)
        equal(refused.fields["queueOffset"], "0")
        send(group.client, "Alone", b"two", properties={"WAIT": "false"})
        equal([m.body for m in pull(group.client, "Alone").messages], [b"one", b"two"])


@claims.claim
def with_a_slave_that_does_not_acknowledge_it_is_answered_12_and_goes_on():
    with Group() as group, group.slave() as slave:
        slave.report(0)
        near(group, 1)
        late = send(group.client, "Late", b"one", expect=12)
        equal(late.fields["queueOffset"], "0")
        until(lambda: [m.body for m in pull(group.client, "Late").messages] == [b"one"],
              "the message is visible")
        send(group.client, "Late", b"two", properties={"WAIT": "false"})
        slave.take(b"two")
        until(lambda: sent_and_copied(group, slave, "Late", b"three") == 0,
              "a send that is acknowledged in time is answered 0")


@claims.claim
def a_slave_that_says_and_takes_nothing_new_is_waited_for_once_and_again_when_it_keeps_up():
    with Group() as group, group.slave() as slave:
        slave.report(0)
        near(group, 1)
        opaque = send_later(group.client, "Hangs", b"waits")

        def given_up():  # it lives, as one whose disk is full
            slave.report(0)
            # Only one that was heard shortly before is judged, by what has waited for it: more does.
            send(group.client, "Hangs", b"more", properties={"WAIT": "false"})
            return admin.runtime_info(group.client)["ternSlavesNear"] == "0"

        until(given_up, "the slave is not waited for any more")
        equal(group.client.reply(opaque).code, 12)
        for i in range(200):
            send(group.client, "Hangs", b"%d." % i, expect=11)
        equal(admin.runtime_info(group.client)["ternSlaves"], "1", "it is connected")
        slave.take(b"199.")
        near(group, 1)
        until(lambda: sent_and_copied(group, slave, "Hangs", b"copied") == 0,
              "a send that is acknowledged in time is answered 0")
        contains(group.broker.log(), "too few slaves take what is sent")
        contains(group.broker.log(), "there are 2 copies of each message again")


@claims.claim
def a_slave_that_leaves_is_not_waited_for():
    with Group(slaveTimeout=60000) as group:
        with group.slave() as slave:
            slave.report(0)
            near(group, 1)
            opaque = send_later(group.client, "Leaves", b"one")
            slave.follow(1, ack=False)
        equal(group.client.reply(opaque).code, 11)
        send(group.client, "Leaves", b"two", expect=11)


@claims.claim
def a_slave_too_far_behind_is_not_waited_for():
    with Group(slaveTimeout=60000, haSlaveFallbehindMax=5000) as group, group.slave() as slave:
        slave.report(0)
        near(group, 1)
        first = send_later(group.client, "Behind", b"b" * 6000)
        equal(group.client.reply(first).code, 11)
        slave.follow(group.end())
        near(group, 1)
        equal(sent_and_copied(group, slave, "Behind", b"near again"), 0)


@claims.claim
def a_report_beyond_the_end_is_refused_and_counts_for_nothing():
    with Group(slaveTimeout=60000) as group:
        with group.slave() as good:
            good.report(0)
            near(group, 1)
            equal(sent_and_copied(group, good, "Beyond", b"one"), 0)
        end = group.end()
        for data in (struct.pack(">q", end + 1), struct.pack(">q", -1), b"GET / HTTP/1.1\r\n\r\n"):
            with group.slave() as slave:
                slave.send_raw(data)
                slave.wait_closed()
        with group.slave() as slave:
            slave.report(0)
            slave.follow(end)
            slave.report(end + 5000)
            slave.wait_closed()
        near(group, 0)
        send(group.client, "Beyond", b"two", expect=11)
        contains(group.broker.log(), "it has what this master has not")


@claims.claim
def two_connections_of_one_host_are_one_copy():
    with Group(inSyncReplicas=3, replicaAck="strict") as group:
        with group.slave() as first, group.slave() as second:
            first.report(0)
            second.report(0)
            near(group, 1)
            refused = send(group.client, "Twice", b"x", expect=14)
            contains(refused.remark, "replicaAck=strict")


@claims.claim
def strict_refuses_without_enough_slaves_and_shows_nothing_without_its_copies():
    with Group(replicaAck="strict") as group:
        before = group.end()
        refused = send(group.client, "Strict", b"no", expect=14)
        contains(refused.remark, "not stored")
        equal(group.end(), before)
        with group.slave() as slave:
            slave.report(0)
            near(group, 1)
            late = send(group.client, "Strict", b"late", expect=14)
            contains(late.remark, "copied")
            equal(pull(group.client, "Strict").max or 0, 0)
            slave.take(b"late")
            until(lambda: [m.body for m in pull(group.client, "Strict").messages] == [b"late"],
                  "the message is visible with its copy")
            until(lambda: sent_and_copied(group, slave, "Strict", b"in time") == 0,
                  "a send that is acknowledged in time is answered 0")


@claims.claim
def under_sync_flush_disk_and_slave_are_waited_for():
    with Group(slaveTimeout=60000, flushDiskType="SYNC_FLUSH") as group:
        with group.slave() as slave:
            slave.report(0)
            near(group, 1)
            opaques = [send_later(group.client, "Both", b"%d" % i) for i in range(50)]
            slave.follow(1, ack=False)
            while not all(group.client.has_reply(o) for o in opaques):
                slave.report(group.end())
                group.client.round_trip()
            equal({group.client.reply(o).code for o in opaques}, {0})


@claims.claim
def the_patience_with_the_disk_is_not_that_with_slaves():
    with Group(slaveTimeout=60000, syncFlushTimeout=1) as group, group.slave() as slave:
        slave.report(0)
        near(group, 1)
        opaque = send_later(group.client, "Patience", b"one")
        end = sum(map(len, [slave.follow(1, ack=False)]))
        for _ in range(3):  # heartbeats: many milliseconds
            equal(slave.frame(), (end, b""))
        group.client.round_trip()
        true(not group.client.has_reply(opaque), "it waits for the slave")
        slave.report(end)
        equal(group.client.reply(opaque).code, 0)


@claims.claim
def a_message_given_back_without_its_copy_is_given_back_again():
    with Group(slaveTimeout=60000) as group:
        send(group.client, "Back", b"one", expect=11)
        stored = pull(group.client, "Back").messages[0]
        admin.make_group(group.client, "BackG")
        reply = group.client.call(codes.SEND_BACK, {"offset": stored.log_offset, "group": "BackG",
                                                    "delayLevel": 0, "originTopic": "Back",
                                                    "originMsgId": "", "unitMode": False})
        equal(reply.code, 1)


claims.run()
