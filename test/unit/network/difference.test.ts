// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import { parseIp, parsePrefix } from '../../../src/core/address.ts';
import type { WantedRoute } from '../../../src/core/network.ts';
import type { Route } from '../../../src/netlink/route.ts';
import type { InterfaceAddress } from '../../../src/netlink/rtnetlink.ts';
import {
  addressText,
  bestWay,
  compareAddresses,
  compareRoutes,
  OVPND_ROUTE_PROTOCOL,
  waysBeside,
} from '../../../src/network/difference.ts';
import { routeOf } from './fakekernel.ts';

const TUN = 7;
const ip = (text: string) => parseIp(text)!;
const prefix = (text: string) => parsePrefix(text)!;
const own = (to: string, metric: number, via?: string): Route =>
  routeOf(
    prefix(to),
    { index: TUN, flags: 0, ...(via !== undefined && { gateway: ip(via) }) },
    metric,
    OVPND_ROUTE_PROTOCOL,
  );
const foreign = (to: string, metric: number, via: string, index = 2): Route =>
  routeOf(prefix(to), { index, gateway: ip(via), flags: 0 }, metric, 4);
const wanted = (to: string, metric: number, via?: string): WantedRoute => ({
  destination: prefix(to),
  metric,
  ...(via !== undefined && { gateway: ip(via) }),
});

describe('address difference', () => {
  const local = (text: string): InterfaceAddress => {
    const { ip: address, bits } = prefix(text);
    return { index: TUN, local: address, bits };
  };
  const texts = (addresses: readonly InterfaceAddress[]) => addresses.map(addressText);

  it('removes a link-local address only if it was applied', () => {
    const present = [local('fe80::1/64'), local('fe80::2/64')];
    const { remove } = compareAddresses([], present, new Set(['fe80::1/64']));
    deepStrictEqual(texts(remove), ['fe80::1/64']);
  });

  it('takes another prefix length or another peer for another address, and a double wish for one', () => {
    const pair = { ...local('10.9.0.2/32'), peer: ip('10.9.0.1') };
    const other = { ...local('10.9.0.2/32'), peer: ip('10.9.0.3') };
    const present = [local('10.8.0.2/24'), pair];
    const { remove, add } = compareAddresses(
      [local('10.8.0.2/16'), other, other, local('10.8.0.2/16')],
      present,
      new Set(),
    );
    deepStrictEqual(texts(remove), ['10.8.0.2/24', '10.9.0.2/32 peer 10.9.0.1']);
    deepStrictEqual(texts(add), ['10.8.0.2/16', '10.9.0.2/32 peer 10.9.0.3']);
  });
});

describe('route difference', () => {
  it('replaces in place only where no foreign route shares the place', () => {
    const item = wanted('10.0.0.0/8', 5, '10.8.0.2');
    const old = own('10.0.0.0/8', 5, '10.8.0.1');
    deepStrictEqual(compareRoutes([item], [old], TUN), {
      remove: [],
      add: [{ wanted: item, how: 'replace' }],
    });
    deepStrictEqual(compareRoutes([item], [foreign('10.0.0.0/8', 5, '10.0.0.1'), old], TUN), {
      remove: [old],
      add: [{ wanted: item, how: 'create' }],
    });
  });

  it('counts the first of two wishes for one place, with IPv6 metric 0 as 1024 and host bits cleared', () => {
    const routes = [wanted('fd00::1/64', 0), wanted('fd00::/64', 1024, 'fd42::1')];
    const { add } = compareRoutes(routes, [], TUN);
    deepStrictEqual(add, [{ wanted: wanted('fd00::/64', 0), how: 'create' }]);
    deepStrictEqual(compareRoutes(routes, [own('fd00::/64', 1024)], TUN), { remove: [], add: [] });
  });

  it('leaves our routes in other tables and on other devices alone', () => {
    const table = { ...own('10.0.0.0/8', 5), table: 100 };
    const device = { ...own('10.1.0.0/16', 5), hops: [{ index: 9, flags: 0 }] };
    deepStrictEqual(compareRoutes([], [table, device], TUN), { remove: [], add: [] });
  });

  it('parts our hop from a multipath route somebody joined it to', () => {
    const joined = {
      ...own('fd00::/64', 5),
      hops: [
        { index: TUN, flags: 0 },
        { index: 9, flags: 0 },
      ],
    };
    const { remove, add } = compareRoutes([wanted('fd00::/64', 5)], [joined], TUN);
    deepStrictEqual([remove, add.length, add[0]?.how], [[joined], 1, 'create']);
  });
});

describe('ways beside the tunnel', () => {
  it('prefers the longest prefix, then the lowest metric; no dead hop, no local or tos route', () => {
    const routes = [
      foreign('0.0.0.0/0', 20, '10.0.0.3'),
      foreign('0.0.0.0/0', 10, '10.0.0.2'),
      foreign('192.0.0.0/8', 900, '10.0.0.4'),
      { ...foreign('192.0.2.0/24', 0, '10.0.0.5'), tos: 16 },
      { ...foreign('192.0.2.0/24', 0, '10.0.0.6'), table: 255 },
      { ...foreign('192.0.2.0/25', 0, '10.0.0.7'), hops: [{ index: 2, flags: 1 }] },
      foreign('192.0.2.0/26', 0, '10.8.0.1', TUN),
    ];
    const ways = waysBeside(ip('192.0.2.1'), routes, TUN);
    deepStrictEqual(
      ways.map(route => route.metric),
      [900, 10, 20],
    );
    deepStrictEqual(bestWay(ways, TUN)?.hop.gateway, ip('10.0.0.4'));
  });

  it('takes of a multipath route a hop that is not the tunnel, and the main table only', () => {
    const several = {
      ...foreign('0.0.0.0/0', 0, '10.0.0.1'),
      hops: [
        { index: TUN, flags: 0 },
        { index: 3, flags: 0, gateway: ip('10.3.0.1') },
      ],
    };
    deepStrictEqual(bestWay([{ ...several, table: 100 }, several], TUN)?.hop.index, 3);
    strictEqual(bestWay([{ ...several, table: 100 }], TUN), undefined);
  });
});
