// SPDX-License-Identifier: Apache-2.0
// The files a tunnel names: read, checked, and turned into what TLS and the core need. Every problem is one line
// that names the option and the file.

import { decodeUtf8, toHex } from '../core/bytes.ts';
import { type Host, isFailure, type TlsContext } from '../host/host.ts';
import { RENEW_BEFORE_DAYS } from '../pki/authority.ts';
import { lastEndS } from '../pki/certificate.ts';
import type { ClientConfig, Problem, ServerConfig } from '../uci/config.ts';
import { unpackPkcs12 } from './pkcs12.ts';
import { readWrapFiles, type WrapFiles } from './wrapfiles.ts';

export interface Material extends WrapFiles {
  readonly tls: TlsContext;
  /** A client's user name and password. */
  readonly login?: Login;
  /** SHA-256 of each file's content by the option that names it, hexadecimal. */
  readonly digests: Map<string, string>;
  readonly lifetimes: readonly Lifetime[];
}

/** When the certificates that an option names end. */
export interface Lifetime {
  readonly option: 'ca' | 'cert';
  /** Seconds since 1970. */
  readonly notAfterS: number;
}

export interface Login {
  readonly username: string;
  readonly password: string;
}

type Tunnel = ServerConfig | ClientConfig;

/** The configuration file and section a problem belongs to. */
interface Place {
  readonly file: string;
  readonly tunnel: Tunnel;
}

function problem(place: Place, option: string, severity: Problem['severity'], rule: string): Problem {
  const { tunnel } = place;
  const named = (name: string) => tunnel.files.find(candidate => candidate.option === name);
  const isBundled = /^(ca|cert|key)$/.test(option) && named(option) === undefined && named('pkcs12');
  if (isBundled) return problem(place, 'pkcs12', severity, `${option} in it: ${rule}`);
  const file = named(option);
  return {
    severity,
    file: place.file,
    line: file?.line ?? tunnel.line,
    sectionType: tunnel.role,
    section: tunnel.name,
    option,
    ...(file === undefined ? {} : { value: file.path }),
    rule,
  };
}

/** What enforces block_lan on a router. */
const FIREWALL = '/sbin/fw4';

/** Whether block_lan would be kept here. */
export const keepsBlockLan = (host: Host): boolean => !isFailure(host.files.status(FIREWALL));

/** A promise that nobody would keep must not be made. */
function firewallProblem(host: Host, place: Place): Problem[] {
  const { tunnel } = place;
  const isKept = tunnel.role === 'client' || !tunnel.blockLan || keepsBlockLan(host);
  return isKept
    ? []
    : [
        problem(
          place,
          'block_lan',
          'error',
          `needs the firewall of OpenWrt (${FIREWALL}), which is not here`,
        ),
      ];
}

/** Reads everything; undefined when an error was added to `problems`. The caller closes the TLS context. */
export function loadMaterial(
  host: Host,
  file: string,
  tunnel: Tunnel,
  problems: Problem[],
): Material | undefined {
  const place = { file, tunnel };
  const contents = new Map<string, Uint8Array>();
  const digests = new Map<string, string>();
  const lacking = firewallProblem(host, place);
  problems.push(...lacking);
  let isComplete = lacking.length === 0;
  for (const { option, path, secret } of tunnel.files) {
    const bytes = host.files.read(path);
    if (isFailure(bytes)) {
      const why = bytes.code === 'EINVAL' ? 'it is no regular file' : bytes.text;
      problems.push(problem(place, option, 'error', `cannot be read: ${why}`));
      isComplete = false;
      continue;
    }
    contents.set(option, bytes);
    digests.set(option, toHex(host.crypto.hash('SHA256', bytes)));
    const status = secret ? host.files.status(path) : undefined;
    if (status !== undefined && !isFailure(status) && (status.mode & 0o077) !== 0) {
      const mode = (status.mode & 0o777).toString(8);
      problems.push(
        problem(place, option, 'warning', `is readable by other users (mode ${mode}); chmod 600 it`),
      );
    }
  }
  const wrap = readWrapFiles(tunnel, contents, (option, rule) =>
    problems.push(problem(place, option, 'error', rule)),
  );
  const bundle = unpackPkcs12(host, contents) ?? lacksAuthority(tunnel, contents);
  if (bundle !== undefined) {
    problems.push(problem(place, 'pkcs12', 'error', bundle));
    isComplete = false;
  }
  // With a file missing the rest is still looked at: one run of `check` names everything.
  const isWhole =
    bundle === undefined &&
    (tunnel.pkcs12 === undefined || contents.has('pkcs12')) &&
    (tunnel.cert === undefined || contents.has('cert')) &&
    (tunnel.key === undefined || contents.has('key'));
  const login = tunnel.role === 'client' ? readLogin(place, tunnel, contents, problems) : undefined;
  if (login === 'bad') isComplete = false;
  const tls = isWhole ? openTls(host, place, contents, problems) : undefined;
  const doubts = tls === undefined ? [] : doubtsOf(place, tls);
  if (doubts.some(({ severity }) => severity === 'error')) isComplete = false;
  problems.push(...doubts);
  const lifetimes = tls === undefined ? [] : lifetimesOf(tls, contents.get('ca'));
  for (const { option, rule } of lifetimeWarnings(lifetimes, host.wallS())) {
    problems.push(problem(place, option, 'warning', rule));
  }
  for (const bytes of contents.values()) bytes.fill(0);
  if (isComplete && wrap !== undefined && tls !== undefined) {
    return { ...wrap, tls, digests, lifetimes, ...(login && login !== 'bad' && { login }) };
  }
  tls?.close();
  return undefined;
}

