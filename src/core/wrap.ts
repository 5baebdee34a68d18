// SPDX-License-Identifier: Apache-2.0
import type { Crypto, HashName } from './crypto.ts';
import type { Drop } from './drop.ts';
import type { TlsRole } from './tls.ts';
import type { ControlPacket } from './wire.ts';

interface CryptPair {
  readonly cipher: Uint8Array;
  readonly hmac: Uint8Array;
}
export type WrapKeys =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'tls-auth';
      readonly digest: HashName;
      readonly send: Uint8Array;
      readonly receive: Uint8Array;
    }
  | { readonly kind: 'tls-crypt'; readonly send: CryptPair; readonly receive: CryptPair };
export interface Wrap {
  readonly keys: WrapKeys;
  readonly overhead: number;
  seal(packet: ControlPacket): Uint8Array;
  open(datagram: Uint8Array): ControlPacket | Drop;
}
export declare function noWrap(): WrapKeys;
export declare function tlsAuthKeys(
  staticKey: Uint8Array,
  direction: 0 | 1 | undefined,
  digest: HashName,
): WrapKeys;
export declare function tlsCryptKeys(staticKey: Uint8Array, role: TlsRole): WrapKeys;
export declare function createWrap(keys: WrapKeys, crypto: Crypto, timeS: number, sent?: number): Wrap;
export declare function openStateless(
  keys: WrapKeys,
  crypto: Crypto,
  datagram: Uint8Array,
): ControlPacket | Drop;
