"""ternctl store: what it says of sound stores, of stores that a kill left behind, and of a byte that
changed in each kind of file."""
import json
import os
import re
import shutil
import subprocess
import tarfile
import time

from lib import admin, claims, codes, load, messages, process, remoting, store_reader
from lib.claims import claim, contains, equal, true, until
from lib.process import CTL

RUNS_SANITIZED = "asan"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ARCHIVES = os.path.join(ROOT, "tests", "data", "rocketmq-store")
SOUND, PROBLEMS, CANNOT = range(3)
# Files so small that there are several of each kind.
SMALL = {"mappedFileSizeCommitLog": 65536, "maxMessageSize": 16384,
         "mappedFileSizeConsumeQueue": 2000, "maxHashSlotNum": 500, "maxIndexNum": 2000}
QUEUES, PER_QUEUE = 3, 130
# As broker.conf in the archives of RocketMQ's folders says.
INDEX_ENTRIES_AT = 40 + 4 * SMALL["maxHashSlotNum"]
ROCKETMQ_INDEX = "--index-slots", "500", "--index-entries", "2000"


def fill(client):
    """Tags, keys, delayed messages, a topic that was deleted and made again, groups and offsets."""
    admin.make_topic(client, "Tools", QUEUES)
    admin.make_topic(client, "Again", 1)
    admin.make_group(client, "Readers")
    for number in range(20):
        messages.send(client, "Again", b"earlier %d" % number)
    admin.expect(client.call(codes.DELETE_TOPIC, {"topic": "Again"}))
    admin.make_topic(client, "Again", 1)
    for number in range(PER_QUEUE):
        for queue in range(QUEUES):
            messages.send(client, "Tools", b"%d-%d" % (queue, number) + b"." * 300, queue,
                          {"TAGS": "T%d" % (number % 3), "KEYS": "k%d" % number})
    for number in range(7):
        messages.send(client, "Again", b"later %d" % number)
        messages.send(client, "Tools", b"delayed", 0, {"DELAY": "18"})
    for queue in range(QUEUES):
        admin.commit_offset(client, "Readers", "Tools", queue, 10 + queue)


def make_store(end):
    store = process.new_path("store")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        fill(client)
        until(lambda: admin.runtime_info(client)["ternCommitLogFlushed"] ==
              admin.runtime_info(client)["ternCommitLogWritten"], "everything is flushed")
    end(broker)
    return store


STOPPED = make_store(process.Broker.stop)
KILLED = make_store(process.Broker.kill)


def copy(store):
    to = process.new_path("copy")
    subprocess.run(["cp", "-r", "--sparse=always", store, to], check=True)
    return to


def tool(*arguments, code, **options):
    found, out, err = process.run_program([CTL, *arguments], **options)
    equal(found, code, f"exit status of ternctl {' '.join(arguments)} ({out}{err})")
    return out, err


def verify(store, *arguments, code=SOUND):
    """The findings as (severity, file, offset, what), and the summary."""
    out, _ = tool("store", "verify", store, "--json", *arguments, code=code)
    found = json.loads(out)
    return [(f["severity"], f["file"], f["offset"], f["what"]) for f in found["findings"]], \
        found.get("summary")


def hash_log(store):
    folder = os.path.join(store, "commitlog")
    return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}


def files_below(store):
    return sorted(os.path.relpath(os.path.join(folder, name), store)
                  for folder, _, names in os.walk(store) for name in names)


