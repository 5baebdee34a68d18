// SPDX-License-Identifier: Apache-2.0
// Log lines of one tunnel: to stderr or syslog, and the last ones kept for the `log` method. Strangers can cause
// lines, so there is a budget for each period; what is above it is counted and said in one line.

import type { LogLevel } from '../core/event.ts';
import type { Host } from '../host/host.ts';
import { oneLine } from '../uci/text.ts';

const KEPT_LINES = 200;
const PERIOD_MS = 10_000;
const LINES_PER_PERIOD = 100;
const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];
/** As syslog(3) numbers them. */
const SYSLOG_LEVEL: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

export interface Log {
  write(level: LogLevel, text: string): void;
  /** The last lines, oldest first. */
  recent(lines: number): string[];
  setLevel(level: LogLevel): void;
}

/** What a log needs of the host. */
export type LogHost = Pick<Host, 'print' | 'syslog' | 'monotonicMs'>;

/** Lines below the level are neither shown nor kept. At level debug there is no budget. */
export function createLog(host: LogHost, tunnel: string, firstLevel: LogLevel, toSyslog: boolean): Log {
  let level = firstLevel;
  const kept: string[] = [];
  let periodStart = host.monotonicMs();
  let lines = 0;
  let suppressed = 0;

  function emit(lineLevel: LogLevel, said: string): void {
    // Whoever writes a line escapes what others said; this is for what was overlooked.
    const text = oneLine(said);
    const line = `${tunnel}: ${lineLevel}: ${text}`;
    kept.push(line);
    if (kept.length > KEPT_LINES) kept.shift();
    if (toSyslog) host.syslog(SYSLOG_LEVEL[lineLevel], `${tunnel}: ${text}`);
    else host.print(2, `${line}\n`);
  }

  return {
    write(lineLevel, text) {
      if (LEVELS.indexOf(lineLevel) > LEVELS.indexOf(level)) return;
      const now = host.monotonicMs();
      if (now - periodStart >= PERIOD_MS) {
        if (suppressed > 0)
          emit('warn', `${suppressed} lines left out: more than ${LINES_PER_PERIOD} in 10 s`);
        periodStart = now;
        lines = 0;
        suppressed = 0;
      }
      if (++lines > LINES_PER_PERIOD && level !== 'debug') suppressed++;
      else emit(lineLevel, text);
    },
    setLevel(newLevel) {
      level = newLevel;
    },
    recent: count => kept.slice(-Math.max(1, Math.min(KEPT_LINES, count))),
  };
}
