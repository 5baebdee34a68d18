// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import {
  Attributes,
  align4,
  attributesOf,
  HOST_LITTLE,
  MessageWriter,
  NLA_F_NESTED,
  NLM_F_ACK,
  NLM_F_REQUEST,
  readAck,
  readMessages,
  readText,
  readUint,
  stampSequence,
} from '../../../src/netlink/message.ts';

const hex = (text: string) => fromHex(text.replace(/\s/g, ''));
const orders = [true, false] as const;

describe('netlink messages', () => {
  it('knows the order of this machine', () => {
    const word = new Uint32Array([0x01020304]);
    strictEqual(new Uint8Array(word.buffer)[0], HOST_LITTLE ? 4 : 1);
  });

  it('writes header, fixed part, attributes and nests byte by byte', () => {
    const build = (little: boolean) => {
      const bytes = new MessageWriter(0x1234, NLM_F_REQUEST | NLM_F_ACK, little)
        .u8(3)
        .u8(1)
        .u16(0xabcd)
        .textAttribute(2, 'ovpn')
        .nest(5, nest => nest.u8Attribute(1, 7).u16Attribute(2, 0x0102).u32Attribute(3, 0x01020304))
        .finish();
      stampSequence(bytes, 0x0a0b0c0d, little);
      return toHex(bytes);
    };
    const same = (text: string) => text.replace(/\s/g, '');
    strictEqual(
      build(true),
      same(`3c000000 3412 0500 0d0c0b0a 00000000  03 01 cdab
            0900 0200 6f76706e 00 000000
            1c00 0580  0500 0100 07 000000  0600 0200 0201 0000  0800 0300 04030201`),
    );
    strictEqual(
      build(false),
      same(`0000003c 1234 0005 0a0b0c0d 00000000  03 01 abcd
            0009 0002 6f76706e 00 000000
            001c 8005  0005 0001 07 000000  0006 0002 0102 0000  0008 0003 01020304`),
    );
  });

  it('reads several messages of one datagram and stops at a malformed one', () => {
    for (const little of orders) {
      const one = new MessageWriter(16, 2, little).u32(1).textAttribute(3, 'a').finish();
      const two = new MessageWriter(3, 2, little).u32(0).finish();
      const bytes = new Uint8Array([...one, ...two]);
      deepStrictEqual(
        readMessages(bytes, little).map(message => message.type),
        [16, 3],
      );
      deepStrictEqual(
        readMessages(bytes.subarray(0, bytes.length - 1), little).map(message => message.type),
        [16],
      );
      const broken = bytes.slice();
      new DataView(broken.buffer).setUint32(one.length, 15, little);
      strictEqual(readMessages(broken, little).length, 1);
    }
    strictEqual(readMessages(new Uint8Array(15)).length, 0);
  });

  it('reads a message whose length is no multiple of 4, and the one after it', () => {
    const bytes = hex('11000000 1000 0000 00000000 00000000 ff 000000  10000000 0300 0000 00000000 00000000');
    deepStrictEqual(
      readMessages(bytes, true).map(({ type, body }) => [type, body.length]),
      [
        [16, 1],
        [3, 0],
      ],
    );
  });

  it('reads integers by their width in both orders', () => {
    strictEqual(readUint(hex('07'), true), 7);
    strictEqual(readUint(hex('0102'), true), 0x0201);
    strictEqual(readUint(hex('0102'), false), 0x0102);
    strictEqual(readUint(hex('01020304'), true), 0x04030201);
    strictEqual(readUint(hex('ff020304'), false), 0xff020304);
    strictEqual(readUint(hex('0100000002000000'), true), 0x2_0000_0001);
    strictEqual(readUint(hex('0000000200000001'), false), 0x2_0000_0001);
    strictEqual(readUint(hex('010203'), true), undefined);
    strictEqual(readUint(new Uint8Array(0), true), undefined);
  });

  it('reads text up to NUL and lets no control byte through', () => {
    strictEqual(readText(hex('6f76 00 41')), 'ov');
    strictEqual(readText(hex('6f0a1bff')), 'o???');
  });

  it('reads attributes: masks flag bits, the last of one type counts, stops at a malformed one', () => {
    const attributes = new Attributes(
      hex('0500 0180 07 000000  0500 0100 08 000000  0300 0200 ffffffff'),
      true,
    );
    strictEqual(attributes.uint(1), 8);
    strictEqual(attributes.uint(2), undefined);
    deepStrictEqual(
      [...attributes.entries()].map(([type]) => type),
      [1],
    );
    const unpadded = new Attributes(hex('0500 0100 07'), true);
    strictEqual(unpadded.uint(1), 7);
    strictEqual(unpadded.nested(1)?.uint(1), undefined);
    strictEqual(unpadded.nested(2), undefined);
    strictEqual(unpadded.text(2), undefined);
  });

  it('refuses to write an attribute longer than its length field', () => {
    const writer = new MessageWriter(1, 0);
    throws(() => writer.attribute(1, new Uint8Array(65532)), RangeError);
    ok(new MessageWriter(1, 0).attribute(1, new Uint8Array(65531)).finish().length > 65531);
  });
});

