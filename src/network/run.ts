// SPDX-License-Identifier: Apache-2.0
// One run over the kernel's network: typed requests, each of which either works or adds one line to the report.
// What already is as asked counts as done and is no change.

import { formatPrefix, network, type Prefix } from '../core/address.ts';
import type { NetlinkSocket, Result } from '../host/host.ts';
import {
  decodeRoute,
  encodeDeleteRoute,
  encodeDumpRoutes,
  encodeGetRoute,
  encodeNewRoute,
  type Route,
  type RouteChange,
  RT_TABLE_MAIN,
  RTN_UNREACHABLE,
} from '../netlink/route.ts';
import {
  AF_INET,
  AF_INET6,
  decodeAddress,
  decodeLink,
  encodeDeleteAddress,
  encodeDumpAddresses,
  encodeGetLink,
  encodeGetLinkByIndex,
  encodeNewAddress,
  encodeSetAddrGenMode,
  encodeSetLinkUp,
  encodeSetMtu,
  type InterfaceAddress,
  type Link,
  widthOf,
} from '../netlink/rtnetlink.ts';
import { addressText, isLinkLocal6, routeKey, sameHop } from './difference.ts';
import type { NetworkReport } from './network.ts';
import { EEXIST, isGone, isProblem, type Problem, RouteRequests } from './requests.ts';

export class Run {
  readonly #requests: RouteRequests;
  readonly #failures: string[] = [];
  #changes = 0;

  constructor(openNetlink: (protocol: number) => Result<NetlinkSocket>) {
    this.#requests = new RouteRequests(openNetlink);
  }

  /** How much was changed so far. */
  get changes(): number {
    return this.#changes;
  }

  get failureCount(): number {
    return this.#failures.length;
  }

  fail(line: string): void {
    this.#failures.push(line);
  }

