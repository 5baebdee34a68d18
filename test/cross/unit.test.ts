// SPDX-License-Identifier: Apache-2.0
// Byte layouts, known answers, the plane and uci on the architectures of routers: the unit tests themselves, emulated.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EMULATORS } from '../interop/harness/ovpnd.ts';
import { bundleTests } from './bundle.ts';

const PROGRAMS = {
  arm: 'build/cross/arm_cortex-a7_neon-vfpv4/mbedtls/ovpnd-run',
  aarch64: 'build/cross/aarch64_cortex-a53/mbedtls/ovpnd-run',
  mips: 'build/cross/mips_24kc/mbedtls/ovpnd-run',
} as const;
const ARCHES = ['arm', 'aarch64', 'mips'] as const;
/** Fewer would mean that the bundle lost most of its files. */
const PASSED_MIN = 500;

function run(
  arch: (typeof ARCHES)[number],
  script: string,
): Promise<{ code: number | null; output: string }> {
  const [emulator, ...words] = EMULATORS[arch];
  const child = spawn(emulator, [...words, PROGRAMS[arch], script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      output += text;
    });
  }
  return new Promise(done =>
    child.on('close', code => done({ code, output })).on('error', e => done({ code: -1, output: String(e) })),
  );
}

describe('unit tests on other architectures', function () {
  this.timeout(600_000);
  const folder = mkdtempSync(join(tmpdir(), 'ovpnd-cross-'));
  const results = new Map<string, Promise<{ code: number | null; output: string }>>();
  const isMissing = (arch: (typeof ARCHES)[number]) =>
    !existsSync(PROGRAMS[arch]) || !existsSync(`/usr/bin/${EMULATORS[arch][0]}`);

  before(() => {
    const script = bundleTests(folder);
    for (const arch of ARCHES) if (!isMissing(arch)) results.set(arch, run(arch, script));
  });

  after(async () => {
    await Promise.all(results.values());
    rmSync(folder, { recursive: true, force: true });
  });

  for (const arch of ARCHES) {
    it(arch, async function () {
      const result = results.get(arch);
      if (result === undefined) {
        console.log(`      skipped, missing: ${PROGRAMS[arch]} or ${EMULATORS[arch][0]} (make packages)`);
        this.skip();
      }
      const { code, output } = await result;
      const counts = /(\d+) passed, 0 failed\n$/.exec(output);
      assert.ok(counts !== null && Number(counts[1]) > PASSED_MIN && code === 0, output.slice(-4000));
    });
  }
});
