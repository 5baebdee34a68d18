// SPDX-License-Identifier: Apache-2.0
// Configuration records as the core wants them: options for its endpoints and the texts they send.

import { formatIp } from '../core/address.ts';
import type { ClientOptions } from '../core/clientstate.ts';
import type { ExpectedIdentity, ExpectedName } from '../core/identity.ts';
import { TUN_MTU_MAX } from '../core/limits.ts';
import type { LoginOptions } from '../core/login.ts';
import type { WantedAddress, WantedNetwork, WantedRoute } from '../core/network.ts';
import { buildOptions } from '../core/options.ts';
import { IV_PROTO_P2P } from '../core/p2p.ts';
import {
  buildPeerInfo,
  IV_PROTO_AUTH_FAIL_TEMP,
  IV_PROTO_AUTH_PENDING,
  IV_PROTO_CC_EXIT,
  IV_PROTO_DATA_V2,
  IV_PROTO_DYN_TLS_CRYPT,
  IV_PROTO_EPOCH,
  IV_PROTO_PUSH_UPDATE,
  IV_PROTO_REQUEST_PUSH,
  IV_PROTO_TLS_EKM,
} from '../core/peerinfo.ts';
import type { PlaneCapabilities } from '../core/plane.ts';
import type { ServerOptions } from '../core/server.ts';
import type { PlaneMode } from '../plane/plane.ts';
import type { ClientConfig, OwnAddress, ServerConfig } from '../uci/config.ts';
import type { Login } from './material.ts';
import { VERSION } from './version.ts';
import type { WrapFiles } from './wrapfiles.ts';

function occ(config: ServerConfig | ClientConfig, transport: 'udp' | 'tcp'): string {
  return buildOptions({
    role: config.role,
    transport,
    tunMtu: config.tunMtu,
    tlsAuth: config.tlsAuth !== undefined,
    keyDirection: config.keyDirection,
    digest: config.tlsAuthDigest,
  });
}

/** `name:...`, `name-prefix:...` or a whole subject. */
function expectedName(text: string): ExpectedName {
  const match = /^(subject|name|name-prefix):(.*)$/s.exec(text);
  return match === null
    ? { type: 'subject', text }
    : { type: match[1] as ExpectedName['type'], text: match[2]! };
}

const plainFingerprint = (text: string): string => text.replace(/:/g, '').toLowerCase();

/** What the certificate of the other side must be; on a server without `ca` also one of its peers' will do. */
function expected(config: ServerConfig | ClientConfig): ExpectedIdentity | undefined {
  const { peerFingerprint, verifyX509Name } = config;
  const asked = config.role === 'client' ? 'require' : config.verifyClientCert;
  // Where no certificate is asked for the login alone tells who it is.
  if (asked === 'none') return undefined;
  const ca = config.ca ?? config.pkcs12;
  const peers =
    config.role === 'server' && ca === undefined ? config.peers.flatMap(peer => peer.fingerprint ?? []) : [];
  const fingerprints = new Set([...peerFingerprint, ...peers].map(plainFingerprint));
  const byFingerprint = peerFingerprint.length > 0 || ca === undefined;
  if (!byFingerprint && verifyX509Name === undefined) return undefined;
  return {
    ...(byFingerprint && { fingerprints }),
    ...(verifyX509Name !== undefined && { name: expectedName(verifyX509Name) }),
    ...(asked === 'optional' && { optional: true }),
  };
}

function login(config: ServerConfig): LoginOptions | undefined {
  if (config.auth === 'none') return undefined;
  if (config.auth === 'ubus') return {};
  const enabled = config.users.filter(user => user.enabled);
  return {
    users: new Map(enabled.map(user => [user.name, `${user.passwordHash} ${user.totpSecret ?? ''}`])),
  };
}

/** What a data plane is made for. */
export function planeMode(config: ServerConfig | ClientConfig): PlaneMode {
  return config.role === 'server' && config.mode === 'multi' ? 'mp' : 'p2p';
}

export function serverOptions(
  config: ServerConfig,
  { wrap, clientKeys }: WrapFiles,
  capabilities: PlaneCapabilities,
): ServerOptions {
  const push = [
    ...config.pushDns.map(ip => `dhcp-option DNS ${formatIp(ip)}`),
    ...config.pushDomain.map(domain => `dhcp-option DOMAIN ${domain}`),
    ...(config.redirectGateway ? [redirectOption(config)] : []),
    ...config.pushOption,
  ];
  const identity = expected(config);
  const logins = login(config);
  const isP2p = config.mode === 'p2p';
  return {
    wrap,
    ...(clientKeys && { clientKeys }),
    ...(identity && { expected: identity }),
    ...(logins && { login: logins }),
    namesByLogin: config.verifyClientCert !== 'require',
    ...(isP2p && {
      p2p: {
        peerInfo: peerInfoP2p(config, capabilities),
        peerIps: config.address.flatMap(({ peer }) => (peer === undefined ? [] : [peer])),
      },
    }),
    capabilities,
    addresses: isP2p ? [] : config.address,
    peers: config.peers.map(peer => ({
      name: peer.name,
      enabled: peer.enabled,
      commonName: peer.commonName,
      ...(peer.fingerprint !== undefined && { fingerprint: plainFingerprint(peer.fingerprint) }),
      addresses: peer.address,
      routes: peer.route,
    })),
    maxClients: Math.min(config.maxClients, capabilities.maxPeers),
    duplicateCn: config.duplicateCn,
    ciphers: config.dataCiphers,
    push,
    pushRoutes: config.pushRoute,
    ping: config.keepalive.ping,
    pingRestart: config.keepalive.pingRestart,
    handWindowS: config.handWindow,
    renegS: config.renegSec,
    rekeyAfter: { packets: config.renegPkts, bytes: config.renegBytes },
    tunMtu: config.tunMtu,
    occ: occ(config, 'udp'),
    occTcp: occ(config, 'tcp'),
    explicitExitNotify: config.explicitExitNotify > 0,
    network: serverNetwork(config, capabilities),
  };
}

