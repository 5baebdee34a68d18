// SPDX-License-Identifier: Apache-2.0
// The authority of a server tunnel and its configuration together: what `ovpnd pki` and `ovpnd export` do, and the web
// page by the same functions.

import { type Ip, network, type Prefix, sameIp } from '../core/address.ts';
import { encodeUtf8 } from '../core/bytes.ts';
import { newClientKey, newServerKey, parseServerKey } from '../core/clientkey.ts';
import type { Host, KeyKind } from '../host/host.ts';
import { isFailure } from '../host/host.ts';
import {
  Authority,
  CLIENT_DAYS,
  checkCommonName,
  type Identity,
  isRefusal,
  type Refusal,
} from '../pki/authority.ts';
import { readCertificate } from '../pki/certificate.ts';
import { type ExportRemote, exportProfile } from '../profile/export.ts';
import type { OwnAddress, ServerConfig } from '../uci/config.ts';
import { findSection } from '../uci/write.ts';
import { readConfigFile } from './configfile.ts';
import {
  type ConfigText,
  configPath,
  optionOf,
  readConfigText,
  sectionOf,
  sectionText,
  whileLocked,
  withOptions,
  writeConfigText,
} from './configtext.ts';

/** Which tunnel, and where its files are. */
export interface PkiTarget {
  readonly tunnel: string;
  readonly configDirectory: string;
  readonly keyDirectory: string;
}

const refusal = (refused: string): Refusal => ({ refused });

export function authorityOf(host: Host, { tunnel, keyDirectory }: PkiTarget): Authority {
  return new Authority({
    files: host.files,
    keys: host.privateKeys,
    random: host.random,
    sha1: data => host.crypto.hash('SHA1', data),
    wallS: () => host.wallS(),
    directory: `${keyDirectory}/${tunnel}`,
  });
}

function serverSection(config: ConfigText | string, tunnel: string): Refusal | undefined {
  if (typeof config === 'string') return refusal(config);
  if (sectionOf(config, 'server', tunnel) !== undefined) return undefined;
  return refusal(`${config.path}: there is no server '${tunnel}'; write its section first`);
}

/** Options that an authority's tunnel has, and their files in the tunnel's folder. */
const FILES: readonly (readonly [option: string, name: string])[] = [
  ['ca', 'ca.crt'],
  ['cert', 'server.crt'],
  ['key', 'server.key'],
  ['crl', 'crl.pem'],
];

/** Each peer gets a key of its own, made from this one. */
const V2_KEY = 'tls-crypt-v2.key';

/** The options that a section without keys gets from `initAuthority`. */
export function authorityFiles({ tunnel, keyDirectory }: PkiTarget): [option: string, path: string][] {
  return [...FILES, ['tls_crypt_v2', V2_KEY] as const].map(([option, name]) => [
    option,
    `${keyDirectory}/${tunnel}/${name}`,
  ]);
}

const locked = <T>(host: Host, { configDirectory }: PkiTarget, change: () => T): T | Refusal =>
  whileLocked(host, configPath(configDirectory), change);

/** Makes the authority and adds the options that name its files to the server's section. */
export function initAuthority(host: Host, target: PkiTarget, kind: KeyKind): Refusal | undefined {
  return locked(host, target, () => makeAuthority(host, target, kind));
}

/** The same for who has locked the configuration. */
export function makeAuthority(host: Host, target: PkiTarget, kind: KeyKind): Refusal | undefined {
  const config = readConfigText(host, target.configDirectory);
  const missing = serverSection(config, target.tunnel);
  if (missing !== undefined || typeof config === 'string') return missing;
  const section = sectionOf(config, 'server', target.tunnel)!;
  const options = new Map<string, string>();
  for (const [option, name] of FILES) {
    const path = `${target.keyDirectory}/${target.tunnel}/${name}`;
    const present = optionOf(section, option);
    if (present === undefined) options.set(option, path);
    else if (present !== path) {
      return refusal(`${config.path}: server '${target.tunnel}' has option ${option} '${present}' already`);
    }
  }
  const wraps = ['tls_auth', 'tls_crypt', 'tls_crypt_v2'].some(option => section.options.has(option));
  const keyPath = `${target.keyDirectory}/${target.tunnel}/${V2_KEY}`;
  if (!wraps && !isFailure(host.files.status(keyPath))) return refusal(`${keyPath} is there already`);
  const failure = authorityOf(host, target).init(target.tunnel, kind);
  if (failure !== undefined) return failure;
  if (!wraps) {
    const key = newServerKey(host.random);
    const unwritten = host.files.write(keyPath, key, 0o600);
    key.fill(0);
    if (unwritten !== undefined) return refusal(`${keyPath}: ${unwritten.text}`);
    options.set('tls_crypt_v2', keyPath);
  }
  if (options.size === 0) return undefined;
  const wrong = writeConfigText(host, config, withOptions(config, section, options));
  return wrong === undefined ? undefined : refusal(wrong);
}

/** A new certificate and key for the server, and for the authority when it is in its last year. */
export function renewAuthority(host: Host, target: PkiTarget): Refusal | undefined {
  return locked(host, target, () => authorityOf(host, target).renew(target.tunnel));
}

