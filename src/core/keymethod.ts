// SPDX-License-Identifier: Apache-2.0
// The key-method-2 message: the first plaintext each end sends inside TLS, as one record. Randoms for the TLS 1.0
// PRF, the options string, user name and password, and what the client says about itself.

import { concat, decodeUtf8, encodeUtf8, readU16, sameBytes, writeU16 } from './bytes.ts';
import { type Drop, drop } from './drop.ts';
import { PLAINTEXT_MAX } from './limits.ts';
import type { TlsRole } from './tls.ts';

export const PRE_MASTER_LENGTH = 48;
export const KEY_RANDOM_LENGTH = 32;
const PREFIX_LENGTH = 5;
const KEY_METHOD = 2;

/** What one end adds to the data keys when they come from the PRF. */
export interface KeySource {
  /** PRE_MASTER_LENGTH bytes; the client's only. */
  readonly preMaster?: Uint8Array;
  /** KEY_RANDOM_LENGTH bytes. */
  readonly random1: Uint8Array;
  /** KEY_RANDOM_LENGTH bytes. */
  readonly random2: Uint8Array;
}

export interface KeyMethod2 {
  readonly source: KeySource;
  /** See options.ts. */
  readonly options: string;
  /** Absent is not the same as empty. */
  readonly username?: string;
  readonly password?: string;
  /** See peerinfo.ts; empty when there is none. */
  readonly peerInfo: string;
}

// u32    0
// u8     key method 2, in the low 4 bits
// u8[48] pre-master, from a client only
// u8[32] random 1
// u8[32] random 2
// field  options            field: u16 length, then text and a NUL that the length counts;
// field  user name                 length 0 = absent
// field  password
// field  peer info
// Old peers stop after the options or after the password.

/** The message of a client when there is a pre-master, else of a server. No text may contain a NUL. */
export function encodeKeyMethod2(message: KeyMethod2): Uint8Array {
  const { source } = message;
  return concat(
    new Uint8Array([0, 0, 0, 0, KEY_METHOD]),
    source.preMaster ?? new Uint8Array(0),
    source.random1,
    source.random2,
    field(message.options),
    field(message.username),
    field(message.password),
    field(message.peerInfo === '' ? undefined : message.peerInfo),
  );
}

function field(text: string | undefined): Uint8Array {
  if (text === undefined) return new Uint8Array(2);
  const bytes = encodeUtf8(text);
  const out = new Uint8Array(2 + bytes.length + 1);
  writeU16(out, 0, bytes.length + 1);
  out.set(bytes, 2);
  return out;
}

/** Reads the message the end `from` sent. The byte arrays in it are copies. */
export function decodeKeyMethod2(bytes: Uint8Array, from: TlsRole): KeyMethod2 | Drop {
  if (bytes.length > PLAINTEXT_MAX) return drop('key-method');
  const preMasterLength = from === 'client' ? PRE_MASTER_LENGTH : 0;
  const random1At = PREFIX_LENGTH + preMasterLength;
  const fieldsAt = random1At + 2 * KEY_RANDOM_LENGTH;
  if (bytes.length < fieldsAt + 2) return drop('key-method');
  if (bytes[0] || bytes[1] || bytes[2] || bytes[3] || (bytes[4]! & 0x0f) !== KEY_METHOD) {
    return drop('key-method');
  }
  const random2At = random1At + KEY_RANDOM_LENGTH;
  const source = {
    ...(preMasterLength > 0 ? { preMaster: bytes.slice(PREFIX_LENGTH, random1At) } : {}),
    random1: bytes.slice(random1At, random2At),
    random2: bytes.slice(random2At, fieldsAt),
  };
  const texts: (string | undefined)[] = [];
  let at = fieldsAt;
  while (texts.length < 4 && at < bytes.length) {
    if (at + 2 > bytes.length) return drop('key-method');
    const length = readU16(bytes, at);
    at += 2;
    if (at + length > bytes.length) return drop('key-method');
    const text = fieldText(bytes.subarray(at, at + length));
    if (text === false) return drop('key-method');
    texts.push(text);
    at += length;
  }
  // Bytes behind the last field are left alone: room for later versions.
  const [options, username, password, peerInfo] = texts;
  return {
    source,
    options: options ?? '',
    ...(username !== undefined ? { username } : {}),
    ...(password !== undefined ? { password } : {}),
    peerInfo: peerInfo ?? '',
  };
}

/** Undefined for an absent field, false for a bad one. */
function fieldText(bytes: Uint8Array): string | undefined | false {
  if (bytes.length === 0) return undefined;
  const body = bytes.subarray(0, bytes.length - 1);
  // A second NUL would make us and a C peer see two different user names.
  if (bytes[body.length] !== 0 || body.includes(0)) return false;
  const text = decodeUtf8(body);
  // Replacement characters would make different user names or passwords equal; the character itself may be meant.
  return !text.includes('\ufffd') || sameBytes(encodeUtf8(text), body) ? text : false;
}
