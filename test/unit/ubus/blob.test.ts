// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert';
import {
  BLOB_BYTES_MAX,
  BlobWriter,
  DEPTH_MAX,
  decodeTable,
  encodeTable,
  readAttributes,
  readString,
} from '../../../src/ubus/blob.ts';
import { hex, plain, toHex } from './helpers.ts';

/** Each type once, by hand from the layout. */
const SAMPLES: readonly [string, object, string][] = [
  ['empty table', {}, ''],
  ['string', { name: 'home' }, '83000011 00046e616d650000 686f6d65 00000000'],
  ['empty string and name', { '': '' }, '83000009 00000000 00000000'],
  ['int32', { a: 3 }, '8500000c 00016100 00000003'],
  ['smallest int32', { a: -(2 ** 31) }, '8500000c 00016100 80000000'],
  ['first int64', { a: 2 ** 31 }, '84000010 00016100 00000000 80000000'],
  ['negative int64', { a: -(2 ** 31) - 1 }, '84000010 00016100 ffffffff 7fffffff'],
  ['largest safe', { a: 2 ** 53 - 1 }, '84000010 00016100 001fffff ffffffff'],
  ['bool', { a: true, b: false }, '87000009 00016100 01000000 87000009 00016200 00000000'],
  ['double', { a: 2.5 }, '88000010 00016100 40040000 00000000'],
  ['null', { a: null }, '80000008 00016100'],
  ['array', { a: [1, 'x'] }, '8100001e 00016100 8500000c 00000000 00000001 8300000a 00000000 78000000'],
  ['table', { a: { b: [] } }, '82000010 00016100 81000008 00016200'],
  ['UTF-8', { a: 'ä€😀' }, '83000012 00016100 c3a4e282 acf09f98 80000000'],
];

