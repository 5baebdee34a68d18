// SPDX-License-Identifier: Apache-2.0
// Name servers and search domains a server pushes, in the old form (dhcp-option) and the new one (dns). Names must
// be plain host names: they end in files and commands of other programs.

import { type Ip, parseIp, sameIp } from './address.ts';
import {
  DNS_PRIORITY_MAX,
  DOMAIN_LABEL_MAX,
  DOMAIN_MAX,
  PUSHED_DNS_SERVERS_MAX,
  PUSHED_DOMAINS_MAX,
} from './limits.ts';
import type { PushedOptions, Reading } from './pushreply.ts';
import { decimal, isHost } from './values.ts';

const DNS_PORT = 53;

/** One `dns server N`. */
interface DnsServer {
  readonly addresses: Ip[];
  /** Needs what we cannot give: another transport, or a choice by domain. */
  unusable: boolean;
}

export interface DnsDraft {
  readonly dhcpServers: Ip[];
  readonly dhcpDomains: string[];
  /** By number; the lowest usable one counts. */
  readonly servers: Map<number, DnsServer>;
  readonly searchDomains: string[];
}

export function newDnsDraft(): DnsDraft {
  return { dhcpServers: [], dhcpDomains: [], servers: new Map(), searchDomains: [] };
}

/** Whether `text` is a host name of letters, digits and hyphens; one dot at the end is allowed. */
export function isDomain(text: string): boolean {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (name.length > DOMAIN_MAX) return false;
  return name
    .split('.')
    .every(
      label =>
        label.length <= DOMAIN_LABEL_MAX &&
        /^[A-Za-z0-9-]+$/.test(label) &&
        !label.startsWith('-') &&
        !label.endsWith('-'),
    );
}

function addDomain(list: string[], text: string): Reading {
  if (!isDomain(text)) return 'not a domain name';
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (list.includes(name)) return undefined;
  if (list.length >= PUSHED_DOMAINS_MAX) return `more than ${PUSHED_DOMAINS_MAX} domains`;
  list.push(name);
  return undefined;
}

function addServer(list: Ip[], ip: Ip | undefined): Reading {
  if (ip === undefined || !isHost(ip)) return 'not the address of a name server';
  if (list.some(known => sameIp(known, ip))) return undefined;
  if (list.length >= PUSHED_DNS_SERVERS_MAX) return `more than ${PUSHED_DNS_SERVERS_MAX} name servers`;
  list.push(ip);
  return undefined;
}

/** `dhcp-option TYPE VALUE`. */
export function readDhcpOption(words: readonly string[], dns: DnsDraft): Reading {
  const [type, value] = words;
  switch (type) {
    case 'DNS':
    case 'DNS6':
      return addServer(dns.dhcpServers, parseIp(value ?? ''));
    case 'DOMAIN':
    case 'ADAPTER_DOMAIN_SUFFIX':
    case 'DOMAIN-SEARCH':
      return addDomain(dns.dhcpDomains, value ?? '');
    default:
      return 'this type is not used';
  }
}

/** `dns search-domains D ...` or `dns server N WORD ...`. */
export function readDns(words: readonly string[], dns: DnsDraft): Reading {
  if (words[0] === 'search-domains') {
    return lastProblem(words.slice(1), domain => addDomain(dns.searchDomains, domain));
  }
  const number = decimal(words[1], DNS_PRIORITY_MAX);
  if (words[0] !== 'server' || number === undefined) return 'not a form of dns known here';
  let server = dns.servers.get(number);
  if (server === undefined) {
    server = { addresses: [], unusable: false };
    dns.servers.set(number, server);
  }
  return readDnsServer(words.slice(2), server);
}

function readDnsServer(words: readonly string[], server: DnsServer): Reading {
  const [property, ...values] = words;
  switch (property) {
    case 'address':
      return lastProblem(values, text => addServer(server.addresses, parseServer(text)));
    case 'transport':
      if (values[0] === 'plain') return undefined;
      server.unusable = true;
      return 'only plain DNS is used';
    case 'resolve-domains':
      // Sending all queries to it would be more than the server asked for, and would leak them.
      server.unusable = true;
      return 'name servers for some domains only are not used';
    case 'dnssec':
    case 'sni':
      return 'not used';
    default:
      return 'not a property of a name server';
  }
}

/** An address, possibly with port 53: `A`, `A:P`, `[A]`, `[A]:P`. */
function parseServer(text: string): Ip | undefined {
  const close = text.startsWith('[') ? text.indexOf(']') : -1;
  const isBracketed = close > 0;
  const colon = isBracketed ? close + 1 : text.indexOf(':');
  const isV6 = !isBracketed && colon >= 0 && text.includes(':', colon + 1);
  const end = isBracketed ? close : isV6 || colon < 0 ? text.length : colon;
  const port = isBracketed ? text.slice(close + 1) : text.slice(end);
  if (port !== '' && port !== `:${DNS_PORT}`) return undefined;
  const ip = parseIp(text.slice(isBracketed ? 1 : 0, end));
  return isBracketed && ip?.length !== 16 ? undefined : ip;
}

/** Reads every word, also after a bad one, and reports the last problem. */
function lastProblem(words: readonly string[], read: (word: string) => Reading): Reading {
  let problem: Reading = words.length === 0 ? 'it has no argument' : undefined;
  for (const word of words) problem = read(word) ?? problem;
  return problem;
}

/** What counts in the end: `dns server` before dhcp-option. */
export function finishDns(dns: DnsDraft, out: PushedOptions): void {
  const numbers = [...dns.servers.keys()].sort((a, b) => a - b);
  const usable = numbers
    .map(number => dns.servers.get(number)!)
    .find(server => server.addresses.length > 0 && !server.unusable);
  out.dnsServers = usable?.addresses ?? dns.dhcpServers;
  out.domains = [...dns.searchDomains];
  if (usable === undefined) for (const domain of dns.dhcpDomains) addDomain(out.domains, domain);
}
