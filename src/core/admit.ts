// SPDX-License-Identifier: Apache-2.0
// Letting a client in: who it is by its certificate, which cipher and addresses it gets, what it is told. Ends
// in peer and key state for the plane and a push reply, in that order.

import { formatEndpoint, formatIp, type Ip, netmask, type Prefix, sameIp } from './address.ts';
import { deferralMs, installFirst, wipeSources } from './datakeys.ts';
import { notify, type Outbox } from './event.ts';
import { REFUSED_RETRY_S } from './limits.ts';
import { tokenLines } from './login.ts';
import { readOptions, unusableFraming } from './options.ts';
import { type Agreement, agree } from './p2p.ts';
import {
  IV_PROTO_CC_EXIT,
  IV_PROTO_DATA_V2,
  IV_PROTO_DYN_TLS_CRYPT,
  IV_PROTO_EPOCH,
  IV_PROTO_PUSH_UPDATE,
  IV_PROTO_REQUEST_PUSH,
  IV_PROTO_TLS_EKM,
  parsePeerInfo,
  peerCiphers,
  peerProto,
  selectCipher,
} from './peerinfo.ts';
import { PEER_ID_UNDEF, type PlaneCommand } from './plane.ts';
import { type Pool, releaseAddress, takeAddress } from './pool.ts';
import { later, type Refusal } from './refusal.ts';
import { type FixedPeer, type ServerState, silenceS } from './server.ts';
import { leavePlane, NONE, push, type ServerPeer } from './serverpeer.ts';
import { introduce, type KeyState } from './session.ts';
import { agreeDynamicWrap } from './sessionpacket.ts';
import { printable } from './text.ts';

export interface Identity {
  readonly name: string;
  readonly commonName: string;
  /** SHA-256 of its certificate, lower-case hex; undefined: it has none. */
  readonly fingerprint: string | undefined;
  readonly fixed: FixedPeer | undefined;
}

/** Who the certificate says it is; TLS has verified the certificate. */
export function identify(state: ServerState, key: KeyState): Identity | Refusal {
  const certificate = key.tls.peerCertificate();
  const { namesByLogin, p2p, peers } = state.options;
  const fingerprint = certificate?.fingerprint;
  // Whose certificate is configured is that peer, whatever the certificate calls it.
  const owner = peers.find(peer => peer.fingerprint !== undefined && peer.fingerprint === fingerprint);
  const commonName =
    owner?.commonName || certificate?.commonName || (namesByLogin ? (key.remote?.username ?? '') : '');
  // There is but one: it needs no name to be told from others.
  if (p2p !== undefined)
    return { name: printable(commonName) || 'peer', commonName, fingerprint, fixed: undefined };
  if (commonName === '') return { reason: 'its certificate has no common name', text: 'AUTH_FAILED' };
  const fixed = owner ?? peers.find(peer => peer.commonName === commonName);
  if (fixed?.fingerprint !== undefined && fixed.fingerprint !== fingerprint) {
    return {
      reason: `its certificate is not the one of peer '${fixed.name}' (fingerprint)`,
      text: 'AUTH_FAILED',
    };
  }
  if (fixed?.enabled === false) {
    return { reason: `peer '${fixed.name}' is disabled`, text: 'AUTH_FAILED,disabled by the administrator' };
  }
  const name = fixed?.name ?? printable(commonName);
  return { name, commonName, fingerprint, fixed };
}

/** What the client's peer info lets us choose, and tell it. */
interface Choice extends Agreement {
  readonly options: readonly string[];
  readonly pushNow: boolean;
  readonly takesUpdates: boolean;
}

