// SPDX-License-Identifier: Apache-2.0
// Ends that die, move or leave: the other end notices and the tunnel is back.

import { ok, strictEqual } from 'node:assert';
import { isStock, UP } from './harness/openvpn.ts';
import { peerNames } from './harness/peers.ts';
import { ping, reach, SteadyPing } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { type Ends, type Extra, runtimesOf, SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import { describeEnds, up } from './harness/works.ts';

const AGREEMENT = { wrap: 'tls-crypt' } as const;
/** Finds out in seconds that the other end is gone. */
const QUICK: Extra = { options: { keepalive: '1 4' }, lines: ['keepalive 1 4'] };
const NOTIFY: Extra = { lines: ['explicit-exit-notify 1'] };

const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const THEIRS_OURS: Ends = { server: 'openvpn', client: 'quickjs' };
const OURS_OURS: Ends = { server: 'quickjs', client: 'quickjs' };
const PAIRS: readonly Ends[] = [OURS_THEIRS, THEIRS_OURS, OURS_OURS];

function serverKilled(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: the server is killed and started again, the client comes back`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const { wire, server } = await up(world, ends, AGREEMENT, { server: QUICK });
      await server.process.kill();
      strictEqual((await ping(wire.right, SERVER4, { count: 1 })).received, 0);
      await startServer(world, wire.left, keys, ends.server, AGREEMENT, QUICK);
      await reach(world, wire.right, SERVER4, 45_000);
    },
  };
}

function clientKilled(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: the client is killed and started again, it gets in again`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const { wire, client } = await up(world, ends, AGREEMENT);
      await client.process.kill();
      await world.until('its device is gone', PATIENCE_MS, async () => {
        return !/tun0|ov-/.test(await wire.right.run(['ip', '-o', 'link', 'show']));
      });
      startClient(world, wire, keys, ends.client, AGREEMENT);
      // The first keepalive of the server's old peer must not matter: same name, new place.
      await reach(world, wire.right, SERVER4);
    },
  };
}

function float(ends: Ends, family: 4 | 6): Row {
  return {
    title: `${describeEnds(ends)}: the client's IPv${family} address changes under traffic`,
    runtimes: runtimesOf(ends),
    body: async world => {
      // openvpn tells of it from verb 4 on.
      const extra = { server: { lines: ['verb 4'] } };
      const { wire, server } = await up(world, ends, { ...AGREEMENT, family }, extra);
      const steady = await SteadyPing.start(wire.right, SERVER4, { intervalS: 0.02 });
      const device = wire.rightDevice;
      const [bits, old, fresh] =
        family === 4 ? [24, wire.right4, '10.99.0.77'] : [64, wire.right6, 'fd99:0::77'];
      const nodad = family === 6 ? 'nodad' : '';
      await wire.right.ip(
        `addr add ${fresh}/${bits} dev ${device} ${nodad}`,
        `addr del ${old}/${bits} dev ${device}`,
      );
      strictEqual((await ping(wire.left, '10.8.0.2', { count: 50, intervalS: 0.02 })).received >= 45, true);
      const { sent, received } = await steady.stop();
      ok(received >= sent - 5, `${received} of ${sent}`);
      // The same session went on: one handshake in all.
      if (isStock(server.kind)) strictEqual(server.process.count(/Control Channel: TLS/), 1);
      else strictEqual((await peerNames(server.ovpnd!)).length, 1);
      // The server says where the client is now.
      await server.process.line(
        family === 4 ? /(float|mov).*10\.99\.0\.77/i : /(float|mov).*fd99::77/i,
        3000,
      );
    },
  };
}

const clientLeaves: readonly Row[] = [
  {
    title: 'openvpn client leaves: the ovpnd server frees its place at once',
    runtimes: ['quickjs'],
    body: async world => {
      const { server, client } = await up(world, OURS_THEIRS, AGREEMENT, { client: NOTIFY });
      strictEqual((await peerNames(server.ovpnd!)).length, 1);
      await client.process.stop();
      await world.until('no peer', PATIENCE_MS, async () => (await peerNames(server.ovpnd!)).length === 0);
    },
  },
  {
    title: 'ovpnd client leaves: the openvpn server frees its place at once',
    runtimes: ['quickjs'],
    body: async world => {
      const { server, client } = await up(world, THEIRS_OURS, AGREEMENT);
      strictEqual((await client.process.stop()).code, 0);
      await server.process.line(/CC-EEN exit message received|remote-exit/);
    },
  },
];

const serverLeaves: readonly Row[] = [
  {
    title: 'ovpnd server leaves: the openvpn client knows at once',
    runtimes: ['quickjs'],
    body: async world => {
      const { server, client } = await up(world, OURS_THEIRS, AGREEMENT);
      strictEqual((await server.process.stop()).code, 0);
      await client.process.line(/SIG(USR1|TERM)\[soft,(remote-exit|server-pushed|connection-reset)/);
    },
  },
  {
    title: 'openvpn server leaves and returns: the ovpnd client comes back, without waiting for ping-restart',
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const { wire, server } = await up(world, THEIRS_OURS, AGREEMENT, { server: NOTIFY });
      await server.process.stop();
      const again = await startServer(world, wire.left, keys, 'openvpn', AGREEMENT, NOTIFY);
      await again.process.line(UP);
      await reach(world, wire.right, SERVER4);
    },
  },
];

const secondRemote: Row = {
  title: 'ovpnd client takes the second remote when nobody answers at the first',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    await startServer(world, wire.left, keys, 'openvpn', AGREEMENT);
    const remote = ['10.99.0.1 1195 udp4', '10.99.0.1 1194 udp4'];
    startClient(world, wire, keys, 'quickjs', AGREEMENT, { options: { remote, server_poll_timeout: '2' } });
    await reach(world, wire.right, SERVER4);
  },
};

/** What a stock server limits: the client tells it that the connection is over, and connects again. */
function limited(push: string, said: RegExp): Row {
  return {
    title: `openvpn server pushes ${push}: the ovpnd client ends the connection in good order and makes a new one`,
    runtimes: ['quickjs'],
    body: async world => {
      const lines = [`push "${push}"`];
      const { wire, server, client } = await up(world, THEIRS_OURS, AGREEMENT, { server: { lines } });
      await client.process.line(said);
      await server.process.line(/CC-EEN exit message received|remote-exit/);
      await world.until('a second connection', PATIENCE_MS, () => client.process.count(/: connected: /) > 1);
      await reach(world, wire.right, SERVER4);
    },
  };
}

table('ends that die, move or leave', { atOnce: 6 }, [
  ...PAIRS.map(serverKilled),
  ...PAIRS.map(clientKilled),
  ...PAIRS.flatMap(ends => [float(ends, 4), float(ends, 6)]),
  ...clientLeaves,
  ...serverLeaves,
  secondRemote,
  limited('session-timeout 3', /session-timeout of the server, 3 s/),
  limited('inactive 2 1000000', /inactive: [0-9]+ bytes in 2 s/),
]);
