// SPDX-License-Identifier: Apache-2.0
// A client as a state machine: remotes tried in turn, one session at a time, the server's push reply, and what
// ends a connection. What a push reply means for keys and network is in pull.ts.

import { formatEndpoint, type Ip, type Path, type Prefix, parseIp, sameEndpoint } from './address.ts';
import type { CipherName } from './crypto.ts';
import {
  beginRenegotiation,
  confirmKey,
  type DataKeys,
  installNext,
  keysDeadline,
  tickKeys,
} from './datakeys.ts';
import { type DropCounters, newDropCounters } from './drop.ts';
import {
  type CoreDeps,
  type Effect,
  type Event,
  earlier,
  effectsOf,
  type LogLevel,
  newOutbox,
  notify,
  type Outbox,
} from './event.ts';
import {
  BACKOFF_FREE_ROUNDS,
  PUSH_REQUEST_FIRST_MS,
  PUSH_REQUEST_INTERVAL_MS,
  REFUSED_RETRY_S,
  SHUTDOWN_LINGER_MS,
} from './limits.ts';
import { isOccExit, OCC_EXIT_PAYLOAD } from './options.ts';
import type { PlaneCapabilities, PlaneNotice } from './plane.ts';
import { onPushReply } from './pull.ts';
import { newPushCollector, type PushCollector } from './pushreply.ts';
import { readServerMessage } from './servermessage.ts';
import {
  closeSession,
  flushSession,
  isQuiet,
  type KeyState,
  type Outcome,
  openClientSession,
  receivePacket,
  renegotiate,
  type Session,
  sendText,
  sessionDeadline,
  tickSession,
} from './session.ts';
import type { WrapKeys } from './wrap.ts';

export interface ClientRemote {
  /** Address or host name. */
  readonly host: string;
  readonly port: number;
  /** 0 = either. */
  readonly family: 4 | 6 | 0;
}

export interface ClientOptions {
  readonly wrap: WrapKeys;
  readonly capabilities: PlaneCapabilities;
  /** In the order to try. */
  readonly remotes: readonly ClientRemote[];
  readonly remoteRandom: boolean;
  readonly ciphers: readonly CipherName[];
  readonly handWindowS: number;
  readonly renegS: number;
  /** Used unless the server pushes its own. */
  readonly ping: number;
  readonly pingRestart: number;
  readonly retryFirstS: number;
  readonly retryMaxS: number;
  /** How long one remote may take for its first answer. */
  readonly pollTimeoutS: number;
  readonly tunMtu: number;
  readonly occ: string;
  readonly peerInfo: string;
  readonly device: string;
  readonly routes: readonly Prefix[];
  readonly routeNopull: boolean;
  readonly metric: number;
  readonly explicitExitNotify: boolean;
}

/**
 * resolving and opening wait for the runtime; negotiating: from the hard reset to the push reply; waiting: for the
 * next attempt; leaving: the exit notice is on its way.
 */
export type ClientPhase =
  | 'idle'
  | 'resolving'
  | 'opening'
  | 'negotiating'
  | 'connected'
  | 'waiting'
  | 'leaving';

export interface ClientState {
  readonly options: ClientOptions;
  readonly deps: CoreDeps;
  readonly remotes: readonly ClientRemote[];
  readonly drops: DropCounters;
  phase: ClientPhase;
  remoteIndex: number;
  addresses: readonly Ip[];
  addressIndex: number;
  /** Whole rounds over all remotes without a connection. */
  round: number;
  retryAt: number | undefined;
  remote: { readonly ip: Ip; readonly port: number } | undefined;
  path: Path | undefined;
  session: Session | undefined;
  startedAt: number;
  pushRequestAt: number | undefined;
  pushDeadline: number | undefined;
  collector: PushCollector;
  keys: DataKeys | undefined;
  /** What the server pushed that later decisions need. */
  ccExit: boolean;
  pingRestartS: number;
  connectedAtS: number;
  handshakeAt: number;
  renegotiateAt: number | undefined;
  stopAt: number | undefined;
  lastError: string;
}

export function newClient(options: ClientOptions, deps: CoreDeps): ClientState {
  return {
    options,
    deps,
    remotes: options.remoteRandom ? shuffle(options.remotes, deps) : options.remotes,
    drops: newDropCounters(),
    phase: 'idle',
    remoteIndex: 0,
    addresses: [],
    addressIndex: 0,
    round: 0,
    retryAt: undefined,
    remote: undefined,
    path: undefined,
    session: undefined,
    startedAt: 0,
    pushRequestAt: undefined,
    pushDeadline: undefined,
    collector: newPushCollector(),
    keys: undefined,
    ccExit: false,
    pingRestartS: options.pingRestart,
    connectedAtS: 0,
    handshakeAt: 0,
    renegotiateAt: undefined,
    stopAt: undefined,
    lastError: '',
  };
}

