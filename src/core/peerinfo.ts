// SPDX-License-Identifier: Apache-2.0
import type { CipherName } from './crypto.ts';

export const IV_PROTO_DATA_V2 = 1 << 1;
export const IV_PROTO_REQUEST_PUSH = 1 << 2;
export const IV_PROTO_TLS_EKM = 1 << 3;
export const IV_PROTO_AUTH_PENDING = 1 << 4;
export const IV_PROTO_P2P_NCP = 1 << 5;
export const IV_PROTO_DNS_26 = 1 << 6;
export const IV_PROTO_CC_EXIT = 1 << 7;
export const IV_PROTO_AUTH_FAIL_TEMP = 1 << 8;
export const IV_PROTO_DYN_TLS_CRYPT = 1 << 9;
export const IV_PROTO_EPOCH = 1 << 10;
export const IV_PROTO_DNS = 1 << 11;
export const IV_PROTO_PUSH_UPDATE = 1 << 12;
export declare function parsePeerInfo(text: string): Map<string, string>;
export declare function buildPeerInfo(entries: readonly (readonly [string, string])[]): string;
export declare function peerProto(info: ReadonlyMap<string, string>): number;
export declare function peerCiphers(info: ReadonlyMap<string, string>, occCipher?: string): string[];
export declare function selectCipher(
  preference: readonly CipherName[],
  offered: readonly string[],
): CipherName | undefined;
export declare function isCipherName(text: string): text is CipherName;
