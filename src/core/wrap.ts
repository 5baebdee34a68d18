// SPDX-License-Identifier: Apache-2.0
// Control channel wrapping: none, tls-auth (authenticated) and tls-crypt (authenticated and encrypted) around the
// packets of wire.ts. Which slice of a static key serves which direction is decided here and nowhere else.

import { concat, readU32, sameBytes, writeU32 } from './bytes.ts';
import { type ClientKey, carriesClientKey } from './clientkey.ts';
import {
  type Crypto,
  HASH_LENGTH,
  type HashName,
  SIV_KEY_LENGTH,
  SIV_TAG_LENGTH,
  type SivKeys,
} from './crypto.ts';
import { type Drop, drop, isDrop } from './drop.ts';
import { acceptReplayId, newReplayWindow } from './replay.ts';
import type { TlsRole } from './tls.ts';
import {
  type ControlPacket,
  decodeBody,
  decodeHead,
  encodeBody,
  encodeHead,
  HEAD_LENGTH,
  opcodeOf,
} from './wire.ts';

const REPLAY_ID_LENGTH = 8;
const CRYPT_BLOCK_LENGTH = 16;
const U32_MAX = 0xffffffff;

/** Offsets in a 256-byte static key: two keys, each a cipher half and an HMAC half of 64 bytes. */
const K0_CIPHER = 0;
const K0_HMAC = 64;
const K1_CIPHER = 128;
const K1_HMAC = 192;
const STATIC_KEY_LENGTH = 256;

/** Keys of tls-crypt for one direction. */
export type CryptKeys = SivKeys;

export type WrapKeys =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'tls-auth';
      readonly digest: HashName;
      readonly send: Uint8Array;
      readonly receive: Uint8Array;
      /** All 256 bytes, of which a dynamic key is made. */
      readonly whole: Uint8Array;
    }
  | {
      readonly kind: 'tls-crypt';
      readonly send: CryptKeys;
      readonly receive: CryptKeys;
      readonly whole: Uint8Array;
      /** tls-crypt-v2: the sealed client key at the end of packets that carry one. */
      readonly wrapped?: Uint8Array;
    };

/** Wrapping with its replay state: one per session and wrapping key. */
export interface Wrap {
  readonly keys: WrapKeys;
  /** Bytes to count for the wrapping when a packet must fit a limit. */
  readonly overhead: number;
  /** A new array, ready to send. Each call uses up one replay id. */
  seal(packet: ControlPacket): Uint8Array;
  /**
   * Authenticates, reads, checks for replay. `datagram` is borrowed until return; `opened` is what openStateless has
   * made of it under the same keys.
   */
  open(datagram: Uint8Array, opened?: ControlPacket): ControlPacket | Drop;
}

export function noWrap(): WrapKeys {
  return { kind: 'none' };
}

/**
 * Keys of tls-auth. `staticKey` has 256 bytes; the keys are copies. Direction 0 sends with the first key and
 * receives with the second, 1 the other way round; undefined uses the first for both.
 */
export function tlsAuthKeys(staticKey: Uint8Array, direction: 0 | 1 | undefined, digest: HashName): WrapKeys {
  requireStaticKey(staticKey);
  const first = staticKey.slice(K0_HMAC, K0_HMAC + HASH_LENGTH[digest]);
  const second = staticKey.slice(K1_HMAC, K1_HMAC + HASH_LENGTH[digest]);
  return {
    kind: 'tls-auth',
    digest,
    send: direction === 1 ? second : first,
    receive: direction === 0 ? second : first,
    whole: staticKey.slice(),
  };
}

/**
 * Keys of tls-crypt. `staticKey` has 256 bytes; the keys are copies. The server sends with the first key: the opposite
 * of the data channel.
 */
export function tlsCryptKeys(staticKey: Uint8Array, role: TlsRole): WrapKeys & { kind: 'tls-crypt' } {
  requireStaticKey(staticKey);
  const slice = (at: number) => staticKey.slice(at, at + SIV_KEY_LENGTH);
  const first = { cipher: slice(K0_CIPHER), hmac: slice(K0_HMAC) };
  const second = { cipher: slice(K1_CIPHER), hmac: slice(K1_HMAC) };
  const whole = staticKey.slice();
  return role === 'server'
    ? { kind: 'tls-crypt', send: first, receive: second, whole }
    : { kind: 'tls-crypt', send: second, receive: first, whole };
}

