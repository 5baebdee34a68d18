// SPDX-License-Identifier: Apache-2.0
// As much of the fake kernel's route netlink as a device and its routes need.

import { formatPrefix } from '../../../src/core/address.ts';
import {
  attributesOf,
  type Message,
  MessageWriter,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  viewOf,
} from '../../../src/netlink/message.ts';
import { decodeRoute, type Route, RTM_DELROUTE, RTM_NEWROUTE } from '../../../src/netlink/route.ts';
import {
  IFLA_IFNAME,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from '../../../src/netlink/rtnetlink.ts';
import { E, Refusal } from './kernelfakemessages.ts';
import type { FakeLink } from './kernelfakepeers.ts';

/** The part of FakeOvpn that requests of route netlink read and change. */
export interface FakeMachine {
  readonly links: ReadonlyMap<number, FakeLink>;
  readonly routes: Route[];
  readonly isPrivileged: boolean;
  readonly isLoaded: boolean;
  addLink(name: string, kind: string | undefined, mode: 'p2p' | 'mp'): void;
  removeLink(index: number): void;
}

export function handleRoute(machine: FakeMachine, request: Message, out: Uint8Array[]): void {
  switch (request.type) {
    case RTM_GETLINK:
      return getLink(machine, request, out);
    case RTM_NEWLINK:
      return newLink(machine, request);
    case RTM_DELLINK: {
      const name = attributesOf(request, 16).text(IFLA_IFNAME);
      const named = [...machine.links.values()].find(link => link.name === name);
      const index = named?.index ?? viewOf(request.body).getInt32(4, request.little);
      if (!machine.links.has(index)) throw new Refusal(E.NODEV);
      return machine.removeLink(index);
    }
    case RTM_NEWROUTE:
      return newRoute(machine, decodeRoute(request)!, request.flags);
    case RTM_DELROUTE: {
      const asked = decodeRoute(request)!;
      const at = machine.routes.findIndex(
        route => sameRoute(route, asked) && String(route.hops[0]?.gateway) === String(asked.hops[0]?.gateway),
      );
      if (at < 0) throw new Refusal(E.SRCH);
      machine.routes.splice(at, 1);
      return;
    }
    default:
      throw new Refusal(E.OPNOTSUPP);
  }
}

function getLink(machine: FakeMachine, request: Message, out: Uint8Array[]): void {
  const name = attributesOf(request, 16).text(IFLA_IFNAME);
  const link = [...machine.links.values()].find(one => one.name === name);
  if (link === undefined) throw new Refusal(E.NODEV);
  const writer = new MessageWriter(RTM_NEWLINK, 0).u32(0).u32(link.index).u32(0x90).u32(0);
  writer.textAttribute(IFLA_IFNAME, link.name);
  const { kind } = link;
  if (kind !== undefined) writer.nest(IFLA_LINKINFO, info => info.textAttribute(IFLA_INFO_KIND, kind));
  out.push(writer.finish());
}

function newLink(machine: FakeMachine, request: Message): void {
  if (!machine.isPrivileged) throw new Refusal(E.PERM);
  const attributes = attributesOf(request, 16);
  const info = attributes.nested(IFLA_LINKINFO);
  const kind = info?.text(IFLA_INFO_KIND);
  // Only asking for the family loads the module.
  if (kind !== 'ovpn' || !machine.isLoaded) throw new Refusal(E.OPNOTSUPP, 'Unknown device type');
  const name = attributes.text(IFLA_IFNAME)!;
  if ([...machine.links.values()].some(link => link.name === name)) throw new Refusal(E.EXIST);
  const mode = info?.nested(IFLA_INFO_DATA)?.bytes(1);
  if (mode?.length !== 1 || mode[0]! > 1) throw new Refusal(E.RANGE, 'integer out of range');
  machine.addLink(name, kind, mode[0] === 1 ? 'mp' : 'p2p');
}

function newRoute(machine: FakeMachine, asked: Route, flags: number): void {
  const index = asked.hops[0]!.index;
  if (!machine.links.has(index)) throw new Refusal(E.NODEV);
  const same = machine.routes.findIndex(route => sameRoute(route, asked));
  if (same >= 0 && (flags & NLM_F_EXCL) !== 0) throw new Refusal(E.EXIST);
  if (same >= 0 && (flags & NLM_F_REPLACE) !== 0) machine.routes[same] = asked;
  else machine.routes.push(asked);
}

function sameRoute(a: Route, b: Route): boolean {
  return formatPrefix(a.destination) === formatPrefix(b.destination) && a.metric === b.metric;
}
