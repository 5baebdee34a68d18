// SPDX-License-Identifier: Apache-2.0
// What the interop rows need from the machine; a row that cannot run says why.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { isStock, missingStock, type Stock } from './openvpn.ts';
import { missingFiles, type Runtime } from './ovpnd.ts';

function has(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some(dir => {
    try {
      accessSync(join(dir, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

let machine: string[] | undefined;

function missingInMachine(): string[] {
  if (machine !== undefined) return machine;
  machine = ['ip', 'openvpn', 'openssl', 'ping', 'setpriv', 'unshare', 'sysctl', 'ethtool', 'gcc']
    .filter(command => !has(command))
    .map(command => `command ${command}`);
  if (process.getuid?.() !== 0) machine.push('root');
  if (!existsSync('/dev/net/tun')) machine.push('/dev/net/tun');
  if (machine.length > 0) return machine;
  // A container's root may be refused what its uid suggests.
  const probe = spawnSync('unshare', [
    '-n',
    'ip',
    'link',
    'add',
    'probe0',
    'type',
    'veth',
    'peer',
    'name',
    'probe1',
  ]);
  if (probe.status !== 0) machine.push('permission to make network namespaces and veth devices');
  return machine;
}

/** What is missing to run rows with these ends; empty: nothing. */
export function missing(ends: readonly (Runtime | Stock)[]): string[] {
  const files = ends.flatMap(end => (isStock(end) ? missingStock(end) : missingFiles(end)));
  return [...missingInMachine(), ...files];
}
