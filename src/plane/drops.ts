// SPDX-License-Identifier: Apache-2.0
// Why a user-space plane drops packets: a closed list, one counter each. Nothing is dropped without one.

/**
 * Why packets are dropped: up to `reverse-path` received ones, after it ones from TUN; `link-local` both. `epoch`: of one
 * long gone or too far ahead. The last five are the native plane's: a super-packet whose header lies, a socket and a
 * device that take no more, control packets that came faster than they were read, and what told a sender that its
 * packets wait too long.
 */
export const DROP_REASONS = [
  'short',
  'opcode',
  'unknown-peer',
  'no-key',
  'epoch',
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
  'offload',
  'send',
  'tun',
  'control',
  'queue',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];
