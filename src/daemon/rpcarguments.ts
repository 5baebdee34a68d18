// SPDX-License-Identifier: Apache-2.0
// Arguments of the web page's methods: one table of kinds, from which rpcd learns the types and each call is checked.
// Nothing of it is trusted: rpcd checks types alone, and not of what is inside lists.

import { checkCommonName } from '../pki/authority.ts';
import { HOST } from './pki.ts';

/** What an argument may be; `?` behind the kind: it may be absent. */
export type Kind =
  | 'section'
  | 'peer'
  | 'host'
  | 'port'
  | 'days'
  | 'keyKind'
  | 'profile'
  | 'login'
  | 'subnet'
  | 'proto'
  | 'words'
  | 'flag'
  | 'changes';

export type Signature = Readonly<Record<string, Kind | `${Kind}?`>>;

/** One section as the page wants it: options by name, null removes one; `remove` the section. */
export interface SectionChange {
  readonly type: string;
  readonly name: string;
  readonly remove: boolean;
  readonly options: ReadonlyMap<string, string | readonly string[] | null>;
}

export type Argument = string | number | boolean | readonly SectionChange[];
export type Arguments = Readonly<Record<string, Argument | undefined>>;

const SECTION = /^[A-Za-z0-9_]{1,32}$/;
const PROFILE_MAX = 262_144;
const LOGIN_MAX = 128;
const SUBNET_MAX = 50;
const WORDS_MAX = 512;
const CHANGES_MAX = 64;
const OPTIONS_MAX = 128;
const ITEMS_MAX = 256;
const VALUE_MAX = 4096;

interface Reader {
  /** What rpcd is told: a value of the type. */
  readonly sample: string | number | boolean | readonly never[];
  /** undefined: it is none. */
  readonly read: (value: unknown) => Argument | undefined;
  readonly rule: string;
}

function text(rule: string, isGood: (value: string) => boolean): Reader {
  return {
    sample: '',
    rule,
    read: value => (typeof value === 'string' && isGood(value) ? value : undefined),
  };
}

function whole(max: number): Reader {
  const read = (value: unknown): number | undefined =>
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max ? value : undefined;
  return { sample: 0, rule: `must be a number from 1 to ${max}`, read };
}

const oneOf = (...words: string[]): Reader =>
  text(`must be one of ${words.join(', ')}`, value => words.includes(value));

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\x00-\x1f\x7f]/;

const READERS: Readonly<Record<Kind, Reader>> = {
  section: text('must be 1 to 32 letters, digits or _', value => SECTION.test(value)),
  peer: text('must be 1 to 64 of A-Z a-z 0-9 _ . @ : -', value => checkCommonName(value) === undefined),
  host: text('must be an address or host name', value => HOST.test(value)),
  port: whole(65_535),
  days: whole(36_500),
  keyKind: oneOf('ec', 'ed25519'),
  profile: text(`must be the text of a profile, at most ${PROFILE_MAX} characters`, value => {
    return value.length > 0 && value.length <= PROFILE_MAX;
  }),
  login: text(`must be at most ${LOGIN_MAX} characters, none of them a control character`, value => {
    return value.length <= LOGIN_MAX && !CONTROL.test(value);
  }),
  subnet: text('must be an own address with its prefix length, such as 10.8.0.1/24', value => {
    return value.length <= SUBNET_MAX && /^[0-9A-Fa-f:.]+\/[0-9]{1,3}$/.test(value);
  }),
  proto: oneOf('udp', 'tcp', 'both'),
  words: text('must be addresses or networks with blanks between them', value => {
    return value.length <= WORDS_MAX && /^[0-9A-Fa-f:./ ]*$/.test(value);
  }),
  flag: {
    sample: false,
    rule: 'must be true or false',
    read: value => (typeof value === 'boolean' ? value : undefined),
  },
  changes: {
    sample: [],
    rule: 'must be a list of sections, each with type, name and options',
    read: readChanges,
  },
};

type Table = Readonly<Record<string, unknown>>;

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function readChanges(value: unknown): SectionChange[] | undefined {
  if (!Array.isArray(value) || value.length > CHANGES_MAX) return undefined;
  const changes = value.map(readChange);
  return changes.some(change => change === undefined) ? undefined : (changes as SectionChange[]);
}

function readChange(value: unknown): SectionChange | undefined {
  if (!isTable(value)) return undefined;
  const { type, name, remove = false, options = {} } = value;
  if (typeof type !== 'string' || !/^(?:server|client|peer|user)$/.test(type)) return undefined;
  if (typeof name !== 'string' || !SECTION.test(name)) return undefined;
  if (typeof remove !== 'boolean' || !isTable(options)) return undefined;
  const entries = Object.entries(options);
  if (entries.length > OPTIONS_MAX) return undefined;
  for (const [option, item] of entries) {
    if (!SECTION.test(option) || !isValue(item)) return undefined;
  }
  return { type, name, remove, options: new Map(entries as [string, string | string[] | null][]) };
}

function isValue(value: unknown): value is string | string[] | null {
  if (Array.isArray(value)) return value.length <= ITEMS_MAX && value.every(item => isText(item));
  return value === null || isText(value);
}

const isText = (value: unknown): boolean =>
  typeof value === 'string' && value.length <= VALUE_MAX && !CONTROL.test(value);

const split = (kind: Kind | `${Kind}?`): { readonly kind: Kind; readonly isOptional: boolean } => {
  const isOptional = kind.endsWith('?');
  return { kind: (isOptional ? kind.slice(0, -1) : kind) as Kind, isOptional };
};

/** What rpcd is told of a method's arguments. */
export function samples(signature: Signature): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(signature).map(([name, kind]) => [name, READERS[split(kind).kind].sample]),
  );
}

/** The arguments of a call, or one line saying what is wrong with them; never quotes a value. */
export function readArguments(signature: Signature, given: unknown): Arguments | string {
  if (!isTable(given)) return 'arguments must be a JSON object';
  const read: Record<string, Argument | undefined> = Object.create(null) as Record<string, Argument>;
  for (const name of Object.keys(given)) {
    // rpcd adds the session that it has let in.
    if (name !== 'ubus_rpc_session' && !Object.hasOwn(signature, name)) {
      return `there is no argument ${/^\w{1,32}$/.test(name) ? name : 'of this name'}`;
    }
  }
  for (const [name, spelled] of Object.entries(signature)) {
    const { kind, isOptional } = split(spelled);
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value === undefined || (isOptional && value === '')) {
      if (!isOptional) return `argument ${name} is missing`;
      continue;
    }
    const argument = READERS[kind].read(value);
    if (argument === undefined) return `argument ${name} ${READERS[kind].rule}`;
    read[name] = argument;
  }
  return read;
}
