// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { formatIp, formatPrefix } from '../../../src/core/address.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { collectPush, newPushCollector, type PushCollector, parsePush } from '../../../src/core/pushreply.ts';
import { ignored, refused, taken } from './pushed.ts';

function routes(...options: string[]): string[] {
  return taken(...options).routes.map(({ destination, gateway, metric }) => {
    const via = gateway instanceof Uint8Array ? formatIp(gateway) : gateway;
    return `${formatPrefix(destination)} ${via} ${metric}`;
  });
}

describe('core/pushreply: parts', () => {
  const collect = (state: PushCollector, text: string) => {
    const result = collectPush(state, text);
    return isDrop(result) ? result.drop : result === 'more' ? result : result.options;
  };

  it('one message, with and without a continuation mark', () => {
    deepEqual(collect(newPushCollector(), 'PUSH_REPLY'), []);
    deepEqual(collect(newPushCollector(), 'PUSH_REPLY,ping 10,topology subnet'), [
      'ping 10',
      'topology subnet',
    ]);
    deepEqual(collect(newPushCollector(), 'PUSH_REPLY,ping 10,push-continuation 1'), ['ping 10']);
    deepEqual(collect(newPushCollector(), 'PUSH_REPLY,,  ping 10,'), ['ping 10']);
  });

  it('several parts, then nothing is left of them', () => {
    const state = newPushCollector();
    equal(collect(state, 'PUSH_REPLY,a,push-continuation 2'), 'more');
    equal(collect(state, 'PUSH_REPLY,b,push-continuation 2'), 'more');
    deepEqual(collect(state, 'PUSH_REPLY,c,push-continuation 1'), ['a', 'b', 'c']);
    deepEqual(collect(state, 'PUSH_REPLY,d'), ['d']);
  });

  it('anything else is no PUSH_REPLY and changes nothing', () => {
    const state = newPushCollector();
    equal(collect(state, 'PUSH_REPLY,a,push-continuation 2'), 'more');
    for (const text of ['', 'PUSH_REPLYX', 'push_reply,b', 'AUTH_FAILED', ' PUSH_REPLY,b', 'PUSH_UPDATE,b']) {
      equal(collect(state, text), 'push');
    }
    deepEqual(collect(state, 'PUSH_REPLY,c'), ['a', 'c']);
  });

  it('endless parts and endless options are dropped and forgotten', () => {
    const state = newPushCollector();
    for (let i = 0; i < 127; i++) equal(collect(state, 'PUSH_REPLY,a,push-continuation 2'), 'more');
    equal(collect(state, 'PUSH_REPLY,a,push-continuation 2'), 'push');
    equal(state.options.length, 0);
    const many = `PUSH_REPLY${',a'.repeat(400)}`;
    for (let i = 0; i < 5; i++) equal(collect(state, `${many},push-continuation 2`), 'more');
    equal(collect(state, many), 'push');
    deepEqual(collect(state, 'PUSH_REPLY,b'), ['b']);
    const full = `PUSH_REPLY${',a'.repeat(2048)}`;
    equal(collect(state, `${full},push-continuation 2`), 'more');
    equal(collect(state, 'PUSH_REPLY')?.length, 2048);
    equal(collect(state, `${full},a`), 'push');
  });
});

describe('core/pushreply: addresses', () => {
  it('topology subnet: address and netmask', () => {
    for (const order of [0, 1]) {
      const options = ['topology subnet', 'ifconfig 10.8.0.2 255.255.255.0'];
      const { address, topology } = taken(...(order ? options.reverse() : options));
      equal(topology, 'subnet');
      equal(formatIp(address!.local), '10.8.0.2');
      equal(address!.bits, 24);
      equal('remote' in address!, false);
    }
  });

  it('no topology is net30: address and the other end', () => {
    const { address, topology } = taken('ifconfig 10.8.0.6 10.8.0.5');
    equal(topology, 'net30');
    equal(formatIp(address!.remote!), '10.8.0.5');
    equal('bits' in address!, false);
    equal(taken('topology p2p', 'ifconfig 10.8.0.6 10.8.0.1').topology, 'p2p');
  });

  it('a local topology counts until one is pushed', () => {
    equal(parsePush(['ifconfig 10.8.0.2 255.255.255.0'], 'subnet').address!.bits, 24);
    deepEqual(parsePush(['topology p2p', 'ifconfig 10.8.0.2 10.8.0.1'], 'subnet').refused, []);
  });

  it('refuses addresses that cannot be', () => {
    for (const words of ['', '10.8.0.2', 'x 255.255.255.0', '10.8.0.2 255.0.255.0', '10.8.0.2 10.8.0.1']) {
      ok(refused('topology subnet', `ifconfig ${words}`));
    }
    for (const ip of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', 'fd00::1']) {
      ok(refused('topology subnet', `ifconfig ${ip} 255.255.255.0`));
      ok(refused(`ifconfig ${ip} 10.8.0.1`));
    }
    // The route to the own network would be the default route by another name.
    for (const mask of ['0.0.0.0', '128.0.0.0', '254.0.0.0'])
      ok(refused('topology subnet', `ifconfig 10.8.0.2 ${mask}`));
    equal(taken('topology subnet', 'ifconfig 10.8.0.2 255.0.0.0').address!.bits, 8);
    match(refused('ifconfig 10.8.0.2 255.255.255.0'), /no address of the other end/);
    ok(refused('topology ring'));
    equal(parsePush(['ifconfig x y']).address, undefined);
  });

  it('ifconfig-ipv6', () => {
    const { ifconfig6 } = taken('ifconfig-ipv6 fd42:8::1000/64 fd42:8::1');
    equal(formatPrefix(ifconfig6!.address), 'fd42:8::1000/64');
    equal(formatIp(ifconfig6!.remote), 'fd42:8::1');
    for (const words of [
      '',
      'fd42::1/64',
      '10.8.0.2/24 10.8.0.1',
      'fd42::1/64 10.8.0.1',
      'x y',
      '::1/64 fd42::1',
    ]) {
      ok(refused(`ifconfig-ipv6 ${words}`));
    }
    ok(ignored('ifconfig-ipv6 fd42::1000/63 fd42::1'));
    ok(ignored('ifconfig-ipv6 fd42::1000/125 fd42::1'));
    ok(ignored('ifconfig-ipv6 fd42::1000 fd42::1'));
    ok(taken('ifconfig-ipv6 fd42::1000/124 fd42::1').ifconfig6);
  });
});

