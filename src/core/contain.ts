// SPDX-License-Identifier: Apache-2.0
// No input may make the core throw. Should one do so all the same, it ends the session that it came from, and nothing
// else: a server's other peers stay, and a client tries again.

import { restart } from './attempt.ts';
import type { ClientState } from './clientstate.ts';
import { type CoreDeps, notify, type Outbox } from './event.ts';
import { REFUSED_RETRY_S } from './limits.ts';
import type { ServerState } from './server.ts';
import { leavePlane, removePeer, type ServerPeer } from './serverpeer.ts';
import { closeSession } from './session.ts';

/** Only where `deps.contains` says so: whoever looks for errors wants to see them. */
function guard(deps: CoreDeps, work: () => void, end: (reason: string) => void): void {
  if (deps.contains !== true) return work();
  try {
    work();
  } catch (error) {
    // Not its text, which may hold what the peer said.
    end(`internal error (${error instanceof Error ? error.name : typeof error})`);
  }
}

/** Does what a peer's input asks for. */
export function containPeer(state: ServerState, peer: ServerPeer, out: Outbox, work: () => void): void {
  guard(state.deps, work, reason => {
    leavePlane(state, peer, out);
    removePeer(state, peer, out);
    const text = `${peer.name} disconnected: ${reason}`;
    notify(out, 'error', text, { peer: peer.name, action: 'disconnected' });
  });
}

/** Does what an event asks a client for. */
export function containClient(state: ClientState, now: number, out: Outbox, work: () => void): void {
  guard(state.deps, work, reason => {
    const { session } = state;
    // What it still has to say may be what fails.
    state.session = undefined;
    if (session !== undefined) closeSession(session);
    restart(state, reason, now, out, { level: 'error', waitS: REFUSED_RETRY_S });
  });
}
