// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { isDrop } from '../../../src/core/drop.ts';
import { buildPush } from '../../../src/core/push.ts';
import { collectPush, newPushCollector, parsePush } from '../../../src/core/pushreply.ts';
import { ignored, refused, taken } from './pushed.ts';

describe('core/pushvalues', () => {
  it('numbers, clamped', () => {
    const pushed = taken(
      'ping 10',
      'ping-restart 99999999',
      'ping-exit 0',
      'session-timeout 3600',
      'inactive 600 1000',
      'peer-id 16777215',
      'tun-mtu 1400',
      'explicit-exit-notify',
    );
    equal(pushed.ping, 10);
    equal(pushed.pingRestart, 86400);
    equal(pushed.pingExit, 0);
    equal(pushed.sessionTimeout, 3600);
    deepEqual(pushed.inactive, { seconds: 600, bytes: 1000 });
    equal(pushed.peerId, 0xffffff);
    equal(pushed.tunMtu, 1400);
    equal(pushed.explicitExitNotify, 1);
    equal(taken('explicit-exit-notify 1000').explicitExitNotify, 10);
    for (const bad of [
      'ping',
      'ping -1',
      'ping 1.5',
      'ping 0x10',
      'ping 1e3',
      'ping-restart x',
      'inactive',
      'inactive 1 x',
    ]) {
      ok(ignored(bad));
    }
  });

  it('tun-mtu 100..65536, never above 1600', () => {
    equal(taken('tun-mtu 100').tunMtu, 100);
    equal(taken('tun-mtu 1600').tunMtu, 1600);
    match(ignored('tun-mtu 1601'), /1600/);
    equal(parsePush(['tun-mtu 65536']).tunMtu, 1600);
    for (const bad of ['tun-mtu 99', 'tun-mtu 0', 'tun-mtu 65537', 'tun-mtu x']) {
      ok(ignored(bad));
      equal(parsePush([bad]).tunMtu, undefined);
    }
  });

  it('keys and flags', () => {
    const pushed = taken(
      'cipher AES-256-GCM',
      'protocol-flags cc-exit tls-ekm',
      'key-derivation tls-ekm',
      'block-ipv6',
    );
    equal(pushed.cipher, 'AES-256-GCM');
    deepEqual([...pushed.protocolFlags], ['cc-exit', 'tls-ekm']);
    equal(pushed.keyDerivation, 'tls-ekm');
    equal(pushed.blockIpv6, true);
    equal(taken().blockIpv6, false);
    ok(refused('cipher'));
    ok(refused('cipher AES_256'));
    ok(refused('peer-id 16777216'));
    ok(refused('peer-id x'));
    ok(ignored('key-derivation'));
  });

  it('tokens, which no list of problems shows', () => {
    const pushed = taken('auth-token SESS_ID_AT_x', 'auth-token-user YQ==');
    equal(pushed.authToken, 'SESS_ID_AT_x');
    equal(pushed.authTokenUser, 'YQ==');
    const long = parsePush([` auth-token ${'s'.repeat(300)}`]);
    deepEqual(
      long.ignored.map(one => one.option),
      ['auth-token'],
    );
  });

  it('compression is refused, except where it does nothing', () => {
    equal(taken('compress stub-v2').compression, undefined);
    ok(ignored('compress migrate'));
    for (const bad of [
      'compress',
      'compress stub',
      'compress lz4-v2',
      'comp-lzo',
      'comp-lzo no',
      'comp-lzo yes',
    ]) {
      match(refused(bad), /compression/);
      equal(parsePush([bad]).compression, bad);
    }
  });

  it('layer 2 is refused, everything not for a server to set is ignored', () => {
    ok(refused('dev tap'));
    ok(refused('dev tap0'));
    ok(refused('dev-type tap'));
    for (const bad of [
      'dev tun0',
      'up /bin/sh',
      'remote evil.example 1194',
      'proto tcp',
      'ca /etc/passwd',
      'script-security 3',
      'plugin x',
      'setenv PATH x',
      '__proto__ x',
      'constructor x',
      'PING 10',
      '--ping 10',
      'lladdr 02:00:00:00:00:01',
      '"a',
      'x'.repeat(256),
      'x '.repeat(17).trim(),
    ]) {
      ok(ignored(bad), bad);
    }
  });

  it('what means nothing here is not even mentioned', () => {
    taken(
      '',
      '# x',
      'tun-ipv6',
      'block-outside-dns',
      'register-dns',
      'sndbuf 1',
      'persist-tun',
      'push-continuation 1',
    );
  });

  it('everything together survives server, wire and client', () => {
    const options = ['topology subnet', 'ifconfig 10.8.0.2 255.255.255.0', 'peer-id 7'];
    for (let i = 0; i < 500; i++) options.push(`route 10.${i >> 8}.${i & 255}.0 255.255.255.0`);
    const state = newPushCollector();
    let all: readonly string[] = [];
    for (const part of buildPush('PUSH_REPLY', options)) {
      const result = collectPush(state, part);
      if (result !== 'more' && !isDrop(result)) all = result.options;
    }
    equal(taken(...all).routes.length, 500);
  });

  it('takes any text without throwing', () => {
    fc.assert(fc.property(fc.array(fc.string()), options => ok(parsePush(options))));
  });
});
