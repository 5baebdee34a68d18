// SPDX-License-Identifier: Apache-2.0
// Links and addresses as rtnetlink messages (linux/rtnetlink.h, if_link.h, if_addr.h): requests are built with
// sequence number 0, answers and dumps are read. Only what a tunnel needs; routes are in route.ts, sockets elsewhere.

import type { Ip } from '../core/address.ts';
import {
  attributesOf,
  HOST_LITTLE,
  type Message,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  viewOf,
} from './message.ts';

export const NETLINK_ROUTE = 0;
/** The group that hears of links. */
export const RTNLGRP_LINK = 1;

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;

export const IFF_UP = 0x1;

export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_LINKINFO = 18;
export const IFLA_AF_SPEC = 26;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
/** No link-local address is made when the device comes up, and so no router solicitation is sent into it. */
export const ADDR_GEN_MODE_NONE = 1;

export const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
export const IFA_FLAGS = 8;
/** IPv6: usable at once, without duplicate address detection. */
export const IFA_F_NODAD = 0x02;

const LINK_HEADER_LENGTH = 16;
const ADDRESS_HEADER_LENGTH = 8;

const CHANGE = NLM_F_REQUEST | NLM_F_ACK;

export function familyOf(ip: Ip): number {
  return ip.length === 4 ? AF_INET : AF_INET6;
}

/** Address bytes of a family; undefined for families without IP addresses. */
export function widthOf(family: number): number | undefined {
  return family === AF_INET ? 4 : family === AF_INET6 ? 16 : undefined;
}

// ---- links

export interface Link {
  readonly index: number;
  readonly name: string;
  /** IFF_*. */
  readonly flags: number;
  readonly mtu: number;
  /** `tun`, `ovpn`...; absent for hardware. */
  readonly kind?: string;
  /** Absent where the device has no IPv6. */
  readonly addrGenMode?: number;
}

// ifinfomsg: 0 family u8 | 1 pad u8 | 2 type u16 | 4 index s32 | 8 flags u32 | 12 change mask u32
function linkWriter(
  type: number,
  messageFlags: number,
  index: number,
  little: boolean,
  flags = 0,
  change = 0,
): MessageWriter {
  return new MessageWriter(type, messageFlags, little)
    .u8(AF_UNSPEC)
    .u8(0)
    .u16(0)
    .u32(index)
    .u32(flags)
    .u32(change);
}

/** Asks for one link; the answer is one RTM_NEWLINK, then the acknowledgement. */
export function encodeGetLink(name: string, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_GETLINK, CHANGE, 0, little).textAttribute(IFLA_IFNAME, name).finish();
}

export function encodeGetLinkByIndex(index: number, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_GETLINK, CHANGE, index, little).finish();
}

/** Makes a virtual device; `writeData` writes what its kind wants. EEXIST when the name is taken. */
export function encodeNewLink(
  name: string,
  kind: string,
  writeData: (data: MessageWriter) => void,
  little: boolean = HOST_LITTLE,
): Uint8Array {
  return linkWriter(RTM_NEWLINK, CHANGE | NLM_F_CREATE | NLM_F_EXCL, 0, little)
    .textAttribute(IFLA_IFNAME, name)
    .nest(IFLA_LINKINFO, info => info.textAttribute(IFLA_INFO_KIND, kind).nest(IFLA_INFO_DATA, writeData))
    .finish();
}

export function encodeDeleteLink(index: number, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_DELLINK, CHANGE, index, little).finish();
}

export function encodeDeleteLinkByName(name: string, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_DELLINK, CHANGE, 0, little).textAttribute(IFLA_IFNAME, name).finish();
}

export function encodeSetLinkUp(index: number, up: boolean, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_NEWLINK, CHANGE, index, little, up ? IFF_UP : 0, IFF_UP).finish();
}

export function encodeSetMtu(index: number, mtu: number, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_NEWLINK, CHANGE, index, little).u32Attribute(IFLA_MTU, mtu).finish();
}

/** How IPv6 makes addresses for the device by itself: ADDR_GEN_MODE_NONE, or another mode seen before. */
export function encodeSetAddrGenMode(index: number, mode: number, little: boolean = HOST_LITTLE): Uint8Array {
  return linkWriter(RTM_NEWLINK, CHANGE, index, little)
    .nest(IFLA_AF_SPEC, spec =>
      spec.nest(AF_INET6, inet6 => inet6.u8Attribute(IFLA_INET6_ADDR_GEN_MODE, mode)),
    )
    .finish();
}

