'use strict';
// test_ali_ons.js - the Node.js RocketMQ client "ali-ons", unchanged, against TernMQ.

const assert = require('assert');

const { Message, producerOf, run, giveUp, Consumer: AnyConsumer } = require('./clients');
const { Cluster, until } = require('./cluster');

let cluster;
let producer;

class Consumer extends AnyConsumer {
  constructor(options) {
    super(Object.assign({ nameSrv: cluster.nameSrv }, options));
  }
}

async function send(topic, bodies, tags) {
  const results = [];
  for (const body of bodies) {
    results.push(await producer.send(new Message(topic, tags || '', body)));
  }
  return results;
}

const names = (prefix, count) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
const sorted = list => Array.from(list).sort();

const topics = [
  'InteropSend', 'InteropAll', 'InteropTags', 'InteropShare', 'InteropBroadcast', 'InteropRetry',
  'InteropKeepSIGTERM', 'InteropKeepSIGKILL',
];

const tests = {
  async 'a send is answered with status, ids, queue and offset'() {
    const [ result ] = await send('InteropSend', [ 'hello' ], 'TagA');
    assert.strictEqual(result.sendStatus, 'SEND_OK');
    assert.match(result.offsetMsgId || result.msgId, /^[0-9A-F]{32}$/);
    assert.strictEqual(result.messageQueue.topic, 'InteropSend');
    assert.ok(result.queueOffset >= 0);
  },

  async 'a push consumer gets everything that was sent, once'() {
    const bodies = names('all', 50);
    await send('InteropAll', bodies);
    const consumer = await new Consumer({ group: 'GID_all', topic: 'InteropAll' }).started();
    await until('50 messages', () => consumer.messages.length >= 50);
    await send('InteropAll', [ 'later' ]);
    await until('the one sent later', () => consumer.bodies.includes('later'));
    assert.deepStrictEqual(sorted(consumer.bodies), sorted(bodies.concat('later')));
    await consumer.end('SIGTERM');
  },

  async 'a consumer with tags gets those tags only'() {
    await send('InteropTags', names('a', 5), 'TagA');
    await send('InteropTags', names('b', 5), 'TagB');
    await send('InteropTags', names('c', 5), 'TagC');
    const consumer = await new Consumer({
      group: 'GID_tags', topic: 'InteropTags', tags: 'TagA || TagC',
    }).started();
    await until('10 messages', () => consumer.messages.length >= 10);
    await send('InteropTags', [ 'b-last' ], 'TagB');
    await send('InteropTags', [ 'c-last' ], 'TagC');
    await until('the last one', () => consumer.bodies.includes('c-last'));
    assert.deepStrictEqual(sorted(consumer.bodies),
      sorted(names('a', 5).concat(names('c', 5), 'c-last')));
    await consumer.end('SIGTERM');
  },

  async 'two consumers share a topic, and one takes over when the other is killed'() {
    await send('InteropShare', names('first', 4));
    const one = await new Consumer({ group: 'GID_share', topic: 'InteropShare', name: 'one' }).started();
    const two = await new Consumer({ group: 'GID_share', topic: 'InteropShare', name: 'two' }).started();
    let round = 0;
    const sent = names('first', 4);
    await until('both to get a share', async () => {
      const bodies = names(`round-${round++}`, 8);
      await send('InteropShare', bodies);
      sent.push(...bodies);
      return one.bodies.some(b => b.startsWith('round-')) && two.bodies.some(b => b.startsWith('round-'));
    });
    await until('all of it', () => new Set(one.bodies.concat(two.bodies)).size === sent.length);
    await one.end('SIGKILL');
    const rest = names('after', 16);
    await send('InteropShare', rest);
    await until('the survivor to get everything', () => rest.every(b => two.bodies.includes(b)));
    await two.end('SIGTERM');
  },

  async 'every consumer of a broadcast gets every message'() {
    await send('InteropBroadcast', [ 'before' ]);
    const one = await new Consumer({ group: 'GID_cast', topic: 'InteropBroadcast', broadcast: true, name: 'one' }).started();
    const two = await new Consumer({ group: 'GID_cast', topic: 'InteropBroadcast', broadcast: true, name: 'two' }).started();
    await until('both to listen', async () => {
      await send('InteropBroadcast', [ 'probe' ]);
      return one.bodies.includes('probe') && two.bodies.includes('probe');
    });
    const bodies = names('cast', 20);
    await send('InteropBroadcast', bodies);
    await until('all at the first', () => bodies.every(b => one.bodies.includes(b)));
    await until('all at the second', () => bodies.every(b => two.bodies.includes(b)));
    await one.end('SIGTERM');
    await two.end('SIGTERM');
  },

  async 'a message that fails comes back by retry'() {
    await send('InteropRetry', [ 'fragile' ]);
    const consumer = await new Consumer({
      group: 'GID_retry', topic: 'InteropRetry', failOnce: true,
    }).started();
    await until('the first try', () => consumer.failures.length > 0);
    const back = await until('the message to come back', () => consumer.messages[0]);
    assert.strictEqual(back.body, 'fragile');
    assert.strictEqual(back.topic, 'InteropRetry');
    assert.strictEqual(back.times, 1);
    await consumer.end('SIGTERM');
  },

  async 'offsets are kept over a clean restart and over a kill of the broker'() {
    for (const signal of [ 'SIGTERM', 'SIGKILL' ]) {
      const topic = `InteropKeep${signal}`;
      const group = `GID_keep_${signal}`;
      const bodies = names('old', 20);
      await send(topic, bodies);
      const first = await new Consumer({ group, topic }).started();
      await until('the old messages', () => bodies.every(b => first.bodies.includes(b)));
      await first.end('SIGTERM'); // stores its offsets
      await until('the offsets to be on the disk', () => cluster.exportedOffsets(topic, group) === 20);
      await cluster.broker.stop(signal);
      await cluster.startBroker();
      await until('a send after the restart', async () => {
        try {
          await send(topic, [ 'new' ]);
          return true;
        } catch (err) {
          return false;
        }
      });
      const second = await new Consumer({ group, topic }).started();
      await until('the new message', () => second.bodies.includes('new'));
      assert.deepStrictEqual(second.bodies.filter(b => b !== 'new'), []);
      await second.end('SIGTERM');
    }
  },
};

async function main() {
  cluster = await Cluster.start([
    'messageDelayLevel=1s 1s 1s 1s 1s', 'flushConsumerOffsetInterval=200',
  ]);
  producer = await producerOf(cluster.nameSrv);
  for (const topic of topics) await cluster.createTopic(topic);
  await run(tests, () => `broker log:\n${cluster.broker.log.slice(-3000)}`, async () => {
    await producer.close();
    await cluster.stop();
  });
}

main().catch(err => giveUp(err, () => {
  if (cluster && cluster.broker) cluster.broker.process.kill('SIGKILL');
  if (cluster && cluster.namesrv) cluster.namesrv.process.kill('SIGKILL');
}));
