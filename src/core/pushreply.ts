// SPDX-License-Identifier: Apache-2.0
// The client's side of PUSH_REPLY: parts put together, then each option through an allow-list of typed readers
// (pushvalues.ts, pushdns.ts). A server can set what stands there and nothing else; what it may do with it, local
// policy decides later.

import { formatIp, type Ip, maskBits, type Prefix, parseIp } from './address.ts';
import { type Drop, drop } from './drop.ts';
import { PUSH_OPTIONS_MAX, PUSH_PARTS_MAX } from './limits.ts';
import { type DnsDraft, finishDns, newDnsDraft } from './pushdns.ts';
import { READERS, UNUSED } from './pushvalues.ts';
import { isHost, isTooWide } from './values.ts';
import { tokenise } from './words.ts';

export type Topology = 'net30' | 'p2p' | 'subnet';

/** A next hop: an address, or one of OpenVPN's names for one. */
export type RouteGateway = Ip | 'vpn_gateway' | 'net_gateway' | 'remote_host';

export interface PushedRoute {
  /** IPv4 or IPv6, host bits clear. */
  readonly destination: Prefix;
  /** Undefined: the route gateway, or the device. */
  readonly gateway: RouteGateway | undefined;
  readonly metric?: number;
}

export interface PushedAddress {
  readonly local: Ip;
  /** Topology subnet only. */
  readonly bits?: number;
  /** The other end, topologies p2p and net30 only. */
  readonly remote?: Ip;
}

export interface PushedProblem {
  /** As pushed; a token is left out. */
  readonly option: string;
  readonly reason: string;
}

/** What a server pushed, typed. Times in seconds; absent = not pushed. */
export interface PushedOptions {
  topology: Topology;
  address?: PushedAddress;
  ifconfig6?: { readonly address: Prefix; readonly remote: Ip };
  /** At most PUSHED_ROUTES_MAX, both families. */
  routes: PushedRoute[];
  routeGateway?: Ip;
  /** Metric of routes that have none. */
  routeMetric?: number;
  /** 0 = off, like the next two. */
  ping?: number;
  pingRestart?: number;
  pingExit?: number;
  peerId?: number;
  cipher?: string;
  protocolFlags: Set<string>;
  keyDerivation?: string;
  tunMtu?: number;
  dnsServers: Ip[];
  /** Search domains: letters, digits, hyphens and dots. */
  domains: string[];
  /** The flags, possibly none; present = pushed. */
  redirectGateway?: string[];
  blockIpv6: boolean;
  explicitExitNotify?: number;
  inactive?: { readonly seconds: number; readonly bytes: number };
  sessionTimeout?: number;
  authToken?: string;
  /** Base64, as pushed. */
  authTokenUser?: string;
  /** The pushed compress or comp-lzo option, when it is not harmless. */
  compression?: string;
  /** The connection cannot work with these. */
  refused: PushedProblem[];
  /** Left out: unknown, not for a server to set, invalid, or over a limit. */
  ignored: PushedProblem[];
}

/** Parts of one PUSH_REPLY or PUSH_UPDATE that arrived so far. */
export interface PushCollector {
  parts: number;
  options: string[];
}

export function newPushCollector(): PushCollector {
  return { parts: 0, options: [] };
}

const CONTINUATION = 'push-continuation ';

/**
 * Takes one text message: 'more' while parts are missing, then all options. A Drop when it is another command, or
 * over a limit; then what was collected is forgotten.
 */
export function collectPush(
  state: PushCollector,
  text: string,
  command: 'PUSH_REPLY' | 'PUSH_UPDATE' = 'PUSH_REPLY',
): 'more' | { readonly options: string[] } | Drop {
  if (text !== command && !text.startsWith(`${command},`)) return drop('push');
  let continuation = '';
  for (const item of text.slice(command.length + 1).split(',')) {
    const option = item.trim();
    if (option.startsWith(CONTINUATION)) continuation = option.slice(CONTINUATION.length);
    else if (option !== '') state.options.push(option);
  }
  state.parts++;
  const { options, parts } = state;
  if (continuation === '2' && parts < PUSH_PARTS_MAX && options.length <= PUSH_OPTIONS_MAX) return 'more';
  state.parts = 0;
  state.options = [];
  return continuation === '2' || options.length > PUSH_OPTIONS_MAX ? drop('push') : { options };
}

/** What the readers fill; `finish` turns it into the result. */
export interface PushDraft {
  readonly out: PushedOptions;
  readonly dns: DnsDraft;
  /** Arguments of the last ifconfig: their meaning depends on a topology that may come later. */
  ifconfig?: readonly string[];
}

/**
 * What a reader says: undefined = taken, a text = left out because of it, `refuse` = the connection cannot work.
 */
export type Reading = undefined | string | { readonly refuse: string };

/** Reads pushed options. `topology` is the local configuration's; a pushed one wins. */
export function parsePush(options: readonly string[], topology: Topology = 'net30'): PushedOptions {
  const out: PushedOptions = {
    topology,
    routes: [],
    protocolFlags: new Set(),
    dnsServers: [],
    domains: [],
    blockIpv6: false,
    refused: [],
    ignored: [],
  };
  const draft: PushDraft = { out, dns: newDnsDraft() };
  for (const option of options) note(out, option, readOption(draft, option));
  finishAddress(draft);
  finishDns(draft.dns, out);
  return out;
}

function readOption(draft: PushDraft, option: string): Reading {
  const words = tokenise(option);
  if (typeof words === 'string') return words;
  const name = words[0];
  if (name === undefined || UNUSED.has(name)) return undefined;
  const reader = READERS.get(name);
  return reader === undefined ? 'not an option a server may set' : reader(words.slice(1), draft, option);
}

function note(out: PushedOptions, option: string, reading: Reading): void {
  if (reading === undefined) return;
  // These lists end in logs.
  const shown = option.trimStart().startsWith('auth-token') ? 'auth-token' : option;
  if (typeof reading === 'string') out.ignored.push({ option: shown, reason: reading });
  else out.refused.push({ option: shown, reason: reading.refuse });
}

function finishAddress(draft: PushDraft): void {
  if (draft.ifconfig === undefined) return;
  const address = resolveAddress(draft.ifconfig, draft.out.topology);
  if (typeof address === 'string') {
    draft.out.refused.push({ option: `ifconfig ${draft.ifconfig.join(' ')}`, reason: address });
  } else {
    draft.out.address = address;
  }
}

function resolveAddress(words: readonly string[], topology: Topology): PushedAddress | string {
  const local = parseIp(words[0] ?? '');
  const second = words[1] ?? '';
  if (local?.length !== 4 || !isHost(local)) return 'the first word is no IPv4 host address';
  if (topology === 'subnet') {
    const bits = maskBits(second);
    return bits === undefined || isTooWide({ ip: local, bits })
      ? 'the second word is no netmask of a tunnel'
      : { local, bits };
  }
  const remote = parseIp(second);
  if (remote?.length !== 4) return 'the second word is no IPv4 address';
  // Typical of a tap server, or of one that forgot to push its topology.
  if (!isHost(remote)) return `${formatIp(remote)} is no address of the other end (topology ${topology})`;
  return { local, remote };
}
