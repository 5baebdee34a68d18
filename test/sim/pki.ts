// SPDX-License-Identifier: Apache-2.0
// Keys for simulated worlds. Ed25519: its signatures have one length, so packets do too.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Identity {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

export interface Pki {
  readonly ca: Uint8Array;
  readonly server: Identity;
  readonly clients: readonly Identity[];
}

const EXTENSIONS = `
[server]
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
[client]
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
`;

export function createPki(clients: number): Pki {
  const folder = mkdtempSync(join(tmpdir(), 'ovpnd-sim-'));
  const path = (name: string): string => join(folder, name);
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const issue = (name: string, role: 'server' | 'client'): Identity => {
    openssl(
      'req',
      '-new',
      '-newkey',
      'ed25519',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      path(`${name}.key`),
      '-out',
      path(`${name}.csr`),
    );
    openssl(
      'x509',
      '-req',
      '-in',
      path(`${name}.csr`),
      '-CA',
      path('ca.crt'),
      '-CAkey',
      path('ca.key'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      path('ext'),
      '-extensions',
      role,
      '-out',
      path(`${name}.crt`),
    );
    return { cert: readFileSync(path(`${name}.crt`)), key: readFileSync(path(`${name}.key`)) };
  };
  try {
    writeFileSync(path('ext'), EXTENSIONS);
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ed25519',
      '-nodes',
      '-subj',
      '/CN=ca',
      '-days',
      '2',
      '-keyout',
      path('ca.key'),
      '-out',
      path('ca.crt'),
    );
    const server = issue('server', 'server');
    const names = Array.from({ length: clients }, (_, n) => `client${n}`);
    return { ca: readFileSync(path('ca.crt')), server, clients: names.map(name => issue(name, 'client')) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
