// SPDX-License-Identifier: Apache-2.0
// Who the other side is beyond what TLS verifies, and tokens in place of passwords.

import { match, ok, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { checkToken, isToken, makeToken, renewToken, TOKEN_LIFETIME_S } from '../../../src/core/authtoken.ts';
import { checkIdentity, type ExpectedIdentity } from '../../../src/core/identity.ts';
import type { PeerCertificate } from '../../../src/core/tls.ts';
import { nodeCrypto } from '../plane/nodecrypto.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const CERTIFICATE: PeerCertificate = {
  commonName: 'vpn.example.org',
  subject: 'C=KG, CN=vpn.example.org',
  fingerprint: A,
  serial: '1',
  notAfterS: 0,
};

describe('expected identity', () => {
  const cases: readonly (readonly [expected: ExpectedIdentity, refused: RegExp | undefined])[] = [
    [{}, undefined],
    [{ fingerprints: new Set([B, A]) }, undefined],
    [{ fingerprints: new Set([B]) }, /fingerprint a{64} is not one/],
    [{ fingerprints: new Set() }, /fingerprint/],
    [{ name: { type: 'subject', text: 'C=KG, CN=vpn.example.org' } }, undefined],
    [{ name: { type: 'subject', text: 'CN=vpn.example.org' } }, /its subject is 'C=KG/],
    [{ name: { type: 'name', text: 'vpn.example.org' } }, undefined],
    [{ name: { type: 'name', text: 'vpn.example' } }, /its name is 'vpn.example.org'/],
    [{ name: { type: 'name-prefix', text: 'vpn.' } }, undefined],
    [{ name: { type: 'name-prefix', text: 'xvpn.' } }, /verify_x509_name/],
    [{ fingerprints: new Set([A]), name: { type: 'name', text: 'other' } }, /name is/],
  ];
  cases.forEach(([expected, refused], i) => {
    it(`case ${i}`, () => {
      const why = checkIdentity(expected, CERTIFICATE);
      if (refused === undefined) strictEqual(why, undefined);
      else match(why!, refused);
    });
  });

  it('nobody is not somebody', () => {
    ok(checkIdentity({ fingerprints: new Set([A]) }, undefined));
    ok(checkIdentity({ name: { type: 'name-prefix', text: '' } }, undefined));
    strictEqual(checkIdentity({}, undefined), undefined);
  });

  it('a certificate that need not be shown must be the right one when it is', () => {
    const expected = { fingerprints: new Set([A]), name: { type: 'name', text: 'vpn.example.org' } } as const;
    strictEqual(checkIdentity({ ...expected, optional: true }, undefined), undefined);
    strictEqual(checkIdentity({ ...expected, optional: true }, CERTIFICATE), undefined);
    match(checkIdentity({ ...expected, optional: true }, { ...CERTIFICATE, fingerprint: B })!, /fingerprint/);
    match(checkIdentity({ ...expected, optional: true }, { ...CERTIFICATE, commonName: 'x' })!, /its name/);
    match(checkIdentity({ ...expected, optional: false }, undefined)!, /there is none/);
  });
});

describe('tokens', () => {
  const KEY = new Uint8Array(32).fill(7);
  const NOW = 1_800_000_000;
  const token = makeToken(nodeCrypto, KEY, 'anna', new Uint8Array(12).fill(3), NOW);
  const check = (text: string, username = 'anna', now = NOW, key = KEY) =>
    checkToken(nodeCrypto, key, username, text, now);

  it('have the form of OpenVPN', () => {
    match(token, /^SESS_ID_AT_[A-Za-z0-9+/]{80}$/);
    strictEqual(token.length, 91);
  });

  it('are good for who got them, for their time', () => {
    strictEqual(check(token), undefined);
    strictEqual(check(token, 'anna', NOW + TOKEN_LIFETIME_S - 1), undefined);
    strictEqual(check(token, 'anna', NOW + TOKEN_LIFETIME_S), 'expired');
    strictEqual(check(token, 'anna', NOW - 1), 'expired');
    strictEqual(check(token, 'bob'), 'forged');
    strictEqual(check(token, 'anna', NOW, new Uint8Array(32)), 'forged');
  });

  it('are renewed when they have lived half their life, and not before', () => {
    const renew = (text: string, now: number) => renewToken(nodeCrypto, KEY, 'anna', text, now);
    strictEqual(renew(token, NOW + TOKEN_LIFETIME_S / 2 - 1), undefined);
    const later = NOW + TOKEN_LIFETIME_S / 2;
    const fresh = renew(token, later)!;
    strictEqual(fresh.length, 91);
    // Session id and the time of the login stay: 12 + 8 bytes, but for the bits of a character that is shared.
    strictEqual(fresh.slice(0, 11 + 26), token.slice(0, 11 + 26));
    strictEqual(check(fresh, 'anna', later + TOKEN_LIFETIME_S - 1), undefined);
    strictEqual(check(fresh, 'anna', later + TOKEN_LIFETIME_S), 'expired');
    strictEqual(check(fresh, 'bob', later), 'forged');
    strictEqual(check(token, 'anna', NOW + TOKEN_LIFETIME_S), 'expired');
    for (const text of ['', 'SESS_ID_AT_', 'SESS_ID_AT_AAAA']) strictEqual(renew(text, later), undefined);
  });

  it('every changed character and every other length is refused', () => {
    for (let i = 'SESS_ID_AT_'.length; i < token.length; i++) {
      const other = token[i] === 'A' ? 'B' : 'A';
      strictEqual(check(token.slice(0, i) + other + token.slice(i + 1)), 'forged', String(i));
      strictEqual(check(token.slice(0, i)), 'forged', String(i));
    }
    strictEqual(check(`${token}AAAA`), 'forged');
  });

  it('any text never throws', () => {
    fc.assert(
      fc.property(fc.string(), text => check(text) === 'forged' && check(`SESS_ID_AT_${text}`) === 'forged'),
    );
    ok(isToken('SESS_ID_AT_') && !isToken('hunter2'));
  });
});
