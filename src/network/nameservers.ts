// SPDX-License-Identifier: Apache-2.0
// The name servers of the uplink, which a kill switch lets be asked for the name of a VPN server: those of
// resolv.conf and, where that only names a forwarder on this machine, those the forwarder was given.

import { type Ip, ipKey, parseIp } from '../core/address.ts';
import { decodeUtf8 } from '../core/bytes.ts';
import type { Files } from '../host/host.ts';
import { isProblem } from './requests.ts';

/** The system's; netifd's for dnsmasq; systemd-resolved's. */
const FILES: readonly string[] = [
  '/etc/resolv.conf',
  '/tmp/resolv.conf.d/resolv.conf.auto',
  '/run/systemd/resolve/resolv.conf',
];

const NAME_SERVERS_MAX = 8;

function isElsewhere(ip: Ip): boolean {
  const isLoopback = ip.length === 4 ? ip[0] === 127 : ip.every((byte, i) => byte === (i === 15 ? 1 : 0));
  return !isLoopback && ip.some(byte => byte !== 0);
}

/** Addresses of `nameserver` lines of a resolv.conf that are not on this machine. An address with a zone needs no route. */
export function parseNameServers(text: string): Ip[] {
  return text.split('\n').flatMap(line => {
    const ip = parseIp(/^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '');
    return ip !== undefined && isElsewhere(ip) ? [ip] : [];
  });
}

/** `except`: the tunnel's own, which nobody reaches without it. */
export function nameServers(files: Files, except: readonly Ip[]): Ip[] {
  const found = new Map<string, Ip>();
  for (const path of FILES) {
    const bytes = files.read(path);
    if (isProblem(bytes)) continue;
    for (const ip of parseNameServers(decodeUtf8(bytes))) found.set(ipKey(ip), ip);
  }
  for (const ip of except) found.delete(ipKey(ip));
  return [...found.values()].slice(0, NAME_SERVERS_MAX);
}
