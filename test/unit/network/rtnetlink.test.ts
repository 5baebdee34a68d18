// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { formatPrefix } from '../../../src/core/address.ts';
import { decodeUtf8, encodeUtf8 } from '../../../src/core/bytes.ts';
import { IFF_UP } from '../../../src/netlink/rtnetlink.ts';
import { OVPND_ROUTE_PROTOCOL, outsideMetric } from '../../../src/network/difference.ts';
import { type FakeKernel, routeOf } from './fakekernel.ts';
import { ETH, expected, ip, OTHER, open, prefix, route, STATE, TUN, WANTED, world } from './world.ts';

describe('rtnetlink network', () => {
  it('applies everything, then finds nothing to do', () => {
    const { kernel, files, network } = world();
    const report = network.apply(WANTED);
    // MTU, no link-local address, 3 addresses, up, 2 host routes, 4 routes.
    deepStrictEqual(report, { failures: [], changes: 12 });
    deepStrictEqual(kernel.links.get(TUN), { name: 'ov-home', flags: IFF_UP, mtu: 1420, addrGenMode: 1 });
    const host = (to: string, via: string) =>
      `${to} via ${ETH} ${via} metric ${outsideMetric(TUN)} proto 111`;
    const all = kernel.snapshot();
    for (const line of [
      host('192.0.2.1/32', '10.0.0.1'),
      host('2001:db8:77::1/128', '2001:db8::1'),
      '0.0.0.0/1 via 7 10.8.0.1 metric 0 proto 111',
      '192.168.7.0/24 via 7 - metric 200 proto 111',
      '2000::/3 via 7 - metric 1024 proto 111',
      '7 10.9.0.2/32 10.9.0.1',
      '7 fd42:8::2/64 ',
    ]) {
      ok(all.includes(line), `${line} is missing in\n${all.join('\n')}`);
    }
    strictEqual(files.modes.get(STATE), 0o600);
    const before = files.contents.get(STATE);
    deepStrictEqual(network.apply(WANTED), { failures: [], changes: 0 });
    deepStrictEqual(kernel.snapshot(), all);
    strictEqual(files.contents.get(STATE), before, 'the state file was written again');
    strictEqual(kernel.openSockets, 0);
  });

  it('takes everything back, and is done with it', () => {
    const { kernel, files, network } = world();
    const before = kernel.snapshot();
    deepStrictEqual(network.clear(), { failures: [], changes: 0 });
    network.apply(WANTED);
    const report = network.clear();
    deepStrictEqual(report.failures, []);
    deepStrictEqual(kernel.snapshot(), before);
    strictEqual(files.contents.size, 0);
    deepStrictEqual(network.clear(), { failures: [], changes: 0 });
  });

  it('changes from one wanted state to another by the difference', () => {
    const { kernel, network } = world();
    network.apply(WANTED);
    deepStrictEqual(network.apply(OTHER).failures, []);
    deepStrictEqual(kernel.snapshot(), expected(OTHER));
    deepStrictEqual(network.apply(OTHER).changes, 0);
    deepStrictEqual(network.apply(WANTED).failures, []);
    deepStrictEqual(kernel.snapshot(), expected(WANTED));
  });

  it('replaces a route without a gap when only its gateway changed', () => {
    const { kernel, network } = world();
    network.apply(WANTED);
    const requests = kernel.requests;
    const routes = [route('0.0.0.0/1', 0, '10.8.0.9'), ...WANTED.routes.slice(1)];
    deepStrictEqual(network.apply({ ...WANTED, routes }), { failures: [], changes: 1 });
    ok(kernel.requests > requests);
    ok(kernel.snapshot().includes('0.0.0.0/1 via 7 10.8.0.9 metric 0 proto 111'));
  });

  it('leaves a foreign route of the same place alone and says so', () => {
    const { kernel, network } = world();
    kernel.routes.push(
      routeOf(prefix('192.168.7.0/24'), { index: ETH, gateway: ip('10.0.0.9'), flags: 0 }, 200, 4),
    );
    const report = network.apply(WANTED);
    deepStrictEqual(report.failures, ['route 192.168.7.0/24: File exists, made by protocol 4']);
    ok(kernel.snapshot().includes('192.168.7.0/24 via 2 10.0.0.9 metric 200 proto 4'));
    network.clear();
    ok(kernel.snapshot().includes('192.168.7.0/24 via 2 10.0.0.9 metric 200 proto 4'));
  });

  it('does not touch foreign routes on its own device', () => {
    const { kernel, network } = world();
    network.apply(WANTED);
    kernel.routes.push(routeOf(prefix('172.16.0.0/12'), { index: TUN, flags: 0 }, 0, 4));
    deepStrictEqual(network.apply(WANTED), { failures: [], changes: 0 });
    ok(kernel.snapshot().includes('172.16.0.0/12 via 7 - metric 0 proto 4'));
  });

  it('removes leftover addresses and routes of a device that outlived a process without a record', () => {
    const { kernel, network } = world();
    kernel.links.get(TUN)!.flags = IFF_UP;
    kernel.addresses.push({ index: TUN, local: ip('10.77.0.1'), bits: 24 });
    kernel.addresses.push({ index: TUN, local: ip('fe80::77'), bits: 64 });
    const stale = routeOf(prefix('10.99.0.0/16'), { index: TUN, flags: 0 }, 0, OVPND_ROUTE_PROTOCOL);
    kernel.routes.push(stale);
    deepStrictEqual(network.apply(WANTED).failures, []);
    const lines = kernel.snapshot();
    ok(!lines.some(line => line.includes('10.77.0.1') || line.includes('10.99.0.0')));
    ok(lines.includes('7 fe80::77/64 '), 'a link-local address of somebody else stays');
  });

  it('reports each item that fails and does the others', () => {
    const { kernel, network } = world();
    const routes = [route('172.20.0.0/16', 5, '172.31.0.1'), ...WANTED.routes];
    const report = network.apply({ ...WANTED, routes });
    deepStrictEqual(report.failures, ['route 172.20.0.0/16: Network is unreachable']);
    deepStrictEqual(kernel.snapshot(), expected(WANTED));
  });

  it('reports a device that is not there, and a socket that cannot be had', () => {
    const { kernel, network } = world();
    deepStrictEqual(network.apply({ ...WANTED, device: 'nope' }), {
      failures: ['device nope: No such device'],
      changes: 0,
    });
    kernel.openFailure = {
      failed: true,
      call: 'socket',
      errno: 1,
      code: 'EPERM',
      text: 'Operation not permitted',
    };
    deepStrictEqual(network.apply(WANTED).failures, ['device ov-home: Operation not permitted']);
  });

  it('remembers what could not be taken back from a device it has left', () => {
    const { kernel, network } = world();
    network.apply(WANTED);
    kernel.removeLink(TUN);
    kernel.links.set(9, { name: 'ov-home', flags: 0, mtu: 1500, addrGenMode: 0 });
    // The link by name, the old link by index, then the first host route.
    kernel.faults.set(kernel.requests + 3, 'refuse');
    deepStrictEqual(network.apply({ ...WANTED, outside: [] }).failures, [
      'host route 192.0.2.1/32: Operation not permitted',
    ]);
    deepStrictEqual(network.clear().failures, []);
    ok(!kernel.routes.some(item => item.protocol === OVPND_ROUTE_PROTOCOL));
  });

  it('moves to a new device of the same name and of another', () => {
    const { kernel, files, network } = world();
    network.apply(WANTED);
    kernel.removeLink(TUN);
    kernel.links.set(9, { name: 'ov-home', flags: 0, mtu: 1500, addrGenMode: 0 });
    deepStrictEqual(network.apply(WANTED).failures, []);
    const metric = (index: number) => `metric ${outsideMetric(index)} `;
    ok(kernel.snapshot().some(line => line.includes(metric(9))));
    ok(!kernel.snapshot().some(line => line.includes(metric(TUN))));
    kernel.links.set(11, { name: 'ov-b', flags: 0, mtu: 1500, addrGenMode: 0 });
    deepStrictEqual(network.apply({ ...WANTED, device: 'ov-b' }).failures, []);
    ok(!kernel.addresses.some(address => address.index === 9));
    network.clear();
    strictEqual(files.contents.size, 0);
    ok(!kernel.routes.some(item => item.protocol === OVPND_ROUTE_PROTOCOL));
  });
});

