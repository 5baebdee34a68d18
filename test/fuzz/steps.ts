// SPDX-License-Identifier: Apache-2.0
// How much work a function does, counted instead of timed: blocks of code that ran, by V8's own counters, and what the
// built-in functions walk over, which those do not see. A machine's speed and load make no difference.

import { Session } from 'node:inspector';

type Method = (this: { readonly length: number }, ...words: never[]) => unknown;
type Cost = (self: { readonly length: number }, result: unknown, words: readonly unknown[]) => number;

const whole: Cost = self => self.length;
const ofResult: Cost = (_, result) => (result as { length: number }).length;
/** Up to where it was found. */
const found: Cost = (self, result, words) => {
  const from = typeof words[1] === 'number' ? words[1] : 0;
  return (result as number) >= from ? (result as number) - from : Math.max(self.length - from, 0);
};

const COSTS: readonly [object, Readonly<Record<string | symbol, Cost>>][] = [
  [
    Array.prototype,
    {
      includes: whole,
      indexOf: found,
      lastIndexOf: whole,
      join: whole,
      concat: ofResult,
      slice: ofResult,
      splice: whole,
      shift: whole,
      unshift: whole,
      reverse: whole,
      [Symbol.iterator]: whole,
    },
  ],
  [
    String.prototype,
    {
      includes: whole,
      indexOf: found,
      split: whole,
      replace: whole,
      replaceAll: whole,
      match: whole,
      trim: whole,
      slice: ofResult,
      substring: ofResult,
    },
  ],
  [Object.getPrototypeOf(Uint8Array.prototype), { indexOf: found, slice: ofResult, subarray: () => 1 }],
];

/** Counts what built-in functions do; returns what ends the counting and says how much it was. */
function countBuiltIns(): () => number {
  let steps = 0;
  const undo = COSTS.flatMap(([prototype, costs]) =>
    Reflect.ownKeys(costs).map(name => {
      const methods = prototype as Record<string | symbol, Method>;
      const method = methods[name]!;
      const cost = costs[name]!;
      methods[name] = function (...words) {
        const result = Reflect.apply(method, this, words);
        steps += cost(this, result, words);
        return result;
      };
      return () => {
        methods[name] = method;
      };
    }),
  );
  return () => {
    for (const one of undo) one();
    return steps;
  };
}

interface Coverage {
  readonly result: readonly {
    readonly functions: readonly { readonly ranges: readonly { count: number }[] }[];
  }[];
}

/** Steps that `work` takes. */
export function steps(work: () => void): number {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const builtIns = countBuiltIns();
  let total = 0;
  try {
    work();
  } finally {
    total = builtIns();
    // In a session with one's own thread the answer comes at once.
    session.post('Profiler.takePreciseCoverage', (error, coverage) => {
      if (error !== null) throw error;
      for (const { functions } of (coverage as unknown as Coverage).result)
        for (const { ranges } of functions) for (const { count } of ranges) total += count;
    });
    session.post('Profiler.stopPreciseCoverage');
    session.disconnect();
  }
  return total;
}
