// SPDX-License-Identifier: Apache-2.0
// `ovpnd migrate`: takes over, once, what OpenVPN was configured for on this router: `config openvpn` sections and
// interfaces with `proto 'openvpn'`. The new sections are not enabled, for OpenVPN may still run; nothing of the old
// is changed. Every loss is a line of the log.

import { describe, type Host, isFailure } from '../host/host.ts';
import {
  clientProfile,
  roleOf,
  type ServerDraft,
  serverDraft,
  type UciOptions,
} from '../profile/openvpnuci.ts';
import { PROFILE_MAX } from '../profile/ovpn.ts';
import { formatProblem, readConfig } from '../uci/config.ts';
import { parse } from '../uci/parse.ts';
import { findSection } from '../uci/write.ts';
import {
  byteArray,
  configPath,
  readConfigText,
  sectionText,
  whileLocked,
  writeConfigText,
} from './configtext.ts';
import { applyImport } from './import.ts';
import type { Log } from './log.ts';

export interface MigrateTarget {
  readonly configDirectory: string;
  readonly keyDirectory: string;
}

interface Old {
  readonly name: string;
  readonly options: UciOptions;
  /** Where it stands. */
  readonly path: string;
}

const SECRET_OPTIONS: ReadonlySet<string> = new Set(['key', 'tls_auth', 'tls_crypt', 'tls_crypt_v2']);

/** Exit status 0, unless something could not be written: then it is worth another try. */
export function migrate(host: Host, target: MigrateTarget, log: Log): number {
  const present = readConfigText(host, target.configDirectory);
  if (typeof present === 'string') {
    log.write('error', present);
    return 1;
  }
  if (present.parsed.sections.some(({ type }) => type === 'server' || type === 'client')) return 0;
  let code = 0;
  for (const old of oldSections(host, target.configDirectory, log)) {
    const wrong = takeOver(host, target, old, log);
    if (wrong === undefined) continue;
    log.write('error', `${old.path}: '${old.name}' was not taken over: ${wrong.text}`);
    if (wrong.isWorthRetry) code = 1;
  }
  return code;
}

interface Wrong {
  readonly text: string;
  readonly isWorthRetry: boolean;
}

function oldSections(host: Host, directory: string, log: Log): Old[] {
  const found: Old[] = [];
  for (const [file, type] of [
    ['openvpn', 'openvpn'],
    ['network', 'interface'],
  ] as const) {
    const path = `${directory}/${file}`;
    const bytes = host.files.read(path);
    if (isFailure(bytes)) {
      if (bytes.code !== 'ENOENT') log.write('error', `${path}: ${describe(bytes)}`);
      continue;
    }
    const parsed = parse(bytes);
    if (parsed.error !== undefined) log.write('error', `${path}:${parsed.error.line}: ${parsed.error.text}`);
    for (const section of parsed.error === undefined ? parsed.sections : []) {
      const options = new Map([...section.options].map(([name, { value }]) => [name, value]));
      if (section.type !== type || (file === 'network' && options.get('proto') !== 'openvpn')) continue;
      if (section.anonymous) log.write('warn', `${path}:${section.line}: a tunnel without a name stays`);
      else if (!found.some(({ name }) => name === section.name))
        found.push({ name: section.name, options, path });
    }
  }
  return found;
}

function takeOver(host: Host, target: MigrateTarget, old: Old, log: Log): Wrong | undefined {
  if (!/^[A-Za-z0-9_]{1,32}$/.test(old.name)) {
    return { text: 'its name has more than 32 characters', isWorthRetry: false };
  }
  const read = (path: string): Uint8Array | string => {
    const bytes = host.files.read(path.startsWith('/') ? path : `/etc/openvpn/${path}`);
    return isFailure(bytes) ? `names ${path}, which cannot be read: ${bytes.text}` : bytes;
  };
  if (roleOf(old.options) === 'server') return takeServer(host, target, old, read, log);
  return takeClient(host, target, old, read, log);
}

type Read = (path: string) => Uint8Array | string;

function takeClient(host: Host, target: MigrateTarget, old: Old, read: Read, log: Log): Wrong | undefined {
  const profile = clientProfile(old.options);
  if (typeof profile !== 'string')
    return { text: `option ${profile.option} ${profile.note}`, isWorthRetry: false };
  const config = old.options.get('config');
  const base = typeof config === 'string' ? read(config) : new Uint8Array(0);
  if (typeof base === 'string') return { text: `option config ${base}`, isWorthRetry: false };
  const text = new Uint8Array(base.length + 1 + profile.length);
  text.set(base);
  text.set([10], base.length);
  text.set(byteArray(profile), base.length + 1);
  if (text.length > PROFILE_MAX) return { text: 'it is too large', isWorthRetry: false };
  const option = (name: string): object => {
    const value = old.options.get(name);
    return typeof value === 'string' ? { [name]: value } : {};
  };
  const login = { ...option('username'), ...option('password') };
  const folder =
    typeof config === 'string' && config.includes('/') ? config.slice(0, config.lastIndexOf('/') + 1) : '';
  const beside: Read = path => read(path.startsWith('/') ? path : `${folder}${path}`);
  const result = applyImport(host, { ...target, ...login, name: old.name, isEnabled: false }, text, beside);
  text.fill(0);
  for (const { name, verdict, note } of result.verdicts) {
    if (verdict !== 'refused') continue;
    log.write('warn', `'${old.name}': ${name === '' ? 'it' : `${name} is left out:`} ${note ?? ''}`);
  }
  const wrong = result.problems.join('; ');
  if (wrong !== '') return { text: wrong, isWorthRetry: /nothing was changed$/.test(wrong) };
  const { asks } = result;
  done(log, old, asks.length === 0 ? '' : ` when ${asks.map(ask => `option ${ask}`).join(' and ')} is set`);
  return undefined;
}

