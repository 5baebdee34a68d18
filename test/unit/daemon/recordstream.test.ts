// SPDX-License-Identifier: Apache-2.0
// Packets over a byte stream: however it is cut, the same packets come out; what is no packet ends it; a slow peer
// costs what was agreed and no more.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { CONTROL_QUEUE_MAX, DATA_QUEUE_MAX, RecordStream } from '../../../src/daemon/recordstream.ts';
import type { Failure, Result, TcpConnection } from '../../../src/host/host.ts';

const RESET: Failure = { failed: true, call: 'read', errno: 104, code: 'ECONNRESET', text: 'reset by peer' };

/** A connection in memory: what it brings in pieces, and how much it takes. */
class Pipe implements TcpConnection {
  readonly fd = 5;
  readonly remote = { ip: new Uint8Array([192, 0, 2, 1]), port: 1 };
  /** Pieces to come; empty array = end of stream. */
  readonly incoming: (Uint8Array | Failure)[] = [];
  readonly taken: number[] = [];
  /** Room for what is written. */
  room = Number.POSITIVE_INFINITY;
  /** Lengths asked for by each read. */
  readonly asked: number[] = [];
  failure: Failure | undefined;

  read(into: Uint8Array): Result<number> | undefined {
    this.asked.push(into.length);
    const piece = this.incoming[0];
    if (piece === undefined) return undefined;
    if ('failed' in piece) return piece;
    if (piece.length === 0) return 0;
    const length = Math.min(piece.length, into.length);
    into.set(piece.subarray(0, length));
    if (length === piece.length) this.incoming.shift();
    else this.incoming[0] = piece.subarray(length);
    return length;
  }

  write(bytes: Uint8Array): Result<number> {
    if (this.failure !== undefined) return this.failure;
    const length = Math.min(this.room, bytes.length);
    this.room -= length;
    this.taken.push(...bytes.subarray(0, length));
    return length;
  }

  outcome(): undefined {}
  local = () => this.remote;
  close(): void {}
}

function framed(...packets: readonly Uint8Array[]): Uint8Array {
  const parts = packets.map(packet => [packet.length >> 8, packet.length & 0xff, ...packet]);
  return Uint8Array.from(parts.flat());
}

/** `bytes` in pieces of these lengths, over and over. */
function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length]!;
    pieces.push(bytes.slice(at, at + length));
    at += length;
  }
  return pieces;
}

/** Reads until there is no more, or the stream ends. */
function drain(stream: RecordStream, pipe: Pipe, onRecord: (count: number) => void = () => {}) {
  const records: Uint8Array[] = [];
  while (pipe.incoming.length > 0) {
    const end = stream.read(record => {
      records.push(record.slice());
      onRecord(records.length);
    });
    if (end !== undefined) return { records, end };
  }
  return { records, end: undefined };
}

const packets = fc.array(fc.uint8Array({ minLength: 1, maxLength: 2048 }), { minLength: 1, maxLength: 12 });
const lengths = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 });
const numbered = (length: number) => Uint8Array.from({ length }, (_, i) => i & 0xff);

