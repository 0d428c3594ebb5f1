"""A sync that fails, and one that takes long: what producers and masters are told, what consumers still
get, and what a restart finds."""
import os

from lib import admin, claims, codes, messages, process, remoting
from lib.claims import contains, equal, true, until
from lib.java_master import FILE, Log, Master
from lib.messages import pull, send

LIBRARY = os.path.join(process.BUILD, "tests", "helpers", "libfaulty_calls.so")


def broker_with(store=None, **settings):
    switches = {name: process.new_path(name) for name in ("fail", "slow", "slow report")}
    broker = process.Broker(store=store, env={
        "LD_PRELOAD": LIBRARY, "FAIL_SYNC": switches["fail"], "SLOW_SYNC": switches["slow"],
        "SLOW_REPORT": switches["slow report"]}, **settings)
    return broker, switches


def turn_on(switch):
    with open(switch, "w", encoding="ascii"):
        pass


@claims.claim
def after_a_failed_sync_nothing_is_written_and_everything_durable_is_read():
    broker, switches = broker_with(flushDiskType="SYNC_FLUSH")
    with remoting.Client(broker.port) as client:
        for i in range(20):
            send(client, "Durable", b"%d" % i)
        turn_on(switches["fail"])
        lost = send(client, "Durable", b"lost", expect=14)
        contains(lost.remark, "no more writes")
        os.unlink(switches["fail"])  # the next sync would succeed; it is not asked
        for _ in range(3):
            contains(send(client, "Durable", b"refused", expect=14).remark, "no more writes")
        contains(admin.runtime_info(client)["ternWritesStopped"], "Input/output error")
        equal([m.body for m in messages.pull_all(client, "Durable")],
              [b"%d" % i for i in range(20)])
        equal(client.call(codes.UPDATE_OFFSET, {"consumerGroup": "G", "topic": "Durable",
                                                "queueId": 0, "commitOffset": 7}).code, 0)
        contains(broker.log(), "takes no more writes until it is restarted")
    broker.signal(15)
    until(lambda: not broker.running(), "the broker has ended")
    broker.expected_end = "stopped, not cleanly"
    true(broker.process.returncode != 0, "an unclean stop says so")

    broker = process.Broker(store=broker.store, flushDiskType="SYNC_FLUSH")
    with remoting.Client(broker.port) as client:
        bodies = [m.body for m in messages.pull_all(client, "Durable")]
        equal(bodies[:20], [b"%d" % i for i in range(20)])
        true(bodies[20:] in ([], [b"lost"]), f"what was never acknowledged: {bodies[20:]}")
        equal(client.call(codes.QUERY_OFFSET, {"consumerGroup": "G", "topic": "Durable",
                                               "queueId": 0}).fields["offset"], "7")
        send(client, "Durable", b"again")
    broker.stop()


@claims.claim
def under_async_flush_too_a_failed_sync_is_final():
    broker, switches = broker_with(flushIntervalCommitLog=10)
    with remoting.Client(broker.port) as client:
        send(client, "Async", b"before")
        turn_on(switches["fail"])
        until(lambda: client.call(codes.SEND_V2, messages.send_fields("Async"), b"x").code == 14,
              "sends are refused")
        os.unlink(switches["fail"])
        contains(send(client, "Async", b"refused", expect=14).remark, "no more writes")
        equal(pull(client, "Async").messages[0].body, b"before")
    broker.signal(15)
    until(lambda: not broker.running(), "the broker has ended")
    broker.expected_end = "stopped, not cleanly"


@claims.claim
def a_slow_sync_is_answered_10_at_the_timeout_and_the_message_stays():
    broker, switches = broker_with(flushDiskType="SYNC_FLUSH", syncFlushTimeout=100)
    with remoting.Client(broker.port) as client, remoting.Client(broker.port) as other:
        send(client, "Slow", b"first", properties={"WAIT": "false"})
        until(lambda: pull(other, "Slow").max == 1, "the first one is flushed")
        turn_on(switches["slow"])
        late = send(client, "Slow", b"late", expect=10)
        equal(late.fields["queueOffset"], "1")
        equal(pull(other, "Slow").max, 1, "not durable, not visible")
        os.unlink(switches["slow"])
        until(lambda: [m.body for m in messages.pull_all(other, "Slow")] == [b"first", b"late"],
              "visible once it is durable")
        until(lambda: client.call(codes.SEND_V2, messages.send_fields("Slow"), b"fast").code == 0,
              "a send is answered 0 again")
    broker.stop()


def waits(switch):
    return os.path.exists(switch + ".waiting")


def let_go(switch):
    """The call that waits."""
    until(lambda: waits(switch), "a call waits")
    os.unlink(switch + ".waiting")


@claims.claim
def a_slave_reports_also_what_is_flushed_while_it_reports():
    with Master() as master:
        slave, switches = broker_with(
            flushDiskType="SYNC_FLUSH", brokerRole="SLAVE", brokerId=1, namesrv="127.0.0.1:1",
            haMasterAddress=master.ha_address, mappedFileSizeCommitLog=FILE, maxMessageSize=65536,
            haSendHeartbeatInterval=600000, haHousekeepingInterval=600000)
        connection = master.slave()
        equal(connection.report(), 0)
        log = Log().fill("Safe", 2)
        with remoting.Client(slave.port) as client:
            def number(name):
                return int(admin.runtime_info(client)[name])

            turn_on(switches["slow"])
            connection.frame(0, log.bytes(0, log.ends[1]))
            until(lambda: waits(switches["slow"]), "the first is being flushed")
            connection.frame(log.ends[1], log.bytes(log.ends[1]))
            until(lambda: number("ternCommitLogWritten") == log.end, "the second has been written")
            turn_on(switches["slow report"])
            let_go(switches["slow"])
            until(lambda: waits(switches["slow report"]), "the first is being reported")
            let_go(switches["slow"])
            until(lambda: number("ternCommitLogFlushed") == log.end, "the second is flushed")
            os.unlink(switches["slow report"])
            equal(connection.report(), log.ends[1])
            equal(connection.report(), log.end)
        os.unlink(switches["slow"])
        slave.stop()


claims.run()
