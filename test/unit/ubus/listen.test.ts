// SPDX-License-Identifier: Apache-2.0
// The server on a listener, and questions over a stream, on a loop and sockets made of arrays.
import assert from 'node:assert';
import type { Failure, Loop, Stream, StreamListener } from '../../../src/host/host.ts';
import { askUbus } from '../../../src/ubus/call.ts';
import { createCall } from '../../../src/ubus/client.ts';
import { ACCEPT_PAUSE_MS, CONNECTIONS_MAX, listenUbus, SEND_PATIENCE_MS } from '../../../src/ubus/listen.ts';
import { encodeMessage, MESSAGE_TYPES } from '../../../src/ubus/message.ts';
import { createUbusServer, type ServedObject } from '../../../src/ubus/server.ts';
import { hex, messages, plain } from './helpers.ts';

const EPIPE: Failure = { failed: true, call: 'write', errno: 32, code: 'EPIPE', text: 'Broken pipe' };
const LISTENER_FD = 3;

/** One end of a connection; `other` reads what this one writes. At most `room` bytes wait there. */
class End implements Stream {
  readonly fd: number;
  other!: End;
  inbox: number[] = [];
  room = 1000;
  isOpen = true;
  constructor(fd: number) {
    this.fd = fd;
  }
  read(max: number) {
    if (this.inbox.length > 0) return new Uint8Array(this.inbox.splice(0, max));
    return this.other.isOpen ? undefined : new Uint8Array(0);
  }
  write(bytes: Uint8Array) {
    if (!this.other.isOpen) return EPIPE;
    const taken = Math.min(bytes.length, this.room - this.other.inbox.length);
    for (const byte of bytes.subarray(0, taken)) this.other.inbox.push(byte);
    return taken;
  }
  close() {
    assert.ok(this.isOpen, 'closed twice');
    this.isOpen = false;
  }
}

class World {
  now = 0;
  wakes = 0;
  readonly ends = new Map<number, End>();
  readonly waiting: (Stream | Failure)[] = [];
  readonly readers = new Map<number, () => void>();
  readonly writers = new Map<number, () => void>();
  readonly timers = new Set<{ deadline: number; callback: () => void }>();
  isListening = true;

  readonly loop: Loop = {
    onReadable: (fd, callback) => void this.readers.set(fd, callback),
    onWritable: (fd, callback) => {
      if (callback === undefined) this.writers.delete(fd);
      else this.writers.set(fd, callback);
    },
    forget: fd => {
      this.readers.delete(fd);
      this.writers.delete(fd);
    },
    at: (deadline, callback) => {
      const timer = { deadline, callback };
      this.timers.add(timer);
      return { cancel: () => void this.timers.delete(timer) };
    },
    onSignal: () => undefined,
    run: () => undefined,
    stop: () => undefined,
  };

  readonly listener: StreamListener = {
    fd: LISTENER_FD,
    accept: () => this.waiting.shift(),
    close: () => {
      this.isListening = false;
    },
  };

  /** A new connection: the client's end. */
  connect(): End {
    const fd = 10 + this.ends.size;
    const client = new End(fd);
    const server = new End(fd + 1);
    client.other = server;
    server.other = client;
    this.ends.set(fd, client);
    this.ends.set(fd + 1, server);
    this.waiting.push(server);
    return client;
  }

  /** Runs callbacks as a level-triggered loop does, until nobody has anything to do. */
  settle(): void {
    for (let busy = true, left = 100_000; busy; ) {
      busy = false;
      if (this.waiting.length > 0 && this.readers.has(LISTENER_FD)) {
        this.readers.get(LISTENER_FD)!();
        busy = true;
      }
      for (const [fd, end] of this.ends) {
        if (!end.isOpen) assert.ok(!this.readers.has(fd) && !this.writers.has(fd), 'closed but watched');
        const reader = this.readers.get(fd);
        if (reader !== undefined && (end.inbox.length > 0 || !end.other.isOpen)) {
          reader();
          busy = true;
        }
        const writer = this.writers.get(fd);
        if (writer !== undefined && (end.other.inbox.length < end.room || !end.other.isOpen)) {
          writer();
          busy = true;
        }
      }
      if (busy) this.wakes++;
      assert.ok(--left > 0, 'the loop spins');
    }
  }

