// SPDX-License-Identifier: Apache-2.0
// What the options of a section, and the sections of a file, mean for each other. Each rule reports and refuses on
// its own; nothing is decided twice. When two sections clash the one that stands first in the file stays.

import type { Ip, Prefix } from '../core/address.ts';
import { contains, formatPrefix, ipKey, network, overlaps } from '../core/address.ts';
import { nearest } from './nearest.ts';
import type { Report } from './problem.ts';
import { optionsOf } from './schema.ts';
import type { Draft } from './section.ts';
import { refuse, warn } from './section.ts';
import { isReserved, type OwnAddress, ownAddressProblem } from './values.ts';

const IPV6_MTU_MIN = 1280;

function list<T>(draft: Draft, name: string): readonly T[] {
  return (draft.values.get(name) as T[] | undefined) ?? [];
}

/** Refuses the section because of the `index`-th value of a list as it was read. */
function refuseItem(report: Report, draft: Draft, rule: string, name: string, index: number): void {
  refuse(report, draft, rule, name, draft.indexes.get(name)?.[index] ?? index);
}

function familyName(ip: Ip): string {
  return ip.length === 4 ? 'IPv4' : 'IPv6';
}

/** Rules inside one server or client section. */
export function checkTunnel(report: Report, draft: Draft): void {
  const { values } = draft;
  if (draft.section.options.has('key_direction') && !draft.section.options.has('tls_auth')) {
    refuse(report, draft, 'needs tls_auth', 'key_direction');
  }
  if (draft.section.options.has('tls_auth') && draft.section.options.has('tls_crypt')) {
    refuse(report, draft, 'excludes tls_auth', 'tls_crypt');
  }
  // A server may take clients of both kinds while their profiles change.
  const other = ['tls_auth', 'tls_crypt'].find(name => draft.section.options.has(name));
  if (draft.type === 'client' && other !== undefined && draft.section.options.has('tls_crypt_v2')) {
    refuse(report, draft, `excludes ${other}`, 'tls_crypt_v2');
  }
  const bindDevice = values.get('bind_device');
  if (bindDevice !== undefined && bindDevice === values.get('device')) {
    refuse(report, draft, 'must not be the tunnel itself', 'bind_device');
  }
  checkIdentity(report, draft);
  checkMode(report, draft);
  if (draft.type === 'server') checkServer(report, draft);
  else checkClient(report, draft);
}

/** Options of one mode that mean nothing in the other. */
function checkMode(report: Report, draft: Draft): void {
  const { type, section } = draft;
  const mode = modeOf(draft);
  const misplaced =
    mode === 'p2p' ? NOT_IN_P2P[type as 'server' | 'client'] : ONLY_IN_P2P[type as 'server' | 'client'];
  for (const [name, rule] of misplaced) {
    // As it would be without being named.
    const given = section.options.get(name)?.value;
    if (given !== undefined && given !== optionsOf(type).get(name)?.default)
      refuse(report, draft, rule, name);
  }
  if (mode === 'p2p' && type === 'client' && !section.options.has('address'))
    refuse(report, draft, 'is required in mode p2p: nobody gives the client an address', 'address');
  if (type === 'server' || mode === 'p2p') checkOwnAddresses(report, draft, mode);
}

function modeOf(draft: Draft): 'multi' | 'p2p' {
  return draft.values.get('mode') === 'p2p' ? 'p2p' : 'multi';
}

