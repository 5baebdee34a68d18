// SPDX-License-Identifier: Apache-2.0
// IP addresses, prefixes and transport endpoints as values, with their text forms.
// No name resolution and no sockets here.

import { latin1 } from './bytes.ts';

/** An IP address: 4 bytes (IPv4) or 16 bytes (IPv6), network order. IPv4-mapped IPv6 never appears. */
export type Ip = Uint8Array;

/** A network: address with `bits` significant leading bits; the host bits may be set (an interface address). */
export interface Prefix {
  readonly ip: Ip;
  readonly bits: number;
}

/** A transport address. `scope` is the interface index of an IPv6 link-local address, else 0 or absent. */
export interface Endpoint {
  readonly ip: Ip;
  readonly port: number;
  readonly scope?: number;
}

/** How to reach a peer: through which of our sockets, to which remote endpoint, from which own address. */
export interface Path {
  /** The daemon's number for the socket; opaque to the core. */
  readonly socket: number;
  readonly remote: Endpoint;
  /** Own address the peer used, so that a multi-homed host answers from it; absent = the kernel chooses. */
  readonly local?: Ip;
  /** The socket is a TCP connection, with this remote and no other. */
  readonly tcp?: boolean;
}

// Leading zeros are refused: some readers take them as octal.
const SMALL_NUMBER = /^(0|[1-9][0-9]{0,2})$/;
const GROUP = /^[0-9a-fA-F]{1,4}$/;

/** Reads `10.8.0.1` or `fd42:8::1`; undefined when the text is anything else. No zone, no prefix length. */
export function parseIp(text: string): Ip | undefined {
  return text.includes(':') ? parseIp6(text) : parseIp4(text);
}

function parseIp4(text: string): Ip | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const ip = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = parts[i]!;
    if (!SMALL_NUMBER.test(part) || Number(part) > 255) return undefined;
    ip[i] = Number(part);
  }
  return ip;
}

function parseIp6(text: string): Ip | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const ip = new Uint8Array(16);
  all.forEach((group, i) => {
    ip[2 * i] = group >> 8;
    ip[2 * i + 1] = group & 0xff;
  });
  return ip;
}

function groups(text: string): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const out: number[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (part.includes('.')) {
      const v4 = i === parts.length - 1 ? parseIp4(part) : undefined;
      if (v4 === undefined) return undefined;
      out.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else {
      if (!GROUP.test(part)) return undefined;
      out.push(Number.parseInt(part, 16));
    }
  }
  return out;
}

/** Text form; IPv6 as RFC 5952 writes it. */
export function formatIp(ip: Ip): string {
  if (ip.length === 4) return `${ip[0]}.${ip[1]}.${ip[2]}.${ip[3]}`;
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((ip[i]! << 8) | ip[i + 1]!);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && words[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
  }
  const hex = words.map(word => word.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}

/** Reads `192.168.1.0/24` or `fd42::/64`; a bare address is a host prefix. Host bits are kept. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const ip = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const width = ip.length * 8;
  if (slash < 0) return { ip, bits: width };
  const digits = text.slice(slash + 1);
  if (!SMALL_NUMBER.test(digits) || Number(digits) > width) return undefined;
  return { ip, bits: Number(digits) };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.ip)}/${prefix.bits}`;
}

/** `10.0.0.1:1194` or `[fd00::1]:1194`. */
export function formatEndpoint(endpoint: Endpoint): string {
  const ip = formatIp(endpoint.ip);
  return endpoint.ip.length === 4 ? `${ip}:${endpoint.port}` : `[${ip}]:${endpoint.port}`;
}

export function sameIp(a: Ip, b: Ip): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && sameIp(a.ip, b.ip) && (a.scope ?? 0) === (b.scope ?? 0);
}

/** A Map key for an address. */
export function ipKey(ip: Ip): string {
  return latin1(ip);
}

/** Bytes in front of each packet: IP header, then UDP's or TCP's, then TCP's length of the packet. */
export function headersOf(path: Path): number {
  return (path.remote.ip.length === 4 ? 20 : 40) + (path.tcp === true ? 22 : 8);
}

/** A Map key for socket and remote endpoint of a path (the own address is no part of a peer's identity). */
export function pathKey(path: Path): string {
  const { ip, port, scope } = path.remote;
  return `${path.socket},${port},${scope ?? 0},${ipKey(ip)}`;
}

/** Whether both have one pathKey. */
export function samePath(a: Path, b: Path): boolean {
  return a.socket === b.socket && sameEndpoint(a.remote, b.remote);
}

/** Whether `ip` lies inside `prefix`. Different families never match. */
export function contains(prefix: Prefix, ip: Ip): boolean {
  if (prefix.ip.length !== ip.length) return false;
  const whole = prefix.bits >> 3;
  for (let i = 0; i < whole; i++) if (prefix.ip[i] !== ip[i]) return false;
  const rest = prefix.bits & 7;
  return rest === 0 || (prefix.ip[whole]! ^ ip[whole]!) >> (8 - rest) === 0;
}

/** Whether two networks share an address. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b.ip) || contains(b, a.ip);
}

/** The prefix with its host bits cleared. */
export function network(prefix: Prefix): Prefix {
  const ip = prefix.ip.slice();
  for (let i = 0; i < ip.length; i++) {
    const keep = Math.min(8, Math.max(0, prefix.bits - 8 * i));
    ip[i]! &= 0xff << (8 - keep);
  }
  return { ip, bits: prefix.bits };
}

/** The dotted netmask of an IPv4 prefix length, as OpenVPN's `ifconfig` and `route` carry it. */
export function netmask(bits: number): string {
  return formatIp(network({ ip: new Uint8Array([255, 255, 255, 255]), bits }).ip);
}

/** Prefix length of a dotted IPv4 netmask; undefined when it is no contiguous mask. */
export function maskBits(text: string): number | undefined {
  const ip = parseIp4(text);
  if (ip === undefined) return undefined;
  const word = ((ip[0]! << 24) | (ip[1]! << 16) | (ip[2]! << 8) | ip[3]!) >>> 0;
  const bits = 32 - Math.clz32(~word >>> 0) > 0 ? Math.clz32(~word >>> 0) : 32;
  return (bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0) === word ? bits : undefined;
}
