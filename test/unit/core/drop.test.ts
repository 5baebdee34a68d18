// SPDX-License-Identifier: Apache-2.0
import { equal, ok } from 'node:assert/strict';
import { DROP_REASONS, drop, isDrop, newDropCounters } from '../../../src/core/drop.ts';

describe('core/drop', () => {
  it('gives one shared frozen object per reason', () => {
    for (const reason of DROP_REASONS) {
      equal(drop(reason), drop(reason));
      equal(drop(reason).drop, reason);
      ok(Object.isFrozen(drop(reason)));
      equal(isDrop(drop(reason)), true);
    }
    equal(new Set(DROP_REASONS).size, DROP_REASONS.length);
  });

  it('takes nothing else for a drop', () => {
    for (const x of [undefined, null, 'short', 0, {}, [], { drop: 'short' }, { drop: 'nonsense' }]) {
      equal(isDrop(x), false);
    }
  });

  it('counters start at zero, each set its own', () => {
    const counters = newDropCounters();
    counters.hmac++;
    equal(newDropCounters().hmac, 0);
    equal(Object.keys(counters).length, DROP_REASONS.length);
  });
});
