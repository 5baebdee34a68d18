// SPDX-License-Identifier: Apache-2.0
import type { CipherName, Crypto } from './crypto.ts';
import type { KeySource } from './keymethod.ts';
import type { DirectionKey } from './plane.ts';
import type { TlsRole } from './tls.ts';

export const EXPORTER_DATA_KEYS = 'EXPORTER-OpenVPN-datakeys';
export const KEY2_LENGTH = 256;
export declare function parseStaticKey(text: string): Uint8Array | string;
export declare function prfKeys(
  crypto: Crypto,
  client: KeySource,
  server: KeySource,
  clientSessionId: Uint8Array,
  serverSessionId: Uint8Array,
): Uint8Array;
export declare function splitKeys(
  key2: Uint8Array,
  role: TlsRole,
  cipher: CipherName,
): { encrypt: DirectionKey; decrypt: DirectionKey } | undefined;
export declare function wipe(bytes: Uint8Array): void;
