// SPDX-License-Identifier: Apache-2.0
// A small model of the kernel's links, addresses and main routing table behind the netlink socket of the host, and
// of a directory of files. It keeps the habits that matter here: EXCL and REPLACE, an IPv4 address that goes with
// the first one of its network, routes that go with the last address or with the link, IPv6 metric 0.
// The n-th request can be made to go wrong in each way a kernel has.

import { contains, formatIp, formatPrefix, network, sameIp } from '../../../src/core/address.ts';
import type { Failure, Files, NetlinkSocket, Result } from '../../../src/host/host.ts';
import {
  attributesOf,
  type Message,
  MessageWriter,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_EXCL,
  NLM_F_MULTI,
  NLM_F_REPLACE,
  readMessages,
  stampSequence,
} from '../../../src/netlink/message.ts';
import {
  decodeRoute,
  type Hop,
  type Route,
  RTA_DST,
  RTA_GATEWAY,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTM_DELROUTE,
  RTM_GETROUTE,
  RTM_NEWROUTE,
} from '../../../src/netlink/route.ts';
import {
  AF_INET6,
  decodeAddress,
  familyOf,
  IFA_ADDRESS,
  IFA_LOCAL,
  IFF_UP,
  IFLA_AF_SPEC,
  IFLA_IFNAME,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_MTU,
  type InterfaceAddress,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_NEWADDR,
  RTM_NEWLINK,
} from '../../../src/netlink/rtnetlink.ts';

export interface FakeLink {
  readonly name: string;
  flags: number;
  mtu: number;
  addrGenMode: number | undefined;
}

/** refuse: not done, EPERM. lost: done, the answer lost (ENOBUFS). torn: DUMP_INTR. mute: not done, no answer.
 *  unsent: send() fails. die: the process ends in the middle of it, before or after it was done. */
export type Fault = 'refuse' | 'lost' | 'torn' | 'mute' | 'unsent' | 'dieBefore' | 'dieAfter';

/** Stands for SIGKILL. */
export class Died extends Error {}

const EEXIST = 17;
const ENODEV = 19;
const RTN_LOCAL = 2;

export class FakeKernel {
  readonly links = new Map<number, FakeLink>();
  addresses: InterfaceAddress[] = [];
  routes: Route[] = [];
  /** Requests so far, of all sockets. */
  requests = 0;
  faults = new Map<number, Fault>();
  openSockets = 0;
  /** How openNetlink fails, if it does. */
  openFailure: Failure | undefined;

  readonly open = (protocol: number): Result<NetlinkSocket> => {
    if (this.openFailure) return this.openFailure;
    if (protocol !== 0) throw new Error('not route netlink');
    this.openSockets += 1;
    const answers: (Uint8Array | Failure)[] = [];
    let isOpen = true;
    return {
      fd: 99,
      send: message => this.#send(message, answers),
      receive: () => answers.shift(),
      join: () => undefined,
      close: () => {
        if (isOpen) this.openSockets -= 1;
        isOpen = false;
      },
    };
  };

  removeLink(index: number): void {
    this.links.delete(index);
    this.addresses = this.addresses.filter(address => address.index !== index);
    this.#flush(index);
  }

  /** Everything as text, in an order of its own. */
  snapshot(): string[] {
    const links = [...this.links].map(([i, link]) => `${i} ${JSON.stringify(link)}`);
    const addresses = this.addresses.map(
      a => `${a.index} ${formatIp(a.local)}/${a.bits} ${a.peer ? formatIp(a.peer) : ''}`,
    );
    return [...links, ...addresses, ...this.routes.map(routeText)].sort();
  }

