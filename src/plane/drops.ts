// SPDX-License-Identifier: Apache-2.0
// Why a user-space plane drops packets: a closed list, one counter each. Nothing is dropped without one.

/** Why packets are dropped: up to `reverse-path` received ones, after it ones from TUN; `link-local` both. */
export const DROP_REASONS = [
  'short',
  'opcode',
  'unknown-peer',
  'no-key',
  'auth',
  'replay',
  'empty',
  'protocol',
  'reverse-path',
  'link-local',
  'not-ip',
  'group',
  'no-route',
  'no-peer',
  'no-peer-key',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];
