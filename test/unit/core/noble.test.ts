// SPDX-License-Identifier: Apache-2.0
// The portable Crypto against known answers and against node:crypto.

import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import * as node from 'node:crypto';
import fc from 'fast-check';
import { concat, fromHex, toHex } from '../../../src/core/bytes.ts';
import { CIPHER_KEY_LENGTH, type CipherName, HASH_LENGTH, type HashName } from '../../../src/core/crypto.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { nodeCrypto } from '../plane/nodecrypto.ts';
import { flipBit, type Vector, vectorsOf } from './vectors.ts';

const crypto = nobleCrypto();
const CIPHERS = Object.keys(CIPHER_KEY_LENGTH) as CipherName[];
const HASHES = Object.keys(HASH_LENGTH) as HashName[];
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const data = fc.uint8Array({ maxLength: 300 });

function nodeSeal(
  cipher: CipherName,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plain: Uint8Array,
) {
  const name = cipher.toLowerCase() as node.CipherGCMTypes;
  const sealer = node.createCipheriv(name, key, nonce, { authTagLength: 16 } as node.CipherGCMOptions);
  sealer.setAAD(aad, { plaintextLength: plain.length } as never);
  return new Uint8Array(concat(sealer.update(plain), sealer.final(), sealer.getAuthTag()));
}

function cipherOf({ id, inputs }: Vector): CipherName {
  if (id.includes('chacha')) return 'CHACHA20-POLY1305';
  return inputs.key.length === 32 ? 'AES-128-GCM' : 'AES-256-GCM';
}

describe('host/noble: AEAD', () => {
  for (const one of vectorsOf('data-aead')) {
    it(`known answer ${one.id}, here and in node:crypto`, () => {
      const cipher = cipherOf(one);
      const [key, nonce, aad, plain] = ['key', 'nonce', 'aad', 'plaintext'].map(name =>
        fromHex(one.inputs[name]),
      ) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
      const packet = fromHex(one.outputs.packet);
      const tagAt = packet.length - plain.length - 16;
      const sealed = concat(packet.slice(tagAt + 16), packet.slice(tagAt, tagAt + 16));
      const aead = crypto.aead(cipher, key);
      equal(toHex(aead.seal(nonce, aad, plain)), toHex(sealed));
      equal(toHex(nodeSeal(cipher, key, nonce, aad, plain)), toHex(sealed));
      equal(toHex(aead.open(nonce, aad, sealed)!), one.inputs.plaintext);
      for (let bit = 0; bit < sealed.length * 8; bit++) {
        equal(aead.open(nonce, aad, flipBit(sealed, bit)), undefined);
      }
      for (let bit = 0; bit < aad.length * 8; bit++) {
        equal(aead.open(nonce, flipBit(aad, bit), sealed), undefined);
      }
      for (let bit = 0; bit < nonce.length * 8; bit++) {
        equal(aead.open(flipBit(nonce, bit), aad, sealed), undefined);
      }
      for (let length = 0; length < sealed.length; length++) {
        equal(aead.open(nonce, aad, sealed.slice(0, length)), undefined);
      }
    });
  }

  for (const cipher of CIPHERS) {
    it(`${cipher} agrees with node:crypto on any input`, () => {
      fc.assert(
        fc.property(bytes(CIPHER_KEY_LENGTH[cipher]), bytes(12), data, data, (key, nonce, aad, plain) => {
          const aead = crypto.aead(cipher, key);
          const sealed = aead.seal(nonce, aad, plain);
          deepEqual(sealed, nodeSeal(cipher, key, nonce, aad, plain));
          deepEqual(aead.open(nonce, aad, sealed), plain);
        }),
      );
    });

    it(`${cipher} copies its key, and does nothing without it`, () => {
      const key = new Uint8Array(CIPHER_KEY_LENGTH[cipher]).fill(1);
      const nonce = new Uint8Array(12);
      const aead = crypto.aead(cipher, key);
      const sealed = aead.seal(nonce, nonce, nonce);
      key.fill(0);
      deepEqual(aead.open(nonce, nonce, sealed), nonce);
      aead.wipe();
      throws(() => aead.open(nonce, nonce, sealed), /wiped/);
      throws(() => aead.seal(nonce, nonce, nonce), /wiped/);
    });

    it(`${cipher} refuses keys and nonces of another length`, () => {
      throws(() => crypto.aead(cipher, new Uint8Array(CIPHER_KEY_LENGTH[cipher] - 1)), RangeError);
      const aead = crypto.aead(cipher, new Uint8Array(CIPHER_KEY_LENGTH[cipher]).fill(1));
      throws(() => aead.seal(new Uint8Array(11), new Uint8Array(0), new Uint8Array(0)), RangeError);
      throws(() => aead.open(new Uint8Array(13), new Uint8Array(0), new Uint8Array(16)), RangeError);
    });
  }
});

describe('host/noble: the rest', () => {
  it('a SIV agrees with node:crypto, and opens when nothing was changed', () => {
    fc.assert(
      fc.property(bytes(32), bytes(32), data, data, fc.nat(), (cipher, hmac, header, plain, bit) => {
        const keys = { cipher, hmac };
        const sealed = crypto.sivSeal(keys, header, plain);
        deepEqual(sealed, nodeCrypto.sivSeal(keys, header, plain));
        deepEqual(crypto.sivOpen(keys, header, sealed), plain);
        equal(crypto.sivOpen(keys, header, flipBit(sealed, bit % (8 * sealed.length))), undefined);
        if (header.length > 0)
          equal(crypto.sivOpen(keys, flipBit(header, bit % (8 * header.length)), sealed), undefined);
        equal(crypto.sivOpen(keys, header, sealed.subarray(0, 31)), undefined);
      }),
    );
  });

  it('a SIV takes keys of 32 bytes only', () => {
    const [key, short] = [new Uint8Array(32), new Uint8Array(31)];
    for (const keys of [
      { cipher: key, hmac: short },
      { cipher: short, hmac: key },
    ]) {
      throws(() => crypto.sivSeal(keys, key, key), RangeError);
    }
  });

  for (const name of HASHES) {
    it(`${name} and its HMAC agree with node:crypto`, () => {
      fc.assert(
        fc.property(data, fc.uint8Array({ maxLength: 200 }), (text, key) => {
          const digest = crypto.hash(name, text);
          equal(digest.length, HASH_LENGTH[name]);
          equal(toHex(digest), node.createHash(name).update(text).digest('hex'));
          equal(toHex(crypto.hmac(name, key, text)), node.createHmac(name, key).update(text).digest('hex'));
        }),
      );
    });
  }

  it('equal is true for equal bytes only', () => {
    fc.assert(
      fc.property(data, a => {
        equal(crypto.equal(a, a.slice()), true);
        equal(crypto.equal(a, concat(a, new Uint8Array(1))), false);
        for (let bit = 0; bit < Math.min(a.length, 8) * 8; bit++)
          equal(crypto.equal(a, flipBit(a, bit)), false);
      }),
    );
    ok(crypto.equal(new Uint8Array(0), new Uint8Array(0)));
  });
});