  #send(bytes: Uint8Array, answers: (Uint8Array | Failure)[]): Failure | undefined {
    this.requests += 1;
    const fault = this.faults.get(this.requests);
    if (fault === 'unsent') return failure('sendto', 1, 'EPERM', 'Operation not permitted');
    if (fault === 'dieBefore') throw new Died();
    if (fault === 'mute') return undefined;
    const request = readMessages(bytes)[0]!;
    const out: Uint8Array[] = [];
    const errno = fault === 'refuse' ? 1 : this.#handle(request, out);
    if (fault === 'dieAfter') throw new Died();
    if (fault === 'lost') {
      answers.push(failure('recv', 105, 'ENOBUFS', 'No buffer space available'));
      return undefined;
    }
    const isDump = (request.flags & NLM_F_DUMP) === NLM_F_DUMP && errno === 0;
    out.push(isDump ? doneOf(fault === 'torn') : ackOf(errno));
    for (const answer of out) {
      stampSequence(answer, request.sequence);
      answers.push(answer);
    }
    return undefined;
  }

  #handle(request: Message, out: Uint8Array[]): number {
    switch (request.type) {
      case RTM_GETLINK:
        return this.#getLink(request, out);
      case RTM_NEWLINK:
        return this.#setLink(request);
      case RTM_GETADDR:
        for (const address of this.addresses) out.push(addressBytes(address));
        return 0;
      case RTM_NEWADDR:
        return this.#newAddress(decodeAddress(request)!);
      case RTM_DELADDR:
        return this.#deleteAddress(decodeAddress(request)!);
      case RTM_GETROUTE:
        return this.#getRoute(request, out);
      case RTM_NEWROUTE:
        return this.#newRoute(decodeRoute(request)!, request.flags);
      case RTM_DELROUTE:
        return this.#deleteRoute(decodeRoute(request)!);
      default:
        return 95;
    }
  }

  #getLink(request: Message, out: Uint8Array[]): number {
    const name = attributesOf(request, 16).text(IFLA_IFNAME);
    const wanted = new DataView(request.body.buffer, request.body.byteOffset).getInt32(4, request.little);
    for (const [index, link] of this.links) {
      if (name === undefined ? index !== wanted : link.name !== name) continue;
      const writer = new MessageWriter(RTM_NEWLINK, 0).u32(0).u32(index).u32(link.flags).u32(0);
      writer.textAttribute(IFLA_IFNAME, link.name).u32Attribute(IFLA_MTU, link.mtu);
      const mode = link.addrGenMode;
      if (mode !== undefined) {
        writer.nest(IFLA_AF_SPEC, spec =>
          spec.nest(AF_INET6, inet6 => inet6.u8Attribute(IFLA_INET6_ADDR_GEN_MODE, mode)),
        );
      }
      out.push(writer.finish());
      return 0;
    }
    return ENODEV;
  }

  #setLink(request: Message): number {
    const view = new DataView(request.body.buffer, request.body.byteOffset);
    const index = view.getInt32(4, request.little);
    const link = this.links.get(index);
    if (!link) return ENODEV;
    const attributes = attributesOf(request, 16);
    link.mtu = attributes.uint(IFLA_MTU) ?? link.mtu;
    const inet6 = attributes.nested(IFLA_AF_SPEC)?.nested(AF_INET6);
    link.addrGenMode = inet6?.uint(IFLA_INET6_ADDR_GEN_MODE) ?? link.addrGenMode;
    const change = view.getUint32(12, request.little);
    link.flags = (link.flags & ~change) | (view.getUint32(8, request.little) & change);
    if ((change & IFF_UP) !== 0 && (link.flags & IFF_UP) === 0) {
      this.#flush(index);
      this.addresses = this.addresses.filter(a => a.index !== index || a.local.length === 4);
    }
    return 0;
  }

  #flush(index: number, width?: number): void {
    const goes = (route: Route) =>
      route.hops.some(hop => hop.index === index) &&
      (width === undefined || route.destination.ip.length === width);
    this.routes = this.routes.filter(route => !goes(route));
  }

  #newAddress(address: InterfaceAddress): number {
    if (!this.links.has(address.index)) return ENODEV;
    const isTaken = this.addresses.some(
      other =>
        other.index === address.index &&
        sameIp(other.local, address.local) &&
        (other.local.length === 16 || other.bits === address.bits),
    );
    if (isTaken) return EEXIST;
    this.addresses.push(address);
    return 0;
  }

  #deleteAddress(address: InterfaceAddress): number {
    const at = this.addresses.findIndex(
      other =>
        other.index === address.index && sameIp(other.local, address.local) && other.bits === address.bits,
    );
    if (at < 0) return 99;
    this.addresses.splice(at, 1);
    const { local, bits, index } = address;
    if (local.length === 16) return 0;
    // The later addresses of the network are secondary to its first one.
    this.addresses = this.addresses.filter(
      (other, i) =>
        i < at || other.index !== index || other.bits !== bits || !contains({ ip: local, bits }, other.local),
    );
    if (!this.addresses.some(other => other.index === index && other.local.length === 4))
      this.#flush(index, 4);
    return 0;
  }

  #connected(): Route[] {
    return this.addresses
      .filter(address => ((this.links.get(address.index)?.flags ?? 0) & IFF_UP) !== 0)
      .map(({ index, local, bits, peer }) =>
        routeOf({ ip: peer ?? local, bits }, { index, flags: 0 }, local.length === 16 ? 256 : 0, 2),
      );
  }

  #getRoute(request: Message, out: Uint8Array[]): number {
    const family = request.body[0]!;
    const all = [...this.#connected(), ...this.routes];
    if ((request.flags & NLM_F_DUMP) === NLM_F_DUMP) {
      for (const route of all) {
        if (familyOf(route.destination.ip) === family) out.push(routeBytes(route, NLM_F_MULTI));
      }
      return 0;
    }
    const ip = attributesOf(request, 12).bytes(RTA_DST)!;
    const host = { ip, bits: ip.length * 8 };
    if (this.addresses.some(address => sameIp(address.local, ip))) {
      out.push(routeBytes({ ...routeOf(host, { index: 1, flags: 0 }, 0, 0), type: RTN_LOCAL }));
      return 0;
    }
    const best = all
      .filter(route => contains(route.destination, ip))
      .sort((a, b) => b.destination.bits - a.destination.bits || a.metric - b.metric)[0];
    if (!best) return 101;
    if (best.type !== 1) return 113;
    out.push(routeBytes({ ...best, destination: host, metric: 0, protocol: 0 }));
    return 0;
  }

  #newRoute(asked: Route, flags: number): number {
    const hop = asked.hops[0];
    const link = hop && this.links.get(hop.index);
    if (hop && !link) return ENODEV;
    if (link && (link.flags & IFF_UP) === 0) return 100;
    const onLink = this.#connected().filter(route => route.hops[0]!.index === hop?.index);
    const gateway = hop?.gateway;
    const isReachable =
      !gateway || hop?.flags !== 0 || onLink.some(route => contains(route.destination, gateway));
    if (!isReachable) return 101;
    const metric = asked.metric === 0 && asked.destination.ip.length === 16 ? 1024 : asked.metric;
    const route = { ...asked, metric };
    const same = this.routes.findIndex(other => sameKey(other, route));
    if (same >= 0 && (flags & NLM_F_EXCL) !== 0) return EEXIST;
    if (same >= 0 && (flags & NLM_F_REPLACE) !== 0) this.routes[same] = route;
    else this.routes.push(route);
    return 0;
  }

  #deleteRoute(asked: Route): number {
    const at = this.routes.findIndex(
      route =>
        sameKey(route, asked) &&
        route.protocol === asked.protocol &&
        route.type === asked.type &&
        hopText(route.hops[0]) === hopText(asked.hops[0]),
    );
    if (at < 0) return 3;
    this.routes.splice(at, 1);
    return 0;
  }
}

