// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert';
import { sameBytes } from '../../../src/core/bytes.ts';
import { BLOB_BYTES_MAX, decodeTable, encodeTable } from '../../../src/ubus/blob.ts';
import {
  type Attributes,
  createAssembler,
  decodeMessage,
  encodeMessage,
  MESSAGE_TYPES,
  type Message,
  STATUS,
  statusText,
} from '../../../src/ubus/message.ts';
import { EXCHANGES, hex, messages, plain, type Shown, toHex } from './helpers.ts';

const IDS = new Set(['objid', 'objtype', 'target']);

/** What the capture shows as a value of ours. */
function toValue({ type, value }: Shown): unknown {
  if (type === 'table')
    return Object.fromEntries((value as Shown[]).map(entry => [entry.name, toValue(entry)]));
  if (type === 'array') return (value as Shown[]).map(toValue);
  if (type === 'int8') return value !== 0;
  if (type === 'unspec') return null;
  return type === 'int64' ? Number(value) : value;
}

/** Why a table cannot be written again byte for byte: its types are not those a value of ours gets. */
function oddities(entries: readonly Shown[]): string[] {
  return entries.flatMap(({ type, value, name }) => {
    const odd: string[] = /^\d+$/.test(name) ? ['index-like name'] : [];
    if (type === 'int16') odd.push('int16');
    if (type === 'int8' && value !== 0 && value !== 1) odd.push('int8 that is no bool');
    if (type === 'int64') {
      const number = Number(value);
      if (number === (number | 0)) odd.push('int64 in the range of int32');
      if (!Number.isSafeInteger(number)) odd.push('int64 beyond 2^53');
    }
    if (type === 'double' && Number.isInteger(value)) odd.push('whole double');
    if (type === 'array' && (value as Shown[]).some(item => item.name !== '')) odd.push('named element');
    if (type === 'table' || type === 'array') odd.push(...oddities(value as Shown[]));
    return odd;
  });
}

const ALL = EXCHANGES.flatMap(({ id, messages: list }) =>
  list.flatMap(message =>
    message.hex === undefined ? [] : [{ id, ...message, bytes: hex(message.hex), decoded: message.decoded! }],
  ),
);

describe('ubus messages of the captures', () => {
  it('are as many as expected', () => {
    assert.strictEqual(EXCHANGES.length, 87);
    assert.ok(ALL.length > 700);
  });

  it('decode to what the capture shows', () => {
    for (const { id, dir, bytes, decoded } of ALL) {
      if (decoded.type === MESSAGE_TYPES.monitor) continue;
      const message = decodeMessage(bytes)!;
      assert.strictEqual(message.type, decoded.type, id);
      assert.strictEqual(message.seq, decoded.seq, id);
      assert.strictEqual(message.peer, Number.parseInt(decoded.peer, 16), id);
      for (const [name, value] of decoded.attrs) {
        const key = (name === 'no_reply' ? 'noReply' : name) as keyof Attributes;
        const actual = message.attributes[key];
        if (IDS.has(name)) assert.strictEqual(actual, Number.parseInt(value as string, 16), `${id} ${name}`);
        else if (id === 'raw-path-not-terminated' && dir === 'c2s') assert.strictEqual(actual, undefined);
        else if (typeof value !== 'object')
          assert.strictEqual(actual, typeof value === 'number' ? value >>> 0 : value, id);
      }
    }
  });

  it('encode again to the same bytes, but for three', () => {
    const exceptions = ALL.filter(({ bytes, decoded }) => {
      // MONITOR messages number their attributes differently.
      if (decoded.type === MESSAGE_TYPES.monitor) return false;
      const again = encodeMessage(decodeMessage(bytes)!);
      return again === undefined || toHex(again) !== toHex(bytes);
    });
    assert.deepStrictEqual(
      exceptions.map(({ id, dir }) => `${id} ${dir}`),
      // A version that is not ours, a path without its NUL, a container shorter than itself.
      ['raw-bad-version c2s', 'raw-path-not-terminated c2s', 'raw-short-len c2s'],
    );
  });

  it('have tables that decode, and encode again when their types are ours', () => {
    const odd = new Map<string, string>();
    const undecodable: string[] = [];
    let tables = 0;
    for (const { id, bytes, decoded } of ALL) {
      if (decoded.type === MESSAGE_TYPES.monitor) continue;
      const { attributes } = decodeMessage(bytes)!;
      for (const name of ['data', 'signature'] as const) {
        const shown = decoded.attrs.find(([key]) => key === name)?.[1] as Shown[] | undefined;
        const payload = attributes[name];
        if (shown === undefined || payload === undefined) continue;
        const table = decodeTable(payload);
        if (table === undefined) {
          undecodable.push(`${id} ${name}`);
          continue;
        }
        tables++;
        assert.deepStrictEqual(plain(table), plain(toValue({ name, type: 'table', value: shown })), id);
        const reasons = oddities(shown);
        if (reasons.length > 0) odd.set(id, [...new Set(reasons)].sort().join(', '));
        else assert.ok(sameBytes(encodeTable(table)!, payload), id);
      }
    }
    assert.ok(tables > 200, String(tables));
    // A length that lies (ubusd reads up to it, we refuse), and plain attributes where others have a table.
    assert.deepStrictEqual(undecodable, ['raw-add-object signature', 'monitor data', 'monitor data']);
    const allTypes = 'int16, int64 beyond 2^53, int8 that is no bool';
    assert.deepStrictEqual(Object.fromEntries(odd), {
      'call-noargs': allTypes,
      'call-int-edges': 'int64 beyond 2^53',
      'call-typed': allTypes,
      'call-noreply': allTypes,
      'raw-invoke-noreply': allTypes,
      'tb-service-list': 'named element',
      'tb-login': 'int64 in the range of int32',
      'tb-login-bad': 'int64 in the range of int32',
    });
  });
});

