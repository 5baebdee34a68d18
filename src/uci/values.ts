// SPDX-License-Identifier: Apache-2.0
// Reads one value of each type of the schema. A reader returns what the record will hold, or the rule that the text
// breaks, as the rest of a sentence.

import type { Ip, Prefix } from '../core/address.ts';
import { formatIp, formatPrefix, network, parseIp, parsePrefix, sameIp } from '../core/address.ts';
import type { CipherName } from '../core/crypto.ts';
import { CIPHER_KEY_LENGTH } from '../core/crypto.ts';
import type { ValueType } from './schema.ts';
import { encodeUtf8 } from './text.ts';

/** An own address with its prefix length, or (in mode p2p) with the address of the peer. */
export interface OwnAddress extends Prefix {
  readonly peer?: Ip;
}

export type Reading = { readonly value: unknown } | { readonly rule: string };

export const NOT_YET = 'not supported yet';

const DEFAULT_PORT = 1194;
const CIPHERS = Object.keys(CIPHER_KEY_LENGTH) as CipherName[];
const LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

const TRUE = ['1', 'on', 'yes', 'true', 'enabled'];
const FALSE = ['0', 'off', 'no', 'false', 'disabled'];

/** Reads a text that is known to be UTF-8 and not empty. */
export function readValue(type: ValueType, text: string): Reading {
  switch (type.kind) {
    case 'bool':
      return readBool(text, type.later);
    case 'enum':
      return readEnum(text, type.words, type.later ?? []);
    case 'number':
    case 'seconds':
      return readNumber(text, type.min, type.max, type.kind === 'seconds' ? 'seconds' : 'a number');
    case 'text':
      if (CONTROL.test(text)) return { rule: 'must not contain control characters' };
      return text.length <= type.max ? { value: text } : { rule: `must be at most ${type.max} characters` };
    default:
      return READERS[type.kind](text);
  }
}

type OtherKind = Exclude<ValueType['kind'], 'bool' | 'enum' | 'number' | 'seconds' | 'text'>;

const READERS: Readonly<Record<OtherKind, (text: string) => Reading>> = {
  address: readAddress,
  cipher: readCipher,
  device: matching(/^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}$/, 'must be 1 to 15 of A-Z a-z 0-9 _ . -'),
  fingerprint: matching(
    /^(?:[0-9A-Fa-f]{64}|(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2})$/,
    'must be a SHA-256 fingerprint: 32 bytes in hexadecimal, with or without colons',
  ),
  hostname: text => (isHostname(text) ? { value: text } : { rule: 'must be a domain name' }),
  keepalive: readKeepalive,
  mark: readMark,
  network: readNetwork,
  ownAddress: readOwnAddress,
  // Whoever names a user makes us compute this on the loop, which waits meanwhile.
  passwordHash: matching(
    /^\$6\$(?:rounds=[0-9]{4,5}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}$/,
    'must be a SHA-512 hash of crypt(3), $6$SALT$HASH, of at most 99999 rounds',
  ),
  path: readPath,
  port: text => readNumber(text, 1, 65_535, 'a port number'),
  pushLine: readPushLine,
  remote: readRemote,
  retry: readRetry,
  section: matching(/^[A-Za-z0-9_]{1,32}$/, 'must be the name of a section'),
  tlsNames: matching(/^[A-Za-z0-9_:+!@=.-]{1,1024}$/, 'must be names separated by colons'),
  totpSecret: matching(/^[A-Z2-7]{16,128}$/, 'must be 16 to 128 of A-Z 2-7 (base32)'),
};

function matching(form: RegExp, rule: string): (text: string) => Reading {
  return text => (form.test(text) ? { value: text } : { rule });
}

function readBool(text: string, later: boolean | undefined): Reading {
  const value = TRUE.includes(text);
  if (!value && !FALSE.includes(text)) return { rule: 'must be 0 or 1' };
  return value === later ? { rule: NOT_YET } : { value };
}

function readEnum(text: string, words: readonly string[], later: readonly string[]): Reading {
  if (later.includes(text)) return { rule: NOT_YET };
  return words.includes(text) ? { value: text } : { rule: `must be one of ${words.join(', ')}` };
}

