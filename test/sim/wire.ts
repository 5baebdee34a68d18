// SPDX-License-Identifier: Apache-2.0
// A wire between addresses on a virtual clock. With faults on it reorders 1/8, drops 1/16, corrupts 1/32,
// duplicates 1/16 of the datagrams, and now and then sends an old one again, from its sender or a stranger.

import { type Endpoint, formatEndpoint } from '../../src/core/address.ts';
import type { Chance } from './random.ts';

const DELAY_MS = 20;
const REORDER_MS = 400;
const KEPT = 256;

interface Flight {
  readonly at: number;
  readonly order: number;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
}

export type Receiver = (from: Endpoint, bytes: Uint8Array) => void;

export class Wire {
  now = 0;
  hasFaults = false;
  readonly counts = { sent: 0, dropped: 0, corrupted: 0, reordered: 0, duplicated: 0, replayed: 0 };
  readonly #chance: Chance;
  readonly #receivers = new Map<string, Receiver>();
  readonly #kept: Flight[] = [];
  #flights: Flight[] = [];
  #order = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  attach(address: Endpoint, receiver: Receiver): void {
    this.#receivers.set(formatEndpoint(address), receiver);
  }

  detach(address: Endpoint): void {
    this.#receivers.delete(formatEndpoint(address));
  }

  send(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    this.counts.sent++;
    const copy = bytes.slice();
    if (!this.hasFaults) return this.#launch(from, to, copy, DELAY_MS);
    this.#keep({ at: 0, order: 0, from, to, bytes: copy });
    if (this.#chance.oneIn(16)) this.#replay();
    if (this.#chance.oneIn(16)) return void this.counts.dropped++;
    if (this.#chance.oneIn(16)) {
      this.counts.duplicated++;
      this.#launch(from, to, copy, DELAY_MS + this.#chance.below(REORDER_MS));
    }
    let delay = DELAY_MS;
    if (this.#chance.oneIn(8)) {
      this.counts.reordered++;
      delay += this.#chance.below(REORDER_MS);
    }
    const isCorrupt = this.#chance.oneIn(32);
    if (isCorrupt) this.counts.corrupted++;
    this.#launch(from, to, isCorrupt ? this.#corrupt(copy) : copy, delay);
  }

  #corrupt(bytes: Uint8Array): Uint8Array {
    const out = bytes.slice(0, this.#chance.oneIn(4) ? this.#chance.below(bytes.length + 1) : bytes.length);
    if (out.length > 0) out[this.#chance.below(out.length)]! ^= 1 << this.#chance.below(8);
    return out;
  }

  #keep(flight: Flight): void {
    if (this.#kept.length < KEPT) this.#kept.push(flight);
    else this.#kept[this.#chance.below(KEPT)] = flight;
  }

  #replay(): void {
    const old = this.#kept[this.#chance.below(this.#kept.length)]!;
    this.counts.replayed++;
    const stranger: Endpoint = { ip: new Uint8Array([192, 0, 2, 66]), port: 1 + this.#chance.below(65535) };
    this.#launch(this.#chance.oneIn(2) ? old.from : stranger, old.to, old.bytes, DELAY_MS);
  }

  #launch(from: Endpoint, to: Endpoint, bytes: Uint8Array, delay: number): void {
    this.#flights.push({ at: this.now + delay, order: this.#order++, from, to, bytes });
  }

  /** When the next datagram arrives. */
  nextAt(): number {
    return this.#flights.reduce((least, flight) => Math.min(least, flight.at), Number.POSITIVE_INFINITY);
  }

  /** Delivers what has arrived by now. */
  deliver(): void {
    const arrived = this.#flights
      .filter(flight => flight.at <= this.now)
      .sort((a, b) => a.at - b.at || a.order - b.order);
    if (arrived.length === 0) return;
    this.#flights = this.#flights.filter(flight => flight.at > this.now);
    for (const { from, to, bytes } of arrived) this.#receivers.get(formatEndpoint(to))?.(from, bytes);
  }
}
