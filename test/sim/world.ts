// SPDX-License-Identifier: Apache-2.0
// A world from one seed: a server, a few clients, a wire, a clock, traffic both ways and a ledger that knows every
// inner packet ever sent. Everything real but time, chance and the network.

import type { Endpoint } from '../../src/core/address.ts';
import { newClient } from '../../src/core/clientstate.ts';
import type { CipherName, Crypto } from '../../src/core/crypto.ts';
import type { CoreDeps } from '../../src/core/event.ts';
import { buildOptions } from '../../src/core/options.ts';
import { buildPeerInfo } from '../../src/core/peerinfo.ts';
import { newServer, type ServerState } from '../../src/core/server.ts';
import type { TlsFactory } from '../../src/core/tls.ts';
import type { WrapKeys } from '../../src/core/wrap.ts';
import { nonceChecked, SimNode } from './node.ts';
import { type Chance, createChance } from './random.ts';
import { Wire } from './wire.ts';

const SERVER: Endpoint = { ip: new Uint8Array([10, 0, 0, 1]), port: 1194 };
const CLIENTS = 3;
const TRAFFIC_MS = 500;
const CIPHERS: readonly CipherName[] = ['AES-256-GCM', 'CHACHA20-POLY1305', 'AES-128-GCM'];

export interface WorldParts {
  readonly seed: number;
  readonly crypto: Crypto;
  readonly serverTls: TlsFactory;
  /** Of client n; its certificate's common name is `client<n>`. */
  readonly clientTls: (n: number) => TlsFactory;
  readonly wrap: (role: 'client' | 'server') => WrapKeys;
}

interface Member {
  readonly node: SimNode;
  readonly vpn: Uint8Array;
}

export class World {
  readonly wire: Wire;
  readonly server: SimNode;
  readonly serverState: ServerState;
  readonly clients: Member[] = [];
  readonly #chance: Chance;
  /** Inner packets on their way: content to receiver's name. Each may arrive once. */
  readonly #sent = new Map<string, string>();
  #serial = 0;
  #trafficAt = 1000;
  delivered = 0;

  constructor(parts: WorldParts) {
    this.#chance = createChance(parts.seed);
    this.wire = new Wire(this.#chance);
    const crypto = nonceChecked(parts.crypto, new Set());
    const deps = (tls: TlsFactory): CoreDeps => ({
      crypto,
      random: length => this.#chance.bytes(length),
      tls,
      wallS: () => 1_700_000_000 + Math.floor(this.wire.now / 1000),
    });
    const ciphers = [CIPHERS[parts.seed % CIPHERS.length]!];
    let state: ServerState | undefined;
    this.server = new SimNode(this.wire, 'mp', crypto, SERVER.ip, plane => {
      state = newServer(
        {
          wrap: parts.wrap('server'),
          capabilities: plane.capabilities,
          addresses: [{ ip: new Uint8Array([10, 8, 0, 1]), bits: 24 }],
          peers: Array.from({ length: CLIENTS }, (_, n) => ({
            name: `client${n}`,
            enabled: true,
            commonName: `client${n}`,
            addresses: [new Uint8Array([10, 8, 0, 10 + n])],
            routes: [],
          })),
          maxClients: 16,
          duplicateCn: false,
          ciphers,
          push: [],
          pushRoutes: [],
          ping: 10,
          pingRestart: 30,
          handWindowS: 60,
          renegS: parts.seed % 2 === 0 ? 45 : 0,
          tunMtu: 1500,
          occ: buildOptions({
            role: 'server',
            transport: 'udp',
            tunMtu: 1500,
            tlsAuth: false,
            digest: 'SHA1',
          }),
          explicitExitNotify: true,
          network: {
            device: 's',
            mtu: 1500,
            addresses: [],
            routes: [],
            outside: [],
            dns: { servers: [], domains: [] },
          },
        },
        deps(parts.serverTls),
      );
      return { server: state };
    });
    this.serverState = state!;
    this.server.listen(SERVER.port);
    for (let n = 0; n < CLIENTS; n++) this.#addClient(n, parts, ciphers, deps(parts.clientTls(n)));
    this.server.dispatch({ kind: 'start' });
    for (const client of this.clients) client.node.dispatch({ kind: 'start' });
  }

  #addClient(n: number, parts: WorldParts, ciphers: readonly CipherName[], deps: CoreDeps): void {
    const node = new SimNode(this.wire, 'p2p', deps.crypto, new Uint8Array([10, 0, 1, n + 1]), plane => ({
      client: newClient(
        {
          wrap: parts.wrap('client'),
          capabilities: plane.capabilities,
          remotes: [{ host: '10.0.0.1', port: SERVER.port, family: 4 }],
          remoteRandom: false,
          ciphers,
          handWindowS: 60,
          renegS: 30 + n * 7,
          ping: 10,
          pingRestart: 30,
          retryFirstS: 1,
          retryMaxS: 8,
          pollTimeoutS: 20,
          tunMtu: 1500,
          occ: '',
          // With and without the exporter, with and without being asked, with and without the epoch format.
          peerInfo: buildPeerInfo([
            ['IV_PROTO', String([142, 134, 138][(parts.seed + n) % 3]! + ((parts.seed >> n) & 1) * 1024)],
            ['IV_CIPHERS', ciphers.join(':')],
          ]),
          device: 'c',
          routes: [],
          routeNopull: false,
          pullDns: true,
          redirectGateway: false,
          killSwitch: false,
          metric: 0,
          explicitExitNotify: true,
        },
        deps,
      ),
    }));
    this.clients.push({ node, vpn: new Uint8Array([10, 8, 0, 10 + n]) });
  }

