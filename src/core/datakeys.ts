// SPDX-License-Identifier: Apache-2.0
// Data keys of one peer over its renegotiations: derivation, the two slots of the plane, when to switch and when
// to forget. Two timers: *switch* (start sending on the new key) and *die* (delete the old one). Sources:
// OpenVPN's ssl.c (tls_select_encryption_key, lame ducks) for what peers expect.

import type { CipherName } from './crypto.ts';
import { earlier } from './event.ts';
import { EXPORTER_DATA_KEYS, prfKeys, splitEpochKeys, splitKeys, wipe } from './keys.ts';
import { SWITCH_GRACE_MS, TRANSITION_WINDOW_S } from './limits.ts';
import type { DataFormat, KeyMaterial, PlaneCommand, RekeyAfter } from './plane.ts';
import type { KeyState, Session } from './session.ts';

/** How keys come from a TLS session; agreed once per session by the push reply. */
export type KeyDerivation = 'tls-ekm' | 'tls1-prf';

interface DataKey {
  readonly keyId: number;
  /** Start of its negotiation; both ends know that moment about equally well. */
  readonly startedAt: number;
  /** When to start sending on it; undefined until its negotiation is confirmed. */
  switchAt: number | undefined;
  dieAt: number;
}

export interface DataKeys {
  readonly peerId: number;
  readonly cipher: CipherName;
  readonly derivation: KeyDerivation;
  /** Agreed like the derivation, for all keys of a session. */
  readonly format: DataFormat;
  /** Switch at most this long after the start of a negotiation: min(hand-window, reneg-sec / 2). */
  readonly deferMs: number;
  readonly rekeyAfter?: RekeyAfter | undefined;
  primary: DataKey;
  /** The new key before the switch, the old one after it. */
  secondary: DataKey | undefined;
}

/** undefined: the key material is unusable (all zero, or the handshake is not complete). */
function derive(
  session: Session,
  key: KeyState,
  { cipher, derivation, format }: Pick<DataKeys, 'cipher' | 'derivation' | 'format'>,
): KeyMaterial | undefined {
  if (key.remote === undefined) return undefined;
  const material =
    derivation === 'tls-ekm' ? key.tls.exportKey(EXPORTER_DATA_KEYS, 256) : ofSources(session, key);
  if (material === undefined) return undefined;
  const { role } = session.options;
  const directions =
    format === 'aead-epoch' ? splitEpochKeys(material, role) : splitKeys(material, role, cipher);
  wipe(material);
  // A server's first key is derived before its own message is written (see admit.ts).
  if (key.introduced) wipeSources(key);
  return directions;
}

function ofSources(session: Session, { source, remoteSource }: KeyState): Uint8Array | undefined {
  const { localSid, remoteSid, deps } = session;
  if (source === undefined || remoteSource === undefined || remoteSid === undefined) return undefined;
  return session.options.role === 'client'
    ? prfKeys(deps.crypto, source, remoteSource, localSid, remoteSid)
    : prfKeys(deps.crypto, remoteSource, source, remoteSid, localSid);
}

/** What both ends put into the key method messages is of no more use when keys are derived and ours is written. */
export function wipeSources(key: KeyState): void {
  for (const source of [key.source, key.remoteSource])
    for (const bytes of Object.values(source ?? {})) wipe(bytes);
  key.source = undefined;
  key.remoteSource = undefined;
}

/** How long a sender stays on the old key, as stock peers do. `renegS` 0: this side never starts a negotiation. */
export function deferralMs(handWindowS: number, renegS: number): number {
  return (renegS === 0 ? handWindowS : Math.min(handWindowS, renegS / 2)) * 1000;
}

/** The first key of a session, into the primary slot. undefined: no usable key material. */
export function installFirst(
  session: Session,
  chosen: Pick<DataKeys, 'peerId' | 'cipher' | 'derivation' | 'format' | 'deferMs' | 'rekeyAfter'>,
  commands: PlaneCommand[],
): DataKeys | undefined {
  const key = session.current;
  const directions = derive(session, key, chosen);
  if (directions === undefined) return undefined;
  const { peerId, cipher } = chosen;
  const keyId = key.keyId;
  commands.push({
    op: 'addKey',
    key: { peerId, slot: 'primary', keyId, cipher, ...rekey(chosen), ...directions },
  });
  return { ...chosen, primary: dataKey(key), secondary: undefined };
}

function rekey({ rekeyAfter }: Pick<DataKeys, 'rekeyAfter'>): { readonly rekeyAfter?: RekeyAfter } {
  return rekeyAfter === undefined ? {} : { rekeyAfter };
}

function dataKey(key: KeyState): DataKey {
  return { keyId: key.keyId, startedAt: key.startedAt, switchAt: undefined, dieAt: Number.POSITIVE_INFINITY };
}

/**
 * A renegotiated key, into the secondary slot: received from now on, sent on after the switch. What was there is
 * older than any key the peer still sends on. False: no usable key material.
 */
export function installNext(
  keys: DataKeys,
  session: Session,
  commands: PlaneCommand[],
  now: number,
): boolean {
  const key = session.current;
  const directions = derive(session, key, keys);
  if (directions === undefined) return false;
  // A new negotiation before the last one's switch: the peer is about to forget the primary key.
  if (keys.secondary !== undefined && keys.secondary.startedAt > keys.primary.startedAt)
    swap(keys, commands, now);
  const { peerId, cipher } = keys;
  commands.push({
    op: 'addKey',
    key: { peerId, slot: 'secondary', keyId: key.keyId, cipher, ...rekey(keys), ...directions },
  });
  keys.secondary = dataKey(key);
  return true;
}

/**
 * The peer has confirmed the negotiation. While the old key is itself young it may be forgotten soon, so the
 * switch comes at once but for a moment's grace; else it waits as long as stock peers wait, since the other side
 * may still be deciding whether to let us in.
 */
export function confirmKey(keys: DataKeys, key: KeyState, now: number): void {
  const next = keys.secondary;
  if (next === undefined || next.keyId !== key.keyId) return;
  const isYoung = now < keys.primary.startedAt + 2 * keys.deferMs;
  next.switchAt = isYoung ? now + SWITCH_GRACE_MS : next.startedAt + keys.deferMs;
}

/** A renegotiation begins: a confirmed key must not wait longer, the peer will drop the one before it. */
export function beginRenegotiation(keys: DataKeys, commands: PlaneCommand[], now: number): void {
  if (keys.secondary?.switchAt !== undefined) swap(keys, commands, now);
}

function swap(keys: DataKeys, commands: PlaneCommand[], now: number): void {
  const next = keys.secondary;
  if (next === undefined) return;
  commands.push({ op: 'swapKeys', peerId: keys.peerId });
  const old = keys.primary;
  old.dieAt = now + TRANSITION_WINDOW_S * 1000;
  next.switchAt = undefined;
  keys.primary = next;
  keys.secondary = old;
}

/** Switches and forgets what is due. */
export function tickKeys(keys: DataKeys, commands: PlaneCommand[], now: number): void {
  if (keys.secondary?.switchAt !== undefined && now >= keys.secondary.switchAt) swap(keys, commands, now);
  if (keys.secondary !== undefined && now >= keys.secondary.dieAt) {
    commands.push({ op: 'delKey', peerId: keys.peerId, slot: 'secondary' });
    keys.secondary = undefined;
  }
}

export function keysDeadline(keys: DataKeys): number | undefined {
  const { secondary } = keys;
  if (secondary === undefined) return undefined;
  return earlier(secondary.switchAt, Number.isFinite(secondary.dieAt) ? secondary.dieAt : undefined);
}
