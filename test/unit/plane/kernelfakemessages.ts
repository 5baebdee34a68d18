// SPDX-License-Identifier: Apache-2.0
// How the fake kernel reads a request and ends it. It is as strict as the kernel: nests must be marked, widths must
// fit, unknown attributes are refused.

import { type Message, MessageWriter, NLM_F_DUMP, viewOf } from '../../../src/netlink/message.ts';
import type { Spec } from '../../../src/netlink/ovpn.ts';

export const FAMILY = 0x24;
export const CTRL = 16;

export const E = {
  PERM: 1,
  NOENT: 2,
  SRCH: 3,
  NOMEM: 12,
  EXIST: 17,
  NODEV: 19,
  INVAL: 22,
  RANGE: 34,
  NOTSOCK: 88,
  OPNOTSUPP: 95,
  ADDRINUSE: 98,
  ADDRNOTAVAIL: 99,
} as const;

export class Refusal extends Error {
  readonly errno: number;
  constructor(errno: number, text = '') {
    super(text);
    this.errno = errno;
  }
}

const WIDTHS: Readonly<Record<string, number | undefined>> = {
  u8: 1,
  u32: 4,
  s32: 4,
  be16: 2,
  ip4: 4,
  ip6: 16,
  bytes8: 8,
};

/** Attributes of a request as the kernel's strict parser takes them; refuses what it refuses. */
export function strict(
  bytes: Uint8Array,
  table: Readonly<Record<string, Spec>>,
  little: boolean,
): Map<number, Uint8Array> {
  const view = viewOf(bytes);
  const out = new Map<number, Uint8Array>();
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = view.getUint16(at, little);
    const type = view.getUint16(at + 2, little);
    if (length < 4 || at + length > bytes.length) throw new Refusal(E.INVAL);
    const number = type & 0x3fff;
    const spec = Object.values(table).find(one => one.number === number);
    if (spec === undefined) throw new Refusal(E.INVAL, 'Unknown attribute type');
    if ((spec.width === 'nest') !== ((type & 0x8000) !== 0))
      throw new Refusal(E.INVAL, 'NLA_F_NESTED is missing');
    const width = WIDTHS[spec.width];
    if (width !== undefined && length - 4 !== width)
      throw new Refusal(E.RANGE, 'Attribute failed policy validation');
    out.set(number, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  if (at !== bytes.length) throw new Refusal(E.INVAL, 'trailing bytes');
  return out;
}

export function numberOf(value: Uint8Array | undefined, little: boolean): number | undefined {
  return value && viewOf(value).getUint32(0, little);
}

export function endOf(request: Message, errno: number, text: string): Uint8Array {
  if ((request.flags & NLM_F_DUMP) === NLM_F_DUMP && errno === 0)
    return new MessageWriter(3, 2).u32(0).finish();
  const writer = new MessageWriter(2, 0x100 | (text === '' ? 0 : 0x200)).u32(-errno).raw(new Uint8Array(16));
  if (text !== '') writer.textAttribute(1, text);
  return writer.finish();
}

const ROUTE_NAMES: Readonly<Record<number, string>> = {
  16: 'NEWLINK',
  17: 'DELLINK',
  18: 'GETLINK',
  24: 'NEWROUTE',
  25: 'DELROUTE',
};
const OVPN_NAMES = [
  '',
  'PEER_NEW',
  'PEER_SET',
  'PEER_GET',
  'PEER_DEL',
  '',
  'KEY_NEW',
  'KEY_GET',
  'KEY_SWAP',
  '',
  'KEY_DEL',
];

export function nameOf(protocol: number, request: Message): string {
  if (protocol === 0) return ROUTE_NAMES[request.type] ?? `route ${request.type}`;
  const command = request.body[0]!;
  if (request.type === CTRL) return command === 3 ? 'GETFAMILY' : 'GETPOLICY';
  return (request.flags & NLM_F_DUMP) === NLM_F_DUMP
    ? 'PEER_DUMP'
    : (OVPN_NAMES[command] ?? `ovpn ${command}`);
}
