// SPDX-License-Identifier: Apache-2.0
// Crypto from @noble/ciphers and @noble/hashes: the portable body, and the one the others are tested against. JavaScript
// promises no constant time beyond `equal`; a router uses the shim's body.

import { ctr, gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { hmac } from '@noble/hashes/hmac.js';
import { md5, sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import type { CHash } from '@noble/hashes/utils.js';
import { concat } from '../core/bytes.ts';
import {
  AEAD_NONCE_LENGTH,
  AEAD_TAG_LENGTH,
  type Aead,
  CIPHER_KEY_LENGTH,
  type CipherName,
  type Crypto,
  type HashName,
  SIV_KEY_LENGTH,
  SIV_TAG_LENGTH,
  type SivKeys,
} from '../core/crypto.ts';

const HASHES: Readonly<Record<HashName, CHash>> = {
  MD5: md5,
  SHA1: sha1,
  SHA256: sha256,
  SHA384: sha384,
  SHA512: sha512,
};

function aead(cipher: CipherName, key: Uint8Array): Aead {
  if (key.length !== CIPHER_KEY_LENGTH[cipher]) throw new RangeError(`${cipher} key length`);
  const own = key.slice();
  let wiped = false;
  const make = (nonce: Uint8Array, aad: Uint8Array) => {
    if (wiped) throw new Error('the key was wiped');
    if (nonce.length !== AEAD_NONCE_LENGTH) throw new RangeError('nonce length');
    return cipher === 'CHACHA20-POLY1305' ? chacha20poly1305(own, nonce, aad) : gcm(own, nonce, aad);
  };
  return {
    seal: (nonce, aad, plaintext) => make(nonce, aad).encrypt(plaintext),
    open(nonce, aad, sealed) {
      // Made first, so that a wrong nonce length or a wiped key is not taken for a wrong tag.
      const instance = make(nonce, aad);
      if (sealed.length < AEAD_TAG_LENGTH) return undefined;
      try {
        return instance.decrypt(sealed);
      } catch {
        // With lengths checked above, a wrong tag is all that is left to throw.
        return undefined;
      }
    },
    wipe() {
      wiped = true;
      own.fill(0);
    },
  };
}

const BLOCK_LENGTH = 16;

function sivTag({ cipher, hmac: key }: SivKeys, header: Uint8Array, plaintext: Uint8Array): Uint8Array {
  if (cipher.length !== SIV_KEY_LENGTH || key.length !== SIV_KEY_LENGTH)
    throw new RangeError('SIV key length');
  return hmac(sha256, key, concat(header, plaintext));
}

function sivSeal(keys: SivKeys, header: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const tag = sivTag(keys, header, plaintext);
  return concat(tag, ctr(keys.cipher, tag.slice(0, BLOCK_LENGTH)).encrypt(plaintext));
}

function sivOpen(keys: SivKeys, header: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < SIV_TAG_LENGTH) return undefined;
  const tag = sealed.slice(0, SIV_TAG_LENGTH);
  const plaintext = ctr(keys.cipher, tag.slice(0, BLOCK_LENGTH)).encrypt(sealed.slice(SIV_TAG_LENGTH));
  return equal(sivTag(keys, header, plaintext), tag) ? plaintext : undefined;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/** The portable Crypto. */
export function nobleCrypto(): Crypto {
  return {
    aead,
    sivSeal,
    sivOpen,
    hash: (name, data) => HASHES[name](data),
    hmac: (name, key, data) => hmac(HASHES[name], key, data),
    equal,
  };
}
