// SPDX-License-Identifier: Apache-2.0
// What the kernel's own selftests of the module ask of it, asked of ovpnd on it: addresses, networks behind a client,
// a client that moves, sizes, marks.

import { match, ok, strictEqual } from 'node:assert';
import type { Section } from '../interop/harness/ovpnd.ts';
import { GUEST_PATIENCE_MS } from '../interop/harness/wait.ts';
import { type Kind, SERVER4, SERVER6, startClient, startServer, up } from './harness/ends.ts';
import type { Namespace, Wire } from './harness/namespace.ts';
import { K, NAMES } from './harness/offload.ts';
import { ping, pingAll, reach, SteadyPing, silent } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import type { Scene } from './harness/scene.ts';

/** A network of its own behind a client, with one host in it. */
async function lanBehind(scene: Scene, router: Namespace): Promise<Wire> {
  const host = await scene.namespace();
  const wire = await scene.wire(router, host);
  await router.sh('echo 1 >/proc/sys/net/ipv6/conf/all/forwarding');
  await host.ip(`route add default via ${wire.left4}`, `route add default via ${wire.left6}`);
  return wire;
}

function lan(client: Kind): Row {
  return {
    title: `${NAMES[K]} server, ${NAMES[client]} client: a network behind the client, and nobody else's addresses`,
    body: async scene => {
      const wire = await scene.pair();
      const net = await lanBehind(scene, wire.right);
      const networks = [net.left4.replace(/\.1$/, '.0/24'), net.left6.replace(/::1$/, '::/64')];
      const peer: Section = {
        type: 'peer',
        name: 'branch',
        options: { tunnel: 'home', common_name: 'client0', route: networks },
      };
      await startServer(scene, wire.left, K, {}, { sections: [peer] });
      const { device } = await startClient(scene, wire, client, {});
      await reach(scene, wire.right, SERVER4);
      await pingAll(wire.left, [net.right4, net.right6]);
      await pingAll(net.right, [SERVER4, SERVER6]);
      // An address nobody gave this client.
      await wire.right.ip(`addr add 10.8.0.77/32 dev ${device}`);
      await silent(wire.right, SERVER4, { source: '10.8.0.77' });
      strictEqual((await ping(wire.right, SERVER4)).received, 3);
    },
  };
}

/** Moves the client's end of a wire to another address, the way a phone changes networks. */
async function move({ right, rightDevice, right4 }: Wire, to: string): Promise<void> {
  await right.ip(`addr add ${to}/24 dev ${rightDevice}`, `addr del ${right4}/24 dev ${rightDevice}`);
}

function float(client: Kind): Row {
  return {
    title: `${NAMES[K]} server, ${NAMES[client]} client: the client's address changes under traffic`,
    body: async scene => {
      const { wire, server, client: end } = await up(scene, { server: K, client });
      const { ovpnd } = server;
      match((await ovpnd!.status()).peers[0]!.real_address, /10\.99\.0\.2/);
      const since = (await ovpnd!.status()).peers[0]!.connected_since;
      const steady = await SteadyPing.start(wire.right, SERVER4, { intervalS: 0.1 });
      await move(wire, '10.99.0.3');
      await scene.until('status shows the new address', GUEST_PATIENCE_MS, async () =>
        /10\.99\.0\.3/.test((await ovpnd!.status()).peers[0]?.real_address ?? ''),
      );
      const { sent, received } = await steady.stop();
      ok(sent - received <= 5, `${sent - received} of ${sent} pings were lost`);
      await pingAll(wire.right, [SERVER4, SERVER6]);
      strictEqual((await ovpnd!.status()).peers[0]!.connected_since, since, 'the same session');
      strictEqual(end.process.exit, undefined);
    },
  };
}

