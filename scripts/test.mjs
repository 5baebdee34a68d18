// SPDX-License-Identifier: Apache-2.0
// Bundles every test file and runs them under mocha; the last line is `N passed, N failed, N skipped`.
//   node scripts/test.mjs                          everything, as many jobs at a time as there are processors
//   node scripts/test.mjs [folder or file ...]     only these, in this process
//   node scripts/test.mjs --table [folder ...]     at the end everything once more as a table
//   node scripts/test.mjs --sim SEED               one simulated world
//   node scripts/test.mjs --fuzz SECONDS           the fuzz folder, for so long
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import Mocha from 'mocha';
import { runJobs } from './jobs.mjs';
import { tables } from './table.mjs';

/** Folders that share a process; the longest first. */
const JOBS = [['kernel'], ['interop'], ['fuzz', 'sim'], ['luci'], ['cross'], ['unit', 'shim', 'openwrt']];
const SLOWEST = 6;

function testFiles(path) {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap(name => testFiles(join(path, name)))
    .filter(name => name.endsWith('.test.ts'));
}

async function bundle(files, folder) {
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
}

/** `interop 211 s: matrix 93 s, tcp 30 s, ...` for each folder; rows of a file may have begun before its turn. */
function times(spent) {
  const folders = new Map();
  for (const [file, ms] of spent) {
    const [folder, ...rest] = file.replace(/\.test\.ts$/, '').split('/');
    folders.set(folder, [...(folders.get(folder) ?? []), [rest.join('/'), Math.round(ms / 1000)]]);
  }
  for (const [folder, files] of folders) {
    const all = files.reduce((sum, [, seconds]) => sum + seconds, 0);
    const slow = files.sort((a, b) => b[1] - a[1]).filter(([, seconds]) => seconds > 1);
    const named = slow.slice(0, SLOWEST).map(([file, seconds]) => `${file} ${seconds} s`);
    console.log(`${folder} ${all} s${named.length > 1 ? `: ${named.join(', ')}` : ''}`);
  }
}

async function runHere(files, isTable) {
  // A folder of its own, so that two runs do not take each other's bundles away.
  const folder = `build/test/${process.pid}`;
  await bundle(files, folder);
  process.setSourceMapsEnabled(true);
  // Nobody reads any more: mocha would wait for ever.
  process.stdout.on('error', () => process.exit(1));
  const mocha = new Mocha({ timeout: 120_000, reporter: 'spec', color: process.stdout.isTTY });
  for (const file of files) mocha.addFile(file.replace(/^test/, folder).replace(/\.ts$/, '.cjs'));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const skips = [];
  const spent = new Map();
  const results = [];
  const begun = performance.now();
  let since = begun;
  mocha
    .run()
    .on('suite end', suite => {
      if (!suite.parent?.root) return;
      const file = suite.file.split(`${folder}/`)[1].replace(/\.cjs$/, '.ts');
      spent.set(file, (spent.get(file) ?? 0) + performance.now() - since);
      since = performance.now();
    })
    .on('pass', test => {
      counts.passed++;
      results.push({ suite: test.parent.title, title: test.title });
    })
    .on('fail', (test, error) => {
      counts.failed++;
      results.push({ suite: test.parent.title, title: test.title, failure: error.message });
    })
    .on('pending', test => {
      counts.skipped++;
      results.push({ suite: test.parent.title, title: test.title, isSkipped: true });
      skips.push(test.fullTitle());
    })
    .on('end', () => {
      rmSync(folder, { recursive: true, force: true });
      if (isTable) console.log(`${tables(results)}\n${Math.round((performance.now() - begun) / 1000)} s`);
      times(spent);
      for (const title of skips) console.log(`SKIPPED: ${title}`);
      end(counts);
    });
}

function end({ passed, failed, skipped }) {
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  // A run that executed nothing proves nothing; on CI everything must be able to run.
  const isIncomplete = process.env.CI === 'true' && skipped > 0;
  process.exit(failed > 0 || passed === 0 || isIncomplete ? 1 : 0);
}

const isTable = process.argv[2] === '--table';
const words = process.argv.slice(isTable ? 3 : 2);
let roots = words;
if (words[0] === '--sim') {
  process.env.OVPND_SIM_SEED = words[1];
  roots = ['test/sim'];
} else if (words[0] === '--fuzz') {
  process.env.OVPND_FUZZ_SECONDS = words[1];
  roots = ['test/fuzz'];
}
if (roots.length === 0 && !isTable)
  end(await runJobs(JOBS.map(names => names.map(name => join('test', name)))));
else await runHere(roots.flatMap(testFiles), isTable);
