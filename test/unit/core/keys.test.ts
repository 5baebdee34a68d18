// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, notEqual, ok, throws } from 'node:assert/strict';
import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { concat, encodeUtf8, fromHex, toHex } from '../../../src/core/bytes.ts';
import type { CipherName } from '../../../src/core/crypto.ts';
import {
  EXPORTER_DATA_KEYS,
  parseStaticKey,
  prfKeys,
  splitKeys,
  tls1Prf,
  wipe,
} from '../../../src/core/keys.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { flipBit, type Vector, vector, vectorsOf } from './vectors.ts';

const crypto = nobleCrypto();

function keyFile(lines: readonly string[]): string {
  return `-----BEGIN OpenVPN Static key V1-----\n${lines.join('\n')}\n-----END OpenVPN Static key V1-----\n`;
}

function prfInputs({ inputs }: Vector) {
  const bytes = (name: string) => fromHex(inputs[name]);
  return {
    client: {
      preMaster: bytes('pre_master'),
      random1: bytes('client_random1'),
      random2: bytes('client_random2'),
    },
    server: { random1: bytes('server_random1'), random2: bytes('server_random2') },
    sids: [bytes('client_session_id'), bytes('server_session_id')] as const,
  };
}

/** HKDF-Expand, by way of node's HKDF blocks. */
function expand(hash: string, prk: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  let last: Uint8Array = new Uint8Array(0);
  for (let i = 1; blocks.length * last.length < length; i++) {
    last = createHmac(hash, prk)
      .update(concat(last, info, new Uint8Array([i])))
      .digest();
    blocks.push(last);
  }
  return concat(...blocks).slice(0, length);
}

/** HKDF-Expand-Label of RFC 8446 section 7.1. */
function expandLabel(hash: string, secret: Uint8Array, label: string, context: Uint8Array, length: number) {
  const name = encodeUtf8(`tls13 ${label}`);
  const head = new Uint8Array([length >> 8, length & 255, name.length]);
  return expand(hash, secret, concat(head, name, new Uint8Array([context.length]), context), length);
}

/** P_hash of TLS 1.2, RFC 5246 section 5. */
function tls12Prf(hash: string, secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const out: Uint8Array[] = [];
  let a: Uint8Array = seed;
  for (let have = 0; have < length; have += 48) {
    a = createHmac(hash, secret).update(a).digest();
    out.push(createHmac(hash, secret).update(concat(a, seed)).digest());
  }
  return concat(...out).slice(0, length);
}

describe('core/keys: static key files', () => {
  const { inputs, outputs } = vector('static-key-parse');
  const lines = inputs.file_lines as string[];

  it('known answer static-key-parse', () => {
    const key = parseStaticKey(keyFile(lines));
    ok(typeof key !== 'string');
    equal(toHex(key), outputs.key_hex);
    equal(toHex(key.slice(0, 32)), outputs.k0_cipher_32);
    equal(toHex(key.slice(64, 96)), outputs.k0_hmac_32);
    equal(toHex(key.slice(128, 160)), outputs.k1_cipher_32);
    equal(toHex(key.slice(192, 224)), outputs.k1_hmac_32);
  });

  it('takes comments around the key, CRLF, blanks and capitals', () => {
    const text = `#\n# 2048 bit\n${keyFile(lines.map(line => ` ${line.toUpperCase()}\t\r`))}rest 00`;
    equal(toHex(parseStaticKey(text) as Uint8Array), outputs.key_hex);
  });

  it('says what is wrong with anything else', () => {
    const whole = keyFile(lines);
    const wrong = (text: string, words: RegExp) => {
      const result = parseStaticKey(text);
      ok(typeof result === 'string' && words.test(result), String(result));
    };
    wrong('', /BEGIN/);
    wrong(whole.replace('BEGIN', 'BEGINS'), /BEGIN/);
    wrong(whole.slice(0, -10), /END/);
    wrong(keyFile(lines.slice(1)), /480 hex digits/);
    wrong(keyFile([...lines, '00']), /514 hex digits/);
    wrong(keyFile(lines.slice(0, 8)), /256 hex digits/);
    wrong(keyFile(lines).replace(lines[3]!, lines[3]!.replace(/^./, 'g')), /no hex digit/);
  });
});

