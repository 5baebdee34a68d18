// SPDX-License-Identifier: Apache-2.0
// What a data plane says to a server, in time and too late.

import { deepEqual, equal, ok } from 'node:assert/strict';
import type { PlaneNotice } from '../../../src/core/plane.ts';
import { deletionText } from '../../../src/core/server.ts';
import type { ServerBench } from './bench.ts';
import { alive, clientHand, converse, join, pathOf, rekey, say, server } from './hand.ts';

const notice = (bench: ServerBench, one: PlaneNotice): void => {
  bench.step({ kind: 'planeNotice', notice: one });
};

describe('core/server: what the plane says', () => {
  it('expired: the peer is gone, and is not deleted twice', () => {
    const bench = server();
    join(bench);
    bench.plane.peers.delete(0);
    notice(bench, { kind: 'peerDeleted', peerId: 0, reason: 'expired' });
    equal(bench.lastText(), 'alice (198.51.100.1:40000) disconnected: nothing heard for 120 s');
    deepEqual(
      bench.plane.commands.map(command => command.op),
      ['addPeer', 'addKey'],
    );
    deepEqual(alive(bench), []);
    join(bench);
    deepEqual(alive(bench), ['alice']);
  });

  it('its other reasons in words', () => {
    equal(deletionText('transport_error', 5), 'transport error');
    equal(deletionText('transport_disconnect', 5), 'transport disconnect');
    equal(deletionText('expired', 5), 'nothing heard for 5 s');
  });

  it('our own deletions coming back late hit nobody', () => {
    const bench = server();
    const hand = join(bench);
    say(bench, hand, 'EXIT');
    join(bench, { commonName: 'bob', path: pathOf(2) });
    equal(bench.state.byId.get(0)!.name, 'bob');
    notice(bench, { kind: 'peerDeleted', peerId: 0, reason: 'userspace' });
    notice(bench, { kind: 'peerDeleted', peerId: 0, reason: 'teardown' });
    deepEqual(alive(bench), ['bob']);
  });

  it('notices about nobody are ignored', () => {
    const bench = server();
    join(bench);
    for (const kind of ['peerDeleted', 'peerFloated', 'keyExhausted', 'keyExpiring'] as const) {
      notice(bench, { kind, peerId: 4, keyId: 0, reason: 'expired', path: pathOf(5) });
    }
    deepEqual(alive(bench), ['alice']);
    equal(bench.state.byId.get(0)!.session.current.keyId, 0);
  });

  it('floated: the control channel follows', () => {
    const bench = server();
    const hand = join(bench);
    const path = pathOf(7, 1024);
    notice(bench, { kind: 'peerFloated', peerId: 0, path });
    equal(bench.lastText(), 'alice moved from 198.51.100.1:40000 to 198.51.100.7:1024');
    equal(bench.notices.at(-1)!.action, 'floated');
    bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
    deepEqual(new Set(bench.takeSent().map(sent => sent.path)), new Set([path]));
    // The control channel does not move back by itself: only data packets float.
    for (const bytes of hand.flush(bench.now)) bench.step({ kind: 'datagram', path: hand.path, bytes });
    equal(bench.state.peers.size, 1);
    Object.assign(hand, { path });
    bench.pass(500);
    converse(bench, hand);
    equal(hand.session.current.keyId, 1);
    equal(hand.session.current.phase, 'active');
    equal(bench.state.peers.size, 1);
  });

  it('floated to where another client has the same session id: neither loses its control channel', () => {
    const bench = server();
    const victim = join(bench);
    const thief = clientHand({ commonName: 'mallory', path: pathOf(2) }, bench.now);
    Object.assign(thief.session, { localSid: victim.session.localSid });
    converse(bench, thief);
    deepEqual(alive(bench), ['alice', 'mallory']);
    notice(bench, { kind: 'peerFloated', peerId: 1, path: victim.path });
    deepEqual(alive(bench), ['alice']);
    equal(
      bench.lastText(),
      'mallory (198.51.100.2:40000) disconnected: it moved to where another has its session id',
    );
    bench.pass(5000);
    equal(bench.state.peers.size, 1);
    rekey(bench, victim);
    equal(bench.lastText(), 'alice: renegotiated, key 1');
  });

  it('key expiring: renegotiated by us; a second notice meanwhile starts no second', () => {
    const bench = server();
    const hand = join(bench);
    notice(bench, { kind: 'keyExpiring', peerId: 0, keyId: 0 });
    notice(bench, { kind: 'keyExpiring', peerId: 0, keyId: 0 });
    converse(bench, hand);
    equal(hand.session.current.keyId, 1);
    equal(bench.plane.keys(), '0/1');
  });

  it('key exhausted: the client is told to come again', () => {
    const bench = server();
    const hand = join(bench);
    notice(bench, { kind: 'keyExhausted', peerId: 0, keyId: 0 });
    converse(bench, hand);
    equal(hand.texts.at(-1), 'RESTART');
    equal(bench.plane.peers.size, 0);
  });

  it('a refused peer or key: closed, told, and out of the plane', () => {
    for (const op of ['addPeer', 'addKey'] as const) {
      const bench = server();
      const hand = join(bench);
      const command = bench.plane.commands.find(one => one.op === op)!;
      bench.step({ kind: 'planeRefused', command, text: 'ENOSPC: no room' });
      converse(bench, hand);
      ok(bench.texts().includes(`data plane refused ${op}: ENOSPC: no room`));
      equal(bench.lastText(), 'alice (198.51.100.1:40000) disconnected: the data plane refused it');
      equal(bench.plane.peers.size, 0);
      equal(hand.texts.at(-1), 'RESTART');
    }
  });

  it('a refused swap or deletion is only noted, and one of a peer that is gone hits nobody', () => {
    const bench = server();
    join(bench);
    bench.step({ kind: 'planeRefused', command: { op: 'delPeer', peerId: 0 }, text: 'ENOENT' });
    bench.step({ kind: 'planeRefused', command: { op: 'swapKeys', peerId: 0 }, text: 'ENOENT' });
    const gone = { op: 'addPeer', peer: { peerId: 6, path: pathOf(6) } } as const;
    bench.step({ kind: 'planeRefused', command: gone, text: 'EEXIST' });
    deepEqual(alive(bench), ['alice']);
    equal(bench.notices.filter(one => one.level === 'error').length, 3);
  });
});
