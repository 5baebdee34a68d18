// SPDX-License-Identifier: Apache-2.0
// Stock OpenVPN as the other end. Every option stands in a configuration file written here; the machine's own
// /etc/openvpn is never read.

import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Namespace } from './namespace.ts';
import type { Identity } from './pki.ts';
import type { Process } from './process.ts';
import type { World } from './world.ts';

export const UP = /Initialization Sequence Completed/;

/** openvpn: the machine's; openvpn-2.7: Debian sid's, which scripts/kernel unpacks. */
export type Stock = 'openvpn' | 'openvpn-2.7';

const ROOT = resolve('build/kernel/root/usr');
const LOADER = join(ROOT, 'lib64/ld-linux-x86-64.so.2');
const PROGRAM = join(ROOT, 'sbin/openvpn');

/** The program and its first words; 2.7 runs with the libraries it was linked against. */
export function stockCommand(kind: Stock): readonly string[] {
  if (kind === 'openvpn') return ['openvpn'];
  const libraries = join(ROOT, 'lib/x86_64-linux-gnu');
  return [LOADER, '--argv0', 'openvpn', '--library-path', libraries, PROGRAM];
}

export function isStock(kind: string): kind is Stock {
  return kind === 'openvpn' || kind === 'openvpn-2.7';
}

/** What a row with this stock end lacks beyond the machine's own programs. */
export function missingStock(kind: Stock): string[] {
  return kind === 'openvpn' || existsSync(PROGRAM) ? [] : ['OpenVPN 2.7 (scripts/kernel)'];
}

export interface StockOptions {
  readonly name: string;
  /** Default openvpn. */
  readonly kind?: Stock;
  readonly identity: Identity;
  /** More configuration lines; a line replaces one of the same first word that was written before, a word alone takes it away. */
  readonly lines: readonly string[];
}

const COMMON = ['dev tun', 'disable-dco', 'verb 3', 'persist-key', 'suppress-timestamps'];

/** Lines of a multi-client server on 10.8.0.0/24 and fd42:8::/64. */
export const STOCK_SERVER: readonly string[] = [
  'port 1194',
  'topology subnet',
  'server 10.8.0.0 255.255.255.0',
  'server-ipv6 fd42:8::/64',
  'dh none',
  'keepalive 10 60',
];

export const STOCK_CLIENT: readonly string[] = [
  'client',
  'nobind',
  'remote-cert-tls server',
  'connect-retry 1 2',
];

/** The same addresses without a push: `--mode p2p` with TLS. */
export const STOCK_PEER_SERVER: readonly string[] = [
  'port 1194',
  'tls-server',
  'dh none',
  'ifconfig 10.8.0.1 10.8.0.2',
  'ifconfig-ipv6 fd42:8::1/64 fd42:8::2',
  'keepalive 10 60',
];

export const STOCK_PEER_CLIENT: readonly string[] = [
  'tls-client',
  'nobind',
  'remote-cert-tls server',
  'connect-retry 1 2',
  'ifconfig 10.8.0.2 10.8.0.1',
  'ifconfig-ipv6 fd42:8::2/64 fd42:8::1',
  'keepalive 10 60',
];

function configuration(options: StockOptions): string {
  const { ca, cert, key } = options.identity;
  // Without a certificate the paths are empty.
  const own = cert === '' ? [] : [`cert ${cert}`, `key ${key}`];
  const lines = [...COMMON, `ca ${ca}`, ...own];
  for (const line of options.lines) {
    const word = line.split(' ')[0]!;
    const at = /^(push|setenv|route)$/.test(word) ? -1 : lines.findIndex(old => old.split(' ')[0] === word);
    if (at < 0) lines.push(line);
    else if (line === word) lines.splice(at, 1);
    else lines[at] = line;
  }
  if (lines.some(line => line.startsWith('<peer-fingerprint>'))) lines.splice(lines.indexOf(`ca ${ca}`), 1);
  return `${lines.join('\n')}\n`;
}

export function startStock(world: World, namespace: Namespace, options: StockOptions): Process {
  const path = join(world.dir, `${options.name}.conf`);
  writeFileSync(path, configuration(options));
  return world.spawn(`openvpn ${options.name}`, namespace, [
    ...stockCommand(options.kind ?? 'openvpn'),
    '--config',
    path,
  ]);
}
