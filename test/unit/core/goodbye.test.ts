// SPDX-License-Identifier: Apache-2.0
// A client that is thrown out hears so, whatever it is doing: in the middle of a renegotiation, when packets are lost,
// when the server stops. As stock clients do, a hand reads texts on its newest key only.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { CLOSE_DELAY_S } from '../../../src/core/limits.ts';
import { renegotiate } from '../../../src/core/session.ts';
import type { ServerBench } from './bench.ts';
import { alive, converse, type Hand, join, server } from './hand.ts';

const throwOut = (bench: ServerBench) =>
  void bench.step({ kind: 'command', command: 'disconnect', peer: 'alice' });

/** The hand's packets of now reach the server, whose answers are lost. */
function oneWay(bench: ServerBench, hand: Hand): void {
  for (const bytes of hand.flush(bench.now)) bench.step({ kind: 'datagram', path: hand.path, bytes });
  bench.takeSent();
}

/** Time passes in steps of a timer's length, with packets to and fro. */
function go(bench: ServerBench, hand: Hand, ms: number): void {
  for (const end = bench.now + ms; bench.now < end && !bench.isOver; ) {
    bench.pass(100);
    converse(bench, hand);
  }
}

function up(): { bench: ServerBench; hand: Hand } {
  const bench = server();
  const hand = join(bench);
  deepEqual(alive(bench), ['alice']);
  return { bench, hand };
}

const RESTARTS = (hand: Hand) => hand.texts.filter(text => text === 'RESTART').length;

describe('core/server: goodbyes', () => {
  it('in the middle of a renegotiation: at its end', () => {
    for (const who of ['client', 'server'] as const) {
      const { bench, hand } = up();
      if (who === 'client') {
        renegotiate(hand.session, bench.now);
        oneWay(bench, hand);
      } else {
        bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
        bench.takeSent();
      }
      throwOut(bench);
      deepEqual([alive(bench), bench.plane.peers.size], [[], 0]);
      go(bench, hand, 4000);
      equal(RESTARTS(hand), 1, who);
      deepEqual([bench.plane.peers.size, bench.plane.commands.at(-1)?.op], [0, 'delPeer']);
    }
  });

  it('with a renegotiation of the client on its way: on the new key once more', () => {
    const { bench, hand } = up();
    renegotiate(hand.session, bench.now);
    throwOut(bench);
    go(bench, hand, 1000);
    equal(RESTARTS(hand), 1);
  });

  it('while a login is being checked at a renegotiation', () => {
    const bench = server({ login: { users: new Map([['anna', 'a']]) } });
    const hand = join(bench, { username: 'anna', password: 'pw' });
    bench.step({ kind: 'authResult', id: 1 });
    converse(bench, hand);
    renegotiate(hand.session, bench.now);
    converse(bench, hand);
    throwOut(bench);
    go(bench, hand, 100);
    equal(RESTARTS(hand), 1);
    bench.step({ kind: 'authResult', id: 2 });
    deepEqual([alive(bench), bench.plane.peers.size], [[], 0]);
  });

  it('repeated until it arrives, or the delay ends', () => {
    const { bench, hand } = up();
    throwOut(bench);
    let sent = 0;
    bench.pass(3000, () => {
      sent += bench.takeSent().length;
    });
    ok(sent >= 3, String(sent));
    go(bench, hand, 1900);
    equal(RESTARTS(hand), 1);
    bench.takeSent();
    bench.pass(CLOSE_DELAY_S * 1000, () => equal(bench.takeSent().length, 0));
    equal(bench.state.peers.size, 0);
  });

  it('that could be said late only has its time to arrive, too', () => {
    const { bench, hand } = up();
    renegotiate(hand.session, bench.now);
    oneWay(bench, hand);
    throwOut(bench);
    bench.pass(2500, () => void bench.takeSent());
    go(bench, hand, CLOSE_DELAY_S * 1000 - 2600);
    equal(RESTARTS(hand), 1);
    bench.pass(1000);
    equal(bench.state.peers.size, 1);
    bench.pass(CLOSE_DELAY_S * 1000);
    equal(bench.state.peers.size, 0);
  });

  it('nobody stays by renegotiating: after twice the delay it is gone', () => {
    const { bench, hand } = up();
    renegotiate(hand.session, bench.now);
    oneWay(bench, hand);
    throwOut(bench);
    // It hears nothing of ours, to keep the negotiation from its end; then renegotiates again and again.
    bench.pass(CLOSE_DELAY_S * 1000 - 200);
    for (let i = 0; i < 60 && bench.state.peers.size > 0; i++) {
      go(bench, hand, 100);
      renegotiate(hand.session, bench.now);
    }
    equal(bench.state.peers.size, 0);
    ok(RESTARTS(hand) >= 1);
  });

  it('a server that stops waits for it, but no longer than for any other', () => {
    const { bench, hand } = up();
    renegotiate(hand.session, bench.now);
    oneWay(bench, hand);
    bench.step({ kind: 'shutdown' });
    equal(bench.isOver, false);
    go(bench, hand, 900);
    equal(RESTARTS(hand), 1);
    ok(bench.isOver);
    // All of ours is acknowledged, and the client's next packet is on its way.
    const slow = up();
    slow.bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
    for (const { bytes } of slow.bench.takeSent()) slow.hand.receive(bytes, slow.bench.now);
    const [reset, ...rest] = slow.hand.flush(slow.bench.now);
    slow.bench.step({ kind: 'datagram', path: slow.hand.path, bytes: reset! });
    for (const { bytes } of slow.bench.takeSent()) slow.hand.receive(bytes, slow.bench.now);
    rest.push(...slow.hand.flush(slow.bench.now));
    slow.bench.step({ kind: 'shutdown' });
    equal(slow.bench.isOver, false);
    for (const bytes of rest) slow.bench.step({ kind: 'datagram', path: slow.hand.path, bytes });
    go(slow.bench, slow.hand, 900);
    equal(RESTARTS(slow.hand), 1);
    const deaf = up();
    renegotiate(deaf.hand.session, deaf.bench.now);
    oneWay(deaf.bench, deaf.hand);
    deaf.bench.step({ kind: 'shutdown' });
    deaf.bench.pass(1000);
    ok(deaf.bench.isOver);
  });
});
