// SPDX-License-Identifier: Apache-2.0
// A server with many clients as a state machine. Here: strangers, who get no state before they return a cookie,
// and what concerns the server as a whole. One client's life is in serverpeer.ts, letting it in is in admit.ts.

import type { Ip, Path, Prefix } from './address.ts';
import { type Agenda, firstTurn, whoseTurn } from './agenda.ts';
import { containPeer } from './contain.ts';
import type { CipherName } from './crypto.ts';
import { type DropCounters, isDrop, newDropCounters } from './drop.ts';
import {
  type CoreDeps,
  type Effect,
  type Event,
  earlier,
  effectsOf,
  newOutbox,
  notify,
  type Outbox,
} from './event.ts';
import { type Gate, gateDeadline, newGate, tickGate } from './gate.ts';
import type { ExpectedIdentity } from './identity.ts';
import { CONTROL_PACKET_RECEIVE_MAX, SHUTDOWN_LINGER_MS } from './limits.ts';
import type { LoginOptions, PendingLogin } from './login.ts';
import type { WantedNetwork } from './network.ts';
import { isOccExit, OCC_EXIT_PAYLOAD } from './options.ts';
import type { DelReason, PlaneCapabilities, PlaneNotice, RekeyAfter } from './plane.ts';
import { newPool, type Pool } from './pool.ts';
import { changeServer } from './reload.ts';
import {
  closePeer,
  floatPeer,
  onAuthResult,
  onPeerDatagram,
  peerKey,
  removePeer,
  renegotiatePeer,
  type ServerPeer,
  settlePeer,
  tickPeer,
} from './serverpeer.ts';
import { isQuiet, sendText } from './session.ts';
import { onStranger } from './stranger.ts';
import { decodeHead } from './wire.ts';
import type { CryptKeys, WrapKeys } from './wrap.ts';

/** A configured peer. */
export interface FixedPeer {
  readonly name: string;
  readonly enabled: boolean;
  readonly commonName: string;
  /** SHA-256 of its certificate, lower-case hex. */
  readonly fingerprint?: string;
  readonly addresses: readonly Ip[];
  readonly routes: readonly Prefix[];
}

export interface ServerOptions {
  readonly wrap: WrapKeys;
  /** tls-crypt-v2: opens the clients' keys. Without another wrapping beside it nothing else is taken. */
  readonly clientKeys?: CryptKeys;
  readonly capabilities: PlaneCapabilities;
  readonly expected?: ExpectedIdentity;
  /** Present: clients log in. */
  readonly login?: LoginOptions;
  /** A client without a certificate is known by its user name. */
  readonly namesByLogin?: boolean;
  /** Mode p2p: one peer, the last that came; addresses are configured at both ends, and nothing is pushed. */
  readonly p2p?: {
    readonly peerInfo: string;
    /** The peer's addresses, as far as they are known. */
    readonly peerIps: readonly Ip[];
  };
  /** Own addresses with host bits, at most one of each family: the pools. Mode p2p has none. */
  readonly addresses: readonly Prefix[];
  readonly peers: readonly FixedPeer[];
  readonly maxClients: number;
  readonly duplicateCn: boolean;
  /** In order of preference. */
  readonly ciphers: readonly CipherName[];
  /** Option lines for every client. */
  readonly push: readonly string[];
  /** Networks to route to us; not sent to the peer that has them behind itself. */
  readonly pushRoutes: readonly Prefix[];
  /** Seconds; clients are told these, our own timeout is twice pingRestart. In mode p2p nobody is told. */
  readonly ping: number;
  readonly pingRestart: number;
  readonly handWindowS: number;
  /** 0 = clients may, we do not. */
  readonly renegS: number;
  /** Of each key, beside that. */
  readonly rekeyAfter?: RekeyAfter;
  readonly tunMtu: number;
  /** Our options string, and what it is over TCP. */
  readonly occ: string;
  readonly occTcp?: string;
  /** Tell clients when we stop. */
  readonly explicitExitNotify: boolean;
  readonly network: WantedNetwork;
}

