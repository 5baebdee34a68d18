// SPDX-License-Identifier: Apache-2.0
// TypeScript to run in the guest under ovpnd's own runtime: bundled here, run there by `ovpnd-run`.

import { execFileSync } from 'node:child_process';
import { basename } from 'node:path';
import type { Guest } from './guest.ts';

const OPTIONS = [
  '--bundle',
  '--minify',
  '--format=iife',
  '--platform=neutral',
  '--main-fields=module,main',
  '--target=es2022',
];

/** Bundles a script into the guest and returns its path there. */
export async function bundleInto(guest: Guest, source: string): Promise<string> {
  const path = `/tmp/scripts/${basename(source).replace(/\.ts$/, '.js')}`;
  const words = [source, ...OPTIONS, '--log-level=warning'];
  await guest.write(path, execFileSync('node_modules/.bin/esbuild', words, { maxBuffer: 1 << 26 }), '644');
  return path;
}
