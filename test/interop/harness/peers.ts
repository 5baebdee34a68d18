// SPDX-License-Identifier: Apache-2.0
// What the daemon's status says about its peers.

import type { Ovpnd } from './ovpnd.ts';

/** The names `status` gives its peers, sorted. */
export async function peerNames(ovpnd: Ovpnd): Promise<string[]> {
  const { peers } = (await ovpnd.status()) as { peers?: { name?: string }[] };
  return (peers ?? []).map(peer => peer.name ?? '').sort();
}
