// SPDX-License-Identifier: Apache-2.0
import { equal } from 'node:assert/strict';
import fc from 'fast-check';
import { acceptReplayId, newReplayWindow } from '../../../src/core/replay.ts';

describe('core/replay', () => {
  it('takes each id once, in order', () => {
    const window = newReplayWindow();
    for (let id = 1; id <= 300; id++) {
      equal(acceptReplayId(window, id, 5), true);
      equal(acceptReplayId(window, id, 5), false);
    }
  });

  it('id 0 is invalid, at any time', () => {
    const window = newReplayWindow();
    equal(acceptReplayId(window, 0, 0), false);
    equal(acceptReplayId(window, 0, 9), false);
    equal(acceptReplayId(window, 1, 0), true);
  });

  it('takes 63 behind the highest, refuses 64 behind', () => {
    const window = newReplayWindow();
    equal(acceptReplayId(window, 1000, 5), true);
    equal(acceptReplayId(window, 1000 - 64, 5), false);
    equal(acceptReplayId(window, 1000 - 63, 5), true);
    equal(acceptReplayId(window, 1000 - 63, 5), false);
  });

  it('takes every forward jump, up to the last id', () => {
    const window = newReplayWindow();
    for (const id of [1, 65, 130, 100_000, 0x80000000, 0xffffffff]) {
      equal(acceptReplayId(window, id, 5), true);
      equal(acceptReplayId(window, id, 5), false);
    }
    equal(acceptReplayId(window, 0xffffffff - 63, 5), true);
    equal(acceptReplayId(window, 1, 5), false);
  });

  it('a later time starts the window again, an earlier one is refused', () => {
    const window = newReplayWindow();
    equal(acceptReplayId(window, 500, 5), true);
    equal(acceptReplayId(window, 1, 6), true);
    equal(acceptReplayId(window, 1, 6), false);
    equal(acceptReplayId(window, 501, 5), false);
    equal(acceptReplayId(window, 500, 6), true);
  });

  it('agrees with a set of what was seen', () => {
    const ids = fc.array(fc.tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 3 })));
    fc.assert(
      fc.property(ids, list => {
        const window = newReplayWindow();
        let time = 0;
        let seen = new Set<number>();
        for (const [id, at] of list) {
          if (at > time && id > 0) {
            time = at;
            seen = new Set();
          }
          const highest = Math.max(0, ...seen);
          const isNew = id > 0 && at === time && !seen.has(id) && highest - id < 64;
          equal(acceptReplayId(window, id, at), isNew);
          if (isNew) seen.add(id);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
