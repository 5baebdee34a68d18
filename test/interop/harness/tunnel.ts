// SPDX-License-Identifier: Apache-2.0
// A tunnel's two ends from one description, whichever daemon plays which role. Addresses are the same for both:
// 10.8.0.0/24 and fd42:8::/64, the server being .1 and ::1.

import type { Namespace, Wire } from './namespace.ts';
import { hasTcpPort, hasUdpPort } from './namespace.ts';
import {
  isStock,
  STOCK_CLIENT,
  STOCK_PEER_CLIENT,
  STOCK_PEER_SERVER,
  STOCK_SERVER,
  type Stock,
  startStock,
  UP,
} from './openvpn.ts';
import { type Options, Ovpnd, type RunOptions, type Runtime, type Section } from './ovpnd.ts';
import type { Identity, Pki, V2Keys } from './pki.ts';
import type { Process } from './process.ts';
import { PATIENCE_MS } from './wait.ts';
import type { World } from './world.ts';

export type Wrap = 'none' | 'tls-auth' | 'tls-crypt' | 'tls-crypt-v2';
export type Kind = Runtime | Stock;

export const SERVER4 = '10.8.0.1';
export const SERVER6 = 'fd42:8::1';
export const SERVER_ADDRESSES = [SERVER4, SERVER6] as const;

/** What both ends must agree on. */
export interface Agreement {
  readonly cipher?: string;
  readonly wrap?: Wrap;
  /** ovpnd has no newest version: 1.2 needs a stock end. */
  readonly tls?: '1.2' | '1.3';
  readonly family?: 4 | 6;
  /** Default udp. */
  readonly transport?: 'udp' | 'tcp';
  /** Nothing is pushed. IPv4 as a pair of addresses. */
  readonly mode?: 'p2p';
}

/** `udp4`, as both write it. */
function protoOf({ transport, family }: Agreement): string {
  return `${transport ?? 'udp'}${family ?? 4}`;
}

/** What only one end is told. */
export interface Extra {
  readonly identity?: Identity;
  /** Another static key than the run's. */
  readonly staticKey?: string;
  /** Other tls-crypt-v2 keys than the run's. */
  readonly v2?: Partial<V2Keys>;
  /** Without the wrapping that was agreed on. */
  readonly unwrapped?: boolean;
  /** Lines of a stock configuration. */
  readonly lines?: readonly string[];
  /** Options of ovpnd's own section. */
  readonly options?: Options;
  /** Further sections of ovpnd's file. */
  readonly sections?: readonly Section[];
  readonly run?: Omit<RunOptions, 'runtime'>;
}

export interface End {
  readonly kind: Kind;
  readonly process: Process;
  /** Name of its tunnel device. */
  readonly device: string;
  readonly ovpnd?: Ovpnd;
}

function stockLines(pki: Pki, agreement: Agreement, role: 'server' | 'client', extra: Extra): string[] {
  const lines = [`proto ${protoOf(agreement)}${agreement.transport === 'tcp' ? `-${role}` : ''}`];
  const key = extra.staticKey ?? pki.staticKey;
  if (agreement.cipher !== undefined) lines.push(`data-ciphers ${agreement.cipher}`);
  if (agreement.wrap === 'tls-auth') lines.push(`tls-auth ${key} ${role === 'server' ? 0 : 1}`);
  if (agreement.wrap === 'tls-crypt') lines.push(`tls-crypt ${key}`);
  if (agreement.wrap === 'tls-crypt-v2' && !extra.unwrapped)
    lines.push(`tls-crypt-v2 ${{ ...pki.v2, ...extra.v2 }[role]}`);
  if (agreement.tls === '1.2') lines.push('tls-version-max 1.2');
  if (agreement.tls === '1.3') lines.push('tls-version-min 1.3');
  return lines;
}

function uciOptions(pki: Pki, agreement: Agreement, role: 'server' | 'client', extra: Extra): Options {
  const wrap = agreement.wrap ?? 'none';
  const key = extra.staticKey ?? pki.staticKey;
  return {
    enabled: '1',
    ...extra.identity,
    data_ciphers: agreement.cipher === undefined ? undefined : [agreement.cipher],
    tls_auth: wrap === 'tls-auth' ? key : undefined,
    key_direction: wrap === 'tls-auth' ? (role === 'server' ? '0' : '1') : undefined,
    tls_crypt: wrap === 'tls-crypt' ? key : undefined,
    tls_crypt_v2: wrap === 'tls-crypt-v2' ? { ...pki.v2, ...extra.v2 }[role] : undefined,
    tls_version_min: agreement.tls,
    log_level: process.env.OVPND_TEST_LOG,
    data_threads: process.env.OVPND_TEST_THREADS,
    mode: agreement.mode,
  };
}

