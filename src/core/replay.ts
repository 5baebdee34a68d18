// SPDX-License-Identifier: Apache-2.0
// Replay window of the control channel: what tls-auth and tls-crypt packets carry as replay id. Only ids of packets
// that authenticated get here. The data channel has its own windows, in the planes.

import { CONTROL_REPLAY_WINDOW } from './limits.ts';

/** Mutated by acceptReplayId only. */
export interface ReplayWindow {
  /** The sender's time field, seconds. */
  timeS: number;
  /** Highest id at that time. */
  highest: number;
  /** The id last seen in each place `id % size`. Id 0 is invalid, so 0 means none. */
  readonly seen: Uint32Array;
}

export function newReplayWindow(): ReplayWindow {
  return { timeS: 0, highest: 0, seen: new Uint32Array(CONTROL_REPLAY_WINDOW) };
}

/**
 * Whether a packet with this id and time, both u32, is new; if so it is remembered. Every forward jump is
 * accepted: refusing far ones would lock a session for good after one long loss.
 */
export function acceptReplayId(window: ReplayWindow, id: number, timeS: number): boolean {
  if (id === 0 || timeS < window.timeS) return false;
  if (timeS > window.timeS) {
    window.timeS = timeS;
    window.highest = 0;
    window.seen.fill(0);
  }
  const place = id % CONTROL_REPLAY_WINDOW;
  if (window.highest - id >= CONTROL_REPLAY_WINDOW || window.seen[place] === id) return false;
  window.seen[place] = id;
  if (id > window.highest) window.highest = id;
  return true;
}
