// SPDX-License-Identifier: Apache-2.0
// Stepping a rate to the highest that passes.

const LEAST = 2000;
const STEP = 1.07;
const STEPS = 92;

/** Packets a second of step `n`; the last is about a million. */
export function rateOf(n: number): number {
  return Math.round(LEAST * STEP ** n);
}

/**
 * Highest rate of the ladder that passes, by halving; 0 when none does. A loss
 * is monotonic enough for that as long as `passes` gives each rate more than one chance.
 */
export async function bestRate(passes: (rate: number) => Promise<boolean>): Promise<number> {
  let good = -1;
  let bad = STEPS;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (await passes(rateOf(middle))) good = middle;
    else bad = middle;
  }
  return good < 0 ? 0 : rateOf(good);
}
