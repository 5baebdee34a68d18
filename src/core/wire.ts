// SPDX-License-Identifier: Apache-2.0
// The control packet without wrapping: one reader, one writer. Wrapping (tls-auth, tls-crypt) is in wrap.ts, the
// data packet belongs to the planes.

import { readU32, writeU32 } from './bytes.ts';
import { type Drop, drop } from './drop.ts';
import { ACKS_MAX, CONTROL_PACKET_RECEIVE_MAX } from './limits.ts';

/** Opcodes by their numbers on the wire; 1 and 2 (key method 1) are obsolete. */
export const OPCODE = {
  softReset: 3,
  control: 4,
  ack: 5,
  dataV1: 6,
  hardResetClientV2: 7,
  hardResetServerV2: 8,
  dataV2: 9,
  hardResetClientV3: 10,
  controlWkc: 11,
} as const;
export type Opcode = (typeof OPCODE)[keyof typeof OPCODE];

export const SESSION_ID_LENGTH = 8;
/** Opcode byte and session id. */
export const HEAD_LENGTH = 1 + SESSION_ID_LENGTH;

export interface ControlPacket {
  readonly opcode: Opcode;
  /** 0..7. */
  readonly keyId: number;
  /** The sender's, 8 bytes, not all zero. */
  readonly sessionId: Uint8Array;
  /** At most ACKS_MAX. */
  readonly acks: readonly number[];
  /** The receiver's, 8 bytes; present exactly when there are acks. */
  readonly remoteSessionId?: Uint8Array;
  /** Absent exactly in ack packets. */
  readonly messageId?: number;
  /** TLS bytes; empty in ack packets. */
  readonly payload: Uint8Array;
}

/** While it is put together. */
export type WritablePacket = { -readonly [name in keyof ControlPacket]: ControlPacket[name] };

/** What stands before any wrapping, in clear. */
export interface Head {
  readonly opcode: Opcode;
  readonly keyId: number;
  readonly sessionId: Uint8Array;
}

/** The opcode of a packet; undefined when it is empty or the opcode is none we know. */
export function opcodeOf(datagram: Uint8Array): Opcode | undefined {
  const opcode = (datagram[0] ?? 0) >> 3;
  return opcode >= OPCODE.softReset && opcode <= OPCODE.controlWkc ? (opcode as Opcode) : undefined;
}

/** The key id of a packet; 0 when it is empty. */
export function keyIdOf(datagram: Uint8Array): number {
  return (datagram[0] ?? 0) & 7;
}

export function isDataOpcode(opcode: Opcode): boolean {
  return opcode === OPCODE.dataV1 || opcode === OPCODE.dataV2;
}

function isHardReset(opcode: Opcode): boolean {
  return (
    opcode === OPCODE.hardResetClientV2 ||
    opcode === OPCODE.hardResetServerV2 ||
    opcode === OPCODE.hardResetClientV3
  );
}

// u8     opcode << 3 | key id                \ head
// u8[8]  own session id, not all zero         /
// u8     ack count, 0..8                     \
// u32[]  acked message ids                    |
// u8[8]  remote session id, if ack count > 0  | body
// u32    message id, not in ack packets       |
// u8[]   payload, not in ack packets         /

/** Opcode byte and session id, 9 bytes. */
export function encodeHead(packet: ControlPacket): Uint8Array {
  const head = new Uint8Array(HEAD_LENGTH);
  head[0] = (packet.opcode << 3) | packet.keyId;
  head.set(packet.sessionId, 1);
  return head;
}

/** The packet from its ack count on. Throws when fields contradict each other: a mistake of our own. */
export function encodeBody(packet: ControlPacket): Uint8Array {
  const { acks, remoteSessionId, messageId, payload } = packet;
  const isAck = packet.opcode === OPCODE.ack;
  if (acks.length > ACKS_MAX) throw new RangeError('too many acks');
  if (acks.length > 0 !== (remoteSessionId !== undefined)) throw new RangeError('acks and remote session id');
  if (isAck !== (messageId === undefined)) throw new RangeError('message id');
  if (isAck && payload.length > 0) throw new RangeError('an ack has no payload');
  const body = new Uint8Array(bodyLength(acks.length, isAck) + payload.length);
  body[0] = acks.length;
  let at = 1;
  for (const ack of acks) {
    writeU32(body, at, ack);
    at += 4;
  }
  if (remoteSessionId !== undefined) {
    body.set(remoteSessionId, at);
    at += SESSION_ID_LENGTH;
  }
  if (messageId !== undefined) writeU32(body, at, messageId);
  body.set(payload, bodyLength(acks.length, isAck));
  return body;
}

/** Length of a body without its payload. */
export function bodyLength(ackCount: number, isAck: boolean): number {
  return 1 + (ackCount > 0 ? 4 * ackCount + SESSION_ID_LENGTH : 0) + (isAck ? 0 : 4);
}

/** Reads opcode, key id and session id of a control packet. The session id is a copy. */
export function decodeHead(datagram: Uint8Array): Head | Drop {
  if (datagram.length < HEAD_LENGTH) return drop('short');
  if (datagram.length > CONTROL_PACKET_RECEIVE_MAX) return drop('long');
  const opcode = opcodeOf(datagram);
  if (opcode === undefined || isDataOpcode(opcode)) return drop('opcode');
  const keyId = keyIdOf(datagram);
  // A session starts with key 0 and never comes back to it.
  if (isHardReset(opcode) ? keyId !== 0 : opcode === OPCODE.softReset && keyId === 0) return drop('key-id');
  const sessionId = datagram.slice(1, HEAD_LENGTH);
  // All zero means "no session" in every peer's memory: it would match an empty slot.
  if (readU32(sessionId, 0) === 0 && readU32(sessionId, 4) === 0) return drop('session-id');
  return { opcode, keyId, sessionId };
}

/**
 * Reads the rest of a control packet. `body` starts at the ack count and is copied; `sessionId` is kept. Message
 * ids of resets are the session's to check.
 */
export function decodeBody(
  opcode: Opcode,
  keyId: number,
  sessionId: Uint8Array,
  body: Uint8Array,
): ControlPacket | Drop {
  const count = body[0];
  if (count === undefined) return drop('short');
  if (count > ACKS_MAX) return drop('ack-count');
  const isAck = opcode === OPCODE.ack;
  const length = bodyLength(count, isAck);
  if (body.length < length) return drop('short');
  if (isAck && body.length > length) return drop('long');
  const acks: number[] = [];
  for (let i = 0; i < count; i++) acks.push(readU32(body, 1 + 4 * i));
  const remoteAt = 1 + 4 * count;
  const packet: WritablePacket = { opcode, keyId, sessionId, acks, payload: body.slice(length) };
  if (count > 0) packet.remoteSessionId = body.slice(remoteAt, remoteAt + SESSION_ID_LENGTH);
  if (!isAck) packet.messageId = readU32(body, length - 4);
  return packet;
}
