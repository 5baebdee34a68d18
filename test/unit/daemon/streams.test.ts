// SPDX-License-Identifier: Apache-2.0
// Listeners and connections of a tunnel on a host that is all pretence: who may stay how long, and what is said when.

import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Endpoint } from '../../../src/core/address.ts';
import type { Event } from '../../../src/core/event.ts';
import { HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE, Streams } from '../../../src/daemon/streams.ts';
import type { Failure, Host, Result, TcpConnection, TcpListener, Timer } from '../../../src/host/host.ts';

const FAILURES = {
  EMFILE: { failed: true, call: 'accept', errno: 24, code: 'EMFILE', text: 'Too many open files' },
  ECONNABORTED: { failed: true, call: 'accept', errno: 103, code: 'ECONNABORTED', text: 'aborted' },
  ECONNREFUSED: {
    failed: true,
    call: 'connect',
    errno: 111,
    code: 'ECONNREFUSED',
    text: 'Connection refused',
  },
} as const satisfies Record<string, Failure>;

const endpoint = (port: number, source = 1): Endpoint => ({
  ip: new Uint8Array([192, 0, source >> 8, source & 255]),
  port,
});

class Connection implements TcpConnection {
  readonly fd: number;
  readonly remote: Endpoint;
  readonly incoming: number[] = [];
  isEnd = false;
  isClosed = false;
  room = Number.POSITIVE_INFINITY;
  readonly writes: Uint8Array[] = [];
  failure: Failure | undefined;

  constructor(fd: number, source = 1) {
    this.fd = fd;
    this.remote = endpoint(fd, source);
  }

  outcome(): Failure | undefined {
    return this.failure;
  }

  local(): Endpoint {
    return endpoint(443);
  }

  read(into: Uint8Array): Result<number> | undefined {
    ok(!this.isClosed, 'read after close');
    if (this.incoming.length === 0) return this.isEnd ? 0 : undefined;
    const bytes = this.incoming.splice(0, into.length);
    into.set(bytes);
    return bytes.length;
  }

  write(bytes: Uint8Array): Result<number> {
    ok(!this.isClosed, 'write after close');
    const length = Math.min(this.room, bytes.length);
    if (length > 0) this.writes.push(bytes.slice(0, length));
    return length;
  }

  close(): void {
    ok(!this.isClosed, 'closed twice');
    this.isClosed = true;
  }
}

class World {
  now = 1000;
  readonly events: Event[] = [];
  readonly packets: string[] = [];
  readonly readable = new Map<number, () => void>();
  readonly writable = new Map<number, () => void>();
  readonly waiting: (Connection | Failure)[] = [];
  readonly streams: Streams;
  connecting: Connection | Failure | undefined;
  /** Whether the core answers with closeSocket at once. */
  isPrompt = true;
  #timers: { at: number; callback: () => void }[] = [];
  #number = 1;
  #fd = 100;

  constructor() {
    const listener: TcpListener = {
      fd: 50,
      local: endpoint(1194),
      accept: () => this.waiting.shift(),
      close: () => {},
    };
    const host = {
      monotonicMs: () => this.now,
      listenTcp: () => listener,
      connectTcp: () => this.connecting,
      loop: {
        onReadable: (fd: number, callback: () => void) => this.readable.set(fd, callback),
        onWritable: (fd: number, callback: (() => void) | undefined) =>
          callback === undefined ? this.writable.delete(fd) : this.writable.set(fd, callback),
        forget: (fd: number) => {
          this.readable.delete(fd);
          this.writable.delete(fd);
        },
        at: (at: number, callback: () => void): Timer => {
          const timer = { at, callback };
          this.#timers.push(timer);
          return {
            cancel: () =>
              this.#timers.splice(0, this.#timers.length, ...this.#timers.filter(t => t !== timer)),
          };
        },
      },
    } as unknown as Host;
    this.streams = new Streams({
      host,
      options: () => ({}),
      connectTimeoutS: () => 10,
      handWindowS: () => 60,
      packetMax: 1668,
      number: () => this.#number++,
      packet: (path, bytes) => this.packets.push(`${path.socket}: ${bytes.join(' ')}`),
      dispatch: event => {
        this.events.push(event);
        if (event.kind === 'streamClosed' && this.isPrompt) this.streams.close(event.path.socket);
      },
      settled: () => {},
    });
  }

  listen(): this {
    equal(this.streams.listen({ family: 0, port: 1194 }), undefined);
    return this;
  }

