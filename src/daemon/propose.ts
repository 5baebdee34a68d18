// SPDX-License-Identifier: Apache-2.0
// What a new server could be called, where it could listen, and which subnet is still free: from the configuration,
// the kernel's tables and netifd. Guesses for a form; a person decides.

import {
  formatIp,
  formatPrefix,
  type Ip,
  maskBits,
  network,
  overlaps,
  type Prefix,
  parsePrefix,
} from '../core/address.ts';
import { type Host, isFailure } from '../host/host.ts';
import { parse } from '../uci/parse.ts';
import { byteString } from '../uci/text.ts';
import { findSection } from '../uci/write.ts';
import { askBus, type Places } from './commands.ts';
import { readConfigFile } from './configfile.ts';
import { optionOf } from './configtext.ts';

export interface Proposal {
  readonly name: string;
  /** The server's own address with the subnet's length. */
  readonly address: string;
  /** The same of IPv6, with a subnet that nobody else in the world is likely to have. */
  readonly address6: string;
  /** Keys that the TLS library of this ovpnd can make. */
  readonly key_kinds: readonly string[];
  readonly port: number;
  /** How clients reach this router, as far as it knows; empty: it does not. */
  readonly host: string;
  /** Why the guess may not do. */
  readonly host_note: string;
  /** The local network and the router's address in it; empty: not known. */
  readonly lan_network: string;
  readonly lan_address: string;
  readonly has_firewall: boolean;
}

const NAMES = ['home', 'vpn', 'office', 'road', 'guest'];
const FIRST_PORT = 1194;
const PORTS = 100;

/** Little-endian hexadecimal words, as in /proc/net/route. */
function routeIp(hex: string): Ip {
  return Uint8Array.from([6, 4, 2, 0], at => Number.parseInt(hex.slice(at, at + 2), 16));
}

/** The IPv4 networks of /proc/net/route, without the default route. On a big-endian machine words are not swapped. */
export function routedNetworks(text: string, isLittleEndian: boolean): Prefix[] {
  const networks: Prefix[] = [];
  for (const line of text.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [destination = '', mask = ''] = [fields[1], fields[7]];
    if (!/^[0-9A-F]{8}$/i.test(destination) || !/^[0-9A-F]{8}$/i.test(mask)) continue;
    const [ip, ones] = [routeIp(destination), routeIp(mask)].map(word =>
      isLittleEndian ? word : word.reverse(),
    ) as [Ip, Ip];
    const bits = [...ones].reduce((sum, byte) => sum + byte.toString(2).replace(/0/g, '').length, 0);
    if (bits > 0) networks.push({ ip, bits });
  }
  return networks;
}

/** Local ports of /proc/net/udp and its like. */
export function boundPorts(text: string): number[] {
  return [...text.matchAll(/^ *[0-9]+: [0-9A-F]+:([0-9A-F]{4}) /gim)].map(([, port]) =>
    Number.parseInt(port!, 16),
  );
}

/** 10.8.0.1/24, or the next one whose subnet nobody uses. */
export function freeAddress(used: readonly Prefix[]): string {
  for (let i = 0; i < 65_536; i++) {
    // 10.8, 10.9, ... 10.255, 10.0, ... 10.7
    const subnet = { ip: Uint8Array.of(10, (8 + (i >> 8)) & 255, i & 255, 0), bits: 24 };
    if (!used.some(other => overlaps(subnet, other))) {
      return formatPrefix({ ip: Uint8Array.of(10, subnet.ip[1]!, subnet.ip[2]!, 1), bits: 24 });
    }
  }
  return '';
}

/** A unique local subnet (RFC 4193) of five random bytes: fd12:3456:789a::1/64. */
export function randomAddress6(random: (length: number) => Uint8Array): string {
  const ip = new Uint8Array(16);
  ip[0] = 0xfd;
  ip.set(random(5), 1);
  ip[15] = 1;
  return formatPrefix({ ip, bits: 64 });
}

function keyKinds({ privateKeys }: Host): string[] {
  const sample = privateKeys.generate('Ed25519');
  sample?.fill(0);
  return sample === undefined ? ['ec'] : ['ec', 'ed25519'];
}

/** Addresses that nobody outside can reach: private and shared ones. */
export function isPrivate(ip: Ip): boolean {
  if (ip.length !== 4) return (ip[0]! & 0xfe) === 0xfc || (ip[0] === 0xfe && (ip[1]! & 0xc0) === 0x80);
  const [a, b] = [ip[0]!, ip[1]!];
  return (
    a === 10 ||
    a === 127 ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254)
  );
}

