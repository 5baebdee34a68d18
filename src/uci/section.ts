// SPDX-License-Identifier: Apache-2.0
// One section of the file against the schema: types, defaults, required options, names that are not known. What
// options of a section mean for each other is in validate.ts.

import { nearest } from './nearest.ts';
import type { UciOption, UciSection } from './parse.ts';
import type { Report } from './problem.ts';
import type { OptionRow, SectionType } from './schema.ts';
import { optionsOf, SECTION_TYPES, sectionsWith } from './schema.ts';
import { decodeUtf8 } from './text.ts';
import { NOT_YET, readValue } from './values.ts';

/** A section being read. */
export interface Draft {
  readonly section: UciSection;
  readonly type: SectionType;
  /** By option, defaults included; lists are arrays. What could not be read is missing. */
  readonly values: Map<string, unknown>;
  /** For each list, which of the file's values the ones in `values` are. */
  readonly indexes: Map<string, readonly number[]>;
  /** Some rule is broken: the section is refused. */
  bad: boolean;
}

/** What defaults depend on. */
export interface ConfigDefaults {
  readonly hasAesInstructions: boolean;
}

/** Reports an error and refuses the section. With an option, the problem is at its `index`-th value. */
export function refuse(report: Report, draft: Draft, rule: string, name?: string, index = 0): void {
  draft.bad = true;
  report.add('error', draft.section, placeOf(draft, name, index), rule);
}

/** Reports a warning. */
export function warn(report: Report, draft: Draft, rule: string, name?: string, index = 0): void {
  report.add('warning', draft.section, placeOf(draft, name, index), rule);
}

function placeOf(draft: Draft, name: string | undefined, index: number) {
  if (name === undefined) return {};
  const row = optionsOf(draft.type).get(name);
  const given = draft.section.options.get(name);
  const list = row?.list === true ? { isList: true } : {};
  if (given === undefined) return { option: name, ...list };
  const value = typeof given.value === 'string' ? given.value : given.value[index];
  const open = row !== undefined && row.secret !== true && value !== undefined;
  return { option: name, line: given.lines[index] ?? given.lines[0]!, ...list, ...(open ? { value } : {}) };
}

/** Reads a section's own options. */
export function readSection(
  report: Report,
  section: UciSection,
  type: SectionType,
  defaults: ConfigDefaults,
): Draft {
  const draft: Draft = { section, type, values: new Map(), indexes: new Map(), bad: false };
  const name = section.name;
  if (section.anonymous) refuse(report, draft, `needs a name: config ${type} 'NAME'`);
  else if (name.length > 32) refuse(report, draft, 'must have a name of at most 32 characters');
  const rows = optionsOf(type);
  for (const option of section.options.values()) {
    const row = rows.get(option.name);
    if (row === undefined) reportUnknown(report, draft, option.name);
    else readOption(report, draft, row, option);
  }
  // Nothing can refer to a section without a name: what else it lacks is of no interest.
  if (section.anonymous) return draft;
  for (const row of rows.values()) {
    if (section.options.has(row.name)) continue;
    if (row.required === true) refuse(report, draft, 'is required', row.name);
    const value = defaultValue(row, name, defaults);
    if (value !== undefined) draft.values.set(row.name, value);
  }
  return draft;
}

function readOption(report: Report, draft: Draft, row: OptionRow, option: UciOption): void {
  if (row.list !== true) {
    if (typeof option.value !== 'string') {
      refuse(report, draft, 'is a single option, not a list', row.name);
      return;
    }
    const value = readText(report, draft, row, option.value, 0);
    if (value !== undefined) draft.values.set(row.name, value);
    return;
  }
  const texts = typeof option.value === 'string' ? [option.value] : option.value;
  const seen = new Set<unknown>();
  const values: unknown[] = [];
  const indexes: number[] = [];
  texts.forEach((text, i) => {
    const value = readText(report, draft, row, text, i);
    if (value === undefined) return;
    const key = typeof value === 'string' ? value : text;
    if (seen.has(key)) warn(report, draft, 'is there twice', row.name, i);
    else {
      values.push(value);
      indexes.push(i);
    }
    seen.add(key);
  });
  draft.values.set(row.name, values);
  draft.indexes.set(row.name, indexes);
}

function readText(report: Report, draft: Draft, row: OptionRow, bytes: string, index: number): unknown {
  const text = decodeUtf8(bytes);
  if (text === undefined || text === '') {
    refuse(report, draft, text === '' ? 'must not be empty' : 'must be UTF-8 text', row.name, index);
    return undefined;
  }
  const reading = readValue(row.type, text);
  if ('rule' in reading) {
    refuse(report, draft, reading.rule, row.name, index);
    return undefined;
  }
  if (row.later === true && text !== row.default) {
    refuse(report, draft, NOT_YET, row.name, index);
    return undefined;
  }
  return reading.value;
}

function defaultValue(row: OptionRow, name: string, defaults: ConfigDefaults): unknown {
  switch (row.name) {
    case 'device':
      return `ov-${name}`.slice(0, 15);
    case 'data_ciphers':
      // Without AES instructions ChaCha is several times faster, and AES in tables leaks its key through the cache.
      return defaults.hasAesInstructions
        ? ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305']
        : ['CHACHA20-POLY1305', 'AES-256-GCM', 'AES-128-GCM'];
    case 'common_name':
    case 'name':
      return name;
  }
  if (row.default === undefined) return row.list === true ? [] : undefined;
  const read = (text: string) => {
    const reading = readValue(row.type, text);
    return 'value' in reading ? reading.value : undefined;
  };
  return typeof row.default === 'string' ? read(row.default) : row.default.map(read);
}

function reportUnknown(report: Report, draft: Draft, name: string): void {
  const elsewhere = sectionsWith(name);
  let rule = 'is not known and has no effect';
  if (elsewhere.length > 0) rule = `has no effect here; it belongs in a ${elsewhere.join(' or ')} section`;
  else if (report.hasRoom('warning')) {
    const near = nearest(name, [...optionsOf(draft.type).keys()]);
    if (near !== undefined) rule += `; did you mean ${near}?`;
  }
  warn(report, draft, rule, name);
}

/** Warns of a section whose type is not known. */
export function reportUnknownSection(report: Report, section: UciSection): void {
  const near = report.hasRoom('warning') ? nearest(section.type, SECTION_TYPES) : undefined;
  const hint = near === undefined ? '' : `; did you mean ${near}?`;
  report.add('warning', section, {}, `a section of this type has no effect${hint}`);
}
