// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import { CIPHER_KEY_LENGTH, type CipherName } from '../../../src/core/crypto.ts';
import { genericWriter } from '../../../src/netlink/generic.ts';
import { Attributes, type MessageWriter, readMessages, viewOf } from '../../../src/netlink/message.ts';
import {
  decodeOvpn,
  encodeKeyDel,
  encodeKeyGet,
  encodeKeyNew,
  encodeKeySwap,
  encodeNewOvpnLink,
  encodePeerDel,
  encodePeerDump,
  encodePeerGet,
  encodePeerNew,
  encodePeerSet,
  OVPN_KEYCONF,
  OVPN_PEER,
  type OvpnPeerConfig,
} from '../../../src/netlink/ovpn.ts';
import { encodeDeleteLink, encodeDeleteLinkByName } from '../../../src/netlink/rtnetlink.ts';

const orders = [true, false] as const;
const FAMILY = 0x24;
const target = (little: boolean) => ({ family: FAMILY, ifindex: 2, little });
const same = (text: string): string => text.replace(/\s/g, '');
const stamped = (bytes: Uint8Array, sequence: number): string => {
  viewOf(bytes).setUint32(8, sequence, true);
  return toHex(bytes);
};

function decode(bytes: Uint8Array, little: boolean): ReturnType<typeof decodeOvpn> {
  const messages = readMessages(bytes, little);
  strictEqual(messages.length, 1);
  return decodeOvpn(messages[0]!, FAMILY);
}

const reply = (command: number, little: boolean): MessageWriter => genericWriter(FAMILY, command, 0, little);

describe('ovpn family: requests', () => {
  it('PEER_NEW as a kernel took it', () => {
    const remote = { ip: new Uint8Array([127, 0, 0, 1]), port: 6000 };
    strictEqual(
      stamped(encodePeerNew(target(true), { id: 5, remote }, 6), 5),
      same(`40000000 2400 0500 05000000 00000000 01010000 08000100 02000000 2400 0280
            08000100 05000000 08000600 06000000 08000200 7f000001 06000500 1770 0000`),
    );
  });

  it('KEY_NEW as a kernel took it', () => {
    const key = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
    const nonceTail = Uint8Array.from({ length: 8 }, (_, i) => 0xb0 + i);
    const direction = { key, nonceTail };
    const bytes = encodeKeyNew(target(true), {
      peerId: 5,
      slot: 'primary',
      keyId: 1,
      cipher: 'AES-128-GCM',
      encrypt: direction,
      decrypt: direction,
    });
    const one = `1400 0100 ${toHex(key)} 0c00 0200 ${toHex(nonceTail)}`;
    strictEqual(
      stamped(bytes, 6),
      same(`88000000 2400 0500 06000000 00000000 06010000 08000100 02000000 6c00 0380
            08000100 05000000 08000200 00000000 08000300 01000000 08000400 01000000
            2400 0580 ${one} 2400 0680 ${one}`),
    );
  });

  it('in the other byte order only what is in network order stays', () => {
    const remote = { ip: new Uint8Array([127, 0, 0, 1]), port: 6000 };
    strictEqual(
      toHex(encodePeerNew(target(false), { id: 5, remote }, 6)),
      same(`00000040 0024 0005 00000000 00000000 01010000 00080001 00000002 0024 8002
            00080001 00000005 00080006 00000006 00080002 7f000001 00060005 1770 0000`),
    );
  });

  it('every attribute a peer can have, with its exact width', () => {
    const ip6 = new Uint8Array(16).fill(0xfe);
    const peer: OvpnPeerConfig = {
      id: 0x010203,
      remote: { ip: ip6, port: 0x1194, scope: 9 },
      local: new Uint8Array(16).fill(0xfd),
      vpnIp4: new Uint8Array([10, 8, 0, 2]),
      vpnIp6: new Uint8Array(16).fill(0xfc),
      keepaliveInterval: 10,
      keepaliveTimeout: 60,
      txId: 0x040506,
    };
    for (const little of orders) {
      const body = readMessages(encodePeerNew(target(little), peer, 6), little)[0]!.body;
      const attributes = new Attributes(body.subarray(4), little).nested(2)!;
      const widths = [...attributes.entries()].map(([number, value]) => `${number}:${value.length}`).sort();
      deepStrictEqual(
        widths,
        ['1:4', '11:16', '13:4', '14:4', '24:4', '3:16', '4:4', '5:2', '6:4', '8:4', '9:16'].sort(),
      );
      deepStrictEqual([...attributes.bytes(5)!], [0x11, 0x94]);
      strictEqual(attributes.uint(24), 0x040506);
    }
  });

  it('the others, byte by byte', () => {
    const head = (length: string, flags: string, command: string): string =>
      `${length} 2400 ${flags} 00000000 00000000 ${command}010000 08000100 02000000`;
    const nest5 = '0c00 0280 08000100 05000000';
    strictEqual(toHex(encodePeerGet(target(true), 5)), same(`${head('28000000', '0500', '03')} ${nest5}`));
    strictEqual(toHex(encodePeerDel(target(true), 5)), same(`${head('28000000', '0500', '04')} ${nest5}`));
    strictEqual(toHex(encodePeerDump(target(true))), same(head('1c000000', '0103', '03')));
    strictEqual(
      toHex(encodePeerSet(target(true), { id: 5, vpnIp4: new Uint8Array(4) })),
      same(`${head('30000000', '0500', '02')} 1400 0280 08000100 05000000 08000800 00000000`),
    );
    const slot1 = '1400 0380 08000100 05000000 08000200 01000000';
    strictEqual(
      toHex(encodeKeyGet(target(true), 5, 'secondary')),
      same(`${head('30000000', '0500', '07')} ${slot1}`),
    );
    strictEqual(
      toHex(encodeKeyDel(target(true), 5, 'secondary')),
      same(`${head('30000000', '0500', '0a')} ${slot1}`),
    );
    strictEqual(
      toHex(encodeKeySwap(target(true), 5)),
      same(`${head('28000000', '0500', '08')} 0c00 0380 08000100 05000000`),
    );
  });

  it('a device, its mode in one byte whatever the byte order', () => {
    for (const little of orders) {
      const bytes = toHex(encodeNewOvpnLink('vpn0', 'mp', little));
      ok(bytes.endsWith(little ? '0500010001000000' : '0005000101000000'), bytes);
      ok(toHex(encodeNewOvpnLink('vpn0', 'p2p', little)).endsWith('00000000'));
    }
    strictEqual(
      toHex(encodeNewOvpnLink('vpn0', 'mp', true)),
      same(`48000000 1000 0506 00000000 00000000 00000000 00000000 00000000 00000000
            0900 0300 76706e30 00 000000
            1c00 1280 0900 0100 6f76706e 00 000000 0c00 0280 0500 0100 01 000000`),
    );
    strictEqual(
      toHex(encodeDeleteLink(3, true)),
      same('20000000 1100 0500 00000000 00000000 00000000 03000000 00000000 00000000'),
    );
    ok(toHex(encodeDeleteLinkByName('vpn0', true)).endsWith('0900030076706e3000000000'));
  });
});

