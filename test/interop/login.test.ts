// SPDX-License-Identifier: Apache-2.0
// Who may come in, and to whom: user names and passwords, one-time codes and tokens, fingerprints, names and revocation
// lists, with stock OpenVPN in both roles.

import { match, ok, strictEqual } from 'node:assert';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openssl, revocations } from './harness/crl.ts';
import { code, SECRET } from './harness/onetime.ts';
import type { Section } from './harness/ovpnd.ts';
import { ping, reach } from './harness/ping.ts';
import { type Pki, pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import type { World } from './harness/world.ts';

function user(name: string, password: string, more: Record<string, string> = {}): Section {
  const password_hash = openssl('passwd', '-6', '-salt', 'saltsalt', password);
  return { type: 'user', name, options: { tunnel: 'home', password_hash, ...more } };
}

function secretFile(world: World, name: string, text: string): string {
  const path = join(world.folder(name), 'login');
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const fingerprint = (path: string): string =>
  openssl('x509', '-in', path, '-noout', '-fingerprint', '-sha256').replace(/^.*=/, '');

/** Whoever asks for no certificate needs no authority. */
const NO_CERTIFICATE = { verify_client_cert: 'none', ca: undefined };

const byPassword: Row = {
  title:
    'ovpnd server: password without certificate; the token keeps a renegotiating client in; the name is the user',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const server = await startServer(
      world,
      wire.left,
      keys,
      'quickjs',
      { wrap: 'tls-crypt' },
      { options: { auth: 'users', ...NO_CERTIFICATE, reneg_sec: '5' }, sections: [user('anna', 'hunter2')] },
    );
    const login = secretFile(world, 'login', 'anna\nhunter2\n');
    const client = startClient(
      world,
      wire,
      keys,
      'openvpn',
      { wrap: 'tls-crypt' },
      {
        lines: [`auth-user-pass ${login}`, 'auth-nocache', 'reneg-sec 0'],
      },
    );
    await reach(world, wire.right, SERVER4);
    // Three renegotiations: without the password, which the client has forgotten.
    const result = await ping(wire.right, SERVER4, { count: 170, intervalS: 0.1 });
    strictEqual(result.received, result.sent);
    const { peers } = (await server.ovpnd!.status()) as { peers: { name: string }[] };
    strictEqual(peers[0]!.name, 'anna');
    ok(
      !server.process.lines.join('\n').includes('hunter2') &&
        !server.process.lines.join('\n').includes('SESS_ID'),
    );
    strictEqual(client.process.exit, undefined);
  },
};

interface Wrong {
  readonly title: string;
  readonly login: string;
  readonly cause: RegExp;
  readonly users?: readonly Section[];
}

function wrongLogin({ title, login, cause, users }: Wrong): Row {
  return {
    title: `ovpnd server: ${title}`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const options = { auth: 'users' };
      const sections = users ?? [user('anna', 'hunter2')];
      const server = await startServer(world, wire.left, keys, 'quickjs', {}, { options, sections });
      const file = secretFile(world, 'login', login);
      const client = startClient(world, wire, keys, 'openvpn', {}, { lines: [`auth-user-pass ${file}`] });
      await client.process.line(/AUTH: Received control message: AUTH_FAILED/);
      await server.process.line(cause);
      strictEqual((await ping(wire.right, SERVER4, { count: 1 })).received, 0);
    },
  };
}

const byCode: Row = {
  title: 'ovpnd server: certificate, password and one-time code (static challenge)',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const sections = [user('anna', 'hunter2', { totp_secret: SECRET })];
    await startServer(world, wire.left, keys, 'quickjs', {}, { options: { auth: 'users' }, sections });
    const encode = (text: string): string => Buffer.from(text).toString('base64');
    // What a client makes of `static-challenge` once somebody has typed the code.
    const login = secretFile(world, 'login', `anna\nSCRV1:${encode('hunter2')}:${encode(code())}\n`);
    startClient(world, wire, keys, 'openvpn', {}, { lines: [`auth-user-pass ${login}`] });
    await reach(world, wire.right, SERVER4);
  },
};

