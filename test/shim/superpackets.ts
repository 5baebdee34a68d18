// SPDX-License-Identifier: Apache-2.0
// Packets with right checksums, and super-packets in frames as the kernel gives them: a virtio header before each.

import { ip } from '../unit/plane/helpers.ts';

export const HEADER = 10;
export const NEEDS_CSUM = 1;
export const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5 } as const;
export const FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

function sum16(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

function pseudo(packet: Uint8Array, protocol: number, length: number): number {
  const addresses = packet[0]! >> 4 === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  return sum16(addresses) + protocol + (length >> 16) + (length & 0xffff);
}

export interface Shape {
  readonly version: 4 | 6;
  readonly protocol: 6 | 17;
  readonly payload: Uint8Array;
  readonly flags?: number;
  readonly sequence?: number;
  readonly tos?: number;
  /** Options of TCP, a multiple of four. */
  readonly options?: Uint8Array;
  readonly id?: number;
  readonly mayFragment?: boolean;
}

/** A packet with right checksums. */
export function packet(shape: Shape): Uint8Array {
  const {
    version,
    protocol,
    payload,
    flags = FLAG.ack,
    sequence = 1000,
    tos = 0,
    options = new Uint8Array(0),
  } = shape;
  const ipLength = version === 4 ? 20 : 40;
  const transportLength = protocol === 6 ? 20 + options.length : 8;
  const out = new Uint8Array(ipLength + transportLength + payload.length);
  const view = new DataView(out.buffer);
  if (version === 4) {
    out.set([0x45, tos]);
    view.setUint16(2, out.length);
    view.setUint16(4, shape.id ?? 7);
    out[6] = shape.mayFragment === true ? 0 : 0x40;
    out.set([64, protocol], 8);
    out.set(ip('10.8.0.2'), 12);
    out.set(ip('192.0.2.9'), 16);
    view.setUint16(10, ~sum16(out.subarray(0, 20)) & 0xffff);
  } else {
    out.set([0x60 | (tos >> 4), (tos & 15) << 4]);
    view.setUint16(4, out.length - 40);
    out.set([protocol, 64], 6);
    out.set(ip('fd42:8::2'), 8);
    out.set(ip('2001:db8::9'), 24);
  }
  view.setUint16(ipLength, 40_000);
  view.setUint16(ipLength + 2, 443);
  if (protocol === 6) {
    view.setUint32(ipLength + 4, sequence);
    view.setUint32(ipLength + 8, 555);
    out.set([((20 + options.length) / 4) << 4, flags], ipLength + 12);
    view.setUint16(ipLength + 14, 501);
    out.set(options, ipLength + 20);
  } else view.setUint16(ipLength + 4, 8 + payload.length);
  out.set(payload, ipLength + transportLength);
  const length = out.length - ipLength;
  const sum = ~sum16(out.subarray(ipLength), pseudo(out, protocol, length)) & 0xffff;
  view.setUint16(ipLength + (protocol === 6 ? 16 : 6), sum === 0 && protocol === 17 ? 0xffff : sum);
  return out;
}

/** As the kernel gives it: the checksum holds only the sum of the pseudo header. */
export function superFrame(shape: Shape, size: number): Uint8Array {
  const inside = packet(shape);
  const { version, protocol } = shape;
  const at = version === 4 ? 20 : 40;
  const offset = protocol === 6 ? 16 : 6;
  let partial = pseudo(inside, protocol, inside.length - at);
  while (partial > 0xffff) partial = (partial & 0xffff) + (partial >> 16);
  new DataView(inside.buffer).setUint16(at + offset, partial);
  const gso = protocol === 17 ? GSO.udp : version === 4 ? GSO.tcp4 : GSO.tcp6;
  return frame(inside, { flags: NEEDS_CSUM, gso, size, start: at, offset });
}

interface Virtio {
  readonly flags?: number;
  readonly gso?: number;
  readonly size?: number;
  readonly start?: number;
  readonly offset?: number;
  readonly headerLength?: number;
}

export function frame(
  inside: Uint8Array,
  { flags = 0, gso = 0, size = 0, start = 0, offset = 0, headerLength = 0 }: Virtio = {},
) {
  const out = new Uint8Array(HEADER + inside.length);
  out.set([flags, gso]);
  // In the machine's order.
  out.set(new Uint8Array(Uint16Array.of(headerLength, size, start, offset).buffer), 2);
  out.set(inside, HEADER);
  return out;
}

/** Whether all checksums and lengths of a packet are right. */
export function isRight(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isIp4 = bytes[0]! >> 4 === 4;
  const at = isIp4 ? 20 : 40;
  const length = isIp4 ? view.getUint16(2) : view.getUint16(4) + 40;
  if (length !== bytes.length || (isIp4 && sum16(bytes.subarray(0, 20)) !== 0xffff)) return false;
  return sum16(bytes.subarray(at), pseudo(bytes, bytes[isIp4 ? 9 : 6]!, length - at)) === 0xffff;
}