/** Makes the peer connected, or says why not. */
export function admit(
  state: ServerState,
  peer: ServerPeer,
  identity: Identity,
  now: number,
  out: Outbox,
): Refusal | undefined {
  const { options, deps } = state;
  const { p2p } = options;
  const key = peer.session.current;
  if (state.byId.size >= options.maxClients) {
    return {
      reason: `max_clients ${options.maxClients} reached`,
      ...later(key, 'too many clients', REFUSED_RETRY_S),
    };
  }
  const choice = p2p === undefined ? choose(state, key, freeId(state.byId)) : choosePeer(state, peer);
  if ('reason' in choice) return choice;
  const { peerId } = choice;
  const vpnIps = p2p?.peerIps ?? takeAddresses(state, identity);
  if (vpnIps === undefined) {
    return { reason: 'no free tunnel address', ...later(key, 'no free address', REFUSED_RETRY_S) };
  }
  const routes = identity.fixed?.routes ?? NONE;
  const keepalive = { intervalS: options.ping, timeoutS: silenceS(options) };
  // Needed to tell peers apart.
  const vpnIp4 = p2p ? undefined : vpnIps.find(ip => ip.length === 4);
  const vpnIp6 = p2p ? undefined : vpnIps.find(ip => ip.length === 16);
  const { path } = peer;
  // From here on whatever happens gives them back.
  peer.vpnIps = vpnIps.map(formatIp);
  const deferMs = deferralMs(options.handWindowS, options.renegS);
  const { cipher, derivation, format } = choice;
  const { rekeyAfter } = options;
  const chosen = { peerId, cipher, derivation, format, deferMs, rekeyAfter };
  const commands: PlaneCommand[] = [];
  const keys = installFirst(peer.session, chosen, commands);
  if (keys === undefined) {
    leavePlane(state, peer, out);
    return { reason: 'no usable data key' };
  }
  peer.peerId = peerId;
  state.byId.set(peerId, peer);
  out.plane.push(
    {
      op: 'addPeer',
      peer: {
        peerId,
        path,
        format: choice.packets,
        routes,
        keepalive,
        ...(vpnIp4 && { vpnIp4 }),
        ...(vpnIp6 && { vpnIp6 }),
      },
    },
    ...commands,
  );
  if (choice.dynamicWrap) agreeDynamicWrap(peer.session);
  const { ccExit } = choice;
  Object.assign(peer, {
    keys,
    ccExit,
    routes,
    state: 'connected',
    connectedAtS: deps.wallS(),
  });
  introduce(peer.session, key);
  wipeSources(key);
  if (p2p === undefined) {
    peer.told = pushOptions(state, peer).join();
    peer.toldOnce = [...tokenLines(state, peer), ...choice.options].join();
    peer.takesUpdates = choice.takesUpdates;
  }
  if (choice.pushNow) push(peer, now);
  const where = vpnIps.length === 0 ? '' : `${peer.vpnIps.join(' ')}, `;
  const text = `${peer.name} connected from ${formatEndpoint(path.remote)}: ${where}${cipher}, ${key.tls.description()}`;
  notify(out, 'info', text, { peer: peer.name, action: 'connected' });
  return undefined;
}

/** Of the ids up to the number of peers at least one is free, mostly near the upper end. */
function freeId(byId: ReadonlyMap<number, unknown>): number {
  let id = byId.size;
  while (byId.has(id)) id--;
  return id;
}

function choosePeer({ options }: ServerState, { session }: ServerPeer): Choice | Refusal {
  const agreed = agree(session, options.ciphers, options.capabilities);
  return typeof agreed === 'string'
    ? { reason: agreed, text: 'AUTH_FAILED' }
    : { ...agreed, options: [], pushNow: false, takesUpdates: false };
}

