"""A slave's side of replication, against a master made of bytes that does what RocketMQ's does, and what no
master should: what is asked first, where the log begins, what is acknowledged, what is never taken."""
import os
import struct

from lib import admin, claims, codes, messages, process, remoting
from lib.claims import contains, equal, true, until
from lib.java_master import FILE, Log, Master

RUNS_SANITIZED = True

SETTINGS = {"mappedFileSizeCommitLog": FILE, "maxMessageSize": 65536, "scrubBytesPerSecond": 0,
            "haSendHeartbeatInterval": 200, "slaveMetadataInterval": 200, "brokerRole": "SLAVE",
            "brokerId": 1, "registerBrokerTimeoutMills": 200}
NOWHERE = "127.0.0.1:1"


def start(master, store=None, **settings):
    """No name server says where the master is: haMasterAddress does."""
    return process.Broker(namesrv=NOWHERE, store=store, haMasterAddress=master.ha_address,
                          **{**SETTINGS, **settings})


def taken(slave, end):
    """Bytes of the slave's log below `end`."""
    folder = os.path.join(slave.store, "commitlog")
    names = sorted(os.listdir(folder))
    data = b"".join(open(os.path.join(folder, name), "rb").read() for name in names)
    return data[:end - int(names[0])]


def stream(connection, log, begin, end, step=32768):
    """As RocketMQ does: at most `step` bytes, never across the end of a file."""
    while begin < end:
        size = min(step, end - begin, FILE - begin % FILE)
        connection.frame(begin, log.bytes(begin, begin + size))
        begin += size


@claims.claim
def an_empty_master_is_followed_from_0_and_all_of_its_log_is_taken():
    with Master() as master:
        slave = start(master)
        connection = master.slave()
        equal(connection.report(), 0, "the first report, at once")
        connection.frame(0)
        log = master.log.fill("Java", 500)
        true(log.end > 2 * FILE, "several files")
        stream(connection, log, 0, log.end)
        connection.reported(log.end)
        equal(taken(slave, log.end) == log.data, True, "the same bytes")
        with remoting.Client(slave.port) as client:
            equal(len(messages.pull_all(client, "Java", 0)), 250)
        slave.stop()


@claims.claim
def a_master_that_has_messages_is_asked_for_the_first_so_that_it_sends_all():
    """Told 0, RocketMQ begins with its last file."""
    with Master(Log().fill("Java", 300)) as master:
        slave = start(master)
        connection, log = master.slave(), master.log
        equal(connection.report(), log.ends[1], "the size of the first message")
        contains(master.asked, ("main", codes.VIEW_MESSAGE, {"offset": "0"}))
        connection.frame(log.ends[1])
        stream(connection, log, log.ends[1], log.end)
        connection.reported(log.end)
        equal(taken(slave, log.end) == log.data, True, "the same bytes")
        slave.stop()


@claims.claim
def a_log_whose_first_files_are_deleted_is_taken_from_where_it_begins():
    with Master(Log(begin=2 * FILE).fill("Java", 50)) as master:
        slave = start(master)
        connection, log = master.slave(), master.log
        equal(connection.report(), 2 * FILE)
        stream(connection, log, log.begin, log.end)
        connection.reported(log.end)
        equal(taken(slave, log.end) == log.data, True, "the same bytes")
        slave.stop()
        again = start(master, store=slave.store)
        equal(master.slave().report(), log.end)
        again.stop()


@claims.claim
def an_empty_slave_may_leave_it_to_the_master_where_to_begin():
    with Master(Log().fill("Java", 400)) as master:
        slave = start(master, haFreshSlaveFrom="last")
        connection, log = master.slave(), master.log
        equal(connection.report(), 0)
        begin = log.end // FILE * FILE
        connection.frame(begin)  # a heartbeat decides it too
        connection.reported(begin)
        stream(connection, log, begin, log.end)
        connection.reported(log.end)
        equal(taken(slave, log.end) == log.bytes(begin), True, "the same bytes")
        slave.stop()


@claims.claim
def frames_may_be_cut_and_joined_and_whole_records_are_acknowledged():
    with Master() as master:
        slave = start(master)
        connection = master.slave()
        connection.reported(0)
        log = Log().fill("Cut", 8)
        ends = log.ends
        connection.raw(struct.pack(">qi", 0, ends[2]))
        connection.raw(log.bytes(0, ends[1] - 1))
        connection.reported(0)  # by the heartbeat's time
        connection.raw(log.bytes(ends[1] - 1, ends[1] + 5))
        connection.reported(ends[1])
        connection.raw(log.bytes(ends[1] + 5, ends[2]))
        connection.reported(ends[2])
        connection.raw(b"".join(struct.pack(">qi", a, b - a) + log.bytes(a, b) for a, b in
                                ((ends[2], ends[3]), (ends[3], ends[3] + 1),
                                 (ends[3] + 1, ends[5] + 7))))
        connection.reported(ends[5])
        connection.frame(ends[5] + 7, log.bytes(ends[5] + 7))
        connection.reported(log.end)
        slave.stop()


