// SPDX-License-Identifier: Apache-2.0
// A tunnel's two ends in the guest from one description. Addresses are the same whichever daemon plays which role:
// 10.8.0.0/24 and fd42:8::/64, the server being .1 and ::1.

import { strictEqual } from 'node:assert';
import type { TunnelStatus } from '../../../src/daemon/status.ts';
import {
  STOCK_CLIENT,
  STOCK_PEER_CLIENT,
  STOCK_PEER_SERVER,
  STOCK_SERVER,
  UP,
} from '../../interop/harness/openvpn.ts';
import { type Options, type Section, uciText } from '../../interop/harness/ovpnd.ts';
import { GUEST_PATIENCE_MS, until } from '../../interop/harness/wait.ts';
import type { GuestProcess } from './guest-process.ts';
import type { Namespace, Wire } from './namespace.ts';
import { reach } from './ping.ts';
import type { Scene } from './scene.ts';

export const SERVER4 = '10.8.0.1';
export const SERVER6 = 'fd42:8::1';
export const SERVER_ADDRESSES = [SERVER4, SERVER6] as const;

/** dco, plain: stock OpenVPN 2.7 with and without offload; kernel, native, js: ovpnd on that plane; auto: its own choice. */
export type Kind = 'dco' | 'plain' | 'kernel' | 'native' | 'js' | 'auto';

export interface Agreement {
  readonly cipher?: 'AES-256-GCM' | 'CHACHA20-POLY1305';
  /** IP version outside the tunnel. */
  readonly family?: 4 | 6;
  /** Nothing is pushed. */
  readonly mode?: 'p2p';
}

/** What only one end is told. */
export interface Extra {
  /** Lines of a stock configuration. */
  readonly lines?: readonly string[];
  /** Options of ovpnd's own section. */
  readonly options?: Options;
  /** Further sections of ovpnd's file. */
  readonly sections?: readonly Section[];
  /** Words in front of the command: `setpriv ...`. */
  readonly before?: readonly string[];
  /** In place of `ovpnd`. */
  readonly program?: readonly string[];
  /** False where the test ends it in its own way. */
  readonly clean?: boolean;
}

export interface End {
  readonly kind: Kind;
  readonly namespace: Namespace;
  readonly process: GuestProcess;
  readonly device: string;
  readonly ovpnd?: Ovpnd;
}

const isStock = (kind: Kind): kind is 'dco' | 'plain' => kind === 'dco' || kind === 'plain';

/** What the log of stock OpenVPN says exactly when packets go through the kernel. */
export const DCO_USED = /^DCO device \S+ opened/;

/** One ovpnd process with a folder of its own for configuration and run-time files. */
export class Ovpnd {
  readonly tunnel: string;
  /** Of its configuration, in the guest. */
  readonly dir: string;
  readonly process: GuestProcess;
  private readonly namespace: Namespace;
  private readonly runDir: string;

  private constructor(namespace: Namespace, tunnel: string, dir: string, process: GuestProcess) {
    this.namespace = namespace;
    this.tunnel = tunnel;
    this.dir = dir;
    this.runDir = `${dir}/run`;
    this.process = process;
  }

  static async start(scene: Scene, namespace: Namespace, sections: readonly Section[], extra: Extra = {}) {
    const tunnel = sections[0]!.name;
    const dir = `${scene.dir}/${namespace.name}-${tunnel}`;
    const runDir = `${dir}/run`;
    await scene.guest.write(`${dir}/ovpnd`, uciText(sections));
    const { before = [], program = ['ovpnd'] } = extra;
    const words = [...before, ...program, 'run', tunnel, '-c', dir, '-r', runDir];
    const name = `ovpnd ${tunnel} in ${namespace.name}`;
    const process = scene.spawn(name, namespace, words, { clean: extra.clean ?? true });
    return new Ovpnd(namespace, tunnel, dir, process);
  }

  get device(): string {
    return `ov-${this.tunnel}`.slice(0, 15);
  }

  /** Runs another command of the same executable against this daemon. */
  ask(...words: readonly string[]) {
    return this.namespace.try(['ovpnd', ...words, '-r', this.runDir], { ms: GUEST_PATIENCE_MS });
  }

  /** Asks again when a daemon with handshakes to do on an emulated processor does not come to answer. */
  async status(): Promise<TunnelStatus> {
    const output = await until('ovpnd status', GUEST_PATIENCE_MS, async () => {
      const { code, output } = await this.ask('status', this.tunnel, '--json');
      if (code === 0) return output;
      if (!output.includes('Request timed out')) throw new Error(`ovpnd status: exit ${code}\n${output}`);
      return undefined;
    });
    const status = JSON.parse(output) as TunnelStatus | TunnelStatus[];
    return Array.isArray(status) ? status[0]! : status;
  }
}

async function startStock(
  scene: Scene,
  namespace: Namespace,
  kind: 'dco' | 'plain',
  identity: { ca: string; cert: string; key: string },
  lines: readonly string[],
): Promise<End> {
  const { ca, cert, key } = identity;
  const all = ['dev tun0', 'verb 3', 'suppress-timestamps'];
  if (kind === 'plain') all.push('disable-dco');
  for (const line of [...lines, `ca ${ca}`, `cert ${cert}`, `key ${key}`]) {
    const word = line.split(' ')[0]!;
    const at = word === 'push' ? -1 : all.findIndex(old => old.split(' ')[0] === word);
    if (at >= 0) all[at] = line;
    else all.push(line);
  }
  const path = scene.path(`${namespace.name}-openvpn.conf`);
  await scene.guest.write(path, `${all.join('\n')}\n`);
  const name = `openvpn in ${namespace.name}`;
  const process = scene.spawn(name, namespace, ['openvpn', '--config', path]);
  return { kind, namespace, process, device: 'tun0' };
}

