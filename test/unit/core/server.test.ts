// SPDX-License-Identifier: Apache-2.0
// A server's connected clients: how they come again, change, leave and are sent away. Who gets in with what is in
// admit.test.ts.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { sessionDeadline } from '../../../src/core/session.ts';
import { type ServerBench, serverBench } from './bench.ts';
import { fakeTls } from './fake-tls.ts';
import { alive, clientHand, converse, type Hand, join, occExit, pathOf, rekey, say, server } from './hand.ts';

const stateOf = (bench: ServerBench, hand: Hand) =>
  [...bench.state.peers.values()].find(peer => peer.path === hand.path)?.state;
describe('core/server: coming', () => {
  it('connected: in the plane before anything is said about it, and named in the log', () => {
    const bench = server();
    join(bench);
    deepEqual(
      bench.plane.commands.map(command => command.op),
      ['addPeer', 'addKey'],
    );
    match(bench.lastText(), /^alice connected from 198\.51\.100\.1:40000: 10\.8\.0\.2, AES-256-GCM, FAKE$/);
    deepEqual(bench.notices.at(-1)!.action, 'connected');
    equal(bench.notices.at(-1)!.peer, 'alice');
  });

  it('start applies the network and nothing else', () => {
    const bench = server();
    bench.step({ kind: 'start' });
    equal(bench.networks.length, 1);
    equal(bench.timerAt, undefined);
  });

  it('a packet of 2048 bytes is looked at, a longer one is not', () => {
    const bench = server();
    for (const length of [2047, 2048, 2049, 65_507]) {
      bench.step({ kind: 'datagram', path: pathOf(), bytes: new Uint8Array(length).fill(0x38) });
    }
    equal(bench.state.drops.long, 2);
    equal(bench.state.drops['ack-count'], 2);
  });

  it('a TLS failure is said by an alert, logged with its reason, and never connects', () => {
    const bench = server();
    bench.tls.options.refuse = () => 'certificate has expired';
    const hand = join(bench);
    deepEqual(
      hand.outcomes.flatMap(outcome => (outcome.kind === 'failed' ? outcome.reason : [])),
      ['peer sent alert: certificate has expired'],
    );
    equal(bench.lastText(), '198.51.100.1:40000 refused: certificate has expired');
    deepEqual(bench.plane.commands, []);
    bench.pass(5000);
    equal(bench.state.peers.size, 0);
    equal(bench.tls.living(), 0);
  });

  it('a handshake that stops is ended after the hand window', () => {
    const bench = server();
    const hand = clientHand({}, bench.now);
    bench.step({ kind: 'datagram', path: hand.path, bytes: hand.flush(bench.now)[0]! });
    hand.receive(bench.takeSent()[0]!.bytes, bench.now);
    bench.step({ kind: 'datagram', path: hand.path, bytes: hand.flush(bench.now)[0]! });
    bench.pass(60_000);
    match(bench.lastText(), /^198\.51\.100\.1:40000 refused: TLS negotiation not finished .* within 60 s$/);
    bench.pass(5000);
    equal(bench.state.peers.size, 0);
    equal(bench.timerAt, undefined);
  });

  it('the same name again closes the old one, which hears nothing', () => {
    const bench = server();
    const old = join(bench);
    old.texts.length = 0;
    const fresh = join(bench, { path: pathOf(2) });
    deepEqual(alive(bench), ['alice']);
    equal(stateOf(bench, old), 'closing');
    equal(stateOf(bench, fresh), 'connected');
    deepEqual(old.texts, []);
    ok(bench.texts().includes('alice (198.51.100.1:40000) disconnected: connected anew'));
    // The plane forgot the old one first: id and address are free again.
    deepEqual(
      bench.plane.commands.map(command => command.op),
      ['addPeer', 'addKey', 'delPeer', 'addPeer', 'addKey'],
    );
    equal(bench.plane.peers.size, 1);
  });

  it('another name from elsewhere does not', () => {
    const bench = server();
    join(bench);
    join(bench, { commonName: 'bob', path: pathOf(2) });
    deepEqual(alive(bench), ['alice', 'bob']);
  });

  it('a new session from the same socket ends the one before, whatever the name', () => {
    const bench = server({ duplicateCn: true });
    join(bench);
    join(bench, { commonName: 'bob' });
    deepEqual(alive(bench), ['bob']);
    equal(bench.plane.peers.size, 1);
  });

  it('the old one stays until the new one has proved itself', () => {
    const bench = server();
    join(bench);
    const spoof = clientHand({ path: pathOf() }, bench.now);
    bench.step({ kind: 'datagram', path: spoof.path, bytes: spoof.flush(bench.now)[0]! });
    deepEqual(alive(bench), ['alice']);
    bench.tls.options.refuse = () => 'unknown ca';
    converse(bench, spoof);
    join(bench, { path: pathOf() });
    deepEqual(alive(bench), ['alice']);
    equal(bench.plane.peers.size, 1);
  });

  it('duplicate_cn: both stay, with addresses of their own', () => {
    const bench = server({ duplicateCn: true });
    join(bench);
    join(bench, { path: pathOf(2) });
    deepEqual(alive(bench), ['alice', 'alice']);
    equal(bench.plane.peers.size, 2);
  });
});

