// SPDX-License-Identifier: Apache-2.0
// Routes as rtnetlink messages (linux/rtnetlink.h): make, delete, dump, and ask which way a packet takes.
// Main table and unicast only for what is made; everything is read. No sockets.

import type { Ip, Prefix } from '../core/address.ts';
import {
  Attributes,
  align4,
  attributesOf,
  HOST_LITTLE,
  type Message,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  viewOf,
} from './message.ts';
import { familyOf, widthOf } from './rtnetlink.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

export const RTA_DST = 1;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
export const RTA_PREFSRC = 7;
export const RTA_MULTIPATH = 9;
export const RTA_TABLE = 15;
export const RTA_VIA = 18;

export const RT_TABLE_MAIN = 254;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_NOWHERE = 255;
export const RTN_UNSPEC = 0;
export const RTN_UNICAST = 1;
export const RTN_UNREACHABLE = 7;
export const RTNH_F_DEAD = 0x01;
/** The gateway counts as reachable on the device although no route says so. */
export const RTNH_F_ONLINK = 0x04;
export const RTNH_F_LINKDOWN = 0x10;

const ROUTE_HEADER_LENGTH = 12;
const NEXT_HOP_HEADER_LENGTH = 8;

/** One next hop: a device, and the gateway behind it unless the destination is on the link. */
export interface Hop {
  readonly index: number;
  /** May be of the other family (IPv4 by an IPv6 gateway). */
  readonly gateway?: Ip;
  /** RTNH_F_*. */
  readonly flags: number;
}

export interface Route {
  /** Host bits clear. */
  readonly destination: Prefix;
  /** Several for a multipath route, none for an unreachable or blackhole one. */
  readonly hops: readonly Hop[];
  /** RTA_PRIORITY; for IPv6 the kernel turns 0 into 1024. */
  readonly metric: number;
  readonly table: number;
  /** Who made it: RTPROT_* and private numbers. */
  readonly protocol: number;
  /** RTN_*. */
  readonly type: number;
  readonly tos: number;
  /** Own address preferred for what takes this route. */
  readonly source?: Ip;
}

/** A route to make or delete: in the main table, with one hop. */
export interface RouteChange {
  readonly destination: Prefix;
  /** Absent: an unreachable one, which answers the sender so. */
  readonly hop?: Hop;
  readonly metric: number;
  readonly protocol: number;
  readonly source?: Ip;
}

// rtmsg: 0 family u8 | 1 dst_len u8 | 2 src_len u8 | 3 tos u8 | 4 table u8 | 5 protocol u8 | 6 scope u8 |
//        7 type u8 | 8 flags u32
function routeMessage(
  type: number,
  extra: number,
  scope: number,
  change: RouteChange,
  little: boolean,
): Uint8Array {
  const { destination, hop, metric, protocol, source } = change;
  const writer = new MessageWriter(type, NLM_F_REQUEST | NLM_F_ACK | extra, little)
    .u8(familyOf(destination.ip))
    .u8(destination.bits)
    .u8(0)
    .u8(0)
    .u8(RT_TABLE_MAIN)
    .u8(protocol)
    .u8(scope)
    .u8(hop ? RTN_UNICAST : RTN_UNREACHABLE)
    .u32((hop?.flags ?? 0) & RTNH_F_ONLINK)
    .attribute(RTA_DST, destination.ip);
  if (hop) writer.u32Attribute(RTA_OIF, hop.index);
  if (hop?.gateway?.length === destination.ip.length) writer.attribute(RTA_GATEWAY, hop.gateway);
  else if (hop?.gateway) {
    const via = hop.gateway;
    // rtvia: 0 family u16 | 2 address
    writer.build(RTA_VIA, () => writer.u16(familyOf(via)).raw(via));
  }
  if (metric !== 0) writer.u32Attribute(RTA_PRIORITY, metric);
  if (source) writer.attribute(RTA_PREFSRC, source);
  return writer.finish();
}

/**
 * Makes a route. `create` is refused with EEXIST when any route has this destination and metric: without that flag
 * IPv4 would put a second one before it, and IPv6 would join both to one multipath route. `replace` takes such a
 * route's place without a gap.
 */
