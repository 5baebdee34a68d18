// SPDX-License-Identifier: Apache-2.0
// The data plane as the control plane sees it. Three bodies: kernel, native, js. No body knows about
// handshakes; peer and key state (core/plane.ts) is all it ever sees.

import type { Path } from '../core/address.ts';
import type {
  KeySlot,
  PeerRecord,
  PlaneCapabilities,
  PlaneKey,
  PlaneNotice,
  PlanePeer,
  PlanePeerChange,
} from '../core/plane.ts';

export type PlaneName = 'kernel' | 'native' | 'js';

/** `p2p`: one peer, no VPN addresses, no source check. `mp`: many peers, told apart by VPN address. */
export type PlaneMode = 'p2p' | 'mp';

/** A command the plane refused; the state is as before the command. `code` is an errno name as the kernel would say. */
export interface PlaneFailure {
  readonly code:
    | 'ENOENT'
    | 'EEXIST'
    | 'EINVAL'
    | 'EADDRINUSE'
    | 'EADDRNOTAVAIL'
    | 'EOPNOTSUPP'
    | 'ENOSPC'
    | 'EIO';
  readonly text: string;
}

/** undefined = done. */
export type PlaneResult = PlaneFailure | undefined;

/** Where packets of a user-space plane go. Byte arrays are borrowed until return. */
export interface PlaneSink {
  /** A datagram for the network. */
  send(path: Path, datagram: Uint8Array): void;
  /** A decrypted IP packet for the TUN device. */
  deliver(packet: Uint8Array): void;
  notice(notice: PlaneNotice): void;
  /** An authentic inner payload that is neither IP nor ping (an OCC message). */
  inner(peerId: number, payload: Uint8Array): void;
}

export interface Plane {
  readonly name: PlaneName;
  readonly capabilities: PlaneCapabilities;
  addPeer(peer: PlanePeer, now: number): PlaneResult;
  setPeer(change: PlanePeerChange, now: number): PlaneResult;
  /** The final counters; a `peerDeleted` notice with reason `userspace` follows. */
  delPeer(peerId: number, now: number): PlaneResult;
  /** Replaces what is in the slot. Key bytes are copied. */
  addKey(key: PlaneKey, now: number): PlaneResult;
  /** Refused (ENOENT) when the secondary slot is empty: the kernel would leave the peer without a TX key. */
  swapKeys(peerId: number, now: number): PlaneResult;
  delKey(peerId: number, slot: KeySlot, now: number): PlaneResult;
  peers(): PeerRecord[];
  /** Drop counters by reason, names from a closed list of the plane. */
  drops(): Readonly<Record<string, number>>;
  /** Bits of the fast-path features that are on (native plane). */
  features?(): number;
  /** Deletes all peers (reason teardown, no notices) and wipes all keys. */
  close(): void;
}

/** A plane that lives in this process and is fed packets by the daemon. */
export interface PacketPlane extends Plane {
  /** A datagram with opcode P_DATA_V1 or P_DATA_V2; borrowed until return. */
  fromNetwork(path: Path, datagram: Uint8Array, now: number): void;
  /** An IP packet read from TUN; borrowed until return. */
  fromTun(packet: Uint8Array, now: number): void;
  /** Encrypts and sends an inner payload that is no IP packet (capability `inner`). */
  sendInner(peerId: number, payload: Uint8Array, now: number): PlaneResult;
  /** Pings and expiry. */
  tick(now: number): void;
  /** Monotonic milliseconds of the next tick wanted; undefined = none. */
  deadline(): number | undefined;
}

/** A plane that cannot be had here, with the reason for log and status. */
export interface PlaneUnavailable {
  readonly name: PlaneName;
  readonly reason: string;
}
