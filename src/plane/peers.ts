// SPDX-License-Identifier: Apache-2.0
// Peers of a user-space plane: what is kept of each, which commands are refused (with the errors of the kernel
// module), and who is found under a transport path.

import { formatIp, type Ip, type Path, type Prefix, pathKey, sameEndpoint, sameIp } from '../core/address.ts';
import type {
  DataFormat,
  Keepalive,
  KeySlot,
  PeerCounters,
  PeerRecord,
  PlanePeer,
  PlanePeerChange,
} from '../core/plane.ts';
import { type DataKey, P_DATA_V1, P_DATA_V2, V1_HEADER_LENGTH, V2_HEADER_LENGTH, wipeKey } from './keys.ts';
import type { PlaneMode, PlaneResult } from './plane.ts';

/** Peer ids are 24 bits on the wire. */
const PEER_ID_LAST = 0xffffff;
/** The kernel's bound for both keepalive times: one day. */
const KEEPALIVE_S_MAX = 86_400;
const KEEPALIVE_OFF: Keepalive = { intervalS: 0, timeoutS: 0 };

/** What a plane keeps of a peer. All values are copies of what the command gave. */
export interface Peer {
  readonly peerId: number;
  readonly opcode: typeof P_DATA_V1 | typeof P_DATA_V2;
  /** What goes in front of the packet id; the first byte is written for each packet. */
  readonly header: Uint8Array;
  /** Replaced, never changed: notices and records hand it out. */
  path: Path;
  pathKey: string;
  vpnIp4: Ip | undefined;
  vpnIp6: Ip | undefined;
  routes: readonly Prefix[];
  keepalive: Keepalive;
  lastSentMs: number;
  lastAliveMs: number;
  primary: DataKey | undefined;
  secondary: DataKey | undefined;
  /** Deleted, perhaps by the sink while a packet of this peer is under way. */
  isGone: boolean;
  readonly counters: PeerCounters;
}

/** A peer as `peer` describes it, without keys and routes; the description was checked before. */
export function createPeer(peer: PlanePeer, now: number): Peer {
  const txId = peer.txId ?? peer.peerId;
  const isV1 = peer.format === 'v1';
  const header = new Uint8Array(isV1 ? V1_HEADER_LENGTH : V2_HEADER_LENGTH);
  if (!isV1) header.set([txId >>> 16, (txId >>> 8) & 0xff, txId & 0xff], 1);
  return {
    peerId: peer.peerId,
    opcode: isV1 ? P_DATA_V1 : P_DATA_V2,
    header,
    path: copyPath(peer.path),
    pathKey: pathKey(peer.path),
    vpnIp4: peer.vpnIp4?.slice(),
    vpnIp6: peer.vpnIp6?.slice(),
    routes: [],
    keepalive: peer.keepalive === undefined ? KEEPALIVE_OFF : { ...peer.keepalive },
    lastSentMs: now,
    lastAliveMs: now,
    primary: undefined,
    secondary: undefined,
    isGone: false,
    counters: {
      vpnRxBytes: 0,
      vpnTxBytes: 0,
      vpnRxPackets: 0,
      vpnTxPackets: 0,
      linkRxBytes: 0,
      linkTxBytes: 0,
      linkRxPackets: 0,
      linkTxPackets: 0,
    },
  };
}

/** A path of our own; the caller may reuse its arrays. */
export function copyPath(path: Path): Path {
  const remote = { ...path.remote, ip: path.remote.ip.slice() };
  return path.local === undefined ? { ...path, remote } : { ...path, remote, local: path.local.slice() };
}

export function copyRoutes(routes: readonly Prefix[] | undefined): readonly Prefix[] {
  return (routes ?? []).map(route => ({ ip: route.ip.slice(), bits: route.bits }));
}

/** Same socket and same remote endpoint; the own address is no part of a peer's identity. */
export function isSameRemote(a: Path, b: Path): boolean {
  return a.socket === b.socket && sameEndpoint(a.remote, b.remote);
}

/** Whether `path` names an own address other than `known` does. */
export function isNewLocal(known: Path, path: Path): boolean {
  if (path.local === undefined) return false;
  return known.local === undefined || !sameIp(known.local, path.local);
}

/** Milliseconds of the next ping or expiry, undefined when keepalive is off: one time alone is off, too. */
export function keepaliveDue(peer: Peer): number | undefined {
  const { intervalS, timeoutS } = peer.keepalive;
  if (intervalS === 0 || timeoutS === 0) return undefined;
  return Math.min(peer.lastSentMs + intervalS * 1000, peer.lastAliveMs + timeoutS * 1000);
}

/** With one key id in both slots the primary has it; the secondary is not tried after it. */
export function keyFor(peer: Peer, keyId: number): DataKey | undefined {
  if (peer.primary?.keyId === keyId) return peer.primary;
  return peer.secondary?.keyId === keyId ? peer.secondary : undefined;
}

/** Whether the peer's packets can have the format. */
export function checkFormat(peer: Peer, format: DataFormat): PlaneResult {
  return format === 'aead-epoch' && peer.opcode === P_DATA_V1
    ? { code: 'EOPNOTSUPP', text: 'P_DATA_V1 has no epoch format' }
    : undefined;
}