function wholeNumber(text: string, min: number, max: number): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,9})$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

function readNumber(text: string, min: number, max: number, noun: string): Reading {
  const value = wholeNumber(text, min, max);
  return value === undefined ? { rule: `must be ${noun}, ${min} to ${max}` } : { value };
}

function readMark(text: string): Reading {
  const value = /^0x[0-9A-Fa-f]{1,8}$/.test(text) ? Number(text) : wholeNumber(text, 1, 0xffffffff);
  if (value === undefined || value === 0) return { rule: 'must be a firewall mark, 1 to 0xffffffff' };
  return { value };
}

function readPath(text: string): Reading {
  if (!text.startsWith('/') || text.endsWith('/')) return { rule: 'must be the full path of a file' };
  if (text.length > 4095 || CONTROL.test(text)) return { rule: 'must be the full path of a file' };
  return { value: text };
}

function readCipher(text: string): Reading {
  const value = CIPHERS.find(name => name === text.toUpperCase());
  return value === undefined ? { rule: `must be one of ${CIPHERS.join(', ')}` } : { value };
}

function readPushLine(text: string): Reading {
  // PUSH_REPLY separates options by commas; OpenVPN cuts what is longer than its line.
  if (text.trim() === '' || text.includes(',') || CONTROL.test(text)) {
    return { rule: 'must have words, and no commas or control characters' };
  }
  return encodeUtf8(text).length <= 255 ? { value: text } : { rule: 'must be at most 255 bytes' };
}

function readKeepalive(text: string): Reading {
  const parts = text.trim().split(/[ \t]+/);
  const [ping, pingRestart] = parts.map(part => wholeNumber(part, 1, 86_400));
  if (parts.length !== 2 || ping === undefined || pingRestart === undefined) {
    return { rule: 'must be two times in seconds, 1 to 86400: ping and restart' };
  }
  // A single lost ping must not end a session.
  if (pingRestart < 2 * ping) return { rule: 'must have a second time of at least twice the first' };
  return { value: { ping, pingRestart } };
}

function readRetry(text: string): Reading {
  const parts = text.trim().split(/[ \t]+/);
  const [first, max] = parts.map(part => wholeNumber(part, 1, 86_400));
  if (parts.length > 2 || first === undefined || (parts.length === 2 && max === undefined)) {
    return { rule: 'must be one or two times in seconds, 1 to 86400' };
  }
  if (max !== undefined && max < first) return { rule: 'must not have a second time below the first' };
  return { value: { first, max: max ?? Math.max(first, 300) } };
}

/** Domain names as resolvers take them; nothing that looks like a mistyped address. */
function isHostname(text: string): boolean {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (name.length > 253 || /^[0-9.]*$/.test(name)) return false;
  return name.split('.').every(label => LABEL.test(label));
}

/** parseIp without IPv4-mapped addresses: no table of the daemon knows them. */
function plainIp(text: string): Ip | undefined {
  const ip = parseIp(text);
  return ip === undefined || isMapped(ip) ? undefined : ip;
}

function isMapped(ip: Ip): boolean {
  return ip.length === 16 && ip.subarray(0, 10).every(byte => byte === 0) && ip[10] === 255 && ip[11] === 255;
}

function isMulticast(ip: Ip): boolean {
  return ip.length === 4 ? ip[0]! >= 224 : ip[0] === 255;
}

/** Neither unspecified nor loopback nor link-local. */
function isHostAddress(ip: Ip): boolean {
  if (isMulticast(ip)) return false;
  if (ip.length === 4) return ip[0] !== 0 && ip[0] !== 127;
  const linkLocal = ip[0] === 0xfe && (ip[1]! & 0xc0) === 0x80;
  return !linkLocal && ip.subarray(0, 15).some(byte => byte !== 0);
}

function readAddress(text: string): Reading {
  const ip = plainIp(text);
  if (ip === undefined || isMulticast(ip)) return { rule: 'must be an IP address' };
  return { value: ip };
}