describe('core/keys: derivation', () => {
  it('known answer tls1-prf-unit', () => {
    const { inputs, outputs } = vector('tls1-prf-unit');
    const secret = fromHex(inputs.secret);
    equal(secret.length, inputs.secret_len);
    equal(toHex(tls1Prf(crypto, secret, fromHex(inputs.seed), 32)), outputs.prf32);
    notEqual(toHex(tls1Prf(crypto, secret.slice(1), fromHex(inputs.seed), 32)), outputs.prf32);
  });

  for (const one of vectorsOf('key-derivation-prf')) {
    it(`known answer ${one.id}`, () => {
      const { client, server, sids } = prfInputs(one);
      const key2 = prfKeys(crypto, client, server, ...sids);
      equal(toHex(key2), one.outputs.key2);
      const printed = one.outputs.printed_by_openvpn;
      if (printed) {
        equal(toHex(key2.slice(0, 32)), printed['bytes 0..31']);
        equal(toHex(key2.slice(128, 160)), printed['bytes 128..159']);
      }
      const seed = concat(encodeUtf8('OpenVPN master secret'), client.random1, server.random1);
      equal(toHex(tls1Prf(crypto, client.preMaster, seed, 48)), one.outputs.master_secret);
    });
  }

  it('every input of the PRF matters, and swapped session ids', () => {
    const one = vector('prf-key-expansion-C');
    const { client, server, sids } = prfInputs(one);
    const differs = (...args: Parameters<typeof prfKeys>) =>
      notEqual(toHex(prfKeys(...args)), one.outputs.key2);
    const change = (bytes: Uint8Array) => flipBit(bytes, 0);
    differs(crypto, { ...client, preMaster: change(client.preMaster) }, server, ...sids);
    differs(crypto, { ...client, random1: change(client.random1) }, server, ...sids);
    differs(crypto, { ...client, random2: change(client.random2) }, server, ...sids);
    differs(crypto, client, { ...server, random1: change(server.random1) }, ...sids);
    differs(crypto, client, { ...server, random2: change(server.random2) }, ...sids);
    differs(crypto, client, server, change(sids[0]), sids[1]);
    differs(crypto, client, server, sids[1], sids[0]);
    throws(() => prfKeys(crypto, server, client, ...sids), RangeError);
  });

  it('known answer ekm-tls13: the exporter label is the one OpenVPN uses', () => {
    const { inputs, outputs } = vector('ekm-tls13');
    const empty = createHash('sha384').digest();
    const exported = (label: string) => {
      const secret = expandLabel('sha384', fromHex(inputs.exporter_master_secret), label, empty, 48);
      return toHex(expandLabel('sha384', secret, 'exporter', empty, inputs.length));
    };
    equal(EXPORTER_DATA_KEYS, inputs.labels[0]);
    equal(exported(EXPORTER_DATA_KEYS), outputs.datakeys);
    equal(exported(inputs.labels[1]), outputs.dynamic_tls_crypt);
    // One block of our own expand agrees with node's HKDF.
    const key = new Uint8Array(32).fill(1);
    const prk = createHmac('sha256', new Uint8Array(32)).update(key).digest();
    const whole = new Uint8Array(hkdfSync('sha256', key, new Uint8Array(0), encodeUtf8('x'), 80));
    equal(toHex(expand('sha256', prk, encodeUtf8('x'), 80)), toHex(whole));
  });

  it('known answer ekm-tls12', () => {
    const { inputs, outputs } = vector('ekm-tls12');
    const randoms = concat(fromHex(inputs.client_random), fromHex(inputs.server_random));
    const exported = (label: string) =>
      toHex(tls12Prf('sha384', fromHex(inputs.master_secret), concat(encodeUtf8(label), randoms), 256));
    equal(exported(EXPORTER_DATA_KEYS), outputs.datakeys);
    equal(exported(inputs.labels[1]), outputs.dynamic_tls_crypt);
  });

  it('known answer dynamic-tls-crypt-key', () => {
    const { inputs, outputs } = vector('dynamic-tls-crypt-key');
    const base = fromHex(inputs.base_key);
    const key = fromHex(inputs.ekm).map((byte, i) => byte ^ base[i]!);
    equal(toHex(key), outputs.dynamic_key);
  });
});

describe('core/keys: splitKeys', () => {
  const KEY2 = Uint8Array.from({ length: 256 }, (_, i) => i);

  for (const { id, inputs } of vectorsOf('data-aead').filter(one => one.inputs.key2)) {
    it(`known answer ${id}`, () => {
      const key2 = fromHex(inputs.key2);
      const cipher: CipherName =
        inputs.key.length === 32
          ? 'AES-128-GCM'
          : id.includes('chacha')
            ? 'CHACHA20-POLY1305'
            : 'AES-256-GCM';
      const [sender, receiver] = id.endsWith('s2c')
        ? [splitKeys(key2, 'server', cipher), splitKeys(key2, 'client', cipher)]
        : [splitKeys(key2, 'client', cipher), splitKeys(key2, 'server', cipher)];
      equal(toHex(sender!.encrypt.key), inputs.key);
      equal(toHex(sender!.encrypt.nonceTail), inputs.implicit_iv);
      deepEqual(receiver!.decrypt, sender!.encrypt);
      deepEqual(receiver!.encrypt, sender!.decrypt);
      notEqual(toHex(sender!.encrypt.key), toHex(sender!.decrypt.key));
    });
  }

  it('cuts the length each cipher needs', () => {
    for (const [cipher, length] of [
      ['AES-128-GCM', 16],
      ['AES-192-GCM', 24],
      ['AES-256-GCM', 32],
      ['CHACHA20-POLY1305', 32],
    ] as const) {
      const keys = splitKeys(KEY2, 'client', cipher)!;
      deepEqual(keys.encrypt.key, KEY2.slice(0, length));
      deepEqual(keys.encrypt.nonceTail, KEY2.slice(64, 72));
      deepEqual(keys.decrypt.key, KEY2.slice(128, 128 + length));
      deepEqual(keys.decrypt.nonceTail, KEY2.slice(192, 200));
    }
  });

  it('refuses a cipher key of zeros in either direction, only in the bytes used', () => {
    for (const at of [0, 128]) {
      const key2 = KEY2.slice().fill(0, at, at + 32);
      equal(splitKeys(key2, 'client', 'AES-256-GCM'), undefined);
      equal(splitKeys(key2, 'server', 'AES-256-GCM'), undefined);
      key2[at + 31] = 1;
      ok(splitKeys(key2, 'client', 'AES-256-GCM'));
      equal(splitKeys(key2, 'client', 'AES-128-GCM'), undefined);
    }
  });

  it('gives copies: wiping the source leaves the keys', () => {
    const key2 = KEY2.slice();
    const keys = splitKeys(key2, 'client', 'AES-256-GCM')!;
    wipe(key2);
    ok(key2.every(byte => byte === 0));
    deepEqual(keys.encrypt.key, KEY2.slice(0, 32));
  });
});
