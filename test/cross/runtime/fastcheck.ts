// SPDX-License-Identifier: Apache-2.0
// fast-check with a few runs of each property: an emulated processor has no time for more, and what is looked for here is
// an architecture, not a case.

import real from '../../../node_modules/fast-check/lib/fast-check.js';

const RUNS = 4;

export default {
  ...real,
  assert: (property: never, options: { numRuns?: number } = {}) =>
    real.assert(property, { ...options, numRuns: Math.min(options.numRuns ?? RUNS, RUNS) }),
};
