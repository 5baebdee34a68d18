// SPDX-License-Identifier: Apache-2.0
// Traffic whose loss and damage are counted: numbered UDP packets, transfers over TCP.

import { strictEqual } from 'node:assert';
import { join, resolve } from 'node:path';
import type { Namespace } from './namespace.ts';
import { type Process, run } from './process.ts';
import { once, runState } from './state.ts';
import { PATIENCE_MS, pause } from './wait.ts';
import type { World } from './world.ts';

const HARNESS = 'test/interop/harness';
/** How long packets under way may take. */
const LATE_MS = 300;

/** A program of the harness in C, or a library for LD_PRELOAD, built once. */
export function compiled(name: string, kind: 'program' | 'library' = 'program'): Promise<string> {
  return once(`compiled ${name}`, async () => {
    const path = join(runState().dir, name);
    const flags = kind === 'library' ? ['-shared', '-fPIC'] : [];
    await run(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', ...flags, '-o', path, `${HARNESS}/${name}.c`]);
    return path;
  });
}

/** A program of the harness as one script, built once. */
export function bundled(name: string): Promise<string> {
  return once(`bundled ${name}`, async () => {
    const path = join(runState().dir, `${name}.cjs`);
    const words = ['--bundle', '--platform=node', '--format=cjs', `--outfile=${path}`, '--log-level=error'];
    await run([resolve('node_modules/.bin/esbuild'), `${HARNESS}/${name}.ts`, ...words]);
    return path;
  });
}

export interface StreamOptions {
  /** A second. */
  readonly rate?: number;
  /** Bytes of UDP payload; 0: every length in turn. */
  readonly size?: number;
  /** The type of service, or traffic class, octet. */
  readonly tos?: number;
}

export interface StreamResult {
  readonly sent: number;
  readonly received: number;
  readonly repeated: number;
  /** With bytes that were not sent. */
  readonly wrong: number;
  /** Overtaken by another. */
  readonly late: number;
  /** That congestion was experienced by. */
  readonly marked: number;
}

const LONG_MS = 600_000;
let nextPort = 9000;

/** A one-way stream of UDP packets that runs until it is stopped. */
export class Stream {
  private readonly receiver: Process;
  private readonly sender: Process;

  private constructor(receiver: Process, sender: Process) {
    this.receiver = receiver;
    this.sender = sender;
  }

  static async start(
    world: World,
    from: Namespace,
    to: Namespace,
    address: string,
    { rate = 1000, size = 0, tos = 0 }: StreamOptions = {},
  ): Promise<Stream> {
    const program = await compiled('traffic');
    const port = String(nextPort++);
    const receiver = world.spawn('receiver', to, [program, 'receive', port]);
    await receiver.line(/^ready$/);
    const words = ['send', address, port, rate, LONG_MS, size, tos].map(String);
    const sender = world.spawn('sender', from, [program, ...words]);
    await sender.line(/^ready$/);
    return new Stream(receiver, sender);
  }

  async stop(): Promise<StreamResult> {
    await this.sender.stop();
    await pause(LATE_MS);
    await this.receiver.stop();
    return { ...JSON.parse(this.sender.lines.at(-1)!), ...JSON.parse(this.receiver.lines.at(-1)!) };
  }
}

/** A TCP transfer: `bytes` random ones, or (0) until it is stopped. */
export class Transfer {
  private readonly server: Process;
  private readonly client: Process;

  private constructor(server: Process, client: Process) {
    this.server = server;
    this.client = client;
  }

  /** Returns once bytes are under way. */
  static async start(
    world: World,
    from: Namespace,
    to: Namespace,
    address: string,
    bytes = 0,
  ): Promise<Transfer> {
    const program = await bundled('transfer');
    const port = String(nextPort++);
    const server = world.spawn('transfer server', to, [process.execPath, program, 'serve', port]);
    await server.line(/^ready$/);
    const words = [process.execPath, program, 'send', address, port, String(bytes)];
    const client = world.spawn('transfer client', from, words);
    await client.line(/^connected$/);
    return new Transfer(server, client);
  }

  /** Waits for the end; how many bytes arrived, all of them right. */
  async finish(ms = PATIENCE_MS): Promise<number> {
    await this.client.ended(ms);
    return this.result();
  }

  async stop(): Promise<number> {
    await this.client.stop('SIGTERM', PATIENCE_MS);
    return this.result();
  }

  private async result(): Promise<number> {
    await this.server.kill();
    strictEqual(this.client.exit?.code, 0, this.client.output);
    const { sent, ours, theirs } = JSON.parse(this.client.lines.at(-1)!);
    strictEqual(theirs, ours, 'another digest at the other end');
    return sent;
  }
}
