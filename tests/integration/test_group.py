"""Members of a group change roles while they run: what was acknowledged is there with whoever leads,
the file of an old master needs no change, and logs end up the same byte for byte."""
import collections
import json
import os
import random
import socket
import struct
import threading

from lib import admin, claims, codes, dialect, messages, order, process, remoting
from lib.claims import contains, equal, true, until
from lib.messages import pull_all, send

RUNS_SANITIZED = True

STATUS, PROMOTE, HAND_OVER, STEP_DOWN = 7101, 7102, 7103, 7104
SMALL = {"mappedFileSizeCommitLog": 131072, "maxMessageSize": 65536, "scrubBytesPerSecond": 0}
# What is sent by way of a member waits for a master as long as it takes to find one.
FAST = {"haSendHeartbeatInterval": 100, "masterStartWait": 1000, "forwardWaitMillis": 60000}


class Group:
    """A name server and members 1, 2 ...; the file of the first says SYNC_MASTER for ever."""

    def __init__(self, size=2, copies=2, host="127.0.0.1", **settings):
        self.namesrv = process.Namesrv(port=process.free_port())  # it may come back where it was
        self.host = host
        self.ports = {n: process.free_port() for n in range(1, size + 1)}
        self.copies = copies
        self.settings = {**SMALL, **FAST, **settings}
        self.stores = {n: process.new_path("store") for n in self.ports}
        self.brokers, self.clients = {}, {}
        for number in self.ports:
            self.start(number, ready=False)
        for broker in self.brokers.values():
            broker.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for client in self.clients.values():
            client.close()
        for broker in self.brokers.values():
            if not broker.expected_end:
                broker.stop()
        self.namesrv.stop()

    def start(self, number, **more):
        role = ({"brokerRole": "SYNC_MASTER"} if number == 1 else
                {"brokerRole": "SLAVE", "brokerId": number})
        members = ";".join(f"{n}@{self.host}:{port}" for n, port in self.ports.items())
        self.brokers[number] = process.Broker(
            namesrv=self.namesrv, store=self.stores[number],
            **{**self.settings, "groupMembers": members, "memberId": number,
               "inSyncReplicas": self.copies, "listenPort": self.ports[number], **role, **more})
        return self.brokers[number]

    def ask(self, number, code, fields=None):
        """Over a connection of its own: a member that begins again closes all."""
        with remoting.Client(self.ports[number]) as client:
            return client.call(code, fields or {})

    def status(self, number):
        try:
            reply = self.ask(number, STATUS)
        except (OSError, remoting.Closed):
            return {"role": "away", "master": 0}
        return json.loads(reply.body) if reply.code == 0 else {"role": "away", "master": 0}

    def role(self, number, role):
        return until(lambda: (lambda s: s["role"] == role and s)(self.status(number)),
                     f"member {number} is {role}: {self.status(number)}")

    def trusted(self, number):
        """It follows, and has had all that there was: its promise counts, and so does its copy."""
        def counted():
            own = self.status(number)
            if own["role"] != "following" or own["doubtful"]:
                return False
            return any(m["id"] == number and m["near"] for m in
                       self.status(own["master"]).get("members", []))

        until(counted, f"member {number} follows, is trusted and counted")

    def starts(self, number):
        return self.brokers[number].log().count("serves on")

    def promote(self, number, **fields):
        equal(self.ask(number, PROMOTE, fields).code, 0)
        return self.role(number, "master")

    def routed_to(self, topic, number):
        """Name servers send clients there: it has id 0, and the others their own."""
        with remoting.Client(self.namesrv.port) as client:
            def routed():
                reply = client.call(codes.ROUTE, {"topic": topic})
                if reply.code != 0:
                    return False
                addresses = dialect.loads(reply.body)["brokerDatas"][0]["brokerAddrs"]
                return addresses.get("0", addresses.get(0)) == f"127.0.0.1:{self.ports[number]}"
            until(routed, f"name servers know member {number} as the master")

    def same_logs(self):
        """All members have the master's log, byte for byte; where it ends."""
        ends = {n: self.status(n).get("written") for n in self.ports}
        end = until(lambda: self._same_end(), f"logs of one length: {ends}")
        first, *others = [log_bytes(self.stores[n]) for n in self.ports]
        for other in others:
            low = max(first[0], other[0])
            equal(other[1][low - other[0]:end - other[0]] == first[1][low - first[0]:end - first[0]],
                  True, "the same bytes")
        return end

    def _same_end(self):
        ends = {self.status(n).get("written") for n in self.ports}
        return ends.pop() if len(ends) == 1 else None


