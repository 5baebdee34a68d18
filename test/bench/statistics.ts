// SPDX-License-Identifier: Apache-2.0
// What the figures of several rounds come to. Ratios are taken inside a round: a slow phase of the machine is then in
// both figures.

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** NaN three times for no values. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (i: number): number => sorted[Math.max(0, Math.min(sorted.length - 1, i))] ?? Number.NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
  };
}

/** By round, how many times as good `ours` is; where less is better the ratio is turned over. */
export function ratios(ours: readonly number[], theirs: readonly number[], isLessBetter: boolean): Spread {
  if (ours.length !== theirs.length) throw new Error('a ratio needs both figures of every round');
  return spread(ours.map((value, round) => (isLessBetter ? theirs[round]! / value : value / theirs[round]!)));
}

/** `values` turned by one place more each round: whoever goes first changes. */
export function rotated<T>(values: readonly T[], round: number): T[] {
  const by = values.length === 0 ? 0 : round % values.length;
  return [...values.slice(by), ...values.slice(0, by)];
}

/** Above this share of a core somebody else's work is in the figure. */
export const FOREIGN_MAX = 0.12;

/** Cores kept busy, or stolen by the machine below, by something that is not part of the measurement. */
export function foreignCores(busyS: number, ownS: number, wallS: number): number {
  return Math.max(0, (busyS - ownS) / wallS);
}

/** Repeats what was measured on a noisy machine, as often as it is worth, and keeps count. */
export class Quiet {
  rejected = 0;
  /** Figures that had to be taken although the machine never was quiet. */
  noisy = 0;
  taken = 0;
  private readonly repeatsMax: number;
  private budgetS: number;

  /** At most `repeatsMax` repeats of one figure and `budgetS` seconds of repeating in all. */
  constructor(repeatsMax: number, budgetS: number) {
    this.repeatsMax = repeatsMax;
    this.budgetS = budgetS;
  }

  /** The first quiet measurement, or the least noisy of those that were made. */
  async take<T extends { readonly foreignCores: number }>(
    measure: () => Promise<T>,
    clockMs: () => number,
  ): Promise<T> {
    let best = await measure();
    for (let i = 0; i < this.repeatsMax && best.foreignCores > FOREIGN_MAX && this.budgetS > 0; i++) {
      this.rejected++;
      const begun = clockMs();
      const again = await measure();
      this.budgetS -= (clockMs() - begun) / 1000;
      if (again.foreignCores < best.foreignCores) best = again;
    }
    this.taken++;
    if (best.foreignCores > FOREIGN_MAX) this.noisy++;
    return best;
  }

  /** For a reader of the table. */
  verdict(): string {
    const rejected = `${this.rejected} measurements rejected for more than ${FOREIGN_MAX} cores of foreign load`;
    if (this.noisy === 0) return rejected;
    const share = `${this.noisy} of ${this.taken} figures were taken on a busy machine`;
    const isTooMuch = this.noisy * 4 > this.taken;
    return `${rejected}; ${share}${isTooMuch ? ': TOO NOISY, the ratios are a hint at best' : ''}`;
  }
}
