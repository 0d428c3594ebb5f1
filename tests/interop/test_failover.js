'use strict';
// test_failover.js - the Node.js client "ali-ons" lives through the death of a master, its promotion and a hand-over.
//
// A cluster of scripts/cluster; the topic has its queues in one group of a master and a slave, so that nothing can be
// sent elsewhere. Senders number their messages; what is counted at the end:
//
//   lost        answered SEND_OK, and not where the answer said
//   reordered   of one sender and one queue: behind what was sent later
//   vanished    consumed, and not there any more
//   duplicated  there twice: sent again by the client since it had no answer

const assert = require('assert');
const { execFile } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const util = require('util');
const { Consumer, Message, producerOf, run, giveUp } = require('./clients');
const { until, pause } = require('./cluster');

const root = path.join(__dirname, '..', '..');
const build = path.resolve(process.env.TERN_BUILD);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tern-failover-'));
const SENDERS = 16;
let nameSrv; // addresses
let producer;

async function command(file, ...args) {
  try {
    return (await util.promisify(execFile)(file, args)).stdout;
  } catch (err) {
    throw new Error(`${file} ${args.join(' ')}: ${err.stdout}${err.stderr}`);
  }
}

const cluster = (...args) => command(path.join(root, 'scripts', 'cluster'), '-d', folder, '-b', build, '-p', ...args);
const ctl = (...args) => command(path.join(build, 'tools', 'ternctl'), ...args, '-n', nameSrv.join(';'));
const log = name => fs.readFileSync(path.join(folder, name, 'log'), 'utf8');

// Senders that send one message after the other until they are told to end.
class Load {
  constructor(topic) {
    this.topic = topic;
    this.acknowledged = []; // { sender, number, queue, offset, body }
    this.other = 0; // stored, but not with two copies
    this.failures = [];
    this.ends = false;
    this.senders = Array.from({ length: SENDERS }, (_, i) => this.sender(i));
  }

  async sender(sender) {
    for (let number = 0; !this.ends; number++) {
      const body = `${sender}:${number}`;
      try {
        const result = await producer.send(new Message(this.topic, '', body));
        if (result.sendStatus === 'SEND_OK') {
          this.acknowledged.push({ sender, number, queue: result.messageQueue.queueId,
            offset: Number(result.queueOffset), body });
        } else {
          this.other++;
        }
      } catch (err) {
        this.failures.push(err);
        await pause(10);
      }
    }
  }

  async more(count) {
    const before = this.acknowledged.length;
    await until(`${count} more acknowledged messages`, () => this.acknowledged.length >= before + count);
  }

  async end() {
    this.ends = true;
    await Promise.all(this.senders);
  }
}

const place = m => `${m.queue}/${m.offset}`;

// What `load` sent and `consumer` saw on the way, against all that a new group reads from the beginning.
async function judge(load, consumer) {
  await load.end();
  await until('everything acknowledged at the consumer', () => {
    const seen = new Set(consumer.bodies);
    return load.acknowledged.every(m => seen.has(m.body));
  });
  const reader = await new Consumer({ nameSrv, group: `GID_${load.topic}_all`, topic: load.topic }).started();
  const there = new Map();
  await until('everything acknowledged at a new group', () => {
    for (const m of reader.messages) there.set(place(m), m.body);
    return load.acknowledged.every(m => there.has(place(m)));
  });
  await reader.end('SIGTERM');
  const last = new Map();
  let reordered = 0;
  for (const m of load.acknowledged) {
    const lane = `${m.sender}/${m.queue}`;
    if (last.get(lane) >= m.offset) reordered++;
    last.set(lane, m.offset);
  }
  return {
    lost: load.acknowledged.filter(m => there.get(place(m)) !== m.body).length,
    reordered,
    vanished: consumer.messages.filter(m => there.get(place(m)) !== m.body).length,
    duplicated: there.size - new Set(there.values()).size,
  };
}

async function loaded(topic) {
  await ctl('topic', 'create', topic, '--queues', '4', '--broker', 'broker-a');
  const load = new Load(topic);
  await load.more(200);
  const consumer = await new Consumer({ nameSrv, group: `GID_${topic}`, topic }).started();
  return { load, consumer };
}

const members = [ null, 'broker-a', 'broker-a-slave' ];