type Table = Readonly<Record<string, unknown>>;
const tables = (value: unknown): Table[] =>
  Array.isArray(value)
    ? value.filter((item): item is Table => typeof item === 'object' && item !== null)
    : [];

export interface Uplinks {
  /** Of the interfaces that have a default route. */
  readonly outside: readonly Ip[];
  /** Of the interface `lan`. */
  readonly lan?: Prefix;
}

/** Reads what `network.interface dump` of netifd answers. */
export function readDump(dump: unknown): Uplinks {
  const outside: Ip[] = [];
  let lan: Prefix | undefined;
  const interfaces = typeof dump === 'object' && dump !== null ? tables((dump as Table).interface) : [];
  for (const item of interfaces) {
    const addresses = tables(item['ipv4-address']).flatMap(({ address, mask }) => {
      const prefix = parsePrefix(`${String(address)}/${String(mask)}`);
      return prefix === undefined ? [] : [prefix];
    });
    if (item.interface === 'lan') lan ??= addresses[0];
    if (tables(item.route).some(({ target, mask }) => target === '0.0.0.0' && mask === 0)) {
      outside.push(...addresses.map(({ ip }) => ip));
    }
  }
  return { outside, ...(lan && { lan }) };
}

function textOf(host: Host, path: string): string {
  const bytes = host.files.read(path);
  return isFailure(bytes) ? '' : byteString(bytes);
}

/** The name that a dynamic DNS service keeps for this router. */
function dynamicName(host: Host, directory: string): string {
  const bytes = host.files.read(`${directory}/ddns`);
  if (isFailure(bytes)) return '';
  const service = parse(bytes).sections.find(
    section => section.type === 'service' && optionOf(section, 'enabled') === '1',
  );
  const name = (service && (optionOf(service, 'lookup_host') ?? optionOf(service, 'domain'))) ?? '';
  return /^[A-Za-z0-9.-]{1,253}$/.test(name) ? name : '';
}

/** The address of `lan` as it is configured: netifd names none while the ports have no link. */
function configuredLan(host: Host, directory: string): Prefix | undefined {
  const bytes = host.files.read(`${directory}/network`);
  const lan = isFailure(bytes) ? undefined : findSection(parse(bytes), 'lan');
  if (lan === undefined) return undefined;
  const value = lan.options.get('ipaddr')?.value ?? '';
  const address = typeof value === 'string' ? value : (value[0] ?? '');
  const bits = maskBits(optionOf(lan, 'netmask') ?? '');
  return parsePrefix(address.includes('/') || bits === undefined ? address : `${address}/${bits}`);
}

export function propose(host: Host, places: Places, configDirectory: string): Proposal {
  const config = readConfigFile(host, configDirectory);
  const dump = askBus(host, places, 'network.interface', 'dump', {});
  const { outside, lan = configuredLan(host, configDirectory) } = readDump(dump);
  const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  const used = [
    ...config.servers.flatMap(({ address, pushRoute }) => [...address, ...pushRoute]),
    ...routedNetworks(textOf(host, '/proc/net/route'), isLittleEndian),
    ...(lan ? [lan] : []),
  ].filter(({ ip }) => ip.length === 4);
  const taken = new Set(config.servers.map(({ port }) => port));
  for (const table of ['udp', 'udp6', 'tcp', 'tcp6']) {
    for (const port of boundPorts(textOf(host, `/proc/net/${table}`))) taken.add(port);
  }
  const port = Array.from({ length: PORTS }, (_, i) => FIRST_PORT + i).find(value => !taken.has(value));
  const names = new Set(
    [...config.servers, ...config.clients].map(({ name }) => name).concat(config.refused),
  );
  const numbered = Array.from({ length: 100 }, (_, i) => `vpn${i + 2}`);
  const publicIp = outside.find(ip => !isPrivate(ip));
  const guess = dynamicName(host, configDirectory) || (publicIp && formatIp(publicIp)) || '';
  const behind = outside.length > 0 && publicIp === undefined;
  return {
    name: [...NAMES, ...numbered].find(name => !names.has(name)) ?? '',
    address: freeAddress(used),
    address6: randomAddress6(host.random),
    key_kinds: keyKinds(host),
    port: port ?? FIRST_PORT,
    host: guess,
    host_note: behind
      ? `this router has the private address ${formatIp(outside[0]!)} towards the internet: whoever is in front of it must forward the port, and clients need the name or address of that`
      : '',
    lan_network: lan ? formatPrefix(network(lan)) : '',
    lan_address: lan ? formatIp(lan.ip) : '',
    has_firewall: !isFailure(host.files.status(`${configDirectory}/firewall`)),
  };
}
