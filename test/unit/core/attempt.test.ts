// SPDX-License-Identifier: Apache-2.0
// Whom a client tries, in which order, and how long it waits between attempts.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { formatEndpoint } from '../../../src/core/address.ts';
import { type ClientBench, ip } from './bench.ts';
import { client, connected, converse, PUSH, say, serve } from './hand.ts';

const remote = (host: string, port = 1194, family: 0 | 4 | 6 = 0) => ({ host, port, family });
const THREE = [remote('192.0.2.1'), remote('192.0.2.2', 443), remote('fd00::3')];

/** What was asked of the runtime since the last call. */
function asked(bench: ClientBench): string[] {
  return bench.others.splice(0).flatMap(effect => {
    if (effect.kind === 'openSocket') return `open ${formatEndpoint(effect.remote)}`;
    if (effect.kind === 'resolve') return `resolve ${effect.host}/${effect.family}`;
    return effect.kind === 'closeSocket' ? `close ${effect.socket}` : [];
  });
}

/** Waits for the next attempt. */
function wait(bench: ClientBench): number {
  const start = bench.now;
  equal(bench.state.phase, 'waiting');
  bench.now = bench.timerAt!;
  bench.step({ kind: 'tick' });
  return bench.now - start;
}

const failSocket = (bench: ClientBench): unknown => bench.step({ kind: 'socketFailed', reason: 'EMFILE' });

describe('core/attempt: whom', () => {
  it('addresses need no resolver; the socket comes before the reset', () => {
    const bench = client();
    bench.step({ kind: 'start' });
    deepEqual(asked(bench), ['open 192.0.2.1:1194']);
    deepEqual(bench.takeSent(), []);
    bench.step({ kind: 'socketOpened', socket: 3 });
    const [reset, ...more] = bench.takeSent();
    equal(more.length, 0);
    deepEqual(reset!.path, { socket: 3, remote: { ip: ip('192.0.2.1'), port: 1194 } });
    equal(bench.lastText(), 'connecting to 192.0.2.1:1194');
  });

  it('remotes in turn, round after round', () => {
    const bench = client({ remotes: THREE });
    bench.step({ kind: 'start' });
    const order: string[] = [];
    for (let i = 0; i < 7; i++) {
      order.push(...asked(bench));
      failSocket(bench);
      wait(bench);
    }
    const [a, b, c] = ['open 192.0.2.1:1194', 'open 192.0.2.2:443', 'open [fd00::3]:1194'];
    deepEqual(order, [a, b, c, a, b, c, a]);
    match(bench.texts()[0]!, /^192\.0\.2\.1:1194: EMFILE; next attempt in [12] s$/);
  });

  it('a name is resolved each time its turn comes, and each of its addresses is tried', () => {
    const bench = client({ remotes: [remote('vpn.example', 1194, 6), remote('192.0.2.9')] });
    bench.step({ kind: 'start' });
    deepEqual(asked(bench), ['resolve vpn.example/6']);
    bench.step({ kind: 'resolved', addresses: [ip('fd00::1'), ip('192.0.2.7')] });
    deepEqual(asked(bench), ['open [fd00::1]:1194']);
    failSocket(bench);
    wait(bench);
    deepEqual(asked(bench), ['open 192.0.2.7:1194']);
    failSocket(bench);
    wait(bench);
    deepEqual(asked(bench), ['open 192.0.2.9:1194']);
    failSocket(bench);
    wait(bench);
    deepEqual(asked(bench), ['resolve vpn.example/6']);
  });

  it('no address and no answer: the next remote', () => {
    for (const event of [
      { kind: 'resolved', addresses: [] },
      { kind: 'resolveFailed', reason: 'no such host' },
    ] as const) {
      const bench = client({ remotes: [remote('vpn.example'), remote('192.0.2.9')] });
      bench.step({ kind: 'start' });
      bench.step(event);
      match(bench.lastText(), /^vpn\.example: (vpn\.example: no address|no such host); next attempt/);
      asked(bench);
      wait(bench);
      deepEqual(asked(bench), ['open 192.0.2.9:1194']);
    }
  });

  it('answers nobody waits for do nothing; a late socket is closed', () => {
    const bench = client();
    bench.step({ kind: 'start' });
    bench.step({ kind: 'resolved', addresses: [ip('10.9.9.9')] });
    bench.step({ kind: 'resolveFailed', reason: 'late' });
    bench.step({ kind: 'socketOpened', socket: 1 });
    asked(bench);
    bench.step({ kind: 'socketFailed', reason: 'late' });
    bench.step({ kind: 'socketOpened', socket: 2 });
    deepEqual(asked(bench), ['close 2']);
    equal(bench.state.phase, 'negotiating');
  });

  it('remote_random: a fixed order of its own, with each remote once', () => {
    const remotes = Array.from({ length: 8 }, (_, i) => remote(`192.0.2.${i}`));
    const orders = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const { state } = client({ remotes, remoteRandom: true }, seed);
      equal(new Set(state.remotes).size, 8);
      orders.add(state.remotes.map(one => one.host).join());
    }
    ok(orders.size > 15);
    deepEqual(client({ remotes }).state.remotes, remotes);
  });

  it('after a good connection the same remote and address first, by a fresh socket and session', () => {
    const bench = client({ remotes: THREE });
    bench.step({ kind: 'start' });
    failSocket(bench);
    wait(bench);
    const hand = connected(bench);
    const sid = hand.session.remoteSid;
    asked(bench);
    say(bench, hand, 'RESTART');
    deepEqual(asked(bench), ['close 7']);
    wait(bench);
    deepEqual(asked(bench), ['open 192.0.2.2:443']);
    bench.step({ kind: 'socketOpened', socket: 8 });
    ok(bench.state.session!.localSid.join() !== sid!.join());
    bench.takeSent();
    // That failing, the next.
    bench.pass(60_000);
    wait(bench);
    deepEqual(asked(bench), ['close 8', 'open [fd00::3]:1194']);
  });

  it('RESTART,[N] goes on to the next remote', () => {
    const bench = client({ remotes: THREE });
    say(bench, connected(bench), 'RESTART,[N]');
    asked(bench);
    wait(bench);
    deepEqual(asked(bench), ['open 192.0.2.2:443']);
  });

  it('a server chooses: the same address, the next one, or the next remote', () => {
    for (const [flag, next] of [
      ['', 'open 192.0.2.8:1194'],
      ['[advance addr]', 'open 192.0.2.8:1194'],
      ['[advance no]', 'open 192.0.2.7:1194'],
      ['[advance remote]', 'open 192.0.2.9:1194'],
    ]) {
      const bench = client({ remotes: [remote('vpn.example'), remote('192.0.2.9')] });
      bench.step({ kind: 'start' });
      bench.step({ kind: 'resolved', addresses: [ip('192.0.2.7'), ip('192.0.2.8')] });
      const hand = serve(bench);
      converse(bench, hand);
      say(bench, hand, `AUTH_FAILED,TEMP${flag}`);
      asked(bench);
      wait(bench);
      deepEqual(asked(bench), [next], flag);
    }
  });
});

