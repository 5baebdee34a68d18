// SPDX-License-Identifier: Apache-2.0
// One data key: its packet ids, its replay window, its usage limits, and the data packet formats of OpenVPN:
//
//   aead        P_DATA_V2: [op|kid] peer-id(3) | packet id(4) | tag(16) | ciphertext    AAD = the first 8 bytes
//               P_DATA_V1: [op|kid]            | packet id(4) | tag(16) | ciphertext    AAD = the packet id
//   aead-epoch  P_DATA_V2: [op|kid] peer-id(3) | packet id(8) | ciphertext | tag(16)    AAD = the first 12 bytes
//
//   nonce = iv(12) XOR packet id, zeros      an epoch's packet id = epoch(2) counter(6)
//   the iv of an aead key is four zeros and its nonce tail: nonce = packet id | nonce tail

import {
  AEAD_NONCE_LENGTH,
  AEAD_TAG_LENGTH,
  CIPHER_KEY_LENGTH,
  type CipherName,
  type Crypto,
} from '../core/crypto.ts';
import {
  type DataFormat,
  type DirectionKey,
  EPOCH_KEY_LENGTH,
  type KeyMaterial,
  type PlaneKey,
  type RekeyAfter,
} from '../core/plane.ts';
import {
  type Direction,
  newDirection,
  newReceiver,
  nonceOf,
  type Receiver,
  wipeDirection,
} from './direction.ts';
import type { DropReason } from './drops.ts';
import {
  beginEpochs,
  EPOCH_FUTURE_KEYS,
  type Epochs,
  receiveInEpoch,
  sendInEpoch,
  wipeEpochs,
} from './epoch.ts';
import type { PlaneResult } from './plane.ts';

export const P_DATA_V1 = 6;
export const P_DATA_V2 = 9;
export const V1_HEADER_LENGTH = 1;
export const V2_HEADER_LENGTH = 4;
export const NONCE_TAIL_LENGTH = 8;
/** Packet id and tag in the format that has less of them: nothing shorter is a data packet. */
export const LEAST_OVERHEAD = 4 + AEAD_TAG_LENGTH;

/** Bytes of a packet id, and its counter's last value: the next one would be a nonce used before. */
const FORMATS = {
  aead: { idLength: 4, counterMax: 0xffffffff, hasTagFirst: true },
  'aead-epoch': { idLength: 8, counterMax: 2 ** 48 - 1, hasTagFirst: false },
} as const;
const GCM_BLOCK_LENGTH = 16;

/** When a key is used up. Tests preset them; everybody else takes KEY_LIMITS. */
export interface KeyLimits {
  /** Counter of the first packet sent with a new key. */
  readonly firstPacketId: number;
  /** Format `aead`: sending this packet id is a reason to renegotiate. */
  readonly packetIdSoft: number;
  /** AES-GCM: so many packets plus 16-byte blocks in one direction are a reason for the next epoch, or to renegotiate. */
  readonly gcmUsageSoft: number;
  /** So are more packets with a wrong tag than this, with any cipher. */
  readonly failuresSoft: number;
  /** After more than this none is opened any more. */
  readonly failuresMax: number;
  /** Sending in this epoch is a reason to renegotiate. */
  readonly epochSoft: number;
  /** The last epoch that is sent in and received, as stock peers have it. */
  readonly epochLast: number;
}

export const KEY_LIMITS: KeyLimits = {
  firstPacketId: 1,
  packetIdSoft: 0xff000000,
  // 7/8 of the 2^36 - 1 within which AES-GCM keeps its confidentiality bound.
  gcmUsageSoft: Math.floor((2 ** 36 - 1) / 8) * 7,
  failuresSoft: 2 ** 35,
  failuresMax: 2 ** 36,
  epochSoft: 0xf000,
  epochLast: 0xffff - EPOCH_FUTURE_KEYS - 1,
};

export interface DataKey {
  readonly keyId: number;
  readonly cipher: CipherName;
  readonly format: DataFormat;
  tx: Direction;
  rx: Receiver;
  readonly epochs: Epochs | undefined;
  /** Counter of the next packet; above the format's last there is none. */
  nextId: number;
  /** Packets and their bytes in both directions, for `rekeyAfter`. */
  packets: number;
  bytes: number;
  readonly rekeyAfter: RekeyAfter;
  /** The keyExpiring notice has been given. */
  isExpiryTold: boolean;
}

const NEVER: RekeyAfter = { packets: 0, bytes: 0 };

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
  return checkMaterial(key, key.cipher, length);
}

function checkMaterial(key: KeyMaterial, cipher: CipherName, length: number): PlaneResult {
  if (key.format === 'aead-epoch') {
    const isRight = [key.encrypt, key.decrypt].every(from => from.epochKey.length === EPOCH_KEY_LENGTH);
    return isRight ? undefined : { code: 'EINVAL', text: `an epoch key has ${EPOCH_KEY_LENGTH} bytes` };
  }
  if (key.format !== 'aead') return { code: 'EINVAL', text: `no data format ${(key as PlaneKey).format}` };
  for (const direction of [key.encrypt, key.decrypt]) {
    if (direction.key.length !== length) {
      return { code: 'EINVAL', text: `${cipher} takes a key of ${length} bytes` };
    }
    if (direction.nonceTail.length !== NONCE_TAIL_LENGTH) {
      return { code: 'EINVAL', text: `a nonce tail has ${NONCE_TAIL_LENGTH} bytes` };
    }
  }
  return undefined;
}