/** A server's purpose is looked at by clients, whatever they are told of it; a client's not by every server. */
function doubtsOf(place: Place, { doubts }: TlsContext): Problem[] {
  const isServer = place.tunnel.role === 'server';
  return doubts.map(doubt => {
    if (doubt === 'issuer')
      return problem(
        place,
        'cert',
        'warning',
        'is signed by none of ca or extra_certs: only who has its authority takes it',
      );
    return isServer
      ? problem(place, 'cert', 'error', 'is not for a server (extended key usage): clients refuse it')
      : problem(place, 'cert', 'warning', 'is not for a client (extended key usage): most servers refuse it');
  });
}

/** Without any, whatever certificate would do. */
function lacksAuthority(tunnel: Tunnel, contents: ReadonlyMap<string, Uint8Array>): string | undefined {
  if (!contents.has('pkcs12') || tunnel.ca !== undefined || contents.has('ca')) return undefined;
  const needsNone = tunnel.role === 'server' && tunnel.verifyClientCert === 'none';
  if (tunnel.peerFingerprint.length > 0 || needsNone) return undefined;
  return 'holds no certificate of an authority; set ca or peer_fingerprint';
}

/** From the section, or from a file of two lines. */
function readLogin(
  place: Place,
  tunnel: ClientConfig,
  contents: ReadonlyMap<string, Uint8Array>,
  problems: Problem[],
): Login | 'bad' | undefined {
  const { username, password } = tunnel;
  if (username !== undefined && password !== undefined) return { username, password };
  const bytes = contents.get('auth_user_pass');
  if (bytes === undefined) return undefined;
  const [first = '', second = ''] = decodeUtf8(bytes).split(/\r?\n/);
  if (first !== '' && second !== '') return { username: first, password: second };
  problems.push(
    problem(
      place,
      'auth_user_pass',
      'error',
      'must have a line with the user name and one with the password',
    ),
  );
  return 'bad';
}

function openTls(
  host: Host,
  place: Place,
  contents: Map<string, Uint8Array>,
  problems: Problem[],
): TlsContext | undefined {
  const { tunnel } = place;
  const part = <K extends string>(key: K, option: string): Partial<Record<K, Uint8Array>> => {
    const bytes = contents.get(option);
    return bytes === undefined ? {} : ({ [key]: bytes } as Record<K, Uint8Array>);
  };
  const context = host.tlsContext({
    role: tunnel.role,
    ...part('ca', 'ca'),
    ...part('cert', 'cert'),
    ...part('key', 'key'),
    ...part('extraCerts', 'extra_certs'),
    ...part('crl', 'crl'),
    versionMin: tunnel.tlsVersionMin,
    ...(tunnel.tlsCipher === undefined ? {} : { cipherList: tunnel.tlsCipher }),
    ...(tunnel.tlsCiphersuites === undefined ? {} : { cipherSuites: tunnel.tlsCiphersuites }),
    ...(tunnel.tlsGroups === undefined ? {} : { groups: tunnel.tlsGroups }),
    verifyPeer: tunnel.role === 'server' ? tunnel.verifyClientCert : 'require',
    ...(tunnel.remoteCertTls === 'none' ? {} : { remoteCertTls: tunnel.remoteCertTls }),
  });
  if (isTlsContext(context)) return context;
  problems.push(problem(place, context.option, 'error', context.text));
  return undefined;
}

function isTlsContext(value: ReturnType<Host['tlsContext']>): value is TlsContext {
  return 'open' in value;
}

function lifetimesOf({ notAfterS }: TlsContext, ca: Uint8Array | undefined): Lifetime[] {
  const endS = ca && lastEndS(ca);
  return [
    ...(endS === undefined ? [] : [{ option: 'ca', notAfterS: endS } as const]),
    ...(notAfterS === 0 ? [] : [{ option: 'cert', notAfterS } as const]),
  ];
}

/** What has ended or will soon. */
export function lifetimeWarnings(
  lifetimes: readonly Lifetime[],
  wallS: number,
): { readonly option: string; readonly rule: string }[] {
  const warnings: { option: string; rule: string }[] = [];
  for (const { option, notAfterS } of lifetimes) {
    const days = Math.floor((notAfterS - wallS) / 86_400);
    if (days >= RENEW_BEFORE_DAYS) continue;
    const refusing = option === 'cert' ? 'the other side will refuse it' : 'nobody can be known by it';
    warnings.push({ option, rule: days < 0 ? `has expired: ${refusing}` : `expires in ${days} days` });
  }
  return warnings;
}
