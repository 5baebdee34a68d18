// SPDX-License-Identifier: Apache-2.0
// What each architecture's package weighs: the file, the program, and the memory of an idle server, emulated where the
// machine is another.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { EMULATORS } from '../interop/harness/ovpnd.ts';
import { pki } from '../interop/harness/pki.ts';
import { startServer } from '../interop/harness/tunnel.ts';
import { inWorld } from '../interop/harness/world.ts';

/** Where an emulator puts the memory of its program, and at most how much: so that it can be told from its own. */
const BASE = 0x1000_0000_0000;
const SPAN = 0x1_0000_0000;

const EMULATOR_OF: Readonly<Record<string, readonly string[]>> = {
  'arm_cortex-a7_neon-vfpv4': [...EMULATORS.arm, '-B', String(BASE)],
  'aarch64_cortex-a53': [...EMULATORS.aarch64, '-B', String(BASE), '-R', String(SPAN)],
  mips_24kc: [...EMULATORS.mips, '-B', String(BASE)],
  x86_64: [],
};

export interface PackageFigures {
  /** Bytes. */
  readonly package: number;
  /** Bytes. */
  readonly executable: number;
  /** Of a server without peers, KiB; absent where it cannot be told. */
  readonly residentKiB?: number;
}

/** Resident KiB of mappings that begin within the program's share, or of all where nothing is emulated. */
function residentKiB(pid: number, isEmulated: boolean): number {
  let isOurs = false;
  let total = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
    const start = /^([0-9a-f]+)-[0-9a-f]+ /.exec(line);
    if (start !== null) {
      const at = Number.parseInt(start[1]!, 16);
      isOurs = !isEmulated || (at >= BASE && at < BASE + SPAN);
    } else if (isOurs) total += Number(/^Rss: +(\d+) kB/.exec(line)?.[1] ?? 0);
  }
  return total;
}

async function idle(arch: string, program: string): Promise<number | undefined> {
  const emulator = EMULATOR_OF[arch];
  if (emulator === undefined || (emulator[0] !== undefined && !existsSync(`/usr/bin/${emulator[0]}`)))
    return undefined;
  let resident = 0;
  await inWorld(async world => {
    const command = [...emulator, resolve(program)];
    const server = await startServer(
      world,
      await world.namespace(),
      await pki(),
      'quickjs',
      {},
      { run: { command } },
    );
    await server.process.line(/listening on/, 30_000);
    resident = residentKiB(server.process.pid, emulator.length > 0);
  });
  return resident;
}

/** By architecture; empty without build/packages. */
export async function packageFigures(): Promise<Record<string, PackageFigures>> {
  const figures: Record<string, PackageFigures> = {};
  const arches = existsSync('build/packages') ? readdirSync('build/packages') : [];
  for (const arch of arches) {
    const program = `build/cross/${arch}/mbedtls/ovpnd`;
    const name = readdirSync(join('build/packages', arch)).find(file => /^ovpnd-mbedtls_.*\.ipk$/.test(file));
    if (name === undefined || !existsSync(program)) continue;
    const resident = await idle(arch, program);
    figures[arch] = {
      package: statSync(join('build/packages', arch, name)).size,
      executable: statSync(program).size,
      ...(resident === undefined ? {} : { residentKiB: resident }),
    };
  }
  return figures;
}
