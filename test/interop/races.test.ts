// SPDX-License-Identifier: Apache-2.0
// The data threads and JavaScript's thread under the thread sanitizer, everything at once: traffic both ways, new keys
// every four seconds, status asked all the time, a client that moves, one that is thrown out, ends under load. Any
// report ends the daemon and fails the row.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { peerNames } from './harness/peers.ts';
import { reach } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { Stream, Transfer } from './harness/traffic.ts';
import { type End, type Ends, runtimesOf, SERVER4, SERVER6, startClient } from './harness/tunnel.ts';
import { pause } from './harness/wait.ts';
import { describeEnds, type Tunnel, up } from './harness/works.ts';
import type { World } from './harness/world.ts';

interface DataPlane {
  readonly name: string;
  readonly threads: number;
}

// What both directions count together is counted, too.
const EVERY_FOUR = { reneg_sec: '4', reneg_pkts: '100000' };
// A client that did not hear why it was thrown out finds out by itself.
const QUICK = { keepalive: '1 6' };
const LOAD_MS = 6000;
const CLIENT4 = '10.8.0.2';
const SECOND4 = '10.8.0.3';
const RATE = 2000;

/** Asks for the status again and again until the promise is done. */
async function asking(ends: readonly End[], done: Promise<unknown>): Promise<void> {
  let isDone = false;
  void done.finally(() => {
    isDone = true;
  });
  while (!isDone) await Promise.all(ends.map(({ ovpnd }) => ovpnd?.status()));
}

async function load(world: World, { wire }: Tunnel): Promise<void> {
  const { left, right } = wire;
  await Promise.all([
    Stream.start(world, right, left, SERVER4, { rate: RATE }),
    Stream.start(world, left, right, CLIENT4, { rate: RATE }),
    Transfer.start(world, right, left, SERVER6),
    Transfer.start(world, left, right, CLIENT4),
  ]);
}

function row(ends: Ends, transport: 'udp' | 'tcp', threads: 1 | 2): Row {
  return {
    title: `${describeEnds(ends)}, ${transport}, ${threads} data ${threads === 1 ? 'thread' : 'threads'}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const extra = {
        server: { options: { ...EVERY_FOUR, ...QUICK, data_threads: String(threads) } },
        client: { options: { ...EVERY_FOUR, data_threads: String(threads) }, lines: ['reneg-sec 4 4'] },
      };
      const tunnel = await up(world, ends, { wrap: 'tls-crypt', transport }, extra);
      const { wire, server, client } = tunnel;
      await load(world, tunnel);
      await asking([server, client], pause(LOAD_MS / 2));
      if (transport === 'udp') {
        const device = wire.rightDevice;
        await wire.right.ip(
          `addr add 10.99.0.77/24 dev ${device}`,
          `addr del ${wire.right4}/24 dev ${device}`,
        );
      }
      await asking([server, client], pause(LOAD_MS / 2));
      const [name] = await peerNames(server.ovpnd!);
      ok(name !== undefined, 'the client is there');
      const { data_plane } = (await server.ovpnd!.status()) as { data_plane: DataPlane };
      deepStrictEqual([data_plane.name, data_plane.threads], ['native', threads]);
      const told = await server.ovpnd!.ask('disconnect', 'home', name);
      strictEqual(told.code, 0, told.output);
      await reach(world, wire.right, SERVER4);
      const exits = [await client.process.stop(), await server.process.stop()];
      deepStrictEqual(
        exits.map(({ code }) => code),
        [0, 0],
      );
    },
  };
}

/** What one client sends to the other is received by one thread and sent by it, too, in the middle of the other's turns. */
const between: Row = {
  title: 'between two clients of a server with 2 data threads, which sends to both itself',
  runtimes: ['tsan', 'quickjs'],
  body: async world => {
    const options = { client_to_client: '1', data_threads: '2', ...QUICK };
    const { wire, server } = await up(
      world,
      { server: 'tsan', client: 'quickjs' },
      { wrap: 'tls-crypt' },
      { server: { options } },
    );
    const second = await world.wire(wire.left, await world.namespace());
    startClient(world, second, await pki(), 'quickjs', { wrap: 'tls-crypt' }, { number: 1 });
    await reach(world, second.right, CLIENT4);
    const streams = await Promise.all([
      Stream.start(world, wire.right, second.right, SECOND4, { rate: RATE }),
      Stream.start(world, second.right, wire.right, CLIENT4, { rate: RATE }),
      Stream.start(world, wire.left, wire.right, CLIENT4, { rate: RATE }),
    ]);
    await asking([server], pause(LOAD_MS / 2));
    for (const stream of streams) {
      const { received, wrong, repeated } = await stream.stop();
      ok(received > 0, 'nothing arrived');
      deepStrictEqual([wrong, repeated], [0, 0]);
    }
    strictEqual((await server.process.stop()).code, 0);
  },
};

table('the thread sanitizer', { atOnce: 3 }, [
  row({ server: 'tsan', client: 'tsan' }, 'udp', 1),
  row({ server: 'tsan', client: 'tsan' }, 'udp', 2),
  row({ server: 'tsan', client: 'openvpn' }, 'udp', 2),
  row({ server: 'tsan', client: 'openvpn' }, 'tcp', 1),
  row({ server: 'tsan', client: 'tsan' }, 'tcp', 2),
  between,
]);
