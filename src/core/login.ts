// SPDX-License-Identifier: Apache-2.0
// A server's clients that log in with user name and password. The question goes out as an effect, the answer comes as
// an event, maybe much later; until then the client hears nothing that would let it in.

import { checkToken, isToken, makeToken, renewToken } from './authtoken.ts';
import { encodeUtf8 } from './bytes.ts';
import type { Outbox } from './event.ts';
import { AUTH_BUSY_RETRY_S, AUTH_WAITING_MAX } from './limits.ts';
import { AUTH_FAILED, later, type Refusal } from './refusal.ts';
import type { ServerState } from './server.ts';
import type { ServerPeer } from './serverpeer.ts';
import type { KeyState } from './session.ts';
import { printable } from './text.ts';

/** Who checks user names and passwords. */
export interface LoginOptions {
  /**
   * Who may log in, each with a secret text that becomes another one when what the user must show does; absent: only
   * the one who answers knows. Sessions and tokens of anybody else, or of before such a change, are worth nothing.
   */
  readonly users?: ReadonlyMap<string, string>;
}

/** A question to whoever checks passwords. */
export interface PendingLogin {
  readonly peer: ServerPeer;
  readonly key: KeyState;
  readonly username: string;
  /** As it was when the question was asked. */
  readonly stamp: string | undefined;
}

export type LoginStep = 'accepted' | 'asked' | Refusal;

/** Looks at what a client's key method message says of who it is; asks when only others can tell. */
export function beginLogin(state: ServerState, peer: ServerPeer, key: KeyState, out: Outbox): LoginStep {
  const { login } = state.options;
  // Nobody asks for the password again: it does not stay as long as the session.
  const { password = '', ...rest } = key.remote!;
  key.remote = rest;
  if (login === undefined) return 'accepted';
  const { username = '' } = rest;
  if (username === '') return { reason: 'it sent no user name (auth)', text: AUTH_FAILED };
  if (peer.username !== undefined && username !== peer.username) {
    return { reason: 'user name changed at renegotiation', text: AUTH_FAILED };
  }
  if (isToken(password)) return tokenStep(state, peer, username, password);
  if (state.logins.size >= AUTH_WAITING_MAX) {
    return { reason: 'too many logins are being checked', ...later(key, 'busy', AUTH_BUSY_RETRY_S) };
  }
  const id = ++state.loginSerial;
  state.logins.set(id, { peer, key, username, stamp: stampOf(state, username) });
  const { ip } = peer.path.remote;
  out.others.push({ kind: 'askAuth', id, username, password, ip });
  return 'asked';
}

function stampOf(state: ServerState, username: string): string | undefined {
  return state.options.login?.users?.get(username);
}

/** Of one user: it ends with what the user logs in with. */
function tokenKey(state: ServerState, username: string): Uint8Array {
  const stamp = stampOf(state, username);
  return stamp === undefined
    ? state.tokenKey
    : state.deps.crypto.hmac('SHA256', state.tokenKey, encodeUtf8(stamp));
}

function tokenStep(state: ServerState, peer: ServerPeer, username: string, password: string): LoginStep {
  const { crypto, wallS } = state.deps;
  const isKnown = state.options.login?.users?.has(username) ?? true;
  // The session's own token does not age: the client has been here all the time.
  const wrong =
    isKnown && peer.token === password
      ? undefined
      : checkToken(crypto, tokenKey(state, username), username, password, wallS());
  if (wrong === undefined && isKnown) {
    peer.token = password;
    return 'accepted';
  }
  if (wrong === 'expired')
    return { reason: 'its token expired', text: `${AUTH_FAILED},SESSION: token expired` };
  return { reason: 'its token is not good any more', text: AUTH_FAILED };
}

/** Notes who logged in, once it is let in. */
export function noteLogin(state: ServerState, peer: ServerPeer, key: KeyState): void {
  if (state.options.login === undefined) return;
  const { username = '' } = key.remote!;
  Object.assign(peer, { username, stamp: stampOf(state, username) });
}

/** Why new options end a login; undefined: they do not. Who came without one goes on without. */
export function lostLogin(
  state: ServerState,
  peer: Pick<ServerPeer, 'username' | 'stamp'>,
): string | undefined {
  const { login } = state.options;
  const { username, stamp } = peer;
  if (login === undefined || username === undefined) return undefined;
  if (login.users?.has(username) === false) return `user '${printable(username)}' may not log in any more`;
  return stampOf(state, username) === stamp
    ? undefined
    : `what user '${printable(username)}' logs in with changed`;
}

/** What is pushed to a client that has logged in. */
export function tokenLines(state: ServerState, peer: ServerPeer): string[] {
  const { username } = peer;
  if (state.options.login === undefined || username === undefined) return [];
  const { crypto, random, wallS } = state.deps;
  const [key, nowS] = [tokenKey(state, username), Math.floor(wallS())];
  if (peer.token === undefined) peer.token = makeToken(crypto, key, username, random(12), nowS);
  else peer.token = renewToken(crypto, key, username, peer.token, nowS) ?? peer.token;
  return [`auth-token ${peer.token}`];
}

/** A push reply after a renegotiation: who stays connected can always come again. */
export function freshToken(state: ServerState, peer: ServerPeer): string | undefined {
  const before = peer.token;
  if (before === undefined) return undefined;
  const [line] = tokenLines(state, peer);
  return line === undefined || peer.token === before ? undefined : `PUSH_REPLY,${line}`;
}
