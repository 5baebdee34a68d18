// SPDX-License-Identifier: Apache-2.0
// Pings inside a namespace, and what became of them.

import { deepStrictEqual, strictEqual } from 'node:assert';
import type { Namespace } from './namespace.ts';
import type { Process } from './process.ts';
import { PATIENCE_MS, until } from './wait.ts';
import type { World } from './world.ts';

export interface PingOptions {
  /** Bytes of the whole IP packet. */
  readonly size?: number;
  readonly count?: number;
  readonly intervalS?: number;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
}

export const SMALL = 84;
export const LARGE = 1400;

const INTERVAL_S = 0.05;
/** How long an answer may be late before it counts as lost. */
const LATE_MS = 3000;

/**
 * ping, read reply by reply. Its own verdict is of no use: once there was one reply it waits for the last ones only
 * twice the longest time so far, and a busy machine looks like a lossy tunnel.
 */
class Pinging {
  private readonly child: Process;
  private readonly seen = new Set<number>();
  private read = 0;
  private isDuplicated = false;
  /** Highest number that was answered. */
  highest = 0;

  constructor(from: Namespace, address: string, options: PingOptions) {
    const headers = address.includes(':') ? 48 : 28;
    const size = String(Math.max((options.size ?? SMALL) - headers, 0));
    const interval = String(options.intervalS ?? INTERVAL_S);
    this.child = from.spawn('ping', ['ping', '-n', '-i', interval, '-s', size, address]);
  }

  started(): Promise<string> {
    return this.child.line(/^PING /);
  }

  get hasEnded(): boolean {
    return this.child.exit !== undefined;
  }

  /** How many of the first `count` are answered by now. */
  answered(count: number): number {
    for (; this.read < this.child.lines.length; this.read++) {
      const line = this.child.lines[this.read]!;
      const number = Number(/ bytes from .* icmp_seq=([0-9]+)/.exec(line)?.[1] ?? 0);
      if (number > 0) this.seen.add(number);
      this.highest = Math.max(this.highest, number);
      this.isDuplicated ||= line.includes('DUP!');
    }
    let answered = 0;
    for (const number of this.seen) if (number <= count) answered++;
    return answered;
  }

  /** Ends it; how many it sent or, for want of a route, could not. A packet that came twice is an error. */
  async end(): Promise<number> {
    if (!this.hasEnded) await this.child.stop('SIGINT');
    if (this.isDuplicated) throw new Error(`ping: a packet came twice\n${this.child.output}`);
    const sent = Number(/([0-9]+) packets transmitted/.exec(this.child.output)?.[1] ?? 0);
    return sent + this.child.count(/sendmsg/);
  }
}

/** What became of the first `count` pings. */
export async function ping(from: Namespace, address: string, options: PingOptions = {}): Promise<PingResult> {
  const { count = 3, intervalS = INTERVAL_S } = options;
  const pinging = new Pinging(from, address, options);
  await until('answers', count * intervalS * 1500 + LATE_MS, () => {
    return pinging.answered(count) === count || pinging.hasEnded;
  }).catch(() => undefined);
  await pinging.end();
  return { sent: count, received: pinging.answered(count) };
}

/** Waits until `address` answers. */
export async function reach(world: World, from: Namespace, address: string, ms = PATIENCE_MS): Promise<void> {
  await world.until(`${address} answers`, ms, () => answers(from, address));
}

async function answers(from: Namespace, address: string): Promise<boolean> {
  const child = from.spawn('ping', ['ping', '-n', '-q', '-c', '1', '-W', '0.3', address]);
  return (await child.ended()).code === 0;
}

/** Small and large packets to each address, all of them answered. */
export async function pingAll(from: Namespace, addresses: readonly string[]): Promise<void> {
  // The addresses of a device come one after the other.
  for (const address of addresses)
    await until(`${address} answers`, PATIENCE_MS, () => answers(from, address));
  const cases = addresses.flatMap(address => [SMALL, LARGE].map(size => ({ address, size })));
  const results = await Promise.all(
    cases.map(async ({ address, size }) => {
      const { received } = await ping(from, address, { size });
      return `${address} ${size} bytes: ${received} of 3`;
    }),
  );
  deepStrictEqual(
    results,
    cases.map(({ address, size }) => `${address} ${size} bytes: 3 of 3`),
  );
}

/** Pings until told to stop. */
export class SteadyPing {
  private readonly pinging: Pinging;

  private constructor(pinging: Pinging) {
    this.pinging = pinging;
  }

  /** Returns once it is under way. */
  static async start(from: Namespace, address: string, options: PingOptions = {}): Promise<SteadyPing> {
    const pinging = new Pinging(from, address, options);
    await pinging.started();
    return new SteadyPing(pinging);
  }

  /** Ends it. When it is still being answered, pings under way are not missed; else they are lost like the rest. */
  async stop(): Promise<PingResult> {
    const { pinging } = this;
    pinging.answered(0);
    const before = pinging.highest;
    const isAnswered = await until('an answer', LATE_MS, () => {
      pinging.answered(0);
      return pinging.highest > before;
    }).catch(() => false);
    const { highest } = pinging;
    await until('late answers', LATE_MS, () => pinging.answered(highest) === highest).catch(() => undefined);
    const sent = await pinging.end();
    return { sent: isAnswered ? highest : sent, received: pinging.answered(highest) };
  }
}

/** Runs `body` under a steady ping that must not lose anything. */
export async function undisturbed<T>(from: Namespace, address: string, body: () => Promise<T>): Promise<T> {
  const steady = await SteadyPing.start(from, address, { intervalS: 0.05 });
  const value = await body();
  const { sent, received } = await steady.stop();
  strictEqual(received, sent, `${sent - received} of ${sent} pings to ${address} were lost`);
  return value;
}
