// SPDX-License-Identifier: Apache-2.0
// Bad days of the native data plane, all of them under load: harmful packets at a high rate, new keys, peers thrown
// out, devices that go down or away (on the js plane, too), a control thread that stands still, a process that is killed.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './harness/namespace.ts';
import { isStock } from './harness/openvpn.ts';
import { type Options, writeUci } from './harness/ovpnd.ts';
import { peerNames } from './harness/peers.ts';
import { pingAll, reach, undisturbed } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { compiled, Stream, type StreamResult, Transfer } from './harness/traffic.ts';
import {
  type End,
  type Ends,
  type Extra,
  runtimesOf,
  SERVER_ADDRESSES,
  SERVER4,
  SERVER6,
  startClient,
  startServer,
} from './harness/tunnel.ts';
import { PATIENCE_MS, pause } from './harness/wait.ts';
import { describeEnds, type Tunnel, up } from './harness/works.ts';
import type { World } from './harness/world.ts';

const AGREEMENT = { wrap: 'tls-crypt' } as const;
const CLIENT4 = '10.8.0.2';

const OURS_OURS: Ends = { server: 'quickjs', client: 'quickjs' };
const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const THEIRS_OURS: Ends = { server: 'openvpn', client: 'quickjs' };
const ASAN_ASAN: Ends = { server: 'asan', client: 'asan' };

/** Finds out in seconds that the other end is gone. */
const QUICK: Extra = { options: { keepalive: '1 4' }, lines: ['keepalive 1 4'] };

/** A thread for each direction, for our servers; our clients have one for both. */
const SPLIT: Options = { data_threads: '2' };

interface Status {
  readonly data_plane: { readonly name: string; readonly threads?: number };
  readonly drops: { readonly plane: Readonly<Record<string, number>> };
}

async function statusOf(end: End, plane: Plane = 'native'): Promise<Status> {
  const status = (await end.ovpnd!.status()) as unknown as Status;
  strictEqual(status.data_plane.name, plane);
  return status;
}

/** Nothing that arrived is not what was sent. */
function isSound({ received, wrong, repeated }: StreamResult): void {
  ok(received > 0, 'nothing arrived');
  deepStrictEqual({ wrong, repeated }, { wrong: 0, repeated: 0 });
}

/** Everything arrived, once and whole. */
function isWhole(result: StreamResult): void {
  isSound(result);
  strictEqual(result.received, result.sent, `${result.sent - result.received} of ${result.sent} lost`);
}

const HARM_RATE = 4000;
const HARM_MS = 4000;
/** What harmful packets of known keys are counted as. */
const HARMED = ['short', 'unknown-peer', 'no-key', 'auth', 'replay'];

