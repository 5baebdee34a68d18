// SPDX-License-Identifier: Apache-2.0
// The kill switch of a client as the core wants it: what is blocked in each phase, and who may pass.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { contains, formatIp, formatPrefix, parsePrefix } from '../../../src/core/address.ts';
import type { ClientOptions } from '../../../src/core/clientstate.ts';
import type { WantedNetwork } from '../../../src/core/network.ts';
import { ip } from './bench.ts';
import { type Client, client, connected, PUSH, serve } from './hand.ts';

const ALL: Partial<ClientOptions> = { redirectGateway: true, killSwitch: true };
const SPLIT: Partial<ClientOptions> = { routes: [parsePrefix('10.60.0.0/16')!], killSwitch: true };
const last = (bench: Client): WantedNetwork => bench.networks.at(-1)!;
const isBlocked = (bench: Client, text: string): boolean =>
  last(bench).guard!.blocked.some(
    prefix => prefix.ip.length === ip(text).length && contains(prefix, ip(text)),
  );
const outside = (bench: Client): string[] => last(bench).outside.map(formatIp);

describe('core/pull: the kill switch', () => {
  it('is the first effect of all, before a socket or a name is asked for', () => {
    const bench = client(ALL);
    bench.step({ kind: 'start' });
    equal(last(bench).isIdle, true);
    deepEqual(outside(bench), ['192.0.2.1']);
    for (const text of ['8.8.8.8', '192.0.2.2', '2001:db8::1', 'fd00::1', '4000::1', '9000::1', '::5']) {
      ok(isBlocked(bench, text), text);
    }
    equal(bench.others.at(-1)!.kind, 'openSocket');
  });

  it('stays when connected, and for a family that the tunnel does not carry', () => {
    const bench = client(ALL);
    connected(bench);
    equal(last(bench).isIdle, undefined);
    deepEqual(
      last(bench).routes.map(route => formatPrefix(route.destination)),
      ['0.0.0.0/1', '128.0.0.0/1'],
    );
    ok(isBlocked(bench, '2001:db8::1'));
    deepEqual(outside(bench), ['192.0.2.1']);
    const only6 = client(ALL);
    connected(only6, `${PUSH},redirect-gateway ipv6 !ipv4`);
    ok(isBlocked(only6, '8.8.8.8'));
    deepEqual(outside(only6), ['192.0.2.1'], 'or the server would be blocked, too');
  });

  it('stays through an end, the wait and the next attempt', () => {
    const bench = client(ALL);
    connected(bench);
    const before = bench.networks.length;
    bench.step({ kind: 'command', command: 'disconnect' });
    equal(bench.state.phase, 'waiting');
    bench.pass(2000);
    equal(bench.state.phase, 'opening');
    serve(bench);
    for (const network of bench.networks.slice(before)) equal(network.guard?.blocked.length, 8);
  });

  it('lets name servers be asked only while a name is looked up', () => {
    const remotes = [{ host: 'vpn.example.org', port: 1194, family: 0 as const }];
    const bench = client({ ...ALL, remotes });
    bench.step({ kind: 'start' });
    deepEqual([bench.state.phase, last(bench).guard!.isLookingUp], ['resolving', true]);
    bench.step({ kind: 'resolveFailed', reason: 'no such host' });
    deepEqual([bench.state.phase, last(bench).guard!.isLookingUp], ['waiting', false]);
    bench.pass(2000);
    equal(last(bench).guard!.isLookingUp, true);
    bench.step({ kind: 'resolved', addresses: [ip('198.51.100.7')] });
    equal(last(bench).guard!.isLookingUp, false);
    deepEqual(outside(bench), ['198.51.100.7']);
  });

  it('without redirect_gateway it is the networks of route, and nothing a server pushes', () => {
    const bench = client(SPLIT);
    connected(bench, `${PUSH},route 10.61.0.0 255.255.0.0`);
    deepEqual(last(bench).guard!.blocked.map(formatPrefix), ['10.60.0.0/16']);
    deepEqual(outside(bench), []);
  });

  it('off: nothing is wanted before a connection', () => {
    const bench = client({ redirectGateway: true });
    bench.step({ kind: 'start' });
    deepEqual(bench.networks, []);
    connected(bench);
    equal(last(bench).guard, undefined);
  });
});
