// SPDX-License-Identifier: Apache-2.0
// What must change on a device so that its addresses and routes become the wanted ones, and which way goes round
// the tunnel. Pure: what is there comes in as values, nothing is asked or changed here.

import { contains, formatIp, formatPrefix, type Ip, network, type Prefix, sameIp } from '../core/address.ts';
import type { WantedAddress, WantedRoute } from '../core/network.ts';
import {
  type Hop,
  type Route,
  type RouteChange,
  RT_TABLE_MAIN,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTNH_F_DEAD,
} from '../netlink/route.ts';
import type { InterfaceAddress } from '../netlink/rtnetlink.ts';

/** RTA_PROTOCOL of every route of ours. Above 4 the numbers are user space's; no known daemon uses this one. */
export const OVPND_ROUTE_PROTOCOL = 0x6f;

/** What the kernel makes of metric 0 for IPv6. */
const IPV6_METRIC_DEFAULT = 1024;
const RT_TABLE_LOCAL = 255;
/** Routes the kernel makes for an address. */
const RTPROT_KERNEL = 2;

/** A route's place in the kernel's table: two routes with one key cannot stand side by side. */
export function routeKey(destination: Prefix, metric: number): string {
  const isDefaulted = metric === 0 && destination.ip.length === 16;
  return `${formatPrefix(destination)} ${isDefaulted ? IPV6_METRIC_DEFAULT : metric}`;
}

export function sameHop(a: Hop, b: Hop): boolean {
  if (a.index !== b.index) return false;
  if (a.gateway === undefined || b.gateway === undefined) return a.gateway === b.gateway;
  return sameIp(a.gateway, b.gateway);
}

/** Address, prefix length and peer: what makes two addresses of one device the same. */
export function addressText(address: InterfaceAddress): string {
  const own = `${formatIp(address.local)}/${address.bits}`;
  return address.peer ? `${own} peer ${formatIp(address.peer)}` : own;
}

export function addressOf(wanted: WantedAddress, index: number): InterfaceAddress {
  const { ip, bits } = wanted.address;
  const isPointToPoint = wanted.peer !== undefined && !sameIp(wanted.peer, ip);
  return { index, local: ip, bits, ...(isPointToPoint && { peer: wanted.peer }) };
}

/** fe80::/10. Such an address belongs to one link, so no packet to it ever takes a tunnel route. */
export function isLinkLocal6(ip: Ip): boolean {
  return ip.length === 16 && ip[0] === 0xfe && (ip[1]! & 0xc0) === 0x80;
}

/**
 * `present` is what the device has. Everything unwanted goes, since the device is the tunnel's, except IPv6 link-local
 * addresses that are not `applied` by us: they are the kernel's, or those of a routing daemon on the tunnel.
 */
export function compareAddresses(
  wanted: readonly InterfaceAddress[],
  present: readonly InterfaceAddress[],
  applied: ReadonlySet<string>,
): { readonly remove: InterfaceAddress[]; readonly add: InterfaceAddress[] } {
  const there = new Set(present.map(addressText));
  const kept = new Set(wanted.map(addressText));
  const add = new Map<string, InterfaceAddress>();
  for (const address of wanted) if (!there.has(addressText(address))) add.set(addressText(address), address);
  const remove = present.filter(address => {
    const text = addressText(address);
    const isForeign = isLinkLocal6(address.local) && !applied.has(text);
    return !kept.has(text) && !isForeign;
  });
  return { remove, add: [...add.values()] };
}

/** A route of ours that leads into the device. */
export function isOwn(route: Route, index: number): boolean {
  return (
    route.protocol === OVPND_ROUTE_PROTOCOL &&
    route.table === RT_TABLE_MAIN &&
    route.hops.some(hop => hop.index === index)
  );
}

export interface RouteStep {
  readonly wanted: WantedRoute;
  /** `replace` when a route of ours with another gateway has the place. */
  readonly how: 'create' | 'replace';
}

