// SPDX-License-Identifier: Apache-2.0
// A client takes the server's push reply and its updates: data key and peer for the plane, addresses and routes for the
// network.
// The server is not trusted: options are typed by pushreply.ts, and what changes the router beyond the tunnel's
// own addresses and routes is refused here.

import {
  contains,
  formatIp,
  formatPrefix,
  type Ip,
  network,
  type Prefix,
  parsePrefix,
  sameIp,
} from './address.ts';
import { type ClientState, type Pulled, takeToken } from './clientstate.ts';
import type { CipherName } from './crypto.ts';
import { deferralMs, installFirst } from './datakeys.ts';
import { isDrop } from './drop.ts';
import { newOutbox, notify, type Outbox } from './event.ts';
import { KEEPALIVE_NEVER_S, PUSH_OPTIONS_MAX, UPDATES_PER_MINUTE } from './limits.ts';
import type { Guard, WantedAddress, WantedNetwork, WantedRoute } from './network.ts';
import { readOptions } from './options.ts';
import { type Agreement, agree } from './p2p.ts';
import { isCipherName } from './peerinfo.ts';
import type { Keepalive, PlaneCommand } from './plane.ts';
import { collectPush, type PushedOptions, parsePush } from './pushreply.ts';
import { applyUpdate } from './pushupdate.ts';
import { beginLimits } from './sessionlimits.ts';
import { agreeDynamicWrap } from './sessionpacket.ts';
import { printable } from './text.ts';
import { isTooWide } from './values.ts';

/** Takes one part of a push reply; undefined when all is well so far, else why the connection cannot be used. */
export function onPushReply(state: ClientState, text: string, now: number, out: Outbox): string | undefined {
  const collected = collectPush(state.collector, text);
  if (collected === 'more') return undefined;
  if (isDrop(collected)) return 'malformed push reply';
  const pushed = parsePush(collected.options);
  const refused = pushed.refused[0];
  if (refused !== undefined) return `server pushed '${printable(refused.option)}': ${refused.reason}`;
  const addresses = wantedAddresses(pushed);
  if (addresses.length === 0) return 'server pushed no address';
  const cipher = chooseCipher(state, pushed);
  if (!isCipherName(cipher)) return cipher;
  for (const ignored of pushed.ignored) {
    notify(out, 'debug', `pushed '${printable(ignored.option)}' ignored: ${ignored.reason}`);
  }
  const agreed = agreedOn(state, pushed, cipher);
  if (typeof agreed === 'string') return agreed;
  return install(state, { lines: collected.options, pushed, addresses }, agreed, now, out);
}

/** What the server decided, or why we cannot do so. */
function agreedOn(state: ClientState, pushed: PushedOptions, cipher: CipherName): Agreement | string {
  const { capabilities } = state.options;
  const flags = pushed.protocolFlags;
  const isV1 = pushed.peerId === undefined;
  if (isV1 && !capabilities.dataV1) return 'server pushed no peer-id, which this data plane needs';
  const isEpoch = flags.has('aead-epoch');
  if (isEpoch && isV1) return 'server pushed aead-epoch without peer-id';
  if (isEpoch && !capabilities.epoch) return 'server pushed aead-epoch, which this data plane cannot do';
  const isEkm = flags.has('tls-ekm') || pushed.keyDerivation === 'tls-ekm';
  return {
    cipher,
    derivation: isEkm ? 'tls-ekm' : 'tls1-prf',
    packets: isV1 ? 'v1' : 'v2',
    format: isEpoch ? 'aead-epoch' : 'aead',
    peerId: pushed.peerId ?? 0,
    dynamicWrap: flags.has('dyn-tls-crypt'),
    ccExit: flags.has('cc-exit'),
  };
}

/**
 * Takes one part of an update of a connected client: the network changes, peer and keys stay. Undefined when all is well
 * so far, else why the connection must begin anew.
 */
