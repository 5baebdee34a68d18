// SPDX-License-Identifier: Apache-2.0
// Option pkcs12 with files as the openssl command makes them: what is taken out of them, and what is refused, why.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { loadMaterial } from '../../src/daemon/material.ts';
import { unpackPkcs12 } from '../../src/daemon/pkcs12.ts';
import { type Problem, readConfig } from '../../src/uci/config.ts';
import { type Identity, makeAuthority, makeLeaf } from './certificates.ts';
import { libraries, newHost, temporary } from './support.ts';

const host = newHost();
const hasReader = libraries().client === 'openssl';

const BUNDLES = {
  whole: ['-certfile', 'authority', '-passout', 'pass:'],
  alone: ['-passout', 'pass:'],
  locked: ['-certfile', 'authority', '-passout', 'pass:secret'],
  short: ['-certfile', 'authority', '-passout', 'pass:'],
  old: ['-certfile', 'authority', '-passout', 'pass:', '-legacy'],
} as const;

describe('PKCS #12', () => {
  let authority: Identity;
  let leaf: Identity;
  const bundle = (name: string): string => temporary(`${name}.p12`);

  before(() => {
    authority = makeAuthority('p12-authority', 60);
    leaf = makeLeaf('p12-client', { authority: 'p12-authority', usage: 'clientAuth', days: 60 });
    makeLeaf('p12-short', { authority: 'p12-authority', usage: 'clientAuth' });
    for (const [name, words] of Object.entries(BUNDLES)) {
      const base = temporary(name === 'short' ? 'p12-short' : 'p12-client');
      const more = words.map(word => (word === 'authority' ? `${temporary('p12-authority')}.crt` : word));
      execFileSync('openssl', [
        ...['pkcs12', '-export', '-in', `${base}.crt`, '-inkey', `${base}.key`, '-out', bundle(name)],
        ...more,
      ]);
      chmodSync(bundle(name), 0o600);
    }
    writeFileSync(bundle('garbage'), 'no ASN.1 at all', { mode: 0o600 });
    writeFileSync(bundle('cut'), readFileSync(bundle('whole')).subarray(0, 500), { mode: 0o600 });
  });

  /** What the daemon says of a client with this file. */
  function load(name: string, more = ''): string[] {
    const text = `config client 'c'\noption enabled 1\nlist remote 192.0.2.1\noption pkcs12 ${bundle(name)}\n${more}`;
    const config = readConfig('f', new Uint8Array(Buffer.from(text)), { hasAesInstructions: true });
    deepStrictEqual(config.problems, []);
    const problems: Problem[] = [];
    const material = loadMaterial(host, 'f', config.clients[0]!, problems);
    strictEqual(
      material === undefined,
      problems.some(({ severity }) => severity === 'error'),
    );
    material?.tls.close();
    ok(problems.every(({ option, value }) => option === 'pkcs12' && value === bundle(name)));
    return problems.map(({ rule }) => rule);
  }

  if (!hasReader) {
    it('is refused by this library, and how to convert the file is said', () => {
      for (const name of Object.keys(BUNDLES))
        match(load(name)[0]!, /Mbed TLS has no PKCS #12; openssl pkcs12 -in/);
    });
    return;
  }

  it('gives key, certificate and authority as they went in', () => {
    const contents = new Map([['pkcs12', new Uint8Array(readFileSync(bundle('whole')))]]);
    strictEqual(unpackPkcs12(host, contents), undefined);
    const text = (option: string) => Buffer.from(contents.get(option)!).toString();
    const pem = (bytes: Uint8Array) =>
      /-----BEGIN CERT[\s\S]*-----\n/.exec(Buffer.from(bytes).toString())![0];
    strictEqual(text('cert'), pem(leaf.cert));
    strictEqual(text('ca'), pem(authority.cert));
    const { privateKeys } = host;
    deepStrictEqual(privateKeys.publicKey(contents.get('key')!), privateKeys.publicKey(leaf.key));
  });

  it('is all a client needs; with an authority or fingerprint beside it, it may lack one', () => {
    deepStrictEqual(load('whole'), []);
    match(load('short').join(), /^cert in it: expires in (9|10) days$/);
    match(load('alone')[0]!, /no certificate of an authority; set ca or peer_fingerprint/);
    deepStrictEqual(load('alone', `list peer_fingerprint ${'ab'.repeat(32)}\n`), []);
    deepStrictEqual(load('alone', `option ca ${temporary('p12-authority')}.crt\n`), []);
  });

  it('is refused with a password, of another time, broken, and without a key', () => {
    match(load('locked')[0]!, /^has a password, .*openssl pkcs12 -in FILE -nodes/);
    match(load('old')[0]!, /^is encrypted as today's libraries do not decrypt; openssl .*-legacy/);
    for (const name of ['garbage', 'cut']) match(load(name)[0]!, /^is no PKCS #12 file/);
    const path = bundle('keyless');
    const ca = `${temporary('p12-authority')}.crt`;
    execFileSync('openssl', ['pkcs12', '-export', '-nokeys', '-in', ca, '-out', path, '-passout', 'pass:']);
    chmodSync(path, 0o600);
    match(load('keyless')[0]!, /^is no PKCS #12 file with a private key/);
  });

  it('any bytes are refused or read, never more', () => {
    const whole = readFileSync(bundle('whole'));
    for (let i = 0; i < 400; i++) {
      const bent = new Uint8Array(whole);
      bent[(i * 7919) % bent.length]! ^= 1 << (i % 8);
      host.privateKeys.pkcs12(bent.subarray(0, i % 3 === 0 ? (i * 31) % bent.length : bent.length));
    }
  });
});
