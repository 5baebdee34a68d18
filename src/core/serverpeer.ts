// SPDX-License-Identifier: Apache-2.0
// One client of a server, from its cookie to its end: what the outcomes of its session mean. Who is let in, and
// with what, is in admit.ts.

import {
  formatEndpoint,
  headersOf,
  type Path,
  type Prefix,
  parseIp,
  pathKey,
  sameIp,
  samePath,
} from './address.ts';
import { admit, identify } from './admit.ts';
import { appoint, type Member } from './agenda.ts';
import { latin1 } from './bytes.ts';
import {
  beginRenegotiation,
  confirmKey,
  type DataKeys,
  installNext,
  keysDeadline,
  tickKeys,
} from './datakeys.ts';
import { type Event, earlier, type LoginRefusal, notify, type Outbox } from './event.ts';
import { mayReport } from './gate.ts';
import { CLOSE_DELAY_S, PUSH_REPEAT_S } from './limits.ts';
import { beginLogin, freshToken, lostLogin, noteLogin, type PendingLogin } from './login.ts';
import { releaseAddress } from './pool.ts';
import { buildPush, optionLines } from './push.ts';
import { AUTH_FAILED, later } from './refusal.ts';
import type { ServerState } from './server.ts';
import {
  closeSession,
  failKey,
  flushSession,
  forgetSaid,
  introduce,
  type KeyState,
  type Outcome,
  openServerSession,
  receivePacket,
  renegotiate,
  type Session,
  sendText,
  sessionDeadline,
  tickSession,
} from './session.ts';
import { printable } from './text.ts';
import type { ControlPacket } from './wire.ts';
import type { WrapKeys } from './wrap.ts';

/** Its turn on the server's agenda is kept up to date by settlePeer. */
export interface ServerPeer extends Member {
  session: Session;
  path: Path;
  /** connecting: no data yet; closing: only acknowledges, until closeAt. */
  state: 'connecting' | 'connected' | 'closing';
  closeAt: number | undefined;
  /** The last thing it hears: said on each key that can say it, for nobody reads a key that is being replaced. */
  goodbye: string | undefined;
  /** The newest key it was said on. */
  saidOn: KeyState | undefined;
  /** Set while the data plane has the peer. */
  peerId: number | undefined;
  /** The configured peer's name, else the common name; before that the transport address. */
  name: string;
  commonName: string;
  /** Of the certificate it came with, as in Identity. */
  fingerprint: string | undefined;
  /** As text: a typed array takes ten times that. */
  vpnIps: readonly string[];
  routes: readonly Prefix[];
  /** Logged in as. */
  username: string | undefined;
  /** The user's stamp at that time (LoginOptions). */
  stamp: string | undefined;
  token: string | undefined;
  keys: DataKeys | undefined;
  /** It understands EXIT as a message. */
  ccExit: boolean;
  /** It takes PUSH_UPDATE. */
  takesUpdates: boolean;
  /** Option lines it was told last, and those it is told once: token, peer-id, cipher. With commas between them. */
  told: string;
  toldOnce: string;
  /** Updates that wait for a renegotiation to end. */
  updates: readonly string[];
  pushedAt: number | undefined;
  connectedAtS: number;
  handshakeAt: number;
  renegotiateAt: number | undefined;
}

/** An array of its own for each peer that has none of a thing would cost more than most of what peers have. */
export const NONE: readonly never[] = [];

/** Index of a peer: its transport path and its session id. */
export function peerKey(path: Path, sessionId: Uint8Array): string {
  return `${pathKey(path)},${latin1(sessionId)}`;
}

export function openPeer(
  state: ServerState,
  path: Path,
  wrap: WrapKeys,
  localSid: Uint8Array,
  remoteSid: Uint8Array,
  now: number,
  isStateless = true,
): ServerPeer {
  const { options, deps } = state;
  const peer: ServerPeer = {
    session: openServerSession(
      {
        role: 'server',
        wrap,
        handWindowMs: options.handWindowS * 1000,
        ipOverhead: headersOf(path),
        introduce: {
          options: (path.tcp && options.occTcp) || options.occ,
          peerInfo: options.p2p?.peerInfo ?? '',
        },
        ...(options.expected && { expected: options.expected }),
      },
      deps,
      localSid,
      remoteSid,
      now,
      isStateless,
    ),
    path: sharedPath(state, path),
    state: 'connecting',
    closeAt: undefined,
    goodbye: undefined,
    saidOn: undefined,
    peerId: undefined,
    name: formatEndpoint(path.remote),
    commonName: '',
    fingerprint: undefined,
    vpnIps: NONE,
    routes: NONE,
    username: undefined,
    stamp: undefined,
    token: undefined,
    keys: undefined,
    ccExit: false,
    takesUpdates: false,
    told: '',
    toldOnce: '',
    updates: NONE,
    pushedAt: undefined,
    connectedAtS: 0,
    handshakeAt: now,
    renegotiateAt: undefined,
    nextAt: undefined,
    place: 0,
  };
  state.peers.set(peerKey(path, remoteSid), peer);
  state.gate.halfOpen.add(peer);
  return peer;
}

