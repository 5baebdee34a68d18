// SPDX-License-Identifier: Apache-2.0
// Runs test/bench: ovpnd beside stock OpenVPN in one interleaved run. Table on stdout, build/bench.json.
import { spawnSync } from 'node:child_process';
import { build } from 'esbuild';

function has(command) {
  return spawnSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' }).status === 0;
}

// Nothing but this needs iperf3, so it is not among the dependencies that every target installs.
if (!has('iperf3') && process.getuid?.() === 0 && has('apt-get')) {
  console.log('installing: iperf3');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'iperf3'], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
if (!has('iperf3')) {
  console.error('bench: needs iperf3');
  process.exit(1);
}

await build({
  entryPoints: ['test/bench/bench.ts'],
  outfile: 'build/bench.cjs',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node18',
  sourcemap: 'inline',
  logLevel: 'warning',
});
const { status } = spawnSync(process.execPath, ['build/bench.cjs', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(status ?? 1);
