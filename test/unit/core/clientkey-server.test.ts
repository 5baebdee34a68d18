// SPDX-License-Identifier: Apache-2.0
// tls-crypt-v2 and dynamic tls-crypt in sessions: who gets in, what is kept before, and that a session keeps the keys
// it began with.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { requestResend, wrapClientKey } from '../../../src/core/clientkey.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { flushSession, renegotiate } from '../../../src/core/session.ts';
import { agreeDynamicWrap } from '../../../src/core/sessionpacket.ts';
import { OPCODE, opcodeOf } from '../../../src/core/wire.ts';
import {
  type CryptKeys,
  clientKeys,
  createWrap,
  noWrap,
  openStateless,
  tlsCryptKeys,
  type WrapKeys,
} from '../../../src/core/wrap.ts';
import { crypto, T0 } from './bench.ts';
import { type Ends, ends, give, packet, serverReset, talk, up } from './ends.ts';
import { alive, clientHand, converse, join, PROTO_ALL, pathOf, peerInfo, rekey, server } from './hand.ts';

const bytes = (length: number, factor: number) =>
  Uint8Array.from({ length }, (_, i) => (i * factor + 3) & 255);
const SERVER_KEY: CryptKeys = { cipher: bytes(32, 3), hmac: bytes(32, 5) };
const OTHER_SERVER: CryptKeys = { cipher: bytes(32, 9), hmac: bytes(32, 5) };

function keyOf(factor: number, sealer = SERVER_KEY, metadata = 1) {
  const key = bytes(256, factor);
  return { key, wrapped: wrapClientKey(crypto, sealer, key, new Uint8Array(metadata)) };
}
const OWN = clientKeys(keyOf(7), 'client');
const STATIC = bytes(256, 11);

describe('core/server: tls-crypt-v2', () => {
  it('a client with a key of ours gets in; nothing is kept before its cookie', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    const hand = clientHand({ wrap: OWN }, bench.now);
    const [reset] = hand.flush(bench.now);
    equal(opcodeOf(reset!), OPCODE.hardResetClientV3);
    bench.step({ kind: 'datagram', path: hand.path, bytes: reset! });
    equal(bench.state.peers.size, 0);
    const [answer] = bench.sent;
    ok(answer!.bytes.length < reset!.length, 'the answer is smaller than the question');
    const opened = openStateless(OWN, crypto, answer!.bytes);
    ok(!isDrop(opened));
    deepEqual(opened.payload, requestResend());
    converse(bench, hand);
    deepEqual(alive(bench), ['alice']);
    deepEqual(bench.state.drops, { ...bench.state.drops, 'client-key': 0, hmac: 0 });
  });

  it('each client has a wrapping of its own, and renegotiates under it', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    const hands = [7, 9, 13].map(factor =>
      join(bench, {
        wrap: clientKeys(keyOf(factor), 'client'),
        path: pathOf(factor),
        commonName: `c${factor}`,
      }),
    );
    deepEqual(alive(bench), ['c7', 'c9', 'c13']);
    for (const hand of hands) {
      rekey(bench, hand);
      equal(hand.session.current.phase, 'active');
      equal(hand.session.current.keyId, 1);
    }
    const [first, second] = [...bench.state.byId.values()];
    ok(first!.session.options.wrap !== second!.session.options.wrap);
  });

  it('a client from before 2.6, which sends its key once, begins its session with the reset', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    const hand = clientHand({ wrap: OWN }, bench.now);
    Object.assign(hand.session, { wrap: createWrap(OWN, crypto, 1_700_000_000) });
    const [reset] = hand.flush(bench.now);
    bench.step({ kind: 'datagram', path: hand.path, bytes: reset! });
    equal(bench.state.peers.size, 1);
    const opened = openStateless(OWN, crypto, bench.sent[0]!.bytes);
    ok(!isDrop(opened) && opened.payload.length === 0, 'it is not asked for what it cannot do');
    converse(bench, hand);
    deepEqual(alive(bench), ['alice']);
    bench.step({ kind: 'datagram', path: hand.path, bytes: reset! });
    equal(bench.state.peers.size, 1);
    equal(bench.state.byId.size, 1);
  });

  it('without a cookie each packet has one answer at most: an address that may be forged hears no repeats', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    const hand = clientHand({ wrap: OWN }, bench.now);
    Object.assign(hand.session, { wrap: createWrap(OWN, crypto, 1_700_000_000) });
    const [reset] = hand.flush(bench.now);
    bench.step({ kind: 'datagram', path: hand.path, bytes: reset! });
    equal(bench.takeSent().length, 1);
    bench.pass(30_000);
    bench.step({ kind: 'datagram', path: hand.path, bytes: reset! });
    deepEqual(bench.takeSent(), [], 'nor a replay');
    const [again] = hand.flush(bench.now);
    bench.step({ kind: 'datagram', path: hand.path, bytes: again! });
    equal(bench.sent.length, 1, 'a client that asks again has lost the answer');
    converse(bench, hand);
    deepEqual(alive(bench), ['alice']);
  });

  it('neither a key sealed by another server, nor no key', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    join(bench, { wrap: clientKeys(keyOf(7, OTHER_SERVER), 'client') });
    equal(bench.state.drops['client-key'], 1);
    join(bench, { wrap: noWrap() });
    join(bench, { wrap: tlsCryptKeys(STATIC, 'client') });
    equal(bench.state.drops.hmac, 2);
    // The sealed key is ours, the packet is sealed under another.
    join(bench, { wrap: clientKeys({ ...keyOf(7), key: bytes(256, 9) }, 'client') });
    equal(bench.state.drops.hmac, 3);
    deepEqual(alive(bench), []);
    equal(bench.state.peers.size, 0);
    deepEqual(bench.takeSent(), []);
  });

  it('nor a client key where the server has no key for it', () => {
    for (const wrap of [noWrap(), tlsCryptKeys(STATIC, 'server')]) {
      const bench = server({ wrap });
      join(bench, { wrap: OWN });
      deepEqual(bench.takeSent(), []);
      equal(bench.state.drops.opcode, 1);
    }
  });

  it('beside tls-crypt both kinds get in', () => {
    const bench = server({ wrap: tlsCryptKeys(STATIC, 'server'), clientKeys: SERVER_KEY });
    join(bench, { wrap: OWN, path: pathOf(1), commonName: 'new' });
    join(bench, { wrap: tlsCryptKeys(STATIC, 'client'), path: pathOf(2), commonName: 'old' });
    join(bench, { wrap: noWrap(), path: pathOf(3), commonName: 'none' });
    deepEqual(alive(bench), ['new', 'old']);
  });

  it('the longest key leaves room for TLS', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    join(bench, { wrap: clientKeys(keyOf(7, SERVER_KEY, 734), 'client') });
    deepEqual(alive(bench), ['alice']);
  });
});

