// SPDX-License-Identifier: Apache-2.0
import type { Path } from './address.ts';
import type { Crypto } from './crypto.ts';

export declare function cookieSlot(nowS: number, handWindowS: number): number;
export declare function cookieSessionId(
  crypto: Crypto,
  secret: Uint8Array,
  slot: number,
  path: Path,
  clientSessionId: Uint8Array,
): Uint8Array;
export declare function checkCookie(
  crypto: Crypto,
  secret: Uint8Array,
  nowS: number,
  handWindowS: number,
  path: Path,
  clientSessionId: Uint8Array,
  candidate: Uint8Array,
): boolean;
