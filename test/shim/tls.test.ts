// SPDX-License-Identifier: Apache-2.0
// TLS sessions joined in memory: what is accepted, what is refused, and in which words.

import assert from 'node:assert/strict';
import type { TlsEngine } from '../../src/core/tls.ts';
import type { TlsContext, TlsFailure, TlsOptions } from '../../src/host/host.ts';
import {
  encryptKey,
  endOfLife,
  fingerprint,
  type Identity,
  makeAuthority,
  makeLeaf,
} from './certificates.ts';
import { libraries, newHost, serverHost } from './support.ts';

const host = newHost();
const hostOfServer = serverHost();
const LIBRARY = libraries();
/** Mbed TLS counts the content type of TLS 1.3 among a record's bytes. */
const RECORD = LIBRARY.client === 'mbedtls' ? 16_383 : 16_384;
const text = (words: string) => new TextEncoder().encode(words);

let ca: Identity;
let otherCa: Identity;
let server: Identity;
let client: Identity;

type Side = Partial<TlsOptions>;

function context(options: TlsOptions): TlsContext {
  const made = (options.role === 'server' ? hostOfServer : host).tlsContext(options);
  if ('failed' in made) throw new Error(`${made.option}: ${made.text}`);
  return made;
}

function refusal(options: Side): TlsFailure {
  const made = host.tlsContext({ role: 'client', versionMin: '1.2', verifyPeer: 'none', ...options });
  assert.ok('failed' in made, 'the options were taken');
  return made;
}

/** Two ends, not yet joined. Defaults: mutual certificates of one authority. */
function pair(serverSide: Side = {}, clientSide: Side = {}): { client: TlsEngine; server: TlsEngine } {
  const common = { versionMin: '1.2', verifyPeer: 'require', ca: ca.cert } as const;
  const open = (options: TlsOptions) => {
    const made = context(options);
    const engine = made.open();
    // A session outlives its context.
    made.close();
    return engine;
  };
  return {
    server: open({ ...common, ...server, role: 'server', ...serverSide }),
    client: open({ ...common, ...client, role: 'client', ...clientSide }),
  };
}

/** Carries bytes in small pieces until neither end has any; returns how many flights it took. */
function join(a: TlsEngine, b: TlsEngine): number {
  let flights = 0;
  for (let moved = true; moved; flights++) {
    moved = false;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      from.status();
      for (let piece = from.pull(700); piece !== undefined; piece = from.pull(700)) {
        assert.ok(piece.length > 0 && piece.length <= 700);
        to.feed(piece);
        to.status();
        moved = true;
      }
    }
  }
  return flights;
}

function close(ends: { client: TlsEngine; server: TlsEngine }): void {
  for (const end of [ends.client, ends.server]) {
    end.close();
    end.close();
    assert.equal(end.status(), 'failed');
    assert.equal(end.write(text('late')), false);
    assert.equal(end.read(), undefined);
    assert.equal(end.pull(100), undefined);
    assert.equal(end.peerCertificate(), undefined);
  }
}

/** A handshake that must fail: the error of each end. */
function errors(serverSide: Side, clientSide: Side): { client: string; server: string } {
  const ends = pair(serverSide, clientSide);
  join(ends.client, ends.server);
  const found = { client: ends.client.error(), server: ends.server.error() };
  const failed = [ends.client.status(), ends.server.status()].includes('failed');
  assert.ok(failed, `the handshake was accepted: ${JSON.stringify(found)}`);
  close(ends);
  return found;
}

