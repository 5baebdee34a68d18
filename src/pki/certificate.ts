// SPDX-License-Identifier: Apache-2.0
// X.509 certificates and revocation lists (RFC 5280) of a small authority: written and signed here, read back as far
// as listing them needs. Verifying is the TLS library's business.

import { fromPem, toPem } from '../core/base64.ts';
import { decodeUtf8, toHex } from '../core/bytes.ts';
import type { PrivateKeys } from '../host/host.ts';
import {
  bits,
  children,
  context,
  type Element,
  elements,
  integer,
  octets,
  oid,
  readTime,
  sequence,
  small,
  TAG,
  TRUE,
  time,
  tlv,
  utf8,
} from './der.ts';

const OID = {
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectKeyId: '2.5.29.14',
  authorityKeyId: '2.5.29.35',
  crlNumber: '2.5.29.20',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** What a certificate is for. */
export type Usage = 'ca' | 'server' | 'client';

export interface Issuer {
  /** PEM. */
  readonly certificate: Uint8Array;
  /** PEM, PKCS #8. */
  readonly key: Uint8Array;
}

export interface Validity {
  /** Seconds since 1970. */
  readonly notBeforeS: number;
  readonly notAfterS: number;
}

export interface Request extends Validity {
  readonly commonName: string;
  readonly usage: Usage;
  /** Big-endian, 1 to 20 bytes, positive. */
  readonly serial: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** PEM: the subject is exactly that of this certificate, whatever `commonName` says. */
  readonly renews?: Uint8Array;
}

export interface CertificateInfo extends Validity {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly commonName: string;
}

type Hash = (data: Uint8Array) => Uint8Array;

/** The AlgorithmIdentifier of a signature by a key of this kind, as `PrivateKeys.sign` makes it. */
function signatureAlgorithm(publicKey: Uint8Array): Uint8Array {
  const [algorithm] = children(publicKey) ?? [];
  const [kind, curve] = elements(algorithm?.value ?? new Uint8Array(0)) ?? [];
  const is = (element: Element | undefined, dotted: string): boolean =>
    element !== undefined && toHex(element.whole) === toHex(oid(dotted));
  if (is(kind, '1.3.101.112')) return sequence(oid('1.3.101.112'));
  if (is(kind, '1.2.840.113549.1.1.1')) return sequence(oid('1.2.840.113549.1.1.11'), tlv(0x05));
  // ECDSA: P-384 goes with SHA-384.
  return sequence(oid(is(curve, '1.3.132.0.34') ? '1.2.840.10045.4.3.3' : '1.2.840.10045.4.3.2'));
}

function nameOf(commonName: string): Uint8Array {
  return sequence(tlv(TAG.set, sequence(oid(OID.commonName), utf8(commonName))));
}

function extension(dotted: string, isCritical: boolean, value: Uint8Array): Uint8Array {
  return sequence(oid(dotted), ...(isCritical ? [TRUE] : []), octets(value));
}

/** RFC 5280, method 1: SHA-1 of the key's bits. */
function keyId(publicKey: Uint8Array, sha1: Hash): Uint8Array {
  const key = children(publicKey)?.[1]?.value ?? publicKey;
  return sha1(key.subarray(1));
}

function extensions(request: Request, issuerKey: Uint8Array, sha1: Hash): Uint8Array {
  const { usage, publicKey } = request;
  const isCa = usage === 'ca';
  // keyCertSign and cRLSign; digitalSignature.
  const keyUsage = isCa ? bits(Uint8Array.of(0x06), 1) : bits(Uint8Array.of(0x80), 7);
  const purpose = usage === 'server' ? OID.serverAuth : OID.clientAuth;
  return tlv(
    context(3),
    sequence(
      extension(OID.basicConstraints, true, sequence(...(isCa ? [TRUE] : []))),
      extension(OID.keyUsage, true, keyUsage),
      ...(isCa ? [] : [extension(OID.extendedKeyUsage, false, sequence(oid(purpose)))]),
      extension(OID.subjectKeyId, false, octets(keyId(publicKey, sha1))),
      extension(OID.authorityKeyId, false, sequence(tlv(0x80, keyId(issuerKey, sha1)))),
    ),
  );
}

/** A certificate in PEM. `issuer` without certificate: it signs itself. Bytes are borrowed. */
export function issueCertificate(
  keys: PrivateKeys,
  sha1: Hash,
  request: Request,
  issuer: { readonly certificate?: Uint8Array; readonly key: Uint8Array },
): Uint8Array {
  const issuerKey = keys.publicKey(issuer.key);
  const subject = request.renews === undefined ? nameOf(request.commonName) : subjectOf(request.renews);
  const algorithm = signatureAlgorithm(issuerKey);
  const body = sequence(
    tlv(context(0), small(2)),
    integer(request.serial),
    algorithm,
    issuer.certificate === undefined ? subject : subjectOf(issuer.certificate),
    sequence(time(request.notBeforeS), time(request.notAfterS)),
    subject,
    request.publicKey,
    extensions(request, issuerKey, sha1),
  );
  return toPem('CERTIFICATE', sequence(body, algorithm, bits(keys.sign(issuer.key, body))));
}

/** The parts of the first certificate in PEM text, from the serial number on; undefined: malformed. */
function certificateParts(pem: Uint8Array): Element[] | undefined {
  return partsOf(fromPem('CERTIFICATE', pem)[0]);
}

function partsOf(der: Uint8Array | undefined): Element[] | undefined {
  const body = der && children(der)?.[0];
  const parts = body && elements(body.value);
  return parts?.[0]?.tag === context(0) ? parts.slice(1) : parts;
}

function subjectOf(pem: Uint8Array): Uint8Array {
  const subject = certificateParts(pem)?.[4];
  if (subject === undefined) throw new Error('the authority has no certificate');
  return subject.whole;
}

function commonNameOf(name: Element | undefined): string | undefined {
  for (const set of elements(name?.value ?? new Uint8Array(0)) ?? []) {
    const [kind, value] = children(set.value) ?? [];
    if (kind && value && toHex(kind.whole) === toHex(oid(OID.commonName))) return decodeUtf8(value.value);
  }
  return undefined;
}

function serialText(element: Element | undefined): string | undefined {
  if (element?.tag !== TAG.integer || element.value.length === 0) return undefined;
  return toHex(element.value).replace(/^0+(?=.)/, '');
}

/** What the first certificate of PEM text says; undefined: none, or not to be understood. */
export function readCertificate(pem: Uint8Array): CertificateInfo | undefined {
  const [serial, , , validity, subject] = certificateParts(pem) ?? [];
  const [notBefore, notAfter] = elements(validity?.value ?? new Uint8Array(0)) ?? [];
  const number = serialText(serial);
  const notBeforeS = readTime(notBefore);
  const notAfterS = readTime(notAfter);
  const commonName = commonNameOf(subject);
  if (number === undefined || notBeforeS === undefined || notAfterS === undefined) return undefined;
  return commonName === undefined ? undefined : { serial: number, commonName, notBeforeS, notAfterS };
}

/** The end of life of whichever certificate of PEM text lives longest, seconds since 1970; undefined: there is none. */
export function lastEndS(pem: Uint8Array): number | undefined {
  let last: number | undefined;
  for (const der of fromPem('CERTIFICATE', pem)) {
    const validity = partsOf(der)?.[3];
    const endS = validity && readTime(elements(validity.value)?.[1]);
    if (endS !== undefined && (last === undefined || endS > last)) last = endS;
  }
  return last;
}

export interface Revoked {
  /** As in CertificateInfo. */
  readonly serial: string;
  readonly atS: number;
}

export interface RevocationList {
  readonly number: number;
  readonly revoked: readonly Revoked[];
}

function serialBytes(text: string): Uint8Array {
  const even = text.length % 2 === 1 ? `0${text}` : text;
  return Uint8Array.from(even.match(/../g) ?? [], pair => Number.parseInt(pair, 16));
}

/** A list that is valid for good: a router's clock may be wrong, and nobody renews it. */
const FOREVER_S = 253_402_300_799;

/** A revocation list in PEM. */
export function issueRevocationList(
  keys: PrivateKeys,
  sha1: Hash,
  issuer: Issuer,
  list: RevocationList,
  nowS: number,
): Uint8Array {
  const issuerKey = keys.publicKey(issuer.key);
  const algorithm = signatureAlgorithm(issuerKey);
  const entries = list.revoked.map(({ serial, atS }) => sequence(integer(serialBytes(serial)), time(atS)));
  const number = Uint8Array.of(list.number >>> 24, list.number >>> 16, list.number >>> 8, list.number);
  const body = sequence(
    small(1),
    algorithm,
    subjectOf(issuer.certificate),
    time(nowS),
    time(FOREVER_S),
    ...(entries.length > 0 ? [sequence(...entries)] : []),
    tlv(
      context(0),
      sequence(
        extension(OID.authorityKeyId, false, sequence(tlv(0x80, keyId(issuerKey, sha1)))),
        extension(OID.crlNumber, false, integer(number)),
      ),
    ),
  );
  return toPem('X509 CRL', sequence(body, algorithm, bits(keys.sign(issuer.key, body))));
}

/** Undefined: malformed. */
export function readRevocationList(pem: Uint8Array): RevocationList | undefined {
  const [der] = fromPem('X509 CRL', pem);
  const body = der && children(der)?.[0];
  const parts = body && elements(body.value);
  if (parts === undefined) return undefined;
  const times = parts.filter(({ tag }) => tag === TAG.utcTime || tag === TAG.time).length;
  const afterTimes = parts[3 + times];
  const entries = afterTimes?.tag === TAG.sequence ? (elements(afterTimes.value) ?? []) : [];
  const revoked: Revoked[] = [];
  for (const entry of entries) {
    const [serial, at] = elements(entry.value) ?? [];
    const text = serialText(serial);
    const atS = readTime(at);
    if (text === undefined || atS === undefined) return undefined;
    revoked.push({ serial: text, atS });
  }
  return { number: listNumber(parts.find(({ tag }) => tag === context(0))), revoked };
}

function listNumber(wrapped: Element | undefined): number {
  for (const item of (wrapped && children(wrapped.value)) ?? []) {
    const [kind, value] = elements(item.value) ?? [];
    if (!kind || !value || toHex(kind.whole) !== toHex(oid(OID.crlNumber))) continue;
    const [number] = elements(value.value) ?? [];
    return Number.parseInt(toHex(number?.value.subarray(-6) ?? new Uint8Array(1)), 16);
  }
  return 0;
}
