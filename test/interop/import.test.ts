// SPDX-License-Identifier: Apache-2.0
// A profile as stock OpenVPN takes it, imported, connects to a stock server; one that cannot work leaves nothing.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pingAll, reach } from './harness/ping.ts';
import { type Pki, pki } from './harness/pki.ts';
import { Process } from './harness/process.ts';
import { type Row, table } from './harness/rows.ts';
import { SERVER_ADDRESSES, SERVER4, startServer } from './harness/tunnel.ts';

const OVPND = resolve('build/ovpnd');

function profileText(keys: Pki, remote: string, more: readonly string[]): string {
  const block = (name: string, path: string): string => `<${name}>\n${readFileSync(path, 'utf8')}</${name}>`;
  const { ca, cert, key } = keys.clients[0]!;
  return [
    'client',
    'dev tun',
    `remote ${remote} 1194 udp4`,
    'nobind',
    'remote-cert-tls server',
    'auth SHA256',
    'key-direction 1',
    ...more,
    block('ca', ca),
    block('cert', cert),
    block('key', key),
    block('tls-auth', keys.staticKey),
    '',
  ].join('\r\n');
}

async function ovpnd(...words: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = new Process('ovpnd', [OVPND, ...words]);
  const { code } = await child.ended();
  return { code, output: child.output };
}

function folders(root: string) {
  const made = { config: join(root, 'config'), keys: join(root, 'keys'), profile: join(root, 'my.ovpn') };
  mkdirSync(made.config);
  return made;
}

const connects: Row = {
  title: 'an imported profile connects to a stock server (tls-auth with SHA256)',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const lines = ['auth SHA256'];
    await startServer(world, wire.left, keys, 'openvpn', { wrap: 'tls-auth' }, { lines });
    const { config, keys: keyDir, profile } = folders(world.folder('import'));
    writeFileSync(profile, profileText(keys, wire.left4, ['route-nopull']));
    const before = "# kept as it is\nconfig server 'other'\n\toption enabled '0'\n";
    writeFileSync(join(config, 'ovpnd'), before);
    const words = ['import', profile, 'office', '-c', config, '-k', keyDir];
    const trial = await ovpnd(...words, '-n');
    strictEqual(trial.code, 0, trial.output);
    ok(
      !existsSync(keyDir) && readFileSync(join(config, 'ovpnd'), 'utf8') === before,
      'a trial writes nothing',
    );
    const { code, output } = await ovpnd(...words);
    strictEqual(code, 0, output);
    match(output, /line 6 +auth +taken/);
    ok(readFileSync(join(config, 'ovpnd'), 'utf8').startsWith(before));
    strictEqual(statSync(join(keyDir, 'office', 'client.key')).mode & 0o777, 0o600);
    strictEqual(statSync(join(keyDir, 'office')).mode & 0o777, 0o700);
    const run = [OVPND, 'run', 'office', '-c', config, '-r', join(config, 'run')];
    world.spawn('ovpnd office', wire.right, run, { clean: true });
    await reach(world, wire.right, SERVER4);
    await pingAll(wire.right, SERVER_ADDRESSES);
    const again = await ovpnd(...words);
    strictEqual(again.code, 1);
    match(again.output, /there is a section 'office' already/);
  },
};

/** The profile, and what is said of it. */
const REFUSED: readonly (readonly [title: string, more: readonly string[], why: RegExp])[] = [
  ['compression', ['comp-lzo yes'], /line 8 +comp-lzo +refused: compression is not supported/],
  ['a key of another certificate', ['route-nopull'], /option key '.*': does not match the certificate/],
  ['a bad port', ['remote h 99999'], /option remote 'h 99999 udp': must have a port number/],
];

const leavesNothing: Row = {
  title: 'what cannot work is refused with its reason, and nothing is written',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    for (const [title, more, why] of REFUSED) {
      const { config, keys: keyDir, profile } = folders(world.folder(`refuse-${title.replaceAll(' ', '-')}`));
      let text = profileText(keys, '192.0.2.1', more);
      if (title.includes('key of another')) {
        text = text.replace(
          readFileSync(keys.clients[0]!.key, 'utf8'),
          readFileSync(keys.clients[1]!.key, 'utf8'),
        );
      }
      writeFileSync(profile, text);
      const { code, output } = await ovpnd('import', profile, 'office', '-c', config, '-k', keyDir);
      strictEqual(code, 1, title);
      match(output, why);
      deepStrictEqual([existsSync(keyDir), existsSync(join(config, 'ovpnd'))], [false, false], title);
    }
  },
};

const keepsKeys: Row = {
  title: 'keys of somebody else are not overwritten, and an unwritable configuration leaves no keys',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { config, keys: keyDir, profile } = folders(world.folder('keeps'));
    writeFileSync(profile, profileText(keys, '192.0.2.1', ['route-nopull']));
    mkdirSync(join(keyDir, 'office'), { recursive: true });
    writeFileSync(join(keyDir, 'office', 'client.key'), 'precious');
    const words = ['import', profile, 'office', '-c', config, '-k', keyDir];
    const taken = await ovpnd(...words);
    strictEqual(taken.code, 1);
    match(taken.output, /client\.key is there already/);
    strictEqual(readFileSync(join(keyDir, 'office', 'client.key'), 'utf8'), 'precious');
    const nowhere = await ovpnd('import', profile, 'home', '-c', join(config, 'missing'), '-k', keyDir);
    strictEqual(nowhere.code, 1);
    match(nowhere.output, /missing\/ovpnd: .*No such file or directory; nothing was changed/);
    ok(!existsSync(join(keyDir, 'home', 'client.key')));
  },
};

table('import', { atOnce: 3 }, [connects, leavesNothing, keepsKeys]);
