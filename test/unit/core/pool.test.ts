// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, notEqual, ok } from 'node:assert/strict';
import { formatIp, type Ip, parsePrefix } from '../../../src/core/address.ts';
import { newPool, type Pool, poolAddress, releaseAddress, takeAddress } from '../../../src/core/pool.ts';
import { ip } from './bench.ts';

const pool = (own: string, fixed: readonly string[] = []): Pool => newPool(parsePrefix(own)!, fixed.map(ip));

function take(from: Pool, name: string): string | undefined {
  const taken = takeAddress(from, name);
  return taken && formatIp(taken);
}

function all(from: Pool): string[] {
  const out: string[] = [];
  for (let i = 0; ; i++) {
    const one = take(from, `peer${i}`);
    if (one === undefined) return out;
    out.push(one);
  }
}

describe('core/pool', () => {
  it('gives every host of the network but the first, the last and our own', () => {
    deepEqual(all(pool('10.8.0.1/29')), ['10.8.0.2', '10.8.0.3', '10.8.0.4', '10.8.0.5', '10.8.0.6']);
    deepEqual(all(pool('10.8.0.12/29')), ['10.8.0.9', '10.8.0.10', '10.8.0.11', '10.8.0.13', '10.8.0.14']);
  });

  it('smallest networks: one client in a /30, none in a /31 or /32', () => {
    deepEqual(all(pool('10.8.0.1/30')), ['10.8.0.2']);
    deepEqual(all(pool('10.8.0.2/30')), ['10.8.0.1']);
    // Our own address need not be one of the hosts.
    deepEqual(all(pool('10.8.0.0/30')), ['10.8.0.1', '10.8.0.2']);
    deepEqual(all(pool('10.8.0.1/31')), []);
    deepEqual(all(pool('10.8.0.1/32')), []);
  });

  it('IPv6: everything but the first, and it has no broadcast address', () => {
    deepEqual(all(pool('fd42::1/126')), ['fd42::2', 'fd42::3']);
    deepEqual(all(pool('fd42::1/127')), []);
    deepEqual(all(pool('fd42::1/128')), []);
    equal(take(pool('fd42::1/64'), 'a'), 'fd42::2');
  });

  it('is bounded however large the network', () => {
    equal(pool('10.0.0.1/16').size, 65534);
    equal(pool('10.0.0.1/15').size, 65536);
    equal(pool('10.0.0.1/8').size, 65536);
    equal(pool('fd42::1/64').size, 65536);
    equal(pool('fd42::1/112').size, 65535);
  });

  it('host numbers carry over bytes', () => {
    equal(formatIp(poolAddress(pool('10.0.0.1/8'), 65536)), '10.1.0.0');
    equal(formatIp(poolAddress(pool('10.0.0.1/16'), 256)), '10.0.1.0');
    equal(formatIp(poolAddress(pool('10.0.3.129/25'), 5)), '10.0.3.133');
    equal(formatIp(poolAddress(pool('fd42::1/64'), 65536)), 'fd42::1:0');
  });

  it('never gives a fixed address, also when nothing else is left', () => {
    const small = pool('10.8.0.1/29', ['10.8.0.3', '10.8.0.5', 'fd42::9']);
    deepEqual(all(small), ['10.8.0.2', '10.8.0.4', '10.8.0.6']);
    releaseAddress(small, ip('10.8.0.3'));
    equal(take(small, 'x'), undefined);
  });

  it('exhausted: nobody gets anything until something is given back', () => {
    const small = pool('10.8.0.1/29');
    const taken = all(small);
    equal(take(small, 'x'), undefined);
    equal(take(small, 'peer0'), undefined, 'a name it knows is no exception');
    releaseAddress(small, ip(taken[3]!));
    equal(take(small, 'x'), taken[3]);
    equal(take(small, 'y'), undefined);
  });

  it('the same name finds its address again', () => {
    const some = pool('10.8.0.1/24');
    const first = takeAddress(some, 'alice') as Ip;
    releaseAddress(some, first);
    equal(take(some, 'bob'), '10.8.0.3', 'others are spared as long as there are fresh ones');
    deepEqual(takeAddress(some, 'alice'), first);
    // The same name twice: two addresses.
    notEqual(take(some, 'alice'), formatIp(first));
  });

  it('an absent client loses its address only when nothing fresh is left', () => {
    const small = pool('10.8.0.1/29');
    const alice = takeAddress(small, 'alice') as Ip;
    releaseAddress(small, alice);
    const others = ['b', 'c', 'd', 'e'].map(name => take(small, name));
    ok(!others.includes(formatIp(alice)));
    equal(take(small, 'f'), formatIp(alice));
    equal(take(small, 'alice'), undefined);
  });

  it('an address nobody had comes before one released lately', () => {
    const some = pool('10.8.0.1/24');
    const seen = new Set<string>();
    for (let i = 0; i < 253; i++) {
      const one = takeAddress(some, `peer${i}`) as Ip;
      seen.add(formatIp(one));
      releaseAddress(some, one);
    }
    equal(seen.size, 253);
  });

  it('remembers a bounded number of names, the latest', () => {
    const large = pool('10.0.0.1/16');
    for (let i = 0; i < 4100; i++) takeAddress(large, `peer${i}`);
    equal(large.memory.size, 4096);
    equal(large.memory.has('peer3'), false);
    equal(large.memory.has('peer4'), true);
    // Names are the peers' words.
    ok(takeAddress(large, '__proto__') !== undefined && takeAddress(large, 'constructor') !== undefined);
  });

  it('releasing what was not taken is harmless', () => {
    const some = pool('10.8.0.1/30');
    releaseAddress(some, ip('10.8.0.2'));
    releaseAddress(some, ip('192.0.2.1'));
    deepEqual(all(some), ['10.8.0.2']);
  });
});
