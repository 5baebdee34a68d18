// SPDX-License-Identifier: Apache-2.0
// Processes of a test: every one leads its own group, is recorded, and has its output kept line by line.

import { type ChildProcess, spawn } from 'node:child_process';
import { killGroup, runState } from './state.ts';
import { PATIENCE_MS, until } from './wait.ts';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface SpawnOptions {
  readonly env?: Record<string, string>;
  readonly input?: string;
}

export class Process {
  readonly lines: string[] = [];
  exit: Exit | undefined;
  /** Set when the test itself ends it; any other end is a failure of the row. */
  isEnding = false;
  readonly name: string;
  private readonly child: ChildProcess;
  private partial = '';

  constructor(name: string, command: readonly string[], options: SpawnOptions = {}) {
    this.name = name;
    const state = runState();
    // The death signal covers the one case no handler can: this process being killed outright.
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], {
      detached: true,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    state.processes.add(this.child);
    if (this.child.pid !== undefined) state.pids.push(this.child.pid);
    this.child.on('error', error => {
      this.lines.push(`cannot start: ${error.message}`);
      this.end(null, null);
    });
    this.child.stdout?.setEncoding('utf8').on('data', text => this.take(text));
    this.child.stderr?.setEncoding('utf8').on('data', text => this.take(text));
    this.child.on('close', (code, signal) => this.end(code, signal));
    this.child.stdin?.on('error', () => undefined).end(options.input);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get output(): string {
    return this.lines.join('\n');
  }

  signal(signal: NodeJS.Signals): void {
    if (this.exit === undefined) this.child.kill(signal);
  }

  /** Waits for the process to end by itself. */
  ended(ms = PATIENCE_MS): Promise<Exit> {
    this.isEnding = true;
    return until(`${this.name} ends`, ms, () => this.exit);
  }

  /** Asks it to end and waits. */
  stop(signal: NodeJS.Signals = 'SIGTERM', ms = PATIENCE_MS): Promise<Exit> {
    this.isEnding = true;
    this.signal(signal);
    return this.ended(ms);
  }

  /** Ends it and its children at once. */
  async kill(): Promise<void> {
    this.isEnding = true;
    if (this.exit === undefined) killGroup(this.child, 'SIGKILL');
    await this.ended(PATIENCE_MS);
  }

  /** First line that matches, from line number `from` on. */
  find(pattern: RegExp, from = 0): string | undefined {
    return this.lines.slice(from).find(line => pattern.test(line));
  }

  count(pattern: RegExp, from = 0): number {
    return this.lines.slice(from).filter(line => pattern.test(line)).length;
  }

  /** Waits for a line that matches; gives up at once when the process has ended. */
  line(pattern: RegExp, ms = PATIENCE_MS, from = 0): Promise<string> {
    return until(`line ${pattern} from ${this.name}`, ms, () => {
      const line = this.find(pattern, from);
      if (line === undefined && this.exit !== undefined) {
        throw new Error(`${this.name} ended without a line ${pattern}`);
      }
      return line;
    });
  }

  private take(text: string): void {
    const parts = (this.partial + text).split('\n');
    this.partial = parts.pop()!;
    this.lines.push(...parts);
  }

  private end(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.partial !== '') this.lines.push(this.partial);
    this.partial = '';
    this.exit ??= { code, signal };
    runState().processes.delete(this.child);
  }
}

/** Runs a command to its end and returns its output; throws when it fails. */
export async function run(command: readonly string[], options: SpawnOptions = {}): Promise<string> {
  const child = new Process(command[0]!, command, options);
  const exit = await child.ended();
  if (exit.code !== 0)
    throw new Error(`${command.join(' ')}: exit ${exit.code ?? exit.signal}\n${child.output}`);
  return child.output;
}
