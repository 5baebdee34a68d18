// SPDX-License-Identifier: Apache-2.0
// The generic netlink family `ovpn` (include/uapi/linux/ovpn.h, Linux 6.16 and later): peers and keys of the data
// channel in the kernel. Requests are built with sequence number 0, replies and notifications are read. No sockets.
//
// Numbers are in the machine's byte order, those marked `be` in the network's. Every nest of a request carries
// NLA_F_NESTED, and an attribute the kernel does not know fails the whole request.

import type { Endpoint, Ip } from '../core/address.ts';
import type { CipherName } from '../core/crypto.ts';
import { commandOf, genericAttributes, genericWriter } from './generic.ts';
import {
  type Attributes,
  HOST_LITTLE,
  type Message,
  type MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP,
  viewOf,
} from './message.ts';
import { encodeNewLink } from './rtnetlink.ts';

export const OVPN_FAMILY = 'ovpn';
export const OVPN_LINK_KIND = 'ovpn';
/** Multicast group of all notifications. */
export const OVPN_GROUP_PEERS = 'peers';

/** Commands; those that end in Ntf only ever come from the kernel. */
export const OVPN_COMMAND = {
  peerNew: 1,
  peerSet: 2,
  peerGet: 3,
  peerDel: 4,
  peerDelNtf: 5,
  keyNew: 6,
  keyGet: 7,
  keySwap: 8,
  keySwapNtf: 9,
  keyDel: 10,
  /** Since 7.1. */
  peerFloatNtf: 11,
} as const;

/** Exact width on the wire: bytes of a number, `be` in network order; `uint` has 4 or 8 bytes as its value needs. */
type Width = 'u8' | 'u32' | 's32' | 'be16' | 'ip4' | 'ip6' | 'uint' | 'nest' | 'bytes' | 'bytes8';

/** One attribute: number and width. */
export interface Spec {
  readonly number: number;
  readonly width: Width;
}

function spec<W extends Width>(number: number, width: W): { readonly number: number; readonly width: W } {
  return { number, width };
}

export const OVPN_TOP = { ifindex: spec(1, 'u32'), peer: spec(2, 'nest'), keyconf: spec(3, 'nest') } as const;

export const OVPN_PEER = {
  id: spec(1, 'u32'),
  remoteIp4: spec(2, 'ip4'),
  remoteIp6: spec(3, 'ip6'),
  remoteScope: spec(4, 'u32'),
  remotePort: spec(5, 'be16'),
  /** File descriptor in the sender's table. */
  socket: spec(6, 'u32'),
  socketNetnsid: spec(7, 's32'),
  vpnIp4: spec(8, 'ip4'),
  vpnIp6: spec(9, 'ip6'),
  localIp4: spec(10, 'ip4'),
  localIp6: spec(11, 'ip6'),
  localPort: spec(12, 'be16'),
  keepaliveInterval: spec(13, 'u32'),
  keepaliveTimeout: spec(14, 'u32'),
  delReason: spec(15, 'u32'),
  vpnRxBytes: spec(16, 'uint'),
  vpnTxBytes: spec(17, 'uint'),
  vpnRxPackets: spec(18, 'uint'),
  vpnTxPackets: spec(19, 'uint'),
  linkRxBytes: spec(20, 'uint'),
  linkTxBytes: spec(21, 'uint'),
  linkRxPackets: spec(22, 'uint'),
  linkTxPackets: spec(23, 'uint'),
  /** Since 7.1. */
  txId: spec(24, 'u32'),
} as const;

export const OVPN_KEYCONF = {
  peerId: spec(1, 'u32'),
  slot: spec(2, 'u32'),
  /** 4 bytes in a request and in a reply, 2 in the notification. */
  keyId: spec(3, 'u32'),
  cipher: spec(4, 'u32'),
  encrypt: spec(5, 'nest'),
  decrypt: spec(6, 'nest'),
} as const;

export const OVPN_KEYDIR = { key: spec(1, 'bytes'), nonceTail: spec(2, 'bytes8') } as const;

/** In IFLA_INFO_DATA. One byte: four would make `mp` a `p2p` on a big-endian machine. */
export const IFLA_OVPN_MODE = spec(1, 'u8');
export const OVPN_MODE = { p2p: 0, mp: 1 } as const;

export const OVPN_SLOT = { primary: 0, secondary: 1 } as const;

