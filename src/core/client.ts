// SPDX-License-Identifier: Apache-2.0
// A client as a state machine: one session at a time, the server's messages, and what ends a connection. Whom to
// try is in attempt.ts; what a push reply means for keys and network is in pull.ts.

import { formatEndpoint, type Path, sameEndpoint } from './address.ts';
import { connect, negotiate, open, restart } from './attempt.ts';
import { type ClientState, takeToken } from './clientstate.ts';
import { containClient } from './contain.ts';
import { beginRenegotiation, confirmKey, installNext, keysDeadline, tickKeys } from './datakeys.ts';
import { type Effect, type Event, earlier, effectsOf, newOutbox, notify, type Outbox } from './event.ts';
import {
  PUSH_REQUEST_FIRST_MS,
  PUSH_REQUEST_INTERVAL_MS,
  REFUSED_RETRY_S,
  SHUTDOWN_LINGER_MS,
} from './limits.ts';
import { isOccExit, OCC_EXIT_PAYLOAD, readOptions, unusableFraming } from './options.ts';
import type { PlaneNotice } from './plane.ts';
import { onPeerIntroduced, onPushReply, onPushUpdate } from './pull.ts';
import { changeClient } from './reload.ts';
import { readServerMessage } from './servermessage.ts';
import {
  flushSession,
  isQuiet,
  type KeyState,
  type Outcome,
  receivePacket,
  renegotiate,
  type Session,
  sendText,
  sessionDeadline,
  tickSession,
} from './session.ts';
import { limitsDeadline, onTraffic, tickLimits } from './sessionlimits.ts';

/** One event in, its effects out. `now` is monotonic milliseconds and never goes back. */
export function stepClient(state: ClientState, event: Event, now: number): Effect[] {
  const out = newOutbox();
  containClient(state, now, out, () => {
    handle(state, event, now, out);
    flush(state, now, out);
  });
  if (state.phase === 'leaving') {
    const isDone = state.session === undefined || isQuiet(state.session) || now >= (state.stopAt ?? 0);
    if (isDone) out.sends.push({ kind: 'exit' });
  }
  return effectsOf(out, deadline(state));
}

function handle(state: ClientState, event: Event, now: number, out: Outbox): void {
  switch (event.kind) {
    case 'start':
      return connect(state, now, out);
    case 'resolved':
      if (state.phase !== 'resolving') return;
      state.addresses = event.addresses;
      return open(state, now, out);
    case 'resolveFailed':
      if (state.phase === 'resolving') restart(state, event.reason, now, out);
      return;
    case 'socketOpened':
      if (state.phase === 'opening') return negotiate(state, event.socket, now, out);
      out.others.push({ kind: 'closeSocket', socket: event.socket });
      return;
    case 'socketFailed':
      if (state.phase === 'opening') restart(state, event.reason, now, out);
      return;
    case 'datagram':
      return onDatagram(state, event.path, event.bytes, now, out);
    case 'tick':
      return onTick(state, now, out);
    case 'planeNotice':
      return onPlaneNotice(state, event.notice, now, out);
    case 'planeRefused':
      // Of two refused commands the second is no news: the connection is over.
      if (state.keys === undefined) return;
      if (event.command.op === 'addPeer' || event.command.op === 'addKey') {
        const reason = `data plane refused ${event.command.op}: ${event.text}`;
        restart(state, reason, now, out, { waitS: REFUSED_RETRY_S });
      }
      return;
    case 'inner':
      if (state.phase === 'connected' && isOccExit(event.payload))
        restart(state, 'the server left', now, out);
      return;
    case 'traffic': {
      if (state.limits === undefined || event.peerId !== state.keys?.peerId) return;
      const over = onTraffic(state.limits, event.bytes);
      return over === undefined ? undefined : end(state, over, now, out);
    }
    case 'streamClosed':
      return onStreamClosed(state, event, now, out);
    case 'command':
      if (event.command === 'renegotiate') return startRenegotiation(state, now, out);
      return restart(state, event.reason ?? 'disconnected by command', now, out, { level: 'info' });
    case 'configChange':
      if (event.role === 'client') changeClient(state, event, now, out);
      return;
    case 'shutdown':
      return leave(state, now, out);
  }
}

function onStreamClosed(
  state: ClientState,
  event: Extract<Event, { kind: 'streamClosed' }>,
  now: number,
  out: Outbox,
): void {
  const { socket } = event.path;
  if (event.drop !== undefined) state.drops[event.drop]++;
  const isOurs = state.path?.socket === socket;
  // This closes the socket, too.
  if (isOurs && state.phase !== 'leaving') return restart(state, event.reason, now, out);
  // Nobody hears a goodbye any more.
  if (isOurs) state.stopAt = now;
  out.sends.push({ kind: 'closeSocket', socket });
}

