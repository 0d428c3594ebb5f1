"""Files that were damaged behind a broker's back: what is in the log is served all the same, nothing wrong
is, and who asks is told."""
import os
import shutil

from lib import admin, claims, codes, load, messages, process, remoting, store_reader
from lib.claims import contains, equal, true, until

RUNS_SANITIZED = True

SEGMENT = 65536
SMALL = {"mappedFileSizeCommitLog": SEGMENT, "maxMessageSize": 16384,
         "mappedFileSizeConsumeQueue": 2000, "scrubBytesPerSecond": 0}
UNIT, UNITS = store_reader.UNIT, 100
QUEUES, EACH = 2, 250


def body(queue_id, number):
    return b"%d-%d-" % (queue_id, number) + b"." * 150


def build():
    """A store with QUEUES queues of EACH messages, and some delayed ones; stopped."""
    store = process.new_path("store")
    broker = process.Broker(store=store, **SMALL)
    with remoting.Client(broker.port) as client:
        admin.make_topic(client, "Harmed", QUEUES)
        admin.make_group(client, "Reader", retryMaxTimes=7)
        for i in range(EACH):
            for q in range(QUEUES):
                messages.send(client, "Harmed", body(q, i), q, {"TAGS": f"Tag{i % 3}",
                                                                "KEYS": f"key-{q}-{i}"})
        messages.send(client, "Harmed", b"later", 0, {"DELAY": "18"})
        admin.commit_offset(client, "Reader", "Harmed", 0, 17)
    broker.stop()
    equal(store_reader.Store(store, False).problems, [])
    return store


_built = None


def copy_of_built():
    global _built
    if _built is None:
        _built = build()
    store = process.new_path("store")
    shutil.copytree(_built, store)
    return store


def start(store, **more):
    return process.Broker(store=store, **{**SMALL, **more})


def queue_file(store, queue_id, number):
    return os.path.join(store, "consumequeue", "Harmed", str(queue_id),
                        f"{number * UNITS * UNIT:020d}")


