// SPDX-License-Identifier: Apache-2.0
// The options a server may push to a client, one reader each: a table from name to reader. What has no reader here
// cannot be pushed. Numbers are clamped, lists are bounded.

import { maskBits, network, type Prefix, parseIp, parsePrefix } from './address.ts';
import {
  CIPHER_NAME_MAX,
  EXIT_NOTIFY_MAX,
  IFCONFIG6_BITS_LEAST,
  IFCONFIG6_BITS_MAX,
  METRIC_MAX,
  PEER_ID_MAX,
  PING_MAX_S,
  PUSHED_ROUTES_MAX,
  SESSION_MAX_S,
  TUN_MTU_LEAST,
  TUN_MTU_MAX,
} from './limits.ts';
import { readDhcpOption, readDns } from './pushdns.ts';
import type { PushDraft, PushedOptions, Reading, RouteGateway } from './pushreply.ts';
import { decimal, isHost, isUnroutable } from './values.ts';

type Reader = (words: readonly string[], draft: PushDraft, option: string) => Reading;

const NO_NUMBER = 'not a number in range';
const NO_ADDRESS = 'not an address';

type Timer = 'ping' | 'pingRestart' | 'pingExit' | 'sessionTimeout';

function timer(field: Timer, max = PING_MAX_S): Reader {
  return (words, { out }) => {
    const seconds = decimal(words[0], Number.MAX_SAFE_INTEGER);
    if (seconds === undefined) return NO_NUMBER;
    out[field] = Math.min(seconds, max);
    return undefined;
  };
}

function word(field: 'keyDerivation' | 'authToken' | 'authTokenUser'): Reader {
  return (words, { out }) => {
    if (!words[0]) return 'it has no argument';
    out[field] = words[0];
    return undefined;
  };
}

function readTopology(words: readonly string[], { out }: PushDraft): Reading {
  const topology = words[0];
  // The address cannot be understood without it.
  if (topology !== 'net30' && topology !== 'p2p' && topology !== 'subnet') {
    return { refuse: 'unknown topology' };
  }
  out.topology = topology;
  return undefined;
}

function readIfconfig6(words: readonly string[], { out }: PushDraft): Reading {
  const address = parsePrefix(words[0] ?? '');
  const remote = parseIp(words[1] ?? '');
  if (address?.ip.length !== 16 || remote?.length !== 16)
    return { refuse: 'not an IPv6 network and address' };
  if (!isHost(address.ip)) return { refuse: 'not the address of a host' };
  if (address.bits < IFCONFIG6_BITS_LEAST || address.bits > IFCONFIG6_BITS_MAX) {
    // OpenVPN goes on without IPv6 here, so servers with such a line exist.
    return `the prefix length is not ${IFCONFIG6_BITS_LEAST}..${IFCONFIG6_BITS_MAX}`;
  }
  out.ifconfig6 = { address, remote };
  return undefined;
}

/** False when the text is no gateway of this family; undefined when it names none. */
function readGateway(text: string | undefined, width: number): RouteGateway | undefined | false {
  if (text === undefined || text === 'default') return undefined;
  if (text === 'vpn_gateway' || text === 'net_gateway' || text === 'remote_host') return text;
  const ip = parseIp(text);
  return ip?.length === width ? ip : false;
}

function addRoute(out: PushedOptions, destination: Prefix | undefined, rest: readonly string[]): Reading {
  if (destination === undefined) return 'the destination is no network';
  if (isUnroutable(destination)) return 'the destination cannot lie behind a tunnel';
  const gateway = readGateway(rest[0], destination.ip.length);
  if (gateway === false) return 'the gateway is no address';
  const own = rest[1] !== undefined && rest[1] !== 'default';
  const metric = own ? decimal(rest[1], METRIC_MAX) : undefined;
  if (own && metric === undefined) return 'the metric is no number in range';
  if (out.routes.length >= PUSHED_ROUTES_MAX) return `more than ${PUSHED_ROUTES_MAX} routes`;
  out.routes.push({
    destination: network(destination),
    gateway,
    ...(metric !== undefined ? { metric } : {}),
  });
  return undefined;
}

function readRoute(words: readonly string[], { out }: PushDraft): Reading {
  const ip = parseIp(words[0] ?? '');
  const mask = words[1];
  const bits = mask === undefined || mask === 'default' ? 32 : maskBits(mask);
  const isRead = ip?.length === 4 && bits !== undefined;
  return addRoute(out, isRead ? { ip, bits } : undefined, words.slice(2));
}

function readRoute6(words: readonly string[], { out }: PushDraft): Reading {
  const prefix = parsePrefix(words[0] ?? '');
  return addRoute(out, prefix?.ip.length === 16 ? prefix : undefined, words.slice(1));
}

function readRouteGateway(words: readonly string[], { out }: PushDraft): Reading {
  const ip = parseIp(words[0] ?? '');
  if (ip?.length !== 4 || !isHost(ip)) return NO_ADDRESS;
  out.routeGateway = ip;
  return undefined;
}

function readRouteMetric(words: readonly string[], { out }: PushDraft): Reading {
  const metric = decimal(words[0], METRIC_MAX);
  if (metric === undefined) return NO_NUMBER;
  out.routeMetric = metric;
  return undefined;
}