function onDatagram(state: ClientState, path: Path, bytes: Uint8Array, now: number, out: Outbox): void {
  const { session } = state;
  const isOurs = state.path?.socket === path.socket && sameEndpoint(state.path.remote, path.remote);
  if (session === undefined || !isOurs) return void state.drops['no-instance']++;
  const outcomes: Outcome[] = [];
  const refused = receivePacket(session, bytes, now, outcomes);
  if (refused !== undefined) state.drops[refused.drop]++;
  onOutcomes(state, session, outcomes, now, out);
}

function onOutcomes(
  state: ClientState,
  session: Session,
  outcomes: Outcome[],
  now: number,
  out: Outbox,
): void {
  for (const outcome of outcomes) {
    // An earlier outcome may have ended this session.
    if (state.session !== session) return;
    switch (outcome.kind) {
      case 'renegotiating':
        if (state.keys !== undefined) beginRenegotiation(state.keys, out.plane, now);
        break;
      case 'keyMethod':
        onKeyMethod(state, session, outcome.key, now, out);
        break;
      case 'active':
        onActive(state, outcome.key, now);
        break;
      case 'text':
        onText(state, outcome.text, now, out);
        break;
      case 'failed':
        restart(state, outcome.reason, now, out);
        break;
    }
  }
}

function onKeyMethod(state: ClientState, session: Session, key: KeyState, now: number, out: Outbox): void {
  if (key.keyId === 0) {
    const unusable = unusableFraming(readOptions(key.remote?.options ?? ''));
    if (unusable !== undefined)
      return restart(state, `the server uses ${unusable}`, now, out, { waitS: REFUSED_RETRY_S });
    const { ownAddresses } = state.options;
    const failure = ownAddresses && onPeerIntroduced(state, ownAddresses, now, out);
    if (failure !== undefined) restart(state, failure, now, out, { waitS: REFUSED_RETRY_S, advance: 'addr' });
    return;
  }
  if (state.keys === undefined) return;
  if (!installNext(state.keys, session, out.plane, now)) restart(state, 'no usable data key', now, out);
}

function onActive(state: ClientState, key: KeyState, now: number): void {
  state.handshakeAt = now;
  state.renegotiateAt = state.options.renegS === 0 ? undefined : now + state.options.renegS * 1000;
  if (state.keys !== undefined) confirmKey(state.keys, key, now);
  if (state.phase === 'negotiating') {
    state.pushRequestAt = now + PUSH_REQUEST_FIRST_MS;
    // AUTH_PENDING may have come before this, in one burst with the key method message.
    state.pushDeadline ??= now + state.options.handWindowS * 1000;
  }
}

function onText(state: ClientState, text: string, now: number, out: Outbox): void {
  if (text.startsWith('PUSH_REPLY')) {
    // TLS may have ended right behind it: then no key can be derived.
    if (state.session?.current.phase === 'failed') return;
    // A second reply only brings a new token.
    const failure =
      state.phase === 'negotiating' ? onPushReply(state, text, now, out) : onTokenReply(state, text);
    if (failure !== undefined) restart(state, failure, now, out, { waitS: REFUSED_RETRY_S, advance: 'addr' });
    return;
  }
  if (text.startsWith('PUSH_UPDATE')) return onUpdate(state, text, now, out);
  const message = readServerMessage(text, state.options.handWindowS);
  switch (message.kind) {
    case 'end':
      // A token that is refused is worth nothing; the password may still be.
      if (text.startsWith('AUTH_FAILED') && state.token !== undefined) {
        state.token = undefined;
        return restart(state, message.reason, now, out, {
          ...message,
          level: 'warn',
          advance: 'no',
          waitS: 0,
        });
      }
      return restart(state, message.reason, now, out, message);
    case 'pending':
      if (state.phase === 'negotiating') state.pushDeadline = now + message.timeoutS * 1000;
      return notify(out, 'info', message.text);
    case 'other':
      return notify(out, 'debug', message.text);
  }
}

function onUpdate(state: ClientState, text: string, now: number, out: Outbox): void {
  const mayPush = state.phase === 'connected' && state.options.ownAddresses === undefined;
  if (!mayPush) return void state.drops.push++;
  const failure = onPushUpdate(state, text, now, out);
  if (failure !== undefined) restart(state, failure, now, out);
}

function onTokenReply(state: ClientState, text: string): undefined {
  const token = /,auth-token (SESS_ID_[!-~]{1,400}?)(?:,|$)/.exec(text)?.[1];
  if (token !== undefined) takeToken(state, token);
  return undefined;
}