export function onPushUpdate(state: ClientState, text: string, now: number, out: Outbox): string | undefined {
  const { lines } = state.pulled!;
  const collected = collectPush(state.updates, text, 'PUSH_UPDATE');
  if (collected === 'more') return undefined;
  if (isDrop(collected)) return 'malformed push update';
  const { updated: recent } = state;
  if (now - recent.since >= 60_000) Object.assign(recent, { since: now, count: 0 });
  if (++recent.count > UPDATES_PER_MINUTE) return `more than ${UPDATES_PER_MINUTE} push updates in a minute`;
  const updated = applyUpdate(lines, collected.options);
  if (typeof updated === 'string') return `push update: ${updated}`;
  if (updated.lines.length > PUSH_OPTIONS_MAX) return `push update: more than ${PUSH_OPTIONS_MAX} options`;
  const pushed = parsePush(updated.lines);
  const refused = pushed.refused[0];
  if (refused !== undefined) return `server pushed '${printable(refused.option)}': ${refused.reason}`;
  const addresses = wantedAddresses(pushed);
  if (addresses.length === 0) return 'push update: no address is left';
  state.pulled = { lines: updated.lines, pushed, addresses };
  want(state, wantedNetwork(state, pushed, addresses, out), out);
  notify(out, 'info', `the server changed ${updated.names.join(', ') || 'nothing'}`);
  return undefined;
}

/** Mode p2p: what the peer said of itself stands for the push reply, and our own options for the rest. */
export function onPeerIntroduced(
  state: ClientState,
  own: readonly WantedAddress[],
  now: number,
  out: Outbox,
): string | undefined {
  const { ciphers, capabilities } = state.options;
  const agreed = agree(state.session!, ciphers, capabilities);
  if (typeof agreed === 'string') return agreed;
  return install(state, { lines: [], pushed: parsePush([]), addresses: own }, agreed, now, out);
}

function chooseCipher(state: ClientState, pushed: PushedOptions): CipherName | string {
  const { ciphers } = state.options;
  const fromOptions = readOptions(state.session?.current.remote?.options ?? '').cipher;
  const name = (pushed.cipher ?? fromOptions)?.toUpperCase();
  if (name === undefined) return 'no common data cipher: the server names none';
  if (isCipherName(name) && ciphers.includes(name)) return name;
  return `no common data cipher: the server wants ${printable(name)}, data_ciphers has ${ciphers.join(':')}`;
}

function install(
  state: ClientState,
  pulled: Pulled,
  agreed: Agreement,
  now: number,
  out: Outbox,
): string | undefined {
  const { options } = state;
  const { pushed, addresses } = pulled;
  const session = state.session!;
  const path = state.path!;
  const { peerId, packets, format, cipher, derivation } = agreed;
  const ping = pushed.ping ?? options.ping;
  state.pingRestartS = pushed.pingRestart ?? pushed.pingExit ?? options.pingRestart;
  const keepalive = bothSides(ping, state.pingRestartS);
  const deferMs = deferralMs(options.handWindowS, options.renegS);
  const { rekeyAfter } = options;
  const chosen = { peerId, cipher, derivation, format, deferMs, rekeyAfter };
  const commands: PlaneCommand[] = [];
  state.keys = installFirst(session, chosen, commands);
  if (state.keys === undefined) return 'no usable data key';
  out.plane.push({ op: 'addPeer', peer: { peerId, path, format: packets, keepalive } }, ...commands);
  if (agreed.dynamicWrap) agreeDynamicWrap(session);
  if (pushed.authToken !== undefined) takeToken(state, pushed.authToken);
  state.pulled = pulled;
  want(state, wantedNetwork(state, pushed, addresses, out), out);
  state.ccExit = agreed.ccExit;
  state.limits = beginLimits(pushed, now);
  state.phase = 'connected';
  state.round = 0;
  state.pushRequestAt = undefined;
  state.pushDeadline = undefined;
  state.connectedAtS = state.deps.wallS();
  state.handshakeAt = now;
  state.lastError = '';
  const own = addresses.map(address => formatPrefix(address.address)).join(' ');
  notify(out, 'info', `connected: ${own}, ${cipher}, ${session.current.tls.description()}`, {
    action: 'connected',
  });
  return undefined;
}

function want(state: ClientState, wanted: WantedNetwork, out: Outbox): void {
  state.isGuarded = wanted.guard !== undefined;
  out.network = wanted;
}

