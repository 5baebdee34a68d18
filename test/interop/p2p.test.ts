// SPDX-License-Identifier: Apache-2.0
// Mode p2p against stock OpenVPN's --mode p2p with TLS, in both roles: no push, addresses at both ends.

import { deepStrictEqual, match, strictEqual } from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeUci } from './harness/ovpnd.ts';
import { peerNames } from './harness/peers.ts';
import { ping, pingAll, reach } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { Process } from './harness/process.ts';
import { renegotiated, startedBy } from './harness/renegotiation.ts';
import { type Row, table } from './harness/rows.ts';
import {
  type Agreement,
  type Ends,
  type Extra,
  listening,
  runtimesOf,
  SERVER_ADDRESSES,
  SERVER4,
  startClient,
  startServer,
} from './harness/tunnel.ts';
import { describeEnds, up, worksRow } from './harness/works.ts';

const OVPND = resolve('build/ovpnd');
const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const THEIRS_OURS: Ends = { server: 'openvpn', client: 'quickjs' };
const OURS_OURS: Ends = { server: 'quickjs', client: 'quickjs' };
const PAIRS: readonly Ends[] = [OURS_THEIRS, THEIRS_OURS, OURS_OURS];
const P2P: Agreement = { mode: 'p2p', wrap: 'tls-crypt' };

table('mode p2p', { atOnce: 5 }, [
  ...PAIRS.flatMap(ends => {
    // Only a stock end is told which TLS to speak.
    const tls = (version: '1.2' | '1.3') => (ends === OURS_OURS ? {} : { tls: version });
    return [
      worksRow(ends, { mode: 'p2p', cipher: 'AES-256-GCM', wrap: 'none', family: 4, ...tls('1.3') }),
      worksRow(ends, {
        mode: 'p2p',
        cipher: 'CHACHA20-POLY1305',
        wrap: 'tls-crypt',
        family: 6,
        ...tls('1.2'),
      }),
      worksRow(ends, { mode: 'p2p', cipher: 'AES-128-GCM', wrap: 'tls-auth', family: 4, transport: 'tcp' }),
    ];
  }),
  worksRow({ server: 'asan', client: 'mbedtls' }, { ...P2P, cipher: 'AES-256-GCM', family: 4 }),
  worksRow(
    { server: 'mbedtls', client: 'openvpn' },
    { ...P2P, cipher: 'AES-256-GCM', family: 4, tls: '1.3' },
  ),
  worksRow(
    { server: 'openvpn', client: 'asan' },
    { ...P2P, cipher: 'AES-192-GCM', family: 6, transport: 'tcp' },
  ),
  {
    title: 'the js plane at both ends',
    runtimes: ['quickjs'],
    body: async world => {
      const js: Extra = { options: { data_plane: 'js' } };
      const { wire } = await up(world, OURS_OURS, P2P, { server: js, client: js });
      await pingAll(wire.right, SERVER_ADDRESSES);
    },
  },
]);

const COUNT = 900;