function flooded(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: cut, blown up, changed, repeated, mis-keyed packets at a high rate`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const { left, right } = wire;
      const words = ['1194', wire.left4, '1194', String(HARM_RATE)];
      const harm = world.spawn('harm', right, [await compiled('harm'), ...words]);
      await harm.line(/^ready$/);
      const server = await startServer(world, left, keys, ends.server, AGREEMENT, { options: SPLIT });
      const client = startClient(world, wire, keys, ends.client, AGREEMENT, { remote: '127.0.0.1' });
      await reach(world, right, SERVER4);
      const streams = await Promise.all([
        Stream.start(world, right, left, SERVER4),
        Stream.start(world, left, right, CLIENT4),
      ]);
      const transfers = await Promise.all([
        Transfer.start(world, right, left, SERVER4),
        Transfer.start(world, left, right, CLIENT4),
      ]);
      await pause(HARM_MS);
      harm.signal('SIGUSR1');
      const sent = JSON.parse(await harm.line(/^\{/)) as Record<string, number>;
      ok(
        Object.values(sent).every(count => count > 100),
        `too little harm: ${JSON.stringify(sent)}`,
      );
      for (const transfer of transfers) ok((await transfer.stop()) > 0);
      for (const running of streams) isSound(await running.stop());
      await undisturbed(right, SERVER4, () => pingAll(right, SERVER_ADDRESSES));
      for (const end of [server, client].filter(({ kind }) => !isStock(kind))) {
        const { plane } = (await statusOf(end)).drops;
        for (const reason of HARMED) ok((plane[reason] ?? 0) > 10, `${reason}: ${JSON.stringify(plane)}`);
      }
    },
  };
}

const SWAP_MS = 9000;

function swapped(ends: Ends): Row {
  const often: Extra = { options: { ...SPLIT, reneg_sec: '3' }, lines: ['reneg-sec 3 3'] };
  const never: Extra = { options: { reneg_sec: '0' }, lines: ['reneg-sec 0'] };
  return {
    title: `${describeEnds(ends)}: new keys every three seconds, and not one of 1,000 packets a second is lost`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const { wire, server, client } = await up(world, ends, AGREEMENT, { server: often, client: never });
      const streams = await Promise.all([
        Stream.start(world, wire.right, wire.left, SERVER4),
        Stream.start(world, wire.left, wire.right, CLIENT4),
      ]);
      await pause(SWAP_MS);
      for (const running of streams) isWhole(await running.stop());
      for (const end of [server, client].filter(({ kind }) => isStock(kind)))
        ok(end.process.count(/Control Channel: TLS/) >= 3, 'too few handshakes');
      for (const end of [server, client].filter(({ kind }) => !isStock(kind))) {
        const { threads } = (await statusOf(end)).data_plane;
        strictEqual(threads, end === server ? 2 : Number(process.env.OVPND_TEST_THREADS ?? 1));
      }
    },
  };
}

const thrownOut: Row = {
  title: 'a client is thrown out under load: it comes back, and the other one loses nothing',
  runtimes: ['quickjs'],
  body: async world => {
    const { wire, server } = await up(world, OURS_OURS, AGREEMENT, { server: QUICK });
    const second = await world.wire(wire.left, await world.namespace());
    startClient(world, second, await pki(), 'quickjs', AGREEMENT, { number: 1 });
    await reach(world, second.right, SERVER4);
    const [mine, others] = await Promise.all([
      Stream.start(world, wire.left, wire.right, CLIENT4, { rate: 5000 }),
      Stream.start(world, second.right, wire.left, SERVER4),
      Stream.start(world, wire.right, wire.left, SERVER4, { rate: 5000 }),
    ]);
    for (let i = 0; i < 3; i++) {
      const told = await server.ovpnd!.ask('disconnect', 'home', 'client0');
      strictEqual(told.code, 0, told.output);
      await reach(world, wire.right, SERVER4);
    }
    isWhole(await others!.stop());
    isSound(await mine!.stop());
    deepStrictEqual(await peerNames(server.ovpnd!), ['client0', 'client1']);
  },
};

type Which = 'server' | 'client';
type Plane = 'native' | 'js';

/** Both ends on one plane, with a load that it carries, and routes of both families. */
async function loaded(world: World, plane: Plane): Promise<{ tunnel: Tunnel; streams: Stream[] }> {
  const options = { data_plane: plane };
  const routes = { push_route: ['192.168.77.0/24', 'fd77::/64'] };
  const server = { ...QUICK, options: { ...QUICK.options, ...options, ...routes } };
  const tunnel = await up(world, OURS_OURS, AGREEMENT, { server, client: { options } });
  const { left, right } = tunnel.wire;
  const rate = plane === 'js' ? 300 : 5000;
  const streams = await Promise.all([
    Stream.start(world, right, left, SERVER4, { rate }),
    Stream.start(world, left, right, CLIENT4, { rate }),
  ]);
  return { tunnel, streams };
}

function downAndUp(which: Which, plane: Plane): Row {
  return {
    title: `${plane}: the ${which}'s device is set down and up again under load, and has all of its network again`,
    runtimes: ['quickjs'],
    body: async world => {
      const { tunnel, streams } = await loaded(world, plane);
      const { wire } = tunnel;
      const namespace = which === 'server' ? wire.left : wire.right;
      const { device, process } = tunnel[which];
      await reach(world, wire.right, SERVER6);
      const whole = await namespace.snapshot();
      for (const word of ['fd42:8::', ...(which === 'client' ? ['192.168.77.0/24', 'fd77::/64'] : [])])
        ok(whole.includes(word), word);
      for (let i = 0; i < 2; i++) {
        const from = process.lines.length;
        await namespace.ip(`link set ${device} down`);
        await process.line(/warn: device ov-\S+ was set down/, PATIENCE_MS, from);
        await namespace.ip(`link set ${device} up`);
        await process.line(/info: device ov-\S+ is up again/, PATIENCE_MS, from);
        await reach(world, wire.right, SERVER4);
        await reach(world, wire.right, SERVER6);
        await world.until(
          'its network is as before',
          5000,
          async () => (await namespace.snapshot()) === whole,
        );
      }
      await undisturbed(wire.right, SERVER4, () => pause(1000));
      for (const stream of streams) isSound(await stream.stop());
      strictEqual(process.count(/is up again/), 2);
      await statusOf(tunnel[which], plane);
    },
  };
}

