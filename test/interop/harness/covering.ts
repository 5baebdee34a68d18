// SPDX-License-Identifier: Apache-2.0
// Few rows of a large product such that any two values of different dimensions meet in one of them.

export type Dimensions<T> = { readonly [K in keyof T]: readonly T[K][] };

/** Every combination, the last dimension running fastest. */
export function product<T extends object>(dimensions: Dimensions<T>): T[] {
  const names = Object.keys(dimensions) as (keyof T)[];
  return names.reduce<T[]>(
    (rows, name) => rows.flatMap(row => dimensions[name].map(value => ({ ...row, [name]: value }))),
    [{} as T],
  );
}

/** What a row proves: each two of its values together. */
function pairsOf<T extends object>(row: T): string[] {
  const values = Object.entries(row).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return values.flatMap((a, i) => values.slice(i + 1).map(b => `${a} ${b}`));
}

/** Rows of the product, each the one that proves most of what those before it do not; the same ones every time. */
export function covering<T extends object>(dimensions: Dimensions<T>): T[] {
  const all = product(dimensions).map(row => ({ row, pairs: pairsOf(row) }));
  const open = new Set(all.flatMap(({ pairs }) => pairs));
  const chosen: T[] = [];
  while (open.size > 0) {
    const gain = ({ pairs }: { pairs: string[] }): number => pairs.filter(pair => open.has(pair)).length;
    const best = all.reduce((a, b) => (gain(b) > gain(a) ? b : a));
    for (const pair of best.pairs) open.delete(pair);
    chosen.push(best.row);
  }
  return chosen;
}
