// SPDX-License-Identifier: Apache-2.0
// What a client makes of a push reply: keys, peer, addresses and routes; and what it refuses of it.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { formatIp, formatPrefix, parsePrefix } from '../../../src/core/address.ts';
import { connect, open } from '../../../src/core/attempt.ts';
import type { ClientOptions } from '../../../src/core/clientstate.ts';
import { newOutbox } from '../../../src/core/event.ts';
import type { WantedNetwork } from '../../../src/core/network.ts';
import { addressTexts } from '../../../src/core/pull.ts';
import { ip } from './bench.ts';
import { type Client, client, connected, type HandOptions, negotiated, PUSH, say } from './hand.ts';

const prefix = (text: string) => parsePrefix(text)!;

/** Connects with these options pushed beside the usual ones. */
function pushed(options: string, more: Partial<ClientOptions> = {}): Client {
  const bench = client(more);
  connected(bench, `${PUSH},${options}`);
  equal(bench.state.phase, 'connected', bench.lastText());
  return bench;
}

/** The reason for which this push reply is refused. */
function refused(push: string, more: Partial<ClientOptions> = {}, hand: HandOptions = {}): string {
  const bench = client(more);
  const start = bench.now;
  say(bench, negotiated(bench, hand), push);
  equal(bench.state.phase, 'waiting', push);
  deepEqual(bench.plane.commands, [], 'the plane never heard of it');
  deepEqual(bench.networks, []);
  // A retry alone will hardly change it.
  ok(bench.timerAt! - start >= 60_000);
  return bench.state.lastError.replace('192.0.2.1:1194: ', '');
}

const network = (bench: Client): WantedNetwork => bench.networks.at(-1)!;
const routes = (bench: Client): string[] =>
  network(bench).routes.map(({ destination, metric }) => `${formatPrefix(destination)} ${metric}`);
const without = (name: string): string =>
  PUSH.split(',')
    .filter(option => !option.startsWith(name))
    .join(',');
const planePeer = (bench: Client) => [...bench.plane.peers.values()][0]!;

