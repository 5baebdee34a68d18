// SPDX-License-Identifier: Apache-2.0
// What the kernel tests need from the machine; a test that cannot run says why.

import { accessSync, constants, existsSync, readFileSync } from 'node:fs';

/** Why there is no guest; undefined: there can be one. */
export function missing(): string | undefined {
  if (existsSync('build/kernel/missing')) return readFileSync('build/kernel/missing', 'utf8').trim();
  if (!existsSync('build/kernel/.done')) return "build/kernel: run 'make test-kernel' or scripts/kernel";
  if (!existsSync('build/ovpnd')) return 'build/ovpnd';
  return undefined;
}

/** The processor's own virtualization is many times faster; emulation works everywhere. */
export function accelerator(): 'kvm' | 'tcg' {
  const wanted = process.env.OVPND_ACCEL;
  if (wanted === 'kvm' || wanted === 'tcg') return wanted;
  // Some virtual machines show a /dev/kvm that has no hardware behind it and hangs.
  if (!/^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'))) return 'tcg';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return 'kvm';
  } catch {
    return 'tcg';
  }
}
