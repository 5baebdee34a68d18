// SPDX-License-Identifier: Apache-2.0
// Keeps an eye on the kernel's peers: reads its notifications, and compares what is there with what is wanted.
//
// One timer: the next dump. It comes every few seconds while there are peers, and soon after notifications were lost
// or a command left doubt, but never twice in a second; it also feeds the counters, and with them the warning that a
// key nears its end.

import { earlier } from '../core/event.ts';
import type { PlaneNotice } from '../core/plane.ts';
import { readMessages } from '../netlink/message.ts';
import { decodeOvpn, OVPN_COMMAND, type OvpnMessage, type OvpnPeer } from '../netlink/ovpn.ts';
import type { KernelGround } from './kernelground.ts';
import type { OvpnModule } from './kernelmodule.ts';
import { hasMoved, isExpiring, type KernelPeer, pathOf, type UsageLimits } from './kernelpeers.ts';
import { ENODEV, ENOENT, isProblem, isSocketFailure } from './kernelrequests.ts';
import type { PeerTable } from './kerneltable.ts';

/** Never more than one dump in this time. */
export const DUMP_INTERVAL_MIN_MS = 1000;
/** How often what is wanted is compared with what is there. */
export const DUMP_INTERVAL_MS = 10_000;
/** The same on kernels that do not tell when a peer floats. */
export const FLOAT_POLL_MS = 3000;
/** Datagrams of notifications read in one go. */
const NOTICES_MAX = 4096;

export interface WatchParts {
  readonly ground: KernelGround;
  readonly module: OvpnModule;
  readonly peers: PeerTable;
  readonly limits: UsageLimits;
  readonly notice: (notice: PlaneNotice) => void;
  /** The kernel has no such peer any more; `reason` is its word for why, if there was one. */
  readonly lose: (peer: KernelPeer, reason: number | undefined) => void;
  /** The device is no more. */
  readonly gone: () => void;
}

export class KernelWatch {
  readonly #parts: WatchParts;
  #dumpedAt = Number.NEGATIVE_INFINITY;
  #dumpAt: number | undefined;
  /** A dump that is not yet compared; peers made after `serial` are not in it. */
  #dumped: { readonly peers: readonly OvpnPeer[]; readonly serial: number } | undefined;
  #isStopped = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** A peer has been added. */
  added(now: number): void {
    this.#dumpAt ??= now + this.#period();
  }

