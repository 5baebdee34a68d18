// SPDX-License-Identifier: Apache-2.0
// The data thread and JavaScript's thread under the thread sanitizer, everything at once: traffic both ways, new keys
// every four seconds, status asked all the time, a client that moves, one that is thrown out, ends under load. Any
// report ends the daemon and fails the row.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { peerNames } from './harness/peers.ts';
import { reach } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import { Stream, Transfer } from './harness/traffic.ts';
import { type End, type Ends, runtimesOf, SERVER4, SERVER6 } from './harness/tunnel.ts';
import { pause } from './harness/wait.ts';
import { describeEnds, type Tunnel, up } from './harness/works.ts';
import type { World } from './harness/world.ts';

const EVERY_FOUR = { reneg_sec: '4' };
// A client that did not hear why it was thrown out finds out by itself.
const QUICK = { keepalive: '1 6' };
const LOAD_MS = 6000;
const CLIENT4 = '10.8.0.2';
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

function row(ends: Ends, transport: 'udp' | 'tcp'): Row {
  return {
    title: `${describeEnds(ends)}, ${transport}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const extra = {
        server: { options: { ...EVERY_FOUR, ...QUICK } },
        client: { options: EVERY_FOUR, lines: ['reneg-sec 4 4'] },
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
      const { data_plane } = (await server.ovpnd!.status()) as { data_plane: { name: string } };
      strictEqual(data_plane.name, 'native');
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

table('the thread sanitizer', { atOnce: 3 }, [
  row({ server: 'tsan', client: 'tsan' }, 'udp'),
  row({ server: 'tsan', client: 'openvpn' }, 'udp'),
  row({ server: 'tsan', client: 'tsan' }, 'tcp'),
]);
