// SPDX-License-Identifier: Apache-2.0
// What somebody who mistyped a word most likely meant.

/** Letters from which a beginning tells what the word was to be. */
const UNFINISHED_LEAST = 3;

/** The known word that a mistyped or unfinished one most likely is. */
export function nearest(text: string, known: readonly string[]): string | undefined {
  if (text.length > 40) return undefined;
  const longer = known.filter(word => word.startsWith(text));
  if (longer.length === 1 && text.length >= UNFINISHED_LEAST) return longer[0];
  let best: string | undefined;
  let least = Math.min(text.length, text.length < 5 ? 2 : 3);
  for (const word of known) {
    if (Math.abs(word.length - text.length) >= least) continue;
    const distance = editDistance(text, word);
    if (distance < least) {
      least = distance;
      best = word;
    }
  }
  return best;
}

/** How many letters must be inserted, deleted, replaced or swapped with the next to make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(replace, last[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, before[j - 2]! + 1);
      }
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