function taken(which: Which, plane: Plane): Row {
  return {
    title: `${plane}: the ${which}'s device is deleted, then renamed, under load: it says so and starts again`,
    runtimes: ['quickjs'],
    body: async world => {
      const { tunnel } = await loaded(world, plane);
      const { wire } = tunnel;
      const namespace = which === 'server' ? wire.left : wire.right;
      const { device, process } = tunnel[which];
      for (const command of [`link del ${device}`, `link set ${device} name other0`]) {
        const from = process.lines.length;
        await namespace.ip(command);
        await process.line(/error: data plane: the device is gone .*, starting again$/, PATIENCE_MS, from);
        await reach(world, wire.right, SERVER4);
        await reach(world, wire.right, SERVER6);
      }
      strictEqual(process.count(/starting again/), 2);
      ok(!(await namespace.snapshot()).includes('other0'), 'the renamed device is left');
      await statusOf(tunnel[which], plane);
    },
  };
}

const brokenConfig: Row = {
  title:
    'the device is deleted while the configuration is being edited: the tunnel goes on with the one it had',
  runtimes: ['quickjs'],
  body: async world => {
    const { tunnel } = await loaded(world, 'native');
    const { device, process, ovpnd } = tunnel.client;
    writeUci(ovpnd!.dir, []);
    await tunnel.wire.right.ip(`link del ${device}`);
    await process.line(/error: data plane: the device is gone .*, starting again$/);
    await process.line(/error: .*holds no server or client section/);
    await reach(world, tunnel.wire.right, SERVER6);
  },
};

const FAULTS_MS = 3000;

const faulty: Row = {
  title:
    'every fiftieth call on a socket or the device fails under load, in eight ways: afterwards nothing is lost',
  runtimes: ['quickjs'],
  body: async world => {
    const file = join(world.folder('faults'), 'on');
    const library = await compiled('faults', 'library');
    const run = { before: ['env', `LD_PRELOAD=${library}`, `FAULTS=${file}`] };
    const { wire, server, client } = await up(world, OURS_OURS, AGREEMENT, {
      server: { run, options: SPLIT },
      client: { run },
    });
    const { left, right } = wire;
    const start = (rate: number) =>
      Promise.all([
        Stream.start(world, right, left, SERVER4, { rate }),
        Stream.start(world, left, right, CLIENT4, { rate }),
      ]);
    const [streams, transfer] = await Promise.all([start(5000), Transfer.start(world, right, left, SERVER6)]);
    writeFileSync(file, '');
    await pause(FAULTS_MS);
    rmSync(file);
    ok((await transfer.stop()) > 0);
    for (const stream of streams) isSound(await stream.stop());
    await reach(world, right, SERVER4);
    const after = await start(1000);
    await undisturbed(right, SERVER4, () => pingAll(right, SERVER_ADDRESSES));
    for (const stream of after) isWhole(await stream.stop());
    for (const end of [server, client]) {
      const { send = 0, tun = 0 } = (await statusOf(end)).drops.plane;
      ok(send > 0 && tun > 0, `dropped: send ${send}, tun ${tun}`);
    }
  },
};

const cut: Row = {
  title: 'the wire is set down and up again at both ends under load',
  runtimes: ['quickjs'],
  body: async world => {
    const { wire } = await up(world, OURS_OURS, AGREEMENT, { server: { options: SPLIT } });
    const { left, right } = wire;
    const streams = await Promise.all([
      Stream.start(world, right, left, SERVER4, { rate: 5000 }),
      Stream.start(world, left, right, CLIENT4, { rate: 5000 }),
    ]);
    for (const [namespace, device] of [
      [left, wire.leftDevice],
      [right, wire.rightDevice],
    ] as const) {
      await namespace.ip(`link set ${device} down`);
      await pause(500);
      await namespace.ip(`link set ${device} up`);
      await reach(world, right, SERVER4);
    }
    for (const stream of streams) isSound(await stream.stop());
    await undisturbed(right, SERVER4, () => pause(500));
  },
};

const HELD_MS = 2000;