/** `present`: at least every route of ours on the device and every route whose key is wanted. */
export function compareRoutes(
  wanted: readonly WantedRoute[],
  present: readonly Route[],
  index: number,
): { readonly remove: Route[]; readonly add: RouteStep[] } {
  const missing = new Map<string, WantedRoute>();
  for (const item of wanted) {
    const route = { ...item, destination: network(item.destination) };
    const key = routeKey(route.destination, route.metric);
    // Two wanted routes of one key cannot both be; the first one counts.
    if (!missing.has(key)) missing.set(key, route);
  }
  const users = new Map<string, number>();
  for (const route of present) {
    if (route.table !== RT_TABLE_MAIN || route.tos !== 0) continue;
    const key = routeKey(route.destination, route.metric);
    users.set(key, (users.get(key) ?? 0) + 1);
  }
  const remove: Route[] = [];
  const replaced = new Set<string>();
  for (const route of present) {
    if (!isOwn(route, index)) continue;
    const key = routeKey(route.destination, route.metric);
    const item = missing.get(key);
    if (item && route.hops.length === 1 && sameHop(route.hops[0]!, hopInto(index, item))) missing.delete(key);
    // The kernel replaces the first route of a key, so a foreign one beside ours forbids it.
    else if (item && users.get(key) === 1 && route.hops.length === 1) replaced.add(key);
    else remove.push(route);
  }
  const add = [...missing].map(
    ([key, item]): RouteStep => ({ wanted: item, how: replaced.has(key) ? 'replace' : 'create' }),
  );
  return { remove, add };
}

/** The next hop of a wanted route. */
export function hopInto(index: number, wanted: WantedRoute): Hop {
  return { index, flags: 0, ...(wanted.gateway && { gateway: wanted.gateway }) };
}

// ---- ways round the tunnel

/**
 * The metric of host routes of the tunnel on device `index`. Its own for each tunnel: two tunnels to one server each
 * have their host route, and one that stops does not take the other's way along. High, so that a host route somebody
 * else made wins.
 */
export function outsideMetric(index: number): number {
  return OVPND_ROUTE_PROTOCOL * 0x1_0000 + (index & 0xffff);
}

export function isOutsideRoute(route: Route, index: number): boolean {
  return (
    route.protocol === OVPND_ROUTE_PROTOCOL &&
    route.table === RT_TABLE_MAIN &&
    route.metric === outsideMetric(index) &&
    route.destination.bits === route.destination.ip.length * 8
  );
}

/** A next hop beside the tunnel, with the source address its route prefers. */
export interface Way {
  readonly hop: Hop;
  readonly source?: Ip;
}

/** Routes that lead to `ip` without the tunnel on device `index` and without its host routes; the best one first. */
export function waysBeside(ip: Ip, routes: readonly Route[], index: number): Route[] {
  return routes
    .filter(
      route =>
        route.type === RTN_UNICAST &&
        route.tos === 0 &&
        route.table !== RT_TABLE_LOCAL &&
        contains(route.destination, ip) &&
        !isOutsideRoute(route, index) &&
        route.hops.some(hop => isUsable(hop, index)),
    )
    .sort((a, b) => b.destination.bits - a.destination.bits || a.metric - b.metric);
}

function isUsable(hop: Hop, index: number): boolean {
  return hop.index !== index && (hop.flags & RTNH_F_DEAD) === 0;
}

/**
 * A route's hop as a way. The source is kept where somebody chose it; a copy of the one the kernel gives to connected
 * networks would only make the host route vanish with that address.
 */
function wayOf(hop: Hop, route: Route): Way {
  const isChosen = route.source !== undefined && route.protocol !== RTPROT_KERNEL;
  return { hop, ...(isChosen && { source: route.source }) };
}

/** The way a hop belongs to: with the flags and the source of the best route that has this hop. */
export function wayWith(hop: Hop, beside: readonly Route[]): Way | undefined {
  for (const route of beside) {
    const same = route.hops.find(other => sameHop(hop, other));
    if (same) return wayOf(same, route);
  }
  return undefined;
}

/** The best way in the main table; undefined when there is none beside the tunnel. */
export function bestWay(beside: readonly Route[], index: number): Way | undefined {
  const route = beside.find(candidate => candidate.table === RT_TABLE_MAIN);
  const hop = route?.hops.find(candidate => isUsable(candidate, index));
  return route && hop && wayOf(hop, route);
}

// ---- the kill switch

/**
 * The metric of the kill switch's routes: behind every route of a tunnel, and of its own for each tunnel by its name,
 * so that they are known again without any record and none takes away another's. Of 16 million, so two hardly meet.
 */
export function blockMetric(tunnel: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < tunnel.length; i++) hash = Math.imul(hash ^ tunnel.charCodeAt(i), 0x01000193);
  return 0xff000000 + ((hash ^ (hash >>> 8)) & 0xffffff);
}

/** Whether a route is one of the kill switch with this metric. */
export function isBlock(route: Route, metric: number): boolean {
  return (
    route.protocol === OVPND_ROUTE_PROTOCOL &&
    route.table === RT_TABLE_MAIN &&
    route.type === RTN_UNREACHABLE &&
    route.metric === metric
  );
}

export function blockChange(destination: Prefix, metric: number): RouteChange {
  return { destination: network(destination), metric, protocol: OVPND_ROUTE_PROTOCOL };
}
