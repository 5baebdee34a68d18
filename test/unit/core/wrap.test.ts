// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { concat, fromHex, readU32, toHex } from '../../../src/core/bytes.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { OPCODE } from '../../../src/core/wire.ts';
import {
  createWrap,
  noWrap,
  openStateless,
  tlsAuthKeys,
  tlsCryptKeys,
  type Wrap,
  type WrapKeys,
} from '../../../src/core/wrap.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { controlPacket } from './arbitraries.ts';
import { flipBit, packet, type Vector, vector, vectorsOf } from './vectors.ts';

const crypto = nobleCrypto();
const SID = '0102030405060708';
const KEY = Uint8Array.from({ length: 256 }, (_, i) => i);
const RESET = packet(OPCODE.hardResetClientV2, 0, SID, { id: 0 });
const CONTROL = packet(OPCODE.control, 3, SID, { acks: [7, 1], remote: SID, id: 9, payload: '160301' });

/** Both ends of every kind of wrapping, fresh: what `a` seals `b` opens. */
function pairs(): { name: string; a: WrapKeys; b: WrapKeys }[] {
  return [
    { name: 'none', a: noWrap(), b: noWrap() },
    { name: 'tls-auth 1/0', a: tlsAuthKeys(KEY, 1, 'SHA1'), b: tlsAuthKeys(KEY, 0, 'SHA1') },
    { name: 'tls-auth 0/1', a: tlsAuthKeys(KEY, 0, 'SHA256'), b: tlsAuthKeys(KEY, 1, 'SHA256') },
    {
      name: 'tls-auth bidirectional',
      a: tlsAuthKeys(KEY, undefined, 'SHA512'),
      b: tlsAuthKeys(KEY, undefined, 'SHA512'),
    },
    { name: 'tls-crypt c>s', a: tlsCryptKeys(KEY, 'client'), b: tlsCryptKeys(KEY, 'server') },
    { name: 'tls-crypt s>c', a: tlsCryptKeys(KEY, 'server'), b: tlsCryptKeys(KEY, 'client') },
  ];
}

function dropOf(result: ReturnType<Wrap['open']>): string {
  return isDrop(result) ? result.drop : 'accepted';
}

/** A wrapping whose next packet has the replay id a vector has. */
function sealerAt(keys: WrapKeys, replayId: Uint8Array): Wrap {
  return createWrap(keys, crypto, readU32(replayId, 4), readU32(replayId, 0) - 1);
}

/** Client and server keys of a tls-crypt vector, sender first. */
function cryptEnds(one: Vector): [WrapKeys, WrapKeys] {
  const key = fromHex(one.inputs.static_key);
  const client = tlsCryptKeys(key, 'client');
  const server = tlsCryptKeys(key, 'server');
  return one.inputs.Ke === toHex(key.slice(0, 32)) ? [server, client] : [client, server];
}