export function encodeNewRoute(
  change: RouteChange,
  how: 'create' | 'replace',
  little: boolean = HOST_LITTLE,
): Uint8Array {
  const extra = NLM_F_CREATE | (how === 'create' ? NLM_F_EXCL : NLM_F_REPLACE);
  const isOnLink = change.hop !== undefined && change.hop.gateway === undefined;
  const scope = isOnLink ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  return routeMessage(RTM_NEWROUTE, extra, scope, change, little);
}

/** Deletes a route only if everything named matches, the protocol too: nobody else's route can be hit. */
export function encodeDeleteRoute(change: RouteChange, little: boolean = HOST_LITTLE): Uint8Array {
  return routeMessage(RTM_DELROUTE, 0, RT_SCOPE_NOWHERE, change, little);
}

function getRouteWriter(messageFlags: number, family: number, bits: number, little: boolean): MessageWriter {
  const writer = new MessageWriter(RTM_GETROUTE, NLM_F_REQUEST | messageFlags, little);
  return writer.u8(family).u8(bits).u8(0).u8(0).u8(0).u8(0).u8(0).u8(0).u32(0);
}

/** Asks which way packets to `ip` take now; the answer is one RTM_NEWROUTE, then the acknowledgement. */
export function encodeGetRoute(ip: Ip, little: boolean = HOST_LITTLE): Uint8Array {
  return getRouteWriter(NLM_F_ACK, familyOf(ip), ip.length * 8, little)
    .attribute(RTA_DST, ip)
    .finish();
}

/** All routes of all tables of one family. */
export function encodeDumpRoutes(family: number, little: boolean = HOST_LITTLE): Uint8Array {
  return getRouteWriter(NLM_F_DUMP, family, 0, little).finish();
}

/** Undefined when the message is no IP route. Byte arrays are copies. */
export function decodeRoute(message: Message): Route | undefined {
  const { type, body, little } = message;
  if ((type !== RTM_NEWROUTE && type !== RTM_DELROUTE) || body.length < ROUTE_HEADER_LENGTH) return undefined;
  const width = widthOf(body[0]!);
  const bits = body[1]!;
  if (width === undefined || bits > width * 8) return undefined;
  const attributes = attributesOf(message, ROUTE_HEADER_LENGTH);
  // The default route comes without a destination.
  const ip = attributes.bytes(RTA_DST)?.slice() ?? new Uint8Array(width);
  const source = attributes.bytes(RTA_PREFSRC);
  if (ip.length !== width || (source !== undefined && source.length !== width)) return undefined;
  const several = attributes.bytes(RTA_MULTIPATH);
  const index = attributes.uint(RTA_OIF);
  let hops: readonly Hop[] = [];
  if (several) hops = readHops(several, little);
  else if (index !== undefined) hops = [hopOf(attributes, index, viewOf(body).getUint32(8, little))];
  return {
    destination: { ip, bits },
    hops,
    metric: attributes.uint(RTA_PRIORITY) ?? 0,
    table: attributes.uint(RTA_TABLE) ?? body[4]!,
    protocol: body[5]!,
    type: body[7]!,
    tos: body[3]!,
    ...(source && { source: source.slice() }),
  };
}

function hopOf(attributes: Attributes, index: number, flags: number): Hop {
  const via = attributes.bytes(RTA_VIA);
  const gateway = attributes.bytes(RTA_GATEWAY) ?? via?.subarray(2);
  const isIp = gateway !== undefined && (gateway.length === 4 || gateway.length === 16);
  return { index, flags, ...(isIp && { gateway: gateway.slice() }) };
}

// rtnexthop, one after the other: 0 length u16 (with attributes) | 2 flags u8 | 3 hops u8 | 4 index s32 | 8 attributes
function readHops(bytes: Uint8Array, little: boolean): Hop[] {
  const view = viewOf(bytes);
  const hops: Hop[] = [];
  let at = 0;
  while (at + NEXT_HOP_HEADER_LENGTH <= bytes.length) {
    const length = view.getUint16(at, little);
    if (length < NEXT_HOP_HEADER_LENGTH || at + length > bytes.length) break;
    const attributes = new Attributes(bytes.subarray(at + NEXT_HOP_HEADER_LENGTH, at + length), little);
    hops.push(hopOf(attributes, view.getInt32(at + 4, little), bytes[at + 2]!));
    at += align4(length);
  }
  return hops;
}
