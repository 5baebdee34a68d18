// SPDX-License-Identifier: Apache-2.0
// A configuration that changes under a running tunnel, with stock clients on it: who is not concerned notices nothing.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { appendFileSync, copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Options, type Ovpnd, type Section, writeUci } from './harness/ovpnd.ts';
import { peerNames } from './harness/peers.ts';
import { ping, reach, SteadyPing, undisturbed } from './harness/ping.ts';
import { type Pki, pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import {
  clientSections,
  SERVER_ADDRESSES,
  SERVER4,
  serverSections,
  startClient,
  startServer,
} from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';

const AGREEMENT = { wrap: 'tls-crypt' } as const;
const RELOADS = 100;

/** The server's file with some options changed, and further sections. */
function rewrite(ovpnd: Ovpnd, keys: Pki, options: Options, sections: readonly Section[] = []): void {
  writeUci(ovpnd.dir, serverSections(keys, AGREEMENT, { options, sections }));
}

async function reload(ovpnd: Ovpnd): Promise<string> {
  const { code, output } = await ovpnd.ask('reload', ovpnd.tunnel);
  strictEqual(code, 0, output);
  return output;
}

async function connectedSince(ovpnd: Ovpnd, name: string): Promise<number> {
  const { peers } = (await ovpnd.status()) as { peers: { name: string; connected_since: number }[] };
  return peers.find(peer => peer.name === name)?.connected_since ?? 0;
}

/** What is changed by reload number `i`: one kind after the other. */
function change(i: number, files: { ca: string; cert: string }): { options: Options; sections: Section[] } {
  const turn = Math.floor(i / 9);
  const peer: Section['options'] = {
    tunnel: 'home',
    common_name: 'client2',
    // The peer that is edited: another address each turn, now and then disabled, a network behind it or not.
    address: [`10.8.0.${50 + turn}`],
    enabled: i % 9 === 5 ? '0' : '1',
    route: i % 2 === 0 ? [`192.168.${60 + turn}.0/24`] : undefined,
  };
  if (i % 9 === 3) appendFileSync(files.cert, `replaced ${i}\n`);
  if (i % 9 === 4) appendFileSync(files.ca, `replaced ${i}\n`);
  const other: Section = {
    type: 'client',
    name: 'other',
    options: { ca: files.ca, cert: files.cert, key: '/nowhere/key', remote: [`192.0.2.${1 + turn} 1194`] },
  };
  return {
    options: {
      ca: files.ca,
      cert: files.cert,
      // Lines have no budget at this level.
      log_level: 'debug',
      push_route: Array.from({ length: 1 + (i % 7) }, (_, n) => `172.16.${n}.0/24`),
      reneg_sec: i % 9 === 6 ? '1800' : '3600',
      max_clients: String(10 + (i % 3)),
      // What neither can be used nor read changes nothing.
      ...(i % 9 === 7 && { tun_mtu: 'many' }),
      ...(i % 9 === 8 && { key: '/nowhere/server.key' }),
    },
    sections: [{ type: 'peer', name: 'edited', options: peer }, ...(i % 3 === 0 ? [other] : [])],
  };
}

const hundred: Row = {
  title: `${RELOADS} reloads of every kind under 1,000 packets a second: none lost`,
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(3);
    const folder = world.folder('replaced');
    const files = { ca: join(folder, 'ca.crt'), cert: join(folder, 'server.crt') };
    copyFileSync(keys.server.ca, files.ca);
    copyFileSync(keys.server.cert, files.cert);
    const first = change(0, files);
    const { ovpnd } = await startServer(world, hub, keys, 'quickjs', AGREEMENT, first);
    const lines = ['auth-retry nointeract', 'connect-retry 1 1'];
    wires.forEach((wire, number) => {
      startClient(world, wire, keys, 'openvpn', AGREEMENT, { number, lines });
    });
    await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
    const before = await Promise.all([connectedSince(ovpnd!, 'client0'), connectedSince(ovpnd!, 'client1')]);
    const steady = await Promise.all(
      [wires[0]!, wires[1]!].flatMap(wire =>
        SERVER_ADDRESSES.map(address => SteadyPing.start(wire.right, address, { intervalS: 0.001 })),
      ),
    );
    const start = Date.now();
    for (let i = 1; i <= RELOADS; i++) {
      const { options, sections } = change(i, files);
      rewrite(ovpnd!, keys, options, sections);
      const at = ovpnd!.process.lines.length;
      if (i % 2 === 0) ovpnd!.process.signal('SIGHUP');
      else await ovpnd!.ask('reload', 'home');
      const outcome = await ovpnd!.process.line(/: reload[: ]/, PATIENCE_MS, at);
      strictEqual(/refused/.test(outcome), i % 9 >= 7, `reload ${i}: ${outcome}`);
    }
    const seconds = (Date.now() - start) / 1000;
    const results = await Promise.all(steady.map(one => one.stop()));
    const sent = results.reduce((sum, result) => sum + result.sent, 0);
    console.log(`      ${sent} pings and as many answers in ${seconds.toFixed(1)} s of ${RELOADS} reloads`);
    for (const result of results) strictEqual(result.received, result.sent);
    deepStrictEqual(
      await Promise.all([connectedSince(ovpnd!, 'client0'), connectedSince(ovpnd!, 'client1')]),
      before,
    );
    // And the last one counts.
    rewrite(ovpnd!, keys, { push_route: ['172.31.0.0/16'] }, [
      {
        type: 'peer',
        name: 'edited',
        options: { tunnel: 'home', common_name: 'client2', address: ['10.8.0.99'] },
      },
    ]);
    await reload(ovpnd!);
    await world.until('the edited peer has its new address and route', 60_000, async () => {
      const routes = await wires[2]!.right.run(['ip', 'route']);
      return routes.includes('src 10.8.0.99') && routes.includes('172.31.0.0/16');
    });
  },
};