const REDIRECT_FLAGS = new Set([
  'def1',
  'local',
  'autolocal',
  'bypass-dhcp',
  'bypass-dns',
  'block-local',
  'ipv6',
  '!ipv4',
]);

function readRedirect(words: readonly string[], { out }: PushDraft): Reading {
  const flags = out.redirectGateway ?? [];
  out.redirectGateway = flags;
  for (const flag of words) {
    // As in OpenVPN, the flags before an unknown one stay.
    if (!REDIRECT_FLAGS.has(flag)) return 'unknown flag';
    if (!flags.includes(flag)) flags.push(flag);
  }
  return undefined;
}

function readPeerId(words: readonly string[], { out }: PushDraft): Reading {
  const id = decimal(words[0], PEER_ID_MAX);
  if (id === undefined) return { refuse: NO_NUMBER };
  out.peerId = id;
  return undefined;
}

function readCipher(words: readonly string[], { out }: PushDraft): Reading {
  const name = words[0] ?? '';
  if (name.length > CIPHER_NAME_MAX || !/^[A-Za-z0-9-]+$/.test(name)) return { refuse: 'not a cipher name' };
  out.cipher = name;
  return undefined;
}

function readTunMtu(words: readonly string[], { out }: PushDraft): Reading {
  const mtu = decimal(words[0], 65536);
  if (mtu === undefined || mtu < TUN_MTU_LEAST) return NO_NUMBER;
  out.tunMtu = Math.min(mtu, TUN_MTU_MAX);
  return mtu > TUN_MTU_MAX ? `taken as ${TUN_MTU_MAX}` : undefined;
}

function readInactive(words: readonly string[], { out }: PushDraft): Reading {
  const seconds = decimal(words[0], Number.MAX_SAFE_INTEGER);
  const bytes = words[1] === undefined ? 0 : decimal(words[1], Number.MAX_SAFE_INTEGER);
  if (seconds === undefined || bytes === undefined) return NO_NUMBER;
  out.inactive = { seconds: Math.min(seconds, SESSION_MAX_S), bytes };
  return undefined;
}

function readExitNotify(words: readonly string[], { out }: PushDraft): Reading {
  const times = words[0] === undefined ? 1 : decimal(words[0], Number.MAX_SAFE_INTEGER);
  if (times === undefined) return NO_NUMBER;
  out.explicitExitNotify = Math.min(times, EXIT_NOTIFY_MAX);
  return undefined;
}

/** Every other word would put a byte before each packet, or compress: neither is done here. */
function readCompression(words: readonly string[], { out }: PushDraft, option: string): Reading {
  if (words[0] === 'migrate') return 'a word for servers';
  // Framing only for packets that begin with 0x50, which no IP packet does.
  if (words[0] === 'stub-v2') return undefined;
  out.compression = option;
  return { refuse: 'compression is not supported' };
}

function readDevice(words: readonly string[]): Reading {
  return words[0]?.startsWith('tap')
    ? { refuse: 'layer-2 tunnels are not supported' }
    : 'not an option a server may set';
}

export const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['topology', readTopology],
  [
    'ifconfig',
    (words, draft) => {
      draft.ifconfig = words;
      return undefined;
    },
  ],
  ['ifconfig-ipv6', readIfconfig6],
  ['route', readRoute],
  ['route-ipv6', readRoute6],
  ['route-gateway', readRouteGateway],
  ['route-metric', readRouteMetric],
  ['redirect-gateway', readRedirect],
  [
    'block-ipv6',
    (_words, { out }) => {
      out.blockIpv6 = true;
      return undefined;
    },
  ],
  ['dhcp-option', (words, { dns }) => readDhcpOption(words, dns)],
  ['dns', (words, { dns }) => readDns(words, dns)],
  ['ping', timer('ping')],
  ['ping-restart', timer('pingRestart')],
  ['ping-exit', timer('pingExit')],
  ['session-timeout', timer('sessionTimeout', SESSION_MAX_S)],
  ['inactive', readInactive],
  ['explicit-exit-notify', readExitNotify],
  ['peer-id', readPeerId],
  ['cipher', readCipher],
  [
    'protocol-flags',
    (words, { out }) => {
      for (const flag of words) out.protocolFlags.add(flag);
      return undefined;
    },
  ],
  ['key-derivation', word('keyDerivation')],
  ['tun-mtu', readTunMtu],
  ['auth-token', word('authToken')],
  ['auth-token-user', word('authTokenUser')],
  ['compress', readCompression],
  ['comp-lzo', readCompression],
  ['dev', readDevice],
  ['dev-type', readDevice],
]);

/** Options many servers push that mean nothing here: not worth a line in the log. */
export const UNUSED: ReadonlySet<string> = new Set([
  'block-outside-dns',
  'client-id',
  'client-nat',
  'dhcp-release',
  'dhcp-renew',
  'echo',
  'ip-win32',
  'mute',
  'parameter',
  'persist-key',
  'persist-tun',
  'ping-timer-rem',
  'push-continuation',
  'rcvbuf',
  'register-dns',
  'route-delay',
  'route-method',
  'setenv-safe',
  'shaper',
  'sndbuf',
  'socket-flags',
  'tap-sleep',
  'tun-ipv6',
  'verb',
]);
