'use strict';
// consumer.js - one push consumer in a process of its own. Prints a JSON line for each thing that
// happens: {"ready":true}, {"body":...,"tags":...}, {"error":...}. Ends on SIGTERM after it has
// stored its offsets and left its group.
//
// Arguments: one JSON object {nameSrv, group, topic, tags, broadcast, failOnce, name}.

// The client insists on one, and asks it only for addresses that nameSrv gives already.
const httpclient = {};
const { Consumer } = require('ali-ons');

const options = JSON.parse(process.argv[2]);
const say = value => process.stdout.write(JSON.stringify(value) + '\n');
const failed = new Set();

const consumer = new Consumer({
  httpclient,
  nameSrv: options.nameSrv,
  accessKeyId: 'none',
  accessKeySecret: 'none',
  consumerGroup: options.group,
  instanceName: `${options.name || 'c'}-${process.pid}`,
  clientIP: '127.0.0.1',
  isBroadcast: Boolean(options.broadcast),
  consumeFromWhere: options.from || 'CONSUME_FROM_FIRST_OFFSET',
  rebalanceInterval: 1000,
  pollNameServerInteval: 1000,
  persistConsumerOffsetInterval: 500,
  heartbeatBrokerInterval: 1000,
});
consumer.on('error', err => say({ error: String(err && err.message || err) }));
consumer.subscribe(options.topic, options.tags || '*', async msg => {
  const body = msg.body.toString();
  if (options.failOnce && !failed.has(body)) {
    failed.add(body);
    say({ failed: body, times: msg.reconsumeTimes });
    throw new Error('on purpose');
  }
  say({ body, tags: msg.tags, topic: msg.topic, times: msg.reconsumeTimes, id: msg.msgId,
    queue: msg.queueId, offset: msg.queueOffset });
});
consumer.ready().then(() => say({ ready: true }), err => say({ error: String(err) }));

process.on('SIGTERM', async () => {
  try {
    await consumer.close();
    say({ closed: true });
  } finally {
    process.exit(0);
  }
});
