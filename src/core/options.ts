// SPDX-License-Identifier: Apache-2.0
import type { HashName } from './crypto.ts';
import type { TlsRole } from './tls.ts';

export interface OptionsInput {
  readonly role: TlsRole;
  readonly transport: 'udp' | 'tcp';
  readonly tunMtu: number;
  readonly tlsAuth: boolean;
  readonly keyDirection?: 0 | 1 | undefined;
  readonly digest: HashName;
}
export interface PeerOptions {
  readonly cipher?: string;
  readonly compLzo: boolean;
  readonly devTypeTap: boolean;
}
export declare const PING_PAYLOAD: Uint8Array;
export declare const OCC_EXIT_PAYLOAD: Uint8Array;
export declare function buildOptions(input: OptionsInput): string;
export declare function readOptions(text: string): PeerOptions;
export declare function isPing(payload: Uint8Array): boolean;
export declare function isOccExit(payload: Uint8Array): boolean;
