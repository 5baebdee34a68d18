// SPDX-License-Identifier: Apache-2.0
// From a profile to a client section: every directive gets a ruling, and what they say together becomes options and
// files. Pure: files that the profile names are read by the caller's function, and nothing is written here.

import { formatPrefix, network, parsePrefix } from '../core/address.ts';
import { type ReadFile, rule } from './directives.ts';
import { type Draft, defaultsOf, newDraft, type ProfileFile, type RemoteDraft } from './draft.ts';
import { type Directive, type ProfileError, parseProfile } from './ovpn.ts';
import type { Ruling } from './rulings.ts';

export type { ReadFile } from './directives.ts';
export type { ProfileFile } from './draft.ts';

/** What became of one directive. */
export interface Verdict {
  /** From 1; 0 = the profile as a whole. */
  readonly line: number;
  /** Name of the directive, empty for line 0. Printable. */
  readonly name: string;
  readonly verdict: Ruling['verdict'];
  readonly note?: string;
  /** Without it the tunnel would not work or not be safe: the import is refused. */
  readonly isEssential?: boolean;
}

export interface ImportedProfile {
  /** In the order of the profile. */
  readonly verdicts: readonly Verdict[];
  /** Whether any refusal is essential: then the rest must not be used. */
  readonly isRefused: boolean;
  /** Options of the client section but those that name files. */
  readonly options: ReadonlyMap<string, string | readonly string[]>;
  readonly files: readonly ProfileFile[];
  /** Options that a person must add before the tunnel can connect. */
  readonly asks: readonly ('username' | 'password')[];
}

/** Reads a profile's bytes (borrowed until return). Never throws. */
export function importProfile(bytes: Uint8Array, read: ReadFile): ImportedProfile {
  const profile = parseProfile(bytes);
  if ('text' in profile) return unreadable(profile);
  const draft = newDraft();
  // First, for these may stand behind what they are about.
  for (const { name, args, inline } of profile.directives) {
    draft.names.add(name);
    if (inline !== undefined) draft.blocks.add(name);
    if (name === 'ignore-unknown-option') for (const word of args) draft.ignored.add(word);
  }
  const verdicts: Verdict[] = profile.directives.map(directive => {
    return verdictOf(directive, rule(draft, directive, read));
  });
  for (const note of finish(draft)) {
    verdicts.push({ line: 0, name: '', verdict: 'refused', note, isEssential: true });
  }
  for (const note of draft.notes) verdicts.push({ line: 0, name: '', verdict: 'taken', note });
  return {
    verdicts,
    isRefused: verdicts.some(verdict => verdict.isEssential === true),
    options: draft.options,
    files: [...draft.files.values()],
    asks: [...draft.asks],
  };
}

function verdictOf({ line, name }: Directive, ruling: Ruling): Verdict {
  const { verdict, note } = ruling;
  const isEssential = ruling.verdict === 'refused' && ruling.isEssential;
  return { line, name, verdict, ...(note && { note: printable(note) }), ...(isEssential && { isEssential }) };
}

function unreadable({ line, text }: ProfileError): ImportedProfile {
  const verdict: Verdict = { line, name: '', verdict: 'refused', note: text, isEssential: true };
  return { verdicts: [verdict], isRefused: true, options: new Map(), files: [], asks: [] };
}

/** Notes quote the profile, which may come from anywhere. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  const clean = text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, '?');
  return clean.length > 200 ? `${clean.slice(0, 200)}...` : clean;
}

/** What only shows at the end; each text is an essential refusal. */
function finish(draft: Draft): string[] {
  const wrong: string[] = [];
  if (!draft.isClient || (!draft.hasPull && draft.addresses.length === 0))
    wrong.push('is no client profile: it lacks the line client');
  else if (!draft.hasPull) finishPeer(draft, wrong);
  finishRemotes(draft, wrong);
  finishKeys(draft, wrong);
  finishCiphers(draft, wrong);
  finishTimers(draft, wrong);
  finishPolicy(draft);
  return wrong;
}

function remoteText(draft: Draft, remote: RemoteDraft): string {
  const own = remote.connection === undefined ? {} : defaultsOf(draft, remote.connection);
  const all = defaultsOf(draft, undefined);
  const port = remote.port ?? own.port ?? all.port ?? '1194';
  const proto = remote.proto ?? own.proto ?? all.proto ?? 'udp';
  return `${remote.host} ${port} ${proto}`;
}

function finishRemotes(draft: Draft, wrong: string[]): void {
  const texts = draft.remotes.map(remote => remoteText(draft, remote));
  const kept = texts.filter(text => draft.protoForce === undefined || text.includes(` ${draft.protoForce}`));
  if (texts.length === 0) wrong.push('has no remote');
  else if (kept.length === 0) wrong.push(`has no remote with protocol ${draft.protoForce}`);
  if (kept.length > 0) draft.options.set('remote', [...new Set(kept)]);
}