describe('core/server: leaving', () => {
  it('EXIT: out of the plane at once, gone 5 s later', () => {
    const bench = server();
    const hand = join(bench);
    say(bench, hand, 'EXIT');
    equal(bench.plane.peers.size, 0);
    equal(bench.lastText(), 'alice (198.51.100.1:40000) disconnected: left');
    equal(stateOf(bench, hand), 'closing');
    bench.pass(4999);
    equal(bench.state.peers.size, 1);
    bench.pass(1);
    equal(bench.state.peers.size, 0);
    equal(bench.tls.living(), 0);
  });

  it('one sent away is told again and again until its time is over', () => {
    const bench = server();
    const hand = join(bench);
    bench.step({ kind: 'command', command: 'disconnect', peer: 'alice' });
    const times: number[] = [];
    bench.takeSent();
    const start = bench.now;
    bench.pass(4999, () => times.push(...bench.takeSent().map(() => bench.now - start)));
    deepEqual(times, [500, 1250, 2375, 4062.5]);
    equal(stateOf(bench, hand), 'closing');
    bench.pass(1);
    equal(bench.state.peers.size, 0);
  });

  it('a thousand of them end the session at the first deadline', () => {
    const bench = server();
    const hand = join(bench);
    for (let i = 0; i < 1000; i++) {
      say(bench, hand, 'EXIT');
      occExit(bench, 0);
      bench.pass(4);
    }
    equal(bench.notices.filter(one => one.action === 'disconnected').length, 1);
    bench.pass(1000);
    equal(bench.state.peers.size, 0);
  });

  it('an exit notice in a data packet counts, anything else there does not', () => {
    const bench = server();
    join(bench);
    bench.step({ kind: 'inner', peerId: 0, payload: new Uint8Array(17) });
    occExit(bench, 3);
    deepEqual(alive(bench), ['alice']);
    occExit(bench, 0);
    deepEqual(alive(bench), []);
  });

  it('texts nobody understands are noted and change nothing', () => {
    const bench = server();
    const hand = join(bench);
    for (const text of ['PUSH_REPLY', 'exit', 'EXIT ', 'RESTART', 'CR_RESPONSE,x']) say(bench, hand, text);
    deepEqual(alive(bench), ['alice']);
    equal(bench.lastText(), 'alice: message not understood: CR_RESPONSE,x');
  });

  it('what comes after a close opens nothing and prolongs nothing', () => {
    const bench = server();
    const hand = join(bench);
    say(bench, hand, 'EXIT');
    say(bench, hand, 'PUSH_REQUEST');
    rekey(bench, hand);
    equal(bench.plane.peers.size, 0);
    bench.pass(5000);
    equal(bench.state.peers.size, 0);
    hand.session.current.tls.write(new Uint8Array([65, 0]));
    converse(bench, hand);
    equal(bench.state.peers.size, 0, 'not even its later packets');
  });
});