describe('rtnetlink network: ways to the outside', () => {
  const hosts = (kernel: FakeKernel, text: string) => kernel.snapshot().filter(line => line.startsWith(text));

  it('finds the way beside the tunnel when the tunnel already has the default', () => {
    const { kernel, network } = world();
    network.apply({ ...WANTED, outside: [] });
    deepStrictEqual(network.apply(WANTED).failures, []);
    deepStrictEqual(hosts(kernel, '192.0.2.1/32').length, 1);
    ok(hosts(kernel, '192.0.2.1/32')[0]!.includes('via 2 10.0.0.1'));
  });

  it('follows a gateway that changed, and keeps the old way while there is no other', () => {
    const { kernel, network } = world();
    network.apply(WANTED);
    const away = kernel.routes.filter(item => formatPrefix(item.destination) !== '0.0.0.0/0');
    kernel.routes = away.slice();
    deepStrictEqual(network.apply(WANTED), { failures: [], changes: 0 });
    kernel.routes.push(
      routeOf(prefix('0.0.0.0/0'), { index: ETH, gateway: ip('10.0.0.254'), flags: 0 }, 0, 3),
    );
    deepStrictEqual(network.apply(WANTED), { failures: [], changes: 1 });
    deepStrictEqual(hosts(kernel, '192.0.2.1/32'), [
      `192.0.2.1/32 via 2 10.0.0.254 metric ${outsideMetric(TUN)} proto 111`,
    ]);
    network.clear();
    deepStrictEqual(hosts(kernel, '192.0.2.1/32'), []);
  });

  it('keeps the onlink flag and the source address of the way', () => {
    const { kernel, network } = world();
    kernel.routes.push({
      ...routeOf(prefix('192.0.0.0/8'), { index: ETH, gateway: ip('172.31.1.1'), flags: 4 }, 0, 3),
      source: ip('10.0.0.5'),
    });
    deepStrictEqual(network.apply(WANTED).failures, []);
    const made = kernel.routes.find(item => formatPrefix(item.destination) === '192.0.2.1/32')!;
    deepStrictEqual([made.hops[0]!.flags, made.source], [4, ip('10.0.0.5')]);
  });

  it('makes a host route on the link for a neighbour, none for an own or link-local address', () => {
    const { kernel, network } = world();
    const outside = [ip('10.0.0.77'), ip('10.0.0.5'), ip('fe80::1'), ip('10.0.0.77')];
    deepStrictEqual(network.apply({ ...WANTED, outside }).failures, []);
    const mine = kernel.routes.filter(item => item.metric === outsideMetric(TUN));
    deepStrictEqual(
      mine.map(item => [formatPrefix(item.destination), item.hops[0]]),
      [['10.0.0.77/32', { index: ETH, flags: 0 }]],
    );
  });

  it('reports an address without any way and applies the rest', () => {
    const { kernel, network } = world();
    kernel.routes = [];
    const report = network.apply(WANTED);
    deepStrictEqual(report.failures, [
      'host route 192.0.2.1: Network is unreachable',
      'host route 2001:db8:77::1: Network is unreachable',
    ]);
    strictEqual(kernel.routes.length, WANTED.routes.length);
    deepStrictEqual(network.apply(WANTED).failures, [
      'host route 192.0.2.1: no way beside the tunnel',
      'host route 2001:db8:77::1: no way beside the tunnel',
    ]);
  });

  it('gives two tunnels to one server a host route each', () => {
    const { kernel, files, network } = world();
    kernel.links.set(8, { name: 'ov-b', flags: 0, mtu: 1500, addrGenMode: 0 });
    const second = open(kernel, files, 'b');
    network.apply({ ...WANTED, routes: [] });
    deepStrictEqual(second.apply({ ...WANTED, device: 'ov-b', routes: [] }).failures, []);
    strictEqual(hosts(kernel, '192.0.2.1/32').length, 2);
    network.clear();
    deepStrictEqual(hosts(kernel, '192.0.2.1/32'), [
      `192.0.2.1/32 via 2 10.0.0.1 metric ${outsideMetric(8)} proto 111`,
    ]);
  });
});