function readNetwork(text: string): Reading {
  const prefix = parsePrefix(text);
  if (prefix === undefined || isMapped(prefix.ip)) {
    return { rule: 'must be a network, such as 192.168.1.0/24 or fd42::/64' };
  }
  const clear = network(prefix);
  if (!sameIp(clear.ip, prefix.ip))
    return { rule: `has host bits set; the network is ${formatPrefix(clear)}` };
  return { value: prefix };
}

/** Whether the address stands for the subnet itself or for everybody in it. */
export function isReserved(subnet: Prefix, ip: Ip): boolean {
  const base = network(subnet).ip;
  if (sameIp(base, ip)) return true;
  return ip.length === 4 && sameIp(broadcast(base, subnet.bits), ip);
}

function broadcast(base: Ip, bits: number): Ip {
  return base.map((byte, i) => byte | (0xff >> Math.min(8, Math.max(0, bits - 8 * i))));
}

/** What either mode takes; `ownAddressProblem` knows the rest. */
function readOwnAddress(text: string): Reading {
  const words = text.trim().split(/[ \t]+/);
  if (words.length === 2) return readPair(words[0]!, words[1]!);
  const prefix = text.includes('/') ? parsePrefix(text) : undefined;
  if (prefix === undefined || !isHostAddress(prefix.ip) || isMapped(prefix.ip)) {
    return { rule: 'must be an address with its prefix length, such as 10.8.0.1/24 or fd42:8::1/64' };
  }
  return { value: prefix };
}

/** Own address and the peer's, as OpenVPN's ifconfig in topology p2p. */
function readPair(first: string, second: string): Reading {
  const [own, peer] = [first, second].map(plainIp);
  if (!own || !peer || ![own, peer].every(isHostAddress) || own.length !== peer.length || sameIp(own, peer)) {
    return { rule: 'must be two addresses, the own one and that of the peer, such as 10.9.0.1 10.9.0.2' };
  }
  return { value: { ip: own, bits: own.length * 8, peer } };
}

/** Why an own address cannot be used in a mode: the rule it breaks. */
export function ownAddressProblem({ ip, bits, peer }: OwnAddress, mode: 'multi' | 'p2p'): string | undefined {
  const four = ip.length === 4;
  if (peer !== undefined) {
    return mode === 'p2p'
      ? undefined
      : 'must be an address with its prefix length; one with that of a peer is for mode p2p';
  }
  // Clients of OpenVPN take IPv6 prefixes of 64 to 124 bits; of an IPv4 /31 nothing is left to give away.
  const [least, most] = mode === 'p2p' ? (four ? [8, 31] : [64, 127]) : four ? [8, 30] : [64, 124];
  if (bits < least || bits > most)
    return `must be a subnet of /${least} to /${most}${mode === 'multi' && four ? ', with room for peers' : ''}`;
  const prefix = { ip, bits };
  if (bits === ip.length * 8 - 1 || !isReserved(prefix, ip)) return undefined;
  const own = ip.slice();
  own.set(network(prefix).ip);
  own[own.length - 1]! |= 1;
  return `must be an address of its subnet, such as ${formatIp(own)}/${bits}`;
}

function readRemote(text: string): Reading {
  const [host = '', port = String(DEFAULT_PORT), proto = 'udp', more] = text.trim().split(/[ \t]+/);
  if (more !== undefined) return { rule: 'must be a host, a port and a protocol, no more' };
  const ip = plainIp(host);
  // Loopback is fine here: a forwarder may run on this machine.
  const nowhere = (address: Ip) => isMulticast(address) || address.every(byte => byte === 0);
  if (ip === undefined ? !isHostname(host) : nowhere(ip)) {
    return { rule: 'must begin with an address or host name' };
  }
  const portNumber = wholeNumber(port, 1, 65_535);
  if (portNumber === undefined) return { rule: 'must have a port number, 1 to 65535, after the host' };
  if (!/^(udp|tcp)[46]?$/.test(proto)) {
    return { rule: 'must have udp, udp4, udp6, tcp, tcp4 or tcp6 as protocol' };
  }
  const family = proto.endsWith('4') ? 4 : proto.endsWith('6') ? 16 : undefined;
  if (ip !== undefined && family !== undefined && ip.length !== family) {
    return { rule: `has an address that ${proto} cannot reach` };
  }
  return { value: { host, port: portNumber, proto } };
}
