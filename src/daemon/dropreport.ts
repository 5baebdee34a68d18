// SPDX-License-Identifier: Apache-2.0
// Dropped packets in the log: the first at once, then one summary per period, so that a flood costs a line and
// not the log. Timer: `dueAt`, the end of a period in which something was dropped.

import { type Endpoint, formatEndpoint } from '../core/address.ts';
import type { DropReason as ControlDrop } from '../core/drop.ts';
import type { DropReason as PlaneDrop } from '../plane/drops.ts';

type Reason = ControlDrop | PlaneDrop;

const PERIOD_MS = 10_000;

/** Ordinary on a network that repeats and reorders packets, on a host with multicast, at full speed: counted, not reported. */
const ORDINARY: ReadonlySet<string> = new Set<Reason>([
  'duplicate',
  'no-instance',
  'window',
  'state',
  'no-route',
  'link-local',
  'group',
  'queue',
]);

/** What a reason means to a person. */
const MEANING: Readonly<Partial<Record<Reason, string>>> = {
  hmac: 'not sealed with our key: is tls_crypt or tls_auth the same on both sides?',
  'client-key': 'sealed under another tls_crypt_v2 server key, or damaged',
  short: 'truncated',
  opcode: 'no OpenVPN packet',
  auth: 'data that does not decrypt',
  'reverse-path':
    'inner source address that is not one of the peer: is a network behind it missing in its `route`?',
  replay: 'repeated',
  'rate-limit': 'too many new connections',
  'source-limit': 'too many new connections from one network',
  cookie: 'wrong session cookie',
  'record-length': 'no OpenVPN over TCP',
};

export interface DropReport {
  /** Compares the counters with the last ones. `from` is who sent the last packet. */
  look(counters: Readonly<Record<string, number>>, now: number, from?: Endpoint): void;
  readonly dueAt: number | undefined;
  /** Time has passed: writes a summary that is due. */
  tick(now: number): void;
}

/** `what`: `control` or `data`. */
export function createDropReport(what: string, warn: (text: string) => void): DropReport {
  let seen: readonly number[] = [];
  const pending = new Map<string, number>();
  let last: Endpoint | undefined;
  let quietUntil = 0;

  function write(now: number): void {
    const parts = [...pending].map(([reason, count]) => {
      const meaning = MEANING[reason as Reason];
      return `${count} ${reason}${meaning === undefined ? '' : ` (${meaning})`}`;
    });
    const from = last === undefined ? '' : `, last from ${formatEndpoint(last)}`;
    warn(`dropped ${what} packets: ${parts.join(', ')}${from}`);
    pending.clear();
    last = undefined;
    quietUntil = now + PERIOD_MS;
  }

  return {
    look(counters, now, from) {
      let hasNew = false;
      const counts = Object.values(counters);
      // At every packet, and nearly always nothing has changed: names only where it has.
      for (let i = 0; i < counts.length; i++) {
        const more = counts[i]! - (seen[i] ?? 0);
        if (more === 0) continue;
        const reason = Object.keys(counters)[i]!;
        if (ORDINARY.has(reason)) continue;
        pending.set(reason, (pending.get(reason) ?? 0) + more);
        hasNew = true;
      }
      seen = counts;
      if (!hasNew) return;
      last = from ?? last;
      if (now >= quietUntil) write(now);
    },
    get dueAt() {
      return pending.size > 0 ? quietUntil : undefined;
    },
    tick(now) {
      if (pending.size > 0 && now >= quietUntil) write(now);
    },
  };
}
