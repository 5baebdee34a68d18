// SPDX-License-Identifier: Apache-2.0
// Writes uci files as libuci does, prints them as `uci show` does, and changes them as the verbs of the `uci`
// command do. Arguments are ordinary text; what is stored are byte strings (see parse.ts).

import type { UciFile, UciSection } from './parse.ts';
import { anonymousName, isUciName, isUciType } from './parse.ts';
import { encodeUtf8 } from './text.ts';

function quote(text: string): string {
  return `'${text.replace(/'/g, "'\\''")}'`;
}

function body(file: UciFile): string {
  const parts: string[] = [];
  for (const section of file.sections) {
    const name = section.anonymous ? '' : ` ${quote(section.name)}`;
    // libuci never quotes the type, and cannot read back what it writes for such as these.
    const type = /['"#;\\]/.test(section.type) ? quote(section.type) : section.type;
    parts.push(`\nconfig ${type}${name}\n`);
    for (const { name: option, value } of section.options.values()) {
      if (typeof value === 'string') parts.push(`\toption ${option} ${quote(value)}\n`);
      else for (const item of value) parts.push(`\tlist ${option} ${quote(item)}\n`);
    }
  }
  parts.push('\n');
  return parts.join('');
}

/** The file's bytes, as `uci commit` writes them. */
export function write(file: UciFile): Uint8Array {
  const text = body(file);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** What `uci export NAME` prints, as a byte string. */
export function exportPackage(file: UciFile, packageName: string): string {
  return `package ${packageName}\n${body(file)}`;
}

/** What `uci show NAME` prints, as a byte string; with `generated`, `uci -X show NAME`. */
export function show(file: UciFile, packageName: string, generated = false): string {
  const lines: string[] = [];
  const seen = new Map<string, number>();
  for (const section of file.sections) {
    const index = seen.get(section.type) ?? 0;
    seen.set(section.type, index + 1);
    const name = section.anonymous && !generated ? `@${section.type}[${index}]` : section.name;
    lines.push(`${packageName}.${name}=${section.type}\n`);
    for (const { name: option, value } of section.options.values()) {
      const values = typeof value === 'string' ? [value] : value;
      lines.push(`${packageName}.${name}.${option}=${values.map(quote).join(' ')}\n`);
    }
  }
  return lines.join('');
}

function require(holds: boolean, text: string): asserts holds {
  // The callers check what comes from outside; a wrong name here would write a file that nobody can read.
  if (!holds) throw new Error(text);
}

function stored(text: string): string {
  require(!text.includes('\0'), 'a uci value cannot hold a NUL');
  return encodeUtf8(text);
}

/** The section called `name`, or by place among those of its type: `@server[0]`, `@peer[-1]`. */
export function findSection(file: UciFile, name: string): UciSection | undefined {
  const place = /^@([!-~]+)\[(-?[0-9]{1,9})\]$/.exec(name);
  if (place === null) return file.sections.find(section => section.name === name);
  return file.sections.filter(section => section.type === place[1]).at(Number(place[2]));
}

/** `uci set pkg.name=type`: a new named section at the end, or a new type for the one there. */
export function setSection(file: UciFile, name: string, type: string): UciSection {
  require(isUciName(name) && isUciType(type), `bad section: ${type} ${name}`);
  const known = findSection(file, name);
  if (known !== undefined) {
    known.type = type;
    return known;
  }
  file.made++;
  const section = { type, name, anonymous: false, line: 0, options: new Map() };
  file.sections.push(section);
  return section;
}

/** `uci add pkg type`: a new anonymous section at the end. */
export function addSection(file: UciFile, type: string): UciSection {
  require(isUciType(type), `bad section type: ${type}`);
  file.made++;
  const name = anonymousName(type, file.made);
  const section = { type, name, anonymous: true, line: 0, options: new Map() };
  file.sections.push(section);
  return section;
}

/** `uci delete pkg.section`. */
export function deleteSection(file: UciFile, section: UciSection): void {
  const index = file.sections.indexOf(section);
  if (index >= 0) file.sections.splice(index, 1);
}

/** `uci rename pkg.section=name`; an anonymous section becomes a named one. False: the name is taken. */
export function renameSection(file: UciFile, section: UciSection, name: string): boolean {
  require(isUciName(name), `bad section name: ${name}`);
  const known = findSection(file, name);
  if (known !== undefined && known !== section) return false;
  section.name = name;
  section.anonymous = false;
  return true;
}

/** `uci reorder pkg.section=index`. */
export function reorderSection(file: UciFile, section: UciSection, index: number): void {
  deleteSection(file, section);
  file.sections.splice(index, 0, section);
}

/** `uci set pkg.section.name=value`: replaces whatever is there, in its place. An empty value deletes. */
export function setOption(section: UciSection, name: string, value: string): void {
  require(isUciName(name), `bad option name: ${name}`);
  if (value === '') section.options.delete(name);
  else section.options.set(name, { name, value: stored(value), lines: [0] });
}

/** `uci add_list pkg.section.name=value`: one more; a single value becomes a list. */
export function addList(section: UciSection, name: string, value: string): void {
  require(isUciName(name), `bad option name: ${name}`);
  const known = section.options.get(name);
  const before = known === undefined ? [] : typeof known.value === 'string' ? [known.value] : known.value;
  const lines = known === undefined ? [] : known.lines;
  section.options.set(name, { name, value: [...before, stored(value)], lines: [...lines, 0] });
}

/** `uci del_list pkg.section.name=value`: every such value; the option goes with the last one. */
export function deleteList(section: UciSection, name: string, value: string): void {
  const known = section.options.get(name);
  if (known === undefined || typeof known.value === 'string') return;
  const gone = stored(value);
  const kept = known.value.map((item, i) => ({ item, line: known.lines[i]! })).filter(v => v.item !== gone);
  if (kept.length === 0) section.options.delete(name);
  else {
    section.options.set(name, { name, value: kept.map(v => v.item), lines: kept.map(v => v.line) });
  }
}

/** `uci delete pkg.section.name`. */
export function deleteOption(section: UciSection, name: string): void {
  section.options.delete(name);
}

/** `uci rename pkg.section.from=to`; the option keeps its place. */
export function renameOption(section: UciSection, from: string, to: string): void {
  require(isUciName(to), `bad option name: ${to}`);
  const options = [...section.options.values()];
  section.options.clear();
  for (const option of options) {
    if (option.name === to) continue;
    const name = option.name === from ? to : option.name;
    section.options.set(name, { ...option, name });
  }
}
