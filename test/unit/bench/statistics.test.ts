// SPDX-License-Identifier: Apache-2.0

import { deepStrictEqual, match, ok, strictEqual, throws } from 'node:assert';
import fc from 'fast-check';
import { bestRate, rateOf } from '../../bench/search.ts';
import { checksumErrors } from '../../bench/site.ts';
import { FOREIGN_MAX, foreignCores, Quiet, ratios, rotated, spread } from '../../bench/statistics.ts';

describe('bench: spread', () => {
  it('is the middle one of an odd number, the mean of the two middle ones of an even number', () => {
    deepStrictEqual(spread([9, 1, 5]), { median: 5, min: 1, max: 9 });
    deepStrictEqual(spread([9, 1, 5, 7]), { median: 6, min: 1, max: 9 });
    deepStrictEqual(spread([3]), { median: 3, min: 3, max: 3 });
  });

  it('of nothing is no number', () => {
    ok(Number.isNaN(spread([]).median));
  });

  it('does not sort as text and does not touch what it is given', () => {
    const values = [100, 20, 3];
    strictEqual(spread(values).median, 20);
    deepStrictEqual(values, [100, 20, 3]);
  });

  it('lies between least and most and does not depend on the order', () => {
    const figure = fc.double({ min: 0, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(fc.array(figure, { minLength: 1, maxLength: 20 }), values => {
        const { median, min, max } = spread(values);
        ok(min <= median && median <= max);
        deepStrictEqual(spread([...values].reverse()), { median, min, max });
      }),
    );
  });
});

describe('bench: ratios', () => {
  it('are taken round by round', () => {
    // The medians alone would say 2: both were slow in the second round.
    deepStrictEqual(ratios([40, 4, 20], [10, 1, 10], false), { median: 4, min: 2, max: 4 });
  });

  it('are turned over where less is better', () => {
    deepStrictEqual(ratios([10], [30], true), { median: 3, min: 3, max: 3 });
  });

  it('need both figures of every round', () => {
    throws(() => ratios([1, 2], [1], false));
  });
});

describe('bench: order', () => {
  it('starts with another one each round and keeps all', () => {
    deepStrictEqual(
      [0, 1, 2, 3].map(round => rotated(['a', 'b', 'c'], round).join('')),
      ['abc', 'bca', 'cab', 'abc'],
    );
    deepStrictEqual(rotated([], 3), []);
  });
});

describe('bench: noise', () => {
  const measured = (
    foreign: readonly number[],
  ): { take: () => Promise<{ foreignCores: number }>; made: number } => {
    const source = {
      made: 0,
      take: async () => ({ foreignCores: foreign[Math.min(source.made++, foreign.length - 1)]! }),
    };
    return source;
  };
  const still = (): number => 0;

  it('is what was busy and not ours, never negative', () => {
    strictEqual(foreignCores(3.5, 3, 2), 0.25);
    strictEqual(foreignCores(2.9, 3, 2), 0);
  });

  it('does not repeat a quiet measurement', async () => {
    const quiet = new Quiet(3, 100);
    const source = measured([FOREIGN_MAX]);
    await quiet.take(source.take, still);
    deepStrictEqual([source.made, quiet.rejected, quiet.noisy, quiet.taken], [1, 0, 0, 1]);
  });

  it('repeats a noisy one until it is quiet', async () => {
    const quiet = new Quiet(3, 100);
    const source = measured([0.5, 0.3, 0.01]);
    strictEqual((await quiet.take(source.take, still)).foreignCores, 0.01);
    deepStrictEqual([source.made, quiet.rejected, quiet.noisy], [3, 2, 0]);
    ok(!/TOO NOISY|busy machine/.test(quiet.verdict()));
  });

  it('takes the least noisy when it never is quiet, and says so', async () => {
    const quiet = new Quiet(3, 100);
    const source = measured([0.5, 0.2, 0.4, 0.3]);
    strictEqual((await quiet.take(source.take, still)).foreignCores, 0.2);
    deepStrictEqual([source.made, quiet.rejected, quiet.noisy], [4, 3, 1]);
    match(quiet.verdict(), /1 of 1 figures.*TOO NOISY/);
  });

  it('stops repeating when the time for it is used up', async () => {
    const quiet = new Quiet(3, 10);
    let clock = 0;
    const source = measured([0.5]);
    const measure = async (): Promise<{ foreignCores: number }> => {
      clock += 6000;
      return source.take();
    };
    await quiet.take(measure, () => clock);
    await quiet.take(measure, () => clock);
    deepStrictEqual([source.made, quiet.rejected, quiet.noisy], [4, 2, 2]);
  });
});

describe('bench: highest rate', () => {
  const search = async (limit: number): Promise<{ rate: number; trials: number }> => {
    let trials = 0;
    const rate = await bestRate(async rate => {
      trials++;
      return rate <= limit;
    });
    return { rate, trials };
  };

  it('is the highest step that passes', async () => {
    for (const step of [0, 1, 40, 90, 91]) {
      const { rate, trials } = await search(rateOf(step));
      strictEqual(rate, rateOf(step));
      ok(trials <= 7);
    }
    strictEqual((await search(rateOf(20) - 1)).rate, rateOf(19));
  });

  it('is 0 when none passes, and the last step when all do', async () => {
    strictEqual((await search(0)).rate, 0);
    strictEqual((await search(Number.POSITIVE_INFINITY)).rate, rateOf(91));
  });
});

describe('bench: checksum errors', () => {
  const text = (tcp: number, udp: number, udp6: number): string =>
    [
      'Tcp: RtoMin InErrs OutRsts InCsumErrors',
      `Tcp: 200 7 7 ${tcp}`,
      'Udp: InDatagrams InCsumErrors IgnoredMulti',
      `Udp: 9 ${udp} 9`,
      'UdpLite: InDatagrams InCsumErrors',
      'UdpLite: 0 8',
      `Udp6InCsumErrors                \t${udp6}`,
    ].join('\n');

  it('are those of TCP and of UDP over both families, and no others', () => {
    strictEqual(checksumErrors(text(0, 0, 0)), 0);
    strictEqual(checksumErrors(text(1, 20, 300)), 321);
  });

  it('that are not reported are no zero', () => {
    throws(() => checksumErrors('Tcp: InErrs\nTcp: 0\n'));
  });
});
