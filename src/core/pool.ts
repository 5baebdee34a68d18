// SPDX-License-Identifier: Apache-2.0
// Tunnel addresses of one family for the clients of a server. Topology subnet: every address of the network but
// its first, the broadcast address and the server's own. A client gets its last address again while it is free.

import { type Ip, ipKey, network, type Prefix } from './address.ts';
import { POOL_MAX, POOL_MEMORY } from './limits.ts';

export interface Pool {
  readonly base: Ip;
  /** Host numbers 1..size are in the pool. */
  readonly size: number;
  /** Addresses never given out: the server's own, fixed ones of configured peers. */
  readonly reserved: Set<string>;
  readonly used: Set<string>;
  /** Last host number of a name, least recently used first. */
  readonly memory: Map<string, number>;
  /** Where the search for a fresh address goes on: the longest unused come last. */
  cursor: number;
}

/** `own` is the server's address with its prefix length; `fixed` belongs to configured peers. */
export function newPool(own: Prefix, fixed: readonly Ip[]): Pool {
  const hostBits = own.ip.length * 8 - own.bits;
  const hosts = hostBits >= 17 ? POOL_MAX : 2 ** hostBits - (own.ip.length === 4 ? 2 : 1);
  return {
    base: network(own).ip,
    size: Math.max(0, Math.min(POOL_MAX, hosts)),
    reserved: new Set([own.ip, ...fixed].map(ipKey)),
    used: new Set(),
    memory: new Map(),
    cursor: 1,
  };
}

/** The address with this host number. */
export function poolAddress(pool: Pool, host: number): Ip {
  const ip = pool.base.slice();
  let rest = host;
  for (let i = ip.length - 1; rest > 0 && i >= 0; i--) {
    rest += ip[i]!;
    ip[i] = rest & 0xff;
    rest = Math.floor(rest / 256);
  }
  return ip;
}

function isFree(pool: Pool, host: number): boolean {
  const key = ipKey(poolAddress(pool, host));
  return !pool.reserved.has(key) && !pool.used.has(key);
}

/** An address for `name`; undefined when all are in use. Give it back with releaseAddress. */
export function takeAddress(pool: Pool, name: string): Ip | undefined {
  const remembered = pool.memory.get(name);
  let host = remembered !== undefined && isFree(pool, remembered) ? remembered : undefined;
  const taken = host === undefined ? new Set(pool.memory.values()) : undefined;
  // First an address nobody had, so that an absent client finds its own again; then any.
  for (const fresh of [true, false]) {
    for (let tries = 0; host === undefined && tries < pool.size; tries++) {
      const candidate = pool.cursor;
      pool.cursor = (pool.cursor % pool.size) + 1;
      if (isFree(pool, candidate) && !(fresh && taken?.has(candidate))) host = candidate;
    }
  }
  if (host === undefined) return undefined;
  pool.memory.delete(name);
  pool.memory.set(name, host);
  if (pool.memory.size > POOL_MEMORY) pool.memory.delete(pool.memory.keys().next().value as string);
  const ip = poolAddress(pool, host);
  pool.used.add(ipKey(ip));
  return ip;
}

export function releaseAddress(pool: Pool, ip: Ip): void {
  pool.used.delete(ipKey(ip));
}
