// SPDX-License-Identifier: Apache-2.0
// TCP as transport, against stock OpenVPN in both roles, beyond what the matrix has: renegotiation,
// ends that die, several clients, both transports in one tunnel.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { hasTcpPort, hasUdpPort } from './harness/namespace.ts';
import { peerNames } from './harness/peers.ts';
import { ping, pingAll, reach } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { renegotiated, startedBy } from './harness/renegotiation.ts';
import { type Row, table } from './harness/rows.ts';
import {
  type Agreement,
  type Ends,
  type Kind,
  runtimesOf,
  SERVER_ADDRESSES,
  SERVER4,
  startClient,
  startServer,
} from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import { describeEnds, up } from './harness/works.ts';

const TCP: Agreement = { wrap: 'tls-crypt', transport: 'tcp' };

const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const THEIRS_OURS: Ends = { server: 'openvpn', client: 'quickjs' };
const OURS_OURS: Ends = { server: 'quickjs', client: 'quickjs' };

const LONG_S = 20;
const INTERVAL_S = 0.02;

function renegotiation(ends: Ends, starter: 'server' | 'client'): Row {
  return {
    title: `${describeEnds(ends)}: renegotiation every 5 s, started by the ${starter}`,
    runtimes: runtimesOf(ends),
    isWaiting: true,
    body: async world => {
      const { wire, server, client } = await up(world, ends, TCP, startedBy(starter));
      const count = LONG_S / INTERVAL_S;
      const all = await Promise.all([
        ping(wire.left, '10.8.0.2', { count, intervalS: INTERVAL_S }),
        ping(wire.right, SERVER4, { count, intervalS: INTERVAL_S, size: 1400 }),
      ]);
      deepStrictEqual(all, [
        { sent: count, received: count },
        { sent: count, received: count },
      ]);
      renegotiated([server, client], 3);
    },
  };
}

table('TCP, renegotiation under a steady ping', { atOnce: 4 }, [
  ...[OURS_THEIRS, THEIRS_OURS].flatMap(ends => [
    renegotiation(ends, 'server'),
    renegotiation(ends, 'client'),
  ]),
]);

function serverKilled(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: the server is killed and started again, the client is back at once`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const { wire, server } = await up(world, ends, TCP);
      await server.process.kill();
      await startServer(world, wire.left, keys, ends.server, TCP);
      await reach(world, wire.right, SERVER4);
    },
  };
}

function clientKilled(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: the client is killed, its place is free at once, and it gets in again`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const { wire, server, client } = await up(world, ends, TCP);
      await client.process.kill();
      const { ovpnd } = server;
      if (ovpnd !== undefined)
        await world.until('the peer is gone', PATIENCE_MS, async () => (await peerNames(ovpnd)).length === 0);
      await world.until('its device is gone', PATIENCE_MS, async () => {
        return !/tun0|ov-/.test(await wire.right.run(['ip', '-o', 'link', 'show']));
      });
      startClient(world, wire, keys, ends.client, TCP);
      await reach(world, wire.right, SERVER4);
    },
  };
}

function leaves(ends: Ends, who: 'server' | 'client'): Row {
  return {
    title: `${describeEnds(ends)}: the ${who} leaves and the other knows at once`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const { server, client } = await up(world, ends, TCP);
      const [leaver, other] = who === 'server' ? [server, client] : [client, server];
      await leaver.process.stop();
      await other.process.line(/Connection reset|connection closed|read: Connection reset/i);
    },
  };
}

