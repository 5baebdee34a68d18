// SPDX-License-Identifier: Apache-2.0
// One minified script for both runtimes: build/ovpnd.js.
import { build } from 'esbuild';

await build({
  entryPoints: ['src/daemon/main.ts'],
  outfile: 'build/ovpnd.js',
  bundle: true,
  minify: true,
  charset: 'utf8',
  format: 'iife',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  target: 'es2022',
  legalComments: 'none',
  logLevel: 'warning',
});
