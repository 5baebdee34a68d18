// SPDX-License-Identifier: Apache-2.0
// The configuration as the settings page sees and changes it: secrets are never shown, files are named within the
// tunnel's own folder, and nothing is written that `ovpnd check` would refuse.

import { type Host, isFailure } from '../host/host.ts';
import { isRefusal, type Refusal } from '../pki/authority.ts';
import { formatProblem, type Problem, readConfig } from '../uci/config.ts';
import { diffConfig, highest } from '../uci/diff.ts';
import { type ParsedFile, parse, type UciSection } from '../uci/parse.ts';
import { isSectionType, type OptionRow, optionsOf } from '../uci/schema.ts';
import { byteString, decodeUtf8 } from '../uci/text.ts';
import {
  addList,
  deleteOption,
  deleteSection,
  findSection,
  setOption,
  setSection,
  write,
} from '../uci/write.ts';
import { type ConfigFile, materialProblems } from './configfile.ts';
import {
  byteArray,
  type ConfigText,
  configPath,
  optionOf,
  readConfigText,
  whileLocked,
  writeConfigText,
} from './configtext.ts';
import type { SectionChange } from './rpcarguments.ts';

export interface EditTarget {
  readonly configDirectory: string;
  readonly keyDirectory: string;
}

const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$/;

/** A problem as data, and as the line that `ovpnd check` prints. */
export interface ShownProblem {
  readonly severity: string;
  readonly type?: string;
  readonly section?: string;
  readonly option?: string;
  readonly rule: string;
  readonly text: string;
}

export function shownProblem(problem: Problem): ShownProblem {
  const { severity, sectionType: type, section, option, rule } = problem;
  const place = { ...(type && { type }), ...(section && { section }), ...(option && { option }) };
  return { severity, ...place, rule, text: formatProblem(problem) };
}

/** Every problem of a configuration's text and of the files that it names. */
function problemsOf(
  host: Host,
  path: string,
  bytes: Uint8Array,
): { config: ConfigFile; problems: Problem[] } {
  const config = { path, ...readConfig(path, bytes, { hasAesInstructions: host.hasAesInstructions }) };
  return { config, problems: [...config.problems, ...materialProblems(host, config)] };
}

/** The folder of a section's files: that of its tunnel. */
function folderOf(section: UciSection, { keyDirectory }: EditTarget): string {
  return `${keyDirectory}/${section.name}/`;
}

function shownValue(row: OptionRow, section: UciSection, target: EditTarget): string | string[] {
  const { value } = section.options.get(row.name)!;
  const text = (item: string): string => decodeUtf8(item) ?? '?';
  if (typeof value !== 'string') return value.map(text);
  const folder = folderOf(section, target);
  const shown = text(value);
  return row.file !== undefined && shown.startsWith(folder) ? shown.slice(folder.length) : shown;
}

function isFile(host: Host, path: string): boolean {
  const status = host.files.status(path);
  return !isFailure(status) && status.kind === 'file';
}

/** What the sections say. Of a secret only that it is there. */
export function shownSections(host: Host, target: EditTarget): object | Refusal {
  const config = readConfigText(host, target.configDirectory);
  if (typeof config === 'string') return { refused: config };
  const sections = config.parsed.sections
    .filter(section => isSectionType(section.type) && !section.anonymous)
    .map(section => shownSection(host, section, target));
  return { sections };
}

function shownSection(host: Host, section: UciSection, target: EditTarget): object {
  const options: Record<string, string | string[]> = Object.create(null) as Record<string, string>;
  const secrets: string[] = [];
  const rows = isSectionType(section.type) ? optionsOf(section.type) : new Map<string, OptionRow>();
  for (const name of section.options.keys()) {
    const row = rows.get(name);
    if (row?.secret === true) secrets.push(name);
    // What is not known may be a mistyped secret.
    else if (row !== undefined) options[name] = shownValue(row, section, target);
  }
  const isTunnel = section.type === 'server' || section.type === 'client';
  const listed = isTunnel ? host.files.list(folderOf(section, target)) : [];
  const files = isFailure(listed)
    ? []
    : listed.filter(name => isFile(host, `${folderOf(section, target)}${name}`) && FILE_NAME.test(name));
  return { type: section.type, name: section.name, options, secrets, files };
}

