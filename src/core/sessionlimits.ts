// SPDX-License-Identifier: Apache-2.0
// How long a server lets a connection last: session-timeout from its beginning, inactive while next to nothing passes.
// Stock OpenVPN then ends its process, and a router's service starts it again; here a new connection begins at once,
// with addresses and routes kept. Source: OpenVPN 2.7, forward.c.

import type { Outbox } from './event.ts';
import { earlier } from './event.ts';
import type { PushedOptions } from './pushreply.ts';

export interface SessionLimits {
  readonly endAt: number | undefined;
  readonly timeoutS: number;
  readonly idle: { readonly seconds: number; readonly bytes: number } | undefined;
  /** When to look what has passed. */
  lookAt: number | undefined;
  /** Bytes of IP packets, both ways, when we last looked. */
  seen: number;
}

/** Of a connection that begins now; 0 is no limit. */
export function beginLimits({ sessionTimeout = 0, inactive }: PushedOptions, now: number): SessionLimits {
  const idle = inactive === undefined || inactive.seconds === 0 ? undefined : inactive;
  return {
    endAt: sessionTimeout === 0 ? undefined : now + sessionTimeout * 1000,
    timeoutS: sessionTimeout,
    idle,
    lookAt: idle && now + idle.seconds * 1000,
    seen: 0,
  };
}

/** Why the connection is over; undefined: it is not. Asks for the traffic when it is time to look at it. */
export function tickLimits(
  limits: SessionLimits,
  peerId: number,
  now: number,
  out: Outbox,
): string | undefined {
  const { endAt, idle, lookAt, timeoutS } = limits;
  if (endAt !== undefined && now >= endAt) return `session-timeout of the server, ${timeoutS} s`;
  if (idle !== undefined && lookAt !== undefined && now >= lookAt) {
    limits.lookAt = now + idle.seconds * 1000;
    out.others.push({ kind: 'askTraffic', peerId });
  }
  return undefined;
}

/** The answer: all bytes since the connection began. As stock, which counts packets without regard to when. */
export function onTraffic(limits: SessionLimits, bytes: number): string | undefined {
  const { idle, seen } = limits;
  limits.seen = bytes;
  if (idle === undefined || bytes - seen >= Math.max(1, idle.bytes)) return undefined;
  return `inactive: ${bytes - seen} bytes in ${idle.seconds} s`;
}

export function limitsDeadline({ endAt, lookAt }: SessionLimits): number | undefined {
  return earlier(endAt, lookAt);
}
