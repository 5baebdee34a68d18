// SPDX-License-Identifier: Apache-2.0
// What an import has gathered so far: the options of the client section to be, its files, and what several
// directives only say together (remotes, ciphers, timers).

/** A key or certificate that the section will name. */
export interface ProfileFile {
  /** The uci option that names it. */
  readonly option: string;
  /** Name in the tunnel's folder. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly secret: boolean;
}

/** One `remote`, completed at the end: defaults may stand below it. */
export interface RemoteDraft {
  readonly line: number;
  readonly host: string;
  readonly port?: string;
  readonly proto?: string;
  readonly connection?: number;
}

/** Defaults of the whole profile (key undefined) or of one <connection>. */
export interface ConnectionDefaults {
  proto?: string;
  port?: string;
}

export interface Draft {
  /** In the order of the section to be. */
  readonly options: Map<string, string | string[]>;
  readonly files: Map<string, ProfileFile>;
  readonly remotes: RemoteDraft[];
  readonly defaults: Map<number | undefined, ConnectionDefaults>;
  /** Only remotes of this protocol count. */
  protoForce?: 'udp' | 'tcp';
  /** `client`, or `pull` with `tls-client`. */
  isClient: boolean;
  hasPull: boolean;
  /** Own addresses of a profile without pull: mode p2p. */
  readonly addresses: string[];
  dataCiphers?: readonly string[];
  cipher?: string;
  fallback?: string;
  isNegotiationOff: boolean;
  /** Digest of the tls-auth key. */
  digest?: string;
  ping?: string;
  pingRestart?: string;
  /** What a person must add: the profile has it not. */
  readonly asks: Set<'username' | 'password'>;
  /** Names of directives that may be unknown (ignore-unknown-option). */
  readonly ignored: Set<string>;
  /** Names of the directives that are there. */
  readonly names: Set<string>;
  /** Those that are there as a block: the same name with a file is then an old habit. */
  readonly blocks: Set<string>;
  /** Pushed options that the profile does not want. */
  readonly filtered: Set<string>;
  /** What a person should know that belongs to no directive. */
  readonly notes: string[];
}

export function newDraft(): Draft {
  return {
    options: new Map(),
    files: new Map(),
    remotes: [],
    defaults: new Map(),
    isClient: false,
    hasPull: false,
    addresses: [],
    isNegotiationOff: false,
    asks: new Set(),
    ignored: new Set(),
    names: new Set(),
    blocks: new Set(),
    filtered: new Set(),
    notes: [],
  };
}

/** Adds to an option written with `list`. */
export function addTo(draft: Draft, option: string, value: string): void {
  const known = draft.options.get(option);
  if (Array.isArray(known)) known.push(value);
  else draft.options.set(option, [value]);
}

export function defaultsOf(draft: Draft, connection: number | undefined): ConnectionDefaults {
  let known = draft.defaults.get(connection);
  if (known === undefined) {
    known = {};
    draft.defaults.set(connection, known);
  }
  return known;
}
