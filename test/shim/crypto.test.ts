// SPDX-License-Identifier: Apache-2.0
// The shim's cryptography against Node's own, for all algorithms and many lengths.

import assert from 'node:assert/strict';
import * as node from 'node:crypto';
import { CIPHER_KEY_LENGTH, type CipherName, HASH_LENGTH, type HashName } from '../../src/core/crypto.ts';
import { nodeCrypto } from '../unit/plane/nodecrypto.ts';
import { newHost, rawShim } from './support.ts';

const host = newHost();
const shim = rawShim();
const CIPHERS = Object.keys(CIPHER_KEY_LENGTH) as CipherName[];
const HASHES = Object.keys(HASH_LENGTH) as HashName[];
const LENGTHS = [...Array(67).keys(), 127, 128, 1399, 1400, 1500, 65_507, 1 << 20];

function nodeSeal(name: CipherName, key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, text: Uint8Array) {
  const cipher = node.createCipheriv(name.toLowerCase() as node.CipherGCMTypes, key, nonce, {
    authTagLength: 16,
  } as node.CipherGCMOptions);
  cipher.setAAD(aad);
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

describe('cryptography of the shim', () => {
  for (const name of CIPHERS) {
    it(`seals and opens with ${name} as Node does`, () => {
      const key = host.random(CIPHER_KEY_LENGTH[name]);
      const aead = host.crypto.aead(name, key);
      for (const length of LENGTHS) {
        const nonce = host.random(12);
        const aad = host.random(length % 40);
        const text = host.random(length);
        const sealed = aead.seal(nonce, aad, text);
        assert.ok(Buffer.from(sealed).equals(nodeSeal(name, key, nonce, aad, text)), `length ${length}`);
        assert.ok(Buffer.from(aead.open(nonce, aad, sealed)!).equals(text), `length ${length}`);
      }
      aead.wipe();
      assert.throws(() => aead.seal(host.random(12), key, key), /EBADF/);
      assert.throws(() => aead.open(host.random(12), key, key), /EBADF/);
      aead.wipe();
    });

    it(`refuses each flipped bit under ${name}, and works on afterwards`, () => {
      const aead = host.crypto.aead(name, host.random(CIPHER_KEY_LENGTH[name]));
      const [nonce, aad, text] = [host.random(12), host.random(9), host.random(40)];
      const sealed = aead.seal(nonce, aad, text);
      for (const part of [nonce, aad, sealed]) {
        for (let bit = 0; bit < part.length * 8; bit++) {
          part[bit >> 3]! ^= 1 << (bit & 7);
          assert.equal(aead.open(nonce, aad, sealed), undefined);
          part[bit >> 3]! ^= 1 << (bit & 7);
        }
      }
      for (let length = 0; length < sealed.length; length++) {
        assert.equal(aead.open(nonce, aad, sealed.subarray(0, length)), undefined);
      }
      assert.deepEqual(aead.open(nonce, aad, sealed), text);
      for (const length of [0, 11, 13, 16]) {
        assert.throws(() => aead.seal(new Uint8Array(length), aad, text), /EINVAL/);
        assert.throws(() => aead.open(new Uint8Array(length), aad, sealed), /EINVAL/);
      }
      aead.wipe();
    });

    it(`refuses keys of a wrong length for ${name}`, () => {
      for (const length of [0, 15, 17, 31, 33, 64]) {
        assert.throws(() => host.crypto.aead(name, new Uint8Array(length)), RangeError);
        assert.ok(shim.aead_key(name, new Uint8Array(length)) < 0);
      }
    });
  }

  it('seals under a SIV as Node does, and opens it', () => {
    for (const length of LENGTHS) {
      const keys = { cipher: host.random(32), hmac: host.random(32) };
      const [header, data] = [host.random(length % 100), host.random(length)];
      const sealed = host.crypto.sivSeal(keys, header, data);
      assert.deepEqual(sealed, nodeCrypto.sivSeal(keys, header, data));
      assert.deepEqual(host.crypto.sivOpen(keys, header, sealed), data);
    }
  });

  it('opens no SIV that was changed or cut, and takes keys of 32 bytes only', () => {
    const keys = { cipher: host.random(32), hmac: host.random(32) };
    const [header, data] = [host.random(17), host.random(40)];
    const sealed = host.crypto.sivSeal(keys, header, data);
    for (let i = 0; i < sealed.length; i++) {
      const forged = sealed.slice();
      forged[i]! ^= 1;
      assert.equal(host.crypto.sivOpen(keys, header, forged), undefined);
      assert.equal(host.crypto.sivOpen(keys, header, sealed.subarray(0, i)), undefined);
    }
    assert.equal(host.crypto.sivOpen(keys, data, sealed), undefined);
    for (const length of [0, 16, 31, 33]) {
      for (const name of ['cipher', 'hmac']) {
        const wrong = { ...keys, [name]: new Uint8Array(length) };
        assert.throws(() => host.crypto.sivSeal(wrong, header, data), /EINVAL/);
        assert.throws(() => host.crypto.sivOpen(wrong, header, sealed), /EINVAL/);
      }
    }
  });

  for (const name of HASHES) {
    it(`hashes and authenticates with ${name} as Node does`, () => {
      for (const length of LENGTHS) {
        const data = host.random(length);
        const digest = host.crypto.hash(name, data);
        assert.equal(digest.length, HASH_LENGTH[name]);
        assert.ok(node.createHash(name).update(data).digest().equals(digest));
        const key = host.random(length % 300);
        assert.ok(
          node
            .createHmac(name, key)
            .update(data)
            .digest()
            .equals(host.crypto.hmac(name, key, data)),
        );
      }
    });
  }

  it('knows no other names', () => {
    const byte = new Uint8Array(16);
    assert.ok(shim.aead_key('AES-128-CBC', byte) < 0);
    assert.ok((shim.hash('SHA224', byte) as number) < 0);
    assert.ok((shim.hmac('', byte, byte) as number) < 0);
  });

  it('compares', () => {
    const a = host.random(64);
    assert.ok(host.crypto.equal(a, a.slice()));
    assert.ok(host.crypto.equal(new Uint8Array(0), new Uint8Array(0)));
    assert.ok(!host.crypto.equal(a, a.subarray(1)));
    for (let i = 0; i < a.length; i++) {
      const b = a.slice();
      b[i]! ^= 0x80;
      assert.ok(!host.crypto.equal(a, b));
    }
  });

  it('is random', () => {
    assert.equal(host.random(0).length, 0);
    assert.notDeepEqual(host.random(16), host.random(16));
    assert.throws(() => host.random(-1), /EINVAL/);
    assert.throws(() => host.random((1 << 20) + 1), /EINVAL/);
  });

  it('takes views into larger buffers, and no detached or shrunk ones', () => {
    const large = host.random(100);
    const view = large.subarray(50, 60);
    assert.deepEqual(host.crypto.hash('SHA256', view), host.crypto.hash('SHA256', view.slice()));
    const gone = new Uint8Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    assert.throws(() => shim.hash('SHA256', gone), TypeError);
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void };
    const buffer = new Resizable(64, { maxByteLength: 128 });
    if (typeof buffer.resize !== 'function') return;
    const tail = new Uint8Array(buffer, 32, 32);
    buffer.resize(8);
    try {
      // Either refused, or seen as empty; never read beyond the end.
      assert.deepEqual(shim.hash('SHA256', tail), host.crypto.hash('SHA256', new Uint8Array(0)));
    } catch (error) {
      assert.ok(error instanceof TypeError);
    }
  });

  it('keeps thousands of keys apart, and no handle works after its key is gone', () => {
    const handles: number[] = [];
    for (let i = 0; i < 3000; i++) handles.push(shim.aead_key('AES-128-GCM', new Uint8Array(16).fill(i)));
    assert.equal(new Set(handles).size, 3000);
    for (const handle of handles) assert.equal(shim.aead_close(handle), 0);
    const again = shim.aead_key('AES-128-GCM', new Uint8Array(16));
    assert.ok(!handles.includes(again), 'a number is not given twice');
    for (const handle of handles) assert.ok(shim.aead_close(handle) < 0);
    // A handle of another kind.
    assert.ok(shim.udp_fd(again) < 0);
    shim.aead_close(again);
  });
});
