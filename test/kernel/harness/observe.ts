// SPDX-License-Identifier: Apache-2.0
// What the kernel itself says: about the peers and keys of an interface, and about the work a process does.

import type { Guest } from './guest.ts';
import type { GuestProcess } from './guest-process.ts';
import type { Namespace } from './namespace.ts';

export interface KernelPeer {
  readonly id: number;
  readonly remote?: string;
  readonly remote_port?: number;
  readonly vpn4?: string;
  readonly vpn6?: string;
  readonly interval: number;
  readonly timeout: number;
  readonly vpn_rx_packets: number;
  readonly vpn_tx_packets: number;
  readonly link_rx_packets: number;
  readonly link_tx_packets: number;
}

export interface KernelKey {
  readonly peer: number;
  /** 0 primary, 1 secondary. */
  readonly slot: number;
  readonly key_id: number;
  /** 1 AES-GCM, 2 ChaCha20-Poly1305. */
  readonly cipher: number;
}

export interface KernelTable {
  readonly peers: readonly KernelPeer[];
  readonly keys: readonly KernelKey[];
}

export async function kernelTable(namespace: Namespace, device: string): Promise<KernelTable> {
  return JSON.parse(await namespace.run(['ovpn-peers', device])) as KernelTable;
}

/** How often the threads of a process have gone to sleep: each packet through user space would wake one. */
export async function wakeups(guest: Guest, process: GuestProcess): Promise<number> {
  const pid = await process.pid();
  const text = await guest.sh(`cat /proc/${pid}/task/*/status`);
  const counts = [...text.matchAll(/^voluntary_ctxt_switches:\s+([0-9]+)$/gm)];
  return counts.reduce((sum, match) => sum + Number(match[1]), 0);
}