describe('core/wrap: known answers', () => {
  for (const { id, inputs, outputs } of vectorsOf('tls-auth')) {
    it(id, () => {
      const key = fromHex(inputs.static_key);
      const keys = tlsAuthKeys(key, 1, inputs.hmac);
      ok(keys.kind === 'tls-auth');
      equal(toHex(keys.send), inputs.hmac_key);
      const datagram = fromHex(outputs.packet);
      const opened = createWrap(tlsAuthKeys(key, 0, inputs.hmac), crypto, 0).open(datagram);
      ok(!isDrop(opened));
      equal(toHex(opened.sessionId), inputs.opcode_keyid_sid.slice(2));
      equal(toHex(sealerAt(keys, fromHex(inputs.replay_id_time)).seal(opened)), outputs.packet);
    });
  }

  for (const one of vectorsOf('tls-crypt').filter(({ inputs }) => inputs.static_key)) {
    it(one.id, () => {
      const [sender, receiver] = cryptEnds(one);
      ok(sender.kind === 'tls-crypt');
      equal(toHex(sender.send.cipher), one.inputs.Ke);
      equal(toHex(sender.send.hmac), one.inputs.Ka);
      const opened = createWrap(receiver, crypto, 0).open(fromHex(one.outputs.packet));
      ok(!isDrop(opened));
      const replayId = fromHex(one.inputs.header).slice(9);
      equal(toHex(sealerAt(sender, replayId).seal(opened)), one.outputs.packet);
    });
  }

  it('dynamic-tls-crypt-wrap', () => {
    // Sealed without opcode and session id, so only its parts can be compared.
    const { inputs, outputs } = vector('dynamic-tls-crypt-wrap');
    const keys = tlsCryptKeys(fromHex(inputs.ekm), 'client');
    ok(keys.kind === 'tls-crypt');
    equal(toHex(keys.send.cipher), inputs.Ke);
    equal(toHex(keys.send.hmac), inputs.Ka);
    const header = fromHex(inputs.header);
    const plain = fromHex(inputs.plaintext);
    const sealed = crypto.sivSeal(keys.send, header, plain);
    equal(toHex(sealed.subarray(0, 32)), outputs.tag);
    equal(toHex(concat(header, sealed)), outputs.wrapped);
  });

  for (const { id, inputs, outputs } of vectorsOf('tls-crypt-v2-packet')) {
    it(id, () => {
      // Without the wrapped client key at its end, such a packet is a tls-crypt packet under Kc.
      const kc = fromHex(inputs.Kc);
      const whole = fromHex(outputs.packet);
      const tail = inputs.wkc_appended ? fromHex(inputs.wkc_appended).length : 0;
      const length = 17 + 32 + fromHex(inputs.plaintext).length;
      equal(whole.length - length >= tail, true);
      const datagram = whole.subarray(0, length);
      const fromServer = inputs.Ke === toHex(kc.slice(0, 32));
      const receiver = tlsCryptKeys(kc, fromServer ? 'client' : 'server');
      const opened = openStateless(receiver, crypto, datagram);
      ok(!isDrop(opened));
      const sender = tlsCryptKeys(kc, fromServer ? 'server' : 'client');
      equal(toHex(sealerAt(sender, datagram.slice(9, 17)).seal(opened)), toHex(datagram));
    });
  }
});

describe('core/wrap: accept and refuse', () => {
  for (const { name, a, b } of pairs()) {
    it(`${name}: opens what the other end sealed`, () => {
      fc.assert(
        fc.property(controlPacket, one => {
          const sealed = createWrap(a, crypto, 100).seal(one);
          deepEqual(createWrap(b, crypto, 100).open(sealed), one);
          deepEqual(openStateless(b, crypto, sealed), one);
        }),
        { numRuns: 50 },
      );
    });

    it(`${name}: no truncation throws or is taken for the packet`, () => {
      for (const one of [RESET, CONTROL, packet(OPCODE.ack, 0, SID, { acks: [1], remote: SID })]) {
        const sealed = createWrap(a, crypto, 100).seal(one);
        for (let length = 0; length < sealed.length; length++) {
          const opened = openStateless(b, crypto, sealed.subarray(0, length));
          if (a.kind === 'none') ok(isDrop(opened) || opened.payload.length < one.payload.length);
          else ok(isDrop(opened));
        }
      }
    });

    if (a.kind === 'none') continue;

    it(`${name}: refuses every packet with a flipped bit, and leaves its replay window alone`, () => {
      for (const one of [RESET, CONTROL]) {
        const sealed = createWrap(a, crypto, 100).seal(one);
        const receiver = createWrap(b, crypto, 100);
        for (let bit = 0; bit < sealed.length * 8; bit++) {
          equal(isDrop(receiver.open(flipBit(sealed, bit))), true, `bit ${bit}`);
          equal(isDrop(openStateless(b, crypto, flipBit(sealed, bit))), true, `bit ${bit}`);
        }
        deepEqual(receiver.open(sealed), one);
      }
    });

    it(`${name}: refuses a longer packet`, () => {
      const sealed = createWrap(a, crypto, 100).seal(CONTROL);
      equal(dropOf(openStateless(b, crypto, concat(sealed, new Uint8Array(1)))), 'hmac');
    });

    it(`${name}: refuses a replay, stateless does not look`, () => {
      const sender = createWrap(a, crypto, 100);
      const receiver = createWrap(b, crypto, 100);
      const [first, second] = [sender.seal(RESET), sender.seal(RESET)];
      equal(dropOf(receiver.open(second)), 'accepted');
      equal(dropOf(receiver.open(first)), 'accepted');
      equal(dropOf(receiver.open(first)), 'replay');
      equal(dropOf(receiver.open(second)), 'replay');
      equal(dropOf(openStateless(b, crypto, first)), 'accepted');
    });

    it(`${name}: what was opened before is not opened again, and its replay id counts`, () => {
      const datagram = createWrap(a, crypto, 100).seal(RESET);
      const opened = openStateless(b, crypto, datagram);
      ok(!isDrop(opened));
      const receiver = createWrap(b, crypto, 100);
      equal(receiver.open(datagram, opened), opened);
      equal(dropOf(receiver.open(datagram)), 'replay');
      equal(dropOf(receiver.open(datagram, opened)), 'replay');
    });

    it(`${name}: refuses another key`, () => {
      const other = KEY.map(byte => byte ^ 1);
      const wrong =
        b.kind === 'tls-auth'
          ? tlsAuthKeys(other, undefined, b.digest)
          : tlsCryptKeys(other, name.endsWith('c>s') ? 'server' : 'client');
      equal(dropOf(openStateless(wrong, crypto, createWrap(a, crypto, 100).seal(RESET))), 'hmac');
    });
  }

  it('refuses its own packets where the directions differ', () => {
    for (const { name, a } of pairs()) {
      const sealed = createWrap(a, crypto, 100).seal(RESET);
      const both = name === 'none' || name === 'tls-auth bidirectional';
      equal(dropOf(createWrap(a, crypto, 100).open(sealed)), both ? 'accepted' : 'hmac', name);
    }
  });

  it('refuses another digest and another kind', () => {
    const sealed = createWrap(tlsAuthKeys(KEY, 1, 'SHA1'), crypto, 1).seal(CONTROL);
    ok(isDrop(openStateless(tlsAuthKeys(KEY, 0, 'SHA256'), crypto, sealed)));
    ok(isDrop(openStateless(tlsCryptKeys(KEY, 'server'), crypto, sealed)));
  });

  it('looks at head and length before it hashes', () => {
    const blind = { ...crypto };
    blind.hmac = () => {
      throw new Error('hashed');
    };
    blind.sivOpen = blind.hmac as never;
    for (const keys of [tlsAuthKeys(KEY, 0, 'SHA1'), tlsCryptKeys(KEY, 'server')]) {
      equal(dropOf(openStateless(keys, blind, new Uint8Array(30).fill(0x30))), 'opcode');
      equal(dropOf(openStateless(keys, blind, new Uint8Array(30).fill(0x38))), 'short');
      equal(dropOf(openStateless(keys, blind, new Uint8Array(3000).fill(0x38))), 'long');
    }
  });
});

