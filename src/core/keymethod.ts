// SPDX-License-Identifier: Apache-2.0
import type { Drop } from './drop.ts';
import type { TlsRole } from './tls.ts';

export interface KeySource {
  readonly preMaster?: Uint8Array;
  readonly random1: Uint8Array;
  readonly random2: Uint8Array;
}
export interface KeyMethod2 {
  readonly source: KeySource;
  readonly options: string;
  readonly username?: string;
  readonly password?: string;
  readonly peerInfo: string;
}
export declare function encodeKeyMethod2(message: KeyMethod2): Uint8Array;
export declare function decodeKeyMethod2(bytes: Uint8Array, from: TlsRole): KeyMethod2 | Drop;
