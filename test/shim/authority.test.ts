// SPDX-License-Identifier: Apache-2.0
// An authority on real files with real keys, and the openssl command line as its judge.

import { deepStrictEqual, match, notDeepStrictEqual, ok, strictEqual } from 'node:assert';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Files, KeyKind } from '../../src/host/host.ts';
import { Authority, CLIENT_DAYS, type Ground, isRefusal } from '../../src/pki/authority.ts';
import { readRevocationList } from '../../src/pki/certificate.ts';
import { libraries, newHost } from './support.ts';

const host = newHost();
const NOW_S = Math.floor(Date.now() / 1000);

function openssl(...words: string[]): { code: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync('openssl', words, { encoding: 'utf8' });
  return { code: status, text: stdout + stderr };
}

/** The host's files as plain functions. */
function authorityFiles(files: Files): Files {
  return {
    read: path => files.read(path),
    write: (path, bytes, mode) => files.write(path, bytes, mode),
    status: path => files.status(path),
    list: path => files.list(path),
    makeDirectory: (path, mode) => files.makeDirectory(path, mode),
    remove: path => files.remove(path),
  };
}

describe('authority', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'ovpnd-authority-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const file = (name: string): string => join(root, 'keys', 'home', name);
  const authority = (more: Partial<Ground> = {}): Authority =>
    new Authority({
      files: host.files,
      keys: host.privateKeys,
      random: host.random,
      sha1: data => host.crypto.hash('SHA1', data),
      wallS: () => NOW_S,
      directory: join(root, 'keys', 'home'),
      ...more,
    });

  const verify = (path: string, purpose: string) =>
    openssl(
      ...['verify', '-x509_strict', '-purpose', purpose, '-CAfile', file('ca.crt')],
      ...['-crl_check', '-CRLfile', file('crl.pem'), path],
    );

  function refusedBy(value: unknown): string {
    ok(typeof value === 'object' && value !== null && isRefusal(value), 'refused');
    return value.refused;
  }

  for (const kind of ['P-256', 'P-384', 'Ed25519'] as const satisfies readonly KeyKind[]) {
    it(`${kind}: openssl takes what it issues, each for its purpose only`, () => {
      const subject = authority();
      if (kind === 'Ed25519' && libraries().client === 'mbedtls') {
        strictEqual(
          refusedBy(subject.init('home', kind)),
          'the TLS library of this ovpnd has no Ed25519 keys',
        );
        return;
      }
      strictEqual(subject.init('home', kind), undefined);
      strictEqual(verify(file('server.crt'), 'sslserver').code, 0);
      ok(verify(file('server.crt'), 'sslclient').code !== 0);
      const identity = subject.issue('alice@phone', 'client', 10);
      ok(!isRefusal(identity));
      const path = join(root, 'alice');
      writeFileSync(`${path}.crt`, identity.certificate);
      writeFileSync(`${path}.key`, identity.key);
      strictEqual(verify(`${path}.crt`, 'sslclient').code, 0);
      ok(verify(`${path}.crt`, 'sslserver').code !== 0);
      const [ofKey, ofCertificate] = [
        openssl('pkey', '-in', `${path}.key`, '-pubout').text,
        openssl('x509', '-in', `${path}.crt`, '-noout', '-pubkey').text,
      ];
      strictEqual(ofKey, ofCertificate);
      const text = openssl('x509', '-in', `${path}.crt`, '-noout', '-subject', '-serial', '-enddate').text;
      match(text, /CN = alice@phone/);
      match(text.toLowerCase(), new RegExp(`serial=${identity.info.serial}`));
      strictEqual(identity.info.notAfterS, NOW_S + 10 * 86_400);
    });
  }

  it('revoked means revoked, again and again, and the others stay', () => {
    const subject = authority();
    subject.init('home');
    for (const name of ['alice', 'bob', 'alice', 'carol']) subject.issue(name, 'client', CLIENT_DAYS);
    const states = () => {
      const list = subject.list();
      ok(!isRefusal(list));
      return list.map(({ commonName, state }) => `${commonName} ${state}`).sort();
    };
    strictEqual(subject.revoke('alice'), 2);
    strictEqual(subject.revoke('alice'), 0);
    strictEqual(subject.revoke('nobody'), 0);
    strictEqual(subject.revoke('bob'), 1);
    deepStrictEqual(states(), ['alice revoked', 'alice revoked', 'bob revoked', 'carol valid', 'home valid']);
    for (const name of readdirSync(file('issued'))) {
      const { code, text } = verify(file(`issued/${name}`), 'any');
      const isRevoked = /alice|bob/.test(
        openssl('x509', '-in', file(`issued/${name}`), '-noout', '-subject').text,
      );
      strictEqual(code !== 0 && /revoked/.test(text), isRevoked, text);
    }
    deepStrictEqual(readRevocationList(readFileSync(file('crl.pem')))?.number, 3);
  });

  it('reads the revocation list of openssl', () => {
    authority().init('home');
    const config =
      '[ca]\ndefault_ca=a\n[a]\ndatabase=db\ncrlnumber=n\ndefault_md=sha256\ndefault_crl_days=9\n';
    writeFileSync(join(root, 'cnf'), config);
    writeFileSync(join(root, 'db'), 'R\t300101000000Z\t260101000000Z\t0A0B\tunknown\t/CN=x\n');
    writeFileSync(join(root, 'n'), '1005\n');
    const words = [
      'ca',
      '-gencrl',
      '-config',
      'cnf',
      '-keyfile',
      file('ca.key'),
      '-cert',
      file('ca.crt'),
      '-out',
      'crl',
    ];
    const { status, stderr } = spawnSync('openssl', words, { cwd: root, encoding: 'utf8' });
    strictEqual(status, 0, stderr);
    const list = readRevocationList(readFileSync(join(root, 'crl')));
    deepStrictEqual(list, { number: 0x1005, revoked: [{ serial: 'a0b', atS: Date.UTC(2026, 0, 1) / 1000 }] });
  });

  it('keys are secret, and nothing is made twice', () => {
    const subject = authority();
    subject.init('home');
    for (const name of ['ca.key', 'server.key']) strictEqual(statSync(file(name)).mode & 0o777, 0o600);
    strictEqual(statSync(file('.')).mode & 0o777, 0o700);
    const before = readFileSync(file('ca.crt'));
    match(refusedBy(subject.init('home')), /ca\.crt is there already; nothing was changed/);
    deepStrictEqual(readFileSync(file('ca.crt')), before);
  });

  it('without its key everything but signing works', () => {
    const subject = authority();
    subject.init('home');
    subject.issue('alice', 'client', 1);
    renameSync(file('ca.key'), join(root, 'elsewhere'));
    strictEqual(subject.canIssue, false);
    match(refusedBy(subject.issue('bob', 'client', 1)), /key .*ca\.key is not here/);
    match(refusedBy(subject.revoke('alice')), /ca\.key is not here/);
    const list = subject.list();
    ok(!isRefusal(list) && list.length === 2);
    renameSync(join(root, 'elsewhere'), file('ca.key'));
    strictEqual(subject.revoke('alice'), 1);
  });

  it('refuses hostile names, a clock that is not set, a broken list and a full disk', () => {
    match(refusedBy(authority({ wallS: () => 86_400 }).init('home')), /clock is not set/);
    const subject = authority();
    match(refusedBy(subject.list()), /there is no authority yet/);
    match(refusedBy(subject.issue('alice', 'client', 1)), /there is no authority yet/);
    subject.init('home');
    for (const name of ['', 'a b', 'a\n', 'a/../b', 'x'.repeat(65), 'ä', '\u0000', 'a"']) {
      match(refusedBy(subject.issue(name, 'client', 1)), /common name/);
    }
    writeFileSync(file('crl.pem'), 'garbage');
    match(refusedBy(subject.revoke('home')), /holds no revocation list/);
    const full = {
      failed: true,
      call: 'write',
      errno: 28,
      code: 'ENOSPC',
      text: 'No space left on device',
    } as const;
    const files = { ...authorityFiles(host.files), write: () => full };
    match(refusedBy(authority({ files }).issue('alice', 'client', 1)), /No space left on device/);
  });

  it('warns before the end, and of the authority a year before', () => {
    authority().init('home');
    deepStrictEqual(authority().warnings(), []);
    deepStrictEqual(authority({ wallS: () => NOW_S + 3300 * 86_400 }).warnings(), [
      'the authority (ca.crt) expires in 350 days',
    ]);
    const later = authority({ wallS: () => NOW_S + 3640 * 86_400 });
    deepStrictEqual(later.warnings(), [
      'the authority (ca.crt) expires in 10 days',
      "the server's certificate (server.crt) expires in 10 days",
    ]);
    strictEqual(later.renew('home'), undefined);
    deepStrictEqual(later.warnings(), []);
    deepStrictEqual(authority({ wallS: () => NOW_S + 7300 * 86_400 }).warnings(), [
      'the authority (ca.crt) has expired',
      "the server's certificate (server.crt) has expired",
    ]);
  });

  it('renewed, it goes on: what was issued before is good under the new certificate, and the other way round', () => {
    const first = authority();
    first.init('home');
    const early = first.issue('early', 'client', 4000);
    ok(!isRefusal(early));
    // Nobody outlives the authority.
    strictEqual(early.info.notAfterS, NOW_S + 3650 * 86_400);
    const [oldAuthority, oldServer] = [join(root, 'old-ca.crt'), join(root, 'old-server.crt')];
    for (const [from, to] of [
      ['ca.crt', oldAuthority],
      ['server.crt', oldServer],
    ] as const)
      copyFileSync(file(from), to);
    const laterS = NOW_S + 3640 * 86_400;
    const later = authority({ wallS: () => laterS });
    strictEqual(later.renew('home'), undefined);
    const late = later.issue('late', 'client', 825);
    ok(!isRefusal(late));
    strictEqual(late.info.notAfterS, laterS + 825 * 86_400);
    strictEqual(later.revoke('early'), 1);
    const written = (name: string, pem: Uint8Array): string => {
      writeFileSync(join(root, name), pem);
      return join(root, name);
    };
    const [earlyFile, lateFile] = [
      written('early.crt', early.certificate),
      written('late.crt', late.certificate),
    ];
    const at = (path: string, purpose: string, ca: string, ...more: string[]) =>
      openssl(
        'verify',
        '-x509_strict',
        '-attime',
        String(laterS),
        '-purpose',
        purpose,
        '-CAfile',
        ca,
        ...more,
        path,
      );
    for (const ca of [oldAuthority, file('ca.crt')]) {
      strictEqual(at(lateFile, 'sslclient', ca).text, `${lateFile}: OK\n`);
      strictEqual(at(earlyFile, 'sslclient', ca).text, `${earlyFile}: OK\n`);
      strictEqual(at(file('server.crt'), 'sslserver', ca).text, `${file('server.crt')}: OK\n`);
      match(
        at(earlyFile, 'sslclient', ca, '-crl_check', '-CRLfile', file('crl.pem')).text,
        /certificate revoked/,
      );
    }
    match(
      openssl('verify', '-attime', String(laterS + 11 * 86_400), '-CAfile', oldAuthority, lateFile).text,
      /certificate has expired/,
    );
    // Nothing was to be done about the authority: only the server's certificate is another one.
    const [authorityBefore, serverBefore] = [readFileSync(file('ca.crt')), readFileSync(file('server.crt'))];
    strictEqual(later.renew('home'), undefined);
    deepStrictEqual(readFileSync(file('ca.crt')), authorityBefore);
    notDeepStrictEqual(readFileSync(file('server.crt')), serverBefore);
  });

  it('says who needs a new certificate, and issues none that nobody would take', () => {
    const subject = authority();
    subject.init('home');
    for (const [name, days] of [
      ['long', 825],
      ['short', 20],
      ['renewed', 20],
      ['renewed', 825],
      ['gone', 10],
    ] as const) {
      ok(!isRefusal(subject.issue(name, 'client', days)));
    }
    const due = (days: number): string[] => {
      const list = authority({ wallS: () => NOW_S + days * 86_400 }).list();
      ok(!isRefusal(list));
      return list
        .filter(({ isDue }) => isDue)
        .map(({ commonName, state }) => `${commonName} ${state}`)
        .sort();
    };
    strictEqual(subject.revoke('gone'), 1);
    deepStrictEqual(due(10), []);
    deepStrictEqual(due(15), ['short valid']);
    deepStrictEqual(due(21), ['short expired']);
    deepStrictEqual(due(800), ['long valid', 'renewed valid', 'short expired']);
    const after = authority({ wallS: () => NOW_S + 3651 * 86_400 });
    match(refusedBy(after.issue('x', 'client', 1)), /ca\.crt has expired: renew it first/);
    strictEqual(after.renew('home'), undefined);
    ok(!isRefusal(after.issue('x', 'client', 1)));
    renameSync(file('ca.key'), join(root, 'elsewhere'));
    match(refusedBy(after.renew('home')), /ca\.key is not here/);
  });
});
