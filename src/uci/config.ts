// SPDX-License-Identifier: Apache-2.0
// /etc/config/ovpnd as typed, defaulted, frozen records. A section that breaks a rule is left out whole and its
// problems are listed; the others stay. No file is touched here: existence and permissions of key files are
// checked by the daemon, which finds them in `files`.

import type { Ip, Prefix } from '../core/address.ts';
import type { CipherName } from '../core/crypto.ts';

/** What is wrong with a place in the file, for a person. */
export interface Problem {
  /** An error refuses its section; a warning refuses nothing. */
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly sectionType?: string;
  /** The section's name; absent when it has none. */
  readonly section?: string;
  readonly option?: string;
  /** Whether `option` is written with the keyword `list`. */
  readonly isList?: boolean;
  /** As in the file; never there for a secret or for an option that is not known (it may be a mistyped secret). */
  readonly value?: string;
  /** What holds, as the rest of a sentence: `must be a port number, 1 to 65535`. */
  readonly rule: string;
}

/** A file that a tunnel needs. */
export interface ConfigFile {
  /** The uci option that names it. */
  readonly option: string;
  readonly path: string;
  /** Only its owner may be able to read it. */
  readonly secret: boolean;
  readonly line: number;
}

export type UdpProto = 'udp' | 'udp4' | 'udp6';

export interface Remote {
  /** Address text or host name. */
  readonly host: string;
  readonly port: number;
  readonly proto: UdpProto;
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
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly extraCerts?: string;
  readonly remoteCertTls: 'none' | 'server' | 'client';
  readonly tlsAuth?: string;
  /** Only with tlsAuth; absent = both directions use the same key. */
  readonly keyDirection?: 0 | 1;
  readonly tlsCrypt?: string;
  readonly tlsVersionMin: '1.2' | '1.3';
  readonly tlsCipher?: string;
  readonly tlsCiphersuites?: string;
  readonly tlsGroups?: string;
  /** In order of preference, no duplicates, never empty. */
  readonly dataCiphers: readonly CipherName[];
  readonly keepalive: { readonly ping: number; readonly pingRestart: number };
  /** 0 = no renegotiation by this side. */
  readonly renegSec: number;
  readonly handWindow: number;
  readonly tunMtu: number;
  /** Absent = what the system gives. */
  readonly sndbuf?: number;
  readonly rcvbuf?: number;
  readonly fwmark?: number;
  readonly bindDevice?: string;
  /** 0 = leave without a notice. */
  readonly explicitExitNotify: number;
  readonly float: boolean;
  /** Every file named above. */
  readonly files: readonly ConfigFile[];
}

export interface ServerConfig extends TunnelConfig {
  readonly role: 'server';
  /** Absent = any. */
  readonly local?: Ip;
  readonly port: number;
  /** Each makes a socket; no two of them overlap. */
  readonly proto: readonly UdpProto[];
  /** Own addresses with host bits: at most one IPv4 and one IPv6, at least one in all. */
  readonly address: readonly Prefix[];
  readonly verifyClientCert: 'require';
  /** Host bits clear. */
  readonly pushRoute: readonly Prefix[];
  readonly pushDns: readonly Ip[];
  readonly pushDomain: readonly string[];
  /** Raw option lines for PUSH_REPLY: no comma, no control characters, at most 255 bytes. */
  readonly pushOption: readonly string[];
  readonly duplicateCn: boolean;
  readonly maxClients: number;
  /** In file order; common names are distinct, so are addresses and routes. */
  readonly peers: readonly PeerConfig[];
}

export interface ClientConfig extends TunnelConfig {
  readonly role: 'client';
  /** At least one; in the order of the file. */
  readonly remote: readonly Remote[];
  readonly remoteRandom: boolean;
  /** Networks to route into the tunnel whatever the server pushes; host bits clear. */
  readonly route: readonly Prefix[];
  readonly routeNopull: boolean;
  /** Of every route of the tunnel. */
  readonly metric: number;
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
  /** Fixed tunnel addresses, at most one of each family; all lie in the server's subnets. */
  readonly address: readonly Ip[];
  /** Networks behind the peer; host bits clear. */
  readonly route: readonly Prefix[];
}

/** What defaults depend on. */
export interface ConfigDefaults {
  readonly hasAesInstructions: boolean;
}

export interface Config {
  readonly servers: readonly ServerConfig[];
  readonly clients: readonly ClientConfig[];
  /** In file order. */
  readonly problems: readonly Problem[];
}

/** Reads a configuration file's bytes (borrowed until return). Never throws. `file` is only for the problems. */
export function readConfig(file: string, bytes: Uint8Array, defaults: ConfigDefaults): Config {
  void file;
  void bytes;
  void defaults;
  return { servers: [], clients: [], problems: [] };
}

/** One line: `/etc/config/ovpnd:12: server 'home': option port '99999': must be a port number, 1 to 65535`. */
export function formatProblem(problem: Problem): string {
  return `${problem.file}:${problem.line}: ${problem.rule}`;
}
