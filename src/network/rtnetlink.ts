// SPDX-License-Identifier: Apache-2.0
// Puts the wanted network of one tunnel into effect by rtnetlink: compares it with what the kernel has and changes
// the difference. Every item stands alone: one that fails becomes one line and the others go on.
//
// Order within apply(), each step needing the ones before it:
//   MTU (below 1280 a device has no IPv6) -> no automatic link-local address -> up -> addresses (on a device that
//   is down, the kernel forgets the route to the other end of an IPv6 address) -> host routes to the outside ->
//   what the kill switch blocks -> tunnel routes -> host routes no longer wanted.

import { contains, formatPrefix, type Ip, network, type Prefix } from '../core/address.ts';
import type { WantedNetwork, WantedRoute } from '../core/network.ts';
import type { Files, NetlinkSocket, Result } from '../host/host.ts';
import { type Route, RTN_UNICAST } from '../netlink/route.ts';
import { ADDR_GEN_MODE_NONE, IFF_UP, type InterfaceAddress, type Link } from '../netlink/rtnetlink.ts';
import {
  addressOf,
  addressText,
  blockChange,
  blockMetric,
  compareAddresses,
  compareRoutes,
  hopInto,
  isBlock,
  isOwn,
  OVPND_ROUTE_PROTOCOL,
  routeKey,
} from './difference.ts';
import { nameServers } from './nameservers.ts';
import type { Network, NetworkReport } from './network.ts';
import { changeOf, type OutsidePlan, planOutside, sameOutside } from './outside.ts';
import { Run } from './run.ts';
import { type AppliedState, type DeviceBefore, StateFile } from './state.ts';

/** What the rtnetlink body needs from the outside. */
export interface RtnetlinkNeeds {
  readonly openNetlink: (protocol: number) => Result<NetlinkSocket>;
  readonly files: Files;
  /** For the state file; made when it is missing. Nothing in it need survive a reboot. */
  readonly stateDirectory: string;
  /** The tunnel's section name: names the state file. */
  readonly tunnel: string;
}

export interface RtnetlinkNetwork extends Network {
  /**
   * Takes back what a process of this tunnel that died left behind, with `stayClosed` all but what the kill switch
   * blocks. Call once, before anything is applied.
   */
  recover(stayClosed?: boolean): NetworkReport;
  /** Only the kill switch: what it blocks, and the ways to the outside; addresses and routes are somebody else's. */
  guard(wanted: WantedNetwork): NetworkReport;
  /** Takes back what `guard` did. */
  unguard(stayClosed?: boolean): NetworkReport;
  /** Without pushed routes into networks that this machine is in by other devices, and which those are. */
  permit(wanted: WantedNetwork): { readonly wanted: WantedNetwork; readonly refused: readonly Prefix[] };
  /** Only what a device needs before somebody else gives it addresses: its MTU, and no address of its own making. */
  prepare(wanted: WantedNetwork): NetworkReport;
}

export function createRtnetlinkNetwork(needs: RtnetlinkNeeds): RtnetlinkNetwork {
  return new KernelNetwork(needs);
}

class KernelNetwork implements RtnetlinkNetwork {
  readonly #openNetlink: (protocol: number) => Result<NetlinkSocket>;
  readonly #file: StateFile;
  readonly #files: Files;
  readonly #blockMetric: number;
  /** Routes of the kill switch may be there. */
  #isBlocking = false;
  /** What is in effect, or may be: an item is noted before it is made and struck out after it is gone. */
  #state: AppliedState | undefined;

  constructor(needs: RtnetlinkNeeds) {
    this.#openNetlink = needs.openNetlink;
    this.#files = needs.files;
    this.#blockMetric = blockMetric(needs.tunnel);
    this.#file = new StateFile(needs.files, needs.stateDirectory, needs.tunnel);
  }