/** For the families that the tunnel has; def1 leaves a client's own default route in place. */
function redirectOption(config: ServerConfig): string {
  const has = (width: number): boolean => config.address.some(own => own.ip.length === width);
  return `redirect-gateway def1${has(16) ? ' ipv6' : ''}${has(4) ? '' : ' !ipv4'}`;
}

function wantedAddress({ ip, bits, peer }: OwnAddress): WantedAddress {
  return { address: { ip, bits }, ...(peer && { peer }) };
}

/** Above that of a route to a peer which the plane installs while the peer is there. */
const COVERING_METRIC = 200;

/** A server's network never changes: own addresses, every network behind a configured peer, and its own routes. */
function serverNetwork(config: ServerConfig, capabilities: PlaneCapabilities): WantedNetwork {
  // Also where the plane has routes of its own: without its peer a network must not be looked for elsewhere.
  const metric = capabilities.ownsPeerRoutes ? COVERING_METRIC : 0;
  const routes: WantedRoute[] = config.peers
    .filter(peer => peer.enabled)
    .flatMap(peer => peer.route.map(destination => ({ destination, metric })));
  routes.push(...config.route.map(destination => ({ destination, metric: config.metric })));
  return {
    device: config.device,
    mtu: config.tunMtu,
    addresses: config.address.map(wantedAddress),
    routes,
    outside: [],
    dns: { servers: [], domains: [] },
  };
}

/** What we can do, and nothing more: each bit is a promise to the server. */
const IV_PROTO =
  IV_PROTO_DATA_V2 |
  IV_PROTO_REQUEST_PUSH |
  IV_PROTO_TLS_EKM |
  IV_PROTO_AUTH_PENDING |
  IV_PROTO_CC_EXIT |
  IV_PROTO_AUTH_FAIL_TEMP |
  IV_PROTO_DYN_TLS_CRYPT |
  IV_PROTO_PUSH_UPDATE;

/** With what only some data planes can. */
function protoText(bits: number, { epoch }: PlaneCapabilities): string {
  return String(epoch ? bits | IV_PROTO_EPOCH : bits);
}

function peerInfo(config: ClientConfig, capabilities: PlaneCapabilities): string {
  const ciphers = config.dataCiphers;
  const hasNcp2 = ciphers.includes('AES-256-GCM') && ciphers.includes('AES-128-GCM');
  return buildPeerInfo([
    ['IV_VER', `ovpnd_${VERSION}`],
    ['IV_PLAT', 'linux'],
    ['IV_TCPNL', '1'],
    ['IV_MTU', String(TUN_MTU_MAX)],
    ...(hasNcp2 ? ([['IV_NCP', '2']] as const) : []),
    ['IV_CIPHERS', ciphers.join(':')],
    ['IV_PROTO', protoText(IV_PROTO, capabilities)],
  ]);
}

/** What stock peers tell each other without --pull, no more. */
function peerInfoP2p(config: ServerConfig | ClientConfig, capabilities: PlaneCapabilities): string {
  return buildPeerInfo([
    ['IV_CIPHERS', config.dataCiphers.join(':')],
    ['IV_PROTO', protoText(IV_PROTO_P2P, capabilities)],
  ]);
}

const FAMILY = { udp: 0, udp4: 4, udp6: 6, tcp: 0, tcp4: 4, tcp6: 6 } as const;

export function clientOptions(
  config: ClientConfig,
  { wrap, login: ours }: WrapFiles & { readonly login?: Login },
  capabilities: PlaneCapabilities,
): ClientOptions {
  const identity = expected(config);
  return {
    wrap,
    ...(identity && { expected: identity }),
    ...ours,
    capabilities,
    remotes: config.remote.map(({ host, port, proto }) => ({
      host,
      port,
      family: FAMILY[proto],
      tcp: proto.startsWith('tcp'),
    })),
    remoteRandom: config.remoteRandom,
    ciphers: config.dataCiphers,
    handWindowS: config.handWindow,
    renegS: config.renegSec,
    rekeyAfter: { packets: config.renegPkts, bytes: config.renegBytes },
    ping: config.keepalive.ping,
    pingRestart: config.keepalive.pingRestart,
    retryFirstS: config.connectRetry.first,
    retryMaxS: config.connectRetry.max,
    pollTimeoutS: config.serverPollTimeout,
    tunMtu: config.tunMtu,
    occ: occ(config, 'udp'),
    occTcp: occ(config, 'tcp'),
    peerInfo: config.mode === 'p2p' ? peerInfoP2p(config, capabilities) : peerInfo(config, capabilities),
    ...(config.mode === 'p2p' && { ownAddresses: config.address.map(wantedAddress) }),
    device: config.device,
    routes: config.route,
    routeNopull: config.routeNopull,
    pullDns: config.pullDns,
    redirectGateway: config.redirectGateway,
    killSwitch: config.killSwitch,
    metric: config.metric,
    explicitExitNotify: config.explicitExitNotify > 0,
  };
}
