// SPDX-License-Identifier: Apache-2.0
// By what the two ends know each other, for whichever daemon plays which role.

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pki } from './pki.ts';
import { run } from './process.ts';
import { once } from './state.ts';
import type { Extra } from './tunnel.ts';
import type { World } from './world.ts';

/** certificate: of the run's authority; fingerprint: without an authority; password: a client without a certificate. */
export type By = 'certificate' | 'fingerprint' | 'password';

const NAME = 'anna';
const PASSWORD = 'hunter2';

function fingerprint(path: string): Promise<string> {
  return once(`fingerprint ${path}`, async () => {
    const text = await run(['openssl', 'x509', '-in', path, '-noout', '-fingerprint', '-sha256']);
    return text.replace(/^.*=/, '').trim();
  });
}

/** A stock configuration takes these in place of `ca`. */
const block = (print: string): string => `<peer-fingerprint>\n${print}\n</peer-fingerprint>`;

async function byFingerprint(keys: Pki): Promise<{ server: Extra; client: Extra }> {
  const client = await fingerprint(keys.clients[0]!.cert);
  const server = await fingerprint(keys.server.cert);
  const options = { tunnel: 'home', common_name: 'client0', fingerprint: client };
  return {
    server: {
      lines: [block(client)],
      options: { ca: undefined },
      sections: [{ type: 'peer', name: 'one', options }],
    },
    client: { lines: [block(server)], options: { ca: undefined, peer_fingerprint: [server] } },
  };
}

async function byPassword(world: World): Promise<{ server: Extra; client: Extra }> {
  const password_hash = await once('hash', () =>
    run(['openssl', 'passwd', '-6', '-salt', 'saltsalt', PASSWORD]),
  );
  const folder = world.folder('login');
  const login = join(folder, 'login');
  writeFileSync(login, `${NAME}\n${PASSWORD}\n`, { mode: 0o600 });
  const script = join(folder, 'verify.sh');
  const test = `[ "$(head -n1 "$1")" = ${NAME} ] && [ "$(sed -n 2p "$1")" = ${PASSWORD} ]`;
  writeFileSync(script, `#!/bin/sh\n${test}\n`);
  chmodSync(script, 0o755);
  return {
    server: {
      lines: ['script-security 2', `auth-user-pass-verify ${script} via-file`, 'verify-client-cert none'],
      options: { auth: 'users', verify_client_cert: 'none' },
      sections: [{ type: 'user', name: NAME, options: { tunnel: 'home', password_hash } }],
    },
    client: {
      lines: [`auth-user-pass ${login}`, 'cert', 'key'],
      options: { username: NAME, password: PASSWORD, cert: undefined, key: undefined },
    },
  };
}

/** What each end is told beyond its keys and certificates. */
export async function identified(
  world: World,
  keys: Pki,
  by: By,
): Promise<{ server?: Extra; client?: Extra }> {
  if (by === 'fingerprint') return byFingerprint(keys);
  return by === 'password' ? byPassword(world) : {};
}
