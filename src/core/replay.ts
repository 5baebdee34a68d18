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
  /** The CONTROL_REPLAY_WINDOW ids up to the highest, a bit for each that was seen; bit 0 of `late` is the highest. */
  late: number;
  early: number;
}

export function newReplayWindow(): ReplayWindow {
  return { timeS: 0, highest: 0, late: 0, early: 0 };
}

/**
 * Whether a packet with this id and time, both u32, is new; if so it is remembered. Every forward jump is
 * accepted: refusing far ones would lock a session for good after one long loss.
 */
export function acceptReplayId(window: ReplayWindow, id: number, timeS: number): boolean {
  if (id === 0 || timeS < window.timeS) return false;
  if (timeS > window.timeS) Object.assign(window, { timeS, highest: 0, late: 0, early: 0 });
  if (id > window.highest) {
    shift(window, id - window.highest);
    window.highest = id;
  }
  const behind = window.highest - id;
  if (behind >= CONTROL_REPLAY_WINDOW) return false;
  const word = behind < 32 ? 'late' : 'early';
  const bit = 1 << (behind & 31);
  if ((window[word] & bit) !== 0) return false;
  window[word] |= bit;
  return true;
}

function shift(window: ReplayWindow, by: number): void {
  const { late, early } = window;
  if (by < 32) {
    window.early = (early << by) | (late >>> (32 - by));
    window.late = late << by;
  } else {
    window.early = by < CONTROL_REPLAY_WINDOW ? late << (by - 32) : 0;
    window.late = 0;
  }
}
