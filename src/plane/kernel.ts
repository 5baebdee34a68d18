// SPDX-License-Identifier: Apache-2.0
// The data plane in the Linux `ovpn` module: commands become generic netlink requests, notifications and dumps of
// the kernel become notices. The semantics are those of js.ts where the kernel lets them be; what it does otherwise:
// no P_DATA_V1, no inner messages, and networks behind a peer are routes of the system, which this plane installs.
//
// The kernel deletes peers by itself and may lose the message that says so, and others may meddle. What is wanted is
// therefore compared with what is there: after each notification that matters by asking for that one peer, every few
// seconds and after lost notifications by a dump. Whatever does not agree is a peer that is deleted and reported;
// the control plane then makes a new one with new keys. Keys are never put in a second time: packet ids, and so
// nonces, would begin anew.

import type { Prefix } from '../core/address.ts';
import type {
  DelReason,
  KeySlot,
  PeerCounters,
  PeerRecord,
  PlaneCapabilities,
  PlaneKey,
  PlaneNotice,
  PlanePeer,
  PlanePeerChange,
} from '../core/plane.ts';
import type { KernelGround } from './kernelground.ts';
import { OvpnModule } from './kernelmodule.ts';
import {
  applyChange,
  changeConfig,
  configOf,
  createKernelKey,
  createKernelPeer,
  deletionReason,
  type KernelPeer,
  recordOf,
  swapSlots,
  USAGE_LIMITS,
  type UsageLimits,
} from './kernelpeers.ts';
import { ENODEV, failureOf, isProblem, type KernelProblem } from './kernelrequests.ts';
import { PeerRoutes } from './kernelroutes.ts';
import { PeerTable } from './kerneltable.ts';
import { KernelWatch } from './kernelwatch.ts';
import { checkKey } from './keys.ts';
import { checkChange, checkPeer } from './peers.ts';
import type { PacketPlane, PlaneResult } from './plane.ts';

export interface KernelSink {
  notice(notice: PlaneNotice): void;
  /** One line for the log. */
  warn(text: string): void;
  /** The device is gone: nothing works any more. Said once. */
  broken(reason: string): void;
}

export interface KernelPlaneOptions {
  /** Owned by the plane from now on. */
  readonly ground: KernelGround;
  /** The device's own networks. */
  readonly addresses: readonly Prefix[];
  /** The descriptor of one of the daemon's sockets. */
  readonly socketFd: (socket: number) => number | undefined;
  /** Whether a socket is a stream. Absent: none is. */
  readonly isStream?: (socket: number) => boolean;
  readonly monotonicMs: () => number;
  readonly sink: KernelSink;
  /** For tests: other limits than USAGE_LIMITS. */
  readonly limits?: Partial<UsageLimits>;
}

/**
 * Packets do not come through this process. The owner watches `noticeFd` for readability, then calls receive().
 *
 * A UDP socket must be bound before its first peer is added; control packets pass by it as before. A TCP socket must
 * be connected and handed over between two records: whoever reads it reads the two bytes of length, then exactly so
 * many, and never ahead. Afterwards one receive gives one record, length included, and what does not fit is lost.
 */
export interface KernelPlane extends PacketPlane {
  readonly noticeFd: number;
  /** Takes what the kernel has to tell. */
  receive(now: number): void;
  /** The device was down and is up again: routes to networks behind peers come back. */
  restoreRoutes(): void;
  /** Counters of a peer at its deletion, for the newest deletions; those of one the kernel deleted may be old. */
  finalCounters(peerId: number): PeerCounters | undefined;
}

/** A plane on a device that openKernelGround() made. */
export function createKernelPlane(options: KernelPlaneOptions): KernelPlane {
  return new ModulePlane(options);
}

class ModulePlane implements KernelPlane {
  readonly name = 'kernel';
  readonly capabilities: PlaneCapabilities;
  readonly noticeFd: number;
  readonly #options: KernelPlaneOptions;
  readonly #ground: KernelGround;
  readonly #module: OvpnModule;
  readonly #sink: KernelSink;
  readonly #routes: PeerRoutes;
  readonly #peers: PeerTable;
  readonly #watch: KernelWatch;
  /** Data packets that came to user space, because no peer was on their socket. */
  #strays = 0;
  #isBroken = false;

