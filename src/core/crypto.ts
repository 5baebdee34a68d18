// SPDX-License-Identifier: Apache-2.0
// What the protocol needs from cryptography, as one interface with two bodies: portable (@noble) and the
// shim's. Randomness is not here: it is given to each endpoint as a function.

/** Data-channel ciphers by their OpenVPN names. */
export type CipherName = 'AES-128-GCM' | 'AES-192-GCM' | 'AES-256-GCM' | 'CHACHA20-POLY1305';

/** Digests by their OpenVPN names; MD5 and SHA1 exist for the TLS 1.0 PRF and tls-auth only. */
export type HashName = 'MD5' | 'SHA1' | 'SHA256' | 'SHA384' | 'SHA512';

export const CIPHER_KEY_LENGTH: Readonly<Record<CipherName, number>> = {
  'AES-128-GCM': 16,
  'AES-192-GCM': 24,
  'AES-256-GCM': 32,
  'CHACHA20-POLY1305': 32,
};

export const HASH_LENGTH: Readonly<Record<HashName, number>> = {
  MD5: 16,
  SHA1: 20,
  SHA256: 32,
  SHA384: 48,
  SHA512: 64,
};

export const AEAD_TAG_LENGTH = 16;
export const AEAD_NONCE_LENGTH = 12;

/** One AEAD key, ready for use in one direction or both. */
export interface Aead {
  /** Returns a new array: ciphertext, then the 16-byte tag. Arguments are borrowed until return. */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** `sealed` is ciphertext followed by the 16-byte tag. Returns a new array, or undefined when the tag is wrong. */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  /** Forgets the key; using the object afterwards is a programmer error. */
  wipe(): void;
}

/** Keys of a SIV for one direction, SIV_KEY_LENGTH bytes each. */
export interface SivKeys {
  readonly cipher: Uint8Array;
  readonly hmac: Uint8Array;
}

export const SIV_KEY_LENGTH = 32;
export const SIV_TAG_LENGTH = 32;

export interface Crypto {
  /** `key` has CIPHER_KEY_LENGTH[cipher] bytes and is copied. */
  aead(cipher: CipherName, key: Uint8Array): Aead;
  /**
   * A new array: HMAC-SHA256 over header and plaintext, then the plaintext in AES-256-CTR whose first counter block is
   * the first half of that. Arguments are borrowed until return.
   */
  sivSeal(keys: SivKeys, header: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /** Its inverse: a new array, or undefined when the tag is wrong. */
  sivOpen(keys: SivKeys, header: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  hash(name: HashName, data: Uint8Array): Uint8Array;
  hmac(name: HashName, key: Uint8Array, data: Uint8Array): Uint8Array;
  /** Constant time for equal lengths; false for different lengths. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
}

/** Cryptographically secure random bytes. */
export type Random = (length: number) => Uint8Array;
