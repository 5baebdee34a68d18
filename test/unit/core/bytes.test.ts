// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, notEqual, throws } from 'node:assert/strict';
import fc from 'fast-check';
import {
  concat,
  decodeUtf8,
  encodeUtf8,
  fromHex,
  readU16,
  readU32,
  sameBytes,
  toHex,
  utf8Length,
  writeU16,
  writeU32,
} from '../../../src/core/bytes.ts';

const bytes = fc.uint8Array({ maxLength: 64 });

describe('core/bytes', () => {
  it('concat joins in order and copies', () => {
    const part = new Uint8Array([1, 2]);
    const joined = concat(part, new Uint8Array(0), new Uint8Array([3]));
    part[0] = 9;
    deepEqual([...joined], [1, 2, 3]);
    equal(concat().length, 0);
  });

  it('sameBytes is true for equal bytes, false for a changed byte, a prefix, or more', () => {
    fc.assert(
      fc.property(bytes, a => {
        equal(sameBytes(a, a.slice()), true);
        equal(sameBytes(a, concat(a, new Uint8Array(1))), false);
        for (let i = 0; i < a.length; i++) {
          const b = a.slice();
          b[i]! ^= 0x10;
          equal(sameBytes(a, b), false);
        }
      }),
    );
  });

  it('hex goes there and back; anything else throws', () => {
    fc.assert(fc.property(bytes, a => deepEqual(fromHex(toHex(a)), a)));
    equal(toHex(new Uint8Array([0, 0x0a, 0xff])), '000aff');
    deepEqual([...fromHex('FFfe')], [0xff, 0xfe]);
    for (const bad of ['0', '0g', ' 0', '0x', '00\n']) throws(() => fromHex(bad), RangeError);
  });

  it('integers are big-endian and unsigned', () => {
    const b = new Uint8Array(6);
    writeU32(b, 1, 0xfffefdfc);
    deepEqual([...b], [0, 0xff, 0xfe, 0xfd, 0xfc, 0]);
    equal(readU32(b, 1), 0xfffefdfc);
    writeU16(b, 0, 0xabcd);
    equal(readU16(b, 0), 0xabcd);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), n => {
        writeU32(b, 2, n);
        equal(readU32(b, 2), n);
      }),
    );
  });

  it('encodeUtf8 agrees with TextEncoder, also on lone surrogates', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        deepEqual(encodeUtf8(text), new TextEncoder().encode(text));
      }),
    );
    for (const text of ['', 'a', '\0', '\x7f', '\x80', 'é', '€', '😀', '\ud800', '\udc00x', 'x\ud83d']) {
      deepEqual(encodeUtf8(text), new TextEncoder().encode(text));
      equal(utf8Length(text), encodeUtf8(text).length);
    }
  });

  it('decodeUtf8 agrees with TextDecoder on valid and broken bytes', () => {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const lead = fc.constantFrom(
      0x00,
      0x41,
      0x80,
      0xbf,
      0xc0,
      0xc2,
      0xe0,
      0xed,
      0xef,
      0xf0,
      0xf4,
      0xf5,
      0xff,
    );
    const broken = fc
      .array(fc.oneof(lead, fc.integer({ min: 0x80, max: 0xbf }), fc.integer({ min: 0, max: 255 })))
      .map(list => new Uint8Array(list));
    fc.assert(
      fc.property(broken, b => equal(decodeUtf8(b), decoder.decode(b))),
      { numRuns: 3000 },
    );
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), t => equal(decodeUtf8(encodeUtf8(t)), t)));
    notEqual(decodeUtf8(new Uint8Array([0xc0, 0x80])), '\0');
    // However long, and wherever the first character is that is no ASCII.
    for (const text of ['x'.repeat(100_000), `${'x'.repeat(4095)}é`, `é${'x'.repeat(5000)}`])
      equal(decodeUtf8(encodeUtf8(text)), text);
  });
});
