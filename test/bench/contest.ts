// SPDX-License-Identifier: Apache-2.0
// Measurements that run side by side, and what their figures come to.

import type { Plan, RowName } from './plan.ts';
import { type Quiet, ratios, rotated, type Spread, spread } from './statistics.ts';
import type { Sample } from './traffic.ts';

export interface Target {
  /** Times as good, at least. */
  readonly ratio?: number;
  /** Times less CPU for each GB, at least. */
  readonly cpu?: number;
  /** The figure itself, at most. */
  readonly most?: number;
}

export interface Comparison {
  /** Beside the contest's own title. */
  readonly title?: string;
  /** Names of entrants. */
  readonly ours: string;
  readonly theirs?: string;
  readonly target?: Target;
  /** Default: the sample's value. */
  readonly pick?: (sample: Sample) => number;
}

export interface Contest {
  readonly row: RowName;
  readonly title: string;
  readonly unit: string;
  readonly isLessBetter?: boolean;
  readonly entrants: ReadonlyMap<string, (seconds: number) => Promise<Sample>>;
  readonly comparisons: readonly Comparison[];
}

export type Samples = ReadonlyMap<string, readonly Sample[]>;

export interface Figures {
  readonly name: string;
  readonly figure: Spread;
  readonly cpuSPerGb?: Spread;
  readonly senderCpuSPerGb?: Spread;
  readonly receiverCpuSPerGb?: Spread;
}

/** One row of the table. */
export interface Line {
  readonly row: RowName;
  readonly title: string;
  readonly unit: string;
  readonly ours: Figures;
  readonly theirs?: Figures;
  /** Times as good; above 1 is ours, also where less is better. */
  readonly ratio?: Spread;
  readonly cpuRatio?: Spread;
  readonly target?: Target;
  /** By the medians; undefined without a target. */
  readonly isReached?: boolean;
}

/** Round by round every contest, in each every entrant; who goes first changes from round to round. */
export async function hold(
  contests: readonly Contest[],
  plan: Plan,
  quiet: Quiet,
  say: (text: string) => void,
): Promise<Map<Contest, Map<string, Sample[]>>> {
  const results = new Map(
    contests.map(contest => [
      contest,
      new Map([...contest.entrants.keys()].map(name => [name, [] as Sample[]])),
    ]),
  );
  for (let round = 0; round < plan.rounds; round++) {
    for (const [contest, samples] of results) {
      const texts: string[] = [];
      for (const [name, measure] of rotated([...contest.entrants], round)) {
        const sample = await quiet.take(
          () => measure(plan.seconds),
          () => performance.now(),
        );
        samples.get(name)!.push(sample);
        texts.push(`${name} ${sample.value.toFixed(0)}`);
      }
      say(`round ${round + 1}: ${contest.title}: ${texts.join(', ')} ${contest.unit}`);
    }
  }
  return results;
}

type CpuFigure = 'cpuSPerGb' | 'senderCpuSPerGb' | 'receiverCpuSPerGb';

/** The figure of every round, or undefined where there is none. */
function cpuOf(samples: readonly Sample[], which: CpuFigure): number[] | undefined {
  const values = samples.map(sample => sample[which]).filter(value => value !== undefined);
  return values.length === samples.length ? values : undefined;
}

function figures(name: string, samples: readonly Sample[], pick: (sample: Sample) => number): Figures {
  const of = (which: CpuFigure): Partial<Record<CpuFigure, Spread>> => {
    const values = cpuOf(samples, which);
    return values === undefined ? {} : { [which]: spread(values) };
  };
  return {
    name,
    figure: spread(samples.map(pick)),
    ...of('cpuSPerGb'),
    ...of('senderCpuSPerGb'),
    ...of('receiverCpuSPerGb'),
  };
}

/** Whether the medians satisfy every part of a target; a figure that is missing does not. */
export function isReached(target: Target, line: Pick<Line, 'ours' | 'ratio' | 'cpuRatio'>): boolean {
  const atLeast = (wanted: number | undefined, ratio: Spread | undefined): boolean =>
    wanted === undefined || (ratio !== undefined && ratio.median >= wanted);
  return (
    atLeast(target.ratio, line.ratio) &&
    atLeast(target.cpu, line.cpuRatio) &&
    (target.most === undefined || line.ours.figure.median <= target.most)
  );
}

/** The rows of one contest. */
export function lines(contest: Contest, samples: Samples): Line[] {
  return contest.comparisons.map(({ title, ours, theirs, target, pick = sample => sample.value }) => {
    const of = (name: string): readonly Sample[] => samples.get(name) ?? [];
    const line: Line = {
      row: contest.row,
      title: title === undefined ? contest.title : `${contest.title}, ${title}`,
      unit: contest.unit,
      ours: figures(ours, of(ours), pick),
      ...(theirs === undefined ? {} : against(contest, of(ours), of(theirs), theirs, pick)),
    };
    return target === undefined ? line : { ...line, target, isReached: isReached(target, line) };
  });
}

function against(
  contest: Contest,
  ours: readonly Sample[],
  theirs: readonly Sample[],
  name: string,
  pick: (sample: Sample) => number,
): Pick<Line, 'theirs' | 'ratio' | 'cpuRatio'> {
  const ourCpu = cpuOf(ours, 'cpuSPerGb');
  const theirCpu = cpuOf(theirs, 'cpuSPerGb');
  const hasCpu = ourCpu !== undefined && theirCpu !== undefined;
  return {
    theirs: figures(name, theirs, pick),
    ratio: ratios(ours.map(pick), theirs.map(pick), contest.isLessBetter ?? false),
    ...(hasCpu ? { cpuRatio: ratios(ourCpu, theirCpu, true) } : {}),
  };
}
