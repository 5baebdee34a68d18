// SPDX-License-Identifier: Apache-2.0
// One control session: from a hard reset through all renegotiations. Reset exchange, TLS, key method 2 and text
// messages for each key id. It decides nothing about peers, addresses or data keys: what happened comes out as
// outcomes, for server.ts and client.ts.

import { concat } from './bytes.ts';
import { readEarlyRequests } from './clientkey.ts';
import { type Drop, drop, isDrop } from './drop.ts';
import { type CoreDeps, earlier } from './event.ts';
import { checkIdentity, type ExpectedIdentity } from './identity.ts';
import { decodeKeyMethod2, encodeKeyMethod2, type KeyMethod2, type KeySource } from './keymethod.ts';
import { CONTROL_PACKET_RECEIVE_MAX, EARLY_NEGOTIATION_ID, RENEGOTIATIONS_PER_MINUTE } from './limits.ts';
import {
  acknowledge,
  allAcknowledged,
  canQueue,
  newReliable,
  queueMessage,
  type Reliable,
  receiveMessage,
  reliableDeadline,
  takeAcks,
  takeDelivered,
  takeDue,
} from './reliable.ts';
import { clientKeyOf, payloadMax, refusePacket, wrapFor } from './sessionpacket.ts';
import { decodeTexts, encodeText } from './text.ts';
import type { TlsEngine, TlsRole } from './tls.ts';
import { type ControlPacket, keyIdOf, OPCODE, type Opcode, type WritablePacket } from './wire.ts';
import { createWrap, type Wrap, type WrapKeys } from './wrap.ts';

export interface SessionOptions {
  readonly role: TlsRole;
  readonly wrap: WrapKeys;
  readonly handWindowMs: number;
  /** Header bytes in front of each packet (headersOf). */
  readonly ipOverhead: number;
  /** What our key method 2 message says beside the key source. */
  readonly introduce: Pick<KeyMethod2, 'options' | 'peerInfo' | 'username' | 'password'>;
  /** What the other end must be beyond what TLS verifies; before anything is said to it. */
  readonly expected?: ExpectedIdentity;
}

/**
 * reset: the reset exchange; tls: the handshake; keyMethod: waiting for the peer's key method 2; confirm: waiting
 * for the peer's last acks; active: both sides have all they need; failed: dead, perhaps an alert still to send.
 */
export type KeyPhase = 'reset' | 'tls' | 'keyMethod' | 'confirm' | 'active' | 'failed';

/** A key method 2 message without its key source. */
export type Said = Omit<KeyMethod2, 'source'>;

/** The negotiation of one key id. */
export interface KeyState {
  readonly keyId: number;
  readonly reliable: Reliable;
  readonly tls: TlsEngine;
  readonly startedAt: number;
  /** What each end puts into the key method messages, until keys are derived and ours is written. */
  source: KeySource | undefined;
  remoteSource: KeySource | undefined;
  phase: KeyPhase;
  /** What else the peer said; a server forgets what only letting it in needs. */
  remote: Said | undefined;
  /** Our own key method 2 is written. */
  introduced: boolean;
}

export interface Session {
  readonly options: SessionOptions;
  readonly deps: CoreDeps;
  readonly localSid: Uint8Array;
  /** Undefined until anything authentic came from the peer. */
  remoteSid: Uint8Array | undefined;
  readonly wrap: Wrap;
  /** Dynamic tls-crypt: wraps all key ids but 0, once it is agreed. */
  dynamicWrap: Wrap | undefined;
  /** A server that has not answered statelessly: the client's reset belongs to the session. */
  readonly takesReset: boolean;
  /** tls-crypt-v2: our next message must carry the client key once more. */
  resendsKey: boolean;
  current: KeyState;
  /** The key before: its control channel only acknowledges what the peer repeats. */
  previous: KeyState | undefined;
  /** Sent in place of the password from now on (auth-token). */
  token: string | undefined;
  /** Renegotiations the peer started in the current minute. */
  asked: number;
  askedSince: number;
}

/** What came of an event, in order. */
export type Outcome =
  /** The peer started a renegotiation; the session answers by itself. */
  | { readonly kind: 'renegotiating'; readonly key: KeyState }
  /** The peer's key method 2 message. A server answers with `introduce` or fails the key. */
  | { readonly kind: 'keyMethod'; readonly key: KeyState; readonly message: KeyMethod2 }
  | { readonly kind: 'active'; readonly key: KeyState }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'failed'; readonly key: KeyState; readonly reason: string };