  apply(wanted: WantedNetwork): NetworkReport {
    if (wanted.isIdle) return this.guard(wanted);
    const run = new Run(this.#openNetlink);
    this.#apply(run, wanted);
    return run.finish();
  }

  guard(wanted: WantedNetwork): NetworkReport {
    if (wanted.guard === undefined) return this.unguard();
    const run = new Run(this.#openNetlink);
    const link = run.link(wanted.device);
    const plans = link && this.#planOutside(run, wanted, link.index);
    if (link && plans) {
      this.#note(run, link, [], plans);
      addOutside(run, plans);
    }
    // Whatever else failed.
    this.#block(run, wanted);
    if (plans) this.#dropOutside(run, plans);
    return run.finish();
  }

  unguard(stayClosed = false): NetworkReport {
    const run = new Run(this.#openNetlink);
    if (!stayClosed) this.#unblock(run);
    if (this.#state) {
      this.#dropOutside(run, []);
      if (run.failureCount === 0 && this.#state.addresses.length === 0) this.#forget(run);
    }
    return run.finish();
  }

  permit(wanted: WantedNetwork): { wanted: WantedNetwork; refused: readonly Prefix[] } {
    const all = { wanted, refused: [] };
    if (!wanted.routes.some(route => route.isPushed)) return all;
    const run = new Run(this.#openNetlink);
    const link = run.link(wanted.device);
    const own = link && run.networksBeside(link.index);
    run.finish();
    if (own === undefined) return all;
    const isTheirs = ({ isPushed, destination }: WantedRoute): boolean =>
      isPushed === true && own.some(one => one.bits <= destination.bits && contains(one, destination.ip));
    return {
      wanted: { ...wanted, routes: wanted.routes.filter(route => !isTheirs(route)) },
      refused: wanted.routes.filter(isTheirs).map(({ destination }) => destination),
    };
  }

  prepare(wanted: WantedNetwork): NetworkReport {
    const run = new Run(this.#openNetlink);
    const link = run.link(wanted.device);
    if (link !== undefined) setLink(run, link, wanted.mtu);
    return run.finish();
  }

  clear(stayClosed = false): NetworkReport {
    const run = new Run(this.#openNetlink);
    if (!stayClosed) this.#unblock(run);
    this.#takeBack(run);
    return run.finish();
  }

  recover(stayClosed = false): NetworkReport {
    const run = new Run(this.#openNetlink);
    this.#isBlocking = true;
    if (!stayClosed) this.#unblock(run);
    const loaded = this.#file.load();
    if (typeof loaded === 'string') run.fail(loaded);
    else if (loaded) {
      this.#state = loaded;
      this.#takeBack(run);
    }
    return run.finish();
  }

  #apply(run: Run, wanted: WantedNetwork): void {
    const link = run.link(wanted.device);
    if (link === undefined) return;
    const { index } = link;
    if (this.#state && this.#state.index !== index) this.#takeBack(run);

    const keep = this.#relevantRoutes(wanted, index);
    const routesBefore = run.routes(keep);
    const plans = routesBefore && planOutside(run, this.#outside(wanted), routesBefore, index);
    const addresses = wanted.addresses.map(address => addressOf(address, index));
    this.#note(run, link, addresses, plans ?? []);

    const changesBefore = run.changes;
    setLink(run, link, wanted.mtu);
    if ((link.flags & IFF_UP) === 0) run.setUp(link, true);
    this.#setAddresses(run, index, addresses);
    if (plans) addOutside(run, plans);
    this.#block(run, wanted);
    if (plans === undefined) return;
    // Taking an address away takes routes along.
    const routes = run.changes === changesBefore ? routesBefore : run.routes(keep);
    if (routes) setRoutes(run, wanted, routes, index);
    this.#dropOutside(run, plans);
  }

  #planOutside(run: Run, wanted: WantedNetwork, index: number): OutsidePlan[] | undefined {
    const routes = run.routes(this.#relevantRoutes(wanted, index));
    return routes && planOutside(run, this.#outside(wanted), routes, index);
  }

  /** Which routes of a dump matter: ours, those in the place of a wanted one, and those that cover an outside address. */
  #relevantRoutes(wanted: WantedNetwork, index: number): (route: Route) => boolean {
    const keys = new Set(wanted.routes.map(route => routeKey(network(route.destination), route.metric)));
    const outside = this.#outside(wanted);
    return route =>
      route.type === RTN_UNICAST &&
      (isOwn(route, index) ||
        keys.has(routeKey(route.destination, route.metric)) ||
        outside.some(ip => contains(route.destination, ip)));
  }

  #outside({ outside, guard, dns }: WantedNetwork): readonly Ip[] {
    return guard?.isLookingUp ? [...outside, ...nameServers(this.#files, dns.servers)] : outside;
  }

  /** Makes exactly what is blocked unreachable. */
  #block(run: Run, { guard }: WantedNetwork): void {
    if (guard === undefined) return this.#unblock(run);
    this.#isBlocking = true;
    const metric = this.#blockMetric;
    const present = run.routes(route => isBlock(route, metric));
    if (present === undefined) return;
    const there = new Set(present.map(route => formatPrefix(route.destination)));
    const wanted = new Map(guard.blocked.map(prefix => [formatPrefix(network(prefix)), prefix]));
    for (const [text, prefix] of wanted) {
      if (!there.has(text)) run.addRoute('kill switch', blockChange(prefix, metric), 'create');
    }
    for (const { destination } of present) {
      if (!wanted.has(formatPrefix(destination)))
        run.deleteRoute('kill switch', blockChange(destination, metric));
    }
  }

  #unblock(run: Run): void {
    if (!this.#isBlocking) return;
    const metric = this.#blockMetric;
    const failuresBefore = run.failureCount;
    for (const { destination } of run.routes(route => isBlock(route, metric)) ?? []) {
      run.deleteRoute('kill switch', blockChange(destination, metric));
    }
    this.#isBlocking = run.failureCount > failuresBefore;
  }

  /** Writes down everything that is about to be made, beside what is there already. */
  #note(run: Run, link: Link, addresses: readonly InterfaceAddress[], plans: readonly OutsidePlan[]): void {
    const { index, name } = link;
    const old = this.#state;
    const isSame = old?.index === index && old.device === name;
    const known = isSame ? old.addresses : [];
    const outside = old?.outside ?? [];
    const before = isSame ? old.before : deviceBefore(link);
    const isNewAddress = (address: InterfaceAddress) => !textsOf(known).has(addressText(address));
    const isNewRoute = (plan: OutsidePlan) => !outside.some(route => sameOutside(route, plan.route));
    this.#save(run, {
      device: name,
      index,
      before,
      addresses: [...known, ...addresses.filter(isNewAddress)],
      outside: [...outside, ...plans.filter(isNewRoute).map(plan => plan.route)],
    });
  }

  #setAddresses(run: Run, index: number, wanted: readonly InterfaceAddress[]): void {
    const present = run.addresses(index);
    if (present === undefined) return;
    const { remove, add } = compareAddresses(wanted, present, textsOf(this.#state?.addresses ?? []));
    // With its last IPv4 address a device loses its routes, so new ones come first, where old ones let them.
    const isInTheWay = (address: InterfaceAddress) =>
      remove.some(old => contains({ ip: old.local, bits: old.bits }, address.local));
    const refused = new Set(
      add
        .filter(address => !isInTheWay(address))
        .filter(address => !run.addAddress(address))
        .map(addressText),
    );
    const stuck = remove.filter(address => !run.deleteAddress(address));
    // With the first IPv4 address of a network the kernel takes away the others of that network.
    const left = remove.length === 0 ? undefined : run.addresses(index);
    for (const address of left ? compareAddresses(wanted, left, new Set()).add : []) {
      if (!refused.has(addressText(address))) run.addAddress(address);
    }
    if (this.#state) this.#save(run, { ...this.#state, addresses: [...distinct(wanted), ...stuck] });
  }

  /** Host routes nobody wants any more, and old ways of those that moved. */
  #dropOutside(run: Run, plans: readonly OutsidePlan[]): void {
    const state = this.#state;
    if (state === undefined) return;
    const outside = state.outside.filter(
      route =>
        plans.some(plan => sameOutside(plan.route, route)) || !run.deleteRoute('host route', changeOf(route)),
    );
    this.#save(run, { ...state, outside });
  }

  #takeBack(run: Run): void {
    const state = this.#state;
    if (state === undefined) return;
    const failuresBefore = run.failureCount;
    const link = run.linkAgain(state.index, state.device);
    const isThere = link !== undefined && link !== 'gone';
    const addresses = isThere ? clearDevice(run, link, state) : link === 'gone' ? [] : state.addresses;
    const outside = state.outside.filter(route => !run.deleteRoute('host route', changeOf(route)));
    if (run.failureCount > failuresBefore) {
      this.#save(run, { ...state, addresses, outside });
      return;
    }
    this.#forget(run);
  }

  #forget(run: Run): void {
    this.#state = undefined;
    const failure = this.#file.remove();
    if (failure !== undefined) run.fail(failure);
  }

  #save(run: Run, state: AppliedState): void {
    this.#state = state;
    const failure = this.#file.save(state);
    // A tunnel without its crash record is better than no tunnel.
    if (failure !== undefined) run.fail(failure);
  }
}

function textsOf(addresses: readonly InterfaceAddress[]): Set<string> {
  return new Set(addresses.map(addressText));
}

function distinct(addresses: readonly InterfaceAddress[]): InterfaceAddress[] {
  return [...new Map(addresses.map(address => [addressText(address), address])).values()];
}

function deviceBefore(link: Link): DeviceBefore {
  const { addrGenMode } = link;
  return {
    isUp: (link.flags & IFF_UP) !== 0,
    mtu: link.mtu,
    ...(addrGenMode !== undefined && { addrGenMode }),
  };
}

function addOutside(run: Run, plans: readonly OutsidePlan[]): void {
  for (const { how, route, source } of plans) {
    if (how !== 'keep') run.addRoute('host route', changeOf(route, source), how);
  }
}

function setLink(run: Run, link: Link, mtu: number): void {
  if (link.mtu !== mtu) run.setMtu(link, mtu);
  // Seen before the MTU changed: a device that was too small for IPv6 gets the mode with the next apply().
  if (link.addrGenMode !== undefined && link.addrGenMode !== ADDR_GEN_MODE_NONE) {
    run.setAddrGenMode(link, ADDR_GEN_MODE_NONE);
  }
}

function setRoutes(run: Run, wanted: WantedNetwork, present: readonly Route[], index: number): void {
  const { remove, add } = compareRoutes(wanted.routes, present, index);
  for (const route of remove) deleteFromDevice(run, route, index);
  for (const { wanted: item, how } of add) {
    const { destination, metric } = item;
    const change = { destination, hop: hopInto(index, item), metric, protocol: OVPND_ROUTE_PROTOCOL };
    run.addRoute('route', change, how);
  }
}

function deleteFromDevice(run: Run, route: Route, index: number): void {
  const { destination, metric, protocol } = route;
  for (const hop of route.hops) {
    if (hop.index === index) run.deleteRoute('route', { destination, hop, metric, protocol });
  }
}

/** Routes, addresses and settings of the device as they were; returns the addresses that could not be removed. */
function clearDevice(run: Run, link: Link, state: AppliedState): readonly InterfaceAddress[] {
  const { index, before } = state;
  for (const route of run.routes(candidate => isOwn(candidate, index)) ?? []) {
    deleteFromDevice(run, route, index);
  }
  const applied = textsOf(state.addresses);
  const present = run.addresses(index);
  const left = present
    ?.filter(address => applied.has(addressText(address)))
    .filter(address => !run.deleteAddress(address));
  if (!before.isUp && (link.flags & IFF_UP) !== 0) run.setUp(link, false);
  if (link.mtu !== before.mtu) run.setMtu(link, before.mtu);
  if (before.addrGenMode !== undefined && link.addrGenMode !== before.addrGenMode) {
    run.setAddrGenMode(link, before.addrGenMode);
  }
  return left ?? state.addresses;
}
