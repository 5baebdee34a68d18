// SPDX-License-Identifier: Apache-2.0
// The shim's body of Crypto.

import {
  AEAD_NONCE_LENGTH,
  type Aead,
  CIPHER_KEY_LENGTH,
  type CipherName,
  type Crypto,
  type HashName,
  type Random,
  SIV_KEY_LENGTH,
} from '../core/crypto.ts';
import type { PrivateKeys } from './host.ts';
import { demand, failure, type RawShim } from './raw.ts';

class ShimAead implements Aead {
  readonly #shim: RawShim;
  #handle: number;

  constructor(shim: RawShim, cipher: CipherName, key: Uint8Array) {
    this.#shim = shim;
    if (key.length !== CIPHER_KEY_LENGTH[cipher]) throw new RangeError(`${cipher}: wrong key length`);
    this.#handle = demand(shim, 'aead_key', shim.aead_key(cipher, key));
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return demand<Uint8Array>(this.#shim, 'seal', this.#shim.aead_seal(this.#handle, nonce, aad, plaintext));
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const opened = this.#shim.aead_open(this.#handle, nonce, aad, sealed);
    if (typeof opened !== 'number') return opened;
    // A wrong nonce length or a wiped key is a programmer's error, a wrong tag is a peer's.
    if (nonce.length !== AEAD_NONCE_LENGTH || this.#handle < 0) demand(this.#shim, 'open', opened);
    return undefined;
  }

  wipe(): void {
    this.#shim.aead_close(this.#handle);
    this.#handle = -1;
  }
}

/** Crypto of the TLS library, through the shim. */
export function shimCrypto(shim: RawShim): Crypto {
  return {
    aead: (cipher, key) => new ShimAead(shim, cipher, key),
    sivSeal: ({ cipher, hmac }, header, plaintext) =>
      demand<Uint8Array>(shim, 'siv_seal', shim.siv_seal(cipher, hmac, header, plaintext)),
    sivOpen: ({ cipher, hmac }, header, sealed) => {
      const opened = shim.siv_open(cipher, hmac, header, sealed);
      if (typeof opened !== 'number') return opened;
      // Wrong keys are a programmer's error, a wrong tag is a peer's.
      if (cipher.length !== SIV_KEY_LENGTH || hmac.length !== SIV_KEY_LENGTH)
        demand(shim, 'siv_open', opened);
      return undefined;
    },
    hash: (name: HashName, data) => demand<Uint8Array>(shim, 'hash', shim.hash(name, data)),
    hmac: (name: HashName, key, data) => demand<Uint8Array>(shim, 'hmac', shim.hmac(name, key, data)),
    equal: (a, b) => shim.equal(a, b) === 1,
  };
}

/** The kernel's generator. */
export function shimRandom(shim: RawShim): Random {
  return length => demand<Uint8Array>(shim, 'random_bytes', shim.random_bytes(length));
}

export function shimPrivateKeys(shim: RawShim): PrivateKeys {
  return {
    generate: kind => {
      const made = shim.pkey_generate(kind);
      if (typeof made === 'number' && failure(shim, 'pkey_generate', made).code === 'ENOSYS')
        return undefined;
      return demand<Uint8Array>(shim, 'pkey_generate', made);
    },
    isKey: pem => typeof shim.pkey_public(pem) !== 'number',
    publicKey: pem => demand<Uint8Array>(shim, 'pkey_public', shim.pkey_public(pem)),
    sign: (pem, data) => demand<Uint8Array>(shim, 'pkey_sign', shim.pkey_sign(pem, data)),
    pkcs12: file => {
      const pem = shim.pkey_pkcs12(file);
      return typeof pem === 'number' ? failure(shim, 'pkey_pkcs12', pem) : pem;
    },
  };
}
