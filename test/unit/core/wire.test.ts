// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { concat, fromHex, toHex } from '../../../src/core/bytes.ts';
import { isDrop } from '../../../src/core/drop.ts';
import {
  bodyLength,
  type ControlPacket,
  decodeBody,
  decodeHead,
  encodeBody,
  encodeHead,
  HEAD_LENGTH,
  isDataOpcode,
  keyIdOf,
  OPCODE,
  type Opcode,
  opcodeOf,
} from '../../../src/core/wire.ts';
import { controlPacket } from './arbitraries.ts';
import { packet, vectorsOf } from './vectors.ts';

function decode(datagram: Uint8Array) {
  const head = decodeHead(datagram);
  if (isDrop(head)) return head;
  return decodeBody(head.opcode, head.keyId, head.sessionId, datagram.subarray(HEAD_LENGTH));
}

function encode(one: ControlPacket): Uint8Array {
  return concat(encodeHead(one), encodeBody(one));
}

function dropOf(hex: string): string {
  const result = decode(fromHex(hex));
  return isDrop(result) ? result.drop : 'accepted';
}

const SID = '0102030405060708';

describe('core/wire', () => {
  for (const { id, inputs, outputs } of vectorsOf('control-parse')) {
    it(`known answer ${id}`, () => {
      const datagram = fromHex(inputs.packet);
      const read = decode(datagram);
      ok(!isDrop(read));
      equal(read.opcode, outputs.opcode);
      equal(opcodeOf(datagram), outputs.opcode);
      equal(read.keyId, outputs.key_id ?? 0);
      if (outputs.session_id) equal(toHex(read.sessionId), outputs.session_id);
      deepEqual(read.acks, outputs.acks ?? []);
      if (outputs.ack_remote_session_id) equal(toHex(read.remoteSessionId!), outputs.ack_remote_session_id);
      else equal('remoteSessionId' in read, false);
      equal(read.messageId, outputs.message_id);
      equal(toHex(read.payload), outputs.payload ?? '');
      equal(toHex(encode(read)), inputs.packet);
    });
  }

  it('reads back what it wrote', () => {
    fc.assert(fc.property(controlPacket, one => deepEqual(decode(encode(one)), one)));
  });

  it('every truncation of a packet is a drop or a shorter payload, never more', () => {
    fc.assert(
      fc.property(controlPacket, one => {
        const whole = encode(one);
        const fixed = HEAD_LENGTH + bodyLength(one.acks.length, one.opcode === OPCODE.ack);
        for (let length = 0; length < whole.length; length++) {
          const read = decode(whole.subarray(0, length));
          equal(isDrop(read), length < fixed);
        }
      }),
    );
  });

  it('refuses opcodes that are none, and data, and nothing else', () => {
    for (let opcode = 0; opcode < 32; opcode++) {
      const bytes = new Uint8Array(30).fill(1);
      bytes[0] = (opcode << 3) | (opcode === OPCODE.softReset ? 1 : 0);
      const known = opcode >= 3 && opcode <= 11;
      equal(opcodeOf(bytes), known ? opcode : undefined);
      const head = decodeHead(bytes);
      const isControl = known && opcode !== 6 && opcode !== 9;
      equal(isDrop(head) ? head.drop : 'read', isControl ? 'read' : 'opcode');
      if (known) equal(isDataOpcode(opcode as Opcode), !isControl);
    }
    equal(opcodeOf(new Uint8Array(0)), undefined);
    equal(keyIdOf(new Uint8Array(0)), 0);
    equal(keyIdOf(fromHex('27')), 7);
  });

  it('refuses a session id of zeros, takes one with a single bit', () => {
    equal(dropOf('2000000000000000000000000001'), 'session-id');
    equal(dropOf('2000000000000000010000000001'), 'accepted');
  });

  it('takes 8 acks, refuses 9', () => {
    const acks = (count: number) => `20${SID}0${count}${'00000001'.repeat(count)}${SID}00000001`;
    equal(dropOf(acks(8)), 'accepted');
    equal(dropOf(acks(9)), 'ack-count');
    equal(dropOf(`20${SID}ff00000001`), 'ack-count');
  });

  it('refuses acks without the remote session id', () => {
    equal(dropOf(`28${SID}0100000000${SID}`), 'accepted');
    equal(dropOf(`28${SID}0100000000`), 'short');
  });

  it('an ack packet has no message id and no payload', () => {
    equal(dropOf(`28${SID}0100000000${SID}00`), 'long');
    equal(dropOf(`28${SID}00`), 'accepted');
    equal(dropOf(`28${SID}0000000001`), 'long');
  });

  it('hard resets have key id 0, soft resets never', () => {
    for (const opcode of [OPCODE.hardResetClientV2, OPCODE.hardResetServerV2, OPCODE.hardResetClientV3]) {
      equal(dropOf(`${toHex(new Uint8Array([opcode << 3]))}${SID}0000000000`), 'accepted');
      equal(dropOf(`${toHex(new Uint8Array([(opcode << 3) | 1]))}${SID}0000000000`), 'key-id');
    }
    equal(dropOf(`18${SID}0000000000`), 'key-id');
    equal(dropOf(`1f${SID}0000000000`), 'accepted');
  });

  it('refuses a datagram above the limit', () => {
    const bytes = new Uint8Array(2049).fill(0);
    bytes.set(fromHex(`20${SID}00`));
    equal(isDrop(decode(bytes.subarray(0, 2048))), false);
    const read = decode(bytes);
    equal(isDrop(read) && read.drop, 'long');
  });

  it('what it read does not change with the datagram', () => {
    const one = packet(OPCODE.control, 0, SID, { acks: [1], remote: SID, id: 2, payload: 'aabb' });
    const datagram = encode(one);
    const read = decode(datagram);
    datagram.fill(0);
    deepEqual(read, one);
  });

  it('does not write packets that contradict themselves', () => {
    const bad: ControlPacket[] = [
      packet(OPCODE.control, 0, SID),
      packet(OPCODE.ack, 0, SID, { id: 1 }),
      packet(OPCODE.ack, 0, SID, { payload: '00' }),
      packet(OPCODE.control, 0, SID, { id: 1, acks: [0] }),
      packet(OPCODE.control, 0, SID, { id: 1, remote: SID }),
      packet(OPCODE.control, 0, SID, { id: 1, remote: SID, acks: [1, 2, 3, 4, 5, 6, 7, 8, 9] }),
    ];
    for (const one of bad) throws(() => encodeBody(one), RangeError);
  });
});
