// SPDX-License-Identifier: Apache-2.0
// What a stock server pushes is what an ovpnd client sets up, in each topology, and all of it is undone at exit.

import { match, strictEqual } from 'node:assert';
import type { Namespace } from './harness/namespace.ts';
import { pingAll, reach } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { SERVER_ADDRESSES, SERVER4, startClient, startServer } from './harness/tunnel.ts';

const PUSHED = ['push "route 192.168.77.0 255.255.255.0"', 'push "route-ipv6 fd00:77::/64"'];
const ADDRESS = {
  subnet: /inet 10\.8\.0\.2\/24 /,
  net30: /inet 10\.8\.0\.6 peer 10\.8\.0\.5\/32 /,
  p2p: /inet 10\.8\.0\.[0-9]+ peer 10\.8\.0\.1\/32 /,
} as const;

const show = (namespace: Namespace, ...words: string[]): Promise<string> => namespace.run(['ip', ...words]);

function topology(name: keyof typeof ADDRESS): Row {
  return {
    title: `topology ${name}: address, routes, MTU, and nothing left at exit`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const { right } = wire;
      const before = await right.snapshot();
      await startServer(world, wire.left, keys, 'openvpn', {}, { lines: [`topology ${name}`, ...PUSHED] });
      const client = startClient(world, wire, keys, 'quickjs', {});
      await reach(world, right, SERVER4);
      await pingAll(right, SERVER_ADDRESSES);
      const { device } = client;
      match(await show(right, 'addr', 'show', 'dev', device), ADDRESS[name]);
      match(await show(right, 'addr', 'show', 'dev', device), /inet6 fd42:8::1000\/64/);
      match(await show(right, 'link', 'show', 'dev', device), /mtu 1500 /);
      match(await show(right, 'route', 'show', '192.168.77.0/24'), new RegExp(`dev ${device}`));
      match(await show(right, '-6', 'route', 'show', 'fd00:77::/64'), new RegExp(`dev ${device}`));
      strictEqual((await client.process.stop()).code, 0);
      strictEqual(await right.snapshot(), before);
    },
  };
}

/** A default gateway outside, and the tunnel told to take its place. */
async function gatewayWorld(
  world: Parameters<Row['body']>[0],
  redirect = false,
  lines = ['push "redirect-gateway def1"'],
) {
  const keys = await pki();
  const far = await world.namespace();
  const router = await world.namespace();
  const near = await world.namespace();
  const outer = await world.wire(far, router);
  const inner = await world.wire(router, near);
  await far.ip(`route add default via ${outer.right4}`);
  await near.ip(`route add default via ${inner.left4}`);
  const before = await near.snapshot();
  await startServer(world, far, keys, 'openvpn', {}, { lines });
  const options = redirect ? { options: { redirect_gateway: '1' } } : {};
  const start = () => startClient(world, inner, keys, 'quickjs', {}, { remote: outer.left4, ...options });
  return { near, before, start, gateway: inner.left4, remote: outer.left4 };
}

const redirect: Row = {
  title: 'redirect-gateway is not followed, with a line that says so',
  runtimes: ['quickjs'],
  body: async world => {
    const { near, before, start, gateway, remote } = await gatewayWorld(world);
    const client = start();
    await reach(world, near, SERVER4);
    strictEqual(client.process.count(/redirect-gateway/), 1);
    match(await show(near, 'route', 'get', '192.0.2.1'), new RegExp(`via ${gateway} `));
    match(await show(near, 'route', 'get', remote), new RegExp(`via ${gateway} `));
    strictEqual((await client.process.stop()).code, 0);
    strictEqual(await near.snapshot(), before);
  },
};

const followed: Row = {
  title:
    'redirect_gateway: everything but the way to the server goes into the tunnel, and comes back at exit',
  runtimes: ['quickjs'],
  body: async world => {
    const { near, before, start, gateway, remote } = await gatewayWorld(world, true);
    const client = start();
    await reach(world, near, SERVER4);
    match(await show(near, 'route', 'get', '192.0.2.1'), new RegExp(`dev ${client.device} `));
    match(await show(near, 'route', 'get', '203.0.113.1'), new RegExp(`dev ${client.device} `));
    match(await show(near, 'route', 'get', remote), new RegExp(`via ${gateway} `));
    strictEqual((await client.process.stop()).code, 0);
    strictEqual(await near.snapshot(), before);
  },
};

const pushing: Row = {
  title: 'an ovpnd server with redirect_gateway: a stock client sends everything to it',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const { right } = wire;
    await right.ip(`route add default via ${wire.left4}`);
    await startServer(world, wire.left, keys, 'quickjs', {}, { options: { redirect_gateway: '1' } });
    const client = startClient(world, wire, keys, 'openvpn', {});
    // Its address answers before its routes are there.
    await client.process.line(/Initialization Sequence Completed/);
    await reach(world, right, SERVER4);
    match(await show(right, 'route', 'get', '203.0.113.1'), new RegExp(`dev ${client.device} `));
    match(await show(right, 'route', 'get', '2001:db8::1'), new RegExp(`dev ${client.device} `));
  },
};

const hijack: Row = {
  title:
    'routes into the own networks, to the gateway and to the server are not followed, larger ones are harmless',
  runtimes: ['quickjs'],
  body: async world => {
    const push = [
      '10.99.1.0 255.255.255.0',
      '10.99.1.1',
      '10.99.1.128 255.255.255.128',
      '10.99.0.1',
      '10.99.0.0 255.255.0.0',
    ];
    const lines = push.map(route => `push "route ${route}"`);
    const { near, before, start, gateway, remote } = await gatewayWorld(world, false, lines);
    const client = start();
    await reach(world, near, SERVER4);
    for (const own of [gateway, '10.99.1.200', remote]) {
      match(await show(near, 'route', 'get', own), /dev eth0 /);
    }
    match(await show(near, 'route', 'get', '10.99.7.7'), new RegExp(`dev ${client.device} `));
    strictEqual(client.process.count(/not followed: in a network of another device/), 1);
    strictEqual(client.process.count(/route 10\.99\.0\.1 not followed: it is the server itself/), 1);
    strictEqual((await client.process.stop()).code, 0);
    strictEqual(await near.snapshot(), before);
  },
};

const crash: Row = {
  title: 'a client that was killed leaves nothing behind after its next run',
  runtimes: ['quickjs'],
  body: async world => {
    const { near, before, start } = await gatewayWorld(world);
    const first = start();
    await reach(world, near, SERVER4);
    await first.process.kill();
    const second = start();
    await second.process.line(/./);
    await reach(world, near, SERVER4);
    strictEqual((await second.process.stop()).code, 0);
    strictEqual(await near.snapshot(), before);
  },
};

table('what a stock server pushes', { atOnce: 5 }, [
  topology('subnet'),
  topology('net30'),
  topology('p2p'),
  redirect,
  followed,
  pushing,
  hijack,
  crash,
]);
