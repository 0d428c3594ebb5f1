"""Consumers: heartbeats and who hears of them, offsets, queue locks, retries and dead letters."""

from lib import admin, claims, codes, dialect, messages, process, remoting, store_reader
from lib.claims import equal, true, until
from lib.messages import pull, send

RUNS_SANITIZED = True

LEVELS = "1s 2s"

broker = process.Broker(messageDelayLevel=LEVELS, ioThreads=2)


def connect(**options):
    return remoting.Client(broker.port, **options)


main = connect()
NOTIFY = codes.NOTIFY_CONSUMERS_CHANGED


def join(client, client_id, group, *subscriptions, **more):
    return admin.heartbeat(client, client_id, [admin.consumer(
        group, [admin.subscription(*s) if isinstance(s, tuple) else admin.subscription(s)
                for s in subscriptions or ("BenchmarkTest",)], **more)])


# --- notifications ---

@claims.claim
def a_newcomer_hears_of_itself_before_its_heartbeat_is_answered():
    for serialize in (remoting.JSON, remoting.BINARY):
        with connect(serialize=serialize) as client:
            group = f"Newcomer{serialize}"
            join(client, "one", group)
            equal([(f.is_response, f.code) for f in client.arrived],
                  [(False, NOTIFY), (True, 0)], "frames in order")
            request = client.arrived[0]
            equal(request.fields, {"consumerGroup": group})
            equal((request.flag, request.serialize), (remoting.FLAG_ONEWAY, remoting.JSON))


@claims.claim
def everybody_in_the_group_hears_of_a_newcomer_and_nobody_else():
    with connect() as one, connect() as two, connect() as stranger:
        join(stranger, "stranger", "OtherGroup")
        join(one, "one", "Hears")
        join(two, "two", "Hears")
        equal(len(one.wait_requests(NOTIFY, 2)), 2)
        stranger.round_trip()
        equal(len(stranger.requests(NOTIFY)), 1, "its own")
        equal(admin.consumer_ids(main, "Hears"), ["one", "two"])
        equal(admin.consumer_ids(one, "Hears"), ["one", "two"])


@claims.claim
def a_repeated_heartbeat_notifies_nobody():
    with connect() as client:
        for version in (1, 1, 2, 3):  # a new version alone is no change of the set
            join(client, "same", "Repeated", ("BenchmarkTest", "*", version))
        equal(len(client.requests(NOTIFY)), 1)
        pulled = pull(client, "BenchmarkTest", group="Repeated", sys_flag=0, sub_version=3)
        equal(pulled.code, codes.PULL_NOT_FOUND, "the newer version is known")


@claims.claim
def a_changed_set_of_topics_notifies_the_group():
    with connect() as client:
        join(client, "x", "ChangedSet", "BenchmarkTest")
        join(client, "x", "ChangedSet", "BenchmarkTest", "TBW102")
        equal(len(client.requests(NOTIFY)), 2, "a topic more")
        join(client, "x", "ChangedSet", "TBW102")
        equal(len(client.requests(NOTIFY)), 3, "a topic less")
        equal(pull(client, "BenchmarkTest", group="ChangedSet", sys_flag=0).code,
              codes.NO_SUBSCRIPTION, "the topic that is gone")
        equal(pull(client, "TBW102", group="ChangedSet", sys_flag=0).code, codes.PULL_NOT_FOUND)


@claims.claim
def the_last_heartbeat_of_a_group_wins():
    with connect() as one, connect() as two:
        send(main, "LastWins", b"a", 0, {"TAGS": "TagA"})
        send(main, "LastWins", b"b", 0, {"TAGS": "TagB"})
        join(one, "one", "LastWinsG", ("LastWins", "TagA", 1))
        equal([m.body for m in pull(one, "LastWins", group="LastWinsG", sys_flag=0,
                                    sub_version=1).messages], [b"a"])
        join(two, "two", "LastWinsG", ("LastWins", "TagB", 2))
        equal([m.body for m in pull(one, "LastWins", group="LastWinsG", sys_flag=0,
                                    sub_version=1).messages], [b"b"])
        join(one, "one", "LastWinsG", ("LastWins", "TagA", 1))  # an older version does not
        equal([m.body for m in pull(one, "LastWins", group="LastWinsG", sys_flag=0,
                                    sub_version=1).messages], [b"b"])