/** Takes a key out of its slot and wipes it; nothing happens when the slot is empty. */
export function dropKey(peer: Peer, slot: KeySlot): void {
  const key = peer[slot];
  if (key === undefined) return;
  peer[slot] = undefined;
  wipeKey(key);
}

/** The peer as status shows it; counters are a snapshot. */
export function toRecord(peer: Peer): PeerRecord {
  const { primary, secondary } = peer;
  return {
    peerId: peer.peerId,
    path: peer.path,
    ...(peer.vpnIp4 && { vpnIp4: peer.vpnIp4 }),
    ...(peer.vpnIp6 && { vpnIp6: peer.vpnIp6 }),
    keepalive: peer.keepalive,
    ...(primary && { primary: { keyId: primary.keyId, cipher: primary.cipher } }),
    ...(secondary && { secondary: { keyId: secondary.keyId, cipher: secondary.cipher } }),
    counters: { ...peer.counters },
  };
}

/** Wrong whatever the other peers are. */
export function checkPeer(mode: PlaneMode, peer: PlanePeer): PlaneResult {
  for (const id of [peer.peerId, peer.txId ?? 0]) {
    if (!Number.isInteger(id) || id < 0 || id > PEER_ID_LAST) return invalid(`peer id ${id} is not 24 bits`);
  }
  if (mode === 'mp' && peer.vpnIp4 === undefined && peer.vpnIp6 === undefined) {
    return invalid('a peer among many needs a VPN address');
  }
  for (const ip of [peer.vpnIp4, peer.vpnIp6]) {
    if (ip !== undefined && isUnspecified(ip)) {
      return { code: 'EADDRNOTAVAIL', text: `${formatIp(ip)} is no VPN address` };
    }
  }
  return checkChange(mode, peer);
}

/** As checkPeer for what a change brings; an unspecified VPN address (0.0.0.0, ::) takes one away. */
export function checkChange(mode: PlaneMode, change: PlanePeerChange): PlaneResult {
  if (change.path !== undefined && !isPath(change.path)) return invalid('no usable transport path');
  if (mode === 'p2p' && (change.vpnIp4 !== undefined || change.vpnIp6 !== undefined)) {
    return invalid('the peer of a point-to-point plane has no VPN address');
  }
  if (change.vpnIp4 !== undefined && change.vpnIp4.length !== 4) return invalid('no IPv4 address');
  if (change.vpnIp6 !== undefined && change.vpnIp6.length !== 16) return invalid('no IPv6 address');
  for (const ip of [change.vpnIp4, change.vpnIp6]) {
    if (ip !== undefined && isReserved(ip)) {
      return { code: 'EADDRNOTAVAIL', text: `${formatIp(ip)} is no VPN address` };
    }
  }
  for (const route of change.routes ?? []) {
    const width = route.ip.length * 8;
    if ((width !== 32 && width !== 128) || !isWhole(route.bits, width)) return invalid('no network');
  }
  for (const seconds of [change.keepalive?.intervalS ?? 0, change.keepalive?.timeoutS ?? 0]) {
    if (!isWhole(seconds, KEEPALIVE_S_MAX)) return invalid(`keepalive of ${seconds} s`);
  }
  return undefined;
}

export function isUnspecified(ip: Ip): boolean {
  return ip.every(byte => byte === 0);
}

/** Loopback, multicast, broadcast. */
function isReserved(ip: Ip): boolean {
  if (ip.length === 4) return ip[0] === 127 || ip[0]! >> 4 === 0xe || ip.every(byte => byte === 0xff);
  return ip[0] === 0xff || (ip[15] === 1 && isUnspecified(ip.subarray(0, 15)));
}

function isPath(path: Path): boolean {
  const { ip, port } = path.remote;
  if (path.local !== undefined && path.local.length !== ip.length) return false;
  return (ip.length === 4 || ip.length === 16) && isWhole(port, 0xffff) && port > 0;
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}

function invalid(text: string): PlaneResult {
  return { code: 'EINVAL', text };
}

/** Peers by transport path, for packets that carry no peer id. */
export class PathIndex {
  readonly #peers = new Map<string, Peer[]>();

  find(path: Path): Peer | undefined {
    return this.#peers.get(pathKey(path))?.[0];
  }

  /** A peer that the control plane put on its path: it is the one found there. */
  place(peer: Peer): void {
    this.#at(peer.pathKey).unshift(peer);
  }

  /** A peer that floated to its path: who was there first stays the one found, or a float could cut it off. */
  append(peer: Peer): void {
    this.#at(peer.pathKey).push(peer);
  }

  remove(peer: Peer): void {
    const peers = this.#peers.get(peer.pathKey);
    const index = peers?.indexOf(peer) ?? -1;
    if (peers === undefined || index < 0) return;
    peers.splice(index, 1);
    if (peers.length === 0) this.#peers.delete(peer.pathKey);
  }

  #at(key: string): Peer[] {
    let peers = this.#peers.get(key);
    if (peers === undefined) {
      peers = [];
      this.#peers.set(key, peers);
    }
    return peers;
  }
}
