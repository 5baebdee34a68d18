// SPDX-License-Identifier: Apache-2.0
// A clock that is not set yet, on a host whose time the test moves.

import { deepStrictEqual, match, strictEqual } from 'node:assert';
import { notYetValid, waitForTime } from '../../../src/daemon/clock.ts';
import type { Log } from '../../../src/daemon/log.ts';
import type { Host } from '../../../src/host/host.ts';
import { readCertificate } from '../../../src/pki/certificate.ts';
import type { ServerConfig } from '../../../src/uci/config.ts';
import { createPki } from '../../sim/pki.ts';

const PEM = createPki(0).server.cert;
const { notBeforeS } = readCertificate(PEM)!;

interface Scene {
  readonly host: Host;
  readonly config: ServerConfig;
  readonly lines: string[];
  readonly log: Log;
}

/** `step` is called for each look at the clock; it may set `wallS` or raise a signal. */
function scene(wallS: number, step: (now: { wallS: number; raise: () => void }) => void): Scene {
  let isRunning = false;
  let timers: (() => void)[] = [];
  let raise = (): void => undefined;
  const now = { wallS, raise: () => raise() };
  const host = {
    wallS: () => now.wallS,
    monotonicMs: () => 0,
    files: { read: (path: string) => (path === '/cert' ? PEM : { failed: true }) },
    loop: {
      at: (_: number, call: () => void) => void timers.push(call),
      onSignal: (name: string, call: () => void) => {
        if (name === 'TERM') raise = call;
      },
      run: () => {
        isRunning = true;
        while (isRunning) {
          const due = timers;
          timers = [];
          step(now);
          if (isRunning) for (const call of due) call();
        }
      },
      stop: () => {
        isRunning = false;
      },
    },
  } as unknown as Host;
  const files = [
    { option: 'ca', path: '/unreadable' },
    { option: 'cert', path: '/cert' },
    { option: 'key', path: '/key' },
  ];
  const lines: string[] = [];
  const log = { write: (level: string, text: string) => void lines.push(`${level} ${text}`) } as Log;
  return { host, config: { files } as unknown as ServerConfig, lines, log };
}

describe('a clock that is not set', () => {
  it('does not matter when the certificates are valid, or cannot be read', () => {
    const { host, config, lines, log } = scene(notBeforeS, () => {
      throw new Error('no waiting here');
    });
    strictEqual(notYetValid(host, config), undefined);
    strictEqual(waitForTime(host, config, log), true);
    deepStrictEqual(lines, []);
  });

  it('is waited for, and said once', () => {
    let looks = 0;
    const { host, config, lines, log } = scene(0, now => {
      looks += 1;
      if (looks === 4) now.wallS = notBeforeS;
    });
    strictEqual(waitForTime(host, config, log), true);
    strictEqual(looks, 4);
    strictEqual(lines.length, 2);
    match(lines[0]!, /^warn the clock says 1970-01-01T00:00:00Z, and \/cert is valid from 20\d\d-/);
    match(lines[1]!, /^info the clock was set/);
  });

  it('does not keep a signal waiting', () => {
    const { host, config, lines, log } = scene(0, now => now.raise());
    strictEqual(waitForTime(host, config, log), false);
    strictEqual(lines.length, 1);
  });
});
