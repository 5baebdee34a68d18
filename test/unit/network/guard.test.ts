// SPDX-License-Identifier: Apache-2.0
// The kill switch on the model kernel: what is blocked, who may leave, and who opens it again.

import { deepStrictEqual, notStrictEqual, ok, strictEqual } from 'node:assert';
import { formatIp, parseIp } from '../../../src/core/address.ts';
import { encodeUtf8 } from '../../../src/core/bytes.ts';
import type { WantedNetwork } from '../../../src/core/network.ts';
import { blockMetric, outsideMetric } from '../../../src/network/difference.ts';
import { nameServers, parseNameServers } from '../../../src/network/nameservers.ts';
import { Died, type FakeKernel, type Fault } from './fakekernel.ts';
import { expected, GUARDED, ip, open, STATE, TUN, WANTED, world } from './world.ts';

const METRIC = blockMetric('home');
const BLOCKS = GUARDED.guard!.blocked.length;
const CONNECTED: WantedNetwork = { ...WANTED, guard: GUARDED.guard! };
const { guard: _, ...UNGUARDED } = GUARDED;

const ours = (kernel: FakeKernel): string[] => kernel.snapshot().filter(line => line.includes('proto 111'));
const blocked = (kernel: FakeKernel): string[] => ours(kernel).filter(line => line.includes('via nowhere'));
const block = (to: string, metric = METRIC): string => `${to} via nowhere metric ${metric} proto 111`;
const host = (to: string, via: string): string => `${to} via 2 ${via} metric ${outsideMetric(TUN)} proto 111`;
const ALL = ['0.0.0.0/1', '128.0.0.0/1', '192.168.7.0/24', '::/3'].map(to => block(to));

