// SPDX-License-Identifier: Apache-2.0
// A client from its server's first answer to the end of the connection. Whom it tries is in attempt.test.ts, what it
// makes of a push reply in pull.test.ts.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { introduce, sendText } from '../../../src/core/session.ts';
import { type ClientBench, ip, T0 } from './bench.ts';
import { client, connected, converse, type Hand, negotiated, PUSH, rekey, say, serve } from './hand.ts';

const ops = (bench: ClientBench): string[] => bench.plane.commands.map(command => command.op);
const phase = (bench: ClientBench) => bench.state.phase;
const requests = (hand: Hand): number => hand.texts.filter(text => text === 'PUSH_REQUEST').length;

describe('core/client: the push reply', () => {
  it('asked for after 1 s, then every 5 s', () => {
    const bench = client();
    const hand = negotiated(bench);
    const times: number[] = [];
    const start = bench.now;
    bench.pass(22_000, () => {
      const before = requests(hand);
      converse(bench, hand);
      if (requests(hand) > before) times.push(bench.now - start);
    });
    deepEqual(times, [1000, 6000, 11_000, 16_000, 21_000]);
    say(bench, hand, PUSH);
    equal(phase(bench), 'connected');
    bench.pass(20_000, () => converse(bench, hand));
    equal(requests(hand), 5);
  });

  it('may come before it is asked for, and in the burst with the key method message', () => {
    const bench = client();
    const hand = serve(bench);
    hand.isMute = true;
    converse(bench, hand);
    // One packet: key method message and push reply, before anything of ours is acknowledged.
    introduce(hand.session, hand.session.current);
    sendText(hand.session, PUSH);
    converse(bench, hand);
    equal(phase(bench), 'connected');
    bench.pass(3000, () => converse(bench, hand));
    equal(requests(hand), 0);
    deepEqual(ops(bench), ['addPeer', 'addKey']);
  });

  it('in parts: nothing before the last', () => {
    const bench = client();
    const hand = negotiated(bench);
    const [a, b] = ['PUSH_REPLY,topology subnet,push-continuation 2', `${PUSH},push-continuation 1`];
    say(bench, hand, a!);
    deepEqual(ops(bench), []);
    say(bench, hand, b!);
    deepEqual(ops(bench), ['addPeer', 'addKey']);
    equal(phase(bench), 'connected');
  });

  it('a second one on a running connection changes nothing', () => {
    const bench = client();
    const hand = connected(bench);
    say(bench, hand, PUSH.replace('10.8.0.2', '10.8.0.9'));
    say(bench, hand, 'PUSH_REPLY,compress lzo');
    deepEqual(ops(bench), ['addPeer', 'addKey']);
    equal(bench.networks.length, 1);
    equal(phase(bench), 'connected');
  });

  it('half a reply of one connection is not continued in the next', () => {
    const bench = client();
    say(bench, negotiated(bench), 'PUSH_REPLY,route 10.66.0.0 255.255.0.0,push-continuation 2');
    bench.step({ kind: 'command', command: 'disconnect' });
    bench.pass(2000);
    connected(bench);
    deepEqual(bench.networks.at(-1)!.routes, []);
  });

  it('none within the hand window: another attempt', () => {
    const bench = client({ handWindowS: 20 });
    const hand = negotiated(bench);
    bench.pass(19_999, () => converse(bench, hand));
    equal(phase(bench), 'negotiating');
    bench.pass(1);
    match(bench.lastText(), /the server sent no push reply; next attempt/);
  });

  it('AUTH_PENDING moves the deadline, to later and to sooner', () => {
    for (const [text, seconds] of [
      ['AUTH_PENDING,timeout 300', 300],
      ['AUTH_PENDING', 60],
      ['AUTH_PENDING,timeout 7', 7],
    ] as const) {
      const bench = client();
      const hand = negotiated(bench);
      say(bench, hand, text);
      bench.pass(seconds * 1000 - 1, () => converse(bench, hand));
      equal(phase(bench), 'negotiating', text);
      bench.pass(1);
      equal(phase(bench), 'waiting', text);
    }
  });

  it('AUTH_PENDING in the burst with the key method message counts, too', () => {
    const bench = client();
    const hand = serve(bench);
    hand.isMute = true;
    converse(bench, hand);
    introduce(hand.session, hand.session.current);
    sendText(hand.session, 'AUTH_PENDING,timeout 300');
    converse(bench, hand);
    bench.pass(299_000, () => converse(bench, hand));
    equal(phase(bench), 'negotiating');
    say(bench, hand, PUSH);
    equal(phase(bench), 'connected');
    say(bench, hand, 'AUTH_PENDING,timeout 1');
    bench.pass(10_000);
    equal(phase(bench), 'connected', 'later it means nothing');
  });
});

