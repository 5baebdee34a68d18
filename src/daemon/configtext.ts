// SPDX-License-Identifier: Apache-2.0
// Changes to the configuration file that leave the rest of its text as it is, comments and order included: a section
// at the end, options under a section's first line.

import { describe, type FileLock, type Host, isFailure, type Result } from '../host/host.ts';
import type { Refusal } from '../pki/authority.ts';
import { type ParsedFile, parse, type UciSection } from '../uci/parse.ts';
import { uciErrorText } from '../uci/problem.ts';
import { byteString } from '../uci/text.ts';
import { addList, findSection, setOption, setSection, write } from '../uci/write.ts';

/** Options by name; arrays are written with `list`. */
export type SectionOptions = ReadonlyMap<string, string | readonly string[]>;

export interface ConfigText {
  readonly path: string;
  /** A byte string that is empty or ends with a line end. */
  readonly text: string;
  readonly parsed: ParsedFile;
}

const SECRET_MODE = 0o600;

export const configPath = (directory: string): string => `${directory}/ovpnd`;

/** The file as it is, one that is not there as an empty one; a string says why it cannot be used. */
export function readConfigText(host: Host, directory: string): ConfigText | string {
  const path = configPath(directory);
  const read = host.files.read(path);
  if (isFailure(read) && read.code !== 'ENOENT') return `${path}: cannot be read: ${read.text}`;
  const bytes = isFailure(read) ? new Uint8Array(0) : read;
  const parsed = parse(bytes);
  if (parsed.error !== undefined) {
    return `${path}:${parsed.error.line}: ${uciErrorText(parsed.error.text)}`;
  }
  return { path, text: textOf(read), parsed };
}

function textOf(read: Result<Uint8Array>): string {
  const text = isFailure(read) ? '' : byteString(read);
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

/** How long another writer may take, and how often it is asked. */
const LOCK_MS = 5000;
const LOCK_STEP_MS = 20;

/** undefined: there is nothing to lock. A string says why it cannot be locked. */
function lockFile(host: Host, path: string): FileLock | string | undefined {
  const { loop } = host;
  for (const endMs = host.monotonicMs() + LOCK_MS; ; ) {
    const lock = host.lockFile(path);
    if (!isFailure(lock)) return lock;
    if (lock.code === 'ENOENT') return undefined;
    if (lock.code !== 'EAGAIN') return `${path}: cannot be locked: ${lock.text}`;
    const now = host.monotonicMs();
    if (now >= endMs) return `${path}: somebody else is changing it`;
    loop.at(now + LOCK_STEP_MS, () => loop.stop());
    loop.run();
  }
}

/**
 * Reads and writes a file in `change` while nobody else can: neither another command nor `uci commit` or LuCI, for
 * it is libuci's own lock. Not to be nested for one file.
 */
export function whileLocked<T>(host: Host, path: string, change: () => T): T | Refusal {
  const lock = lockFile(host, path);
  if (typeof lock === 'string') return { refused: lock };
  try {
    return change();
  } finally {
    lock?.release();
  }
}

/** Writes what became of `config`. undefined: done; else one line saying why not. */
export function writeConfigText(host: Host, config: ConfigText, text: string): string | undefined {
  const { path } = config;
  // Editors take no lock, and libuci gives it back a moment before it is done.
  if (textOf(host.files.read(path)) !== config.text) return `${path} was changed meanwhile; try again`;
  const bytes = byteArray(text);
  const failure = host.files.write(path, bytes, SECRET_MODE);
  bytes.fill(0);
  return failure && `${path}: ${describe(failure)}`;
}

export function byteArray(text: string): Uint8Array {
  return Uint8Array.from(text, character => character.charCodeAt(0));
}

/** The text of a section, to be put at the end of a file. */
export function sectionText(type: string, name: string, options: SectionOptions): string {
  const file = parse(new Uint8Array(0));
  const section = setSection(file, name, type);
  for (const [option, value] of options) {
    if (typeof value === 'string') setOption(section, option, value);
    else for (const item of value) addList(section, option, item);
  }
  return byteString(write(file));
}

/** The file's text with these options added to a section that has none of them. */
export function withOptions(config: ConfigText, section: UciSection, options: SectionOptions): string {
  const body = sectionText('x', 'x', options)
    .split('\n')
    .filter(line => line.startsWith('\t'));
  const lines = config.text.split('\n');
  lines.splice(section.line, 0, ...body);
  return lines.join('\n');
}

/** The named section of this type. */
export function sectionOf(config: ConfigText, type: string, name: string): UciSection | undefined {
  const section = findSection(config.parsed, name);
  return section?.type === type && !section.anonymous ? section : undefined;
}

/** A single value of a section as it stands there. */
export function optionOf(section: UciSection, name: string): string | undefined {
  const value = section.options.get(name)?.value;
  return typeof value === 'string' ? value : undefined;
}
