// SPDX-License-Identifier: Apache-2.0
// New options under running endpoints.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { formatIp } from '../../../src/core/address.ts';
import type { ClientOptions } from '../../../src/core/clientstate.ts';
import type { FixedPeer, ServerOptions } from '../../../src/core/server.ts';
import { type ClientBench, clientOptions, ip, NO_NETWORK, type ServerBench, serverOptions } from './bench.ts';
import { alive, client, connected, converse, join, pathOf, rekey, serve, server } from './hand.ts';

const peer = (name: string, more: Partial<FixedPeer> = {}): FixedPeer => ({
  name,
  commonName: name,
  enabled: true,
  addresses: [],
  routes: [],
  ...more,
});

function change(
  bench: ServerBench,
  more: Partial<ServerOptions>,
  peers: readonly string[] = [],
  reverify = false,
): void {
  const options = serverOptions(more);
  bench.step({ kind: 'configChange', role: 'server', options, peers: new Set(peers), reverify });
}

const addresses = (bench: ServerBench): string[] =>
  [...bench.state.byId.values()].map(one => `${one.name} ${one.vpnIps.join(' ')}`).sort();

describe('core/reload: server', () => {
  it('what is connected goes on, who comes then finds the new options', () => {
    const bench = server({ push: ['dhcp-option DNS 10.8.0.1'] });
    const alice = join(bench);
    const before = bench.plane.commands.length;
    change(bench, { push: ['dhcp-option DNS 10.8.0.7'], maxClients: 2, ping: 5 });
    equal(bench.plane.commands.length, before);
    deepEqual(bench.takeSent(), []);
    deepEqual(alive(bench), ['alice']);
    rekey(bench, alice);
    equal(bench.plane.keys(), '0/1');
    const bob = join(bench, { commonName: 'bob', path: pathOf(2) });
    match(bob.texts.join(), /DNS 10\.8\.0\.7.*ping 5/);
    ok(!alice.texts.join().includes('10.8.0.7'));
    join(bench, { commonName: 'carol', path: pathOf(3) });
    deepEqual(alive(bench), ['alice', 'bob']);
  });

  it('the network is told each time', () => {
    const bench = server();
    bench.step({ kind: 'start' });
    change(bench, { network: { ...NO_NETWORK, mtu: 1400 } });
    deepEqual(
      bench.networks.map(({ mtu }) => mtu),
      [1500, 1400],
    );
  });

  it('a peer whose section changed comes anew and gets its address; nobody else hears of it', () => {
    const bench = server();
    const alice = join(bench);
    const bob = join(bench, { commonName: 'bob', path: pathOf(2) });
    const peers = [peer('bob', { addresses: [ip('10.8.0.77')] })];
    change(bench, { peers }, ['bob']);
    converse(bench, alice, bob);
    equal(bob.texts.at(-1), 'RESTART');
    ok(!alice.texts.includes('RESTART'));
    equal(bench.notices.at(-1)!.action, 'disconnected');
    match(bench.lastText(), /bob .* disconnected: its configuration changed/);
    join(bench, { commonName: 'bob', path: pathOf(2, 40001) });
    deepEqual(addresses(bench), ['alice 10.8.0.2', 'bob 10.8.0.77']);
  });

  it('one that is just renegotiating comes anew, too, and is not refused', () => {
    const bench = server();
    const alice = join(bench);
    bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
    change(bench, {}, ['alice']);
    match(bench.lastText(), /alice .* disconnected: its configuration changed/);
    converse(bench, alice);
    equal(alice.texts.at(-1), 'RESTART');
  });

  it('one that is just renegotiating and may not any more is refused', () => {
    const bench = server();
    const alice = join(bench);
    bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
    change(bench, { peers: [peer('alice', { enabled: false })] }, ['alice']);
    converse(bench, alice);
    equal(alice.texts.at(-1), 'AUTH_FAILED,disabled by the administrator');
  });

  it('one that is disabled hears why, and is let in again when it may', () => {
    const bench = server();
    const hand = join(bench);
    change(bench, { peers: [peer('alice', { enabled: false })] }, ['alice']);
    converse(bench, hand);
    equal(hand.texts.at(-1), 'AUTH_FAILED,disabled by the administrator');
    deepEqual(alive(bench), []);
    join(bench, { path: pathOf(1, 40001) });
    deepEqual(alive(bench), []);
    change(bench, { peers: [peer('alice')] }, ['alice']);
    join(bench, { path: pathOf(1, 40002) });
    deepEqual(alive(bench), ['alice']);
  });

  it('an address that somebody has is fixed for another once it is free', () => {
    const bench = server();
    join(bench);
    const peers = [peer('bob', { addresses: [ip('10.8.0.2')] })];
    change(bench, { peers }, ['bob']);
    match(bench.lastText(), /10\.8\.0\.2 of peer 'bob' stays with alice until that leaves/);
    join(bench, { commonName: 'bob', path: pathOf(2) });
    deepEqual(addresses(bench), ['alice 10.8.0.2', 'bob 10.8.0.3']);
    // Nobody new gets it, and what was fixed before is free again.
    bench.step({ kind: 'command', command: 'disconnect', peer: 'alice' });
    join(bench, { commonName: 'carol', path: pathOf(3) });
    deepEqual(addresses(bench), ['bob 10.8.0.3', 'carol 10.8.0.4']);
    change(bench, { peers: [] }, ['bob']);
    join(bench, { commonName: 'alice', path: pathOf(4) });
    deepEqual(addresses(bench), ['alice 10.8.0.2', 'carol 10.8.0.4']);
  });

  it('renegotiation times follow reneg_sec, overdue ones spread; never is never', () => {
    const bench = server();
    join(bench);
    const only = () => [...bench.state.byId.values()][0]!;
    change(bench, { renegS: 0 });
    equal(only().renegotiateAt, undefined);
    change(bench, { renegS: 100 });
    const at = only().renegotiateAt! - only().handshakeAt;
    ok(at >= 90_000 && at <= 100_000, String(at));
    bench.pass(50_000);
    change(bench, { renegS: 20 });
    const soon = only().renegotiateAt! - bench.now;
    ok(soon >= 0 && soon <= 10_000, String(soon));
    equal(only().nextAt! <= only().renegotiateAt!, true);
  });

  it('when certificates must be looked at again everybody renegotiates soon', () => {
    const bench = server({ renegS: 0 });
    const hand = join(bench);
    change(bench, { renegS: 0 }, [], true);
    bench.pass(10_000);
    converse(bench, hand);
    equal(hand.session.current.keyId, 1);
  });

  it('a handshake under way survives another hand window', () => {
    const bench = server({ handWindowS: 60 });
    change(bench, { handWindowS: 30 });
    join(bench);
    deepEqual(alive(bench), ['alice']);
  });

  it('a server that stops stays so, and options of a client are none of its business', () => {
    const bench = server();
    const alice = join(bench);
    bench.step({
      kind: 'configChange',
      role: 'client',
      options: clientOptions(),
      newSessions: true,
      reconnect: true,
    });
    deepEqual(alive(bench), ['alice']);
    bench.step({ kind: 'shutdown' });
    change(bench, { maxClients: 5 }, ['alice']);
    converse(bench, alice);
    equal(bench.state.options.maxClients, 8);
  });
});

