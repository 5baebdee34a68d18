// SPDX-License-Identifier: Apache-2.0
// The receive window of one data key, or of one of its epochs, with the rules of the kernel module (and not those of OpenVPN's own
// user-space window of 64): which packet ids of an authenticated packet are new.

/** How many packet ids, the highest included, are told apart. */
export const REPLAY_WINDOW = 2048;
/** After this long without an accepted packet nothing at or below the highest id is accepted any more. */
export const REPLAY_EXPIRE_MS = 30_000;

export class ReplayWindow {
  /** One bit per id, at id modulo the window: ids inside the window never share a bit. */
  readonly #seen = new Uint32Array(REPLAY_WINDOW / 32);
  #highest = 0;
  #floor = 0;
  #expireMs = Number.POSITIVE_INFINITY;

  /** The highest id accepted; 0 before the first. */
  get highest(): number {
    return this.#highest;
  }

  /**
   * True when `id` (at most 48 bits, unsigned) is new; it counts as seen from then on. Only for packets whose tag was
   * right: a forged id must not move the window. `now` is monotonic milliseconds.
   */
  accept(id: number, now: number): boolean {
    if (id === 0) return false;
    if (now >= this.#expireMs) this.#floor = this.#highest;
    if (id > this.#highest) {
      // However far the jump: after a long outage the sender's ids are where they are.
      this.#forget(id);
      this.#highest = id;
    } else if (id <= this.#floor || this.#highest - id >= REPLAY_WINDOW || this.#isSeen(id)) {
      return false;
    }
    this.#seen[(id % REPLAY_WINDOW) >>> 5]! |= 1 << (id & 31);
    this.#expireMs = now + REPLAY_EXPIRE_MS;
    return true;
  }

  #isSeen(id: number): boolean {
    return (this.#seen[(id % REPLAY_WINDOW) >>> 5]! & (1 << (id & 31))) !== 0;
  }

  /** Clears the bits that the ids after the highest up to `id` take over. */
  #forget(id: number): void {
    if (id - this.#highest >= REPLAY_WINDOW) {
      this.#seen.fill(0);
      return;
    }
    for (let i = this.#highest + 1; i <= id; i++) {
      this.#seen[(i % REPLAY_WINDOW) >>> 5]! &= ~(1 << (i & 31));
    }
  }
}
