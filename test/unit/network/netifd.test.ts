// SPDX-License-Identifier: Apache-2.0
// Who applies the wanted state, with a netifd that answers when the test says so, and the model kernel.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import type { Loop } from '../../../src/host/host.ts';
import {
  type AskFailure,
  type InterfaceState,
  RECHECK_MS,
  TunnelNetwork,
} from '../../../src/network/netifd.ts';
import { Run } from '../../../src/network/run.ts';
import { expected, GUARDED, OTHER, route, WANTED, type World, world } from './world.ts';

type Notice = Record<string, unknown>;

interface Scene extends World {
  readonly net: TunnelNetwork;
  readonly told: Notice[];
  readonly warnings: string[];
  readonly ups: number[];
  /** What netifd says of the interface. */
  state: InterfaceState | 'no interface' | 'no netifd';
  /** Answers everything that was asked until now, and what follows from that. */
  settle(failure?: (notice: Notice) => AskFailure | undefined): void;
  pass(ms: number): void;
}

function scene(state: Scene['state'] = 'no netifd'): Scene {
  const { kernel, files, network } = world();
  let now = 0;
  let timers: { at: number; call: () => void }[] = [];
  let waiting: ((failure: (notice: Notice) => AskFailure | undefined) => void)[] = [];
  const told: Notice[] = [];
  const warnings: string[] = [];
  const ups: number[] = [];
  const at: Loop['at'] = (due, call) => {
    const timer = { at: due, call };
    timers.push(timer);
    return {
      cancel: () => {
        timers = timers.filter(other => other !== timer);
      },
    };
  };
  const net = new TunnelNetwork({
    tunnel: 'home',
    loop: { at } as Loop,
    monotonicMs: () => now,
    kernel: network,
    notify: (message, done) => {
      told.push(message as Notice);
      waiting.push(failure => done(failure(message as Notice)));
    },
    inquire: done => void waiting.push(() => done(made.state)),
    report: ({ failures }) => void warnings.push(...failures),
    warn: text => void warnings.push(text),
    onDeviceUp: () => void ups.push(now),
  });
  const made: Scene = {
    kernel,
    files,
    network,
    net,
    told,
    warnings,
    ups,
    state,
    settle: (failure = () => undefined) => {
      while (waiting.length > 0) {
        const calls = waiting;
        waiting = [];
        for (const call of calls) call(failure);
      }
    },
    pass: ms => {
      now += ms;
      const due = timers.filter(timer => timer.at <= now);
      timers = timers.filter(timer => timer.at > now);
      for (const timer of due) timer.call();
    },
  };
  net.open();
  return made;
}

const PENDING: InterfaceState = { proto: 'ovpnd', isWanted: true };
/** Host dependencies, links with nothing on them, and whole ones. */
const actions = (told: readonly Notice[]): unknown[] =>
  told.map(({ action, ipaddr }) => (action === 0 ? (ipaddr as []).length > 0 : `do ${action}`));

/** What netifd has made of the notices: of what it is told again it makes nothing anew. */
function made(told: readonly Notice[]): Set<string> {
  const there = new Set<string>();
  for (const notice of told.filter(({ action }) => action === 0)) {
    const lists = [notice.ipaddr, notice.ip6addr, notice.routes, notice.routes6] as unknown[][];
    const items = new Set(lists.flat().map(item => JSON.stringify(item)));
    for (const item of there) if (!items.has(item)) there.delete(item);
    for (const item of items) there.add(item);
    strictEqual('keep' in notice, false, 'what is not named would stay');
  }
  return there;
}

