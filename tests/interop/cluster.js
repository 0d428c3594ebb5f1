'use strict';
// cluster.js - a name server and a broker of the build in $TERN_BUILD, on free ports of loopback.

const { spawn } = require('child_process');
const net = require('net');
const fs = require('fs');
const os = require('os');
const path = require('path');

const build = process.env.TERN_BUILD;
const DEADLINE_MS = 60000;

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

// Waits until check() gives something true, and returns it.
async function until(what, check, deadline = DEADLINE_MS) {
  const end = Date.now() + deadline;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(20);
  }
}

class Program {
  constructor(name, file, args) {
    this.name = name;
    this.log = '';
    this.exit = null;
    this.process = spawn(path.join(build, file), args, { stdio: [ 'ignore', 'pipe', 'pipe' ] });
    for (const stream of [ this.process.stdout, this.process.stderr ]) {
      stream.on('data', data => { this.log += data; });
    }
    this.process.on('exit', (code, signal) => { this.exit = { code, signal }; });
    this.process.on('error', err => { this.exit = { code: null, signal: String(err) }; });
  }

  async stop(signal = 'SIGTERM') {
    if (!this.exit) this.process.kill(signal);
    await until(`the end of ${this.name}`, () => this.exit);
    if (signal === 'SIGTERM' && this.exit.code !== 0) {
      throw new Error(`${this.name} ended with ${JSON.stringify(this.exit)}:\n${this.log}`);
    }
  }
}

async function portFrom(file, program) {
  return until(`the port of ${program.name}`, () => {
    if (program.exit) throw new Error(`${program.name} did not start:\n${program.log}`);
    const text = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
    return text.endsWith('\n') ? Number(text) : 0;
  });
}

// P with P - 2 and P + 1, below the ports that the system gives to clients: one of those may have them while the broker
// is away.
async function freePort() {
  for (;;) {
    const port = 31005 + 10 * Math.floor(Math.random() * 170);
    const held = [];
    for (const each of [ port - 2, port, port + 1 ]) {
      const server = net.createServer();
      await new Promise(resolve => server.once('error', resolve).listen(each, '127.0.0.1', () => resolve(held.push(server))));
    }
    for (const server of held) await new Promise(resolve => server.close(resolve));
    if (held.length === 3) return port;
  }
}

// One request of the remoting protocol with a JSON header; the header of its answer.
function call(port, code, extFields) {
  return new Promise((resolve, reject) => {
    const header = Buffer.from(JSON.stringify({ code, language: 'JAVA', version: 409, opaque: 1, flag: 0, extFields }));
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32BE(4 + header.length, 0);
    lengths.writeUInt32BE(header.length, 4);
    const socket = net.connect(port, '127.0.0.1', () => socket.write(Buffer.concat([ lengths, header ])));
    let input = Buffer.alloc(0);
    socket.on('data', data => {
      input = Buffer.concat([ input, data ]);
      if (input.length < 4 || input.length < 4 + input.readUInt32BE(0)) return;
      const size = input.readUInt32BE(4) & 0xffffff;
      socket.destroy();
      resolve(JSON.parse(input.subarray(8, 8 + size).toString()));
    });
    socket.on('error', reject);
    socket.on('end', () => reject(new Error(`the connection to port ${port} was closed`)));
  });
}

class Cluster {
  static async start(options = []) {
    const c = new Cluster();
    c.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tern-interop-'));
    c.options = options;
    c.namesrv = new Program('tern-namesrv', 'namesrv/tern-namesrv', [
      '-o', 'listenPort=0', '-o', `portFile=${c.dir}/namesrv.port`,
      '-o', `kvConfigPath=${c.dir}/kvConfig.json`,
    ]);
    c.namesrvPort = await portFrom(`${c.dir}/namesrv.port`, c.namesrv);
    c.brokerPort = await freePort();
    await c.startBroker();
    return c;
  }

  get nameSrv() {
    return `127.0.0.1:${this.namesrvPort}`;
  }

  async startBroker() {
    fs.rmSync(`${this.dir}/broker.port`, { force: true });
    const args = [
      '-n', this.nameSrv, '-o', `listenPort=${this.brokerPort}`,
      '-o', `portFile=${this.dir}/broker.port`, '-o', `storePathRootDir=${this.dir}/store`,
      '-o', 'mappedFileSizeCommitLog=67108864',
    ];
    for (const option of this.options) args.push('-o', option);
    this.broker = new Program('tern-broker', 'broker/tern-broker', args);
    this.brokerPort = await portFrom(`${this.dir}/broker.port`, this.broker);
  }

  // The client does not ask for topics to be made on demand, so an operator makes them.
  async createTopic(topic) {
    const answer = await call(this.brokerPort, 17, {
      topic, defaultTopic: 'TBW102', readQueueNums: 4, writeQueueNums: 4, perm: 6,
      topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false,
    });
    if (answer.code !== 0) throw new Error(`topic ${topic}: ${answer.remark}`);
  }

  // The sum of a group's offsets on a topic, as the broker's exported file has them.
  exportedOffsets(topic, group) {
    const file = `${this.dir}/store/config/consumerOffset.json`;
    if (!fs.existsSync(file)) return 0;
    const table = fs.readFileSync(file, 'utf8').split(`"${topic}@${group}":{`)[1] || '';
    return table.split('}')[0].split(',').reduce((sum, entry) => sum + Number(entry.split(':')[1] || 0), 0);
  }

  async stop() {
    await this.broker.stop();
    await this.namesrv.stop();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

module.exports = { Cluster, until, pause };
