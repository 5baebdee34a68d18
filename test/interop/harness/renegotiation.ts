// SPDX-License-Identifier: Apache-2.0
// Renegotiations that one side starts every five seconds, and what a stock end says of them.

import { ok } from 'node:assert';
import { isStock } from './openvpn.ts';
import type { End, Extra } from './tunnel.ts';

export const EVERY_FIVE: Extra = { options: { reneg_sec: '5' }, lines: ['reneg-sec 5 5'] };
/** A side that never starts one itself, so that the other's are the only ones. */
export const NEVER: Extra = { options: { reneg_sec: '0' }, lines: ['reneg-sec 0'] };

export function startedBy(starter: 'server' | 'client'): { readonly server: Extra; readonly client: Extra } {
  return {
    server: starter === 'server' ? EVERY_FIVE : NEVER,
    client: starter === 'client' ? EVERY_FIVE : NEVER,
  };
}

/** Stock ends have had so many handshakes, and stayed connected. */
export function renegotiated(ends: readonly End[], least: number): void {
  for (const { kind, process } of ends) {
    if (!isStock(kind)) continue;
    const channels = process.count(/Control Channel: TLS/);
    ok(channels >= least, `${channels} handshakes of ${least}`);
    ok(process.find(/SIGUSR1|Inactivity timeout|Connection reset/) === undefined, 'it reconnected');
  }
}
