// SPDX-License-Identifier: Apache-2.0
// Every packet of a handshake once more, from everywhere and in every order.

import { equal, ok } from 'node:assert/strict';
import { wrapClientKey } from '../../../src/core/clientkey.ts';
import { clientKeys, noWrap, tlsAuthKeys, tlsCryptKeys, type WrapKeys } from '../../../src/core/wrap.ts';
import { crypto, type ServerBench, serverBench } from './bench.ts';
import { fakeTls } from './fake-tls.ts';
import { clientHand, converse, pathOf } from './hand.ts';

const STATIC_KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 5 + 1) & 255);
const SERVER_KEY = { cipher: STATIC_KEY.slice(0, 32), hmac: STATIC_KEY.slice(32, 64) };
const OWN_KEY = {
  key: STATIC_KEY.slice().reverse(),
  wrapped: wrapClientKey(crypto, SERVER_KEY, STATIC_KEY.slice().reverse(), new Uint8Array([0])),
};
const sessions = (bench: ServerBench): number => bench.state.peers.size;

describe('core/server: packets of a handshake again', () => {
  /** Every packet a client sent until it was connected. */
  function recorded(wrap: { client: WrapKeys; server: WrapKeys }): { bench: ServerBench; all: Uint8Array[] } {
    const tls = fakeTls({ role: 'server', commonName: 'server' });
    const serverKey = 'wrapped' in wrap.client ? { clientKeys: SERVER_KEY } : {};
    const bench = serverBench(tls, { wrap: wrap.server, ...serverKey });
    const hand = clientHand({ wrap: wrap.client }, bench.now);
    const all: Uint8Array[] = [];
    const flush = hand.flush.bind(hand);
    hand.flush = now => {
      const packets = flush(now);
      all.push(...packets.map(bytes => bytes.slice()));
      return packets;
    };
    converse(bench, hand);
    equal(bench.state.byId.size, 1);
    return { bench, all };
  }

  const wraps = {
    none: { client: noWrap(), server: noWrap() },
    'tls-auth': {
      client: tlsAuthKeys(STATIC_KEY, 1, 'SHA256'),
      server: tlsAuthKeys(STATIC_KEY, 0, 'SHA256'),
    },
    'tls-crypt': { client: tlsCryptKeys(STATIC_KEY, 'client'), server: tlsCryptKeys(STATIC_KEY, 'server') },
    'tls-crypt-v2': { client: clientKeys(OWN_KEY, 'client'), server: noWrap() },
  };
  for (const [name, wrap] of Object.entries(wraps)) {
    it(`${name}: any of them, in any order, from here or elsewhere, changes nothing`, () => {
      const { bench, all } = recorded(wrap);
      ok(all.length >= 4, `${all.length}`);
      const commands = bench.plane.commands.length;
      const [peer] = bench.state.byId.values();
      for (const a of all) {
        for (const b of all) {
          for (const path of [pathOf(), pathOf(9), pathOf(1, 40009)]) {
            for (const bytes of [a, b]) bench.step({ kind: 'datagram', path, bytes });
          }
        }
      }
      equal(bench.plane.commands.length, commands);
      equal(sessions(bench), 1);
      equal(peer!.state, 'connected');
      equal(peer!.session.current.keyId, 0);
    });
  }

  for (const name of ['none', 'tls-crypt-v2'] as const) {
    it(`${name}: in every order, before there is a session: at most that one opens`, () => {
      const { all } = recorded(wraps[name]);
      const orders = (list: readonly number[]): number[][] =>
        list.length === 0
          ? [[]]
          : list.flatMap(one => orders(list.filter(other => other !== one)).map(rest => [one, ...rest]));
      let opened = 0;
      for (const order of orders(all.slice(0, 5).map((_, i) => i))) {
        // The same secret and time as in the recording.
        const keys = name === 'none' ? {} : { clientKeys: SERVER_KEY };
        const bench = serverBench(fakeTls({ role: 'server', commonName: 'server' }), {
          wrap: noWrap(),
          ...keys,
        });
        for (const index of order) bench.step({ kind: 'datagram', path: pathOf(), bytes: all[index]! });
        ok(sessions(bench) <= 1 && bench.state.byId.size <= 1);
        opened += sessions(bench);
      }
      ok(opened > 0);
    });
  }
});
