// SPDX-License-Identifier: Apache-2.0
// From an authority to a connected client: a profile that `ovpnd export` prints connects stock OpenVPN as it is; who is
// revoked is out and stays out.

import { doesNotMatch, match, ok, strictEqual } from 'node:assert';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Wire } from './harness/namespace.ts';
import { type Stock, stockCommand } from './harness/openvpn.ts';
import { ping, pingAll, reach } from './harness/ping.ts';
import { expireSoon } from './harness/pki.ts';
import { Process, run } from './harness/process.ts';
import { type Row, table } from './harness/rows.ts';
import { listening, SERVER_ADDRESSES, SERVER4 } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import type { World } from './harness/world.ts';

const OVPND = resolve('build/ovpnd');

/** Status tells of a certificate that ends soon, until it is renewed. */
async function renewal(folder: string, ovpnd: (...words: string[]) => Promise<string>): Promise<void> {
  doesNotMatch(await ovpnd('status', 'home'), /warning/);
  await expireSoon(folder, 'home');
  match(await ovpnd('reload', 'home'), /cert \(content\)/);
  match(await ovpnd('status', 'home'), /warning +cert expires in [45] days/);
  match(await ovpnd('check'), /cert '.*server\.crt': expires in [45] days/);
  match(await ovpnd('pki', 'renew', 'home'), /has a new certificate and key/);
  doesNotMatch(await ovpnd('status', 'home'), /warning/);
  const [authority, server] = ['ca.crt', 'server.crt'].map(name => join(folder, name)) as [string, string];
  await run(['openssl', 'verify', '-purpose', 'sslserver', '-CAfile', authority, server]);
}

interface Scene {
  readonly wire: Wire;
  readonly keys: string;
  readonly server: Process;
  /** Of alice. */
  readonly profile: string;
  /** A command's output; it has to end well. */
  ovpnd(...words: string[]): Promise<string>;
}

/** A server with an authority by `pki init` with these words, and a profile by `export`. */
async function authority(world: World, ...how: string[]): Promise<Scene> {
  const wire = await world.pair();
  const root = world.folder('authority');
  const [config, keys, sockets] = ['config', 'keys', 'run'].map(name => join(root, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(config);
  const text =
    "# ours\nconfig server 'home'\n\toption enabled '1'\n\tlist address '10.8.0.1/24'\n\tlist address 'fd42:8::1/64'\n";
  writeFileSync(join(config, 'ovpnd'), text, { mode: 0o600 });
  const ovpnd = async (...words: string[]): Promise<string> => {
    const child = new Process('ovpnd', [OVPND, ...words, '-c', config, '-k', keys, '-r', sockets]);
    const { code } = await child.ended();
    strictEqual(code, 0, child.output);
    return child.output;
  };
  await ovpnd('pki', 'init', 'home', ...how);
  match(readFileSync(join(config, 'ovpnd'), 'utf8'), /^# ours\nconfig server 'home'\n\toption ca /);
  match(await ovpnd('check'), /1 usable tunnel, 0 errors, 0 warnings/);
  const words = [OVPND, 'run', 'home', '-c', config, '-r', sockets];
  const server = world.spawn('ovpnd home', wire.left, words, { clean: true });
  await listening(world, wire.left, server);
  const profile = join(root, 'alice.ovpn');
  await ovpnd('export', 'home', 'alice', '--remote', wire.left4, '-o', profile);
  return { wire, keys, server, profile, ovpnd };
}

function alice(world: World, { wire, profile }: Scene, kind: Stock = 'openvpn'): Process {
  const more = ['--disable-dco', '--verb', '3', '--connect-retry', '1', '2', '--hand-window', '8'];
  return world.spawn('openvpn alice', wire.right, [...stockCommand(kind), '--config', profile, ...more]);
}

const edwards: Row = {
  title: 'Ed25519 keys by choice',
  runtimes: ['quickjs'],
  body: async world => {
    const scene = await authority(world, '--key', 'ed25519');
    const client = alice(world, scene);
    await reach(world, scene.wire.right, SERVER4);
    match(await client.line(/Control Channel:/), /ED25519/);
  },
};

const newer: Row = {
  title: 'the profile as it is in OpenVPN 2.7',
  runtimes: ['quickjs', 'openvpn-2.7'],
  body: async world => {
    const scene = await authority(world);
    const client = alice(world, scene, 'openvpn-2.7');
    await reach(world, scene.wire.right, SERVER4);
    await pingAll(scene.wire.right, SERVER_ADDRESSES);
    // Every line of it is known there, and none is on its way out.
    await client.line(/OpenVPN 2\.7/);
    strictEqual(client.count(/unrecognized|DEPRECATED/i), 0, client.output);
  },
};

const lifeOfAPeer: Row = {
  title: 'init, export, connect, renew, revoke, refused',
  runtimes: ['quickjs'],
  body: async world => {
    const scene = await authority(world);
    const { wire, keys, server, profile, ovpnd } = scene;
    // Fits a QR code of the densest kind: 2953 bytes.
    ok(readFileSync(profile).length < 2953, `${readFileSync(profile).length} bytes`);
    const client = alice(world, scene);
    await reach(world, wire.right, SERVER4);
    await pingAll(wire.right, SERVER_ADDRESSES);
    match(await ovpnd('status', 'home'), /alice +\d/);
    await renewal(join(keys, 'home'), ovpnd);
    await pingAll(wire.right, SERVER_ADDRESSES);
    strictEqual(client.count(/Initialization Sequence Completed/), 1);
    match(await ovpnd('pki', 'revoke', 'home', 'alice'), /1 certificate of 'alice' revoked/);
    await server.line(/alice .*certificate revoked/i, 60_000);
    await world.until('alice stays out', PATIENCE_MS, () => server.count(/certificate revoked/i) > 1);
    strictEqual((await ping(wire.right, SERVER4, { count: 1 })).received, 0);
    match(await ovpnd('pki', 'list', 'home'), /alice +revoked/);
    await client.kill();
  },
};

table('authority', { atOnce: 1 }, [lifeOfAPeer, edwards, newer]);