describe('who applies the network', () => {
  it('without such an interface, or with one of another protocol, this process configures', () => {
    for (const state of ['no netifd', 'no interface', { proto: 'static', isWanted: true }] as const) {
      const { net, kernel, told, settle } = scene(state);
      net.apply(WANTED);
      strictEqual(net.by, 'unknown');
      settle();
      strictEqual(net.by, 'rtnetlink');
      deepStrictEqual(kernel.snapshot(), expected(WANTED));
      deepStrictEqual(told, []);
    }
  });

  it('the kill switch is ours whoever has the rest, and nothing unconnected is told to netifd', () => {
    const { net, kernel, told, settle } = scene(PENDING);
    const blocks = () => kernel.snapshot().filter(line => line.includes('via nowhere')).length;
    net.apply(GUARDED);
    strictEqual(blocks(), 4, 'before anybody was asked');
    settle();
    deepStrictEqual([net.by, told], ['netifd', []]);
    net.apply({ ...WANTED, guard: GUARDED.guard! });
    settle();
    deepStrictEqual(actions(told), ['do 6', 'do 6', true]);
    ok(!kernel.snapshot().some(line => line.startsWith('7 10.8.0.2')), 'addresses are for netifd');
    net.interfaceDown();
    strictEqual(blocks(), 4);
    net.close(true);
    strictEqual(blocks(), 4);
    const other = scene(PENDING);
    const before = other.kernel.snapshot();
    other.net.apply(GUARDED);
    other.settle();
    other.net.close();
    deepStrictEqual(other.kernel.snapshot(), before);
  });

  it('pushed routes into networks of other devices are for nobody, the own configuration is', () => {
    const pushedRoute = (to: string) => ({ ...route(to, 0), isPushed: true });
    const routes = [
      ...['10.0.0.0/24', '10.0.0.128/25', '10.0.0.1/32', '2001:db8::/64', '2001:db8::77/128'].map(
        pushedRoute,
      ),
      // These do not hide what is more exact.
      ...['10.0.0.0/8', '10.0.1.0/24', '2001:db8::/32'].map(pushedRoute),
      route('10.0.0.64/26', 0),
    ];
    const kept = ['10.0.0.0/8', '10.0.1.0/24', '10.0.0.64/26', '2001:db8::/32'];
    const said =
      'pushed route 10.0.0.0/24, 10.0.0.128/25, 10.0.0.1/32, 2001:db8::/64, 2001:db8::77/128 not followed: in a network of another device; `route` would insist';
    for (const state of ['no interface', PENDING] as const) {
      const { net, kernel, told, warnings, settle } = scene(state);
      net.apply({ ...WANTED, routes });
      settle();
      net.apply({ ...WANTED, routes, mtu: 1300 });
      settle();
      deepStrictEqual(warnings, [said], 'once');
      const last = told.at(-1) as { routes: { target: string }[]; routes6: { target: string }[] } | undefined;
      const there =
        last === undefined
          ? kernel.snapshot().flatMap(line => /^(\S+) via 7 - metric/.exec(line)?.[1] ?? [])
          : [...last.routes, ...last.routes6.slice(0, 1)].map(({ target }) => target);
      deepStrictEqual(
        there.sort(),
        (last === undefined ? kept : kept.map(text => text.replace(/\/.*/, ''))).sort(),
      );
    }
  });

  it('from rtnetlink to netifd it stays closed, with the way to the server', () => {
    const { net, kernel, settle } = scene('no interface');
    net.apply({ ...WANTED, guard: GUARDED.guard! });
    settle();
    strictEqual(net.by, 'rtnetlink');
    net.interfaceUp(true);
    const ours = kernel.snapshot().filter(line => line.includes('proto 111'));
    strictEqual(ours.filter(line => line.includes('via nowhere')).length, 4);
    ok(ours.some(line => line.startsWith('192.0.2.1/32 via 2 10.0.0.1')));
    strictEqual(ours.length, 4 + WANTED.outside.length);
  });

  it('netifd gets host routes first, then all; a change is told whole, the same again is not told', () => {
    const { net, told, settle, ups } = scene(PENDING);
    net.apply(WANTED);
    settle();
    deepStrictEqual(actions(told), ['do 6', 'do 6', true]);
    deepStrictEqual(ups, [0]);
    net.apply({ ...WANTED });
    settle();
    strictEqual(told.length, 3);
    net.apply(OTHER);
    settle();
    // One of its two servers is known.
    deepStrictEqual(actions(told), ['do 6', 'do 6', true, 'do 6', true]);
  });

  it('netifd gives the addresses; this process only prepares the device', () => {
    const { net, kernel, settle } = scene(PENDING);
    net.apply(WANTED);
    settle();
    const link = [...kernel.links.values()].find(({ name }) => name === 'ov-home')!;
    deepStrictEqual([link.mtu, link.addrGenMode, link.flags], [1420, 1, 0]);
    deepStrictEqual(
      kernel.addresses.filter(({ index }) => index === 7),
      [],
    );
  });

  it('an interface that is restarted is told all again, whatever came in between', () => {
    const { net, told, settle, pass } = scene(PENDING);
    net.apply(WANTED);
    settle();
    told.length = 0;
    net.interfaceDown();
    net.apply(OTHER);
    settle();
    deepStrictEqual(told, []);
    pass(RECHECK_MS - 1);
    net.interfaceUp(false);
    pass(RECHECK_MS);
    settle();
    // Without host routes, as the interface says now.
    deepStrictEqual(actions(told), [true]);
    strictEqual(net.by, 'netifd');
  });

  it('a teardown while a notice is on its way does not count as up', () => {
    const { net, told, settle } = scene(PENDING);
    settle();
    net.apply({ ...WANTED, outside: [] });
    net.interfaceDown();
    net.interfaceUp(true);
    settle();
    deepStrictEqual(actions(told), [true, true]);
  });

  it('an interface that stays down is left alone; one that is removed gives the network to this process', () => {
    const made = scene(PENDING);
    const { net, told, kernel, settle, pass } = made;
    net.apply(WANTED);
    settle();
    told.length = 0;
    net.interfaceDown();
    made.state = { proto: 'ovpnd', isWanted: false };
    pass(RECHECK_MS);
    settle();
    deepStrictEqual([net.by, told.length], ['netifd', 0]);
    net.interfaceDown();
    made.state = 'no interface';
    pass(RECHECK_MS);
    settle();
    strictEqual(net.by, 'rtnetlink');
    deepStrictEqual(kernel.snapshot(), expected(WANTED));
  });

  it('a netifd that is being restarted keeps its interface', () => {
    const made = scene(PENDING);
    const { net, told, settle, pass } = made;
    net.apply(WANTED);
    settle();
    made.state = 'no netifd';
    net.inquire();
    settle();
    strictEqual(net.by, 'netifd');
    made.state = PENDING;
    pass(RECHECK_MS);
    settle();
    deepStrictEqual([net.by, told.length], ['netifd', 3]);
  });

  it('an interface that is added takes over, and this process takes its own back first', () => {
    const { net, kernel, told, settle } = scene();
    const before = kernel.snapshot();
    net.apply(WANTED);
    settle();
    net.interfaceUp(true);
    settle();
    strictEqual(net.by, 'netifd');
    deepStrictEqual(actions(told), ['do 6', 'do 6', true]);
    strictEqual(
      kernel
        .snapshot()
        .filter(line => !before.includes(line))
        .some(line => /10\.8\.0/.test(line)),
      false,
    );
  });

  it('a refusal is asked about and tried again; only what is unexpected is said', () => {
    const { net, told, settle, pass, warnings } = scene(PENDING);
    net.apply({ ...WANTED, outside: [] });
    settle(() => ({ status: 6, text: 'Permission denied' }));
    deepStrictEqual([told.length, warnings], [1, []]);
    pass(2_000);
    settle(() => ({ status: 9, text: 'network.interface notify_proto: Unknown error' }));
    deepStrictEqual(warnings, ['netifd: network.interface notify_proto: Unknown error']);
    pass(2_000);
    settle();
    deepStrictEqual(actions(told), [true, true, true]);
    net.apply(WANTED);
    settle();
    deepStrictEqual(actions(told).at(-1), true);
  });

  it('a device that was down and is up again gets back what the kernel has forgotten', () => {
    const { net, kernel, settle, ups } = scene();
    net.apply(WANTED);
    settle();
    strictEqual(net.deviceUp(), false, 'the first time nothing is missing');
    const whole = kernel.snapshot();
    for (let i = 1; i <= 2; i++) {
      const run = new Run(kernel.open);
      const link = run.link('ov-home')!;
      run.setUp(link, false);
      strictEqual(net.deviceDown(), true);
      ok(!kernel.snapshot().some(line => /fd42:8::2|192\.168\.7\.0/.test(line)));
      run.setUp(link, true);
      run.finish();
      strictEqual(net.deviceUp(), true);
      deepStrictEqual(kernel.snapshot(), whole);
      strictEqual(ups.length, i);
    }
    strictEqual(net.deviceUp(), false);
  });

  it('netifd lets go of what such a device lost, and makes it anew', () => {
    const { net, told, settle, ups } = scene(PENDING);
    net.apply(WANTED);
    strictEqual(net.deviceDown(), false, 'netifd has not taken hold of it yet');
    settle();
    strictEqual(net.deviceUp(), false);
    const whole = made(told);
    told.length = 0;
    strictEqual(net.deviceDown(), true);
    settle();
    deepStrictEqual(told, []);
    strictEqual(net.deviceUp(), true);
    settle();
    deepStrictEqual(actions(told), [false, true]);
    deepStrictEqual(made(told), whole);
    strictEqual(ups.length, 2);
  });

  it('whatever becomes of the notice that lets go, all of it is made anew in the end', () => {
    const { net, told, settle, pass } = scene(PENDING);
    net.apply(WANTED);
    settle();
    told.length = 0;
    net.deviceDown();
    net.deviceUp();
    settle(() => ({ status: 9, text: 'network.interface notify_proto: Unknown error' }));
    pass(2_000);
    settle();
    deepStrictEqual(actions(told), [false, false, true]);
  });

  it('a device that goes down with the interface is not missed', () => {
    const { net, told, settle } = scene(PENDING);
    net.apply(WANTED);
    settle();
    told.length = 0;
    net.interfaceDown();
    strictEqual(net.deviceDown(), false);
    net.interfaceUp(true);
    strictEqual(net.deviceUp(), false);
    settle();
    deepStrictEqual(actions(told), ['do 6', 'do 6', true]);
  });

  it('errors are shown by netifd, each once, and again after the next setup', () => {
    const { net, told, settle } = scene(PENDING);
    net.error('too early');
    settle();
    net.error('no answer');
    net.error('no answer');
    net.interfaceUp(true);
    net.error('no answer');
    deepStrictEqual(
      told.map(({ action }) => action),
      [3, 3],
    );
  });

  it('after the end nothing is told or asked', () => {
    const { net, told, settle, pass } = scene(PENDING);
    net.close();
    settle();
    net.interfaceUp(true);
    net.interfaceDown();
    net.error('late');
    pass(60_000);
    settle();
    deepStrictEqual([told, net.by], [[], 'unknown']);
  });
});
