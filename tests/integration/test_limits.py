"""Bounds under many and under rude clients, several name servers of which one hangs, and rest when
nothing happens."""
import os
import resource
import signal
import socket
import threading
import time

from lib import admin, claims, codes, messages, process, remoting
from lib.claims import claim, equal, true, until

IDLE = 10000


def raise_descriptor_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


@claim
def ten_thousand_idle_connections_cost_no_threads_and_under_1_kib_each():
    raise_descriptor_limit(IDLE + 2000)
    broker = process.Broker()
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Idle", 1)
        messages.send(c, "Idle")
        threads, before = broker.threads(), broker.status("VmRSS")
        sockets = []
        for i in range(IDLE):
            s = socket.socket()
            s.bind((f"127.0.0.{2 + i % 8}", 0))
            s.connect(("127.0.0.1", broker.port))
            sockets.append(s)
        until(lambda: int(admin.runtime_info(c)["ternConnections"]) > IDLE, "all connections to be taken")
        # Each has asked something: what it needed for that must be given back.
        frame = remoting.encode(remoting.Frame(codes.MAX_OFFSET, {"topic": "Idle", "queueId": 0}))
        for s in sockets:
            s.sendall(frame)
        for s in sockets:
            true(s.recv(4096), "an answer")
        equal(broker.threads(), threads, "threads")
        each = (broker.status("VmRSS") - before) * 1024 / IDLE
        true(each < 1024, f"{each:.0f} bytes for an idle connection")
        messages.send(c, "Idle")
        for s in sockets:
            s.close()
    broker.stop()


@claim
def a_client_that_never_reads_is_bounded_and_dropped_while_others_go_on():
    broker = process.Broker()
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Rude", 1)
        for _ in range(64):
            messages.send(c, "Rude", b"x" * 60000)
        before = broker.status("VmRSS")
        pull = remoting.encode(remoting.Frame(codes.PULL, messages.pull_fields("Rude")))
        rude = socket.create_connection(("127.0.0.1", broker.port))
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rude.settimeout(0.2)
        sent, gone = 0, False
        end = time.monotonic() + 120
        while not gone and time.monotonic() < end:
            try:
                sent += rude.send(pull * 50)
            except socket.timeout:
                messages.send(c, "Rude", b"others")  # somebody else, meanwhile
            except OSError:
                gone = True
            grown = broker.status("VmRSS") - before
            true(grown < 160 << 10, f"{grown} KiB more for one rude client")
        true(gone, f"the client was not dropped after {sent} bytes of requests")
        until(lambda: "127.0.0.1" in broker.log(), "a line about the peer")
        messages.send(c, "Rude", b"after")
        rude.close()
    broker.stop()


