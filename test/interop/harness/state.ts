// SPDX-License-Identifier: Apache-2.0
// What one test run has made on this machine: processes, namespaces, files. Every test file is its own bundle, so
// the record lives on globalThis. Whatever is left when the process ends is removed here, synchronously.

import { type ChildProcess, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Waiting } from './rows.ts';

export interface RunState {
  /** Next number for namespaces and folders. */
  next: number;
  readonly dir: string;
  readonly processes: Set<ChildProcess>;
  /** Every process id ever started, to prove at the end that none is left. */
  readonly pids: number[];
  readonly namespaces: Set<string>;
  /** Results shared between test files, made once (keys and certificates, for one). */
  readonly once: Map<string, Promise<unknown>>;
  /** Rows of all tables that have not begun, in order, and how many are under way. */
  readonly rows: { readonly waiting: Waiting[]; running: number };
}

const KEY = Symbol.for('ovpnd.interop');
const PREFIX = 'ovpnd-';

/** Text that the names of all our namespaces and folders begin with. */
export const runPrefix = `${PREFIX}${process.pid}`;

export function runState(): RunState {
  const shared = globalThis as { [KEY]?: RunState };
  shared[KEY] ??= begin();
  return shared[KEY];
}

function begin(): RunState {
  sweep();
  const state: RunState = {
    next: 0,
    dir: join(tmpdir(), runPrefix),
    processes: new Set(),
    pids: [],
    namespaces: new Set(),
    once: new Map(),
    rows: { waiting: [], running: 0 },
  };
  // 0755: the row that runs without root reads its files here.
  mkdirSync(state.dir, { recursive: true, mode: 0o755 });
  process.on('exit', () => removeAll(state));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128));
  }
  return state;
}

/** Made once in a run and shared by all its files. */
export function once<T>(key: string, make: () => Promise<T>): Promise<T> {
  const { once: made } = runState();
  let value = made.get(key) as Promise<T> | undefined;
  if (value === undefined) {
    value = make();
    made.set(key, value);
  }
  return value;
}

/** Ends a process and everything in its group; the group is ours, spawn made it. */
export function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // ESRCH: it is gone, which is what was wanted.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function removeAll(state: RunState): void {
  for (const child of state.processes) killGroup(child, 'SIGKILL');
  for (const name of state.namespaces) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  rmSync(state.dir, { recursive: true, force: true });
}

/** Removes what a run that was killed outright could not: its namespaces and folders bear its dead process id. */
function sweep(): void {
  const netns = '/var/run/netns';
  const ours = (name: string): boolean => {
    const pid = /^ovpnd-([0-9]+)(-[0-9]+)?$/.exec(name)?.[1];
    return pid !== undefined && (!existsSync(`/proc/${pid}`) || pid === String(process.pid));
  };
  const names = existsSync(netns) ? readdirSync(netns).filter(ours) : [];
  for (const name of names) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  for (const name of readdirSync(tmpdir()).filter(ours))
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

/** What of this run still exists: names of namespaces, folders and processes. Empty is right. */
export function leftovers(): string[] {
  const { dir, pids, processes } = runState();
  const found: string[] = [];
  const netns = '/var/run/netns';
  if (existsSync(netns)) {
    for (const name of readdirSync(netns)) {
      if (name.startsWith(`${runPrefix}-`)) found.push(`namespace ${name}`);
    }
  }
  for (const name of readdirSync(dir)) {
    if (/^w[0-9]+$/.test(name)) found.push(`folder ${join(dir, name)}`);
  }
  for (const child of processes) found.push(`process ${child.pid} ${child.spawnargs.join(' ')}`);
  const ours = new Set(pids);
  for (const entry of readdirSync('/proc')) {
    // A group outlives its leader when a child of it stays behind; groupOf finds those too.
    if (/^[0-9]+$/.test(entry) && ours.has(groupOf(entry))) found.push(`process ${entry}`);
  }
  return found;
}

function groupOf(pid: string): number {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    // It ended between the listing and the reading.
    return -1;
  }
  // pid (comm) state ppid pgrp ...; comm may hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? -1 : Number(fields[2] ?? -1);
}
