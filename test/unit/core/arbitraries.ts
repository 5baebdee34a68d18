// SPDX-License-Identifier: Apache-2.0
// Random well-formed values for property tests.

import fc from 'fast-check';
import type { KeyMethod2 } from '../../../src/core/keymethod.ts';
import { type ControlPacket, OPCODE, type Opcode } from '../../../src/core/wire.ts';

export const u32 = fc.integer({ min: 0, max: 0xffffffff });
export const sessionId = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .filter(bytes => bytes.some(byte => byte !== 0));

const controlOpcode = fc.constantFrom<Opcode>(
  OPCODE.softReset,
  OPCODE.control,
  OPCODE.ack,
  OPCODE.hardResetClientV2,
  OPCODE.hardResetServerV2,
  OPCODE.hardResetClientV3,
  OPCODE.controlWkc,
);

function keyIdFor(opcode: Opcode, keyId: number): number {
  if (opcode === OPCODE.softReset) return keyId === 0 ? 1 : keyId;
  return opcode === OPCODE.control || opcode === OPCODE.ack || opcode === OPCODE.controlWkc ? keyId : 0;
}

/** Any control packet a reader must take. */
export const controlPacket: fc.Arbitrary<ControlPacket> = fc
  .record({
    opcode: controlOpcode,
    keyId: fc.integer({ min: 0, max: 7 }),
    sessionId,
    acks: fc.array(u32, { maxLength: 8 }),
    remote: sessionId,
    id: u32,
    payload: fc.uint8Array({ maxLength: 100 }),
  })
  .map(({ opcode, keyId, acks, remote, id, payload, ...rest }) => ({
    ...rest,
    opcode,
    keyId: keyIdFor(opcode, keyId),
    acks,
    ...(acks.length > 0 ? { remoteSessionId: remote } : {}),
    ...(opcode === OPCODE.ack ? {} : { messageId: id }),
    payload: opcode === OPCODE.ack ? new Uint8Array(0) : payload,
  }));

/** Text without NUL and lone surrogates. */
export const wireText = fc.string({ unit: 'grapheme', maxLength: 40 }).map(text => text.replaceAll('\0', ''));

const random = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

/** Any key-method-2 message of a client (with pre-master) or a server. */
export const keyMethod2: fc.Arbitrary<KeyMethod2> = fc
  .record(
    {
      preMaster: random(48),
      random1: random(32),
      random2: random(32),
      options: wireText,
      username: wireText,
      password: wireText,
      peerInfo: wireText,
    },
    { requiredKeys: ['random1', 'random2', 'options', 'peerInfo'] },
  )
  .map(({ preMaster, random1, random2, ...texts }) => ({
    source: { ...(preMaster === undefined ? {} : { preMaster }), random1, random2 },
    ...texts,
  })) as fc.Arbitrary<KeyMethod2>;
