// SPDX-License-Identifier: Apache-2.0
// TCP as the core sees it: a path that is a connection, and events that it ended.

import { deepEqual, equal, match, notEqual, ok } from 'node:assert/strict';
import { headersOf, type Path } from '../../../src/core/address.ts';
import type { Effect } from '../../../src/core/event.ts';
import { type Bench, ip } from './bench.ts';
import { alive, client, connected, converse, join, PUSH, pathOf, say, serve, server } from './hand.ts';

const tcpPath = (socket: number, host = socket): Path => ({ ...pathOf(host), socket, tcp: true });

/** Sockets closed since the last call. */
function closed(bench: Bench): number[] {
  return bench.others
    .splice(0)
    .flatMap((effect: Effect) => (effect.kind === 'closeSocket' ? effect.socket : []));
}

const end = (bench: Bench, path: Path, reason = 'connection closed'): unknown =>
  bench.step({ kind: 'streamClosed', path, reason });

describe('core: header bytes', () => {
  for (const [address, tcp, bytes] of [
    ['192.0.2.1', false, 28],
    ['fd00::1', false, 48],
    ['192.0.2.1', true, 42],
    ['fd00::1', true, 62],
  ] as const) {
    it(`${address} ${tcp ? 'TCP' : 'UDP'}: ${bytes}`, () => {
      const path = { socket: 1, remote: { ip: ip(address), port: 1 } };
      equal(headersOf(tcp ? { ...path, tcp } : path), bytes);
      equal(headersOf({ ...path, tcp }), bytes);
    });
  }
});

describe('core/server: connections', () => {
  it('one that ends takes its peer along, at once', () => {
    const bench = server();
    const path = tcpPath(7);
    join(bench, { path });
    join(bench, { path: tcpPath(8), commonName: 'bob' });
    deepEqual(alive(bench), ['alice', 'bob']);
    end(bench, path);
    equal(bench.lastText(), 'alice (198.51.100.7:40000) disconnected: connection closed');
    deepEqual(closed(bench), [7]);
    deepEqual(alive(bench), ['bob']);
    equal(bench.state.peers.size, 1);
    equal(bench.plane.peers.size, 1);
    bench.pass(60_000);
    deepEqual(closed(bench), []);
    // Its address is free again.
    join(bench, { path: tcpPath(9) });
    match(bench.lastText(), /^alice connected from 198\.51\.100\.9:40000: 10\.8\.0\.2,/);
  });

  it('one that nobody was on is closed, and what was wrong is counted', () => {
    const bench = server();
    end(bench, tcpPath(7));
    deepEqual(closed(bench), [7]);
    bench.step({ kind: 'streamClosed', path: tcpPath(8), reason: 'x', drop: 'record-length' });
    deepEqual(closed(bench), [8]);
    equal(bench.state.drops['record-length'], 1);
    deepEqual(bench.notices, []);
  });

  it('in the middle of a handshake: refused with the reason', () => {
    const bench = server();
    const path = tcpPath(7);
    bench.tls.options.refuse = () => 'certificate has expired';
    join(bench, { path });
    equal(bench.state.peers.size, 1);
    end(bench, path);
    equal(bench.state.peers.size, 0);
    equal(bench.tls.living(), 0);
  });

  it('one whose peer was sent away is closed when its last words have had their time', () => {
    const bench = server();
    const hand = join(bench, { path: tcpPath(7) });
    bench.step({ kind: 'command', command: 'disconnect', peer: 'alice' });
    converse(bench, hand);
    deepEqual(hand.texts.slice(-1), ['RESTART']);
    bench.pass(4999);
    deepEqual(closed(bench), []);
    bench.pass(1);
    deepEqual(closed(bench), [7]);
  });

  it('stays when another session has begun on it', () => {
    const bench = server();
    const path = tcpPath(7);
    join(bench, { path });
    join(bench, { path, commonName: 'bob' });
    deepEqual(alive(bench), ['bob']);
    bench.pass(10_000);
    equal(bench.state.peers.size, 1);
    deepEqual(closed(bench), []);
    end(bench, path);
    deepEqual(closed(bench), [7]);
    deepEqual(alive(bench), []);
  });

  it('a UDP socket is never closed for a peer that goes', () => {
    const bench = server();
    const hand = join(bench);
    say(bench, hand, 'EXIT');
    bench.pass(10_000);
    equal(bench.state.peers.size, 0);
    deepEqual(closed(bench), []);
  });

  it('a stop tells clients over UDP; for the others the end of the connection says it', () => {
    const bench = server();
    const udp = join(bench);
    const tcp = join(bench, { path: tcpPath(7), commonName: 'bob' });
    bench.step({ kind: 'shutdown' });
    converse(bench, udp, tcp);
    deepEqual(udp.texts.slice(-1), ['RESTART']);
    ok(!tcp.texts.includes('RESTART'));
    ok(bench.isOver);
  });

  it('each transport has its own options string', () => {
    const bench = server({ occ: 'V4,udp', occTcp: 'V4,tcp' });
    equal(join(bench).session.current.remote?.options, 'V4,udp');
    const tcp = join(bench, { path: tcpPath(7), commonName: 'bob' });
    equal(tcp.session.current.remote?.options, 'V4,tcp');
  });
});