describe('the kill switch', () => {
  it('before the first connection: the server stays reachable, the device is left alone', () => {
    const { kernel, network } = world();
    const device = { ...kernel.links.get(TUN)! };
    deepStrictEqual(network.apply(GUARDED), { failures: [], changes: 1 + BLOCKS });
    deepStrictEqual(ours(kernel), [...ALL.slice(0, 3), host('192.0.2.1/32', '10.0.0.1'), ALL[3]!].sort());
    deepStrictEqual(kernel.links.get(TUN), device);
    deepStrictEqual(network.apply(GUARDED).changes, 0, 'then finds nothing to do');
  });

  it('connected: behind the routes of the tunnel, and still there when those go with the device', () => {
    const { kernel, network } = world();
    network.apply(GUARDED);
    deepStrictEqual(network.apply(CONNECTED).failures, []);
    deepStrictEqual(
      ours(kernel),
      [...expected(WANTED).filter(line => /proto 111/.test(line)), ...ALL].sort(),
    );
    kernel.removeLink(TUN);
    deepStrictEqual(blocked(kernel), ALL);
  });

  it('a clean end and a switch that is turned off open it; an end that is none leaves it closed', () => {
    for (const [end, isOpen] of [
      [(net: ReturnType<typeof open>) => net.clear(), true],
      [(net: ReturnType<typeof open>) => net.unguard(), true],
      [(net: ReturnType<typeof open>) => net.apply(UNGUARDED), true],
      [(net: ReturnType<typeof open>) => net.guard(UNGUARDED), true],
      [(net: ReturnType<typeof open>) => net.clear(true), false],
      [(net: ReturnType<typeof open>) => net.unguard(true), false],
    ] as const) {
      const { kernel, files, network } = world();
      const before = kernel.snapshot();
      network.apply(GUARDED);
      deepStrictEqual(end(network).failures, []);
      deepStrictEqual(blocked(kernel), isOpen ? [] : ALL);
      deepStrictEqual(ours(kernel), isOpen ? [] : ALL, 'no host route stays');
      if (isOpen) deepStrictEqual(kernel.snapshot(), before);
      strictEqual(files.contents.has(STATE), false);
    }
  });

  it('after a crash the next process keeps it closed or opens it, whatever the state file says', () => {
    for (const hasFile of [true, false]) {
      for (const stayClosed of [true, false]) {
        const { kernel, files, network } = world();
        network.apply(CONNECTED);
        if (!hasFile) files.contents.delete(STATE);
        const next = open(kernel, files);
        deepStrictEqual(next.recover(stayClosed).failures, []);
        deepStrictEqual(blocked(kernel), stayClosed ? ALL : []);
        deepStrictEqual(next.apply(GUARDED).failures, []);
        deepStrictEqual(blocked(kernel), ALL);
        next.clear();
        deepStrictEqual(blocked(kernel), []);
      }
    }
  });

  it('closed first of all after a crash: the way to the server is found although the kernel says there is none', () => {
    const { kernel, files, network } = world();
    network.apply(GUARDED);
    const next = open(kernel, files);
    next.recover(true);
    deepStrictEqual(next.apply({ ...GUARDED, outside: [ip('198.51.100.9')] }).failures, []);
    ok(ours(kernel).includes(host('198.51.100.9/32', '10.0.0.1')));
  });

  it('two tunnels have their own; one that ends does not open the other', () => {
    notStrictEqual(blockMetric('home'), blockMetric('office'));
    const { kernel, files, network } = world();
    const other = open(kernel, files, 'office');
    network.apply(GUARDED);
    deepStrictEqual(other.apply(GUARDED).failures, []);
    strictEqual(blocked(kernel).length, 2 * BLOCKS);
    network.clear();
    deepStrictEqual(
      blocked(kernel),
      ALL.map(line => line.replace(String(METRIC), String(blockMetric('office')))),
    );
  });

  it('changes by the difference, and what somebody took away comes back', () => {
    const { kernel, network } = world();
    network.apply(GUARDED);
    const guard = { blocked: GUARDED.guard!.blocked.slice(2), isLookingUp: false };
    deepStrictEqual(network.apply({ ...GUARDED, guard }).changes, 2);
    deepStrictEqual(blocked(kernel), ALL.slice(2));
    kernel.routes = kernel.routes.filter(route => route.type === 1);
    deepStrictEqual(network.apply({ ...GUARDED, guard }).changes, 2);
    deepStrictEqual(blocked(kernel), ALL.slice(2));
  });

  it('no device: closed all the same', () => {
    const { kernel, network } = world();
    kernel.removeLink(TUN);
    deepStrictEqual(network.apply(GUARDED).failures, ['device ov-home: No such device']);
    deepStrictEqual(blocked(kernel), ALL);
  });

  it('name servers are reachable only while a name is looked up, and never those of the tunnel', () => {
    const { kernel, files, network } = world();
    files.contents.set('/etc/resolv.conf', encodeUtf8('nameserver 127.0.0.1\n'));
    const list = 'nameserver 198.51.100.53\nnameserver 10.8.0.1\nnameserver fe80::1%eth0\n';
    files.contents.set('/tmp/resolv.conf.d/resolv.conf.auto', encodeUtf8(list));
    const dns = { servers: [ip('10.8.0.1')], domains: [] };
    const lookUp = { ...GUARDED, dns, outside: [], guard: { ...GUARDED.guard!, isLookingUp: true } };
    deepStrictEqual(network.apply(lookUp).failures, []);
    const hosts = () => ours(kernel).filter(line => !line.includes('nowhere'));
    deepStrictEqual(hosts(), [host('198.51.100.53/32', '10.0.0.1')]);
    network.apply({ ...GUARDED, dns });
    deepStrictEqual(hosts(), [host('192.0.2.1/32', '10.0.0.1')]);
  });

  it('whatever fails or dies in between, the next process puts it right', () => {
    for (const fault of ['refuse', 'lost', 'mute', 'dieBefore', 'dieAfter'] as Fault[]) {
      for (let n = 1; n < 14; n++) {
        const { kernel, files, network } = world();
        const before = kernel.snapshot();
        kernel.faults.set(n, fault);
        try {
          network.apply(GUARDED);
        } catch (error) {
          ok(error instanceof Died);
        }
        kernel.faults.clear();
        const next = open(kernel, files);
        deepStrictEqual(next.recover(true).failures, []);
        deepStrictEqual(next.apply(GUARDED).failures, []);
        deepStrictEqual(blocked(kernel), ALL, `${fault} ${n}`);
        next.clear();
        deepStrictEqual(kernel.snapshot(), before, `${fault} ${n}`);
      }
    }
  });
});

describe('name servers of the uplink', () => {
  const found = (text: string): string[] => parseNameServers(text).map(formatIp);

  it('nameserver lines, wherever they are', () => {
    deepStrictEqual(found('# Interface wan\nnameserver 192.0.2.53\n\tnameserver  2001:db8::53 # x\n'), [
      '192.0.2.53',
      '2001:db8::53',
    ]);
  });

  it('nothing else', () => {
    for (const text of [
      '',
      'nameserver',
      'nameserver x',
      '#nameserver 192.0.2.53',
      'search 192.0.2.53',
      'nameserver 127.0.0.53',
      'nameserver ::1',
      'nameserver 0.0.0.0',
      'nameserver fe80::1%wan',
      'nameservers 192.0.2.53',
    ]) {
      deepStrictEqual(found(text), [], text);
    }
  });

  it('each once, and eight at most', () => {
    const { files } = world();
    const lines = Array.from({ length: 20 }, (_, i) => `nameserver 192.0.2.${1 + (i % 10)}\n`);
    files.contents.set('/etc/resolv.conf', encodeUtf8(lines.join('')));
    strictEqual(nameServers(files, []).length, 8);
    strictEqual(nameServers(files, [parseIp('192.0.2.1')!])[0]!.at(-1), 2);
  });
});