  advance(ms: number): void {
    this.now += ms;
    for (const timer of [...this.timers]) {
      if (timer.deadline > this.now) continue;
      this.timers.delete(timer);
      timer.callback();
    }
    this.settle();
  }
}

const OBJECT: ServedObject = {
  path: 'ovpnd.home',
  methods: {
    status: { args: {}, call: () => ({ tunnel: 'home' }) },
    log: { args: {}, call: () => ({ text: 'x'.repeat(50_000) }) },
  },
};

function serve(world: World, objects = [OBJECT]): () => void {
  const { loop, listener } = world;
  const server = createUbusServer({ objects });
  return listenUbus({ loop, listener, server, monotonicMs: () => world.now });
}

const PING = encodeMessage({ type: MESSAGE_TYPES.ping, seq: 1, peer: 0, attributes: {} })!;
const LOG = encodeMessage({
  type: MESSAGE_TYPES.invoke,
  seq: 2,
  peer: 1024,
  attributes: { objid: 1024, method: 'log', data: new Uint8Array(0) },
})!;

/** Everything the client was sent, room made as it reads. */
function readAll(world: World, client: End): number {
  let total = 0;
  for (let got = -1; got !== total; ) {
    got = total;
    total += client.inbox.splice(0).length;
    world.settle();
  }
  return total;
}

describe('ubus listener', () => {
  it('serves several clients, one after the other and at once', () => {
    const world = new World();
    serve(world);
    const clients = [world.connect(), world.connect()];
    world.settle();
    for (const client of clients) {
      assert.strictEqual(messages(new Uint8Array(client.inbox.splice(0))).length, 1);
      client.write(PING);
    }
    world.settle();
    for (const client of clients) {
      assert.strictEqual(messages(new Uint8Array(client.inbox.splice(0))).length, 2);
    }
    assert.strictEqual(world.timers.size, 0);
  });

  it('sends a long answer in pieces', () => {
    const world = new World();
    serve(world);
    const client = world.connect();
    world.settle();
    client.inbox = [];
    client.write(LOG);
    world.settle();
    assert.strictEqual(client.inbox.length, 1000);
    assert.strictEqual(world.timers.size, 1);
    assert.ok(readAll(world, client) > 50_000);
    assert.strictEqual(world.timers.size, 0);
    client.write(PING);
    world.settle();
    assert.strictEqual(messages(new Uint8Array(client.inbox)).length, 2);
  });

  it('does no more for a client than it takes, and drops it in the end', () => {
    let calls = 0;
    const call = () => {
      calls++;
      return { text: 'x'.repeat(50_000) };
    };
    const world = new World();
    serve(world, [{ path: 'a', methods: { log: { args: {}, call } } }]);
    const client = world.connect();
    client.room = 1 << 20;
    for (let i = 0; i < 1000; i++) client.write(LOG);
    world.settle();
    assert.ok(calls <= 2, String(calls));
    const before = world.wakes;
    world.settle();
    assert.strictEqual(world.wakes, before);
    world.advance(SEND_PATIENCE_MS - 1);
    assert.strictEqual(client.other.isOpen, true);
    // Taking something buys time.
    client.inbox = [];
    world.settle();
    world.advance(SEND_PATIENCE_MS - 1);
    assert.strictEqual(client.other.isOpen, true);
    world.advance(1);
    assert.strictEqual(client.other.isOpen, false);
    assert.strictEqual(world.timers.size, 0);
  });

  it('answers everything of a client that reads', () => {
    const world = new World();
    serve(world);
    const client = world.connect();
    client.room = 1 << 20;
    for (let i = 0; i < 200; i++) client.write(LOG);
    world.settle();
    assert.ok(readAll(world, client) > 200 * 50_000);
  });

  it('closes the one idle longest when too many come', () => {
    const world = new World();
    serve(world);
    const clients = Array.from({ length: CONNECTIONS_MAX }, () => world.connect());
    world.settle();
    clients[0]!.write(PING);
    world.settle();
    const late = world.connect();
    world.settle();
    assert.deepStrictEqual(
      clients.map(client => client.other.isOpen),
      [true, false, ...Array(CONNECTIONS_MAX - 2).fill(true)],
    );
    assert.strictEqual(late.other.isOpen, true);
  });

  it('lets go of clients that end, fail or send nonsense', () => {
    const world = new World();
    serve(world);
    const [ended, nonsense] = [world.connect(), world.connect()];
    world.settle();
    ended.close();
    nonsense.write(PING);
    nonsense.write(hex('0004000100000000 00ffffff'));
    world.settle();
    assert.strictEqual(ended.other.isOpen, false);
    assert.strictEqual(nonsense.other.isOpen, false);
    assert.strictEqual(messages(new Uint8Array(nonsense.inbox)).length, 3);
    const gone = world.connect();
    gone.close();
    world.settle();
    assert.strictEqual(gone.other.isOpen, false);
    const stuck = world.connect();
    world.settle();
    stuck.write(LOG);
    world.settle();
    stuck.close();
    world.settle();
    assert.strictEqual(stuck.other.isOpen, false);
    assert.strictEqual(world.timers.size, 0);
  });

  it('pauses when accepting fails', () => {
    const world = new World();
    const stop = serve(world);
    world.waiting.push({
      failed: true,
      call: 'accept',
      errno: 24,
      code: 'EMFILE',
      text: 'Too many open files',
    });
    const client = world.connect();
    world.settle();
    assert.strictEqual(client.inbox.length, 0);
    world.advance(ACCEPT_PAUSE_MS);
    assert.strictEqual(client.inbox.length, 12);
    world.waiting.push(EPIPE);
    world.settle();
    stop();
    assert.strictEqual(world.timers.size, 0);
  });

  it('stops, even from inside a method', () => {
    const world = new World();
    let stop = (): void => undefined;
    const call = () => {
      stop();
      return { x: 1 };
    };
    stop = serve(world, [{ path: 'a', methods: { log: { args: {}, call } } }]);
    const [client, other] = [world.connect(), world.connect()];
    world.settle();
    client.write(LOG);
    world.settle();
    assert.strictEqual(world.isListening, false);
    assert.strictEqual(client.other.isOpen || other.other.isOpen, false);
    assert.strictEqual(world.readers.size + world.writers.size + world.timers.size, 0);
  });
});

