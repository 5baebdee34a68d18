// SPDX-License-Identifier: Apache-2.0
// DER (X.690) as far as certificates and revocation lists need it: tag, length, value. Written from arrays of parts;
// read by a cursor that gives undefined where the bytes do not fit.

import { concat, encodeUtf8 } from '../core/bytes.ts';

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  utcTime: 0x17,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Context-specific, constructed. */
export const context = (number: number): number => 0xa0 + number;

export function tlv(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const value = concat(...parts);
  const { length } = value;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), value);
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return concat(Uint8Array.of(tag, 0x80 | octets.length, ...octets), value);
}

export const sequence = (...parts: Uint8Array[]): Uint8Array => tlv(TAG.sequence, ...parts);

/** A non-negative integer from its big-endian bytes. */
export function integer(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.length === 0 ? Uint8Array.of(0) : bytes.subarray(start);
  return digits[0]! >= 0x80 ? tlv(TAG.integer, Uint8Array.of(0), digits) : tlv(TAG.integer, digits);
}

export const small = (value: number): Uint8Array => integer(Uint8Array.of(value));

/** `1.2.840...`. */
export function oid(dotted: string): Uint8Array {
  const [first, second, ...arcs] = dotted.split('.').map(Number);
  const bytes: number[] = [];
  for (const arc of [first! * 40 + second!, ...arcs]) {
    const septets = [arc & 0x7f];
    for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) {
      septets.unshift((rest & 0x7f) | 0x80);
    }
    bytes.push(...septets);
  }
  return tlv(TAG.oid, Uint8Array.from(bytes));
}

export const utf8 = (text: string): Uint8Array => tlv(TAG.utf8, encodeUtf8(text));
export const octets = (...parts: Uint8Array[]): Uint8Array => tlv(TAG.octets, ...parts);
/** A bit string of whole bytes, or with `unused` bits at its end. */
export const bits = (bytes: Uint8Array, unused = 0): Uint8Array =>
  tlv(TAG.bits, Uint8Array.of(unused), bytes);
export const TRUE = tlv(TAG.boolean, Uint8Array.of(0xff));

/** Seconds since 1970 as RFC 5280 wants it: UTCTime before 2050, GeneralizedTime from then on. */
export function time(seconds: number): Uint8Array {
  const date = civil(Math.floor(seconds / 86_400));
  const of = (value: number, width = 2): string => String(value).padStart(width, '0');
  const clock = ((seconds % 86_400) + 86_400) % 86_400;
  const rest = [
    of(date.month),
    of(date.day),
    of(Math.floor(clock / 3600)),
    of(Math.floor(clock / 60) % 60),
    of(Math.floor(clock) % 60),
    'Z',
  ].join('');
  return date.year < 2050
    ? tlv(TAG.utcTime, encodeUtf8(`${of(date.year % 100)}${rest}`))
    : tlv(TAG.time, encodeUtf8(`${of(date.year, 4)}${rest}`));
}

/** The date of a day counted from 1970-01-01 (Hinnant's algorithm): neither runtime nor clock is asked. */
function civil(days: number): { year: number; month: number; day: number } {
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const ofEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * ofYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return { year, month, day: ofYear - Math.floor((153 * shifted + 2) / 5) + 1 };
}

function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const ofYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return (
    era * 146_097 +
    yearOfEra * 365 +
    Math.floor(yearOfEra / 4) -
    Math.floor(yearOfEra / 100) +
    ofYear -
    719_468
  );
}

/** One element, its value without tag and length. */
export interface Element {
  readonly tag: number;
  readonly value: Uint8Array;
  /** Tag, length and value. */
  readonly whole: Uint8Array;
}

/** The elements of a value, or undefined when they do not fill it exactly. Values are views. */
export function elements(bytes: Uint8Array): Element[] | undefined {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at]!;
    const first = bytes[at + 1];
    if (first === undefined || (tag & 0x1f) === 0x1f) return undefined;
    const extra = first < 0x80 ? 0 : first & 0x7f;
    // Longer lengths than certificates have, and the indefinite form.
    if (first === 0x80 || extra > 3 || at + 2 + extra > bytes.length) return undefined;
    let length = extra === 0 ? first : 0;
    for (let i = 0; i < extra; i++) length = length * 256 + bytes[at + 2 + i]!;
    const start = at + 2 + extra;
    if (start + length > bytes.length) return undefined;
    found.push({
      tag,
      value: bytes.subarray(start, start + length),
      whole: bytes.subarray(at, start + length),
    });
    at = start + length;
  }
  return found;
}

/** The one element that fills the bytes, when it has this tag: its elements. */
export function children(bytes: Uint8Array, tag: number = TAG.sequence): Element[] | undefined {
  const [only, ...more] = elements(bytes) ?? [];
  if (only === undefined || more.length > 0 || only.tag !== tag) return undefined;
  return elements(only.value);
}

/** Seconds since 1970 of a UTCTime or GeneralizedTime in UTC. */
export function readTime(element: Element | undefined): number | undefined {
  if (element === undefined) return undefined;
  const text = String.fromCharCode(...element.value.subarray(0, 20));
  const form =
    element.tag === TAG.utcTime
      ? /^(\d\d)(\d{10})Z$/
      : element.tag === TAG.time
        ? /^(\d{4})(\d{10})Z$/
        : undefined;
  const match = form?.exec(text);
  if (match == null) return undefined;
  const written = Number(match[1]);
  const year = element.tag === TAG.time ? written : written < 50 ? 2000 + written : 1900 + written;
  const [month, day, hour, minute, second] = match[2]!.match(/../g)!.map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59)
    return undefined;
  return daysOf(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
}
