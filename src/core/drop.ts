// SPDX-License-Identifier: Apache-2.0
// Why something from the network was not accepted: a closed list, one shared object per reason, one counter per
// reason. A reader of remote bytes returns a value or a Drop and never throws.

export const DROP_REASONS = [
  // Readers.
  'short',
  'long',
  'opcode',
  'key-id',
  'session-id',
  'ack-count',
  'key-method',
  'text',
  'push',
  // Control channel wrapping.
  'hmac',
  'replay',
  'client-key',
  // Stateless answers of a server.
  'unknown-peer',
  'no-instance',
  'cookie',
  'rate-limit',
  'source-limit',
  'max-clients',
  // Sessions.
  'remote-session-id',
  'window',
  'duplicate',
  'reset-id',
  'key-out-of-sync',
  'tls',
  'state',
  // TCP.
  'record-length',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface Drop {
  readonly drop: DropReason;
}

export type DropCounters = Record<DropReason, number>;

const DROPS = new Map<DropReason, Drop>(
  DROP_REASONS.map(reason => [reason, Object.freeze({ drop: reason })]),
);

/** The shared object of a reason: a flood of bad packets must not cost an allocation each. */
export function drop(reason: DropReason): Drop {
  return DROPS.get(reason)!;
}

/** Whether `x` is one of the shared objects. */
export function isDrop(x: unknown): x is Drop {
  return typeof x === 'object' && x !== null && DROPS.get((x as Drop).drop) === x;
}

/** All counters at zero. */
export function newDropCounters(): DropCounters {
  return Object.fromEntries(DROP_REASONS.map(reason => [reason, 0])) as DropCounters;
}
