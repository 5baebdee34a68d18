// SPDX-License-Identifier: Apache-2.0
// The known answers in test/vectors/openvpn-vectors.json, and small helpers for tests that use them.

import { fromHex } from '../../../src/core/bytes.ts';
import type { ControlPacket, Opcode } from '../../../src/core/wire.ts';
import file from '../../vectors/openvpn-vectors.json';

// biome-ignore lint/suspicious/noExplicitAny: each kind of vector has its own fields.
type Fields = Record<string, any>;

export interface Vector {
  readonly id: string;
  readonly kind: string;
  readonly inputs: Fields;
  readonly outputs: Fields;
}

const vectors = file.vectors as readonly Vector[];

/** The vector with this id. */
export function vector(id: string): Vector {
  const found = vectors.find(one => one.id === id);
  if (found === undefined) throw new Error(`no vector ${id}`);
  return found;
}

/** All vectors of a kind; throws when there are none, so that no loop over them passes by being empty. */
export function vectorsOf(kind: string): readonly Vector[] {
  const found = vectors.filter(one => one.kind === kind);
  if (found.length === 0) throw new Error(`no vectors of kind ${kind}`);
  return found;
}

/** A copy with one bit changed. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const out = bytes.slice();
  out[bit >> 3]! ^= 1 << (bit & 7);
  return out;
}

/** A control packet from hex parts. */
export function packet(
  opcode: Opcode,
  keyId: number,
  sessionId: string,
  rest: { acks?: number[]; remote?: string; id?: number; payload?: string } = {},
): ControlPacket {
  return {
    opcode,
    keyId,
    sessionId: fromHex(sessionId),
    acks: rest.acks ?? [],
    ...(rest.remote === undefined ? {} : { remoteSessionId: fromHex(rest.remote) }),
    ...(rest.id === undefined ? {} : { messageId: rest.id }),
    payload: fromHex(rest.payload ?? ''),
  };
}
