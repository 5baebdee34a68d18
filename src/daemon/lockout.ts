// SPDX-License-Identifier: Apache-2.0
// Whoever fails to log in too often waits: by name, and by where it comes from. What is remembered is bounded.

import { formatIp, type Ip } from '../core/address.ts';
import { toHex } from '../core/bytes.ts';

/** Failures until the door stays shut, and for how long. Then they are counted anew. */
export const FAILURES_MAX = 5;
export const LOCKED_MS = 60_000;
/** How long a failure counts. */
const FORGET_MS = 600_000;
/** Names and sources that are remembered. */
const REMEMBERED_MAX = 1024;
const NAME_LENGTH = 128;

/** Whom a login is counted by. */
export interface Suspect {
  readonly name: string;
  readonly source: string;
}

/** A household or company is one source: an IPv4 address, or a /56 of IPv6. Very long names share a count. */
export function suspect(username: string, ip: Ip): Suspect {
  return {
    name: `name ${username.slice(0, NAME_LENGTH)}`,
    source: `from ${ip.length === 4 ? formatIp(ip) : toHex(ip.subarray(0, 7))}`,
  };
}

interface Failures {
  /** The other half of each: sources of a name, names of a source. */
  readonly with: string[];
  lastMs: number;
  lockedUntilMs: number;
}

/** Times in monotonic milliseconds. */
export class Lockout {
  readonly #failures = new Map<string, Failures>();

  /** How long a login is still locked; 0: it is not. */
  lockedMs({ name, source }: Suspect, now: number): number {
    const until = (key: string): number => this.#failures.get(key)?.lockedUntilMs ?? 0;
    return Math.max(0, until(name) - now, until(source) - now);
  }

  /** How often it may still fail before it is locked. */
  left({ name, source }: Suspect, now: number): number {
    return FAILURES_MAX - Math.max(this.#known(name, now), this.#known(source, now));
  }

  #known(key: string, now: number): number {
    const known = this.#failures.get(key);
    return known === undefined || now - known.lastMs >= FORGET_MS ? 0 : known.with.length;
  }

  fail({ name, source }: Suspect, now: number): void {
    this.#fail(name, source, now);
    this.#fail(source, name, now);
  }

  #fail(key: string, other: string, now: number): void {
    const old = this.#failures.get(key);
    const known =
      old === undefined || now - old.lastMs >= FORGET_MS ? { with: [], lastMs: 0, lockedUntilMs: 0 } : old;
    known.with.push(other);
    known.lastMs = now;
    if (known.with.length >= FAILURES_MAX) {
      known.with.length = 0;
      known.lockedUntilMs = now + LOCKED_MS;
    }
    // The oldest is forgotten first.
    this.#failures.delete(key);
    this.#failures.set(key, known);
    if (this.#failures.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#failures.keys()) return void this.#failures.delete(oldest);
  }

  /**
   * A good login: the name is itself again, and its own failures there were slips. Those of other names stay: one
   * account must not pay for guessing at the others.
   */
  succeed({ name, source }: Suspect): void {
    this.#failures.delete(name);
    const known = this.#failures.get(source);
    if (known === undefined) return;
    const others = known.with.filter(other => other !== name);
    known.with.splice(0, known.with.length, ...others);
  }

  /** The user of this name has another password now. */
  forget(username: string): void {
    this.#failures.delete(`name ${username}`);
  }
}
