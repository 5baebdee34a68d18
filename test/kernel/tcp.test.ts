// SPDX-License-Identifier: Apache-2.0
// TCP connections given to the kernel's data plane: handshake, data and renegotiation through one and the same
// connection, and its end noticed.

import { deepStrictEqual, strictEqual } from 'node:assert';
import { PATIENCE_MS } from '../interop/harness/wait.ts';
import { type Extra, type Kind, SERVER_ADDRESSES, SERVER4, type Tunnel, up } from './harness/ends.ts';
import { K, NAMES, offloaded } from './harness/offload.ts';
import { ping, pingAll, reach, silent } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import type { Scene } from './harness/scene.ts';

const isStock = (kind: Kind): boolean => kind === 'dco' || kind === 'plain';

/** A tunnel over TCP; a server of ours listens for UDP, too. */
function overTcp(
  scene: Scene,
  server: Kind,
  client: Kind,
  extra: { server?: Extra; client?: Extra } = {},
): Promise<Tunnel> {
  const remote = '10.99.0.1 1194';
  return up(
    scene,
    { server, client },
    {},
    {
      server: {
        ...extra.server,
        lines: [...(extra.server?.lines ?? []), 'proto tcp4-server'],
        options: { ...extra.server?.options, proto: ['udp4', 'tcp4'] },
      },
      client: {
        ...extra.client,
        lines: [...(extra.client?.lines ?? []), 'proto tcp4-client', `remote ${remote} tcp4-client`],
        options: { ...extra.client?.options, remote: [`${remote} tcp4`] },
      },
    },
  );
}

const PAIRS: readonly (readonly [server: Kind, client: Kind])[] = [
  [K, 'dco'],
  [K, 'plain'],
  ['dco', K],
  ['plain', K],
  [K, K],
  [K, 'js'],
  ['js', K],
];

function works(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client`,
    body: async scene => {
      const tunnel = await overTcp(scene, server, client);
      await pingAll(tunnel.wire.right, SERVER_ADDRESSES);
      const ends = [tunnel.server, tunnel.client].filter(end => end.kind === 'kernel');
      const { received } = await offloaded(tunnel.client, SERVER4, ends, 300);
      strictEqual(received, 300);
      const proto = ends.map(async end => (await end.ovpnd!.status()).sockets.map(socket => socket.proto));
      for (const list of await Promise.all(proto)) strictEqual(list.includes('tcp'), true);
    },
  };
}

const EVERY_FIVE: Extra = { options: { reneg_sec: '5' }, lines: ['reneg-sec 5 5'] };
const NEVER: Extra = { options: { reneg_sec: '0' }, lines: ['reneg-sec 0'] };

function renegotiation(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: renegotiation every 5 s under a steady ping`,
    body: async scene => {
      const ours = isStock(server) ? 'client' : 'server';
      const { wire } = await overTcp(scene, server, client, {
        server: ours === 'server' ? EVERY_FIVE : NEVER,
        client: ours === 'client' ? EVERY_FIVE : NEVER,
      });
      const count = 400;
      const result = await ping(wire.right, SERVER4, { count, intervalS: 0.05 });
      deepStrictEqual(result, { sent: count, received: count });
    },
  };
}

function ends(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: the client is killed and its place is free at once`,
    body: async scene => {
      const tunnel = await overTcp(scene, server, client, { client: { clean: false } });
      await tunnel.client.process.kill();
      const { ovpnd } = tunnel.server;
      await scene.until(
        'the peer is gone',
        PATIENCE_MS,
        async () => (await ovpnd!.status()).peers.length === 0,
      );
      await silent(tunnel.wire.right, SERVER4, { count: 1 });
    },
  };
}

function comesBack(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: thrown out, the client comes again`,
    body: async scene => {
      const tunnel = await overTcp(scene, server, client);
      strictEqual((await tunnel.server.ovpnd!.ask('disconnect', 'home', 'client0')).code, 0);
      await scene.until('it is gone', PATIENCE_MS, async () =>
        /disconnected/.test(tunnel.server.process.lines.join('\n')),
      );
      await reach(scene, tunnel.wire.right, SERVER4);
    },
  };
}

table('TCP on the kernel plane', 2, [
  ...PAIRS.map(([server, client]) => works(server, client)),
  renegotiation(K, 'dco'),
  renegotiation('plain', K),
  renegotiation(K, K),
  ends(K, 'plain'),
  ends(K, K),
  comesBack(K, 'dco'),
  comesBack(K, K),
]);
