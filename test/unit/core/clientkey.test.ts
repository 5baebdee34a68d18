// SPDX-License-Identifier: Apache-2.0
// Key files of tls-crypt-v2, sealed client keys, and the requests in a server's reset: known answers, and everything
// that is nearly one.

import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { concat, encodeUtf8, fromHex, toHex, writeU16 } from '../../../src/core/bytes.ts';
import {
  metadataText,
  newClientKey,
  newServerKey,
  parseClientKey,
  parseServerKey,
  readEarlyRequests,
  requestResend,
  splitWrapped,
  unwrapClientKey,
  wrapClientKey,
} from '../../../src/core/clientkey.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { newStaticKey, parseStaticKey } from '../../../src/core/keys.ts';
import { OPCODE } from '../../../src/core/wire.ts';
import { type CryptKeys, clientKeys, createWrap, openStateless } from '../../../src/core/wrap.ts';
import { createChance } from '../../sim/random.ts';
import { crypto } from './bench.ts';
import { flipBit, packet, vector, vectorsOf } from './vectors.ts';

const chance = createChance(5);
const random = (length: number): Uint8Array => chance.bytes(length);
const serverKey = (): CryptKeys => {
  const key = parseServerKey(newServerKey(random));
  if (typeof key === 'string') throw new Error(key);
  return key;
};
const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

describe('core/clientkey: known answers', () => {
  for (const { id, inputs, outputs } of vectorsOf('tls-crypt-v2')) {
    it(id, () => {
      const server = { cipher: fromHex(inputs.Ke), hmac: fromHex(inputs.Ka) };
      const wrapped = wrapClientKey(crypto, server, fromHex(inputs.Kc), fromHex(inputs.metadata));
      equal(toHex(wrapped), outputs.WKc);
      const opened = unwrapClientKey(crypto, server, wrapped);
      ok(!isDrop(opened));
      equal(toHex(opened.key), inputs.Kc);
      const { type, payload, timestamp } = outputs.metadata_decoded;
      deepEqual(
        opened.metadata,
        type === 0 ? { kind: 'user', data: fromHex(payload) } : { kind: 'time', timeS: timestamp },
      );
      const file = parseClientKey(encodeUtf8(outputs.client_key_pem));
      ok(typeof file !== 'string', String(file));
      equal(toHex(file.key) + toHex(file.wrapped), inputs.Kc + outputs.WKc);
    });
  }

  it('packets of a real client, both ways', () => {
    for (const id of ['tls-crypt-v2-real-reset-v3', 'tls-crypt-v2-real-control-wkc-v1']) {
      const { inputs, outputs } = vector(id);
      const own = { key: fromHex(inputs.Kc), wrapped: fromHex(inputs.appended_wkc) };
      const bytes = fromHex(outputs.packet);
      const parts = splitWrapped(bytes);
      ok(!isDrop(parts));
      equal(toHex(parts.wrapped), inputs.appended_wkc);
      const opened = openStateless(clientKeys(own, 'server'), crypto, bytes);
      ok(!isDrop(opened));
      const time = Number.parseInt(inputs.header.slice(26), 16);
      const id0 = Number.parseInt(inputs.header.slice(18, 26), 16);
      const again = createWrap(clientKeys(own, 'client'), crypto, time, id0 - 1).seal(opened);
      equal(toHex(again), outputs.packet);
    }
  });

  it('a real server asks for the key once more', () => {
    deepEqual(requestResend(), fromHex('000100020001'));
    deepEqual(readEarlyRequests(fromHex('000100020001')), { resendKey: true });
  });
});

