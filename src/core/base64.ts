// SPDX-License-Identifier: Apache-2.0
// Base64 (RFC 4648, section 4), with padding, and the PEM frame around it (RFC 7468).

import { decodeUtf8, encodeUtf8 } from './bytes.ts';

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const digits = Math.min(4, bytes.length - i + 1);
    for (let j = 0; j < 4; j++) text += j < digits ? DIGITS[(group >> (18 - 6 * j)) & 63] : '=';
  }
  return text;
}

/** undefined: not base64. White space does not count; padding may be missing. */
export function fromBase64(text: string): Uint8Array | undefined {
  const clean = text.replace(/\s/g, '').replace(/={1,2}$/, '');
  if (!/^[A-Za-z0-9+/]*$/.test(clean) || clean.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((clean.length * 3) / 4));
  let bits = 0;
  let value = 0;
  let at = 0;
  for (const digit of clean) {
    value = ((value << 6) | DIGITS.indexOf(digit)) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = (value >> bits) & 0xff;
  }
  return bytes;
}

/** The text of one PEM block, with its line end. */
export function toPem(label: string, der: Uint8Array): Uint8Array {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return encodeUtf8(`-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`);
}

/** The contents of every block with this label, in order; what is not base64 is left out. */
export function fromPem(label: string, pem: Uint8Array): Uint8Array[] {
  const parts = decodeUtf8(pem).split(`-----BEGIN ${label}-----`).slice(1);
  return parts.flatMap(part => {
    const end = part.indexOf(`-----END ${label}-----`);
    const der = end < 0 ? undefined : fromBase64(part.slice(0, end));
    return der === undefined || der.length === 0 ? [] : [der];
  });
}
