// SPDX-License-Identifier: Apache-2.0
// Host routes that keep addresses outside the tunnel reachable (the VPN server, above all): the way packets to them
// take without the tunnel, made explicit before a tunnel route could catch them.

import { formatIp, type Ip, ipKey } from '../core/address.ts';
import { type Route, type RouteChange, RTN_UNICAST } from '../netlink/route.ts';
import {
  bestWay,
  isLinkLocal6,
  isOutsideRoute,
  OVPND_ROUTE_PROTOCOL,
  outsideMetric,
  sameHop,
  type Way,
  waysBeside,
  wayWith,
} from './difference.ts';
import { isProblem } from './requests.ts';
import type { Run } from './run.ts';
import type { OutsideRoute } from './state.ts';

/** One wanted host route and what it takes to have it. */
export interface OutsidePlan {
  readonly route: OutsideRoute;
  readonly source?: Ip;
  /** `keep`: it is there and still right. */
  readonly how: 'keep' | 'create' | 'replace';
}

export function changeOf(route: OutsideRoute, source?: Ip): RouteChange {
  const { ip, hop, metric } = route;
  return {
    destination: { ip, bits: ip.length * 8 },
    hop,
    metric,
    protocol: OVPND_ROUTE_PROTOCOL,
    ...(source && { source }),
  };
}

export function sameOutside(a: OutsideRoute, b: OutsideRoute): boolean {
  return ipKey(a.ip) === ipKey(b.ip) && a.metric === b.metric && sameHop(a.hop, b.hop);
}

/**
 * The host routes for `wanted`, with `routes` holding at least every route that covers one of them. An address
 * without a way is reported and left out. Asks the kernel, changes nothing.
 */
export function planOutside(
  run: Run,
  wanted: readonly Ip[],
  routes: readonly Route[],
  index: number,
): OutsidePlan[] {
  const plans: OutsidePlan[] = [];
  const seen = new Set<string>();
  for (const ip of wanted) {
    if (isLinkLocal6(ip) || seen.has(ipKey(ip))) continue;
    seen.add(ipKey(ip));
    const plan = planOne(run, ip, routes, index);
    if (typeof plan === 'string') run.fail(`host route ${formatIp(ip)}: ${plan}`);
    else if (plan) plans.push(plan);
  }
  return plans;
}

function planOne(
  run: Run,
  ip: Ip,
  routes: readonly Route[],
  index: number,
): OutsidePlan | string | undefined {
  const metric = outsideMetric(index);
  const beside = waysBeside(ip, routes, index);
  const present = routes.find(
    route => isOutsideRoute(route, index) && ipKey(route.destination.ip) === ipKey(ip),
  );
  const hop = present?.hops[0];
  // A way that still leads there stays, even if a better one has come: connections keep their source address.
  if (hop && wayWith(hop, beside)) return { route: { ip, hop, metric }, how: 'keep' };
  const way = hop ? (bestWay(beside, index) ?? { hop }) : wayNow(run, ip, beside, index);
  if (way === undefined || typeof way === 'string') return way;
  // No way at all (an uplink that is down): without its host route the address would fall into the tunnel.
  if (way.hop === hop) return { route: { ip, hop, metric }, how: 'keep' };
  return {
    route: { ip, hop: way.hop, metric },
    ...(way.source && { source: way.source }),
    how: present ? 'replace' : 'create',
  };
}

/** The kernel's own choice, which knows policy rules; behind the tunnel's routes, the best way of the main table. */
function wayNow(run: Run, ip: Ip, beside: readonly Route[], index: number): Way | string | undefined {
  const answer = run.routeTo(ip);
  if (isProblem(answer)) return bestWay(beside, index) ?? answer.text;
  // One of this machine's own addresses, a broadcast or a multicast address: no route needed.
  if (answer.type !== RTN_UNICAST) return undefined;
  const hop = answer.hops[0];
  if (hop && hop.index !== index) return wayWith(hop, beside) ?? { hop };
  return bestWay(beside, index) ?? 'no way beside the tunnel';
}
