// SPDX-License-Identifier: Apache-2.0
// A bench for one endpoint of the core: virtual time, a plane that refuses nonsense, and a look at every step's
// effects, whose order is part of their meaning.

import type { Path } from '../../../src/core/address.ts';
import { parseIp } from '../../../src/core/address.ts';
import { sameBytes } from '../../../src/core/bytes.ts';
import { stepClient } from '../../../src/core/client.ts';
import { type ClientOptions, type ClientState, newClient } from '../../../src/core/clientstate.ts';
import type { CoreDeps, Effect, Event, Notice } from '../../../src/core/event.ts';
import type { WantedNetwork } from '../../../src/core/network.ts';
import type { PlaneCommand, PlaneKey, PlanePeer } from '../../../src/core/plane.ts';
import { newServer, type ServerOptions, type ServerState, stepServer } from '../../../src/core/server.ts';
import type { TlsFactory } from '../../../src/core/tls.ts';
import { noWrap } from '../../../src/core/wrap.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { createChance } from '../../sim/random.ts';

export const crypto = nobleCrypto();
/** Where the clocks of all benches begin: not at zero, and with a fraction of a second. */
export const T0 = 5_000_300;
const TICKS_AT_ONCE_MAX = 1000;

export const ip = (text: string) => parseIp(text)!;

export function coreDeps(tls: TlsFactory, seed = 1): CoreDeps {
  const chance = createChance(seed);
  return { crypto, random: length => chance.bytes(length), tls, wallS: () => 1_700_000_000 };
}

export const NO_NETWORK: WantedNetwork = {
  device: 'tun0',
  mtu: 1500,
  addresses: [],
  routes: [],
  outside: [],
  dns: { servers: [], domains: [] },
};

export function serverOptions(more: Partial<ServerOptions> = {}): ServerOptions {
  return {
    wrap: noWrap(),
    capabilities: {
      dataV1: true,
      inner: true,
      tcp: false,
      epoch: false,
      maxPeers: 1024,
      ownsPeerRoutes: false,
    },
    addresses: [{ ip: ip('10.8.0.1'), bits: 24 }],
    peers: [],
    maxClients: 8,
    duplicateCn: false,
    ciphers: ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'],
    push: [],
    pushRoutes: [],
    ping: 10,
    pingRestart: 60,
    handWindowS: 60,
    renegS: 3600,
    tunMtu: 1500,
    occ: 'V4,dev-type tun,tls-server',
    explicitExitNotify: true,
    network: NO_NETWORK,
    ...more,
  };
}

export function clientOptions(more: Partial<ClientOptions> = {}): ClientOptions {
  return {
    wrap: noWrap(),
    capabilities: { dataV1: true, inner: true, tcp: false, epoch: false, maxPeers: 1, ownsPeerRoutes: false },
    remotes: [{ host: '192.0.2.1', port: 1194, family: 0 }],
    remoteRandom: false,
    ciphers: ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'],
    handWindowS: 60,
    renegS: 3600,
    ping: 10,
    pingRestart: 60,
    retryFirstS: 1,
    retryMaxS: 300,
    pollTimeoutS: 120,
    tunMtu: 1500,
    occ: 'V4,dev-type tun,tls-client',
    peerInfo: '',
    device: 'tun0',
    routes: [],
    routeNopull: false,
    pullDns: true,
    redirectGateway: false,
    killSwitch: false,
    metric: 0,
    explicitExitNotify: true,
    ...more,
  };
}

/** Peer and key tables that throw at any command a real plane would refuse. */
export class FakePlane {
  readonly peers = new Map<number, { peer: PlanePeer; primary?: PlaneKey; secondary?: PlaneKey }>();
  readonly inner: Uint8Array[] = [];
  readonly commands: PlaneCommand[] = [];

  apply(command: PlaneCommand): void {
    this.commands.push(command);
    if (command.op === 'addPeer') {
      const { peer } = command;
      if (this.peers.has(peer.peerId)) throw new Error(`addPeer: ${peer.peerId} exists`);
      for (const other of this.peers.values()) {
        const isTaken = peer.vpnIp4 && other.peer.vpnIp4 && sameBytes(peer.vpnIp4, other.peer.vpnIp4);
        if (isTaken) throw new Error(`addPeer: ${peer.vpnIp4} is in use`);
      }
      this.peers.set(peer.peerId, { peer });
      return;
    }
    const peerId = command.op === 'addKey' ? command.key.peerId : 'peerId' in command ? command.peerId : -1;
    const record = this.peers.get(peerId);
    if (record === undefined) throw new Error(`${command.op}: no peer ${peerId}`);
    if (command.op === 'delPeer') this.peers.delete(peerId);
    else if (command.op === 'addKey') record[command.key.slot] = command.key;
    else if (command.op === 'sendInner') this.inner.push(command.payload);
    else if (command.op === 'swapKeys') {
      const { primary, secondary } = record;
      if (primary === undefined || secondary === undefined) throw new Error('swapKeys: a slot is empty');
      Object.assign(record, { primary: secondary, secondary: primary });
    } else if (command.op === 'delKey') {
      if (record[command.slot] === undefined) throw new Error(`delKey: no ${command.slot} key`);
      delete record[command.slot];
    }
  }