/** The common name of a peer: that of its section, else its own. */
function commonNameOf(config: ConfigText, target: PkiTarget, peer: string): string | Refusal {
  const section = sectionOf(config, 'peer', peer);
  if (section !== undefined && optionOf(section, 'tunnel') !== target.tunnel) {
    return refusal(`${config.path}: peer '${peer}' belongs to another tunnel`);
  }
  const name = (section && optionOf(section, 'common_name')) ?? peer;
  return name === target.tunnel ? refusal(`'${name}' is the name of the server itself`) : name;
}

/** A certificate with a fresh key for a peer. The caller wipes the key. */
export function issueToPeer(
  host: Host,
  target: PkiTarget,
  peer: string,
  days = CLIENT_DAYS,
): Identity | Refusal {
  const config = readConfigText(host, target.configDirectory);
  const missing = serverSection(config, target.tunnel);
  if (missing !== undefined || typeof config === 'string') return missing ?? refusal(String(config));
  const commonName = commonNameOf(config, target, peer);
  return typeof commonName === 'string'
    ? authorityOf(host, target).issue(commonName, 'client', days)
    : commonName;
}

export interface Revocation {
  readonly commonName: string;
  /** Certificates that were revoked now. */
  readonly count: number;
  /** The authority's key is elsewhere: the peer's section was disabled instead. */
  readonly isDisabled: boolean;
}

/**
 * Ends a peer's access: its certificates go onto the revocation list; where the authority's key is not here, its
 * section is disabled (and made, if need be).
 */
export function revokePeer(host: Host, target: PkiTarget, peer: string): Revocation | Refusal {
  return locked(host, target, () => revoke(host, target, peer));
}

function revoke(host: Host, target: PkiTarget, peer: string): Revocation | Refusal {
  const config = readConfigText(host, target.configDirectory);
  if (typeof config === 'string') return refusal(config);
  const commonName = commonNameOf(config, target, peer);
  if (typeof commonName !== 'string') return commonName;
  const authority = authorityOf(host, target);
  if (authority.canIssue) {
    const count = authority.revoke(commonName);
    if (typeof count !== 'number') return count;
    if (count > 0) return { commonName, count, isDisabled: false };
    return refusal(`no valid certificate was issued to '${commonName}'`);
  }
  const known = authority.list();
  if (isRefusal(known)) return known;
  if (!known.some(item => item.commonName === commonName)) {
    return refusal(`no certificate was issued to '${commonName}'`);
  }
  const wrong = setPeerEnabled(host, config, target, peer, commonName, false);
  return wrong === undefined ? { commonName, count: 0, isDisabled: true } : refusal(wrong);
}

/** Sets a peer's `enabled`; without a section one is made when it is to be kept out. A string says why not. */
function setPeerEnabled(
  host: Host,
  config: ConfigText,
  { tunnel }: PkiTarget,
  peer: string,
  commonName: string,
  isEnabled: boolean,
): string | undefined {
  const enabled = isEnabled ? '1' : '0';
  const section = sectionOf(config, 'peer', peer);
  if (section !== undefined) {
    const lines = config.text.split('\n');
    // A later line of an option wins; the old one goes, so that nobody is misled.
    const old = section.options.get('enabled')?.lines[0];
    if (old !== undefined) lines.splice(old - 1, 1);
    const text = withOptions({ ...config, text: lines.join('\n') }, section, new Map([['enabled', enabled]]));
    return writeConfigText(host, config, text);
  }
  const name = peer.replace(/[^A-Za-z0-9_]/g, '_').slice(0, 32);
  if (findSection(config.parsed, name) !== undefined)
    return `${config.path}: there is a section '${name}' already`;
  const options = new Map([
    ['enabled', enabled],
    ['tunnel', tunnel],
    ['common_name', commonName],
  ]);
  return writeConfigText(host, config, `${config.text}${sectionText('peer', name, options)}`);
}

/** Lets a peer in or keeps it out, by its section's name or its common name; its certificate stays as it is. */
export function enablePeer(
  host: Host,
  target: PkiTarget,
  peer: string,
  isEnabled: boolean,
): Refusal | undefined {
  return locked(host, target, () => setEnabled(host, target, peer, isEnabled));
}

function setEnabled(host: Host, target: PkiTarget, peer: string, isEnabled: boolean): Refusal | undefined {
  const config = readConfigText(host, target.configDirectory);
  const missing = serverSection(config, target.tunnel);
  if (missing !== undefined || typeof config === 'string') return missing;
  const named = config.parsed.sections.find(section => {
    const isOurs = section.type === 'peer' && !section.anonymous;
    return (
      isOurs && optionOf(section, 'tunnel') === target.tunnel && optionOf(section, 'common_name') === peer
    );
  });
  const name = named?.name ?? peer;
  const commonName = commonNameOf(config, target, name);
  if (typeof commonName !== 'string') return commonName;
  const wrong = setPeerEnabled(host, config, target, name, commonName, isEnabled);
  return wrong === undefined ? undefined : refusal(wrong);
}