@claims.claim
def the_rest_of_a_group_hears_of_a_closed_connection():
    with connect() as one:
        join(one, "one", "Closing")
        two = connect()
        join(two, "two", "Closing")
        one.wait_requests(NOTIFY, 2)
        two.close()
        one.wait_requests(NOTIFY, 3)
        equal(admin.consumer_ids(main, "Closing"), ["one"])


@claims.claim
def the_rest_of_a_group_hears_of_an_unregistered_client():
    with connect() as one, connect() as two:
        join(one, "one", "Leaving")
        join(two, "two", "Leaving")
        one.wait_requests(NOTIFY, 2)
        before = len(two.requests(NOTIFY))
        two.call(codes.UNREGISTER_CLIENT, {"clientID": "two", "consumerGroup": "Leaving"})
        one.wait_requests(NOTIFY, 3)
        equal(admin.consumer_ids(main, "Leaving"), ["one"])
        two.round_trip()
        equal(len(two.requests(NOTIFY)), before, "the one who left is told nothing")


@claims.claim
def a_group_that_does_not_want_to_hear_hears_nothing():
    admin.make_group(main, "Deaf", notifyConsumerIdsChangedEnable=False)
    with connect() as one, connect() as two:
        join(one, "one", "Deaf")
        join(two, "two", "Deaf")
        one.round_trip()
        two.round_trip()
        equal((one.requests(NOTIFY), two.requests(NOTIFY)), ([], []))
        equal(admin.consumer_ids(main, "Deaf"), ["one", "two"])


@claims.claim
def a_client_may_be_in_many_groups_and_leaves_them_all_with_its_connection():
    client = connect()
    groups = [f"Multi{i}" for i in range(20)]
    admin.heartbeat(client, "multi", [admin.consumer(g, [admin.subscription("BenchmarkTest")])
                                      for g in groups], [f"P{g}" for g in groups])
    equal([admin.consumer_ids(main, g) for g in groups], [["multi"]] * 20)
    equal({f.fields["consumerGroup"] for f in client.requests(NOTIFY)}, set(groups))
    client.close()
    until(lambda: all(not admin.consumer_ids(main, g) for g in groups), "all groups are left")
    for group in groups:
        reply = main.call(codes.PRODUCER_CONNECTIONS, {"producerGroup": f"P{group}"})
        equal(reply.code, codes.SYSTEM_ERROR)