/** Both ends of tls-crypt-v2, after the resets. */
function withKey(resend = true, metadata = 1): { both: Ends; wrapped: Uint8Array } {
  const own = keyOf(7, SERVER_KEY, metadata);
  const both = ends({ wrap: [clientKeys(own, 'client'), clientKeys(own, 'server')] });
  both.client.flush(T0);
  const payload = resend ? requestResend() : new Uint8Array(0);
  both.client.receive(serverReset(both.client, { payload }), T0);
  return { both, wrapped: own.wrapped };
}

describe('core/session: the client key once more', () => {
  it('in the first packet after the reset, every time that is sent, and in no other', () => {
    for (const metadata of [1, 734]) {
      const { both, wrapped } = withKey(true, metadata);
      const first = both.client.flush(T0);
      const later: Uint8Array[] = [];
      for (let now = T0; now < T0 + 20_000; now += 500)
        flushSession(both.client.session, now, b => later.push(b));
      for (const bytes of [...first, ...later]) {
        ok(bytes.length <= 1222, `${bytes.length} bytes`);
        const opened = openStateless(clientKeys(keyOf(7, SERVER_KEY, metadata), 'server'), crypto, bytes);
        ok(!isDrop(opened));
        equal(opened.opcode === OPCODE.controlWkc, opened.messageId === 1);
        if (opened.messageId === 1) {
          deepEqual(bytes.slice(-wrapped.length), wrapped);
          ok(opened.acks.includes(0));
        }
      }
      ok(later.length > 3);
      for (const bytes of first) both.server.receive(bytes, T0);
      talk(both, T0 + 20_000);
      equal(both.client.session.current.phase, 'active');
    }
  });

  it('not unless the server asks', () => {
    const { both } = withKey(false);
    equal(opcodeOf(both.client.flush(T0)[0]!), OPCODE.control);
  });

  it('a reset with a broken list of requests is none', () => {
    const { both } = withKey(false);
    const fresh = ends({ wrap: [both.client.session.options.wrap, both.server.session.options.wrap] });
    fresh.client.flush(T0);
    equal(give(fresh.client, serverReset(fresh.client, { payload: new Uint8Array([0, 1, 0]) })), 'short');
    equal(fresh.client.session.remoteSid, undefined);
  });
});

describe('core/session: dynamic tls-crypt', () => {
  const PAIRS: [string, WrapKeys, WrapKeys][] = [
    ['none', noWrap(), noWrap()],
    ['tls-crypt', tlsCryptKeys(STATIC, 'client'), tlsCryptKeys(STATIC, 'server')],
    ['tls-crypt-v2', OWN, clientKeys(keyOf(7), 'server')],
  ];
  for (const [name, client, serverWrap] of PAIRS) {
    it(`${name}: wraps what has another key id than 0, and nothing else is taken there`, () => {
      const both = up({ wrap: [client, serverWrap] });
      agreeDynamicWrap(both.client.session);
      agreeDynamicWrap(both.server.session);
      const base = packet(both.client, { opcode: OPCODE.softReset, keyId: 1, messageId: 0 });
      ok(give(both.server, createWrap(client, crypto, 1_700_000_000, 500).seal(base)) !== undefined);
      equal(both.server.session.current.keyId, 0, 'a soft reset under the old keys');
      for (let keyId = 1; keyId <= 9; keyId++) {
        renegotiate(both.client.session, T0);
        for (const bytes of talk(both)) {
          if ((bytes[0]! & 7) === 0) continue;
          ok(isDrop(openStateless(serverWrap, crypto, bytes)) || serverWrap.kind === 'none');
          ok(isDrop(openStateless(client, crypto, bytes)) || client.kind === 'none');
        }
        equal(both.server.session.current.phase, 'active');
        equal(both.server.session.current.keyId, ((keyId - 1) % 7) + 1);
      }
    });
  }

  it('is agreed on with clients that know it', () => {
    for (const proto of [PROTO_ALL, PROTO_ALL + 512]) {
      const bench = server();
      const hand = join(bench, { peerInfo: peerInfo(proto) });
      const isKnown = proto !== PROTO_ALL;
      equal(hand.texts[0]!.includes('dyn-tls-crypt'), isKnown);
      const [peer] = bench.state.byId.values();
      equal(peer!.session.dynamicWrap !== undefined, isKnown);
      if (isKnown) agreeDynamicWrap(hand.session);
      rekey(bench, hand);
      equal(peer!.session.current.keyId, 1);
      equal(peer!.session.current.phase, 'active');
    }
  });
});
