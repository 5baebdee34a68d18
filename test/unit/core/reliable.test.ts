// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import {
  acknowledge,
  allAcknowledged,
  canQueue,
  newReliable,
  queueMessage,
  type Reliable,
  receiveMessage,
  reliableDeadline,
  takeAcks,
  takeDelivered,
  takeDue,
} from '../../../src/core/reliable.ts';
import { OPCODE } from '../../../src/core/wire.ts';

const bytes = (n: number): Uint8Array => new Uint8Array([n & 255, n >> 8]);

function queue(reliable: Reliable, count: number, now = 0): void {
  for (let i = 0; i < count; i++) queueMessage(reliable, OPCODE.control, bytes(i), now);
}

/** Ids due at `now`, marked as sent. */
function due(reliable: Reliable, now: number): number[] {
  const ids: number[] = [];
  for (let one = takeDue(reliable, now); one !== undefined; one = takeDue(reliable, now)) {
    ids.push(one.messageId);
  }
  return ids;
}

function delivered(reliable: Reliable): number[] {
  const out: number[] = [];
  for (let one = takeDelivered(reliable); one !== undefined; one = takeDelivered(reliable)) {
    out.push(one[0]! | (one[1]! << 8));
  }
  return out;
}

describe('core/reliable: sending', () => {
  it('the first message has id 0, or 1 behind a stateless reset', () => {
    const client = newReliable();
    queue(client, 2);
    deepEqual(due(client, 0), [0, 1]);
    const server = newReliable(1);
    queue(server, 1);
    deepEqual(due(server, 0), [1]);
  });

  it('six messages may be on their way, a seventh waits for the oldest', () => {
    const reliable = newReliable();
    for (let i = 0; i < 6; i++) {
      ok(canQueue(reliable));
      queue(reliable, 1);
    }
    equal(canQueue(reliable), false);
    due(reliable, 0);
    acknowledge(reliable, [1, 2, 3, 4, 5], 0);
    // Ids count, not messages: the receiver's window starts at the missing one.
    equal(canQueue(reliable), false);
    acknowledge(reliable, [0], 0);
    equal(canQueue(reliable), true);
  });

  it('a message is due at once, then after 0.5 s, then 1.5 times later each time up to 2 s', () => {
    const reliable = newReliable();
    queue(reliable, 1, 1000);
    equal(reliableDeadline(reliable), 1000);
    const times: number[] = [];
    for (let i = 0; i < 8; i++) {
      const now = reliableDeadline(reliable)!;
      deepEqual(due(reliable, now - 0.001), []);
      deepEqual(due(reliable, now), [0]);
      times.push(now - 1000);
    }
    deepEqual(times, [0, 500, 1250, 2375, 4062.5, 6062.5, 8062.5, 10062.5]);
  });

  it('each message has its own clock, and the earliest counts', () => {
    const reliable = newReliable();
    queue(reliable, 1, 0);
    due(reliable, 0);
    queue(reliable, 1, 100);
    due(reliable, 100);
    equal(reliableDeadline(reliable), 500);
    deepEqual(due(reliable, 500), [0]);
    equal(reliableDeadline(reliable), 600);
  });

  it('an acknowledged message is never sent again; with all acknowledged there is no deadline', () => {
    const reliable = newReliable();
    queue(reliable, 2);
    due(reliable, 0);
    acknowledge(reliable, [0], 10);
    equal(allAcknowledged(reliable), false);
    deepEqual(due(reliable, 10_000), [1]);
    acknowledge(reliable, [1], 10_000);
    equal(allAcknowledged(reliable), true);
    equal(reliableDeadline(reliable), undefined);
    deepEqual(due(reliable, 100_000), []);
  });

  it('acks of unknown, repeated and never sent ids change nothing', () => {
    const reliable = newReliable();
    queue(reliable, 2);
    due(reliable, 0);
    queue(reliable, 1);
    const before = JSON.stringify(reliable);
    acknowledge(reliable, [2, 3, 7, 0xffffffff], 5);
    equal(JSON.stringify(reliable), before);
    acknowledge(reliable, [0, 0, 0, 0], 5);
    deepEqual(
      reliable.outgoing.map(message => message.messageId),
      [1, 2],
    );
  });

  it('three acks of later ids bring a message back at once, two do not', () => {
    const reliable = newReliable();
    queue(reliable, 5);
    due(reliable, 0);
    acknowledge(reliable, [1, 2], 20);
    deepEqual(due(reliable, 20), []);
    // Repeats of an ack are no further evidence.
    acknowledge(reliable, [1, 2, 1, 2], 25);
    deepEqual(due(reliable, 25), []);
    acknowledge(reliable, [3], 30);
    deepEqual(due(reliable, 30), [0]);
    // Evidence starts anew with each transmission.
    acknowledge(reliable, [4], 40);
    deepEqual(due(reliable, 40), []);
  });

  it('acks of earlier ids are no evidence of loss', () => {
    const reliable = newReliable();
    queue(reliable, 4);
    due(reliable, 0);
    acknowledge(reliable, [0, 1, 2], 20);
    deepEqual(due(reliable, 20), []);
  });

  it('a fast resend lengthens the next gap as any other resend', () => {
    const reliable = newReliable();
    queue(reliable, 4);
    due(reliable, 0);
    acknowledge(reliable, [1, 2, 3], 20);
    deepEqual(due(reliable, 20), [0]);
    equal(reliableDeadline(reliable), 770);
  });
});

