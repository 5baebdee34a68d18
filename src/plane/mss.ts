// SPDX-License-Identifier: Apache-2.0
// Lowers the MSS option of TCP SYN packets, so that full segments fit the outer packet size (`mssfix`) without being
// fragmented. RFC 9293 for the option, RFC 1624 for the checksum.

import type { Path } from '../core/address.ts';
import { IP4_HEADER_LENGTH, IP6_HEADER_LENGTH, ipVersion } from './inner.ts';

const TCP = 6;
const TCP_HEADER_LENGTH = 20;
const SYN = 0x02;
const OPTION_MSS = 2;
/** Smaller ones no host keeps to. */
const MSS_MIN = 48;

/**
 * The largest TCP payload of inner packets of a version that fits an outer packet of `mssfix` bytes; 0: no limit.
 * `overhead` is what a data packet has around its payload.
 */
export function mssLimit(mssfix: number, path: Path, overhead: number, version: 4 | 6): number {
  if (mssfix === 0) return 0;
  const outer = (path.remote.ip.length === 4 ? 20 : 40) + (path.tcp === true ? 22 : 8);
  const inner = (version === 4 ? IP4_HEADER_LENGTH : IP6_HEADER_LENGTH) + TCP_HEADER_LENGTH;
  return Math.max(MSS_MIN, mssfix - outer - overhead - inner);
}

/** Where the MSS value of a SYN stands and its TCP header begins; undefined: there is none. */
function findMss(packet: Uint8Array): { readonly tcpAt: number; readonly at: number } | undefined {
  const version = ipVersion(packet);
  if (version === 0) return undefined;
  const tcpAt = version === 4 ? (packet[0]! & 15) * 4 : IP6_HEADER_LENGTH;
  if (tcpAt < IP4_HEADER_LENGTH || packet[version === 4 ? 9 : 6] !== TCP) return undefined;
  // A fragment: its options, if any, are elsewhere.
  if (version === 4 && ((packet[6]! & 0x3f) !== 0 || packet[7] !== 0)) return undefined;
  const end = tcpAt + (packet[tcpAt + 12]! >> 4) * 4;
  if (tcpAt + TCP_HEADER_LENGTH > packet.length || end > packet.length) return undefined;
  if ((packet[tcpAt + 13]! & SYN) === 0) return undefined;
  for (let at = tcpAt + TCP_HEADER_LENGTH; at < end && packet[at] !== 0; ) {
    const length = packet[at] === 1 ? 1 : (packet[at + 1] ?? 0);
    if (at + length > end || (packet[at] !== 1 && length < 2)) return undefined;
    if (packet[at] === OPTION_MSS && length === 4) return { tcpAt, at: at + 2 };
    at += length;
  }
  return undefined;
}

/** The packet itself, or a copy whose MSS option is `limit4` or `limit6` (0: no limit). */
export function clampMss(packet: Uint8Array, limit4: number, limit6: number): Uint8Array {
  const limit = packet[0]! >> 4 === 4 ? limit4 : limit6;
  const found = limit > 0 ? findMss(packet) : undefined;
  if (found === undefined) return packet;
  const { tcpAt, at } = found;
  const old = (packet[at]! << 8) | packet[at + 1]!;
  if (old <= limit) return packet;
  const out = packet.slice();
  out[at] = limit >> 8;
  out[at + 1] = limit & 0xff;
  // The option may begin at an odd place: then its bytes belong to two words.
  const word = (bytes: Uint8Array, place: number): number => (bytes[place]! << 8) | bytes[place + 1]!;
  const isOdd = ((at - tcpAt) & 1) === 1;
  let sum = ~word(packet, tcpAt + 16) & 0xffff;
  for (const place of isOdd ? [at - 1, at + 1] : [at])
    sum += (~word(packet, place) & 0xffff) + word(out, place);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  out[tcpAt + 16] = sum >> 8;
  out[tcpAt + 17] = sum & 0xff;
  return out;
}
