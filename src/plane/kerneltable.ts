// SPDX-License-Identifier: Apache-2.0
// The peers of the kernel plane as they are wanted: by id and by VPN address, with what the kernel would refuse
// refused beforehand, in the words of the other planes.

import { ipKey } from '../core/address.ts';
import type { PeerCounters, PlanePeer, PlanePeerChange } from '../core/plane.ts';
import type { KernelPeer } from './kernelpeers.ts';
import { isUnspecified } from './peers.ts';
import type { PlaneMode, PlaneResult } from './plane.ts';

/** Peer ids are 24 bits, and the last one means none. */
const PEERS_MAX = 0xffffff;
/** Final counters kept. */
const FINALS_MAX = 256;

export class PeerTable {
  readonly maxPeers: number;
  readonly #mode: PlaneMode;
  readonly #peers = new Map<number, KernelPeer>();
  readonly #vpnIps = new Map<string, KernelPeer>();
  readonly #finals = new Map<number, PeerCounters>();
  #serial = 0;

  constructor(mode: PlaneMode) {
    this.#mode = mode;
    this.maxPeers = mode === 'p2p' ? 1 : PEERS_MAX;
  }

  get size(): number {
    return this.#peers.size;
  }

  /** The number of the newest peer. */
  get serial(): number {
    return this.#serial;
  }

  nextSerial(): number {
    this.#serial += 1;
    return this.#serial;
  }

  get(peerId: number): KernelPeer | undefined {
    return this.#peers.get(peerId);
  }

  /** Whether this very peer is there, not only one of its id. */
  has(peer: KernelPeer): boolean {
    return this.#peers.get(peer.peerId) === peer;
  }

  /** A copy: what is done with one peer may bring others to their end. */
  all(): KernelPeer[] {
    return [...this.#peers.values()];
  }

  /** The peer that a new one takes the place of. */
  replacedByNew(): KernelPeer | undefined {
    return this.#mode === 'p2p' ? this.all()[0] : undefined;
  }

  add(peer: KernelPeer): void {
    this.#peers.set(peer.peerId, peer);
    this.#place(peer);
  }

  remove(peer: KernelPeer): void {
    this.#unplace(peer);
    this.#peers.delete(peer.peerId);
    // The newest at the end.
    this.#finals.delete(peer.peerId);
    this.#finals.set(peer.peerId, { ...peer.counters });
    for (const oldest of this.#finals.keys()) {
      if (this.#finals.size <= FINALS_MAX) break;
      this.#finals.delete(oldest);
    }
  }

  clear(): void {
    this.#peers.clear();
    this.#vpnIps.clear();
  }

  /** Lets `change` give the peer other VPN addresses. */
  readdress(peer: KernelPeer, change: () => void): void {
    this.#unplace(peer);
    change();
    this.#place(peer);
  }

  finalCounters(peerId: number): PeerCounters | undefined {
    return this.#finals.get(peerId);
  }

  /** Whether there is room for a new peer with this id and these addresses. */
  checkRoom(peer: PlanePeer): PlaneResult {
    if (this.#mode === 'p2p') return undefined;
    if (this.#peers.has(peer.peerId)) return { code: 'EEXIST', text: `peer id ${peer.peerId} is in use` };
    if (this.#peers.size >= this.maxPeers) {
      return { code: 'ENOSPC', text: `${this.maxPeers} peers are all there can be` };
    }
    return this.checkAddresses(peer, undefined);
  }

  /** VPN addresses are unique, and a peer among many always has one. */
  checkAddresses(change: PlanePeerChange, peer: KernelPeer | undefined): PlaneResult {
    for (const ip of [change.vpnIp4, change.vpnIp6]) {
      const owner = ip === undefined ? undefined : this.#vpnIps.get(ipKey(ip));
      if (owner !== undefined && owner !== peer) {
        return { code: 'EADDRINUSE', text: `peer ${owner.peerId} has this VPN address` };
      }
    }
    const left = [change.vpnIp4 ?? peer?.vpnIp4, change.vpnIp6 ?? peer?.vpnIp6];
    if (this.#mode === 'mp' && left.every(ip => ip === undefined || isUnspecified(ip))) {
      return { code: 'EINVAL', text: 'a peer among many needs a VPN address' };
    }
    return undefined;
  }

  #place(peer: KernelPeer): void {
    for (const ip of [peer.vpnIp4, peer.vpnIp6]) if (ip !== undefined) this.#vpnIps.set(ipKey(ip), peer);
  }

  #unplace(peer: KernelPeer): void {
    for (const ip of [peer.vpnIp4, peer.vpnIp6]) if (ip !== undefined) this.#vpnIps.delete(ipKey(ip));
  }
}
