// SPDX-License-Identifier: Apache-2.0
// One data key: its packet ids, its replay window, its usage limits, and the data packet format (OpenVPN's
// classic AEAD format):
//
//   P_DATA_V2: [op|kid] peer-id(3) | packet id(4) | tag(16) | ciphertext    AAD = the first 8 bytes
//   P_DATA_V1: [op|kid]            | packet id(4) | tag(16) | ciphertext    AAD = the packet id
//   nonce = packet id(4) | nonce tail(8)

import {
  AEAD_NONCE_LENGTH,
  AEAD_TAG_LENGTH,
  type Aead,
  CIPHER_KEY_LENGTH,
  type CipherName,
  type Crypto,
} from '../core/crypto.ts';
import type { DirectionKey, PlaneKey } from '../core/plane.ts';
import type { PlaneResult } from './plane.ts';
import { ReplayWindow } from './replay.ts';

export const P_DATA_V1 = 6;
export const P_DATA_V2 = 9;
export const V1_HEADER_LENGTH = 1;
export const V2_HEADER_LENGTH = 4;
export const PACKET_ID_LENGTH = 4;
export const NONCE_TAIL_LENGTH = 8;
/** Behind the header, in front of the ciphertext. */
export const PACKET_OVERHEAD = PACKET_ID_LENGTH + AEAD_TAG_LENGTH;

/** The last packet id: the next one would be a nonce used before. */
const PACKET_ID_MAX = 0xffffffff;
const GCM_BLOCK_LENGTH = 16;

/** When a key is used up. Tests preset them; everybody else takes KEY_LIMITS. */
export interface KeyLimits {
  /** Packet id of the first packet sent with a new key. */
  readonly firstPacketId: number;
  /** Sending this packet id is a reason to renegotiate. */
  readonly packetIdSoft: number;
  /** AES-GCM: so many packets plus 16-byte blocks in one direction are a reason to renegotiate. */
  readonly gcmUsageSoft: number;
}

export const KEY_LIMITS: KeyLimits = {
  firstPacketId: 1,
  packetIdSoft: 0xff000000,
  // 7/8 of the 2^36 - 1 within which AES-GCM keeps its confidentiality bound.
  gcmUsageSoft: Math.floor((2 ** 36 - 1) / 8) * 7,
};

interface Direction {
  readonly aead: Aead;
  /** The tail stays; the packet id in front of it is written for each packet. */
  readonly nonce: Uint8Array;
  /** 16-byte blocks of plaintext so far. */
  blocks: number;
}

export interface DataKey {
  readonly keyId: number;
  readonly cipher: CipherName;
  readonly tx: Direction;
  readonly rx: Direction;
  readonly replay: ReplayWindow;
  /** Packet id of the next packet; above PACKET_ID_MAX there is none. */
  nextId: number;
  /** The keyExpiring notice has been given. */
  isExpiryTold: boolean;
}

/** What is wrong with a key before it is made; undefined = nothing. */
export function checkKey(key: PlaneKey): PlaneResult {
  const length = Object.hasOwn(CIPHER_KEY_LENGTH, key.cipher) ? CIPHER_KEY_LENGTH[key.cipher] : undefined;
  if (length === undefined) return { code: 'EINVAL', text: `unsupported cipher ${key.cipher}` };
  if (!Number.isInteger(key.keyId) || key.keyId < 0 || key.keyId > 7) {
    return { code: 'EINVAL', text: `key id ${key.keyId} is not within 0..7` };
  }
  if (key.slot !== 'primary' && key.slot !== 'secondary') {
    return { code: 'EINVAL', text: `no key slot ${key.slot}` };
  }
  for (const direction of [key.encrypt, key.decrypt]) {
    if (direction.key.length !== length) {
      return { code: 'EINVAL', text: `${key.cipher} takes a key of ${length} bytes` };
    }
    if (direction.nonceTail.length !== NONCE_TAIL_LENGTH) {
      return { code: 'EINVAL', text: `a nonce tail has ${NONCE_TAIL_LENGTH} bytes` };
    }
  }
  return undefined;
}

/** A key that checkKey found right; its bytes are copied. */
export function createKey(crypto: Crypto, key: PlaneKey, limits: KeyLimits): DataKey {
  return {
    keyId: key.keyId,
    cipher: key.cipher,
    tx: createDirection(crypto, key.cipher, key.encrypt),
    rx: createDirection(crypto, key.cipher, key.decrypt),
    replay: new ReplayWindow(),
    nextId: limits.firstPacketId,
    isExpiryTold: false,
  };
}

