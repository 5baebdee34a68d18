// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { contains, type Ip, type Prefix, sameIp } from '../../../src/core/address.ts';
import { RouteTable } from '../../../src/plane/routes.ts';
import { ip, prefix } from './helpers.ts';

function find(table: RouteTable<string>, text: string): string | undefined {
  const address = ip(text);
  // Not at the start of the array: packets have addresses in the middle.
  const bytes = new Uint8Array(address.length + 24);
  bytes.set(address, 24);
  return table.find(bytes, 24, address.length);
}

interface Claim {
  readonly prefix: Prefix;
  readonly owner: string;
}

/** All claims in the order they came; the answer by looking at every one. */
class NaiveTable {
  readonly hosts: { ip: Ip; owner: string }[] = [];
  readonly networks: Claim[] = [];

  find(address: Ip): string | undefined {
    const host = this.hosts.find(entry => sameIp(entry.ip, address));
    if (host !== undefined) return host.owner;
    let best: Claim | undefined;
    for (const entry of this.networks) {
      if (contains(entry.prefix, address) && entry.prefix.bits >= (best?.prefix.bits ?? 0)) best = entry;
    }
    return best?.owner;
  }
}

describe('plane/routes', () => {
  it('takes the longest prefix', () => {
    const table = new RouteTable<string>();
    table.addNetwork(prefix('10.0.0.0/8'), 'wide');
    table.addNetwork(prefix('10.1.0.0/16'), 'narrow');
    table.addNetwork(prefix('0.0.0.0/0'), 'default');
    table.addNetwork(prefix('fd00::/8'), 'wide6');
    table.addNetwork(prefix('fd00:1::/33'), 'narrow6');
    assert.equal(find(table, '10.1.2.3'), 'narrow');
    assert.equal(find(table, '10.2.2.3'), 'wide');
    assert.equal(find(table, '192.0.2.1'), 'default');
    assert.equal(find(table, 'fd00:1:7fff::1'), 'narrow6');
    assert.equal(find(table, 'fd00:1:8000::1'), 'wide6');
    assert.equal(find(table, '2001:db8::1'), undefined);
  });

  it('takes a VPN address before a network of the same length', () => {
    const table = new RouteTable<string>();
    table.addHost(ip('10.8.0.2'), 'host');
    table.addNetwork(prefix('10.8.0.2/32'), 'network');
    assert.equal(find(table, '10.8.0.2'), 'host');
    assert.equal(table.host(ip('10.8.0.2')), 'host');
    table.removeHost(ip('10.8.0.2'));
    assert.equal(find(table, '10.8.0.2'), 'network');
    assert.equal(table.host(ip('10.8.0.2')), undefined);
  });

  it('gives a network to the newest claim and back to the one before', () => {
    const table = new RouteTable<string>();
    table.addNetwork(prefix('10.9.0.0/16'), 'old');
    table.addNetwork(prefix('10.9.0.0/16'), 'new');
    assert.equal(find(table, '10.9.1.1'), 'new');
    table.removeNetwork(prefix('10.9.0.0/16'), 'new');
    assert.equal(find(table, '10.9.1.1'), 'old');
    table.removeNetwork(prefix('10.9.0.0/16'), 'old');
    assert.equal(find(table, '10.9.1.1'), undefined);
  });

  it('ignores host bits, and removing what is not there', () => {
    const table = new RouteTable<string>();
    table.addNetwork(prefix('10.9.1.1/16'), 'a');
    table.removeNetwork(prefix('10.9.0.0/16'), 'b');
    table.removeNetwork(prefix('10.9.0.0/17'), 'a');
    assert.equal(find(table, '10.9.200.1'), 'a');
    table.removeNetwork(prefix('10.9.77.0/16'), 'a');
    assert.equal(find(table, '10.9.200.1'), undefined);
  });

  it('agrees with a list that is searched from end to end', () => {
    // Few different bytes, so that prefixes cover each other.
    const byte = fc.constantFrom(0, 1, 2, 128, 254, 255);
    const address = fc
      .tuple(fc.constantFrom(4, 16), fc.array(byte, { minLength: 16, maxLength: 16 }))
      .map(([length, bytes]) => new Uint8Array(bytes.slice(0, length)));
    const owner = fc.constantFrom('a', 'b', 'c');
    const step = fc.record({
      what: fc.constantFrom('host', 'network', 'network', 'removeHost', 'removeNetwork'),
      ip: address,
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      owner,
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.array(address, { maxLength: 40 }), (steps, asked) => {
        const table = new RouteTable<string>();
        const naive = new NaiveTable();
        for (const { what, ip: at, part, owner: by, pick } of steps) {
          if (what === 'host' && naive.hosts.every(entry => !sameIp(entry.ip, at))) {
            table.addHost(at, by);
            naive.hosts.push({ ip: at, owner: by });
          } else if (what === 'network') {
            const added = { ip: at, bits: Math.round(part * at.length * 8) };
            table.addNetwork(added, by);
            naive.networks.push({ prefix: added, owner: by });
          } else if (what === 'removeHost' && naive.hosts.length > 0) {
            const [gone] = naive.hosts.splice(pick % naive.hosts.length, 1);
            table.removeHost(gone!.ip);
          } else if (what === 'removeNetwork' && naive.networks.length > 0) {
            const gone = naive.networks[pick % naive.networks.length]!;
            table.removeNetwork(gone.prefix, gone.owner);
            // Of equal claims by one owner the latest goes.
            const equal = naive.networks.map(entry => isEqualClaim(entry, gone));
            naive.networks.splice(equal.lastIndexOf(true), 1);
          }
        }
        const known = [
          ...naive.hosts.map(entry => entry.ip),
          ...naive.networks.map(entry => entry.prefix.ip),
        ];
        for (const address of [...asked, ...known]) {
          assert.equal(table.find(address, 0, address.length), naive.find(address));
        }
      }),
      { numRuns: 300 },
    );
  });
});

function isEqualClaim(a: Claim, b: Claim): boolean {
  return a.owner === b.owner && a.prefix.bits === b.prefix.bits && contains(a.prefix, b.prefix.ip);
}