const each = (names: string, rule: string): [string, string][] => names.split(' ').map(name => [name, rule]);
const ONE_PEER = 'has no place in mode p2p: there is one peer';
const NO_PUSH = 'has no place in mode p2p: nothing is pushed';
const NO_LOGIN = 'has no place in mode p2p: the peer shows a certificate';
const NOT_IN_P2P: Readonly<Record<'server' | 'client', readonly (readonly [string, string])[]>> = {
  server: [
    ...each('client_to_client duplicate_cn max_clients', ONE_PEER),
    ...each('push_route push_dns push_domain push_option redirect_gateway', NO_PUSH),
    ...each('auth auth_method verify_client_cert', NO_LOGIN),
  ],
  client: [...each('route_nopull pull_dns', NO_PUSH), ...each('username password auth_user_pass', NO_LOGIN)],
};
const ONLY_IN_P2P: typeof NOT_IN_P2P = {
  server: each('route metric', 'needs mode p2p; a network behind a client stands in its peer section'),
  client: [['address', 'needs mode p2p; else the server gives the client its address']],
};

/** Each side must be able to tell the other from anybody else. */
function checkIdentity(report: Report, draft: Draft): void {
  const has = (name: string): boolean => draft.section.options.has(name);
  // Of a server its peers may have some: see checkAuthorities.
  const hasBundle = has('pkcs12');
  if (draft.type === 'client' && !has('ca') && !has('peer_fingerprint') && !hasBundle) {
    refuse(report, draft, 'is required, or else peer_fingerprint', 'ca');
  }
  if (has('crl') && !has('ca') && !hasBundle) refuse(report, draft, 'needs ca', 'crl');
  const isServer = draft.type === 'server';
  for (const [one, other] of [
    ['cert', 'key'],
    ['key', 'cert'],
  ] as const) {
    if (has(one) && hasBundle) refuse(report, draft, 'excludes pkcs12, which holds one', one);
    if (has(one) || hasBundle) continue;
    if (isServer) refuse(report, draft, 'is required', one);
    else if (has(other)) refuse(report, draft, `is required with ${other}`, one);
  }
  if (isServer) return;
  const logsIn = (has('username') || has('auth_user_pass')) && modeOf(draft) !== 'p2p';
  if (!has('cert') && !has('key') && !hasBundle && !logsIn) {
    const instead = modeOf(draft) === 'p2p' ? '' : ', or else username and password';
    refuse(report, draft, `is required${instead}`, 'cert');
  }
  if (has('username') !== has('password')) {
    refuse(report, draft, 'is required, too', has('username') ? 'password' : 'username');
  }
  if (has('username') && has('auth_user_pass')) refuse(report, draft, 'excludes username', 'auth_user_pass');
}

function checkLogin(report: Report, draft: Draft): void {
  const { values } = draft;
  const auth = values.get('auth');
  if (auth === 'none' && values.get('verify_client_cert') !== 'require') {
    refuse(report, draft, 'needs auth: else anybody could connect', 'verify_client_cert');
  }
  if (values.get('verify_client_cert') === 'none') {
    for (const option of ['peer_fingerprint', 'verify_x509_name']) {
      if (draft.section.options.has(option))
        warn(report, draft, 'has no effect with verify_client_cert none', option);
    }
  }
  const method = values.get('auth_method') as string | undefined;
  if (auth === 'ubus' && method === undefined)
    refuse(report, draft, 'is required with auth ubus', 'auth_method');
  if (method !== undefined && auth !== 'ubus')
    warn(report, draft, 'has no effect without auth ubus', 'auth_method');
  if (method !== undefined && !/^[A-Za-z0-9_.-]{1,96} [A-Za-z0-9_]{1,64}$/.test(method)) {
    refuse(report, draft, 'must be an object and a method', 'auth_method');
  }
}

/** A server without authority and fingerprint would take anybody's certificate. */
export function checkAuthorities(report: Report, drafts: readonly Draft[]): void {
  const withFingerprints = new Set(
    drafts
      .filter(({ type, values }) => type === 'peer' && values.has('fingerprint'))
      .map(({ values }) => values.get('tunnel')),
  );
  for (const draft of drafts) {
    const { options, name } = draft.section;
    if (
      draft.type !== 'server' ||
      options.has('ca') ||
      options.has('peer_fingerprint') ||
      options.has('pkcs12')
    )
      continue;
    if (draft.values.get('verify_client_cert') === 'none') continue;
    if (!withFingerprints.has(name)) refuse(report, draft, 'is required, or else peer_fingerprint', 'ca');
  }
}