describe('ovpn family: replies and notifications', () => {
  const config = fc
    .record({
      id: fc.nat(0xffffff),
      is6: fc.boolean(),
      port: fc.integer({ min: 1, max: 65535 }),
      scope: fc.nat(9),
      txId: fc.option(fc.nat(0xffffff), { nil: undefined }),
      times: fc.option(fc.tuple(fc.nat(86400), fc.nat(86400)), { nil: undefined }),
      bytes: fc.uint8Array({ minLength: 48, maxLength: 48 }),
    })
    .map(({ id, is6, port, scope, txId, times, bytes }): OvpnPeerConfig => {
      const local = bytes.slice(16, is6 ? 32 : 20);
      local[0] = 1;
      return {
        id,
        remote: { ip: bytes.slice(0, is6 ? 16 : 4), port, ...(is6 && scope > 0 && { scope }) },
        local,
        vpnIp4: bytes.slice(32, 36),
        vpnIp6: bytes.slice(32, 48),
        ...(times && { keepaliveInterval: times[0], keepaliveTimeout: times[1] }),
        ...(txId !== undefined && { txId }),
      };
    });

  it('what is written is what is read', () => {
    fc.assert(
      fc.property(config, fc.boolean(), (peer, little) => {
        const read = decode(encodePeerNew(target(little), peer, 3), little)!;
        const { counters, ...rest } = read.peer!;
        deepStrictEqual(rest, peer);
        ok(Object.values(counters).every(count => count === 0));
        deepStrictEqual([read.command, read.ifindex, read.key], [1, 2, undefined]);
      }),
    );
  });

  it('keys too, as far as they may be seen', () => {
    const ciphers = fc.constantFrom(...(Object.keys(CIPHER_KEY_LENGTH) as CipherName[]));
    fc.assert(
      fc.property(
        fc.nat(0xffffff),
        fc.nat(7),
        ciphers,
        fc.boolean(),
        fc.boolean(),
        (peerId, keyId, cipher, isFirst, little) => {
          const direction = { key: new Uint8Array(CIPHER_KEY_LENGTH[cipher]), nonceTail: new Uint8Array(8) };
          const key = { peerId, slot: isFirst ? 'primary' : 'secondary', keyId, cipher } as const;
          const read = decode(
            encodeKeyNew(target(little), { ...key, encrypt: direction, decrypt: direction }),
            little,
          );
          const number = cipher === 'CHACHA20-POLY1305' ? 2 : 1;
          deepStrictEqual(read?.key, { peerId, slot: isFirst ? 0 : 1, keyId, cipher: number });
        },
      ),
    );
  });

  it('counters of 4 and of 8 bytes', () => {
    for (const little of orders) {
      const wide = new Uint8Array(8);
      viewOf(wide).setBigUint64(0, 0x1_0000_0002n, little);
      const bytes = reply(3, little)
        .nest(2, peer => peer.u32Attribute(1, 7).u32Attribute(16, 0xfffffffe).attribute(21, wide))
        .finish();
      const read = decode(bytes, little);
      strictEqual(read?.ifindex, undefined, 'the reply for one peer has none');
      strictEqual(read?.peer?.counters.vpnRxBytes, 0xfffffffe);
      strictEqual(read?.peer?.counters.linkTxBytes, 0x1_0000_0002);
      strictEqual(read?.peer?.counters.linkRxBytes, 0);
    }
  });

  it('a key id of 2 bytes as of 4', () => {
    for (const little of orders) {
      for (const write of ['u16Attribute', 'u32Attribute'] as const) {
        const bytes = reply(9, little)
          .u32Attribute(1, 2)
          .nest(3, key =>
            key.u32Attribute(OVPN_KEYCONF.peerId.number, 7)[write](OVPN_KEYCONF.keyId.number, 5),
          )
          .finish();
        deepStrictEqual(decode(bytes, little), { command: 9, ifindex: 2, key: { peerId: 7, keyId: 5 } });
      }
    }
  });

  it('a deletion and a float', () => {
    for (const little of orders) {
      const deletion = reply(5, little)
        .u32Attribute(1, 2)
        .nest(2, peer => peer.u32Attribute(15, 2).u32Attribute(1, 7));
      const deleted = decode(deletion.finish(), little);
      deepStrictEqual([deleted?.command, deleted?.peer?.id, deleted?.peer?.delReason], [5, 7, 2]);
      const float = reply(11, little)
        .u32Attribute(1, 2)
        .nest(2, peer =>
          peer.u32Attribute(1, 7).attribute(2, fromHex('c0000201')).attribute(5, fromHex('04aa')),
        );
      deepStrictEqual(decode(float.finish(), little)?.peer?.remote, {
        ip: fromHex('c0000201'),
        port: 0x04aa,
      });
    }
  });

  it('an own address that the kernel does not know yet is none', () => {
    const peer = reply(3, true).nest(2, nest => nest.u32Attribute(1, 7).attribute(10, new Uint8Array(4)));
    strictEqual(decode(peer.finish(), true)?.peer?.local, undefined);
  });

  it('no message without peer and key, none of another family, no address of a wrong length', () => {
    strictEqual(decode(reply(3, true).u32Attribute(1, 2).finish(), true), undefined);
    strictEqual(
      decode(
        reply(3, true)
          .nest(2, peer => peer.u32Attribute(16, 1))
          .finish(),
        true,
      ),
      undefined,
    );
    const foreign = genericWriter(FAMILY + 1, 3, 0, true)
      .nest(2, peer => peer.u32Attribute(1, 7))
      .finish();
    strictEqual(decode(foreign, true), undefined);
    const odd = reply(3, true)
      .nest(2, peer =>
        peer
          .u32Attribute(1, 7)
          .attribute(2, new Uint8Array(5))
          .attribute(5, new Uint8Array(2))
          .attribute(8, new Uint8Array(3)),
      )
      .finish();
    const read = decode(odd, true)?.peer;
    deepStrictEqual([read?.remote, read?.vpnIp4], [undefined, undefined]);
  });

  it('copies what it hands out', () => {
    const bytes = reply(3, true)
      .nest(2, peer => peer.u32Attribute(1, 7).attribute(8, fromHex('0a080002')))
      .finish();
    const read = decode(bytes, true)!;
    bytes.fill(0);
    strictEqual(toHex(read.peer!.vpnIp4!), '0a080002');
  });

  it('every attribute number is given once', () => {
    for (const table of [OVPN_PEER, OVPN_KEYCONF]) {
      const numbers = Object.values(table).map(spec => spec.number);
      deepStrictEqual(
        [...numbers].sort((a, b) => a - b),
        Array.from({ length: numbers.length }, (_, i) => i + 1),
      );
    }
  });
});
