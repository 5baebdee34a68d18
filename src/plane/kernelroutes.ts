// SPDX-License-Identifier: Apache-2.0
// System routes to what is behind the peers of a kernel device. The module sends a packet to the peer whose VPN
// address is the next hop of its route, and takes a packet only from the peer to which its source is routed: a
// network behind a peer is a route by the peer's VPN address, and nothing else.

import { contains, formatPrefix, type Ip, ipKey, network, type Prefix } from '../core/address.ts';
import { encodeDeleteRoute, encodeNewRoute, type RouteChange, RTNH_F_ONLINK } from '../netlink/route.ts';
import { ENODEV, ENOENT, ESRCH, type KernelRequests } from './kernelrequests.ts';

/** Below the metric of the tunnel's own routes, so that the peer's route wins over the one that covers it. */
export const PEER_ROUTE_METRIC = 100;
/** RTA_PROTOCOL. Not the one of the tunnel's own routes: those are compared with what is wanted, and removed. */
export const PEER_ROUTE_PROTOCOL = 0x70;

export interface RoutedPeer {
  readonly peerId: number;
  readonly vpnIp4: Ip | undefined;
  readonly vpnIp6: Ip | undefined;
  readonly routes: readonly Prefix[];
}

interface Claim {
  readonly peer: RoutedPeer;
  /** Absent: the destination is on the device itself. */
  readonly gateway: Ip | undefined;
}

export class PeerRoutes {
  readonly #route: KernelRequests;
  readonly #index: number;
  /** The device's own networks. */
  readonly #own: readonly Prefix[];
  readonly #warn: (text: string) => void;
  /** By destination, in the order they came: the newest has the network, as in the other planes. */
  readonly #claims = new Map<string, { readonly destination: Prefix; claims: Claim[] }>();

  constructor(route: KernelRequests, index: number, own: readonly Prefix[], warn: (text: string) => void) {
    this.#route = route;
    this.#index = index;
    this.#own = own;
    this.#warn = warn;
  }

  /** Installs the peer's routes. What the kernel refuses is said; the peer works without it. */
  add(peer: RoutedPeer): void {
    for (const { destination, gateway } of this.#wanted(peer)) {
      const key = keyOf(destination);
      const entry = this.#claims.get(key) ?? { destination, claims: [] };
      this.#claims.set(key, entry);
      const how = entry.claims.length === 0 ? 'create' : 'replace';
      entry.claims.push({ peer, gateway });
      this.#install(destination, gateway, how);
    }
  }

  /** Takes the peer's routes back; a network that another peer claims too goes to that one. */
  remove(peer: RoutedPeer): void {
    for (const [key, entry] of this.#claims) {
      const holder = entry.claims.at(-1);
      entry.claims = entry.claims.filter(claim => claim.peer !== peer);
      const next = entry.claims.at(-1);
      if (next !== undefined) {
        if (next !== holder) this.#install(entry.destination, next.gateway, 'replace');
        continue;
      }
      this.#claims.delete(key);
      if (holder !== undefined) this.#uninstall(entry.destination, holder.gateway);
    }
  }

  /** The device was down, and lost its routes: they come back as they were. */
  restore(): void {
    for (const { destination, claims } of this.#claims.values()) {
      const holder = claims.at(-1);
      if (holder !== undefined) this.#install(destination, holder.gateway, 'replace');
    }
  }

  /** The device is gone, and its routes with it. */
  forget(): void {
    this.#claims.clear();
  }

  #wanted(peer: RoutedPeer): { readonly destination: Prefix; readonly gateway: Ip | undefined }[] {
    const hosts = [peer.vpnIp4, peer.vpnIp6]
      .filter(ip => ip !== undefined)
      .filter(ip => !this.#own.some(own => contains(own, ip)))
      .map(ip => ({ destination: { ip, bits: ip.length * 8 }, gateway: undefined }));
    const networks = peer.routes.flatMap(route => {
      const destination = network(route);
      const gateway = route.ip.length === 4 ? peer.vpnIp4 : peer.vpnIp6;
      if (gateway !== undefined) return [{ destination, gateway }];
      this.#warn(`route ${formatPrefix(destination)}: its peer has no VPN address of that family`);
      return [];
    });
    return [...hosts, ...networks];
  }

  #change(destination: Prefix, gateway: Ip | undefined): RouteChange {
    // On link: right also while the device has no address yet.
    const hop = gateway
      ? { index: this.#index, flags: RTNH_F_ONLINK, gateway }
      : { index: this.#index, flags: 0 };
    return { destination, hop, metric: PEER_ROUTE_METRIC, protocol: PEER_ROUTE_PROTOCOL };
  }

  #install(destination: Prefix, gateway: Ip | undefined, how: 'create' | 'replace'): void {
    const change = this.#change(destination, gateway);
    let problem = this.#route.changeOnce(encodeNewRoute(change, how));
    // Perhaps it was made: then a second one would be refused.
    if (problem?.isUnsure === true) problem = this.#route.change(encodeNewRoute(change, 'replace'));
    if (problem !== undefined) this.#warn(`route ${formatPrefix(destination)}: ${problem.text}`);
  }

  #uninstall(destination: Prefix, gateway: Ip | undefined): void {
    const problem = this.#route.change(encodeDeleteRoute(this.#change(destination, gateway)));
    const isGone =
      problem === undefined ||
      problem.errno === ESRCH ||
      problem.errno === ENOENT ||
      problem.errno === ENODEV;
    if (!isGone) this.#warn(`route ${formatPrefix(destination)} stays: ${problem.text}`);
  }
}

function keyOf(destination: Prefix): string {
  return `${ipKey(destination.ip)}/${destination.bits}`;
}
