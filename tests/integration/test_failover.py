"""Members of a replicated group are killed, frozen, cut off, filled up and restarted under load: nothing
that was acknowledged is lost or out of order, nothing that a consumer has seen vanishes, and the logs of
all members end up the same byte for byte. Longer, and with all modes: scripts/failover."""
import os
import random

from lib import admin, claims, hosts, messages
from lib.claims import claim, equal, true, until
from lib.group import Group
from lib.verdict import Acked, Load, judge

NETWORK = hosts.Network()  # before anything makes a thread
SEED = random.randrange(1 << 30)


def under_load(group, queues=2, more=300):
    group.start()
    group.make_topic("Load", queues)
    load = Load(group, "Load", queues).start()
    load.wait_acked(more)
    return load


def kept(group, load):
    """All members are back. Ends the load: its verdict, the logs, the folders."""
    group.whole()
    verdict = load.finish()
    equal((verdict.lost, verdict.reordered, verdict.vanished), (0, 0, 0),
          f"lost, reordered, vanished, seed {SEED}, {verdict.examples}")
    group.same_logs()
    group.stop()
    group.verify()
    return verdict


def others(group, member):
    return [m for m in group.members if m is not member]


@claim
def the_judge_finds_what_is_planted():
    def counts(acked, seen, stored):
        verdict = judge(acked, seen, stored)
        return verdict.lost, verdict.reordered, verdict.vanished, verdict.duplicated

    good = [Acked(7, 0, 1.0, 2.0), Acked(8, 1, 1.5, 2.5), Acked(9, 3, 3.0, 4.0)]
    equal(counts(good, [7, 8], [7, 8, 8, 9]), (0, 0, 0, 1))
    equal(counts(good, [7, 8], [7, 8]), (1, 0, 0, 0))
    equal(counts(good, [7, 8], [7, 9, 8, 9]), (1, 0, 1, 1))
    equal(counts([Acked(7, 1, 1.0, 2.0), Acked(8, 0, 3.0, 4.0)], [], [8, 7]), (0, 1, 0, 0))
    equal(counts([Acked(7, 1, 1.0, 2.0), Acked(8, 0, 1.5, 4.0)], [], [8, 7]), (0, 0, 0, 0))


@claim
def kills_of_master_and_slaves_at_random_moments():
    chance = random.Random(SEED)
    with Group(NETWORK) as group:
        load = under_load(group)
        for _ in range(3):
            master = group.leader()
            victim = chance.choice([master, master, *others(group, master)])
            load.wait_acked(chance.randrange(1, 400))
            victim.kill()
            if victim is master:
                group.promote(chance.choice(others(group, master)))
            load.wait_acked(100)
            victim.start()
            group.whole()
        kept(group, load)


@claim
def a_frozen_slave_and_a_frozen_master():
    with Group(NETWORK) as group:
        load = under_load(group)
        master = group.leader()
        slave, heir = others(group, master)
        slave.freeze()
        load.wait_acked(100)
        slave.thaw()
        group.whole()
        master.freeze()
        heir = group.promote(heir)
        load.wait_acked(100)
        # It wakes up as the master that it was, with its clients' connections.
        master.thaw()
        kept(group, load)


@claim
def a_promotion_while_the_old_master_runs_cut_off_with_its_clients():
    with Group(NETWORK) as group:
        load = under_load(group)
        master = group.leader()
        # Clients, this test, reach all; only the members do not reach each other.
        for other in others(group, master):
            NETWORK.cut(master.host, other.host)
        with master.client() as client:
            refused = messages.send(client, "Load", b"\0" * 12, 0, expect=14)
            true(refused.code == 14, "no success without a copy")
        group.promote(others(group, master)[1])
        load.wait_acked(100)
        # No member can tell it; name servers do, who send nobody there any more.
        until(lambda: master.role() not in ("master", "away"), "the old master has heard of the new epoch")
        NETWORK.heal()
        # It may ask for promises once more, but others have the higher log.
        true(group.whole() is not master, "the old master does not lead")
        kept(group, load)


