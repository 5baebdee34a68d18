// SPDX-License-Identifier: Apache-2.0
// Which peer an inner address belongs to: exact VPN addresses first, then the longest prefix of the networks
// behind peers. One hash lookup per exact address; one more per prefix length in use.

import { type Ip, ipKey, type Prefix } from '../core/address.ts';

/** IPv4 addresses are numbers, IPv6 addresses strings: the two never meet in one map. */
type AddressKey = number | string;

interface Level<T> {
  readonly bits: number;
  /** Owners in the order they came; the last one has the network. */
  readonly owners: Map<AddressKey, T[]>;
}

export class RouteTable<T> {
  readonly #hosts = new Map<AddressKey, T>();
  /** Longest prefix first. */
  readonly #levels4: Level<T>[] = [];
  readonly #levels6: Level<T>[] = [];

  /** The owner of exactly this VPN address; networks do not count. */
  host(ip: Ip): T | undefined {
    return this.#hosts.get(keyOf(ip, 0, ip.length, ip.length * 8));
  }

  /** Takes the place of an earlier owner; the caller refuses duplicates. */
  addHost(ip: Ip, owner: T): void {
    this.#hosts.set(keyOf(ip, 0, ip.length, ip.length * 8), owner);
  }

  removeHost(ip: Ip): void {
    this.#hosts.delete(keyOf(ip, 0, ip.length, ip.length * 8));
  }

  /**
   * A network behind `owner`; host bits are ignored. When several owners claim one network the newest has it
   * (a client that came back under a new id) and the one before gets it back when the newest goes.
   */
  addNetwork(prefix: Prefix, owner: T): void {
    const levels = prefix.ip.length === 4 ? this.#levels4 : this.#levels6;
    let level = levels.find(candidate => candidate.bits === prefix.bits);
    if (level === undefined) {
      level = { bits: prefix.bits, owners: new Map() };
      levels.push(level);
      levels.sort((a, b) => b.bits - a.bits);
    }
    const key = keyOf(prefix.ip, 0, prefix.ip.length, prefix.bits);
    const owners = level.owners.get(key);
    if (owners === undefined) level.owners.set(key, [owner]);
    else owners.push(owner);
  }

  /** Takes back one addNetwork with the same arguments; nothing happens when there was none. */
  removeNetwork(prefix: Prefix, owner: T): void {
    const levels = prefix.ip.length === 4 ? this.#levels4 : this.#levels6;
    const at = levels.findIndex(candidate => candidate.bits === prefix.bits);
    const level = levels[at];
    if (level === undefined) return;
    const key = keyOf(prefix.ip, 0, prefix.ip.length, prefix.bits);
    const owners = level.owners.get(key);
    const index = owners?.lastIndexOf(owner) ?? -1;
    if (owners === undefined || index < 0) return;
    owners.splice(index, 1);
    if (owners.length === 0) level.owners.delete(key);
    if (level.owners.size === 0) levels.splice(at, 1);
  }

  /** The owner of the address of `length` (4 or 16) bytes at `bytes[at]`, borrowed until return. */
  find(bytes: Uint8Array, at: number, length: number): T | undefined {
    const owner = this.#hosts.get(keyOf(bytes, at, length, length * 8));
    if (owner !== undefined) return owner;
    for (const level of length === 4 ? this.#levels4 : this.#levels6) {
      const owners = level.owners.get(keyOf(bytes, at, length, level.bits));
      if (owners !== undefined) return owners[owners.length - 1];
    }
    return undefined;
  }
}

const masked = new Uint8Array(16);

/** The map key of the first `bits` bits of an address. */
function keyOf(bytes: Uint8Array, at: number, length: number, bits: number): AddressKey {
  if (length === 4) {
    const word = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    // A shift by 32 would be a shift by 0.
    return bits === 0 ? 0 : (word & (0xffffffff << (32 - bits))) >>> 0;
  }
  for (let i = 0; i < 16; i++) {
    const keep = Math.min(8, Math.max(0, bits - 8 * i));
    masked[i] = bytes[at + i]! & (0xff << (8 - keep));
  }
  return ipKey(masked);
}