function createDirection(crypto: Crypto, cipher: CipherName, from: DirectionKey): Direction {
  const nonce = new Uint8Array(AEAD_NONCE_LENGTH);
  nonce.set(from.nonceTail, PACKET_ID_LENGTH);
  return { aead: crypto.aead(cipher, from.key), nonce, blocks: 0 };
}

/** Forgets the key material; the key must not be used any more. */
export function wipeKey(key: DataKey): void {
  for (const direction of [key.tx, key.rx]) {
    direction.aead.wipe();
    direction.nonce.fill(0);
  }
}

/**
 * A new datagram with `payload` under the key's next packet id; undefined when the packet ids are used up.
 * `header` is everything in front of the packet id: 1 byte makes it a P_DATA_V1. Both are borrowed until return.
 */
export function sealPacket(key: DataKey, header: Uint8Array, payload: Uint8Array): Uint8Array | undefined {
  const id = key.nextId;
  if (id > PACKET_ID_MAX) return undefined;
  // Counted before it is used: whatever happens below, this id never comes again.
  key.nextId = id + 1;
  key.tx.blocks += Math.ceil(payload.length / GCM_BLOCK_LENGTH);
  const tagAt = header.length + PACKET_ID_LENGTH;
  const datagram = new Uint8Array(tagAt + AEAD_TAG_LENGTH + payload.length);
  datagram.set(header);
  writeId(datagram, header.length, id);
  writeId(key.tx.nonce, 0, id);
  const sealed = key.tx.aead.seal(key.tx.nonce, aadOf(datagram, header.length), payload);
  // The tag comes first on the wire.
  datagram.set(sealed.subarray(payload.length), tagAt);
  datagram.set(sealed.subarray(0, payload.length), tagAt + AEAD_TAG_LENGTH);
  return datagram;
}

/** Packet id of a datagram that is long enough. */
export function packetId(datagram: Uint8Array, headerLength: number): number {
  const at = headerLength;
  return (
    ((datagram[at]! << 24) | (datagram[at + 1]! << 16) | (datagram[at + 2]! << 8) | datagram[at + 3]!) >>> 0
  );
}

/** Opens datagrams; keeps one buffer for putting ciphertext and tag into the order that Aead wants. */
export class PacketOpener {
  #sealed = new Uint8Array(2048);

  /** The payload as a new array, or undefined when the tag is wrong. `datagram` holds at least id and tag. */
  open(key: DataKey, datagram: Uint8Array, headerLength: number): Uint8Array | undefined {
    const tagAt = headerLength + PACKET_ID_LENGTH;
    const textLength = datagram.length - tagAt - AEAD_TAG_LENGTH;
    const length = textLength + AEAD_TAG_LENGTH;
    if (this.#sealed.length < length) this.#sealed = new Uint8Array(length);
    const sealed = this.#sealed.subarray(0, length);
    sealed.set(datagram.subarray(tagAt + AEAD_TAG_LENGTH));
    sealed.set(datagram.subarray(tagAt, tagAt + AEAD_TAG_LENGTH), textLength);
    key.rx.nonce.set(datagram.subarray(headerLength, tagAt));
    const payload = key.rx.aead.open(key.rx.nonce, aadOf(datagram, headerLength), sealed);
    if (payload !== undefined) key.rx.blocks += Math.ceil(textLength / GCM_BLOCK_LENGTH);
    return payload;
  }
}

/** Whether it is time for a new key: both directions of AES-GCM count, packet ids only when sending. */
export function isExpiring(key: DataKey, limits: KeyLimits): boolean {
  const sent = key.nextId - 1;
  if (sent >= limits.packetIdSoft) return true;
  if (key.cipher === 'CHACHA20-POLY1305') return false;
  return (
    sent + key.tx.blocks >= limits.gcmUsageSoft || key.replay.highest + key.rx.blocks >= limits.gcmUsageSoft
  );
}

function aadOf(datagram: Uint8Array, headerLength: number): Uint8Array {
  // P_DATA_V1 leaves its opcode byte unauthenticated.
  const from = headerLength === V1_HEADER_LENGTH ? headerLength : 0;
  return datagram.subarray(from, headerLength + PACKET_ID_LENGTH);
}

function writeId(bytes: Uint8Array, at: number, id: number): void {
  bytes[at] = id >>> 24;
  bytes[at + 1] = id >>> 16;
  bytes[at + 2] = id >>> 8;
  bytes[at + 3] = id;
}