export interface ServerState {
  /** Replaced by configChange. */
  options: ServerOptions;
  readonly deps: CoreDeps;
  /** Of the cookies; random for each process. */
  readonly secret: Uint8Array;
  /** Their time slots are as at the start: one on its way stays good over a reload. */
  readonly cookieS: number;
  readonly peers: Map<string, ServerPeer>;
  /** When each of them has something to do next. */
  readonly agenda: Agenda<ServerPeer>;
  /** The own address that a client came to last. */
  local: Ip | undefined;
  /** Connected peers. */
  readonly byId: Map<number, ServerPeer>;
  /** One for each of options.addresses. */
  readonly pools: readonly Pool[];
  readonly drops: DropCounters;
  readonly gate: Gate;
  stopAt: number | undefined;
  /** Logins that wait for an answer, by their number. */
  readonly logins: Map<number, PendingLogin>;
  loginSerial: number;
  /** Of the tokens; random for each process. */
  readonly tokenKey: Uint8Array;
}

export function newServer(options: ServerOptions, deps: CoreDeps): ServerState {
  const fixed = options.peers.flatMap(peer => peer.addresses);
  return {
    options,
    deps,
    secret: deps.random(32),
    cookieS: options.handWindowS,
    peers: new Map(),
    agenda: [],
    local: undefined,
    byId: new Map(),
    pools: options.addresses.map(own => newPool(own, fixed)),
    drops: newDropCounters(),
    gate: newGate(deps.random(8)),
    stopAt: undefined,
    logins: new Map(),
    loginSerial: 0,
    tokenKey: deps.random(32),
  };
}

/** One event in, its effects out. `now` is monotonic milliseconds and never goes back. */
export function stepServer(state: ServerState, event: Event, now: number): Effect[] {
  const out = newOutbox();
  tickGate(state.gate, now, out);
  handle(state, event, now, out);
  const stopping = state.stopAt;
  if (stopping !== undefined) {
    const isDone = now >= stopping || [...state.peers.values()].every(hasHeard);
    if (isDone) out.sends.push({ kind: 'exit' });
  }
  const deadline = earlier(earlier(stopping, gateDeadline(state.gate)), firstTurn(state.agenda));
  return effectsOf(out, deadline);
}

function handle(state: ServerState, event: Event, now: number, out: Outbox): void {
  switch (event.kind) {
    case 'start':
      out.network = state.options.network;
      return;
    case 'datagram':
      return onDatagram(state, event.path, event.bytes, now, out);
    case 'tick':
      for (const peer of whoseTurn(state.agenda, now)) {
        // What another's turn has ended is not there any more.
        if (peer.nextAt !== undefined) containPeer(state, peer, out, () => tickPeer(state, peer, now, out));
      }
      return;
    case 'planeNotice':
      return onPlaneNotice(state, event.notice, now, out);
    case 'planeRefused': {
      const { command } = event;
      const peerId =
        command.op === 'addPeer' ? command.peer.peerId : command.op === 'addKey' ? command.key.peerId : -1;
      const peer = state.byId.get(peerId);
      notify(out, 'error', `data plane refused ${command.op}: ${event.text}`);
      // Half known to the plane is worse than gone: the client comes again.
      if (peer !== undefined) closePeer(state, peer, 'the data plane refused it', now, out, 'RESTART');
      return;
    }
    case 'inner': {
      const peer = state.byId.get(event.peerId);
      if (peer !== undefined && isOccExit(event.payload)) closePeer(state, peer, 'left', now, out);
      return;
    }
    case 'command':
      for (const peer of state.byId.values()) {
        if (peer.name !== event.peer && peer.commonName !== event.peer) continue;
        if (event.command === 'renegotiate') renegotiatePeer(peer, now, out);
        else closePeer(state, peer, event.reason ?? 'by command', now, out, 'RESTART');
        settlePeer(state, peer, now, out);
      }
      return;
    case 'authResult': {
      const peer = state.logins.get(event.id)?.peer;
      if (peer !== undefined) containPeer(state, peer, out, () => onAuthResult(state, event, now, out));
      return;
    }
    case 'streamClosed':
      return onStreamClosed(state, event, now, out);
    case 'configChange':
      if (event.role === 'server' && state.stopAt === undefined) changeServer(state, event, now, out);
      return;
    case 'shutdown':
      return onShutdown(state, now, out);
  }
}

