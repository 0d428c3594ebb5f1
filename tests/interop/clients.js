'use strict';
// clients.js - the Node.js RocketMQ client "ali-ons", unchanged: a producer in this process, and consumers in
// processes of their own, so that they can be killed.

const { spawn } = require('child_process');
const path = require('path');

process.env.HOME = process.env.TMPDIR || '/tmp'; // where the client keeps its log
const { Producer, Message } = require('ali-ons');
const { until } = require('./cluster');

const running = new Set();

class Consumer {
  // options: those of consumer.js
  constructor(options) {
    this.messages = [];
    this.failures = [];
    this.errors = [];
    this.ready = false;
    this.exit = null;
    this.process = spawn(process.execPath, [ path.join(__dirname, 'consumer.js'), JSON.stringify(options) ],
      { stdio: [ 'ignore', 'pipe', 'inherit' ] });
    this.process.on('exit', code => { this.exit = { code }; });
    let rest = '';
    this.process.stdout.on('data', data => {
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      for (const line of lines) this.take(JSON.parse(line));
    });
    running.add(this);
  }

  take(event) {
    if (event.ready) this.ready = true;
    else if (event.body !== undefined) this.messages.push(event);
    else if (event.failed !== undefined) this.failures.push(event);
    else if (event.error) this.errors.push(event.error);
  }

  get bodies() {
    return this.messages.map(m => m.body);
  }

  async started() {
    await until('a consumer to start', () => this.ready);
    return this;
  }

  async end(signal) {
    if (!this.exit) this.process.kill(signal);
    await until('the end of a consumer', () => this.exit);
    running.delete(this);
  }
}

async function producerOf(nameSrv) {
  const producer = new Producer({
    httpclient: {},
    nameSrv,
    accessKeyId: 'none',
    accessKeySecret: 'none',
    producerGroup: 'GID_interop_producer',
    pollNameServerInteval: 1000,
    heartbeatBrokerInterval: 1000,
    sendMsgTimeout: 30000,
  });
  producer.on('error', () => {}); // a broker that goes away is no failure of the test
  await producer.ready();
  return producer;
}

// Runs what `tests` has by name (those whose names hold a word of the command line, if it has any), says what became of
// each, and ends the process: 0 when all have passed. `logs` gives the text that helps when one has failed; `stop` ends
// the servers.
async function run(tests, logs, stop) {
  let passed = 0;
  let failed = 0;
  const words = process.argv.slice(2);
  for (const name of Object.keys(tests)) {
    if (words.length && !words.some(w => name.includes(w))) continue;
    const started = Date.now();
    try {
      await tests[name]();
      passed++;
      console.log(`ok    ${name} (${Date.now() - started} ms)`);
    } catch (err) {
      failed++;
      console.log(`BROKEN ${name}\n    ${err && err.stack || err}`);
      for (const consumer of running) {
        console.log(`consumer: ${consumer.messages.length} messages, errors: ${consumer.errors.slice(-5)}`);
      }
      console.log(logs());
    }
    for (const consumer of Array.from(running)) await consumer.end('SIGKILL');
  }
  await stop();
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

// What cannot go on: nothing that was started stays behind.
function giveUp(err, kill) {
  console.log(err && err.stack || err);
  for (const consumer of running) consumer.process.kill('SIGKILL');
  kill();
  console.log('0 passed, 1 failed');
  process.exit(1);
}

module.exports = { Consumer, Message, producerOf, run, giveUp };
