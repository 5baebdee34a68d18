// SPDX-License-Identifier: Apache-2.0
// The data plane in TypeScript: the readable reference of what the other planes do, with the semantics of the
// Linux `ovpn` module (drivers/net/ovpn) and, beyond it, P_DATA_V1, inner messages and routes.
//
// A received packet passes, in this order: key slot by key id, decryption, replay window, mark alive, float,
// protocol check, reverse path check, delivery. Each step that refuses it has a drop counter.
//
// The sink may call back into the plane from any of its functions: state is complete before the sink is called,
// and what is used after a call is looked at again.

import { type Ip, type Path, type Prefix, pathKey } from '../core/address.ts';
import type { Crypto } from '../core/crypto.ts';
import {
  type KeySlot,
  PEER_ID_UNDEF,
  type PeerRecord,
  type PlaneCapabilities,
  type PlaneKey,
  type PlanePeer,
  type PlanePeerChange,
} from '../core/plane.ts';
import { DROP_REASONS, type DropReason } from './drops.ts';
import * as inner from './inner.ts';
import * as keys from './keys.ts';
import { clampMss, mssLimit } from './mss.ts';
import * as peers from './peers.ts';
import type { PacketPlane, PlaneMode, PlaneResult, PlaneSink } from './plane.ts';
import { RouteTable } from './routes.ts';

/** More peers than a process that encrypts in JavaScript can serve. */
const PEERS_MAX = 4096;

export interface JsPlaneOptions {
  readonly mode: PlaneMode;
  readonly crypto: Crypto;
  readonly sink: PlaneSink;
  /** Outer packet size that TCP segments are cut to; absent or 0: as they come. */
  readonly mssfix?: number;
  /** Packets from one peer to another go out again at once. */
  readonly clientToClient?: boolean;
  /** For tests: other limits than KEY_LIMITS. */
  readonly limits?: Partial<keys.KeyLimits>;
  /** For tests: fewer peers than PEERS_MAX. */
  readonly peersMax?: number;
}

/** A plane in this process; the caller owns it and feeds it packets and ticks. */
export function createJsPlane(options: JsPlaneOptions): PacketPlane {
  return new JsPlane(options);
}

class JsPlane implements PacketPlane {
  readonly name = 'js';
  readonly capabilities: PlaneCapabilities;
  readonly #mode: PlaneMode;
  readonly #crypto: Crypto;
  readonly #sink: PlaneSink;
  readonly #limits: keys.KeyLimits;
  readonly #mssfix: number;
  readonly #clientToClient: boolean;
  readonly #peers = new Map<number, peers.Peer>();
  readonly #paths = new peers.PathIndex();
  readonly #routes = new RouteTable<peers.Peer>();
  readonly #opener = new keys.PacketOpener();
  readonly #drops = Object.fromEntries(DROP_REASONS.map(reason => [reason, 0])) as Record<DropReason, number>;
  /** Not later than the first ping or expiry: packets only move those further away. */
  #deadlineMs: number | undefined;

  constructor(options: JsPlaneOptions) {
    this.#mode = options.mode;
    this.#crypto = options.crypto;
    this.#sink = options.sink;
    this.#limits = { ...keys.KEY_LIMITS, ...options.limits };
    this.#mssfix = options.mssfix ?? 0;
    this.#clientToClient = options.clientToClient === true && options.mode === 'mp';
    const maxPeers = options.mode === 'p2p' ? 1 : (options.peersMax ?? PEERS_MAX);
    this.capabilities = {
      dataV1: true,
      inner: true,
      tcp: true,
      epoch: true,
      ownsPeerRoutes: false,
      maxPeers,
    };
  }

