// SPDX-License-Identifier: Apache-2.0
// Logins of a server's clients: asked, answered late, twice or never; tokens; and what a reload does to both.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { TOKEN_LIFETIME_S } from '../../../src/core/authtoken.ts';
import type { Effect, LoginRefusal } from '../../../src/core/event.ts';
import { AUTH_WAITING_MAX } from '../../../src/core/limits.ts';
import type { ServerBench } from './bench.ts';
import { serverOptions } from './bench.ts';
import {
  alive,
  converse,
  type Hand,
  type HandOptions,
  join,
  PROTO_ALL,
  pathOf,
  peerInfo,
  rekey,
  say,
  server,
} from './hand.ts';

type Asked = Extract<Effect, { kind: 'askAuth' }>;
const users = (stamps: Record<string, string>) => ({ users: new Map(Object.entries(stamps)) });
const LOGIN = users({ anna: 'a', bob: 'b' });
const KNOWS_TEMP = peerInfo(PROTO_ALL + 256);

const asked = (bench: ServerBench): Asked[] =>
  bench.others.filter((effect): effect is Asked => effect.kind === 'askAuth');

function come(bench: ServerBench, more: HandOptions = {}): Hand {
  return join(bench, { username: 'anna', password: 'pw', peerInfo: KNOWS_TEMP, ...more });
}

/** Answers the newest question. */
function answer(bench: ServerBench, refused?: LoginRefusal, ...hands: Hand[]): void {
  const { id } = asked(bench).at(-1)!;
  bench.step({ kind: 'authResult', id, ...(refused && { refused }) });
  converse(bench, ...hands);
}

function enter(bench: ServerBench, more: HandOptions = {}): Hand {
  const hand = come(bench, more);
  answer(bench, undefined, hand);
  return hand;
}

const tokenOf = (hand: Hand): string => /auth-token (SESS_ID_AT_[^,]*)/.exec(hand.texts.join())?.[1] ?? '';

function change(bench: ServerBench, login: ReturnType<typeof users> | object | undefined): void {
  const options = serverOptions(login && { login });
  bench.step({ kind: 'configChange', role: 'server', options, peers: new Set(), reverify: false });
}

describe('core/login: the question', () => {
  it('until it is answered the client hears nothing, however often it asks; then it is let in, once', () => {
    const bench = server({ login: LOGIN });
    const hand = come(bench);
    deepEqual(
      asked(bench).map(({ username, password, ip }) => [username, password, [...ip].join('.')]),
      [['anna', 'pw', '198.51.100.1']],
    );
    bench.pass(3000, () => converse(bench, hand));
    say(bench, hand, 'PUSH_REQUEST');
    deepEqual([hand.texts, bench.plane.commands, alive(bench)], [[], [], []]);
    deepEqual(hand.kinds().includes('keyMethod'), false);
    answer(bench, undefined, hand);
    deepEqual(alive(bench), ['alice']);
    match(hand.texts.join(), /^PUSH_REPLY,.*ifconfig.*auth-token SESS_ID_AT_/);
    const before = bench.plane.commands.length;
    answer(bench, { reason: 'second thoughts' }, hand);
    answer(bench, undefined, hand);
    deepEqual([alive(bench), bench.plane.commands.length], [['alice'], before]);
  });

  it('refused: it hears what it may know, and no more', () => {
    const cases: [LoginRefusal, string, string][] = [
      [{ reason: 'wrong' }, KNOWS_TEMP, 'AUTH_FAILED'],
      [{ reason: 'wrong', words: 'see the office' }, KNOWS_TEMP, 'AUTH_FAILED,see the office'],
      [{ reason: 'x', words: 'locked', retryS: 60 }, KNOWS_TEMP, 'AUTH_FAILED,TEMP[backoff 60]:locked'],
      // Who does not know TEMP would take it for good, and hears nothing.
      [{ reason: 'x', words: 'locked', retryS: 60 }, peerInfo(PROTO_ALL), ''],
    ];
    for (const [refused, info, text] of cases) {
      const bench = server({ login: LOGIN });
      const hand = come(bench, { peerInfo: info });
      answer(bench, refused, hand);
      bench.pass(1000, () => converse(bench, hand));
      deepEqual([hand.texts.join('|'), alive(bench), bench.plane.commands], [text, [], []]);
      match(bench.lastText(), new RegExp(`refused: ${refused.reason}$`));
    }
  });

  it('without a user name there is none', () => {
    for (const more of [{ username: '' }, { username: '', password: '' }]) {
      const bench = server({ login: LOGIN });
      const hand = come(bench, more);
      deepEqual([asked(bench), hand.texts], [[], ['AUTH_FAILED']]);
      match(bench.lastText(), /sent no user name/);
    }
  });

  it('an answer nobody waits for changes nothing: unknown, after its end, for the key before', () => {
    const bench = server({ login: LOGIN, handWindowS: 10 });
    bench.step({ kind: 'authResult', id: 77 });
    const late = come(bench);
    bench.pass(11_000, () => converse(bench, late));
    match(bench.lastText(), /not finished/);
    answer(bench, undefined, late);
    deepEqual([alive(bench), bench.plane.commands, late.texts], [[], [], []]);
    bench.pass(6000);
    equal(bench.state.logins.size, 0);
    answer(bench, undefined, late);
    deepEqual(alive(bench), []);
  });

  it('from one socket a second time: each answer is for its own session', () => {
    const bench = server({ login: LOGIN });
    const first = come(bench);
    const [{ id }] = asked(bench) as [Asked];
    const second = come(bench);
    answer(bench, undefined, first, second);
    deepEqual([alive(bench), first.texts, second.texts.length], [['alice'], [], 1]);
    bench.step({ kind: 'authResult', id, refused: { reason: 'no' } });
    converse(bench, first, second);
    deepEqual([alive(bench), first.texts, second.texts.length], [['alice'], ['AUTH_FAILED'], 1]);
  });

  it('only so many wait; who comes then is asked to come again', () => {
    const bench = server({ login: LOGIN, maxClients: 200 });
    for (let i = 0; i < AUTH_WAITING_MAX; i++) come(bench, { path: pathOf(1 + (i % 8), 41000 + i) });
    equal(bench.state.logins.size, AUTH_WAITING_MAX);
    const hand = come(bench, { path: pathOf(9) });
    deepEqual(hand.texts, ['AUTH_FAILED,TEMP[backoff 5]:busy']);
    equal(bench.state.logins.size, AUTH_WAITING_MAX);
  });
});

