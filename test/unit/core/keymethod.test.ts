// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { concat, encodeUtf8, fromHex, toHex } from '../../../src/core/bytes.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { decodeKeyMethod2, encodeKeyMethod2, type KeyMethod2 } from '../../../src/core/keymethod.ts';
import { keyMethod2 } from './arbitraries.ts';
import { vectorsOf } from './vectors.ts';

const SOURCE = {
  preMaster: new Uint8Array(48).fill(1),
  random1: new Uint8Array(32).fill(2),
  random2: new Uint8Array(32).fill(3),
};
const MESSAGE: KeyMethod2 = {
  source: SOURCE,
  options: 'V4',
  username: 'a',
  password: 'b',
  peerInfo: 'C=d\n',
};
const FIXED = 5 + 48 + 64;

/** A client message with these fields as raw bytes. */
function withFields(...fields: Uint8Array[]): Uint8Array {
  return concat(encodeKeyMethod2(MESSAGE).slice(0, FIXED), ...fields);
}

function field(text: string | Uint8Array, length?: number): Uint8Array {
  const bytes = typeof text === 'string' ? encodeUtf8(text) : text;
  const size = length ?? bytes.length;
  return concat(new Uint8Array([size >> 8, size & 255]), bytes);
}

function isRefused(bytes: Uint8Array): boolean {
  const read = decodeKeyMethod2(bytes, 'client');
  if (isDrop(read)) equal(read.drop, 'key-method');
  return isDrop(read);
}

describe('core/keymethod', () => {
  for (const { id, inputs, outputs } of vectorsOf('key-method-2')) {
    it(`known answer ${id}`, () => {
      const from = outputs.pre_master ? 'client' : 'server';
      const read = decodeKeyMethod2(fromHex(inputs.message), from);
      ok(!isDrop(read));
      equal(read.source.preMaster && toHex(read.source.preMaster), outputs.pre_master);
      equal(toHex(read.source.random1), outputs.random1);
      equal(toHex(read.source.random2), outputs.random2);
      equal(read.options, outputs.options.text);
      equal(read.username ?? null, outputs.username?.text ?? null);
      equal(read.password ?? null, outputs.password?.text ?? null);
      equal(read.peerInfo, outputs.peer_info?.text ?? '');
      equal(toHex(encodeKeyMethod2(read)), inputs.message);
    });
  }

  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(keyMethod2, message => {
        const from = message.source.preMaster ? 'client' : 'server';
        deepEqual(decodeKeyMethod2(encodeKeyMethod2(message), from), message);
      }),
    );
  });

  it('tells an absent user name from an empty one', () => {
    const { username: _username, password: _password, ...rest } = MESSAGE;
    deepEqual(decodeKeyMethod2(encodeKeyMethod2(rest), 'client'), rest);
    const empty = { ...rest, username: '', password: '' };
    deepEqual(decodeKeyMethod2(encodeKeyMethod2(empty), 'client'), empty);
  });

  it('may end behind the options, the user name or the password, nowhere else', () => {
    const whole = encodeKeyMethod2(MESSAGE);
    const ends = new Set([FIXED + 5, FIXED + 9, FIXED + 13, whole.length]);
    for (let length = 0; length <= whole.length; length++) {
      equal(isRefused(whole.slice(0, length)), !ends.has(length), `length ${length}`);
    }
    const short = decodeKeyMethod2(whole.slice(0, FIXED + 5), 'client');
    deepEqual(short, { source: SOURCE, options: 'V4', peerInfo: '' });
  });

  it('may have empty options and nothing behind them', () => {
    deepEqual(decodeKeyMethod2(withFields(field('')), 'client'), {
      source: SOURCE,
      options: '',
      peerInfo: '',
    });
  });

  it('leaves bytes behind the last field alone', () => {
    deepEqual(decodeKeyMethod2(concat(encodeKeyMethod2(MESSAGE), fromHex('00ff')), 'client'), MESSAGE);
  });

  it('takes key method 2 only, and the high bits of its byte as they come', () => {
    const bytes = encodeKeyMethod2(MESSAGE);
    for (let method = 0; method < 256; method++) {
      bytes[4] = method;
      equal(isRefused(bytes), (method & 15) !== 2);
    }
    for (let i = 0; i < 4; i++) {
      const wrong = encodeKeyMethod2(MESSAGE);
      wrong[i] = 1;
      ok(isRefused(wrong));
    }
  });

  it('refuses fields without NUL, with a NUL inside, with bytes that are no UTF-8, or too long', () => {
    equal(isRefused(withFields(field('V4\0'), field('user\0'))), false);
    ok(isRefused(withFields(field('V4'))));
    ok(isRefused(withFields(field('V4\0'), field('user'))));
    ok(isRefused(withFields(field('V4\0'), field('admin\0x\0'))));
    ok(isRefused(withFields(field('V4\0'), field(new Uint8Array([0xff, 0])))));
    equal(isRefused(withFields(field('V4\0'), field('\ufffd\0'))), false);
    ok(isRefused(withFields(field('V4\0', 4))));
    ok(isRefused(withFields(field('V4\0', 0xffff))));
  });

  it('refuses a message above 2048 bytes, takes one of 2048', () => {
    const fill = (total: number) => withFields(field(`${'x'.repeat(total - FIXED - 3)}\0`));
    equal(fill(2048).length, 2048);
    equal(isRefused(fill(2048)), false);
    ok(isRefused(fill(2049)));
  });

  it('a client message read as a server one is not accepted as such, nor the other way round', () => {
    const asServer = decodeKeyMethod2(encodeKeyMethod2(MESSAGE), 'server');
    ok(isDrop(asServer) || toHex(asServer.source.random1) !== toHex(SOURCE.random1));
    const { preMaster: _preMaster, ...source } = SOURCE;
    ok(isRefused(encodeKeyMethod2({ source, options: 'V4', peerInfo: '' })));
  });

  it('keeps nothing of the record it read', () => {
    const bytes = encodeKeyMethod2(MESSAGE);
    const read = decodeKeyMethod2(bytes, 'client');
    bytes.fill(0);
    deepEqual(read, MESSAGE);
  });
});
