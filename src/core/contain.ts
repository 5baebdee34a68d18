// SPDX-License-Identifier: Apache-2.0
// No input may make the core throw. Should one do so all the same, it ends the session of the peer that it came from, and
// no other.

import { notify, type Outbox } from './event.ts';
import type { ServerState } from './server.ts';
import { leavePlane, removePeer, type ServerPeer } from './serverpeer.ts';

/** Does what a peer's input asks for. Only where `deps.contains` says so: whoever looks for errors wants to see them. */
export function contain(state: ServerState, peer: ServerPeer, out: Outbox, work: () => void): void {
  if (state.deps.contains !== true) return work();
  try {
    work();
  } catch (error) {
    leavePlane(state, peer, out);
    removePeer(state, peer, out);
    // Not its text, which may hold what the peer said.
    const name = error instanceof Error ? error.name : typeof error;
    const text = `${peer.name} disconnected: internal error (${name})`;
    notify(out, 'error', text, { peer: peer.name, action: 'disconnected' });
  }
}
