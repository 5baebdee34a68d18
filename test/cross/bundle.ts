// SPDX-License-Identifier: Apache-2.0
// The unit tests of what runs on a router, as one script for the QuickJS executable of an architecture.

import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Byte layouts, known answers, the plane and uci: where an architecture could make a difference. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  core: [
    'wire',
    'wrap',
    'keys',
    'keymethod',
    'peerinfo',
    'push',
    'text',
    'transcript',
    'words',
    'handshake-replay',
  ],
  netlink: [],
  plane: ['vectors', 'receive', 'send', 'replay', 'commands', 'keepalive'],
  uci: [],
  ubus: ['blob', 'message'],
  pki: [],
};

/** Loops over thousands of cases of one kind: minutes on an emulated processor without floating point. */
const TOO_LONG = /flipped bit|beyond the largest|does not fit|limited in number/;

/** Writes the script into a folder and returns its path. */
export function bundleTests(folder: string): string {
  const files = Object.entries(FILES).flatMap(([name, chosen]) => {
    const path = join('test/unit', name);
    const all = readdirSync(path).filter(file => file.endsWith('.test.ts'));
    const wanted = chosen.length === 0 ? all : chosen.map(file => `${file}.test.ts`);
    return wanted.sort().map(file => resolve(path, file));
  });
  const entry = join(folder, 'entry.ts');
  const lines = [
    `import ${JSON.stringify(resolve('test/cross/runtime/buffer.ts'))};`,
    `import { run } from ${JSON.stringify(resolve('test/cross/runtime/mocha.ts'))};`,
    ...files.map(file => `import ${JSON.stringify(file)};`),
    'const print = line => __ovpnd_shim.print(1, line + "\\n");',
    `run(print, ${TOO_LONG}).then(({ passed, failed }) => {`,
    '  print(passed + " passed, " + failed + " failed");',
    '  __ovpnd_shim.exit(failed === 0 && passed > 0 ? 0 : 1);',
    '}, error => { print("broken: " + error + "\\n" + error.stack); __ovpnd_shim.exit(1); });',
  ];
  writeFileSync(entry, lines.join('\n').replace('const print = line', 'const print = (line: string)'));
  const out = join(folder, 'tests.js');
  const alias = (name: string, file: string) => `--alias:${name}=${resolve('test/cross/runtime', file)}`;
  execFileSync('node_modules/.bin/esbuild', [
    entry,
    ...['--bundle', '--format=iife', '--platform=neutral', '--target=es2022', '--main-fields=module,main'],
    ...[alias('node:assert/strict', 'assert.ts'), alias('node:assert', 'assert.ts')],
    alias('fast-check', 'fastcheck.ts'),
    ...['fs', 'path', 'crypto'].map(name => alias(`node:${name}`, 'node.ts')),
    ...['--charset=utf8', '--log-level=warning', `--outfile=${out}`],
  ]);
  return out;
}
