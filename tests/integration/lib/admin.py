"""Requests of tools and consumers that many tests need."""
import json

from lib import codes, dialect
from lib.claims import Broken


def expect(reply, code=0):
    if reply.code != code:
        raise Broken(f"expected code {code}: {reply}")
    return reply


def topic_fields(topic, queues=4, perm=6, **more):
    return {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues,
            "writeQueueNums": queues, "perm": perm, "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": 0, "order": False, **more}


def make_topic(client, topic, queues=4, perm=6, **more):
    return expect(client.call(codes.UPDATE_TOPIC, topic_fields(topic, queues, perm, **more)))


def group_config(group, **more):
    config = {"brokerId": 0, "consumeBroadcastEnable": True, "consumeEnable": True,
              "consumeFromMinEnable": True, "groupName": group,
              "notifyConsumerIdsChangedEnable": True, "retryMaxTimes": 16, "retryQueueNums": 1,
              "whichBrokerWhenConsumeSlowly": 1}
    config.update(more)
    return config


def make_group(client, group, **more):
    return expect(client.call(codes.UPDATE_GROUP, {}, json.dumps(group_config(group, **more))
                              .encode()))


def subscription(topic, text="*", version=1, **more):
    tags = [] if text == "*" else [t.strip() for t in text.split("||") if t.strip()]
    from lib.messages import java_hash
    return {"classFilterMode": False, "codeSet": [java_hash(t) for t in tags],
            "expressionType": "TAG", "subString": text, "subVersion": version, "tagsSet": tags,
            "topic": topic, **more}


def consumer(group, subscriptions, **more):
    data = {"consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_PASSIVELY",
            "groupName": group, "messageModel": "CLUSTERING",
            "subscriptionDataSet": subscriptions, "unitMode": False}
    data.update(more)
    return data


def heartbeat(client, client_id, consumers=(), producers=(), code=0):
    body = {"clientID": client_id, "consumerDataSet": list(consumers),
            "producerDataSet": [{"groupName": p} for p in producers]}
    return expect(client.call(codes.HEART_BEAT, None, json.dumps(body).encode()), code)


def consumer_ids(client, group):
    reply = client.call(codes.CONSUMER_LIST, {"consumerGroup": group})
    if reply.code == codes.SYSTEM_ERROR:
        return []
    return sorted(dialect.loads(expect(reply).body)["consumerIdList"])


def query_offset(client, group, topic, queue_id=0, **more):
    """The stored offset, None for code 22."""
    reply = client.call(codes.QUERY_OFFSET, {"consumerGroup": group, "topic": topic,
                                             "queueId": queue_id, **more})
    if reply.code == codes.NOT_FOUND:
        return None
    return int(expect(reply).fields["offset"])


def commit_offset(client, group, topic, queue_id, offset):
    return expect(client.call(codes.UPDATE_OFFSET, {"consumerGroup": group, "topic": topic,
                                                    "queueId": queue_id, "commitOffset": offset}))


def max_offset(client, topic, queue_id=0):
    return int(expect(client.call(codes.MAX_OFFSET, {"topic": topic, "queueId": queue_id}))
               .fields["offset"])


def route(client, topic):
    """The route, None when the topic has none."""
    reply = client.call(codes.ROUTE, {"topic": topic})
    if reply.code == codes.NO_TOPIC:
        return None
    return dialect.loads(expect(reply).body)


def runtime_info(client):
    return dialect.loads(expect(client.call(codes.RUNTIME_INFO)).body)["table"]