const disabledLive: Row = {
  title: 'ovpnd server: a user that is disabled is out at once, the other one stays',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(2);
    const sections = [user('anna', 'hunter2'), user('bob', 'hunter3')];
    const server = await startServer(
      world,
      hub,
      keys,
      'quickjs',
      {},
      { options: { auth: 'users' }, sections },
    );
    for (const [i, [name, password]] of [
      ['anna', 'hunter2'],
      ['bob', 'hunter3'],
    ].entries()) {
      const login = secretFile(world, `login${i}`, `${name}\n${password}\n`);
      startClient(world, wires[i]!, keys, 'openvpn', {}, { number: i, lines: [`auth-user-pass ${login}`] });
      await reach(world, wires[i]!.right, SERVER4);
    }
    const path = join(server.ovpnd!.dir, 'ovpnd');
    const text = readFileSync(path, 'utf8').replace(
      "config user 'anna'\n",
      "config user 'anna'\n\toption enabled '0'\n",
    );
    writeFileSync(path, text);
    strictEqual((await server.ovpnd!.ask('reload', 'home')).code, 0);
    await server.process.line(/user 'anna' may not log in any more/);
    strictEqual((await ping(wires[1]!.right, SERVER4, { count: 5 })).received, 5);
    await world.until(
      'anna is out',
      PATIENCE_MS,
      async () => (await ping(wires[0]!.right, SERVER4, { count: 1 })).received === 0,
    );
  },
};

/** A stock server that takes one user and hands out tokens. */
function stockLogin(world: World): string[] {
  const script = join(world.folder('verify'), 'verify.sh');
  writeFileSync(script, '#!/bin/sh\n[ "$(head -n1 "$1")" = anna ] && [ "$(sed -n 2p "$1")" = hunter2 ]\n');
  chmodSync(script, 0o755);
  return [
    'script-security 2',
    `auth-user-pass-verify ${script} via-file`,
    'auth-gen-token',
    'hand-window 2',
    'reneg-sec 5 5',
  ];
}

const clientLogin: Row = {
  title: 'openvpn server: user name and password of the section, its token at renegotiations',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    await startServer(world, wire.left, keys, 'openvpn', {}, { lines: stockLogin(world) });
    const options = { username: 'anna', password: 'hunter2', reneg_sec: '0' };
    const client = startClient(world, wire, keys, 'quickjs', {}, { options });
    await reach(world, wire.right, SERVER4);
    const result = await ping(wire.right, SERVER4, { count: 170, intervalS: 0.1 });
    strictEqual(result.received, result.sent);
    ok(!client.process.lines.join('\n').includes('hunter2'));
  },
};

const clientRefused: Row = {
  title: 'openvpn server: a wrong password (of a file) is said to be one',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    await startServer(world, wire.left, keys, 'openvpn', {}, { lines: stockLogin(world) });
    const options = { auth_user_pass: secretFile(world, 'login', 'anna\nwrong\n') };
    const client = startClient(world, wire, keys, 'quickjs', {}, { options });
    await client.process.line(/authentication failed.*next attempt in/);
  },
};

function identity(keys: Pki) {
  const { cert, key } = keys.clients[0]!;
  return { cert, key };
}

