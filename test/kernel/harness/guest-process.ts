// SPDX-License-Identifier: Apache-2.0
// A command in the guest, seen from outside: its process id there, its output line by line, its end.

import { constants } from 'node:os';
import { StringDecoder } from 'node:string_decoder';
import { GUEST_PATIENCE_MS, until } from '../../interop/harness/wait.ts';

export interface Exit {
  readonly code: number | null;
  /** Number of the signal that ended it. */
  readonly signal: number | null;
}

type Send = (signal: number, group: boolean) => void;

export class GuestProcess {
  readonly name: string;
  readonly lines: string[] = [];
  exit: Exit | undefined;
  /** Set when the test itself ends it; any other end is a failure of the test. */
  isEnding = false;
  private readonly send: Send;
  private readonly decoder = new StringDecoder('utf8');
  private partial = '';
  private number: number | undefined;
  private loss: string | undefined;

  constructor(name: string, send: Send) {
    this.name = name;
    this.send = send;
  }

  get output(): string {
    return this.partial === '' ? this.lines.join('\n') : [...this.lines, this.partial].join('\n');
  }

  /** Its process id in the guest. */
  pid(): Promise<number> {
    return this.wait(`${this.name} starts`, GUEST_PATIENCE_MS, () => this.number);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.exit === undefined) this.send(constants.signals[signal], false);
  }

  /** Waits for the process to end by itself. */
  ended(ms: number): Promise<Exit> {
    this.isEnding = true;
    return this.wait(`${this.name} ends`, ms, () => this.exit);
  }

  /** Asks it to end and waits. */
  stop(signal: NodeJS.Signals = 'SIGTERM', ms = GUEST_PATIENCE_MS): Promise<Exit> {
    this.isEnding = true;
    this.signal(signal);
    return this.ended(ms);
  }

  /** Ends it and its children at once. */
  async kill(): Promise<void> {
    this.isEnding = true;
    if (this.exit === undefined) this.send(constants.signals.SIGKILL, true);
    await this.ended(GUEST_PATIENCE_MS);
  }

  /** First line that matches, from line number `from` on. */
  find(pattern: RegExp, from = 0): string | undefined {
    return this.lines.slice(from).find(line => pattern.test(line));
  }

  count(pattern: RegExp, from = 0): number {
    return this.lines.slice(from).filter(line => pattern.test(line)).length;
  }

  /** Waits for a line that matches; gives up at once when the process has ended. */
  line(pattern: RegExp, ms = GUEST_PATIENCE_MS, from = 0): Promise<string> {
    return this.wait(`line ${pattern} from ${this.name}`, ms, () => {
      const line = this.find(pattern, from);
      if (line === undefined && this.exit !== undefined) {
        throw new Error(`${this.name} ended without a line ${pattern}`);
      }
      return line;
    });
  }

  started(pid: number): void {
    this.number = pid;
  }

  take(data: Buffer): void {
    const parts = (this.partial + this.decoder.write(data)).split('\n');
    this.partial = parts.pop()!;
    this.lines.push(...parts);
  }

  finished(exit: Exit): void {
    if (this.partial !== '') this.lines.push(this.partial);
    this.partial = '';
    this.exit = exit;
  }

  lost(why: string): void {
    this.loss = why;
  }

  private wait<T>(what: string, ms: number, probe: () => T | undefined): Promise<T> {
    return until(what, ms, () => {
      const value = probe();
      if (value === undefined && this.loss !== undefined) throw new Error(this.loss);
      return value;
    });
  }
}