/** A key that checkKey found right; its bytes are copied. */
export function createKey(crypto: Crypto, key: PlaneKey, limits: KeyLimits): DataKey {
  const { keyId, cipher, format, rekeyAfter = NEVER } = key;
  const begin = { nextId: limits.firstPacketId, packets: 0, bytes: 0, isExpiryTold: false };
  const common = { keyId, cipher, format, rekeyAfter, ...begin };
  if (key.format === 'aead-epoch') {
    return { ...common, ...beginEpochs(crypto, cipher, key.encrypt.epochKey, key.decrypt.epochKey) };
  }
  return {
    ...common,
    tx: newDirection(crypto, cipher, 0, key.encrypt.key.slice(), ivOf(key.encrypt)),
    rx: newReceiver(crypto, cipher, 0, key.decrypt.key.slice(), ivOf(key.decrypt)),
    epochs: undefined,
  };
}

function ivOf({ nonceTail }: DirectionKey): Uint8Array {
  const iv = new Uint8Array(AEAD_NONCE_LENGTH);
  iv.set(nonceTail, FORMATS.aead.idLength);
  return iv;
}

/** Forgets the key material; the key must not be used any more. */
export function wipeKey(key: DataKey): void {
  wipeDirection(key.tx);
  wipeDirection(key.rx);
  if (key.epochs !== undefined) wipeEpochs(key.epochs);
}

/** What a data packet has around its payload behind the header. */
export function overheadOf(format: DataFormat): number {
  return FORMATS[format].idLength + AEAD_TAG_LENGTH;
}

/**
 * A new datagram with `payload` under the key's next packet id; undefined when the packet ids are used up.
 * `header` is everything in front of the packet id: 1 byte makes it a P_DATA_V1. Both are borrowed until return.
 */
export function sealPacket(
  key: DataKey,
  header: Uint8Array,
  payload: Uint8Array,
  limits: KeyLimits,
): Uint8Array | undefined {
  const { idLength, counterMax, hasTagFirst } = FORMATS[key.format];
  if (key.epochs !== undefined && wantsNextEpoch(key, limits)) enterEpoch(key, key.tx.epoch + 1);
  const id = key.nextId;
  if (id > counterMax) return undefined;
  // Counted before it is used: whatever happens below, this id never comes again.
  key.nextId = id + 1;
  key.tx.blocks += Math.ceil(payload.length / GCM_BLOCK_LENGTH);
  const idAt = header.length;
  const at = idAt + idLength;
  const datagram = new Uint8Array(at + AEAD_TAG_LENGTH + payload.length);
  datagram.set(header);
  if (key.epochs !== undefined) writeEpoch(datagram, idAt, key.tx.epoch, id);
  writeId(datagram, at - 4, id);
  const nonce = nonceOf(key.tx, datagram, idAt, idLength);
  const sealed = key.tx.aead.seal(nonce, aadOf(datagram, idAt, idLength), payload);
  if (hasTagFirst) {
    datagram.set(sealed.subarray(payload.length), at);
    datagram.set(sealed.subarray(0, payload.length), at + AEAD_TAG_LENGTH);
  } else {
    datagram.set(sealed, at);
  }
  return datagram;
}

/** Whether the next packet should not be sent in this epoch any more. */
function wantsNextEpoch({ tx, rx, nextId, cipher }: DataKey, limits: KeyLimits): boolean {
  if (tx.epoch >= limits.epochLast) return false;
  if (nextId > FORMATS['aead-epoch'].counterMax || isWorn(cipher, tx, nextId - 1, limits)) return true;
  // Only its sender can replace a key: our own next epoch asks for it.
  return tx.epoch === rx.epoch && isReceiverWorn(cipher, rx, limits);
}

function isWorn(cipher: CipherName, { blocks }: Direction, packets: number, limits: KeyLimits): boolean {
  return cipher !== 'CHACHA20-POLY1305' && packets + blocks >= limits.gcmUsageSoft;
}

function isReceiverWorn(cipher: CipherName, rx: Receiver, limits: KeyLimits): boolean {
  return rx.failures > limits.failuresSoft || isWorn(cipher, rx, rx.replay.highest, limits);
}

function enterEpoch(key: DataKey, epoch: number): void {
  key.tx = sendInEpoch(key.epochs!, key.tx, epoch);
  key.nextId = 1;
}

/**
 * What opens a datagram that has the key's id and is not shorter than any data packet, or why nothing does. What it
 * says of its epoch is not authentic yet.
 */
