// SPDX-License-Identifier: Apache-2.0
// Tokens in place of a password: a client that has logged in shows one at renegotiations and reconnects, so that nobody
// is asked again. The form is OpenVPN's (auth-gen-token):
//
//   "SESS_ID_AT_" base64( session id(12) | first issued(8) | issued(8) | HMAC-SHA256(key, user name | the 28 before) )

import { fromBase64, toBase64 } from './base64.ts';
import { concat, encodeUtf8 } from './bytes.ts';
import type { Crypto } from './crypto.ts';

const PREFIX = 'SESS_ID_AT_';
const SESSION_LENGTH = 12;
const TIME_LENGTH = 8;
const BODY_LENGTH = SESSION_LENGTH + 2 * TIME_LENGTH;
const TOKEN_LENGTH = BODY_LENGTH + 32;
/** How long after its last token a client may come again without its password. */
export const TOKEN_LIFETIME_S = 86_400;

interface Token {
  /** What the MAC is over, beside the name. */
  readonly body: Uint8Array;
  readonly mac: Uint8Array;
  /** Seconds since 1970. */
  readonly issuedS: number;
}

function readToken(token: string): Token | undefined {
  const bytes = fromBase64(token.slice(PREFIX.length));
  // As it was given: what base64 passes over would be pushed again.
  if (bytes?.length !== TOKEN_LENGTH || token !== PREFIX + toBase64(bytes)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + SESSION_LENGTH + TIME_LENGTH, TIME_LENGTH);
  const issuedS = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
  return { body: bytes.subarray(0, BODY_LENGTH), mac: bytes.subarray(BODY_LENGTH), issuedS };
}

function seconds(value: number): Uint8Array {
  const bytes = new Uint8Array(TIME_LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / 2 ** 32));
  view.setUint32(4, value % 2 ** 32);
  return bytes;
}

function mac(crypto: Crypto, key: Uint8Array, username: string, body: Uint8Array): Uint8Array {
  return crypto.hmac('SHA256', key, concat(encodeUtf8(username), body));
}

/** Whether a password is meant to be a token: it is then never tried as a password. */
export function isToken(password: string): boolean {
  return password.startsWith(PREFIX);
}

/** `nowS`: seconds since 1970. `random`: 12 bytes. */
export function makeToken(
  crypto: Crypto,
  key: Uint8Array,
  username: string,
  random: Uint8Array,
  nowS: number,
): string {
  return seal(crypto, key, username, concat(random, seconds(nowS), seconds(nowS)));
}

function seal(crypto: Crypto, key: Uint8Array, username: string, body: Uint8Array): string {
  return `${PREFIX}${toBase64(concat(body, mac(crypto, key, username, body)))}`;
}

/** One in place of a good token that has lived half its life, of the same login; undefined: it is young. */
export function renewToken(
  crypto: Crypto,
  key: Uint8Array,
  username: string,
  token: string,
  nowS: number,
): string | undefined {
  const old = readToken(token);
  if (old === undefined || nowS - old.issuedS < TOKEN_LIFETIME_S / 2) return undefined;
  return seal(crypto, key, username, concat(old.body.subarray(0, BODY_LENGTH - TIME_LENGTH), seconds(nowS)));
}

/** Why a token is not good; undefined: it is. */
export function checkToken(
  crypto: Crypto,
  key: Uint8Array,
  username: string,
  token: string,
  nowS: number,
): 'forged' | 'expired' | undefined {
  const read = readToken(token);
  if (read === undefined || !crypto.equal(mac(crypto, key, username, read.body), read.mac)) return 'forged';
  const { issuedS } = read;
  return nowS < issuedS || nowS >= issuedS + TOKEN_LIFETIME_S ? 'expired' : undefined;
}