export function serverSections(pki: Pki, agreement: Agreement, extra: Extra): Section[] {
  const options: Options = {
    ...uciOptions(pki, agreement, 'server', { identity: pki.server, ...extra }),
    port: '1194',
    proto: [protoOf(agreement)],
    address: [agreement.mode === 'p2p' ? '10.8.0.1 10.8.0.2' : '10.8.0.1/24', 'fd42:8::1/64'],
    ...extra.options,
  };
  return [{ type: 'server', name: 'home', options }, ...(extra.sections ?? [])];
}

export function clientSections(
  pki: Pki,
  agreement: Agreement,
  remote: string,
  number: number,
  extra: Extra,
): Section[] {
  const options: Options = {
    ...uciOptions(pki, agreement, 'client', { identity: pki.clients[number]!, ...extra }),
    remote: [`${remote} 1194 ${protoOf(agreement)}`],
    address: agreement.mode === 'p2p' ? ['10.8.0.2 10.8.0.1', 'fd42:8::2/64'] : undefined,
    ...extra.options,
  };
  return [{ type: 'client', name: 'office', options }, ...(extra.sections ?? [])];
}

/** Starts a server and waits until it listens. */
export async function startServer(
  world: World,
  namespace: Namespace,
  pki: Pki,
  kind: Kind,
  agreement: Agreement,
  extra: Extra = {},
): Promise<End> {
  if (isStock(kind)) {
    const isP2p = agreement.mode === 'p2p';
    const base = isP2p ? STOCK_PEER_SERVER : STOCK_SERVER;
    const lines = [...base, ...stockLines(pki, agreement, 'server', extra), ...(extra.lines ?? [])];
    const identity = extra.identity ?? pki.server;
    const process = startStock(world, namespace, {
      kind,
      name: `server-${namespace.name}`,
      identity,
      lines,
    });
    // Without a peer it is never complete.
    if (isP2p) await listening(world, namespace, process, agreement.transport);
    else await process.line(UP);
    return { kind, process, device: 'tun0' };
  }
  const sections = serverSections(pki, agreement, extra);
  const ovpnd = new Ovpnd(world, namespace, sections, { ...extra.run, runtime: kind });
  await listening(world, namespace, ovpnd.process, agreement.transport);
  return { kind, process: ovpnd.process, device: ovpnd.device, ovpnd };
}

/** Waits until a server process in this namespace has its port. */
export function listening(
  world: World,
  namespace: Namespace,
  process: Process,
  transport: 'udp' | 'tcp' = 'udp',
): Promise<true> {
  const { pid } = process;
  const hasPort = transport === 'udp' ? hasUdpPort : hasTcpPort;
  return world.until(
    `${process.name} listens`,
    PATIENCE_MS,
    () => namespace.holds(pid) && hasPort(pid, 1194),
  );
}

/** Starts client `number` (0...9) at the right end of a wire; does not wait. */
export function startClient(
  world: World,
  wire: Wire,
  pki: Pki,
  kind: Kind,
  agreement: Agreement,
  extra: Extra & { number?: number; remote?: string } = {},
): End {
  const number = extra.number ?? 0;
  const remote = extra.remote ?? (agreement.family === 6 ? wire.left6 : wire.left4);
  if (isStock(kind)) {
    const address = `remote ${remote} 1194`;
    const lines = [
      ...(agreement.mode === 'p2p' ? STOCK_PEER_CLIENT : STOCK_CLIENT),
      address,
      ...stockLines(pki, agreement, 'client', extra),
      ...(extra.lines ?? []),
    ];
    const identity = extra.identity ?? pki.clients[number]!;
    const name = `client${number}-${wire.right.name}`;
    return { kind, process: startStock(world, wire.right, { kind, name, identity, lines }), device: 'tun0' };
  }
  const sections = clientSections(pki, agreement, remote, number, extra);
  const ovpnd = new Ovpnd(world, wire.right, sections, { ...extra.run, runtime: kind });
  return { kind, process: ovpnd.process, device: ovpnd.device, ovpnd };
}

export interface Ends {
  readonly server: Kind;
  readonly client: Kind;
}

/** What a row needs: runtimes of ovpnd, versions of OpenVPN. */
export function runtimesOf(ends: Ends): Kind[] {
  return [...new Set([ends.server, ends.client])];
}