describe('core/attempt: when', () => {
  it('the pause is the first for four rounds, then doubles up to the longest', () => {
    const bench = client({ remotes: THREE.slice(0, 2), retryFirstS: 2, retryMaxS: 20 });
    bench.step({ kind: 'start' });
    const seconds: number[] = [];
    for (let i = 0; i < 20; i++) {
      failSocket(bench);
      seconds.push(Math.floor(wait(bench) / 1000));
    }
    // A quarter of jitter at most: the whole seconds of 2..2.5, 4..5, 8..10, 16..20, 20..25.
    const inRange = (value: number, least: number): boolean => value >= least && value <= least * 1.25;
    const expected = [...new Array<number>(7).fill(2), 4, 4, 8, 8, 16, 16, ...new Array<number>(7).fill(20)];
    ok(
      seconds.every((value, i) => inRange(value, expected[i]!)),
      `${seconds}`,
    );
  });

  it('jitter stays within a quarter and differs', () => {
    const pauses = new Set<number>();
    for (let seed = 0; seed < 200; seed++) {
      const bench = client({ retryFirstS: 10 }, seed);
      bench.step({ kind: 'start' });
      failSocket(bench);
      const ms = wait(bench);
      ok(ms >= 10_000 && ms < 12_500, `${ms}`);
      pauses.add(ms);
    }
    ok(pauses.size > 50);
  });

  it('a server that says "advance no" for ever does not keep the pause short', () => {
    const bench = client();
    let ms = 0;
    for (let i = 0; i < 12; i++) {
      const hand = serve(bench);
      converse(bench, hand);
      say(bench, hand, 'AUTH_FAILED,TEMP[advance no]');
      ms = wait(bench);
    }
    ok(ms >= 256_000, `${ms}`);
  });

  it('success starts it anew', () => {
    const bench = client();
    bench.step({ kind: 'start' });
    for (let i = 0; i < 8; i++) {
      failSocket(bench);
      wait(bench);
    }
    equal(bench.state.round, 8);
    const hand = connected(bench);
    equal(bench.state.round, 0);
    say(bench, hand, 'RESTART');
    ok(wait(bench) < 1250);
    failSocket(bench);
    ok(wait(bench) < 1250);
  });

  it('it never waits for nothing: thousands of failures later there is still a next attempt', () => {
    const bench = client({ remotes: THREE });
    bench.step({ kind: 'start' });
    for (let i = 0; i < 5000; i++) {
      failSocket(bench);
      ok(wait(bench) <= 375_000);
    }
    equal(bench.state.phase, 'opening');
  });

  it('a remote that does not answer within the poll timeout is given up', () => {
    const bench = client({ pollTimeoutS: 10, remotes: THREE });
    bench.step({ kind: 'start' });
    bench.step({ kind: 'socketOpened', socket: 1 });
    bench.pass(9_999);
    equal(bench.state.phase, 'negotiating');
    bench.pass(1);
    match(bench.lastText(), /^192\.0\.2\.1:1194: no answer within 10 s; next attempt/);
    equal(bench.state.remoteIndex, 1);
    ok(asked(bench).includes('close 1'));
  });

  it('one that answers has the hand window', () => {
    const bench = client({ pollTimeoutS: 10, handWindowS: 30 });
    serve(bench);
    bench.pass(29_999);
    equal(bench.state.phase, 'negotiating');
    bench.pass(1);
    match(
      bench.lastText(),
      /TLS negotiation not finished \(does the other side trust our certificate\?\) within 30 s/,
    );
    equal(bench.tls.living(), 0);
  });

  it('without an answer and with a long poll timeout the hand window ends it', () => {
    const bench = client({ pollTimeoutS: 120, handWindowS: 60 });
    bench.step({ kind: 'start' });
    bench.step({ kind: 'socketOpened', socket: 1 });
    bench.pass(60_000);
    match(bench.lastText(), /no answer within 60 s/);
    // Resent all the while, at most every half second.
    const { length } = bench.takeSent();
    ok(length > 25 && length < 40, `${length}`);
  });

  it('a TLS failure is told to the server before the socket closes', () => {
    const bench = client();
    bench.tls.options.refuse = () => 'unable to get local issuer certificate';
    const hand = serve(bench);
    const kinds: string[] = [];
    const step = bench.step.bind(bench);
    bench.step = event => {
      const effects = step(event);
      kinds.push(...effects.map(effect => effect.kind));
      return effects;
    };
    converse(bench, hand);
    match(bench.lastText(), /^192\.0\.2\.1:1194: unable to get local issuer certificate; next/);
    ok(kinds.indexOf('closeSocket') > kinds.lastIndexOf('send'));
    deepEqual(hand.kinds(), ['failed']);
    equal(bench.tls.living(), 0);
  });

  it('control packets fit 1250 bytes with their headers, over IPv4 and over IPv6', () => {
    for (const [host, headers] of [
      ['192.0.2.1', 28],
      ['fd00::1', 48],
    ] as const) {
      const bench = client({ remotes: [remote(host)] });
      bench.tls.options.chainLength = 5000;
      const sizes: number[] = [];
      const step = bench.step.bind(bench);
      bench.step = event => {
        const effects = step(event);
        sizes.push(...bench.sent.map(sent => sent.bytes.length));
        return effects;
      };
      connected(bench);
      const largest = Math.max(...sizes) + headers;
      ok(bench.state.phase === 'connected' && largest <= 1250 && largest > 1230, `${largest}`);
    }
  });

  it('a later success forgets the error', () => {
    const bench = client();
    bench.step({ kind: 'start' });
    failSocket(bench);
    match(bench.state.lastError, /EMFILE/);
    wait(bench);
    connected(bench, PUSH);
    equal(bench.state.lastError, '');
  });
});