async function transports(world: Parameters<Row['body']>[0], kind: Kind): Promise<void> {
  const keys = await pki();
  const { hub, wires } = await world.star(2);
  const extra = { options: { proto: ['udp', 'tcp'] } };
  const server = await startServer(world, hub, keys, 'quickjs', TCP, extra);
  const { pid } = server.process;
  ok(hasTcpPort(pid, 1194) && hasUdpPort(pid, 1194), 'listens on both');
  startClient(world, wires[0], keys, kind, TCP, { number: 0 });
  startClient(world, wires[1], keys, kind, { ...TCP, transport: 'udp' }, { number: 1 });
  await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
  await Promise.all(wires.map(wire => pingAll(wire.right, SERVER_ADDRESSES)));
  deepStrictEqual(await peerNames(server.ovpnd!), ['client0', 'client1']);
  const { sockets } = (await server.ovpnd!.status()) as { sockets: { proto: string }[] };
  deepStrictEqual(sockets.map(({ proto }) => proto).sort(), ['tcp', 'udp']);
  const shown = await server.ovpnd!.ask('status', 'home');
  match(shown.output, /udp \[::\]:1194, tcp \[::\]:1194/);
}

const bothTransports: readonly Row[] = (['openvpn', 'quickjs'] as const).map(kind => ({
  title: `${kind === 'openvpn' ? 'openvpn' : 'ovpnd'} clients over UDP and TCP on one tunnel`,
  runtimes: ['quickjs'],
  body: world => transports(world, kind),
}));

const fiveClients: Row = {
  title: 'five clients on one port, one is thrown out and comes again',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(5);
    const server = await startServer(world, hub, keys, 'quickjs', TCP);
    wires.forEach((wire, number) => {
      startClient(world, wire, keys, number % 2 === 0 ? 'openvpn' : 'quickjs', TCP, { number });
    });
    await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
    await Promise.all(wires.map(wire => pingAll(wire.right, SERVER_ADDRESSES)));
    strictEqual((await peerNames(server.ovpnd!)).length, 5);
    const done = await server.ovpnd!.ask('disconnect', 'home', 'client0');
    strictEqual(done.code, 0, done.output);
    await world.until('it is back', PATIENCE_MS, async () => (await peerNames(server.ovpnd!)).length === 5);
    await reach(world, wires[0]!.right, SERVER4);
  },
};

const fallsBack: Row = {
  title:
    'ovpnd client goes from a dead UDP remote, and a TCP port that refuses, to a TCP remote that answers',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    await startServer(world, wire.left, keys, 'openvpn', TCP);
    const remote = ['10.99.0.1 1195 udp4', '10.99.0.1 1195 tcp4', '10.99.0.1 1194 tcp4'];
    const options = { remote, server_poll_timeout: '2' };
    const client = startClient(world, wire, keys, 'quickjs', TCP, { options });
    await reach(world, wire.right, SERVER4);
    ok(client.process.find(/10\.99\.0\.1:1195: connect: Connection refused/) !== undefined, 'says why');
    const status = await client.ovpnd!.status();
    strictEqual(status.remote, '10.99.0.1 1194 tcp');
    deepStrictEqual(
      (status.sockets as { proto: string }[]).map(({ proto }) => proto),
      ['tcp'],
    );
  },
};

const silent: Row = {
  title: 'ovpnd client gives a TCP remote that does not answer at all its time and no more',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    await startServer(world, wire.left, keys, 'openvpn', TCP);
    // An address of the wire that nobody has, behind a neighbour that takes everything.
    await wire.right.ip(`neigh add 10.99.0.9 lladdr 02:00:00:00:00:09 dev ${wire.rightDevice} nud permanent`);
    const remote = ['10.99.0.9 1194 tcp4', '10.99.0.1 1194 tcp4'];
    const options = { remote, server_poll_timeout: '2' };
    const client = startClient(world, wire, keys, 'quickjs', TCP, { options });
    await client.process.line(/10\.99\.0\.9:1194: no connection within 2 s/);
    await reach(world, wire.right, SERVER4);
  },
};

table('TCP, ends that die or leave, several clients', { atOnce: 6 }, [
  ...[OURS_THEIRS, THEIRS_OURS, OURS_OURS].map(serverKilled),
  ...[OURS_THEIRS, THEIRS_OURS, OURS_OURS].map(clientKilled),
  ...[OURS_THEIRS, THEIRS_OURS].flatMap(ends => [leaves(ends, 'server'), leaves(ends, 'client')]),
  ...bothTransports,
  fiveClients,
  fallsBack,
  silent,
]);