  /** Lets `ms` of virtual time pass. Throws when anything a hostile wire must not achieve has happened. */
  run(ms: number): void {
    const end = this.wire.now + ms;
    const nodes = [this.server, ...this.clients.map(client => client.node)];
    while (this.wire.now < end) {
      const next = Math.min(this.wire.nextAt(), this.#trafficAt, ...nodes.map(node => node.nextAt()));
      // A deadline in the past is served now; time stands still only as long as there is work.
      this.wire.now = Math.min(end, Math.max(this.wire.now, next));
      this.wire.deliver();
      for (const node of nodes) if (node.nextAt() <= this.wire.now) node.tick();
      if (this.#trafficAt <= this.wire.now) this.#traffic();
      this.#checkDelivered();
    }
  }

  #traffic(): void {
    this.#trafficAt = this.wire.now + TRAFFIC_MS;
    for (const [n, client] of this.clients.entries()) {
      this.#send(client.node, client.vpn, new Uint8Array([10, 8, 0, 1]), 'server');
      this.#send(this.server, new Uint8Array([10, 8, 0, 1]), client.vpn, `client${n}`);
    }
  }

  #send(node: SimNode, source: Uint8Array, destination: Uint8Array, receiver: string): void {
    const packet = new Uint8Array(24 + this.#chance.below(100));
    packet[0] = 0x45;
    packet.set(source, 12);
    packet.set(destination, 16);
    new DataView(packet.buffer).setUint32(20, this.#serial++);
    this.#sent.set(Buffer.from(packet).toString('base64'), receiver);
    node.plane.fromTun(packet, this.wire.now);
  }

  #checkDelivered(): void {
    const take = (node: SimNode, name: string): void => {
      for (const packet of node.delivered.splice(0)) {
        const key = Buffer.from(packet).toString('base64');
        if (this.#sent.get(key) !== name) throw new Error(`${name} got a packet that was forged or repeated`);
        this.#sent.delete(key);
        this.delivered++;
      }
    };
    take(this.server, 'server');
    for (const [n, client] of this.clients.entries()) take(client.node, `client${n}`);
  }

  /** Names of clients without a data path in both directions within `ms` of calm. */
  unreachable(ms: number): string[] {
    this.run(ms - 5000);
    const before = this.clients.map(client => counters(client.node));
    this.run(5000);
    return this.clients.flatMap((client, n) => {
      const after = counters(client.node);
      const isUp = after.rx > before[n]!.rx && after.tx > before[n]!.tx;
      return isUp ? [] : [`client${n}: ${client.node.log.slice(-3).join(' | ')}`];
    });
  }
}

function counters(node: SimNode): { rx: number; tx: number } {
  const record = node.plane.peers()[0];
  return { rx: record?.counters.vpnRxPackets ?? 0, tx: record?.counters.vpnTxPackets ?? 0 };
}
