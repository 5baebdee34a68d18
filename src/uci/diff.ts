// SPDX-License-Identifier: Apache-2.0
// What changed between two configurations, and what each change costs a running tunnel.

import { contains, formatPrefix, ipKey } from '../core/address.ts';
import type { ClientConfig, Config, PeerConfig, ServerConfig } from './config.ts';
import type { Cost, OptionRow, SectionType } from './schema.ts';
import { COSTS, camelCase, optionsOf } from './schema.ts';

export interface OptionChange {
  /** As in the file. */
  readonly option: string;
  readonly cost: Cost;
}

export interface PeerChange {
  readonly before: PeerConfig;
  readonly after: PeerConfig;
  readonly options: readonly OptionChange[];
}

export interface TunnelDiff {
  readonly name: string;
  readonly role: 'server' | 'client';
  readonly kind: 'added' | 'removed' | 'changed' | 'unchanged';
  /** In the order of the schema; only of a changed tunnel, as are the peers. */
  readonly options: readonly OptionChange[];
  /** The highest cost among the options; undefined when none of them changed. */
  readonly cost: Cost | undefined;
  /** By the name of the section. A peer that is renamed is removed and added. */
  readonly peers: {
    readonly added: readonly PeerConfig[];
    readonly changed: readonly PeerChange[];
    readonly removed: readonly PeerConfig[];
  };
}

type Tunnel = ServerConfig | ClientConfig;

const NO_PEERS = { added: [], changed: [], removed: [] };

/**
 * Every tunnel of either configuration, those of `before` first. A tunnel that turns from server to client is
 * removed and added. Where a line moved or a comment changed nothing has changed.
 */
export function diffConfig(before: Config, after: Config): TunnelDiff[] {
  const old = byName(before);
  const now = byName(after);
  const diffs: TunnelDiff[] = [];
  for (const tunnel of old.values()) {
    const next = now.get(tunnel.name);
    if (next === undefined || next.role !== tunnel.role) diffs.push(whole(tunnel, 'removed'));
    else diffs.push(diffTunnel(tunnel, next));
  }
  for (const tunnel of now.values()) {
    if (old.get(tunnel.name)?.role !== tunnel.role) diffs.push(whole(tunnel, 'added'));
  }
  return diffs;
}

function byName(config: Config): Map<string, Tunnel> {
  return new Map([...config.servers, ...config.clients].map(tunnel => [tunnel.name, tunnel]));
}

function whole(tunnel: Tunnel, kind: 'added' | 'removed'): TunnelDiff {
  return { name: tunnel.name, role: tunnel.role, kind, options: [], cost: undefined, peers: NO_PEERS };
}

/** One tunnel before and after; both of the same role. */
export function diffTunnel(before: Tunnel, after: Tunnel): TunnelDiff {
  const options = changes(before.role, before, after);
  const peers =
    before.role === 'server' && after.role === 'server' ? diffPeers(before.peers, after.peers) : NO_PEERS;
  const same = options.length + peers.added.length + peers.changed.length + peers.removed.length === 0;
  const kind = same ? 'unchanged' : 'changed';
  return { name: before.name, role: before.role, kind, options, cost: highest(options), peers };
}

function diffPeers(before: readonly PeerConfig[], after: readonly PeerConfig[]): TunnelDiff['peers'] {
  const old = new Map(before.map(peer => [peer.name, peer]));
  const names = new Set(after.map(peer => peer.name));
  const added: PeerConfig[] = [];
  const changed: PeerChange[] = [];
  for (const peer of after) {
    const known = old.get(peer.name);
    if (known === undefined) {
      added.push(peer);
      continue;
    }
    const options = changes('peer', known, peer);
    if (options.length > 0) changed.push({ before: known, after: peer, options });
  }
  return { added, changed, removed: before.filter(peer => !names.has(peer.name)) };
}

/** The more expensive of the costs; undefined of none. */
export function highest(options: readonly OptionChange[]): Cost | undefined {
  return COSTS[Math.max(-1, ...options.map(({ cost }) => COSTS.indexOf(cost)))];
}

function changes(role: SectionType, before: object, after: object): OptionChange[] {
  const changed: OptionChange[] = [];
  for (const row of optionsOf(role).values()) {
    const field = camelCase(row.name);
    const [a, b] = [before, after].map(record => (record as Record<string, unknown>)[field]);
    if (!same(a, b)) changed.push({ option: row.name, cost: costOf(row, role) });
  }
  return changed;
}

/** What a client says of itself: a server that has let it in refuses a renegotiation that says something else. */
const IDENTITY: ReadonlySet<string> = new Set(['cert', 'username', 'auth_user_pass']);

/** What a change of the option costs there. */
export function costOf({ name, cost }: OptionRow, role: SectionType): Cost {
  return role === 'client' && cost === 'new sessions' && IDENTITY.has(name) ? 'new socket' : cost;
}

/** Deep equality of what records hold: plain data, arrays, byte arrays. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every(key => same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]));
}

/**
 * The configuration to run: `after`, but what was refused in it stays as it was in `before`, tunnels and peers; an
 * unreadable file changes nothing at all. A peer is not kept when something in `after` has its place.
 */
export function keepRefused(before: Config, after: Config): Config {
  const { problems, readable } = after;
  if (!readable) return { ...before, problems, readable };
  const refused = new Set(after.refused);
  const kept = (tunnel: Tunnel) => refused.has(tunnel.name);
  return {
    ...after,
    servers: [
      ...before.servers.filter(kept),
      ...after.servers.map(server => keepPeers(before.servers, server, refused)),
    ],
    clients: [...before.clients.filter(kept), ...after.clients],
  };
}

function keepPeers(
  before: readonly ServerConfig[],
  server: ServerConfig,
  refused: ReadonlySet<string>,
): ServerConfig {
  const old = before.find(tunnel => tunnel.name === server.name);
  if (old === undefined) return server;
  const keys = (peer: PeerConfig) => [
    `name ${peer.commonName}`,
    ...peer.address.map(ip => `address ${ipKey(ip)}`),
    ...peer.route.map(prefix => `route ${formatPrefix(prefix)}`),
  ];
  const taken = new Set([
    ...server.peers.flatMap(keys),
    ...server.address.map(prefix => `address ${ipKey(prefix.ip)}`),
  ]);
  const fits = (peer: PeerConfig) =>
    peer.address.every(ip => server.address.some(prefix => contains(prefix, ip))) &&
    !keys(peer).some(key => taken.has(key)) &&
    !(peer.address.length > 0 && server.duplicateCn);
  const kept = old.peers.filter(peer => refused.has(peer.name) && fits(peer));
  return kept.length === 0 ? server : { ...server, peers: [...kept, ...server.peers] };
}
