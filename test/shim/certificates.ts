// SPDX-License-Identifier: Apache-2.0
// Certificates for the TLS tests, made by the openssl command in a temporary folder.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { temporary } from './support.ts';

export interface Identity {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

function openssl(...words: string[]): string {
  return execFileSync('openssl', words, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

function path(name: string): string {
  return temporary(name.replaceAll('/', '_'));
}

function identity(name: string): Identity {
  return { cert: readFileSync(`${path(name)}.crt`), key: readFileSync(`${path(name)}.key`) };
}

/** A self-signed authority on P-256. */
export function makeAuthority(name: string, days = 30): Identity {
  const base = path(name);
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${base}.key`);
  openssl(
    ...['req', '-x509', '-new', '-key', `${base}.key`, '-days', String(days), '-subj', `/CN=${name}`],
    ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-out', `${base}.crt`],
  );
  return identity(name);
}

export interface Leaf {
  readonly authority: string;
  /** Extended key usage; absent: none, and no key usage either. */
  readonly usage?: 'serverAuth' | 'clientAuth' | 'codeSigning';
  readonly subject?: string;
  readonly keyUsage?: boolean;
  readonly days?: number;
  readonly serial?: string;
}

/** A leaf on P-256; `days` below zero: expired. */
export function makeLeaf(name: string, leaf: Leaf): Identity {
  const base = path(name);
  const authority = path(leaf.authority);
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${base}.key`);
  const subject = leaf.subject ?? `/C=KG/ST=NA/CN=${name}`;
  openssl('req', '-new', '-utf8', '-key', `${base}.key`, '-subj', subject, '-out', `${base}.csr`);
  const lines = ['basicConstraints=CA:FALSE'];
  if (leaf.keyUsage !== false && leaf.usage !== undefined) lines.push('keyUsage=digitalSignature');
  if (leaf.usage !== undefined) lines.push(`extendedKeyUsage=${leaf.usage}`);
  writeFileSync(`${base}.ext`, `${lines.join('\n')}\n`);
  openssl(
    ...['x509', '-req', '-in', `${base}.csr`, '-CA', `${authority}.crt`, '-CAkey', `${authority}.key`],
    ...['-set_serial', leaf.serial ?? '77', '-days', String(leaf.days ?? 10), '-extfile', `${base}.ext`],
    ...['-out', `${base}.crt`],
  );
  return identity(name);
}

/** The same key behind a password. */
export function encryptKey(name: string): Uint8Array {
  const base = path(name);
  openssl('pkcs8', '-topk8', '-in', `${base}.key`, '-passout', 'pass:secret', '-out', `${base}.enc`);
  return readFileSync(`${base}.enc`);
}

/** SHA-256 of the certificate as the openssl command prints it, in lower-case hex. */
export function fingerprint(name: string): string {
  const line = openssl('x509', '-in', `${path(name)}.crt`, '-noout', '-fingerprint', '-sha256');
  return line.trim().replace(/^.*=/, '').replaceAll(':', '').toLowerCase();
}

/** End of life as the openssl command prints it, seconds since 1970. */
export function endOfLife(name: string): number {
  const line = openssl('x509', '-in', `${path(name)}.crt`, '-noout', '-enddate');
  return Date.parse(line.trim().replace(/^notAfter=/, '')) / 1000;
}
