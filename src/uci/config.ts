// SPDX-License-Identifier: Apache-2.0
// /etc/config/ovpnd as typed, defaulted, frozen records. A section that breaks a rule is left out whole and its
// problems are listed; the others stay. No file is touched here: existence and permissions of key files are
// checked by the daemon, which finds them in `files`.

import type { Ip, Prefix } from '../core/address.ts';
import type { CipherName } from '../core/crypto.ts';
import { parse } from './parse.ts';
import type { Problem } from './problem.ts';
import { Report, uciErrorText } from './problem.ts';
import { camelCase, isSectionType, optionsOf } from './schema.ts';
import type { ConfigDefaults, Draft } from './section.ts';
import { readSection, reportUnknownSection } from './section.ts';
import { checkAuthorities, checkPeers, checkTunnel, checkTunnels, checkUsers } from './validate.ts';

import type { OwnAddress } from './values.ts';

export type { Problem } from './problem.ts';
export { formatProblem } from './problem.ts';
export type { ConfigDefaults } from './section.ts';
export type { OwnAddress } from './values.ts';

/** A file that a tunnel needs. */
export interface ConfigFile {
  /** The uci option that names it. */
  readonly option: string;
  readonly path: string;
  /** Only its owner may be able to read it. */
  readonly secret: boolean;
  readonly line: number;
}

/** The number is the only family; without it both. */
export type Proto = 'udp' | 'udp4' | 'udp6' | 'tcp' | 'tcp4' | 'tcp6';

export interface Remote {
  /** Address text or host name. */
  readonly host: string;
  readonly port: number;
  readonly proto: Proto;
}

/** What server and client tunnels have in common. Times are seconds, sizes are bytes. */
export interface TunnelConfig {
  /** The section's name. */
  readonly name: string;
  /** Of the section's first line. */
  readonly line: number;
  readonly enabled: boolean;
  readonly device: string;
  readonly dataPlane: 'auto' | 'kernel' | 'native' | 'js';
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  /** This or fingerprints. */
  readonly ca?: string;
  /** Both or neither; a server always has them. */
  readonly cert?: string;
  readonly key?: string;
  readonly crl?: string;
  /** SHA-256, 64 hex digits each. */
  readonly peerFingerprint: readonly string[];
  /** `TYPE:TEXT`, or a whole subject. */
  readonly verifyX509Name?: string;
  readonly extraCerts?: string;
  /** In place of cert and key; of ca, too, unless that is there. */
  readonly pkcs12?: string;
  readonly remoteCertTls: 'none' | 'server' | 'client';
  readonly tlsAuth?: string;
  /** Only with tlsAuth; absent = both directions use the same key. */
  readonly keyDirection?: 0 | 1;
  readonly tlsAuthDigest: 'SHA1' | 'SHA256' | 'SHA384' | 'SHA512';
  readonly tlsCrypt?: string;
  /** On a server also beside one of the two above. */
  readonly tlsCryptV2?: string;
  readonly tlsVersionMin: '1.2' | '1.3';
  readonly tlsCipher?: string;
  readonly tlsCiphersuites?: string;
  readonly tlsGroups?: string;
  /** In order of preference, no duplicates, never empty. */
  readonly dataCiphers: readonly CipherName[];
  readonly keepalive: { readonly ping: number; readonly pingRestart: number };
  /** 0 = no renegotiation by this side. */
  readonly renegSec: number;
  /** So are these. */
  readonly renegPkts: number;
  readonly renegBytes: number;
  readonly handWindow: number;
  readonly tunMtu: number;
  /** Outer packet size; 0 = off. */
  readonly mssfix: number;
  /** Of the native plane; 2 = one for each direction. */
  readonly dataThreads: number;
  /** `none` alone switches all off. */
  readonly offload: readonly ('tun_tso' | 'tun_uso' | 'tun_gro' | 'tx_gso' | 'rx_gro' | 'none')[];
  /** Absent = what the system gives. */
  readonly sndbuf?: number;
  readonly rcvbuf?: number;
  readonly fwmark?: number;
  readonly bindDevice?: string;
  /** 0 = leave without a notice. */
  readonly explicitExitNotify: number;
  readonly float: boolean;
  readonly mode: 'multi' | 'p2p';
  /** Networks to route into the tunnel whatever the server pushes; host bits clear. A server's in mode p2p only. */
  readonly route: readonly Prefix[];
  /** Of every route of the tunnel. */
  readonly metric: number;
  /** Every file named above. */
  readonly files: readonly ConfigFile[];
}

export interface ServerConfig extends TunnelConfig {
  readonly role: 'server';
  /** Absent = any. */
  readonly local?: Ip;
  readonly port: number;
  /** Each makes a socket; no two of them overlap. */
  readonly proto: readonly Proto[];
  /** Own addresses with host bits: at most one IPv4 and one IPv6, at least one in all. */
  readonly address: readonly OwnAddress[];
  readonly verifyClientCert: 'require' | 'optional' | 'none';
  readonly auth: 'none' | 'users' | 'ubus';
  readonly authMethod?: string;
  /** Enabled or not; names are distinct. */
  readonly users: readonly UserConfig[];
  readonly clientToClient: boolean;
  /** For the service's script; the daemon refuses it where there is no firewall. */
  readonly blockLan: boolean;
  readonly redirectGateway: boolean;
  /** Host bits clear. */
  readonly pushRoute: readonly Prefix[];
  readonly pushDns: readonly Ip[];
  readonly pushDomain: readonly string[];
  /** Raw option lines for PUSH_REPLY: no comma, no control characters, at most 255 bytes. */
  readonly pushOption: readonly string[];
  readonly duplicateCn: boolean;
  /** For the service's script; the daemon has no use for it. */
  readonly openFirewall: boolean;
  readonly maxClients: number;
  /** In file order; common names are distinct, so are addresses and routes. */
  readonly peers: readonly PeerConfig[];
}