class Flood(threading.Thread):
    """Asks without end, and without listening, for what a reader thread has to look up."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.end = port, False

    def run(self):
        request = remoting.encode(remoting.Frame(codes.ALL_TOPICS, flag=remoting.FLAG_ONEWAY))
        with remoting.Client(self.port) as c:
            while not self.end:
                c.send_raw(request * 6000)
                c.round_trip()


@claim
def an_operator_is_heard_while_more_is_asked_than_the_broker_can_look_up():
    broker = process.Broker()
    flood = Flood(broker.port)
    with remoting.Client(broker.port) as c:
        for i in range(50):
            admin.make_topic(c, f"Topic{i}")
        flood.start()
        busy = 0

        def enough():
            nonlocal busy
            busy += c.call(codes.ALL_TOPICS).code == codes.SYSTEM_BUSY
            equal(c.call(codes.RUNTIME_INFO).code, 0)
            return busy >= 20

        until(enough, "others are told that the broker is busy")
    flood.end = True
    flood.join()
    broker.stop()


@claim
def sigterm_answers_everything_that_is_owed():
    for flush in ("ASYNC_FLUSH", "SYNC_FLUSH"):
        broker = process.Broker(flushDiskType=flush)
        with remoting.Client(broker.port) as c:
            admin.make_topic(c, "Owed", 4)
            c.round_trip()
            opaques = [c.send(codes.SEND_V2, messages.send_fields("Owed", i % 4), b"x" * 200)
                       for i in range(2000)]
            c.reply(opaques[0])
            broker.stop()
            stored = refused = 0
            for opaque in opaques[1:]:
                try:
                    code = c.reply(opaque).code
                except remoting.Closed:
                    break  # it had not been read
                stored += code == 0
                refused += code == 14
                true(code in (0, 14), f"code {code}")
        again = process.Broker(store=broker.store, flushDiskType=flush)
        with remoting.Client(again.port) as c:
            total = sum(admin.max_offset(c, "Owed", q) for q in range(4))
            equal(total, stored + 1, f"messages stored, {flush}")
        again.stop()


@claim
def a_name_server_that_hangs_delays_nobody():
    good, bad = process.Namesrv(), process.Namesrv()
    dead_address = f"127.0.0.1:{process.free_port()}"
    broker = process.Broker(namesrv=f"{bad.address};{dead_address};{good.address}")
    with remoting.Client(broker.port) as c, remoting.Client(good.port) as ns:
        admin.make_topic(c, "Before", 1)
        until(lambda: ns.call(codes.ROUTE, {"topic": "Before"}).code == 0, "a route")
        bad.signal(signal.SIGSTOP)
        known = iter(range(1000))

        def known_at_once():
            name = f"While{next(known)}"
            admin.make_topic(c, name, 1)
            return ns.call(codes.ROUTE, {"topic": name}).code == 0

        until(known_at_once, "a route made while one hangs")
        admin.make_topic(c, "While", 1)
        messages.send(c, "While")
        admin.heartbeat(c, "id", [admin.consumer("G", [admin.subscription("While")])])
        until(lambda: ns.call(codes.ROUTE, {"topic": "%RETRY%G"}).code == 0, "the retry topic's route")
        bad.signal(signal.SIGCONT)
        with remoting.Client(bad.port) as other:
            until(lambda: other.call(codes.ROUTE, {"topic": "While"}).code == 0, "the one that hung to know")
    broker.stop()
    good.stop()
    bad.stop()


@claim
def a_broker_registers_again_when_its_name_server_returns():
    first = process.Namesrv(port=process.free_port())
    broker = process.Broker(namesrv=first)
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Again", 1)
    first.kill()
    second = process.Namesrv(port=first.port)
    with remoting.Client(second.port) as ns:
        until(lambda: ns.call(codes.ROUTE, {"topic": "Again"}).code == 0, "the route at the new one")
        broker.kill()
        until(lambda: ns.call(codes.ROUTE, {"topic": "Again"}).code == 17, "the route of a dead broker to go")
    second.stop()


@claim
def an_idle_broker_does_not_wake_up():
    broker = process.Broker()
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Rest", 1)
        messages.send(c, "Rest")

        def quiet():
            """Rest is a second in which nobody was woken more than a handful of times."""
            before = broker.voluntary_switches()
            deadline = threading.Event()
            deadline.wait(1)
            return broker.voluntary_switches() - before <= 5

        until(quiet, "a second of rest", 90)
    broker.stop()


def allocations(broker):
    broker.signal(signal.SIGUSR2)
    path = os.path.join(process.folder(), "allocations")
    text = until(lambda: os.path.exists(path) and open(path, encoding="ascii").read(), "the count")
    os.unlink(path)
    return int(text)


def in_two_halves(c, port, code, fields):
    """A frame that comes in pieces takes a buffer from the pool; the first one makes it."""
    opaque = c.next_opaque()
    c.asked.add(opaque)
    whole = remoting.encode(remoting.Frame(code, fields, opaque=opaque))
    c.send_raw(whole[:20])
    with remoting.Client(port) as other:
        other.round_trip()  # the first half has been read by now
    c.send_raw(whole[20:])
    equal(c.reply(opaque).code, 0, "code")


WINDOW = 50


def bursts(c, broker, code, fields, body=b""):
    """Twice as many requests as are ever under way later, handled in one turn: while the broker stands
    still they all gather in its socket. So no buffer has to grow afterwards."""
    for _ in range(4):
        opaques = [c.next_opaque() for _ in range(2 * WINDOW)]
        c.asked.update(opaques)
        broker.freeze()
        c.send_raw(b"".join(remoting.encode(remoting.Frame(code, fields, body, opaque=opaque))
                            for opaque in opaques))
        broker.thaw()
        for opaque in opaques:
            equal(c.reply(opaque).code, 0, "code")


def pipelined(c, code, fields, body, count, window=WINDOW):
    waiting = []
    for _ in range(count):
        waiting.append(c.send(code, fields, body))
        if len(waiting) == window:
            for opaque in waiting:
                equal(c.reply(opaque).code, 0, "code")
            waiting = []
    for opaque in waiting:
        equal(c.reply(opaque).code, 0, "code")


@claim
def ten_thousand_warm_sends_and_pulls_allocate_nothing():
    library = os.path.join(process.BUILD, "tests", "helpers", "libcount_malloc.so")
    true(os.path.exists(library), f"{library} is not there")
    # Its name server, in the same process, allocates what each registration brings.
    broker = process.Broker(env={"LD_PRELOAD": library, "TERN_ALLOCATIONS":
                                 os.path.join(process.folder(), "allocations")},
                            mappedFileSizeCommitLog=256 << 20, registerNameServerPeriod=60000)
    send = messages.send_fields("Warm", properties={"KEYS": "k", "TAGS": "t", "WAIT": "true"})
    with remoting.Client(broker.port) as c:
        admin.make_topic(c, "Warm", 1)
        in_two_halves(c, broker.port, codes.MAX_OFFSET, {"topic": "Warm", "queueId": 0})
        bursts(c, broker, codes.SEND_V2, send, b"x" * 100)
        pipelined(c, codes.SEND_V2, send, b"x" * 100, 20000)
        allocations(broker)
        before = allocations(broker)
        pipelined(c, codes.SEND_V2, send, b"x" * 100, 10000)
        after = allocations(broker)
        equal(after - before, 0, "allocations in 10,000 sends")
        end = admin.max_offset(c, "Warm")
        pull = messages.pull_fields("Warm", offset=end - 1, count=1)
        bursts(c, broker, codes.PULL, pull)
        pipelined(c, codes.PULL, pull, b"", 1000)
        before = allocations(broker)
        pipelined(c, codes.PULL, pull, b"", 10000)
        after = allocations(broker)
        equal(after - before, 0, "allocations in 10,000 pulls")
    broker.stop()


@claim
def connections_leave_open_files_for_the_log_to_grow():
    few = ["bash", "-c", 'ulimit -n 200; exec "$0" "$@"']
    broker = process.Broker(wrapper=few, mappedFileSizeCommitLog=1 << 20, maxMessageSize=65536)
    true("connectionsMax=100000 is too much for 200 open files" in broker.log(), broker.log())
    with remoting.Client(broker.port) as c:
        crowd = [socket.create_connection(("127.0.0.1", port)) for port in
                 (broker.port, broker.port - 2) for _ in range(150)]
        until(lambda: "connections are open already" in broker.log(), "refusals")
        for number in range(40):  # over two segments
            messages.send(c, "Grows", b"x" * 60000, number % 4)
        for one in crowd:
            one.close()
    equal(broker.log().count(" ERROR "), 0)
    broker.stop()
    code, _, err = process.run_program(["bash", "-c", 'ulimit -n 100; exec "$0" "$@"', process.BROKER,
                                        "-o", "listenPort=0", "-o",
                                        f"storePathRootDir={process.new_path('store')}"])
    equal(code, 3)
    true("only 100 files open" in err, err)


if __name__ == "__main__":
    claims.run()
