// SPDX-License-Identifier: Apache-2.0
// Runs test/bench: ovpnd beside stock OpenVPN in one interleaved run. Table on stdout, build/bench.json.
//   ROWS=tcp,ping ROUNDS=3 SECONDS=2 PLANES=native,js WIRE=ideal make bench    a part of it; see test/bench/plan.ts
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { build } from 'esbuild';

function must(command, words) {
  const { status, error } = spawnSync(command, words, { stdio: 'inherit' });
  if (status === 0) return;
  console.error(`bench: ${command}: ${error?.message ?? `exit ${status}`}`);
  process.exit(1);
}

// Nothing but this needs iperf3 and ethtool, so they are not among what every target installs.
must('scripts/deps', ['bench']);
const rows = (process.env.ROWS ?? '').split(',').filter(row => row !== '');
const wants = row => rows.length === 0 || rows.includes(row);
if (wants('guest')) must('scripts/kernel', []);
if (wants('memory') && process.arch === 'x64') must('make', ['build/cross/x86_64/mbedtls/ovpnd']);
mkdirSync('build/bench', { recursive: true });
must('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', 'build/bench/load', 'test/bench/load.c']);
await build({
  entryPoints: ['test/bench/bench.ts', 'test/bench/crowd.ts', 'test/bench/whole.ts'],
  outdir: 'build/bench',
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node18',
  sourcemap: 'inline',
  logLevel: 'warning',
});
const bench = spawn(process.execPath, ['build/bench/bench.cjs'], { stdio: 'inherit' });
// It takes down what it has made; until then this one stays, whoever was asked to end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => bench.kill(signal));
bench.on('exit', status => process.exit(status ?? 1));
