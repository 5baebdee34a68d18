// SPDX-License-Identifier: Apache-2.0
// Revocation lists of the run's authority.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pki } from './pki.ts';
import type { World } from './world.ts';

export const openssl = (...words: string[]): string =>
  execFileSync('openssl', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();

let next = 0;

/** Path of a list with these certificates. */
export function revocations(world: World, keys: Pki, certificates: readonly string[]): string {
  const dir = world.folder(`crl${next++}`);
  writeFileSync(
    join(dir, 'cnf'),
    `[ca]\ndefault_ca=a\n[a]\ndatabase=${dir}/db\ndefault_md=sha256\ndefault_crl_days=9\n`,
  );
  const entries = certificates.map(path => {
    const serial = openssl('x509', '-in', path, '-noout', '-serial').replace(/^.*=/, '');
    return `R\t400101000000Z\t260101000000Z\t${serial}\tunknown\t/CN=x\n`;
  });
  writeFileSync(join(dir, 'db'), entries.join(''));
  const ca = ['-keyfile', join(keys.dir, 'ca.key'), '-cert', join(keys.dir, 'ca.crt')];
  openssl('ca', '-gencrl', '-config', join(dir, 'cnf'), ...ca, '-out', join(dir, 'crl.pem'));
  return join(dir, 'crl.pem');
}