function shuffle(remotes: readonly ClientRemote[], deps: CoreDeps): ClientRemote[] {
  const left = [...remotes];
  const out: ClientRemote[] = [];
  while (left.length > 0) {
    const random = deps.random(2);
    out.push(...left.splice(((random[0]! << 8) | random[1]!) % left.length, 1));
  }
  return out;
}

/** One event in, its effects out. `now` is monotonic milliseconds and never goes back. */
export function stepClient(state: ClientState, event: Event, now: number): Effect[] {
  const out = newOutbox();
  handle(state, event, now, out);
  flush(state, now, out);
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
      if (event.command.op === 'addPeer' || event.command.op === 'addKey') {
        restart(state, `data plane refused ${event.command.op}: ${event.text}`, now, out);
      }
      return;
    case 'inner':
      if (state.phase === 'connected' && isOccExit(event.payload))
        restart(state, 'the server left', now, out);
      return;
    case 'command':
      if (event.command === 'renegotiate') return startRenegotiation(state, now, out);
      return restart(state, event.reason ?? 'disconnected by command', now, out, { level: 'info' });
    case 'shutdown':
      return leave(state, now, out);
  }
}

function connect(state: ClientState, now: number, out: Outbox): void {
  const remote = state.remotes[state.remoteIndex]!;
  state.retryAt = undefined;
  if (state.addresses.length > 0) return open(state, now, out);
  state.addressIndex = 0;
  const literal = parseIp(remote.host);
  if (literal !== undefined) {
    state.addresses = [literal];
    return open(state, now, out);
  }
  state.phase = 'resolving';
  out.others.push({ kind: 'resolve', host: remote.host, family: remote.family });
}

function open(state: ClientState, now: number, out: Outbox): void {
  const ip = state.addresses[state.addressIndex];
  const { host, port } = state.remotes[state.remoteIndex]!;
  if (ip === undefined) return restart(state, `${host}: no address`, now, out);
  state.phase = 'opening';
  state.remote = { ip, port };
  out.others.push({ kind: 'openSocket', remote: state.remote });
}

function negotiate(state: ClientState, socket: number, now: number, out: Outbox): void {
  const { options } = state;
  const remote = state.remote!;
  state.phase = 'negotiating';
  state.startedAt = now;
  state.path = { socket, remote };
  state.session = openClientSession(
    {
      role: 'client',
      wrap: options.wrap,
      handWindowMs: options.handWindowS * 1000,
      ipOverhead: remote.ip.length === 4 ? 28 : 48,
      introduce: { options: options.occ, peerInfo: options.peerInfo },
    },
    state.deps,
    now,
  );
  notify(out, 'info', `connecting to ${formatEndpoint(remote)}`);
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
  if (key.keyId === 0 || state.keys === undefined) return;
  if (!installNext(state.keys, session, out.plane, now)) restart(state, 'no usable data key', now, out);
}

function onActive(state: ClientState, key: KeyState, now: number): void {
  state.handshakeAt = now;
  state.renegotiateAt = state.options.renegS === 0 ? undefined : now + state.options.renegS * 1000;
  if (state.keys !== undefined) confirmKey(state.keys, key, now);
  if (state.phase === 'negotiating') {
    state.pushRequestAt = now + PUSH_REQUEST_FIRST_MS;
    state.pushDeadline = now + state.options.handWindowS * 1000;
  }
}

function onText(state: ClientState, text: string, now: number, out: Outbox): void {
  if (text.startsWith('PUSH_REPLY')) {
    const failure = state.phase === 'negotiating' ? onPushReply(state, text, now, out) : undefined;
    if (failure !== undefined) restart(state, failure, now, out, { waitS: REFUSED_RETRY_S, advance: true });
    return;
  }
  const message = readServerMessage(text, state.options.handWindowS);
  switch (message.kind) {
    case 'end':
      return restart(state, message.reason, now, out, message);
    case 'pending':
      if (state.pushDeadline !== undefined) state.pushDeadline = now + message.timeoutS * 1000;
      return notify(out, 'info', message.text);
    case 'other':
      return notify(out, 'debug', message.text);
  }
}