@claim
def cuts_in_one_direction():
    with Group(NETWORK) as group:
        load = under_load(group)
        master = group.leader()
        first, second = others(group, master)
        NETWORK.cut_one_way(master.host, first.host)
        load.wait_acked(100)
        NETWORK.heal()
        group.whole()
        NETWORK.cut_one_way(first.host, master.host)
        NETWORK.cut_one_way(first.host, second.host)
        load.wait_acked(100)
        NETWORK.heal()
        # A master that is heard, and hears nobody.
        group.whole()
        for slave in (first, second):
            NETWORK.cut_one_way(slave.host, master.host)
        group.promote(second)
        load.wait_acked(100)
        NETWORK.heal()
        true(group.whole() is not master, "the old master does not lead")
        kept(group, load)


@claim
def name_servers_out_of_reach_of_the_brokers():
    with Group(NETWORK) as group:
        load = under_load(group)
        master = group.leader()
        heir, _ = others(group, master)
        for member in group.members:
            NETWORK.cut(member.host, group.name_hosts[0])
        master.kill()
        heir = group.promote(heir, names=group.names_text.split(";")[1])
        load.wait_acked(100)
        for member in group.members:
            NETWORK.cut(member.host, group.name_hosts[1])
        load.wait_acked(100)
        NETWORK.heal()
        group.routed_to("Load", heir)
        master.start()
        kept(group, load)


@claim
def a_slave_whose_disk_is_full():
    disk = NETWORK.small_disk(512 << 20)  # more than comes while the slave is behind, however long
    with Group(NETWORK, stores={3: os.path.join(disk, "store")},
               mappedFileSizeCommitLog=4 << 20, diskSpaceWarningLevelRatio=100,
               cleanFileForciblyEnable=False) as group:
        load = under_load(group)
        third = group.members[2]
        filler = os.path.join(disk, "filler")
        hosts.fill(filler)
        until(lambda: "no room" in third.status()["alarm"], "the slave says that it has no room")
        load.wait_acked(300)
        os.unlink(filler)

        def goes_on():
            status = third.status()
            return status["role"] == "following" and status["alarm"] == ""

        until(goes_on, "it goes on, and says nothing more")
        kept(group, load)


@claim
def a_slave_that_is_slow():
    with Group(NETWORK) as group:
        load = under_load(group)
        slave = others(group, group.leader())[0]
        for _ in range(10):
            slave.freeze()
            load.wait_acked(20)
            slave.thaw()
            load.wait_acked(5)
        kept(group, load)


@claim
def everything_at_once_is_killed_and_restarted():
    with Group(NETWORK) as group:
        load = under_load(group)
        epoch = group.leader().says()["epoch"]
        for member in group.members:
            member.kill()
        for member in group.members:
            member.start(ready=False)
        for member in group.members:
            member.broker.wait_ready()
        true(group.whole().says()["epoch"] > epoch, "a new epoch")
        load.wait_acked(100)
        kept(group, load)


@claim
def an_old_master_gives_up_a_tail_that_nobody_else_has():
    with Group(NETWORK, slaveTimeout=60000) as group:
        load = under_load(group)
        master = group.leader()
        with master.client() as client:
            admin.make_topic(client, "Alone", 1)
            messages.send(client, "Alone", b"with all")
            for other in others(group, master):
                NETWORK.cut(master.host, other.host)
            # Stored, never acknowledged, seen by nobody.
            client.send(310, messages.send_fields("Alone"), b"alone")
            until(lambda: b"alone" in master.log_bytes()[1], "it has what nobody else has")
            master.kill()
        heir = group.promote(others(group, master)[0])
        # Not earlier: what the dead one had sent would arrive now.
        NETWORK.heal()
        load.wait_acked(100)
        with heir.client() as client:
            equal([m.body for m in messages.pull_all(client, "Alone")], [b"with all"])
            messages.send(client, "Alone", b"of the new one")
        master.start()
        group.whole()
        with master.client() as client:
            until(lambda: [m.body for m in messages.pull_all(client, "Alone")] ==
                  [b"with all", b"of the new one"], "the old master has what the new one has")
        kept(group, load)


if __name__ == "__main__":
    claims.run()
