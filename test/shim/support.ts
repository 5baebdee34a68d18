// SPDX-License-Identifier: Apache-2.0
// What the shim's tests share: a host, temporary folders, results that must be good.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { currentRuntime } from '../../src/host/current.ts';
import { describe as describeFailure, type Failure, type Host, isFailure } from '../../src/host/host.ts';
import type { RawShim } from '../../src/host/raw.ts';
import { shimHost } from '../../src/host/shim.ts';

let folder: string | undefined;

/** A host of its own; the loops of all share the process's signals. */
export function newHost(): Host {
  return shimHost(currentRuntime());
}

export function rawShim(): RawShim {
  return currentRuntime().shim;
}

/** A folder that vanishes with the process. */
export function temporary(name: string): string {
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'ovpnd-shim-'));
    process.on('exit', () => rmSync(folder!, { recursive: true, force: true }));
  }
  return join(folder, name);
}

/** The value, or a thrown Error with the failure's line. */
export function good<T>(result: T | Failure | undefined): T {
  if (result === undefined) throw new Error('nothing there');
  if (isFailure(result)) throw new Error(describeFailure(result));
  return result as T;
}

/** The errno name of a failure; `fine` when it is none. */
export function codeOf(result: unknown): string {
  return isFailure(result) ? result.code : 'fine';
}

/** Runs the loop until the callback says it is done, at most `limitMs`. */
export function runUntil(host: Host, limitMs = 5000): void {
  const timer = host.loop.at(host.monotonicMs() + limitMs, () => {
    throw new Error('the loop ran too long');
  });
  host.loop.run();
  timer.cancel();
}