  addPeer(peer: PlanePeer, now: number): PlaneResult {
    const wrong = peers.checkPeer(this.#mode, peer) ?? this.#checkRoom(peer);
    if (wrong !== undefined) return wrong;
    // A point-to-point plane has one peer: a new one takes the place of the old, even under the same id.
    const replaced = this.#mode === 'p2p' ? this.#sole() : undefined;
    if (replaced !== undefined) this.#remove(replaced);
    const added = peers.createPeer(peer, now);
    this.#peers.set(added.peerId, added);
    this.#paths.place(added);
    this.#addAddresses(added);
    this.#setRoutes(added, peers.copyRoutes(peer.routes));
    this.#wake(peers.keepaliveDue(added));
    if (replaced !== undefined) {
      this.#sink.notice({ kind: 'peerDeleted', peerId: replaced.peerId, reason: 'teardown' });
    }
    return undefined;
  }

  setPeer(change: PlanePeerChange, now: number): PlaneResult {
    const peer = this.#peers.get(change.peerId);
    if (peer === undefined) return noPeer(change.peerId);
    const wrong = peers.checkChange(this.#mode, change) ?? this.#checkAddresses(change, peer);
    if (wrong !== undefined) return wrong;
    this.#removeAddresses(peer);
    if (change.vpnIp4 !== undefined) peer.vpnIp4 = ownAddress(change.vpnIp4);
    if (change.vpnIp6 !== undefined) peer.vpnIp6 = ownAddress(change.vpnIp6);
    this.#addAddresses(peer);
    if (change.routes !== undefined) this.#setRoutes(peer, peers.copyRoutes(change.routes));
    if (change.path !== undefined) {
      this.#move(peer, change.path);
      this.#paths.place(peer);
    }
    if (change.keepalive !== undefined) {
      peer.keepalive = { ...change.keepalive };
      peer.lastSentMs = now;
      peer.lastAliveMs = now;
      this.#wake(peers.keepaliveDue(peer));
    }
    return undefined;
  }

  delPeer(peerId: number, _now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    this.#remove(peer);
    this.#sink.notice({ kind: 'peerDeleted', peerId, reason: 'userspace' });
    return undefined;
  }

  addKey(key: PlaneKey, _now: number): PlaneResult {
    const peer = this.#peers.get(key.peerId);
    if (peer === undefined) return noPeer(key.peerId);
    const wrong = keys.checkKey(key) ?? peers.checkFormat(peer, key.format);
    if (wrong !== undefined) return wrong;
    const added = keys.createKey(this.#crypto, key, this.#limits);
    peers.dropKey(peer, key.slot);
    peer[key.slot] = added;
    return undefined;
  }

  swapKeys(peerId: number, _now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    if (peer.secondary === undefined) return { code: 'ENOENT', text: `peer ${peerId}: no secondary key` };
    [peer.primary, peer.secondary] = [peer.secondary, peer.primary];
    return undefined;
  }

  delKey(peerId: number, slot: KeySlot, _now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    peers.dropKey(peer, slot);
    return undefined;
  }

  peers(): PeerRecord[] {
    return [...this.#peers.values()].map(peers.toRecord);
  }

  drops(): Readonly<Record<DropReason, number>> {
    return { ...this.#drops };
  }

  close(): void {
    for (const peer of [...this.#peers.values()]) this.#remove(peer);
    this.#deadlineMs = undefined;
  }

  fromNetwork(path: Path, datagram: Uint8Array, now: number): void {
    this.#count(this.#receive(path, datagram, now));
  }

  fromTun(packet: Uint8Array, now: number): void {
    this.#count(this.#forward(packet, now));
  }

  sendInner(peerId: number, payload: Uint8Array, now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    if (this.#transmit(peer, payload, now)) return undefined;
    return { code: 'ENOENT', text: `peer ${peerId}: no primary key` };
  }

  tick(now: number): void {
    if (this.#deadlineMs === undefined || now < this.#deadlineMs) return;
    this.#deadlineMs = undefined;
    for (const peer of this.#peers.values()) {
      const due = peers.keepaliveDue(peer);
      if (due !== undefined && now >= due) this.#keepAlive(peer, now);
      if (!peer.isGone) this.#wake(peers.keepaliveDue(peer));
    }
  }

  deadline(): number | undefined {
    return this.#deadlineMs;
  }

  /** Expires the peer or pings it; one of the two is due. */
  #keepAlive(peer: peers.Peer, now: number): void {
    if (now - peer.lastAliveMs >= peer.keepalive.timeoutS * 1000) {
      this.#remove(peer);
      this.#sink.notice({ kind: 'peerDeleted', peerId: peer.peerId, reason: 'expired' });
      return;
    }
    // Also without a key: the next try is an interval away.
    peer.lastSentMs = now;
    this.#transmit(peer, inner.PING, now);
  }

  #receive(path: Path, datagram: Uint8Array, now: number): DropReason | undefined {
    if (datagram.length === 0) return 'short';
    const opcode = datagram[0]! >> 3;
    if (opcode !== keys.P_DATA_V1 && opcode !== keys.P_DATA_V2) return 'opcode';
    const headerLength = opcode === keys.P_DATA_V1 ? keys.V1_HEADER_LENGTH : keys.V2_HEADER_LENGTH;
    if (datagram.length < headerLength + keys.LEAST_OVERHEAD) return 'short';
    const peer = this.#sender(path, datagram, headerLength);
    if (peer === undefined) return 'unknown-peer';
    peer.counters.linkRxBytes += datagram.length;
    peer.counters.linkRxPackets++;

    const key = peers.keyFor(peer, datagram[0]! & 7);
    if (key === undefined) return 'no-key';
    const receiver = keys.receiverFor(key, datagram, headerLength, this.#limits);
    if (typeof receiver === 'string') return receiver;
    const payload = this.#opener.open(key, receiver, datagram, headerLength);
    if (payload === undefined) {
      if (receiver.failures > this.#limits.failuresSoft) this.#warn(peer, key);
      return 'auth';
    }
    if (!receiver.replay.accept(keys.packetId(key, datagram, headerLength), now)) return 'replay';
    keys.follow(key, receiver);
    keys.countPacket(key, datagram.length);
    peer.lastAliveMs = now;
    this.#follow(peer, path);
    this.#warn(peer, key);
    return peer.isGone ? undefined : this.#take(peer, payload, now);
  }

  #sender(path: Path, datagram: Uint8Array, headerLength: number): peers.Peer | undefined {
    if (headerLength === keys.V1_HEADER_LENGTH) return this.#paths.find(path);
    const peerId = (datagram[1]! << 16) | (datagram[2]! << 8) | datagram[3]!;
    const peer = peerId === PEER_ID_UNDEF ? this.#paths.find(path) : this.#peers.get(peerId);
    // Who is on a connection stays on it, and nobody moves onto one.
    const isBound = path.tcp === true || peer?.path.tcp === true;
    return isBound && peer !== undefined && !peers.isSameRemote(peer.path, path) ? undefined : peer;
  }

  /** An authentic, new packet came by `path`: the peer is there now. */
  #follow(peer: peers.Peer, path: Path): void {
    if (peers.isSameRemote(peer.path, path)) {
      if (peers.isNewLocal(peer.path, path)) peer.path = peers.copyPath(path);
      return;
    }
    this.#move(peer, path);
    this.#paths.append(peer);
    this.#sink.notice({ kind: 'peerFloated', peerId: peer.peerId, path: peer.path });
  }

  /** Takes the peer from its path to another; the caller puts it into the index there. */
  #move(peer: peers.Peer, path: Path): void {
    this.#paths.remove(peer);
    peer.path = peers.copyPath(path);
    peer.pathKey = pathKey(path);
  }

  /** Protocol check, reverse path check, delivery. */
  #take(peer: peers.Peer, payload: Uint8Array, now: number): DropReason | undefined {
    const version = inner.ipVersion(payload);
    if (version === 0) {
      if (inner.isPing(payload)) return undefined;
      if (!inner.isOcc(payload)) return payload.length === 0 ? 'empty' : 'protocol';
      this.#sink.inner(peer.peerId, payload);
      return undefined;
    }
    if (this.#mode === 'mp') {
      const at = inner.sourceAt(version);
      if (this.#routes.find(payload, at, inner.addressLength(version)) !== peer) {
        // Every IPv6 host sends these when its interface comes up; they are no sign of spoofing.
        return inner.isLinkLocal(payload, at, version) ? 'link-local' : 'reverse-path';
      }
    }
    const next = this.#clientToClient ? this.#nextHop(payload, version) : undefined;
    if (next !== undefined && next !== peer) {
      countReceived(peer, payload);
      return this.#pass(next, payload, now);
    }
    this.#sink.deliver(this.#clamped(peer, payload));
    countReceived(peer, payload);
    return undefined;
  }

  /** An IP packet for a peer. Counted before there is a key, as the kernel does. */
  #pass(peer: peers.Peer, packet: Uint8Array, now: number): DropReason | undefined {
    peer.counters.vpnTxBytes += packet.length;
    peer.counters.vpnTxPackets++;
    return this.#transmit(peer, this.#clamped(peer, packet), now) ? undefined : 'no-peer-key';
  }

  #forward(packet: Uint8Array, now: number): DropReason | undefined {
    const version = inner.ipVersion(packet);
    if (version === 0) return 'not-ip';
    const peer = this.#mode === 'p2p' ? this.#sole() : this.#nextHop(packet, version);
    if (peer === undefined) return this.#mode === 'p2p' ? 'no-peer' : noHopReason(packet, version);
    return this.#pass(peer, packet, now);
  }

  #clamped(peer: peers.Peer, packet: Uint8Array): Uint8Array {
    if (this.#mssfix === 0) return packet;
    const overhead = peer.header.length + keys.overheadOf(peer.primary?.format ?? 'aead');
    const limit = (version: 4 | 6): number => mssLimit(this.#mssfix, peer.path, overhead, version);
    return clampMss(packet, limit(4), limit(6));
  }

  #nextHop(packet: Uint8Array, version: 4 | 6): peers.Peer | undefined {
    const at = inner.destinationAt(version);
    // Not even to a peer that has the default route.
    if (inner.isGroup(packet, at, version)) return undefined;
    return this.#routes.find(packet, at, inner.addressLength(version));
  }

  /** Encrypts and sends; false when the peer has no key for it (any more). */
  #transmit(peer: peers.Peer, payload: Uint8Array, now: number): boolean {
    const key = peer.primary;
    if (key === undefined) return false;
    peer.header[0] = (peer.opcode << 3) | key.keyId;
    const datagram = keys.sealPacket(key, peer.header, payload, this.#limits);
    if (datagram === undefined) {
      // The secondary is not promoted: it may be the old key, which the other end is about to forget.
      peers.dropKey(peer, 'primary');
      this.#sink.notice({ kind: 'keyExhausted', peerId: peer.peerId, keyId: key.keyId });
      return false;
    }
    peer.lastSentMs = now;
    keys.countPacket(key, datagram.length);
    peer.counters.linkTxBytes += datagram.length;
    peer.counters.linkTxPackets++;
    this.#sink.send(peer.path, datagram);
    this.#warn(peer, key);
    return true;
  }

  /** Tells once that the primary key nears its limits; any other key is on its way out already. */
  #warn(peer: peers.Peer, key: keys.DataKey): void {
    if (peer.primary !== key || key.isExpiryTold || !keys.isExpiring(key, this.#limits)) return;
    key.isExpiryTold = true;
    this.#sink.notice({ kind: 'keyExpiring', peerId: peer.peerId, keyId: key.keyId });
  }

  #sole(): peers.Peer | undefined {
    for (const peer of this.#peers.values()) return peer;
    return undefined;
  }

  #checkRoom(peer: PlanePeer): PlaneResult {
    if (this.#mode === 'p2p') return undefined;
    if (this.#peers.has(peer.peerId)) return { code: 'EEXIST', text: `peer id ${peer.peerId} is in use` };
    if (this.#peers.size >= this.capabilities.maxPeers) {
      return { code: 'ENOSPC', text: `${this.capabilities.maxPeers} peers are all there can be` };
    }
    return this.#checkAddresses(peer, undefined);
  }

  /** VPN addresses are unique, and a peer among many always has one. */
  #checkAddresses(change: PlanePeerChange, peer: peers.Peer | undefined): PlaneResult {
    for (const ip of [change.vpnIp4, change.vpnIp6]) {
      const owner = ip === undefined ? undefined : this.#routes.host(ip);
      if (owner !== undefined && owner !== peer) {
        return { code: 'EADDRINUSE', text: `peer ${owner.peerId} has this VPN address` };
      }
    }
    const left = [change.vpnIp4 ?? peer?.vpnIp4, change.vpnIp6 ?? peer?.vpnIp6];
    if (this.#mode === 'mp' && left.every(ip => ip === undefined || peers.isUnspecified(ip))) {
      return { code: 'EINVAL', text: 'a peer among many needs a VPN address' };
    }
    return undefined;
  }

  #addAddresses(peer: peers.Peer): void {
    for (const ip of [peer.vpnIp4, peer.vpnIp6]) if (ip !== undefined) this.#routes.addHost(ip, peer);
  }

  #removeAddresses(peer: peers.Peer): void {
    for (const ip of [peer.vpnIp4, peer.vpnIp6]) if (ip !== undefined) this.#routes.removeHost(ip);
  }

  #setRoutes(peer: peers.Peer, routes: readonly Prefix[]): void {
    for (const route of peer.routes) this.#routes.removeNetwork(route, peer);
    peer.routes = routes;
    for (const route of routes) this.#routes.addNetwork(route, peer);
  }

  #remove(peer: peers.Peer): void {
    peer.isGone = true;
    this.#peers.delete(peer.peerId);
    this.#paths.remove(peer);
    this.#removeAddresses(peer);
    this.#setRoutes(peer, []);
    peers.dropKey(peer, 'primary');
    peers.dropKey(peer, 'secondary');
  }

  #wake(due: number | undefined): void {
    if (due === undefined) return;
    this.#deadlineMs = Math.min(due, this.#deadlineMs ?? due);
  }

  #count(reason: DropReason | undefined): void {
    if (reason !== undefined) this.#drops[reason]++;
  }
}

function countReceived({ counters }: peers.Peer, payload: Uint8Array): void {
  counters.vpnRxBytes += payload.length;
  counters.vpnRxPackets++;
}

function noHopReason(packet: Uint8Array, version: 4 | 6): DropReason {
  if (inner.isLinkLocal(packet, inner.sourceAt(version), version)) return 'link-local';
  return inner.isGroup(packet, inner.destinationAt(version), version) ? 'group' : 'no-route';
}

/** A copy; undefined for the unspecified address, with which a command takes an address away. */
function ownAddress(ip: Ip): Ip | undefined {
  return peers.isUnspecified(ip) ? undefined : ip.slice();
}

function noPeer(peerId: number): PlaneResult {
  return { code: 'ENOENT', text: `no peer ${peerId}` };
}
