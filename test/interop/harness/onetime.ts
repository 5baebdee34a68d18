// SPDX-License-Identifier: Apache-2.0
// One-time codes, from another hand than ours.

import { createHmac } from 'node:crypto';

/** Base32 of 12345678901234567890. */
export const SECRET = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';

/** Six digits of RFC 6238, as an app shows them. */
export function code(): string {
  const counter = Buffer.alloc(8);
  counter.writeUInt32BE(Math.floor(Date.now() / 30_000), 4);
  const mac = createHmac('sha1', '12345678901234567890').update(counter).digest();
  const number = mac.readUInt32BE(mac[19]! & 15) & 0x7fffffff;
  return String(number % 1e6).padStart(6, '0');
}
