// SPDX-License-Identifier: Apache-2.0
// Text messages inside TLS after key method 2 (PUSH_REPLY, AUTH_FAILED, EXIT ...): one record each, ended by a NUL.
// Also the form in which anybody's text may enter a log.

import { concat, decodeUtf8, encodeUtf8 } from './bytes.ts';
import { type Drop, drop } from './drop.ts';
import { PLAINTEXT_MAX, TEXT_MAX } from './limits.ts';

/** The record of a message. Its length, NUL included, should stay within TEXT_MAX. */
export function encodeText(text: string): Uint8Array {
  return concat(encodeUtf8(text), new Uint8Array(1));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL_CHARACTER = /[\x00-\x1f\x7f-\x9f]/;

/** Whether there is a control character, C1 ones included. */
export function hasControlCharacter(text: string): boolean {
  return CONTROL_CHARACTER.test(text);
}

/**
 * The messages in one record. CR and LF at the end of a message are cut. Left out are empty messages, those with
 * control characters, those above TEXT_MAX, and a rest without NUL; a Drop when nothing is left.
 */
export function decodeTexts(record: Uint8Array): string[] | Drop {
  if (record.length > PLAINTEXT_MAX) return drop('text');
  const texts: string[] = [];
  let start = 0;
  for (;;) {
    const end = record.indexOf(0, start);
    if (end < 0) break;
    const text = decodeText(record.subarray(start, end));
    if (text !== undefined) texts.push(text);
    start = end + 1;
  }
  return texts.length > 0 ? texts : drop('text');
}

function decodeText(bytes: Uint8Array): string | undefined {
  if (bytes.length >= TEXT_MAX) return undefined;
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  const text = decodeUtf8(bytes.subarray(0, end));
  return text === '' || hasControlCharacter(text) ? undefined : text;
}

/** `text` for a log or a status page: everything outside 0x20..0x7e as \xNN or \u{N}. */
export function printable(text: string): string {
  let out = '';
  for (const character of text) {
    const point = character.codePointAt(0)!;
    if (point >= 0x20 && point <= 0x7e) out += character;
    else if (point < 0x100) out += `\\x${point.toString(16).padStart(2, '0')}`;
    else out += `\\u{${point.toString(16)}}`;
  }
  return out;
}
