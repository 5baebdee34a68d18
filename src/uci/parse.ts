// SPDX-License-Identifier: Apache-2.0
// Reads a uci file (/etc/config/<package>) as libuci does in its default, strict mode, oddities included: a
// file that `uci export` reads means the same here, and a file that it refuses is refused here.
//
// Text is kept as byte strings: one UTF-16 unit (0 to 255) per byte. Values need not be UTF-8, and nothing is
// lost on the way to write.ts. text.ts converts at the edge.
//
// One oddity is not followed: at a NUL byte libuci silently drops the rest of the line; here it is an error.

import { byteString } from './text.ts';

/** An option; `lines` has one line number per value. Never an empty single value: uci has no such thing. */
export interface UciOption {
  name: string;
  value: string | string[];
  lines: number[];
}

export interface UciSection {
  type: string;
  /** For an anonymous section the name that uci makes up (`cfg02b608`). It is good only for this very file. */
  name: string;
  anonymous: boolean;
  line: number;
  /** By name, in file order. */
  options: Map<string, UciOption>;
}

export interface UciFile {
  sections: UciSection[];
  /** How many sections were ever made: the next anonymous name counts on from here. */
  made: number;
}

/** Why a file cannot be read. */
export interface UciError {
  /** Where a person should look, from 1. For an unterminated quote: where it was opened. */
  readonly line: number;
  /** In libuci's words. */
  readonly text: string;
  /** Place as the `uci` command prints it; its line is one less on a last line without newline. */
  readonly uciLine: number;
  readonly uciByte: number;
}

/** `sections` of a faulty file are what came before the error; libuci gives none of them to anybody. */
export interface ParsedFile extends UciFile {
  error?: UciError;
}

const TAB = 9;
const NEWLINE = 10;
const RETURN = 13;
const BLANK = 32;
const DOUBLE_QUOTE = 34;
const HASH = 35;
const SINGLE_QUOTE = 39;
const SEMICOLON = 59;
const BACKSLASH = 92;

/** What ends a run of plain characters in a word. */
const SPECIAL = new Set([DOUBLE_QUOTE, HASH, SINGLE_QUOTE, SEMICOLON, BACKSLASH]);

const NAME = /^[A-Za-z0-9_]+$/;
const PACKAGE_NAME = /^[A-Za-z0-9_-]+$/;
const TYPE = /^[!-~]+$/;

/** Whether uci takes the text as the name of a section or option. */
export function isUciName(text: string): boolean {
  return NAME.test(text);
}

/** Whether uci takes the text as a section type. */
export function isUciType(text: string): boolean {
  return TYPE.test(text);
}

function isSpace(code: number): boolean {
  return code === BLANK || (code >= TAB && code <= RETURN);
}

/** Thrown and caught in this file only: an error ends the reading from any depth, as in libuci. */
class Fault {
  readonly error: UciError;
  constructor(error: UciError) {
    this.error = error;
  }
}

/** Words of commands. A command may go over several lines of the file through quotes and backslashes. */
class Reader {
  private readonly text: string;
  private pos = 0;
  /** End of what can be read of the present command: of the last line taken, or where a comment began. */
  private end = 0;
  /** Start of the first line not taken yet. */
  private next = 0;
  private start = 0;
  /** Bytes of the present command that libuci overwrites in its buffer; it does not count them. */
  private dropped = 0;
  private newlines = 0;
  /** Number of the last line taken, from 1. */
  row = 0;

  constructor(text: string) {
    this.text = text;
  }

  /** Takes the line where a command begins; false at the end of the file. */
  takeCommandLine(): boolean {
    if (this.next >= this.text.length) return false;
    this.start = this.next;
    this.pos = this.next;
    this.dropped = 0;
    this.takeLine();
    this.skipSpace();
    return true;
  }

  private takeLine(): void {
    if (this.next >= this.text.length) return;
    const newline = this.text.indexOf('\n', this.next);
    this.next = newline < 0 ? this.text.length : newline + 1;
    this.end = this.next;
    this.row++;
    if (newline >= 0) this.newlines++;
  }