describe('ubus question over a stream', () => {
  function ask(world: World, stream: End, method: string): unknown[] {
    const outcomes: unknown[] = [];
    const { loop } = world;
    const options = { loop, stream, monotonicMs: () => world.now, timeoutMs: 5000 };
    askUbus(options, createCall({ path: 'ovpnd.home', method }), outcome => outcomes.push(plain(outcome)));
    return outcomes;
  }

  it('gets its answer, also through a narrow pipe', () => {
    for (const room of [1000, 5]) {
      const world = new World();
      serve(world);
      const stream = world.connect();
      stream.room = room;
      stream.other.room = room;
      const outcomes = ask(world, stream, 'status');
      assert.deepStrictEqual(outcomes, []);
      world.settle();
      assert.deepStrictEqual(outcomes, [{ tunnel: 'home' }]);
      assert.strictEqual(stream.isOpen, false);
      assert.strictEqual(stream.other.isOpen, false);
      assert.strictEqual(world.timers.size, 0);
      assert.deepStrictEqual([...world.readers.keys()], [LISTENER_FD]);
    }
  });

  it('ends with the connection or the time', () => {
    const world = new World();
    const [closed, silent] = [world.connect(), world.connect()];
    const first = ask(world, closed, 'status');
    const second = ask(world, silent, 'status');
    closed.other.close();
    world.settle();
    assert.deepStrictEqual(first, [
      { failed: true, status: 10, text: 'ovpnd.home status: Connection failed' },
    ]);
    world.advance(4999);
    assert.deepStrictEqual(second, []);
    world.advance(1);
    assert.deepStrictEqual(second, [
      { failed: true, status: 7, text: 'ovpnd.home status: Request timed out' },
    ]);
    assert.strictEqual(silent.isOpen, false);
  });
});
