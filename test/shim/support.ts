// SPDX-License-Identifier: Apache-2.0
// What the shim's tests share: a host, temporary folders, results that must be good.

import { execFileSync } from 'node:child_process';
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

/**
 * The host of a TLS server, where it is another library's (test/shim/mbedtls.test.ts sets the variable), else a
 * host as any.
 */
export function serverHost(): Host {
  const path = process.env.OVPND_SERVER_SHIM;
  if (path === undefined) return newHost();
  const module = { exports: {} };
  process.dlopen(module, path);
  return shimHost({ ...currentRuntime(), shim: module.exports as RawShim });
}

/** Which library the client's and the server's shim were built with. */
export function libraries(): { client: 'openssl' | 'mbedtls'; server: 'openssl' | 'mbedtls' } {
  const of = (path: string | undefined) => (path?.includes('mbedtls') ? 'mbedtls' : 'openssl');
  const client = process.env.OVPND_SHIM;
  return { client: of(client), server: of(process.env.OVPND_SERVER_SHIM ?? client) };
}

/** Makes a target and returns it. */
export function build(target: string): string {
  // A make that runs these tests is no parent of this one.
  const env = { ...process.env, MAKEFLAGS: '' };
  execFileSync('make', [target], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  return target;
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