function done(log: Log, { path, name }: Old, more = ''): void {
  const how = `uci set ovpnd.${name}.enabled=1`;
  log.write('info', `${path}: '${name}' was taken over; end OpenVPN's, then ${how}${more}`);
}

function takeServer(host: Host, target: MigrateTarget, old: Old, read: Read, log: Log): Wrong | undefined {
  const draft = serverDraft(old.options);
  for (const { option, note } of draft.losses)
    log.write('warn', `'${old.name}': ${option} is left out: ${note}`);
  if (draft.losses.some(({ isEssential }) => isEssential)) {
    return { text: 'it cannot work without what is left out', isWorthRetry: false };
  }
  const contents = new Map<string, Uint8Array>();
  for (const [option, path] of draft.files) {
    const bytes = read(path);
    if (typeof bytes === 'string') return { text: `option ${option} ${bytes}`, isWorthRetry: false };
    contents.set(option, bytes);
  }
  const section = soundSection(host, target, old.name, draft, log);
  if ('text' in section) return { text: section.text, isWorthRetry: false };
  const written = whileLocked(host, configPath(target.configDirectory), () =>
    writeServer(host, target, old.name, section.options, contents),
  );
  const failure = typeof written === 'object' ? written.refused : written;
  for (const bytes of contents.values()) bytes.fill(0);
  if (failure !== undefined) return { text: failure, isWorthRetry: true };
  done(log, old);
  return undefined;
}

const filePath = ({ keyDirectory }: MigrateTarget, name: string, option: string): string =>
  `${keyDirectory}/${name}/${option.replace(/_/g, '-')}.${option === 'key' ? 'key' : 'pem'}`;

type Options = ReadonlyMap<string, string | readonly string[]>;

/** What the daemon takes: an option that it refuses is left out, and said. */
function soundSection(
  host: Host,
  target: MigrateTarget,
  name: string,
  draft: ServerDraft,
  log: Log,
): { readonly options: Options } | { readonly text: string } {
  const options = new Map<string, string | readonly string[]>([['enabled', '0'], ...draft.options]);
  for (const option of draft.files.keys()) options.set(option, filePath(target, name, option));
  const path = configPath(target.configDirectory);
  for (;;) {
    const bytes = byteArray(sectionText('server', name, options));
    const { problems } = readConfig(path, bytes, { hasAesInstructions: host.hasAesInstructions });
    const wrong = problems.find(({ severity }) => severity === 'error');
    if (wrong === undefined) return { options };
    const { option } = wrong;
    const isNeeded =
      option === undefined || draft.files.has(option) || /^(address|port|proto|local)$/.test(option);
    if (isNeeded || !options.delete(option)) return { text: formatProblem({ ...wrong, line: 0 }) };
    log.write('warn', `'${name}': ${option} is left out: ${wrong.rule}`);
  }
}

function writeServer(
  host: Host,
  target: MigrateTarget,
  name: string,
  options: Options,
  contents: ReadonlyMap<string, Uint8Array>,
): string | undefined {
  const written: string[] = [];
  let wrong: string | undefined;
  for (const path of [target.keyDirectory, `${target.keyDirectory}/${name}`]) {
    const failure = wrong === undefined ? host.files.makeDirectory(path, 0o700) : undefined;
    if (failure !== undefined) wrong = `${path}: ${describe(failure)}`;
  }
  for (const [option, bytes] of contents) {
    if (wrong !== undefined) break;
    const path = filePath(target, name, option);
    if (!isFailure(host.files.status(path))) wrong = `${path} is there already`;
    else {
      const failure = host.files.write(path, bytes, SECRET_OPTIONS.has(option) ? 0o600 : 0o644);
      if (failure === undefined) written.push(path);
      else wrong = `${path}: ${describe(failure)}`;
    }
  }
  const old = readConfigText(host, target.configDirectory);
  if (typeof old === 'string') wrong ??= old;
  else if (findSection(old.parsed, name) !== undefined) wrong ??= `there is a section '${name}' already`;
  else wrong ??= writeConfigText(host, old, `${old.text}${sectionText('server', name, options)}`);
  if (wrong !== undefined) for (const path of written) host.files.remove(path);
  return wrong;
}
