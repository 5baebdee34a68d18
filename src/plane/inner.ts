// SPDX-License-Identifier: Apache-2.0
// What is inside a data packet: an IP packet, a ping, or an OCC message. There is no protocol field; the first
// nibble or the magic number decides. Nothing here looks past the IP header.

/** Sent when nothing else was; consumed by the receiver, never answered. */
export const PING = new Uint8Array([
  0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb, 0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48,
]);

/** Starts every OCC message; one byte of type follows. */
export const OCC_MAGIC = new Uint8Array([
  0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81, 0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c,
]);

export const IP4_HEADER_LENGTH = 20;
export const IP6_HEADER_LENGTH = 40;

/** 4 or 6 for something that has at least the fixed header of that version, else 0. */
export function ipVersion(packet: Uint8Array): 0 | 4 | 6 {
  const nibble = packet.length === 0 ? 0 : packet[0]! >> 4;
  if (nibble === 4 && packet.length >= IP4_HEADER_LENGTH) return 4;
  if (nibble === 6 && packet.length >= IP6_HEADER_LENGTH) return 6;
  return 0;
}

/** Exactly a ping. */
export function isPing(payload: Uint8Array): boolean {
  return payload.length === PING.length && startsWith(payload, PING);
}

/** The OCC magic and at least the type byte. */
export function isOcc(payload: Uint8Array): boolean {
  return payload.length > OCC_MAGIC.length && startsWith(payload, OCC_MAGIC);
}

/** Offset of the source address of an IP packet. */
export function sourceAt(version: 4 | 6): number {
  return version === 4 ? 12 : 8;
}

/** Offset of the destination address of an IP packet. */
export function destinationAt(version: 4 | 6): number {
  return version === 4 ? 16 : 24;
}

export function addressLength(version: 4 | 6): number {
  return version === 4 ? 4 : 16;
}

/** 224.0.0.0/4, 255.255.255.255 or ff00::/8 at `bytes[at]`. */
export function isGroup(bytes: Uint8Array, at: number, version: 4 | 6): boolean {
  const first = bytes[at]!;
  if (version === 6) return first === 0xff;
  return (
    first >> 4 === 0xe ||
    (first === 0xff && bytes[at + 1] === 0xff && bytes[at + 2] === 0xff && bytes[at + 3] === 0xff)
  );
}

/** fe80::/10 at `bytes[at]`; IPv4 has none here. */
export function isLinkLocal(bytes: Uint8Array, at: number, version: 4 | 6): boolean {
  return version === 6 && bytes[at] === 0xfe && bytes[at + 1]! >> 6 === 2;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  for (let i = 0; i < start.length; i++) if (bytes[i] !== start[i]) return false;
  return true;
}
