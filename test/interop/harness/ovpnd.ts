// SPDX-License-Identifier: Apache-2.0
// The daemon under test: its uci file, its process, its command line.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Namespace } from './namespace.ts';
import { Process } from './process.ts';
import type { World } from './world.ts';

/** quickjs: build/ovpnd; node: the same bundle; asan: with AddressSanitizer and UBSan; tsan: with ThreadSanitizer; mbedtls: for OpenSSL, Mbed TLS. package: the program of the package for this machine. The others: that for another, emulated. */
export type Runtime =
  | 'quickjs'
  | 'node'
  | 'asan'
  | 'tsan'
  | 'mbedtls'
  | 'package'
  | 'arm'
  | 'aarch64'
  | 'mips';

const CROSS = {
  package: 'build/cross/x86_64/mbedtls/ovpnd',
  arm: 'build/cross/arm_cortex-a7_neon-vfpv4/mbedtls/ovpnd',
  aarch64: 'build/cross/aarch64_cortex-a53/mbedtls/ovpnd',
  mips: 'build/cross/mips_24kc/mbedtls/ovpnd',
} as const;

/** Words in front of a program of these architectures. The 24Kc has no floating point. */
export const EMULATORS = {
  arm: ['qemu-arm-static', '-cpu', 'cortex-a7'],
  aarch64: ['qemu-aarch64-static', '-cpu', 'cortex-a53'],
  mips: ['qemu-mips-static', '-cpu', '24Kc'],
} as const;

const COMMANDS: Record<Runtime, readonly string[]> = {
  quickjs: [resolve('build/ovpnd')],
  node: [process.execPath, resolve('build/ovpnd.js')],
  asan: [resolve('build/asan/ovpnd')],
  // Its shadow memory has a fixed place, which a random layout may take.
  tsan: ['setarch', '-R', resolve('build/tsan/ovpnd')],
  mbedtls: [resolve('build/mbedtls/ovpnd')],
  package: [resolve(CROSS.package)],
  arm: [...EMULATORS.arm, resolve(CROSS.arm)],
  aarch64: [...EMULATORS.aarch64, resolve(CROSS.aarch64)],
  mips: [...EMULATORS.mips, resolve(CROSS.mips)],
};

const FILES: Record<Runtime, readonly string[]> = {
  quickjs: ['build/ovpnd'],
  node: ['build/ovpnd.js', 'build/shim.node'],
  asan: ['build/asan/ovpnd'],
  tsan: ['build/tsan/ovpnd'],
  mbedtls: ['build/mbedtls/ovpnd'],
  package: [CROSS.package],
  arm: ['/usr/bin/qemu-arm-static', CROSS.arm],
  aarch64: ['/usr/bin/qemu-aarch64-static', CROSS.aarch64],
  mips: ['/usr/bin/qemu-mips-static', CROSS.mips],
};

/** The words that start it. */
export function commandOf(runtime: Runtime): readonly string[] {
  return COMMANDS[runtime];
}

/** What a run with this runtime lacks. */
export function missingFiles(runtime: Runtime): string[] {
  return FILES[runtime].filter(path => !existsSync(path));
}

export type Options = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Section {
  readonly type: 'server' | 'client' | 'peer' | 'user';
  readonly name: string;
  readonly options: Options;
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** The text of a uci file: arrays become lists. */
export function uciText(sections: readonly Section[]): string {
  const text = sections.map(section => {
    const lines = Object.entries(section.options).flatMap(([name, value]) => {
      if (value === undefined) return [];
      if (typeof value === 'string') return [`\toption ${name} ${quote(value)}`];
      return value.map(item => `\tlist ${name} ${quote(item)}`);
    });
    return [`config ${section.type} ${quote(section.name)}`, ...lines].join('\n');
  });
  return `${text.join('\n\n')}\n`;
}

export function writeUci(dir: string, sections: readonly Section[]): void {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'ovpnd'), uciText(sections), { mode: 0o600 });
}

export interface RunOptions {
  readonly runtime?: Runtime;
  /** Words in front of the daemon's own: `unshare -m`, `setpriv --reuid=...`. */
  readonly before?: readonly string[];
  /** False where the row wants the daemon to fail. */
  readonly clean?: boolean;
  readonly command?: readonly string[];
  /** Socket of a ubusd; default: one that is not there. */
  readonly ubus?: string;
}

/** One ovpnd process with a folder of its own for configuration and run-time files. */
export class Ovpnd {
  readonly tunnel: string;
  readonly dir: string;
  readonly process: Process;
  private readonly runtime: Runtime;
  private readonly runDir: string;

  constructor(world: World, namespace: Namespace, sections: readonly Section[], options: RunOptions = {}) {
    this.tunnel = sections[0]!.name;
    this.runtime = options.runtime ?? 'quickjs';
    this.dir = world.folder(`ovpnd-${this.tunnel}-${namespace.name}`);
    this.runDir = join(this.dir, 'run');
    writeUci(this.dir, sections);
    const command = options.command ?? COMMANDS[this.runtime];
    const ubus = options.ubus === undefined ? [] : ['-u', options.ubus];
    const directories = ['-c', this.dir, '-r', this.runDir, ...ubus];
    const words = [...(options.before ?? []), ...command, 'run', this.tunnel, ...directories];
    const name = `ovpnd ${this.tunnel} (${this.runtime})`;
    this.process = world.spawn(name, namespace, words, { env: SANITIZERS, clean: options.clean ?? true });
  }

  get device(): string {
    return `ov-${this.tunnel}`.slice(0, 15);
  }

  /** The words of another command of the same executable against this daemon. */
  words(...words: readonly string[]): string[] {
    return [...COMMANDS[this.runtime], ...words, '-r', this.runDir];
  }

  /** Runs it; not in the namespace of the daemon. */
  async ask(...words: readonly string[]): Promise<{ code: number | null; output: string }> {
    const child = new Process('ovpnd', this.words(...words), { env: SANITIZERS });
    const { code } = await child.ended();
    return { code, output: child.output };
  }

  async status(): Promise<Record<string, unknown>> {
    const { code, output } = await this.ask('status', this.tunnel, '--json');
    if (code !== 0) throw new Error(`ovpnd status: exit ${code}\n${output}`);
    const status = JSON.parse(output) as Record<string, unknown> | Record<string, unknown>[];
    return Array.isArray(status) ? status[0]! : status;
  }
}

// Leaks count; a sanitizer's finding must end the process, not scroll by.
const SANITIZERS = {
  ASAN_OPTIONS: 'detect_leaks=1:halt_on_error=1:abort_on_error=0:exitcode=99',
  UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  TSAN_OPTIONS: 'halt_on_error=1:exitcode=99',
};
