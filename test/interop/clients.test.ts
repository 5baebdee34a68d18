// SPDX-License-Identifier: Apache-2.0
// An ovpnd server with many clients: addresses, networks behind them, what they are told, commands on them.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import type { Namespace, Wire } from './harness/namespace.ts';
import { UP } from './harness/openvpn.ts';
import { type Section, writeUci } from './harness/ovpnd.ts';
import { peerNames } from './harness/peers.ts';
import { ping, pingAll, reach, undisturbed } from './harness/ping.ts';
import { CLIENTS, pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import {
  type Kind,
  SERVER_ADDRESSES,
  SERVER4,
  serverSections,
  startClient,
  startServer,
} from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import { up } from './harness/works.ts';
import type { World } from './harness/world.ts';

const AGREEMENT = { wrap: 'tls-crypt' } as const;

function peer(name: string, options: Section['options']): Section {
  return { type: 'peer', name, options: { tunnel: 'home', ...options } };
}

/** A network of its own behind a client, with one host in it. */
async function lanBehind(world: World, router: Namespace): Promise<Wire> {
  const host = await world.namespace();
  const wire = await world.wire(router, host);
  await router.run(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1']);
  await host.ip(`route add default via ${wire.left4}`, `route add default via ${wire.left6}`);
  return wire;
}

function tenClients(clientKind: Kind): Row {
  return {
    title: `ten ${clientKind === 'openvpn' ? 'openvpn' : 'ovpnd'} clients at once, a network behind one, a fixed address for another`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const { hub, wires } = await world.star(CLIENTS);
      const lan = await lanBehind(world, wires[3]!.right);
      const networks = [lan.left4.replace(/\.1$/, '.0/24'), lan.left6.replace(/::1$/, '::/64')];
      const sections = [
        peer('client0', { address: ['10.8.0.50', 'fd42:8::50'] }),
        peer('branch', { common_name: 'client3', route: networks }),
      ];
      const server = await startServer(world, hub, keys, 'quickjs', AGREEMENT, { sections });
      wires.forEach((wire, number) => {
        startClient(world, wire, keys, clientKind, AGREEMENT, { number });
      });
      await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
      await Promise.all(wires.map(wire => pingAll(wire.right, SERVER_ADDRESSES)));
      strictEqual((await peerNames(server.ovpnd!)).length, CLIENTS);
      await pingAll(hub, ['10.8.0.50', 'fd42:8::50', lan.right4, lan.right6]);
    },
  };
}

const pushed: Row = {
  title: 'a stock client gets pushed routes, DNS and domain',
  runtimes: ['quickjs'],
  body: async world => {
    const options = {
      push_route: ['192.168.1.0/24', 'fd00:1::/64'],
      push_dns: ['192.168.1.1'],
      push_domain: ['lan.example'],
    };
    const tunnel = await up(world, { server: 'quickjs', client: 'openvpn' }, AGREEMENT, {
      server: { options },
    });
    const log = await tunnel.client.process.line(/PUSH: Received control message/);
    match(log, /dhcp-option DNS 192\.168\.1\.1|dns server [0-9]+ address 192\.168\.1\.1/);
    match(
      log,
      /dhcp-option (DOMAIN|DOMAIN-SEARCH|ADAPTER_DOMAIN_SUFFIX) lan\.example|dns search-domains lan\.example/,
    );
    const { right } = tunnel.wire;
    match(await right.run(['ip', 'route', 'show', '192.168.1.0/24']), /via 10\.8\.0\.1 dev tun0/);
    match(await right.run(['ip', '-6', 'route', 'show', 'fd00:1::/64']), /dev tun0/);
  },
};

const commands: Row = {
  title: 'status shows the peer, reload disturbs nobody, disconnect throws out one of two',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(2);
    const { ovpnd } = await startServer(world, hub, keys, 'quickjs', AGREEMENT);
    const clients = wires.map((wire, number) =>
      startClient(world, wire, keys, 'openvpn', AGREEMENT, { number }),
    );
    await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
    deepStrictEqual(await peerNames(ovpnd!), ['client0', 'client1']);
    const shown = await ovpnd!.ask('status', 'home');
    strictEqual(shown.code, 0, shown.output);
    for (const name of ['client0', 'client1']) match(shown.output, new RegExp(`^ +${name} `, 'm'));
    await undisturbed(wires[1].right, SERVER4, async () => {
      strictEqual((await ovpnd!.ask('reload', 'home')).code, 0);
      const { lines } = clients[0]!.process;
      const before = lines.length;
      const done = await ovpnd!.ask('disconnect', 'home', 'client0');
      strictEqual(done.code, 0, done.output);
      await clients[0]!.process.line(/SIG(USR1|TERM)|RESTART|AUTH_FAILED|HALT/, PATIENCE_MS, before);
    });
    const unknown = await ovpnd!.ask('disconnect', 'home', 'nobody');
    ok(unknown.code !== 0, 'an unknown peer is an error');
  },
};

const full: Row = {
  title: 'max_clients: one more is refused with a line, and gets in when a place is free',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const {
      hub,
      wires: [first, second],
    } = await world.star(2);
    const extra = { options: { max_clients: '1' } };
    const server = await startServer(world, hub, keys, 'quickjs', AGREEMENT, extra);
    const lines = ['explicit-exit-notify 1'];
    const inside = startClient(world, first, keys, 'openvpn', AGREEMENT, { number: 0, lines });
    await inside.process.line(UP);
    await undisturbed(first.right, SERVER4, async () => {
      startClient(world, second, keys, 'openvpn', AGREEMENT, { number: 1 });
      await server.process.line(/max_clients|max-clients|full/i);
    });
    strictEqual((await ping(second.right, SERVER4)).received, 0);
    await inside.process.stop();
    await reach(world, second.right, SERVER4, 60_000);
  },
};

function clientToClient(plane: 'native' | 'js'): Row {
  return {
    title: `client_to_client, ${plane} plane: stock clients reach each other from a reload on, and not before`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const { hub, wires } = await world.star(2);
      const sections = [
        peer('client0', { address: ['10.8.0.50', 'fd42:8::50'] }),
        peer('client1', { address: ['10.8.0.51', 'fd42:8::51'] }),
      ];
      const extra = (client_to_client: string) => ({
        sections,
        options: { data_plane: plane, client_to_client },
      });
      const { ovpnd } = await startServer(world, hub, keys, 'quickjs', AGREEMENT, extra('0'));
      // Its kernel forwards nothing from the tunnel into the tunnel.
      await hub.run(['sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0']);
      wires.forEach((wire, number) => {
        startClient(world, wire, keys, 'openvpn', AGREEMENT, { number });
      });
      await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
      for (const address of ['10.8.0.51', 'fd42:8::51']) {
        strictEqual((await ping(wires[0].right, address)).received, 0, address);
      }
      writeUci(ovpnd!.dir, serverSections(keys, AGREEMENT, extra('1')));
      strictEqual((await ovpnd!.ask('reload', 'home')).code, 0);
      await reach(world, wires[0].right, '10.8.0.51');
      await pingAll(wires[0].right, ['10.8.0.51', 'fd42:8::51']);
      await pingAll(wires[1].right, ['10.8.0.50', 'fd42:8::50']);
    },
  };
}

table('clients of an ovpnd server', { atOnce: 3 }, [
  tenClients('openvpn'),
  tenClients('quickjs'),
  pushed,
  commands,
  full,
  clientToClient('native'),
  clientToClient('js'),
]);
