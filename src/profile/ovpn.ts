// SPDX-License-Identifier: Apache-2.0
// Reads an OpenVPN profile (.ovpn) into directives and inline blocks, by the grammar of OpenVPN's own reader: one
// directive a line, an optional leading `--`, words apart by blanks, "..." with backslash escapes, '...' literal, `#`
// or `;` at the start of a word ends the line. What a directive means is in directives.ts.

import { decodeUtf8 } from '../core/bytes.ts';

/** Bytes of a profile that is looked at: certificates of long chains fit several times. */
export const PROFILE_MAX = 256 * 1024;
/** As OpenVPN: words of one line, its name included. */
const WORDS_MAX = 16;
/** Directives of a profile; providers with hundreds of remotes exist. */
const DIRECTIVES_MAX = 4096;

export interface Directive {
  readonly name: string;
  readonly args: readonly string[];
  /** From 1. */
  readonly line: number;
  /** Verbatim text between `<name>` and `</name>`, lines ended by LF; args are empty then. */
  readonly inline?: string;
  /** Index of the <connection> block it stands in. */
  readonly connection?: number;
}

export interface ProfileError {
  readonly line: number;
  readonly text: string;
}

export interface Profile {
  /** In file order; <connection> blocks are opened up, and numbered from 0. */
  readonly directives: readonly Directive[];
  readonly connections: number;
}

type Words = readonly string[] | string;

/** The words of one line; a string says what is wrong with it. */
export function splitWords(line: string): Words {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isBlank(line[at]!)) at++;
    if (at >= line.length || line[at] === '#' || line[at] === ';') return words;
    const word = readWord(line, at);
    if (typeof word === 'string') return word;
    if (words.length === WORDS_MAX) return `has more than ${WORDS_MAX} words`;
    words.push(word.text);
    at = word.end;
  }
}

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t';
}

function readWord(line: string, start: number): { readonly text: string; readonly end: number } | string {
  const parts: string[] = [];
  let quote = '';
  let at = start;
  for (; at < line.length; at++) {
    const character = line[at]!;
    if (quote === "'") {
      if (character === "'") quote = '';
      else parts.push(character);
    } else if (character === '\\') {
      const next = line[++at];
      // OpenVPN takes no other escape; a Windows path with single backslashes is the usual cause.
      if (next === undefined || !/[\\" \t]/.test(next))
        return 'has a backslash that escapes nothing; write \\\\';
      parts.push(next);
    } else if (quote === '"') {
      if (character === '"') quote = '';
      else parts.push(character);
    } else if (character === '"' || character === "'") quote = character;
    else if (isBlank(character)) break;
    else parts.push(character);
  }
  return quote === '' ? { text: parts.join(''), end: at } : 'has a quote that is not closed';
}

const OPEN = /^\s*<([a-z0-9-]{1,32})>\s*$/;

interface Reader {
  readonly lines: readonly string[];
  readonly directives: Directive[];
  connections: number;
}

/** Reads a profile's bytes (borrowed until return). Never throws. */
export function parseProfile(bytes: Uint8Array): Profile | ProfileError {
  if (bytes.length > PROFILE_MAX) return { line: 0, text: `is larger than ${PROFILE_MAX / 1024} KiB` };
  const text = decodeUtf8(bytes);
  if (text === undefined) return { line: 0, text: 'is not UTF-8 text' };
  if (text.includes('\0')) return { line: 0, text: 'is not a text file' };
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  const reader: Reader = { lines, directives: [], connections: 0 };
  for (let i = 0; i < lines.length; ) {
    const next = readLine(reader, i, undefined);
    if (typeof next !== 'number') return next;
    i = next;
  }
  return { directives: reader.directives, connections: reader.connections };
}

/** Takes what begins at a line; gives the index of the line after it. */
function readLine(reader: Reader, index: number, connection: number | undefined): number | ProfileError {
  const tag = OPEN.exec(reader.lines[index]!)?.[1];
  if (tag !== undefined) return readBlock(reader, index, tag, connection);
  const words = splitWords(reader.lines[index]!);
  if (typeof words === 'string') return { line: index + 1, text: words };
  if (words.length === 0) return index + 1;
  if (reader.directives.length >= DIRECTIVES_MAX) {
    return { line: index + 1, text: `is one of more than ${DIRECTIVES_MAX} directives` };
  }
  const [first, ...args] = words;
  const name = first!.replace(/^--/, '');
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name))
    return { line: index + 1, text: 'does not begin with the name of an option' };
  reader.directives.push({
    name,
    args,
    line: index + 1,
    ...(connection === undefined ? {} : { connection }),
  });
  return index + 1;
}

function readBlock(
  reader: Reader,
  index: number,
  tag: string,
  connection: number | undefined,
): number | ProfileError {
  const { lines } = reader;
  const end = lines.findIndex((line, i) => i > index && line.trim() === `</${tag}>`);
  if (end < 0) return { line: index + 1, text: `opens <${tag}>, which is never closed` };
  if (tag !== 'connection') {
    const inline = `${lines.slice(index + 1, end).join('\n')}\n`;
    const where = connection === undefined ? {} : { connection };
    reader.directives.push({ name: tag, args: [], line: index + 1, inline, ...where });
    return end + 1;
  }
  if (connection !== undefined) return { line: index + 1, text: 'opens <connection> inside <connection>' };
  const number = reader.connections++;
  for (let i = index + 1; i < end; ) {
    const next = readLine(reader, i, number);
    if (typeof next !== 'number') return next;
    i = next;
  }
  return end + 1;
}
