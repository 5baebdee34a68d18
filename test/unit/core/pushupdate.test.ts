// SPDX-License-Identifier: Apache-2.0
// Options that change while a connection stands: the lines themselves, a client that is told, a server that tells.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { formatIp, formatPrefix } from '../../../src/core/address.ts';
import type { ClientOptions } from '../../../src/core/clientstate.ts';
import { IV_PROTO_PUSH_UPDATE } from '../../../src/core/peerinfo.ts';
import { addressTexts } from '../../../src/core/pull.ts';
import { applyUpdate, updateBetween } from '../../../src/core/pushupdate.ts';
import type { ServerOptions } from '../../../src/core/server.ts';
import { type ServerBench, serverOptions } from './bench.ts';
import {
  type Client,
  client,
  connected,
  converse,
  type Hand,
  join,
  PROTO_ALL,
  PUSH,
  peerInfo,
  say,
  serve,
  server,
} from './hand.ts';

describe('core/pushupdate: lines', () => {
  const LINES = ['topology subnet', 'ping 10', 'route 10.1.0.0 255.255.0.0', 'dns server 0 address 10.8.0.1'];
  const changed = (...items: string[]): readonly string[] => {
    const updated = applyUpdate(LINES, items);
    if (typeof updated === 'string') throw new Error(updated);
    return updated.lines;
  };
  const refused = (item: string): string => {
    const updated = applyUpdate(LINES, ['route 10.9.0.0', item]);
    return typeof updated === 'string' ? updated : 'taken';
  };

  it('the first line of a name replaces all of it, the next are added, others stay', () => {
    deepEqual(changed('route 10.2.0.0 255.255.0.0', 'route 10.3.0.0 255.255.0.0'), [
      'topology subnet',
      'ping 10',
      'dns server 0 address 10.8.0.1',
      'route 10.2.0.0 255.255.0.0',
      'route 10.3.0.0 255.255.0.0',
    ]);
    deepEqual(changed('route-ipv6 fd77::/64'), [...LINES, 'route-ipv6 fd77::/64']);
    deepEqual(changed(), LINES);
  });

  it('a minus takes a name away, also what the same update set before', () => {
    deepEqual(
      changed('-route'),
      LINES.filter(line => !line.startsWith('route')),
    );
    deepEqual(
      changed('route 10.2.0.0', '-route'),
      LINES.filter(line => !line.startsWith('route')),
    );
    deepEqual(changed('-route', 'route 10.2.0.0').at(-1), 'route 10.2.0.0');
    deepEqual(changed('-tun-mtu'), LINES);
    // Stock clients say something of it and go on.
    deepEqual(changed('-route 10.1.0.0'), LINES);
  });

  it('redirect-private and redirect-gateway are one', () => {
    deepEqual(changed('redirect-gateway def1', 'redirect-private').slice(LINES.length), [
      'redirect-gateway def1',
      'redirect-private',
    ]);
    deepEqual(applyUpdate(['redirect-private'], ['-redirect-gateway']), {
      lines: [],
      names: ['redirect-gateway'],
    });
  });

  it('what cannot change ends the connection, unless it is optional', () => {
    for (const name of [
      'ping 1',
      'peer-id 3',
      'cipher x',
      'auth-token x',
      'nonsense',
      'routes',
      '__proto__',
    ]) {
      equal(refused(name), `'${name.split(' ')[0]}' cannot change`);
      equal(refused(`-${name}`), `'${name.split(' ')[0]}' cannot change`);
      equal(refused(`?${name}`), 'taken');
      equal(refused(`-?${name}`), 'taken');
    }
    deepEqual(changed('?ping 1', '-?ping'), LINES);
    deepEqual(changed('?route 10.2.0.0', '-?dns').slice(2), ['route 10.2.0.0']);
  });

  it('marks in the wrong order, twice, or alone', () => {
    for (const item of ['-', '?', '-?', '?-route', '--route', '??route', '-?-route']) {
      equal(refused(item), `'${item}' is no option`);
    }
  });

  it('the difference of two lists of lines is an update from one to the other', () => {
    const before = ['route 10.1.0.0 255.255.0.0', 'dhcp-option DNS 10.8.0.1', 'ping 10', 'topology subnet'];
    const later = ['route 10.1.0.0 255.255.0.0', 'route 10.2.0.0 255.255.0.0', 'ping 20', 'topology subnet'];
    deepEqual(updateBetween(before, later), [...later.slice(0, 2), '-dhcp-option']);
    deepEqual(updateBetween(before, before), []);
    deepEqual(updateBetween(['redirect-private'], ['redirect-gateway def1']), ['redirect-gateway def1']);
    const updated = applyUpdate(before, updateBetween(before, later));
    ok(typeof updated === 'object');
    // What cannot change stays as it was.
    deepEqual([...updated.lines].sort(), [...later.slice(0, 2), 'ping 10', 'topology subnet'].sort());
  });
});

