// SPDX-License-Identifier: Apache-2.0
// session-timeout and inactive of a server: when a connection ends by them, what is said, and what comes next.

import { deepEqual, equal, match } from 'node:assert/strict';
import { isOccExit } from '../../../src/core/options.ts';
import { parsePush } from '../../../src/core/pushreply.ts';
import { beginLimits, limitsDeadline } from '../../../src/core/sessionlimits.ts';
import type { ClientBench } from './bench.ts';
import { client, connected, converse, type Hand, PUSH } from './hand.ts';

const NO_CC_EXIT = PUSH.replace('cc-exit ', '');

/** Lets time pass up to a moment before and to it; the connection must end exactly then. */
function endsAt(bench: ClientBench, hand: Hand, ms: number): void {
  bench.pass(ms - 1, () => converse(bench, hand));
  equal(bench.state.phase, 'connected');
  bench.pass(1, () => converse(bench, hand));
  equal(bench.state.phase, 'waiting');
}

/** Answers the questions for traffic since the last call; how many there were. */
function answer(bench: ClientBench, bytes: number, peerId = 5): number {
  const asked = bench.others.splice(0).filter(({ kind }) => kind === 'askTraffic');
  for (const _ of asked) bench.step({ kind: 'traffic', peerId, bytes });
  return asked.length;
}

describe('core/session limits: session-timeout', () => {
  it('ends the connection with EXIT, and a new one begins with a new limit', () => {
    const bench = client();
    const hand = connected(bench, `${PUSH},session-timeout 3`);
    endsAt(bench, hand, 3000);
    match(bench.lastText(), /: session-timeout of the server, 3 s; next attempt in 1 s$/);
    equal(bench.notices.at(-1)?.level, 'info');
    deepEqual(bench.actions(), ['connected', 'disconnected']);
    converse(bench, hand);
    deepEqual(hand.texts, ['EXIT']);
    equal(bench.plane.peers.size, 0);
    bench.pass(2000);
    endsAt(bench, connected(bench, `${PUSH},session-timeout 5`), 5000);
    bench.pass(2000);
    connected(bench);
    equal(bench.state.limits && limitsDeadline(bench.state.limits), undefined);
  });

  it('says it in a data packet to a server without cc-exit, before the plane forgets it', () => {
    const bench = client();
    endsAt(bench, connected(bench, `${NO_CC_EXIT},session-timeout 3`), 3000);
    equal(isOccExit(bench.plane.inner[0]!), true);
    deepEqual(
      bench.plane.commands.slice(-2).map(({ op }) => op),
      ['sendInner', 'delPeer'],
    );
  });

  it('is silent where explicit_exit_notify is 0', () => {
    const bench = client({ explicitExitNotify: false });
    const hand = connected(bench, `${PUSH},session-timeout 3`);
    endsAt(bench, hand, 3000);
    converse(bench, hand);
    deepEqual([hand.texts, bench.plane.inner], [[], []]);
  });

  it('0 is none, and no number is too large', () => {
    const limits = (option: string) => beginLimits(parsePush([option]), 7);
    equal(limitsDeadline(limits('session-timeout 0')), undefined);
    equal(limitsDeadline(limits('inactive 0 5')), undefined);
    equal(limitsDeadline(limits('session-timeout 2592000')), 7 + 2_592_000_000);
    equal(limitsDeadline(limits(`session-timeout ${'9'.repeat(10)}`)), 7 + 0x7fffffff * 1000);
    equal(limitsDeadline(limits('inactive 2592000')), 7 + 2_592_000_000);
  });
});

describe('core/session limits: inactive', () => {
  it('looks every so many seconds and goes on while enough has passed since', () => {
    const bench = client();
    const hand = connected(bench, `${PUSH},inactive 600 1000`);
    const rounds = [1000, 2000, 9000];
    for (const bytes of rounds) {
      bench.pass(600_000, () => converse(bench, hand));
      equal(answer(bench, bytes), 1);
      equal(bench.state.phase, 'connected');
    }
    bench.pass(600_000, () => converse(bench, hand));
    equal(answer(bench, 9999), 1);
    equal(bench.state.phase, 'waiting');
    match(bench.lastText(), /: inactive: 999 bytes in 600 s; next attempt in 1 s$/);
  });

  it('without a number of bytes any packet counts', () => {
    const bench = client();
    const hand = connected(bench, `${PUSH},inactive 60`);
    bench.pass(60_000, () => converse(bench, hand));
    answer(bench, 20);
    equal(bench.state.phase, 'connected');
    bench.pass(60_000, () => converse(bench, hand));
    answer(bench, 20);
    match(bench.lastText(), /: inactive: 0 bytes in 60 s/);
  });

  it('an answer for another peer, or after the end, is nothing', () => {
    const bench = client();
    const hand = connected(bench, `${PUSH},inactive 60`);
    bench.pass(60_000, () => converse(bench, hand));
    answer(bench, 0, 6);
    equal(bench.state.phase, 'connected');
    bench.step({ kind: 'shutdown' });
    bench.step({ kind: 'traffic', peerId: 5, bytes: 0 });
    equal(bench.state.phase, 'leaving');
  });

  it('nothing is asked where nothing was pushed', () => {
    const bench = client();
    const hand = connected(bench);
    bench.pass(4_000_000, () => converse(bench, hand));
    equal(answer(bench, 0), 0);
  });
});
