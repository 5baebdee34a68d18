// SPDX-License-Identifier: Apache-2.0
// Any bytes at all: no reader of generic netlink or of the ovpn family throws, and a plane that is told nonsense by
// its notification socket keeps its peers.
import { deepStrictEqual, ok } from 'node:assert';
import fc from 'fast-check';
import { commandOf, decodeFamily, PolicyTable } from '../../src/netlink/generic.ts';
import { type Message, readMessages } from '../../src/netlink/message.ts';
import { decodeOvpn, encodeKeyNew, encodePeerNew } from '../../src/netlink/ovpn.ts';
import { FakeOvpn } from '../unit/plane/kernelfake.ts';
import { FAMILY } from '../unit/plane/kernelfakemessages.ts';
import { openWorld, serverPeer } from '../unit/plane/kernelworld.ts';

const seconds = Number(process.env.OVPND_FUZZ_SECONDS ?? 1);
const options = { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000 };

function readAll(message: Message): void {
  commandOf(message);
  const family = decodeFamily(message);
  ok(family === undefined || family.groups.size <= message.body.length);
  const table = new PolicyTable();
  table.add(message);
  table.takes(1, [2, 24]);
  const read = decodeOvpn(message, FAMILY);
  for (const count of Object.values(read?.peer?.counters ?? {})) ok(count >= 0);
}

function realMessages(little: boolean): Uint8Array[] {
  const target = { family: FAMILY, ifindex: 2, little };
  const direction = { key: new Uint8Array(32), nonceTail: new Uint8Array(8) };
  const key = {
    peerId: 1,
    slot: 'primary',
    keyId: 1,
    cipher: 'AES-256-GCM',
    encrypt: direction,
    decrypt: direction,
  } as const;
  const ip = new Uint8Array([10, 8, 0, 2]);
  return [
    encodePeerNew(target, { id: 1, remote: { ip, port: 9 }, local: ip, vpnIp4: ip }, 3),
    encodeKeyNew(target, key),
  ];
}

describe('ovpn readers on any bytes', function () {
  this.timeout(seconds * 10_000 + 60_000);

  it('random bodies under known types', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(16, FAMILY),
        fc.nat(12),
        fc.uint8Array({ maxLength: 300 }),
        fc.boolean(),
        (type, command, rest, little) => {
          const body = new Uint8Array([command, 1, 0, 0, ...rest]);
          readAll({ type, flags: 0, sequence: 0, portId: 0, body, little });
          readAll({ type, flags: 0, sequence: 0, portId: 0, body: rest, little });
        },
      ),
      options,
    );
  });

  it('real messages with bytes changed or cut off', () => {
    const change = fc.tuple(fc.nat(200), fc.nat(255));
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.nat(1),
        fc.array(change, { maxLength: 6 }),
        fc.nat(40),
        (little, which, changes, cut) => {
          const bytes = realMessages(little)[which]!;
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          for (const message of readMessages(bytes.subarray(0, bytes.length - cut), little)) readAll(message);
        },
      ),
      options,
    );
  });

  it('notifications of any content take no peer away that the kernel has', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(12), fc.nat(3), fc.nat(3)), { maxLength: 20 }), forged => {
        const { kernel, plane, notices, pass } = openWorld('mp', new FakeOvpn());
        plane.addPeer(serverPeer(1), 0);
        for (const [command, index, id] of forged) kernel.forge(command, kernel.device.index + index - 1, id);
        pass(100);
        deepStrictEqual(notices, []);
        deepStrictEqual([...kernel.device.peers.keys()], [1]);
      }),
      options,
    );
  });
});