function choose(state: ServerState, key: KeyState, peerId: number): Choice | Refusal {
  const { options } = state;
  const message = key.remote!;
  const info = parsePeerInfo(message.peerInfo);
  const occ = readOptions(message.options);
  const unusable = unusableFraming(occ);
  if (unusable !== undefined) return { reason: `it uses ${unusable}`, text: `AUTH_FAILED,${unusable}` };
  const offered = peerCiphers(info, occ.cipher);
  const cipher = selectCipher(options.ciphers, offered);
  if (cipher === undefined) {
    const theirs = offered.length > 0 ? printable(offered.join(':').slice(0, 100)) : 'none named';
    return {
      reason: `no common data cipher: it offers ${theirs}, data_ciphers has ${options.ciphers.join(':')}`,
      text: 'AUTH_FAILED,Data channel cipher negotiation failed (no shared cipher)',
    };
  }
  const proto = peerProto(info);
  const has = (bit: number): boolean => (proto & bit) !== 0;
  const isV2 = has(IV_PROTO_DATA_V2) && peerId < PEER_ID_UNDEF;
  if (!isV2 && !options.capabilities.dataV1) {
    return { reason: 'it does not know P_DATA_V2, which this data plane needs', text: 'AUTH_FAILED' };
  }
  const lines: string[] = isV2 ? [`peer-id ${peerId}`] : [];
  if (info.has('IV_CIPHERS') || info.has('IV_NCP')) lines.push(`cipher ${cipher}`);
  const ekm = has(IV_PROTO_TLS_EKM);
  // Who knows the flags at all knows this one.
  const flags = has(IV_PROTO_CC_EXIT) ? ['cc-exit'] : [];
  if (flags.length > 0 && ekm) flags.push('tls-ekm');
  if (flags.length > 0 && has(IV_PROTO_DYN_TLS_CRYPT)) flags.push('dyn-tls-crypt');
  const epoch = flags.length > 0 && isV2 && has(IV_PROTO_EPOCH) && options.capabilities.epoch;
  if (epoch) flags.push('aead-epoch');
  if (flags.length > 0) lines.push(`protocol-flags ${flags.join(' ')}`);
  else if (ekm) lines.push('key-derivation tls-ekm');
  if (info.has('IV_MTU')) lines.push(`tun-mtu ${options.tunMtu}`);
  return {
    cipher,
    derivation: ekm ? 'tls-ekm' : 'tls1-prf',
    peerId,
    ccExit: flags.includes('cc-exit'),
    options: lines,
    dynamicWrap: flags.includes('dyn-tls-crypt'),
    packets: isV2 ? 'v2' : 'v1',
    format: epoch ? 'aead-epoch' : 'aead',
    pushNow: has(IV_PROTO_REQUEST_PUSH),
    takesUpdates: has(IV_PROTO_PUSH_UPDATE),
  };
}

/** One address of each family the server has: the configured one, else from the pool. */
function takeAddresses(state: ServerState, identity: Identity): Ip[] | undefined {
  const taken: { pool: Pool; ip: Ip }[] = [];
  const result: Ip[] = [];
  for (const [i, own] of state.options.addresses.entries()) {
    const pool = state.pools[i]!;
    const fixed = identity.fixed?.addresses.find(ip => ip.length === own.ip.length);
    const isInUse = fixed !== undefined && holds(state, fixed);
    const ip = fixed !== undefined && !isInUse ? fixed : takeAddress(pool, identity.commonName);
    if (ip === undefined) {
      for (const one of taken) releaseAddress(one.pool, one.ip);
      return undefined;
    }
    if (ip !== fixed) taken.push({ pool, ip });
    result.push(ip);
  }
  return result;
}

/** Whether a connected peer has the address: with duplicate_cn the second one gets another from the pool. */
function holds(state: ServerState, ip: Ip): boolean {
  const text = formatIp(ip);
  for (const peer of state.byId.values()) if (peer.vpnIps.includes(text)) return true;
  return false;
}

/** What a peer is told of the network: the lines of a push reply that can change while it is connected. */
export function pushOptions(state: ServerState, peer: ServerPeer): string[] {
  const { options } = state;
  const lines = [...options.push];
  for (const route of options.pushRoutes) {
    if (!peer.routes.some(own => own.bits === route.bits && sameIp(own.ip, route.ip)))
      lines.push(routeLine(route));
  }
  lines.push('topology subnet', `ping ${options.ping}`, `ping-restart ${options.pingRestart}`);
  for (const own of options.addresses) {
    const ip = peer.vpnIps.find(candidate => candidate.includes(':') === (own.ip.length === 16));
    if (ip === undefined) continue;
    if (own.ip.length === 16) {
      lines.push('tun-ipv6', `ifconfig-ipv6 ${ip}/${own.bits} ${formatIp(own.ip)}`);
    } else {
      lines.push(`route-gateway ${formatIp(own.ip)}`, `ifconfig ${ip} ${netmask(own.bits)}`);
    }
  }
  return lines;
}

function routeLine(route: Prefix): string {
  return route.ip.length === 4
    ? `route ${formatIp(route.ip)} ${netmask(route.bits)}`
    : `route-ipv6 ${formatIp(route.ip)}/${route.bits}`;
}