function sameKey(a: Route, b: Route): boolean {
  return formatPrefix(a.destination) === formatPrefix(b.destination) && a.metric === b.metric;
}

function hopText(hop: Hop | undefined): string {
  return hop === undefined ? 'nowhere' : `${hop.index} ${hop.gateway ? formatIp(hop.gateway) : '-'}`;
}

function routeText(route: Route): string {
  const { destination, hops, metric, protocol } = route;
  return `${formatPrefix(destination)} via ${hops.map(hopText).join() || 'nowhere'} metric ${metric} proto ${protocol}`;
}

export function routeOf(
  destination: Route['destination'],
  hop: Hop,
  metric: number,
  protocol: number,
): Route {
  return { destination: network(destination), hops: [hop], metric, protocol, table: 254, type: 1, tos: 0 };
}

function failure(call: string, errno: number, code: string, text: string): Failure {
  return { failed: true, call, errno, code, text };
}

function ackOf(errno: number): Uint8Array {
  return new MessageWriter(2, 0x100).u32(-errno).raw(new Uint8Array(16)).finish();
}

function doneOf(isTorn: boolean): Uint8Array {
  return new MessageWriter(3, NLM_F_MULTI | (isTorn ? NLM_F_DUMP_INTR : 0)).u32(0).finish();
}

function addressBytes(address: InterfaceAddress): Uint8Array {
  const { local, peer, bits, index } = address;
  const writer = new MessageWriter(RTM_NEWADDR, NLM_F_MULTI).u8(familyOf(local)).u8(bits).u16(0).u32(index);
  writer.attribute(IFA_ADDRESS, peer ?? local);
  if (peer || local.length === 4) writer.attribute(IFA_LOCAL, local);
  return writer.finish();
}

function routeBytes(route: Route, flags = 0): Uint8Array {
  const { destination, metric, protocol, type, tos, table, source } = route;
  const hop = route.hops[0];
  const writer = new MessageWriter(RTM_NEWROUTE, flags).u8(familyOf(destination.ip)).u8(destination.bits);
  writer
    .u8(0)
    .u8(tos)
    .u8(table)
    .u8(protocol)
    .u8(0)
    .u8(type)
    .u32(hop?.flags ?? 0);
  if (destination.bits > 0) writer.attribute(RTA_DST, destination.ip);
  if (hop) writer.u32Attribute(RTA_OIF, hop.index);
  if (hop?.gateway) writer.attribute(RTA_GATEWAY, hop.gateway);
  if (source) writer.attribute(RTA_PREFSRC, source);
  if (metric > 0) writer.u32Attribute(RTA_PRIORITY, metric);
  return writer.finish();
}

export class FakeFiles implements Files {
  readonly contents = new Map<string, Uint8Array>();
  readonly modes = new Map<string, number>();
  writeFailure: Failure | undefined;

  read(path: string): Result<Uint8Array> {
    return this.contents.get(path) ?? failure(`open ${path}`, 2, 'ENOENT', 'No such file or directory');
  }

  write(path: string, bytes: Uint8Array, mode: number): Failure | undefined {
    if (this.writeFailure) return this.writeFailure;
    this.contents.set(path, bytes.slice());
    this.modes.set(path, mode);
    return undefined;
  }

  status(path: string): ReturnType<Files['status']> {
    return failure(`stat ${path}`, 2, 'ENOENT', 'No such file or directory');
  }

  list(): string[] {
    return [...this.contents.keys()];
  }

  makeDirectory(): Failure | undefined {
    return undefined;
  }

  remove(path: string): Failure | undefined {
    if (this.contents.delete(path)) return undefined;
    return failure(`unlink ${path}`, 2, 'ENOENT', 'No such file or directory');
  }
}
