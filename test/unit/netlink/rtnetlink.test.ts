// SPDX-License-Identifier: Apache-2.0
// The expected bytes are written down from linux/rtnetlink.h, if_link.h and if_addr.h, not from our own writer.
import { deepStrictEqual, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { formatIp, parseIp, parsePrefix } from '../../../src/core/address.ts';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import { MessageWriter, readMessages } from '../../../src/netlink/message.ts';
import {
  decodeRoute,
  encodeDeleteRoute,
  encodeDumpRoutes,
  encodeGetRoute,
  encodeNewRoute,
  type RouteChange,
} from '../../../src/netlink/route.ts';
import {
  AF_INET,
  AF_INET6,
  decodeAddress,
  decodeLink,
  encodeDeleteAddress,
  encodeDumpAddresses,
  encodeGetLink,
  encodeGetLinkByIndex,
  encodeNewAddress,
  encodeSetAddrGenMode,
  encodeSetLinkUp,
  encodeSetMtu,
  type InterfaceAddress,
} from '../../../src/netlink/rtnetlink.ts';

const hex = (text: string) => fromHex(text.replace(/\s/g, ''));
const same = (bytes: Uint8Array, text: string) => strictEqual(toHex(bytes), text.replace(/\s/g, ''));
const ip = (text: string) => parseIp(text)!;
const only = (bytes: Uint8Array, little: boolean) => readMessages(bytes, little)[0]!;

describe('rtnetlink links', () => {
  it('asks for a link by name and by index', () => {
    const zero = '00 00 0000 00000000 00000000 00000000';
    same(
      encodeGetLink('tun0', true),
      `2c000000 1200 0500 00000000 00000000 ${zero} 0900 0300 74756e30 00 000000`,
    );
    same(
      encodeGetLink('tun0', false),
      `0000002c 0012 0005 00000000 00000000 ${zero} 0009 0003 74756e30 00 000000`,
    );
    const third = '00 00 0000 03000000 00000000 00000000';
    same(encodeGetLinkByIndex(3, true), `20000000 1200 0500 00000000 00000000 ${third}`);
  });

  it('sets up, down, MTU and address generation', () => {
    const head = '1000 0500 00000000 00000000 00 00 0000 03000000';
    same(encodeSetLinkUp(3, true, true), `20000000 ${head} 01000000 01000000`);
    same(encodeSetLinkUp(3, false, true), `20000000 ${head} 00000000 01000000`);
    same(encodeSetMtu(3, 1400, true), `28000000 ${head} 00000000 00000000 0800 0400 78050000`);
    same(
      encodeSetAddrGenMode(3, 1, true),
      `30000000 ${head} 00000000 00000000 1000 1a80  0c00 0a80  0500 0800 01 000000`,
    );
    same(
      encodeSetAddrGenMode(3, 1, false),
      `00000030 0010 0005 00000000 00000000 00 00 0000 00000003 00000000 00000000
       0010 801a  000c 800a  0005 0008 01 000000`,
    );
  });

  it('reads a link', () => {
    const body = `00 00 feff 03000000 d1100100 00000000
      0900 0300 74756e30 00 000000  0800 0400 dc050000
      1000 1200  0800 0100 74756e 00  0400 0200
      1000 1a00  0c00 0a00  0500 0800 01 000000`;
    const there = decodeLink(only(hex(`54000000 1000 0000 01000000 00000000 ${body}`), true));
    deepStrictEqual(decodeLink(only(hex(`54000000 1100 0000 01000000 00000000 ${body}`), true)), there);
    const toBridges = `54000000 1100 0000 01000000 00000000 07${body.slice(2)}`;
    strictEqual(decodeLink(only(hex(toBridges), true)), undefined);
    deepStrictEqual(there, {
      index: 3,
      name: 'tun0',
      flags: 0x110d1,
      mtu: 1500,
      kind: 'tun',
      addrGenMode: 1,
    });
  });
});

describe('rtnetlink addresses', () => {
  const v4: InterfaceAddress = { index: 3, local: ip('10.8.0.2'), bits: 24 };
  const p2p: InterfaceAddress = { index: 3, local: ip('10.8.0.2'), bits: 32, peer: ip('10.8.0.1') };
  const v6: InterfaceAddress = { index: 3, local: ip('fd42::2'), bits: 64 };

  it('adds and deletes', () => {
    same(
      encodeNewAddress(v4, true),
      '28000000 1400 0506 00000000 00000000 02 18 00 00 03000000 0800 0200 0a080002 0800 0100 0a080002',
    );
    same(
      encodeNewAddress(v4, false),
      '00000028 0014 0605 00000000 00000000 02 18 00 00 00000003 0008 0002 0a080002 0008 0001 0a080002',
    );
    same(
      encodeNewAddress(p2p, true),
      '28000000 1400 0506 00000000 00000000 02 20 00 00 03000000 0800 0200 0a080002 0800 0100 0a080001',
    );
    const bytes = 'fd420000000000000000000000000002';
    same(
      encodeNewAddress(v6, true),
      `40000000 1400 0506 00000000 00000000 0a 40 02 00 03000000 1400 0200 ${bytes} 1400 0100 ${bytes}`,
    );
    same(
      encodeDeleteAddress(v6, true),
      `40000000 1500 0500 00000000 00000000 0a 40 00 00 03000000 1400 0200 ${bytes} 1400 0100 ${bytes}`,
    );
    same(encodeDumpAddresses(true), '18000000 1600 0103 00000000 00000000 00 00 00 00 00000000');
  });

  it('reads IPv6 without IFA_LOCAL, and a point-to-point pair', () => {
    const far = `38000000 1400 0200 01000000 00000000 0a 40 80 00 03000000
      1400 0100 fd420000000000000000000000000002  0800 0800 82000000`;
    deepStrictEqual(decodeAddress(only(hex(far.replace('38', '34')), true)), v6);
    deepStrictEqual(decodeAddress(only(encodeNewAddress(p2p, true), true)), p2p);
  });

  it('refuses what is no address', () => {
    const bad = (head: string, attribute: string) =>
      decodeAddress(only(hex(`20000000 1400 0200 01000000 00000000 ${head} 03000000 ${attribute}`), true));
    strictEqual(bad('02 21 00 00', '0800 0200 0a080002'), undefined, 'prefix too long');
    strictEqual(bad('07 18 00 00', '0800 0200 0a080002'), undefined, 'another family');
    strictEqual(bad('0a 18 00 00', '0800 0200 0a080002'), undefined, 'width of the other family');
    strictEqual(bad('02 18 00 00', '0800 0300 0a080002'), undefined, 'no address in it');
  });
});

describe('rtnetlink routes', () => {
  const change: RouteChange = {
    destination: parsePrefix('10.0.0.0/8')!,
    hop: { index: 3, gateway: ip('10.8.0.1'), flags: 0 },
    metric: 200,
    protocol: 0x6f,
  };

  it('creates, replaces, deletes', () => {
    const tail = '00000000 0800 0100 0a000000 0800 0400 03000000 0800 0500 0a080001 0800 0600 c8000000';
    same(
      encodeNewRoute(change, 'create', true),
      `3c000000 1800 0506 00000000 00000000 02 08 00 00 fe 6f 00 01 ${tail}`,
    );
    same(
      encodeNewRoute(change, 'replace', true),
      `3c000000 1800 0505 00000000 00000000 02 08 00 00 fe 6f 00 01 ${tail}`,
    );
    same(
      encodeDeleteRoute(change, true),
      `3c000000 1900 0500 00000000 00000000 02 08 00 00 fe 6f ff 01 ${tail}`,
    );
    same(
      encodeNewRoute(change, 'create', false),
      `0000003c 0018 0605 00000000 00000000 02 08 00 00 fe 6f 00 01 00000000
       0008 0001 0a000000 0008 0004 00000003 0008 0005 0a080001 0008 0006 000000c8`,
    );
  });

  it('writes the device alone with link scope, an onlink flag, a source, a gateway of the other family', () => {
    same(
      encodeNewRoute({ ...change, hop: { index: 3, flags: 0 }, metric: 0 }, 'create', true),
      '2c000000 1800 0506 00000000 00000000 02 08 00 00 fe 6f fd 01 00000000 0800 0100 0a000000 0800 0400 03000000',
    );
    const hop = { index: 3, flags: 0x14, gateway: ip('fe80::1') };
    same(
      encodeNewRoute({ ...change, hop, metric: 0, source: ip('10.8.0.2') }, 'create', true),
      `4c000000 1800 0506 00000000 00000000 02 08 00 00 fe 6f 00 01 04000000
       0800 0100 0a000000 0800 0400 03000000 1600 1200 0a00 fe800000000000000000000000000001 0000
       0800 0700 0a080002`,
    );
  });

  it('asks for a way and for a dump', () => {
    same(
      encodeGetRoute(ip('192.0.2.1'), true),
      '24000000 1a00 0500 00000000 00000000 02 20 00 00 00 00 00 00 00000000 0800 0100 c0000201',
    );
    same(
      encodeDumpRoutes(AF_INET6, true),
      '1c000000 1a00 0103 00000000 00000000 0a 00 00 00 00 00 00 00 00000000',
    );
    same(
      encodeDumpRoutes(AF_INET, false),
      '0000001c 001a 0301 00000000 00000000 02 00 00 00 00 00 00 00 00000000',
    );
  });

  it('reads a default route, a large table, and a route without a next hop', () => {
    const body =
      '02 00 00 00 00 03 00 01 00000000 0800 0f00 e8030000 0800 0500 0a000001 0800 0400 02000000 0800 0700 0a000009';
    deepStrictEqual(decodeRoute(only(hex(`3c000000 1800 0200 01000000 00000000 ${body}`), true)), {
      destination: parsePrefix('0.0.0.0/0'),
      hops: [{ index: 2, gateway: ip('10.0.0.1'), flags: 0 }],
      metric: 0,
      table: 1000,
      protocol: 3,
      type: 1,
      tos: 0,
      source: ip('10.0.0.9'),
    });
    const unreachable = '02 08 00 00 fe 04 00 07 00000000 0800 0100 0a000000';
    deepStrictEqual(
      decodeRoute(only(hex(`24000000 1800 0200 01000000 00000000 ${unreachable}`), true))?.hops,
      [],
    );
  });

  it('reads the hops of a multipath route, one of them onlink', () => {
    const several = '1000 00 00 02000000 0800 0500 0a000001  1000 04 00 05000000 0800 0500 0a000101';
    const body = `02 00 00 00 fe 03 00 01 00000000 2400 0900 ${several}`;
    deepStrictEqual(decodeRoute(only(hex(`40000000 1800 0200 01000000 00000000 ${body}`), true))?.hops, [
      { index: 2, gateway: ip('10.0.0.1'), flags: 0 },
      { index: 5, gateway: ip('10.0.1.1'), flags: 4 },
    ]);
  });
});

describe('rtnetlink round trips', () => {
  const width = fc.constantFrom(4, 16);
  const ipOf = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes });
  const index = fc.integer({ min: 1, max: 0x7fffffff });

  it('addresses, in both orders', () => {
    const pair = width.chain(bytes => fc.tuple(ipOf(bytes), fc.option(ipOf(bytes)), fc.nat(bytes * 8)));
    fc.assert(
      fc.property(fc.boolean(), index, pair, (little, device, [local, peer, bits]) => {
        const isPeer = peer !== null && formatIp(peer) !== formatIp(local);
        const address = { index: device, local, bits, ...(isPeer && { peer }) };
        deepStrictEqual(decodeAddress(only(encodeNewAddress(address, little), little)), address);
        deepStrictEqual(decodeAddress(only(encodeDeleteAddress(address, little), little)), address);
      }),
    );
  });

  it('routes, in both orders', () => {
    const target = width.chain(bytes => fc.tuple(ipOf(bytes), fc.nat(bytes * 8), fc.option(ipOf(bytes))));
    const gateway = fc.option(width.chain(ipOf));
    fc.assert(
      fc.property(
        fc.boolean(),
        index,
        target,
        gateway,
        fc.nat(0xffffffff),
        fc.constantFrom(0, 4),
        (little, device, [to, bits, source], via, metric, flags) => {
          const wanted: RouteChange = {
            destination: { ip: to, bits },
            hop: { index: device, flags, ...(via && { gateway: via }) },
            metric,
            protocol: 0x6f,
            ...(source && { source }),
          };
          const read = decodeRoute(only(encodeNewRoute(wanted, 'create', little), little))!;
          const { destination, hops, protocol } = read;
          deepStrictEqual(
            {
              destination,
              hop: hops[0],
              metric: read.metric,
              protocol,
              ...(source && { source: read.source }),
            },
            wanted,
          );
          deepStrictEqual([read.table, read.type, read.tos], [254, 1, 0]);
        },
      ),
    );
  });

  it('links, in both orders', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        index,
        fc.stringMatching(/^[a-z0-9-]{1,15}$/),
        fc.nat(65535),
        (little, device, name, mtu) => {
          const bytes = new MessageWriter(16, 0, little)
            .u32(0)
            .u32(device)
            .u32(0x1091)
            .u32(0)
            .textAttribute(3, name)
            .u32Attribute(4, mtu)
            .finish();
          deepStrictEqual(decodeLink(only(bytes, little)), { index: device, name, flags: 0x1091, mtu });
        },
      ),
    );
  });
});
