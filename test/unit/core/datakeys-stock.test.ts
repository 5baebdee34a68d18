// SPDX-License-Identifier: Apache-2.0
// Data keys against a model of the stock peer, which keeps its current key and the one before: whatever the two
// sides' renegotiations, each sends on a key the other still has.

import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { renegotiate, sessionDeadline } from '../../../src/core/session.ts';
import { type Chance, createChance } from '../../sim/random.ts';
import { type Bench, type ClientBench, clientBench, type ServerBench, serverBench } from './bench.ts';
import { fakeTls } from './fake-tls.ts';
import { connected, type Hand, join } from './hand.ts';

const STOCK_DEFER_MS = 60_000;
const DATA_MS = 500;

interface StockKey {
  readonly keyId: number;
  readonly startedAt: number;
  isUp: boolean;
}

/** OpenVPN's key states: the current one and one lame duck (ssl.c: key_state_soft_reset, tls_select_encryption_key). */
class Stock {
  readonly hand: Hand;
  current: StockKey;
  lame: StockKey | undefined;
  dropped: StockKey | undefined;
  #seen: number;

  constructor(hand: Hand, now: number) {
    this.hand = hand;
    this.current = { keyId: 0, startedAt: now, isUp: true };
    this.#seen = hand.outcomes.length;
  }

  #shift(now: number): void {
    this.dropped = this.lame;
    this.lame = this.current;
    this.current = { keyId: this.hand.session.current.keyId, startedAt: now, isUp: false };
  }

  renegotiate(now: number): boolean {
    if (renegotiate(this.hand.session, now) === undefined) return false;
    this.#shift(now);
    return true;
  }

  look(now: number): void {
    for (const outcome of this.hand.outcomes.slice(this.#seen)) {
      ok(outcome.kind !== 'failed', 'a negotiation failed');
      if (outcome.kind === 'renegotiating') this.#shift(now);
      if (outcome.kind === 'active') this.current.isUp = true;
    }
    this.#seen = this.hand.outcomes.length;
  }

  accepts(keyId: number): boolean {
    return (this.current.isUp && this.current.keyId === keyId) || this.lame?.keyId === keyId;
  }

  sendsOn(now: number): number {
    const usable = [this.current, ...(this.lame === undefined ? [] : [this.lame])].filter(key => key.isUp);
    return (usable.find(key => now >= key.startedAt + STOCK_DEFER_MS) ?? usable[0]!).keyId;
  }
}

interface At {
  readonly at: number;
}
type Flight =
  | (At & { readonly kind: 'toPeer'; readonly bytes: Uint8Array })
  | (At & { readonly kind: 'toUs'; readonly bytes: Uint8Array })
  | (At & { readonly kind: 'dataToPeer'; readonly keyId: number; readonly sentAt: number })
  | (At & { readonly kind: 'dataToUs'; readonly keyId: number });

interface DuelOptions {
  readonly role: 'client' | 'server';
  readonly latencyMs: number;
  /** One control packet in so many is lost; 0 = none. */
  readonly lossOneIn: number;
  readonly seed: number;
  readonly ourRenegS?: number;
}

/** We in either role against the stock peer, over a wire with latency and loss. */
class Duel {
  readonly bench: Bench;
  readonly peer: Stock;
  readonly #peerId: number;
  readonly #options: DuelOptions;
  readonly #chance: Chance;
  #flights: Flight[] = [];
  #dataAt: number;
  /** Since when we know that the peer forgot this key; Infinity = we do not know yet. */
  readonly #known = new Map<StockKey, number>();
  readonly #drops: StockKey[] = [];
  refusedInFlight = 0;
  accepted = 0;