/** One line saying what is wrong with the change itself; what its values say is for the whole file's check. */
function applyOne(
  host: Host,
  file: ParsedFile,
  change: SectionChange,
  target: EditTarget,
): string | undefined {
  const { type, name, options } = change;
  const known = findSection(file, name);
  if (known !== undefined && known.type !== type) return `there is a ${known.type} section '${name}' already`;
  if (change.remove) {
    if (known === undefined) return `there is no ${type} section '${name}'`;
    const isOf = (section: UciSection): boolean => optionOf(section, 'tunnel') === name;
    const ends = [known, ...(type === 'server' ? file.sections.filter(isOf) : [])];
    for (const section of ends) deleteSection(file, section);
    return undefined;
  }
  if (!isSectionType(type)) return `there is no section type ${type}`;
  const section = known ?? setSection(file, name, type);
  const rows = optionsOf(type);
  for (const [option, value] of options) {
    const row = rows.get(option);
    if (row === undefined) return `a ${type} has no option ${option}`;
    const wrong =
      value === null ? deleteOption(section, option) : setValue(host, section, row, value, target);
    if (typeof wrong === 'string') return `${type} '${name}': option ${option} ${wrong}`;
  }
  return undefined;
}

function setValue(
  host: Host,
  section: UciSection,
  row: OptionRow,
  value: string | readonly string[],
  target: EditTarget,
): string | undefined {
  if (row.list === true) {
    if (typeof value === 'string') return 'is a list';
    deleteOption(section, row.name);
    for (const item of value) {
      if (item === '') return 'must not be empty';
      addList(section, row.name, item);
    }
    return undefined;
  }
  if (typeof value !== 'string') return 'is a single option, not a list';
  if (row.file === undefined) return void setOption(section, row.name, value);
  if (section.options.has(row.name) && shownValue(row, section, target) === value) return undefined;
  // The page names files, never paths: nothing outside the tunnel's folder can be reached from it.
  const path = `${folderOf(section, target)}${value}`;
  if (!FILE_NAME.test(value) || !isFile(host, path)) {
    return `must be a file in ${folderOf(section, target)}`;
  }
  return void setOption(section, row.name, path);
}

export interface Edit {
  /** Errors keep it from being written; warnings do not. */
  readonly problems: readonly ShownProblem[];
  /** What it costs the tunnels it changes. */
  readonly effects: readonly {
    readonly tunnel: string;
    readonly kind: string;
    readonly cost: string | undefined;
  }[];
}

interface Plan extends Edit {
  readonly old: ConfigText;
  readonly bytes: Uint8Array;
}

function planEdit(host: Host, target: EditTarget, changes: readonly SectionChange[]): Plan | Refusal {
  const old = readConfigText(host, target.configDirectory);
  if (typeof old === 'string') return { refused: old };
  const path = configPath(target.configDirectory);
  const before = problemsOf(host, path, byteArray(old.text));
  const file = parse(byteArray(old.text));
  for (const change of changes) {
    const wrong = applyOne(host, file, change, target);
    if (wrong !== undefined) return { refused: wrong };
  }
  const bytes = write(file);
  const after = problemsOf(host, path, bytes);
  const names = new Set(changes.filter(({ remove }) => !remove).map(({ name }) => name));
  // What was wrong elsewhere before is no reason against this; lines move, so they are not compared.
  const keyOf = ({ section, option, value, rule }: Problem): string =>
    JSON.stringify([section, option, value, rule]);
  const known = new Set(before.problems.map(keyOf));
  const isOurs = (problem: Problem): boolean =>
    (problem.section !== undefined && names.has(problem.section)) || !known.has(keyOf(problem));
  const effects = diffConfig(before.config, after.config)
    .filter(({ kind }) => kind !== 'unchanged')
    .map(({ name, kind, options }) => ({ tunnel: name, kind, cost: highest(options) }));
  return { old, bytes, problems: after.problems.filter(isOurs).map(shownProblem), effects };
}

/** What `ovpnd check` would say if these changes were made; empty changes: of the file as it is. */
export function checkEdit(host: Host, target: EditTarget, changes: readonly SectionChange[]): Edit | Refusal {
  if (changes.length === 0) {
    const bytes = host.files.read(configPath(target.configDirectory));
    const path = configPath(target.configDirectory);
    if (isFailure(bytes)) return { refused: `${path}: cannot be read: ${bytes.text}` };
    return { problems: problemsOf(host, path, bytes).problems.map(shownProblem), effects: [] };
  }
  const plan = planEdit(host, target, changes);
  return isRefusal(plan) ? plan : { problems: plan.problems, effects: plan.effects };
}

/** Makes the changes, all or none of them. */
export function saveEdit(host: Host, target: EditTarget, changes: readonly SectionChange[]): Edit | Refusal {
  return whileLocked(host, configPath(target.configDirectory), () => save(host, target, changes));
}

function save(host: Host, target: EditTarget, changes: readonly SectionChange[]): Edit | Refusal {
  const plan = planEdit(host, target, changes);
  if (isRefusal(plan)) return plan;
  if (!plan.problems.some(({ severity }) => severity === 'error')) {
    const wrong = writeConfigText(host, plan.old, byteString(plan.bytes));
    if (wrong !== undefined) return { refused: wrong };
  }
  return { problems: plan.problems, effects: plan.effects };
}