export interface ExportRequest {
  readonly peer: string;
  /** Address or name that the peer reaches the server by, as typed. */
  readonly host: string;
  /** Absent: the server's own. */
  readonly port?: number;
  readonly days?: number;
}

/** Address or host name of a remote. */
export const HOST = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?|[0-9A-Fa-f:.]{2,45})$/;

/** The text of a profile for a peer, with a fresh certificate and key. Nothing of it is kept but the certificate. */
export function exportPeer(host: Host, target: PkiTarget, request: ExportRequest): string | Refusal {
  if (!HOST.test(request.host)) return refusal('the remote must be an address or host name');
  const config = readConfigFile(host, target.configDirectory);
  const server = config.servers.find(({ name }) => name === target.tunnel);
  if (server === undefined) {
    return refusal(`${config.path}: there is no usable server '${target.tunnel}'; see ovpnd check`);
  }
  const material = serverMaterial(host, server, request.peer);
  if ('refused' in material) return material;
  const identity = issueToPeer(host, target, request.peer, request.days);
  if (isRefusal(identity)) return identity;
  const text = exportProfile({
    peer: request.peer,
    tunnel: target.tunnel,
    remotes: remotesOf(server, request),
    serverName: material.serverName,
    ciphers: server.dataCiphers,
    tunMtu: server.tunMtu,
    ca: material.ca,
    cert: identity.certificate,
    key: identity.key,
    ...(material.wrap && { wrap: material.wrap }),
    ...(server.mode === 'p2p' && {
      peerMode: { addresses: server.address.map(otherEnd), keepalive: server.keepalive },
    }),
    hasLogin: server.auth !== 'none',
    ...(server.users.some(user => user.totpSecret !== undefined) && { challenge: 'One-time code' }),
  });
  identity.key.fill(0);
  material.wrap?.key.fill(0);
  return text;
}

/** Mode p2p: the peer's address, or the first other one of the subnet; and ours. */
function otherEnd({ ip, bits, peer }: OwnAddress): { own: Prefix; peer: Ip } {
  const isTwo = bits === ip.length * 8 - 1;
  const other = isTwo ? ip.slice() : network({ ip, bits }).ip;
  other[other.length - 1]! ^= 1;
  if (sameIp(other, ip)) other[other.length - 1]! ^= 3;
  return { own: { ip: peer ?? other, bits }, peer: ip };
}

/** UDP first: it is the faster one wherever it gets through. */
function remotesOf(server: ServerConfig, { host, port }: ExportRequest): ExportRemote[] {
  const protos = [...server.proto].sort((a, b) => Number(a.startsWith('tcp')) - Number(b.startsWith('tcp')));
  return protos.map(proto => ({ host, port: port ?? server.port, proto }));
}

/** A key of the peer's own, with its name inside, or what is wrong with the server's key file. */
function clientKeyFor(host: Host, file: Uint8Array, peer: string): Uint8Array | string {
  const key = parseServerKey(file);
  file.fill(0);
  if (typeof key === 'string') return key;
  return newClientKey(host.crypto, host.random, key, host.wallS(), encodeUtf8(peer));
}

type Wrap = NonNullable<Parameters<typeof exportProfile>[0]['wrap']>;

function serverMaterial(
  host: Host,
  server: ServerConfig,
  peer: string,
): { readonly ca: Uint8Array; readonly serverName: string; readonly wrap?: Wrap } | Refusal {
  const read = (path: string): Uint8Array | Refusal => {
    const bytes = host.files.read(path);
    return isFailure(bytes) ? refusal(`${path}: ${bytes.text}`) : bytes;
  };
  if (server.ca === undefined || server.cert === undefined)
    return refusal(`server '${server.name}' has no ca`);
  const ca = read(server.ca);
  const cert = read(server.cert);
  if (isRefusal(ca)) return ca;
  if (isRefusal(cert)) return cert;
  const info = readCertificate(cert);
  if (info === undefined) return refusal(`${server.cert} holds no certificate`);
  if (checkCommonName(info.commonName) !== undefined)
    return refusal(`${server.cert} has no usable common name`);
  if (server.tlsCryptV2 !== undefined) {
    const file = read(server.tlsCryptV2);
    if (isRefusal(file)) return file;
    const key = clientKeyFor(host, file, peer);
    if (typeof key === 'string') return refusal(`${server.tlsCryptV2}: ${key}`);
    return { ca, serverName: info.commonName, wrap: { kind: 'tls-crypt-v2', key } };
  }
  const path = server.tlsCrypt ?? server.tlsAuth;
  if (path === undefined) return { ca, serverName: info.commonName };
  const key = read(path);
  if (isRefusal(key)) return key;
  const { keyDirection, tlsAuthDigest } = server;
  const wrap: Wrap =
    server.tlsCrypt !== undefined
      ? { kind: 'tls-crypt', key }
      : {
          kind: 'tls-auth',
          key,
          digest: tlsAuthDigest,
          ...(keyDirection !== undefined && { serverDirection: keyDirection }),
        };
  return { ca, serverName: info.commonName, wrap };
}