describe('ubus blob', () => {
  for (const [name, value, bytes] of SAMPLES) {
    it(`writes and reads ${name}`, () => {
      // The length of a container counts the padding of its children.
      const expected = name === 'array' ? bytes.replace('8100001e', '81000020') : bytes;
      assert.strictEqual(toHex(encodeTable(value)!), expected.replace(/ /g, ''));
      assert.deepStrictEqual(plain(decodeTable(hex(expected))), value);
    });
  }

  it('reads int16 and any non-zero int8', () => {
    const table = decodeTable(hex('8600000a 00016100 fedc0000 87000009 00016200 fe000000'));
    assert.deepStrictEqual(plain(table), { a: -292, b: true });
  });

  it('gives the nearest number for what no number holds', () => {
    const table = decodeTable(hex('84000010 00016100 7fffffff ffffffff 84000010 00016200 80000000 00000001'));
    assert.deepStrictEqual(plain(table), { a: 2 ** 63, b: -(2 ** 63) });
    // 2^63 is beyond int64.
    assert.strictEqual(toHex(encodeTable({ a: 2 ** 63 })!).slice(0, 2), '88');
    assert.strictEqual(toHex(encodeTable({ a: -(2 ** 63) })!).slice(0, 2), '84');
  });

  it('leaves undefined members out, keeps the places in an array', () => {
    const bytes = encodeTable({ a: undefined, b: [undefined, 1] })!;
    assert.deepStrictEqual(plain(decodeTable(bytes)), { b: [null, 1] });
    const holes = new Array(2) as unknown[];
    assert.deepStrictEqual(plain(decodeTable(encodeTable({ b: holes })!)), { b: [null, null] });
  });

  it('lets the last of two equal names count', () => {
    assert.deepStrictEqual(plain(decodeTable(hex('8500000c00016100000000018500000c0001610000000002'))), {
      a: 2,
    });
  });

  it('keeps hostile names as names', () => {
    const source = JSON.parse('{"__proto__":{"polluted":1},"constructor":"x","toString":2}') as object;
    const table = decodeTable(encodeTable(source)!)!;
    assert.deepStrictEqual(Object.keys(table), ['__proto__', 'constructor', 'toString']);
    assert.strictEqual(Object.getPrototypeOf(table), null);
    assert.strictEqual(Object.getPrototypeOf(Object.values(table)[0]), null);
    assert.strictEqual(({} as { polluted?: unknown }).polluted, undefined);
  });

  it('replaces what is no UTF-8, ends a text at its NUL, writes no NUL inside', () => {
    assert.deepStrictEqual(plain(decodeTable(hex('8300000c 00016100 61ff6200'))), { a: 'a\ufffdb' });
    assert.deepStrictEqual(plain(decodeTable(hex('8300000c 00016100 61006200'))), { a: 'a' });
    assert.deepStrictEqual(plain(decodeTable(encodeTable({ a: 'x\0y', 'n\0': 1 })!)), {
      a: 'x\ufffdy',
      'n\ufffd': 1,
    });
  });

  it('refuses what is malformed', () => {
    const broken = [
      '85', // half a header
      '8500000c00016100000000', // cut value
      '8500001000016100 00000003', // a length beyond the end
      '85000003 00016100 00000003', // shorter than its header
      '85000004', // no name at all
      '0500000c 00016100 00000003', // not extended: no name
      '8900000c 00016100 00000003', // type 9
      '8500000c 00026162 00000003', // name without its NUL
      '8500000c ffff6100 00000003', // name beyond the attribute
      '84000 00c 00016100 00000003', // int64 of four bytes
      '8700000c 00016100 00000001', // int8 of four bytes
      '8300000c 00016100 61626364', // string without its NUL
      '83000008 00016100', // string without anything
      '82000010 00016100 8500000c 00016100', // child beyond its table
      '81000009 00016100 00000000', // one byte of a child
      '8300000a 00016100 6100', // padding cut off
    ];
    for (const bytes of broken) assert.strictEqual(decodeTable(hex(bytes)), undefined, bytes);
  });

  it('holds the depth limit both ways', () => {
    let deepest: object = {};
    for (let i = 1; i < DEPTH_MAX; i++) deepest = { a: deepest };
    const bytes = encodeTable(deepest)!;
    assert.deepStrictEqual(plain(decodeTable(bytes)), deepest);
    assert.strictEqual(encodeTable({ a: deepest }), undefined);
    const outer = new BlobWriter(BLOB_BYTES_MAX);
    const start = outer.open(2, true);
    outer.append(hex('00016100'));
    outer.append(bytes);
    outer.close(start);
    assert.strictEqual(decodeTable(outer.finish()!), undefined);
  });

  it('survives a nesting bomb of the largest size', () => {
    const levels = BLOB_BYTES_MAX / 8;
    const bomb = new Uint8Array(levels * 8);
    const words = new DataView(bomb.buffer);
    for (let i = 0; i < levels; i++)
      words.setUint32(i * 8, (0x81000000 | Math.min(0xffffff, bomb.length - i * 8)) >>> 0);
    assert.strictEqual(decodeTable(bomb), undefined);
  });

  it('refuses to write what does not fit or has no form', () => {
    assert.notStrictEqual(encodeTable({ a: 'x'.repeat(BLOB_BYTES_MAX - 12) }), undefined);
    assert.strictEqual(encodeTable({ a: 'x'.repeat(BLOB_BYTES_MAX - 8) }), undefined);
    assert.notStrictEqual(encodeTable({ ['n'.repeat(0xffff)]: 1 }), undefined);
    assert.strictEqual(encodeTable({ ['n'.repeat(0x10000)]: 1 }), undefined);
    const cycle: { self?: object } = {};
    cycle.self = cycle;
    for (const value of [{ a: () => 1 }, { a: 1n }, { a: Symbol('x') }, { a: new Uint8Array(1) }, cycle]) {
      assert.strictEqual(encodeTable(value), undefined);
    }
  });

  it('reads attributes up to the first that does not fit', () => {
    const read = readAttributes(hex('03000008 00000001 02000010 61000000'));
    assert.deepStrictEqual(
      read.attributes.map(({ id, payload }) => [id, toHex(payload)]),
      [[3, '00000001']],
    );
    assert.strictEqual(read.isWhole, false);
    assert.strictEqual(readString(hex('6162')), undefined);
    assert.strictEqual(readString(hex('')), undefined);
    assert.strictEqual(readString(hex('616200')), 'ab');
  });

  it('does not read beyond the largest container', () => {
    assert.strictEqual(decodeTable(new Uint8Array(BLOB_BYTES_MAX + 4)), undefined);
    const many = new Uint8Array(BLOB_BYTES_MAX + 16);
    for (let i = 0; i < many.length; i += 16) many.set(hex('84000010 00016100 00000000 00000003'), i);
    assert.strictEqual(decodeTable(many), undefined);
    assert.deepStrictEqual(plain(decodeTable(many.subarray(0, BLOB_BYTES_MAX))), { a: 3 });
  });
});
