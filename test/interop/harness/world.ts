// SPDX-License-Identifier: Apache-2.0
// One test row's private machine park: namespaces, wires, processes and a folder, gone when the row ends.

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { connect, Namespace, type Wire } from './namespace.ts';
import type { Process, SpawnOptions } from './process.ts';
import { runState } from './state.ts';
import { until } from './wait.ts';

const TAIL_LINES = 40;
const SANITIZER = /AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:/;

export class World {
  readonly dir: string;
  private readonly namespaces: Namespace[] = [];
  private readonly daemons: Process[] = [];
  /** Daemons that must end cleanly (code 0) when asked to. */
  private readonly clean = new Set<Process>();
  private wires = 0;

  constructor() {
    const state = runState();
    this.dir = join(state.dir, `w${state.next++}`);
    mkdirSync(this.dir, { mode: 0o755 });
  }

  async namespace(): Promise<Namespace> {
    const namespace = await Namespace.create();
    this.namespaces.push(namespace);
    return namespace;
  }

  /** Another wire; the first is number 0. */
  wire(left: Namespace, right: Namespace): Promise<Wire> {
    return connect(left, right, this.wires++);
  }

  /** Two namespaces, server left and client right. */
  async pair(): Promise<Wire> {
    const [left, right] = await Promise.all([this.namespace(), this.namespace()]);
    return this.wire(left!, right!);
  }

  /** A namespace in the middle, wired on its right to so many others. */
  star(count: 2): Promise<{ readonly hub: Namespace; readonly wires: readonly [Wire, Wire] }>;
  star(count: number): Promise<{ readonly hub: Namespace; readonly wires: readonly Wire[] }>;
  async star(count: number): Promise<{ readonly hub: Namespace; readonly wires: readonly Wire[] }> {
    const hub = await this.namespace();
    const wires: Wire[] = [];
    for (let i = 0; i < count; i++) wires.push(await this.wire(hub, await this.namespace()));
    return { hub, wires };
  }

  /** Starts a process whose log belongs into the failure message. `clean`: must leave with code 0 on SIGTERM. */
  spawn(
    name: string,
    namespace: Namespace,
    words: readonly string[],
    options: SpawnOptions & { clean?: boolean } = {},
  ): Process {
    const child = namespace.spawn(name, words, options);
    this.daemons.push(child);
    if (options.clean) this.clean.add(child);
    return child;
  }

  /** Process ids of what was started here. */
  pids(): number[] {
    return this.daemons.map(daemon => daemon.pid);
  }

  /** A fresh folder of this row. */
  folder(name: string): string {
    const path = join(this.dir, name);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return path;
  }

  /** Like until, and fails at once when a daemon has died. */
  until<T>(
    what: string,
    ms: number,
    probe: () => T | undefined | false | Promise<T | undefined | false>,
  ): Promise<T> {
    return until(what, ms, async () => {
      const value = await probe();
      if (value === undefined || value === false) this.assertAlive(what);
      return value;
    });
  }

  assertAlive(during: string): void {
    for (const daemon of this.daemons) {
      if (daemon.exit === undefined || daemon.isEnding) continue;
      throw new Error(
        `${daemon.name} ended (${daemon.exit.code ?? daemon.exit.signal}) while waiting: ${during}`,
      );
    }
  }

  /** The last lines of every daemon, for a failure message. */
  tails(): string {
    return this.daemons
      .map(daemon => {
        const state =
          daemon.exit === undefined ? 'running' : `ended ${daemon.exit.code ?? daemon.exit.signal}`;
        return [`--- ${daemon.name} (${state})`, ...daemon.lines.slice(-TAIL_LINES)].join('\n    ');
      })
      .join('\n');
  }

  /** Ends the daemons that must end cleanly and returns what was wrong with that. */
  private async finish(): Promise<string[]> {
    const complaints = await Promise.all([...this.clean].map(endCleanly));
    return complaints.filter(text => text !== undefined);
  }

  async destroy(): Promise<string[]> {
    const complaints = await this.finish();
    await Promise.all(this.daemons.map(daemon => daemon.kill()));
    await Promise.all(this.namespaces.map(namespace => namespace.remove()));
    rmSync(this.dir, { recursive: true, force: true });
    return complaints;
  }
}

async function endCleanly(daemon: Process): Promise<string | undefined> {
  if (daemon.exit === undefined) {
    const exit = await daemon.stop().catch(() => undefined);
    if (exit === undefined) return `${daemon.name} still runs after SIGTERM`;
    if (exit.code !== 0) return `${daemon.name} answered SIGTERM with exit ${exit.code ?? exit.signal}`;
  }
  const report = daemon.find(SANITIZER);
  return report === undefined ? undefined : `${daemon.name}: ${report}`;
}

/** Runs a test body in a world of its own; failures carry the logs of both ends. */
export async function inWorld(body: (world: World) => Promise<void>): Promise<void> {
  const world = new World();
  let failure: unknown;
  try {
    await body(world);
  } catch (error) {
    failure = error;
  }
  // Taken before the end: what a daemon says when it is ended explains nothing.
  const tails = failure === undefined ? '' : world.tails();
  const complaints = await world.destroy();
  if (failure !== undefined) {
    const error = failure instanceof Error ? failure : new Error(String(failure));
    error.message = [error.message, tails, ...complaints].join('\n');
    throw error;
  }
  if (complaints.length > 0) throw new Error([...complaints, world.tails()].join('\n'));
}