  private code(ahead = 0): number {
    const at = this.pos + ahead;
    return at < this.end ? this.text.charCodeAt(at) : 0;
  }

  private skipSpace(): void {
    while (isSpace(this.code())) this.pos++;
  }

  fail(text: string, line = this.row): never {
    throw new Fault({
      line,
      text,
      uciLine: this.newlines,
      uciByte: this.pos - this.start - this.dropped,
    });
  }

  /** The first word of a command, which knows only blank and tab as separators; undefined: nothing left. */
  keyword(): { word: string; skip: () => void } | undefined {
    let from = this.pos;
    while (from < this.end && (this.text[from] === ' ' || this.text[from] === '\t')) from++;
    if (from >= this.end) return undefined;
    let to = from;
    while (to < this.end && this.text[to] !== ' ' && this.text[to] !== '\t') to++;
    const word = this.text.slice(from, to);
    const skip = () => {
      if (to >= this.end) this.fail(`${LONG[word] ?? word} without name`);
      this.pos = to + 1;
    };
    return { word, skip };
  }

  /** The next word, empty when there is none. */
  argument(required: boolean, form?: RegExp): string {
    this.skipSpace();
    let word = '';
    if (this.code() === SEMICOLON) this.pos++;
    else word = this.word();
    if (word === '' && required) this.fail('insufficient arguments');
    if (word !== '' && form !== undefined && !form.test(word)) this.fail('invalid character in name field');
    return word;
  }

  endOfCommand(): void {
    if (this.argument(false) !== '') this.fail('too many arguments');
  }

  private word(): string {
    const parts: string[] = [];
    const begin = this.pos;
    let length = 0;
    const keep = (from: number) => {
      parts.push(this.text.slice(from, this.pos));
      length += this.pos - from;
    };
    let separate = true;
    do {
      const code = this.code();
      if (code === SINGLE_QUOTE) this.singleQuote(keep);
      else if (code === DOUBLE_QUOTE) this.doubleQuote(keep);
      else if (code === HASH) this.end = this.pos;
      else if (code === SEMICOLON) separate = false;
      else if (code === BACKSLASH) {
        if (!this.continues() && this.code() !== 0) keep(this.pos++);
      } else if (code !== 0) this.plain(keep);
      if (code === HASH || code === SEMICOLON || code === 0) break;
    } while (this.code() !== 0 && !isSpace(this.code()));
    if (this.code() !== 0) {
      if (separate) this.pos++;
      // libuci ends the word with a NUL, which hits the semicolon when nothing of the word was dropped; the
      // rest of the line is then lost to it.
      else if (length === this.pos - begin) this.end = this.pos;
    }
    return parts.join('');
  }

  private plain(keep: (from: number) => void): void {
    const from = this.pos;
    while (this.code() !== 0 && !isSpace(this.code()) && !SPECIAL.has(this.code())) this.pos++;
    keep(from);
  }

  private singleQuote(keep: (from: number) => void): void {
    const opened = this.row;
    let from = ++this.pos;
    for (;;) {
      const code = this.code();
      if (code === 0) {
        keep(from);
        from = this.pos;
        this.takeLine();
        if (this.code() === 0) this.fail("EOF with unterminated '", opened);
      } else if (code === SINGLE_QUOTE) {
        keep(from);
        this.pos++;
        return;
      } else this.pos++;
    }
  }

  private doubleQuote(keep: (from: number) => void): void {
    const opened = this.row;
    let from = ++this.pos;
    for (;;) {
      const code = this.code();
      if (code === 0) {
        keep(from);
        from = this.pos;
        this.takeLine();
        if (this.code() === 0) this.fail('EOF with unterminated "', opened);
      } else if (code === DOUBLE_QUOTE) {
        keep(from);
        this.pos++;
        return;
      } else if (code === BACKSLASH) {
        keep(from);
        const continued = this.continues();
        from = this.pos;
        if (!continued) this.pos++;
      } else this.pos++;
    }
  }