describe('core/wrap: replay ids and sizes', () => {
  const replayIdOf = (datagram: Uint8Array) => toHex(datagram.slice(9, 17));

  it('count from 1, or from what was used before, at one time', () => {
    const wrap = createWrap(tlsCryptKeys(KEY, 'client'), crypto, 0x61d3f8e1);
    equal(replayIdOf(wrap.seal(RESET)), '0000000161d3f8e1');
    equal(replayIdOf(wrap.seal(RESET)), '0000000261d3f8e1');
    const later = createWrap(tlsCryptKeys(KEY, 'client'), crypto, 0x61d3f8e1, 1);
    equal(replayIdOf(later.seal(RESET)), '0000000261d3f8e1');
  });

  it('go on at the next second after the last id, and the other end follows', () => {
    const wrap = createWrap(tlsCryptKeys(KEY, 'client'), crypto, 7, 0xfffffffe);
    const receiver = createWrap(tlsCryptKeys(KEY, 'server'), crypto, 0);
    const sealed = [wrap.seal(RESET), wrap.seal(RESET), wrap.seal(RESET)];
    deepEqual(sealed.map(replayIdOf), ['ffffffff00000007', '0000000100000008', '0000000200000008']);
    for (const one of sealed) equal(dropOf(receiver.open(one)), 'accepted');
    for (const one of sealed) equal(dropOf(receiver.open(one)), 'replay');
  });

  it('overhead covers what sealing adds', () => {
    const expected = [0, 28, 40, 72, 56, 56];
    const bare = createWrap(noWrap(), crypto, 1).seal(CONTROL).length;
    pairs().forEach(({ a }, i) => {
      const wrap = createWrap(a, crypto, 1);
      equal(wrap.overhead, expected[i]);
      equal(wrap.keys, a);
      const spare = a.kind === 'tls-crypt' ? 16 : 0;
      equal(wrap.seal(CONTROL).length + spare, bare + wrap.overhead);
    });
  });

  it('does not take a static key of another length', () => {
    throws(() => tlsAuthKeys(KEY.slice(0, 128), undefined, 'SHA1'), RangeError);
    throws(() => tlsCryptKeys(KEY.slice(0, 255), 'client'), RangeError);
  });
});
