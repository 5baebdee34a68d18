// SPDX-License-Identifier: Apache-2.0
// Another revocation list for a TLS context in use.

import { match, ok, strictEqual } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsEngine } from '../../src/core/tls.ts';
import type { TlsContext, TlsOptions } from '../../src/host/host.ts';
import { Authority, isRefusal } from '../../src/pki/authority.ts';
import { newHost, serverHost } from './support.ts';

const clientSide = newHost();
const serverSide = serverHost();

/** How a handshake ends: the server's error, or nothing. */
function meet(client: TlsContext, server: TlsContext): string {
  const ends = [client.open(), server.open()] as [TlsEngine, TlsEngine];
  for (let i = 0; i < 20; i++) {
    for (const [from, to] of [ends, [ends[1], ends[0]]] as const) {
      from.status();
      for (let bytes = from.pull(4096); bytes !== undefined; bytes = from.pull(4096)) to.feed(bytes);
    }
  }
  const status = ends[1].status();
  const error = ends[1].error();
  for (const end of ends) end.close();
  ok(status !== 'handshake', 'it came to an end');
  return error;
}

describe('a revocation list that changes', () => {
  let root: string;
  const read = (name: string) => readFileSync(join(root, name));
  const contexts: TlsContext[] = [];

  before(() => {
    root = mkdtempSync(join(tmpdir(), 'ovpnd-crl-'));
  });
  after(() => {
    for (const context of contexts) context.close();
    rmSync(root, { recursive: true, force: true });
  });

  function context(
    host: typeof clientSide,
    options: Partial<TlsOptions> & Pick<TlsOptions, 'role'>,
  ): TlsContext {
    const made = host.tlsContext({
      ca: read('ca.crt'),
      versionMin: '1.2',
      verifyPeer: 'require',
      ...options,
    });
    if (!('open' in made)) throw new Error(made.text);
    contexts.push(made);
    return made;
  }

  it('counts from the next handshake on, in a context with a list and in one without; garbage changes nothing', () => {
    const authority = new Authority({
      files: clientSide.files,
      keys: clientSide.privateKeys,
      random: clientSide.random,
      sha1: data => clientSide.crypto.hash('SHA1', data),
      wallS: () => Math.floor(Date.now() / 1000),
      directory: root,
    });
    strictEqual(authority.init('home', 'P-256'), undefined);
    const [alice, bob] = ['alice', 'bob'].map(name => {
      const made = authority.issue(name, 'client', 10);
      if (isRefusal(made)) throw new Error(made.refused);
      return context(clientSide, { role: 'client', cert: made.certificate, key: made.key });
    });
    const empty = read('crl.pem');
    strictEqual(authority.revoke('alice'), 1);
    const revoked = read('crl.pem');
    const keys = { cert: read('server.crt'), key: read('server.key') };
    for (const crl of [empty, undefined]) {
      const server = context(serverSide, { role: 'server', ...keys, ...(crl && { crl }) });
      strictEqual(meet(alice!, server), '');
      strictEqual(server.setCrl(revoked), true);
      match(meet(alice!, server), /certificate revoked/);
      strictEqual(meet(bob!, server), '');
      for (const bad of ['', 'garbage', '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n'])
        strictEqual(server.setCrl(new Uint8Array(Buffer.from(bad))), false);
      match(meet(alice!, server), /certificate revoked/);
      for (let i = 0; i < 100; i++) strictEqual(server.setCrl(empty), true);
      strictEqual(meet(alice!, server), '');
    }
  });
});