function renegotiation(ends: Ends, starter: 'server' | 'client', agreement: Agreement): Row {
  return {
    title: `${describeEnds(ends)}: renegotiation every 5 s, started by the ${starter}, ${agreement.transport ?? 'udp'}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const { wire, server, client } = await up(world, ends, agreement, startedBy(starter));
      const all = await Promise.all([
        ping(wire.left, '10.8.0.2', { count: COUNT, intervalS: 0.02 }),
        ping(wire.right, SERVER4, { count: COUNT, intervalS: 0.02, size: 700 }),
      ]);
      deepStrictEqual(all, [
        { sent: COUNT, received: COUNT },
        { sent: COUNT, received: COUNT },
      ]);
      renegotiated([server, client], 3);
    },
  };
}

table('mode p2p, renegotiation under a steady ping', { atOnce: 4 }, [
  renegotiation(OURS_THEIRS, 'server', P2P),
  renegotiation(OURS_THEIRS, 'client', { ...P2P, transport: 'tcp' }),
  renegotiation(THEIRS_OURS, 'server', { ...P2P, transport: 'tcp' }),
  renegotiation(THEIRS_OURS, 'client', P2P),
]);

/**
 * Finds out in seconds that the other end is gone. Not with a ping every second: the refusal that one to the dead
 * client's port meets takes the packet after it along, which stock OpenVPN sends in the same tick, every time.
 */
const QUICK: Extra = {
  options: { keepalive: '3 9' },
  lines: ['keepalive 3 9', 'explicit-exit-notify 1'],
};

function killed(ends: Ends, which: 'server' | 'client'): Row {
  return {
    title: `${describeEnds(ends)}: the ${which} is killed and started again`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const { wire, server, client } = await up(world, ends, P2P, { server: QUICK, client: QUICK });
      if (which === 'server') {
        await server.process.kill();
        await startServer(world, wire.left, keys, ends.server, P2P, QUICK);
      } else {
        await client.process.kill();
        startClient(world, wire, keys, ends.client, P2P, QUICK);
      }
      await reach(world, wire.right, SERVER4);
    },
  };
}

function leaves(ends: Ends, which: 'server' | 'client'): Row {
  const [leaving, staying] =
    which === 'server' ? (['server', 'client'] as const) : (['client', 'server'] as const);
  return {
    title: `${describeEnds(ends)}: the ${which} leaves, and the other end knows at once`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const tunnel = await up(world, ends, P2P, {
        server: { lines: QUICK.lines! },
        client: { lines: QUICK.lines! },
      });
      await tunnel[leaving].process.stop();
      await tunnel[staying].process.line(/remote-exit|: left$|the server left/);
    },
  };
}

table('mode p2p: ends that die or leave', { atOnce: 5 }, [
  killed(OURS_THEIRS, 'server'),
  killed(OURS_THEIRS, 'client'),
  killed(THEIRS_OURS, 'server'),
  killed(THEIRS_OURS, 'client'),
  ...PAIRS.flatMap(ends => [leaves(ends, 'server'), leaves(ends, 'client')]),
]);

const routes: Row = {
  title: 'a /31 at both ends, routes, status, and nothing left at exit',
  runtimes: ['quickjs', 'openvpn'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const before = await wire.left.snapshot();
    const server = await startServer(world, wire.left, keys, 'quickjs', P2P, {
      options: { address: ['10.8.0.1/31', 'fd42:8::1/127'], route: ['192.168.77.0/24'], metric: '7' },
    });
    startClient(world, wire, keys, 'quickjs', P2P, {
      options: { address: ['10.8.0.0/31', 'fd42:8::/127'], route: ['fd00:77::/64'] },
    });
    await reach(world, wire.right, SERVER4);
    await reach(world, wire.left, 'fd42:8::');
    const show = (...words: string[]): Promise<string> => wire.left.run(['ip', ...words]);
    match(await show('route', 'show', '192.168.77.0/24'), /dev ov-home.* metric 7/);
    match(await wire.right.run(['ip', '-6', 'route', 'show', 'fd00:77::/64']), /dev ov-office/);
    deepStrictEqual(await peerNames(server.ovpnd!), ['client0']);
    strictEqual((await server.process.stop()).code, 0);
    strictEqual(await wire.left.snapshot(), before);
  },
};

function mismatch(title: string, server: Agreement, client: Agreement, ends: Ends, said: RegExp): Row {
  return {
    title: `${describeEnds(ends)}: ${title}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const ours = await startServer(world, wire.left, keys, ends.server, server);
      const theirs = startClient(world, wire, keys, ends.client, client);
      await (ends.server === 'openvpn' ? theirs : ours).process.line(said);
    },
  };
}

const profile: Row = {
  title: 'an exported profile connects stock OpenVPN and, imported, ovpnd; each takes the place of the other',
  runtimes: ['quickjs', 'openvpn'],
  body: async world => {
    const wire = await world.pair();
    const root = world.folder('profile');
    const [config, keys, sockets, file] = ['config', 'keys', 'run', 'p.ovpn'].map(name =>
      join(root, name),
    ) as [string, string, string, string];
    const options = { enabled: '1', mode: 'p2p', address: ['10.8.0.1/30', 'fd42:8::1/64'] };
    writeUci(config, [{ type: 'server', name: 'home', options }]);
    const ovpnd = async (...words: string[]): Promise<void> => {
      const child = new Process('ovpnd', [OVPND, ...words, '-c', config, '-k', keys]);
      strictEqual((await child.ended()).code, 0, child.output);
    };
    await ovpnd('pki', 'init', 'home');
    const run = [OVPND, 'run', '-c', config, '-r', sockets];
    const server = world.spawn('ovpnd home', wire.left, [...run, 'home'], { clean: true });
    await listening(world, wire.left, server);
    await ovpnd('export', 'home', 'alice', '--remote', wire.left4, '-o', file);
    const stock = world.spawn('openvpn', wire.right, ['openvpn', '--config', file, '--disable-dco']);
    await reach(world, wire.right, SERVER4);
    await pingAll(wire.right, SERVER_ADDRESSES);
    await stock.kill();
    await ovpnd('import', file, 'office');
    writeFileSync(
      join(config, 'ovpnd'),
      readFileSync(join(config, 'ovpnd'), 'utf8').replace("enabled '0'", "enabled '1'"),
    );
    world.spawn('ovpnd office', wire.right, [...run, 'office'], { clean: true });
    await server.line(/connected anew/);
    await reach(world, wire.right, SERVER4);
    await pingAll(wire.right, SERVER_ADDRESSES);
  },
};

const MULTI: Agreement = { wrap: 'tls-crypt' };

table('mode p2p: what both ends must agree on', { atOnce: 5 }, [
  routes,
  profile,
  mismatch('a client that pulls', P2P, MULTI, OURS_THEIRS, /asks for options to be pushed/),
  mismatch('a server for many', MULTI, P2P, THEIRS_OURS, /no common data cipher: .*is it in mode p2p/),
  mismatch(
    'no common cipher',
    { ...P2P, cipher: 'AES-128-GCM' },
    { ...P2P, cipher: 'AES-256-GCM' },
    OURS_THEIRS,
    /no common data cipher: the peer offers AES-256-GCM, data_ciphers has AES-128-GCM/,
  ),
]);