def log_bytes(store):
    folder = os.path.join(store, "commitlog")
    data = {int(name): open(os.path.join(folder, name), "rb").read()
            for name in sorted(os.listdir(folder))}
    return min(data), b"".join(data.values())


def bodies(client, topic, queue_id=0):
    return [m.body for m in pull_all(client, topic, queue_id)]


def offset_of(client):
    reply = client.call(codes.QUERY_OFFSET, {"consumerGroup": "G", "topic": "T", "queueId": 0})
    return reply.fields["offset"] if reply.code == 0 else None


@claims.claim
def what_was_acknowledged_outlives_the_master_and_the_old_one_joins_with_its_file_as_it_is():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 1)
            for i in range(50):
                send(client, "T", b"before %d" % i)
        group.brokers[1].kill()

        group.promote(2)
        group.routed_to("T", 2)
        with remoting.Client(group.ports[2]) as client:
            equal(bodies(client, "T"), [b"before %d" % i for i in range(50)])
            # There are no two copies now: stored, and said so.
            send(client, "T", b"alone", expect=codes.NO_SLAVE)
        group.start(1)
        group.role(1, "following")
        with remoting.Client(group.ports[2]) as client:
            until(lambda: group.status(2)["members"][0]["near"], "the old master is counted")
            for i in range(50):
                send(client, "T", b"after %d" % i)
            group.same_logs()
            expected = ([b"before %d" % i for i in range(50)] + [b"alone"] +
                        [b"after %d" % i for i in range(50)])
            equal(bodies(client, "T"), expected)
        with remoting.Client(group.ports[1]) as client:
            until(lambda: bodies(client, "T") == expected, "the old master serves the same")
            send(client, "T", b"by way of the old master")
        with remoting.Client(group.ports[2]) as client:
            equal(bodies(client, "T"), expected + [b"by way of the old master"])
        group.routed_to("T", 2)


@claims.claim
def a_hand_over_loses_nothing_and_goes_both_ways_in_the_same_processes():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 1)
        sent, pids = [], [b.pid for b in group.brokers.values()]
        for master, other in ((1, 2), (2, 1), (1, 2)):
            with remoting.Client(group.ports[master]) as client:
                until(lambda: group.status(master)["members"][other - 1]["near"], "two copies")
                for i in range(20):
                    sent.append(b"%d by %d" % (i, master))
                    send(client, "T", sent[-1])
                equal(group.ask(other, HAND_OVER, {"to": other}).code, 1)
                starts = group.starts(master)
                equal(group.ask(master, HAND_OVER, {"to": other}).code, 0)
            group.role(other, "master")
            group.routed_to("T", other)
            until(lambda: group.starts(master) > starts, "the old master begins again")
            group.trusted(master)
        with remoting.Client(group.ports[2]) as client:
            equal(bodies(client, "T"), sent)
        group.same_logs()
        equal([b.pid for b in group.brokers.values()], pids)


class Producer(threading.Thread):
    """Knows one member and never asks name servers again. It has one connection for life, some requests under
    way on it, and never sends anything twice: whatever is not acknowledged has failed."""

    WINDOW = 8

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.acknowledged, self.failed, self.end = port, [], [], False
        self.alone = 0  # of the acknowledged: those without their copies

    def run(self):
        under_way, number = collections.deque(), 0
        try:
            with remoting.Client(self.port) as client:
                while under_way or not self.end:
                    while len(under_way) < self.WINDOW and not self.end:
                        body = b"%d" % number
                        under_way.append((body, client.send(codes.SEND_V2, messages.send_fields("T"), body)))
                        number += 1
                    body, opaque = under_way.popleft()
                    reply = client.reply(opaque)
                    if reply.code in (0, codes.NO_SLAVE, codes.SLAVE_TIMEOUT):
                        self.acknowledged.append(body)
                        self.alone += reply.code != 0
                    else:
                        self.failed.append((body, reply))
        except (OSError, remoting.Closed, AssertionError) as error:
            self.failed.append((body, error))

    def goes_on(self):
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) >= before + 20 or self.failed, "it sends")


