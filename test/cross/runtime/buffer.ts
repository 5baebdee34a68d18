// SPDX-License-Identifier: Apache-2.0
// What unit tests use of Node's globals, for a QuickJS that has none of them. Not written for speed or for hostile input.

import { fromBase64, toBase64 } from '../../../src/core/base64.ts';
import { concat, decodeUtf8, encodeUtf8, fromHex, toHex } from '../../../src/core/bytes.ts';

type Encoding = 'utf8' | 'latin1' | 'hex' | 'base64';

class BufferShape extends Uint8Array {
  static override from(value: unknown, encoding?: unknown): BufferShape {
    if (typeof value !== 'string') return new BufferShape(value as ArrayLike<number>);
    return new BufferShape(decode(value, (encoding ?? 'utf8') as Encoding));
  }

  static concat(parts: readonly Uint8Array[]): BufferShape {
    return new BufferShape(concat(...parts));
  }

  static alloc(length: number): BufferShape {
    return new BufferShape(length);
  }

  override toString(encoding: Encoding = 'utf8'): string {
    if (encoding === 'hex') return toHex(this);
    if (encoding === 'base64') return toBase64(this);
    if (encoding === 'latin1') return Array.from(this, byte => String.fromCharCode(byte)).join('');
    return decodeUtf8(this) ?? '';
  }

  writeUInt8(value: number, at: number): void {
    this[at] = value;
  }

  writeUInt32BE(value: number, at: number): void {
    new DataView(this.buffer).setUint32(this.byteOffset + at, value);
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, i) => byte === other[i]);
  }
}

function decode(text: string, encoding: Encoding): Uint8Array {
  if (encoding === 'hex') return fromHex(text);
  if (encoding === 'base64') return fromBase64(text) ?? new Uint8Array(0);
  if (encoding === 'latin1') return Uint8Array.from(text, letter => letter.charCodeAt(0));
  return encodeUtf8(text);
}

// fast-check normalises a name; all of them are ASCII.
String.prototype.normalize = function () {
  return String(this);
};

Object.assign(globalThis, {
  // Kept by fast-check for properties that are asynchronous.
  setTimeout: () => 0,
  clearTimeout: () => undefined,
  Buffer: BufferShape,
  TextEncoder: class {
    encode = encodeUtf8;
  },
  TextDecoder: class {
    decode = (bytes: Uint8Array) => decodeUtf8(bytes) ?? '';
  },
});
