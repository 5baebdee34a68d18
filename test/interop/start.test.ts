// SPDX-License-Identifier: Apache-2.0
// What is wrong on our own machine: one line that names it, and an exit code other than 0.

import { match, ok, strictEqual } from 'node:assert';
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './harness/namespace.ts';
import { UP } from './harness/openvpn.ts';
import { type Options, Ovpnd, type RunOptions, type Section, writeUci } from './harness/ovpnd.ts';
import { undisturbed } from './harness/ping.ts';
import { type Pki, pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { listening, SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { up } from './harness/works.ts';
import type { World } from './harness/world.ts';

function server(keys: Pki, options: Options = {}): Section {
  const base = { enabled: '1', port: '1194', proto: ['udp'], address: ['10.8.0.1/24', 'fd42:8::1/64'] };
  return { type: 'server', name: 'home', options: { ...base, ...keys.server, ...options } };
}

/** Runs a daemon that cannot start and holds its log to one line about the cause. */
async function fails(
  world: World,
  namespace: Namespace,
  sections: readonly Section[],
  cause: RegExp,
  options: RunOptions = {},
): Promise<void> {
  const { process } = new Ovpnd(world, namespace, sections, { ...options, clean: false });
  const { code } = await process.ended();
  strictEqual(process.count(cause), 1, `one line ${cause}`);
  ok(code !== null && code > 0 && code < 126, `exit code ${code}`);
  ok(!/\bat .*:[0-9]+\)?$|Error:/m.test(process.output), 'a message, not a stack trace');
}

interface Failure {
  readonly title: string;
  readonly sections: (keys: Pki, world: World) => readonly Section[];
  readonly cause: RegExp;
  readonly run?: RunOptions;
}

function failure({ title, sections, cause, run }: Failure): Row {
  return {
    title,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const namespace = await world.namespace();
      const before = await namespace.snapshot();
      await fails(world, namespace, sections(keys, world), cause, run);
      strictEqual(await namespace.snapshot(), before);
    },
  };
}

function written(world: World, name: string, text: string): string {
  const path = join(world.dir, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const badFiles: readonly Row[] = [
  failure({
    title: 'private key file missing',
    sections: keys => [server(keys, { key: '/nonexistent/server.key' })],
    cause: /nonexistent\/server\.key/,
  }),
  failure({
    title: 'private key of another certificate',
    sections: keys => [server(keys, { key: keys.clients[0]!.key })],
    cause: /\bkey\b.*match/i,
  }),
  failure({
    title: 'private key file without a key',
    sections: (keys, world) => [server(keys, { key: written(world, 'empty.key', 'nothing\n') })],
    cause: /empty\.key|\bkey\b.*PEM/i,
  }),
  failure({
    title: 'certificate file that is not a certificate',
    sections: (keys, world) => [server(keys, { cert: written(world, 'bad.crt', 'nothing\n') })],
    cause: /\bcert\b/i,
  }),
  failure({
    title: 'a certificate that is for clients only',
    sections: keys => [server(keys, { cert: keys.clients[0]!.cert, key: keys.clients[0]!.key })],
    cause: /option cert '.*client0\.crt': is not for a server \(extended key usage\)/,
  }),
  failure({
    title: 'tls-crypt key file that is not one',
    sections: (keys, world) => [server(keys, { tls_crypt: written(world, 'bad.static', 'nothing\n') })],
    cause: /tls_crypt/,
  }),
  failure({
    title: 'an option with a value out of range',
    sections: keys => [server(keys, { port: '70000' })],
    cause: /port.*70000|70000.*port/,
  }),
  failure({
    title: 'block_lan where there is no firewall to do it',
    sections: keys => [server(keys, { block_lan: '1' })],
    cause: /option block_lan: needs the firewall of OpenWrt \(\/sbin\/fw4\), which is not here/,
  }),
  failure({
    title: 'a cipher that is no AEAD',
    sections: keys => [server(keys, { data_ciphers: ['AES-256-CBC'] })],
    cause: /AES-256-CBC/,
  }),
];

const readable: Row = {
  title: 'private key readable by others: one warning, and the tunnel works',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const key = join(world.dir, 'open.key');
    copyFileSync(keys.server.key, key);
    chmodSync(key, 0o644);
    const tunnel = await up(
      world,
      { server: 'quickjs', client: 'openvpn' },
      {},
      { server: { options: { key } } },
    );
    strictEqual(tunnel.server.process.count(/open\.key/), 1);
    match(tunnel.server.process.find(/open\.key/)!, /warn.*(can be read|readable) by/);
  },
};

const busyPort: Row = {
  title: 'a busy port, and the daemon that has it is not disturbed',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { wire } = await up(world, { server: 'quickjs', client: 'openvpn' }, {});
    const other: Section = { ...server(keys, { address: ['10.9.0.1/24'] }), name: 'second' };
    await undisturbed(wire.right, SERVER4, () =>
      fails(world, wire.left, [other], /1194.*in use|in use.*1194/i),
    );
  },
};

