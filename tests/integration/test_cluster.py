"""scripts/cluster: a whole cluster for trying out, which ends nothing but what it started."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

from lib import claims, order, process, remoting
from lib.claims import contains, equal, true, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(tempfile.mkdtemp(prefix="cluster-"), "state")
NAMES = ["namesrv-1", "namesrv-2", "broker-a", "broker-b", "broker-a-slave", "broker-b-slave"]


def cluster(*arguments, code=0):
    found, out, err = order.give(
        [os.path.join(ROOT, "scripts", "cluster"), "-d", FOLDER, "-b", process.BUILD, "-p", *arguments])
    equal(found, code, f"{arguments}: {out}{err}")
    return out + err


def states():
    """name -> (state, address, pid) of what `status` prints."""
    rows = re.findall(r"^(\S+) +(runs|DOWN|stopped)(?: +(\S+:\d+) +(?:pid (\d+)|see .*))?$",
                      cluster("status"), re.M)
    return {name: (state, address, int(pid or 0)) for name, state, address, pid in rows}


def running():
    return [name for name, (state, _, _) in states().items() if state == "runs"]


def ctl(*arguments):
    found, out, err = order.give([process.CTL, *arguments, "-n", namesrvs()])
    equal(found, 0, f"{arguments}: {out}{err}")
    return out


def namesrvs():
    now = states()
    return f"{now['namesrv-1'][1]};{now['namesrv-2'][1]}"


def counted(master, member):
    """Waits until the broker called `master` is one, and counts that member of its group."""
    def near():
        port = int(states()[master][1].rpartition(":")[2])
        with remoting.Client(port) as client:
            status = json.loads(client.call(7101).body)
        return status["role"] == "master" and any(
            m["id"] == member and m["near"] for m in status["members"])

    until(near, f"{master} counts member {member}")


@claims.claim
def up_starts_a_cluster_that_takes_messages_on_both_masters():
    contains(cluster("status"), "no cluster")
    out = cluster("up")
    equal(list(states()), NAMES)
    equal(running(), NAMES)
    contains(out, namesrvs())
    for name in ("broker-a", "broker-b"):
        contains(out, f"{name}: the master is member 1 at")
        counted(name, 2)
    made = ctl("topic", "create", "orders")
    for name in ("broker-a", "broker-b"):
        contains(made, f"{name} ({states()[name][1]})")
    for i in range(20):
        ctl("send", "orders", f"message {i}")


@claims.claim
def each_slave_has_what_its_master_has():
    def logs(names):
        found = set()
        for name in names:
            for path in glob.glob(os.path.join(FOLDER, name, "store", "commitlog", "*")):
                with open(path, "rb") as file:
                    found |= set(re.findall(rb"message \d+", file.read()))
        return found
    for name in ("broker-a", "broker-b"):
        until(lambda: logs([name]) and logs([name]) == logs([f"{name}-slave"]), name)
    equal(len(logs(["broker-a-slave", "broker-b-slave"])), 20)


@claims.claim
def a_second_up_changes_nothing():
    before = states()
    cluster("up")
    equal(states(), before)


@claims.claim
def one_that_is_killed_comes_back_at_its_place_with_its_messages():
    for name in ("broker-a", "namesrv-2"):
        before = states()
        contains(cluster("kill", name), f"pid {before[name][2]}")
        equal(states()[name][0], "DOWN")
        equal(running(), [n for n in NAMES if n != name])
        contains(cluster("kill", name, code=1), "does not run")
        cluster("up")
        after = states()
        equal(after[name][1], before[name][1])
        true(after[name][2] != before[name][2], "it is the same process")
        equal({n: s for n, s in after.items() if n != name},
              {n: s for n, s in before.items() if n != name})
    out = ctl("consume", "orders", "--from", "first", "--max", "20", "--timeout", "60")
    equal(len(set(re.findall(r"message \d+", out))), 20, out)


def masters():
    return dict(re.findall(r"^(broker-.): the master is member (\d) at", cluster("status"), re.M))


@claims.claim
def a_slave_is_promoted_and_the_old_master_follows_it_with_its_unchanged_file():
    until(lambda: masters() == {"broker-a": "1", "broker-b": "1"}, "both masters")
    conf = os.path.join(FOLDER, "broker-a", "conf")
    with open(conf, encoding="utf-8") as file:
        before = file.read()
    cluster("kill", "broker-a")
    out = cluster("promote", "broker-a-slave")
    contains(out, "nothing that was acknowledged can be lost")
    contains(out, f"name server {states()['namesrv-2'][1]} routes to")
    until(lambda: masters() == {"broker-a": "2", "broker-b": "1"}, "the promoted one is the master")
    cluster("up")
    until(lambda: re.search(r"^ 1 .*following", ctl("group", "--broker-name", "broker-a"), re.M),
          "the old master follows")
    counted("broker-a-slave", 1)
    counted("broker-b", 2)
    with open(conf, encoding="utf-8") as file:
        equal(file.read(), before)
    for i in range(20, 24):
        ctl("send", "orders", f"message {i}")
    ctl("drain", "--broker-name", "broker-a", "--to", "1")
    until(lambda: masters() == {"broker-a": "1", "broker-b": "1"}, "it is handed over to")


@claims.claim
def up_waits_for_no_master_that_was_told_to_be_one_no_longer():
    ctl("demote", "--broker-name", "broker-a")
    for change in (), ("kill", "broker-a"):
        if change:
            cluster(*change)
        cluster("up")
        equal("broker-a" in masters(), False)
    cluster("promote", "broker-a")
    counted("broker-a", 2)


@claims.claim
def down_stops_all_cleanly_and_up_has_the_messages_again():
    cluster("down")
    equal({state for state, _, _ in states().values()}, {"stopped"})
    for name in NAMES:
        with open(os.path.join(FOLDER, name, "log"), encoding="utf-8") as log:
            true(log.read().rstrip().endswith("stopped"), name)
    cluster("down")
    cluster("up")
    until(lambda: "orders" in ctl("topic", "list"), "the topic")
    out = ctl("consume", "orders", "--group", "second", "--from", "first", "--max", "24",
              "--timeout", "60")
    equal(len(set(re.findall(r"message \d+", out))), 24, out)


@claims.claim
def the_demo_loses_nothing_with_its_master():
    cluster("down")
    found, out, err = process.run_program(
        [os.path.join(ROOT, "scripts", "demo-failover"), process.BUILD, "--seconds", "0.3"],
        seconds=200)
    equal(found, 0, f"{out}{err}")
    contains(out, "lost 0   reordered 0   vanished 0")
    contains(out, "handed over to it again")


@claims.claim
def a_process_that_it_did_not_start_is_left_alone():
    cluster("down")
    stranger = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    path = os.path.join(FOLDER, "broker-a", "pid")
    # The id was given to somebody else: the time of the start tells.
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{stranger.pid} 1\n")
    equal(states()["broker-a"][0], "DOWN")
    contains(cluster("kill", "broker-a", code=1), "does not run")
    cluster("down")
    equal(stranger.poll(), None)
    stranger.kill()
    stranger.wait()
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{stranger.pid} \n")  # it had ended before it was asked when it began
    equal(states()["broker-a"][0], "DOWN")


@claims.claim
def what_does_not_start_is_shown_with_its_reason():
    conf = os.path.join(FOLDER, "broker-b", "conf")
    with open(conf, "a", encoding="utf-8") as file:
        file.write("flushDiskTyp=SYNC_FLUSH\n")
    out = cluster("up", code=1)
    contains(out, "flushDiskTyp")
    contains(out, "broker-b did not start")
    equal(states()["broker-a"][0], "runs")
    equal(states()["broker-b"][0], "DOWN")
    cluster("down")
    equal(running(), [])


@claims.claim
def ports_that_somebody_takes_meanwhile_are_chosen_anew():
    """Nobody listens there, so they look free, and cannot be had. In a network without others."""
    takes = ("import socket, subprocess, sys\n"
             "held = [socket.socket() for _ in range(2)]\n"
             "for one, port in zip(held, (10911, 10941)):\n"
             "    one.bind(('127.0.0.1', port))\n"
             "sys.exit(subprocess.call(['bash', '-c', sys.argv[1]]))")
    run = (f"{ROOT}/scripts/cluster -b {process.BUILD} -d {FOLDER}-taken")
    found, out, err = process.run_program(
        ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec python3 -c "$0" "$1"', takes,
         f"{run} up; code=$?; {run} down && exit $code"], seconds=120)
    equal(found, 0, f"{out}{err}")
    for name, port in (("broker-a", 10951), ("broker-a-slave", 10931 + 40), ("broker-b", 10961),
                       ("broker-b-slave", 10981), ("namesrv-1", 9876)):
        true(re.search(rf"^{name} +runs +127.0.0.1:{port} ", out, re.M), f"{name}: {out}{err}")


@claims.claim
def wrong_usage_is_refused():
    for arguments in ((), ("promote",), ("kill",), ("up", "now"), ("kill", "broker-z")):
        cluster(*arguments, code=1)


if __name__ == "__main__":
    try:
        claims.run()
    finally:  # what a broken claim has left
        for pid in [pid for _, _, pid in states().values() if pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(os.path.dirname(FOLDER), ignore_errors=True)
