// SPDX-License-Identifier: Apache-2.0
// One router on the model kernel, with a tunnel device and two wanted states for it.

import { deepStrictEqual } from 'node:assert';
import { parseIp, parsePrefix } from '../../../src/core/address.ts';
import type { WantedNetwork, WantedRoute } from '../../../src/core/network.ts';
import { IFF_UP } from '../../../src/netlink/rtnetlink.ts';
import { createRtnetlinkNetwork, type RtnetlinkNetwork } from '../../../src/network/rtnetlink.ts';
import { FakeFiles, FakeKernel, routeOf } from './fakekernel.ts';

export const ETH = 2;
export const TUN = 7;
export const STATE = '/run/ovpnd/home.network.json';
export const ip = (text: string) => parseIp(text)!;
export const prefix = (text: string) => parsePrefix(text)!;
export const route = (to: string, metric: number, via?: string): WantedRoute => ({
  destination: prefix(to),
  metric,
  ...(via !== undefined && { gateway: ip(via) }),
});

export interface World {
  readonly kernel: FakeKernel;
  readonly files: FakeFiles;
  readonly network: RtnetlinkNetwork;
}

export function open(kernel: FakeKernel, files: FakeFiles, tunnel = 'home'): RtnetlinkNetwork {
  return createRtnetlinkNetwork({ openNetlink: kernel.open, files, stateDirectory: '/run/ovpnd', tunnel });
}

/** A router with one uplink, and an empty tunnel device. */
export function world(): World {
  const kernel = new FakeKernel();
  const files = new FakeFiles();
  kernel.links.set(ETH, { name: 'eth0', flags: IFF_UP, mtu: 1500, addrGenMode: 0 });
  kernel.links.set(TUN, { name: 'ov-home', flags: 0, mtu: 1500, addrGenMode: 0 });
  kernel.addresses.push({ index: ETH, local: ip('10.0.0.5'), bits: 24 });
  kernel.addresses.push({ index: ETH, local: ip('2001:db8::5'), bits: 64 });
  kernel.routes.push(routeOf(prefix('0.0.0.0/0'), { index: ETH, gateway: ip('10.0.0.1'), flags: 0 }, 0, 3));
  kernel.routes.push(routeOf(prefix('::/0'), { index: ETH, gateway: ip('2001:db8::1'), flags: 0 }, 1024, 3));
  return { kernel, files, network: open(kernel, files) };
}

export const WANTED: WantedNetwork = {
  device: 'ov-home',
  mtu: 1420,
  addresses: [
    { address: prefix('10.8.0.2/24') },
    { address: prefix('10.9.0.2/32'), peer: ip('10.9.0.1') },
    { address: prefix('fd42:8::2/64') },
  ],
  routes: [
    route('0.0.0.0/1', 0, '10.8.0.1'),
    route('128.0.0.0/1', 0, '10.8.0.1'),
    route('192.168.7.0/24', 200),
    route('2000::/3', 0),
  ],
  outside: [ip('192.0.2.1'), ip('2001:db8:77::1')],
  dns: { servers: [], domains: [] },
};

/** Everything else: addresses of the same networks, other gateways, one route fewer, another server. */
export const OTHER: WantedNetwork = {
  ...WANTED,
  mtu: 1400,
  addresses: [
    { address: prefix('10.8.0.3/24') },
    { address: prefix('fd42:9::2/64') },
    { address: prefix('fd42:8::2/80') },
  ],
  routes: [
    route('0.0.0.0/1', 0, '10.8.0.9'),
    route('192.168.7.0/24', 100),
    route('2000::/3', 0, 'fd42:9::1'),
  ],
  outside: [ip('192.0.2.9'), ip('2001:db8:77::1')],
};

/** What the kernel must hold once `wanted` is in effect. */
export function expected(wanted: WantedNetwork): string[] {
  const { kernel, network } = world();
  deepStrictEqual(network.apply(wanted).failures, []);
  return kernel.snapshot();
}

/** A kill switch for all of IPv4 and one network, nothing connected. */
export const GUARDED: WantedNetwork = {
  ...WANTED,
  addresses: [],
  routes: [],
  outside: [ip('192.0.2.1')],
  guard: {
    blocked: ['0.0.0.0/1', '128.0.0.0/1', '::/3', '192.168.7.0/24'].map(prefix),
    isLookingUp: false,
  },
  isIdle: true,
};