const TCP_REMOTE = { host: '192.0.2.1', port: 443, family: 0, tcp: true } as const;
const UDP_REMOTE = { host: '192.0.2.2', port: 1194, family: 0 } as const;

describe('core/client: connections', () => {
  it('asks for one, says so, and names it in every packet', () => {
    const bench = client({ remotes: [TCP_REMOTE], occ: 'V4,udp', occTcp: 'V4,tcp' });
    bench.step({ kind: 'start' });
    const remote = { ip: ip('192.0.2.1'), port: 443 };
    deepEqual(bench.others, [{ kind: 'openSocket', remote, tcp: true }]);
    const hand = connected(bench);
    ok(bench.texts().includes('connecting to 192.0.2.1:443 over TCP'));
    equal(bench.state.phase, 'connected');
    deepEqual(hand.path, { socket: 7, remote, tcp: true });
    equal(hand.session.current.remote?.options, 'V4,tcp');
  });

  it('a UDP remote is no connection', () => {
    const bench = client({ remotes: [UDP_REMOTE], occ: 'V4,udp', occTcp: 'V4,tcp' });
    const hand = connected(bench);
    equal('tcp' in hand.path, false);
    equal(hand.session.current.remote?.options, 'V4,udp');
  });

  it('one that ends after a good connection is made anew, to the same remote', () => {
    const bench = client({ remotes: [TCP_REMOTE, UDP_REMOTE] });
    const hand = connected(bench);
    closed(bench);
    end(bench, hand.path, 'read: Connection reset by peer');
    match(bench.lastText(), /^192\.0\.2\.1:443: read: Connection reset by peer; next attempt in 1 s$/);
    deepEqual(new Set(closed(bench)), new Set([7]));
    equal(bench.plane.peers.size, 0);
    bench.pass(2000);
    deepEqual(bench.others.at(-1), {
      kind: 'openSocket',
      remote: { ip: ip('192.0.2.1'), port: 443 },
      tcp: true,
    });
  });

  it('one that ends before leads to the next remote', () => {
    const bench = client({ remotes: [TCP_REMOTE, UDP_REMOTE] });
    const { path } = serve(bench);
    bench.step({ kind: 'streamClosed', path, reason: 'a record of 0 bytes', drop: 'record-length' });
    equal(bench.state.drops['record-length'], 1);
    bench.pass(2000);
    deepEqual(bench.others.at(-1), { kind: 'openSocket', remote: { ip: ip('192.0.2.2'), port: 1194 } });
  });

  it('an earlier one changes nothing', () => {
    const bench = client({ remotes: [TCP_REMOTE] });
    connected(bench);
    closed(bench);
    end(bench, tcpPath(3));
    deepEqual(closed(bench), [3]);
    equal(bench.state.phase, 'connected');
  });

  it('leaves without a word: the end of the connection says it', () => {
    const bench = client({ remotes: [TCP_REMOTE] });
    const hand = connected(bench, `${PUSH} cc-exit`);
    bench.step({ kind: 'shutdown' });
    converse(bench, hand);
    ok(!hand.texts.includes('EXIT'));
    ok(bench.isOver);
    notEqual(bench.plane.commands.at(-1)?.op, 'sendInner');
  });

  it('that ends while we leave over it ends us', () => {
    const bench = client({ remotes: [TCP_REMOTE] });
    const hand = connected(bench);
    // Something not acknowledged keeps it for a moment.
    bench.step({ kind: 'command', command: 'renegotiate' });
    bench.step({ kind: 'shutdown' });
    end(bench, hand.path);
    ok(bench.isOver);
    deepEqual(bench.others.filter(effect => effect.kind === 'openSocket').length, 1);
  });
});
