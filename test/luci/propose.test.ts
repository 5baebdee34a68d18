// SPDX-License-Identifier: Apache-2.0
// What is proposed for a new server: free of everything that the router's tables name.

import assert from 'node:assert/strict';
import { formatIp, formatPrefix, parseIp, parsePrefix } from '../../src/core/address.ts';
import {
  boundPorts,
  freeAddress,
  isPrivate,
  randomAddress6,
  readDump,
  routedNetworks,
} from '../../src/daemon/propose.ts';

const prefix = (text: string) => parsePrefix(text)!;

const ROUTES = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0105000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
br-lan\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
broken
x\tZZ\t0\t0\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;

describe('proposals for a server', () => {
  it('reads the kernel tables, and stands broken ones', () => {
    assert.deepEqual(routedNetworks(ROUTES, true).map(formatPrefix), ['192.168.1.0/24']);
    const swapped = ROUTES.replace('0001A8C0', 'C0A80100').replace('\t00FFFFFF', '\tFFFFFF00');
    assert.deepEqual(routedNetworks(swapped, false).map(formatPrefix), ['192.168.1.0/24']);
    assert.deepEqual(routedNetworks('', true), []);
    const table = '  sl  local_address rem_address\n  12: 00000000:04AA 00000000:0000 07\n garbage\n';
    assert.deepEqual(boundPorts(table), [1194]);
  });

  it('takes the first subnet that nobody uses', () => {
    assert.equal(freeAddress([]), '10.8.0.1/24');
    assert.equal(freeAddress([prefix('10.8.0.0/24')]), '10.8.1.1/24');
    assert.equal(freeAddress([prefix('10.8.0.0/16')]), '10.9.0.1/24');
    assert.equal(freeAddress([prefix('10.8.0.77/32'), prefix('192.168.1.0/24')]), '10.8.1.1/24');
    assert.equal(freeAddress([prefix('10.8.0.0/13')]), '10.16.0.1/24');
    assert.equal(freeAddress([prefix('10.0.0.0/8')]), '');
  });

  it('makes up an IPv6 subnet of its own', () => {
    const bytes = Uint8Array.of(0x12, 0x34, 0x56, 0x78, 0x9a);
    assert.equal(
      randomAddress6(() => bytes),
      'fd12:3456:789a::1/64',
    );
    assert.ok(isPrivate(parsePrefix(randomAddress6(length => new Uint8Array(length)))!.ip));
  });

  it('tells addresses that the internet reaches from others', () => {
    for (const ip of [
      '10.1.2.3',
      '172.16.0.1',
      '192.168.0.1',
      '100.64.0.1',
      '169.254.1.1',
      'fd42::1',
      'fe80::1',
    ]) {
      assert.ok(isPrivate(parseIp(ip)!), ip);
    }
    for (const ip of ['11.1.2.3', '172.32.0.1', '192.169.0.1', '100.128.0.1', '2001:db8::1']) {
      assert.ok(!isPrivate(parseIp(ip)!), ip);
    }
  });

  it('reads what netifd says, whatever it says', () => {
    const dump = {
      interface: [
        { interface: 'lan', 'ipv4-address': [{ address: '192.168.1.1', mask: 24 }], route: [] },
        {
          interface: 'wan',
          'ipv4-address': [{ address: '198.51.100.7', mask: 24 }],
          route: [{ target: '0.0.0.0', mask: 0 }],
        },
      ],
    };
    const { lan, outside } = readDump(dump);
    assert.equal(formatPrefix(lan!), '192.168.1.1/24');
    assert.deepEqual(outside.map(formatIp), ['198.51.100.7']);
    for (const odd of [undefined, null, 'not found', {}, { interface: 1 }, { interface: [null, 1, {}] }]) {
      assert.deepEqual(readDump(odd), { outside: [] });
    }
    const bent = {
      interface: [{ interface: 'lan', 'ipv4-address': [{ address: {}, mask: 'x' }], route: 7 }],
    };
    assert.deepEqual(readDump(bent), { outside: [] });
  });
});
