// SPDX-License-Identifier: Apache-2.0
// A profile becomes a client section and key files: `ovpnd import`, and the same from the web page. Nothing is written
// before everything is known to be usable, and what was written goes again when a later write fails.

import { describe, type FileStatus, type Host, isFailure, type Result } from '../host/host.ts';
import { isRefusal } from '../pki/authority.ts';
import {
  type ImportedProfile,
  importProfile,
  type ProfileFile,
  type ReadFile,
  type Verdict,
} from '../profile/import.ts';
import { formatProblem, type Problem, readConfig } from '../uci/config.ts';
import { findSection } from '../uci/write.ts';
import {
  byteArray,
  configPath,
  readConfigText,
  sectionText,
  whileLocked,
  writeConfigText,
} from './configtext.ts';
import { loadMaterial } from './material.ts';

export interface ImportTarget {
  /** Section to be made. */
  readonly name: string;
  /** As in `uci -c`. */
  readonly configDirectory: string;
  /** Key files go into a folder of the section's name here. */
  readonly keyDirectory: string;
  /** Options that the profile leaves to a person. */
  readonly username?: string;
  readonly password?: string;
  /** Whether the section is on once nothing is missing; it is, unless this says no. */
  readonly isEnabled?: boolean;
}

export interface ImportResult {
  readonly verdicts: readonly Verdict[];
  /** Why nothing was written, each one line; empty: it can be, or was. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  /** Options still to be set; the section is not enabled then. */
  readonly asks: readonly string[];
}

const PUBLIC_MODE = 0o644;
const SECRET_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

interface Plan extends ImportResult {
  /** The section as text, for the end of the file. */
  readonly section: string;
  readonly profile: ImportedProfile;
}

/** What an import would do; writes nothing. `bytes` are borrowed until return. */
export function planImport(host: Host, target: ImportTarget, bytes: Uint8Array, read: ReadFile): Plan {
  const profile = importProfile(bytes, read);
  const asks = profile.asks.filter(option => target[option] === undefined);
  const section = sectionText('client', target.name, optionsOf(target, profile, asks.length === 0));
  const plan = { verdicts: profile.verdicts, asks, section, profile };
  if (profile.isRefused) return { ...plan, problems: ['it cannot work: see what is refused'], warnings: [] };
  const old = readConfigText(host, target.configDirectory);
  if (typeof old === 'string') return { ...plan, problems: [old], warnings: [] };
  if (findSection(old.parsed, target.name) !== undefined) {
    const text = `${old.path}: there is a section '${target.name}' already`;
    return { ...plan, problems: [text], warnings: [] };
  }
  // Somebody's keys may be in files that no section names.
  const taken = profile.files
    .map(({ name }) => filePath(target, name))
    .filter(path => !isFailure(host.files.status(path)));
  if (taken.length > 0) {
    return {
      ...plan,
      problems: taken.map(path => `${path} is there already; remove it or choose another name`),
      warnings: [],
    };
  }
  const found = problemsOf(host, target, `${old.text}${section}`, profile);
  // Its lines would be those of a file that is not there yet.
  const lines = (severity: Problem['severity']): string[] =>
    found.filter(problem => problem.severity === severity).map(sectionProblem);
  return { ...plan, problems: lines('error'), warnings: lines('warning') };
}

function sectionProblem({ severity, option, value, rule }: Problem): string {
  const place = { severity, file: 'the section', line: 0 } as const;
  return formatProblem({ ...place, ...(option && { option }), ...(value && { value }), rule });
}

/** What `ovpnd check` will say of the new section: of its options, and of its keys as if they were written. */
function problemsOf(host: Host, target: ImportTarget, text: string, profile: ImportedProfile): Problem[] {
  const path = configPath(target.configDirectory);
  const config = readConfig(path, byteArray(text), { hasAesInstructions: host.hasAesInstructions });
  const problems = config.problems.filter(({ section }) => section === target.name);
  const client = config.clients.find(({ name }) => name === target.name);
  if (client === undefined) return problems;
  loadMaterial(withFiles(host, target, profile), path, client, problems)?.tls.close();
  return problems;
}

/** The host as it will be when the files are written. */
function withFiles(host: Host, target: ImportTarget, profile: ImportedProfile): Host {
  const contents = new Map(profile.files.map(file => [filePath(target, file.name), file]));
  const { files } = host;
  return {
    ...host,
    files: {
      // Whoever reads wipes what it got.
      read: path => contents.get(path)?.bytes.slice() ?? files.read(path),
      status: (path): Result<FileStatus> => {
        const file = contents.get(path);
        if (file === undefined) return files.status(path);
        return { kind: 'file', size: file.bytes.length, mode: modeOf(file), uid: host.uid, modifiedMs: 0 };
      },
      list: path => files.list(path),
      write: (path, bytes, mode) => files.write(path, bytes, mode),
      makeDirectory: (path, mode) => files.makeDirectory(path, mode),
      remove: path => files.remove(path),
    },
  };
}

/** Writes the key files and appends the section. */
export function applyImport(
  host: Host,
  target: ImportTarget,
  bytes: Uint8Array,
  read: ReadFile,
): ImportResult {
  const path = configPath(target.configDirectory);
  const done = whileLocked(host, path, () => apply(host, target, bytes, read));
  if (!isRefusal(done)) return done;
  return { ...planImport(host, target, bytes, read), problems: [`${done.refused}; nothing was changed`] };
}

function apply(host: Host, target: ImportTarget, bytes: Uint8Array, read: ReadFile): ImportResult {
  const plan = planImport(host, target, bytes, read);
  if (plan.problems.length > 0) return plan;
  const written: string[] = [];
  const write = (path: string, content: Uint8Array, mode: number): string | undefined => {
    const failure = host.files.write(path, content, mode);
    if (failure === undefined) written.push(path);
    return failure && `${path}: ${describe(failure)}`;
  };
  let wrong = makeDirectories(host, target);
  for (const file of plan.profile.files) {
    wrong ??= write(filePath(target, file.name), file.bytes, modeOf(file));
  }
  // Comments and order of the file stay: the section goes to its end.
  const old = readConfigText(host, target.configDirectory);
  if (typeof old === 'string') wrong ??= old;
  else wrong ??= writeConfigText(host, old, `${old.text}${plan.section}`);
  if (wrong === undefined) return plan;
  for (const path of written) host.files.remove(path);
  return { ...plan, problems: [`${wrong}; nothing was changed`] };
}

function makeDirectories(host: Host, target: ImportTarget): string | undefined {
  for (const path of [target.keyDirectory, `${target.keyDirectory}/${target.name}`]) {
    const failure = host.files.makeDirectory(path, DIRECTORY_MODE);
    if (failure !== undefined) return `${path}: ${describe(failure)}`;
  }
  return undefined;
}

const filePath = ({ keyDirectory, name }: ImportTarget, file: string): string =>
  `${keyDirectory}/${name}/${file}`;
const modeOf = ({ secret }: ProfileFile): number => (secret ? SECRET_MODE : PUBLIC_MODE);

function optionsOf(
  target: ImportTarget,
  profile: ImportedProfile,
  isComplete: boolean,
): Map<string, string | readonly string[]> {
  const options = new Map<string, string | readonly string[]>([
    ['enabled', isComplete && target.isEnabled !== false ? '1' : '0'],
  ]);
  for (const [option, value] of profile.options) options.set(option, value);
  for (const option of ['username', 'password'] as const) {
    const value = target[option];
    if (value !== undefined) options.set(option, value);
  }
  for (const file of profile.files) options.set(file.option, filePath(target, file.name));
  return options;
}
