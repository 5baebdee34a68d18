// SPDX-License-Identifier: Apache-2.0
// How a client's connection ends: by its plane, or by leaving.

import { deepEqual, equal, match } from 'node:assert/strict';
import { OCC_EXIT_PAYLOAD } from '../../../src/core/options.ts';
import type { PlaneNotice } from '../../../src/core/plane.ts';
import { sendText } from '../../../src/core/session.ts';
import { type ClientBench, ip } from './bench.ts';
import { client, connected, converse, negotiated, occExit, PUSH, rekey, say } from './hand.ts';

const NO_CC_EXIT = PUSH.replace('cc-exit ', '');
const ops = (bench: ClientBench): string[] => bench.plane.commands.map(command => command.op);
const phase = (bench: ClientBench) => bench.state.phase;
const notice = (bench: ClientBench, one: PlaneNotice): void => {
  bench.step({ kind: 'planeNotice', notice: one });
};

describe('core/client: what the plane says', () => {
  it('expired: again, without deleting what is gone', () => {
    const bench = client();
    connected(bench, PUSH.replace('ping-restart 60', 'ping-restart 33'));
    bench.plane.peers.clear();
    notice(bench, { kind: 'peerDeleted', peerId: 5, reason: 'expired' });
    match(bench.lastText(), /nothing heard from the server for 33 s; next attempt/);
    deepEqual(ops(bench), ['addPeer', 'addKey']);
  });

  it('its own deletions and those of another peer are no news', () => {
    const bench = client();
    connected(bench);
    notice(bench, { kind: 'peerDeleted', peerId: 5, reason: 'userspace' });
    notice(bench, { kind: 'peerDeleted', peerId: 5, reason: 'teardown' });
    notice(bench, { kind: 'peerDeleted', peerId: 4, reason: 'expired' });
    notice(bench, { kind: 'keyExhausted', peerId: 4, keyId: 0 });
    equal(phase(bench), 'connected');
    notice(bench, { kind: 'peerDeleted', peerId: 5, reason: 'transport_error' });
    match(bench.lastText(), /: transport error; next/);
  });

  it('floated: control packets follow', () => {
    const bench = client();
    const hand = connected(bench);
    const path = { socket: 7, remote: { ip: ip('192.0.2.77'), port: 99 } };
    notice(bench, { kind: 'peerFloated', peerId: 5, path });
    equal(bench.lastText(), 'server moved to 192.0.2.77:99');
    Object.assign(hand, { path });
    rekey(bench, hand);
    equal(bench.plane.keys(5), '0/1');
  });

  it('key expiring renegotiates, key exhausted starts anew', () => {
    const bench = client();
    const hand = connected(bench);
    notice(bench, { kind: 'keyExpiring', peerId: 5, keyId: 0 });
    converse(bench, hand);
    equal(bench.plane.keys(5), '0/1');
    notice(bench, { kind: 'keyExhausted', peerId: 5, keyId: 0 });
    match(bench.lastText(), /data key used up before it was renegotiated/);
    equal(bench.plane.peers.size, 0);
  });

  it('refused peer and key: one end, one pause, the same remote', () => {
    const remotes = [1, 2].map(n => ({ host: `192.0.2.${n}`, port: 1194, family: 0 as const }));
    const bench = client({ remotes });
    bench.isPlaneOff = true;
    const hand = negotiated(bench);
    sendText(hand.session, PUSH);
    bench.step({ kind: 'datagram', path: hand.path, bytes: hand.flush(bench.now)[0]! });
    const [addPeer, addKey] = [
      { op: 'addPeer', peer: { peerId: 5, path: hand.path } } as const,
      { op: 'addKey', key: { peerId: 5 } } as never,
    ];
    bench.step({ kind: 'planeRefused', command: addPeer, text: 'ENOSPC' });
    bench.step({ kind: 'planeRefused', command: addKey, text: 'ENOENT' });
    deepEqual(bench.actions(), ['connected', 'disconnected']);
    match(bench.lastText(), /data plane refused addPeer: ENOSPC; next attempt in 60 s$/);
    equal(bench.state.remoteIndex, 0);
    bench.step({ kind: 'planeRefused', command: { op: 'delPeer', peerId: 5 }, text: 'ENOENT' });
    equal(phase(bench), 'waiting');
  });

  it('a refused swap or deletion is no end, a refused key alone is', () => {
    const bench = client();
    connected(bench);
    for (const command of [
      { op: 'swapKeys', peerId: 5 },
      { op: 'delKey', peerId: 5, slot: 'secondary' },
      { op: 'delPeer', peerId: 5 },
    ] as const) {
      bench.step({ kind: 'planeRefused', command, text: 'ENOENT' });
    }
    equal(phase(bench), 'connected');
    const command = bench.plane.commands.find(one => one.op === 'addKey')!;
    bench.step({ kind: 'planeRefused', command, text: 'EINVAL' });
    match(bench.lastText(), /data plane refused addKey: EINVAL/);
  });

  it('an exit notice in a data packet ends the connection', () => {
    const bench = client();
    connected(bench);
    bench.step({ kind: 'inner', peerId: 5, payload: new Uint8Array(17) });
    equal(phase(bench), 'connected');
    occExit(bench, 5);
    match(bench.lastText(), /the server left/);
    occExit(bench, 5);
    deepEqual(bench.actions(), ['connected', 'disconnected']);
  });
});