function newKey(
  session: Pick<Session, 'options' | 'deps'>,
  keyId: number,
  start: number,
  now: number,
): KeyState {
  const { random, tls } = session.deps;
  const source: KeySource = { random1: random(32), random2: random(32) };
  return {
    keyId,
    reliable: newReliable(start),
    tls: tls(),
    startedAt: now,
    source: session.options.role === 'client' ? { preMaster: random(48), ...source } : source,
    remoteSource: undefined,
    phase: start > 0 ? 'tls' : 'reset',
    remote: undefined,
    introduced: false,
  };
}

/** A client's session: queues the hard reset, with a fresh random session id. */
export function openClientSession(options: SessionOptions, deps: CoreDeps, now: number): Session {
  const hasKey = clientKeyOf(options) !== undefined;
  const session: Session = {
    options,
    deps,
    localSid: deps.random(8),
    remoteSid: undefined,
    wrap: createWrap(options.wrap, deps.crypto, deps.wallS(), hasKey ? EARLY_NEGOTIATION_ID : 0),
    dynamicWrap: undefined,
    takesReset: false,
    resendsKey: false,
    current: newKey({ options, deps }, 0, 0, now),
    previous: undefined,
    token: undefined,
    asked: 0,
    askedSince: now,
  };
  const opcode = hasKey ? OPCODE.hardResetClientV3 : OPCODE.hardResetClientV2;
  queueMessage(session.current.reliable, opcode, new Uint8Array(0), now);
  return session;
}

/**
 * A server's session, after the stateless reset exchange: message and replay id of the reset are used up. Not
 * `isStateless`: the reset is still to be received and answered.
 */
export function openServerSession(
  options: SessionOptions,
  deps: CoreDeps,
  localSid: Uint8Array,
  remoteSid: Uint8Array,
  now: number,
  isStateless = true,
): Session {
  const used = isStateless ? 1 : 0;
  const current = newKey({ options, deps }, 0, used, now);
  if (!isStateless) queueMessage(current.reliable, OPCODE.hardResetServerV2, new Uint8Array(0), now);
  // One buffer for both: it takes more than they do.
  const sids = concat(localSid, remoteSid);
  return {
    options,
    deps,
    localSid: sids.subarray(0, localSid.length),
    remoteSid: sids.subarray(localSid.length),
    wrap: createWrap(options.wrap, deps.crypto, deps.wallS(), used),
    dynamicWrap: undefined,
    takesReset: !isStateless,
    resendsKey: false,
    current,
    previous: undefined,
    token: undefined,
    asked: 0,
    askedSince: now,
  };
}

/**
 * Takes one control packet; `outcomes` is appended to. Returns why it was dropped, if it was. `opened`: the packet, if
 * it was opened before there was a session (openStateless).
 */
export function receivePacket(
  session: Session,
  datagram: Uint8Array,
  now: number,
  outcomes: Outcome[],
  opened?: ControlPacket,
): Drop | undefined {
  if (datagram.length > CONTROL_PACKET_RECEIVE_MAX) return drop('long');
  const packet = wrapFor(session, keyIdOf(datagram)).open(datagram, opened);
  if (isDrop(packet)) return packet;
  const refused = refusePacket(session, packet);
  if (refused !== undefined) return refused;
  const key = keyFor(session, packet, now, outcomes);
  if (isDrop(key)) return key;
  session.remoteSid ??= packet.sessionId.slice();
  acknowledge(key.reliable, packet.acks, now);
  if (packet.messageId !== undefined) {
    const isReset = packet.opcode !== OPCODE.control && packet.opcode !== OPCODE.controlWkc;
    // A reset's payload is no TLS data.
    const payload = isReset ? new Uint8Array(0) : packet.payload;
    const verdict = receiveMessage(key.reliable, packet.messageId, payload);
    if (verdict === 'new' && packet.opcode === OPCODE.hardResetServerV2)
      session.resendsKey = readEarlyRequests(packet.payload)?.resendKey === true;
    if (verdict !== 'new') {
      if (session.takesReset && key.phase === 'reset')
        for (const answer of key.reliable.outgoing) answer.dueAt = now;
      advance(session, key, outcomes);
      return drop(verdict);
    }
  }
  advance(session, key, outcomes);
  return undefined;
}