/** Nearly all clients come to one of our addresses: they share it. */
function sharedPath(state: ServerState, path: Path): Path {
  const { local } = state;
  if (local !== undefined && path.local !== undefined && sameIp(local, path.local)) return { ...path, local };
  state.local = path.local;
  return path;
}

export function onPeerDatagram(
  state: ServerState,
  peer: ServerPeer,
  bytes: Uint8Array,
  now: number,
  out: Outbox,
  opened?: ControlPacket,
): void {
  const outcomes: Outcome[] = [];
  const refused = receivePacket(peer.session, bytes, now, outcomes, opened);
  if (refused !== undefined) state.drops[refused.drop]++;
  onOutcomes(state, peer, outcomes, now, out);
  settlePeer(state, peer, now, out);
}

/** Time passes for one peer. */
export function tickPeer(state: ServerState, peer: ServerPeer, now: number, out: Outbox): void {
  if (peer.closeAt !== undefined && now >= peer.closeAt) return removePeer(state, peer, out);
  const outcomes: Outcome[] = [];
  tickSession(peer.session, now, outcomes);
  onOutcomes(state, peer, outcomes, now, out);
  if (peer.keys !== undefined) tickKeys(peer.keys, out.plane, now);
  if (peer.renegotiateAt !== undefined && now >= peer.renegotiateAt) renegotiatePeer(peer, now, out);
  settlePeer(state, peer, now, out);
}

/** Sends what is due and notes when the next thing is. */
export function settlePeer(state: ServerState, peer: ServerPeer, now: number, out: Outbox): void {
  const { path } = peer;
  sayGoodbye(peer, now);
  flushSession(peer.session, now, bytes => out.sends.push({ kind: 'send', path, bytes }));
  let next = earlier(sessionDeadline(peer.session), peer.closeAt);
  if (peer.state !== 'closing') next = earlier(next, peer.renegotiateAt);
  if (peer.keys !== undefined) next = earlier(next, keysDeadline(peer.keys));
  appoint(state.agenda, peer, next);
}

function sayGoodbye(peer: ServerPeer, now: number): void {
  const { current } = peer.session;
  if (peer.goodbye === undefined || peer.saidOn === current || !sendText(peer.session, peer.goodbye)) return;
  // It had to wait for a key: time to arrive, once.
  if (peer.saidOn === undefined && peer.closeAt !== undefined) peer.closeAt = now + CLOSE_DELAY_S * 1000;
  peer.saidOn = current;
}

function onOutcomes(
  state: ServerState,
  peer: ServerPeer,
  outcomes: Outcome[],
  now: number,
  out: Outbox,
): void {
  for (const outcome of outcomes) {
    if (peer.state === 'closing') {
      // A goodbye is read behind our key method message only; who it is does not matter any more.
      if (outcome.kind === 'keyMethod' && peer.goodbye !== undefined) introduce(peer.session, outcome.key);
      continue;
    }
    switch (outcome.kind) {
      case 'renegotiating':
        if (peer.keys !== undefined) beginRenegotiation(peer.keys, out.plane, now);
        break;
      case 'keyMethod':
        onKeyMethod(state, peer, outcome.key, now, out);
        break;
      case 'active':
        if (peer.keys !== undefined) confirmKey(peer.keys, outcome.key, now);
        peer.handshakeAt = now;
        sendUpdates(peer);
        peer.renegotiateAt = renegotiationTime(state, now);
        if (outcome.key.keyId !== 0) onRenegotiated(state, peer, outcome.key, out);
        break;
      case 'text':
        onText(state, peer, outcome.text, now, out);
        break;
      case 'failed':
        closePeer(state, peer, outcome.reason, now, out);
        break;
    }
  }
}