export interface ClientConfig extends TunnelConfig {
  readonly role: 'client';
  /** At least one; in the order of the file. */
  readonly remote: readonly Remote[];
  readonly remoteRandom: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly authUserPass?: string;
  /** As a server's in mode p2p, else none. */
  readonly address: readonly OwnAddress[];
  readonly routeNopull: boolean;
  readonly pullDns: boolean;
  readonly redirectGateway: boolean;
  readonly killSwitch: boolean;
  /** Pause before a new attempt: the first one, and the most it grows to. */
  readonly connectRetry: { readonly first: number; readonly max: number };
  /** Two OpenVPN names of one thing, so always equal: how long one remote may take to answer. */
  readonly connectTimeout: number;
  readonly serverPollTimeout: number;
}

export interface PeerConfig {
  readonly name: string;
  readonly line: number;
  /** false = this peer may not connect. */
  readonly enabled: boolean;
  readonly tunnel: string;
  readonly commonName: string;
  readonly fingerprint?: string;
  /** Fixed tunnel addresses, at most one of each family; all lie in the server's subnets. */
  readonly address: readonly Ip[];
  /** Networks behind the peer; host bits clear. */
  readonly route: readonly Prefix[];
}

export interface UserConfig {
  /** To log in with. */
  readonly name: string;
  readonly line: number;
  readonly enabled: boolean;
  readonly tunnel: string;
  /** Of crypt(3). */
  readonly passwordHash: string;
  /** Base32. */
  readonly totpSecret?: string;
}

export interface Config {
  readonly servers: readonly ServerConfig[];
  readonly clients: readonly ClientConfig[];
  /** In file order. */
  readonly problems: readonly Problem[];
  /** false = the file breaks the grammar of uci, and nothing else is known about it. */
  readonly readable: boolean;
  /** Names of the server, client and peer sections that are left out because of errors. */
  readonly refused: readonly string[];
}

/** Reads a configuration file's bytes (borrowed until return). Never throws. `file` is only for the problems. */
export function readConfig(file: string, bytes: Uint8Array, defaults: ConfigDefaults): Config {
  const report = new Report(file);
  const parsed = parse(bytes);
  if (parsed.error !== undefined) {
    report.addFile(parsed.error.line, uciErrorText(parsed.error.text));
    return freeze({ servers: [], clients: [], problems: report.problems(), readable: false, refused: [] });
  }
  const drafts: Draft[] = [];
  for (const section of parsed.sections) {
    if (isSectionType(section.type)) drafts.push(readSection(report, section, section.type, defaults));
    else reportUnknownSection(report, section);
  }
  const tunnels = drafts.filter(draft => draft.type === 'server' || draft.type === 'client');
  for (const draft of tunnels) checkTunnel(report, draft);
  checkTunnels(report, tunnels);
  checkPeers(report, drafts);
  checkAuthorities(report, drafts);
  checkUsers(report, drafts);

  const good = drafts.filter(draft => !draft.bad);
  const peers = good.filter(draft => draft.type === 'peer').map(draft => record<PeerConfig>(draft, {}));
  const users = good.filter(draft => draft.type === 'user').map(draft => record<UserConfig>(draft, {}));
  const byTunnel = new Map<string, PeerConfig[]>();
  for (const peer of peers) {
    const others = byTunnel.get(peer.tunnel);
    if (others === undefined) byTunnel.set(peer.tunnel, [peer]);
    else others.push(peer);
  }
  const servers = good.filter(draft => draft.type === 'server');
  const clients = good.filter(draft => draft.type === 'client');
  return freeze({
    servers: servers.map(draft =>
      tunnel<ServerConfig>(draft, {
        peers: byTunnel.get(draft.section.name) ?? [],
        users: users.filter(user => user.tunnel === draft.section.name),
      }),
    ),
    clients: clients.map(draft => tunnel<ClientConfig>(draft, {})),
    problems: report.problems(),
    readable: true,
    refused: drafts.filter(draft => draft.bad && !draft.section.anonymous).map(draft => draft.section.name),
  });
}

function tunnel<T extends TunnelConfig>(draft: Draft, more: object): T {
  const files: ConfigFile[] = [];
  for (const row of optionsOf(draft.type).values()) {
    const path = draft.values.get(row.name);
    const line = draft.section.options.get(row.name)?.lines[0];
    if (row.file === undefined || typeof path !== 'string' || line === undefined) continue;
    files.push({ option: row.name, path, secret: row.file === 'secret', line });
  }
  return record<T>(draft, { role: draft.type, files, ...more });
}

/**
 * The record of a section. That the schema's rows and the interfaces above say the same is held by a test; no
 * type can say it, as the rows are data.
 */
function record<T>(draft: Draft, more: object): T {
  const fields: Record<string, unknown> = { name: draft.section.name, line: draft.section.line };
  for (const row of optionsOf(draft.type).values()) {
    const value = draft.values.get(row.name);
    if (value === undefined || row.later === true) continue;
    fields[camelCase(row.name)] = row.name === 'key_direction' ? Number(value) : value;
  }
  return { ...fields, ...more } as T;
}

/** Freezes all the way down; byte arrays cannot be frozen. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}
