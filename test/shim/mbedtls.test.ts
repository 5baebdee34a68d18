// SPDX-License-Identifier: Apache-2.0
// The tests of TLS and cryptography once more: on Mbed TLS, and with one end on each library.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { build } from './support.ts';

const SHIMS = { OpenSSL: 'build/shim.node', 'Mbed TLS': 'build/mbedtls/shim.node' } as const;
type Library = keyof typeof SHIMS;
const TLS = ['tls', 'tlscertificates'];

function run(client: Library, server: Library, files: readonly string[]): void {
  const env = {
    ...process.env,
    OVPND_SHIM: SHIMS[client],
    OVPND_SERVER_SHIM: SHIMS[server],
    CI: 'true',
  };
  const words = ['scripts/test.mjs', ...files.map(name => `test/shim/${name}.test.ts`)];
  const done = spawnSync(process.execPath, words, { env, encoding: 'utf8', timeout: 500_000 });
  assert.match(done.stdout, /\n[1-9]\d+ passed, 0 failed, 0 skipped\n$/, done.stdout + done.stderr);
  assert.equal(done.status, 0);
}

describe('Mbed TLS', function () {
  this.timeout(600_000);

  before(() => {
    for (const path of Object.values(SHIMS)) build(path);
  });

  it('does what OpenSSL does: TLS, cryptography, an authority, the data planes', () =>
    run('Mbed TLS', 'Mbed TLS', [...TLS, 'crypto', 'authority', 'crl', 'pkcs12', 'planes']));
  it('meets OpenSSL: client', () => run('Mbed TLS', 'OpenSSL', TLS));
  it('meets OpenSSL: server', () => run('OpenSSL', 'Mbed TLS', TLS));
});