/** Users belong to a server that asks for them; names are distinct within it. */
export function checkUsers(report: Report, drafts: readonly Draft[]): void {
  const servers = new Map(
    drafts.filter(({ type }) => type === 'server').map(draft => [draft.section.name, draft]),
  );
  const taken = new Map<string, Draft>();
  for (const draft of drafts) {
    if (draft.type !== 'user' || draft.section.anonymous) continue;
    const tunnel = draft.values.get('tunnel') as string | undefined;
    const server = tunnel === undefined ? undefined : servers.get(tunnel);
    if (tunnel !== undefined && server === undefined)
      refuse(report, draft, 'is no server of this file', 'tunnel');
    else if (server !== undefined && server.values.get('auth') !== 'users') {
      warn(report, draft, `has no effect: server '${tunnel}' has no option auth 'users'`);
    }
    const key = `${tunnel} ${draft.values.get('name') as string}`;
    const other = taken.get(key);
    if (other !== undefined) refuse(report, draft, `user '${other.section.name}' has the same`, 'name');
    else taken.set(key, draft);
  }
}

function checkServer(report: Report, draft: Draft): void {
  checkLogin(report, draft);
  const local = draft.values.get('local') as Ip | undefined;
  const protos = list<string>(draft, 'proto');
  protos.forEach((proto, i) => {
    const transport = proto.slice(0, 3);
    if (proto !== transport && protos.includes(transport)) {
      refuseItem(report, draft, `is part of ${transport}`, 'proto', i);
    } else if (local !== undefined && proto.endsWith(local.length === 4 ? '6' : '4')) {
      refuseItem(report, draft, `cannot use the ${familyName(local)} address of option local`, 'proto', i);
    }
  });
}

function checkOwnAddresses(report: Report, draft: Draft, mode: 'multi' | 'p2p'): void {
  const addresses = list<OwnAddress>(draft, 'address');
  const families = new Set<number>();
  addresses.forEach((own, i) => {
    const { ip } = own;
    const problem = ownAddressProblem(own, mode);
    if (problem !== undefined) refuseItem(report, draft, problem, 'address', i);
    // OpenVPN can tell a client one address of each family.
    if (families.has(ip.length))
      refuseItem(report, draft, `is a second ${familyName(ip)} subnet`, 'address', i);
    families.add(ip.length);
  });
  const mtu = draft.values.get('tun_mtu') as number | undefined;
  if (families.has(16) && mtu !== undefined && mtu < IPV6_MTU_MIN) {
    refuse(report, draft, `must be at least ${IPV6_MTU_MIN} where there is an IPv6 address`, 'tun_mtu');
  }
  const subnet = addresses.find(({ ip }) => ip.length === 4);
  const wanted = draft.values.get('max_clients') as number | undefined;
  if (subnet === undefined || wanted === undefined || !draft.section.options.has('max_clients')) return;
  const room = 2 ** (32 - subnet.bits) - 3;
  if (wanted > room)
    warn(report, draft, `is more than ${formatPrefix(subnet)} has room for: ${room}`, 'max_clients');
}

function checkClient(report: Report, draft: Draft): void {
  const { values, section } = draft;
  // Two OpenVPN names of one time: one given sets both.
  const both = ['connect_timeout', 'server_poll_timeout'] as const;
  const given = both.filter(name => section.options.has(name));
  if (given.length === 2 && values.get(both[0]) !== values.get(both[1])) {
    refuse(report, draft, 'means the same as connect_timeout and must be equal to it', both[1]);
  } else if (given.length === 1) {
    const value = values.get(given[0]!);
    for (const name of both) values.set(name, value);
  }
  const goesIn = values.get('redirect_gateway') === true || list(draft, 'route').length > 0;
  if (values.get('kill_switch') === true && !goesIn) {
    refuse(report, draft, 'needs redirect_gateway or route: what must not leave otherwise', 'kill_switch');
  }
}