describe('ubus messages', () => {
  const lookup = hex('0004000100000000 00000010 0200000a 6f76706e64000000');

  it('are the sample bytes', () => {
    const message: Message = { type: 4, seq: 1, peer: 0, attributes: { objpath: 'ovpnd' } };
    assert.deepStrictEqual(encodeMessage(message), lookup);
    assert.deepStrictEqual(decodeMessage(lookup), message);
  });

  it('take an attribute of a wrong length as absent, of two the last', () => {
    const odd =
      '0005000100000000 00000024 03000006 00010000 0a000008 00000001 04000008 61000000 04000006 62000000';
    assert.deepStrictEqual(decodeMessage(hex(odd))!.attributes, { method: 'b' });
    const unknown = hex('0005000100000000 0000000c 7f000008 00000001');
    assert.deepStrictEqual(decodeMessage(unknown)!.attributes, {});
    assert.strictEqual(decodeMessage(lookup.subarray(0, 11)), undefined);
  });

  it('are not written when longer than ubusd takes', () => {
    const attributes = (length: number) => ({ data: new Uint8Array(length) });
    assert.notStrictEqual(
      encodeMessage({ type: 2, seq: 1, peer: 1, attributes: attributes(BLOB_BYTES_MAX - 8) }),
      undefined,
    );
    assert.strictEqual(
      encodeMessage({ type: 2, seq: 1, peer: 1, attributes: attributes(BLOB_BYTES_MAX - 4) }),
      undefined,
    );
  });

  it('name every status', () => {
    assert.strictEqual(statusText(STATUS.notFound), 'Not found');
    assert.strictEqual(statusText(STATUS.systemError), 'System error');
    assert.strictEqual(statusText(77), 'Status 77');
  });
});

describe('ubus stream', () => {
  const stream = Buffer.concat(ALL.filter(({ id }) => id !== 'raw-short-len').map(({ bytes }) => bytes));
  const whole = ALL.filter(({ id }) => id !== 'raw-short-len').map(({ bytes }) => decodeMessage(bytes));

  it('is cut alike however it comes', () => {
    assert.deepStrictEqual(messages(stream), whole);
    for (const size of [1, 7, 12, 4096]) {
      const assembler = createAssembler();
      const got: Message[] = [];
      for (let at = 0; at < stream.length; at += size) {
        assembler.push(stream.subarray(at, at + size));
        for (let message = assembler.next(); message; message = assembler.next()) got.push(message);
      }
      assert.deepStrictEqual(got, whole, `chunks of ${size}`);
    }
  });

  it('takes a length at the limit and breaks above it, before the message is there', () => {
    const header = (length: number) => hex(`0004000100000000 ${length.toString(16).padStart(8, '0')}`);
    const atLimit = createAssembler(4096);
    atLimit.push(header(4096));
    assert.strictEqual(atLimit.next(), undefined);
    assert.strictEqual(atLimit.isBroken, false);
    atLimit.push(new Uint8Array(4092));
    assert.strictEqual(atLimit.next()?.type, 4);
    for (const length of [4097, 0xffffff, 3, 0]) {
      const assembler = createAssembler(4096);
      assembler.push(header(length));
      assert.strictEqual(assembler.next(), undefined);
      assert.strictEqual(assembler.isBroken, true, String(length));
      assembler.push(header(4));
      assert.strictEqual(assembler.next(), undefined);
    }
  });

  it('hands out messages that later chunks do not change', () => {
    const assembler = createAssembler();
    const data = (byte: string) => hex(`0002000100000000 0000000c 07000008 ${byte.repeat(4)}`);
    assembler.push(data('11'));
    const first = assembler.next()!;
    assembler.push(data('22'));
    assert.strictEqual(toHex(assembler.next()!.attributes.data!), '22222222');
    assert.strictEqual(toHex(first.attributes.data!), '11111111');
  });
});