function onRenegotiated(state: ServerState, peer: ServerPeer, key: KeyState, out: Outbox): void {
  notify(out, 'debug', `${peer.name}: renegotiated, key ${key.keyId}`);
  const fresh = freshToken(state, peer);
  if (fresh !== undefined) sendText(peer.session, fresh);
}

/** When to renegotiate after a handshake at `now`. */
export function renegotiationTime(state: ServerState, now: number): number | undefined {
  const { renegS } = state.options;
  if (renegS === 0) return undefined;
  // Up to a tenth earlier, so that clients that came together do not renegotiate together.
  const spreadS = ((state.deps.random(1)[0]! / 256) * renegS) / 10;
  return now + Math.round((renegS - spreadS) * 1000);
}

/** Starts a renegotiation unless one is under way. */
export function renegotiatePeer(peer: ServerPeer, now: number, out: Outbox): void {
  peer.renegotiateAt = undefined;
  if (peer.keys === undefined || renegotiate(peer.session, now) === undefined) return;
  beginRenegotiation(peer.keys, out.plane, now);
}

function onKeyMethod(state: ServerState, peer: ServerPeer, key: KeyState, now: number, out: Outbox): void {
  const step = beginLogin(state, peer, key, out);
  if (step === 'asked') return;
  if (step !== 'accepted') return closePeer(state, peer, step.reason, now, out, step.text);
  letIn(state, peer, key, now, out);
}

/** The answer to a login: the client goes on where it stood, if it still stands there. */
export function onAuthResult(
  state: ServerState,
  event: Extract<Event, { kind: 'authResult' }>,
  now: number,
  out: Outbox,
): void {
  const waiting = state.logins.get(event.id);
  if (waiting === undefined) return;
  state.logins.delete(event.id);
  const { peer, key } = waiting;
  if (peer.state === 'closing' || peer.session.current !== key || key.phase !== 'confirm') return;
  // The answer may be to what counted before.
  const { refused = stale(state, waiting) } = event;
  if (refused === undefined) letIn(state, peer, key, now, out);
  else {
    const { reason, words, retryS } = refused;
    const text = words === undefined ? AUTH_FAILED : `${AUTH_FAILED},${words}`;
    const told = retryS === undefined ? text : later(key, words ?? '', retryS).text;
    closePeer(state, peer, reason, now, out, told);
  }
  settlePeer(state, peer, now, out);
}

function stale(state: ServerState, waiting: PendingLogin): LoginRefusal | undefined {
  const reason = lostLogin(state, waiting);
  return reason === undefined ? undefined : { reason };
}

function letIn(state: ServerState, peer: ServerPeer, key: KeyState, now: number, out: Outbox): void {
  const identity = identify(state, key);
  if ('reason' in identity) return closePeer(state, peer, identity.reason, now, out, identity.text);
  if (key.keyId !== 0) {
    // Of the same name, too: what was decided when the client was let in was decided about that certificate.
    const isSame = identity.commonName === peer.commonName && identity.fingerprint === peer.fingerprint;
    if (peer.keys === undefined || !isSame) {
      return closePeer(state, peer, 'certificate changed at renegotiation', now, out, AUTH_FAILED);
    }
    if (peer.username === undefined) noteLogin(state, peer, key);
    introduce(peer.session, key);
    if (!installNext(peer.keys, peer.session, out.plane, now))
      return closePeer(state, peer, 'no usable data key', now, out);
    return forgetSaid(key);
  }
  peer.name = identity.name;
  peer.commonName = identity.commonName;
  peer.fingerprint = identity.fingerprint;
  noteLogin(state, peer, key);
  const { duplicateCn, p2p } = state.options;
  for (const other of state.byId.values()) {
    const isSame = (other.commonName === peer.commonName && !duplicateCn) || p2p !== undefined;
    // A second session from one socket is the same client, come again.
    if (isSame || samePath(other.path, peer.path)) closePeer(state, other, 'connected anew', now, out);
  }
  const refusal = admit(state, peer, identity, now, out);
  if (refusal !== undefined) return closePeer(state, peer, refusal.reason, now, out, refusal.text);
  forgetSaid(key);
}

function onText(state: ServerState, peer: ServerPeer, text: string, now: number, out: Outbox): void {
  if (text === 'PUSH_REQUEST' && state.options.p2p !== undefined) {
    const reason = 'it asks for options to be pushed, and this is mode p2p';
    return closePeer(state, peer, reason, now, out, 'AUTH_FAILED,nothing is pushed in mode p2p');
  }
  if (text === 'PUSH_REQUEST') return push(peer, now);
  if (text === 'EXIT') return closePeer(state, peer, 'left', now, out);
  notify(out, 'debug', `${peer.name}: message not understood: ${printable(text)}`);
}