interface Listener {
  readonly draft: Draft;
  /** `udp4`, `tcp6`... */
  readonly protos: readonly string[];
  readonly local: Ip | undefined;
  readonly bindDevice: unknown;
}

/** Rules between tunnels; only enabled ones can be in each other's way. */
export function checkTunnels(report: Report, drafts: readonly Draft[]): void {
  const devices = new Map<unknown, Draft>();
  const ports = new Map<unknown, Listener[]>();
  const subnets: Subnets = { 4: [], 16: [] };
  for (const draft of drafts) {
    if (draft.bad || draft.values.get('enabled') !== true) continue;
    const device = draft.values.get('device');
    const holder = devices.get(device);
    if (holder !== undefined) {
      refuse(report, draft, `the interface ${device} is that of '${holder.section.name}'`, 'device');
      continue;
    }
    if (draft.type === 'server' && !checkSubnets(report, draft, subnets)) continue;
    if (draft.type === 'server' && !checkListener(report, draft, ports)) continue;
    if (draft.type === 'server') takeSubnets(draft, subnets);
    devices.set(device, draft);
  }
}

interface Subnet {
  readonly draft: Draft;
  readonly prefix: Prefix;
  readonly first: string;
}

/** By the length of addresses, sorted by the first address. No two overlap: only neighbours can be in the way. */
type Subnets = Readonly<Record<number, Subnet[]>>;

/** How many of the sorted subnets start before this address. */
function countBefore(sorted: readonly Subnet[], first: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.first < first) low = middle + 1;
    else high = middle;
  }
  return low;
}

const firstOf = (prefix: Prefix): string => ipKey(network(prefix).ip);

/** Two servers cannot both have the route to an address. */
function checkSubnets(report: Report, draft: Draft, subnets: Subnets): boolean {
  list<Prefix>(draft, 'address').forEach((prefix, i) => {
    const sorted = subnets[prefix.ip.length]!;
    const at = countBefore(sorted, firstOf(prefix));
    const other = [sorted[at - 1], sorted[at]].find(near => near && overlaps(near.prefix, prefix));
    if (other === undefined) return;
    const rule = `overlaps ${formatPrefix(other.prefix)} of server '${other.draft.section.name}'`;
    refuseItem(report, draft, rule, 'address', i);
  });
  return !draft.bad;
}

function takeSubnets(draft: Draft, subnets: Subnets): void {
  for (const prefix of list<Prefix>(draft, 'address')) {
    const [sorted, first] = [subnets[prefix.ip.length]!, firstOf(prefix)];
    sorted.splice(countBefore(sorted, first), 0, { draft, prefix, first });
  }
}

function checkListener(report: Report, draft: Draft, ports: Map<unknown, Listener[]>): boolean {
  const local = draft.values.get('local') as Ip | undefined;
  const protos = list<string>(draft, 'proto').flatMap(proto => {
    const transport = proto.slice(0, 3);
    if (local !== undefined) return [`${transport}${local.length === 4 ? 4 : 6}`];
    return proto === transport ? [`${transport}4`, `${transport}6`] : [proto];
  });
  const listener: Listener = { draft, protos, local, bindDevice: draft.values.get('bind_device') };
  const port = draft.values.get('port');
  const others = ports.get(port) ?? [];
  const other = others.find(candidate => overlap(candidate, listener));
  if (other !== undefined) {
    const name = other.draft.section.name;
    refuse(report, draft, `server '${name}' listens on the same address and port ${port}`, 'port');
    return false;
  }
  others.push(listener);
  ports.set(port, others);
  return true;
}

