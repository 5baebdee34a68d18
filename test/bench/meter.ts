// SPDX-License-Identifier: Apache-2.0
// What the kernel says about processes and the machine.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { foreignCores } from './statistics.ts';

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

interface Machine {
  /** Working, or kept from it by the machine below. */
  readonly busyS: number;
  readonly interruptS: number;
}

function machine(): Machine {
  const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.trim().split(/\s+/).slice(1);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields.map(
    field => Number(field) / TICKS_PER_S,
  );
  return { busyS: user + nice + system + irq + softirq + steal, interruptS: irq + softirq };
}

function kernelConfiguration(): string {
  const path = `/boot/config-${release()}`;
  if (existsSync(path)) return readFileSync(path, 'latin1');
  return existsSync('/proc/config.gz') ? gunzipSync(readFileSync('/proc/config.gz')).toString('latin1') : '';
}

// Such a kernel takes the time of interrupts out of the processes they interrupt, and the stack's work is in them.
const isInterruptTimeApart = /^CONFIG_IRQ_TIME_ACCOUNTING=y/m.test(kernelConfiguration());

const softirqThreads: readonly number[] = readdirSync('/proc')
  .filter(name => /^[0-9]+$/.test(name))
  .filter(name => {
    try {
      return readFileSync(`/proc/${name}/comm`, 'latin1').startsWith('ksoftirqd/');
    } catch {
      // It ended between the listing and the reading.
      return false;
    }
  })
  .map(Number);

function kernelS(now: Machine): number {
  const threads = softirqThreads.reduce((sum, pid) => sum + cpuS(pid), 0);
  return threads + (isInterruptTimeApart ? now.interruptS : 0);
}

function selfS(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export interface Usage {
  readonly wallS: number;
  /** Of each process watched. */
  readonly processS: readonly number[];
  /** Of the network stack outside any process. */
  readonly kernelS: number;
  readonly foreignCores: number;
}

/** Watches processes and the machine from its making to `stop`. */
export class Meter {
  private readonly pids: readonly number[];
  private readonly processS: readonly number[];
  private readonly machine = machine();
  private readonly kernelS = kernelS(this.machine);
  private readonly selfS = selfS();
  private readonly begunMs = performance.now();

  constructor(pids: readonly number[]) {
    this.pids = pids;
    this.processS = pids.map(cpuS);
  }

  /** `helpersS`: CPU seconds of processes that belong to the measurement and have ended. */
  stop(helpersS: number): Usage {
    const wallS = (performance.now() - this.begunMs) / 1000;
    const now = machine();
    const processS = this.pids.map((pid, i) => cpuS(pid) - this.processS[i]!);
    const stackS = kernelS(now) - this.kernelS;
    const ownS = processS.reduce((sum, s) => sum + s, 0) + stackS + helpersS + selfS() - this.selfS;
    return {
      wallS,
      processS,
      kernelS: stackS,
      foreignCores: foreignCores(now.busyS - this.machine.busyS, ownS, wallS),
    };
  }
}