def flip(store, name, at):
    with open(os.path.join(store, name), "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


def file_of(store, pattern, which=0):
    return [f for f in files_below(store) if re.fullmatch(pattern, f)][which]


# --- what is sound ---

@claim
def a_store_after_a_clean_stop_is_sound():
    findings, summary = verify(STOPPED)
    equal([f for f in findings if f[0] == "problem"], [])
    # the first "Again" lies below the floor that its deletion left
    equal(summary["records"], 20 + QUEUES * PER_QUEUE + 7 + 7)
    equal(summary["entriesCompared"], QUEUES * PER_QUEUE + 7 + 7)
    true(summary["indexEntriesCompared"] >= QUEUES * PER_QUEUE, "keys")
    true(summary["cleanStop"], "a clean stop")
    true(summary["segments"] > 2, "several segments")


@claim
def a_store_after_kill_9_is_sound_and_what_the_next_start_does_is_said():
    findings, summary = verify(KILLED)
    equal([f for f in findings if f[0] == "problem"], [])
    true(not summary["cleanStop"], "no clean stop")
    contains(" ".join(f[3] for f in findings), "the next start reads the log from")


@claim
def directories_of_rocketmq_are_sound():
    for name, clean in (("clean49", True), ("killed49", False)):
        to = process.new_path(name)
        with tarfile.open(os.path.join(ARCHIVES, name + ".tar.xz")) as archive:
            archive.extractall(to, filter="data")
        findings, summary = verify(os.path.join(to, "store"), *ROCKETMQ_INDEX)
        equal([f for f in findings if f[0] == "problem"], [], name)
        equal(summary["cleanStop"], clean, name)
        true(summary["indexEntriesCompared"] > summary["records"], f"{name}: keys of records")


@claim
def a_flipped_byte_in_an_index_file_is_named():
    to = process.new_path("clean49")
    with tarfile.open(os.path.join(ARCHIVES, "clean49.tar.xz")) as archive:
        archive.extractall(to, filter="data")
    store = os.path.join(to, "store")
    name = file_of(store, r"index/\d{17}")
    entries = 40 + 4 * 500  # of the first file
    slot = next(at for at in range(40, entries, 4)
                if open(os.path.join(store, name), "rb").read()[at:at + 4] != bytes(4))
    for at, named in ((20 * 7 + entries + 3, 20 * 7 + entries), (20 * 9 + entries + 11, None),
                      (20 * 11 + entries + 15, 20 * 11 + entries + 12),
                      (20 * 13 + entries + 19, 20 * 13 + entries), (slot + 3, slot), (35, 32)):
        flip(store, name, at)
        findings, _ = verify(store, *ROCKETMQ_INDEX, code=PROBLEMS)
        mine = [f for f in findings if f[0] == "problem" and f[1] == name]
        true(mine, f"byte {at} of {name} is named: {findings}")
        if named is not None:
            equal(mine[0][2], named, f"the byte of {mine[0]}")
        flip(store, name, at)
    verify(store, *ROCKETMQ_INDEX)


@claim
def a_store_in_use_is_refused_by_the_name_of_its_process_and_checked_live():
    store = copy(STOPPED)
    broker = process.Broker(store=store, **SMALL)
    _, err = tool("store", "verify", store, code=CANNOT)
    contains(err, f"in use by process {broker.pid}")
    with remoting.Client(broker.port) as client:
        for number in range(100):
            messages.send(client, "Tools", b"live %d" % number)
        findings, summary = verify(store, "--live")
        equal([f for f in findings if f[0] == "problem"], [])
        true(summary["records"] > 0, "records")
    broker.stop()


@claim
def what_is_no_store_cannot_be_checked():
    contains(tool("store", "verify", "/nowhere", code=CANNOT)[1], "/nowhere is not there")
    empty = process.new_path("empty")
    os.mkdir(empty)
    contains(tool("store", "verify", empty, code=CANNOT)[1], "no store folder")


@claim
def verify_changes_nothing():
    store = copy(KILLED)
    before = {f: open(os.path.join(store, f), "rb").read() for f in files_below(store)}
    verify(store)
    equal({f: open(os.path.join(store, f), "rb").read() for f in files_below(store)}, before)


# --- dump ---

def dump(store, *arguments, code=0):
    out, err = tool("store", "dump", store, *arguments, code=code)
    return [json.loads(line) for line in out.splitlines()], err


@claim
def dump_shows_all_records_or_those_asked_for():
    everything, _ = dump(STOPPED)
    equal(len(everything), 20 + QUEUES * PER_QUEUE + 14)
    places = [r["logOffset"] for r in everything]
    equal(places, sorted(set(places)), "in order of the log")
    of_queue, _ = dump(STOPPED, "--topic", "Tools", "--queue", "2")
    equal([r["offset"] for r in of_queue], list(range(PER_QUEUE)))
    true(all(r["body"].startswith("2-") and r["tag"] and r["keys"] for r in of_queue), "content")
    middle = places[100]
    equal([r["logOffset"] for r in dump(STOPPED, "--offset", str(middle), "--to",
                                        str(places[103]))[0]], places[100:103])
    equal([r["logOffset"] for r in dump(STOPPED, "--max", "5")[0]], places[:5])
    when = everything[200]["storeTimestamp"]
    equal([r["logOffset"] for r in dump(STOPPED, "--time", str(when))[0]],
          [r["logOffset"] for r in everything if r["storeTimestamp"] >= when])
    equal(dump(STOPPED, "--time", "2099-01-01")[0], [])
    contains(dump(STOPPED, "--offset", str(middle + 1), code=CANNOT)[1], "no record begins there")


@claim
def dump_passes_over_damage_and_says_so():
    store = copy(STOPPED)
    name, at = record_at(store, 50)
    flip(store, name, at + 100)
    found, err = dump(store, code=1)
    equal(len(found), 20 + QUEUES * PER_QUEUE + 14 - 1)
    contains(err, "are passed over")


# --- a byte that changed ---

def record_at(store, number):
    """Segment file and byte of a record in the middle of the log."""
    out, _ = tool("store", "dump", store, code=0)
    place = json.loads(out.splitlines()[number])["logOffset"]
    size = SMALL["mappedFileSizeCommitLog"]
    return f"commitlog/{place - place % size:020d}", place % size


QUEUE_FILE = r"consumequeue/Tools/1/\d{20}"
# kind of file: (file, a byte in it, the byte that verify names)
KINDS = {
    "commit_log_body": lambda s: (record_at(s, 50)[0], record_at(s, 50)[1] + 100,
                                  record_at(s, 50)[1]),
    "commit_log_queue_offset": lambda s: (record_at(s, 60)[0], record_at(s, 60)[1] + 27,
                                          record_at(s, 60)[1]),
    "commit_log_size": lambda s: (record_at(s, 70)[0], record_at(s, 70)[1] + 2,
                                  record_at(s, 70)[1]),
    "commit_log_tail": lambda s: (file_of(s, r"commitlog/\d+", -1), 65000, 65000),
    "queue_offset": lambda s: (file_of(s, QUEUE_FILE), 20 * 7 + 6, 20 * 7),
    "queue_size": lambda s: (file_of(s, QUEUE_FILE), 20 * 9 + 11, 20 * 9),
    "queue_tags": lambda s: (file_of(s, QUEUE_FILE), 20 * 11 + 19, 20 * 11),
    "queue_tail": lambda s: (file_of(s, QUEUE_FILE, -1), 1990, 1980),
    "schedule_queue": lambda s: (file_of(s, r"consumequeue/SCHEDULE_TOPIC_XXXX/17/\d+"), 19, 0),
    "mark": lambda s: ("tern/flushed", 30, 0),
    "other_mark": lambda s: ("tern/flushed", 4096 + 30, 4096),
    "snapshot_of_queues": lambda s: ("tern/queues", 40, None),
    "checkpoint": lambda s: ("checkpoint", 9, 8),
    "journal": lambda s: (file_of(s, r"tern/meta/journal-\d+"), 60, None),
    "topics_json": lambda s: ("config/topics.json", 0, None),
    "index_entry": lambda s: (file_of(s, r"index/\d{17}"), INDEX_ENTRIES_AT + 20 * 7 + 3,
                              INDEX_ENTRIES_AT + 20 * 7),
    "index_state": lambda s: ("tern/index", 30, None),
}


def repair(store, *arguments, code=0):
    out, err = tool("store", "repair", store, "--json", *arguments, code=code)
    return json.loads(out) if code == 0 else err


def check_repair(store, *arguments):
    """Sound again, and the log is byte for byte what it was."""
    before = hash_log(store)
    done = repair(store, *arguments)
    equal(hash_log(store) == before, True, "the log")
    equal(done["records"], 20 + QUEUES * PER_QUEUE + 14)
    findings, summary = verify(store)
    equal([f for f in findings if f[0] == "problem"], [])
    equal(summary["entriesCompared"], QUEUES * PER_QUEUE + 14)
    judge(store)
    return done


def judge(store):
    """What the second reader says, which knows nothing of the programs."""
    equal(store_reader.Store(store, deleted=["Again"]).problems, [])


def register(kind, place):
    def check():
        store = copy(STOPPED)
        name, at, named = place(store)
        flip(store, name, at)
        findings, _ = verify(store, code=PROBLEMS)
        mine = [f for f in findings if f[0] == "problem" and f[1] == name]
        true(mine, f"{name} is named: {findings}")
        if named is not None:
            equal(mine[0][2], named, f"the byte of {mine[0]}")
        if not kind.startswith("commit_log"):
            check_repair(store, *(["--index"] if kind.startswith("index") else []))
    what = "named" if kind.startswith("commit_log") else "named_and_repaired"
    claims.add(f"a_flipped_byte_is_{what}_{kind}", check)


for row in KINDS.items():
    register(*row)


@claim
def files_that_are_missing_too_short_or_strangers_are_named():
    store = copy(STOPPED)
    first = file_of(store, QUEUE_FILE)
    os.remove(os.path.join(store, first))
    short = file_of(store, r"consumequeue/Tools/2/\d{20}")
    os.truncate(os.path.join(store, short), 1000)
    open(os.path.join(store, "commitlog", "notes.txt"), "w").close()
    os.truncate(os.path.join(store, file_of(store, r"commitlog/\d+")), 60000)
    findings, _ = verify(store, code=PROBLEMS)
    named = {f[1] for f in findings if f[0] == "problem"}
    for name in (first, short, "commitlog/notes.txt", file_of(store, r"commitlog/\d+")):
        true(name in named, f"{name} is named: {findings}")


# --- repair ---

@claim
def all_queues_are_made_anew_and_a_broker_goes_on_with_them():
    store = copy(STOPPED)
    shutil.rmtree(os.path.join(store, "consumequeue"))
    os.remove(os.path.join(store, "tern", "queues"))
    os.remove(os.path.join(store, "checkpoint"))
    done = check_repair(store, "--queue-file-bytes", str(SMALL["mappedFileSizeConsumeQueue"]))
    true(done["clean"], done)
    broker = process.Broker(store=store, **SMALL)
    contains(broker.log(), "clean stop, log from 0")
    with remoting.Client(broker.port) as client:
        for queue in range(QUEUES):
            equal(len(messages.pull_all(client, "Tools", queue)), PER_QUEUE)
            equal(messages.send(client, "Tools", b"next", queue).queue_offset, PER_QUEUE)
        equal([m.body for m in messages.pull_all(client, "Again", 0)],
              [b"later %d" % n for n in range(7)])
    broker.stop()
    equal([f for f in verify(store)[0] if f[0] == "problem"], [])


@claim
def a_killed_store_is_repaired_and_says_that_the_next_start_reads_the_log():
    store = copy(KILLED)
    done = check_repair(store, "--queue-file-bytes", str(SMALL["mappedFileSizeConsumeQueue"]))
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        equal(len(messages.pull_all(client, "Tools", 1)), PER_QUEUE)
    broker.stop()
    true(done["flushed"] is not None, done)


@claim
def a_queue_whose_messages_are_all_deleted_keeps_its_end():
    store = copy(STOPPED)
    segments = [f for f in files_below(store) if f.startswith("commitlog/")]
    last = len(dump(store)[0])
    # what retention leaves: the log without its first segments
    for name in segments[:-1]:
        os.remove(os.path.join(store, name))
    left = [r for r in dump(store)[0] if r["topic"] == "Tools" and r["queue"] == 2]
    gone = PER_QUEUE - len(left)
    true(0 < gone < 100, f"some are gone, fewer than a file of entries has: {gone}")
    folder = os.path.join(store, "consumequeue", "TBW102", "3")
    os.makedirs(folder)
    with open(os.path.join(store, file_of(store, r"consumequeue/Tools/2/\d{20}")), "rb") as file:
        entries = file.read(20 * gone)
    with open(os.path.join(folder, "0" * 20), "wb") as file:
        file.write(entries.ljust(SMALL["mappedFileSizeConsumeQueue"], b"\0"))
    flip(store, file_of(store, QUEUE_FILE, -1), 5)
    done = repair(store)
    equal(done["keptQueues"], 1)
    true(done["records"] < last, done)
    equal([f for f in verify(store)[0] if f[0] == "problem"], [])
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        equal(admin.max_offset(client, "TBW102", 3), gone)
        equal(messages.send(client, "Tools", b"next", 2).queue_offset, PER_QUEUE)
    broker.stop()


@claim
def damage_in_the_log_stays_until_the_log_is_cut_and_the_cut_is_kept():
    store = copy(STOPPED)
    everything, _ = dump(store)
    name, at = record_at(store, 300)
    offset = everything[300]["logOffset"]
    flip(store, name, at + 100)
    before = hash_log(store)
    equal(repair(store)["damagedPlaces"], 1)
    equal(hash_log(store) == before, True, "the log")
    verify(store, code=PROBLEMS)
    contains(repair(store, "--truncate-at", str(offset + 1), code=CANNOT), "no record begins")
    contains(tool("store", "repair", store, "--truncate-at", str(offset), "--dry-run", code=0)[0],
             f"would end the log at {offset}")
    equal(hash_log(store) == before, True, "the log")
    done = repair(store, "--truncate-at", str(offset))
    equal((done["logEnd"], done["records"], done["clean"]), (offset, 300, True))
    equal([f for f in verify(store)[0] if f[0] == "problem"], [])
    cut = file_of(store, rf"tern/cut-{offset}-\d+")
    with open(os.path.join(store, cut), "rb") as file:
        kept = file.read()
    whole = b"".join(before[n] for n in sorted(before))[offset:]
    equal(whole.startswith(kept) and len(kept) > 1000, True, "the copy of what was cut off")
    broker = process.Broker(store=store, **SMALL)
    contains(broker.log(), f"clean stop, log from 0 to {offset}")
    broker.stop()


@claim
def a_repair_that_is_killed_leaves_what_a_start_makes_whole():
    store = copy(STOPPED)
    flip(store, file_of(store, QUEUE_FILE), 20 * 7 + 6)
    before = hash_log(store)
    killed = 0
    for pause in range(6 if process.SANITIZED else 20):
        asked = subprocess.Popen([CTL, "store", "repair", store], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        time.sleep(pause / 1000)
        asked.kill()
        killed += asked.wait() != 0
        equal(hash_log(store) == before, True, "the log")
    true(killed > 0, "a repair was killed")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        for queue in range(QUEUES):
            equal(len(messages.pull_all(client, "Tools", queue)), PER_QUEUE)
    broker.stop()
    equal([f for f in verify(store)[0] if f[0] == "problem"], [])
    judge(store)


@claim
def a_dry_run_and_a_store_in_use_change_nothing():
    store = copy(STOPPED)
    flip(store, file_of(store, QUEUE_FILE), 20 * 7 + 6)
    before = {f: open(os.path.join(store, f), "rb").read() for f in files_below(store)}
    out, _ = tool("store", "repair", store, "--dry-run", code=0)
    contains(out, "nothing was changed")
    contains(out, "at byte 140")
    equal({f: open(os.path.join(store, f), "rb").read() for f in files_below(store)}, before)
    broker = process.Broker(store=store, **SMALL)
    contains(repair(store, code=CANNOT), f"in use by process {broker.pid}")
    broker.stop()


# --- backup ---

def backup(store, *arguments):
    to = process.new_path("backup")
    out, _ = tool("backup", store, "--to", to, "--json", *arguments, code=0)
    return to, json.loads(out)


class Steady:
    """Producers on a broker while something else happens; what was acknowledged before."""

    def __init__(self, broker, queues=2):
        with remoting.Client(broker.port) as client:
            admin.make_topic(client, "Steady", queues)
        self.producers = [load.Producer(broker.port, "Steady", q) for q in range(queues)]
        for producer in self.producers:
            producer.start()
        load.wait_acked(self.producers, 50)

    def acked(self):
        return [len(p.acked) for p in self.producers]

    def stop(self):
        for producer in self.producers:
            producer.stop()
            equal((producer.error, producer.refused), (None, []), "a producer")


def check_restored(store, steady, acked):
    """A broker on the copy has what was acknowledged before it was made."""
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        for producer, count in zip(steady.producers, acked):
            bodies = load.check_restored(client, producer, count)
            true(len(bodies) >= count, "messages")
        topics = json.loads(client.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        equal(topics["Tools"]["readQueueNums"], QUEUES)
        groups = json.loads(client.call(codes.ALL_GROUPS).body)["subscriptionGroupTable"]
        true("Readers" in groups, "the group")
        for queue in range(QUEUES):
            equal(admin.query_offset(client, "Readers", "Tools", queue), 10 + queue)
        equal(len(messages.pull_all(client, "Again", 0)), 7)
        messages.send(client, "Tools", b"goes on")
    broker.stop()
    equal([f for f in verify(store)[0] if f[0] == "problem"], [])


def backup_of_a_running_broker(*arguments):
    store = copy(STOPPED)
    # no flush meanwhile: what was acknowledged lies above the durable mark
    broker = process.Broker(store=store, flushIntervalCommitLog=60000, **SMALL)
    steady = Steady(broker)
    # a commit is in the journal at most a second after it was acknowledged, and the backup waits
    with remoting.Client(broker.port) as client:
        admin.commit_offset(client, "Readers", "Tools", 2, 12)
    acked = steady.acked()
    to, said = backup(store, *arguments)
    true(said["running"] and said["logEnd"] > 0 and said["segments"] >= 3, said)
    steady.stop()
    judge(to)
    findings, _ = verify(to)
    equal([f for f in findings if f[0] == "problem"], [])
    # another copy, so that the first can be looked at after both brokers have gone on
    again = copy(to)
    check_restored(again, steady, acked)
    broker.stop()
    equal([f for f in verify(store)[0] if f[0] == "problem"], [])
    equal([f for f in verify(to)[0] if f[0] == "problem"], [])
    return to, said


@claim
def a_backup_of_a_running_broker_has_all_that_was_acknowledged_before():
    _, said = backup_of_a_running_broker()
    true(said["hardLinks"] + said["sharedBlocks"] > 0, f"segments are shared: {said}")


@claim
def a_backup_of_bytes_only_shares_nothing():
    to, said = backup_of_a_running_broker("--copy")
    equal((said["hardLinks"], said["sharedBlocks"]), (0, 0))
    for name in files_below(to):
        equal(os.stat(os.path.join(to, name)).st_nlink, 1, name)


@claim
def a_stopped_store_is_backed_up_too_and_a_target_that_is_there_is_refused():
    to, said = backup(STOPPED)
    true(not said["running"], said)
    equal(len(dump(to)[0]), len(dump(STOPPED)[0]))
    equal([f for f in verify(to)[0] if f[0] == "problem"], [])
    contains(tool("backup", STOPPED, "--to", to, code=1)[1], "not empty")
    contains(tool("backup", STOPPED, "--to", os.path.join(STOPPED, "inside"), code=1)[1],
             "inside the store")
    contains(tool("backup", "/nowhere", code=1)[1], "broker's machine")
    equal([f for f in os.listdir(os.path.dirname(to)) if f.endswith(".partial")], [])


if __name__ == "__main__":
    claims.run()