  /** Ends the run: no requests after it. */
  finish(): NetworkReport {
    this.#requests.close();
    return { failures: this.#failures, changes: this.#changes };
  }

  link(name: string): Link | undefined {
    return this.#reported(`device ${name}`, this.#requests.get(encodeGetLink(name), decodeLink));
  }

  /** The device as it was known before: `gone` when it, or its name, is no more. */
  linkAgain(index: number, name: string): Link | 'gone' | undefined {
    const link = this.#requests.get(encodeGetLinkByIndex(index), decodeLink);
    if (isProblem(link) && isGone(link)) return 'gone';
    const found = this.#reported(`device ${name}`, link);
    return found && found.name !== name ? 'gone' : found;
  }

  setMtu(link: Link, mtu: number): boolean {
    return this.#change(`device ${link.name}: mtu ${mtu}`, encodeSetMtu(link.index, mtu));
  }

  setAddrGenMode(link: Link, mode: number): boolean {
    const message = encodeSetAddrGenMode(link.index, mode);
    return this.#change(`device ${link.name}: address generation ${mode}`, message);
  }

  setUp(link: Link, isUp: boolean): boolean {
    return this.#change(`device ${link.name}: ${isUp ? 'up' : 'down'}`, encodeSetLinkUp(link.index, isUp));
  }

  /** undefined when they cannot be had, which is reported. */
  addresses(index: number): InterfaceAddress[] | undefined {
    return this.#reported('addresses', this.#dumpAddresses(index));
  }

  /** Networks that this machine is in by other devices; undefined when they cannot be had, which is reported. */
  networksBeside(index: number): Prefix[] | undefined {
    const networks = this.#requests.dump(encodeDumpAddresses(), message => {
      const address = decodeAddress(message);
      if (address === undefined || address.index === index || isLinkLocal6(address.local)) return undefined;
      const { local: ip, bits } = address;
      return bits < ip.length * 8 ? network({ ip, bits }) : undefined;
    });
    return this.#reported('addresses', networks);
  }

  addAddress(address: InterfaceAddress): boolean {
    const text = addressText(address);
    const problem = this.#requests.change(encodeNewAddress(address));
    if (problem?.errno !== EEXIST) return this.#done(`address ${text}`, problem);
    // Perhaps it was made by a request whose answer got lost.
    const present = this.#dumpAddresses(address.index);
    const isThere = !isProblem(present) && present.some(other => addressText(other) === text);
    return isThere || this.#done(`address ${text}`, problem);
  }

  deleteAddress(address: InterfaceAddress): boolean {
    return this.#delete(`address ${addressText(address)}`, encodeDeleteAddress(address));
  }

  /** Of both families, those that `keep` wants; undefined when they cannot be had, which is reported. */
  routes(keep: (route: Route) => boolean): Route[] | undefined {
    const ipv4 = this.#reported('routes', this.#dumpRoutes(AF_INET, keep));
    const ipv6 = this.#reported('routes', this.#dumpRoutes(AF_INET6, keep));
    return ipv4 && ipv6 && [...ipv4, ...ipv6];
  }

  /** Which way a packet to `ip` takes now. */
  routeTo(ip: Uint8Array): Route | Problem {
    return this.#requests.get(encodeGetRoute(ip), decodeRoute);
  }

  /** `what` begins the line of a failure. */
  addRoute(what: string, change: RouteChange, how: 'create' | 'replace'): boolean {
    const line = `${what} ${formatPrefix(change.destination)}`;
    const problem = this.#requests.change(encodeNewRoute(change, how));
    if (problem?.errno !== EEXIST) return this.#done(line, problem);
    const other = this.#routeInPlaceOf(change);
    if (other === undefined) return this.#done(line, problem);
    const { hop } = change;
    const leadsThere = hop ? other.hops.some(mine => sameHop(mine, hop)) : other.type === RTN_UNREACHABLE;
    if (other.protocol === change.protocol && leadsThere) return true;
    this.fail(`${line}: ${problem.text}, made by protocol ${other.protocol}`);
    return false;
  }

  deleteRoute(what: string, change: RouteChange): boolean {
    return this.#delete(`${what} ${formatPrefix(change.destination)}`, encodeDeleteRoute(change));
  }

  #routeInPlaceOf(change: RouteChange): Route | undefined {
    const family = change.destination.ip.length === 4 ? AF_INET : AF_INET6;
    const key = routeKey(change.destination, change.metric);
    const same = this.#dumpRoutes(
      family,
      route =>
        route.table === RT_TABLE_MAIN && route.tos === 0 && routeKey(route.destination, route.metric) === key,
    );
    return isProblem(same) ? undefined : same[0];
  }

  #dumpAddresses(index: number): InterfaceAddress[] | Problem {
    return this.#requests.dump(encodeDumpAddresses(), message => {
      const address = decodeAddress(message);
      return address?.index === index ? address : undefined;
    });
  }

  #dumpRoutes(family: number, keep: (route: Route) => boolean): Route[] | Problem {
    const width = widthOf(family);
    return this.#requests.dump(encodeDumpRoutes(family), message => {
      const route = decodeRoute(message);
      // A kernel without IPv6 answers with the routes of every family it has.
      if (route === undefined || route.destination.ip.length !== width) return undefined;
      return keep(route) ? route : undefined;
    });
  }

  #change(line: string, message: Uint8Array): boolean {
    return this.#done(line, this.#requests.change(message));
  }

  #delete(line: string, message: Uint8Array): boolean {
    const problem = this.#requests.change(message);
    return (problem !== undefined && isGone(problem)) || this.#done(line, problem);
  }

  #done(line: string, problem: Problem | undefined): boolean {
    if (problem === undefined) this.#changes += 1;
    else this.fail(`${line}: ${problem.text}`);
    return problem === undefined;
  }

  #reported<T>(line: string, result: T | Problem): T | undefined {
    if (!isProblem(result)) return result;
    this.fail(`${line}: ${result.text}`);
    return undefined;
  }
}