describe('core/login: what stays in memory', () => {
  it('of a connected client neither its password nor what keys were made of', () => {
    const bench = server({ login: LOGIN });
    const hand = enter(bench, { password: 'correct horse', peerInfo: peerInfo(PROTO_ALL - 8) });
    const kept = (): string => {
      const { source, remoteSource, remote } = bench.state.byId.get(0)!.session.current;
      deepEqual([source, remoteSource], [undefined, undefined]);
      return JSON.stringify(remote);
    };
    deepEqual([kept().includes('correct horse'), kept().includes('anna')], [false, true]);
    rekey(bench, hand);
    answer(bench, undefined, hand);
    deepEqual([hand.session.current.keyId, hand.session.current.phase], [1, 'active']);
    deepEqual([kept().includes('correct horse'), kept().includes('anna')], [false, true]);
  });
});

describe('core/login: renegotiations', () => {
  it('with the password it is asked anew; the new key waits for the answer, the old one goes on', () => {
    const bench = server({ login: LOGIN });
    const hand = enter(bench);
    rekey(bench, hand);
    equal(asked(bench).length, 2);
    equal(bench.plane.keys(), '0/-');
    answer(bench, undefined, hand);
    equal(bench.plane.keys(), '0/1');
    rekey(bench, hand);
    answer(bench, { reason: 'no longer' }, hand);
    deepEqual([alive(bench), hand.texts.at(-1)], [[], 'AUTH_FAILED']);
  });

  it('with the token it is not', () => {
    const bench = server({ login: LOGIN });
    const hand = enter(bench);
    hand.session.token = tokenOf(hand);
    Object.assign(bench.state.deps, { wallS: () => 1_700_000_000 + 2 * TOKEN_LIFETIME_S });
    rekey(bench, hand);
    deepEqual([asked(bench).length, bench.plane.keys(), alive(bench)], [1, '0/1', ['alice']]);
  });

  it('nobody becomes somebody else', () => {
    const bench = server({ login: LOGIN });
    const hand = enter(bench);
    Object.assign(hand.session.options.introduce, { username: 'bob' });
    rekey(bench, hand);
    deepEqual([alive(bench), hand.texts.at(-1), asked(bench).length], [[], 'AUTH_FAILED', 1]);
    match(bench.lastText(), /user name changed/);
  });
});