def hand_overs_fail_no_send(group, hand_overs, known=(1,)):
    """Of producers that know one member each. The last hand-over is to another one than member 1. How many were
    stored without their copies."""
    group.role(1, "master")
    for member in list(group.ports)[1:]:
        group.trusted(member)
    with remoting.Client(group.ports[1]) as client:
        admin.make_topic(client, "T", 1)
    producers = [Producer(group.ports[n]) for n in known for _ in range(4)]
    for producer in producers:
        producer.start()
    for master, other in hand_overs:
        for producer in producers:
            producer.goes_on()
        group.trusted(other)  # it may still look for the new master
        starts = group.starts(master)
        equal(group.ask(master, HAND_OVER, {"to": other}).code, 0)
        group.role(other, "master")
        until(lambda: group.starts(master) > starts, "the old master begins again")
        group.trusted(master)
    for producer in producers:
        producer.goes_on()
        producer.end = True
    for producer in producers:
        producer.join()
        equal(producer.failed, [])
    with remoting.Client(group.ports[known[0]]) as client:
        true(int(admin.runtime_info(client)["ternForwarded"]) > 0, f"they went by way of member {known[0]}")
    with remoting.Client(group.ports[hand_overs[-1][1]]) as client:
        stored = collections.Counter(bodies(client, "T"))
    acknowledged = collections.Counter(body for producer in producers for body in producer.acknowledged)
    for body, count in acknowledged.items():
        true(stored[body] >= count, f"{body} is there as often as it was acknowledged")
    return sum(p.alone for p in producers)


@claims.claim
def a_hand_over_fails_no_send_of_who_goes_on_sending_to_the_old_master():
    with Group(size=3) as group:
        hand_overs_fail_no_send(group, [(1, 2), (2, 3), (3, 1), (1, 3)])


def a_hand_over_fails_no_send_that_a_member_by_name_has_passed_on():
    names = {"LD_PRELOAD": os.path.join(process.BUILD, "tests", "helpers", "libslow_names.so")}
    with Group(size=3, host="member.test", env=names) as group:
        hand_overs_fail_no_send(group, [(1, 3)], known=(2,))


if not process.SANITIZED:  # their libraries have to come first
    claims.claim(a_hand_over_fails_no_send_that_a_member_by_name_has_passed_on)


@claims.claim
def a_strict_pair_hands_over_without_refusing_a_send_for_want_of_its_second_copy():
    with Group(replicaAck="strict") as group:
        hand_overs_fail_no_send(group, [(1, 2), (2, 1), (1, 2)], known=(1, 2))


@claims.claim
def a_pair_hands_over_and_every_send_has_its_second_copy():
    with Group() as group:
        equal(hand_overs_fail_no_send(group, [(1, 2), (2, 1), (1, 2)], known=(1, 2)), 0)


class Vandal(threading.Thread):
    """Connections to one member that end as they should not: in the middle of a frame, of an answer, with a
    reset, or with their sending half only."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.port, self.random, self.end, self.count = port, random.Random(seed), False, 0

    def run(self):
        while not self.end:
            sockets = []
            try:
                for _ in range(self.random.randint(1, 8)):
                    sockets.append(socket.create_connection(("127.0.0.1", self.port), timeout=60))
                    sockets[-1].setblocking(False)
                    self.speak(sockets[-1])
                for each in sockets:
                    self.leave(each)
            except OSError:
                pass  # the member had enough of it
            for each in sockets:
                each.close()
            try:
                with remoting.Client(self.port) as client:
                    client.round_trip()  # they have been looked at
                self.count += 1
            except (OSError, remoting.Closed):
                pass  # an answer that takes long while the member begins again may cost the connection

    def speak(self, to):
        one = remoting.encode(remoting.Frame(codes.SEND_V2, messages.send_fields("V"), b"v" * 2000, opaque=1))
        pull = remoting.encode(remoting.Frame(codes.PULL, {
            "consumerGroup": "V", "topic": "V", "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 6,
            "commitOffset": 0, "suspendTimeoutMillis": 15000, "subscription": "*", "subVersion": 1}, opaque=2))
        to.send(self.random.choice((one * 5, one * 3 + one[:1500], one[:5], pull * 30, one + pull,
                                    b"\0\xff\xff\xff\0\0\0\x0a" + b"?" * 100000)))

    def leave(self, one):
        how = self.random.randrange(3)
        if how == 0:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == 1:
            one.shutdown(socket.SHUT_WR)


@claims.claim
def a_hand_over_fails_no_send_whatever_other_clients_do():
    with Group(size=3, ioThreads=3, mappedFileSizeCommitLog=64 << 20) as group:
        group.role(1, "master")
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "V", 1)
        vandals = [Vandal(group.ports[n], n) for n in (1, 2)]
        for vandal in vandals:
            vandal.start()
        hand_overs_fail_no_send(group, [(1, 2), (2, 1), (1, 2), (2, 3), (3, 1), (1, 3)], known=(1, 2))
        for vandal in vandals:
            vandal.end = True
        for vandal in vandals:
            vandal.join()
            true(vandal.count > 0, "it has come and gone")
        for number in (1, 2):
            with remoting.Client(group.ports[number]) as client:
                until(lambda: connections(group, number) <= 1 + 2 * 3 + 3,
                      f"who has gone is gone: {connections(group, number)} are left")


def connections(group, number):
    """To its main port, as the kernel knows them: from clients, and from loops of the other members."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in list(table)[1:]]
    return sum(int(row[1].split(":")[1], 16) == group.ports[number] and row[3] in ("01", "08") for row in rows)


