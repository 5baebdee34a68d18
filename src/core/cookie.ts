// SPDX-License-Identifier: Apache-2.0
// The server's stateless answer: its session id is a cookie, an HMAC over the peer's address, its session id and a
// time slot. A client that returns it has proved its address before the server keeps anything.

import type { Path } from './address.ts';
import { concat, writeU16, writeU32 } from './bytes.ts';
import type { Crypto } from './crypto.ts';
import { COOKIE_OLD_SLOTS } from './limits.ts';
import { SESSION_ID_LENGTH } from './wire.ts';

/** The time slot of a moment: half a hand window long, so that a slow handshake still finds its cookie good. */
export function cookieSlot(nowS: number, handWindowS: number): number {
  return Math.floor(nowS / Math.max(1, Math.floor((handWindowS + 1) / 2)));
}

// HMAC-SHA256(secret, input), the first 8 bytes. Input:
// u32   slot
// u32   socket
// u32   scope of the remote address
// u16   remote port
// u8    length of the remote address, 4 or 16
// u8[]  remote address
// u8[8] client session id

/** The session id for an answer to `clientSessionId` (8 bytes). `secret` lives as long as the process. */
export function cookieSessionId(
  crypto: Crypto,
  secret: Uint8Array,
  slot: number,
  path: Path,
  clientSessionId: Uint8Array,
): Uint8Array {
  const { ip, port, scope } = path.remote;
  const fixed = new Uint8Array(15);
  writeU32(fixed, 0, slot);
  writeU32(fixed, 4, path.socket);
  writeU32(fixed, 8, scope ?? 0);
  writeU16(fixed, 12, port);
  fixed[14] = ip.length;
  const id = crypto.hmac('SHA256', secret, concat(fixed, ip, clientSessionId)).slice(0, SESSION_ID_LENGTH);
  // All zero is no session id; one in 2^64 must not fail either.
  if (id.every(byte => byte === 0)) id[SESSION_ID_LENGTH - 1] = 1;
  return id;
}

/**
 * Whether `candidate` is a cookie given to this peer in the present slot or one of the two before. Never the next
 * slot: whoever could move our clock forward would stock up on cookies. `nowS` is monotonic seconds.
 */
export function checkCookie(
  crypto: Crypto,
  secret: Uint8Array,
  nowS: number,
  handWindowS: number,
  path: Path,
  clientSessionId: Uint8Array,
  candidate: Uint8Array,
): boolean {
  const now = cookieSlot(nowS, handWindowS);
  let found = false;
  // All slots are always computed: the time taken tells nobody which one fits.
  for (let slot = now - COOKIE_OLD_SLOTS; slot <= now; slot++) {
    const cookie = cookieSessionId(crypto, secret, slot, path, clientSessionId);
    found = crypto.equal(cookie, candidate) || found;
  }
  return found;
}
