// SPDX-License-Identifier: Apache-2.0
// Peer and key state: what the control plane tells a data plane and what it hears back, as values, in the
// vocabulary of the Linux `ovpn` netlink family (include/uapi/linux/ovpn.h). The interface is in src/plane.

import type { Ip, Path, Prefix } from './address.ts';
import type { CipherName } from './crypto.ts';

/** What a plane can do; data, so that the control plane decides before it negotiates. */
export interface PlaneCapabilities {
  /** Also P_DATA_V1 (no peer-id), for peers that are told none. */
  readonly dataV1: boolean;
  /** Hands unknown inner payloads (OCC messages) up and takes them for sending. The kernel cannot. */
  readonly inner: boolean;
  readonly tcp: boolean;
  /** Keys of the format `aead-epoch`. */
  readonly epoch: boolean;
  /** Installs the system routes to networks behind a peer itself; else one route into the device is enough. */
  readonly ownsPeerRoutes: boolean;
  readonly maxPeers: number;
}

/** Both in seconds; both zero = off. One-sided settings are the control plane's to emulate. */
export interface Keepalive {
  /** A ping is sent when nothing was sent for this long. */
  readonly intervalS: number;
  /** The peer is deleted (`expired`) when nothing authentic came for this long. */
  readonly timeoutS: number;
}

/** The peer-id that means none: looked up by transport address. */
export const PEER_ID_UNDEF = 0xffffff;

export interface PlanePeer {
  /** 24-bit id in received packets, and in sent ones unless `txId` says otherwise. */
  readonly peerId: number;
  readonly txId?: number;
  /** P_DATA_V1 instead of P_DATA_V2 (needs capability dataV1). Default v2. */
  readonly format?: 'v1' | 'v2';
  readonly path: Path;
  /** Own addresses of the peer inside the tunnel; `mp` needs at least one, unique; `p2p` none. */
  readonly vpnIp4?: Ip;
  readonly vpnIp6?: Ip;
  /** Networks behind the peer (`iroute`), host bits clear. Longest prefix wins over all peers. */
  readonly routes?: readonly Prefix[];
  readonly keepalive?: Keepalive;
}

/** Changes to a peer: only what is present changes. */
export type PlanePeerChange = Pick<PlanePeer, 'peerId'> &
  Partial<Pick<PlanePeer, 'path' | 'vpnIp4' | 'vpnIp6' | 'routes' | 'keepalive'>>;

export type KeySlot = 'primary' | 'secondary';

/**
 * The format of data packets under a key, which goes with what the key material is. `aead`: packet ids of 32 bits, tag in
 * front of the ciphertext (OpenVPN 2.4 to 2.7, the kernel). `aead-epoch`, OpenVPN's name for it in protocol-flags: ids of
 * 64 bits that begin with an epoch, tag at the end, a key for each epoch (2.7).
 */
export type DataFormat = 'aead' | 'aead-epoch';

/** One direction's key material in the format `aead`. Nonce = packet id (4 bytes) followed by `nonceTail`. */
export interface DirectionKey {
  /** CIPHER_KEY_LENGTH[cipher] bytes. */
  readonly key: Uint8Array;
  /** 8 bytes. */
  readonly nonceTail: Uint8Array;
}

/** The same in the format `aead-epoch`: what the keys of all epochs follow from. */
export interface EpochKey {
  /** E_1, EPOCH_KEY_LENGTH bytes. */
  readonly epochKey: Uint8Array;
}

export const EPOCH_KEY_LENGTH = 32;

export type KeyMaterial =
  | { readonly format: 'aead'; readonly encrypt: DirectionKey; readonly decrypt: DirectionKey }
  | { readonly format: 'aead-epoch'; readonly encrypt: EpochKey; readonly decrypt: EpochKey };

/** When a key is to be replaced whatever its cipher: so many packets or bytes, both directions together; 0: never. */
export interface RekeyAfter {
  readonly packets: number;
  /** Of data packets from opcode to end. */
  readonly bytes: number;
}

/** A data key. TX always uses the primary slot; RX tries both by key id. `aead-epoch` goes with P_DATA_V2 only. */
export type PlaneKey = KeyMaterial & {
  readonly peerId: number;
  readonly slot: KeySlot;
  /** 0..7 as on the wire. */
  readonly keyId: number;
  readonly cipher: CipherName;
  readonly rekeyAfter?: RekeyAfter;
};

/** ovpn_del_peer_reason, in the kernel's order. */
export const DEL_REASONS = [
  'teardown',
  'userspace',
  'expired',
  'transport_error',
  'transport_disconnect',
] as const;
export type DelReason = (typeof DEL_REASONS)[number];

/** Changes a plane makes on its own. */
export type PlaneNotice =
  | { readonly kind: 'peerDeleted'; readonly peerId: number; readonly reason: DelReason }
  | { readonly kind: 'peerFloated'; readonly peerId: number; readonly path: Path }
  /** The key in this slot has used up its packet ids and is gone. */
  | { readonly kind: 'keyExhausted'; readonly peerId: number; readonly keyId: number }
  /** The primary key passed one of its soft limits: renegotiate. */
  | { readonly kind: 'keyExpiring'; readonly peerId: number; readonly keyId: number };

/** link: data packets from opcode to end. vpn: inner IP packets. Names as the kernel's attributes. */
export interface PeerCounters {
  vpnRxBytes: number;
  vpnTxBytes: number;
  vpnRxPackets: number;
  vpnTxPackets: number;
  linkRxBytes: number;
  linkTxBytes: number;
  linkRxPackets: number;
  linkTxPackets: number;
}

/** One peer as the plane has it. */
export interface PeerRecord {
  readonly peerId: number;
  readonly path: Path;
  readonly vpnIp4?: Ip;
  readonly vpnIp6?: Ip;
  readonly keepalive: Keepalive;
  readonly primary?: { readonly keyId: number; readonly cipher: CipherName };
  readonly secondary?: { readonly keyId: number; readonly cipher: CipherName };
  readonly counters: PeerCounters;
}

/** One command for a plane. */
export type PlaneCommand =
  | { readonly op: 'addPeer'; readonly peer: PlanePeer }
  | { readonly op: 'setPeer'; readonly change: PlanePeerChange }
  | { readonly op: 'delPeer'; readonly peerId: number }
  | { readonly op: 'addKey'; readonly key: PlaneKey }
  | { readonly op: 'swapKeys'; readonly peerId: number }
  | { readonly op: 'delKey'; readonly peerId: number; readonly slot: KeySlot }
  /** Only with capability `inner`. */
  | { readonly op: 'sendInner'; readonly peerId: number; readonly payload: Uint8Array };