describe('core/pushreply: routes', () => {
  it('of both families in one list, host bits clear', () => {
    deepEqual(
      routes(
        'route 192.168.1.7 255.255.255.0',
        'route 10.1.2.3',
        'route 10.0.0.0 255.0.0.0 10.8.0.9 200',
        'route 10.2.0.0 default default 5',
        'route 0.0.0.0 0.0.0.0 vpn_gateway',
        'route 10.3.0.0 255.255.0.0 net_gateway',
        'route-ipv6 fd42:9::1/64',
        'route-ipv6 fd42:9::1 default 7',
        'route-ipv6 2000::/3 fd42::1',
      ),
      [
        '192.168.1.0/24 undefined undefined',
        '10.1.2.3/32 undefined undefined',
        '10.0.0.0/8 10.8.0.9 200',
        '10.2.0.0/32 undefined 5',
        '0.0.0.0/0 vpn_gateway undefined',
        '10.3.0.0/16 net_gateway undefined',
        'fd42:9::/64 undefined undefined',
        'fd42:9::1/128 undefined 7',
        '2000::/3 fd42::1 undefined',
      ],
    );
  });

  it('ignores bad ones and keeps the rest', () => {
    for (const bad of [
      'route',
      'route example.org',
      'route 10.0.0.0 255.0.255.0',
      'route 10.0.0.0 255.0.0.0 gateway',
      'route 10.0.0.0 255.0.0.0 fd42::1',
      'route 10.0.0.0 255.0.0.0 default -1',
      'route 10.0.0.0 255.0.0.0 default 99999999999',
      'route fd42::1',
      'route-ipv6 10.0.0.0/8',
      'route-ipv6 fd42::/129',
      'route-ipv6 fd42::/64 10.0.0.1',
      'route remote_host 255.255.255.255 net_gateway',
    ]) {
      ok(ignored('route 10.9.0.0 255.255.0.0', bad));
      equal(parsePush(['route 10.9.0.0 255.255.0.0', bad]).routes.length, 1);
    }
  });

  it('ignores what never lies behind a tunnel, but not what contains it', () => {
    for (const bad of [
      '127.0.0.1',
      '127.0.0.0 255.0.0.0',
      '224.0.0.0 240.0.0.0',
      '255.255.255.255',
      '0.1.0.0 255.255.0.0',
    ]) {
      match(ignored(`route ${bad}`), /cannot lie/);
    }
    for (const bad of ['::1/128', 'ff02::/16', 'fe80::/64', '::ffff:10.0.0.0/104', '::/128']) {
      match(ignored(`route-ipv6 ${bad}`), /cannot lie/);
    }
    equal(routes('route 0.0.0.0 128.0.0.0', 'route 128.0.0.0 128.0.0.0', 'route-ipv6 ::/0').length, 3);
  });

  it('takes 512 and ignores the rest', () => {
    const list = Array.from({ length: 600 }, (_, i) => `route 10.${i >> 8}.${i & 255}.0 255.255.255.0`);
    const pushed = parsePush(list);
    equal(pushed.routes.length, 512);
    equal(pushed.ignored.length, 88);
    match(pushed.ignored[0]!.reason, /512/);
  });

  it('gateway, metric and redirection', () => {
    const pushed = taken(
      'route-gateway 10.8.0.1',
      'route-metric 50',
      'redirect-gateway def1 !ipv4',
      'redirect-gateway ipv6 def1',
    );
    equal(formatIp(pushed.routeGateway!), '10.8.0.1');
    equal(pushed.routeMetric, 50);
    deepEqual(pushed.redirectGateway, ['def1', '!ipv4', 'ipv6']);
    deepEqual(taken('redirect-gateway').redirectGateway, []);
    equal(taken().redirectGateway, undefined);
    ok(ignored('route-gateway dhcp'));
    ok(ignored('route-gateway 127.0.0.1'));
    ok(ignored('route-metric x'));
    ok(ignored('redirect-private def1'));
    deepEqual(parsePush(['redirect-gateway def1 evil ipv6']).redirectGateway, ['def1']);
    ok(ignored('redirect-gateway def1 evil ipv6'));
  });
});
