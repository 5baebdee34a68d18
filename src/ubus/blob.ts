// SPDX-License-Identifier: Apache-2.0
// libubox's blob and blobmsg formats: attributes in bytes <-> JavaScript values. No framing (message.ts) and no
// meaning here.
//
//   attribute      | u32: extended (1) id (7) length (24) | payload | zeros up to a multiple of 4 |
//   blobmsg        the extended bit is set, the id is the type, and the payload begins with a name:
//                  | u16 name length | name | NUL | zeros up to a multiple of 4 | value |
//
// All numbers are big endian. A length counts its own header and the padding of children, not the padding after
// it. Elements of an array have the empty name.

import { decodeUtf8, encodeUtf8, readU16, readU32, writeU16, writeU32 } from '../core/bytes.ts';

/** What a blobmsg can carry. Tables made here have no prototype: `__proto__` is a name like any other. */
export type BlobValue = null | boolean | number | string | BlobValue[] | BlobTable;

export interface BlobTable {
  [name: string]: BlobValue;
}

/** Type numbers, as in attributes and in the signatures of methods. */
export const BLOB_TYPES = {
  unspec: 0,
  array: 1,
  table: 2,
  string: 3,
  int64: 4,
  int32: 5,
  int16: 6,
  bool: 7,
  double: 8,
} as const;

/** Tables and arrays inside each other, the outermost counted. Deeper is refused, both ways. */
export const DEPTH_MAX = 32;

/** The longest container ubusd takes; nothing longer is written or read. */
export const BLOB_BYTES_MAX = 1 << 20;

const HEADER_BYTES = 4;
const EXTENDED = 0x80;

/** Bytes of a value by type number, where that is fixed. */
const VALUE_BYTES: readonly (number | undefined)[] = [
  undefined,
  undefined,
  undefined,
  undefined,
  8,
  4,
  2,
  1,
  8,
];

const TWO_32 = 2 ** 32;
const TWO_63 = 2 ** 63;