function overlap(a: Listener, b: Listener): boolean {
  if (!a.protos.some(proto => b.protos.includes(proto))) return false;
  const anyOf = (ip: Ip | undefined) => ip === undefined || ip.every(byte => byte === 0);
  if (!anyOf(a.local) && !anyOf(b.local) && ipKey(a.local!) !== ipKey(b.local!)) return false;
  // Sockets bound to different devices never compete; one without a device takes part everywhere.
  return a.bindDevice === undefined || b.bindDevice === undefined || a.bindDevice === b.bindDevice;
}

interface Taken {
  readonly names: Map<string, Draft>;
  readonly addresses: Map<string, Draft>;
  readonly routes: Map<string, Draft>;
}

/** Peers against the servers they name and against each other. `drafts` are all sections. */
export function checkPeers(report: Report, drafts: readonly Draft[]): void {
  const tunnels = new Map(
    drafts.filter(d => d.type === 'server' || d.type === 'client').map(d => [d.section.name, d]),
  );
  const taken = new Map<Draft, Taken>();
  for (const draft of drafts) {
    if (draft.type !== 'peer' || !draft.values.has('tunnel')) continue;
    const server = tunnels.get(draft.values.get('tunnel') as string);
    if (server === undefined) {
      const near = nearest(draft.values.get('tunnel') as string, [...tunnels.keys()]);
      const hint = near === undefined ? '' : `; did you mean ${near}?`;
      refuse(report, draft, `there is no such server${hint}`, 'tunnel');
    } else if (server.type !== 'server') {
      refuse(report, draft, 'is a client, not a server', 'tunnel');
    } else if (modeOf(server) === 'p2p') {
      refuse(report, draft, 'is in mode p2p, which has no peer sections', 'tunnel');
    } else if (!server.bad) {
      const seen = taken.get(server) ?? { names: new Map(), addresses: new Map(), routes: new Map() };
      taken.set(server, seen);
      checkPeerAddresses(report, draft, server);
      checkTaken(report, draft, seen);
    }
  }
}

function checkPeerAddresses(report: Report, draft: Draft, server: Draft): void {
  const subnets = list<Prefix>(server, 'address');
  const families = new Set<number>();
  list<Ip>(draft, 'address').forEach((ip, i) => {
    const subnet = subnets.find(candidate => contains(candidate, ip));
    if (families.has(ip.length))
      refuseItem(report, draft, `is a second ${familyName(ip)} address`, 'address', i);
    else if (subnet === undefined) {
      refuseItem(report, draft, `is not in ${subnets.map(formatPrefix).join(' or ')}`, 'address', i);
    } else if (ipKey(subnet.ip) === ipKey(ip)) {
      refuseItem(report, draft, 'is the address of the server', 'address', i);
    } else if (isReserved(subnet, ip)) refuseItem(report, draft, 'is no address for a host', 'address', i);
    families.add(ip.length);
  });
  if (families.size > 0 && server.values.get('duplicate_cn') === true) {
    refuse(report, draft, 'cannot be fixed while the server has duplicate_cn', 'address');
  }
}

/** What one peer has, no other peer of the server may have. A refused peer takes nothing. */
function checkTaken(report: Report, draft: Draft, taken: Taken): void {
  if (draft.bad) return;
  const claim = (map: Map<string, Draft>, key: string, option: string, index: number) => {
    const other = map.get(key);
    if (other !== undefined)
      refuseItem(report, draft, `peer '${other.section.name}' has the same`, option, index);
    return () => map.set(key, draft);
  };
  const claims = [
    claim(taken.names, draft.values.get('common_name') as string, 'common_name', 0),
    ...list<Ip>(draft, 'address').map((ip, i) => claim(taken.addresses, ipKey(ip), 'address', i)),
    ...list<Prefix>(draft, 'route').map((prefix, i) => claim(taken.routes, formatPrefix(prefix), 'route', i)),
  ];
  if (!draft.bad) for (const take of claims) take();
}
