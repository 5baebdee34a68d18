// SPDX-License-Identifier: Apache-2.0
// The control plane's commands as values, carried out on a plane.

import type { KeyMaterial, PlaneCommand } from '../core/plane.ts';
import type { PacketPlane, PlaneResult } from './plane.ts';

/** `now` is monotonic milliseconds. Key material of the command is overwritten: the plane has its own copy now. */
export function execute(plane: PacketPlane, command: PlaneCommand, now: number): PlaneResult {
  switch (command.op) {
    case 'addPeer':
      return plane.addPeer(command.peer, now);
    case 'setPeer':
      return plane.setPeer(command.change, now);
    case 'delPeer':
      return plane.delPeer(command.peerId, now);
    case 'addKey': {
      const result = plane.addKey(command.key, now);
      for (const bytes of materialOf(command.key)) bytes.fill(0);
      return result;
    }
    case 'swapKeys':
      return plane.swapKeys(command.peerId, now);
    case 'delKey':
      return plane.delKey(command.peerId, command.slot, now);
    case 'sendInner':
      return plane.sendInner(command.peerId, command.payload, now);
  }
}

function materialOf({ format, encrypt, decrypt }: KeyMaterial): readonly Uint8Array[] {
  return format === 'aead-epoch'
    ? [encrypt.epochKey, decrypt.epochKey]
    : [encrypt.key, encrypt.nonceTail, decrypt.key, decrypt.nonceTail];
}