@claims.claim
def a_client_keeps_its_connection_though_another_master_owes_it_an_answer():
    with Group(size=3) as group:
        group.role(1, "master")
        group.trusted(2)
        group.trusted(3)
        client = remoting.Client(group.ports[1])
        admin.make_topic(client, "T", 1)
        group.promote(2)
        group.trusted(1)
        group.trusted(3)
        send(client, "T", b"by way of member 1")
        group.brokers[2].freeze()
        late = client.send(codes.SEND_V2, messages.send_fields("T"), b"nobody answers yet")
        client.round_trip()  # it has been sent on
        group.promote(1)
        group.trusted(3)
        starts = group.starts(1)
        equal(group.ask(1, HAND_OVER, {"to": 3}).code, 0)
        group.role(3, "master")
        until(lambda: group.starts(1) > starts, "member 1 begins again")
        group.trusted(1)  # there are two copies
        send(client, "T", b"over the same connection")
        true(not client.has_reply(late), "the member that it was sent on to stands still")
        group.brokers[2].thaw()
        # It takes it for the master's still, or has learnt meanwhile who that is.
        true(client.reply(late).code in (0, codes.NOT_AVAILABLE), "it is answered")
        client.close()


@claims.claim
def a_hand_over_waits_for_no_name_server_that_hangs():
    with Group(forwardWaitMillis=30000, registerBrokerTimeoutMills=60000) as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 1)
            group.namesrv.freeze()
            equal(group.ask(1, HAND_OVER, {"to": 2}).code, 0)
            group.role(2, "master")
            send(client, "T", b"by way of the old master")
            group.namesrv.thaw()


@claims.claim
def consumers_stay_known_to_a_member_that_hands_over_and_are_told_when_one_leaves():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        clients = {name: remoting.Client(group.ports[1]) for name in ("one", "two", "three")}
        for name, client in clients.items():
            admin.heartbeat(client, name, [admin.consumer("Stays", [admin.subscription("T")])])
        starts = group.starts(1)
        equal(group.ask(1, HAND_OVER, {"to": 2}).code, 0)
        group.role(2, "master")
        until(lambda: group.starts(1) > starts, "the old master begins again")
        one = clients.pop("one")
        equal(sorted(admin.consumer_ids(one, "Stays")), ["one", "three", "two"])
        told = len(one.requests(codes.NOTIFY_CONSUMERS_CHANGED))
        clients.pop("two").close()
        one.wait_requests(codes.NOTIFY_CONSUMERS_CHANGED, told + 1)
        equal(sorted(admin.consumer_ids(one, "Stays")), ["one", "three"])
        one.close()
        clients["three"].close()


