// SPDX-License-Identifier: Apache-2.0
// A server's clients that log in with user name and password. The question goes out as an effect, the answer comes as
// an event, maybe much later; until then the client hears nothing that would let it in.

import type { Refusal } from './admit.ts';
import { checkToken, isToken, makeToken } from './authtoken.ts';
import type { Outbox } from './event.ts';
import { AUTH_WAITING_MAX } from './limits.ts';
import type { ServerState } from './server.ts';
import type { ServerPeer } from './serverpeer.ts';
import type { KeyState } from './session.ts';

/** Who checks user names and passwords. */
export interface LoginOptions {
  /** Who may log in; absent: only the one who answers knows. A token of anybody else is worth nothing. */
  readonly usernames?: ReadonlySet<string>;
}

export type LoginStep = 'accepted' | 'asked' | Refusal;

const FAILED = 'AUTH_FAILED';

/** Looks at what a client's key method message says of who it is; asks when only others can tell. */
export function beginLogin(state: ServerState, peer: ServerPeer, key: KeyState, out: Outbox): LoginStep {
  const { login } = state.options;
  if (login === undefined) return 'accepted';
  const { username = '', password = '' } = key.remote!;
  if (username === '') return { reason: 'it sent no user name (auth)', text: FAILED };
  if (peer.username !== undefined && username !== peer.username) {
    return { reason: 'user name changed at renegotiation', text: FAILED };
  }
  if (isToken(password)) return tokenStep(state, peer, username, password);
  if (state.logins.size >= AUTH_WAITING_MAX) return { reason: 'too many logins are being checked' };
  const id = ++state.loginSerial;
  state.logins.set(id, { peer, key, username });
  const { ip } = peer.path.remote;
  out.others.push({ kind: 'askAuth', id, username, password, ip });
  return 'asked';
}

function tokenStep(state: ServerState, peer: ServerPeer, username: string, password: string): LoginStep {
  const { crypto, wallS } = state.deps;
  const isKnown = state.options.login?.usernames?.has(username) ?? true;
  // The session's own token does not age: the client has been here all the time.
  const wrong =
    isKnown && peer.token === password
      ? undefined
      : checkToken(crypto, state.tokenKey, username, password, wallS());
  if (wrong === undefined && isKnown) {
    peer.token = password;
    return 'accepted';
  }
  if (wrong === 'expired') return { reason: 'its token expired', text: `${FAILED},SESSION: token expired` };
  return { reason: 'its token is not good any more', text: FAILED };
}

/** What is pushed to a client that has logged in. */
export function tokenLines(state: ServerState, peer: ServerPeer): string[] {
  if (state.options.login === undefined || peer.username === undefined) return [];
  const { crypto, random, wallS } = state.deps;
  peer.token ??= makeToken(crypto, state.tokenKey, peer.username, random(12), Math.floor(wallS()));
  return [`auth-token ${peer.token}`];
}
