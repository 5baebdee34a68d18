// SPDX-License-Identifier: Apache-2.0
// ovpnd on the kernel's data plane, and the proof that packets do not pass through the process.

import { ok } from 'node:assert';
import { PATIENCE_MS, pause } from '../../interop/harness/wait.ts';
import type { End, Kind } from './ends.ts';
import { wakeups } from './observe.ts';
import { type PingResult, ping } from './ping.ts';

/** OVPND_TEST_PLANE=js tries the rows themselves out, on the plane that is known to work. */
export const K: Kind = process.env.OVPND_TEST_PLANE === 'js' ? 'js' : 'kernel';
export const isKernel = K === 'kernel';

export const NAMES: Readonly<Record<Kind, string>> = {
  kernel: 'ovpnd-K',
  native: 'ovpnd-native',
  js: 'ovpnd-js',
  auto: 'ovpnd',
  dco: '2.7 with DCO',
  plain: '2.7 without DCO',
};

/** Of so many packets, so few may wake the process, and the status we ask it for some times more. */
const WAKEUPS_SHARE = 0.1;
const WAKEUPS_FREE = 20;
/** Its own timers, each with requests to the kernel; a slow machine has more of them in the same number of pings. */
const WAKEUPS_PER_S = 10;
/** However slow: in user space every ping would wake it at least once. */
const WAKEUPS_SHARE_MOST = 0.5;

/** Counters in status are up to a second old; on a loaded machine an answer takes its time, too. */
const COUNTERS_MS = PATIENCE_MS;
const POLL_MS = 200;

const COUNTERS = ['rx_packets', 'tx_packets'] as const;
type Counters = Readonly<Record<(typeof COUNTERS)[number], number>>;

async function counters(end: End): Promise<Counters> {
  return (await end.ovpnd!.status()).peers[0]!;
}

/** Waits until both counters stand at least `rise` higher, and fails when they do not. */
async function risen(end: End, before: Counters, rise: number): Promise<void> {
  const deadline = performance.now() + COUNTERS_MS;
  for (;;) {
    const now = await counters(end);
    const short = COUNTERS.find(counter => now[counter] - before[counter] < rise);
    if (short === undefined) return;
    const text = `${short} of ${NAMES[end.kind]} rose by ${now[short] - before[short]} of ${rise}`;
    ok(performance.now() < deadline, text);
    await pause(POLL_MS);
  }
}

/** Sends `count` requests and fails unless each of these ovpnd ends slept through them while its counters rose. */
export async function offloaded(
  from: End,
  address: string,
  ends: readonly End[],
  count: number,
): Promise<PingResult> {
  const run = (end: End) => wakeups(end.namespace.guest, end.process);
  const before = await Promise.all(
    ends.map(async end => ({ ran: await run(end), peer: await counters(end) })),
  );
  const begun = performance.now();
  const result = await ping(from.namespace, address, { count, intervalS: 0.002 });
  const after = await Promise.all(ends.map(run));
  const timers = WAKEUPS_PER_S * ((performance.now() - begun) / 1000);
  const most = Math.min(count * WAKEUPS_SHARE + WAKEUPS_FREE + timers, count * WAKEUPS_SHARE_MOST);
  await Promise.all(
    ends.map(async (end, i) => {
      const woken = after[i]! - before[i]!.ran;
      const isAsleep = woken < most;
      ok(isAsleep === (end.kind === 'kernel'), `${NAMES[end.kind]} ran ${woken} times during ${count} pings`);
      await risen(end, before[i]!.peer, result.received);
    }),
  );
  return result;
}