  /** Key ids as `primary/secondary`, for short. */
  keys(peerId = 0): string {
    const record = this.peers.get(peerId);
    return `${record?.primary?.keyId ?? '-'}/${record?.secondary?.keyId ?? '-'}`;
  }
}

const RANK: Readonly<Record<Effect['kind'], number>> = {
  setPlane: 0,
  setNet: 1,
  notify: 2,
  askAuth: 2,
  askTraffic: 2,
  resolve: 2,
  openSocket: 2,
  send: 3,
  closeSocket: 3,
  exit: 3,
  setTimer: 4,
};

/** Plane, network, the rest, sends, one timer: a peer never hears of a key that is not installed yet. */
function checkOrder(effects: readonly Effect[]): void {
  let last = 0;
  for (const { kind } of effects) {
    // A socket is closed after the last packet through it; where else it stands does not matter.
    if (kind === 'closeSocket') continue;
    if (RANK[kind] < last) throw new Error(`out of order: ${effects.map(effect => effect.kind).join(' ')}`);
    last = RANK[kind];
  }
  if (effects.filter(({ kind }) => kind === 'setTimer').length !== 1) throw new Error('not one setTimer');
}

export interface Sent {
  readonly path: Path;
  readonly bytes: Uint8Array;
}

export class Bench {
  now = T0;
  timerAt: number | undefined;
  isOver = false;
  readonly plane = new FakePlane();
  readonly notices: Notice[] = [];
  readonly networks: WantedNetwork[] = [];
  /** Of all steps since it was last emptied. */
  readonly sent: Sent[] = [];
  readonly others: Effect[] = [];
  /** When set, commands are not carried out (a plane that refuses). */
  isPlaneOff = false;
  readonly #step: (event: Event, now: number) => Effect[];
  #ticksAtOnce = 0;

  constructor(step: (event: Event, now: number) => Effect[]) {
    this.#step = step;
  }

  step(event: Event): Effect[] {
    const effects = this.#step(event, this.now);
    checkOrder(effects);
    for (const effect of effects) this.#apply(effect);
    return effects;
  }

  #apply(effect: Effect): void {
    if (effect.kind === 'setPlane' && !this.isPlaneOff) this.plane.apply(effect.command);
    else if (effect.kind === 'setNet') this.networks.push(effect.network);
    else if (effect.kind === 'notify') this.notices.push(effect.notice);
    else if (effect.kind === 'send') this.sent.push({ path: effect.path, bytes: effect.bytes });
    else if (effect.kind === 'setTimer') this.timerAt = effect.at;
    else if (effect.kind === 'exit') this.isOver = true;
    else if (effect.kind !== 'setPlane') this.others.push(effect);
  }

  /** Lets time pass, with every tick asked for. Throws when the endpoint asks for ticks without end. */
  pass(ms: number, then: () => void = () => {}): void {
    const end = this.now + ms;
    while (!this.isOver && this.timerAt !== undefined && this.timerAt <= end) {
      this.#ticksAtOnce = this.timerAt <= this.now ? this.#ticksAtOnce + 1 : 0;
      if (this.#ticksAtOnce > TICKS_AT_ONCE_MAX) throw new Error('busy loop');
      this.now = Math.max(this.now, this.timerAt);
      this.step({ kind: 'tick' });
      then();
    }
    this.now = end;
  }

  /** What was sent since the last call. */
  takeSent(): Sent[] {
    return this.sent.splice(0);
  }

  /** The last notice, as a log would show it. */
  lastText(): string {
    return this.notices.at(-1)?.text ?? '';
  }

  texts(): string[] {
    return this.notices.map(notice => notice.text);
  }

  /** How the last notice of this action ended: what follows the colon. */
  actions(): string[] {
    return this.notices.flatMap(notice => notice.action ?? []);
  }
}

export interface ServerBench extends Bench {
  readonly state: ServerState;
}

export function serverBench(tls: TlsFactory, more: Partial<ServerOptions> = {}, seed = 1): ServerBench {
  const state = newServer(serverOptions(more), coreDeps(tls, seed));
  const bench = new Bench((event, now) => stepServer(state, event, now));
  return Object.assign(bench, { state });
}

export interface ClientBench extends Bench {
  readonly state: ClientState;
}

export function clientBench(tls: TlsFactory, more: Partial<ClientOptions> = {}, seed = 2): ClientBench {
  const state = newClient(clientOptions(more), coreDeps(tls, seed));
  const bench = new Bench((event, now) => stepClient(state, event, now));
  return Object.assign(bench, { state });
}