describe('core/reliable: receiving', () => {
  it('delivers in order of ids, whatever the order of arrival', () => {
    const reliable = newReliable();
    for (const id of [2, 0, 3]) equal(receiveMessage(reliable, id, bytes(id)), 'new');
    deepEqual(delivered(reliable), [0]);
    equal(receiveMessage(reliable, 1, bytes(1)), 'new');
    deepEqual(delivered(reliable), [1, 2, 3]);
    deepEqual(delivered(reliable), []);
  });

  it('twelve ids ahead are taken and acknowledged, the thirteenth is neither', () => {
    const reliable = newReliable();
    equal(receiveMessage(reliable, 11, bytes(11)), 'new');
    equal(receiveMessage(reliable, 12, bytes(12)), 'window');
    equal(receiveMessage(reliable, 0xffffffff, bytes(0)), 'window');
    deepEqual(takeAcks(reliable), [11]);
    equal(reliable.incoming.filter(payload => payload !== undefined).length, 1);
    receiveMessage(reliable, 0, bytes(0));
    delivered(reliable);
    equal(receiveMessage(reliable, 12, bytes(12)), 'new');
    equal(receiveMessage(reliable, 13, bytes(13)), 'window');
  });

  it('duplicates are acknowledged again and not delivered again', () => {
    const reliable = newReliable();
    receiveMessage(reliable, 0, bytes(0));
    receiveMessage(reliable, 2, bytes(2));
    deepEqual(takeAcks(reliable), [0, 2]);
    deepEqual(delivered(reliable), [0]);
    equal(receiveMessage(reliable, 0, bytes(77)), 'duplicate');
    equal(receiveMessage(reliable, 2, bytes(77)), 'duplicate');
    equal(receiveMessage(reliable, 2, bytes(77)), 'duplicate');
    deepEqual(reliable.pendingAcks, [0, 2]);
    receiveMessage(reliable, 1, bytes(1));
    // What came first stays: a late copy with other bytes cannot replace it.
    deepEqual(delivered(reliable), [1, 2]);
  });

  it('behind a stateless reset id 0 is old', () => {
    const reliable = newReliable(1);
    equal(receiveMessage(reliable, 0, bytes(0)), 'duplicate');
    deepEqual(delivered(reliable), []);
    equal(receiveMessage(reliable, 1, bytes(1)), 'new');
    deepEqual(delivered(reliable), [1]);
  });
});

describe('core/reliable: the ack field', () => {
  it('carries at most four, oldest first, the rest later', () => {
    const reliable = newReliable();
    for (let id = 0; id < 6; id++) receiveMessage(reliable, id, bytes(id));
    deepEqual(takeAcks(reliable), [0, 1, 2, 3]);
    deepEqual(reliable.pendingAcks, [4, 5]);
    deepEqual(takeAcks(reliable).slice(0, 2), [4, 5]);
    deepEqual(reliable.pendingAcks, []);
  });

  it('room that is left repeats recent ones, newest first, each once', () => {
    const reliable = newReliable();
    for (const id of [0, 1]) receiveMessage(reliable, id, bytes(id));
    takeAcks(reliable);
    receiveMessage(reliable, 2, bytes(2));
    deepEqual(takeAcks(reliable), [2, 0, 1]);
    deepEqual(takeAcks(reliable), [2, 0, 1]);
    receiveMessage(reliable, 0, bytes(0));
    deepEqual(takeAcks(reliable), [0, 2, 1]);
  });

  it('has nothing to say before anything came, and remembers eight', () => {
    const reliable = newReliable();
    deepEqual(takeAcks(reliable), []);
    for (let id = 0; id < 12; id++) {
      receiveMessage(reliable, id, bytes(id));
      delivered(reliable);
      ok(takeAcks(reliable).length <= 4);
    }
    deepEqual(reliable.recentAcks, [11, 10, 9, 8, 7, 6, 5, 4]);
  });
});