describe('core/client: what a server says', () => {
  const ends: [string, RegExp, number][] = [
    ['AUTH_FAILED,no', /authentication failed: no; next attempt in 60 s$/, 60_000],
    ['AUTH_FAILED,TEMP[backoff 17]:full', /refuses for the moment: full; next attempt in 17 s$/, 17_000],
    ['RESTART', /the server restarts; next attempt in [12] s$/, 1000],
    ['HALT,bye', /\(HALT: bye\); next attempt in 60 s$/, 60_000],
    ['EXIT', /the server left; next attempt in [12] s$/, 1000],
  ];
  for (const [text, log, leastMs] of ends) {
    it(`${text}, while negotiating and while connected`, () => {
      for (const make of [negotiated, connected]) {
        const bench = client();
        const hand = make(bench);
        const { now } = bench;
        say(bench, hand, text);
        match(bench.lastText(), log);
        equal(phase(bench), 'waiting');
        ok(bench.timerAt! - now >= leastMs && bench.timerAt! - now <= leastMs * 1.25);
        equal(bench.plane.peers.size, 0);
        equal(bench.tls.living(), 0);
        deepEqual(bench.actions(), make === connected ? ['connected', 'disconnected'] : []);
        ok(hand.session.current.reliable.outgoing.length === 0, 'the server knows that it arrived');
      }
    });
  }

  it('anything else is noted and changes nothing', () => {
    const bench = client();
    const hand = connected(bench);
    for (const text of [
      'INFO,hello',
      'INFO_PRE,WEB_AUTH::https://x',

      'PUSH_REQUEST',
    ]) {
      say(bench, hand, text);
      equal(bench.notices.at(-1)!.level, 'debug');
    }
    equal(phase(bench), 'connected');
  });

  it('two texts at once: nothing of an ended connection is acted on', () => {
    const bench = client();
    const hand = connected(bench);
    hand.session.current.tls.write(new Uint8Array(Buffer.from('EXIT\0RESTART,[N]\0AUTH_FAILED\0')));
    converse(bench, hand);
    match(bench.lastText(), /the server left/);
    deepEqual(bench.actions(), ['connected', 'disconnected']);
  });

  it('an options string of tap or compression ends it', () => {
    for (const [occ, reason] of [
      ['V4,dev-type tap', /the server uses tap/],
      ['V4,dev-type tun,comp-lzo', /the server uses compression framing/],
    ] as const) {
      const bench = client();
      converse(bench, serve(bench, { occ }));
      match(bench.lastText(), reason);
      ok(bench.timerAt! - T0 >= 60_000);
    }
  });

  it("packets from another address, port or socket are nobody's", () => {
    const bench = client();
    const hand = connected(bench);
    sendText(hand.session, 'EXIT');
    const [bytes] = hand.flush(bench.now);
    for (const path of [
      { socket: 7, remote: { ip: ip('192.0.2.2'), port: 1194 } },
      { socket: 7, remote: { ip: ip('192.0.2.1'), port: 1195 } },
      { socket: 8, remote: { ip: ip('192.0.2.1'), port: 1194 } },
      { socket: 7, remote: { ip: ip('fe80::1'), port: 1194, scope: 2 } },
    ]) {
      bench.step({ kind: 'datagram', path, bytes: bytes! });
    }
    equal(bench.state.drops['no-instance'], 4);
    equal(phase(bench), 'connected');
    bench.step({ kind: 'datagram', path: hand.path, bytes: bytes! });
    equal(phase(bench), 'waiting');
    bench.step({ kind: 'datagram', path: hand.path, bytes: bytes! });
    equal(bench.state.drops['no-instance'], 5);
  });
});

describe('core/client: renegotiation', () => {
  it('by the clock, by the server, by command; never pushed again', () => {
    const bench = client({ renegS: 1000 });
    const hand = connected(bench);
    bench.pass(999_999, () => converse(bench, hand));
    equal(bench.plane.keys(5), '0/-');
    bench.pass(1, () => converse(bench, hand));
    equal(bench.plane.keys(5), '0/1');
    rekey(bench, hand);
    equal(bench.plane.keys(5), '1/2');
    bench.step({ kind: 'command', command: 'renegotiate' });
    converse(bench, hand);
    equal(bench.plane.keys(5), '2/3');
    bench.pass(4000, () => converse(bench, hand));
    equal(requests(hand), 0);
    equal(phase(bench), 'connected');
    equal(bench.tls.living(), 1);
  });

  it('nothing is done before its time because somebody ticks', () => {
    const bench = client();
    const hand = negotiated(bench);
    const tick = (): void => {
      bench.now += 9;
      bench.step({ kind: 'tick' });
      converse(bench, hand);
    };
    for (let i = 0; i < 100; i++) tick();
    equal(requests(hand), 0);
    say(bench, hand, PUSH);
    for (let i = 0; i < 100; i++) tick();
    equal(bench.plane.keys(5), '0/-');
    bench.step({ kind: 'command', command: 'disconnect' });
    for (let i = 0; i < 100; i++) tick();
    equal(phase(bench), 'waiting');
  });

  it('never by us with 0, and not before there is a connection', () => {
    const bench = client({ renegS: 0 });
    negotiated(bench);
    bench.step({ kind: 'command', command: 'renegotiate' });
    equal(bench.state.session!.current.keyId, 0);
    const other = client({ renegS: 0 });
    connected(other);
    equal(other.timerAt, undefined);
  });

  it('one that fails ends the connection', () => {
    const bench = client();
    const hand = connected(bench);
    bench.tls.options.refuse = () => 'certificate has expired';
    rekey(bench, hand);
    match(bench.lastText(), /certificate has expired; next attempt/);
    equal(bench.plane.peers.size, 0);
    const zero = client();
    const other = connected(zero);
    zero.tls.options.zeroExporter = true;
    rekey(zero, other);
    match(zero.lastText(), /no usable data key; next attempt/);
  });
});