@claims.claim
def a_master_that_was_replaced_refuses_what_it_owes():
    with Group(replicaAck="strict", slaveTimeout=60000) as group:
        group.role(1, "master")
        group.trusted(2)
        old = remoting.Client(group.ports[1])
        admin.make_topic(old, "T", 1)
        send(old, "T", b"kept")
        group.brokers[2].freeze()
        lone = [old.send(codes.SEND_V2, messages.send_fields("T"), b"owed %d" % i)
                for i in range(10)]
        topic = old.send(codes.UPDATE_TOPIC, admin.topic_fields("U"))
        until(lambda: group.status(1)["written"] > group.status(1)["confirmed"], "written at one")
        group.brokers[1].freeze()
        group.brokers[2].thaw()
        group.promote(2)
        group.brokers[1].thaw()
        answers = [old.reply(opaque).code for opaque in lone]
        answer = old.reply(topic).code
        group.trusted(1)
        with remoting.Client(group.ports[2]) as client:
            # With its copy all that lies before it is seen.
            send(client, "T", b"later")
            stored = bodies(client, "T")
            made = dialect.loads(admin.expect(client.call(codes.ALL_TOPICS)).body)["topicConfigTable"]
        # What was on its way the other one may have taken and reported before it promised.
        for i, code in enumerate(answers):
            true(code == codes.NOT_AVAILABLE or (code == 0 and b"owed %d" % i in stored),
                 f"message {i} is answered with {code}; the new master has {stored}")
        true(answer == codes.NOT_AVAILABLE or (answer == 0 and "U" in made), f"the topic: {answer}")
        send(old, "T", b"over the connection that it had")
        old.close()
        group.same_logs()
        equal(group.brokers[1].running(), True)


@claims.claim
def what_nobody_else_has_is_cut_and_kept_aside_in_the_same_process():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 1)
            send(client, "T", b"kept")
            group.brokers[2].kill()
            until(lambda: not group.status(1)["members"][1]["near"], "nobody follows")
            for i in range(100):
                send(client, "T", b"lost %d" % i + b"." * 3000, expect=codes.NO_SLAVE)
            equal(len(bodies(client, "T")), 101)
        group.brokers[1].freeze()
        group.start(2)
        group.promote(2)
        with remoting.Client(group.ports[2]) as client:
            send(client, "T", b"alone", expect=codes.NO_SLAVE)
            group.brokers[1].thaw()
            group.trusted(1)
            send(client, "T", b"later")
            equal(bodies(client, "T"), [b"kept", b"alone", b"later"])
        group.same_logs()
        with remoting.Client(group.ports[1]) as client:
            until(lambda: bodies(client, "T") == [b"kept", b"alone", b"later"], "the same messages")
        aside = [name for name in os.listdir(os.path.join(group.stores[1], "tern"))
                 if name.startswith("cut-")]
        equal(len(aside), 1, "what was cut is kept")
        equal(group.brokers[1].running(), True)


@claims.claim
def offsets_and_delayed_messages_go_with_the_master():
    with Group(messageDelayLevel="5s") as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 1)
            send(client, "T", b"x")
            send(client, "T", b"late", properties={"DELAY": "1"})
            equal(client.call(codes.UPDATE_OFFSET, {"consumerGroup": "G", "topic": "T", "queueId": 0,
                                                    "commitOffset": 1}).code, 0)
        with remoting.Client(group.ports[2]) as client:
            until(lambda: offset_of(client) == "1", "the offset at the other member")
        equal(group.ask(1, HAND_OVER).code, 0)
        group.role(2, "master")
        with remoting.Client(group.ports[2]) as client:
            equal(offset_of(client), "1")
            # At least once: the old one may just have begun to.
            until(lambda: bodies(client, "T")[:2] == [b"x", b"late"], "delivered by the new master")


@claims.claim
def a_member_that_has_just_died_is_handed_nothing():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        group.brokers[2].kill()
        until(lambda: not group.status(1)["members"][1]["connected"], "it is known to be gone")
        for to in ({}, {"to": 2}):
            refused = group.ask(1, HAND_OVER, to)
            equal(refused.code, codes.SYSTEM_ERROR)
            contains(refused.remark, "follows this master")
        equal(group.status(1)["draining"], False)


@claims.claim
def another_list_of_members_or_number_of_copies_is_refused_at_the_start():
    with Group() as group:
        group.role(1, "master")
        members = "1@127.0.0.1:%d;3@127.0.0.1:%d" % (group.ports[1], group.ports[2])
        for changed, says in (({"groupMembers": members}, "1 3"), ({"inSyncReplicas": 1}, "1 copies")):
            group.brokers[1].stop()
            refused = group.start(1, ready=False, **changed)
            refused.wait_end(3)
            contains(refused.log(), says)
            contains(refused.log(), "tern/state")
            group.start(1)
        group.role(1, "master")


