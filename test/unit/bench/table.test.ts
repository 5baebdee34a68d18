// SPDX-License-Identifier: Apache-2.0

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { withoutShare } from '../../bench/cases.ts';
import { type Contest, hold, isReached, lines } from '../../bench/contest.ts';
import { readPlan } from '../../bench/plan.ts';
import { Quiet } from '../../bench/statistics.ts';
import { formatNumber, formatSpread, formatTable } from '../../bench/table.ts';
import type { Sample } from '../../bench/traffic.ts';

const sample = (value: number, cpuSPerGb?: number): Sample => ({
  value,
  foreignCores: 0,
  ...(cpuSPerGb === undefined ? {} : { cpuSPerGb }),
});

const contest = (parts: Partial<Contest>): Contest => ({
  row: 'tcp',
  title: 'TCP',
  unit: 'Mbit/s',
  entrants: new Map(),
  comparisons: [{ ours: 'ovpnd', theirs: 'openvpn', target: { ratio: 8, cpu: 6 } }],
  ...parts,
});

describe('bench: rows', () => {
  const samples = new Map([
    ['ovpnd', [sample(800, 2), sample(90, 2), sample(810, 3)]],
    ['openvpn', [sample(100, 20), sample(10, 20), sample(90, 18)]],
  ]);

  it('carry both figures, the ratio by rounds, the CPU and the verdict', () => {
    const [line] = lines(contest({}), samples);
    deepStrictEqual(line!.ours.figure, { median: 800, min: 90, max: 810 });
    deepStrictEqual(line!.ratio, { median: 9, min: 8, max: 9 });
    deepStrictEqual(line!.cpuRatio, { median: 10, min: 6, max: 10 });
    strictEqual(line!.isReached, true);
  });

  it('miss a target by throughput, by CPU, or when the CPU is not known', () => {
    const figures = { ours: { name: 'ovpnd', figure: { median: 9, min: 9, max: 9 } } };
    const of = (median: number) => ({ median, min: median, max: median });
    const target = { ratio: 8, cpu: 6 };
    ok(isReached(target, { ...figures, ratio: of(8), cpuRatio: of(6) }));
    ok(!isReached(target, { ...figures, ratio: of(7.99), cpuRatio: of(6) }));
    ok(!isReached(target, { ...figures, ratio: of(8), cpuRatio: of(5.99) }));
    ok(!isReached(target, { ...figures, ratio: of(8) }));
    ok(isReached({ most: 9 }, figures));
    ok(!isReached({ most: 8.99 }, figures));
    ok(!isReached({ ratio: 1 }, { ...figures, ratio: of(Number.NaN) }));
  });

  it('without a target have no verdict', () => {
    const [line] = lines(contest({ comparisons: [{ ours: 'ovpnd', theirs: 'openvpn' }] }), samples);
    strictEqual(line!.isReached, undefined);
  });

  it('take another figure of a sample where asked', () => {
    const pick = ({ cpuSPerGb = 0 }: Sample): number => cpuSPerGb;
    const [line] = lines(contest({ comparisons: [{ title: 'x', ours: 'ovpnd', pick }] }), samples);
    strictEqual(line!.ours.figure.median, 2);
    strictEqual(line!.title, 'TCP, x');
  });
});

describe('bench: rounds', () => {
  it('go through every contest, in each through every entrant, turned by one each time', async () => {
    const order: string[] = [];
    const entrant = (name: string) =>
      [
        name,
        async (): Promise<Sample> => {
          order.push(name);
          return sample(1);
        },
      ] as const;
    const first = contest({ entrants: new Map([entrant('a'), entrant('b')]) });
    const second = contest({ entrants: new Map([entrant('c')]) });
    const plan = { ...readPlan({}), rounds: 2 };
    const results = await hold([first, second], plan, new Quiet(0, 0), () => undefined);
    strictEqual(order.join(''), 'abcbac');
    deepStrictEqual(
      [...results.get(first)!.values()].map(samples => samples.length),
      [2, 2],
    );
  });
});

describe('bench: table', () => {
  it('writes what can be read', () => {
    deepStrictEqual([4792.4, 22.31, 0.756, Number.NaN].map(formatNumber), ['4792', '22.3', '0.76', '-']);
    strictEqual(formatSpread({ median: 5, min: 4, max: 6 }), '5.00 (4.00-6.00)');
    strictEqual(formatSpread({ median: 5, min: 5, max: 5 }), '5.00');
    strictEqual(formatSpread(undefined), '-');
  });

  it('aligns its columns and says what is reached', () => {
    const both = new Map([
      ['ovpnd', [sample(800, 2)]],
      ['openvpn', [sample(100, 20)]],
    ]);
    const missed = new Map([
      ['ovpnd', [sample(400)]],
      ['openvpn', [sample(100)]],
    ]);
    const [head, yes, no] = formatTable([...lines(contest({}), both), ...lines(contest({}), missed)]).split(
      '\n',
    );
    match(
      yes!,
      /^TCP, Mbit\/s +ovpnd +800 +openvpn +100 +8\.00x +2\.00 +20\.0 +1\/10\.0 +8x, CPU 1\/6 +yes$/,
    );
    match(no!, / 4\.00x .* NO$/);
    strictEqual(head!.indexOf('ours'), yes!.indexOf('ovpnd'));
  });
});

describe('bench: traffic under a storm', () => {
  it('is corrected by the share of the cores that other machines would carry', () => {
    strictEqual(withoutShare(900, 2, 0.2), 1000);
    strictEqual(withoutShare(900, 2, 0), 900);
  });
});

describe('bench: plan', () => {
  it('is everything, five rounds, by default', () => {
    const plan = readPlan({});
    deepStrictEqual([plan.rounds, plan.seconds, plan.planes, plan.wire], [5, 3, undefined, 'real']);
    ok(plan.rows.has('tcp') && plan.rows.has('guest'));
    // make hands on what nobody set.
    deepStrictEqual(readPlan({ ROWS: '', ROUNDS: '', SECONDS: '', PLANES: '' }), plan);
  });

  it('takes a part', () => {
    const plan = readPlan({
      ROWS: 'ping, tcp',
      ROUNDS: '3',
      SECONDS: '0.5',
      PLANES: 'js,native',
      WIRE: 'ideal',
    });
    deepStrictEqual([...plan.rows], ['tcp', 'ping']);
    deepStrictEqual([plan.rounds, plan.seconds, plan.planes, plan.wire], [3, 0.5, ['native', 'js'], 'ideal']);
  });

  for (const [name, value] of [
    ['ROWS', 'tpc'],
    ['ROUNDS', '0'],
    ['ROUNDS', '2.5'],
    ['ROUNDS', 'many'],
    ['SECONDS', '-1'],
    ['SECONDS', '600'],
    ['PLANES', 'native,dco'],
    ['WIRE', 'copper'],
  ] as const) {
    it(`refuses ${name}=${value} by name`, () => {
      let message = '';
      try {
        readPlan({ [name]: value });
      } catch (error) {
        message = String(error);
      }
      match(message, new RegExp(`${name}: '`));
    });
  }
});
