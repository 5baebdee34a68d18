// SPDX-License-Identifier: Apache-2.0
// A PKCS #12 file in place of certificate, key and authority: taken apart into the PEM files that it stands for.

import { decodeUtf8, encodeUtf8 } from '../core/bytes.ts';
import { type Host, isFailure } from '../host/host.ts';

const CONVERT =
  'openssl pkcs12 -in FILE -nodes (with -legacy if it is an old one) makes PEM of it for ca, cert and key';

const RULES: Readonly<Record<string, string>> = {
  EINVAL: 'is no PKCS #12 file with a private key and its certificate',
  EACCES: `has a password, and nobody sits at the router to type it; ${CONVERT}`,
  EOPNOTSUPP: `is encrypted as today's libraries do not decrypt; ${CONVERT}`,
  ENOSYS: `cannot be read by this program, for Mbed TLS has no PKCS #12; ${CONVERT}`,
};

/**
 * Puts what the file holds into `contents` as cert, key and, unless one is there, ca; the caller wipes them. A string
 * says what is wrong with it.
 */
export function unpackPkcs12(host: Host, contents: Map<string, Uint8Array>): string | undefined {
  const file = contents.get('pkcs12');
  if (file === undefined) return undefined;
  const pem = host.privateKeys.pkcs12(file);
  if (isFailure(pem)) return RULES[pem.code] ?? `cannot be read: ${pem.text}`;
  const text = decodeUtf8(pem);
  pem.fill(0);
  const [key] = blocks(text, 'PRIVATE KEY');
  const [leaf, ...others] = blocks(text, 'CERTIFICATE');
  if (key === undefined || leaf === undefined) return RULES.EINVAL;
  contents.set('key', encodeUtf8(key));
  contents.set('cert', encodeUtf8(leaf));
  if (!contents.has('ca') && others.length > 0) contents.set('ca', encodeUtf8(others.join('')));
  return undefined;
}

function blocks(text: string, label: string): string[] {
  return text.match(new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----\n`, 'g')) ?? [];
}