  /** Somebody connects. */
  come(source = 1): Connection {
    const connection = new Connection(this.#fd++, source);
    this.waiting.push(connection);
    this.readable.get(50)!();
    return connection;
  }

  bring(connection: Connection, ...bytes: number[]): void {
    connection.incoming.push(...bytes);
    this.readable.get(connection.fd)?.();
  }

  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter(timer => timer !== next);
      this.now = Math.max(this.now, next.at);
      next.callback();
    }
    this.now = end;
  }

  /** What was said of connections that ended, since the last call. */
  ends(): string[] {
    return this.events.splice(0).flatMap(event => {
      if (event.kind === 'streamClosed') return `${event.path.socket}: ${event.reason}`;
      if (event.kind === 'socketFailed') return event.reason;
      return event.kind === 'socketOpened' ? `opened ${event.socket}` : [];
    });
  }
}

describe('daemon/streams: listening', () => {
  it('gives each connection a number, and its packets with it', () => {
    const world = new World().listen();
    const [a, b] = [world.come(), world.come()];
    world.bring(b, 0, 2, 7, 8, 0);
    world.bring(a, 0, 1, 9);
    world.bring(b, 1, 5);
    deepEqual(world.packets, ['2: 7 8', '1: 9', '2: 5']);
    world.streams.send(1, Uint8Array.of(4, 5), false);
    deepEqual(a.writes, [Uint8Array.of(0, 2, 4, 5)]);
    equal(world.streams.fd(2), b.fd);
    deepEqual(world.streams.locals(), [endpoint(1194)]);
    world.streams.closeAll();
    ok(a.isClosed && b.isClosed && world.readable.size === 0);
  });

  it('says that one ended and touches it no more; it is closed when told to', () => {
    const world = new World().listen();
    world.isPrompt = false;
    const a = world.come();
    a.isEnd = true;
    world.bring(a, 0, 1, 9);
    world.readable.get(a.fd)?.();
    deepEqual(world.packets, ['1: 9']);
    deepEqual(world.ends(), ['1: connection closed']);
    ok(!a.isClosed && !world.readable.has(a.fd));
    world.streams.send(1, Uint8Array.of(1), false);
    deepEqual(a.writes, []);
    world.streams.close(1);
    world.streams.close(1);
    ok(a.isClosed);
  });

  it('a length that is none ends it, counted', () => {
    const world = new World().listen();
    world.bring(world.come(), 0, 0);
    const [event] = world.events;
    ok(event?.kind === 'streamClosed' && event.drop === 'record-length' && event.path.tcp === true);
  });

  it('has the hand window for a session, each from its own beginning', () => {
    const world = new World().listen();
    const a = world.come();
    world.pass(20_000);
    const [b, c] = [world.come(), world.come()];
    world.streams.establish(2, 'us');
    world.pass(39_999);
    ok(!a.isClosed);
    world.pass(1);
    ok(a.isClosed);
    deepEqual(world.ends(), ['1: no session within 60 s']);
    world.pass(20_000);
    ok(!b.isClosed && c.isClosed);
    world.pass(600_000);
    ok(!b.isClosed);
  });

  it('of too many without a session the oldest goes; those with one stay', () => {
    const world = new World().listen();
    const good = world.come();
    world.streams.establish(1, 'us');
    const all = Array.from({ length: HALF_OPEN_MAX + 3 }, (_, i) => world.come(i));
    deepEqual(all.map(connection => connection.isClosed).lastIndexOf(true), 2);
    ok(!good.isClosed);
    ok(world.events.every(event => event.kind === 'streamClosed' && event.drop === 'rate-limit'));
    equal(world.events.length, 3);
  });

  it('one source keeps nobody else out: those it has too many go themselves', () => {
    const world = new World().listen();
    const other = world.come(2);
    const all = Array.from({ length: HALF_OPEN_MAX + 3 }, () => world.come(1));
    deepEqual(all.map(connection => connection.isClosed).indexOf(true), HALF_OPEN_PER_SOURCE);
    deepEqual(all.filter(connection => !connection.isClosed).length, HALF_OPEN_PER_SOURCE);
    ok(!other.isClosed);
    ok(world.events.every(event => event.kind === 'streamClosed' && event.drop === 'source-limit'));
    // Whoever is authenticated counts no more.
    world.streams.establish(2, 'us');
    ok(!world.come(1).isClosed && world.come(1).isClosed);
  });

  it('without descriptors the oldest makes room, and with nobody to go the listener rests', () => {
    const world = new World().listen();
    const a = world.come();
    const b = new Connection(900);
    world.waiting.push(FAILURES.ECONNABORTED, FAILURES.EMFILE, b);
    world.readable.get(50)!();
    ok(a.isClosed && !b.isClosed);
    world.streams.establish(2, 'us');
    world.waiting.push(FAILURES.EMFILE);
    world.readable.get(50)!();
    ok(!world.readable.has(50) && !b.isClosed);
    world.pass(999);
    ok(!world.readable.has(50));
    world.pass(1);
    ok(world.readable.has(50));
  });
});