/** The network of a connected client by its present options. */
export function renewNetwork(state: ClientState, out: Outbox): void {
  const { pulled } = state;
  // What is not followed was said when it was pushed.
  if (pulled !== undefined) {
    want(state, wantedNetwork(state, pulled.pushed, pulled.addresses, newOutbox()), out);
  }
}

/**
 * While there is no connection: the tunnel of the last one still stands, and neither what it catches nor the kill
 * switch must catch the new server's packets. `withDefault` false also takes the default route out of the tunnel, so
 * that names can be resolved.
 */
export function makeWay(state: ClientState, withDefault: boolean, out: Outbox): void {
  const { pulled, options, isGuarded } = state;
  const wanted =
    pulled === undefined
      ? idleNetwork(state)
      : wantedNetwork(state, pulled.pushed, pulled.addresses, newOutbox(), withDefault);
  const isCaught = pulled !== undefined && wanted.outside.length > 0;
  const isBack = pulled !== undefined && options.redirectGateway && !withDefault;
  if (isGuarded || wanted.guard !== undefined || isCaught || isBack) want(state, wanted, out);
}

/** Before the first connection. */
function idleNetwork(state: ClientState): WantedNetwork {
  const { device, tunMtu } = state.options;
  const dns = { servers: [], domains: [] };
  const guard = guardOf(state);
  const outside = outsideOf(state, guard?.blocked ?? []);
  return {
    device,
    mtu: tunMtu,
    addresses: [],
    routes: [],
    outside,
    dns,
    isIdle: true,
    ...(guard && { guard }),
  };
}

/** What the configuration sends into the tunnel; what a server pushes beside that is not known after a crash. */
function guardOf({ options, phase }: ClientState): Guard | undefined {
  if (!options.killSwitch) return undefined;
  const blocked = [...(options.redirectGateway ? [...EVERYTHING, ...THE_REST] : []), ...options.routes];
  return { blocked, isLookingUp: phase === 'resolving' };
}

/** Without its own way the tunnel's packets would go into the tunnel. */
function outsideOf({ remote }: ClientState, caught: readonly Prefix[]): readonly Ip[] {
  return remote !== undefined && caught.some(prefix => contains(prefix, remote.ip)) ? [remote.ip] : [];
}

/** The plane's keepalive needs both times or none; a missing one is set so that it never matters. */
function bothSides(ping: number, restart: number): Keepalive {
  if (ping === 0 && restart === 0) return { intervalS: 0, timeoutS: 0 };
  if (ping === 0) return { intervalS: Math.max(1, Math.floor(restart / 3)), timeoutS: restart };
  return { intervalS: ping, timeoutS: restart === 0 ? KEEPALIVE_NEVER_S : restart };
}

function wantedAddresses(pushed: PushedOptions): WantedAddress[] {
  const out: WantedAddress[] = [];
  const { address, ifconfig6 } = pushed;
  if (address?.bits !== undefined) out.push({ address: { ip: address.local, bits: address.bits } });
  else if (address?.remote !== undefined)
    out.push({ address: { ip: address.local, bits: 32 }, peer: address.remote });
  if (ifconfig6 !== undefined) out.push({ address: ifconfig6.address });
  return out;
}

