// SPDX-License-Identifier: Apache-2.0
// Pings inside a namespace, and what became of them.

import { deepStrictEqual, strictEqual } from 'node:assert';
import type { Namespace } from './namespace.ts';
import type { Process } from './process.ts';
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

function words(address: string, options: PingOptions): string[] {
  const headers = address.includes(':') ? 48 : 28;
  const size = Math.max((options.size ?? SMALL) - headers, 0);
  const interval = options.intervalS ?? 0.05;
  const count = options.count === undefined ? [] : ['-c', String(options.count)];
  return ['ping', '-n', '-q', '-i', String(interval), '-s', String(size), ...count, address];
}

function result(child: Process): PingResult {
  const match = /([0-9]+) packets transmitted, ([0-9]+) received/.exec(child.output);
  if (match === null) throw new Error(`ping: ${child.output}`);
  // ping does not count what it could not even send, for want of a route: that is a loss, too.
  const unsent = child.count(/sendmsg/);
  return { sent: Number(match[1]) + unsent, received: Number(match[2]) };
}

/**
 * Sends pings, one every interval, and says how many of the first `count` were answered. With -c alone ping leaves
 * two round trips after its last packet, too soon on a busy machine; with -w it goes on sending until so many
 * answers have come, so that a late one is awaited and a lost one is seen by its number.
 */
export async function ping(from: Namespace, address: string, options: PingOptions = {}): Promise<PingResult> {
  const all = { count: 3, intervalS: 0.05, ...options };
  const deadlineS = Math.ceil(3 + 2 * all.count * all.intervalS);
  const [command, ...rest] = words(address, all).filter(word => word !== '-q');
  const child = from.spawn('ping', [command!, '-w', String(deadlineS), ...rest]);
  await child.ended((20 + deadlineS) * 1000);
  return { sent: all.count, received: answered(child.output, all.count) };
}

function answered(output: string, count: number): number {
  const numbers = [...output.matchAll(/ icmp_seq=([0-9]+) ttl=/g)].map(match => Number(match[1]));
  return new Set(numbers.filter(number => number <= count)).size;
}

/** Waits until `address` answers. */
export async function reach(world: World, from: Namespace, address: string, ms = 10_000): Promise<void> {
  await world.until(`${address} answers`, ms, async () => {
    const child = from.spawn('ping', ['ping', '-n', '-q', '-c', '1', '-W', '0.3', address]);
    return (await child.ended(5000)).code === 0;
  });
}

/** Small and large packets to each address, all of them answered. */
export async function pingAll(from: Namespace, addresses: readonly string[]): Promise<void> {
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
  private readonly child: Process;

  private constructor(child: Process) {
    this.child = child;
  }

  /** Returns once it is under way. */
  static async start(from: Namespace, address: string, options: PingOptions = {}): Promise<SteadyPing> {
    const child = from.spawn('ping', words(address, options));
    await child.line(/^PING /);
    return new SteadyPing(child);
  }

  /** Ends it; the answer to the very last request may still be under way and is not missed. */
  async stop(): Promise<PingResult> {
    await this.child.stop('SIGINT');
    const { sent, received } = result(this.child);
    return { sent: received === sent - 1 ? received : sent, received };
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