function fingerprints(isRight: boolean): Row {
  return {
    title: `fingerprints without an authority, both roles: ${isRight ? 'the right ones' : 'a wrong one'}`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const [first, second] = [await world.pair(), await world.pair()];
      const ofClient = fingerprint(keys.clients[isRight ? 0 : 1]!.cert);
      const ofServer = fingerprint(isRight ? keys.server.cert : keys.strangeServer.cert);
      // ovpnd as server: the peer's section names the certificate.
      const { cert, key } = keys.server;
      const sections: Section[] = [
        {
          type: 'peer',
          name: 'one',
          options: { tunnel: 'home', common_name: 'client0', fingerprint: ofClient },
        },
      ];
      const server = await startServer(
        world,
        first.left,
        keys,
        'quickjs',
        {},
        {
          identity: { cert, key } as typeof keys.server,
          options: { ca: undefined },
          sections,
        },
      );
      startClient(world, first, keys, 'openvpn', {});
      // ovpnd as client.
      await startServer(world, second.left, keys, 'openvpn', {}, {});
      const client = startClient(
        world,
        second,
        keys,
        'quickjs',
        {},
        {
          options: { ...identity(keys), ca: undefined, peer_fingerprint: [ofServer] },
        },
      );
      if (isRight) {
        await reach(world, first.right, SERVER4);
        await reach(world, second.right, SERVER4);
      } else {
        await server.process.line(/its fingerprint [0-9a-f]{64} is not one of those configured/);
        await client.process.line(/its fingerprint [0-9a-f]{64} is not one of those configured/);
      }
    },
  };
}

function names(text: string, cause: RegExp | undefined): Row {
  return {
    title: `openvpn server: verify_x509_name '${text}' ${cause === undefined ? 'fits' : 'does not'}`,
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      await startServer(world, wire.left, keys, 'openvpn', {});
      const client = startClient(world, wire, keys, 'quickjs', {}, { options: { verify_x509_name: text } });
      if (cause === undefined) await reach(world, wire.right, SERVER4);
      else await client.process.line(cause);
    },
  };
}

const revokedLive: Row = {
  title:
    'ovpnd server: a list that changes counts from the next handshake on: who is revoked is out, the others stay',
  runtimes: ['quickjs'],
  body: async world => {
    const keys = await pki();
    const { hub, wires } = await world.star(3);
    const crl = join(world.folder('live'), 'crl.pem');
    writeFileSync(crl, readFileSync(revocations(world, keys, [])));
    const server = await startServer(world, hub, keys, 'quickjs', {}, { options: { crl } });
    for (const number of [0, 1]) {
      startClient(world, wires[number]!, keys, 'openvpn', {}, { number, lines: ['hand-window 8'] });
      await reach(world, wires[number]!.right, SERVER4);
    }
    writeFileSync(crl, readFileSync(revocations(world, keys, [keys.clients[0]!.cert])));
    // Anybody's handshake will do; no reload.
    startClient(world, wires[2]!, keys, 'openvpn', {}, { number: 2 });
    await server.process.line(/crl '.*' changed: read anew/);
    await server.process.line(/client0 .*certificate revoked/i, 60_000);
    strictEqual((await ping(wires[1]!.right, SERVER4, { count: 5 })).received, 5);
    match(server.process.lines.join('\n'), /certificate verify failed: certificate revoked/);
  },
};

table('logins and certificates', { atOnce: 6 }, [
  byPassword,
  clientLogin,
  revokedLive,
  byCode,
  disabledLive,
  clientRefused,
  wrongLogin({
    title: 'wrong password',
    login: 'anna\nhunter3\n',
    cause: /user 'anna': wrong user name or password/,
  }),
  wrongLogin({
    title: 'unknown user',
    login: 'eve\nhunter2\n',
    cause: /user 'eve': wrong user name or password/,
  }),
  wrongLogin({
    title: 'no one-time code',
    login: 'anna\nhunter2\n',
    users: [user('anna', 'hunter2', { totp_secret: SECRET })],
    cause: /user 'anna': sent no one-time code/,
  }),
  wrongLogin({
    title: 'disabled user',
    login: 'anna\nhunter2\n',
    users: [user('anna', 'hunter2', { enabled: '0' })],
    cause: /user 'anna': is disabled/,
  }),
  fingerprints(true),
  fingerprints(false),
  names('CN=server', undefined),
  names('name:server', undefined),
  names('name-prefix:serv', undefined),
  names('name:other', /its name is 'server' \(verify_x509_name\)/),
  names('CN=other', /its subject is 'CN=server' \(verify_x509_name\)/),
]);
