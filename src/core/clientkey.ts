// SPDX-License-Identifier: Apache-2.0
// tls-crypt-v2: every client has a wrapping key of its own, Kc, and carries it along, sealed under a key only the
// server has. The server keeps nothing: it opens the sealed key (WKc) at the end of a client's first packets.

import { fromPem, toPem } from './base64.ts';
import { concat, decodeUtf8, readU16, readU32, writeU16, writeU32 } from './bytes.ts';
import { type Crypto, type Random, SIV_TAG_LENGTH } from './crypto.ts';
import { type Drop, drop } from './drop.ts';
import { KEY2_LENGTH } from './keys.ts';
import { CLIENT_KEY_METADATA_MAX, WRAPPED_KEY_MAX } from './limits.ts';
import { printable } from './text.ts';
import { OPCODE, type Opcode } from './wire.ts';
import type { CryptKeys } from './wrap.ts';

const SERVER_KEY_LABEL = 'OpenVPN tls-crypt-v2 server key';
const CLIENT_KEY_LABEL = 'OpenVPN tls-crypt-v2 client key';
const SERVER_KEY_LENGTH = 128;
const KEY_LENGTH = 32;
const HMAC_AT = 64;
const LENGTH_LENGTH = 2;
/** A wrapped key without metadata. */
const WRAPPED_KEY_MIN = SIV_TAG_LENGTH + KEY2_LENGTH + LENGTH_LENGTH;

/** What stands in a wrapped key beside the key itself. */
export type Metadata =
  | { readonly kind: 'user'; readonly data: Uint8Array }
  /** When the key was made, seconds since 1970. */
  | { readonly kind: 'time'; readonly timeS: number }
  /** `type` undefined: there is none. */
  | { readonly kind: 'unknown'; readonly type: number | undefined };

const METADATA_USER = 0;
const METADATA_TIME = 1;

/** A client's key with what it shows the server. */
export interface ClientKey {
  /** KEY2_LENGTH bytes. */
  readonly key: Uint8Array;
  /** WKc, opaque to the client; at most WRAPPED_KEY_MAX bytes. */
  readonly wrapped: Uint8Array;
}

/** The key of a server key file, or what is wrong with it, in words. */
export function parseServerKey(file: Uint8Array): CryptKeys | string {
  const bytes = oneBlock(file, SERVER_KEY_LABEL);
  if (typeof bytes === 'string') return bytes;
  if (bytes.length !== SERVER_KEY_LENGTH)
    return `it has ${bytes.length} bytes instead of ${SERVER_KEY_LENGTH}`;
  return {
    cipher: bytes.slice(0, KEY_LENGTH),
    hmac: bytes.slice(HMAC_AT, HMAC_AT + KEY_LENGTH),
  };
}

/** The key of a client key file, or what is wrong with it, in words. */
export function parseClientKey(file: Uint8Array): ClientKey | string {
  const bytes = oneBlock(file, CLIENT_KEY_LABEL);
  if (typeof bytes === 'string') return bytes;
  const wrapped = bytes.slice(KEY2_LENGTH);
  if (wrapped.length < WRAPPED_KEY_MIN) return `it has only ${bytes.length} bytes`;
  if (wrapped.length > WRAPPED_KEY_MAX) return `its wrapped key is longer than ${WRAPPED_KEY_MAX} bytes`;
  if (readU16(wrapped, wrapped.length - LENGTH_LENGTH) !== wrapped.length)
    return 'its lengths contradict each other';
  return { key: bytes.slice(0, KEY2_LENGTH), wrapped };
}

function oneBlock(file: Uint8Array, label: string): Uint8Array | string {
  const [first, second] = fromPem(label, file);
  if (first !== undefined) return second === undefined ? first : `it holds more than one ${label}`;
  const other = [SERVER_KEY_LABEL, CLIENT_KEY_LABEL, 'OpenVPN Static key V1'].find(
    name => name !== label && decodeUtf8(file).includes(`BEGIN ${name}`),
  );
  return `it holds no ${label}${other === undefined ? '' : ` but an ${other}`}`;
}

/** The text of a new server key file. */
export function newServerKey(random: Random): Uint8Array {
  return toPem(SERVER_KEY_LABEL, random(SERVER_KEY_LENGTH));
}

/**
 * The text of a new client key file for a server, or what is wrong with the metadata. Without `metadata` the key
 * carries the time of its making.
 */
export function newClientKey(
  crypto: Crypto,
  random: Random,
  server: CryptKeys,
  nowS: number,
  metadata?: Uint8Array,
): Uint8Array | string {
  if (metadata !== undefined && metadata.length > CLIENT_KEY_METADATA_MAX) {
    return `metadata has ${metadata.length} bytes; ${CLIENT_KEY_METADATA_MAX} is the most`;
  }
  const key = random(KEY2_LENGTH);
  const time = new Uint8Array(9);
  time[0] = METADATA_TIME;
  writeU32(time, 1, Math.floor(nowS / 2 ** 32));
  writeU32(time, 5, nowS % 2 ** 32);
  const tagged = metadata === undefined ? time : concat(new Uint8Array([METADATA_USER]), metadata);
  return toPem(CLIENT_KEY_LABEL, concat(key, wrapClientKey(crypto, server, key, tagged)));
}