function keyFor(session: Session, packet: ControlPacket, now: number, outcomes: Outcome[]): KeyState | Drop {
  if (packet.keyId === session.current.keyId) return session.current;
  if (packet.keyId === session.previous?.keyId) return session.previous;
  if (packet.opcode !== OPCODE.softReset || packet.keyId !== nextKeyId(session.current.keyId))
    return drop('key-id');
  if (session.current.phase !== 'active') return drop('key-out-of-sync');
  if (now - session.askedSince >= 60_000) Object.assign(session, { askedSince: now, asked: 0 });
  if (++session.asked > RENEGOTIATIONS_PER_MINUTE) return drop('rate-limit');
  const key = startKey(session, now);
  outcomes.push({ kind: 'renegotiating', key });
  return key;
}

/** Key ids run 0, 1..7, 1..7: 0 is for the first key of a session only. */
export function nextKeyId(keyId: number): number {
  return keyId === 7 ? 1 : keyId + 1;
}

function startKey(session: Session, now: number): KeyState {
  session.previous?.tls.close();
  session.previous = session.current;
  session.current = newKey(session, nextKeyId(session.current.keyId), 0, now);
  queueMessage(session.current.reliable, OPCODE.softReset, new Uint8Array(0), now);
  return session.current;
}

/** Starts a renegotiation; undefined while one is under way. */
export function renegotiate(session: Session, now: number): KeyState | undefined {
  return session.current.phase === 'active' ? startKey(session, now) : undefined;
}

/** Time passes: a negotiation that takes too long fails. */
export function tickSession(session: Session, now: number, outcomes: Outcome[]): void {
  const key = session.current;
  advance(session, key, outcomes);
  if (
    key.phase !== 'active' &&
    key.phase !== 'failed' &&
    now >= key.startedAt + session.options.handWindowMs
  ) {
    const seconds = Math.round(session.options.handWindowMs / 1000);
    fail(key, `${silence(session, key)} within ${seconds} s`, outcomes);
  }
}

/** Stock peers end a handshake without a word when they refuse a certificate. */
function silence(session: Session, key: KeyState): string {
  if (session.remoteSid === undefined) return 'no answer';
  const isRefusal = key.phase === 'tls' || key.phase === 'keyMethod';
  return `TLS negotiation not finished${isRefusal ? ' (does the other side trust our certificate?)' : ''}`;
}

function fail(key: KeyState, reason: string, outcomes: Outcome[]): void {
  key.phase = 'failed';
  outcomes.push({ kind: 'failed', key, reason });
}

function advance(session: Session, key: KeyState, outcomes: Outcome[]): void {
  for (;;) {
    const payload = takeDelivered(key.reliable);
    if (payload === undefined) break;
    // Who goes on sending on a dead key would only fill memory.
    if (payload.length > 0 && key.phase !== 'failed') key.tls.feed(payload);
  }
  if (key !== session.current || key.phase === 'failed') return;
  if (key.phase === 'reset') {
    const answered = key.reliable.receiveNext > 0 && key.reliable.outgoing[0]?.messageId !== 0;
    if (!answered) return;
    key.phase = 'tls';
  }
  const status = key.tls.status();
  if (status === 'failed') return fail(key, key.tls.error(), outcomes);
  if (status === 'handshake') return;
  if (key.phase === 'tls') {
    const { expected } = session.options;
    const stranger = expected && checkIdentity(expected, key.tls.peerCertificate());
    if (stranger !== undefined) return fail(key, stranger, outcomes);
    key.phase = 'keyMethod';
    if (session.options.role === 'client') introduce(session, key);
  }
  readPlaintext(session, key, outcomes);
  confirm(session, key, outcomes);
}

function readPlaintext(session: Session, key: KeyState, outcomes: Outcome[]): void {
  const said: Outcome[] = [];
  for (;;) {
    const record = key.tls.read();
    if (record === undefined) break;
    if (key.phase === 'keyMethod') {
      const message = decodeKeyMethod2(record, session.options.role === 'client' ? 'server' : 'client');
      if (isDrop(message)) return fail(key, 'malformed key method 2 message', outcomes);
      const { source, ...rest } = message;
      key.remoteSource = source;
      key.remote = rest;
      key.phase = 'confirm';
      said.push({ kind: 'keyMethod', key, message });
    } else {
      const texts = decodeTexts(record);
      if (!isDrop(texts)) for (const text of texts) said.push({ kind: 'text', text });
    }
  }
  const isOver = key.tls.status() === 'failed';
  // With TLS ended right behind a key method message nothing can be derived any more; a farewell is still to be heard.
  outcomes.push(...(isOver ? said.filter(({ kind }) => kind === 'text') : said));
  if (isOver) fail(key, key.tls.error(), outcomes);
}

