// SPDX-License-Identifier: Apache-2.0
// The kill switch of a client on a router: a host behind it, the internet before it, and a witness on the uplink that
// sees what leaves. Whatever happens to the tunnel, nothing does but what goes to the server.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace, Wire } from './harness/namespace.ts';
import { type Options, writeUci } from './harness/ovpnd.ts';
import { ping, reach, SteadyPing } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { clientSections, type End, type Extra, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import { startNames, Witness } from './harness/witness.ts';
import type { World } from './harness/world.ts';

/** An address in the internet of each family. */
const FAR4 = '192.0.2.1';
const FAR6 = '2001:db8:9::1';
const NAME_SERVER = '192.0.2.53';
const CLOSED = { options: { redirect_gateway: '1', kill_switch: '1', connect_retry: '1 2' } } satisfies Extra;
const QUICK = 'keepalive 1 4';

interface Scene {
  readonly far: Namespace;
  readonly router: Namespace;
  readonly near: Namespace;
  readonly outer: Wire;
  /** As it was before anything ran. */
  readonly before: string;
}

/** Without a tunnel everything is answered in the clear. */
async function scene(world: World): Promise<Scene> {
  const [far, router, near] = await Promise.all([world.namespace(), world.namespace(), world.namespace()]);
  const outer = await world.wire(far!, router!);
  const inner = await world.wire(router!, near!);
  await router!.run(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1']);
  await far!.ip(
    `addr add ${FAR4}/32 dev lo`,
    `addr add ${NAME_SERVER}/32 dev lo`,
    `addr add ${FAR6}/128 dev lo nodad`,
    // Less than the route that a server has into its tunnel.
    `route add 10.99.0.0/16 via ${outer.right4}`,
    `route add fd99::/16 via ${outer.right6}`,
  );
  await router!.ip(`route add default via ${outer.left4}`, `route add default via ${outer.left6}`);
  await near!.ip(`route add default via ${inner.left4}`, `route add default via ${inner.left6}`);
  await Promise.all([reach(world, near!, FAR4), reach(world, near!, FAR6)]);
  return { far: far!, router: router!, near: near!, outer, before: await router!.snapshot() };
}

async function silent({ router, near }: Scene): Promise<void> {
  const pings = [near, router].flatMap(from =>
    [FAR4, FAR6].map(to => ping(from, to, { count: 3, intervalS: 0.02 })),
  );
  for (const { received } of await Promise.all(pings)) strictEqual(received, 0);
}

/** Of ovpnd with IPv4 only, or of OpenVPN with both. */
async function server(world: World, { far }: Scene, kind: 'quickjs' | 'openvpn'): Promise<End> {
  const folder = world.folder('ccd');
  writeFileSync(join(folder, 'DEFAULT'), 'iroute 10.99.1.0 255.255.255.0\niroute-ipv6 fd99:1::/64\n');
  const routes = ['route 10.99.1.0 255.255.255.0', 'route-ipv6 fd99:1::/64'];
  const peer = {
    type: 'peer',
    name: 'router',
    options: { tunnel: 'home', common_name: 'client0', route: ['10.99.1.0/24'] },
  } as const;
  return startServer(
    world,
    far,
    await pki(),
    kind,
    {},
    {
      lines: [QUICK, `client-config-dir ${folder}`, ...routes],
      options: { keepalive: '1 4', address: ['10.8.0.1/24'] },
      sections: [peer],
    },
  );
}

const blocked = (world: World, { router }: Scene): Promise<true> =>
  world.until('it is closed', PATIENCE_MS, async () =>
    /unreachable 128\.0\.0\.0\/1 /.test(await router.ip('route show')) ? true : undefined,
  );

function everything(kind: 'quickjs' | 'openvpn'): Row {
  const has6 = kind === 'openvpn';
  return {
    title: `${has6 ? 'openvpn server' : 'ovpnd server, IPv4 only'}: before, without, after and between connections nothing leaves`,
    runtimes: ['quickjs'],
    body: async world => {
      const made = await scene(world);
      const { router, near, outer } = made;
      const keys = await pki();
      const start = () => startClient(world, outer, keys, 'quickjs', {}, CLOSED);
      const tunnelled = async () => {
        await reach(world, near, FAR4, PATIENCE_MS);
        if (has6) await reach(world, near, FAR6, PATIENCE_MS);
        else strictEqual((await ping(near, FAR6, { count: 2 })).received, 0);
      };
      const control = await Witness.start(world, outer);
      await ping(near, FAR4, { count: 2 });
      await ping(near, FAR6, { count: 2 });
      const without = await control.stop();
      ok(without.clear >= 4, `the witness sees what leaves: ${JSON.stringify(without)}`);

      const witness = await Witness.start(world, outer);
      const first = start();
      await blocked(world, made);
      await silent(made);
      const up = await server(world, made, kind);
      await tunnelled();
      strictEqual((await first.ovpnd!.status()).kill_switch, true);
      await up.process.kill();
      await silent(made);
      await first.process.line(/nothing heard from the server/, PATIENCE_MS);
      await silent(made);
      const again = await server(world, made, kind);
      await tunnelled();
      await first.process.kill();
      await silent(made);
      // The server is there: whether the next pings are answered through the tunnel is a matter of time.
      const second = start();
      await tunnelled();
      const seen = await witness.stop();
      deepStrictEqual([seen.clear, seen.names, seen.first], [0, 0, '']);
      ok(seen.tunnel > 10);

      strictEqual((await second.process.stop()).code, 0);
      strictEqual(await router.snapshot(), made.before);
      // With it goes its route back into the tunnel.
      await again.process.kill();
      await Promise.all([reach(world, near, FAR4), reach(world, near, FAR6)]);
    },
  };
}

const named: Row = {
  title: 'a server with a name is found by the name server of the uplink, which is out of reach afterwards',
  runtimes: ['quickjs'],
  body: async world => {
    const made = await scene(world);
    const { far, router, near, outer } = made;
    await startNames(world, far, NAME_SERVER, outer.left4);
    const resolv = join(world.dir, 'resolv.conf');
    writeFileSync(resolv, `nameserver ${NAME_SERVER}\n`);
    await server(world, made, 'openvpn');
    const witness = await Witness.start(world, outer);
    const script = `mount --bind ${resolv} /etc/resolv.conf && exec "$@"`;
    const client = startClient(
      world,
      outer,
      await pki(),
      'quickjs',
      {},
      {
        ...CLOSED,
        remote: 'vpn.example.org',
        run: { before: ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh'] },
      },
    );
    await blocked(world, made);
    await reach(world, near, FAR4, PATIENCE_MS);
    match(await router.ip(`route get ${NAME_SERVER}`), new RegExp(`dev ${client.device} `));
    const { clear, names, first } = await witness.stop();
    deepStrictEqual([clear, first], [0, '']);
    ok(names > 0);
    strictEqual((await client.process.stop()).code, 0);
    strictEqual(await router.snapshot(), made.before);
  },
};

const reloaded: Row = {
  title: 'a reload that restarts the tunnel opens nothing, one that switches it off does',
  runtimes: ['quickjs'],
  body: async world => {
    const made = await scene(world);
    const { router, near, outer } = made;
    const keys = await pki();
    await server(world, made, 'openvpn');
    const { ovpnd, process } = startClient(world, outer, keys, 'quickjs', {}, CLOSED);
    await blocked(world, made);
    const witness = await Witness.start(world, outer);
    await reach(world, near, FAR4);
    const reload = async (options: Options) => {
      const sections = clientSections(keys, {}, outer.left4, 0, {
        options: { ...CLOSED.options, ...options },
      });
      writeUci(ovpnd!.dir, sections);
      strictEqual((await ovpnd!.ask('reload', 'office')).code, 0);
    };
    const steady = await SteadyPing.start(near, FAR4, { intervalS: 0.005 });
    await reload({ tun_mtu: '1400' });
    await process.line(/office: info: restarting/);
    await world.until('it is back', PATIENCE_MS, () => process.count(/office: info: connected/) === 2);
    await steady.stop();
    deepStrictEqual((await witness.stop()).clear, 0);
    await reload({ tun_mtu: '1400', kill_switch: '0' });
    await world.until(
      'it is open',
      PATIENCE_MS,
      async () => !/unreachable/.test(await router.ip('route show')),
    );
    ok(!/unreachable/.test(await router.run(['ip', '-6', 'route', 'show'])));
    strictEqual((await ovpnd!.status()).kill_switch, undefined);
    await reload({ enabled: '0' });
    await process.ended();
    strictEqual(await router.snapshot(), made.before);
  },
};

const given: Row = {
  title: 'what a killed client keeps closed is opened by unblock, and by nothing else while one runs',
  runtimes: ['quickjs'],
  body: async world => {
    const made = await scene(world);
    const { router, near, outer } = made;
    const client = startClient(world, outer, await pki(), 'quickjs', {}, CLOSED);
    await blocked(world, made);
    const asked = await client.ovpnd!.ask('unblock', 'office');
    strictEqual(asked.code, 1);
    match(asked.output, /tunnel 'office' is running/);
    await client.process.kill();
    await silent(made);
    const unblock = client.ovpnd!.words('unblock', 'office');
    await router.run(unblock);
    strictEqual(await router.snapshot(), made.before);
    await reach(world, near, FAR4);
  },
};

table('kill switch', { atOnce: 4 }, [everything('openvpn'), everything('quickjs'), named, reloaded, given]);
