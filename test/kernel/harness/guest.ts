// SPDX-License-Identifier: Apache-2.0
// The virtual machine: a kernel with the `ovpn` module, booted once and shared by all tests of a run. Commands go in
// and their output comes out in frames over a virtio port (the layout stands in guest/agent.c), which is qemu's own
// standard input and output: there is no socket or port on this machine, and the guest cannot outlive the test.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { killGroup, once, runState } from '../../interop/harness/state.ts';
import { GUEST_PATIENCE_MS, until } from '../../interop/harness/wait.ts';
import { GuestProcess } from './guest-process.ts';
import { kernelImage, writeImage } from './image.ts';
import { accelerator } from './need.ts';

const BOOT_MS = 300_000;
const HEADER = 9;
/** An oops ends the guest, and with it every test: nothing after it could be believed. */
const KERNEL_WORDS = 'console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off random.trust_cpu=on';

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly ms?: number;
}

export interface Result {
  readonly code: number | null;
  readonly output: string;
}

function qemuWords(image: string, log: string, memoryMb: number): string[] {
  const accel = accelerator();
  // The kernel patches its own code while it runs. Emulated processors may still execute the breakpoint of such a patch
  // after it is done, and the kernel then takes it for a fault: one processor cannot be late for itself.
  const processors = accel === 'kvm' ? '2' : '1';
  const machine = [
    '-M',
    'q35',
    '-accel',
    accel,
    '-cpu',
    accel === 'kvm' ? 'host' : 'max',
    '-smp',
    processors,
  ];
  const files = ['-kernel', kernelImage(), '-initrd', image, '-append', KERNEL_WORDS];
  const port = ['-device', 'virtio-serial-pci', '-chardev', 'stdio,id=agent,signal=off'];
  const console_ = ['-chardev', `file,id=console,path=${log}`, '-serial', 'chardev:console'];
  return [
    // The death signal covers the one case no handler can: this process being killed outright.
    ...['setpriv', '--pdeathsig', 'KILL', 'nice', '-n', '5', 'qemu-system-x86_64'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-m', String(memoryMb)],
    ...[...machine, ...files, ...port, '-device', 'virtserialport,chardev=agent', ...console_],
  ];
}

export class Guest {
  /** Milliseconds from the start of qemu to the first command. */
  bootMs = 0;
  private readonly child: ChildProcess;
  private readonly log: string;
  private readonly commands = new Map<number, GuestProcess>();
  private received: Uint8Array = new Uint8Array(0);
  private isReady = false;
  private end: string | undefined;
  private nextId = 1;

  private constructor(image: string, log: string) {
    const [command, ...words] = qemuWords(image, log, 2048);
    this.log = log;
    this.child = spawn(command!, words, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    const state = runState();
    state.processes.add(this.child);
    if (this.child.pid !== undefined) state.pids.push(this.child.pid);
    let complaint = '';
    this.child.stderr?.setEncoding('utf8').on('data', text => {
      complaint += text;
    });
    this.child.on('error', error => this.ended(error.message));
    this.child.on('close', code => this.ended(`qemu ended (${code}) ${complaint}`));
    this.child.stdout?.on('data', data => this.take(data));
    this.child.stdin?.on('error', () => undefined);
  }

  /** The run's guest; booted when first asked for. */
  static shared(): Promise<Guest> {
    return once('guest', () => Guest.boot());
  }

  /** The run's guest, if there is one. */
  static running(): Promise<Guest> | undefined {
    return runState().once.get('guest') as Promise<Guest> | undefined;
  }

  static async boot(): Promise<Guest> {
    const { dir } = runState();
    const image = join(dir, 'image.cpio');
    writeImage(image);
    const start = performance.now();
    const guest = new Guest(image, join(dir, 'console.log'));
    await until('the guest is ready', BOOT_MS, () => {
      if (guest.end !== undefined) throw new Error(guest.describeEnd());
      return guest.isReady;
    });
    guest.bootMs = Math.round(performance.now() - start);
    // Certificates are about time, and modules that tests do not make come and go are there from the start.
    await guest.run(['date', '-u', '-s', `@${Math.floor(Date.now() / 1000)}`]);
    await guest.sh('ip link set lo up; modprobe -a tun veth; mkdir -p /run/netns');
    return guest;
  }

  get consoleLog(): string {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8') : '';
  }

  /** Starts a command; its output grows line by line. */
  spawn(words: readonly string[], options: RunOptions & { name?: string } = {}): GuestProcess {
    const id = this.nextId++;
    const child = new GuestProcess(options.name ?? words[0]!, (signal, group) =>
      this.signal(id, signal, group),
    );
    if (this.end !== undefined) throw new Error(this.describeEnd());
    this.commands.set(id, child);
    const text = Buffer.from(words.map(word => `${word}\0`).join(''));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    this.send('S', id, Buffer.concat([length, text, Buffer.from(options.input ?? '')]));
    return child;
  }

  /** Runs a command to its end, whatever that is. */
  async try(words: readonly string[], options: RunOptions = {}): Promise<Result> {
    const child = this.spawn(words, options);
    const exit = await child.ended(options.ms ?? GUEST_PATIENCE_MS).catch(async error => {
      await child.kill();
      throw error;
    });
    return { code: exit.code, output: child.output };
  }

  /** Runs a command to its end and returns its output; throws when it fails. */
  async run(words: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, output } = await this.try(words, options);
    if (code !== 0) throw new Error(`${words.join(' ')}: exit ${code}\n${output}`);
    return output;
  }

  /** A script of the guest's shell; throws when its last command fails. */
  sh(script: string, options: RunOptions = {}): Promise<string> {
    return this.run(['sh', '-c', script], options);
  }

  /** Writes a file and the folders above it. */
  async write(path: string, data: string | Uint8Array, mode = '600'): Promise<void> {
    const script = 'mkdir -p "$1" && cat >"$2" && chmod "$3" "$2"';
    await this.run(['sh', '-c', script, '-', dirname(path), path, mode], { input: data });
  }

  read(path: string): Promise<string> {
    return this.run(['cat', path]);
  }

  async shutdown(): Promise<void> {
    if (this.end === undefined) killGroup(this.child, 'SIGKILL');
    await until('qemu ends', 5000, () => this.end);
  }

  private signal(id: number, signal: number, group: boolean): void {
    this.send('K', id, Uint8Array.of(signal, group ? 1 : 0));
  }

  private send(type: string, id: number, payload: Uint8Array): void {
    const header = Buffer.alloc(HEADER);
    header.writeUInt32LE(payload.length + HEADER - 4);
    header.write(type, 4, 'latin1');
    header.writeUInt32LE(id, 5);
    this.child.stdin?.write(Buffer.concat([header, payload]));
  }

  private take(data: Uint8Array): void {
    const bytes = Buffer.concat([this.received, data]);
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const end = at + 4 + bytes.readUInt32LE(at);
      if (end > bytes.length) break;
      this.frame(
        bytes.toString('latin1', at + 4, at + 5),
        bytes.readUInt32LE(at + 5),
        bytes.subarray(at + HEADER, end),
      );
      at = end;
    }
    this.received = bytes.subarray(at);
  }

  private frame(type: string, id: number, payload: Buffer): void {
    if (type === 'R') this.isReady = true;
    const child = this.commands.get(id);
    if (child === undefined) return;
    if (type === 'P') child.started(payload.readUInt32LE());
    if (type === 'O') child.take(payload);
    if (type !== 'X') return;
    this.commands.delete(id);
    child.finished(
      payload[0] === 0 ? { code: payload[1]!, signal: null } : { code: null, signal: payload[1]! },
    );
  }

  private ended(why: string): void {
    this.end ??= why;
    runState().processes.delete(this.child);
    for (const child of this.commands.values()) child.lost(this.describeEnd());
    this.commands.clear();
  }

  private describeEnd(): string {
    return `the guest is gone: ${this.end}\n${this.consoleLog.split('\n').slice(-60).join('\n')}`;
  }
}
