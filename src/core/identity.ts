// SPDX-License-Identifier: Apache-2.0
// What a certificate must be beyond what TLS verifies: one of certain fingerprints, of a certain name.

import type { PeerCertificate } from './tls.ts';

/** `subject`: the whole subject, `name`: the common name, `name-prefix`: its beginning (verify-x509-name). */
export interface ExpectedName {
  readonly type: 'subject' | 'name' | 'name-prefix';
  readonly text: string;
}

export interface ExpectedIdentity {
  /** SHA-256, 64 lower-case hex digits each; absent: any that TLS takes. */
  readonly fingerprints?: ReadonlySet<string>;
  readonly name?: ExpectedName;
  /** Whether who shows no certificate passes: a login tells who that is. */
  readonly optional?: boolean;
}

/** Why the other end is not who it must be; undefined: it is. One line. */
export function checkIdentity(
  expected: ExpectedIdentity,
  certificate: PeerCertificate | undefined,
): string | undefined {
  const { fingerprints, name, optional } = expected;
  if (fingerprints === undefined && name === undefined) return undefined;
  // Without a login it would be anybody.
  if (certificate === undefined) return optional ? undefined : 'certificate verify failed: there is none';
  if (fingerprints !== undefined && !fingerprints.has(certificate.fingerprint)) {
    return `certificate verify failed: its fingerprint ${certificate.fingerprint} is not one of those configured`;
  }
  if (name === undefined || isNamed(name, certificate)) return undefined;
  const actual = name.type === 'subject' ? certificate.subject : certificate.commonName;
  return `certificate verify failed: its ${name.type === 'subject' ? 'subject' : 'name'} is '${actual}' (verify_x509_name)`;
}

function isNamed({ type, text }: ExpectedName, { subject, commonName }: PeerCertificate): boolean {
  if (type === 'subject') return subject === text;
  return type === 'name' ? commonName === text : commonName.startsWith(text);
}