describe('daemon/recordstream: reading', () => {
  it('gives the packets that went in, however they are cut and whenever it widens', () => {
    fc.assert(
      fc.property(packets, lengths, fc.nat(13), (sent, pieces, widenAt) => {
        const pipe = new Pipe();
        const stream = new RecordStream(pipe);
        pipe.incoming.push(...cut(framed(...sent), pieces));
        if (widenAt === 0) stream.widen(1668);
        const { records, end } = drain(stream, pipe, count => {
          if (count === widenAt) stream.widen(1668);
        });
        equal(end, undefined);
        deepEqual(records, sent);
        ok(stream.isBetweenRecords);
      }),
    );
  });

  it('takes no byte beyond a record before it is widened', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    const rest = framed(numbered(30));
    pipe.incoming.push(Uint8Array.from([...framed(numbered(54), numbered(99)), ...rest]));
    const seen: number[] = [];
    stream.read(record => {
      seen.push(record.length);
      if (seen.length === 2) stream.widen(0);
    });
    deepEqual(seen, [54, 99]);
    deepEqual(pipe.asked, [2, 54, 2, 99]);
    deepEqual(pipe.incoming, [rest]);
    ok(stream.isBetweenRecords);
  });

  it('knows that it stands in the middle of a record', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    for (const [byte, isBetween] of [
      [0, false],
      [2, false],
      [7, false],
      [7, true],
    ] as const) {
      pipe.incoming.push(Uint8Array.of(byte));
      drain(stream, pipe);
      equal(stream.isBetweenRecords, isBetween);
    }
  });

  it('reads a bounded number of packets of a stranger in one turn', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    pipe.incoming.push(framed(...Array.from({ length: 1000 }, () => Uint8Array.of(1))));
    let count = 0;
    stream.read(() => count++);
    equal(count, 64);
  });

  for (const isWide of [false, true]) {
    for (const [length, isGood] of [
      [0, false],
      [1, true],
      [2048, true],
      [2049, false],
      [65_535, false],
    ] as const) {
      it(`${isWide ? 'wide' : 'exact'}: a length of ${length} is ${isGood ? 'taken' : 'the end'}`, () => {
        const pipe = new Pipe();
        const stream = new RecordStream(pipe);
        if (isWide) stream.widen(1668);
        pipe.incoming.push(framed(numbered(9)), framed(numbered(length)));
        const { records, end } = drain(stream, pipe);
        equal(records.length, isGood ? 2 : 1);
        deepEqual(end, isGood ? undefined : { reason: `a record of ${length} bytes`, drop: 'record-length' });
      });
    }
  }

  it('takes packets as long as the tunnel’s own once somebody is authenticated', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    stream.widen(9168);
    pipe.incoming.push(framed(numbered(9168), numbered(9169)));
    const { records, end } = drain(stream, pipe);
    deepEqual(records, [numbered(9168)]);
    equal(end?.drop, 'record-length');
  });

  it('says how it ended', () => {
    for (const isWide of [false, true]) {
      for (const [last, reason] of [
        [new Uint8Array(0), 'connection closed'],
        [RESET, 'read: reset by peer'],
      ] as const) {
        const pipe = new Pipe();
        const stream = new RecordStream(pipe);
        if (isWide) stream.widen(0);
        pipe.incoming.push(framed(numbered(3)), Uint8Array.of(0), last);
        const { records, end } = drain(stream, pipe);
        equal(records.length, 1);
        deepEqual(end, { reason });
      }
    }
  });

  it('passes on nothing after it was closed by what it passed on', () => {
    for (const isWide of [false, true]) {
      const pipe = new Pipe();
      const stream = new RecordStream(pipe);
      if (isWide) stream.widen(0);
      pipe.incoming.push(framed(numbered(3), numbered(4)));
      let count = 0;
      const end = stream.read(() => {
        count++;
        stream.close();
      });
      deepEqual([count, end], [1, undefined]);
    }
  });
});

describe('daemon/recordstream: sending', () => {
  it('writes length and packet in one call', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    equal(stream.send(numbered(300), true), undefined);
    deepEqual(Uint8Array.from(pipe.taken), framed(numbered(300)));
    ok(!stream.hasQueue);
  });

  it('what does not fit waits, in order and whole', () => {
    fc.assert(
      fc.property(packets, fc.array(fc.nat(3000), { minLength: 1, maxLength: 40 }), (sent, rooms) => {
        const pipe = new Pipe();
        const stream = new RecordStream(pipe);
        sent.forEach((packet, i) => {
          pipe.room = rooms[i % rooms.length]!;
          stream.send(packet, i % 2 === 0);
        });
        for (const room of rooms) {
          pipe.room = room;
          equal(stream.flush(), undefined);
        }
        pipe.room = Number.POSITIVE_INFINITY;
        stream.flush();
        deepEqual(Uint8Array.from(pipe.taken), framed(...sent));
        ok(stream.isBetweenRecords && !stream.hasQueue);
      }),
    );
  });

  it('drops data, whole, when too much waits; control goes on for a while, then it is the end', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    pipe.room = 700;
    const packet = numbered(1400);
    for (let i = 0; i < 1000; i++) equal(stream.send(packet, true), undefined);
    const kept = 1000 - stream.dropped;
    const bytes = (kept * 1402 - 700) as number;
    ok(bytes <= DATA_QUEUE_MAX && bytes + 1402 > DATA_QUEUE_MAX, `${bytes} wait`);
    ok(!stream.isBetweenRecords);
    let control = 0;
    let end: ReturnType<RecordStream['send']>;
    for (; end === undefined; control++) end = stream.send(packet, false);
    equal(end.reason, 'it does not read what it is sent');
    ok(bytes + control * 1402 > CONTROL_QUEUE_MAX && control > 20);
    pipe.room = Number.POSITIVE_INFINITY;
    stream.flush();
    const whole = Array.from({ length: kept + control - 1 }, () => packet);
    deepEqual(Uint8Array.from(pipe.taken), framed(...whole));
  });

  it('a connection that breaks says so, when sending and when flushing', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    pipe.room = 1;
    stream.send(numbered(9), false);
    pipe.failure = { ...RESET, call: 'write' };
    match(stream.flush()!.reason, /^write: reset by peer$/);
    const other = new RecordStream(pipe);
    match(other.send(numbered(9), true)!.reason, /^write: /);
    other.close();
    equal(other.send(numbered(9), true), undefined);
  });

  it('sends nothing that has no length of two bytes', () => {
    const pipe = new Pipe();
    const stream = new RecordStream(pipe);
    pipe.taken.length = 0;
    stream.send(new Uint8Array(65_536), false);
    equal(pipe.taken.length, 0);
    stream.send(new Uint8Array(65_535), false);
    equal(pipe.taken.length, 65_537);
  });
});