/** Keys of tls-crypt-v2: tls-crypt under the client's own key. */
export function clientKeys({ key, wrapped }: ClientKey, role: TlsRole): WrapKeys {
  return { ...tlsCryptKeys(key, role), wrapped: wrapped.slice() };
}

/**
 * Keys of dynamic tls-crypt, which wraps every key id but 0: what TLS exported, 256 bytes, over the keys of the
 * session so far. `exported` is overwritten.
 */
export function dynamicKeys(exported: Uint8Array, base: WrapKeys, role: TlsRole): WrapKeys {
  if (base.kind !== 'none') for (let i = 0; i < exported.length; i++) exported[i]! ^= base.whole[i]!;
  const keys = tlsCryptKeys(exported, role);
  exported.fill(0);
  return keys;
}

function requireStaticKey(staticKey: Uint8Array): void {
  if (staticKey.length !== STATIC_KEY_LENGTH) throw new RangeError('a static key has 256 bytes');
}

/** Bytes the wrapping adds. */
function overheadOf(keys: WrapKeys): number {
  if (keys.kind === 'none') return 0;
  if (keys.kind === 'tls-auth') return REPLAY_ID_LENGTH + keys.send.length;
  // OpenVPN counts one block more than it uses; a packet that fits by its arithmetic must fit by ours.
  return REPLAY_ID_LENGTH + SIV_TAG_LENGTH + CRYPT_BLOCK_LENGTH;
}

class SessionWrap implements Wrap {
  readonly keys: WrapKeys;
  readonly #crypto: Crypto;
  readonly #window = newReplayWindow();
  #id: number;
  #timeS: number;

  constructor(keys: WrapKeys, crypto: Crypto, timeS: number, sent: number) {
    this.keys = keys;
    this.#crypto = crypto;
    this.#timeS = timeS;
    this.#id = sent;
  }

  get overhead(): number {
    return overheadOf(this.keys);
  }

