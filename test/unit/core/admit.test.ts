// SPDX-License-Identifier: Apache-2.0
// Who is let in, with which cipher, keys and addresses, and what it is told.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { formatIp, parsePrefix } from '../../../src/core/address.ts';
import { IV_PROTO_AUTH_FAIL_TEMP } from '../../../src/core/peerinfo.ts';
import type { FixedPeer } from '../../../src/core/server.ts';
import { ip, type ServerBench } from './bench.ts';
import { fakeTls } from './fake-tls.ts';
import {
  CIPHERS,
  converse,
  type Hand,
  type HandOptions,
  join,
  PROTO_ALL,
  pathOf,
  peerInfo,
  rekey,
  type Server,
  say,
  server,
} from './hand.ts';

const prefix = (text: string) => parsePrefix(text)!;
const fixedPeer = (more: Partial<FixedPeer>): FixedPeer => ({
  name: 'office',
  enabled: true,
  commonName: 'alice',
  addresses: [],
  routes: [],
  ...more,
});

/** Options pushed to a client, without the word in front. */
const pushed = (hand: Hand): string[] => (hand.texts[0] ?? '').split(',').slice(1);
const planePeer = (bench: ServerBench, peerId = 0) => bench.plane.peers.get(peerId)?.peer;

/** Joins and must be refused: with these words to the client and these in the log. */
function refused(bench: Server, options: HandOptions, text: string | undefined, reason: RegExp): void {
  const { size } = bench.plane.peers;
  const commands = bench.plane.commands.length;
  const hand = join(bench, options);
  equal(hand.texts[0], text);
  match(bench.lastText(), reason);
  const last = bench.notices.at(-1)!;
  deepEqual([last.action, last.level], ['refused', 'warn']);
  deepEqual([bench.plane.peers.size, bench.state.byId.size], [size, size]);
  equal(bench.plane.commands.length, commands, 'the plane never heard of it');
  // It is gone 5 s later, however often it asks.
  say(bench, hand, 'PUSH_REQUEST');
  equal(hand.texts.length, text === undefined ? 0 : 1);
  bench.pass(5000);
  equal(bench.state.peers.size, size);
}

