// SPDX-License-Identifier: Apache-2.0
// Certificates of TLS sessions: who is let in, who is refused and in which words, and what is known of a peer.

import assert from 'node:assert/strict';
import { endOfLife, fingerprint, type Identity, makeAuthority, makeLeaf } from './certificates.ts';
import { libraries } from './support.ts';
import {
  ca,
  client,
  close,
  context,
  errors,
  host,
  hostOfServer,
  join,
  makeIdentities,
  otherCa,
  pair,
  type Side,
  server,
} from './tlsends.ts';

const LIBRARY = libraries();

describe('TLS with certificates', () => {
  before(makeIdentities);

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
