// SPDX-License-Identifier: Apache-2.0
// The packets of a session: which wrapping they have, how much fits in, and which of them belong to it at all.

import { sameBytes } from './bytes.ts';
import { readEarlyRequests } from './clientkey.ts';
import { type Drop, drop } from './drop.ts';
import { ACKS_PIGGYBACK_MAX, CONTROL_PACKET_MAX } from './limits.ts';
import type { KeyState, Session, SessionOptions } from './session.ts';
import { type ControlPacket, OPCODE } from './wire.ts';
import { createWrap, dynamicKeys, type Wrap } from './wrap.ts';

/** Label of the TLS exporter for dynamic tls-crypt: 256 bytes, no context. */
const EXPORTER_DYNAMIC = 'EXPORTER-OpenVPN-dynamic-tls-crypt';

/** The sealed client key of tls-crypt-v2. */
export function clientKeyOf({ wrap }: SessionOptions): Uint8Array | undefined {
  return wrap.kind === 'tls-crypt' ? wrap.wrapped : undefined;
}

/**
 * Agrees on dynamic tls-crypt while key 0 is the current one: from the next key id on, control packets are wrapped
 * under what its TLS session exports.
 */
export function agreeDynamicWrap(session: Session): void {
  const { options, deps } = session;
  const exported = session.current.tls.exportKey(EXPORTER_DYNAMIC, 256);
  session.dynamicWrap = createWrap(
    dynamicKeys(exported, options.wrap, options.role),
    deps.crypto,
    deps.wallS(),
  );
}

/** The wrapping of a key id. */
export function wrapFor(session: Session, keyId: number): Wrap {
  return keyId === 0 ? session.wrap : (session.dynamicWrap ?? session.wrap);
}

/** TLS bytes that fit a packet: limit less IP and UDP, opcode and session id, a full ack field, message id. */
export function payloadMax(session: Session, key: KeyState): number {
  const ackField = 1 + 4 * ACKS_PIGGYBACK_MAX + 8;
  return (
    CONTROL_PACKET_MAX - session.options.ipOverhead - 9 - ackField - 4 - wrapFor(session, key.keyId).overhead
  );
}

/** Why a packet that authenticated cannot belong to the session; undefined: it can. */
export function refusePacket(session: Session, packet: ControlPacket): Drop | undefined {
  if (session.remoteSid !== undefined && !sameBytes(session.remoteSid, packet.sessionId))
    return drop('session-id');
  if (packet.remoteSessionId !== undefined && !sameBytes(packet.remoteSessionId, session.localSid)) {
    return drop('remote-session-id');
  }
  const isClient = session.options.role === 'client';
  switch (packet.opcode) {
    case OPCODE.control:
    case OPCODE.ack:
      // Only the reset tells a client the server's session id.
      return session.remoteSid === undefined ? drop('session-id') : undefined;
    case OPCODE.controlWkc:
      return isClient || clientKeyOf(session.options) === undefined ? drop('opcode') : undefined;
    case OPCODE.softReset:
      return packet.messageId === 0 ? undefined : drop('reset-id');
    case OPCODE.hardResetServerV2:
      if (!isClient) return drop('opcode');
      // A reset is always packet 0; accepting another id would lose the real packet 1.
      if (readEarlyRequests(packet.payload) === undefined) return drop('short');
      return packet.messageId === 0 && packet.keyId === 0 ? undefined : drop('reset-id');
    case OPCODE.hardResetClientV3:
      if (!session.takesReset) return drop('opcode');
      return packet.messageId === 0 ? undefined : drop('reset-id');
    default:
      return drop('opcode');
  }
}