  constructor(options: KernelPlaneOptions) {
    const { ground, sink, addresses } = options;
    this.#options = options;
    this.#ground = ground;
    this.#sink = sink;
    this.noticeFd = ground.notices.fd;
    this.#module = new OvpnModule(ground.generic, ground.target);
    this.#routes = new PeerRoutes(ground.route, ground.target.ifindex, addresses, text => sink.warn(text));
    this.#peers = new PeerTable(ground.mode);
    this.#watch = new KernelWatch({
      ground,
      module: this.#module,
      peers: this.#peers,
      limits: { ...USAGE_LIMITS, ...options.limits },
      notice: notice => sink.notice(notice),
      lose: (peer, reason) => this.#lose(peer, reason),
      gone: () => this.#break(),
    });
    this.capabilities = {
      dataV1: false,
      inner: false,
      tcp: true,
      epoch: false,
      ownsPeerRoutes: true,
      maxPeers: this.#peers.maxPeers,
    };
  }

  restoreRoutes(): void {
    if (!this.#isBroken) this.#routes.restore();
  }

  // ---- commands

  addPeer(peer: PlanePeer, now: number): PlaneResult {
    const { path } = peer;
    const wrong = checkPeer(this.#ground.mode, peer) ?? this.#checkAble(peer) ?? this.#peers.checkRoom(peer);
    if (wrong !== undefined) return wrong;
    const fd = this.#options.socketFd(path.socket);
    if (fd === undefined) return { code: 'EINVAL', text: `no socket ${path.socket}` };
    const problem = this.#module.addPeer(configOf(peer, this.#isStream(path.socket)), fd);
    if (problem !== undefined) {
      // A peer nobody wants may have the VPN address.
      this.#watch.wantDump(now);
      return this.#refused(problem);
    }
    const replaced = this.#peers.replacedByNew();
    if (replaced !== undefined) this.#forget(replaced);
    const added = createKernelPeer(peer, this.#peers.nextSerial());
    this.#peers.add(added);
    this.#routes.add(added);
    this.#watch.added(now);
    if (replaced !== undefined) this.#tellDeleted(replaced.peerId, 'teardown');
    return this.#startKeepalive(added, now);
  }

  /**
   * Only now: given along with a new peer, the kernel's keepalive worker may run before the peer is in its table,
   * find nobody and never run again.
   */
  #startKeepalive(peer: KernelPeer, now: number): PlaneResult {
    const { peerId, keepalive } = peer;
    if (keepalive.intervalS === 0 || keepalive.timeoutS === 0) return undefined;
    const config = changeConfig({ peerId, keepalive }, this.#isStream(peer.path.socket));
    const problem = config && this.#module.setPeer(config);
    return problem === undefined ? undefined : this.#disagree(peer, problem, now);
  }

  setPeer(change: PlanePeerChange, now: number): PlaneResult {
    const peer = this.#peers.get(change.peerId);
    if (peer === undefined) return noPeer(change.peerId);
    const wrong = checkChange(this.#ground.mode, change) ?? this.#peers.checkAddresses(change, peer);
    if (wrong !== undefined) return wrong;
    const { socket } = peer.path;
    if (change.path !== undefined && change.path.socket !== socket) {
      return { code: 'EOPNOTSUPP', text: 'a peer cannot move to another socket' };
    }
    const config = changeConfig(change, this.#isStream(socket));
    const problem = config && this.#module.setPeer(config);
    if (problem !== undefined) return this.#disagree(peer, problem, now);
    this.#routes.remove(peer);
    this.#peers.readdress(peer, () => applyChange(peer, change));
    this.#routes.add(peer);
    return undefined;
  }

  delPeer(peerId: number, now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    // While a route leads to a peer that is gone, its packets are lost; without it they go another way.
    this.#routes.remove(peer);
    const actual = this.#module.peer(peerId);
    if (!isProblem(actual)) peer.counters = { ...actual.counters };
    const problem = this.#module.deletePeer(peerId);
    this.#forget(peer);
    // It is gone for us; the dump finds it again and deletes it.
    if (problem !== undefined) this.#watch.wantDump(now);
    this.#tellDeleted(peerId, 'userspace');
    return undefined;
  }

  addKey(key: PlaneKey, _now: number): PlaneResult {
    const peer = this.#peers.get(key.peerId);
    if (peer === undefined) return noPeer(key.peerId);
    const wrong = checkKey(key);
    if (wrong !== undefined) return wrong;
    if (key.format !== 'aead') return { code: 'EOPNOTSUPP', text: 'the kernel has no epoch format' };
    const problem = this.#module.addKey(key);
    // The control plane gives the peer up then, so it does not matter which key is in the slot.
    if (problem !== undefined) return this.#refused(problem);
    peer[key.slot] = createKernelKey(peer, key);
    return undefined;
  }

  swapKeys(peerId: number, now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    if (peer.secondary === undefined) return { code: 'ENOENT', text: `peer ${peerId}: no secondary key` };
    // The kernel swaps an empty slot too, and then nothing is sent any more.
    const there = this.#module.keyIn(peerId, 'secondary');
    if (isProblem(there)) return this.#disagree(peer, there, now);
    if (there !== peer.secondary.keyId) {
      return this.#disagree(peer, unexpected(`the secondary key of peer ${peerId} has id ${there}`), now);
    }
    const problem = this.#module.swapKeys(peerId);
    if (problem !== undefined) return this.#disagree(peer, problem, now);
    swapSlots(peer);
    return undefined;
  }

  delKey(peerId: number, slot: KeySlot, now: number): PlaneResult {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return noPeer(peerId);
    const problem = this.#module.deleteKey(peerId, slot);
    if (problem !== undefined) return this.#disagree(peer, problem, now);
    peer[slot] = undefined;
    return undefined;
  }

  sendInner(): PlaneResult {
    return { code: 'EOPNOTSUPP', text: 'the kernel sends IP packets only' };
  }

  fromNetwork(): void {
    this.#strays++;
  }

  fromTun(): void {}

  // ---- what is there

  /** Counters are at most a second old. */
  peers(): PeerRecord[] {
    this.#watch.refresh(this.#options.monotonicMs());
    return this.#peers.all().map(recordOf);
  }

  finalCounters(peerId: number): PeerCounters | undefined {
    return this.#peers.finalCounters(peerId);
  }

  drops(): Readonly<Record<string, number>> {
    return { 'unknown-peer': this.#strays };
  }

  close(): void {
    const peers = this.#peers.all();
    const failure = this.#ground.close();
    this.#routes.forget();
    this.#peers.clear();
    this.#watch.stop();
    if (failure === undefined) return;
    this.#sink.warn(`device ${this.#ground.device} stays: ${failure}`);
    // No key stays usable.
    for (const peer of peers) this.#module.deletePeer(peer.peerId);
    this.#module.close();
  }

  deadline(): number | undefined {
    return this.#watch.deadline();
  }

  tick(now: number): void {
    this.#watch.tick(now);
  }

  receive(now: number): void {
    this.#watch.receive(now);
  }

  // ---- ends

  #refused(problem: KernelProblem): PlaneResult {
    if (problem.errno === ENODEV) this.#break();
    return failureOf(problem);
  }

  /** A command on a peer failed that should not have: the peer is given up, and made anew with new keys. */
  #disagree(peer: KernelPeer, problem: KernelProblem, now: number): PlaneResult {
    if (this.#module.deletePeer(peer.peerId) !== undefined) this.#watch.wantDump(now);
    this.#lose(peer, undefined);
    return this.#refused(problem);
  }

  /** The peer is gone without our doing. */
  #lose(peer: KernelPeer, reason: number | undefined): void {
    if (!this.#peers.has(peer)) return;
    this.#forget(peer);
    this.#tellDeleted(peer.peerId, deletionReason(reason));
  }

  #forget(peer: KernelPeer): void {
    this.#routes.remove(peer);
    this.#peers.remove(peer);
  }

  #tellDeleted(peerId: number, reason: DelReason): void {
    this.#sink.notice({ kind: 'peerDeleted', peerId, reason });
  }

  #break(): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#routes.forget();
    this.#watch.stop();
    for (const peer of this.#peers.all()) this.#lose(peer, undefined);
    this.#sink.broken(`device ${this.#ground.device} is gone`);
  }

  // ---- small things

  #isStream(socket: number): boolean {
    return this.#options.isStream?.(socket) === true;
  }

  #checkAble(peer: PlanePeer): PlaneResult {
    if (peer.format === 'v1') return { code: 'EOPNOTSUPP', text: 'the kernel knows P_DATA_V2 only' };
    if (peer.txId === undefined || peer.txId === peer.peerId || this.#ground.hasTxId) return undefined;
    return { code: 'EOPNOTSUPP', text: 'this kernel sends and receives with one peer id' };
  }
}

function noPeer(peerId: number): PlaneResult {
  return { code: 'ENOENT', text: `no peer ${peerId}` };
}

function unexpected(text: string): KernelProblem {
  return { failed: true, errno: 0, text, isUnsure: false };
}