describe('core/pull: peer and keys', () => {
  it('peer, key and network in one step, in that order', () => {
    const bench = pushed('tun-mtu 1400');
    deepEqual(
      bench.plane.commands.map(command => command.op),
      ['addPeer', 'addKey'],
    );
    const { peer, primary } = planePeer(bench);
    deepEqual(peer, {
      peerId: 5,
      path: { socket: 7, remote: { ip: ip('192.0.2.1'), port: 1194 } },
      format: 'v2',
      keepalive: { intervalS: 10, timeoutS: 60 },
    });
    deepEqual([primary!.keyId, primary!.cipher, primary!.slot], [0, 'AES-256-GCM', 'primary']);
    equal(network(bench).mtu, 1400);
    equal(network(bench).device, 'tun0');
    deepEqual(addressTexts(network(bench)), ['10.8.0.2/24']);
    equal(bench.lastText(), 'connected: 10.8.0.2/24, AES-256-GCM, FAKE');
    equal(bench.notices.at(-1)!.action, 'connected');
  });

  it('the exporter only when the server says so, in either way', () => {
    const derivation = (push: string): string => {
      const bench = client();
      connected(bench, push);
      return bench.state.keys!.derivation;
    };
    equal(derivation(PUSH), 'tls-ekm');
    equal(derivation(without('protocol-flags')), 'tls1-prf');
    equal(derivation(PUSH.replace('cc-exit tls-ekm', 'cc-exit dyn-tls-crypt')), 'tls1-prf');
    equal(derivation(`${without('protocol-flags')},key-derivation tls-ekm`), 'tls-ekm');
  });

  it('the epoch format when the server says so and the data plane can', () => {
    const { capabilities } = client().state.options;
    const can = { capabilities: { ...capabilities, epoch: true } };
    const push = PUSH.replace('tls-ekm', 'tls-ekm aead-epoch');
    const bench = client(can);
    connected(bench, push);
    const key = planePeer(bench).primary!;
    ok(key.format === 'aead-epoch');
    deepEqual([key.encrypt.epochKey.length, key.decrypt.epochKey.length], [32, 32]);
    equal(bench.state.keys!.format, 'aead-epoch');
    const plain = client(can);
    connected(plain, PUSH);
    equal(planePeer(plain).primary!.format, 'aead');
    equal(refused(push), 'server pushed aead-epoch, which this data plane cannot do');
    const noId = without('peer-id').replace('tls-ekm', 'tls-ekm aead-epoch');
    equal(refused(noId, can), 'server pushed aead-epoch without peer-id');
  });

  it('no peer-id: the old format, refused by a plane that cannot', () => {
    const bench = client();
    connected(bench, without('peer-id'));
    equal(planePeer(bench).peer.format, 'v1');
    equal(planePeer(bench).peer.peerId, 0);
    const capabilities = { ...bench.state.options.capabilities, dataV1: false };
    match(refused(without('peer-id'), { capabilities }), /^server pushed no peer-id, which this data plane/);
  });

  it('the pushed cipher counts, in any case; else the one of the options string', () => {
    const cipher = (push: string, occ = ''): string => {
      const bench = client();
      connected(bench, push, { occ });
      return planePeer(bench).primary!.cipher;
    };
    equal(
      cipher(PUSH.replace('AES-256-GCM', 'chacha20-poly1305'), 'cipher AES-128-GCM'),
      'CHACHA20-POLY1305',
    );
    equal(cipher(without('cipher'), 'V4,cipher AES-128-GCM'), 'AES-128-GCM');
  });

  it('a cipher we do not want, do not have or are not told: refused', () => {
    const ciphers = ['AES-256-GCM'] as const;
    equal(
      refused(PUSH.replace('AES-256-GCM', 'AES-128-GCM'), { ciphers }),
      'no common data cipher: the server wants AES-128-GCM, data_ciphers has AES-256-GCM',
    );
    match(refused(PUSH.replace('AES-256-GCM', 'BF-CBC')), /the server wants BF-CBC/);
    match(refused(PUSH.replace('AES-256-GCM', 'toString')), /the server wants TOSTRING/);
    match(refused(PUSH.replace('AES-256-GCM', '__proto__')), /not a cipher name/);
    match(refused(without('cipher'), {}, { occ: 'V4,cipher BF-CBC' }), /the server wants BF-CBC/);
    equal(refused(without('cipher')), 'no common data cipher: the server names none');
  });

  it('a new key waits for a hand window or half a renegotiation period, whichever is shorter', () => {
    const defer = (seconds: number): number => pushed('verb 3', { renegS: seconds }).state.keys!.deferMs;
    deepEqual([defer(3600), defer(0), defer(20)], [60_000, 60_000, 10_000]);
  });

  it('no usable key: refused, nothing installed', () => {
    const bench = client();
    bench.tls.options.zeroExporter = true;
    say(bench, negotiated(bench), PUSH);
    match(bench.state.lastError, /no usable data key$/);
    deepEqual(bench.plane.commands, []);
  });

  it('compression, tap, an unknown topology and no address are refused with their option', () => {
    equal(refused(`${PUSH},compress lzo`), "server pushed 'compress lzo': compression is not supported");
    match(refused(`${PUSH},comp-lzo no`), /'comp-lzo no': compression/);
    match(refused(`${PUSH},dev-type tap`), /'dev-type tap': layer-2/);
    match(refused(PUSH.replace('topology subnet', 'topology ring')), /'topology ring': unknown topology/);
    match(refused(`${PUSH},peer-id 99999999`), /'peer-id 99999999'/);
    equal(refused(without('ifconfig')), 'server pushed no address');
    match(refused(PUSH.replace('10.8.0.2', '127.0.0.1')), /'ifconfig 127\.0\.0\.1/);
    match(refused('PUSH_REPLYING'), /^malformed push reply$/);
  });

  it('stub-v2 and unknown options are let through, and noted', () => {
    const bench = pushed('compress stub-v2,script-security 2,up /bin/sh,dhcp-option DOMAIN x;reboot');
    const notes = bench.texts().filter(text => text.includes('ignored'));
    equal(notes.length, 3);
    deepEqual(network(bench).dns, { servers: [], domains: [] });
  });

  it('after a refusal the next remote, also when there was a connection before', () => {
    const remotes = [1, 2].map(n => ({ host: `192.0.2.${n}`, port: 1194, family: 0 as const }));
    const bench = client({ remotes });
    say(bench, negotiated(bench), `${PUSH},compress lzo`);
    equal(bench.state.remoteIndex, 1);
  });
});

describe('core/pull: keepalive', () => {
  const keepalive = (times: string, more: Partial<ClientOptions> = {}): number[] => {
    const bench = client(more);
    connected(bench, `${without('ping')}${times}`);
    const { intervalS, timeoutS } = planePeer(bench).peer.keepalive!;
    return [intervalS, timeoutS];
  };

  it('what is pushed, else our own', () => {
    deepEqual(keepalive(',ping 7,ping-restart 21'), [7, 21]);
    deepEqual(keepalive(''), [10, 60]);
    deepEqual(keepalive(',ping-exit 33'), [10, 33]);
    deepEqual(keepalive(',ping-exit 33,ping-restart 44'), [10, 44]);
  });

  it('one side only is made two, both or none', () => {
    deepEqual(keepalive(',ping 7,ping-restart 0'), [7, 86400]);
    deepEqual(keepalive(',ping 0,ping-restart 30'), [10, 30]);
    deepEqual(keepalive(',ping 0,ping-restart 2'), [1, 2]);
    deepEqual(keepalive(',ping 0,ping-restart 0'), [0, 0]);
    deepEqual(keepalive('', { ping: 0, pingRestart: 0 }), [0, 0]);
    deepEqual(keepalive(',ping 99999999,ping-restart 99999999'), [86400, 86400]);
  });
});

describe('core/pull: addresses and routes', () => {
  it('a network, a point-to-point pair, IPv6, all of them', () => {
    const addresses = (push: string): string[] => {
      const bench = client();
      connected(bench, push);
      return addressTexts(network(bench));
    };
    const p2p = PUSH.replace('topology subnet,', '').replace('255.255.255.0', '10.8.0.1');
    deepEqual(addresses(p2p), ['10.8.0.2 peer 10.8.0.1']);
    const v6 = ',ifconfig-ipv6 fd42::2/64 fd42::1';
    deepEqual(addresses(PUSH + v6), ['10.8.0.2/24', 'fd42::2/64']);
    deepEqual(addresses(without('ifconfig') + v6), ['fd42::2/64']);
  });

  it('pushed routes with their metric, the pushed one, or ours; our own first, each once', () => {
    const own = [prefix('10.60.0.0/16'), prefix('10.61.0.0/16')];
    const options =
      'route 10.61.0.0 255.255.0.0,route 10.62.0.7 255.255.0.0,route 10.63.0.9,route 10.62.0.0 255.255.0.0';
    deepEqual(routes(pushed(options, { routes: own, metric: 5 })), [
      '10.60.0.0/16 5',
      '10.61.0.0/16 5',
      '10.62.0.0/16 5',
      '10.63.0.9/32 5',
    ]);
    const metrics = 'route-metric 50,route 10.1.0.0 255.255.0.0,route 10.2.0.0 255.255.0.0 vpn_gateway 7';
    deepEqual(routes(pushed(metrics)), ['10.1.0.0/16 50', '10.2.0.0/16 7']);
  });

  it('refused: loopback, multicast, link-local, broadcast, the default route, ways around the tunnel', () => {
    const bad = [
      'route 127.0.0.1',
      'route 127.0.0.0 255.0.0.0',
      'route 224.0.0.0 240.0.0.0',
      'route 239.1.2.3',
      'route 255.255.255.255',
      'route 169.254.0.0 255.255.0.0',
      'route 169.254.1.1',
      'route 0.0.0.0 0.0.0.0',
      'route 0.0.0.0 255.0.0.0',
      'route 10.7.0.0 255.255.0.0 net_gateway',
      'route-ipv6 ::1/128',
      'route-ipv6 ff02::/16',
      'route-ipv6 fe80::/10',
      'route-ipv6 fe80::/64',
      'route-ipv6 ::/0',
    ];
    const more = 'ifconfig-ipv6 fd42::2/64 fd42::1,route 10.7.1.0 255.255.255.0,route-ipv6 fd77::/64';
    deepEqual(routes(pushed(`${bad.join(',')},${more}`)), ['10.7.1.0/24 0', 'fd77::/64 0']);
  });

  it('what is not followed though it is well-formed is said', () => {
    const bench = pushed(
      'redirect-gateway def1,route 0.0.0.0 0.0.0.0,route-ipv6 fd77::/64,route 10.7.0.0 255.255.0.0 net_gateway',
    );
    const said = bench.notices.filter(notice => notice.level === 'warn').map(notice => notice.text);
    deepEqual(said, [
      'pushed redirect-gateway not followed: redirect_gateway is off',
      'pushed route 0.0.0.0/0 not followed: it takes the default route, and redirect_gateway is off',
      'pushed route fd77::/64 not followed: the tunnel has no IPv6 address',
      'pushed route 10.7.0.0/16 not followed: a way around the tunnel is not supported yet',
    ]);
  });

  it('the default route by another name is not followed, what is private or as wide as anybody has is', () => {
    const own6 = 'ifconfig-ipv6 fd42::2/64 fd42::1';
    const parts = ['0.0.0.0 192.0.0.0', '64.0.0.0 192.0.0.0', '128.0.0.0 128.0.0.0', '16.0.0.0 254.0.0.0'];
    const wide = [
      ...parts.map(text => `route ${text}`),
      ...['2000::/3', '2000::/4', '::/3', '2000::/15', '8000::/1'].map(text => `route-ipv6 ${text}`),
    ].join(',');
    deepEqual(routes(pushed(`${own6},${wide}`)), []);
    const good = 'route 10.0.0.0 255.0.0.0,route-ipv6 fc00::/7,route-ipv6 fd00::/8,route-ipv6 2a00::/16';
    deepEqual(routes(pushed(`${own6},${good}`)), ['10.0.0.0/8 0', 'fc00::/7 0', 'fd00::/8 0', '2a00::/16 0']);
    equal(routes(pushed(`${own6},${wide}`, { redirectGateway: true })).length > 10, true);
  });

  it('redirect_gateway: every family the tunnel has, the server outside, whatever is pushed', () => {
    const four = ['0.0.0.0/1 0', '128.0.0.0/1 0'];
    const six = ['::/3 0', '2000::/4 0', '3000::/4 0', 'fc00::/7 0'];
    const own6 = 'ifconfig-ipv6 fd42::2/64 fd42::1';
    const redirected = (options: string) => pushed(options, { redirectGateway: true });
    deepEqual(routes(redirected('verb 3')), four);
    deepEqual(network(redirected('verb 3')).outside.map(formatIp), ['192.0.2.1']);
    deepEqual(routes(redirected(`redirect-gateway def1,${own6}`)), [...four, ...six]);
    deepEqual(routes(redirected(`redirect-gateway ipv6 !ipv4,${own6}`)), six);
    deepEqual(routes(redirected('route 0.0.0.0 0.0.0.0')), [...four, '0.0.0.0/0 0']);
    deepEqual(routes(pushed('redirect-gateway def1')), []);
  });

  it('redirected, the next remote is reached outside the tunnel of the last; a name gets the default route back', () => {
    const remotes = ['192.0.2.1', 'vpn.example.org'].map(host => ({ host, port: 1194, family: 0 as const }));
    const bench = pushed('verb 3', { redirectGateway: true, remotes });
    const { state } = bench;
    const opened = newOutbox();
    state.remoteIndex = 0;
    state.addresses = [ip('198.51.100.7')];
    open(state, bench.now, opened);
    deepEqual(opened.network?.outside.map(formatIp), ['198.51.100.7']);
    equal(opened.network?.routes.length, 2);
    const resolving = newOutbox();
    state.remoteIndex = 1;
    state.addresses = [];
    connect(state, bench.now, resolving);
    deepEqual(resolving.network?.routes, []);
  });

  it('route_nopull: ours only; everything else is taken', () => {
    const bench = pushed('route 10.62.0.0 255.255.0.0,dhcp-option DNS 10.8.0.1', {
      routes: [prefix('10.60.0.0/16')],
      routeNopull: true,
    });
    deepEqual(routes(bench), ['10.60.0.0/16 0']);
    deepEqual(network(bench).dns.servers.map(formatIp), ['10.8.0.1']);
    deepEqual(addressTexts(network(bench)), ['10.8.0.2/24']);
  });

  it('a route that covers the server keeps its way outside, any other does not', () => {
    const outside = (options: string, more: Partial<ClientOptions> = {}): string[] =>
      network(pushed(options, more)).outside.map(formatIp);
    deepEqual(outside('route 192.0.2.0 255.255.255.0'), ['192.0.2.1']);
    deepEqual(outside('route 192.0.0.0 255.0.0.0'), ['192.0.2.1']);
    // Halves and quarters of everything are the default route by another name, and no more followed than that.
    deepEqual(outside('route 192.0.0.0 192.0.0.0'), []);
    deepEqual(outside('route 128.0.0.0 128.0.0.0'), []);
    deepEqual(outside('route 192.0.2.2'), []);
    deepEqual(outside('route 0.0.0.0 192.0.0.0'), []);
    deepEqual(outside('verb 3', { routes: [prefix('0.0.0.0/0')] }), ['192.0.2.1']);
  });

  it('a route to the server and nothing else would win against its way outside: not followed', () => {
    for (const bench of [
      pushed('route 192.0.2.1,route 10.7.0.0 255.255.0.0'),
      pushed('route 10.7.0.0 255.255.0.0', { routes: [prefix('192.0.2.1/32')] }),
    ]) {
      deepEqual([routes(bench), network(bench).outside], [['10.7.0.0/16 0'], []]);
      ok(bench.notices.some(({ text }) => text === 'route 192.0.2.1 not followed: it is the server itself'));
    }
    const covered = pushed('route 192.0.2.0 255.255.255.254,route 192.0.2.1');
    deepEqual([routes(covered), network(covered).outside.map(formatIp)], [['192.0.2.0/31 0'], ['192.0.2.1']]);
  });

  it('what a server pushes is marked so, what the configuration says is not', () => {
    const bench = pushed('route 10.7.0.0 255.255.0.0,route 10.60.0.0 255.255.0.0', {
      routes: [prefix('10.60.0.0/16')],
    });
    deepEqual(
      network(bench).routes.map(route => route.isPushed),
      [undefined, true],
    );
  });

  it('hundreds of routes, and no more', () => {
    const all = Array.from(
      { length: 700 },
      (_, i) => `route 10.${100 + (i >> 8)}.${i & 255}.0 255.255.255.0`,
    );
    const bench = client();
    const hand = negotiated(bench);
    for (let i = 0; i < all.length; i += 20) {
      say(bench, hand, `PUSH_REPLY,${all.slice(i, i + 20).join(',')},push-continuation 2`);
    }
    say(bench, hand, `${PUSH},push-continuation 1`);
    equal(network(bench).routes.length, 512);
  });

  it('the wanted network stays while the client reconnects, and is replaced by the next push reply', () => {
    const bench = pushed('route 10.62.0.0 255.255.0.0');
    bench.step({ kind: 'command', command: 'disconnect' });
    bench.pass(2000);
    equal(bench.networks.length, 1);
    connected(bench, PUSH.replace('10.8.0.2', '10.8.0.3'));
    deepEqual(addressTexts(network(bench)), ['10.8.0.3/24']);
    deepEqual(routes(bench), []);
  });
});
