// SPDX-License-Identifier: Apache-2.0
// Log lines of one tunnel: to stderr or syslog, and the last ones kept for the `log` method.

import type { LogLevel } from '../core/event.ts';
import type { Host } from '../host/host.ts';

const KEPT_LINES = 200;
const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];
/** As syslog(3) numbers them. */
const SYSLOG_LEVEL: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

export interface Log {
  write(level: LogLevel, text: string): void;
  /** The last lines, oldest first. */
  recent(lines: number): string[];
}

/** Lines below `level` are neither shown nor kept. */
export function createLog(host: Host, tunnel: string, level: LogLevel, toSyslog: boolean): Log {
  const kept: string[] = [];
  return {
    write(lineLevel, text) {
      if (LEVELS.indexOf(lineLevel) > LEVELS.indexOf(level)) return;
      const line = `${tunnel}: ${lineLevel}: ${text}`;
      kept.push(line);
      if (kept.length > KEPT_LINES) kept.shift();
      if (toSyslog) host.syslog(SYSLOG_LEVEL[lineLevel], `${tunnel}: ${text}`);
      else host.print(2, `${line}\n`);
    },
    recent: lines => kept.slice(-Math.max(1, Math.min(KEPT_LINES, lines))),
  };
}