/** AES-GCM of every key length is one algorithm. */
export const OVPN_CIPHER: Readonly<Record<CipherName, number>> = {
  'AES-128-GCM': 1,
  'AES-192-GCM': 1,
  'AES-256-GCM': 1,
  'CHACHA20-POLY1305': 2,
};

/** Where a request goes: the family's number in this kernel, the device, and the byte order. */
export interface OvpnTarget {
  readonly family: number;
  readonly ifindex: number;
  readonly little?: boolean;
}

/** What PEER_NEW and PEER_SET take; PEER_SET changes only what is present. */
export interface OvpnPeerConfig {
  readonly id: number;
  /** Absent for TCP. */
  readonly remote?: Endpoint;
  /** Own address; only together with `remote`, of its family. */
  readonly local?: Ip;
  readonly vpnIp4?: Ip;
  readonly vpnIp6?: Ip;
  /** Seconds, both or none. */
  readonly keepaliveInterval?: number;
  readonly keepaliveTimeout?: number;
  readonly txId?: number;
}

export interface OvpnDirection {
  readonly key: Uint8Array;
  /** 8 bytes. */
  readonly nonceTail: Uint8Array;
}

export interface OvpnKeyConfig {
  readonly peerId: number;
  readonly slot: keyof typeof OVPN_SLOT;
  readonly keyId: number;
  readonly cipher: CipherName;
  readonly encrypt: OvpnDirection;
  readonly decrypt: OvpnDirection;
}

// ---- requests

function put(writer: MessageWriter, { number, width }: Spec, value: number | Uint8Array): void {
  if (typeof value !== 'number') writer.attribute(number, value);
  else if (width === 'be16') writer.attribute(number, new Uint8Array([value >> 8, value & 0xff]));
  else if (width === 'u8') writer.u8Attribute(number, value);
  else writer.u32Attribute(number, value);
}

function request(target: OvpnTarget, command: number, flags: number): MessageWriter {
  const writer = genericWriter(target.family, command, flags, target.little ?? HOST_LITTLE);
  put(writer, OVPN_TOP.ifindex, target.ifindex);
  return writer;
}

function peerRequest(
  target: OvpnTarget,
  command: number,
  peer: OvpnPeerConfig,
  socketFd?: number,
): Uint8Array {
  return request(target, command, NLM_F_ACK)
    .nest(OVPN_TOP.peer.number, writer => writePeer(writer, peer, socketFd))
    .finish();
}

function writePeer(writer: MessageWriter, peer: OvpnPeerConfig, socketFd: number | undefined): void {
  const { remote, local } = peer;
  const given = (one: Spec, value: number | Uint8Array | undefined): void => {
    if (value !== undefined) put(writer, one, value);
  };
  put(writer, OVPN_PEER.id, peer.id);
  given(OVPN_PEER.socket, socketFd);
  if (remote !== undefined) {
    const is4 = remote.ip.length === 4;
    put(writer, is4 ? OVPN_PEER.remoteIp4 : OVPN_PEER.remoteIp6, remote.ip);
    if (!is4 && (remote.scope ?? 0) !== 0) given(OVPN_PEER.remoteScope, remote.scope);
    put(writer, OVPN_PEER.remotePort, remote.port);
    given(is4 ? OVPN_PEER.localIp4 : OVPN_PEER.localIp6, local);
  }
  given(OVPN_PEER.vpnIp4, peer.vpnIp4);
  given(OVPN_PEER.vpnIp6, peer.vpnIp6);
  given(OVPN_PEER.keepaliveInterval, peer.keepaliveInterval);
  given(OVPN_PEER.keepaliveTimeout, peer.keepaliveTimeout);
  given(OVPN_PEER.txId, peer.txId);
}

/** Makes a peer and binds it to a socket of this process. A P2P device forgets the peer it had. */
export function encodePeerNew(target: OvpnTarget, peer: OvpnPeerConfig, socketFd: number): Uint8Array {
  return peerRequest(target, OVPN_COMMAND.peerNew, peer, socketFd);
}

export function encodePeerSet(target: OvpnTarget, change: OvpnPeerConfig): Uint8Array {
  return peerRequest(target, OVPN_COMMAND.peerSet, change);
}

export function encodePeerGet(target: OvpnTarget, id: number): Uint8Array {
  return peerRequest(target, OVPN_COMMAND.peerGet, { id });
}

