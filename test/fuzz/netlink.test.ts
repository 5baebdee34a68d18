// SPDX-License-Identifier: Apache-2.0
// Any bytes at all: no netlink reader throws, and what it returns is bounded by what it was given.
import { ok } from 'node:assert';
import fc from 'fast-check';
import { Attributes, attributesOf, type Message, readAck, readMessages } from '../../src/netlink/message.ts';
import { decodeRoute, encodeNewRoute } from '../../src/netlink/route.ts';
import {
  decodeAddress,
  decodeLink,
  encodeNewAddress,
  encodeSetAddrGenMode,
} from '../../src/netlink/rtnetlink.ts';
import { parseState } from '../../src/network/state.ts';

const seconds = Number(process.env.OVPND_FUZZ_SECONDS ?? 1);
const options = { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000 };

const KNOWN_TYPES = [2, 3, 16, 17, 20, 21, 24, 25];

function readAll(message: Message): void {
  readAck(message);
  decodeLink(message);
  decodeAddress(message);
  const route = decodeRoute(message);
  if (route) ok(route.hops.length <= message.body.length / 8 + 1);
  for (const skip of [0, 4, 8, 12, 16]) {
    const attributes = attributesOf(message, skip);
    for (const [type, value] of attributes.entries()) {
      attributes.uint(type);
      attributes.text(type);
      attributes.nested(type);
      ok(value.length <= message.body.length);
    }
  }
}

describe('netlink readers on any bytes', function () {
  this.timeout(seconds * 10_000 + 60_000);

  it('random datagrams', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, little) => {
        new Attributes(bytes, little);
        for (const message of readMessages(bytes, little)) readAll(message);
      }),
      options,
    );
  });

  it('random bodies under known types and flags', () => {
    const flags = fc.constantFrom(0, 2, 0x100, 0x200, 0x300);
    fc.assert(
      fc.property(
        fc.constantFrom(...KNOWN_TYPES),
        flags,
        fc.uint8Array({ maxLength: 200 }),
        fc.boolean(),
        (type, flag, body, little) => readAll({ type, flags: flag, sequence: 0, portId: 0, body, little }),
      ),
      options,
    );
  });

  it('real messages with bytes changed or cut off', () => {
    const ip = new Uint8Array([10, 8, 0, 2]);
    const hop = { index: 3, gateway: new Uint8Array(16), flags: 4 };
    const real = (little: boolean) => [
      encodeNewAddress({ index: 3, local: ip, bits: 24 }, little),
      encodeNewRoute({ destination: { ip, bits: 32 }, hop, metric: 9, protocol: 4 }, 'create', little),
      encodeSetAddrGenMode(3, 1, little),
    ];
    const change = fc.tuple(fc.nat(100), fc.nat(255));
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.nat(2),
        fc.array(change, { maxLength: 4 }),
        fc.nat(100),
        (little, which, changes, cut) => {
          const bytes = real(little)[which]!;
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          for (const message of readMessages(bytes.subarray(0, bytes.length - (cut % 8)), little))
            readAll(message);
        },
      ),
      options,
    );
  });

  it('state files of any text and any JSON', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), text => {
        parseState(text);
      }),
      options,
    );
  });
});
