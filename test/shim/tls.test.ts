// SPDX-License-Identifier: Apache-2.0
// TLS sessions: handshake, records and keys, what ends a session, and which option is at fault.

import assert from 'node:assert/strict';
import type { TlsFailure } from '../../src/host/host.ts';
import { encryptKey } from './certificates.ts';
import { libraries } from './support.ts';
import {
  client,
  close,
  errors,
  host,
  join,
  makeIdentities,
  otherCa,
  pair,
  type Side,
  server,
} from './tlsends.ts';

const LIBRARY = libraries();
/** Mbed TLS counts the content type of TLS 1.3 among a record's bytes. */
const RECORD = LIBRARY.client === 'mbedtls' ? 16_383 : 16_384;
const text = (words: string) => new TextEncoder().encode(words);

function refusal(options: Side): TlsFailure {
  const made = host.tlsContext({ role: 'client', versionMin: '1.2', verifyPeer: 'none', ...options });
  assert.ok('failed' in made, 'the options were taken');
  return made;
}

describe('TLS', () => {
  before(makeIdentities);

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
});

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