describe('core/clientkey: key files', () => {
  it('made and read again, with metadata or the time', () => {
    const server = serverKey();
    for (const [metadata, said] of [
      [undefined, 'key made at 5000000000 s'],
      [encodeUtf8('alice\n'), "metadata 'alice\\x0a'"],
      [new Uint8Array(0), "metadata ''"],
      [new Uint8Array(733), undefined],
    ] as const) {
      const file = newClientKey(crypto, random, server, 5_000_000_000, metadata);
      ok(typeof file !== 'string', String(file));
      const key = parseClientKey(file);
      ok(typeof key !== 'string', String(key));
      const opened = unwrapClientKey(crypto, server, key.wrapped);
      ok(!isDrop(opened));
      deepEqual(opened.key, key.key);
      if (said !== undefined) equal(metadataText(opened.metadata), said);
    }
    const long = newClientKey(crypto, random, server, 0, new Uint8Array(734));
    equal(long, 'metadata has 734 bytes; 733 is the most');
  });

  it('a static key', () => {
    const key = parseStaticKey(text(newStaticKey(() => Uint8Array.from({ length: 256 }, (_, i) => i))));
    deepEqual(
      key,
      Uint8Array.from({ length: 256 }, (_, i) => i),
    );
  });

  it('refuses another kind of file, two keys, wrong lengths', () => {
    const server = newServerKey(random);
    const client = newClientKey(crypto, random, serverKey(), 0);
    ok(typeof client !== 'string');
    const cases: [string | object, RegExp][] = [
      [parseServerKey(client), /holds no .*server key but an .*client key/],
      [parseClientKey(server), /holds no .*client key but an .*server key/],
      [parseServerKey(newStaticKey(random)), /but an OpenVPN Static key V1/],
      [parseServerKey(new Uint8Array(0)), /holds no/],
      [parseServerKey(concat(server, server)), /more than one/],
      [parseServerKey(encodeUtf8(text(server).replace(/[A-Za-z0-9+/]{8}\n/, '\n'))), /bytes instead of 128/],
      [parseClientKey(encodeUtf8(text(client).replace(/[A-Za-z0-9+/]{4}\n/, '\n'))), /contradict/],
    ];
    for (const [result, why] of cases) ok(typeof result === 'string' && why.test(result), String(result));
  });
});

describe('core/clientkey: sealed keys of strangers', () => {
  it('any bit changed, another key, another length: refused', () => {
    const server = serverKey();
    const wrapped = wrapClientKey(crypto, server, random(256), new Uint8Array([0, 65]));
    ok(!isDrop(unwrapClientKey(crypto, server, wrapped)));
    for (let bit = 0; bit < wrapped.length * 8; bit++) {
      ok(isDrop(unwrapClientKey(crypto, server, flipBit(wrapped, bit))), `bit ${bit}`);
    }
    ok(isDrop(unwrapClientKey(crypto, serverKey(), wrapped)));
    for (let length = 0; length < wrapped.length; length++) {
      ok(isDrop(unwrapClientKey(crypto, server, wrapped.subarray(0, length))));
      ok(isDrop(unwrapClientKey(crypto, server, wrapped.subarray(wrapped.length - length))));
    }
    ok(isDrop(unwrapClientKey(crypto, server, concat(wrapped, wrapped))));
  });

  it('every length it may claim, at the end of packets of every size', () => {
    for (const size of [0, 1, 2, 9, 53, 54, 289, 290, 291, 292, 345, 600, 1023, 1024, 1025, 1100, 2048]) {
      const datagram = new Uint8Array(size);
      for (let length = 0; length <= 0xffff; length++) {
        if (size >= 2) writeU16(datagram, size - 2, length);
        const parts = splitWrapped(datagram);
        const isPossible = size >= 2 && length >= 290 && length <= 1024 && length < size;
        equal(isDrop(parts), !isPossible, `${length} of ${size}`);
        if (!isDrop(parts)) equal(parts.packet.length + parts.wrapped.length, size);
      }
    }
  });

  it('a packet of the session with another sealed key at its end is none of it', () => {
    const server = serverKey();
    const key = random(256);
    const own = { key, wrapped: wrapClientKey(crypto, server, key, new Uint8Array([0])) };
    const other = wrapClientKey(crypto, server, key, new Uint8Array([0, 1]));
    const keys = clientKeys(own, 'server');
    const sealed = createWrap(clientKeys(own, 'client'), crypto, 1).seal(
      packet(OPCODE.controlWkc, 0, '0102030405060708', { id: 1, payload: 'aa' }),
    );
    ok(!isDrop(openStateless(keys, crypto, sealed)));
    const bare = sealed.subarray(0, sealed.length - own.wrapped.length);
    for (const bytes of [bare, concat(bare, other), concat(sealed, own.wrapped), new Uint8Array([0x58])]) {
      ok(isDrop(openStateless(keys, crypto, bytes)));
    }
  });
});

describe('core/clientkey: requests in a reset', () => {
  it('unknown ones are skipped, others read', () => {
    deepEqual(readEarlyRequests(new Uint8Array(0)), { resendKey: false });
    deepEqual(readEarlyRequests(fromHex('00020003aabbcc000100020001')), { resendKey: true });
    deepEqual(readEarlyRequests(fromHex('000100020002')), { resendKey: false });
    deepEqual(readEarlyRequests(fromHex('0001000200030009' + '0000')), { resendKey: true });
  });

  it('broken ones are refused, and no bytes throw', () => {
    for (const hex of [
      '00',
      '000100',
      '0001000200',
      '00010001ff',
      '000100030001ff',
      '0002ffff00',
      '00010002000100',
    ]) {
      equal(readEarlyRequests(fromHex(hex)), undefined, hex);
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), bytes => void readEarlyRequests(bytes)));
  });
});
