// SPDX-License-Identifier: Apache-2.0
// The options string (OCC) both ends put into key method 2, and the fixed payloads that travel in data packets:
// ping and exit notice. No version since 2.4 refuses a peer over the string; a familiar one keeps its log quiet.

import { sameBytes } from './bytes.ts';
import { HASH_LENGTH, type HashName } from './crypto.ts';
import { CIPHER_NAME_MAX } from './limits.ts';
import type { TlsRole } from './tls.ts';

export interface OptionsInput {
  readonly role: TlsRole;
  readonly transport: 'udp' | 'tcp';
  readonly tunMtu: number;
  /** Not tls-crypt: that leaves no trace in the string. */
  readonly tlsAuth: boolean;
  readonly keyDirection?: 0 | 1 | undefined;
  readonly digest: HashName;
}

/** What of a peer's string has any effect. */
export interface PeerOptions {
  /** As the peer wrote it. */
  readonly cipher?: string;
  /** Some compression framing is on. */
  readonly compLzo: boolean;
  readonly devTypeTap: boolean;
}

/** What OpenVPN counts for BF-CBC, its placeholder cipher: opcode, packet id, IV and a block of padding. */
const LINK_MTU_CIPHER = 1 + 4 + 8 + 8;
const LINK_MTU_TCP = 2;

/** The string a peer of ours with OpenVPN's defaults would send. */
export function buildOptions(input: OptionsInput): string {
  const tcp = input.transport === 'tcp';
  const linkMtu = input.tunMtu + LINK_MTU_CIPHER + HASH_LENGTH[input.digest] + (tcp ? LINK_MTU_TCP : 0);
  return [
    'V4',
    'dev-type tun',
    `link-mtu ${linkMtu}`,
    `tun-mtu ${input.tunMtu}`,
    `proto ${tcp ? `TCPv4_${input.role.toUpperCase()}` : 'UDPv4'}`,
    ...(input.tlsAuth && input.keyDirection !== undefined ? [`keydir ${input.keyDirection}`] : []),
    `auth ${input.digest}`,
    'keysize 128',
    ...(input.tlsAuth ? ['tls-auth'] : []),
    'key-method 2',
    `tls-${input.role}`,
  ].join(',');
}

/** Reads any text. */
export function readOptions(text: string): PeerOptions {
  const items = text.split(',');
  const cipher = items.find(item => item.startsWith('cipher '))?.slice('cipher '.length);
  const named = cipher !== undefined && cipher.length <= CIPHER_NAME_MAX && /^[A-Za-z0-9-]+$/.test(cipher);
  return {
    ...(named ? { cipher } : {}),
    compLzo: items.includes('comp-lzo'),
    devTypeTap: items.includes('dev-type tap'),
  };
}

/** Data packets of a kind we do not speak, by the peer's own options string; undefined: none. */
export function unusableFraming(options: PeerOptions): string | undefined {
  if (options.devTypeTap) return 'tap (layer 2), which is not supported';
  return options.compLzo ? 'compression framing (comp-lzo or compress), which is not supported' : undefined;
}

/** A data payload that only says "still here"; never passed on, never answered. */
export const PING_PAYLOAD = new Uint8Array([
  0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb, 0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48,
]);

// u8[16] magic
// u8     type; 6 = exit

const OCC_MAGIC = new Uint8Array([
  0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81, 0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c,
]);
const OCC_EXIT = 6;

/** A data payload that says "I am leaving". */
export const OCC_EXIT_PAYLOAD = new Uint8Array([...OCC_MAGIC, OCC_EXIT]);

export function isPing(payload: Uint8Array): boolean {
  return sameBytes(payload, PING_PAYLOAD);
}

/** Whether a decrypted payload is an exit notice; bytes behind it are ignored, as OpenVPN does. */
export function isOccExit(payload: Uint8Array): boolean {
  return sameBytes(payload.subarray(0, OCC_EXIT_PAYLOAD.length), OCC_EXIT_PAYLOAD);
}