@claims.claim
def a_frame_that_crosses_the_end_of_a_file_is_taken():
    with Master() as master:
        slave = start(master)
        connection = master.slave()
        log = Log().fill("Cross", 150, 2000)
        stream(connection, log, 0, FILE - 1000)
        connection.frame(FILE - 1000, log.bytes(FILE - 1000))
        connection.reported(log.end)
        equal(taken(slave, log.end) == log.data, True, "the same bytes")
        slave.stop()


@claims.claim
def it_reports_when_nothing_happens_and_takes_heartbeats():
    with Master() as master:
        slave = start(master, haSendHeartbeatInterval=100)
        connection = master.slave()
        log = Log().fill("Idle", 3)
        stream(connection, log, 0, log.end)
        connection.reported(log.end)
        for _ in range(4):
            connection.frame(log.end)
            equal(connection.report(), log.end)
        slave.stop()


@claims.claim
def what_is_no_frame_of_this_log_closes_the_connection_and_it_comes_again():
    log = Log().fill("Wrong", 5)
    wrong = [("a heartbeat behind the end", struct.pack(">qi", log.end + 1, 0)),
             ("a header before the end", struct.pack(">qi", log.end - 1, 700)),
             ("a negative size", struct.pack(">qi", log.end, -1)),
             ("an absurd size", struct.pack(">qi", log.end, 1 << 30)),
             ("a negative offset", struct.pack(">qi", -1, 10)),
             ("something else", b"HTTP/1.1 400 Bad Request\r\n\r\n")]
    with Master() as master:
        slave = start(master)
        connection = master.slave()
        stream(connection, log, 0, log.end)
        connection.reported(log.end)
        master.log = log
        for what, data in wrong:
            connection.raw(data)
            true(all(r == log.end for r in connection.reports_until_closed()), what)
            connection = master.slave()
            equal(connection.report(), log.end, what)
        connection.frame(log.end)
        equal(taken(slave, log.end) == log.data, True, "the same bytes")
        slave.stop()


@claims.claim
def bad_bytes_are_never_acknowledged_and_good_ones_in_their_place_are():
    log = Log().fill("Bad", 10)
    at = log.ends[6]
    flipped = bytearray(log.data)
    flipped[at + 100] ^= 1
    with Master() as master:
        master.log.data, master.log.ends = log.data[:at], log.ends[:7]
        slave = start(master)
        for bad in (bytes(flipped), log.data[:at] + b"\xaa" * 64):
            connection = master.slave()
            first = connection.report()
            connection.frame(first, bad[first:])
            true(max(connection.reports_until_closed(), default=first) <= at, "no report beyond")
        connection = master.slave()
        equal(connection.report(), at)
        stream(connection, log, at, log.end)
        connection.reported(log.end)
        equal(taken(slave, log.end) == log.data, True, "the same bytes")
        contains(slave.log(), str(at))
        contains(slave.log(), "ternctl store verify")
        slave.stop()


@claims.claim
def a_log_that_begins_within_a_file_is_not_taken():
    with Master() as master:
        slave = start(master)
        connection = master.slave()
        connection.reported(0)
        log = Log(begin=1000).fill("Mid", 2)
        connection.frame(FILE + 1000, log.data)
        equal([r for r in connection.reports_until_closed() if r], [])
        equal(master.slave().report(), 0)
        contains(slave.log(), "mappedFileSizeCommitLog")
        slave.stop()


@claims.claim
def a_silent_master_is_left_and_looked_for_again():
    with Master() as master:
        slave = start(master, haHousekeepingInterval=400)
        for _ in range(2):
            connection = master.slave()
            connection.reported(0)
            connection.reports_until_closed()
        slave.stop()


@claims.claim
def a_master_that_is_not_there_is_tried_until_it_is():
    with Master() as gone:
        address, port = gone.ha_address, gone.port
    slave = process.Broker(namesrv=NOWHERE, haMasterAddress=address, **SETTINGS)
    with remoting.Client(slave.port) as client:
        until(lambda: admin.runtime_info(client)["ternSlaveState"] == "connecting", "it tries")
        until(lambda: f"127.0.0.1:{port + 1}" in slave.log(), "a line about it")
    slave.stop()


