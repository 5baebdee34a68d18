// SPDX-License-Identifier: Apache-2.0
// Single values as a remote peer writes them: numbers in a range, addresses that make sense behind a tunnel.

import { contains, type Ip, type Prefix, parsePrefix } from './address.ts';

/** Destinations that never lead through a tunnel: this network, loopback, multicast and above, link-local. */
const UNROUTABLE = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '224.0.0.0/3',
  '::/128',
  '::1/128',
  '::ffff:0:0/96',
  'fe80::/10',
  'ff00::/8',
].map(text => parsePrefix(text)!);

/** Whether a destination lies wholly inside one of those ranges. */
export function isUnroutable(prefix: Prefix): boolean {
  return UNROUTABLE.some(range => range.bits <= prefix.bits && contains(range, prefix.ip));
}

const PRIVATE6 = parsePrefix('fc00::/7')!;

/**
 * Whether a network is more than anybody has behind a tunnel: a few of these are the default route by another name,
 * such as halves and quarters of everything, or 2000::/3.
 */
export function isTooWide({ ip, bits }: Prefix): boolean {
  if (ip.length === 4) return bits < 8;
  return bits < 16 && !(bits >= PRIVATE6.bits && contains(PRIVATE6, ip));
}

/** Whether an address can belong to a host at the other end of a tunnel. */
export function isHost(ip: Ip): boolean {
  return !isUnroutable({ ip, bits: ip.length * 8 });
}

/** A decimal number up to `max`; larger ones are undefined. */
export function decimal(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  return Number(text) <= max ? Number(text) : undefined;
}
