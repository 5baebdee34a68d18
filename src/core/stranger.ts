// SPDX-License-Identifier: Apache-2.0
// Packets from whom the server does not know. Nothing is kept for a stranger before it returns the cookie it was
// given as our session id; the one exception are clients too old to send their tls-crypt-v2 key twice.

import { formatEndpoint, type Path } from './address.ts';
import { readU32 } from './bytes.ts';
import { carriesClientKey, metadataText, requestResend, splitWrapped, unwrapClientKey } from './clientkey.ts';
import { checkCookie, cookieSessionId, cookieSlot } from './cookie.ts';
import { type Drop, drop, isDrop } from './drop.ts';
import { notify, type Outbox } from './event.ts';
import { admitReset, admitSession, giveBack } from './gate.ts';
import { EARLY_NEGOTIATION_ID } from './limits.ts';
import type { ServerState } from './server.ts';
import { onPeerDatagram, openPeer } from './serverpeer.ts';
import { type ControlPacket, HEAD_LENGTH, OPCODE, opcodeOf } from './wire.ts';
import { clientKeys, createWrap, openStateless, type WrapKeys } from './wrap.ts';

interface Opened {
  readonly packet: ControlPacket;
  /** The server's, or those of the client's own key. */
  readonly wrap: WrapKeys;
  /** What the client key says of itself. */
  readonly about: string;
}

export function onStranger(
  state: ServerState,
  path: Path,
  bytes: Uint8Array,
  now: number,
  out: Outbox,
): void {
  const { drops } = state;
  const opened = openStranger(state, bytes);
  if (isDrop(opened)) return void drops[opened.drop]++;
  const { packet } = opened;
  if (packet.keyId !== 0) return void drops['key-id']++;
  if (packet.opcode === OPCODE.hardResetClientV2 || packet.opcode === OPCODE.hardResetClientV3) {
    if (packet.messageId !== 0) return void drops['reset-id']++;
    if (packet.opcode === OPCODE.hardResetClientV2 || isEarlyNegotiation(bytes))
      return answerReset(state, path, opened, now, out);
    // From before 2.6: its key comes this once, and with it the session must begin.
    return open(state, path, opened, state.deps.random(8), bytes, now, out);
  }
  const opensSession =
    packet.opcode === OPCODE.control || packet.opcode === OPCODE.ack || packet.opcode === OPCODE.controlWkc;
  if (!opensSession) return void drops['no-instance']++;
  const cookie = packet.remoteSessionId;
  // Only the packet right after the reset opens a session: anything later belongs to one that is gone.
  const isFirst = packet.acks.every(id => id <= 1) && (packet.messageId ?? 0) <= 1;
  if (cookie === undefined || !isFirst) return void drops['no-instance']++;
  const { deps } = state;
  const nowS = Math.floor(now / 1000);
  if (!checkCookie(deps.crypto, state.secret, nowS, state.cookieS, path, packet.sessionId, cookie)) {
    return void drops.cookie++;
  }
  open(state, path, opened, cookie, bytes, now, out);
}

function openStranger(state: ServerState, bytes: Uint8Array): Opened | Drop {
  const { wrap, clientKeys: serverKey } = state.options;
  const { crypto } = state.deps;
  if (carriesClientKey(opcodeOf(bytes))) {
    if (serverKey === undefined) return drop('opcode');
    const parts = splitWrapped(bytes);
    if (isDrop(parts)) return parts;
    const unwrapped = unwrapClientKey(crypto, serverKey, parts.wrapped);
    if (isDrop(unwrapped)) return unwrapped;
    const own = clientKeys({ key: unwrapped.key, wrapped: parts.wrapped }, 'server');
    unwrapped.key.fill(0);
    const packet = openStateless(own, crypto, bytes);
    if (isDrop(packet)) return packet;
    return { packet, wrap: own, about: `, ${metadataText(unwrapped.metadata)}` };
  }
  // With tls-crypt-v2 alone nobody begins without a key; a packet that overtook the one with the key is no offence.
  if (serverKey !== undefined && wrap.kind === 'none') {
    return drop(opcodeOf(bytes) === OPCODE.hardResetClientV2 ? 'hmac' : 'no-instance');
  }
  const packet = openStateless(wrap, crypto, bytes);
  return isDrop(packet) ? packet : { packet, wrap, about: '' };
}

/** Whether a client says by its replay id that it can send its key again. The packet has been authenticated. */
function isEarlyNegotiation(bytes: Uint8Array): boolean {
  return (readU32(bytes, HEAD_LENGTH) & EARLY_NEGOTIATION_ID) === EARLY_NEGOTIATION_ID;
}

function open(
  state: ServerState,
  path: Path,
  { packet, wrap, about }: Opened,
  localSid: Uint8Array,
  bytes: Uint8Array,
  now: number,
  out: Outbox,
): void {
  const isStateless = packet.opcode !== OPCODE.hardResetClientV3;
  const { gate, drops } = state;
  // Without a cookie the address may be anybody's: such a session counts as an answer, too.
  const limit =
    (isStateless ? undefined : admitReset(gate, wrap, path)) ?? admitSession(state, path, now, out);
  if (limit !== undefined) return void drops[limit]++;
  if (isStateless) giveBack(gate, wrap, path);
  notify(out, 'debug', `session opened by ${formatEndpoint(path.remote)}${about}`);
  const peer = openPeer(state, path, wrap, localSid, packet.sessionId, now, isStateless);
  onPeerDatagram(state, peer, bytes, now, out, packet);
}

/** Answers a hard reset and keeps nothing: our session id is the cookie. */
function answerReset(
  state: ServerState,
  path: Path,
  { packet, wrap }: Opened,
  now: number,
  out: Outbox,
): void {
  const { deps } = state;
  const limit = admitReset(state.gate, wrap, path);
  if (limit !== undefined) return void state.drops[limit]++;
  const slot = cookieSlot(Math.floor(now / 1000), state.cookieS);
  const bytes = createWrap(wrap, deps.crypto, deps.wallS()).seal({
    opcode: OPCODE.hardResetServerV2,
    keyId: 0,
    sessionId: cookieSessionId(deps.crypto, state.secret, slot, path, packet.sessionId),
    acks: [0],
    remoteSessionId: packet.sessionId,
    messageId: 0,
    payload: packet.opcode === OPCODE.hardResetClientV3 ? requestResend() : new Uint8Array(0),
  });
  out.sends.push({ kind: 'send', path, bytes });
}
