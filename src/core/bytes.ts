// SPDX-License-Identifier: Apache-2.0
// Bytes as values: joining, comparing, text forms, big-endian integers. UTF-8 is done by hand because QuickJS
// has neither TextEncoder nor TextDecoder. Nothing here is constant time: secrets go through Crypto.equal.

/** A new array with all parts, in order. */
export function concat(...parts: Uint8Array[]): Uint8Array {
  // By index: every packet comes by here many times, and interpreted an iterator costs more than the copy.
  let length = 0;
  for (let i = 0; i < parts.length; i++) length += parts[i]!.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    out.set(parts[i]!, at);
    at += parts[i]!.length;
  }
  return out;
}

/** Whether both hold the same bytes. Not constant time: for public values only. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the range is all of ASCII on purpose
const ASCII = /^[\x00-\x7f]*$/;
/** Of one call's arguments. */
const ASCII_TRIED_MAX = 4096;

/** Bytes of `text` in UTF-8. */
export function utf8Length(text: string): number {
  return ASCII.test(text) ? text.length : encodeUtf8(text).length;
}

/** UTF-8 of `text`, as a new array; a lone surrogate becomes U+FFFD. */
export function encodeUtf8(text: string): Uint8Array {
  // Interpreted, a loop over characters is what costs: nearly all text is ASCII and takes the short one.
  return ASCII.test(text) ? encodeAscii(text) : encodeAny(text);
}

function encodeAscii(text: string): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

function encodeAny(text: string): Uint8Array {
  const out = new Uint8Array(text.length * 3);
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    let point = text.codePointAt(i)!;
    if (point > 0xffff) i++;
    if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd;
    if (point < 0x80) {
      out[at++] = point;
    } else if (point < 0x800) {
      out[at++] = 0xc0 | (point >> 6);
      out[at++] = 0x80 | (point & 0x3f);
    } else if (point < 0x10000) {
      out[at++] = 0xe0 | (point >> 12);
      out[at++] = 0x80 | ((point >> 6) & 0x3f);
      out[at++] = 0x80 | (point & 0x3f);
    } else {
      out[at++] = 0xf0 | (point >> 18);
      out[at++] = 0x80 | ((point >> 12) & 0x3f);
      out[at++] = 0x80 | ((point >> 6) & 0x3f);
      out[at++] = 0x80 | (point & 0x3f);
    }
  }
  return out.slice(0, at);
}

/** Continuation bytes that must follow a lead byte; -1 for a byte that leads nothing. */
function followers(lead: number): number {
  if (lead < 0x80) return 0;
  if (lead >= 0xc2 && lead <= 0xdf) return 1;
  if (lead >= 0xe0 && lead <= 0xef) return 2;
  if (lead >= 0xf0 && lead <= 0xf4) return 3;
  return -1;
}

/** Range of the first continuation byte: refuses overlong forms, surrogates and points above U+10FFFF. */
function isFirstFollower(lead: number, byte: number): boolean {
  if (lead === 0xe0) return byte >= 0xa0 && byte <= 0xbf;
  if (lead === 0xed) return byte >= 0x80 && byte <= 0x9f;
  if (lead === 0xf0) return byte >= 0x90 && byte <= 0xbf;
  if (lead === 0xf4) return byte >= 0x80 && byte <= 0x8f;
  return byte >= 0x80 && byte <= 0xbf;
}

/** Text of UTF-8 bytes. Each invalid sequence becomes one U+FFFD, cut as the Encoding Standard cuts it. */
export function decodeUtf8(bytes: Uint8Array): string {
  if (bytes.length <= ASCII_TRIED_MAX) {
    const text = latin1(bytes);
    if (ASCII.test(text)) return text;
  }
  let out = '';
  let i = 0;
  while (i < bytes.length) {
    const lead = bytes[i++]!;
    const count = followers(lead);
    let point = count <= 0 ? lead : lead & (0x3f >> count);
    let seen = 0;
    while (seen < count && i < bytes.length) {
      const byte = bytes[i]!;
      if (seen === 0 ? !isFirstFollower(lead, byte) : (byte & 0xc0) !== 0x80) break;
      point = (point << 6) | (byte & 0x3f);
      i++;
      seen++;
    }
    out += count < 0 || seen < count ? '\ufffd' : String.fromCodePoint(point);
  }
  return out;
}

/** One character for each byte: a Map key, cheap to make, distinct for distinct bytes. For a few thousand at most. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

/** Lower-case hex digits. */
export function toHex(bytes: Uint8Array): string {
  let out = '';
  for (const byte of bytes) out += (byte < 16 ? '0' : '') + byte.toString(16);
  return out;
}

/** Bytes of hex digits in either case. Throws on anything else: for text of our own or checked before. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new RangeError('not hex digits');
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

/** Unsigned big-endian; the caller has checked that two bytes are there. */
export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

/** Unsigned big-endian; the caller has checked that four bytes are there. */
export function readU32(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>>
    0
  );
}

/** Writes the low 16 bits of `value`. */
export function writeU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** Writes the low 32 bits of `value`. */
export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}
