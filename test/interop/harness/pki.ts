// SPDX-License-Identifier: Apache-2.0
// Keys and certificates of a test run, by the openssl command line: good ones and each kind of bad one.

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './process.ts';
import { once, runState } from './state.ts';

/** Paths of PEM files. */
export interface Identity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface Pki {
  readonly dir: string;
  readonly server: Identity;
  /** Common names client0, client1... */
  readonly clients: readonly Identity[];
  /** Signed by an authority nobody else trusts. */
  readonly strangeServer: Identity;
  readonly strangeClient: Identity;
  readonly expiredServer: Identity;
  readonly expiredClient: Identity;
  /** Static keys, 2048 bit. */
  readonly staticKey: string;
  readonly otherStaticKey: string;
  /** tls-crypt-v2: of a server and of one of its clients, and of another server. */
  readonly v2: V2Keys;
  readonly otherV2: V2Keys;
  /** Of the run's server, with one bit of its sealed part changed. */
  readonly tamperedV2Client: string;
}

/** Paths of key files. */
export interface V2Keys {
  readonly server: string;
  readonly client: string;
}

export const CLIENTS = 10;
/** Long enough that no daemon warns of the end. */
const DAYS = 90;

const CONFIG = `[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyAgreement
extendedKeyUsage = serverAuth
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
`;

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export function pki(): Promise<Pki> {
  return once('pki', make);
}

async function make(): Promise<Pki> {
  const dir = join(runState().dir, 'pki');
  mkdirSync(dir, { mode: 0o755 });
  writeFileSync(join(dir, 'openssl.cnf'), CONFIG);
  await Promise.all([authority(dir, 'ca'), authority(dir, 'strange-ca')]);
  const clients = Array.from({ length: CLIENTS }, (_, i) => issue(dir, 'ca', `client${i}`, 'client', DAYS));
  const staticKey = join(dir, 'static.key');
  const otherStaticKey = join(dir, 'other-static.key');
  const v2 = Promise.all([v2Keys(dir, 'v2'), v2Keys(dir, 'other-v2')]);
  const [server, strangeServer, strangeClient, expiredServer, expiredClient] = await Promise.all([
    issue(dir, 'ca', 'server', 'server', DAYS),
    issue(dir, 'strange-ca', 'strange-server', 'server', DAYS),
    issue(dir, 'strange-ca', 'strange-client', 'client', DAYS),
    issue(dir, 'ca', 'expired-server', 'server', -1),
    issue(dir, 'ca', 'expired-client', 'client', -1),
    run(['openvpn', '--genkey', 'secret', staticKey]),
    run(['openvpn', '--genkey', 'secret', otherStaticKey]),
  ]);
  return {
    dir,
    server,
    clients: await Promise.all(clients),
    strangeServer,
    strangeClient,
    expiredServer,
    expiredClient,
    staticKey,
    otherStaticKey,
    tamperedV2Client: tamper((await v2)[0].client, join(dir, 'tampered-v2-client.key')),
    v2: (await v2)[0],
    otherV2: (await v2)[1],
  };
}

/** Gives the server of an authority in this folder (as `ovpnd pki init` lays it out) a certificate for five more days. */
export async function expireSoon(folder: string, name: string): Promise<void> {
  const file = (file: string): string => join(folder, file);
  writeFileSync(file('purpose'), 'extendedKeyUsage=serverAuth');
  const request = ['openssl', 'req', '-new', '-key', file('server.key'), '-subj', `/CN=${name}`];
  await run([...request, '-out', file('request')]);
  const sign = ['openssl', 'x509', '-req', '-in', file('request'), '-out', file('server.crt'), '-days', '5'];
  const authority = ['-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-set_serial', '77'];
  await run([...sign, ...authority, '-extfile', file('purpose')]);
}

async function v2Keys(dir: string, name: string): Promise<V2Keys> {
  const keys = { server: join(dir, `${name}-server.key`), client: join(dir, `${name}-client.key`) };
  await run(['openvpn', '--genkey', 'tls-crypt-v2-server', keys.server]);
  await run(['openvpn', '--tls-crypt-v2', keys.server, '--genkey', 'tls-crypt-v2-client', keys.client]);
  return keys;
}

/** A copy with another digit in its last line but one, which lies in the sealed part. */
function tamper(file: string, copy: string): string {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const at = lines.length - 3;
  lines[at] = (lines[at]!.startsWith('A') ? 'B' : 'A') + lines[at]!.slice(1);
  writeFileSync(copy, `${lines.join('\n')}\n`, { mode: 0o600 });
  return copy;
}

async function authority(dir: string, name: string): Promise<void> {
  const words = [
    'openssl',
    'req',
    '-x509',
    '-config',
    join(dir, 'openssl.cnf'),
    '-extensions',
    'ca',
    ...NEW_KEY,
  ];
  const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`)];
  await run([...words, ...files, '-subj', `/CN=${name}`, '-days', String(DAYS)]);
}

async function issue(dir: string, ca: string, name: string, kind: 'server' | 'client', days: number) {
  const path = (suffix: string): string => join(dir, `${name}.${suffix}`);
  const config = join(dir, 'openssl.cnf');
  const request = ['openssl', 'req', '-new', '-config', config, ...NEW_KEY, '-subj', `/CN=${name}`];
  await run([...request, '-keyout', path('key'), '-out', path('csr')]);
  chmodSync(path('key'), 0o600);
  const sign = ['openssl', 'x509', '-req', '-in', path('csr'), '-out', path('crt'), '-days', String(days)];
  const signer = ['-CA', join(dir, `${ca}.crt`), '-CAkey', join(dir, `${ca}.key`)];
  // The serial number is the name: issuing runs in parallel, a counter file could not.
  const serial = ['-set_serial', `0x01${[...name].map(c => c.charCodeAt(0).toString(16)).join('')}`];
  await run([...sign, ...signer, ...serial, '-extfile', config, '-extensions', kind]);
  return { ca: join(dir, `${ca}.crt`), cert: path('crt'), key: path('key') };
}
