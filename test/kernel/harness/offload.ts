// SPDX-License-Identifier: Apache-2.0
// ovpnd on the kernel's data plane, and the proof that packets do not pass through the process.

import { ok } from 'node:assert';
import type { End, Kind } from './ends.ts';
import { wakeups } from './observe.ts';
import { type PingResult, ping } from './ping.ts';

/** OVPND_TEST_PLANE=js tries the rows themselves out, on the plane that is known to work. */
export const K: Kind = process.env.OVPND_TEST_PLANE === 'js' ? 'js' : 'kernel';
export const isKernel = K === 'kernel';

export const NAMES: Readonly<Record<Kind, string>> = {
  kernel: 'ovpnd-K',
  js: 'ovpnd-js',
  auto: 'ovpnd',
  dco: '2.7 with DCO',
  plain: '2.7 without DCO',
};

/** Of so many packets, so few may wake the process: its own timers and the status we ask it for. */
const WAKEUPS_SHARE = 0.1;

/** Sends `count` requests and fails unless each of these ovpnd ends slept through them while its counters rose. */
export async function offloaded(
  from: End,
  address: string,
  ends: readonly End[],
  count: number,
): Promise<PingResult> {
  const measure = async (end: End) => ({
    wakeups: await wakeups(end.namespace.guest, end.process),
    peer: (await end.ovpnd!.status()).peers[0]!,
  });
  const before = await Promise.all(ends.map(measure));
  const result = await ping(from.namespace, address, { count, intervalS: 0.002 });
  const after = await Promise.all(ends.map(measure));
  ends.forEach((end, i) => {
    const woken = after[i]!.wakeups - before[i]!.wakeups;
    const isAsleep = woken < count * WAKEUPS_SHARE + 20;
    ok(isAsleep === (end.kind === 'kernel'), `${NAMES[end.kind]} ran ${woken} times during ${count} pings`);
    for (const counter of ['rx_packets', 'tx_packets'] as const) {
      const rise = after[i]!.peer[counter] - before[i]!.peer[counter];
      ok(rise >= result.received, `${counter} of ${NAMES[end.kind]} rose by ${rise} of ${result.received}`);
    }
  });
  return result;
}