describe('core/reload: client', () => {
  function alter(
    bench: ClientBench,
    more: Partial<ClientOptions>,
    newSessions = true,
    reconnect = false,
  ): void {
    bench.step({
      kind: 'configChange',
      role: 'client',
      options: clientOptions(more),
      newSessions,
      reconnect,
    });
  }
  const phase = (bench: ClientBench) => bench.state.phase;
  const remote = (host: string) => ({ host, port: 1194, family: 0 }) as const;

  it('connected: goes on, with new routes at once', () => {
    const bench = client();
    connected(bench);
    const before = bench.plane.commands.length;
    alter(bench, { routes: [{ ip: ip('172.16.0.0'), bits: 12 }], metric: 9, renegS: 10 });
    equal(phase(bench), 'connected');
    equal(bench.plane.commands.length, before);
    const { routes } = bench.networks.at(-1)!;
    ok(routes.some(route => formatIp(route.destination.ip) === '172.16.0.0' && route.metric === 9));
    equal(bench.state.renegotiateAt, bench.state.handshakeAt + 10_000);
  });

  it('connected: a server that is no longer named is left, one that is named later stays', () => {
    const bench = client();
    connected(bench);
    alter(bench, { remotes: [remote('192.0.2.9'), remote('192.0.2.1')] });
    equal(phase(bench), 'connected');
    equal(bench.state.remoteIndex, 1);
    alter(bench, { remotes: [remote('192.0.2.9')] });
    equal(phase(bench), 'waiting');
    equal(bench.plane.peers.size, 0);
    bench.pass(2000);
    match(JSON.stringify(bench.others.at(-1)), /openSocket/);
    equal(formatIp(bench.state.remote!.ip), '192.0.2.9');
  });

  it('a kill switch is closed and opened at once, connected or not', () => {
    const blocks = (bench: ClientBench) => bench.networks.at(-1)!.guard?.blocked.length;
    const closed = { redirectGateway: true, killSwitch: true };
    const bench = client();
    connected(bench);
    alter(bench, closed, false);
    deepEqual([phase(bench), blocks(bench)], ['connected', 8]);
    alter(bench, { redirectGateway: true }, false);
    equal(blocks(bench), undefined);
    const waiting = client({ redirectGateway: true });
    serve(waiting);
    waiting.step({ kind: 'streamClosed', path: waiting.state.path!, reason: 'gone' });
    alter(waiting, closed, false);
    deepEqual([phase(waiting), blocks(waiting)], ['waiting', 8]);
    alter(waiting, { redirectGateway: true }, false);
    deepEqual([blocks(waiting), waiting.networks.at(-1)!.isIdle], [undefined, true]);
    const networks = waiting.networks.length;
    alter(waiting, { metric: 7 }, false);
    equal(waiting.networks.length, networks, 'nothing to say without one');
  });

  it('connected: a new socket is a new connection', () => {
    const bench = client();
    connected(bench);
    alter(bench, {}, true, true);
    equal(phase(bench), 'waiting');
    bench.pass(2000);
    equal(phase(bench), 'opening');
  });

  it('waiting for long: tries at once with what is new, but not for what does not matter', () => {
    const bench = client({ retryFirstS: 3600, retryMaxS: 3600 });
    serve(bench);
    bench.step({ kind: 'streamClosed', path: bench.state.path!, reason: 'gone' });
    equal(phase(bench), 'waiting');
    const { retryAt } = bench.state;
    alter(bench, { retryFirstS: 3600, retryMaxS: 3600 }, false);
    equal(bench.state.retryAt, retryAt);
    alter(bench, {}, true);
    ok(bench.state.retryAt! - bench.now < 2000);
  });

  it('leaving: stays so', () => {
    const bench = client();
    connected(bench);
    bench.step({ kind: 'shutdown' });
    alter(bench, { remotes: [remote('192.0.2.9')] }, true, true);
    equal(phase(bench), 'leaving');
  });
});