  /** Steps over a backslash; true when it joined two lines, false when the next character is literal. */
  private continues(): boolean {
    this.pos++;
    const code = this.code();
    const crlf = code === RETURN && this.code(1) === NEWLINE && this.pos + 2 === this.end;
    if (code !== 0 && code !== NEWLINE && !crlf) return false;
    this.dropped += this.next - this.pos;
    this.pos = this.next;
    this.takeLine();
    return true;
  }
}

const LONG: Readonly<Record<string, string>> = {
  p: 'package',
  c: 'config',
  o: 'option',
  l: 'option',
  list: 'option',
};

/** The name uci makes up for the anonymous section that is the `made`-th one of its file. */
export function anonymousName(type: string, made: number): string {
  let hash = 5381;
  for (let i = 0; i < type.length; i++) hash = (Math.imul(hash, 33) + type.charCodeAt(i)) | 0;
  const hex = (value: number, width: number) => value.toString(16).padStart(width, '0');
  return `cfg${hex(made, 2)}${hex(hash & 0xffff, 4)}`;
}

function readSection(
  reader: Reader,
  file: UciFile,
  names: Map<string, UciSection>,
  line: number,
): UciSection {
  const type = reader.argument(true);
  if (!isUciType(type)) reader.fail('invalid character in type field');
  const given = reader.argument(false, NAME);
  reader.endOfCommand();
  const known = given === '' ? undefined : names.get(given);
  if (known !== undefined) {
    if (known.type !== type) {
      reader.fail('section of different type overwrites prior section with same name', line);
    }
    return known;
  }
  file.made++;
  const anonymous = given === '';
  const name = anonymous ? anonymousName(type, file.made) : given;
  const section: UciSection = { type, name, anonymous, line, options: new Map() };
  file.sections.push(section);
  if (!names.has(name)) names.set(name, section);
  return section;
}

function readOption(reader: Reader, section: UciSection, isList: boolean, line: number): void {
  const name = reader.argument(true, NAME);
  const value = reader.argument(false);
  reader.endOfCommand();
  const known = section.options.get(name);
  if (isList && known !== undefined) {
    if (typeof known.value === 'string') known.value = [known.value];
    known.value.push(value);
    known.lines.push(line);
  } else if (isList) {
    section.options.set(name, { name, value: [value], lines: [line] });
  } else if (value !== '') {
    // Setting a known key keeps its place. An empty value changes nothing, not even an earlier one.
    section.options.set(name, { name, value, lines: [line] });
  }
}

function readCommands(reader: Reader, file: UciFile): void {
  const names = new Map<string, UciSection>();
  let section: UciSection | undefined;
  while (reader.takeCommandLine()) {
    for (let first = reader.keyword(); first !== undefined; first = reader.keyword()) {
      const { word, skip } = first;
      const line = reader.row;
      if (word.startsWith('#')) break;
      if (word === 'package' || word === 'p') {
        skip();
        reader.argument(true, PACKAGE_NAME);
        reader.endOfCommand();
      } else if (word === 'config' || word === 'c') {
        skip();
        section = readSection(reader, file, names, line);
      } else if (word === 'option' || word === 'o' || word === 'list' || word === 'l') {
        if (section === undefined) reader.fail('option/list command found before the first section');
        skip();
        readOption(reader, section, word.startsWith('l'), line);
      } else reader.fail('invalid command');
    }
  }
}

/** Reads a file's bytes (borrowed until return). Never throws. */
export function parse(bytes: Uint8Array): ParsedFile {
  const file: ParsedFile = { sections: [], made: 0 };
  const text = byteString(bytes);
  const nul = text.indexOf('\0');
  const reader = new Reader(nul < 0 ? text : text.slice(0, nul));
  try {
    readCommands(reader, file);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    file.error = fault.error;
  }
  if (nul >= 0 && (file.error === undefined || file.error.text.startsWith('EOF'))) {
    const before = text.slice(0, nul).split('\n');
    const line = before.length;
    file.error = { line, text: 'NUL byte', uciLine: line, uciByte: before[line - 1]!.length };
  }
  return file;
}