function padded(length: number): number {
  return (length + 3) & ~3;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** One attribute of a container; `payload` is borrowed from the bytes it was read from. */
export interface Attribute {
  readonly id: number;
  readonly extended: boolean;
  readonly payload: Uint8Array;
}

/**
 * Attributes of a container's payload, up to the first that does not fit: what follows a lying length has no
 * boundary to find. `isWhole` tells whether that was all of it. At most BLOB_BYTES_MAX are looked at.
 */
export function readAttributes(bytes: Uint8Array): { attributes: Attribute[]; isWhole: boolean } {
  const attributes: Attribute[] = [];
  const end = Math.min(bytes.length, BLOB_BYTES_MAX);
  let at = 0;
  while (end - at >= HEADER_BYTES) {
    const word = readU32(bytes, at);
    const length = word & 0xffffff;
    if (length < HEADER_BYTES || padded(length) > end - at) break;
    const payload = bytes.subarray(at + HEADER_BYTES, at + length);
    attributes.push({ id: (word >>> 24) & 0x7f, extended: word >>> 31 === 1, payload });
    at += padded(length);
  }
  return { attributes, isWhole: at >= bytes.length };
}

/** Text of a NUL-terminated string payload, up to its first NUL as C reads it; undefined without a NUL at the end. */
export function readString(payload: Uint8Array): string | undefined {
  if (payload.length === 0 || payload[payload.length - 1] !== 0) return undefined;
  return decodeUtf8(payload.subarray(0, payload.indexOf(0)));
}

/**
 * Reads the payload of a table (the DATA or SIGNATURE attribute). undefined when any part of it is malformed or
 * nested too deep: half a request is worse than none. Of a name that occurs twice the last value counts.
 * 64-bit integers beyond 2^53 become the nearest number. Copies; total on any bytes.
 */
export function decodeTable(bytes: Uint8Array): BlobTable | undefined {
  return decodeChildren(bytes, true, 1) as BlobTable | undefined;
}

function decodeChildren(bytes: Uint8Array, named: boolean, depth: number): BlobValue | undefined {
  if (depth > DEPTH_MAX) return undefined;
  const { attributes, isWhole } = readAttributes(bytes);
  if (!isWhole) return undefined;
  const list: BlobValue[] = [];
  const table = Object.create(null) as BlobTable;
  for (const { id, extended, payload } of attributes) {
    if (!extended || payload.length < 4) return undefined;
    const nameEnd = 2 + readU16(payload, 0);
    const start = padded(nameEnd + 1);
    if (start > payload.length || payload[nameEnd] !== 0) return undefined;
    const value = decodeValue(id, payload.subarray(start), depth);
    if (value === undefined) return undefined;
    if (named) table[decodeUtf8(payload.subarray(2, nameEnd))] = value;
    else list.push(value);
  }
  return named ? table : list;
}

function decodeValue(type: number, bytes: Uint8Array, depth: number): BlobValue | undefined {
  const size = VALUE_BYTES[type];
  if (size !== undefined && bytes.length !== size) return undefined;
  switch (type) {
    case BLOB_TYPES.unspec:
      return null;
    case BLOB_TYPES.array:
      return decodeChildren(bytes, false, depth + 1);
    case BLOB_TYPES.table:
      return decodeChildren(bytes, true, depth + 1);
    case BLOB_TYPES.string:
      return readString(bytes);
    case BLOB_TYPES.int64:
      return (readU32(bytes, 0) | 0) * TWO_32 + readU32(bytes, 4);
    case BLOB_TYPES.int32:
      return readU32(bytes, 0) | 0;
    case BLOB_TYPES.int16:
      return (readU16(bytes, 0) << 16) >> 16;
    case BLOB_TYPES.bool:
      return bytes[0] !== 0;
    case BLOB_TYPES.double:
      return view(bytes).getFloat64(0);
    default:
      return undefined;
  }
}

/** Appends attributes to a growing buffer. Past its limit it takes nothing more and says so in `isFull`. */
export class BlobWriter {
  isFull = false;
  private readonly limit: number;
  private bytes = new Uint8Array(256);
  private length = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Begins an attribute; the answer is for `close`. */
  open(id: number, extended: boolean): number {
    const start = this.length;
    this.u32(((extended ? EXTENDED : 0) | id) << 24);
    return start;
  }

  /** Ends the attribute begun at `start`: sets its length, then pads. */
  close(start: number): void {
    if (this.isFull) return;
    const length = this.length - start;
    writeU32(this.bytes, start, readU32(this.bytes, start) | length);
    this.pad();
  }

  pad(): void {
    this.raw(padded(this.length) - this.length);
  }

  u8(value: number): void {
    const at = this.raw(1);
    if (at >= 0) this.bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.raw(2);
    if (at >= 0) writeU16(this.bytes, at, value);
  }

  u32(value: number): void {
    const at = this.raw(4);
    if (at >= 0) writeU32(this.bytes, at, value);
  }

  double(value: number): void {
    const at = this.raw(8);
    if (at >= 0) view(this.bytes).setFloat64(at, value);
  }

  append(bytes: Uint8Array): void {
    const at = this.raw(bytes.length);
    if (at >= 0) this.bytes.set(bytes, at);
  }

  /** NUL-terminated. A NUL inside would hide the rest from every reader in C, so it becomes U+FFFD. */
  string(text: string): void {
    this.append(encodeUtf8(text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text));
    this.u8(0);
  }

  /** A copy of what was written; undefined when it did not fit. */
  finish(): Uint8Array | undefined {
    return this.isFull ? undefined : this.bytes.slice(0, this.length);
  }

  /** Makes room for `count` zero bytes and answers where; -1 when there is none. */
  private raw(count: number): number {
    const at = this.length;
    if (this.isFull || count > this.limit - at) {
      this.isFull = true;
      return -1;
    }
    if (at + count > this.bytes.length) {
      const larger = new Uint8Array(Math.max(at + count, this.bytes.length * 2));
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.length = at + count;
    return at;
  }
}

/**
 * Writes an object as the payload of a table, members in the object's own order (names that look like array
 * indices come first: JavaScript keeps them so). Integers become int32 or, outside its range, int64; other
 * numbers and integers from 2^63 double; booleans int8; null an unspec. Members that are undefined are left out.
 * undefined when it does not fit, is nested too deep or holds what no blobmsg can carry (a function, a bigint).
 */
export function encodeTable(table: object): Uint8Array | undefined {
  const writer = new BlobWriter(BLOB_BYTES_MAX);
  return writeMembers(writer, table, 1) ? writer.finish() : undefined;
}

function writeMembers(writer: BlobWriter, container: object, depth: number): boolean {
  // A cycle ends here too.
  if (depth > DEPTH_MAX || writer.isFull || ArrayBuffer.isView(container)) return false;
  if (Array.isArray(container)) {
    // Not every(): it skips holes, and what follows would move down.
    for (const value of container) if (!writeMember(writer, '', value ?? null, depth)) return false;
    return true;
  }
  return Object.entries(container).every(
    ([name, value]) => value === undefined || writeMember(writer, name, value, depth),
  );
}

function writeMember(writer: BlobWriter, name: string, value: unknown, depth: number): boolean {
  const type = typeOf(value);
  if (type === undefined) return false;
  const nameBytes = encodeUtf8(name.includes('\0') ? name.replaceAll('\0', '\ufffd') : name);
  if (nameBytes.length > 0xffff) return false;
  const start = writer.open(type, true);
  writer.u16(nameBytes.length);
  writer.append(nameBytes);
  writer.u8(0);
  writer.pad();
  if (typeof value === 'object' && value !== null) {
    if (!writeMembers(writer, value, depth + 1)) return false;
  } else if (typeof value === 'string') {
    writer.string(value);
  } else if (typeof value === 'boolean') {
    writer.u8(value ? 1 : 0);
  } else if (typeof value === 'number') {
    writeNumber(writer, type, value);
  }
  writer.close(start);
  return true;
}

function writeNumber(writer: BlobWriter, type: number, value: number): void {
  if (type === BLOB_TYPES.double) {
    writer.double(value);
    return;
  }
  if (type === BLOB_TYPES.int64) writer.u32(Math.floor(value / TWO_32));
  writer.u32(value);
}

function typeOf(value: unknown): number | undefined {
  switch (typeof value) {
    case 'object':
      if (value === null) return BLOB_TYPES.unspec;
      return Array.isArray(value) ? BLOB_TYPES.array : BLOB_TYPES.table;
    case 'string':
      return BLOB_TYPES.string;
    case 'boolean':
      return BLOB_TYPES.bool;
    case 'number':
      if (!Number.isInteger(value) || value >= TWO_63 || value < -TWO_63) return BLOB_TYPES.double;
      return value === (value | 0) ? BLOB_TYPES.int32 : BLOB_TYPES.int64;
    default:
      return undefined;
  }
}