function onTick(state: ClientState, now: number, out: Outbox): void {
  if (state.retryAt !== undefined && now >= state.retryAt) return connect(state, now, out);
  const { session, options } = state;
  if (session === undefined) return;
  const outcomes: Outcome[] = [];
  tickSession(session, now, outcomes);
  onOutcomes(state, session, outcomes, now, out);
  if (state.session !== session || state.phase === 'leaving') return;
  if (session.remoteSid === undefined && now >= state.startedAt + options.pollTimeoutS * 1000) {
    return restart(state, `no answer within ${options.pollTimeoutS} s`, now, out);
  }
  if (state.pushDeadline !== undefined && now >= state.pushDeadline) {
    return restart(state, 'the server sent no push reply', now, out);
  }
  if (state.pushRequestAt !== undefined && now >= state.pushRequestAt) {
    sendText(session, 'PUSH_REQUEST');
    state.pushRequestAt = now + PUSH_REQUEST_INTERVAL_MS;
  }
  if (state.renegotiateAt !== undefined && now >= state.renegotiateAt) startRenegotiation(state, now, out);
  if (state.keys === undefined) return;
  tickKeys(state.keys, out.plane, now);
  const over = state.limits && tickLimits(state.limits, state.keys.peerId, now, out);
  if (over !== undefined) end(state, over, now, out);
}

function startRenegotiation(state: ClientState, now: number, out: Outbox): void {
  state.renegotiateAt = undefined;
  if (state.keys === undefined || state.session === undefined) return;
  if (renegotiate(state.session, now) !== undefined) beginRenegotiation(state.keys, out.plane, now);
}

function onPlaneNotice(state: ClientState, notice: PlaneNotice, now: number, out: Outbox): void {
  if (state.keys === undefined || notice.peerId !== state.keys.peerId) return;
  switch (notice.kind) {
    case 'peerDeleted':
      if (notice.reason === 'userspace' || notice.reason === 'teardown') return;
      state.keys = undefined;
      if (notice.reason !== 'expired') return restart(state, notice.reason.replace('_', ' '), now, out);
      return restart(state, `nothing heard from the server for ${state.pingRestartS} s`, now, out);
    case 'peerFloated':
      state.path = notice.path;
      return notify(out, 'info', `server moved to ${formatEndpoint(notice.path.remote)}`);
    case 'keyExpiring':
      return startRenegotiation(state, now, out);
    case 'keyExhausted':
      return restart(state, 'data key used up before it was renegotiated', now, out);
  }
}

function leave(state: ClientState, now: number, out: Outbox): void {
  const wasConnected = state.phase === 'connected';
  state.phase = 'leaving';
  state.retryAt = undefined;
  state.stopAt = now;
  if (wasConnected && sayGoodbye(state, out)) state.stopAt = now + SHUTDOWN_LINGER_MS;
}

/** While connected. Whether it is on its way as a message, which the server acknowledges. */
function sayGoodbye(state: ClientState, out: Outbox): boolean {
  // The end of a connection says it, too.
  if (!state.options.explicitExitNotify || state.path?.tcp === true) return false;
  // In the middle of a renegotiation no text can be sent: then the plane says it, as to a server without cc-exit.
  if (state.ccExit && sendText(state.session!, 'EXIT')) return true;
  if (state.options.capabilities.inner) {
    out.plane.push({ op: 'sendInner', peerId: state.keys!.peerId, payload: OCC_EXIT_PAYLOAD });
  }
  return false;
}

/** The connection has lasted long enough: the server hears so, and a new one begins. */
function end(state: ClientState, reason: string, now: number, out: Outbox): void {
  if (state.phase !== 'connected') return;
  sayGoodbye(state, out);
  restart(state, reason, now, out, { level: 'info' });
}

function flush(state: ClientState, now: number, out: Outbox): void {
  const { session, path } = state;
  if (session === undefined || path === undefined) return;
  flushSession(session, now, bytes => out.sends.push({ kind: 'send', path, bytes }));
}

function deadline(state: ClientState): number | undefined {
  let next = earlier(state.retryAt, state.stopAt);
  if (state.session === undefined) return next;
  // Nothing else is done any more: an old deadline would come again and again.
  if (state.phase === 'leaving') return earlier(next, sessionDeadline(state.session));
  next = earlier(earlier(next, sessionDeadline(state.session)), state.pushRequestAt);
  next = earlier(earlier(next, state.pushDeadline), state.renegotiateAt);
  if (state.limits !== undefined) next = earlier(next, limitsDeadline(state.limits));
  if (state.session.remoteSid === undefined)
    next = earlier(next, state.startedAt + state.options.pollTimeoutS * 1000);
  return state.keys === undefined ? next : earlier(next, keysDeadline(state.keys));
}
