// SPDX-License-Identifier: Apache-2.0
// The one source of chance in a simulated world.

export interface Chance {
  /** 0 <= n < below. */
  below(below: number): number;
  /** True once in `n` on average. */
  oneIn(n: number): boolean;
  bytes(length: number): Uint8Array;
}

/** splitmix32: every seed gives an independent, repeatable sequence. */
export function createChance(seed: number): Chance {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  }
  return {
    below: below => next() % below,
    oneIn: n => next() % n === 0,
    bytes: length => Uint8Array.from({ length }, () => next() & 0xff),
  };
}