const busyDevice: Row = {
  title: 'a device that another daemon has',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { wire } = await up(world, { server: 'quickjs', client: 'openvpn' }, {});
    const options = { address: ['10.9.0.1/24'], port: '1195', device: 'ov-home' };
    const other: Section = { ...server(keys, options), name: 'second' };
    await undisturbed(wire.right, SERVER4, () =>
      fails(world, wire.left, [other], /ov-home.*busy|busy.*ov-home/i),
    );
  },
};

const noTun: Row = failure({
  title: 'no /dev/net/tun',
  sections: keys => [server(keys)],
  cause: /\/dev\/net\/tun/,
  // A mount namespace of its own, with an empty folder over the device's.
  run: { before: ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh'] },
});

const notRoot: Row = {
  title: 'without root',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const namespace = await world.namespace();
    // Copies where everybody can read them; keys belong to the one who runs.
    const nobody = 65534;
    const command = join(world.dir, 'ovpnd');
    copyFileSync('build/ovpnd', command);
    chmodSync(command, 0o755);
    const key = join(world.dir, 'server.key');
    copyFileSync(keys.server.key, key);
    const own = join(world.dir, 'own');
    writeUci(own, []);
    const before = ['sh', '-c', `chown -R ${nobody} ${world.dir} && exec "$@"`, 'sh'];
    const drop = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', '--inh-caps=-all'];
    await fails(
      world,
      namespace,
      [server(keys, { key })],
      /not permitted|permission denied|root|NET_ADMIN/i,
      {
        before: [...before, ...drop],
        command: [command],
      },
    );
  },
};

const unknownTunnel: Row = {
  title: 'a tunnel that the file does not have, and check with every error',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const namespace = await world.namespace();
    const other: Section = { ...server(keys), name: 'other' };
    const ovpnd = new Ovpnd(world, namespace, [{ ...other, name: 'home' }], { clean: true });
    await listening(world, namespace, ovpnd.process);
    const good = await ovpnd.ask('check', '-c', ovpnd.dir);
    strictEqual(good.code, 0, good.output);
    const missing = await ovpnd.ask('run', 'nowhere', '-c', ovpnd.dir);
    ok(missing.code !== 0);
    match(missing.output, /nowhere/);
    writeUci(ovpnd.dir, [server(keys, { port: 'many', tls_version_min: '0.9' }), other]);
    const bad = await ovpnd.ask('check', '-c', ovpnd.dir);
    strictEqual(bad.code, 1, bad.output);
    match(bad.output, /port.*many[\s\S]*tls_version_min.*0\.9/);
  },
};

const oddCertificates: Row = {
  title: 'check warns of a certificate of another authority, and of a client with one for servers',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const namespace = await world.namespace();
    const home = server(keys);
    const ovpnd = new Ovpnd(world, namespace, [home], { clean: true });
    await listening(world, namespace, ovpnd.process);
    const office = (options: Options): Section => {
      const base = { enabled: '1', remote: ['192.0.2.1'], ...keys.clients[0]! };
      return { type: 'client', name: 'office', options: { ...base, ...options } };
    };
    const check = async (...sections: readonly Section[]): Promise<string> => {
      writeUci(ovpnd.dir, sections);
      const { code, output } = await ovpnd.ask('check', '-c', ovpnd.dir);
      strictEqual(code, 0, output);
      return output;
    };
    match(await check(home, office({})), /0 warnings/);
    const strange = await check(
      server(keys, { ...keys.strangeServer, ca: keys.server.ca }),
      office({ ...keys.strangeClient, ca: keys.server.ca }),
    );
    match(strange, /option cert '.*strange-server\.crt': is signed by none of ca or extra_certs/);
    match(strange, /option cert '.*strange-client\.crt': is signed by none of ca or extra_certs/);
    match(strange, /2 warnings/);
    const turned = await check(home, office({ ...keys.server }));
    match(
      turned,
      /option cert '.*server\.crt': is not for a client \(extended key usage\)[\s\S]*1 warning\b/,
    );
  },
};

const otherTunnelRuns: Row = {
  title: 'a bad section does not keep another tunnel of the same file from running',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const bad: Section = { ...server(keys, { port: '70000' }), name: 'broken' };
    await startServer(world, wire.left, keys, 'quickjs', {}, { sections: [bad] });
    const client = startClient(world, wire, keys, 'openvpn', {});
    await client.process.line(UP);
  },
};

table('what keeps a daemon from starting', { atOnce: 4 }, [
  ...badFiles,
  readable,
  busyPort,
  busyDevice,
  noTun,
  notRoot,
  unknownTunnel,
  oddCertificates,
  otherTunnelRuns,
]);
