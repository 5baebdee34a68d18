// SPDX-License-Identifier: Apache-2.0
// node:fs, node:path and node:crypto, as much of them as the unit tests use, on the shim: so that what Node's OpenSSL
// is elsewhere, the oracle, is here the library of the architecture under test.

import { ctr } from '@noble/ciphers/aes.js';
import { concat, decodeUtf8, encodeUtf8, toHex } from '../../../src/core/bytes.ts';
import type { CipherName, HashName } from '../../../src/core/crypto.ts';
import { currentHost } from '../../../src/host/current.ts';
import { describe, isFailure } from '../../../src/host/host.ts';

const host = currentHost();
const { crypto } = host;

export function readFileSync(path: string, encoding?: 'utf8'): Uint8Array | string {
  const bytes = host.files.read(path);
  if (isFailure(bytes)) throw new Error(describe(bytes));
  return encoding === undefined ? bytes : (decodeUtf8(bytes) ?? '');
}

export function existsSync(path: string): boolean {
  return !isFailure(host.files.status(path));
}

export function readdirSync(path: string): string[] {
  const names = host.files.list(path);
  if (isFailure(names)) throw new Error(describe(names));
  return names;
}

export function join(...parts: readonly string[]): string {
  return parts.join('/');
}

const hashName = (name: string) => name.toUpperCase().replace('-', '') as HashName;
const bytesOf = (data: Uint8Array | string) => (typeof data === 'string' ? encodeUtf8(data) : data);

class Digest {
  #data = new Uint8Array(0);
  readonly #finish: (data: Uint8Array) => Uint8Array;

  constructor(finish: (data: Uint8Array) => Uint8Array) {
    this.#finish = finish;
  }

  update(data: Uint8Array | string): this {
    this.#data = new Uint8Array(concat(this.#data, bytesOf(data)));
    return this;
  }

  digest(encoding?: 'hex'): Uint8Array | string {
    const out = this.#finish(this.#data);
    return encoding === undefined ? out : toHex(out);
  }
}

export function createHash(name: string): Digest {
  return new Digest(data => crypto.hash(hashName(name), data));
}

export function createHmac(name: string, key: Uint8Array): Digest {
  return new Digest(data => crypto.hmac(hashName(name), key, data));
}

export function hkdfSync(
  name: string,
  key: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const digest = hashName(name);
  const size = crypto.hash(digest, key).length;
  const prk = crypto.hmac(digest, salt.length === 0 ? new Uint8Array(size) : salt, key);
  let out = new Uint8Array(0);
  for (let i = 1, last = out; out.length < length; i++) {
    last = new Uint8Array(crypto.hmac(digest, prk, concat(last, info, new Uint8Array([i]))));
    out = new Uint8Array(concat(out, last));
  }
  return out.slice(0, length);
}

/** Takes one piece of text. */
class Cipher {
  readonly #run: (aad: Uint8Array, text: Uint8Array) => Uint8Array;
  #aad = new Uint8Array(0);
  #tag = new Uint8Array(0);

  constructor(run: (aad: Uint8Array, text: Uint8Array) => Uint8Array) {
    this.#run = run;
  }

  setAAD(aad: Uint8Array): this {
    this.#aad = new Uint8Array(aad);
    return this;
  }

  update(text: Uint8Array): Uint8Array {
    const out = this.#run(this.#aad, text);
    this.#tag = new Uint8Array(out.subarray(text.length));
    return out.subarray(0, text.length);
  }

  final(): Uint8Array {
    return new Uint8Array(0);
  }

  getAuthTag(): Uint8Array {
    return this.#tag;
  }
}

export function createCipheriv(name: string, key: Uint8Array, iv: Uint8Array): Cipher {
  if (name === 'aes-256-ctr') return new Cipher((_, text) => ctr(key, iv).encrypt(text));
  const aead = crypto.aead(name.toUpperCase() as CipherName, key);
  return new Cipher((aad, text) => aead.seal(iv, aad, text));
}

class Decipher {
  readonly #open: (aad: Uint8Array, sealed: Uint8Array) => Uint8Array | undefined;
  #aad = new Uint8Array(0);
  #tag = new Uint8Array(0);
  #isGood = false;

  constructor(open: (aad: Uint8Array, sealed: Uint8Array) => Uint8Array | undefined) {
    this.#open = open;
  }

  setAAD(aad: Uint8Array): this {
    this.#aad = new Uint8Array(aad);
    return this;
  }

  setAuthTag(tag: Uint8Array): this {
    this.#tag = new Uint8Array(tag);
    return this;
  }

  update(text: Uint8Array): Uint8Array {
    const out = this.#open(this.#aad, concat(text, this.#tag));
    this.#isGood = out !== undefined;
    return out ?? new Uint8Array(text.length);
  }

  final(): Uint8Array {
    if (!this.#isGood) throw new Error('the tag is wrong');
    return new Uint8Array(0);
  }
}

export function createDecipheriv(name: string, key: Uint8Array, iv: Uint8Array): Decipher {
  const aead = crypto.aead(name.toUpperCase() as CipherName, key);
  return new Decipher((aad, sealed) => aead.open(iv, aad, sealed));
}

export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return crypto.equal(a, b);
}

export function randomBytes(length: number): Uint8Array {
  return host.random(length);
}
