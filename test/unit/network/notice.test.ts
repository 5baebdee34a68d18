// SPDX-License-Identifier: Apache-2.0
// Notices to netifd against the shapes that its sources read: types count, since others are skipped silently.

import { deepStrictEqual, strictEqual } from 'node:assert';
import type { WantedNetwork } from '../../../src/core/network.ts';
import { errorNotice, hostNotice, linkUpNotice, textOf } from '../../../src/network/notice.ts';
import { decodeTable, encodeTable } from '../../../src/ubus/blob.ts';
import { ip, prefix, route, WANTED } from './world.ts';

const FULL: WantedNetwork = {
  ...WANTED,
  addresses: [...WANTED.addresses, { address: prefix('fd42:9::2/128'), peer: ip('fd42:9::1') }],
  routes: [...WANTED.routes, route('10.0.0.0/8', 4_294_967_295)],
  dns: { servers: [ip('10.8.0.53'), ip('fd42:8::53')], domains: ['office.example'] },
};

describe('notices to netifd', () => {
  it('a notice has every address, route and name server as netifd reads them', () => {
    deepStrictEqual(linkUpNotice('home', FULL), {
      action: 0,
      interface: 'home',
      ifname: 'ov-home',
      'link-up': true,
      ipaddr: [
        { ipaddr: '10.8.0.2', mask: '24' },
        { ipaddr: '10.9.0.2', mask: '32', ptp: '10.9.0.1' },
      ],
      ip6addr: [
        { ipaddr: 'fd42:8::2', mask: '64' },
        { ipaddr: 'fd42:9::2', mask: '128' },
      ],
      routes: [
        { target: '0.0.0.0', netmask: '1', gateway: '10.8.0.1' },
        { target: '128.0.0.0', netmask: '1', gateway: '10.8.0.1' },
        { target: '192.168.7.0', netmask: '24', metric: 200 },
        { target: '10.0.0.0', netmask: '8', metric: -1 },
      ],
      routes6: [
        { target: '2000::', netmask: '3' },
        { target: 'fd42:9::1', netmask: '128' },
      ],
      dns: ['10.8.0.53', 'fd42:8::53'],
      dns_search: ['office.example'],
    });
  });

  it('a notice survives the codec of the bus unchanged', () => {
    for (const notice of [
      linkUpNotice('home', FULL),
      hostNotice('home', ip('192.0.2.1')),
      errorNotice('home', 'TUNNEL_ERROR', 'no'),
    ]) {
      const bytes = encodeTable(notice);
      deepStrictEqual(JSON.parse(JSON.stringify(decodeTable(bytes!))), notice);
    }
  });

  it('an error is cut, a host dependency names the address', () => {
    const { error } = errorNotice('home', 'TUNNEL_ERROR', 'x'.repeat(5000)) as { error: string[] };
    deepStrictEqual([error[0], error[1]!.length], ['TUNNEL_ERROR', 200]);
    deepStrictEqual(hostNotice('home', ip('2001:db8::1')), {
      action: 6,
      interface: 'home',
      host: '2001:db8::1',
    });
  });

  it('what netifd is told differs with the MTU and the outside, too', () => {
    strictEqual(textOf(WANTED), textOf({ ...WANTED }));
    for (const other of [{ mtu: 1 }, { outside: [] }, { addresses: [] }, { routes: [] }]) {
      strictEqual(textOf(WANTED) === textOf({ ...WANTED, ...other }), false);
    }
  });
});
