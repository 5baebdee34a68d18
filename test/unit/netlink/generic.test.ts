// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import {
  commandOf,
  decodeFamily,
  encodeGetFamily,
  encodeGetPolicy,
  GENL_ID_CTRL,
  genericWriter,
  PolicyTable,
} from '../../../src/netlink/generic.ts';
import { MessageWriter, readMessages } from '../../../src/netlink/message.ts';

const orders = [true, false] as const;
const same = (text: string): string => text.replace(/\s/g, '');

function familyBytes(little: boolean, command = 1): Uint8Array {
  return genericWriter(GENL_ID_CTRL, command, 0, little, 2)
    .u16Attribute(1, 0x24)
    .textAttribute(2, 'ovpn')
    .u32Attribute(5, 0)
    .nest(7, groups =>
      groups
        .nest(1, group => group.textAttribute(1, 'peers').u32Attribute(2, 15))
        .nest(2, group => group.u32Attribute(2, 16)),
    )
    .finish();
}

describe('generic netlink', () => {
  it('asks for a family, byte by byte', () => {
    strictEqual(
      toHex(encodeGetFamily('ovpn', true)),
      same('20000000 1000 0500 00000000 00000000 03010000 0900 0200 6f76706e 00 000000'),
    );
    strictEqual(
      toHex(encodeGetFamily('ovpn', false)),
      same('00000020 0010 0005 00000000 00000000 03010000 0009 0002 6f76706e 00 000000'),
    );
  });

  it('asks for the policy of one command, byte by byte', () => {
    strictEqual(
      toHex(encodeGetPolicy(0x24, 1, true)),
      same('24000000 1000 0103 00000000 00000000 0a010000 0600 0100 2400 0000 0800 0a00 01000000'),
    );
  });

  it('reads a family with its groups, in both byte orders', () => {
    for (const little of orders) {
      const family = decodeFamily(readMessages(familyBytes(little), little)[0]!);
      deepStrictEqual(family, { id: 0x24, name: 'ovpn', groups: new Map([['peers', 15]]) });
    }
  });

  it('takes no other message for a family', () => {
    strictEqual(decodeFamily(readMessages(familyBytes(true, 2), true)[0]!), undefined);
    const foreign = new MessageWriter(0x25, 0, true).u32(1).u16Attribute(1, 1).textAttribute(2, 'x').finish();
    strictEqual(decodeFamily(readMessages(foreign, true)[0]!), undefined);
    const nameless = genericWriter(GENL_ID_CTRL, 1, 0, true, 2).u16Attribute(1, 1).finish();
    strictEqual(decodeFamily(readMessages(nameless, true)[0]!), undefined);
    const short = new MessageWriter(GENL_ID_CTRL, 0, true).u16(1).finish();
    const message = readMessages(short, true)[0]!;
    strictEqual(decodeFamily(message), undefined);
    strictEqual(commandOf(message), undefined);
    strictEqual(commandOf(readMessages(familyBytes(true), true)[0]!), 1);
  });

  it('reads policies over several messages: which attribute is inside which', () => {
    for (const little of orders) {
      const head = (): MessageWriter => genericWriter(GENL_ID_CTRL, 10, 2, little, 2).u16Attribute(1, 0x24);
      const policy = (number: number, attribute: number, nested?: number): Uint8Array =>
        head()
          .nest(8, policies =>
            policies.nest(number, one =>
              one.nest(attribute, inside => {
                inside.u32Attribute(1, 4);
                if (nested !== undefined) inside.u32Attribute(8, nested);
              }),
            ),
          )
          .finish();
      const ops = head()
        .nest(9, list => list.nest(1, op => op.u32Attribute(1, 3)).nest(2, op => op.u32Attribute(2, 3)))
        .finish();
      const table = new PolicyTable();
      for (const bytes of [ops, policy(3, 1), policy(3, 2, 5), policy(5, 24), policy(4, 25)]) {
        for (const message of readMessages(bytes, little)) table.add(message);
      }
      strictEqual(table.takes(1, [1]), true);
      strictEqual(table.takes(1, [2, 24]), true);
      strictEqual(table.takes(1, [2, 25]), false, 'in another policy');
      strictEqual(table.takes(1, [1, 24]), false, 'not a nest');
      strictEqual(table.takes(2, [1]), false, 'only for dumps');
      strictEqual(table.takes(9, [1]), false);
      strictEqual(table.takes(1, []), false);
    }
  });

  it('takes nothing from messages that are no policies', () => {
    const table = new PolicyTable();
    const ops = genericWriter(GENL_ID_CTRL, 9, 0, true, 2)
      .nest(9, list => list.nest(1, op => op.u32Attribute(1, 0)))
      .nest(8, list => list.nest(0, one => one.nest(1, inside => inside.u32Attribute(1, 4))))
      .finish();
    table.add(readMessages(ops, true)[0]!);
    strictEqual(table.takes(1, [1]), false);
    table.add({ type: GENL_ID_CTRL, flags: 0, sequence: 0, portId: 0, body: fromHex('0a'), little: true });
    strictEqual(table.takes(1, [1]), false);
  });
});