@claims.claim
def a_new_group_says_why_it_does_not_begin_and_a_mistake_in_a_file_can_be_mended():
    slave = {"brokerRole": "SLAVE", "brokerId": 1}
    for number, wrong, says in (
            (2, {"brokerRole": "SYNC_MASTER", "brokerId": 0}, "two files say that theirs is the master"),
            (1, slave, "the file of one member has to say brokerRole=SYNC_MASTER"),
            (2, {"inSyncReplicas": 1}, "it begins when all members have been heard")):
        with Group(size=0) as group:
            group.ports = {n: process.free_port() for n in (1, 2)}
            group.stores = {n: process.new_path("store") for n in group.ports}
            group.start(3 - number)
            group.start(number, **wrong)
            for member in group.ports:
                until(lambda: says in group.status(member).get("alarm", ""), "an operator is told why")
            group.brokers[number].stop()
            group.start(number)
            group.role(1, "master")
            group.trusted(2)
            for member in group.ports:
                equal(group.status(member)["alarm"], "", "nothing is left to look at")


@claims.claim
def another_group_of_the_same_messages_writes_in_higher_epochs_than_the_former():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 1)
            send(client, "T", b"kept")
        former = group.promote(2)["epoch"]
        group.trusted(1)
        for number in (1, 2):
            group.brokers[number].stop()
        kept = group.stores[2]
        for name in ("state", "state.bak"):
            os.unlink(os.path.join(kept, "tern", name))
        group.stores = {1: kept, 2: process.new_path("store")}
        group.start(1, ready=False)
        group.start(2, ready=False)
        true(group.role(1, "master")["epoch"] > former, "above what name servers may know")
        group.trusted(2)
        with remoting.Client(group.ports[2]) as client:
            until(lambda: bodies(client, "T") == [b"kept"], "the message is with the new member")


@claims.claim
def who_is_in_no_group_is_not_greeted_and_hands_nothing_over():
    broker = process.Broker()
    with remoting.Client(broker.port) as client:
        for code, why in ((7100, "in no group"), (HAND_OVER, "in no group"),
                          (PROMOTE, "the master already"), (STEP_DOWN, "its configuration says so")):
            reply = client.call(code)
            equal(reply.code, codes.SYSTEM_ERROR)
            contains(reply.remark, why)
        status = json.loads(admin.expect(client.call(STATUS)).body)
        equal((status["plain"], status["role"], status["promoted"]), (True, "master", 0))
    broker.stop()


@claims.claim
def a_slave_of_no_group_that_follows_one_does_not_take_its_place():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        outsider = process.Broker(namesrv=group.namesrv, brokerRole="SLAVE", brokerId=7,
                                  **group.settings)

        def ctl(*words):
            command = [process.CTL, *words, "--broker-name", "broker-a", "-n", group.namesrv.address]
            code, out, err = order.give(command)
            return code, out + err

        def follows():
            with remoting.Client(outsider.port) as client:
                return json.loads(client.call(STATUS).body)["follows"]

        until(lambda: follows()["masterEnd"] > 0, "it has heard of the master's log")
        contains(ctl("group")[1], f"{outsider.address}  no member")
        for number in group.ports:
            group.brokers[number].kill()
        until(lambda: follows()["silentMs"] == -1, "its master is gone")
        code, said = ctl("promote")
        equal(code, 1, said)
        contains(said, f"its master at 127.0.0.1:{group.ports[1]} is a member of a group")
        outsider.stop()


def ctl(group, command, *words):
    frozen = [f"127.0.0.1:{group.ports[n]}" for n, broker in group.brokers.items()
              if broker.running() and broker.state() == "T"]
    code, out, err = order.give(
        [process.CTL, command, "-b", "broker-a", *words, "-n", group.namesrv.address], frozen)
    return code, out + err