// WKc:
// u8[32]  tag = HMAC-SHA256(Ka, length || Kc || metadata)
// u8[]    AES-256-CTR(Ke, first 16 bytes of the tag, Kc || metadata)
// u16     length of all three
//
// metadata: u8 type, then text of the one who made the key (0), or u64 seconds since 1970 (1)

/** Seals a client's key of KEY2_LENGTH bytes; `metadata` begins with its type. */
export function wrapClientKey(
  crypto: Crypto,
  server: CryptKeys,
  key: Uint8Array,
  metadata: Uint8Array,
): Uint8Array {
  const plain = concat(key, metadata);
  const length = new Uint8Array(LENGTH_LENGTH);
  writeU16(length, 0, SIV_TAG_LENGTH + plain.length + LENGTH_LENGTH);
  return concat(crypto.sivSeal(server, length, plain), length);
}

/** Opens a sealed client key; `wrapped` is exactly one, as splitWrapped gives it. */
export function unwrapClientKey(
  crypto: Crypto,
  server: CryptKeys,
  wrapped: Uint8Array,
): { readonly key: Uint8Array; readonly metadata: Metadata } | Drop {
  if (wrapped.length < WRAPPED_KEY_MIN || wrapped.length > WRAPPED_KEY_MAX) return drop('client-key');
  const lengthAt = wrapped.length - LENGTH_LENGTH;
  const length = wrapped.subarray(lengthAt);
  if (readU16(length, 0) !== wrapped.length) return drop('client-key');
  const plain = crypto.sivOpen(server, length, wrapped.subarray(0, lengthAt));
  if (plain === undefined) return drop('client-key');
  return { key: plain.slice(0, KEY2_LENGTH), metadata: readMetadata(plain.subarray(KEY2_LENGTH)) };
}

function readMetadata(bytes: Uint8Array): Metadata {
  const type = bytes[0];
  const data = bytes.slice(1);
  if (type === METADATA_USER) return { kind: 'user', data };
  if (type !== METADATA_TIME || data.length !== 8) return { kind: 'unknown', type };
  return { kind: 'time', timeS: readU32(data, 0) * 2 ** 32 + readU32(data, 4) };
}

/** Metadata for a log: printable, on one line. */
export function metadataText(metadata: Metadata): string {
  if (metadata.kind === 'user') return `metadata '${printable(decodeUtf8(metadata.data))}'`;
  if (metadata.kind === 'time') return `key made at ${metadata.timeS} s`;
  return metadata.type === undefined ? 'no metadata' : `metadata of type ${metadata.type}`;
}

/** Whether packets of this kind end with a sealed client key. */
export function carriesClientKey(opcode: Opcode | undefined): boolean {
  return opcode === OPCODE.hardResetClientV3 || opcode === OPCODE.controlWkc;
}

/** Cuts a packet that carries a client key into the packet proper and the sealed key; both are views. */
export function splitWrapped(
  datagram: Uint8Array,
): { readonly packet: Uint8Array; readonly wrapped: Uint8Array } | Drop {
  // The length stands at the end, where anybody can write anything.
  const length = datagram.length < LENGTH_LENGTH ? 0 : readU16(datagram, datagram.length - LENGTH_LENGTH);
  if (length < WRAPPED_KEY_MIN || length > WRAPPED_KEY_MAX || length >= datagram.length)
    return drop('client-key');
  const at = datagram.length - length;
  return { packet: datagram.subarray(0, at), wrapped: datagram.subarray(at) };
}

/** What a hard reset of the server asks for; an unknown request is none. */
export interface EarlyRequests {
  /** The client's next packet must carry its key once more: the server has kept nothing. */
  readonly resendKey: boolean;
}

const TLV_FLAGS = 1;
const FLAG_RESEND_KEY = 1;

// Payload of a server's hard reset, any number of these:
// u16   type: 1 = flags
// u16   length
// u8[]  value; flags: u16, bit 0 = resend the client key

/** Asks for the client key once more. */
export function requestResend(): Uint8Array {
  return new Uint8Array([0, TLV_FLAGS, 0, 2, 0, FLAG_RESEND_KEY]);
}

/** Reads the payload of a server's hard reset; undefined when it breaks its own lengths. */
export function readEarlyRequests(payload: Uint8Array): EarlyRequests | undefined {
  let resendKey = false;
  for (let at = 0; at < payload.length; ) {
    if (payload.length - at < 4) return undefined;
    const length = readU16(payload, at + 2);
    if (payload.length - at - 4 < length) return undefined;
    if (readU16(payload, at) === TLV_FLAGS) {
      if (length !== 2) return undefined;
      if ((readU16(payload, at + 4) & FLAG_RESEND_KEY) !== 0) resendKey = true;
    }
    at += 4 + length;
  }
  return { resendKey };
}