  constructor(options: DuelOptions) {
    this.#options = options;
    this.#chance = createChance(options.seed);
    const renegS = options.ourRenegS ?? 3600;
    const tls = fakeTls({ role: options.role, commonName: 'us' });
    let hand: Hand;
    if (options.role === 'server') {
      const bench: ServerBench = serverBench(tls, { renegS, ping: 0, pingRestart: 0 });
      hand = join(bench);
      this.bench = bench;
      this.#peerId = 0;
    } else {
      const bench: ClientBench = clientBench(tls, { renegS });
      hand = connected(bench);
      this.bench = bench;
      this.#peerId = 5;
    }
    this.peer = new Stock(hand, this.bench.now);
    this.#dataAt = this.bench.now;
    equal(this.bench.plane.keys(this.#peerId), '0/-');
  }

  #ours(): { primary: number; secondary: number | undefined } {
    const record = this.bench.plane.peers.get(this.#peerId);
    ok(record?.primary, 'we lost the connection');
    return { primary: record.primary.keyId, secondary: record.secondary?.keyId };
  }

  renegotiateUs(): void {
    this.bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
  }

  renegotiatePeer(): void {
    if (!this.peer.renegotiate(this.bench.now)) return;
    const { dropped } = this.peer;
    if (dropped === undefined) return;
    this.#drops.push(dropped);
    this.#known.set(dropped, Number.POSITIVE_INFINITY);
  }

  #launch(): void {
    const { now } = this.bench;
    const at = now + this.#options.latencyMs;
    const isLost = (): boolean => this.#options.lossOneIn > 0 && this.#chance.oneIn(this.#options.lossOneIn);
    for (const { bytes } of this.bench.takeSent()) {
      if (!isLost()) this.#flights.push({ kind: 'toPeer', at, bytes });
    }
    for (const bytes of this.peer.hand.flush(now)) {
      if (!isLost()) this.#flights.push({ kind: 'toUs', at, bytes });
    }
    if (now < this.#dataAt) return;
    this.#dataAt = now + DATA_MS;
    this.#flights.push({ kind: 'dataToPeer', at, keyId: this.#ours().primary, sentAt: now });
    this.#flights.push({ kind: 'dataToUs', at, keyId: this.peer.sendsOn(now) });
  }

  #land(flight: Flight): void {
    const { now } = this.bench;
    if (flight.kind === 'toPeer') {
      this.peer.hand.receive(flight.bytes, now);
      this.peer.look(now);
    } else if (flight.kind === 'toUs') {
      this.bench.step({ kind: 'datagram', path: this.peer.hand.path, bytes: flight.bytes });
      if (this.#isInStep()) {
        for (const key of this.#drops) this.#known.set(key, Math.min(this.#known.get(key)!, now));
      }
    } else if (flight.kind === 'dataToPeer') {
      if (this.peer.accepts(flight.keyId)) this.accepted++;
      else this.#excuse(flight.keyId, flight.sentAt);
    } else {
      const { primary, secondary } = this.#ours();
      ok(flight.keyId === primary || flight.keyId === secondary, `key ${flight.keyId} of the peer is gone`);
      this.accepted++;
    }
  }

  /** Whether we have heard of the peer's latest renegotiation. */
  #isInStep(): boolean {
    const { state } = this.bench as ServerBench | ClientBench;
    const session = 'byId' in state ? state.byId.get(0)!.session : state.session!;
    return session.current.keyId === this.peer.current.keyId;
  }

  /** A refused packet is excused only when it was sent before we could know that its key was gone. */
  #excuse(keyId: number, sentAt: number): void {
    const { current } = this.peer;
    const isEarly = this.#options.lossOneIn > 0 && current.keyId === keyId && !current.isUp;
    // Our last ack can be lost for longer than any grace; the peer cannot tell us that it waits.
    if (isEarly) return void this.refusedInFlight++;
    const drop = [...this.#drops].reverse().find(key => key.keyId === keyId);
    const knownAt = drop === undefined ? Number.NEGATIVE_INFINITY : this.#known.get(drop)!;
    ok(sentAt <= knownAt, `we sent on key ${keyId}, which the peer does not have`);
    this.refusedInFlight++;
  }

  run(ms: number): void {
    const end = this.bench.now + ms;
    for (;;) {
      this.#launch();
      const times = this.#flights.map(flight => flight.at);
      times.push(this.#dataAt, this.bench.timerAt ?? end, sessionDeadline(this.peer.hand.session) ?? end);
      const next = Math.max(this.bench.now, Math.min(...times));
      if (next >= end) break;
      this.bench.now = next;
      const landed = this.#flights.filter(flight => flight.at <= next);
      this.#flights = this.#flights.filter(flight => flight.at > next);
      for (const flight of landed) this.#land(flight);
      this.peer.hand.tick(next);
      this.peer.look(next);
      if (this.bench.timerAt !== undefined && this.bench.timerAt <= next) this.bench.step({ kind: 'tick' });
    }
    this.bench.now = end;
  }
}

for (const role of ['server', 'client'] as const) {
  describe(`core/datakeys: a ${role} against the stock peer`, () => {
    it('a peer that renegotiates every 5 s from the start never misses a packet', () => {
      const duel = new Duel({ role, latencyMs: 100, lossOneIn: 0, seed: 1 });
      for (let i = 0; i < 60; i++) {
        duel.run(5000);
        duel.renegotiatePeer();
      }
      equal(duel.peer.current.keyId, 4);
      equal(duel.refusedInFlight, 0);
      ok(duel.accepted > 1000);
    });

    it('we renegotiate every 5 s and the peer never does', () => {
      const duel = new Duel({ role, latencyMs: 100, lossOneIn: 0, seed: 1, ourRenegS: 5 });
      duel.run(300_000);
      const count = duel.bench.plane.commands.filter(command => command.op === 'addKey').length;
      ok(count > 50, `${count}`);
      equal(duel.refusedInFlight, 0);
    });

    it('an hour of default settings, then a peer in a hurry', () => {
      const duel = new Duel({ role, latencyMs: 50, lossOneIn: 0, seed: 1 });
      duel.run(3_000_000);
      duel.renegotiatePeer();
      duel.run(5000);
      // Old session, so we still wait; the peer cannot.
      equal(duel.bench.plane.keys(role === 'server' ? 0 : 5), '0/1');
      duel.renegotiatePeer();
      duel.run(5000);
      ok(duel.refusedInFlight <= 1, 'no more than what was on its way');
      duel.run(600_000);
      equal(duel.bench.plane.keys(role === 'server' ? 0 : 5), '2/1');
    });

    it('soft resets of both ends at once converge', () => {
      for (const latencyMs of [0, 1, 80, 400]) {
        const duel = new Duel({ role, latencyMs, lossOneIn: 0, seed: 1 });
        duel.run(10_000);
        for (let i = 1; i <= 9; i++) {
          duel.renegotiatePeer();
          duel.renegotiateUs();
          duel.run(10_000);
          const keyId = ((i - 1) % 7) + 1;
          equal(duel.peer.current.keyId, keyId);
          equal(duel.bench.plane.keys(role === 'server' ? 0 : 5), `${keyId}/${i === 8 ? 7 : keyId - 1}`);
        }
        equal(duel.refusedInFlight, 0);
      }
    });

    it('any schedule of renegotiations, over a wire that loses packets', () => {
      const step = fc.record({
        afterMs: fc.oneof(fc.integer({ min: 1, max: 8000 }), fc.integer({ min: 1, max: 150_000 })),
        who: fc.constantFrom('us', 'peer', 'both'),
      });
      const wire = fc.record({
        latencyMs: fc.integer({ min: 0, max: 300 }),
        lossOneIn: fc.constantFrom(0, 0, 20, 5),
        seed: fc.nat(),
      });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 12 }), wire, (steps, options) => {
          const duel = new Duel({ role, ...options });
          for (const { afterMs, who } of steps) {
            duel.run(afterMs);
            if (who !== 'peer') duel.renegotiateUs();
            if (who !== 'us') duel.renegotiatePeer();
          }
          duel.run(200_000);
          // Calm again: both send on the newest key.
          const newest = duel.peer.current.keyId;
          equal(duel.peer.sendsOn(duel.bench.now), newest);
          deepEqual(duel.bench.plane.keys(role === 'server' ? 0 : 5).split('/')[0], `${newest}`);
        }),
        { numRuns: 100 },
      );
    });
  });
}