/** Sends the push reply, unless it was sent a moment ago: requests repeat while it is on its way. */
export function push(peer: ServerPeer, now: number): void {
  if (peer.state !== 'connected' || peer.told === '') return;
  if (peer.pushedAt !== undefined && now - peer.pushedAt < PUSH_REPEAT_S * 1000) return;
  peer.pushedAt = now;
  const lines = [peer.told, peer.toldOnce].flatMap(optionLines);
  for (const reply of buildPush('PUSH_REPLY', lines)) sendText(peer.session, reply);
}

/** What could not be said in the middle of a renegotiation is said after it. */
export function sendUpdates(peer: ServerPeer): void {
  const unsaid = peer.updates.findIndex(update => !sendText(peer.session, update));
  peer.updates = unsaid < 0 ? NONE : peer.updates.slice(unsaid);
}

/**
 * Ends a peer: out of the plane now; its control channel lingers, so that a last `text` arrives and what the
 * client repeats opens no new session. Idempotent: the first deadline stays.
 */
export function closePeer(
  state: ServerState,
  peer: ServerPeer,
  reason: string,
  now: number,
  out: Outbox,
  text?: string,
): void {
  if (peer.state === 'closing') return;
  const action = peer.state === 'connected' ? 'disconnected' : 'refused';
  const { current } = peer.session;
  if (text !== undefined) {
    // A client reads no text before it has our key method message.
    if (current.phase === 'confirm' && !current.introduced) introduce(peer.session, current);
    // A peer that does not pull takes no order to come again.
    peer.goodbye = text === 'RESTART' && state.options.p2p ? 'EXIT' : text;
  } else if (current.phase !== 'active') {
    failKey(current);
  }
  peer.state = 'closing';
  peer.closeAt = now + CLOSE_DELAY_S * 1000;
  leavePlane(state, peer, out);
  settlePeer(state, peer, now, out);
  const isStranger = action === 'refused' && peer.commonName === '';
  if (isStranger && !mayReport(state.gate)) return;
  const whom = isStranger ? peer.name : `${peer.name} (${formatEndpoint(peer.path.remote)})`;
  notify(out, action === 'refused' ? 'warn' : 'info', `${whom} ${action}: ${reason}`, {
    peer: peer.name,
    action,
  });
}

/** It has no data channel, peer id and tunnel addresses any more. */
export function leavePlane(state: ServerState, peer: ServerPeer, out: Outbox): void {
  for (const ip of peer.vpnIps) for (const pool of state.pools) releaseAddress(pool, parseIp(ip)!);
  if (peer.peerId !== undefined) {
    out.plane.push({ op: 'delPeer', peerId: peer.peerId });
    state.byId.delete(peer.peerId);
  }
  peer.vpnIps = NONE;
  peer.peerId = undefined;
  peer.keys = undefined;
}

/** The client's address changed under an authentic packet: its control channel follows. */
export function floatPeer(state: ServerState, peer: ServerPeer, path: Path, now: number, out: Outbox): void {
  const sid = peer.session.remoteSid!;
  // Whoever chooses another's session id and writes its address takes over no control channel.
  if (state.peers.has(peerKey(path, sid)))
    return closePeer(state, peer, 'it moved to where another has its session id', now, out);
  state.peers.delete(peerKey(peer.path, sid));
  const before = formatEndpoint(peer.path.remote);
  peer.path = path;
  state.peers.set(peerKey(path, sid), peer);
  const text = `${peer.name} moved from ${before} to ${formatEndpoint(path.remote)}`;
  notify(out, 'info', text, { peer: peer.name, action: 'floated' });
}

/** Nothing is left of the peer, nor of its connection unless another session is on that. */
export function removePeer(state: ServerState, peer: ServerPeer, out: Outbox): void {
  closeSession(peer.session);
  appoint(state.agenda, peer, undefined);
  state.gate.halfOpen.delete(peer);
  for (const [id, waiting] of state.logins) if (waiting.peer === peer) state.logins.delete(id);
  state.peers.delete(peerKey(peer.path, peer.session.remoteSid!));
  const { socket, tcp } = peer.path;
  if (tcp !== true) return;
  for (const other of state.peers.values()) if (other.path.socket === socket) return;
  out.sends.push({ kind: 'closeSocket', socket });
}