describe('rtnetlink network: the state file', () => {
  it('is no use when corrupt: one line, nothing touched', () => {
    for (const text of ['', '{', '[]', 'null', '{"version":2}', '{"version":1,"device":"x","index":7}']) {
      const { kernel, files, network } = world();
      const before = kernel.snapshot();
      files.contents.set(STATE, encodeUtf8(text));
      deepStrictEqual(network.recover(), {
        failures: [`state file ${STATE}: not readable, ignored`],
        changes: 0,
      });
      deepStrictEqual(kernel.snapshot(), before);
      deepStrictEqual(network.apply(WANTED).failures, []);
      deepStrictEqual(open(kernel, files).recover().failures, []);
      deepStrictEqual(kernel.snapshot(), before);
    }
  });

  it('absent: recover does nothing', () => {
    const { kernel, network } = world();
    deepStrictEqual(network.recover(), { failures: [], changes: 0 });
    // Nothing but a look for routes of a kill switch, which need no file.
    strictEqual(kernel.requests, 2);
  });

  it('is written again after a clear', () => {
    const { files, network } = world();
    network.apply(WANTED);
    const text = decodeUtf8(files.contents.get(STATE)!);
    network.clear();
    network.apply(WANTED);
    strictEqual(decodeUtf8(files.contents.get(STATE)!), text);
  });

  it('cannot make anybody delete a route of another protocol', () => {
    const { kernel, files, network } = world();
    network.apply(WANTED);
    kernel.removeLink(TUN);
    kernel.routes = kernel.routes.map(item =>
      item.protocol === OVPND_ROUTE_PROTOCOL ? { ...item, protocol: 4 } : item,
    );
    const before = kernel.snapshot();
    deepStrictEqual(open(kernel, files).recover(), { failures: [], changes: 0 });
    deepStrictEqual(kernel.snapshot(), before);
  });

  it('does not take another device with the old index for the tunnel', () => {
    const { kernel, files, network } = world();
    network.apply(WANTED);
    kernel.removeLink(TUN);
    kernel.links.set(TUN, { name: 'wlan0', flags: IFF_UP, mtu: 1500, addrGenMode: 0 });
    kernel.addresses.push({ index: TUN, local: ip('10.8.0.2'), bits: 24 });
    deepStrictEqual(open(kernel, files).recover().failures, []);
    ok(kernel.snapshot().includes('7 10.8.0.2/24 '));
  });

  it('that cannot be written costs a line, not the tunnel', () => {
    const { kernel, files, network } = world();
    files.writeFailure = {
      failed: true,
      call: 'open',
      errno: 28,
      code: 'ENOSPC',
      text: 'No space left on device',
    };
    const { failures } = network.apply(WANTED);
    ok(
      failures.length > 0 && failures.every(line => line === `state file ${STATE}: No space left on device`),
    );
    deepStrictEqual(kernel.snapshot(), expected(WANTED));
  });

  it('names the host routes before they are made', () => {
    const { kernel, files, network } = world();
    const write = files.write.bind(files);
    let first: string | undefined;
    files.write = (path, bytes, mode) => {
      first ??= `${kernel.routes.length} ${decodeUtf8(bytes)}`;
      return write(path, bytes, mode);
    };
    network.apply(WANTED);
    ok(first?.startsWith('2 ') && first.includes('"to":"192.0.2.1","via":"10.0.0.1"'), first);
  });
});
