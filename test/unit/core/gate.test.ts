// SPDX-License-Identifier: Apache-2.0
// Floods at a server's door: what one source can use up, and that others still get in.

import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Path } from '../../../src/core/address.ts';
import { wrapClientKey } from '../../../src/core/clientkey.ts';
import { halfSipHash } from '../../../src/core/halfsiphash.ts';
import { clientKeys, createWrap, noWrap, tlsCryptKeys, type WrapKeys } from '../../../src/core/wrap.ts';
import { crypto, ip, type ServerBench } from './bench.ts';
import { alive, clientHand, join, pathOf, server } from './hand.ts';

const KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 5 + 1) & 255);
const SERVER_KEY = { cipher: KEY.slice(0, 32), hmac: KEY.slice(32, 64) };
const OWN = clientKeys(
  { key: KEY, wrapped: wrapClientKey(crypto, SERVER_KEY, KEY, new Uint8Array([0])) },
  'client',
);

/** A hard reset; returns how many answers came. */
function knock(bench: ServerBench, path: Path, wrap: WrapKeys = noWrap()): number {
  const hand = clientHand({ wrap, path }, bench.now);
  bench.step({ kind: 'datagram', path, bytes: hand.flush(bench.now)[0]! });
  return bench.takeSent().length;
}

/** A handshake that goes as far as a session and no further. */
function halfOpen(bench: ServerBench, path: Path): boolean {
  const before = bench.state.peers.size;
  const hand = clientHand({ path }, bench.now);
  bench.step({ kind: 'datagram', path, bytes: hand.flush(bench.now)[0]! });
  for (const { bytes } of bench.takeSent()) hand.receive(bytes, bench.now);
  for (const bytes of hand.flush(bench.now)) bench.step({ kind: 'datagram', path, bytes });
  bench.takeSent();
  return bench.state.peers.size > before;
}

const six = (text: string, port: number): Path => ({ socket: 1, remote: { ip: ip(text), port } });

describe('core/gate: answers', () => {
  it('20 in 10 s to one address or one /56, whatever its ports; others are answered', () => {
    for (const [mine, near, far] of [
      [(i: number) => pathOf(1, 1024 + i), pathOf(1, 9), pathOf(2, 9)],
      [
        (i: number) => six(`2001:db8:0:12${10 + (i % 80)}::${i + 1}`, 5),
        six('2001:db8:0:12ff:1::1', 5),
        six('2001:db8:0:1300::1', 5),
      ],
    ] as const) {
      const bench = server();
      let answers = 0;
      for (let i = 0; i < 1000; i++) answers += knock(bench, mine(i));
      equal(answers, 20);
      equal(bench.state.drops['source-limit'], 980);
      equal(bench.state.drops['rate-limit'], 0);
      equal(knock(bench, near), 0);
      equal(knock(bench, far), 1);
      bench.now += 10_000;
      equal(knock(bench, near), 1);
    }
  });

  it('those of one kind use up nothing of another', () => {
    const bench = server({ wrap: tlsCryptKeys(KEY, 'server'), clientKeys: SERVER_KEY });
    let answers = 0;
    for (let i = 0; i < 200; i++) answers += knock(bench, pathOf(1 + i), tlsCryptKeys(KEY, 'client'));
    equal(answers, 100);
    equal(knock(bench, pathOf(1), OWN), 1, 'a key of its own');
    for (let i = 0; i < 200; i++) answers += knock(bench, pathOf(1 + i));
    equal(answers, 100, 'without a key there is no answer at all');
    equal(knock(bench, pathOf(201), OWN), 1);
  });

  it('nothing is kept of a source but its place in a table', () => {
    const bench = server();
    for (let i = 0; i < 5000; i++) knock(bench, pathOf(1 + (i % 250), 1024 + i));
    equal(bench.state.peers.size, 0);
    equal(bench.state.gate.halfOpen.size, 0);
    equal(bench.state.gate.budgets.none.sources.length, 1024);
    equal(bench.timerAt, undefined);
  });

  it('the sessions of old tls-crypt-v2 clients, which show no cookie, count as answers', () => {
    const bench = server({ clientKeys: SERVER_KEY });
    let sessions = 0;
    for (let i = 0; i < 40; i++) {
      const hand = clientHand({ wrap: OWN, path: pathOf(1, 1024 + i) }, bench.now);
      // Its replay ids say that it knows no early negotiation.
      Object.assign(hand.session, { wrap: createWrap(OWN, crypto, 1_700_000_000) });
      const bytes = hand.flush(bench.now)[0]!;
      bench.step({ kind: 'datagram', path: hand.path, bytes });
      sessions = bench.state.peers.size;
    }
    equal(sessions, 20);
    equal(bench.state.drops['source-limit'], 20);
  });
});