/** All peers of the device. */
export function encodePeerDump(target: OvpnTarget): Uint8Array {
  return request(target, OVPN_COMMAND.peerGet, NLM_F_DUMP).finish();
}

export function encodePeerDel(target: OvpnTarget, id: number): Uint8Array {
  return peerRequest(target, OVPN_COMMAND.peerDel, { id });
}

/** Puts a key into a slot in place of what is there. The message holds the key: wipe it after sending. */
export function encodeKeyNew(target: OvpnTarget, key: OvpnKeyConfig): Uint8Array {
  const direction = (writer: MessageWriter, one: Spec, material: OvpnDirection): MessageWriter =>
    writer.nest(one.number, inside => {
      put(inside, OVPN_KEYDIR.key, material.key);
      put(inside, OVPN_KEYDIR.nonceTail, material.nonceTail);
    });
  return request(target, OVPN_COMMAND.keyNew, NLM_F_ACK)
    .nest(OVPN_TOP.keyconf.number, writer => {
      put(writer, OVPN_KEYCONF.peerId, key.peerId);
      put(writer, OVPN_KEYCONF.slot, OVPN_SLOT[key.slot]);
      put(writer, OVPN_KEYCONF.keyId, key.keyId);
      put(writer, OVPN_KEYCONF.cipher, OVPN_CIPHER[key.cipher]);
      direction(writer, OVPN_KEYCONF.encrypt, key.encrypt);
      direction(writer, OVPN_KEYCONF.decrypt, key.decrypt);
    })
    .finish();
}

function keyRequest(
  target: OvpnTarget,
  command: number,
  peerId: number,
  slot?: keyof typeof OVPN_SLOT,
): Uint8Array {
  return request(target, command, NLM_F_ACK)
    .nest(OVPN_TOP.keyconf.number, writer => {
      put(writer, OVPN_KEYCONF.peerId, peerId);
      if (slot !== undefined) put(writer, OVPN_KEYCONF.slot, OVPN_SLOT[slot]);
    })
    .finish();
}

/** The reply says which key is in a slot, never its bytes; ENOENT when the slot is empty. */
export function encodeKeyGet(target: OvpnTarget, peerId: number, slot: keyof typeof OVPN_SLOT): Uint8Array {
  return keyRequest(target, OVPN_COMMAND.keyGet, peerId, slot);
}

/** Succeeds with an empty secondary slot too, and then the peer has no key to send with. */
export function encodeKeySwap(target: OvpnTarget, peerId: number): Uint8Array {
  return keyRequest(target, OVPN_COMMAND.keySwap, peerId);
}

export function encodeKeyDel(target: OvpnTarget, peerId: number, slot: keyof typeof OVPN_SLOT): Uint8Array {
  return keyRequest(target, OVPN_COMMAND.keyDel, peerId, slot);
}

/** Makes a device of the family (route netlink); EEXIST when the name is taken. */
export function encodeNewOvpnLink(
  name: string,
  mode: keyof typeof OVPN_MODE,
  little: boolean = HOST_LITTLE,
): Uint8Array {
  return encodeNewLink(name, OVPN_LINK_KIND, data => put(data, IFLA_OVPN_MODE, OVPN_MODE[mode]), little);
}

// ---- replies and notifications

const COUNTERS = [
  'vpnRxBytes',
  'vpnTxBytes',
  'vpnRxPackets',
  'vpnTxPackets',
  'linkRxBytes',
  'linkTxBytes',
  'linkRxPackets',
  'linkTxPackets',
] as const;

/** Names as the attributes'. */
export type OvpnCounters = Readonly<Record<(typeof COUNTERS)[number], number>>;

/** A peer as a reply or a notification describes it; only what was in the message is present. Arrays are copies. */
export interface OvpnPeer extends OvpnPeerConfig {
  readonly delReason?: number;
  /** 0 where the message has none. */
  readonly counters: OvpnCounters;
}

export interface OvpnKey {
  readonly peerId: number;
  readonly slot?: number;
  readonly keyId?: number;
  readonly cipher?: number;
}

export interface OvpnMessage {
  readonly command: number;
  /** Absent in the reply to PEER_GET for one peer. */
  readonly ifindex?: number;
  readonly peer?: OvpnPeer;
  readonly key?: OvpnKey;
}