describe('core/client: PUSH_UPDATE', () => {
  const network = (bench: Client) => bench.networks.at(-1)!;
  const routes = (bench: Client) => network(bench).routes.map(({ destination }) => formatPrefix(destination));

  function told(updates: readonly string[], more: Partial<ClientOptions> = {}): Client {
    const bench = client(more);
    const hand = connected(bench, `${PUSH},route 10.1.0.0 255.255.0.0,dhcp-option DNS 10.8.0.1`);
    for (const update of updates) say(bench, hand, update);
    return bench;
  }

  it('changes routes, DNS, address and MTU, and neither peer nor keys', () => {
    const bench = told([
      'PUSH_UPDATE,-dhcp-option,route 10.2.0.0 255.255.0.0, route 10.3.0.0 255.255.0.0,tun-mtu 1400,ifconfig 10.8.0.9 255.255.255.0',
    ]);
    equal(bench.state.phase, 'connected', bench.lastText());
    deepEqual(routes(bench), ['10.2.0.0/16', '10.3.0.0/16']);
    deepEqual(network(bench).dns.servers, []);
    deepEqual([addressTexts(network(bench)), network(bench).mtu], [['10.8.0.9/24'], 1400]);
    deepEqual(
      bench.plane.commands.map(({ op }) => op),
      ['addPeer', 'addKey'],
    );
    equal(bench.lastText(), 'the server changed dhcp-option, route, tun-mtu, ifconfig');
  });

  it('parts are applied when the last is there, and updates build on each other', () => {
    const bench = told(['PUSH_UPDATE,route 10.2.0.0 255.255.0.0,push-continuation 2']);
    deepEqual(routes(bench), ['10.1.0.0/16']);
    const more = told([
      'PUSH_UPDATE,route 10.2.0.0 255.255.0.0,push-continuation 2',
      'PUSH_UPDATE,route 10.3.0.0 255.255.0.0,push-continuation 1',
      'PUSH_UPDATE,route-ipv6 fd77::/64,ifconfig-ipv6 fd42::2/64 fd42::1',
    ]);
    deepEqual(routes(more), ['10.2.0.0/16', '10.3.0.0/16', 'fd77::/64']);
    const renewed = more.networks.length;
    more.step({
      kind: 'configChange',
      role: 'client',
      options: { ...more.state.options, metric: 7 },
      newSessions: false,
      reconnect: false,
    });
    ok(more.networks.length > renewed);
    deepEqual(routes(more), ['10.2.0.0/16', '10.3.0.0/16', 'fd77::/64'], 'and last over a reload');
  });

  it('local policy decides as for a push reply', () => {
    const bench = told(
      ['PUSH_UPDATE,route 10.2.0.0 255.255.0.0,redirect-gateway def1,dns server 0 address 10.8.0.7'],
      {
        routeNopull: true,
        pullDns: false,
      },
    );
    deepEqual([routes(bench), network(bench).dns.servers], [[], []]);
    match(bench.notices.map(({ text }) => text).join('\n'), /pushed redirect-gateway not followed/);
    const covered = told(['PUSH_UPDATE,route 192.0.0.0 255.0.0.0']);
    deepEqual(network(covered).outside.map(formatIp), ['192.0.2.1']);
  });

  it('what cannot be taken makes it connect anew, with the options of the next push reply', () => {
    for (const [update, why] of [
      ['PUSH_UPDATE,peer-id 7', "push update: 'peer-id' cannot change"],
      ['PUSH_UPDATE,route 10.2.0.0,?-route', "push update: '?-route' is no option"],
      ['PUSH_UPDATE,-ifconfig', 'push update: no address is left'],
      ['PUSH_UPDATE,topology mesh', "server pushed 'topology mesh': unknown topology"],
      ['PUSH_UPDATES,route 10.2.0.0', 'malformed push update'],
    ] as const) {
      const bench = told([update]);
      equal(bench.state.phase, 'waiting', update);
      equal(bench.state.lastError, `192.0.2.1:1194: ${why}`);
      deepEqual(routes(bench), ['10.1.0.0/16'], 'nothing of it is applied');
      bench.pass(2000);
      const hand = serve(bench);
      converse(bench, hand);
      say(bench, hand, PUSH);
      equal(bench.state.phase, 'connected');
      deepEqual(routes(bench), []);
    }
  });

  it('a bad value is left out, a good one beside it taken', () => {
    const bench = told(['PUSH_UPDATE,route nonsense,route 10.2.0.0 255.255.0.0']);
    deepEqual(routes(bench), ['10.2.0.0/16']);
  });

  it('an optional one that cannot change is passed over', () => {
    const bench = told(['PUSH_UPDATE,?compress lzo,-?cipher,?route 10.2.0.0 255.255.0.0']);
    equal(bench.state.phase, 'connected');
    deepEqual(routes(bench), ['10.2.0.0/16']);
  });

  it('is counted and ignored where nobody may push: before the push reply, in mode p2p', () => {
    const bench = client();
    const hand = serve(bench);
    converse(bench, hand);
    say(bench, hand, 'PUSH_UPDATE,route 10.2.0.0 255.255.0.0');
    deepEqual([bench.state.phase, bench.state.drops.push], ['negotiating', 1]);
    say(bench, hand, PUSH);
    deepEqual(routes(bench), []);
    const p2p = client({ ownAddresses: [] });
    const peer = serve(p2p, { peerInfo: peerInfo(PROTO_ALL) });
    converse(p2p, peer);
    equal(p2p.state.phase, 'connected', p2p.lastText());
    say(p2p, peer, 'PUSH_UPDATE,route 10.2.0.0 255.255.0.0');
    deepEqual([p2p.state.phase, p2p.state.drops.push, routes(p2p)], ['connected', 1, []]);
  });

  it('more updates than anybody needs end the connection; over a longer time they do not', () => {
    const update = (i: number): string => `PUSH_UPDATE,route 10.2.${i}.0 255.255.255.0`;
    const bench = told(Array.from({ length: 32 }, (_, i) => update(i)));
    deepEqual([bench.state.phase, routes(bench)], ['connected', ['10.2.31.0/24']]);
    const slow = client();
    const hand = connected(slow);
    for (let i = 0; i < 100; i++) {
      slow.pass(2000, () => converse(slow, hand));
      say(slow, hand, update(i));
    }
    deepEqual([slow.state.phase, routes(slow)], ['connected', ['10.2.99.0/24']]);
    const fast = told(Array.from({ length: 33 }, (_, i) => update(i)));
    equal(fast.state.lastError, '192.0.2.1:1194: more than 32 push updates in a minute');
  });

  it('endless updates end the connection, not the router', () => {
    const bench = client();
    const hand = connected(bench);
    const many = (from: number): string =>
      `PUSH_UPDATE${Array.from({ length: 45 }, (_, i) => `,route 10.${from}.${i}.0`).join('')},push-continuation 2`;
    for (let i = 0; i < 60 && bench.state.phase === 'connected'; i++) say(bench, hand, many(i));
    equal(bench.state.lastError, '192.0.2.1:1194: malformed push update');
  });
});

