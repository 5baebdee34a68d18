// SPDX-License-Identifier: Apache-2.0
// Key material: reading static key files, the TLS 1.0 PRF for peers without the TLS exporter, and cutting the 256
// bytes of a key exchange into the two directions of the data channel.

import { concat, encodeUtf8, fromHex, toHex } from './bytes.ts';
import { CIPHER_KEY_LENGTH, type CipherName, type Crypto, type HashName, type Random } from './crypto.ts';
import type { KeySource } from './keymethod.ts';
import {
  type DataFormat,
  type DirectionKey,
  EPOCH_KEY_LENGTH,
  type EpochKey,
  type KeyMaterial,
} from './plane.ts';
import type { TlsRole } from './tls.ts';

/** Label of the TLS exporter for data keys: KEY2_LENGTH bytes, no context. */
export const EXPORTER_DATA_KEYS = 'EXPORTER-OpenVPN-datakeys';
/** Two keys, each 64 bytes for a cipher and 64 for an HMAC. */
export const KEY2_LENGTH = 256;
const MASTER_LENGTH = 48;
const NONCE_TAIL_LENGTH = 8;
const STATIC_KEY_HEADER = '-----BEGIN OpenVPN Static key V1-----';
const STATIC_KEY_FOOTER = '-----END OpenVPN Static key V1-----';

/** The 256 bytes of a static key file, or what is wrong with it, in words. */
export function parseStaticKey(text: string): Uint8Array | string {
  const header = text.indexOf(STATIC_KEY_HEADER);
  if (header < 0) return 'it has no line "BEGIN OpenVPN Static key V1"';
  const start = header + STATIC_KEY_HEADER.length;
  const end = text.indexOf(STATIC_KEY_FOOTER, start);
  if (end < 0) return 'it has no line "END OpenVPN Static key V1"';
  const digits = text.slice(start, end).replace(/\s/g, '');
  if (!/^[0-9a-fA-F]*$/.test(digits)) return 'it contains something that is no hex digit';
  if (digits.length !== 2 * KEY2_LENGTH) return `it has ${digits.length} hex digits instead of 512`;
  return fromHex(digits);
}

/** The text of a new static key file. */
export function newStaticKey(random: Random): Uint8Array {
  const key = random(KEY2_LENGTH);
  const lines = toHex(key).match(/.{32}/g)!;
  wipe(key);
  return encodeUtf8(
    `#\n# 2048 bit OpenVPN static key\n#\n${[STATIC_KEY_HEADER, ...lines, STATIC_KEY_FOOTER].join('\n')}\n`,
  );
}

/** P_hash of RFC 2246 section 5. */
function pHash(crypto: Crypto, name: HashName, secret: Uint8Array, seed: Uint8Array, length: number) {
  const out = new Uint8Array(length);
  let a = seed;
  let at = 0;
  while (at < length) {
    a = crypto.hmac(name, secret, a);
    const block = crypto.hmac(name, secret, concat(a, seed));
    out.set(block.subarray(0, length - at), at);
    at += block.length;
  }
  return out;
}

/** The PRF of TLS 1.0 (RFC 2246 section 5); `seed` begins with the label. */
export function tls1Prf(crypto: Crypto, secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  // With an odd length both halves share the byte in the middle.
  const half = Math.ceil(secret.length / 2);
  const out = pHash(crypto, 'MD5', secret.slice(0, half), seed, length);
  const other = pHash(crypto, 'SHA1', secret.slice(secret.length - half), seed, length);
  for (let i = 0; i < length; i++) out[i]! ^= other[i]!;
  wipe(other);
  return out;
}

/**
 * KEY2_LENGTH bytes from both ends' key-method-2 messages and their control channel session ids. The sources stay
 * the caller's to wipe.
 */
export function prfKeys(
  crypto: Crypto,
  client: KeySource,
  server: KeySource,
  clientSessionId: Uint8Array,
  serverSessionId: Uint8Array,
): Uint8Array {
  if (client.preMaster === undefined) throw new RangeError('the client has a pre-master');
  const masterSeed = concat(encodeUtf8('OpenVPN master secret'), client.random1, server.random1);
  const master = tls1Prf(crypto, client.preMaster, masterSeed, MASTER_LENGTH);
  const label = encodeUtf8('OpenVPN key expansion');
  const seed = concat(label, client.random2, server.random2, clientSessionId, serverSessionId);
  const key2 = tls1Prf(crypto, master, seed, KEY2_LENGTH);
  wipe(master);
  return key2;
}

type Material<F extends DataFormat> = Extract<KeyMaterial, { readonly format: F }>;

/** Where in a key2 what we send with begins, and what we receive with. The client has the first: the opposite of tls-crypt. */
const PLACES = { client: [0, 128], server: [128, 0] } as const;

/**
 * The keys of both directions, as copies. Undefined when a cipher key is all zero, which no honest exchange produces.
 */
export function splitKeys(key2: Uint8Array, role: TlsRole, cipher: CipherName): Material<'aead'> | undefined {
  const [encrypt, decrypt] = PLACES[role].map(at => ({
    key: key2.slice(at, at + CIPHER_KEY_LENGTH[cipher]),
    nonceTail: key2.slice(at + 64, at + 64 + NONCE_TAIL_LENGTH),
  })) as [DirectionKey, DirectionKey];
  return isZero(encrypt.key) || isZero(decrypt.key) ? undefined : { format: 'aead', encrypt, decrypt };
}

/** The same for the epoch format; what is the HMAC's goes unused. */
export function splitEpochKeys(key2: Uint8Array, role: TlsRole): Material<'aead-epoch'> | undefined {
  const [encrypt, decrypt] = PLACES[role].map(at => ({
    epochKey: key2.slice(at, at + EPOCH_KEY_LENGTH),
  })) as [EpochKey, EpochKey];
  const isUnusable = isZero(encrypt.epochKey) || isZero(decrypt.epochKey);
  return isUnusable ? undefined : { format: 'aead-epoch', encrypt, decrypt };
}

function isZero(bytes: Uint8Array): boolean {
  let or = 0;
  for (const byte of bytes) or |= byte;
  return or === 0;
}

/** Overwrites a secret. The runtime may have made copies before: this shortens its life, no more. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}
