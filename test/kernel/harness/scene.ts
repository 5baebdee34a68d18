// SPDX-License-Identifier: Apache-2.0
// What one test makes in the guest: namespaces, wires, daemons, a folder. All of it is gone when the test ends.

import { deepStrictEqual } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Identity, type Pki, pki } from '../../interop/harness/pki.ts';
import { once } from '../../interop/harness/state.ts';
import { GUEST_PATIENCE_MS, until } from '../../interop/harness/wait.ts';
import { Guest } from './guest.ts';
import type { GuestProcess } from './guest-process.ts';
import { connect, Namespace, type Wire } from './namespace.ts';

const TAIL_LINES = 40;
const CLEAN_MS = GUEST_PATIENCE_MS;

/** The run's keys and certificates, under /pki in the guest. */
export interface Keys {
  readonly server: Identity;
  readonly clients: readonly Identity[];
  readonly staticKey: string;
}

const inGuest = (path: string): string => `/pki/${basename(path)}`;

function identity({ ca, cert, key }: Identity): Identity {
  return { ca: inGuest(ca), cert: inGuest(cert), key: inGuest(key) };
}

function keysIn(guest: Guest): Promise<Keys> {
  return once('guest-keys', async () => {
    const made: Pki = await pki();
    const names = readdirSync(made.dir).filter(name => /\.(crt|key)$/.test(name));
    const write = (name: string) => guest.write(`/pki/${name}`, readFileSync(join(made.dir, name)));
    await Promise.all(names.map(write));
    const clients = made.clients.map(identity);
    return { server: identity(made.server), clients, staticKey: inGuest(made.staticKey) };
  });
}

let scenes = 0;

export class Scene {
  readonly guest: Guest;
  readonly keys: Keys;
  readonly dir: string;
  private readonly namespaces: Namespace[] = [];
  private readonly daemons: GuestProcess[] = [];
  /** Daemons that must end with code 0 when asked to. */
  private readonly clean = new Set<GuestProcess>();
  private readonly undo: (() => Promise<unknown>)[] = [];
  private wires = 0;
  private files = 0;

  private constructor(guest: Guest, keys: Keys) {
    this.guest = guest;
    this.keys = keys;
    this.dir = `/tmp/scene${scenes++}`;
  }

  static async begin(): Promise<Scene> {
    const guest = await Guest.shared();
    return new Scene(guest, await keysIn(guest));
  }

  /** A path in the scene's folder that nobody else has. */
  path(name: string): string {
    return `${this.dir}/${this.files++}-${name}`;
  }

  async namespace(): Promise<Namespace> {
    const namespace = await Namespace.create(this.guest);
    this.namespaces.push(namespace);
    return namespace;
  }

  /** The network namespace a process has made for itself. */
  async adopt(pid: number): Promise<Namespace> {
    const namespace = await Namespace.adopt(this.guest, pid);
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

  /** Starts a process whose log belongs into the failure message. `clean`: must leave with code 0 on SIGTERM. */
  spawn(
    name: string,
    namespace: Namespace,
    words: readonly string[],
    options: { readonly clean?: boolean } = {},
  ): GuestProcess {
    const child = namespace.spawn(name, words);
    this.daemons.push(child);
    if (options.clean) this.clean.add(child);
    return child;
  }

  /** Runs when the scene ends, latest first, before the namespaces go. */
  atEnd(action: () => Promise<unknown>): void {
    this.undo.unshift(action);
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

  private assertAlive(during: string): void {
    for (const { name, exit, isEnding } of this.daemons) {
      if (exit === undefined || isEnding) continue;
      throw new Error(`${name} ended (${exit.code ?? `signal ${exit.signal}`}) while waiting: ${during}`);
    }
  }

  private async tails(): Promise<string> {
    const logs = this.daemons.map(({ name, exit, lines }) => {
      const state = exit === undefined ? 'running' : `ended ${exit.code ?? `signal ${exit.signal}`}`;
      return [`--- ${name} (${state})`, ...lines.slice(-TAIL_LINES)].join('\n    ');
    });
    const kernel = await this.guest.try(['sh', '-c', 'dmesg | tail -n 15']).catch(String);
    return [...logs, `--- kernel: ${typeof kernel === 'string' ? kernel : kernel.output}`].join('\n');
  }

  private async destroy(): Promise<void> {
    const complaints = await Promise.all([...this.clean].map(endCleanly));
    await Promise.all(this.daemons.map(daemon => daemon.kill()));
    for (const action of this.undo) await action();
    await Promise.all(this.namespaces.map(namespace => namespace.remove()));
    await this.guest.run(['rm', '-rf', this.dir]);
    deepStrictEqual(
      complaints.filter(text => text !== undefined),
      [],
    );
  }

  /** Runs a test body in a scene of its own; failures carry the logs of all its daemons and the kernel's. */
  static async run(body: (scene: Scene) => Promise<void>): Promise<void> {
    const scene = await Scene.begin();
    let failure: Error | undefined;
    try {
      await body(scene);
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      failure.message = `${failure.message}\n${await scene.tails()}`;
    }
    try {
      await scene.destroy();
    } catch (error) {
      failure ??= error as Error;
    }
    if (failure !== undefined) throw failure;
  }
}

async function endCleanly(daemon: GuestProcess): Promise<string | undefined> {
  if (daemon.exit !== undefined) return undefined;
  const exit = await daemon.stop('SIGTERM', CLEAN_MS).catch(() => undefined);
  if (exit === undefined) return `${daemon.name} still runs ${CLEAN_MS} ms after SIGTERM`;
  return exit.code === 0 ? undefined : `${daemon.name} answered SIGTERM with ${exit.code ?? exit.signal}`;
}
