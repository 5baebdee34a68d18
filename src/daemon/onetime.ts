// SPDX-License-Identifier: Apache-2.0
// One-time codes: RFC 6238, and how a client sends one together with its password.

import { fromBase64 } from '../core/base64.ts';
import { decodeUtf8 } from '../core/bytes.ts';
import type { Crypto } from '../core/crypto.ts';

export const TOTP_STEP_S = 30;
const TOTP_DIGITS = 6;

/** OpenVPN's static challenge: `SCRV1:base64(password):base64(code)`, or the code behind the password. */
export function splitChallenge(
  text: string,
  hasCode: boolean,
): { readonly password: string; readonly code?: string } {
  const match = /^SCRV1:([A-Za-z0-9+/=]*):([A-Za-z0-9+/=]*)$/.exec(text);
  if (match !== null) {
    const [password, code] = [fromBase64(match[1]!), fromBase64(match[2]!)];
    return password === undefined || code === undefined
      ? { password: '' }
      : { password: decodeUtf8(password), code: decodeUtf8(code) };
  }
  const at = text.length - TOTP_DIGITS;
  const isBehind = hasCode && at >= 0 && /^[0-9]+$/.test(text.slice(at));
  return isBehind ? { password: text.slice(0, at), code: text.slice(at) } : { password: text };
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 6238 with SHA-1 and six digits, as authenticator apps have it. `secret`: base32. */
export function totp(crypto: Crypto, secret: string, step: number): string {
  const key: number[] = [];
  let bits = 0;
  let value = 0;
  for (const character of secret) {
    value = ((value << 5) | BASE32.indexOf(character)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    key.push((value >> bits) & 0xff);
  }
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setUint32(4, step);
  const mac = crypto.hmac('SHA1', Uint8Array.from(key), counter);
  const at = mac[19]! & 15;
  const number = new DataView(mac.buffer, mac.byteOffset).getUint32(at) & 0x7fffffff;
  return String(number % 10 ** TOTP_DIGITS).padStart(TOTP_DIGITS, '0');
}