function stockLines(agreement: Agreement, tlsCrypt: string): string[] {
  const lines = [`proto udp${agreement.family ?? 4}`, `tls-crypt ${tlsCrypt}`];
  if (agreement.cipher !== undefined) lines.push(`data-ciphers ${agreement.cipher}`);
  return lines;
}

function uciOptions(kind: Kind, agreement: Agreement, tlsCrypt: string): Options {
  return {
    enabled: '1',
    data_plane: kind,
    mode: agreement.mode,
    tls_crypt: tlsCrypt,
    data_ciphers: agreement.cipher === undefined ? undefined : [agreement.cipher],
    log_level: process.env.OVPND_TEST_LOG,
  };
}

/** Starts a server and waits until it listens. */
export async function startServer(
  scene: Scene,
  namespace: Namespace,
  kind: Kind,
  agreement: Agreement,
  extra: Extra = {},
): Promise<End> {
  const { server, staticKey } = scene.keys;
  if (isStock(kind)) {
    const isP2p = agreement.mode === 'p2p';
    const base = isP2p ? STOCK_PEER_SERVER : STOCK_SERVER;
    const lines = [...base, ...stockLines(agreement, staticKey), ...(extra.lines ?? [])];
    const end = await startStock(scene, namespace, kind, server, lines);
    // Without a peer it is never complete.
    if (isP2p) await listening(scene, namespace);
    else await end.process.line(UP);
    return end;
  }
  const options: Options = {
    ...uciOptions(kind, agreement, staticKey),
    ...server,
    port: '1194',
    proto: [`udp${agreement.family ?? 4}`],
    address: [agreement.mode === 'p2p' ? '10.8.0.1 10.8.0.2' : '10.8.0.1/24', 'fd42:8::1/64'],
    ...extra.options,
  };
  const sections: Section[] = [{ type: 'server', name: 'home', options }, ...(extra.sections ?? [])];
  const ovpnd = await Ovpnd.start(scene, namespace, sections, extra);
  await listening(scene, namespace);
  return { kind, namespace, process: ovpnd.process, device: ovpnd.device, ovpnd };
}

export async function listening(scene: Scene, namespace: Namespace): Promise<void> {
  await scene.until(`a server listens in ${namespace.name}`, GUEST_PATIENCE_MS, async () =>
    (await namespace.run(['ss', '-Hlun', 'sport', '=', ':1194'])).includes(':1194'),
  );
}

/** Starts client `number` (0...9) at the right end of a wire; does not wait. */
export async function startClient(
  scene: Scene,
  wire: Wire,
  kind: Kind,
  agreement: Agreement,
  extra: Extra & { readonly number?: number } = {},
): Promise<End> {
  const { clients, staticKey } = scene.keys;
  const identity = clients[extra.number ?? 0]!;
  const remote = agreement.family === 6 ? wire.left6 : wire.left4;
  if (isStock(kind)) {
    const lines = [
      ...(agreement.mode === 'p2p' ? STOCK_PEER_CLIENT : STOCK_CLIENT),
      `remote ${remote} 1194 udp${agreement.family ?? 4}`,
      ...stockLines(agreement, staticKey),
      ...(extra.lines ?? []),
    ];
    return startStock(scene, wire.right, kind, identity, lines);
  }
  const options: Options = {
    ...uciOptions(kind, agreement, staticKey),
    ...identity,
    remote: [`${remote} 1194 udp${agreement.family ?? 4}`],
    address: agreement.mode === 'p2p' ? ['10.8.0.2 10.8.0.1', 'fd42:8::2/64'] : undefined,
    ...extra.options,
  };
  const sections: Section[] = [{ type: 'client', name: 'office', options }, ...(extra.sections ?? [])];
  const ovpnd = await Ovpnd.start(scene, wire.right, sections, extra);
  return { kind, namespace: wire.right, process: ovpnd.process, device: ovpnd.device, ovpnd };
}

/** Fails when an end's packets take another way than its kind says. */
export async function assertPlane(end: End): Promise<void> {
  if (end.kind === 'dco') await end.process.line(DCO_USED);
  if (end.kind === 'plain')
    strictEqual(end.process.find(DCO_USED), undefined, 'offload although switched off');
  if (end.kind === 'kernel' || end.kind === 'native' || end.kind === 'js') {
    strictEqual((await end.ovpnd!.status()).data_plane.name, end.kind);
  }
  const isOffloaded = end.kind === 'dco' || end.kind === 'kernel';
  if (end.kind !== 'auto') strictEqual((await end.namespace.tunnels()).includes(end.device), isOffloaded);
}

export interface Tunnel {
  readonly wire: Wire;
  readonly server: End;
  readonly client: End;
}

/** Server left, client right, answering pings. */
export async function up(
  scene: Scene,
  kinds: { readonly server: Kind; readonly client: Kind },
  agreement: Agreement = {},
  extra: { readonly server?: Extra; readonly client?: Extra } = {},
): Promise<Tunnel> {
  const wire = await scene.pair();
  const server = await startServer(scene, wire.left, kinds.server, agreement, extra.server);
  const client = await startClient(scene, wire, kinds.client, agreement, extra.client);
  await reach(scene, wire.right, SERVER4);
  await assertPlane(server);
  await assertPlane(client);
  return { wire, server, client };
}