// The lines of `ternctl group` that say of a member what it is: id, role, end of the log, confirmed.
async function table() {
  const text = await ctl('group', '-b', 'broker-a').catch(() => '');
  return Array.from(text.matchAll(/^ *([12]) +\S+ +(\w+) +\d+ +(\d+) +\d+ +(\d+) /mg),
    ([ , id, role, end, confirmed ]) => ({ id: Number(id), role, end, confirmed }));
}

// Waits until one member leads and the other follows: { master, slave }, their numbers.
async function whole() {
  return until('a master and a slave that follows', async () => {
    const rows = await table();
    const [ master ] = rows.filter(r => r.role === 'master');
    return master && rows.some(r => r.role === 'following') && { master: master.id, slave: 3 - master.id };
  });
}

// Waits until the slave knows of everything that it is confirmed: only that it shows without its master.
async function settled() {
  await until('the slave to know all as confirmed', async () => {
    const rows = await table();
    return rows.length === 2 && new Set(rows.flatMap(r => [ r.end, r.confirmed ])).size === 1;
  });
}

function report(what, load, found) {
  console.log(`      ${what}: acknowledged ${load.acknowledged.length}, with one copy ${load.other}, ` +
    `failed ${load.failures.length}; ${Object.entries(found).map(([ k, v ]) => `${k} ${v}`).join(', ')}`);
}

const tests = {
  async 'clients find the slave that was promoted, and nothing acknowledged is lost'() {
    const { load, consumer } = await loaded('Killed');
    const { master, slave } = await whole();
    await until('the consumer to be on the way', () => consumer.messages.length > 100);
    await cluster('kill', members[master]);
    await cluster('promote', members[slave]);
    await until('a send that the new master stores', () => load.other > 0);
    await cluster('up');
    await load.more(500);
    const found = await judge(load, consumer);
    report('killed and promoted', load, found);
    assert.deepStrictEqual(Object.assign(found, { duplicated: 0 }),
      { lost: 0, reordered: 0, vanished: 0, duplicated: 0 });
    assert.deepStrictEqual(await whole(), { master: slave, slave: master });
  },

  async 'without its master a consumer reads on from the slave'() {
    await ctl('topic', 'create', 'Reads', '--queues', '4', '--broker', 'broker-a');
    const bodies = Array.from({ length: 40 }, (_, i) => `read-${i}`);
    for (const body of bodies) {
      await until('a send with two copies', async () =>
        (await producer.send(new Message('Reads', '', body)).catch(() => ({}))).sendStatus === 'SEND_OK');
    }
    const { master } = await whole();
    await settled();
    await cluster('kill', members[master]);
    const consumer = await new Consumer({ nameSrv, group: 'GID_Reads', topic: 'Reads' }).started();
    await until('all of it', () => bodies.every(b => consumer.bodies.includes(b)));
    await consumer.end('SIGTERM');
    await cluster('up');
    await whole();
  },

  async 'no send fails while a master hands over'() {
    const { load, consumer } = await loaded('Handed');
    const { master, slave } = await whole();
    await ctl('drain', '-b', 'broker-a', '--to', String(slave));
    assert.deepStrictEqual(await whole(), { master: slave, slave: master });
    await load.more(500);
    const found = await judge(load, consumer);
    report('handed over', load, found);
    assert.deepStrictEqual(load.failures.map(String), []);
    assert.deepStrictEqual(Object.assign(found, { duplicated: 0 }),
      { lost: 0, reordered: 0, vanished: 0, duplicated: 0 });
  },
};

async function main() {
  await cluster('up');
  await cluster('down');
  for (const name of members.slice(1)) {
    fs.appendFileSync(path.join(folder, name, 'conf'), 'forwardWaitMillis=60000\n'); // however slow this machine is
  }
  await cluster('up');
  const port = name => /^listenPort=(\d+)/m.exec(fs.readFileSync(path.join(folder, name, 'conf'), 'utf8'))[1];
  nameSrv = [ 'namesrv-1', 'namesrv-2' ].map(name => `127.0.0.1:${port(name)}`);
  await whole();
  await ctl('topic', 'create', 'Any', '--queues', '4');
  producer = await producerOf(nameSrv);
  await run(tests,
    () => [ 'broker-a', 'broker-a-slave' ].map(n => `log of ${n}:\n${log(n).slice(-3000)}`).join('\n'),
    async () => {
      await producer.close();
      await cluster('down');
      fs.rmSync(folder, { recursive: true, force: true });
    });
}

main().catch(err => giveUp(err, () => {}));