function held(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: our control threads stand still for two seconds under load, no packet does`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const { wire, server, client } = await up(world, ends, AGREEMENT);
      const ours = [server, client].filter(({ kind }) => !isStock(kind));
      const stream = await Stream.start(world, wire.right, wire.left, SERVER4);
      const program = await compiled('traffic');
      await undisturbed(wire.right, SERVER4, async () => {
        const stops = ours.map(({ process }) =>
          world.spawn('stop', wire.left, [program, 'stop', String(process.pid), String(HELD_MS)]),
        );
        for (const stop of stops) await stop.line(/^held$/);
        const from = performance.now();
        const answers = await Promise.all(
          ours.map(end => statusOf(end).then(() => performance.now() - from)),
        );
        // Proof that they did stand still: nobody could ask them anything.
        for (const ms of answers) ok(ms > HELD_MS / 2, `answered after ${ms} ms`);
        for (const stop of stops) strictEqual((await stop.ended()).code, 0, stop.output);
      });
      isWhole(await stream.stop());
    },
  };
}

/** Packets that came with a mark of congestion. */
async function marked(namespace: Namespace): Promise<number> {
  const lines = (await namespace.run(['cat', '/proc/net/netstat'])).split('\n');
  const [names = [], values = []] = lines
    .filter(line => line.startsWith('IpExt:'))
    .map(line => line.split(' '));
  return Number(values[names.indexOf('InCEPkts')]);
}

/** The sender is the slower one by far. */
const SLOW_OURS: Ends = { server: 'quickjs', client: 'tsan' };

const standing: Row = {
  title: 'who sends more than our thread takes hears of it: by losses, or by marks where it understands them',
  runtimes: runtimesOf(SLOW_OURS),
  body: async world => {
    const { wire, client } = await up(world, SLOW_OURS, AGREEMENT);
    const told = async (): Promise<number> => (await statusOf(client)).drops.plane.queue ?? 0;
    const lossy = await Transfer.start(world, wire.right, wire.left, SERVER4);
    await world.until('a packet was lost to tell', PATIENCE_MS, async () => (await told()) > 0);
    await lossy.stop();
    for (const space of [wire.left, wire.right])
      await space.run(['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/tcp_ecn']);
    const before = await told();
    strictEqual(await marked(wire.left), 0);
    const capable = await Transfer.start(world, wire.right, wire.left, SERVER4);
    await world.until('a packet was marked', PATIENCE_MS, async () => (await marked(wire.left)) > 0);
    await capable.stop();
    strictEqual(await told(), before, 'a packet that could be marked was lost');
  },
};

const killed: Row = {
  title: 'both ends are killed under load: nothing is left, and they start again',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const { left, right } = wire;
    const clean = await Promise.all([left.snapshot(), right.snapshot()]);
    const start = async () => {
      const server = await startServer(world, left, keys, 'quickjs', AGREEMENT);
      const client = startClient(world, wire, keys, 'quickjs', AGREEMENT);
      await reach(world, right, SERVER4);
      return [server, client];
    };
    const ends = await start();
    const streams = await Promise.all([
      Stream.start(world, right, left, SERVER4, { rate: 5000 }),
      Stream.start(world, left, right, CLIENT4, { rate: 5000 }),
    ]);
    await pause(300);
    await Promise.all(ends.map(({ process }) => process.kill()));
    await world.until('their devices are gone', PATIENCE_MS, async () => {
      const now = await Promise.all([left.snapshot(), right.snapshot()]);
      return now.every((text, i) => text === clean[i]);
    });
    for (const { process } of ends) ok(!existsSync(`/proc/${process.pid}`), 'the process is there');
    for (const stream of streams) isSound(await stream.stop());
    await start();
  },
};

table('native plane, bad days', { atOnce: 4 }, [
  flooded(ASAN_ASAN),
  flooded(OURS_THEIRS),
  flooded(THEIRS_OURS),
  swapped(OURS_OURS),
  swapped(OURS_THEIRS),
  swapped(THEIRS_OURS),
  thrownOut,
  ...(['native', 'js'] as const).flatMap(plane => [
    downAndUp('server', plane),
    downAndUp('client', plane),
    taken('server', plane),
    taken('client', plane),
  ]),
  brokenConfig,
  faulty,
  cut,
  held(OURS_OURS),
  held(OURS_THEIRS),
  held(THEIRS_OURS),
  standing,
  killed,
]);
