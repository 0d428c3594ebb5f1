"""A replicated group under test: members on hosts of their own, two name servers, faults on demand.

Each member has one configuration file, which never changes, whatever role it comes to have. A member
that is away has the role "away".
"""
import json
import os

from lib import admin, codes, dialect, order, process, remoting
from lib.claims import Broken, equal, until

PORT, NAMES_PORT = 10911, 9876
STATUS, PROMOTE, HAND_OVER, STEP_DOWN = 7101, 7102, 7103, 7104
SMALL = {"mappedFileSizeCommitLog": 16 << 20, "maxMessageSize": 65536, "scrubBytesPerSecond": 0}
FAST = {"haSendHeartbeatInterval": 100, "masterStartWait": 1000, "slaveTimeout": 1000,
        "registerNameServerPeriod": 10000}


class Member:
    def __init__(self, group, number, host, settings, store=None):
        self.group, self.number, self.host = group, number, host
        self.store = store or process.new_path(f"store{number}")
        self.file = process.new_path(f"member{number}") + ".conf"
        with open(self.file, "w", encoding="utf-8") as file:
            for key, value in settings.items():
                file.write(f"{key}={value}\n")
        self.broker = None

    def __repr__(self):
        return f"member {self.number}"

    @property
    def address(self):
        return f"{self.host.address}:{PORT}"

    def start(self, ready=True):
        self.broker = process.Broker(namesrv=self.group.names_text, store=self.store,
                                     config=self.file, sizes=None, listenPort=PORT,
                                     wrapper=self.host.wrapper, ready=ready)
        return self

    def kill(self):
        self.broker.kill()

    def stop(self):
        self.broker.stop()

    def freeze(self):
        self.broker.freeze()

    def thaw(self):
        self.broker.thaw()

    @property
    def runs(self):
        return self.broker is not None and not self.broker.expected_end

    def client(self):
        return remoting.Client(PORT, self.host.address)

    def ask(self, code, fields=None, seconds=5):
        """Over a connection of its own: a member that begins again closes all."""
        with self.client() as client:
            return client.call(code, fields or {}, seconds=seconds)

    def status(self):
        """What it says of itself and the others; the role "away" when it does not answer, or not in 5 s."""
        away = {"role": "away", "master": 0, "members": [], "written": -1, "doubtful": True, "alarm": ""}
        if not self.runs or self.broker.state() == "T":
            return away
        try:
            reply = self.ask(STATUS)
        except (OSError, remoting.Closed, AssertionError):
            return away
        return json.loads(reply.body) if reply.code == 0 else away

    def says(self):
        """The same of one that lives, however long it takes to answer."""
        def answered():
            status = self.status()
            return status if status["role"] != "away" else None

        return until(answered, f"{self} answers")

    def role(self):
        return self.status()["role"]

    def leads(self):
        """Waits until it is the master, writes are open, and enough copies can be had."""
        until(lambda: self.role() == "master", f"{self} is the master")
        return self

    def near(self, member):
        """A master counts `member`."""
        return any(m["id"] == member.number and m["near"] for m in self.says()["members"])

    def log_bytes(self):
        """Where the log begins, and its files' bytes."""
        folder = os.path.join(self.store, "commitlog")
        data = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                data[int(name)] = file.read()
        return min(data), b"".join(data.values())