function confirm(session: Session, key: KeyState, outcomes: Outcome[]): void {
  if (key.phase !== 'confirm' || !key.introduced || key.tls.pending() || !allAcknowledged(key.reliable))
    return;
  key.phase = 'active';
  // Nobody reads texts on an older key; its TLS state is most of a peer's memory.
  session.previous?.tls.close();
  outcomes.push({ kind: 'active', key });
}

/** Writes our key method 2 message; a server calls it to accept the client's. */
export function introduce(session: Session, key: KeyState): void {
  const token = session.token === undefined ? {} : { password: session.token };
  const message = encodeKeyMethod2({ source: key.source!, ...session.options.introduce, ...token });
  key.introduced = key.tls.write(message);
  message.fill(0);
}

/** Sends a text message on the newest usable key; false when there is none yet. */
export function sendText(session: Session, text: string): boolean {
  return session.current.introduced && session.current.tls.write(encodeText(text));
}

const NOTHING_SAID: Said = { options: '', peerInfo: '' };

/** Once the peer is let in nobody asks for what it said but for the name it logged in with. */
export function forgetSaid(key: KeyState): void {
  const { username } = key.remote!;
  key.remote = username === undefined ? NOTHING_SAID : { ...NOTHING_SAID, username };
}

/** Ends a negotiation from outside; what TLS still has to say is sent. */
export function failKey(key: KeyState): void {
  key.phase = 'failed';
}

/** Emits every packet that is due: new TLS bytes, retransmissions, acks. */
export function flushSession(session: Session, now: number, emit: (datagram: Uint8Array) => void): void {
  for (const key of session.previous === undefined
    ? [session.current]
    : [session.previous, session.current]) {
    if (key === session.current && key.phase !== 'reset') {
      while (canQueue(key.reliable)) {
        const again = session.resendsKey ? clientKeyOf(session.options) : undefined;
        const bytes = key.tls.pull(payloadMax(session, key) - (again?.length ?? 0));
        if (bytes === undefined) break;
        queueMessage(key.reliable, again === undefined ? OPCODE.control : OPCODE.controlWkc, bytes, now);
        session.resendsKey = false;
      }
    }
    for (
      let message = takeDue(key.reliable, now);
      message !== undefined;
      message = takeDue(key.reliable, now)
    ) {
      emit(seal(session, key, message.opcode, message.messageId, message.payload));
      // No cookie proved the address: only who asks again hears it again.
      if (session.takesReset && key.phase === 'reset') message.dueAt = Number.POSITIVE_INFINITY;
    }
    while (key.reliable.pendingAcks.length > 0) {
      emit(seal(session, key, OPCODE.ack, undefined, new Uint8Array(0)));
    }
  }
}

function seal(
  session: Session,
  key: KeyState,
  opcode: Opcode,
  messageId: number | undefined,
  payload: Uint8Array,
): Uint8Array {
  const { localSid, remoteSid } = session;
  const { keyId } = key;
  const acks = remoteSid === undefined ? [] : takeAcks(key.reliable);
  const packet: WritablePacket = { opcode, keyId, sessionId: localSid, acks, payload };
  if (acks.length > 0 && remoteSid !== undefined) packet.remoteSessionId = remoteSid;
  if (messageId !== undefined) packet.messageId = messageId;
  return wrapFor(session, keyId).seal(packet);
}

/** Everything we sent has arrived, as far as control messages go. */
export function isQuiet(session: Session): boolean {
  return allAcknowledged(session.current.reliable) && !session.current.tls.pending();
}

/** When tickSession or flushSession has something to do next. */
export function sessionDeadline(session: Session): number | undefined {
  const key = session.current;
  let deadline = reliableDeadline(key.reliable);
  if (session.previous !== undefined)
    deadline = earlier(deadline, reliableDeadline(session.previous.reliable));
  if (key.phase !== 'active' && key.phase !== 'failed') {
    deadline = earlier(deadline, key.startedAt + session.options.handWindowMs);
  }
  return deadline;
}

export function closeSession(session: Session): void {
  session.current.tls.close();
  session.previous?.tls.close();
}