/** What was there and refused is not missed as well. */
function finishKeys(draft: Draft, wrong: string[]): void {
  const { files, options, names } = draft;
  const has = (...any: string[]): boolean => any.some(name => names.has(name));
  if (!has('ca', 'pkcs12', 'peer-fingerprint')) {
    wrong.push('has neither ca nor peer-fingerprint: no server could be told from another');
  }
  if (!has('pkcs12') && has('cert') !== has('key')) {
    wrong.push(has('cert') ? 'has a cert without its key' : 'has a key without its cert');
  }
  if (!has('cert', 'pkcs12', 'auth-user-pass', 'secret', 'pkcs11-id', 'cryptoapicert')) {
    wrong.push('has neither cert and key nor auth-user-pass: the server would not know the client');
  }
  const wraps = ['tls-auth', 'tls-crypt', 'tls-crypt-v2'].filter(name => has(name));
  if (wraps.length > 1) wrong.push(`has ${wraps.join(' and ')}: only one is possible`);
  if (!files.has('tls_auth')) options.delete('key_direction');
  else if (draft.digest !== undefined && draft.digest !== 'SHA1')
    options.set('tls_auth_digest', draft.digest);
  if (files.has('ca') && !options.has('remote_cert_tls')) {
    // As OpenVPN without the directive: many providers' certificates lack the extension.
    options.set('remote_cert_tls', 'none');
    draft.notes.push(
      'without remote-cert-tls any certificate of this authority counts as the server; set remote_cert_tls to server if it works',
    );
  }
}

const AEAD = /^(?:AES-(?:128|192|256)-GCM|CHACHA20-POLY1305)$/;

function finishCiphers(draft: Draft, wrong: string[]): void {
  const { cipher, fallback, dataCiphers, options } = draft;
  if (draft.isNegotiationOff && cipher !== undefined && !AEAD.test(cipher)) {
    wrong.push(`insists on ${cipher}; ovpnd has only AES-GCM and CHACHA20-POLY1305`);
  }
  const named = [cipher, fallback].filter(name => name !== undefined && AEAD.test(name)) as string[];
  if (dataCiphers !== undefined) options.set('data_ciphers', [...new Set([...dataCiphers, ...named])]);
  // A cipher alone only joins the defaults: an old server knows no other, a new one chooses itself.
  else if (draft.isNegotiationOff && named.length > 0) options.set('data_ciphers', named);
  else if (named.some(name => name === 'AES-192-GCM')) {
    options.set('data_ciphers', ['AES-256-GCM', 'AES-192-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305']);
  }
}

function finishTimers(draft: Draft, wrong: string[]): void {
  const { ping, pingRestart } = draft;
  if (ping === undefined && pingRestart === undefined) return;
  const restart = Number(pingRestart ?? 120);
  const first = Number(ping ?? Math.max(1, Math.floor(restart / 4)));
  if (first === 0 || restart === 0) {
    draft.notes.push('without pings a lost server would go unnoticed; the default keepalive is used');
    return;
  }
  if (restart < 2 * first) wrong.push(`has ping-restart ${restart}, less than twice its ping ${first}`);
  else draft.options.set('keepalive', `${first} ${restart}`);
}

/** `tls-client` with addresses of its own and without pull: mode p2p. */
function finishPeer(draft: Draft, wrong: string[]): void {
  draft.options.set('mode', 'p2p');
  draft.options.set('address', draft.addresses);
  if (draft.names.has('auth-user-pass')) wrong.push('has auth-user-pass without pull');
  if (!draft.names.has('nobind')) {
    draft.notes.push('the other end must take us from any port: there without remote, or with float');
  }
}

/** Stock clients take default route and name servers when the server pushes them; here that is an option. */
function finishPolicy(draft: Draft): void {
  const { options, filtered } = draft;
  // Of a peer nothing comes that could be wanted or not.
  if (!draft.hasPull) options.delete('route_nopull');
  else finishPull(draft);
  if (filtered.has('redirect-gateway')) options.set('redirect_gateway', '0');
  const routes = options.get('route');
  if (!Array.isArray(routes)) return;
  const clear = routes
    .map(text => parsePrefix(text))
    .flatMap(prefix => (prefix ? [formatPrefix(network(prefix))] : []));
  options.set('route', [...new Set(clear)]);
}

function finishPull({ options, filtered }: Draft): void {
  if (filtered.has('route') || filtered.has('route-ipv6')) options.set('route_nopull', '1');
  const isPulling = options.get('route_nopull') !== '1';
  if (isPulling && !filtered.has('dhcp-option') && !filtered.has('dns')) options.set('pull_dns', '1');
}
