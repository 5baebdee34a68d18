// SPDX-License-Identifier: Apache-2.0
// What packets of one direction are sealed or opened with, in the epoch format during one epoch.

import { AEAD_NONCE_LENGTH, type Aead, type CipherName, type Crypto } from '../core/crypto.ts';
import { ReplayWindow } from './replay.ts';

export interface Direction {
  /** 1 or more; 0: the format has none. */
  readonly epoch: number;
  readonly aead: Aead;
  /** The nonce is this XOR the packet id, which stands in front. */
  readonly iv: Uint8Array;
  /** 16-byte blocks of plaintext so far. */
  blocks: number;
}

export interface Receiver extends Direction {
  readonly replay: ReplayWindow;
  /** Packets whose tag was wrong. */
  failures: number;
}

/** Wipes `key`; `iv` is kept. */
export function newDirection(
  crypto: Crypto,
  cipher: CipherName,
  epoch: number,
  key: Uint8Array,
  iv: Uint8Array,
): Direction {
  const aead = crypto.aead(cipher, key);
  key.fill(0);
  return { epoch, aead, iv, blocks: 0 };
}

export function newReceiver(...from: Parameters<typeof newDirection>): Receiver {
  return { ...newDirection(...from), replay: new ReplayWindow(), failures: 0 };
}

const nonce = new Uint8Array(AEAD_NONCE_LENGTH);

/** The nonce of a packet whose id of `length` bytes stands at `at`; borrowed until the next call. */
export function nonceOf({ iv }: Direction, datagram: Uint8Array, at: number, length: number): Uint8Array {
  nonce.set(iv);
  for (let i = 0; i < length; i++) nonce[i]! ^= datagram[at + i]!;
  return nonce;
}

/** Forgets the key; the direction must not be used any more. */
export function wipeDirection(direction: Direction): void {
  direction.aead.wipe();
  direction.iv.fill(0);
}
