// SPDX-License-Identifier: Apache-2.0
// Peers, keys and processes that come and go on the kernel's data plane.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { GUEST_PATIENCE_MS, PATIENCE_MS, pause } from '../interop/harness/wait.ts';
import { type End, type Kind, SERVER4, startClient, startServer, up } from './harness/ends.ts';
import type { Wire } from './harness/namespace.ts';
import { type KernelTable, kernelTable } from './harness/observe.ts';
import { isKernel, K, NAMES } from './harness/offload.ts';
import { pingAll, reach, SteadyPing } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';

const EMPTY: KernelTable = { peers: [], keys: [] };

/** What the kernel holds; nothing where ovpnd is not on its plane. */
async function inKernel({ namespace, device }: End): Promise<KernelTable> {
  return isKernel ? kernelTable(namespace, device) : EMPTY;
}

const RENEWAL_S = 5;
const RENEWALS = 12;
/** A minute, where the machine has time for it. */
const RENEWED_MS = RENEWALS * RENEWAL_S * 1000 + GUEST_PATIENCE_MS;

function rekey(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: ${RENEWALS} new keys, ${RENEWAL_S} s apart, lose no ping`,
    body: async scene => {
      const side = { options: { reneg_sec: String(RENEWAL_S) }, lines: [`reneg-sec ${RENEWAL_S}`] };
      const tunnel = await up(
        scene,
        { server, client },
        {},
        server === K ? { server: side } : { client: side },
      );
      const end = server === K ? tunnel.server : tunnel.client;
      const { process } = server === K ? tunnel.client : tunnel.server;
      const steady = await SteadyPing.start(tunnel.wire.right, SERVER4, { intervalS: 0.1 });
      const seen = new Set<number>();
      await scene.until(`${RENEWALS} new keys`, RENEWED_MS, async () => {
        const { keys } = await inKernel(end);
        for (const { key_id, slot } of keys) if (slot === 0) seen.add(key_id);
        await pause(500);
        return process.count(/Control Channel: TLS/) > RENEWALS;
      });
      strictEqual((await end.ovpnd!.status()).peers.length, 1);
      const { sent, received } = await steady.stop();
      strictEqual(received, sent, `${sent - received} of ${sent} pings were lost`);
      // On a slow machine only some of 1 to 7 are seen.
      if (isKernel) ok(seen.size >= 3, `primary keys seen: ${[...seen].join(' ')}`);
    },
  };
}

function disconnect(client: Kind): Row {
  return {
    title: `${NAMES[K]} server, ${NAMES[client]} client: a peer is thrown out while it pings, and may come back`,
    body: async scene => {
      const { wire, server, client: end } = await up(scene, { server: K, client });
      const steady = await SteadyPing.start(wire.right, SERVER4, { intervalS: 0.01 });
      const before = end.process.lines.length;
      const old = (await inKernel(server)).peers[0];
      const done = await server.ovpnd!.ask('disconnect', 'home', 'client0');
      strictEqual(done.code, 0, done.output);
      if (client === 'dco')
        await end.process.line(/SIG(USR1|TERM)|RESTART|AUTH_FAILED|HALT/, PATIENCE_MS, before);
      // A client that was told to halt has ended.
      if (end.process.exit === undefined) end.process.isEnding = true;
      // A new peer may already be there, from another port.
      await scene.until('the kernel has forgotten the old peer', PATIENCE_MS, async () => {
        const { peers } = await inKernel(server);
        return peers.every(peer => peer.remote_port !== old?.remote_port);
      });
      await steady.stop();
      if (end.process.exit !== undefined) await startClient(scene, wire, client, {});
      await reach(scene, wire.right, SERVER4);
    },
  };
}

const silentClient: Row = {
  title: `${NAMES[K]} server: a client that falls silent is gone after the keepalive time`,
  body: async scene => {
    const extra = { options: { keepalive: '1 10' } };
    const { server, client } = await up(scene, { server: K, client: 'dco' }, {}, { server: extra });
    // Idle, but kept alive from both sides.
    await pause(12_000);
    strictEqual((await server.ovpnd!.status()).peers.length, 1);
    await client.process.kill();
    await scene.until('status shows no peer', GUEST_PATIENCE_MS, async () => {
      return (await server.ovpnd!.status()).peers.length === 0;
    });
    deepStrictEqual(await inKernel(server), EMPTY);
  },
};

const silentServer: Row = {
  title: `${NAMES[K]} client: a server that falls silent is noticed, and found again`,
  body: async scene => {
    const extra = { options: { keepalive: '1 10', connect_retry: '1 2' } };
    const kinds = { server: 'dco', client: K } as const;
    const tunnel = await up(scene, kinds, {}, { server: { lines: ['keepalive 1 10'] }, client: extra });
    await tunnel.server.process.kill();
    // Stock OpenVPN fails on the device its dead predecessor left.
    await tunnel.wire.left.ip('link del tun0');
    await scene.until('the client is no longer connected', GUEST_PATIENCE_MS, async () => {
      return (await tunnel.client.ovpnd!.status()).state !== 'connected';
    });
    await startServer(scene, tunnel.wire.left, 'dco', {});
    await reach(scene, tunnel.wire.right, SERVER4);
  },
};

const killed: Row = {
  title: `${NAMES[K]} server killed with a live peer: no key stays, and a new start finds a clean place`,
  body: async scene => {
    const wire = await scene.pair();
    const lines = ['keepalive 1 5', 'connect-retry 1 1'];
    const options = { keepalive: '1 5' };
    const first = await startServer(scene, wire.left, K, {}, { clean: false, options });
    await startClient(scene, wire, 'dco', {}, { lines });
    await reach(scene, wire.right, SERVER4);
    const steady = await SteadyPing.start(wire.right, SERVER4);
    await first.process.kill();
    if ((await wire.left.tunnels()).length > 0) deepStrictEqual(await inKernel(first), EMPTY);
    const second = await startServer(scene, wire.left, K, {}, { options });
    deepStrictEqual(await wire.left.tunnels(), isKernel ? [second.device] : []);
    await reach(scene, wire.right, SERVER4);
    await steady.stop();
    strictEqual((await second.ovpnd!.status()).peers.length, 1);
    if (isKernel) strictEqual((await inKernel(second)).peers.length, 1);
  },
};

const stopped: Row = {
  title: `${NAMES[K]} leaves no interface, address or route behind when it ends`,
  body: async scene => {
    const { wire, server, client } = await up(scene, { server: K, client: K });
    for (const end of [client, server]) {
      strictEqual((await end.process.stop()).code, 0);
      const links = await end.namespace.run(['ip', '-o', 'link', 'show']);
      ok(!links.includes(end.device), links);
      for (const family of ['-4', '-6']) {
        const routes = await end.namespace.run(['ip', family, 'route', 'show', 'table', 'all']);
        ok(!/10\.8\.0|fd42:8/.test(routes), routes);
      }
    }
    await pingAll(wire.right, [wire.left4]);
  },
};

const MANY = Number(process.env.OVPND_MANY ?? 24);
/** Handshakes at a time: what an emulated processor finishes well within their window. */
const BATCH = 12;

/** Starts clients `from` to `to`, without a device: what is asked for is their number. */
function crowd(scene: Parameters<Row['body']>[0], wire: Wire, from: number, to: number): Promise<End[]> {
  const lines = ['dev null', 'explicit-exit-notify 1', 'verb 1', 'ifconfig-noexec', 'route-noexec'];
  const numbers = Array.from({ length: to - from }, (_, i) => (from + i) % 10);
  return Promise.all(numbers.map(number => startClient(scene, wire, 'plain', {}, { lines, number })));
}

const many: Row = {
  title: `${NAMES[K]} server: ${MANY} clients come and go, and the kernel's table is always ovpnd's`,
  body: async scene => {
    const wire = await scene.pair();
    // A notice of leaving may be lost in such a crowd; then silence tells.
    const options = { duplicate_cn: '1', max_clients: '250', keepalive: '5 20' };
    const server = await startServer(scene, wire.left, K, {}, { options });
    const addresses = async (): Promise<string[]> => {
      const { peers } = await server.ovpnd!.status();
      return peers.flatMap(peer => peer.vpn_addresses).sort();
    };
    const clients: End[] = [];
    while (clients.length < MANY) {
      const to = Math.min(clients.length + BATCH, MANY);
      clients.push(...(await crowd(scene, wire, clients.length, to)));
      await scene.until(`${to} peers`, GUEST_PATIENCE_MS, async () => (await addresses()).length === 2 * to);
    }
    const { peers, keys } = await inKernel(server);
    if (isKernel) {
      deepStrictEqual(peers.flatMap(peer => [peer.vpn4!, peer.vpn6!]).sort(), await addresses());
      strictEqual(keys.length, MANY);
    }
    await Promise.all(clients.map(client => client.process.stop('SIGTERM', GUEST_PATIENCE_MS)));
    await scene.until('no peers', GUEST_PATIENCE_MS, async () => (await addresses()).length === 0);
    deepStrictEqual(await inKernel(server), EMPTY);
  },
};

table('lifetime', 3, [
  rekey(K, 'dco'),
  rekey('dco', K),
  disconnect('dco'),
  disconnect(K),
  silentClient,
  silentServer,
  killed,
  stopped,
  many,
]);