describe('core/admit: who', () => {
  it('a configured peer has its name, its addresses and its networks', () => {
    const bench = server({
      addresses: [prefix('10.8.0.1/24'), prefix('fd42::1/64')],
      peers: [
        fixedPeer({ addresses: [ip('fd42::77'), ip('10.8.0.77')], routes: [prefix('192.168.9.0/24')] }),
      ],
    });
    const hand = join(bench);
    const peer = planePeer(bench)!;
    equal(formatIp(peer.vpnIp4!), '10.8.0.77');
    equal(formatIp(peer.vpnIp6!), 'fd42::77');
    deepEqual(peer.routes, [prefix('192.168.9.0/24')]);
    deepEqual(peer.keepalive, { intervalS: 10, timeoutS: 120 });
    ok(pushed(hand).includes('ifconfig 10.8.0.77 255.255.255.0'));
    ok(pushed(hand).includes('ifconfig-ipv6 fd42::77/64 fd42::1'));
    match(bench.lastText(), /^office connected from .*: 10\.8\.0\.77 fd42::77, /);
    // Nobody else gets them.
    join(bench, { commonName: 'bob', path: pathOf(2) });
    equal(formatIp(planePeer(bench, 1)!.vpnIp4!), '10.8.0.2');
    deepEqual(planePeer(bench, 1)!.routes, []);
  });

  it('a family without a fixed address comes from the pool', () => {
    const bench = server({
      addresses: [prefix('10.8.0.1/24'), prefix('fd42::1/64')],
      peers: [fixedPeer({ addresses: [ip('10.8.0.77')] })],
    });
    join(bench);
    equal(formatIp(planePeer(bench)!.vpnIp6!), 'fd42::2');
  });

  it('a disabled peer is refused, an enabled one is not, a name differing in case is another', () => {
    const bench = server({ peers: [fixedPeer({ enabled: false })] });
    refused(
      bench,
      {},
      'AUTH_FAILED,disabled by the administrator',
      /^198\.51\.100\.1:40000 refused: peer 'office' is disabled$/,
    );
    join(bench, { commonName: 'Alice', path: pathOf(2) });
    equal(bench.state.byId.size, 1);
  });

  it('a configured certificate is its peer, whatever it calls itself', () => {
    const fingerprint = '7'.padStart(64, '0');
    const tls = fakeTls({ role: 'client', commonName: 'laptop', serial: 7 });
    for (const commonName of ['laptop', 'alice', '']) {
      tls.options.commonName = commonName;
      const bench = server({ peers: [fixedPeer({ fingerprint, addresses: [ip('10.8.0.77')] })] });
      const hand = join(bench, { tls });
      match(bench.lastText(), /^office connected from .*: 10\.8\.0\.77, /);
      rekey(bench, hand);
      equal(bench.lastText(), 'office: renegotiated, key 1');
      refused(
        server({ peers: [fixedPeer({ fingerprint, enabled: false })] }),
        { tls },
        'AUTH_FAILED,disabled by the administrator',
        /refused: peer 'office' is disabled$/,
      );
    }
    // Another certificate of its name is still refused, and one of no peer goes by its own.
    refused(
      server({ peers: [fixedPeer({ fingerprint })] }),
      {},
      'AUTH_FAILED',
      /refused: its certificate is not the one of peer 'office' \(fingerprint\)$/,
    );
    const other = server({ peers: [fixedPeer({ fingerprint })] });
    join(other, { commonName: 'bob' });
    match(other.lastText(), /^bob connected/);
  });

  it('a certificate without a common name is refused', () => {
    refused(server(), { commonName: '' }, 'AUTH_FAILED', /refused: its certificate has no common name$/);
  });

  it('a name with control characters is shown harmlessly', () => {
    const bench = server();
    join(bench, { commonName: 'a\nb\x1b[31m"' });
    match(bench.lastText(), /^a\\x0ab\\x1b\[31m" connected/);
  });

  it('the same client finds its address again', () => {
    const bench = server();
    join(bench, { commonName: 'bob', path: pathOf(2) });
    say(bench, join(bench), 'EXIT');
    join(bench, { commonName: 'carol', path: pathOf(3) });
    join(bench, { path: pathOf(4) });
    equal([...bench.state.byId.values()].at(-1)!.vpnIps[0]!, '10.8.0.3');
  });

  it('duplicate_cn: the second of a configured peer gets an address from the pool', () => {
    const bench = server({ duplicateCn: true, peers: [fixedPeer({ addresses: [ip('10.8.0.77')] })] });
    join(bench);
    join(bench, { path: pathOf(2) });
    equal(formatIp(planePeer(bench, 0)!.vpnIp4!), '10.8.0.77');
    equal(formatIp(planePeer(bench, 1)!.vpnIp4!), '10.8.0.2');
  });
});

describe('core/admit: room', () => {
  it('max_clients: one more is asked to come later, and the others stay', () => {
    const bench = server({ maxClients: 2 });
    join(bench, { commonName: 'a', path: pathOf(2) });
    join(bench, { commonName: 'b', path: pathOf(3) });
    const knowsTemp = { commonName: 'c', peerInfo: peerInfo(PROTO_ALL | IV_PROTO_AUTH_FAIL_TEMP) };
    const text = 'AUTH_FAILED,TEMP[backoff 60]:too many clients';
    refused(bench, knowsTemp, text, /^c \(198\.51\.100\.1:40000\) refused: max_clients 2 reached$/);
    // AUTH_FAILED would be for good with a client that does not know TEMP: it hears nothing.
    refused(bench, { commonName: 'c' }, undefined, /max_clients 2 reached$/);
    // Coming again is not one more.
    join(bench, { commonName: 'b', path: pathOf(4) });
    equal(bench.state.byId.size, 2);
    say(bench, join(bench, { commonName: 'b', path: pathOf(5) }), 'EXIT');
    join(bench, { commonName: 'c', path: pathOf(6) });
    equal(bench.state.byId.size, 2);
  });

  it('no address left: later, too; and the family that had one keeps it for others', () => {
    const bench = server({ addresses: [prefix('10.8.0.1/24'), prefix('fd42::1/126')] });
    join(bench, { commonName: 'a', path: pathOf(2) });
    join(bench, { commonName: 'b', path: pathOf(3) });
    const text = 'AUTH_FAILED,TEMP[backoff 60]:no free address';
    refused(
      bench,
      { commonName: 'c', peerInfo: peerInfo(PROTO_ALL | IV_PROTO_AUTH_FAIL_TEMP) },
      text,
      /refused: no free tunnel address$/,
    );
    equal(bench.state.pools[0]!.used.size, 2);
    equal(bench.state.pools[1]!.used.size, 2);
  });

  it('peer ids are the lowest free ones, addresses are given back', () => {
    const bench = server();
    const hands = ['a', 'b', 'c'].map((commonName, i) => join(bench, { commonName, path: pathOf(i + 2) }));
    deepEqual([...bench.state.byId.keys()], [0, 1, 2]);
    say(bench, hands[1]!, 'EXIT');
    join(bench, { commonName: 'd', path: pathOf(9) });
    deepEqual([...bench.plane.peers.keys()].sort(), [0, 1, 2]);
    equal(bench.state.pools[0]!.used.size, 3);
  });

  it('no usable key: nothing of it stays', () => {
    const bench = server();
    bench.tls.options.zeroExporter = true;
    refused(bench, {}, undefined, /refused: no usable data key$/);
    equal(bench.state.pools[0]!.used.size, 0);
  });
});

describe('core/admit: limits of the connection', () => {
  it('a new key waits for a hand window or half a renegotiation period, whichever is shorter', () => {
    const defer = (renegS: number): number => {
      const bench = server({ renegS });
      join(bench);
      return bench.state.byId.get(0)!.keys!.deferMs;
    };
    deepEqual([defer(3600), defer(0), defer(120), defer(20)], [60_000, 60_000, 60_000, 10_000]);
  });

  it('control packets fit 1250 bytes with their headers, over IPv4 and over IPv6', () => {
    for (const [path, headers] of [
      [pathOf(), 28],
      [{ socket: 1, remote: { ip: ip('fd00::9'), port: 4 } }, 48],
    ] as const) {
      const bench = server();
      bench.tls.options.chainLength = 5000;
      const sizes: number[] = [];
      const step = bench.step.bind(bench);
      bench.step = event => {
        const effects = step(event);
        sizes.push(...bench.sent.map(sent => sent.bytes.length));
        return effects;
      };
      join(bench, { path });
      const largest = Math.max(...sizes) + headers;
      ok(bench.state.byId.size === 1 && largest <= 1250 && largest > 1230, `${largest}`);
    }
  });
});

describe('core/admit: ciphers', () => {
  const cipherOf = (offered: Record<string, string>, occ = ''): string | undefined => {
    const bench = server({ ciphers: ['CHACHA20-POLY1305', 'AES-128-GCM', 'AES-256-GCM'] });
    const hand = join(bench, { peerInfo: peerInfo(PROTO_ALL, offered), occ });
    const line = pushed(hand).find(option => option.startsWith('cipher '));
    const { cipher } = bench.plane.peers.get(0)!.primary!;
    ok(line === undefined || line === `cipher ${cipher}`);
    return `${cipher}${line === undefined ? ' unsaid' : ''}`;
  };

  it('the first of ours that it takes, in its three ways to say so', () => {
    equal(cipherOf({ IV_CIPHERS: 'AES-256-GCM:AES-128-GCM' }), 'AES-128-GCM');
    equal(cipherOf({ IV_CIPHERS: 'aes-256-gcm' }), 'AES-256-GCM');
    equal(cipherOf({ IV_CIPHERS: CIPHERS, IV_NCP: '2' }), 'CHACHA20-POLY1305');
    equal(cipherOf({ IV_NCP: '2' }), 'AES-128-GCM');
    equal(cipherOf({}, 'V4,cipher AES-256-GCM,auth SHA1'), 'AES-256-GCM unsaid');
  });

  it('none in common: refused in the words of OpenVPN, for CBC as for nothing', () => {
    const text = 'AUTH_FAILED,Data channel cipher negotiation failed (no shared cipher)';
    const offers: [Record<string, string>, string, RegExp][] = [
      [
        { IV_CIPHERS: 'AES-256-CBC:BF-CBC' },
        '',
        /it offers AES-256-CBC:BF-CBC, data_ciphers has AES-256-GCM/,
      ],
      [{}, 'V4,cipher BF-CBC', /it offers BF-CBC/],
      [{}, '', /it offers none named/],
      [{ IV_NCP: '1' }, '', /it offers none named/],
      [{ IV_CIPHERS: '__proto__:constructor' }, '', /it offers __PROTO__:CONSTRUCTOR/],
      [{ IV_CIPHERS: '' }, 'V4,cipher AES-256-GCM', /it offers none named/],
    ];
    for (const [offer, occ, reason] of offers) {
      refused(server(), { peerInfo: peerInfo(PROTO_ALL, offer), occ }, text, reason);
    }
  });

  it('tap and compression in the options string are refused, other differences are not', () => {
    const tap = { occ: 'V4,dev-type tap,link-mtu 1541' };
    refused(server(), tap, 'AUTH_FAILED,tap (layer 2), which is not supported', /it uses tap \(layer 2\)/);
    const text = 'AUTH_FAILED,compression framing (comp-lzo or compress), which is not supported';
    refused(server(), { occ: 'V4,dev-type tun,comp-lzo' }, text, /it uses compression framing/);
    const bench = server();
    join(bench, { occ: 'V9,dev-type tun,tun-mtu 9000,proto TCPv4_CLIENT,auth MD5,tls-client,nonsense' });
    equal(bench.state.byId.size, 1);
  });
});

describe('core/admit: protocol bits', () => {
  /** What a client with these bits got. */
  function offer(proto: number | undefined, more: Record<string, string> = { IV_CIPHERS: CIPHERS }) {
    const bench = server();
    const info = proto === undefined ? '' : peerInfo(proto, more);
    const hand = join(bench, { peerInfo: info, occ: 'V4,cipher AES-256-GCM' });
    const atOnce = hand.texts.length > 0;
    if (!atOnce) say(bench, hand, 'PUSH_REQUEST');
    const options = pushed(hand).filter(line =>
      /^(peer-id|protocol-flags|key-derivation|tun-mtu)/.test(line),
    );
    const { derivation } = bench.state.byId.get(0)!.keys!;
    return { options, atOnce, derivation, format: planePeer(bench)!.format };
  }

  it('everything a present client can', () => {
    deepEqual(offer(PROTO_ALL), {
      options: ['peer-id 0', 'protocol-flags cc-exit tls-ekm'],
      atOnce: true,
      derivation: 'tls-ekm',
      format: 'v2',
    });
  });

  it('bit by bit', () => {
    const prf = 'tls1-prf';
    deepEqual(offer(2), { options: ['peer-id 0'], atOnce: false, derivation: prf, format: 'v2' });
    deepEqual(offer(2 + 4), { options: ['peer-id 0'], atOnce: true, derivation: prf, format: 'v2' });
    deepEqual(offer(2 + 8).options, ['peer-id 0', 'key-derivation tls-ekm']);
    equal(offer(2 + 8).derivation, 'tls-ekm');
    deepEqual(offer(2 + 128).options, ['peer-id 0', 'protocol-flags cc-exit']);
    equal(offer(2 + 128).derivation, prf);
    // What stock 2.6 and 2.7 send: nothing beyond what we know is pushed.
    deepEqual(offer(990).options, ['peer-id 0', 'protocol-flags cc-exit tls-ekm dyn-tls-crypt']);
    deepEqual(offer(8094).options, ['peer-id 0', 'protocol-flags cc-exit tls-ekm dyn-tls-crypt']);
    deepEqual(offer(2 + 512).options, ['peer-id 0'], 'not without the flags');
  });

  it('the epoch format, where the client, the data plane and the packets can', () => {
    const formats = (proto: number, epoch: boolean) => {
      const { capabilities } = server().state.options;
      const bench = server({ capabilities: { ...capabilities, epoch } });
      const hand = join(bench, { peerInfo: peerInfo(proto), occ: 'V4,cipher AES-256-GCM' });
      if (hand.texts.length === 0) say(bench, hand, 'PUSH_REQUEST');
      const isPushed = pushed(hand).some(line => /^protocol-flags.* aead-epoch$/.test(line));
      const peer = [...bench.plane.peers.values()][0]!;
      return [isPushed, bench.state.byId.get(0)!.keys!.format, peer.primary!.format];
    };
    deepEqual(formats(8094, true), [true, 'aead-epoch', 'aead-epoch']);
    const classic = [false, 'aead', 'aead'];
    deepEqual(formats(8094, false), classic, 'the plane cannot');
    deepEqual(formats(8094 - 1024, true), classic, 'the client cannot');
    deepEqual(formats(8094 - 2, true), classic, 'no peer-id');
    deepEqual(formats(2 + 1024, true), classic, 'no protocol-flags');
  });

  it('no P_DATA_V2: no peer-id, and refused by a plane that needs it', () => {
    deepEqual(offer(0), { options: [], atOnce: false, derivation: 'tls1-prf', format: 'v1' });
    deepEqual(offer(undefined), { options: [], atOnce: false, derivation: 'tls1-prf', format: 'v1' });
    deepEqual(offer(8).options, ['key-derivation tls-ekm']);
    const capabilities = { ...server().state.options.capabilities, dataV1: false };
    const bench = server({ capabilities });
    refused(bench, { peerInfo: peerInfo(8) }, 'AUTH_FAILED', /it does not know P_DATA_V2/);
    join(bench, { path: pathOf(2) });
    equal(bench.state.byId.size, 1);
  });

  it('tun-mtu only for those who say they can', () => {
    deepEqual(offer(2, { IV_CIPHERS: CIPHERS, IV_MTU: '1600' }).options, ['peer-id 0', 'tun-mtu 1500']);
  });

  it('hostile peer info changes nothing but itself', () => {
    const long = 'x'.repeat(600);
    const texts = [
      `__proto__=1\nconstructor=2\ntoString=3\n${peerInfo(PROTO_ALL)}`,
      `IV_VER=${long}\nUV_${'k'.repeat(200)}=1\n${peerInfo(PROTO_ALL)}`,
      `${peerInfo(PROTO_ALL)}IV_PROTO=0\nIV_CIPHERS=BF-CBC\n`,
      `=\n==\n\n\nno equals sign\n${peerInfo(PROTO_ALL)}`,
    ];
    for (const text of texts) {
      const bench = server();
      const hand = join(bench, { peerInfo: text });
      ok(pushed(hand).includes('protocol-flags cc-exit tls-ekm'), text.slice(0, 20));
    }
    equal(({} as Record<string, unknown>).IV_PROTO, undefined);
    for (const proto of ['-1', '1e9', '0x8e', ' 142', '99999999999999999999', '']) {
      const bench = server();
      join(bench, { peerInfo: `IV_PROTO=${proto}\nIV_CIPHERS=${CIPHERS}\n` });
      equal(planePeer(bench)!.format, 'v1');
    }
    // Ten kilobytes are no key method message at all.
    const bench = server();
    join(bench, { peerInfo: `IV_VER=${'x'.repeat(10_240)}\n` });
    match(bench.lastText(), /refused: malformed key method 2 message$/);
  });
});

describe('core/admit: the push reply', () => {
  it('says all in one message', () => {
    const bench = server({ push: ['dhcp-option DNS 10.8.0.1'], pushRoutes: [prefix('192.168.1.0/24')] });
    const hand = join(bench);
    deepEqual(hand.texts, [
      'PUSH_REPLY,dhcp-option DNS 10.8.0.1,route 192.168.1.0 255.255.255.0,topology subnet,ping 10,ping-restart 60,' +
        'route-gateway 10.8.0.1,ifconfig 10.8.0.2 255.255.255.0,peer-id 0,cipher AES-256-GCM,' +
        'protocol-flags cc-exit tls-ekm',
    ]);
  });

  it('IPv6 only: no IPv4 lines', () => {
    const hand = join(server({ addresses: [prefix('fd42::1/64')], pushRoutes: [prefix('fd43::/48')] }));
    const lines = pushed(hand).filter(line => /ifconfig|route|ipv6/.test(line));
    deepEqual(lines, ['route-ipv6 fd43::/48', 'tun-ipv6', 'ifconfig-ipv6 fd42::2/64 fd42::1']);
  });

  it('networks behind the client itself are not pushed to it, to others they are', () => {
    const bench = server({
      pushRoutes: [prefix('192.168.8.0/24'), prefix('192.168.9.0/24'), prefix('192.168.9.0/25')],
      peers: [fixedPeer({ routes: [prefix('192.168.9.0/24')] })],
    });
    const routes = (hand: Hand) => pushed(hand).filter(line => line.startsWith('route 192'));
    deepEqual(routes(join(bench)), ['route 192.168.8.0 255.255.255.0', 'route 192.168.9.0 255.255.255.128']);
    equal(routes(join(bench, { commonName: 'bob', path: pathOf(2) })).length, 3);
  });

  it('long ones come in parts, each within the limit', () => {
    const pushRoutes = Array.from({ length: 100 }, (_, i) => prefix(`10.99.${i}.0/24`));
    const hand = join(server({ pushRoutes }));
    ok(hand.texts.length > 2);
    for (const [i, text] of hand.texts.entries()) {
      ok(text.length < 1024 && text.startsWith('PUSH_REPLY,'));
      ok(text.endsWith(`,push-continuation ${i + 1 < hand.texts.length ? 2 : 1}`));
    }
    equal(hand.texts.join(',').match(/route 10\.99/g)!.length, 100);
  });

  it('asked for again: an answer, but none within 30 s of the last', () => {
    const bench = server();
    const hand = join(bench);
    equal(hand.texts.length, 1);
    bench.pass(29_999);
    say(bench, hand, 'PUSH_REQUEST');
    equal(hand.texts.length, 1);
    bench.pass(1);
    say(bench, hand, 'PUSH_REQUEST');
    say(bench, hand, 'PUSH_REQUEST');
    deepEqual(hand.texts, [hand.texts[0], hand.texts[0]]);
  });

  it('not before it is asked for without request-push', () => {
    const bench = server();
    const hand = join(bench, { peerInfo: peerInfo(2) });
    bench.pass(20_000, () => converse(bench, hand));
    deepEqual(hand.texts, []);
    equal(bench.plane.peers.size, 1, 'but the plane is ready');
  });
});
