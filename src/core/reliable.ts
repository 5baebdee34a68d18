// SPDX-License-Identifier: Apache-2.0
// The control channel's reliability layer for one key: message ids, send and receive windows, acknowledgments,
// retransmission. It knows nothing of wrapping, sessions or TLS. Mirrors the behaviour, not the timer, of
// OpenVPN's reliable.c: the first resend comes after half a second and the gap grows gently, so that a lossy
// path costs a handshake fractions of a second instead of 2, 4, 8.

import {
  ACKS_PIGGYBACK_MAX,
  FAST_RETRANSMIT_ACKS,
  RECEIVE_WINDOW,
  RETRANSMIT_FACTOR,
  RETRANSMIT_FIRST_MS,
  RETRANSMIT_MAX_MS,
  SEND_WINDOW,
} from './limits.ts';
import type { Opcode } from './wire.ts';

/** A control message on its way; wrapped anew at every transmission. */
export interface Outgoing {
  readonly messageId: number;
  readonly opcode: Opcode;
  readonly payload: Uint8Array;
  dueAt: number;
  timeoutMs: number;
  sends: number;
  laterAcks: number;
}

export interface Reliable {
  sendNext: number;
  /** Unacknowledged, in id order; at most SEND_WINDOW apart. */
  readonly outgoing: Outgoing[];
  receiveNext: number;
  /** Received and not yet delivered, from receiveNext on. */
  readonly incoming: (Uint8Array | undefined)[];
  /** Received ids not yet acknowledged to the peer, oldest first. */
  pendingAcks: number[];
  /** Ids acknowledged lately, newest first: repeated on packets that have room, in case an ack was lost. */
  recentAcks: number[];
}

/** `start` is 1 for a server that answered the hard reset statelessly: both resets count as done. */
export function newReliable(start = 0): Reliable {
  return {
    sendNext: start,
    outgoing: [],
    receiveNext: start,
    incoming: [],
    pendingAcks: [],
    recentAcks: [],
  };
}

export function canQueue(reliable: Reliable): boolean {
  const oldest = reliable.outgoing[0];
  return oldest === undefined || reliable.sendNext - oldest.messageId < SEND_WINDOW;
}

/** Gives the message the next id; due at once. Call only when `canQueue`. Takes ownership of `payload`. */
export function queueMessage(reliable: Reliable, opcode: Opcode, payload: Uint8Array, now: number): void {
  reliable.outgoing.push({
    messageId: reliable.sendNext++,
    opcode,
    payload,
    dueAt: now,
    timeoutMs: RETRANSMIT_FIRST_MS,
    sends: 0,
    laterAcks: 0,
  });
}

/** Nothing of ours is waiting for an ack. */
export function allAcknowledged(reliable: Reliable): boolean {
  return reliable.outgoing.length === 0;
}

/** Handles the ack field of a received packet. Unknown and repeated ids are harmless. */
export function acknowledge(reliable: Reliable, ids: readonly number[], now: number): void {
  for (const id of ids) {
    const index = reliable.outgoing.findIndex(message => message.messageId === id);
    if (index < 0 || reliable.outgoing[index]!.sends === 0) continue;
    reliable.outgoing.splice(index, 1);
    for (let i = 0; i < index; i++) {
      const earlier = reliable.outgoing[i]!;
      if (++earlier.laterAcks === FAST_RETRANSMIT_ACKS) earlier.dueAt = now;
    }
  }
}

/**
 * Stores a received message (payload is kept, not copied).
 * `window`: too far ahead, must not be acked. `duplicate`: had before, is acked again.
 */
export function receiveMessage(
  reliable: Reliable,
  messageId: number,
  payload: Uint8Array,
): 'new' | 'duplicate' | 'window' {
  if (messageId >= reliable.receiveNext + RECEIVE_WINDOW) return 'window';
  if (!reliable.pendingAcks.includes(messageId)) reliable.pendingAcks.push(messageId);
  const { incoming } = reliable;
  const at = messageId - reliable.receiveNext;
  if (at < 0 || incoming[at] !== undefined) return 'duplicate';
  while (incoming.length <= at) incoming.push(undefined);
  incoming[at] = payload;
  return 'new';
}

/** The next payload in id order; undefined while the next id is missing. */
export function takeDelivered(reliable: Reliable): Uint8Array | undefined {
  if (reliable.incoming[0] === undefined) return undefined;
  reliable.receiveNext++;
  return reliable.incoming.shift();
}

/** A message whose time has come, already marked as sent once more; undefined when none is due. */
export function takeDue(reliable: Reliable, now: number): Outgoing | undefined {
  const message = reliable.outgoing.find(candidate => candidate.dueAt <= now);
  if (message === undefined) return undefined;
  if (message.sends++ > 0) {
    message.timeoutMs = Math.min(RETRANSMIT_MAX_MS, message.timeoutMs * RETRANSMIT_FACTOR);
  }
  message.laterAcks = 0;
  message.dueAt = now + message.timeoutMs;
  return message;
}

/**
 * Ids for the ack field of the next packet, at most ACKS_PIGGYBACK_MAX: first those the peer waits for, then
 * recent ones again. Four is what every known receiver takes, also in a packet of acks only.
 */
export function takeAcks(reliable: Reliable): number[] {
  if (reliable.pendingAcks.length === 0) return reliable.recentAcks.slice(0, ACKS_PIGGYBACK_MAX);
  const acks = reliable.pendingAcks.splice(0, ACKS_PIGGYBACK_MAX);
  for (const id of reliable.recentAcks) {
    if (acks.length >= ACKS_PIGGYBACK_MAX) break;
    if (!acks.includes(id)) acks.push(id);
  }
  reliable.recentAcks = [...acks, ...reliable.recentAcks.filter(id => !acks.includes(id))].slice(0, 8);
  return acks;
}

/** When the next message is due; undefined when nothing is on its way. */
export function reliableDeadline(reliable: Reliable): number | undefined {
  let deadline: number | undefined;
  for (const message of reliable.outgoing) {
    if (deadline === undefined || message.dueAt < deadline) deadline = message.dueAt;
  }
  return deadline;
}