describe('daemon/streams: sending', () => {
  it('waits for room, and forgets about it when all is out', () => {
    const world = new World().listen();
    const a = world.come();
    a.room = 3;
    world.streams.send(1, Uint8Array.of(1, 2, 3), false);
    world.streams.send(1, Uint8Array.of(4), true);
    a.room = 100;
    world.writable.get(a.fd)!();
    deepEqual(Uint8Array.from(a.writes.flatMap(bytes => [...bytes])), Uint8Array.of(0, 3, 1, 2, 3, 0, 1, 4));
    ok(!world.writable.has(a.fd));
  });

  it('the kernel is asked again on a timer: it says there is room when there is none', () => {
    const world = new World().listen();
    const a = world.come();
    equal(world.streams.notReady(1), undefined);
    world.streams.establish(1, 'kernel');
    a.room = 0;
    world.streams.send(1, Uint8Array.of(1, 2), false);
    world.streams.send(1, Uint8Array.of(3), false);
    ok(!world.writable.has(a.fd));
    world.pass(100);
    deepEqual(a.writes, []);
    a.room = 4;
    world.pass(20);
    a.room = 100;
    world.pass(20);
    deepEqual(a.writes, [Uint8Array.of(0, 2, 1, 2), Uint8Array.of(0, 1, 3)]);
    world.streams.close(1);
    world.pass(1000);
  });

  it('the kernel gets none that stands in the middle of a packet', () => {
    const world = new World().listen();
    const a = world.come();
    world.bring(a, 0);
    equal(world.streams.notReady(1), 'the connection is in the middle of a packet');
    world.bring(a, 1, 9);
    equal(world.streams.notReady(1), undefined);
    a.room = 1;
    world.streams.send(1, Uint8Array.of(1), false);
    ok(world.streams.notReady(1) !== undefined);
    equal(world.streams.notReady(9), 'the connection is closed');
  });

  it('data dropped for a slow peer stays counted when that is gone', () => {
    const world = new World().listen();
    const a = world.come();
    world.streams.establish(1, 'us');
    a.room = 0;
    for (let i = 0; i < 200; i++) world.streams.send(1, new Uint8Array(2000), true);
    const dropped = world.streams.dropped();
    ok(dropped > 60 && dropped < 80, `${dropped}`);
    for (let i = 0; i < 100; i++) world.streams.send(1, new Uint8Array(2000), false);
    deepEqual(world.ends(), ['1: it does not read what it is sent']);
    ok(a.isClosed);
    equal(world.streams.dropped(), dropped);
  });
});

describe('daemon/streams: connecting', () => {
  it('says when it is there', () => {
    const world = new World();
    const a = new Connection(7);
    world.connecting = a;
    world.streams.connect(endpoint(443));
    deepEqual(world.ends(), []);
    deepEqual(world.streams.locals(), []);
    world.writable.get(7)!();
    deepEqual(world.ends(), ['opened 1']);
    ok(world.readable.has(7) && !world.writable.has(7));
    deepEqual(world.streams.locals(), [endpoint(443)]);
    // Nobody closes it for want of a session: the client has a clock of its own.
    world.pass(600_000);
    deepEqual(world.ends(), []);
  });

  it('says why not: at once, later, or after its time', () => {
    const world = new World();
    world.connecting = FAILURES.ECONNREFUSED;
    world.streams.connect(endpoint(443));
    const late = new Connection(7);
    late.failure = FAILURES.ECONNREFUSED;
    world.connecting = late;
    world.streams.connect(endpoint(443));
    world.writable.get(7)!();
    const never = new Connection(8);
    world.connecting = never;
    world.streams.connect(endpoint(443));
    world.pass(9999);
    ok(!never.isClosed);
    world.pass(1);
    const refused = 'connect: Connection refused';
    deepEqual(world.ends(), [refused, refused, 'no connection within 10 s']);
    ok(late.isClosed && never.isClosed && world.writable.size === 0);
  });

  it('a new attempt, or the end, takes the place of one under way', () => {
    const world = new World();
    const [first, second] = [new Connection(7), new Connection(8)];
    world.connecting = first;
    world.streams.connect(endpoint(443));
    world.connecting = second;
    world.streams.connect(endpoint(444));
    ok(first.isClosed && !second.isClosed);
    world.streams.closeAll();
    ok(second.isClosed);
    world.pass(60_000);
    deepEqual(world.ends(), []);
  });
});