describe('netlink acknowledgements', () => {
  // nlmsgerr: error, then the request's header.
  const request = '2c000000 1000 0506 07000000 00000000';

  it('reads success', () => {
    const [message] = readMessages(hex(`24000000 0200 0001 07000000 01000000 00000000 ${request}`), true);
    deepStrictEqual(readAck(message!), { errno: 0 });
  });

  it('reads an error with text behind the echoed request', () => {
    // -17, the request of 44 bytes echoed, then NLMSGERR_ATTR_MSG "no" and NLMSGERR_ATTR_OFFS 20.
    const body = `efffffff ${request} ${'00'.repeat(28)}  0700 0100 6e6f 00 00  0800 0200 14000000`;
    const [message] = readMessages(hex(`50000000 0200 0002 07000000 01000000 ${body}`), true);
    deepStrictEqual(readAck(message!), { errno: 17, text: 'no', offset: 20 });
  });

  it('reads an error with text behind a capped request', () => {
    const body = `ffffffea 0000002c 0010 0605 00000007 00000000  0008 0005 00000009  0008 0006 0000001c`;
    const [message] = readMessages(hex(`00000034 0002 0300 00000007 00000001 ${body}`), false);
    deepStrictEqual(readAck(message!), { errno: 22, missingType: 9, missingNest: 28 });
  });

  it('reads the end of a dump', () => {
    const [good] = readMessages(hex('14000000 0300 0200 07000000 01000000 00000000'), true);
    deepStrictEqual(readAck(good!), { errno: 0 });
    const [bad] = readMessages(
      hex('1c000000 0300 0202 07000000 01000000 eaffffff 0700 0100 6e6f 00 00'),
      true,
    );
    deepStrictEqual(readAck(bad!), { errno: 22, text: 'no' });
  });

  it('gives the number alone when what follows is malformed, and nothing for other messages', () => {
    const cut = readMessages(hex('14000000 0200 0002 07000000 01000000 ffffffff'), true);
    deepStrictEqual(readAck(cut[0]!), { errno: 1 });
    const beyond = `ffffffff ff000000 1000 0506 07000000 00000000`;
    const [far] = readMessages(hex(`24000000 0200 0002 07000000 01000000 ${beyond}`), true);
    deepStrictEqual(readAck(far!), { errno: 1 });
    const [short] = readMessages(hex('10000000 0300 0200 07000000 01000000'), true);
    strictEqual(readAck(short!), undefined);
    const [link] = readMessages(hex('14000000 1000 0200 07000000 01000000 00000000'), true);
    strictEqual(readAck(link!), undefined);
  });
});

describe('netlink round trips', () => {
  const value = fc.uint8Array({ maxLength: 300 });
  const flat = fc.uniqueArray(fc.tuple(fc.nat(0x3fff), value), { selector: ([type]) => type, maxLength: 8 });
  const nested = fc.uniqueArray(fc.tuple(fc.nat(0x3fff), flat), { selector: ([type]) => type, maxLength: 4 });

  it('reads back what was written, in both orders', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.nat(0xffff),
        fc.nat(0xffffffff),
        value,
        nested,
        (little, type, sequence, head, nests) => {
          const writer = new MessageWriter(type, 0x705, little).raw(head);
          for (const [number, inside] of nests) {
            writer.nest(number, nest => {
              for (const [inner, bytes] of inside) nest.attribute(inner, bytes);
            });
          }
          const bytes = writer.finish();
          stampSequence(bytes, sequence, little);
          const [message, ...rest] = readMessages(bytes, little);
          strictEqual(rest.length, 0);
          deepStrictEqual(
            [message!.type, message!.flags, message!.sequence, message!.portId],
            [type, 0x705, sequence, 0],
          );
          const attributes = attributesOf(message!, align4(head.length));
          strictEqual([...attributes.entries()].length, nests.length);
          for (const [number, inside] of nests) {
            const level = attributes.nested(number)!;
            deepStrictEqual([...level.entries()], inside);
          }
        },
      ),
    );
  });

  it('marks nests and nothing else', () => {
    const bytes = new MessageWriter(1, 0, true)
      .nest(4, nest => nest.attribute(4, new Uint8Array(0)))
      .finish();
    const view = new DataView(bytes.buffer);
    strictEqual(view.getUint16(18, true), 4 | NLA_F_NESTED);
    strictEqual(view.getUint16(22, true), 4);
  });
});