const refused: Row = {
  title: 'a file that cannot be used changes nothing and says where; a peer that is broken stays as it was',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(1);
    const { ovpnd } = await startServer(world, hub, keys, 'quickjs', AGREEMENT);
    startClient(world, wires[0]!, keys, 'openvpn', AGREEMENT);
    await reach(world, wires[0]!.right, SERVER4);
    const file = join(ovpnd!.dir, 'ovpnd');
    await undisturbed(wires[0]!.right, SERVER4, async () => {
      const cases: [() => void, RegExp][] = [
        [() => rewrite(ovpnd!, keys, { port: 'x' }), /ovpnd:[0-9]+: server 'home': option port 'x': /],
        [
          () => rewrite(ovpnd!, keys, { ca: '/no/file' }),
          /option ca '\/no\/file': cannot be read: No such file/,
        ],
        [() => writeFileSync(file, "config server 'home\n"), /ovpnd:[0-9]+: cannot be read as uci/],
        [() => writeFileSync(file, ''), /holds no server or client section/],
        [() => rmSync(file), /cannot be read: No such file/],
        [
          () =>
            rewrite(ovpnd!, keys, {}, [
              {
                type: 'server',
                name: 'twin',
                options: { ...serverSections(keys, AGREEMENT, {})[0]!.options, device: 'x' },
              },
            ]),
          /nothing changed/,
        ],
        [
          () =>
            rewrite(ovpnd!, keys, {}, [
              { type: 'peer', name: 'bad', options: { tunnel: 'home', address: ['1.2.3.4'] } },
            ]),
          /peer 'bad': (option|list) address '1\.2\.3\.4': is not in/,
        ],
      ];
      for (const [edit, said] of cases) {
        edit();
        const { code, output } = await ovpnd!.ask('reload', 'home');
        match(output, said);
        strictEqual(code, /nothing changed/.test(output) ? 0 : 1, output);
      }
    });
    strictEqual((await ovpnd!.ask('check', '-c', ovpnd!.dir)).code, 1);
  },
};