describe('core/server: PUSH_UPDATE', () => {
  const PROTO = PROTO_ALL + IV_PROTO_PUSH_UPDATE;
  const OLD: Partial<ServerOptions> = { push: ['dhcp-option DNS 10.8.0.1', 'route 10.1.0.0 255.255.0.0'] };

  function change(bench: ServerBench, hand: Hand, more: Partial<ServerOptions>): string[] {
    const before = hand.texts.length;
    bench.step({
      kind: 'configChange',
      role: 'server',
      options: serverOptions(more),
      peers: new Set(),
      reverify: false,
    });
    converse(bench, hand);
    return hand.texts.slice(before);
  }

  it('a client that takes it is told the difference, once', () => {
    const bench = server(OLD);
    const hand = join(bench, { peerInfo: peerInfo(PROTO) });
    const next = { push: ['route 10.1.0.0 255.255.0.0', 'route 10.2.0.0 255.255.0.0'] };
    deepEqual(change(bench, hand, next), [
      'PUSH_UPDATE,-dhcp-option,route 10.1.0.0 255.255.0.0,route 10.2.0.0 255.255.0.0',
    ]);
    equal(bench.lastText(), 'pushed options changed: 1 peers told, 0 learn it when they connect again');
    deepEqual(change(bench, hand, next), []);
    equal(bench.state.byId.size, 1);
  });

  it('one that does not is left alone, and nobody is told what cannot change', () => {
    const bench = server(OLD);
    const hand = join(bench, { peerInfo: peerInfo(PROTO_ALL) });
    deepEqual(change(bench, hand, {}), []);
    equal(bench.lastText(), 'pushed options changed: 0 peers told, 1 learn it when they connect again');
    const other = server(OLD);
    const taker = join(other, { peerInfo: peerInfo(PROTO) });
    deepEqual(change(other, taker, { ...OLD, ping: 33 }), []);
    ok(!other.lastText().includes('pushed options'));
  });

  it('many lines take several parts', () => {
    const bench = server();
    const hand = join(bench, { peerInfo: peerInfo(PROTO) });
    const push = Array.from({ length: 60 }, (_, i) => `route 10.1.${i}.0 255.255.255.0`);
    const texts = change(bench, hand, { push });
    ok(texts.length > 1);
    ok(texts.every(text => text.startsWith('PUSH_UPDATE,route ')));
    match(texts[0]!, /,push-continuation 2$/);
    match(texts.at(-1)!, /,push-continuation 1$/);
  });

  it('in the middle of a renegotiation it waits for the end of that', () => {
    const bench = server(OLD);
    const hand = join(bench, { peerInfo: peerInfo(PROTO) });
    const before = hand.texts.length;
    bench.step({ kind: 'command', command: 'renegotiate', peer: 'alice' });
    bench.step({
      kind: 'configChange',
      role: 'server',
      options: serverOptions(),
      peers: new Set(),
      reverify: false,
    });
    deepEqual(hand.texts.slice(before), []);
    converse(bench, hand);
    deepEqual(hand.texts.slice(before), ['PUSH_UPDATE,-dhcp-option,-route']);
  });

  it('a client that has not asked yet finds it in the push reply', () => {
    const bench = server(OLD);
    const hand = join(bench, { peerInfo: peerInfo(PROTO - 4) });
    deepEqual(change(bench, hand, { push: ['dhcp-option DNS 10.8.0.9'] }), []);
    say(bench, hand, 'PUSH_REQUEST');
    match(hand.texts.join('\n'), /^PUSH_REPLY,dhcp-option DNS 10\.8\.0\.9,/);
  });
});