function onDatagram(state: ServerState, path: Path, bytes: Uint8Array, now: number, out: Outbox): void {
  if (bytes.length > CONTROL_PACKET_RECEIVE_MAX) return void state.drops.long++;
  const head = decodeHead(bytes);
  if (isDrop(head)) return void state.drops[head.drop]++;
  const peer = state.peers.get(peerKey(path, head.sessionId));
  if (peer !== undefined)
    return containPeer(state, peer, out, () => onPeerDatagram(state, peer, bytes, now, out));
  if (state.stopAt !== undefined) return void state.drops.state++;
  onStranger(state, path, bytes, now, out);
}

function onStreamClosed(
  state: ServerState,
  event: Extract<Event, { kind: 'streamClosed' }>,
  now: number,
  out: Outbox,
): void {
  const { socket } = event.path;
  if (event.drop !== undefined) state.drops[event.drop]++;
  const peers = [...state.peers.values()].filter(peer => peer.path.socket === socket);
  for (const peer of peers) {
    closePeer(state, peer, event.reason, now, out);
    removePeer(state, peer, out);
  }
  // Else the last of them has done it.
  if (peers.length === 0) out.sends.push({ kind: 'closeSocket', socket });
}

function onPlaneNotice(state: ServerState, notice: PlaneNotice, now: number, out: Outbox): void {
  const peer = state.byId.get(notice.peerId);
  if (peer === undefined) return;
  switch (notice.kind) {
    case 'peerDeleted':
      // Our own deletions come back as notices too, perhaps when the id is another peer's already.
      if (notice.reason === 'userspace' || notice.reason === 'teardown') return;
      state.byId.delete(notice.peerId);
      peer.peerId = undefined;
      return closePeer(state, peer, deletionText(notice.reason, silenceS(state.options)), now, out);
    case 'peerFloated':
      floatPeer(state, peer, notice.path, now, out);
      return settlePeer(state, peer, now, out);
    case 'keyExpiring':
      renegotiatePeer(peer, now, out);
      return settlePeer(state, peer, now, out);
    case 'keyExhausted':
      closePeer(state, peer, 'data key used up before it was renegotiated', now, out, 'RESTART');
  }
}

/** Seconds of silence after which a peer is gone. A client with the same time would give up with us. */
export function silenceS({ p2p, pingRestart }: ServerOptions): number {
  return p2p === undefined ? 2 * pingRestart : pingRestart;
}

/** Why a plane deleted a peer, in words. */
export function deletionText(reason: DelReason, timeoutS: number): string {
  return reason === 'expired' ? `nothing heard for ${timeoutS} s` : reason.replace('_', ' ');
}

/** Nothing is on its way to it, nor waits for a renegotiation to be said. */
function hasHeard({ session, goodbye, saidOn }: ServerPeer): boolean {
  return isQuiet(session) && (goodbye === undefined || saidOn !== undefined);
}

/** A client is told to come again, a peer that we leave; one without cc-exit hears it in a data packet. */
function sayGoodbye(state: ServerState, peer: ServerPeer, out: Outbox): void {
  if (state.options.p2p === undefined) peer.goodbye = 'RESTART';
  else if (peer.ccExit && sendText(peer.session, 'EXIT')) return;
  else if (state.options.capabilities.inner)
    out.plane.push({ op: 'sendInner', peerId: peer.peerId!, payload: OCC_EXIT_PAYLOAD });
}

function onShutdown(state: ServerState, now: number, out: Outbox): void {
  if (state.stopAt !== undefined) return;
  state.stopAt = now + SHUTDOWN_LINGER_MS;
  for (const peer of state.byId.values()) {
    // The end of a connection says it, too.
    if (!state.options.explicitExitNotify || peer.path.tcp === true) continue;
    sayGoodbye(state, peer, out);
    settlePeer(state, peer, now, out);
  }
}
