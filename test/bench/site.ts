// SPDX-License-Identifier: Apache-2.0
// A tunnel to be measured: both ends, the wire between them, and where traffic comes from and goes to.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace, Wire } from '../interop/harness/namespace.ts';
import type { Ovpnd } from '../interop/harness/ovpnd.ts';
import { reach } from '../interop/harness/ping.ts';
import { pki } from '../interop/harness/pki.ts';
import type { Process } from '../interop/harness/process.ts';
import {
  type Agreement,
  type End,
  type Extra,
  SERVER4,
  SERVER6,
  startClient,
  startServer,
} from '../interop/harness/tunnel.ts';
import { World } from '../interop/harness/world.ts';
import type { Plan, Subject } from './plan.ts';

export const AGREEMENT = { cipher: 'AES-256-GCM', wrap: 'tls-crypt', family: 4 } as const;
export const CHACHA = { ...AGREEMENT, cipher: 'CHACHA20-POLY1305' } as const;

/** `--fast-io` and large buffers (the kernel cuts them to net.core.[rw]mem_max). */
export const TUNED: readonly string[] = ['fast-io', 'sndbuf 2097152', 'rcvbuf 2097152', 'txqueuelen 2000'];

export type Daemon = Subject | 'openvpn';

export interface SiteOptions {
  readonly server: Daemon;
  readonly client: Daemon;
  readonly agreement?: Agreement;
  /** Further lines of both stock ends. */
  readonly lines?: readonly string[];
  /** Further options of our server. */
  readonly options?: Extra['options'];
  /** Hosts behind both ends send the traffic. */
  readonly isForwarding?: boolean;
}

const TEST_PORT = 5201;

export class Site {
  readonly name: string;
  readonly world: World;
  readonly wire: Wire;
  /** Sends, unless asked for the other direction. */
  readonly from: Namespace;
  readonly to: Namespace;
  readonly address: string;
  readonly address6: string | undefined;
  /** Client and server: the sending end and the receiving end. */
  readonly daemons: readonly [Process, Process];
  /** Our server, for what it says of itself. */
  readonly server: Ovpnd | undefined;
  private listener: Process | undefined;

  constructor(
    parts: Pick<
      Site,
      'name' | 'world' | 'wire' | 'from' | 'to' | 'address' | 'address6' | 'daemons' | 'server'
    >,
  ) {
    this.name = parts.name;
    this.world = parts.world;
    this.wire = parts.wire;
    this.from = parts.from;
    this.to = parts.to;
    this.address = parts.address;
    this.address6 = parts.address6;
    this.daemons = parts.daemons;
    this.server = parts.server;
  }

  get pids(): number[] {
    return this.daemons.map(daemon => daemon.pid);
  }

  /** iperf3's server, for all runs. */
  async listen(): Promise<void> {
    if (this.listener !== undefined) return;
    const words = ['iperf3', '-s', '-p', String(TEST_PORT), '--forceflush'];
    this.listener = this.world.spawn('iperf3 -s', this.to, words);
    await this.listener.line(/Server listening/);
  }

  /** Checksum errors that the kernels of all namespaces have counted. */
  async checksumErrors(): Promise<number> {
    const spaces = new Set([this.from, this.to, this.wire.left, this.wire.right]);
    const texts = await Promise.all(
      [...spaces].map(space => space.run(['cat', '/proc/net/snmp', '/proc/net/snmp6'])),
    );
    return texts.reduce((sum, text) => sum + checksumErrors(text), 0);
  }
}

/** Sum of InCsumErrors of TCP and UDP in /proc/net/snmp, and of UDP in snmp6. */
export function checksumErrors(text: string): number {
  let sum = 0;
  for (const name of ['Tcp', 'Udp']) {
    const [names = '', values = ''] = text.split('\n').filter(line => line.startsWith(`${name}:`));
    const at = names.trim().split(/\s+/).indexOf('InCsumErrors');
    if (at < 0) throw new Error(`no InCsumErrors among ${name}`);
    sum += Number(values.trim().split(/\s+/)[at]);
  }
  return sum + Number(/^Udp6InCsumErrors\s+([0-9]+)/m.exec(text)?.[1] ?? 0);
}

