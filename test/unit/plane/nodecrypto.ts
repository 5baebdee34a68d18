// SPDX-License-Identifier: Apache-2.0
// Crypto on node:crypto (OpenSSL), to test against: another body than those that ship.

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  type DecipherGCM,
  timingSafeEqual,
} from 'node:crypto';
import {
  AEAD_TAG_LENGTH,
  type Aead,
  CIPHER_KEY_LENGTH,
  type CipherName,
  type Crypto,
} from '../../../src/core/crypto.ts';

class NodeAead implements Aead {
  readonly #name: 'aes-256-gcm';
  readonly #key: Uint8Array;
  #isWiped = false;

  constructor(cipher: CipherName, key: Uint8Array) {
    // One name for the type checker: all four take the same arguments.
    this.#name = cipher.toLowerCase() as 'aes-256-gcm';
    this.#key = key.slice();
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    this.#checkAlive();
    const cipher = createCipheriv(this.#name, this.#key, nonce, { authTagLength: AEAD_TAG_LENGTH });
    cipher.setAAD(aad, { plaintextLength: plaintext.length });
    const text = cipher.update(plaintext);
    cipher.final();
    return new Uint8Array(Buffer.concat([text, cipher.getAuthTag()]));
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    this.#checkAlive();
    const textLength = sealed.length - AEAD_TAG_LENGTH;
    const cipher: DecipherGCM = createDecipheriv(this.#name, this.#key, nonce, {
      authTagLength: AEAD_TAG_LENGTH,
    });
    cipher.setAAD(aad, { plaintextLength: textLength });
    cipher.setAuthTag(sealed.subarray(textLength));
    const text = cipher.update(sealed.subarray(0, textLength));
    try {
      cipher.final();
    } catch {
      return undefined; // The tag is wrong; node has no other way to say so.
    }
    return new Uint8Array(text);
  }

  wipe(): void {
    this.#key.fill(0);
    this.#isWiped = true;
  }

  #checkAlive(): void {
    if (this.#isWiped) throw new Error('AEAD key used after wipe');
  }
}

export const nodeCrypto: Crypto = {
  aead(cipher, key) {
    if (key.length !== CIPHER_KEY_LENGTH[cipher]) throw new Error(`key length ${key.length} for ${cipher}`);
    return new NodeAead(cipher, key);
  },
  sivSeal({ cipher, hmac }, header, plaintext) {
    const tag = createHmac('sha256', hmac).update(header).update(plaintext).digest();
    const text = createCipheriv('aes-256-ctr', cipher, tag.subarray(0, 16)).update(plaintext);
    return new Uint8Array(Buffer.concat([tag, text]));
  },
  sivOpen({ cipher, hmac }, header, sealed) {
    if (sealed.length < 32) return undefined;
    const tag = sealed.subarray(0, 32);
    const text = createCipheriv('aes-256-ctr', cipher, tag.subarray(0, 16)).update(sealed.subarray(32));
    const expected = createHmac('sha256', hmac).update(header).update(text).digest();
    return timingSafeEqual(expected, tag) ? new Uint8Array(text) : undefined;
  },
  hash(name, data) {
    return new Uint8Array(createHash(name).update(data).digest());
  },
  hmac(name, key, data) {
    return new Uint8Array(createHmac(name, key).update(data).digest());
  },
  equal(a, b) {
    return a.length === b.length && timingSafeEqual(a, b);
  },
};