  /** There is doubt about what the kernel has. */
  wantDump(now: number): void {
    if (this.#isStopped) return;
    this.#dumpAt = earlier(this.#dumpAt, Math.max(now, this.#dumpedAt + DUMP_INTERVAL_MIN_MS));
  }

  /** Brings counters up to date, unless they were a moment ago. Gives no notices: those come with the next tick. */
  refresh(now: number): void {
    if (this.#isStopped || this.#parts.peers.size === 0) return;
    if (now >= this.#dumpedAt + DUMP_INTERVAL_MIN_MS) this.#dump(now);
  }

  stop(): void {
    this.#isStopped = true;
    this.#dumpAt = undefined;
    this.#dumped = undefined;
  }

  deadline(): number | undefined {
    return this.#dumped === undefined ? this.#dumpAt : earlier(this.#dumpedAt, this.#dumpAt);
  }

  tick(now: number): void {
    if (this.#dumped === undefined && (this.#dumpAt === undefined || now < this.#dumpAt)) return;
    if (this.#dumped === undefined) this.#dump(now);
    const dumped = this.#dumped;
    if (dumped === undefined) return;
    this.#dumped = undefined;
    // What the kernel has told by now says why a peer is missing.
    this.receive(now);
    this.#compare(dumped.peers, dumped.serial, now);
  }

  receive(now: number): void {
    for (let i = 0; i < NOTICES_MAX && !this.#isStopped; i++) {
      const datagram = this.#parts.ground.notices.receive();
      if (datagram === undefined) return;
      if (!isSocketFailure(datagram)) {
        for (const message of readMessages(datagram)) {
          this.#onNotification(decodeOvpn(message, this.#parts.ground.target.family), now);
        }
        continue;
      }
      if (datagram.code === 'EINTR') continue;
      // ENOBUFS: some are lost. Anything else is as bad.
      this.wantDump(now);
      if (datagram.code !== 'ENOBUFS') return;
    }
  }

  #onNotification(message: OvpnMessage | undefined, now: number): void {
    // Every process in this network namespace hears of everybody's peers.
    if (message === undefined || message.ifindex !== this.#parts.ground.target.ifindex) return;
    const peer = this.#parts.peers.get(message.peer?.id ?? message.key?.peerId ?? -1);
    if (peer === undefined) return;
    switch (message.command) {
      case OVPN_COMMAND.peerDelNtf:
        return this.#lookAfter(peer, message.peer?.delReason, now);
      case OVPN_COMMAND.peerFloatNtf:
        return this.#lookAfter(peer, undefined, now);
      case OVPN_COMMAND.keySwapNtf:
        return this.#onExhausted(peer, message.key?.keyId, now);
    }
  }

  /**
   * Compares one peer with the kernel's. A notification may be late and mean an earlier peer of this id, or come
   * twice: it says where to look, the answer counts. `reason` is what the peer was deleted for, if it was.
   */
  #lookAfter(peer: KernelPeer, reason: number | undefined, now: number): void {
    const actual = this.#parts.module.peer(peer.peerId);
    if (isProblem(actual)) {
      if (actual.errno === ENODEV) return this.#parts.gone();
      if (actual.errno === ENOENT) return this.#parts.lose(peer, reason);
      return this.wantDump(now);
    }
    const isElsewhere = hasMoved(peer, actual);
    peer.path = pathOf(peer, actual);
    if (isElsewhere) this.#parts.notice({ kind: 'peerFloated', peerId: peer.peerId, path: peer.path });
  }

  /** The kernel says that the key to send with is used up; it may mean an earlier key, or say it twice. */
  #onExhausted(peer: KernelPeer, keyId: number | undefined, now: number): void {
    const { primary } = peer;
    if (primary === undefined || (keyId !== undefined && keyId !== primary.keyId)) return;
    const there = this.#parts.module.keyIn(peer.peerId, 'primary');
    if (!isProblem(there)) return;
    if (there.errno !== ENOENT) return this.wantDump(now);
    peer.primary = undefined;
    this.#parts.notice({ kind: 'keyExhausted', peerId: peer.peerId, keyId: primary.keyId });
  }

  /** Reads all peers of the kernel with their counters; they are compared at the next tick. */
  #dump(now: number): void {
    this.#dumpedAt = now;
    this.#dumpAt = this.#parts.peers.size > 0 ? now + this.#period() : undefined;
    const peers = this.#parts.module.peers();
    if (isProblem(peers)) {
      if (peers.errno === ENODEV) this.#parts.gone();
      else this.wantDump(now);
      return;
    }
    for (const actual of peers) {
      const peer = this.#parts.peers.get(actual.id);
      if (peer !== undefined) peer.counters = { ...actual.counters };
    }
    this.#dumped = { peers, serial: this.#parts.peers.serial };
  }

  /** Makes one of what the dump shows and what is wanted. */
  #compare(dumped: readonly OvpnPeer[], serial: number, now: number): void {
    const there = new Set<number>();
    for (const actual of dumped) {
      there.add(actual.id);
      const peer = this.#parts.peers.get(actual.id);
      if (peer === undefined) {
        if (this.#parts.module.deletePeer(actual.id) !== undefined) this.wantDump(now);
      } else if (peer.serial <= serial && hasMoved(peer, actual)) {
        this.#lookAfter(peer, undefined, now);
      }
    }
    for (const peer of this.#parts.peers.all()) {
      if (peer.serial > serial || !this.#parts.peers.has(peer)) continue;
      // A dump may miss a peer while others come and go.
      if (!there.has(peer.peerId)) this.#lookAfter(peer, undefined, now);
      else this.#watchUsage(peer, now);
    }
  }

  #watchUsage(peer: KernelPeer, now: number): void {
    const key = peer.primary;
    if (key === undefined || !isExpiring(peer, key, this.#parts.limits)) return;
    // Only now can it be used up, too: in case the notification got lost.
    if (key.isExpiryTold) return this.#onExhausted(peer, key.keyId, now);
    key.isExpiryTold = true;
    this.#parts.notice({ kind: 'keyExpiring', peerId: peer.peerId, keyId: key.keyId });
  }

  #period(): number {
    // Notifications of floats and ids for sending came with one kernel.
    return this.#parts.ground.hasTxId ? DUMP_INTERVAL_MS : FLOAT_POLL_MS;
  }
}
