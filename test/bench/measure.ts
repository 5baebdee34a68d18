// SPDX-License-Identifier: Apache-2.0
// What the kernel says about processes and the machine.

import { readdirSync, readFileSync } from 'node:fs';

/** CPU seconds that all threads of a process have run, in the kernel's own nanoseconds rather than ticks. */
export function cpuS(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
  }
  return ns / 1e9;
}

/** KiB: resident now, and at most so far. */
export function memoryKiB(pid: number): { resident: number; peak: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+([0-9]+) kB`, 'm').exec(text)?.[1] ?? 0);
  return { resident: field('VmRSS'), peak: field('VmHWM') };
}

const TICKS_PER_S = 100;

/** CPU seconds the whole machine has been busy, by ticks: good enough to see foreign load. */
export function machineBusyS(): number {
  const fields = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) / TICKS_PER_S;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

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
