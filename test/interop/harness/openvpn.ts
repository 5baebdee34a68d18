// SPDX-License-Identifier: Apache-2.0
// Stock OpenVPN as the other end. Every option stands in a configuration file written here; the machine's own
// /etc/openvpn is never read.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './namespace.ts';
import type { Identity } from './pki.ts';
import type { Process } from './process.ts';
import type { World } from './world.ts';

export const UP = /Initialization Sequence Completed/;

export interface StockOptions {
  readonly name: string;
  readonly identity: Identity;
  /** More configuration lines; a line replaces one of the same first word that was written before. */
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

function configuration(options: StockOptions): string {
  const { ca, cert, key } = options.identity;
  const lines = [...COMMON, `ca ${ca}`, `cert ${cert}`, `key ${key}`];
  for (const line of options.lines) {
    const word = line.split(' ')[0]!;
    const at = /^(push|setenv|route)$/.test(word) ? -1 : lines.findIndex(old => old.split(' ')[0] === word);
    if (at >= 0) lines[at] = line;
    else lines.push(line);
  }
  return `${lines.join('\n')}\n`;
}

export function startStock(world: World, namespace: Namespace, options: StockOptions): Process {
  const path = join(world.dir, `${options.name}.conf`);
  writeFileSync(path, configuration(options));
  return world.spawn(`openvpn ${options.name}`, namespace, ['openvpn', '--config', path]);
}