describe('core/gate: half-open sessions', () => {
  it('32 for one source; newcomers from elsewhere get in, also while all places are taken', () => {
    const bench = server();
    let opened = 0;
    for (let i = 0; i < 300; i++) opened += Number(halfOpen(bench, pathOf(1, 1024 + i)));
    equal(opened, 32);
    equal(bench.state.drops['source-limit'], 268);
    join(bench, { path: pathOf(2), commonName: 'alice' });
    deepEqual(alive(bench), ['alice']);
  });

  it('when all places are taken the greediest source gives up its oldest, after a grace', () => {
    const bench = server({ maxClients: 500 });
    for (let host = 1; host <= 8; host++) {
      for (let i = 0; i < 32; i++) halfOpen(bench, pathOf(host, 1024 + i));
    }
    equal(bench.state.peers.size, 256);
    join(bench, { path: pathOf(100), commonName: 'alice' });
    deepEqual(alive(bench), [], 'an honest handshake may take a while');
    equal(bench.state.drops['rate-limit'] > 0, true);
    bench.pass(5000);
    const first = [...bench.state.gate.halfOpen][0]!;
    join(bench, { path: pathOf(101), commonName: 'bob' });
    deepEqual(alive(bench), ['bob']);
    ok(!bench.state.gate.halfOpen.has(first));
    equal(bench.state.peers.size, 256);
  });

  it('whoever has shown a certificate keeps its place', () => {
    const bench = server({ maxClients: 1 });
    join(bench, { path: pathOf(1), commonName: 'alice' });
    join(bench, { path: pathOf(2), commonName: 'bob' });
    deepEqual(alive(bench), ['alice']);
    const bob = [...bench.state.gate.halfOpen].find(peer => peer.commonName === 'bob')!;
    for (let i = 0; i < 255; i++) halfOpen(bench, pathOf(3 + (i % 200), 2000 + i));
    bench.pass(4999);
    halfOpen(bench, pathOf(250, 1));
    ok(bench.state.gate.halfOpen.has(bob));
    deepEqual(alive(bench), ['alice']);
  });

  it('places are free again when the handshakes have ended', () => {
    const bench = server();
    for (let i = 0; i < 40; i++) halfOpen(bench, pathOf(1, 1024 + i));
    bench.pass(65_100);
    equal(bench.state.peers.size, 0);
    equal(bench.state.gate.halfOpen.size, 0);
    ok(halfOpen(bench, pathOf(1, 5000)));
  });
});

describe('core/gate: the log', () => {
  it('a few failed handshakes get a line each, the others one line in 10 s', () => {
    const bench = server();
    for (let host = 1; host <= 5; host++) {
      for (let i = 0; i < 10; i++) halfOpen(bench, pathOf(host, 1024 + i));
    }
    bench.pass(60_000);
    const refused = bench.notices.filter(notice => notice.action === 'refused');
    equal(refused.length, 5);
    bench.pass(10_000);
    deepEqual(
      bench.texts().filter(text => text.includes('more handshakes')),
      ['45 more handshakes came to nothing'],
    );
    equal(bench.timerAt, undefined);
  });

  it('who has a certificate is always named', () => {
    const bench = server({ maxClients: 1 });
    for (let i = 0; i < 20; i++) join(bench, { path: pathOf(1 + i), commonName: `c${i}` });
    equal(bench.actions().filter(action => action === 'refused').length, 19);
  });
});

describe('core/gate: half SipHash', () => {
  it('known answers of its authors', () => {
    const key = Uint8Array.from({ length: 8 }, (_, i) => i);
    const expected = ['a9359f5b', '27475ab8', 'fa62a603', '8afee704'];
    for (const [length, hex] of expected.entries()) {
      const hash = halfSipHash(
        key,
        Uint8Array.from({ length }, (_, i) => i),
      );
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(hash);
      equal(bytes.toString('hex'), hex);
    }
  });

  it('differs with key and input', () => {
    const hashes = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const key = Uint8Array.of(i, 0, 0, 0, 0, 0, 0, 1);
      hashes.add(halfSipHash(key, Uint8Array.of(1, 2, 3, 4)));
      hashes.add(halfSipHash(KEY.slice(0, 8), Uint8Array.of(1, 2, 3, i, 5, 6, 7)));
    }
    equal(hashes.size, 400);
  });
});
