// SPDX-License-Identifier: Apache-2.0
// A router without a battery starts in the past, until it has asked for the time: by a name server, perhaps through
// a tunnel of somebody else. No certificate is valid then, so a tunnel waits instead of failing again and again.

import { type Host, isFailure } from '../host/host.ts';
import { readCertificate } from '../pki/certificate.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import type { Log } from './log.ts';

/** Time comes in a step; how long after it a tunnel starts. */
const LOOK_MS = 2_000;

interface Early {
  readonly path: string;
  /** Seconds since 1970. */
  readonly notBeforeS: number;
}

/** The tunnel's own certificate or authority that is valid last, if it is not yet. */
export function notYetValid(host: Host, { files }: ServerConfig | ClientConfig): Early | undefined {
  let last: Early | undefined;
  for (const { option, path } of files) {
    if (option !== 'cert' && option !== 'ca') continue;
    const bytes = host.files.read(path);
    const notBeforeS = isFailure(bytes) ? undefined : readCertificate(bytes)?.notBeforeS;
    if (notBeforeS === undefined || notBeforeS <= host.wallS()) continue;
    if (last === undefined || notBeforeS > last.notBeforeS) last = { path, notBeforeS };
  }
  return last;
}

const time = (seconds: number): string => new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');

/** Blocks until the certificates are valid; false when a signal ended that. Said once. */
export function waitForTime(host: Host, config: ServerConfig | ClientConfig, log: Log): boolean {
  const early = notYetValid(host, config);
  if (early === undefined) return true;
  log.write(
    'warn',
    `the clock says ${time(host.wallS())}, and ${early.path} is valid from ${time(early.notBeforeS)}: waiting for the time`,
  );
  let isRight = false;
  const look = (): void => {
    isRight = host.wallS() >= early.notBeforeS;
    if (isRight) host.loop.stop();
    else host.loop.at(host.monotonicMs() + LOOK_MS, look);
  };
  for (const signal of ['INT', 'TERM'] as const) host.loop.onSignal(signal, () => host.loop.stop());
  host.loop.at(host.monotonicMs() + LOOK_MS, look);
  host.loop.run();
  if (isRight) log.write('info', 'the clock was set: starting');
  return isRight;
}