@claims.claim
def a_heartbeat_makes_the_group_and_its_retry_topic_and_routes_it():
    with connect() as client:
        join(client, "r", "Routed")
        groups = dialect.loads(main.call(codes.ALL_GROUPS).body)["subscriptionGroupTable"]
        equal(groups["Routed"], admin.group_config("Routed"))
        topics = dialect.loads(main.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        equal((topics["%RETRY%Routed"]["readQueueNums"], topics["%RETRY%Routed"]["perm"]), (1, 6))
        with remoting.Client(broker.namesrv_port) as namesrv:
            until(lambda: admin.route(namesrv, "%RETRY%Routed"), "a route of the retry topic")


@claims.claim
def a_broadcasting_group_may_be_forbidden():
    admin.make_group(main, "NoBroadcast", consumeBroadcastEnable=False)
    with connect() as client:
        join(client, "b", "NoBroadcast", messageModel="BROADCASTING")
        equal(pull(client, "BenchmarkTest", group="NoBroadcast", sys_flag=0).code,
              codes.NO_PERMISSION)
        for asked in ({"sub_version": 99}, {"topic": "TBW102"}):  # whatever else is wrong
            fields = {"topic": "BenchmarkTest", "group": "NoBroadcast", "sys_flag": 0, **asked}
            equal(pull(client, **fields).code, codes.NO_PERMISSION, str(asked))
        join(client, "b", "NoBroadcast", messageModel="CLUSTERING")
        equal(pull(client, "BenchmarkTest", group="NoBroadcast", sys_flag=0,
                   sub_version=1).code, codes.PULL_NOT_FOUND)


# --- offsets ---

@claims.claim
def offsets_go_backwards_and_a_negative_one_is_as_good_as_none():
    for i in range(10):
        send(main, "Offsets", b"%d" % i)
    for offset in (10, 3, 7, 0):
        admin.commit_offset(main, "OffsetsG", "Offsets", 0, offset)
        equal(admin.query_offset(main, "OffsetsG", "Offsets", setZeroIfNotFound=False), offset)
    admin.commit_offset(main, "OffsetsG", "Offsets", 0, 5)
    admin.commit_offset(main, "OffsetsG", "Offsets", 0, -1)
    equal(admin.query_offset(main, "OffsetsG", "Offsets", setZeroIfNotFound=False), None)
    equal(admin.query_offset(main, "OffsetsG", "Offsets"), 0, "a young queue begins at 0")


@claims.claim
def offsets_beyond_the_end_are_clamped_to_it():
    for i in range(4):
        send(main, "Clamp", b"%d" % i)
    for offset in (5, 1 << 40, (1 << 63) - 1):
        admin.commit_offset(main, "ClampG", "Clamp", 0, offset)
        equal(admin.query_offset(main, "ClampG", "Clamp"), 4)
    pull(main, "Clamp", 0, 0, group="ClampG2", sys_flag=5, commit=99)
    equal(admin.query_offset(main, "ClampG2", "Clamp"), 4, "committed by a pull")


@claims.claim
def offsets_of_groups_and_queues_are_kept_apart():
    admin.make_topic(main, "Apart", 3)
    for queue in range(3):
        for _ in range(5):
            send(main, "Apart", b"x", queue)
    for group in ("GA", "GB"):
        for queue in range(3):
            admin.commit_offset(main, group, "Apart", queue, queue + (group == "GB"))
    equal([admin.query_offset(main, "GA", "Apart", q) for q in range(3)], [0, 1, 2])
    equal([admin.query_offset(main, "GB", "Apart", q) for q in range(3)], [1, 2, 3])
    table = dialect.loads(main.call(codes.ALL_OFFSETS).body)["offsetTable"]
    equal((table["Apart@GA"], table["Apart@GB"]), ({0: 0, 1: 1, 2: 2}, {0: 1, 1: 2, 2: 3}))
    admin.expect(main.call(codes.DELETE_GROUP, {"groupName": "GA", "removeOffset": True}))
    table = dialect.loads(main.call(codes.ALL_OFFSETS).body)["offsetTable"]
    true("Apart@GA" not in table and "Apart@GB" in table, "only the offsets of GA are gone")


# --- locks ---

def lock(client, client_id, group, *queues, code=codes.LOCK):
    body = {"clientId": client_id, "consumerGroup": group,
            "mqSet": [dict(dialect.mq("BenchmarkTest", q)) for q in queues]}
    reply = admin.expect(client.call(code, None, dialect.dumps(body).encode()))
    if code == codes.UNLOCK:
        return None
    return sorted(m["queueId"] for m in dialect.loads(reply.body)["lockOKMQSet"])


@claims.claim
def a_queue_is_locked_by_one_client_of_a_group():
    with connect() as one, connect() as two:
        equal(lock(one, "one", "LockG", 0, 1, 2), [0, 1, 2])
        equal(lock(two, "two", "LockG", 1, 2, 3), [3])
        equal(lock(two, "two", "OtherLockG", 1, 2), [1, 2], "another group")
        lock(one, "one", "LockG", 1, code=codes.UNLOCK)
        equal(lock(two, "two", "LockG", 1, 2), [1])
        lock(two, "two", "LockG", 0, code=codes.UNLOCK)  # not its own
        equal(lock(two, "two", "LockG", 0), [])


@claims.claim
def a_lock_outlives_the_connection_and_belongs_to_the_client_id():
    with connect() as client:
        equal(lock(client, "owner", "Outlive", 5), [5])
    with connect() as client:
        equal(lock(client, "thief", "Outlive", 5), [])
        equal(lock(client, "owner", "Outlive", 5), [5])
        client.send(codes.UNLOCK, None, dialect.dumps(
            {"clientId": "owner", "consumerGroup": "Outlive",
             "mqSet": [dict(dialect.mq("BenchmarkTest", 5))]}).encode(),
            flag=remoting.FLAG_ONEWAY)
        client.round_trip()
        equal(lock(client, "thief", "Outlive", 5), [5], "unlocked one-way")


# --- delays, retries, dead letters ---

def arrivals(topic, count, queues=1):
    """Waits until that many messages are in a topic."""
    def enough():
        found = [m for q in range(queues) for m in messages.pull_all(main, topic, q)]
        return found if len(found) >= count else None

    return until(enough, f"{count} messages in {topic}")


@claims.claim
def a_delayed_message_is_delivered_once_and_not_before_its_time():
    admin.make_topic(main, "Delayed", 2)
    sent = [send(main, "Delayed", b"level%d" % level, 1, {"DELAY": str(level), "TAGS": "TagA"})
            for level in (1, 2)]
    equal([s.queue_id for s in sent], [1, 1], "the queue that was asked for")
    delivered = arrivals("Delayed", 2, 2)
    for message, level, where in zip(sorted(delivered, key=lambda m: m.body), (1, 2), sent):
        equal((message.queue_id, message.body), (1, b"level%d" % level))
        original = messages.decode_all(main.call(
            codes.VIEW_MESSAGE, {"offset": where.log_offset}).body)[0]
        equal((original.topic, original.queue_id), ("SCHEDULE_TOPIC_XXXX", level - 1))
        equal((original.properties["REAL_TOPIC"], original.properties["REAL_QID"]),
              ("Delayed", "1"))
        true(message.store_time >= original.store_time + level * 1000,
             f"level {level} came {message.store_time - original.store_time} ms later")
        for name in ("DELAY", "REAL_TOPIC", "REAL_QID", "TAGS"):
            equal(message.properties[name], original.properties[name], name)
        equal((message.born_time, message.born_host), (original.born_time, original.born_host))
    equal(len(pull(main, "Delayed", 1, subscription="TagA").messages), 2, "found by tag")
    until(lambda: dialect.loads(main.call(codes.ALL_DELAYS).body)["offsetTable"] == {1: 1, 2: 1},
          "the progress of the levels, once it is on the disk")


@claims.claim
def a_level_above_the_last_is_the_last_and_below_the_first_is_none():
    admin.make_topic(main, "Levels", 1)
    high = send(main, "Levels", b"high", 0, {"DELAY": "99"})
    for value in ("0", "-3", "x"):
        send(main, "Levels", b"now", 0, {"DELAY": value})
    equal([m.body for m in pull(main, "Levels").messages].count(b"now"), 3, "stored at once")
    original = messages.decode_all(main.call(codes.VIEW_MESSAGE,
                                             {"offset": high.log_offset}).body)[0]
    equal(original.queue_id, 1)
    equal(sorted(m.body for m in arrivals("Levels", 4)), [b"high"] + [b"now"] * 3)


@claims.claim
def a_waiting_pull_is_answered_by_a_delivery():
    admin.make_topic(main, "DelayedPull", 1)
    with connect() as client:
        opaque = client.send(codes.PULL, messages.pull_fields("DelayedPull", sys_flag=6,
                                                              suspend_ms=600000))
        client.round_trip()
        send(main, "DelayedPull", b"x", 0, {"DELAY": "1"})
        equal([m.body for m in messages.Pulled(client.reply(opaque)).messages], [b"x"])


def send_back(group, message, level=0, **more):
    return main.call(codes.SEND_BACK, {
        "offset": message.log_offset, "group": group, "delayLevel": level,
        "originMsgId": message.properties.get("UNIQ_KEY", ""), "originTopic": message.topic,
        "unitMode": False, **more})


@claims.claim
def a_message_that_fails_comes_back_later_and_rests_among_the_dead_letters_at_last():
    group = "Fails"
    send(main, "FailsTopic", b"poison", 2, {"TAGS": "TagA", "KEYS": "k", "WAIT": "true"}, flag=9)
    first = pull(main, "FailsTopic", 2).messages[0]
    current = first
    for attempt in (1, 2):
        admin.expect(send_back(group, current, maxReconsumeTimes=2))
        found = arrivals(f"%RETRY%{group}", attempt)[-1]
        equal((found.body, found.flag, found.reconsume_times), (b"poison", 9, attempt))
        equal((found.born_time, found.born_host), (first.born_time, first.born_host))
        equal(found.properties["RETRY_TOPIC"], "FailsTopic")
        equal(found.properties["ORIGIN_MESSAGE_ID"], first.offset_id)
        equal((found.properties["TAGS"], found.properties["KEYS"]), ("TagA", "k"))
        true(found.store_time > current.store_time, "stored later")
        current = found
    admin.expect(send_back(group, current, maxReconsumeTimes=2))
    dead = arrivals(f"%DLQ%{group}", 1)
    equal([(m.body, m.reconsume_times, m.queue_id) for m in dead], [(b"poison", 3, 0)])
    equal(dead[0].properties["RETRY_TOPIC"], "FailsTopic")
    equal(dead[0].properties["ORIGIN_MESSAGE_ID"], first.offset_id)
    topics = dialect.loads(main.call(codes.ALL_TOPICS).body)["topicConfigTable"]
    equal((topics[f"%DLQ%{group}"]["readQueueNums"], topics[f"%DLQ%{group}"]["perm"]), (1, 6))


@claims.claim
def the_delay_of_a_retry_grows_with_the_attempts_or_is_the_one_asked_for():
    group = "Grows"
    send(main, "GrowsTopic", b"x")
    first = pull(main, "GrowsTopic").messages[0]

    def schedule():
        return [m for q in (0, 1) for m in messages.pull_all(main, "SCHEDULE_TOPIC_XXXX", q)
                if m.properties.get("REAL_TOPIC") == f"%RETRY%{group}"]

    admin.expect(send_back(group, first, 0))
    admin.expect(send_back(group, first, 1))
    equal(sorted((m.properties["DELAY"], m.queue_id) for m in schedule()),
          [("1", 0), ("3", 1)], "level and queue: 3 + attempts, above the last is the last")
    retried = arrivals(f"%RETRY%{group}", 2)
    admin.expect(send_back(group, retried[0], 0))
    equal(sorted(m.properties["DELAY"] for m in schedule()), ["1", "3", "4"])


@claims.claim
def a_negative_level_goes_to_the_dead_letters_at_once():
    send(main, "AtOnce", b"x")
    admin.expect(send_back("AtOnceG", pull(main, "AtOnce").messages[0], -1))
    equal([m.body for m in messages.pull_all(main, "%DLQ%AtOnceG")], [b"x"])


@claims.claim
def the_limit_of_the_group_holds_when_the_client_names_none():
    admin.make_group(main, "Limit0", retryMaxTimes=0)
    send(main, "Limit", b"x")
    message = pull(main, "Limit").messages[0]
    admin.expect(send_back("Limit0", message))
    equal(len(messages.pull_all(main, "%DLQ%Limit0")), 1)
    old = remoting.Client(broker.port, version=120)  # too old to name one
    reply = old.call(codes.SEND_BACK, {"offset": message.log_offset, "group": "Limit0",
                                       "delayLevel": 0, "maxReconsumeTimes": 16})
    equal(reply.code, 0)
    equal(len(messages.pull_all(main, "%DLQ%Limit0")), 2)
    old.close()


@claims.claim
def a_group_without_retry_queues_drops_what_is_sent_back():
    admin.make_group(main, "NoRetry", retryQueueNums=0)
    send(main, "NoRetryTopic", b"x")
    admin.expect(send_back("NoRetry", pull(main, "NoRetryTopic").messages[0]))
    topics = dialect.loads(main.call(codes.ALL_TOPICS).body)["topicConfigTable"]
    true("%RETRY%NoRetry" not in topics and "%DLQ%NoRetry" not in topics, "a topic was made")


@claims.claim
def a_send_to_a_retry_topic_that_was_tried_often_enough_goes_to_the_dead_letters():
    admin.make_group(main, "Tried", retryMaxTimes=3)
    for times, more, dead in ((2, {}, 0), (3, {}, 1), (9, {"maxReconsumeTimes": 10}, 1),
                              (10, {"maxReconsumeTimes": 10}, 2)):
        send(main, "%RETRY%Tried", b"%d" % times, 0, reconsumeTimes=times, **more)
        topics = dialect.loads(main.call(codes.ALL_TOPICS).body)["topicConfigTable"]
        found = messages.pull_all(main, "%DLQ%Tried") if "%DLQ%Tried" in topics else []
        equal(len(found), dead, f"dead letters after {times} of {more}")
    equal([m.body for m in messages.pull_all(main, "%RETRY%Tried")], [b"2", b"9"])


@claims.claim
def what_waits_for_its_time_is_delivered_after_a_hard_stop_and_after_a_clean_one():
    for hard in (True, False):
        store = process.new_path("store")
        own = process.Broker(store=store, messageDelayLevel="1s 5s")
        with remoting.Client(own.port) as client:
            admin.make_topic(client, "Later", 1)
            for i in range(3):
                send(client, "Later", b"%d" % i, 0, {"DELAY": "2"})
            send(client, "Later", b"soon", 0, {"DELAY": "1"})
            until(lambda client=client: len(messages.pull_all(client, "Later")) >= 1,
                  "the first level")
        (own.kill if hard else own.stop)()
        found = store_reader.Store(store, crashed=hard, delays="1s 5s")
        equal(found.problems, [])
        own = process.Broker(store=store, messageDelayLevel="1s 5s")
        with remoting.Client(own.port) as client:
            def delivered(client=client):
                return sorted(m.body for m in messages.pull_all(client, "Later"))

            every = [b"0", b"1", b"2", b"soon"]
            until(lambda: set(delivered()) >= set(every), "the rest")
            bodies = delivered()
            equal(sorted(set(bodies)) if hard else bodies, every)  # at least once
        own.stop()
        found = store_reader.Store(store, crashed=False, delays="1s 5s")
        equal(found.problems, [])
        equal(found.config["delayOffset.json"]["offsetTable"], {1: 1, 2: 3})


@claims.claim
def a_delivered_message_is_not_delayed_again_when_it_is_sent_back():
    """Its text still says DELAY; the copy has the level of the retry, once."""
    admin.make_topic(main, "Again", 1)
    send(main, "Again", b"x", 0, {"DELAY": "1"})
    message = arrivals("Again", 1)[0]
    admin.expect(send_back("AgainG", message, 1))
    retried = arrivals("%RETRY%AgainG", 1)[0]
    equal((retried.body, retried.properties["RETRY_TOPIC"]), (b"x", "Again"))
    equal(retried.raw_properties.count(b"DELAY\x01"), 1)
    equal(len(arrivals("Again", 1)), 1, "nothing came to the first topic again")


@claims.claim
def a_clean_store_is_left_after_all_that():
    main.close()
    broker.stop()
    equal(store_reader.Store(broker.store, crashed=False, delays=LEVELS).problems, [])


claims.run()
