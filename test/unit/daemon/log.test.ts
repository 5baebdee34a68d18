// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import { createLog } from '../../../src/daemon/log.ts';

function fake(): { lines: string[]; host: Parameters<typeof createLog>[0]; at: (ms: number) => void } {
  const lines: string[] = [];
  let now = 0;
  return {
    lines,
    at: ms => {
      now = ms;
    },
    host: {
      monotonicMs: () => now,
      print: (_fd, text) => void lines.push(text),
      syslog: (level, text) => void lines.push(`<${level}>${text}`),
    },
  };
}

describe('log', () => {
  it('writes lines of its level and above, and no others', () => {
    const { lines, host } = fake();
    const log = createLog(host, 'home', 'warn', false);
    for (const level of ['error', 'warn', 'info', 'debug'] as const) log.write(level, 'x');
    deepStrictEqual(lines, ['home: error: x\n', 'home: warn: x\n']);
    deepStrictEqual(log.recent(10), ['home: error: x', 'home: warn: x']);
    deepStrictEqual(log.recent(1), ['home: warn: x']);
  });

  it('keeps a line a line, whatever it is given', () => {
    const { lines, host } = fake();
    const log = createLog(host, 'home', 'info', false);
    log.write('info', 'a\nhome: error: forged\x1b[2J\u202eb\u0085\u2028é');
    deepStrictEqual(lines, ['home: info: a\\x0ahome: error: forged\\x1b[2J\\u{202e}b\\x85\\u{2028}é\n']);
    deepStrictEqual(log.recent(1), [
      'home: info: a\\x0ahome: error: forged\\x1b[2J\\u{202e}b\\x85\\u{2028}é',
    ]);
  });

  it('speaks to syslog with its own levels', () => {
    const { lines, host } = fake();
    createLog(host, 'home', 'info', true).write('info', 'up');
    deepStrictEqual(lines, ['<6>home: up']);
  });

  it('has a budget for each period, and says what it left out', () => {
    const { lines, host, at } = fake();
    const log = createLog(host, 'home', 'info', false);
    for (let i = 0; i < 250; i++) log.write('warn', 'refused');
    strictEqual(lines.length, 100);
    at(10_000);
    log.write('info', 'later');
    deepStrictEqual(lines.slice(100), [
      'home: warn: 150 lines left out: more than 100 in 10 s\n',
      'home: info: later\n',
    ]);
  });

  it('has none at level debug', () => {
    const { lines, host } = fake();
    const log = createLog(host, 'home', 'debug', false);
    for (let i = 0; i < 250; i++) log.write('debug', 'x');
    strictEqual(lines.length, 250);
  });
});