  seal(packet: ControlPacket): Uint8Array {
    const { keys } = this;
    if (keys.kind === 'none') return concat(encodeHead(packet), encodeBody(packet));
    if (this.#id >= U32_MAX) {
      // Receivers restart their window at a later time, so ids may start again without ever repeating a pair.
      this.#id = 0;
      this.#timeS++;
    }
    const replayId = new Uint8Array(REPLAY_ID_LENGTH);
    writeU32(replayId, 0, ++this.#id);
    writeU32(replayId, 4, this.#timeS);
    if (keys.kind === 'tls-auth') return sealAuth(keys.digest, keys.send, this.#crypto, replayId, packet);
    const sealed = sealCrypt(keys.send, this.#crypto, replayId, packet);
    return keys.wrapped && carriesClientKey(packet.opcode) ? concat(sealed, keys.wrapped) : sealed;
  }

  open(datagram: Uint8Array, opened?: ControlPacket): ControlPacket | Drop {
    const packet = opened ?? openStateless(this.keys, this.#crypto, datagram);
    if (isDrop(packet)) return packet;
    const at = replayPlace(this.keys);
    if (at !== undefined && !acceptReplayId(this.#window, readU32(datagram, at), readU32(datagram, at + 4)))
      return drop('replay');
    return packet;
  }
}

/**
 * A wrapping with its own replay state. `timeS` is the UNIX time its packets carry; `sent` says how many replay
 * ids of that time were used before (a stateless answer uses id 1).
 */
export function createWrap(keys: WrapKeys, crypto: Crypto, timeS: number, sent = 0): Wrap {
  return new SessionWrap(keys, crypto, timeS, sent);
}

/** Opens a packet of a stranger: authentication as ever, but no replay check and nothing remembered. */
export function openStateless(keys: WrapKeys, crypto: Crypto, datagram: Uint8Array): ControlPacket | Drop {
  const packet = withoutClientKey(keys, datagram);
  if (isDrop(packet)) return packet;
  // The head first: it refuses lengths and opcodes before any hashing.
  const head = decodeHead(packet);
  if (isDrop(head)) return head;
  const body = unseal(keys, crypto, packet);
  return isDrop(body) ? body : decodeBody(head.opcode, head.keyId, head.sessionId, body);
}

/** The client key was taken once, when the session began: a packet that ends with another is no part of it. */
function withoutClientKey(keys: WrapKeys, datagram: Uint8Array): Uint8Array | Drop {
  if (keys.kind !== 'tls-crypt' || keys.wrapped === undefined || !carriesClientKey(opcodeOf(datagram)))
    return datagram;
  const at = datagram.length - keys.wrapped.length;
  if (at < 0 || !sameBytes(datagram.subarray(at), keys.wrapped)) return drop('client-key');
  return datagram.subarray(0, at);
}

/** Where the replay id stands; undefined: there is none. */
function replayPlace(keys: WrapKeys): number | undefined {
  if (keys.kind === 'none') return undefined;
  return keys.kind === 'tls-auth' ? HEAD_LENGTH + HASH_LENGTH[keys.digest] : HEAD_LENGTH;
}

/** The packet from its ack count on; may be a view of the datagram. */
function unseal(keys: WrapKeys, crypto: Crypto, datagram: Uint8Array): Uint8Array | Drop {
  if (keys.kind === 'none') return datagram.subarray(HEAD_LENGTH);
  return keys.kind === 'tls-auth'
    ? openAuth(keys.digest, keys.receive, crypto, datagram)
    : openCrypt(keys.receive, crypto, datagram);
}

// tls-auth:
// u8[9]  head
// u8[n]  HMAC(key, replay id || head || body), n = length of the digest and of the key
// u8[8]  replay id: u32 id, u32 time
// u8[]   body

function sealAuth(
  digest: HashName,
  key: Uint8Array,
  crypto: Crypto,
  replayId: Uint8Array,
  packet: ControlPacket,
): Uint8Array {
  const head = encodeHead(packet);
  const body = encodeBody(packet);
  const mac = crypto.hmac(digest, key, concat(replayId, head, body));
  return concat(head, mac, replayId, body);
}

function openAuth(
  digest: HashName,
  key: Uint8Array,
  crypto: Crypto,
  datagram: Uint8Array,
): Uint8Array | Drop {
  const replayAt = HEAD_LENGTH + HASH_LENGTH[digest];
  const bodyAt = replayAt + REPLAY_ID_LENGTH;
  if (datagram.length < bodyAt) return drop('short');
  const replayId = datagram.subarray(replayAt, bodyAt);
  const body = datagram.subarray(bodyAt);
  const mac = crypto.hmac(digest, key, concat(replayId, datagram.subarray(0, HEAD_LENGTH), body));
  if (!crypto.equal(mac, datagram.subarray(HEAD_LENGTH, replayAt))) return drop('hmac');
  return body;
}

// tls-crypt:
// u8[9]   head                                       \ header: authenticated, in clear
// u8[8]   replay id: u32 id, u32 time                /
// u8[32]  tag = HMAC-SHA256(Ka, header || body)      \ a SIV
// u8[]    AES-256-CTR(Ke, first 16 bytes of the tag, body) /

function sealCrypt(keys: CryptKeys, crypto: Crypto, replayId: Uint8Array, packet: ControlPacket): Uint8Array {
  const header = concat(encodeHead(packet), replayId);
  return concat(header, crypto.sivSeal(keys, header, encodeBody(packet)));
}

function openCrypt(keys: CryptKeys, crypto: Crypto, datagram: Uint8Array): Uint8Array | Drop {
  const tagAt = HEAD_LENGTH + REPLAY_ID_LENGTH;
  // An empty body is no packet, and some ciphers refuse empty input.
  if (datagram.length <= tagAt + SIV_TAG_LENGTH) return drop('short');
  const body = crypto.sivOpen(keys, datagram.subarray(0, tagAt), datagram.subarray(tagAt));
  return body ?? drop('hmac');
}