class Group:
    """Members 1 .. `size`. The file of the first says `role` for ever, those of the others SLAVE."""

    def __init__(self, network, size=3, copies=2, role="SYNC_MASTER", stores=None, **settings):
        self.network, self.copies = network, copies
        self.names = []
        self.name_hosts = [network.host() for _ in range(2)]
        hosts = [network.host() for _ in range(size)]
        for host in self.name_hosts:
            self.names.append(process.Namesrv(port=NAMES_PORT, bindAddress=host.address,
                                              wrapper=host.wrapper))
        self.names_text = ";".join(f"{h.address}:{NAMES_PORT}" for h in self.name_hosts)
        listed = ";".join(f"{n}@{h.address}:{PORT}" for n, h in enumerate(hosts, 1))
        self.members = []
        for number, host in enumerate(hosts, 1):
            self.members.append(Member(self, number, host, {
                **SMALL, **FAST, "brokerRole": role if number == 1 else "SLAVE",
                "brokerId": 0 if number == 1 else number, "groupMembers": listed,
                "memberId": number, "inSyncReplicas": copies, "replicaAck": "strict",
                "bindAddress": host.address, **settings}, (stores or {}).get(number)))

    def __enter__(self):
        return self

    def __exit__(self, kind, *unused):
        self.network.heal()
        for member in self.members:
            if member.runs:
                member.thaw()
        if kind is None:
            self.stop()
        for name in self.names:
            name.stop()

    def start(self):
        """All at once; returns the master, with all others following it and counted."""
        for member in self.members:
            member.start(ready=False)
        for member in self.members:
            member.broker.wait_ready()
        return self.whole()

    def stop(self):
        """All running members, cleanly, at once."""
        running = [m for m in self.members if m.runs]
        for member in running:
            member.broker.signal(15)
        for member in running:
            member.stop()

    def master(self):
        """The member that leads; of two that think so the one with the higher epoch."""
        leading = [(s["epoch"], m) for m, s in ((m, m.status()) for m in self.members)
                   if s["role"] == "master"]
        return max(leading, key=lambda pair: pair[0])[1] if leading else None

    def leader(self):
        """Likewise, waited for: a master that lives may be slow."""
        return until(self.master, "a member leads")

    def whole(self, *absent):
        """Waits until there is one master, and all others that are not `absent` follow it, are
        trusted and count."""
        def found():
            statuses = {m: m.status() for m in self.members if m not in absent}
            leading = [m for m, s in statuses.items() if s["role"] == "master"]
            if len(leading) != 1:
                return None
            near = {x["id"] for x in statuses[leading[0]]["members"] if x["near"]}
            for member, status in statuses.items():
                if member is leading[0]:
                    continue
                if (status["role"] != "following" or status["doubtful"] or
                        member.number not in near):
                    return None
            return leading[0]

        try:
            return until(found, "a whole group")
        except Broken as error:
            raise Broken(f"{error}: {self.describe()}") from None

    def describe(self):
        return "; ".join(f"{m}: {m.status()}" for m in self.members)

    def promote(self, to, unclean=False, names=None):
        """An operator's command, which asks the name servers `names` (all); returns who leads then:
        `to`, or whoever has more."""
        code, out, err = order.give(
            [process.CTL, "promote", "-b", "broker-a", "-n", names or self.names_text, "--to",
             str(to.number), "--members", ";".join(m.address for m in self.members)] +
            (["--unclean"] if unclean else []), self.stand_still())
        if code != 0:
            raise Broken(f"ternctl promote --to {to.number}: status {code}: {out}{err}; "
                         f"{self.describe()}")
        return self.leader()

    def drain(self):
        """Likewise: the master hands over to whoever has everything first."""
        code, out, err = order.give([process.CTL, "drain", "-b", "broker-a", "-n", self.names_text],
                                    self.stand_still())
        if code != 0:
            raise Broken(f"ternctl drain: status {code}: {out}{err}; {self.describe()}")
        return self.leader()

    def stand_still(self):
        """Where members are that this test has frozen."""
        return [m.address for m in self.members if m.runs and m.broker.state() == "T"]

    def make_topic(self, topic, queues):
        """Once more when its copies have taken longer than slaveTimeout."""
        def made():
            with self.leader().client() as client:
                fields = admin.topic_fields(topic, queues)
                return client.call(codes.UPDATE_TOPIC, fields).code == 0

        until(made, f"topic {topic} is made")

    def routed_to(self, topic, member):
        """Waits until all name servers that can be asked send clients there."""
        for host in self.name_hosts:
            with remoting.Client(NAMES_PORT, host.address) as client:
                def routed():
                    reply = client.call(codes.ROUTE, {"topic": topic})
                    if reply.code != 0:
                        return False
                    addresses = dialect.loads(reply.body)["brokerDatas"][0]["brokerAddrs"]
                    return addresses.get("0", addresses.get(0)) == member.address
                until(routed, f"{host} sends clients to {member}")

    def same_logs(self):
        """Waits until all running members have logs of one length, and compares every byte. Returns
        where they end."""
        running = [m for m in self.members if m.runs]

        def one_end():
            ends = {m.status()["written"] for m in running}
            return ends.pop() if len(ends) == 1 else None

        try:
            end = until(one_end, "logs of one length")
        except Broken as error:
            raise Broken(f"{error}: {self.describe()}") from None
        logs = [m.log_bytes() for m in running]
        low = max(begin for begin, _ in logs)
        first = logs[0][1][low - logs[0][0]:end - logs[0][0]]
        for member, (begin, data) in zip(running, logs):
            other = data[low - begin:end - begin]
            if other != first:
                at = next(i for i, (a, b) in enumerate(zip(first, other)) if a != b)
                raise Broken(f"{member} and {running[0]} differ at log offset {low + at}")
        return end

    def verify(self):
        """Of stopped members: every folder is in order."""
        for member in self.members:
            code, out, err = process.run_program([process.CTL, "store", "verify", member.store])
            equal(code, 0, f"ternctl store verify of {member}: {out}{err}")