describe('core/server: renegotiation', () => {
  it('a key more, no second push, no second "connected"', () => {
    const bench = server();
    const hand = join(bench);
    hand.texts.length = 0;
    rekey(bench, hand);
    deepEqual(
      bench.plane.commands.map(command => command.op),
      ['addPeer', 'addKey', 'addKey'],
    );
    equal(bench.lastText(), 'alice: renegotiated, key 1');
    deepEqual(hand.texts, []);
    bench.pass(2000);
    equal(bench.plane.keys(), '1/0');
  });

  it('another certificate name is refused', () => {
    const bench = server();
    const tls = fakeTls({ role: 'client', commonName: 'alice' });
    const hand = join(bench, { tls });
    tls.options.commonName = 'mallory';
    rekey(bench, hand);
    equal(bench.lastText(), 'alice (198.51.100.1:40000) disconnected: certificate changed at renegotiation');
    equal(bench.plane.peers.size, 0);
    deepEqual(
      bench.plane.commands.map(command => command.op),
      ['addPeer', 'addKey', 'delPeer'],
    );
  });

  it('another certificate of the same name, too', () => {
    const bench = server();
    const tls = fakeTls({ role: 'client', commonName: 'alice', serial: 1 });
    const hand = join(bench, { tls });
    rekey(bench, hand);
    equal(bench.lastText(), 'alice: renegotiated, key 1');
    tls.options.serial = 2;
    rekey(bench, hand);
    equal(bench.lastText(), 'alice (198.51.100.1:40000) disconnected: certificate changed at renegotiation');
    equal(bench.plane.peers.size, 0);
    equal(hand.texts.at(-1), 'AUTH_FAILED');
  });

  it('so is no usable key', () => {
    const bench = server();
    const hand = join(bench);
    bench.tls.options.zeroExporter = true;
    rekey(bench, hand);
    equal(bench.lastText(), 'alice (198.51.100.1:40000) disconnected: no usable data key');
    equal(bench.plane.peers.size, 0);
  });

  it('ours comes up to a tenth early, and after each comes the next', () => {
    const times: number[] = [];
    for (let seed = 0; seed < 20; seed++) {
      const bench = serverBench(fakeTls({ role: 'server', commonName: 'server' }), { renegS: 1000 }, seed);
      const hand = join(bench);
      const start = bench.now;
      while (hand.session.current.keyId < 2) {
        bench.now = bench.timerAt!;
        bench.step({ kind: 'tick' });
        if (hand.session.current.keyId === 0) times.push(bench.now - start);
        converse(bench, hand);
      }
    }
    ok(times.every(time => time > 2000 && time <= 1_000_000));
    ok(Math.min(...times) >= 900_000 && new Set(times).size > 10, `${times}`);
  });

  it('not because somebody ticks', () => {
    const bench = server();
    const hand = join(bench);
    for (let i = 0; i < 100; i++) {
      bench.now += 10_000;
      bench.step({ kind: 'tick' });
      converse(bench, hand);
    }
    equal(hand.session.current.keyId, 0);
  });

  it('never by us with 0', () => {
    const bench = server({ renegS: 0 });
    const hand = join(bench);
    equal(bench.timerAt, undefined);
    rekey(bench, hand);
    equal(hand.session.current.phase, 'active');
  });
});

describe('core/server: operators and the end', () => {
  it('disconnect and renegotiate by name or common name; others are left alone', () => {
    const peers = [{ name: 'office', enabled: true, commonName: 'alice', addresses: [], routes: [] }];
    const bench = server({ peers });
    const alice = join(bench);
    const bob = join(bench, { commonName: 'bob', path: pathOf(2) });
    bench.step({ kind: 'command', command: 'renegotiate', peer: 'office' });
    converse(bench, alice, bob);
    deepEqual([alice.session.current.keyId, bob.session.current.keyId], [1, 0]);
    bench.step({ kind: 'command', command: 'disconnect', peer: 'alice', reason: 'enough' });
    converse(bench, alice, bob);
    equal(bench.lastText(), 'office (198.51.100.1:40000) disconnected: enough');
    equal(alice.texts.at(-1), 'RESTART');
    deepEqual(alive(bench), ['bob']);
    bench.step({ kind: 'command', command: 'disconnect' });
    bench.step({ kind: 'command', command: 'disconnect', peer: '198.51.100.2:40000' });
    deepEqual(alive(bench), ['bob']);
    bench.step({ kind: 'command', command: 'disconnect', peer: 'bob' });
    equal(bench.lastText(), 'bob (198.51.100.2:40000) disconnected: by command');
  });

  it('shutdown tells all, waits for their acks, then exits', () => {
    const bench = server();
    const hands = [join(bench), join(bench, { commonName: 'bob', path: pathOf(2) })];
    bench.step({ kind: 'shutdown' });
    equal(bench.isOver, false);
    equal(bench.timerAt! > bench.now, true);
    converse(bench, ...hands);
    for (const hand of hands) equal(hand.texts.at(-1), 'RESTART');
    equal(bench.isOver, true);
  });

  it('a client that does not answer delays it by a second, no more', () => {
    const bench = server();
    const start = bench.now;
    join(bench);
    bench.step({ kind: 'shutdown' });
    bench.pass(500);
    bench.step({ kind: 'shutdown' });
    equal(bench.isOver, false);
    bench.now = start + 999;
    bench.step({ kind: 'tick' });
    equal(bench.isOver, false);
    bench.now = start + 1000;
    bench.step({ kind: 'tick' });
    equal(bench.isOver, true);
  });

  it('without explicit_exit_notify nobody is told', () => {
    const bench = server({ explicitExitNotify: false });
    const hand = join(bench);
    hand.texts.length = 0;
    bench.step({ kind: 'shutdown' });
    equal(bench.isOver, true);
    converse(bench, hand);
    deepEqual(hand.texts, []);
    equal(sessionDeadline(hand.session), undefined);
  });
});