describe('core/login: tokens', () => {
  /** What the server says to a new session with this in place of the password. */
  function show(bench: ServerBench, password: string, username = 'anna'): string {
    const before = asked(bench).length;
    const hand = come(bench, { username, password, path: pathOf(2) });
    equal(asked(bench).length, before, 'never tried as a password');
    return hand.texts.join();
  }

  it('let their user in again for a day', () => {
    const bench = server({ login: LOGIN });
    const token = tokenOf(enter(bench));
    match(show(bench, token), new RegExp(`^PUSH_REPLY.*${token.replaceAll(/[+/]/g, '\\$&')}`));
    equal(show(bench, token, 'bob'), 'AUTH_FAILED');
    equal(show(bench, token.replace(/....$/, 'AAAA')), 'AUTH_FAILED');
    // It would be pushed as it came.
    for (const other of [`${token}\n`, `${token} `, token.replace(/.{40}$/, '\n$&'), `${token}=`])
      equal(show(bench, other), 'AUTH_FAILED', JSON.stringify(other));
    equal(show(bench, 'SESS_ID_AT_'), 'AUTH_FAILED');
    Object.assign(bench.state.deps, { wallS: () => 1_700_000_000 + TOKEN_LIFETIME_S });
    equal(show(bench, token), 'AUTH_FAILED,SESSION: token expired');
  });

  it('who stays gets another one at a renegotiation, half a life later, and another when it comes again', () => {
    const bench = server({ login: LOGIN });
    let wall = 1_700_000_000;
    Object.assign(bench.state.deps, { wallS: () => wall });
    const hand = enter(bench);
    const first = tokenOf(hand);
    hand.session.token = first;
    rekey(bench, hand);
    equal(hand.texts.length, 1);
    wall += TOKEN_LIFETIME_S / 2;
    rekey(bench, hand);
    const [, reply = ''] = hand.texts;
    const second = /^PUSH_REPLY,auth-token (SESS_ID_AT_[^,]*)$/.exec(reply)?.[1] ?? '';
    ok(second.length === 91 && second !== first, reply);
    wall += TOKEN_LIFETIME_S - 1;
    equal(show(bench, first), 'AUTH_FAILED,SESSION: token expired');
    match(show(bench, second), /^PUSH_REPLY,.*auth-token/);
    const third = [...bench.state.byId.values()][0]!.token!;
    ok(third !== second);
    wall += TOKEN_LIFETIME_S - 1;
    match(show(bench, third), /^PUSH_REPLY/);
  });

  it('end with what their user logs in with, and with the user', () => {
    for (const after of [{ anna: 'other', bob: 'b' }, { bob: 'b' }]) {
      const bench = server({ login: LOGIN });
      const token = tokenOf(enter(bench));
      change(bench, users(after));
      equal(show(bench, token), 'AUTH_FAILED', JSON.stringify(after));
    }
    const bench = server({ login: LOGIN });
    const token = tokenOf(enter(bench));
    change(bench, users({ anna: 'a', bob: 'other' }));
    match(show(bench, token), /^PUSH_REPLY/);
  });

  it('of a service that is asked: nobody else knows the users', () => {
    const bench = server({ login: {} });
    const token = tokenOf(enter(bench));
    match(show(bench, token), /^PUSH_REPLY/);
    change(bench, LOGIN);
    equal(show(bench, token), 'AUTH_FAILED');
  });
});

describe('core/login: new options', () => {
  function two(): { bench: ServerBench; anna: Hand; bob: Hand } {
    const bench = server({ login: LOGIN });
    const anna = enter(bench, { commonName: 'a' });
    const bob = enter(bench, { commonName: 'b', username: 'bob', path: pathOf(2) });
    return { bench, anna, bob };
  }

  it('whose password changed logs in anew, whose did not hears nothing', () => {
    const { bench, anna, bob } = two();
    change(bench, users({ anna: 'other', bob: 'b' }));
    converse(bench, anna, bob);
    deepEqual([alive(bench), anna.texts.at(-1), bob.texts.length], [['b'], 'AUTH_FAILED', 1]);
    match(bench.lastText(), /a .*disconnected: what user 'anna' logs in with changed/);
  });

  it('who may not any more is out', () => {
    const { bench, anna, bob } = two();
    change(bench, users({ bob: 'b', carol: 'a' }));
    converse(bench, anna, bob);
    deepEqual([alive(bench), anna.texts.at(-1)], [['b'], 'AUTH_FAILED']);
    match(bench.lastText(), /user 'anna' may not log in any more/);
  });

  it('another way to check users ends what the old one let in; no check at all ends nothing', () => {
    const { bench } = two();
    change(bench, undefined);
    deepEqual(alive(bench), ['a', 'b']);
    change(bench, {});
    deepEqual(alive(bench), []);
  });

  it('who came before there were logins has one from its next renegotiation on', () => {
    const bench = server();
    const hand = come(bench);
    deepEqual(alive(bench), ['alice']);
    change(bench, LOGIN);
    rekey(bench, hand);
    answer(bench, undefined, hand);
    change(bench, LOGIN);
    deepEqual(alive(bench), ['alice']);
    change(bench, users({ anna: 'other' }));
    deepEqual(alive(bench), []);
  });

  it('an answer to a question from before them is worth nothing when the user is another', () => {
    for (const [after, count] of [
      [LOGIN, 1],
      [users({ anna: 'other' }), 0],
      [users({ bob: 'b' }), 0],
    ] as const) {
      const bench = server({ login: LOGIN });
      const hand = come(bench);
      change(bench, after);
      answer(bench, undefined, hand);
      equal(alive(bench).length, count);
      ok(count > 0 || hand.texts.join() === 'AUTH_FAILED');
    }
  });
});