@claims.claim
def ternctl_is_not_misled_by_a_wrong_address_or_another_name_of_a_right_one():
    with Group() as group, Group(brokerName="another") as other:
        for each in (group, other):
            each.role(1, "master")
            each.trusted(2)
        elsewhere = f"127.0.0.1:{other.ports[1]}"
        code, said = ctl(group, "group", "--members", elsewhere)
        equal(code, 0, said)
        contains(said, "it is broker another of cluster DefaultCluster, not counted")
        group.brokers[1].kill()
        code, said = ctl(group, "promote", "--members", elsewhere)
        equal(code, 0, said)
        contains(said, "promises that can be had: 1, needed: 1")
        group.role(2, "master")
        equal(other.status(1)["role"], "master")
        code, said = ctl(other, "group", "--members", elsewhere)  # of broker-a, which it is not
        equal(code, 3, said)
        contains(said, "it is broker another of cluster DefaultCluster")
        for words, status in ((["--members", "127.0.0.1"], 2), (["--members", ":1"], 2)):
            code, said = ctl(group, "group", *words)
            equal(code, status, said)
            contains(said, "expected HOST:PORT")

        group.start(1)
        group.trusted(1)
        group.namesrv.stop()  # name servers know members by numbers
        group.namesrv = process.Namesrv(port=group.namesrv.port)
        code, said = ctl(group, "drain", "--members", f"localhost:{group.ports[1]}")
        equal(code, 0, said)
        # By which name depends on who was asked first: the name server may know it already.
        true(any(f"member 1 at {host}:{group.ports[1]} is the master" in said
                 for host in ("localhost", "127.0.0.1")), said)


@claims.claim
def ternctl_hands_nothing_to_who_is_not_there():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        for command in ("promote", "drain"):
            code, said = ctl(group, command, "--to", "7")
            equal(code, 4, said)
            contains(said, "broker-a has no member 7")
        group.brokers[2].freeze()
        for words, status in ((["--to", "2"], 3), ([], 1)):
            code, said = ctl(group, "drain", *words)
            equal(code, status, said)
            contains(said, "answer")
        equal(group.status(1)["draining"], False)
        group.brokers[2].thaw()


@claims.claim
def a_topic_is_with_the_other_member_before_its_maker_hears_of_it():
    with Group(replicaAck="strict", slaveTimeout=10000) as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client, remoting.Client(group.ports[2]) as other:
            for i in range(20):
                admin.make_topic(client, f"T{i}", i + 1)
                topics = dialect.loads(other.call(codes.ALL_TOPICS, {}).body)["topicConfigTable"]
                equal(topics.get(f"T{i}", {}).get("writeQueueNums"), i + 1)
            group.brokers[2].kill()
            refused = client.call(codes.UPDATE_TOPIC, admin.topic_fields("Alone"))
            equal(refused.code, codes.NOT_AVAILABLE)
            contains(refused.remark, "slaveTimeout")


def lock(client, who, *queues):
    """The queues of T that `who` is granted."""
    body = {"clientId": who, "consumerGroup": "G", "mqSet": [
        {"brokerName": "broker-a", "queueId": q, "topic": "T"} for q in queues]}
    reply = client.call(codes.LOCK, {}, json.dumps(body).encode())
    equal(reply.code, 0, reply.remark)
    return sorted(mq["queueId"] for mq in dialect.loads(reply.body)["lockOKMQSet"])


@claims.claim
def a_queue_lock_belongs_to_its_holder_under_the_next_master_too():
    with Group() as group:
        group.role(1, "master")
        group.trusted(2)
        with remoting.Client(group.ports[1]) as client:
            admin.make_topic(client, "T", 4)
            equal(lock(client, "first", 0, 1), [0, 1])
            equal(lock(client, "second", 0, 1, 2), [2])
            equal(client.call(codes.UNLOCK, {}, json.dumps(
                {"clientId": "first", "consumerGroup": "G", "mqSet": [
                    {"brokerName": "broker-a", "queueId": 1, "topic": "T"}]}).encode()).code, 0)
            equal(lock(client, "second", 1), [1])
        group.brokers[1].kill()
        group.promote(2)
        with remoting.Client(group.ports[2]) as client:
            # Alone: there may be another master already.
            equal(lock(client, "first", 0, 1, 2, 3), [])
            group.start(1)
            group.role(1, "following")
            until(lambda: group.status(2)["members"][0]["near"], "the old master is counted")
            equal(lock(client, "second", 0, 1, 2), [1, 2])
            equal(lock(client, "first", 0, 1, 2, 3), [0, 3])


if __name__ == "__main__":
    claims.run()