function largeMtu(client: Kind, mtu: number, wireMtu: number): Row {
  return {
    title: `${NAMES[K]} server, ${NAMES[client]} client: packets of ${mtu} bytes on a wire of ${wireMtu}`,
    body: async scene => {
      const wire = await scene.pair();
      await wire.left.ip(`link set ${wire.leftDevice} mtu ${wireMtu}`);
      await wire.right.ip(`link set ${wire.rightDevice} mtu ${wireMtu}`);
      const extra = { options: { tun_mtu: String(mtu) }, lines: [`tun-mtu ${mtu} ${mtu}`] };
      await startServer(scene, wire.left, K, {}, extra);
      await startClient(scene, wire, client, {}, extra);
      await reach(scene, wire.right, SERVER4);
      await pingAll(wire.right, [SERVER4, SERVER6], [mtu]);
      await pingAll(wire.left, ['10.8.0.2'], [mtu]);
    },
  };
}

function fwmark(client: Kind): Row {
  return {
    title: `${NAMES[K]} server, ${NAMES[client]} client: encrypted packets carry the mark`,
    body: async scene => {
      const mark = '1056';
      const { wire } = await up(scene, { server: K, client }, {}, { server: { options: { fwmark: mark } } });
      await wire.left.ip('route add blackhole default table 77', `rule add fwmark ${mark} lookup 77 pref 1`);
      await wire.left.ip('route flush cache');
      await silent(wire.right, SERVER4);
      await wire.left.ip(`rule del fwmark ${mark} lookup 77`);
      await reach(scene, wire.right, SERVER4);
    },
  };
}

function told(client: Kind): Row {
  return {
    title: `${NAMES[K]} server, ${NAMES[client]} client: a changed push_route is told to who is connected`,
    body: async scene => {
      const options = { push_route: ['198.51.100.0/24'] };
      const {
        wire,
        server,
        client: end,
      } = await up(scene, { server: K, client }, {}, { server: { options } });
      // OpenVPN makes its device anew.
      const routes = () => wire.right.ip(`route show dev ${end.device}`).catch(() => '');
      await scene.until('its route is there', GUEST_PATIENCE_MS, async () =>
        (await routes()).includes('198.51.100.0/24'),
      );
      const { ovpnd } = server;
      await wire.left.sh(`sed -i s/198.51.100.0/203.0.113.0/ ${ovpnd!.dir}/ovpnd`);
      strictEqual((await ovpnd!.ask('reload', 'home')).code, 0);
      await scene.until('its route is new', GUEST_PATIENCE_MS, async () =>
        (await routes()).includes('203.0.113.0/24'),
      );
      ok(!(await routes()).includes('198.51.100'));
      await reach(scene, wire.right, SERVER4);
      strictEqual((await ovpnd!.status()).peers.length, 1);
      strictEqual(server.process.lines.filter(line => / connected from /.test(line)).length, 1);
    },
  };
}

const closed: Row = {
  title: `${NAMES[K]} client with a kill switch: killed, it leaves nothing open`,
  body: async scene => {
    const options = { redirect_gateway: '1', kill_switch: '1' };
    const extra = { client: { options, clean: false } };
    const { wire, client } = await up(scene, { server: 'plain', client: K }, {}, extra);
    await wire.right.ip(`route add default via ${wire.left4}`);
    const way = () => wire.right.ip('route get 192.0.2.1').catch((error: Error) => error.message);
    match(await way(), new RegExp(`dev ${client.device} `));
    await client.process.kill();
    const left = await way();
    ok(/unreachable/i.test(left) || left.includes(`dev ${client.device} `), left);
    strictEqual((await client.ovpnd!.ask('unblock', 'office')).code, 0);
    match(await way(), /dev eth/);
  },
};

table('scenarios', 2, [
  lan('dco'),
  lan(K),
  float('dco'),
  float('plain'),
  float(K),
  largeMtu('dco', 1500, 1500),
  largeMtu('plain', 8900, 9000),
  fwmark('dco'),
  told(K),
  closed,
]);