describe('TLS', () => {
  before(() => {
    ca = makeAuthority('test-ca');
    otherCa = makeAuthority('other-ca');
    server = makeLeaf('server', { authority: 'test-ca', usage: 'serverAuth' });
    client = makeLeaf('client', {
      authority: 'test-ca',
      usage: 'clientAuth',
      serial: '12345678901234567890',
    });
  });

  for (const version of ['1.2', '1.3']) {
    it(`shakes hands, talks and exports with TLS ${version}`, () => {
      const ends = pair({ versionMin: version, versionMax: version });
      assert.equal(ends.client.status(), 'handshake');
      assert.ok(ends.client.pending());
      assert.equal(ends.client.write(text('early')), false);
      assert.equal(ends.client.description(), '');
      assert.equal(ends.client.peerCertificate(), undefined);
      assert.throws(() => ends.client.exportKey('label', 16));
      join(ends.client, ends.server);
      assert.equal(ends.client.status(), 'established', ends.client.error());
      assert.equal(ends.server.status(), 'established', ends.server.error());
      const words = ends.server.description();
      assert.match(words, new RegExp(`^TLSv${version} ${version === '1.2' ? 'ECDHE-' : 'TLS_'}`));
      assert.equal(ends.client.description(), words);
      const label = 'EXPORTER-OpenVPN-datakeys';
      assert.deepEqual(ends.client.exportKey(label, 256), ends.server.exportKey(label, 256));
      assert.notDeepEqual(ends.client.exportKey(label, 32), ends.client.exportKey('EXPORTER-other', 32));
      assert.throws(() => ends.client.exportKey(label, 0));
      assert.throws(() => ends.client.exportKey(label, 1 << 20));
      // One record each, in order, whatever their sizes.
      for (const size of [1, 700, RECORD])
        assert.ok(ends.client.write(new Uint8Array(size).fill(size & 0xff)));
      assert.equal(ends.client.write(new Uint8Array(16_385)), false);
      assert.equal(ends.client.write(new Uint8Array(0)), false);
      join(ends.client, ends.server);
      for (const size of [1, 700, RECORD]) assert.equal(ends.server.read()?.length, size);
      assert.equal(ends.server.read(), undefined);
      assert.ok(ends.server.write(text('PUSH_REPLY')));
      join(ends.client, ends.server);
      assert.deepEqual(ends.client.read(), text('PUSH_REPLY'));
      close(ends);
    });
  }

  for (const version of ['1.2', '1.3']) {
    it(`goes on where it stood after each rest, whatever piece of a record came last, with TLS ${version}`, () => {
      const ends = pair({ versionMin: version, versionMax: version });
      join(ends.client, ends.server);
      const before = ends.server.exportKey('EXPORTER-test', 32);
      for (let round = 0; round < 5; round++) {
        for (const [from, to] of [
          [ends.client, ends.server],
          [ends.server, ends.client],
        ] as const) {
          assert.ok(from.write(text(`first of round ${round}`)) && from.write(text('second')));
          const read: string[] = [];
          for (let byte = from.pull(1); byte !== undefined; byte = from.pull(1)) {
            to.feed(byte);
            assert.equal(to.status(), 'established', to.error());
            const record = to.read();
            if (record !== undefined) read.push(new TextDecoder().decode(record));
          }
          assert.deepEqual(read, [`first of round ${round}`, 'second']);
        }
      }
      assert.deepEqual(ends.server.exportKey('EXPORTER-test', 32), before);
      assert.equal(ends.server.peerCertificate()?.commonName, 'client');
      close(ends);
    });
  }

  it('tells who the peer is', () => {
    const ends = pair();
    join(ends.client, ends.server);
    assert.deepEqual(ends.server.peerCertificate(), {
      commonName: 'client',
      subject: 'C=KG, ST=NA, CN=client',
      fingerprint: fingerprint('client'),
      serial: '12345678901234567890',
      notAfterS: endOfLife('client'),
    });
    assert.equal(ends.client.peerCertificate()?.commonName, 'server');
    close(ends);
    const made = context({ role: 'server', versionMin: '1.2', verifyPeer: 'none', ...server });
    assert.equal(made.notAfterS, endOfLife('server'));
    made.close();
    assert.throws(() => made.open());
  });

  it('offers nothing to resume, no name and no compression', () => {
    const ends = pair({ versionMax: '1.2' }, { versionMin: '1.2' });
    assert.equal(ends.client.status(), 'handshake');
    const hello = Buffer.from(ends.client.pull(4000)!);
    const extensions = extensionsOf(hello);
    assert.ok(!extensions.includes(0), 'server name');
    assert.ok(!extensions.includes(35), 'session ticket');
    assert.ok(!extensions.includes(16), 'application protocol');
    assert.ok(!extensions.includes(41), 'pre-shared key');
    close(ends);
  });

  it('sends no session tickets', () => {
    const ends = pair({ versionMin: '1.3' });
    join(ends.client, ends.server);
    assert.equal(ends.server.pending(), false);
    // The client's last flight is answered by nothing at all.
    const again = pair({ versionMin: '1.3' });
    again.client.status();
    again.server.feed(again.client.pull(65_536)!);
    again.server.status();
    again.client.feed(again.server.pull(65_536)!);
    again.client.status();
    again.server.feed(again.client.pull(65_536)!);
    assert.equal(again.server.status(), 'established');
    assert.equal(again.server.pull(65_536), undefined);
    close(ends);
    close(again);
  });

  it('refuses certificates, and says why', () => {
    const expired = makeLeaf('expired', { authority: 'test-ca', usage: 'serverAuth', days: -1 });
    const stranger = makeLeaf('stranger', { authority: 'other-ca', usage: 'clientAuth' });
    assert.equal(
      errors(expired, {}).client,
      'certificate verify failed: certificate has expired (CN=expired)',
    );
    const unknown = errors({}, stranger);
    assert.match(unknown.server, /^certificate verify failed: unable to get local issuer certificate \(CN=/);
    assert.equal(unknown.client, 'peer sent alert: unknown ca');
    const wrongCa = errors({}, { ca: otherCa.cert });
    assert.match(wrongCa.client, /^certificate verify failed: unable to get local issuer certificate/);
    assert.equal(wrongCa.server, 'peer sent alert: unknown ca');
    // Mbed TLS does not even try to be a server with a certificate that is not for one.
    assert.equal(
      errors(client, {}).client,
      LIBRARY.server === 'mbedtls'
        ? 'peer sent alert: handshake failure'
        : 'certificate verify failed: unsupported certificate purpose (CN=client)',
    );
    assert.match(errors({}, server).server, /^certificate verify failed: unsupported certificate purpose/);
  });

  for (const version of ['1.2', '1.3']) {
    it(`lets in nobody who must not, in TLS ${version}`, () => {
      const only = { versionMin: version, versionMax: version } as const;
      const none = { ...only, cert: undefined, key: undefined } as unknown as Side;
      const stranger = makeLeaf(`stranger-${version}`, { authority: 'other-ca', usage: 'clientAuth' });
      const late = makeLeaf(`late-${version}`, { authority: 'test-ca', usage: 'clientAuth', days: -1 });
      const plain = makeLeaf(`plain-${version}`, { authority: 'test-ca' });
      for (const verifyPeer of ['require', 'optional'] as const) {
        const side = { ...only, verifyPeer };
        const unknown = errors(side, { ...only, ...stranger });
        assert.match(unknown.server, /unable to get local issuer certificate \(CN=/);
        assert.equal(unknown.client, 'peer sent alert: unknown ca');
        assert.match(errors(side, { ...only, ...late }).server, /certificate has expired \(CN=late/);
        assert.match(errors(side, { ...only, ...server }).server, /unsupported certificate purpose/);
        assert.match(
          errors({ ...side, remoteCertTls: 'client' }, { ...only, ...plain }).server,
          /no key usage/,
        );
      }
      assert.equal(errors(only, none).server, 'peer sent no certificate');
      assert.match(errors(only, { ...only, ca: otherCa.cert }).client, /unable to get local issuer/);
    });
  }

  it('wants a certificate, or not', () => {
    const none = { cert: undefined, key: undefined } as unknown as Side;
    assert.equal(errors({}, none).server, 'peer sent no certificate');
    const ends = pair({ verifyPeer: 'optional' }, none);
    join(ends.client, ends.server);
    assert.equal(ends.server.status(), 'established');
    assert.equal(ends.server.peerCertificate(), undefined);
    close(ends);
    const stranger = makeLeaf('stranger2', { authority: 'other-ca', usage: 'clientAuth' });
    assert.match(errors({ verifyPeer: 'optional' }, stranger).server, /unable to get local issuer/);
  });

  it('lets the fingerprint decide where there is no CA', () => {
    const stranger = makeLeaf('stranger3', { authority: 'other-ca', usage: 'clientAuth', days: -1 });
    const ends = pair({ ca: undefined } as unknown as Side, stranger);
    join(ends.client, ends.server);
    assert.equal(ends.server.status(), 'established', ends.server.error());
    assert.equal(ends.server.peerCertificate()?.fingerprint, fingerprint('stranger3'));
    close(ends);
    const none = { cert: undefined, key: undefined } as unknown as Side;
    assert.equal(errors({ ca: undefined } as unknown as Side, none).server, 'peer sent no certificate');
  });

  it('holds the peer to remote_cert_tls', () => {
    const ends = pair({ remoteCertTls: 'client' }, { remoteCertTls: 'server' });
    join(ends.client, ends.server);
    assert.equal(ends.client.status(), 'established', ends.client.error());
    assert.equal(ends.server.status(), 'established', ends.server.error());
    close(ends);
    const plain = makeLeaf('plain', { authority: 'test-ca' });
    assert.match(errors(plain, { remoteCertTls: 'server' }).client, /no key usage \(remote_cert_tls\)/);
    const half = makeLeaf('half', { authority: 'test-ca', usage: 'serverAuth', keyUsage: false });
    assert.match(errors(half, { remoteCertTls: 'server' }).client, /no key usage \(remote_cert_tls\)/);
    const noCa = { ca: undefined, remoteCertTls: 'server' } as unknown as Side;
    if (LIBRARY.server === 'mbedtls') return;
    assert.match(errors(client, noCa).client, /not for a server \(remote_cert_tls\)/);
  });

  it('refuses names that lie', () => {
    const long = `/CN=${'n'.repeat(60)}/CN=${'m'.repeat(64)}`;
    const ends = pair({}, makeLeaf('long', { authority: 'test-ca', usage: 'clientAuth', subject: long }));
    join(ends.client, ends.server);
    assert.equal(ends.server.peerCertificate()?.commonName, 'm'.repeat(64));
    close(ends);
    const odd = makeLeaf('odd', { authority: 'test-ca', usage: 'clientAuth', subject: '/CN=a\tb\u00e9' });
    const oddEnds = pair({}, odd);
    join(oddEnds.client, oddEnds.server);
    assert.match(oddEnds.server.peerCertificate()!.commonName, /^a_b_+$/);
    assert.match(oddEnds.server.peerCertificate()!.subject, /^CN=a[\x20-\x7e]+$/);
    close(oddEnds);
  });

  it('refuses names that are too long or contain NUL', () => {
    // Without a CA the signature, broken by the forgery, does not matter.
    const side = { ca: undefined } as unknown as Side;
    const nul = makeLeaf('forged-nul', {
      authority: 'test-ca',
      usage: 'clientAuth',
      subject: '/CN=good.evil',
    });
    const nulCert = forge(nul.cert, 'good.evil', 'good\0evil');
    assert.equal(
      errors(side, { ...nul, cert: nulCert }).server,
      'certificate verify failed: certificate subject contains NUL (CN=good)',
    );
    // The openssl command makes no such name: a description becomes a common name by one byte of its type.
    const subject = `/description=${'n'.repeat(65)}`;
    const long = makeLeaf('forged-long', { authority: 'test-ca', usage: 'clientAuth', subject });
    const longCert = forge(long.cert, '\x55\x04\x0d', '\x55\x04\x03');
    assert.match(
      errors(side, { ...long, cert: longCert }).server,
      /^certificate verify failed: certificate common name is longer than 64 characters/,
    );
    const none = pair({ ...side, ...forgedServer() }, { verifyPeer: 'none' });
    join(none.client, none.server);
    assert.equal(none.client.status(), 'established', none.client.error());
    assert.equal(none.client.peerCertificate(), undefined, 'what it says is not believed');
    close(none);
  });

  it('finds no common version, cipher or group', () => {
    const versions = errors({ versionMin: '1.3' }, { versionMax: '1.2' });
    assert.match(versions.server, /^no shared TLS version/);
    assert.match(versions.client, /^no shared TLS version/);
    const suites = errors(
      { versionMax: '1.2', cipherList: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
      { versionMax: '1.2', cipherList: 'ECDHE-ECDSA-AES256-GCM-SHA384' },
    );
    assert.equal(suites.server, 'no shared cipher');
    assert.match(suites.client, /^peer sent alert: handshake failure$/);
    assert.notEqual(errors({ groups: 'P-256' }, { groups: 'X25519' }).server, '');
  });

  it('leaves the alert to be pulled after a failure', () => {
    const ends = pair({}, { ca: otherCa.cert });
    ends.client.status();
    ends.server.feed(ends.client.pull(65_536)!);
    ends.server.status();
    ends.client.feed(ends.server.pull(65_536)!);
    assert.equal(ends.client.status(), 'failed');
    assert.ok(ends.client.pending());
    const alert = ends.client.pull(65_536)!;
    assert.ok(alert.length > 0);
    ends.server.feed(alert);
    assert.equal(ends.server.status(), 'failed');
    assert.match(ends.server.error(), /^peer sent alert: /);
    close(ends);
    assert.match(ends.client.error(), /^certificate verify failed/, 'the reason outlives the session');
  });

  it('keeps neither what nobody reads nor what the peer does not take beyond a bound', () => {
    const unread = pair();
    join(unread.client, unread.server);
    for (let i = 0; i < 200; i++) unread.server.feed(new Uint8Array(1400));
    assert.equal(unread.server.status(), 'failed');
    assert.equal(unread.server.error(), 'too much unread TLS data');
    close(unread);
    const untaken = pair();
    join(untaken.client, untaken.server);
    for (let i = 0; i < 12; i++) assert.equal(untaken.server.write(new Uint8Array(16_000)), true);
    assert.equal(untaken.server.status(), 'established', 'a long push reply may wait');
    for (let i = 0; i < 12 && untaken.server.status() !== 'failed'; i++)
      untaken.server.write(new Uint8Array(16_000));
    assert.equal(untaken.server.error(), 'peer does not take what it is sent');
    close(untaken);
  });

  it('survives garbage', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const ends = pair();
      ends.client.status();
      const hello = ends.client.pull(65_536)!;
      hello[(seed * 7919) % hello.length]! ^= 1 << (seed % 8);
      ends.server.feed(hello);
      ends.server.status();
      ends.server.feed(host.random(200));
      ends.server.status();
      ends.client.feed(host.random(100));
      assert.equal(ends.client.status() === 'failed' || !ends.client.pending(), true);
      assert.match(ends.client.error(), /^[\x20-\x7e]*$/);
      ends.client.close();
      ends.server.close();
    }
    const flood = pair();
    for (let i = 0; i < 20; i++) flood.server.feed(new Uint8Array(65_536));
    assert.equal(flood.server.status(), 'failed');
    close(flood);
  });

  it('tells what is odd about the own certificate', () => {
    const doubts = (role: 'client' | 'server', side: Side): readonly string[] =>
      [host, hostOfServer].flatMap(one => {
        const made = one.tlsContext({ role, versionMin: '1.2', verifyPeer: 'require', ca: ca.cert, ...side });
        assert.ok(!('failed' in made));
        made.close();
        return made.doubts;
      });
    const purpose = ['purpose', 'purpose'];
    const issuer = ['issuer', 'issuer'];
    const plain = makeLeaf('plain-own', { authority: 'test-ca' });
    for (const [role, good, bad] of [
      ['server', server, client],
      ['client', client, server],
    ] as const) {
      for (const side of [good, plain]) assert.deepEqual(doubts(role, side), []);
      assert.deepEqual(doubts(role, bad), purpose);
      assert.deepEqual(doubts(role, { ...good, ca: otherCa.cert }), issuer);
      const both = Buffer.concat([otherCa.cert, ca.cert]);
      for (const side of [{ ca: both }, { ca: otherCa.cert, extraCerts: ca.cert }, { ca: undefined }])
        assert.deepEqual(doubts(role, { ...good, ...side } as Side), []);
      // Its own authority: peers know it by its fingerprint.
      assert.deepEqual(doubts(role, otherCa), []);
    }
    assert.deepEqual(doubts('client', {}), []);
    // Of the same name, but with another key: made anew.
    const again = makeAuthority('again');
    const late = makeLeaf('again-leaf', { authority: 'again', usage: 'serverAuth' });
    assert.deepEqual(doubts('server', { ...late, ca: again.cert }), []);
    assert.deepEqual(doubts('server', { ...late, ca: makeAuthority('again').cert }), issuer);
  });

  it('names the option at fault', () => {
    const junk = text('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    const both = { cert: server.cert, key: server.key };
    assert.deepEqual(refusal({ ca: text('x') }), {
      failed: true,
      option: 'ca',
      text: 'not a PEM certificate',
    });
    assert.equal(refusal({ ca: new Uint8Array(0) }).option, 'ca');
    assert.equal(refusal({ ca: junk }).text, 'not a PEM certificate');
    assert.equal(refusal({ cert: text('x'), key: server.key }).text, 'not a PEM certificate');
    assert.deepEqual(refusal({ cert: server.cert, key: client.key }), {
      failed: true,
      option: 'key',
      text: 'does not match the certificate',
    });
    const encrypted = refusal({ cert: server.cert, key: encryptKey('server') });
    assert.equal(encrypted.option, 'key');
    assert.equal(encrypted.text, 'is encrypted; passwords are not supported');
    assert.equal(refusal({ cert: server.cert, key: server.cert }).text, 'not a PEM private key');
    assert.equal(refusal({ cert: server.cert }).option, 'key');
    assert.equal(refusal({ key: server.key }).option, 'cert');
    assert.equal(refusal({ role: 'server' }).option, 'cert');
    assert.equal(refusal({ ...both, extraCerts: text('x') }).option, 'extra_certs');
    assert.equal(refusal({ versionMin: '1.1' }).option, 'tls_version_min');
    assert.equal(refusal({ versionMin: '1.3', versionMax: '1.2' }).option, 'tls_version_min');
    assert.equal(refusal({ cipherList: 'NOTHING' }).option, 'tls_cipher');
    assert.equal(refusal({ cipherSuites: 'NOTHING' }).option, 'tls_ciphersuites');
    assert.equal(refusal({ groups: 'NOTHING' }).option, 'tls_groups');
  });

  it('sends the chain of the certificate file and of extra_certs', () => {
    const good = pair({ ...server, cert: Buffer.concat([server.cert, ca.cert]), extraCerts: otherCa.cert });
    join(good.client, good.server);
    assert.equal(good.client.status(), 'established', good.client.error());
    close(good);
  });
});

/** The certificate with some of its bytes replaced by as many others. */
function forge(pem: Uint8Array, from: string, to: string): Uint8Array {
  const base64 = Buffer.from(pem)
    .toString()
    .replace(/-----[A-Z ]+-----/g, '');
  const der = Buffer.from(base64, 'base64');
  const at = der.lastIndexOf(from, undefined, 'latin1');
  assert.ok(at > 0);
  der.write(to, at, 'latin1');
  const lines = der.toString('base64').replace(/(.{64})/g, '$1\n');
  return Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`);
}

function forgedServer(): Identity {
  const leaf = makeLeaf('forged-server', {
    authority: 'test-ca',
    usage: 'serverAuth',
    subject: '/CN=good.evil',
  });
  return { cert: forge(leaf.cert, 'good.evil', 'good\0evil'), key: leaf.key };
}

/** Numbers of the extensions of a ClientHello record. */
function extensionsOf(hello: Buffer): number[] {
  let at = 5 + 4 + 2 + 32;
  at += 1 + hello[at]!;
  at += 2 + hello.readUInt16BE(at);
  at += 1 + hello[at]!;
  const end = at + 2 + hello.readUInt16BE(at);
  const numbers: number[] = [];
  for (at += 2; at < end; at += 4 + hello.readUInt16BE(at + 2)) numbers.push(hello.readUInt16BE(at));
  return numbers;
}