describe('core/client: leaving', () => {
  const left = (bench: ClientBench): string[] => {
    const effects = bench.step({ kind: 'shutdown' });
    return effects.map(effect => effect.kind);
  };

  it('with cc-exit: EXIT, and out when it is acknowledged', () => {
    const bench = client();
    const hand = connected(bench);
    left(bench);
    equal(bench.isOver, false);
    converse(bench, hand);
    equal(hand.texts.at(-1), 'EXIT');
    equal(bench.isOver, true);
    deepEqual(bench.plane.inner, []);
  });

  it('without an answer: out after a second, without spinning', () => {
    const bench = client();
    connected(bench);
    left(bench);
    bench.pass(999);
    equal(bench.isOver, false);
    bench.pass(1);
    equal(bench.isOver, true);
  });

  it('whatever falls due in that second does not keep it busy', () => {
    const bench = client({ renegS: 10 });
    connected(bench);
    bench.pass(9_700);
    left(bench);
    bench.pass(999);
    bench.now += 1;
    bench.step({ kind: 'tick' });
    equal(bench.isOver, true);
    equal(bench.state.session!.current.keyId, 0, 'nothing new is begun');
    // A key switch, too.
    const other = client();
    rekey(other, connected(other));
    other.pass(1500);
    left(other);
    other.pass(999);
    equal(other.isOver, false);
  });

  it('without cc-exit: the exit notice by the plane, and out at once', () => {
    const bench = client();
    connected(bench, NO_CC_EXIT);
    const kinds = left(bench);
    deepEqual(bench.plane.inner, [OCC_EXIT_PAYLOAD]);
    deepEqual(kinds, ['setPlane', 'exit', 'setTimer']);
  });

  it('in the middle of a renegotiation the plane says it', () => {
    const bench = client();
    connected(bench);
    bench.step({ kind: 'command', command: 'renegotiate' });
    left(bench);
    deepEqual(bench.plane.inner, [OCC_EXIT_PAYLOAD]);
    equal(bench.isOver, true);
  });

  it('a plane that cannot, a client that need not or is not connected: out without a word', () => {
    const { capabilities } = client().state.options;
    const mute = client({ capabilities: { ...capabilities, inner: false } });
    connected(mute, NO_CC_EXIT);
    deepEqual(left(mute), ['exit', 'setTimer']);
    const silent = client({ explicitExitNotify: false });
    connected(silent);
    deepEqual(left(silent), ['exit', 'setTimer']);
    for (const make of [
      () => client(),
      () => {
        const bench = client();
        negotiated(bench);
        return bench;
      },
    ]) {
      deepEqual(left(make()), ['exit', 'setTimer']);
    }
  });

  it('nothing brings it back', () => {
    const bench = client();
    const hand = connected(bench);
    left(bench);
    bench.isOver = false;
    for (const text of ['RESTART', 'AUTH_FAILED', PUSH]) say(bench, hand, text);
    bench.step({ kind: 'command', command: 'disconnect' });
    bench.step({ kind: 'resolved', addresses: [ip('192.0.2.1')] });
    bench.step({ kind: 'socketOpened', socket: 9 });
    equal(phase(bench), 'leaving');
    deepEqual(bench.others.filter(effect => effect.kind === 'openSocket').length, 1);
  });

  it('a disconnect by command is no error and comes again', () => {
    const bench = client();
    connected(bench);
    bench.step({ kind: 'command', command: 'disconnect', reason: 'because' });
    match(bench.lastText(), /^192\.0\.2\.1:1194: because; next attempt in [12] s$/);
    equal(bench.notices.at(-1)!.level, 'info');
    bench.pass(2000);
    equal(phase(bench), 'opening');
  });
});