@claims.claim
def a_log_that_has_parted_is_not_followed_and_not_reported():
    log = Log().fill("Apart", 6)
    with Master() as master:
        slave = start(master)
        stream(connection := master.slave(), log, 0, log.end)
        connection.reported(log.end)
        slave.stop()
    shorter, other, expired = Log().fill("Apart", 5), Log().fill("Apart", 5), Log(begin=FILE)
    other.append("Apart", b"B" * 887, 1)
    equal(other.end - shorter.end, log.end - shorter.end, "the same size")
    expired.fill("Apart", 2)
    for theirs, words in ((shorter, str(shorter.end)), (other, str(log.ends[5])),
                          (expired, str(log.end))):
        with Master(theirs) as master:
            slave = start(master, store=slave.store)
            equal(master.connection().reports_until_closed(), [])
            with remoting.Client(slave.port) as client:
                until(lambda: admin.runtime_info(client)["ternSlaveState"] == "logs apart",
                      "it has found out")
            contains(slave.log(), "not following master")
            contains(slave.log(), words)
            contains(slave.log(), str(theirs.end))
            master.log = log  # the operator has set it right
            connection = master.slave()
            equal(connection.report(), log.end)
            slave.stop()


@claims.claim
def under_sync_flush_only_what_is_flushed_is_acknowledged():
    with Master() as master:
        slave = start(master, flushDiskType="SYNC_FLUSH", haSendHeartbeatInterval=60000)
        connection = master.slave()
        equal(connection.report(), 0)
        log = Log().fill("Safe", 40)
        with remoting.Client(slave.port) as client:
            for begin, end in zip(log.ends, log.ends[1:]):
                connection.frame(begin, log.bytes(begin, end))
                equal(connection.report(), end)
                true(int(admin.runtime_info(client)["ternCommitLogFlushed"]) >= end, "flushed")
        slave.stop()


@claims.claim
def without_room_it_waits_and_goes_on_by_itself():
    folder = process.new_path("disk")
    os.makedirs(folder)
    mount = f'mount -t tmpfs -o size=3m none "{folder}" && exec "$@"'
    with Master() as master:
        slave = start(master, store=os.path.join(folder, "store"), cleanFileForciblyEnable=False,
                      diskSpaceWarningLevelRatio=100, memoryTailBytes=1 << 20,
                      wrapper=["unshare", "-m", "--", "sh", "-c", mount, "sh"])
        connection = master.slave()
        equal(connection.report(), 0)
        filler = f"/proc/{slave.pid}/root{folder}/filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        log = Log().fill("Full", 1500)
        true(log.end > 4 * FILE, "more files than fit")
        stream(connection, log, 0, log.end)
        with remoting.Client(slave.port) as client:
            until(lambda: admin.runtime_info(client)["ternSlaveState"] == "waiting for room", "wait")
            before, last = -1, connection.report()
            while last != before:  # reports go on though there is nothing new
                before, last = last, connection.report()
            true(last < log.end, "no report beyond")
            os.unlink(filler)
            connection.reported(log.end)
            equal(admin.runtime_info(client)["ternSlaveState"], "following")
            equal(len(messages.pull_all(client, "Full", 1)), 750)
        slave.stop()


@claims.claim
def metadata_is_asked_for_as_rocketmq_asks_and_one_refusal_stops_nothing():
    with Master() as master:
        master.tables[codes.ALL_TOPICS]["topicConfigTable"] = {
            "Made": {"order": False, "perm": 6, "readQueueNums": 3, "writeQueueNums": 3,
                     "topicFilterType": "SINGLE_TAG", "topicName": "Made", "topicSysFlag": 0}}
        master.tables[codes.ALL_GROUPS]["subscriptionGroupTable"] = {
            "Readers": admin.group_config("Readers", retryMaxTimes=2)}
        master.tables[codes.ALL_DELAYS]["offsetTable"] = {"1": 5}
        master.refused = {codes.ALL_OFFSETS}
        slave = start(master)

        def asked(code):
            return [one for one in master.asked if one[1] == code]

        until(lambda: len(asked(codes.ALL_GROUPS)) > 1, "two looks")
        equal([asked(c)[0] for c in (codes.ALL_TOPICS, codes.ALL_OFFSETS, codes.ALL_DELAYS,
                                     codes.ALL_GROUPS)],
              [("vip", codes.ALL_TOPICS, None), ("main", codes.ALL_OFFSETS, None),
               ("main", codes.ALL_DELAYS, None), ("main", codes.ALL_GROUPS, None)])
        with remoting.Client(slave.port) as client:
            def table(code, name):
                from lib import dialect
                return dialect.loads(admin.expect(client.call(code)).body)[name]

            equal(table(codes.ALL_TOPICS, "topicConfigTable")["Made"]["readQueueNums"], 3)
            until(lambda: "Readers" in table(codes.ALL_GROUPS, "subscriptionGroupTable"), "group")
            equal(table(codes.ALL_DELAYS, "offsetTable"), {1: 5})
            master.tables[codes.ALL_OFFSETS]["offsetTable"] = {"Made@Readers": {"0": 7}}
            master.refused = set()
            until(lambda: admin.query_offset(client, "Readers", "Made") == 7, "the offset")
        slave.stop()


claims.run()