const restarts: Row = {
  title: 'a changed port restarts the tunnel; one that is taken brings the old one back; disabled ends it',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(1);
    const { ovpnd } = await startServer(world, hub, keys, 'quickjs', AGREEMENT, { run: { clean: false } });
    const { left4 } = wires[0]!;
    const lines = [`remote ${left4} 1195`, 'server-poll-timeout 3', 'connect-retry 1 1'];
    const client = startClient(world, wires[0]!, keys, 'openvpn', AGREEMENT, { lines });
    rewrite(ovpnd!, keys, { port: '1195' });
    match(await reload(ovpnd!), /^restarting: port$/m);
    await ovpnd!.process.line(/listening on .*:1195/);
    await reach(world, wires[0]!.right, SERVER4, 60_000);
    // Somebody else's port.
    const bind = "require('dgram').createSocket('udp4').bind(1196)";
    world.spawn('other', hub, [process.execPath, '-e', bind]);
    await world.until('the port is taken', PATIENCE_MS, async () =>
      (await hub.run(['ss', '-ulnH'])).includes(':1196'),
    );
    const at = ovpnd!.process.lines.length;
    rewrite(ovpnd!, keys, { port: '1196' });
    match(await reload(ovpnd!), /^restarting: port$/m);
    await ovpnd!.process.line(/port 1196: .*Address already in use/, PATIENCE_MS, at);
    await ovpnd!.process.line(/listening on .*:1195/, PATIENCE_MS, at);
    await reach(world, wires[0]!.right, SERVER4, 60_000);
    rewrite(ovpnd!, keys, { port: '1195', enabled: '0' });
    match(await reload(ovpnd!), /^ending: enabled$/m);
    strictEqual((await ovpnd!.process.ended()).code, 0);
    await client.process.line(/RESTART|SIGUSR1/);
  },
};

const client: Row = {
  title:
    'an ovpnd client: a route without a lost packet, a fixed remote at once, another server, a section that is gone',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(1);
    await startServer(world, hub, keys, 'openvpn', AGREEMENT);
    const { left4, right } = wires[0]!;
    const write = (options: Options): void =>
      writeUci(office!.dir, clientSections(keys, AGREEMENT, left4, 0, { options }));
    // Nobody is there: hours until the next attempt.
    const wrong = { remote: ['127.0.0.1 9'], connect_retry: '3600 3600', server_poll_timeout: '1' };
    const options = { ...wrong, connect_timeout: '1' };
    const { ovpnd: office } = startClient(world, wires[0]!, keys, 'quickjs', AGREEMENT, {
      options,
      run: { clean: false },
    });
    await office!.process.line(/next attempt in [0-9]{4}/);
    write({});
    match(await reload(office!), /^applied: .*remote/m);
    await reach(world, right, SERVER4);
    await undisturbed(right, SERVER4, async () => {
      write({ route: ['172.20.0.0/16'], metric: '7', log_level: 'debug', reneg_sec: '1800' });
      match(await reload(office!), /^applied: .*route/m);
      match(await right.run(['ip', 'route']), /172\.20\.0\.0\/16 .*metric 7/);
      write({ route: ['172.21.0.0/16'] });
      await reload(office!);
    });
    const routes = await right.run(['ip', 'route']);
    ok(!routes.includes('172.20.') && routes.includes('172.21.'), routes);
    // A new mark is a new socket, and no more than that.
    write({ route: ['172.21.0.0/16'], fwmark: '9' });
    const at = office!.process.lines.length;
    match(await reload(office!), /^applied: fwmark$/m);
    await office!.process.line(/: connected: /, PATIENCE_MS, at);
    strictEqual((await ping(right, SERVER4)).received, 3);
    writeUci(office!.dir, serverSections(keys, AGREEMENT, {}));
    match(await reload(office!), /^ending/m);
    strictEqual((await office!.process.ended()).code, 0);
  },
};

const revoked: Row = {
  title: 'a peer that is disabled is told so, and comes back when it may',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(2);
    const { ovpnd } = await startServer(world, hub, keys, 'quickjs', AGREEMENT);
    const lines = ['auth-retry nointeract', 'connect-retry 1 1'];
    const clients = wires.map((wire, number) =>
      startClient(world, wire, keys, 'openvpn', AGREEMENT, { number, lines: number === 0 ? lines : [] }),
    );
    await Promise.all(wires.map(wire => reach(world, wire.right, SERVER4)));
    const section = (enabled: string): Section => ({
      type: 'peer',
      name: 'client0',
      options: { tunnel: 'home', enabled },
    });
    await undisturbed(wires[1]!.right, SERVER4, async () => {
      rewrite(ovpnd!, keys, {}, [section('0')]);
      match(await reload(ovpnd!), /^applied: peer client0$/m);
      await clients[0]!.process.line(/AUTH_FAILED/);
      await world.until(
        'it is gone',
        PATIENCE_MS,
        async () => !(await peerNames(ovpnd!)).includes('client0'),
      );
      rewrite(ovpnd!, keys, {}, [section('1')]);
      await reload(ovpnd!);
      await reach(world, wires[0]!.right, SERVER4);
    });
  },
};

table('reload', { atOnce: 2 }, [hundred, refused, restarts, client, revoked]);
