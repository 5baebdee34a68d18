// SPDX-License-Identifier: Apache-2.0
// Bundles every test file and runs them under mocha; the last line is `N passed, N failed, N skipped`.
//   node scripts/test.mjs [folder or file ...]     only these
//   node scripts/test.mjs --sim SEED               one simulated world
//   node scripts/test.mjs --fuzz SECONDS           the fuzz folder, for so long
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import Mocha from 'mocha';

const FOLDERS = ['unit', 'shim', 'sim', 'fuzz', 'openwrt', 'luci', 'interop', 'cross', 'kernel'];

function testFiles(path) {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap(name => testFiles(join(path, name)))
    .filter(name => name.endsWith('.test.ts'));
}

const words = process.argv.slice(2);
let roots = FOLDERS.map(name => join('test', name));
if (words[0] === '--sim') {
  process.env.OVPND_SIM_SEED = words[1];
  roots = ['test/sim'];
} else if (words[0] === '--fuzz') {
  process.env.OVPND_FUZZ_SECONDS = words[1];
  roots = ['test/fuzz'];
} else if (words.length > 0) {
  roots = words;
}
const files = roots.flatMap(testFiles);
// A folder of its own, so that two runs do not take each other's bundles away.
const folder = `build/test/${process.pid}`;
await build({
  entryPoints: files,
  outdir: folder,
  outbase: 'test',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  // It finds its own files by where it lies.
  external: ['playwright-core'],
  platform: 'node',
  format: 'cjs',
  target: 'node18',
  sourcemap: 'inline',
  logLevel: 'warning',
});

process.setSourceMapsEnabled(true);
// Nobody reads any more: mocha would wait for ever.
process.stdout.on('error', () => process.exit(1));
const mocha = new Mocha({ timeout: 120_000, reporter: 'spec', color: process.stdout.isTTY });
for (const file of files) mocha.addFile(file.replace(/^test/, folder).replace(/\.ts$/, '.cjs'));
const counts = { passed: 0, failed: 0, skipped: 0 };
const skips = [];
const started = new Map();
mocha
  .run()
  .on('suite', suite => {
    const name = suite.file?.split(`${folder}/`)[1]?.split('/')[0];
    if (name !== undefined && !started.has(name)) started.set(name, Date.now());
  })
  .on('pass', () => counts.passed++)
  .on('fail', () => counts.failed++)
  .on('pending', test => {
    counts.skipped++;
    skips.push(test.fullTitle());
  })
  .on('end', () => {
    rmSync(folder, { recursive: true, force: true });
    const ends = [...started.values()].slice(1).concat(Date.now());
    const times = [...started].map(([name, at], i) => `${name} ${Math.round((ends[i] - at) / 1000)} s`);
    console.log(times.join(', '));
    for (const title of skips) console.log(`SKIPPED: ${title}`);
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
    // A run that executed nothing proves nothing; on CI everything must be able to run.
    const isIncomplete = process.env.CI === 'true' && counts.skipped > 0;
    process.exit(counts.failed > 0 || counts.passed === 0 || isIncomplete ? 1 : 0);
  });