const REAL = ['tso', 'off', 'tx-udp-segmentation', 'off', 'gso', 'on', 'gro', 'on'];

/** Makes a wire behave like a network card without UDP segmentation, and receive like a driver with GRO. */
export async function setWire(wire: Wire, model: Plan['wire']): Promise<void> {
  if (model === 'ideal') return;
  await wire.left.run(['ethtool', '-K', wire.leftDevice, ...REAL]);
  await wire.right.run(['ethtool', '-K', wire.rightDevice, ...REAL]);
}

interface Lan {
  readonly left: Wire;
  readonly right: Wire;
}

/** A host behind each end: it completes its checksums itself, its router merges what it receives. */
async function addHosts(world: World, wire: Wire): Promise<Lan> {
  const lans: Wire[] = [];
  for (const router of [wire.left, wire.right]) {
    const lan = await world.wire(router, await world.namespace());
    await lan.right.run(['ethtool', '-K', lan.rightDevice, 'tx', 'off']);
    await router.run(['ethtool', '-K', lan.leftDevice, 'gro', 'on']);
    await lan.right.ip(`route add default via ${lan.left4}`);
    lans.push(lan);
  }
  return { left: lans[0]!, right: lans[1]! };
}

const network = (address: string): string => address.replace(/\.[0-9]+$/, '.0');

/** How a server, ours or stock, learns of the networks behind it and behind its client. */
function forwardingExtra(world: World, lan: Lan): Extra {
  const [behindServer, behindClient] = [network(lan.left.left4), network(lan.right.left4)];
  const directory = join(world.dir, 'ccd');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'client0'), `iroute ${behindClient} 255.255.255.0\n`);
  return {
    lines: [
      `client-config-dir ${directory}`,
      `route ${behindClient} 255.255.255.0`,
      `push "route ${behindServer} 255.255.255.0"`,
    ],
    options: { push_route: [`${behindServer}/24`] },
    sections: [
      {
        type: 'peer',
        name: 'client0',
        options: { tunnel: 'home', common_name: 'client0', route: [`${behindClient}/24`] },
      },
    ],
  };
}

const kindOf = (daemon: Daemon): End['kind'] => (daemon === 'openvpn' ? 'openvpn' : daemon.kind);
const planeOf = (daemon: Daemon): Extra['options'] => (daemon === 'openvpn' ? {} : daemon.options);

/** Brings a tunnel up; what fails tells the logs of both ends. */
export async function openSite(name: string, model: Plan['wire'], options: SiteOptions): Promise<Site> {
  const world = new World();
  try {
    return await open(world, name, model, options);
  } catch (error) {
    const tails = world.tails();
    await world.destroy();
    throw new Error(`${name}: ${error instanceof Error ? error.message : error}\n${tails}`);
  }
}

async function open(world: World, name: string, model: Plan['wire'], options: SiteOptions): Promise<Site> {
  const { server, client, agreement = AGREEMENT, lines = [] } = options;
  const keys = await pki();
  const wire = await world.pair();
  await setWire(wire, model);
  const lan = options.isForwarding ? await addHosts(world, wire) : undefined;
  const extra = lan === undefined ? {} : forwardingExtra(world, lan);
  const serverEnd = await startServer(world, wire.left, keys, kindOf(server), agreement, {
    ...extra,
    lines: [...lines, ...(extra.lines ?? [])],
    options: { ...planeOf(server), ...extra.options, ...options.options },
  });
  const clientEnd = startClient(world, wire, keys, kindOf(client), agreement, {
    lines,
    options: planeOf(client) ?? {},
  });
  const from = lan?.right.right ?? wire.right;
  const address = lan?.left.right4 ?? SERVER4;
  await reach(world, from, address, 20_000);
  const daemons = [clientEnd.process, serverEnd.process] as const;
  const address6 = lan === undefined ? SERVER6 : undefined;
  return new Site({
    name,
    world,
    wire,
    from,
    to: lan?.left.right ?? wire.left,
    address,
    address6,
    daemons,
    server: serverEnd.ovpnd,
  });
}
