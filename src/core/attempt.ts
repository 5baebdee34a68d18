// SPDX-License-Identifier: Apache-2.0
// A client's attempts: which remote and address to try, how a connection ends, and how long to wait before the next.

import { formatEndpoint, headersOf, type Path, parseIp } from './address.ts';
import type { ClientState } from './clientstate.ts';
import { type LogLevel, notify, type Outbox } from './event.ts';
import { BACKOFF_FREE_ROUNDS } from './limits.ts';
import { makeWay } from './pull.ts';
import { newPushCollector } from './pushreply.ts';
import type { Advance } from './servermessage.ts';
import { closeSession, flushSession, openClientSession } from './session.ts';

/** Tries the remote whose turn it is. */
export function connect(state: ClientState, now: number, out: Outbox): void {
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
  makeWay(state, false, out);
  out.others.push({ kind: 'resolve', host: remote.host, family: remote.family });
}

/** Opens a socket for the address whose turn it is. */
export function open(state: ClientState, now: number, out: Outbox): void {
  const ip = state.addresses[state.addressIndex];
  const { host, port, tcp } = state.remotes[state.remoteIndex]!;
  if (ip === undefined) return restart(state, `${host}: no address`, now, out);
  state.phase = 'opening';
  state.remote = { ip, port };
  makeWay(state, parseIp(host) !== undefined, out);
  out.others.push({ kind: 'openSocket', remote: state.remote, ...(tcp === true && { tcp }) });
}

/** The socket is there: sends the hard reset. */
export function negotiate(state: ClientState, socket: number, now: number, out: Outbox): void {
  const { options } = state;
  const remote = state.remote!;
  const { tcp } = state.remotes[state.remoteIndex]!;
  const path: Path = { socket, remote, ...(tcp === true && { tcp }) };
  state.phase = 'negotiating';
  state.startedAt = now;
  state.path = path;
  state.session = openClientSession(
    {
      role: 'client',
      wrap: options.wrap,
      handWindowMs: options.handWindowS * 1000,
      ipOverhead: headersOf(path),
      introduce: {
        options: (tcp && options.occTcp) || options.occ,
        peerInfo: options.peerInfo,
        ...(options.username !== undefined && { username: options.username }),
        ...(options.password !== undefined && { password: options.password }),
      },
      ...(options.expected && { expected: options.expected }),
    },
    state.deps,
    now,
  );
  if (options.username !== undefined) state.session.token = state.token;
  notify(out, 'info', `connecting to ${formatEndpoint(remote)}${tcp === true ? ' over TCP' : ''}`);
}

/** How to go on after a connection ended. */
export interface RestartAdvice {
  readonly level?: LogLevel;
  /** Where to; by default the same address after a good connection, else the next. */
  readonly advance?: Advance | undefined;
  /** Wait at least so long. */
  readonly waitS?: number;
}

/** Ends what there is and plans the next attempt. Addresses and routes stay until the next push reply. */
export function restart(
  state: ClientState,
  reason: string,
  now: number,
  out: Outbox,
  advice: RestartAdvice = {},
): void {
  if (state.phase === 'leaving') return;
  const wasConnected = state.phase === 'connected';
  const wasLookingUp = state.phase === 'resolving';
  const where =
    state.remote === undefined ? state.remotes[state.remoteIndex]!.host : formatEndpoint(state.remote);
  forget(state, now, out);
  if (wasConnected) state.round = 0;
  const step = advice.advance ?? (wasConnected ? 'no' : 'addr');
  if (step !== 'no') advance(state, step);
  // A server that keeps us to itself must not keep us from pausing longer.
  else if (!wasConnected) state.round++;
  const waitS = Math.max(backoffS(state), advice.waitS ?? 0);
  state.phase = 'waiting';
  state.retryAt = now + Math.round(waitS * 1000);
  // The kill switch leaves name servers reachable only while one is asked.
  if (wasLookingUp && state.options.killSwitch) makeWay(state, false, out);
  state.lastError = `${where}: ${reason}`;
  const action = wasConnected ? { action: 'disconnected' as const } : {};
  notify(
    out,
    advice.level ?? (wasConnected ? 'warn' : 'error'),
    `${state.lastError}; next attempt in ${Math.round(waitS)} s`,
    action,
  );
}

function forget(state: ClientState, now: number, out: Outbox): void {
  const { session, path } = state;
  if (session !== undefined && path !== undefined) {
    // A TLS alert tells the server why; one try is all it gets.
    flushSession(session, now, bytes => out.sends.push({ kind: 'send', path, bytes }));
  }
  if (session !== undefined) closeSession(session);
  if (state.keys !== undefined) out.plane.push({ op: 'delPeer', peerId: state.keys.peerId });
  if (path !== undefined) out.sends.push({ kind: 'closeSocket', socket: path.socket });
  state.session = undefined;
  state.keys = undefined;
  state.path = undefined;
  state.remote = undefined;
  state.pushRequestAt = undefined;
  state.pushDeadline = undefined;
  state.renegotiateAt = undefined;
  state.limits = undefined;
  state.collector = newPushCollector();
  state.updates = newPushCollector();
  state.updated = { since: 0, count: 0 };
}

/** The next address of this remote if that is wanted and there is one, else the next remote. */
function advance(state: ClientState, step: 'addr' | 'remote'): void {
  if (step === 'addr' && ++state.addressIndex < state.addresses.length) return;
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
