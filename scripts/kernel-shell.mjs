// SPDX-License-Identifier: Apache-2.0
// Tries something out on the kernel of the kernel tests, with build/ovpnd in the guest:
//   node scripts/kernel-shell.mjs 'modprobe ovpn; ip link add t0 type ovpn; ip -d link show t0'
// Boots, runs the guest's shell on each argument (or on standard input), prints the output, exits with its status.
// --script FILE.ts before them: bundles that file into the guest, to be run by 'ovpnd-run /tmp/scripts/FILE.js'.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const folder = `build/test/${process.pid}`;
const program = `${folder}/shell.cjs`;
mkdirSync(folder, { recursive: true });
await build({
  entryPoints: ['test/kernel/shell.ts'],
  outfile: program,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node18',
  logLevel: 'warning',
});
const { status } = spawnSync(process.execPath, [program, ...process.argv.slice(2)], { stdio: 'inherit' });
rmSync(folder, { recursive: true, force: true });
process.exit(status ?? 1);
