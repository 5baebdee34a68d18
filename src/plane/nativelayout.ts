// SPDX-License-Identifier: Apache-2.0
// How paths, routes, peers and events cross between the native plane and the shim.

import type { Path, Prefix } from '../core/address.ts';
import type { CipherName } from '../core/crypto.ts';
import type { PeerCounters, PeerRecord } from '../core/plane.ts';

// Layouts of src/shim/plane.h and plane.c, numbers in the machine's own order.
export const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
export const PATH_LENGTH = 48;
const BLOCK = 8;
const ROUTE_LENGTH = 18;
export const SHOWN_LENGTH = 200;
export const TUN_HEADER_LENGTH = 10;
export const EVENT = {
  deleted: 1,
  floated: 2,
  exhausted: 3,
  expiring: 4,
  control: 5,
  inner: 6,
  streamEnd: 7,
  broken: 8,
  send: 9,
  deliver: 10,
} as const;
const COUNTERS: readonly (keyof PeerCounters)[] = [
  'vpnRxBytes',
  'vpnTxBytes',
  'vpnRxPackets',
  'vpnTxPackets',
  'linkRxBytes',
  'linkTxBytes',
  'linkRxPackets',
  'linkTxPackets',
];

/** Socket number, whether it is TCP, and the shim's address block. */
export function encodePath(path: Path): Uint8Array {
  const bytes = new Uint8Array(PATH_LENGTH);
  const view = new DataView(bytes.buffer);
  const { ip, port, scope = 0 } = path.remote;
  view.setInt32(0, path.socket, LITTLE);
  view.setInt32(4, path.tcp === true ? 1 : 0, LITTLE);
  bytes[BLOCK] = ip.length;
  bytes[BLOCK + 1] = path.local?.length ?? 0;
  view.setUint16(BLOCK + 2, port);
  view.setUint32(BLOCK + 4, scope);
  bytes.set(ip, BLOCK + 8);
  if (path.local !== undefined) bytes.set(path.local, BLOCK + 24);
  return bytes;
}

export function decodePath(bytes: Uint8Array): Path {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PATH_LENGTH);
  const localLength = bytes[BLOCK + 1]!;
  const scope = view.getUint32(BLOCK + 4);
  const ip = bytes.slice(BLOCK + 8, BLOCK + 8 + bytes[BLOCK]!);
  const port = view.getUint16(BLOCK + 2);
  const path: { -readonly [name in keyof Path]: Path[name] } = {
    socket: view.getInt32(0, LITTLE),
    remote: scope === 0 ? { ip, port } : { ip, port, scope },
  };
  if (localLength > 0) path.local = bytes.slice(BLOCK + 24, BLOCK + 24 + localLength);
  if (view.getInt32(4, LITTLE) !== 0) path.tcp = true;
  return path;
}

export function encodeRoutes(routes: readonly Prefix[]): Uint8Array {
  const bytes = new Uint8Array(routes.length * ROUTE_LENGTH);
  routes.forEach(({ ip, bits }, i) => {
    bytes.set([ip.length, bits], i * ROUTE_LENGTH);
    bytes.set(ip, i * ROUTE_LENGTH + 2);
  });
  return bytes;
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
}

export function decodePeer(bytes: Uint8Array): PeerRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, SHOWN_LENGTH);
  const u32 = (at: number): number => view.getUint32(at, LITTLE);
  const key = (at: number, idAt: number) => {
    const cipher = textOf(bytes.subarray(at, at + 24)) as CipherName;
    return cipher.length === 0 ? undefined : { keyId: bytes[idAt]!, cipher };
  };
  const primary = key(84, 14);
  const secondary = key(108, 15);
  const counters = {} as PeerCounters;
  COUNTERS.forEach((name, i) => {
    const at = 136 + 8 * i;
    counters[name] = u32(at + (LITTLE ? 4 : 0)) * 2 ** 32 + u32(at + (LITTLE ? 0 : 4));
  });
  return {
    peerId: u32(0),
    path: decodePath(bytes.subarray(16)),
    ...(bytes[12] !== 0 && { vpnIp4: bytes.slice(64, 68) }),
    ...(bytes[13] !== 0 && { vpnIp6: bytes.slice(68, 84) }),
    keepalive: { intervalS: u32(4), timeoutS: u32(8) },
    ...(primary && { primary }),
    ...(secondary && { secondary }),
    counters,
  };
}
