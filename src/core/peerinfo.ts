// SPDX-License-Identifier: Apache-2.0
// What a client says about itself inside key method 2: lines KEY=VALUE, among them its feature bits (IV_PROTO) and
// the ciphers it takes. The keys are the peer's words, so they live in a Map and never name a property.

import { CIPHER_KEY_LENGTH, type CipherName } from './crypto.ts';
import {
  CIPHER_NAME_MAX,
  PEER_CIPHERS_MAX,
  PEER_INFO_ENTRIES_MAX,
  PEER_INFO_KEY_MAX,
  PEER_INFO_VALUE_MAX,
} from './limits.ts';
import { hasControlCharacter } from './text.ts';

/** P_DATA_V2 with a peer-id. Every other bit needs this one: old servers test for a value of 2 or more. */
export const IV_PROTO_DATA_V2 = 1 << 1;
/** Takes PUSH_REPLY without having asked. */
export const IV_PROTO_REQUEST_PUSH = 1 << 2;
/** Data keys from the TLS exporter. */
export const IV_PROTO_TLS_EKM = 1 << 3;
/** AUTH_PENDING with a timeout. */
export const IV_PROTO_AUTH_PENDING = 1 << 4;
/** Negotiation without pull; never set by a client that pulls. */
export const IV_PROTO_P2P_NCP = 1 << 5;
/** Option `dns` in its 2.6 form. */
export const IV_PROTO_DNS_26 = 1 << 6;
/** EXIT as a message, and pushed protocol-flags. */
export const IV_PROTO_CC_EXIT = 1 << 7;
/** AUTH_FAILED,TEMP. */
export const IV_PROTO_AUTH_FAIL_TEMP = 1 << 8;
export const IV_PROTO_DYN_TLS_CRYPT = 1 << 9;
/** Epoch data format. */
export const IV_PROTO_EPOCH = 1 << 10;
/** Option `dns` in its final form. */
export const IV_PROTO_DNS = 1 << 11;
export const IV_PROTO_PUSH_UPDATE = 1 << 12;

/** What IV_NCP=2 stands for: clients from before IV_CIPHERS. */
const NCP2_CIPHERS = ['AES-256-GCM', 'AES-128-GCM'];

const KEY = /^[A-Za-z0-9_]+$/;
const NUMBER = /^[0-9]{1,9}$/;

/** Reads the lines. Bad ones, and those over a limit, are skipped; of two with the same key the first counts. */
export function parsePeerInfo(text: string): Map<string, string> {
  const info = new Map<string, string>();
  let at = 0;
  while (at < text.length && info.size < PEER_INFO_ENTRIES_MAX) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(at, end);
    at = end + 1;
    const equals = line.indexOf('=');
    if (equals < 1 || equals > PEER_INFO_KEY_MAX) continue;
    const key = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (!KEY.test(key) || value.length > PEER_INFO_VALUE_MAX || hasControlCharacter(value)) continue;
    if (!info.has(key)) info.set(key, value);
  }
  return info;
}

/** The text of entries, in their order. Throws on an entry no peer could read back: a mistake of our own. */
export function buildPeerInfo(entries: readonly (readonly [string, string])[]): string {
  let text = '';
  for (const [key, value] of entries) {
    if (!KEY.test(key) || hasControlCharacter(value)) throw new RangeError(`peer info ${key}`);
    text += `${key}=${value}\n`;
  }
  return text;
}

/** A number of the peer's, or 0. */
function numberOf(info: ReadonlyMap<string, string>, key: string): number {
  const text = info.get(key) ?? '';
  return NUMBER.test(text) ? Number(text) : 0;
}

/** The IV_PROTO bits; 0 when there are none. */
export function peerProto(info: ReadonlyMap<string, string>): number {
  return numberOf(info, 'IV_PROTO');
}

/**
 * Ciphers a client takes, upper case, in its order: its list, else what IV_NCP=2 means, else the cipher of its
 * options string. Names of any kind, not only ours.
 */
export function peerCiphers(info: ReadonlyMap<string, string>, occCipher?: string): string[] {
  const list = info.get('IV_CIPHERS');
  if (list !== undefined) {
    return list
      .split(':')
      .filter(name => name !== '' && name.length <= CIPHER_NAME_MAX)
      .slice(0, PEER_CIPHERS_MAX)
      .map(name => name.toUpperCase());
  }
  if (numberOf(info, 'IV_NCP') >= 2) return [...NCP2_CIPHERS];
  return occCipher === undefined ? [] : [occCipher.toUpperCase()];
}

/** The first of our preference that the peer offers. */
export function selectCipher(
  preference: readonly CipherName[],
  offered: readonly string[],
): CipherName | undefined {
  return preference.find(name => offered.includes(name));
}

/** Whether `text` names a data cipher we have; upper case as on the wire. */
export function isCipherName(text: string): text is CipherName {
  return Object.hasOwn(CIPHER_KEY_LENGTH, text);
}