function wantedNetwork(
  state: ClientState,
  pushed: PushedOptions,
  addresses: readonly WantedAddress[],
  out: Outbox,
  withDefault = true,
): WantedNetwork {
  const { options } = state;
  const routes: WantedRoute[] = options.routes.map(destination => ({ destination, metric: options.metric }));
  const ignore = (what: string, why: string): void =>
    notify(out, 'warn', `pushed ${what} not followed: ${why}`);
  const isRedirected = options.redirectGateway && withDefault;
  if (isRedirected) routes.push(...defaultRoutes(pushed, addresses, options.metric));
  else if (pushed.redirectGateway !== undefined) ignore('redirect-gateway', 'redirect_gateway is off');
  for (const route of options.routeNopull ? [] : pushed.routes) {
    const destination = network(route.destination);
    const what = `route ${formatPrefix(destination)}`;
    const has4 = addresses.some(own => own.address.ip.length === destination.ip.length);
    if (route.gateway === 'net_gateway') ignore(what, 'a way around the tunnel is not supported yet');
    else if (isTooWide(destination) && !isRedirected)
      ignore(what, 'it takes the default route, and redirect_gateway is off');
    else if (isLocalOnly(destination)) ignore(what, 'not a network that can lie behind a tunnel');
    else if (!has4)
      ignore(what, `the tunnel has no ${destination.ip.length === 4 ? 'IPv4' : 'IPv6'} address`);
    else {
      const metric = route.metric ?? pushed.routeMetric ?? options.metric;
      routes.push({ destination, metric, isPushed: true });
    }
  }
  const server = state.remote?.ip;
  // Nothing is more exact than that, so no way round the tunnel would win against it.
  const isServer = ({ destination: { ip, bits } }: WantedRoute): boolean =>
    server !== undefined && bits === ip.length * 8 && sameIp(ip, server);
  if (routes.some(isServer))
    notify(out, 'warn', `route ${formatIp(server!)} not followed: it is the server itself`);
  const kept = withoutRepeats(routes.filter(route => !isServer(route)));
  const guard = guardOf(state);
  const caught = [...kept.map(route => route.destination), ...(guard?.blocked ?? [])];
  return {
    device: options.device,
    mtu: pushed.tunMtu ?? options.tunMtu,
    addresses,
    routes: kept,
    outside: outsideOf(state, caught),
    dns: options.pullDns
      ? { servers: pushed.dnsServers, domains: pushed.domains }
      : { servers: [], domains: [] },
    ...(guard && { guard }),
  };
}

/** Halves and parts of everything: they win against a default route and against 2000::/3 without replacing them. */
const EVERYTHING: readonly Prefix[] = [
  '0.0.0.0/1',
  '128.0.0.0/1',
  '::/3',
  '2000::/4',
  '3000::/4',
  'fc00::/7',
].map(text => parsePrefix(text)!);

/** What is not handed out yet, and the addresses without a router, which have routes of their own. */
const THE_REST: readonly Prefix[] = ['4000::/2', '8000::/1'].map(text => parsePrefix(text)!);

/** Of the families that the tunnel has; the server may only leave out IPv4. */
function defaultRoutes(
  pushed: PushedOptions,
  addresses: readonly WantedAddress[],
  metric: number,
): WantedRoute[] {
  const widths = new Set(addresses.map(own => own.address.ip.length));
  if (pushed.redirectGateway?.includes('!ipv4')) widths.delete(4);
  return EVERYTHING.filter(part => widths.has(part.ip.length)).map(destination => ({ destination, metric }));
}

const LOCAL_ONLY: readonly Prefix[] = [
  { ip: new Uint8Array([127, 0, 0, 0]), bits: 8 },
  { ip: new Uint8Array([224, 0, 0, 0]), bits: 4 },
  { ip: new Uint8Array([169, 254, 0, 0]), bits: 16 },
  { ip: new Uint8Array([...new Array<number>(15).fill(0), 1]), bits: 128 },
  { ip: new Uint8Array([0xfe, 0x80, ...new Array<number>(14).fill(0)]), bits: 10 },
  { ip: new Uint8Array([0xff, ...new Array<number>(15).fill(0)]), bits: 8 },
];

function isLocalOnly(destination: Prefix): boolean {
  return LOCAL_ONLY.some(prefix => destination.bits >= prefix.bits && contains(prefix, destination.ip));
}

function withoutRepeats(routes: readonly WantedRoute[]): WantedRoute[] {
  const seen = new Set<string>();
  return routes.filter(route => {
    const key = formatPrefix(route.destination);
    return seen.has(key) ? false : seen.add(key) !== undefined;
  });
}

/** For status: the addresses of a wanted network as text. */
export function addressTexts(wanted: WantedNetwork): string[] {
  return wanted.addresses.map(({ address, peer }) =>
    peer === undefined ? formatPrefix(address) : `${formatIp(address.ip)} peer ${formatIp(peer)}`,
  );
}
