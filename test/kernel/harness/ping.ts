// SPDX-License-Identifier: Apache-2.0
// Pings inside a namespace of the guest, and what became of them.

import { deepStrictEqual, strictEqual } from 'node:assert';
import { GUEST_PATIENCE_MS, until } from '../../interop/harness/wait.ts';
import type { GuestProcess } from './guest-process.ts';
import type { Namespace } from './namespace.ts';
import type { Scene } from './scene.ts';

export interface PingOptions {
  /** Bytes of the whole IP packet. */
  readonly size?: number;
  readonly count?: number;
  readonly intervalS?: number;
  /** For an answer to come, beyond twice the time of sending. */
  readonly patienceS?: number;
  readonly source?: string;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
}

/** Where an answer must come, and where none may. */
const PATIENCE_S = 90;
const SILENT_S = 10;
/** What waits for a js plane on an emulated processor must not become more than fits its socket. */
const UNHURRIED_S = 0.5;

export const SMALL = 84;
export const LARGE = 1400;

function words(address: string, options: PingOptions): string[] {
  const headers = address.includes(':') ? 48 : 28;
  const size = Math.max((options.size ?? SMALL) - headers, 0);
  const count = options.count === undefined ? [] : ['-c', String(options.count), '-W', '4'];
  const source = options.source === undefined ? [] : ['-I', options.source];
  const interval = String(options.intervalS ?? 0.05);
  return ['ping', '-n', '-q', '-i', interval, '-s', String(size), ...count, ...source, address];
}

function result(child: GuestProcess): PingResult {
  const match = /([0-9]+) packets transmitted, ([0-9]+) received/.exec(child.output);
  if (match === null) throw new Error(`ping: ${child.output}`);
  // ping does not count what it could not even send, for want of a route: that is a loss, too.
  return { sent: Number(match[1]) + child.count(/sendmsg/), received: Number(match[2]) };
}

/**
 * Sends pings and says how many of the first `count` were answered. With -c alone ping leaves two round trips after
 * its last packet, too soon on an emulated machine; with -w it goes on sending until so many answers have come, so
 * that a late one is awaited and a lost one is seen by its number.
 */
export async function ping(from: Namespace, address: string, options: PingOptions = {}): Promise<PingResult> {
  const all = { count: 3, intervalS: 0.05, patienceS: PATIENCE_S, ...options };
  const deadlineS = Math.ceil(all.patienceS + 2 * all.count * all.intervalS);
  const [command, ...rest] = words(address, all).filter(word => word !== '-q');
  const child = from.spawn('ping', [command!, '-w', String(deadlineS), ...rest]);
  await child.ended((30 + deadlineS) * 1000);
  return { sent: all.count, received: answered(child.output, all.count) };
}

function answered(output: string, count: number): number {
  const numbers = [...output.matchAll(/ icmp_seq=([0-9]+) ttl=/g)].map(match => Number(match[1]));
  return new Set(numbers.filter(number => number <= count)).size;
}

/** Waits until `address` answers. */
export async function reach(
  scene: Scene,
  from: Namespace,
  address: string,
  ms = GUEST_PATIENCE_MS,
): Promise<void> {
  await scene.until(`${address} answers`, ms, () => answers(from, address));
}

async function answers(from: Namespace, address: string): Promise<boolean> {
  return (await from.try(['ping', '-n', '-q', '-c', '1', '-W', '1', address])).code === 0;
}

/** Fails when `address` answers. */
export async function silent(from: Namespace, address: string, options: PingOptions = {}): Promise<void> {
  const { received } = await ping(from, address, { ...options, patienceS: SILENT_S });
  strictEqual(received, 0, `${address} answers`);
}

/** Small and large packets to each address, all of them answered. */
export async function pingAll(
  from: Namespace,
  addresses: readonly string[],
  sizes: readonly number[] = [SMALL, LARGE],
): Promise<void> {
  // The addresses of a device come one after the other.
  for (const address of addresses)
    await until(`${address} answers`, GUEST_PATIENCE_MS, () => answers(from, address));
  const cases = addresses.flatMap(address => sizes.map(size => ({ address, size })));
  const results = await Promise.all(
    cases.map(async ({ address, size }) => {
      const { received } = await ping(from, address, { size, intervalS: UNHURRIED_S });
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
  private readonly child: GuestProcess;

  private constructor(child: GuestProcess) {
    this.child = child;
  }

  /** Returns once it is under way. */
  static async start(from: Namespace, address: string, options: PingOptions = {}): Promise<SteadyPing> {
    const child = from.spawn('ping', words(address, options));
    // Its first line waits in a buffer; that it runs is what the pid says.
    await child.pid();
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
  const steady = await SteadyPing.start(from, address);
  const value = await body();
  const { sent, received } = await steady.stop();
  strictEqual(received, sent, `${sent - received} of ${sent} pings to ${address} were lost`);
  return value;
}