/** A message of the family with number `family`; undefined for any other and for one without peer or key. */
export function decodeOvpn(message: Message, family: number): OvpnMessage | undefined {
  const command = commandOf(message);
  if (message.type !== family || command === undefined) return undefined;
  const attributes = genericAttributes(message);
  const peer = readPeer(attributes.nested(OVPN_TOP.peer.number));
  const key = readKey(attributes.nested(OVPN_TOP.keyconf.number));
  if (peer === undefined && key === undefined) return undefined;
  const ifindex = uint(attributes, OVPN_TOP.ifindex);
  return {
    command,
    ...(ifindex !== undefined && { ifindex }),
    ...(peer && { peer }),
    ...(key && { key }),
  };
}

/** A number by the length it came in: kernels have sent narrower and wider ones than the table says. */
function uint(attributes: Attributes, { number }: Spec): number | undefined {
  return attributes.uint(number);
}

function bytes(attributes: Attributes, one: Spec, length: number): Uint8Array | undefined {
  const value = attributes.bytes(one.number);
  return value?.length === length ? value.slice() : undefined;
}

function port(attributes: Attributes, one: Spec): number | undefined {
  const value = attributes.bytes(one.number);
  return value?.length === 2 ? viewOf(value).getUint16(0, false) : undefined;
}

function readPeer(attributes: Attributes | undefined): OvpnPeer | undefined {
  const id = attributes && uint(attributes, OVPN_PEER.id);
  if (attributes === undefined || id === undefined) return undefined;
  const remote = readRemote(attributes);
  // All zero until the kernel has learned it.
  const local = [
    bytes(attributes, OVPN_PEER.localIp4, 4) ?? [],
    bytes(attributes, OVPN_PEER.localIp6, 16) ?? [],
  ].find((ip): ip is Uint8Array => ip.some(byte => byte !== 0));
  const vpnIp4 = bytes(attributes, OVPN_PEER.vpnIp4, 4);
  const vpnIp6 = bytes(attributes, OVPN_PEER.vpnIp6, 16);
  const keepaliveInterval = uint(attributes, OVPN_PEER.keepaliveInterval);
  const keepaliveTimeout = uint(attributes, OVPN_PEER.keepaliveTimeout);
  const delReason = uint(attributes, OVPN_PEER.delReason);
  const txId = uint(attributes, OVPN_PEER.txId);
  return {
    id,
    ...(remote && { remote }),
    ...(local && { local }),
    ...(vpnIp4 && { vpnIp4 }),
    ...(vpnIp6 && { vpnIp6 }),
    ...(keepaliveInterval !== undefined && { keepaliveInterval }),
    ...(keepaliveTimeout !== undefined && { keepaliveTimeout }),
    ...(delReason !== undefined && { delReason }),
    ...(txId !== undefined && { txId }),
    counters: readCounters(attributes),
  };
}

function readCounters(attributes: Attributes): OvpnCounters {
  const counters = COUNTERS.map(name => [name, uint(attributes, OVPN_PEER[name]) ?? 0]);
  return Object.fromEntries(counters) as OvpnCounters;
}

function readRemote(attributes: Attributes): Endpoint | undefined {
  const ip = bytes(attributes, OVPN_PEER.remoteIp4, 4) ?? bytes(attributes, OVPN_PEER.remoteIp6, 16);
  const remotePort = port(attributes, OVPN_PEER.remotePort);
  if (ip === undefined || remotePort === undefined) return undefined;
  const scope = ip.length === 16 ? (uint(attributes, OVPN_PEER.remoteScope) ?? 0) : 0;
  return scope === 0 ? { ip, port: remotePort } : { ip, port: remotePort, scope };
}

function readKey(attributes: Attributes | undefined): OvpnKey | undefined {
  const peerId = attributes && uint(attributes, OVPN_KEYCONF.peerId);
  if (attributes === undefined || peerId === undefined) return undefined;
  const slot = uint(attributes, OVPN_KEYCONF.slot);
  const keyId = uint(attributes, OVPN_KEYCONF.keyId);
  const cipher = uint(attributes, OVPN_KEYCONF.cipher);
  return {
    peerId,
    ...(slot !== undefined && { slot }),
    ...(keyId !== undefined && { keyId }),
    ...(cipher !== undefined && { cipher }),
  };
}