function onTick(state: ClientState, now: number, out: Outbox): void {
  if (state.retryAt !== undefined && now >= state.retryAt) return connect(state, now, out);
  const { session, options } = state;
  if (session === undefined || state.phase === 'leaving') return;
  const outcomes: Outcome[] = [];
  tickSession(session, now, outcomes);
  onOutcomes(state, session, outcomes, now, out);
  if (state.session !== session) return;
  if (!session.heard && now >= state.startedAt + options.pollTimeoutS * 1000) {
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
  if (state.keys !== undefined) tickKeys(state.keys, out.plane, now);
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

/** How to go on after a connection ended. */
export interface RestartAdvice {
  readonly level?: LogLevel;
  /** Go to the next remote even after a good connection. */
  readonly advance?: boolean;
  /** Wait at least so long. */
  readonly waitS?: number;
}

/** Ends what there is and plans the next attempt. Addresses and routes stay until the next push reply. */
function restart(
  state: ClientState,
  reason: string,
  now: number,
  out: Outbox,
  advice: RestartAdvice = {},
): void {
  if (state.phase === 'leaving') return;
  const wasConnected = state.phase === 'connected';
  const where =
    state.remote === undefined ? state.remotes[state.remoteIndex]!.host : formatEndpoint(state.remote);
  forget(state, out);
  if (wasConnected) state.round = 0;
  if (!wasConnected || advice.advance === true) advance(state);
  const waitS = Math.max(backoffS(state), advice.waitS ?? 0);
  state.phase = 'waiting';
  state.retryAt = now + Math.round(waitS * 1000);
  state.lastError = `${where}: ${reason}`;
  const action = wasConnected ? { action: 'disconnected' as const } : {};
  notify(
    out,
    advice.level ?? (wasConnected ? 'warn' : 'error'),
    `${state.lastError}; next attempt in ${Math.ceil(waitS)} s`,
    action,
  );
}

function forget(state: ClientState, out: Outbox): void {
  if (state.session !== undefined) closeSession(state.session);
  if (state.keys !== undefined) out.plane.push({ op: 'delPeer', peerId: state.keys.peerId });
  if (state.path !== undefined) out.others.push({ kind: 'closeSocket', socket: state.path.socket });
  state.session = undefined;
  state.keys = undefined;
  state.path = undefined;
  state.remote = undefined;
  state.pushRequestAt = undefined;
  state.pushDeadline = undefined;
  state.renegotiateAt = undefined;
  state.collector = newPushCollector();
}

/** The next address of this remote, else the next remote. */
function advance(state: ClientState): void {
  if (++state.addressIndex < state.addresses.length) return;
  state.addresses = [];
  state.addressIndex = 0;
  state.remoteIndex++;
  if (state.remoteIndex < state.remotes.length) return;
  state.remoteIndex = 0;
  state.round++;
}

/** Doubles with each round after the first few; a quarter of jitter keeps forty routers apart. */
function backoffS(state: ClientState): number {
  const { retryFirstS, retryMaxS } = state.options;
  const factor = 2 ** Math.min(20, Math.max(0, state.round - BACKOFF_FREE_ROUNDS));
  const jitter = 1 + state.deps.random(1)[0]! / 1024;
  return Math.min(retryMaxS, retryFirstS * factor) * jitter;
}

function leave(state: ClientState, now: number, out: Outbox): void {
  const wasConnected = state.phase === 'connected';
  state.phase = 'leaving';
  state.retryAt = undefined;
  state.stopAt = now + SHUTDOWN_LINGER_MS;
  if (!wasConnected || !state.options.explicitExitNotify) {
    state.stopAt = now;
  } else if (state.ccExit) {
    sendText(state.session!, 'EXIT');
  } else if (state.options.capabilities.inner) {
    out.plane.push({ op: 'sendInner', peerId: state.keys!.peerId, payload: OCC_EXIT_PAYLOAD });
  }
}

function flush(state: ClientState, now: number, out: Outbox): void {
  const { session, path } = state;
  if (session === undefined || path === undefined) return;
  flushSession(session, now, bytes => out.sends.push({ kind: 'send', path, bytes }));
}

function deadline(state: ClientState): number | undefined {
  let next = earlier(state.retryAt, state.stopAt);
  if (state.session === undefined) return next;
  next = earlier(earlier(next, sessionDeadline(state.session)), state.pushRequestAt);
  next = earlier(earlier(next, state.pushDeadline), state.renegotiateAt);
  if (!state.session.heard) next = earlier(next, state.startedAt + state.options.pollTimeoutS * 1000);
  return state.keys === undefined ? next : earlier(next, keysDeadline(state.keys));
}