export function receiverFor(
  key: DataKey,
  datagram: Uint8Array,
  headerLength: number,
  limits: KeyLimits,
): Receiver | DropReason {
  const { epochs, rx } = key;
  if (epochs === undefined) return rx.failures > limits.failuresMax ? 'auth' : rx;
  // The epoch format has a packet id and a header of its own.
  if (headerLength === V1_HEADER_LENGTH) return 'opcode';
  if (datagram.length < headerLength + overheadOf('aead-epoch')) return 'short';
  const epoch = (datagram[headerLength]! << 8) | datagram[headerLength + 1]!;
  if (epoch > limits.epochLast) return 'epoch';
  const known = epoch === rx.epoch ? rx : otherReceiver(epochs, epoch);
  return known === undefined ? 'epoch' : known.failures > limits.failuresMax ? 'auth' : known;
}

function otherReceiver({ retiring, future }: Epochs, epoch: number): Receiver | undefined {
  return retiring?.epoch === epoch ? retiring : future.find(receiver => receiver.epoch === epoch);
}

/** A packet that `receiver` opened was new: from a later epoch it makes that the present one, also for sending. */
export function follow(key: DataKey, receiver: Receiver): void {
  if (key.epochs === undefined || receiver.epoch <= key.rx.epoch) return;
  receiveInEpoch(key.epochs, key.rx, receiver);
  key.rx = receiver;
  if (key.tx.epoch < receiver.epoch) enterEpoch(key, receiver.epoch);
}

/** Counter of a datagram that is long enough. */
export function packetId(key: DataKey, datagram: Uint8Array, headerLength: number): number {
  const low = headerLength + FORMATS[key.format].idLength - 4;
  const counter = read32(datagram, low);
  if (key.epochs === undefined) return counter;
  return ((datagram[low - 2]! << 8) | datagram[low - 1]!) * 2 ** 32 + counter;
}

/** Opens datagrams; keeps one buffer for putting ciphertext and tag into the order that Aead wants. */
export class PacketOpener {
  #sealed = new Uint8Array(2048);

  /** The payload as a new array, or undefined when the tag is wrong. `datagram` holds at least id and tag. */
  open(key: DataKey, receiver: Receiver, datagram: Uint8Array, headerLength: number): Uint8Array | undefined {
    const { idLength, hasTagFirst } = FORMATS[key.format];
    const at = headerLength + idLength;
    const sealed = hasTagFirst ? this.#inOrder(datagram.subarray(at)) : datagram.subarray(at);
    const nonce = nonceOf(receiver, datagram, headerLength, idLength);
    const payload = receiver.aead.open(nonce, aadOf(datagram, headerLength, idLength), sealed);
    if (payload === undefined) receiver.failures++;
    else receiver.blocks += Math.ceil(payload.length / GCM_BLOCK_LENGTH);
    return payload;
  }

  #inOrder(bytes: Uint8Array): Uint8Array {
    if (this.#sealed.length < bytes.length) this.#sealed = new Uint8Array(bytes.length);
    const sealed = this.#sealed.subarray(0, bytes.length);
    sealed.set(bytes.subarray(AEAD_TAG_LENGTH));
    sealed.set(bytes.subarray(0, AEAD_TAG_LENGTH), bytes.length - AEAD_TAG_LENGTH);
    return sealed;
  }
}

/** A packet of `length` bytes was sent or received. */
export function countPacket(key: DataKey, length: number): void {
  key.packets++;
  key.bytes += length;
}

export function isOver(after: RekeyAfter, packets: number, bytes: number): boolean {
  return (after.packets > 0 && packets >= after.packets) || (after.bytes > 0 && bytes >= after.bytes);
}

/** Whether it is time for a new key: both directions count, packet ids only when sending. */
export function isExpiring(key: DataKey, limits: KeyLimits): boolean {
  const { cipher, tx, rx } = key;
  if (isOver(key.rekeyAfter, key.packets, key.bytes)) return true;
  if (key.epochs !== undefined) return tx.epoch >= limits.epochSoft;
  const sent = key.nextId - 1;
  return (
    sent >= limits.packetIdSoft || isWorn(cipher, tx, sent, limits) || isReceiverWorn(cipher, rx, limits)
  );
}

function aadOf(datagram: Uint8Array, headerLength: number, idLength: number): Uint8Array {
  // P_DATA_V1 leaves its opcode byte unauthenticated.
  const from = headerLength === V1_HEADER_LENGTH ? headerLength : 0;
  return datagram.subarray(from, headerLength + idLength);
}

function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** The upper half of an epoch's packet id. */
function writeEpoch(bytes: Uint8Array, at: number, epoch: number, counter: number): void {
  const high = Math.floor(counter / 2 ** 32);
  bytes.set([epoch >> 8, epoch & 0xff, high >> 8, high & 0xff], at);
}

function writeId(bytes: Uint8Array, at: number, id: number): void {
  bytes[at] = id >>> 24;
  bytes[at + 1] = id >>> 16;
  bytes[at + 2] = id >>> 8;
  bytes[at + 3] = id;
}
