// SPDX-License-Identifier: Apache-2.0
// Keys of the epoch data format (OpenVPN 2.7, draft-openvpn-wire-protocol): each direction has a chain of epoch keys, and
// from each of them comes the data key of one epoch. The sender moves on when a key is worn; the receiver knows the keys
// of a few epochs ahead, so that forged epochs cost no derivation, and keeps the one before for late packets.
//
//   E_1 = the key material                         E_(n+1) = label(E_n, "datakey upd", 32)
//   data key_n = label(E_n, "data_key", key length)    data iv_n = label(E_n, "data_iv", 12)

import { concat, encodeUtf8 } from '../core/bytes.ts';
import { AEAD_NONCE_LENGTH, CIPHER_KEY_LENGTH, type CipherName, type Crypto } from '../core/crypto.ts';
import { EPOCH_KEY_LENGTH } from '../core/plane.ts';
import { type Direction, newDirection, newReceiver, type Receiver, wipeDirection } from './direction.ts';

/** Epochs above the present one that are received: what stock peers have since 2.7.6; before it was 16. */
export const EPOCH_FUTURE_KEYS = 4;

/** What follows the present keys of the two directions. */
export interface Epochs {
  readonly crypto: Crypto;
  readonly cipher: CipherName;
  /** The epoch key of the present sending key. */
  sendKey: Uint8Array;
  /** The epoch key of the last of `future`. */
  receiveKey: Uint8Array;
  /** The present epoch's successors without a gap, lowest first. */
  future: Receiver[];
  /** What was received with before, for packets that are late. */
  retiring: Receiver | undefined;
}

/**
 * HKDF-Expand-Label of RFC 8446 section 7.1 with OpenVPN's prefix and SHA-256, without context:
 * info = length(2) | 5 + length of the label(1) | "ovpn " | label | 0. At most 32 bytes: one block is enough.
 */
export function expandLabel(crypto: Crypto, secret: Uint8Array, label: string, length: number): Uint8Array {
  const text = encodeUtf8(`ovpn ${label}`);
  const info = concat(Uint8Array.of(length >> 8, length & 0xff, text.length), text, Uint8Array.of(0, 1));
  const block = crypto.hmac('SHA256', secret, info);
  const out = block.slice(0, length);
  block.fill(0);
  return out;
}

function dataKey(crypto: Crypto, cipher: CipherName, epochKey: Uint8Array): [Uint8Array, Uint8Array] {
  const key = expandLabel(crypto, epochKey, 'data_key', CIPHER_KEY_LENGTH[cipher]);
  return [key, expandLabel(crypto, epochKey, 'data_iv', AEAD_NONCE_LENGTH)];
}

/** The epoch key after this one, which is wiped. */
function nextEpochKey(crypto: Crypto, epochKey: Uint8Array): Uint8Array {
  const next = expandLabel(crypto, epochKey, 'datakey upd', EPOCH_KEY_LENGTH);
  epochKey.fill(0);
  return next;
}

/** Both directions at epoch 1; the first keys are copied. */
export function beginEpochs(
  crypto: Crypto,
  cipher: CipherName,
  sendKey: Uint8Array,
  receiveKey: Uint8Array,
): { readonly tx: Direction; readonly rx: Receiver; readonly epochs: Epochs } {
  const epochs: Epochs = {
    crypto,
    cipher,
    sendKey: sendKey.slice(),
    receiveKey: receiveKey.slice(),
    future: [],
    retiring: undefined,
  };
  const tx = newDirection(crypto, cipher, 1, ...dataKey(crypto, cipher, sendKey));
  const rx = newReceiver(crypto, cipher, 1, ...dataKey(crypto, cipher, receiveKey));
  refill(epochs, rx.epoch);
  return { tx, rx, epochs };
}

function refill(epochs: Epochs, present: number): void {
  const { crypto, cipher, future } = epochs;
  for (let epoch = present + future.length + 1; future.length < EPOCH_FUTURE_KEYS; epoch++) {
    epochs.receiveKey = nextEpochKey(crypto, epochs.receiveKey);
    future.push(newReceiver(crypto, cipher, epoch, ...dataKey(crypto, cipher, epochs.receiveKey)));
  }
}

/** The key to send with in a later epoch; `present` is wiped. */
export function sendInEpoch(epochs: Epochs, present: Direction, epoch: number): Direction {
  const { crypto, cipher } = epochs;
  for (let at = present.epoch; at < epoch; at++) epochs.sendKey = nextEpochKey(crypto, epochs.sendKey);
  wipeDirection(present);
  return newDirection(crypto, cipher, epoch, ...dataKey(crypto, cipher, epochs.sendKey));
}

/** `next`, one of `future`, becomes the present receiver: `present` retires, what lies between them is skipped. */
export function receiveInEpoch(epochs: Epochs, present: Receiver, next: Receiver): void {
  if (epochs.retiring !== undefined) wipeDirection(epochs.retiring);
  epochs.retiring = present;
  const skipped = epochs.future.splice(0, epochs.future.indexOf(next) + 1);
  for (const receiver of skipped) if (receiver !== next) wipeDirection(receiver);
  refill(epochs, next.epoch);
}

export function wipeEpochs(epochs: Epochs): void {
  epochs.sendKey.fill(0);
  epochs.receiveKey.fill(0);
  for (const receiver of epochs.future) wipeDirection(receiver);
  if (epochs.retiring !== undefined) wipeDirection(epochs.retiring);
}