/** Undefined when the message is no link, there or (RTM_DELLINK) gone. */
export function decodeLink(message: Message): Link | undefined {
  const { type, body } = message;
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body.length < LINK_HEADER_LENGTH) return undefined;
  // Other families say what the link is to them: a bridge that lets go of it sends RTM_DELLINK, too.
  if (body[0] !== AF_UNSPEC) return undefined;
  const view = viewOf(body);
  const attributes = attributesOf(message, LINK_HEADER_LENGTH);
  const name = attributes.text(IFLA_IFNAME);
  if (name === undefined) return undefined;
  const kind = attributes.nested(IFLA_LINKINFO)?.text(IFLA_INFO_KIND);
  const inet6 = attributes.nested(IFLA_AF_SPEC)?.nested(AF_INET6);
  const addrGenMode = inet6?.uint(IFLA_INET6_ADDR_GEN_MODE);
  return {
    index: view.getInt32(4, message.little),
    name,
    flags: view.getUint32(8, message.little),
    mtu: attributes.uint(IFLA_MTU) ?? 0,
    ...(kind !== undefined && { kind }),
    ...(addrGenMode !== undefined && { addrGenMode }),
  };
}

// ---- addresses

/** An address on a device. */
export interface InterfaceAddress {
  readonly index: number;
  readonly local: Ip;
  /** Prefix length of the connected network, or of `peer`. */
  readonly bits: number;
  /** The other end of a point-to-point address. */
  readonly peer?: Ip;
}

// ifaddrmsg: 0 family u8 | 1 prefix length u8 | 2 flags u8 | 3 scope u8 | 4 index u32
function addressMessage(type: number, extra: number, address: InterfaceAddress, little: boolean): Uint8Array {
  const { local, peer, bits, index } = address;
  const family = familyOf(local);
  const flags = type === RTM_NEWADDR && family === AF_INET6 ? IFA_F_NODAD : 0;
  return new MessageWriter(type, CHANGE | extra, little)
    .u8(family)
    .u8(bits)
    .u8(flags)
    .u8(0)
    .u32(index)
    .attribute(IFA_LOCAL, local)
    .attribute(IFA_ADDRESS, peer ?? local)
    .finish();
}

/** Refused with EEXIST when the address is there already. */
export function encodeNewAddress(address: InterfaceAddress, little: boolean = HOST_LITTLE): Uint8Array {
  return addressMessage(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address, little);
}

export function encodeDeleteAddress(address: InterfaceAddress, little: boolean = HOST_LITTLE): Uint8Array {
  return addressMessage(RTM_DELADDR, 0, address, little);
}

/** All addresses of all devices, both families. */
export function encodeDumpAddresses(little: boolean = HOST_LITTLE): Uint8Array {
  return new MessageWriter(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, little)
    .u8(AF_UNSPEC)
    .u8(0)
    .u8(0)
    .u8(0)
    .u32(0)
    .finish();
}

/** Undefined when the message is no IP address. Byte arrays are copies. */
export function decodeAddress(message: Message): InterfaceAddress | undefined {
  const { type, body, little } = message;
  if ((type !== RTM_NEWADDR && type !== RTM_DELADDR) || body.length < ADDRESS_HEADER_LENGTH) return undefined;
  const width = widthOf(body[0]!);
  const bits = body[1]!;
  if (width === undefined || bits > width * 8) return undefined;
  const attributes = attributesOf(message, ADDRESS_HEADER_LENGTH);
  // IFA_ADDRESS is the prefix's address: the own one, or with IFA_LOCAL beside it the other end's.
  // IPv6 leaves IFA_LOCAL out when there is no other end.
  const far = attributes.bytes(IFA_ADDRESS);
  const local = attributes.bytes(IFA_LOCAL) ?? far;
  if (local?.length !== width || (far !== undefined && far.length !== width)) return undefined;
  const isPointToPoint = far?.some((byte, i) => byte !== local[i]) === true;
  return {
    index: viewOf(body).getUint32(4, little),
    local: local.slice(),
    bits,
    ...(isPointToPoint && { peer: far.slice() }),
  };
}