interface Flight {
  readonly at: number;
  readonly to: 'a' | 'b';
  readonly id?: number;
  readonly payload?: Uint8Array;
  readonly acks: readonly number[];
}

/** A wire whose every packet has a fate: lost, late, twice. After the fates are used up all is well. */
class HostileWire {
  readonly ends = { a: newReliable(), b: newReliable() };
  readonly got = { a: [] as number[], b: [] as number[] };
  #flights: Flight[] = [];
  now = 0;
  readonly #fates: number[];

  constructor(fates: readonly number[]) {
    this.#fates = [...fates];
  }

  #launch(flight: Omit<Flight, 'at'>): void {
    const fate = this.#fates.shift() ?? 8;
    if (fate < 3) return;
    this.#flights.push({ ...flight, at: this.now + fate * 7 });
    if (fate % 4 === 0) this.#flights.push({ ...flight, at: this.now + fate * 90 });
  }

  flush(name: 'a' | 'b'): void {
    const end = this.ends[name];
    const to = name === 'a' ? 'b' : 'a';
    for (let one = takeDue(end, this.now); one !== undefined; one = takeDue(end, this.now)) {
      this.#launch({ to, id: one.messageId, payload: one.payload, acks: takeAcks(end) });
    }
    while (end.pendingAcks.length > 0) this.#launch({ to, acks: takeAcks(end) });
  }

  /** One moment passes; false when nothing is left to happen. */
  step(): boolean {
    const times = this.#flights.map(flight => flight.at);
    for (const end of [this.ends.a, this.ends.b]) times.push(reliableDeadline(end) ?? Infinity);
    const next = Math.min(...times);
    if (next === Infinity) return false;
    this.now = Math.max(this.now, next);
    const landed = this.#flights.filter(flight => flight.at <= this.now);
    this.#flights = this.#flights.filter(flight => flight.at > this.now);
    for (const { to, id, payload, acks } of landed) {
      acknowledge(this.ends[to], acks, this.now);
      if (id !== undefined) receiveMessage(this.ends[to], id, payload!);
      this.got[to].push(...delivered(this.ends[to]));
    }
    return true;
  }
}

describe('core/reliable: over any wire', () => {
  it('everything arrives once and in order, and the sender knows it', () => {
    const fates = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 300 });
    const count = fc.integer({ min: 0, max: 40 });
    fc.assert(
      fc.property(fates, count, count, (schedule, fromA, fromB) => {
        const wire = new HostileWire(schedule);
        const left = { a: fromA, b: fromB };
        const all = { a: fromA, b: fromB };
        let isBusy = true;
        for (let steps = 0; isBusy; steps++) {
          ok(steps < 5000, 'no end');
          for (const name of ['a', 'b'] as const) {
            const end = wire.ends[name];
            while (left[name] > 0 && canQueue(end)) {
              queueMessage(end, OPCODE.control, bytes(all[name] - left[name]--), wire.now);
            }
            ok(end.sendNext - (end.outgoing[0]?.messageId ?? end.sendNext) <= 6);
            ok(
              end.incoming.filter(payload => payload !== undefined).length < 12 && end.recentAcks.length <= 8,
            );
            wire.flush(name);
          }
          isBusy = wire.step();
        }
        deepEqual(
          wire.got.b,
          Array.from({ length: fromA }, (_, i) => i),
        );
        deepEqual(
          wire.got.a,
          Array.from({ length: fromB }, (_, i) => i),
        );
        ok(allAcknowledged(wire.ends.a) && allAcknowledged(wire.ends.b));
      }),
      { numRuns: 300 },
    );
  });
});