def patch(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def flip(path, at, bit=0x10):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def read(client, queue_id, group="G", subscription="*"):
    """All messages of a queue. While an entry is repaired the queue looks as if it ended there."""
    found, offset = [], 0
    while True:
        pulled = messages.pull(client, "Harmed", queue_id, offset, group=group,
                               subscription=subscription, sys_flag=6, suspend_ms=2000)
        found += pulled.messages
        true(pulled.next >= offset, f"a pull at {offset} goes back to {pulled.next}")
        offset = pulled.next
        if offset >= pulled.max:
            return found


def check_whole(client, lost=()):
    """Every message in its place, but those at (queue, offset) in `lost`."""
    for q in range(QUEUES):
        found = [(m.queue_offset, m.body) for m in read(client, q)]
        equal(found[:EACH], [(i, body(q, i)) for i in range(EACH) if (q, i) not in lost][:EACH],
              f"queue {q}")


def spoilers():
    return {
        "an entry leads elsewhere": lambda s: flip(queue_file(s, 0, 0), 41 * UNIT + 6),
        "an entry of another size": lambda s: flip(queue_file(s, 0, 0), 41 * UNIT + 11),
        "a page of zeroes": lambda s: patch(queue_file(s, 0, 1), 20 * UNIT, b"\0" * 60 * UNIT),
        "a file that is gone": lambda s: os.unlink(queue_file(s, 0, 1)),
        "a file that is short": lambda s: os.truncate(queue_file(s, 0, 1), 777),
        "two files swapped": lambda s: (
            os.rename(queue_file(s, 0, 1), s + "/x"),
            os.rename(queue_file(s, 1, 0), queue_file(s, 0, 1)),
            os.rename(s + "/x", queue_file(s, 1, 0))),
        "a queue that is gone": lambda s: shutil.rmtree(os.path.dirname(queue_file(s, 0, 0))),
        "all queues gone": lambda s: shutil.rmtree(os.path.join(s, "consumequeue")),
    }


def what_was_spoilt_is_whole_again(what, spoil, crashed):
    store = copy_of_built()
    spoil(store)
    if crashed:
        with open(os.path.join(store, "abort"), "wb"):
            pass
    broker = start(store, scrubBytesPerSecond=1 << 30 if crashed else 0)
    with remoting.Client(broker.port) as client:
        check_whole(client)
        info = admin.runtime_info(client)
        equal((info["ternDamagedRecords"], info["ternEntriesGivenUp"], info["ternRepairsWaiting"]),
              ("0", "0", "0"), what)
        if crashed:
            until(lambda: admin.runtime_info(client)["ternScrubbedTo"] == info["ternScrubEnd"],
                  "the scrub is through")
        equal(messages.send(client, "Harmed", b"next", 0).queue_offset, EACH)
        equal(admin.query_offset(client, "Reader", "Harmed"), 17)
    broker.stop()
    equal(store_reader.Store(store, False).problems, [], f"problems after {what}")


for _name, _spoil in list(spoilers().items())[::3 if process.SANITIZED else 1]:
    for _crashed in (False,) if process.SANITIZED else (False, True):
        claims.add(f"{_name.replace(' ', '_')}_costs_no_message"
                   f"{'_after_a_crash' if _crashed else ''}",
                   lambda w=_name, s=_spoil, c=_crashed: what_was_spoilt_is_whole_again(w, s, c))


@claims.claim
def a_waiting_consumer_gets_the_message_behind_a_repair_and_skips_none():
    store = copy_of_built()
    for at in (41, 42, 180):
        flip(queue_file(store, 0, at // UNITS), at % UNITS * UNIT + 6)
    broker = start(store)
    consumer = load.Consumer(broker.port, "Harmed", 0)  # long polling, from the beginning
    consumer.start()
    until(lambda: len(consumer.seen) >= EACH or consumer.error, "the consumer has seen all")
    equal(consumer.error, None)
    equal(consumer.seen, [body(0, i) for i in range(EACH)], "what it has seen")
    contains(broker.log(), "was wrong and is repaired", "the log")
    broker.stop()
    consumer.join(60)
    equal(store_reader.Store(store, False).problems, [])


@claims.claim
def a_store_whose_derived_files_are_all_gone_comes_back():
    store = copy_of_built()
    for name in ("consumequeue", "index", "tern", "config"):
        shutil.rmtree(os.path.join(store, name), ignore_errors=True)
    for name in ("checkpoint", "abort"):
        if os.path.exists(os.path.join(store, name)):
            os.unlink(os.path.join(store, name))
    broker = start(store)
    with remoting.Client(broker.port) as client:
        check_whole(client)
        equal(admin.max_offset(client, store_reader.SCHEDULE, 17), 1, "the delayed message")
        equal(messages.send(client, "Harmed", b"next", 1).queue_offset, EACH)
    broker.stop()
    found = store_reader.Store(store, False)
    equal(found.problems, [])
    true("Harmed" in found.config["topics.json"]["topicConfigTable"], "the topic is configured")


# --- the log ---

def harmed_log(*places):
    """Flips a bit of the body of these messages of queue 0."""
    store = copy_of_built()
    records = store_reader.Store(store, False).expected["Harmed", 0]
    for at in places:
        segment = records[at].log_offset // SEGMENT * SEGMENT
        flip(os.path.join(store, "commitlog", f"{segment:020d}"),
             records[at].log_offset - segment + 100)
    return store, [records[at].log_offset for at in places]


@claims.claim
def a_damaged_record_is_reported_with_its_offset_and_everything_else_is_served():
    for crashed in (False, True):
        store, offsets = harmed_log(30, 31, 200)
        if crashed:
            with open(os.path.join(store, "abort"), "wb"):
                pass
            os.unlink(os.path.join(store, "tern", "queues"))
        broker = start(store)
        with remoting.Client(broker.port) as client:
            check_whole(client, lost={(0, 30), (0, 31), (0, 200)})
            for offset in offsets:
                contains(broker.log(), f"damage at log offset {offset}:", "the log")
                true(client.call(codes.VIEW_MESSAGE, {"offset": offset}).code != 0, "it is served")
            true(int(admin.runtime_info(client)["ternDamagedRecords"]) in (2, 3),
                 "neighbours may count as one")
            equal(messages.send(client, "Harmed", b"next", 0).queue_offset, EACH)
        broker.stop()


@claims.claim
def the_scrub_reports_what_nobody_reads():
    store, offsets = harmed_log(77)
    flip(queue_file(store, 1, 2), 3 * UNIT + 19)
    broker = start(store, scrubBytesPerSecond=1 << 30)
    with remoting.Client(broker.port) as client:
        until(lambda: admin.runtime_info(client)["ternScrubbedTo"] ==
              admin.runtime_info(client)["ternScrubEnd"], "the scrub is through")
        info = admin.runtime_info(client)
        equal((info["ternScrubProblems"], info["ternDamagedRecords"], info["ternEntriesRepaired"]),
              ("2", "1", "1"))
        contains(broker.log(), f"damage at log offset {offsets[0]}:", "the log")
        contains(broker.log(), "is verified, with 2 problems", "the log")
        # The tag's code was wrong: a filtered pull would have passed over the message.
        found = read(client, 1, "Tagged", "Tag2")
        equal([m.body for m in found], [body(1, i) for i in range(EACH) if i % 3 == 2], "by tag")
    broker.stop()


# --- sizes and names ---

def refused(change, *names):
    store = copy_of_built()
    change(store)
    broker = start(store, ready=False)
    broker.wait_end(3)
    for name in names:
        contains(broker.log().splitlines()[-1], name, "the reason")
    shutil.rmtree(store)


def only_segment_renamed(store):
    folder = os.path.join(store, "commitlog")
    for name in sorted(os.listdir(folder))[1:]:
        os.unlink(os.path.join(folder, name))
    os.rename(os.path.join(folder, "0" * 20), os.path.join(folder, f"{10 * SEGMENT:020d}"))


@claims.claim
def files_of_a_wrong_size_or_name_stop_the_start_and_are_named():
    def write(store, name, data=b"x"):
        with open(os.path.join(store, name), "wb") as file:
            file.write(data)

    first, log = "0" * 20, "commitlog/"
    refused(lambda s: os.truncate(os.path.join(s, log + first), 1000), first, "1000 bytes",
            "mappedFileSizeCommitLog")
    refused(lambda s: os.truncate(os.path.join(s, log + first), 300000), first, "300000 bytes")
    refused(lambda s: write(s, log + "notes.txt"), "notes.txt")
    refused(lambda s: write(s, log + "00000000000000000001", b"\0" * SEGMENT),
            "00000000000000000001")
    refused(lambda s: os.unlink(os.path.join(s, log + f"{SEGMENT:020d}")), f"{SEGMENT:020d} is missing")
    refused(only_segment_renamed, f"{10 * SEGMENT:020d}", "begins with the record of log offset 0",
            "not what its name says")

    # Queue folders are looked at when the last stop was not clean.
    def crashed(change):
        def both(store):
            write(store, "abort")
            change(store)
        return both

    refused(crashed(lambda s: os.truncate(queue_file(s, 0, 0), 2020)), first, "2020 bytes",
            "mappedFileSizeConsumeQueue")
    refused(crashed(lambda s: write(s, "consumequeue/Harmed/0/notes.txt")), "notes.txt")


claims.run()
