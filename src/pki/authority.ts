// SPDX-License-Identifier: Apache-2.0
// The small certificate authority of one server tunnel, kept in the tunnel's folder:
//
//   ca.crt ca.key            the authority; its key may be moved off the router, then nothing is issued any more
//   server.crt server.key    the server's own
//   crl.pem                  what is revoked; the running tunnel reads it anew when it changes
//   issued/SERIAL.crt        every certificate that was ever issued, the only index there is
//
// Keys of peers are made on demand and not kept here. Every failure is one line for a person.

import { toPem } from '../core/base64.ts';
import { toHex } from '../core/bytes.ts';
import type { Failure, Files, KeyKind, PrivateKeys } from '../host/host.ts';
import {
  type CertificateInfo,
  issueCertificate,
  issueRevocationList,
  lastEndS,
  type RevocationList,
  readCertificate,
  readRevocationList,
  type Usage,
} from './certificate.ts';

export const CA_DAYS = 3650;
export const SERVER_DAYS = 3650;
export const CLIENT_DAYS = 825;
/** A certificate that is to be renewed: less than this is left of its life, and of a peer's less than a third. */
export const RENEW_BEFORE_DAYS = 30;
/** Of an authority: profiles that were made before keep its old certificate, and need time to be replaced. */
export const RENEW_CA_BEFORE_DAYS = 365;
const DAY_S = 86_400;
/** A router without a battery wakes up in the past: what it issued then nobody would take. */
const CLOCK_MIN_S = 1_735_689_600;
/** The other side's clock may be a little behind. */
const EARLIER_S = 3600;
const SERIAL_LENGTH = 16;
const PUBLIC_MODE = 0o644;
const SECRET_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
/** As OpenVPN and X.509: names of clients. */
const COMMON_NAME_MAX = 64;

/** What the authority works with. */
export interface Ground {
  readonly files: Files;
  readonly keys: PrivateKeys;
  readonly random: (length: number) => Uint8Array;
  readonly sha1: (data: Uint8Array) => Uint8Array;
  readonly wallS: () => number;
  /** The tunnel's folder. */
  readonly directory: string;
}

/** One line saying why it cannot be done. */
export interface Refusal {
  readonly refused: string;
}

export interface Identity {
  /** PEM. */
  readonly certificate: Uint8Array;
  /** PEM, PKCS #8; the caller wipes it. */
  readonly key: Uint8Array;
  readonly info: CertificateInfo;
}

export interface Issued extends CertificateInfo {
  readonly state: 'valid' | 'expired' | 'revoked';
  /** Ends soon or has ended, and nothing newer was issued to this name. */
  readonly isDue: boolean;
}

/** Of a certificate; `endS` in seconds since 1970. */
interface Wanted {
  readonly commonName: string;
  readonly usage: Usage;
  readonly endS: number;
  /** PEM. */
  readonly renews?: Uint8Array;
}

interface AuthorityPair {
  /** PEM. */
  readonly certificate: Uint8Array;
  readonly key: Uint8Array;
  readonly endS: number;
}

const refusal = (refused: string): Refusal => ({ refused });

export function isRefusal(value: object | undefined): value is Refusal {
  return value !== undefined && 'refused' in value;
}

/** Why this cannot be the name in a certificate; undefined: it can. */
export function checkCommonName(name: string): string | undefined {
  if (name.length === 0 || name.length > COMMON_NAME_MAX) return `must be 1 to ${COMMON_NAME_MAX} characters`;
  return /^[A-Za-z0-9_.@:-]+$/.test(name) ? undefined : 'must be of A-Z a-z 0-9 _ . @ : -';
}

export class Authority {
  readonly #ground: Ground;

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  #path(name: string): string {
    return `${this.#ground.directory}/${name}`;
  }

  #read(name: string): Uint8Array | Refusal {
    const bytes = this.#ground.files.read(this.#path(name));
    return 'failed' in bytes ? refusal(`${this.#path(name)}: ${bytes.text}`) : bytes;
  }

  #write(name: string, bytes: Uint8Array, mode: number): Refusal | undefined {
    return this.#told(name, this.#ground.files.write(this.#path(name), bytes, mode));
  }

  #told(name: string, failure: Failure | undefined): Refusal | undefined {
    return failure && refusal(`${this.#path(name)}: ${failure.text}`);
  }

  /** Makes authority, server certificate and empty revocation list; never over an older authority. */
  init(serverName: string, kind: KeyKind = 'P-256'): Refusal | undefined {
    const { files, directory } = this.#ground;
    for (const name of ['ca.crt', 'ca.key', 'server.key']) {
      if (!('failed' in files.status(this.#path(name)))) {
        return refusal(`${this.#path(name)} is there already; nothing was changed`);
      }
    }
    const key = this.#newKey(kind);
    if (isRefusal(key)) return key;
    const wrong = this.#clock() ?? this.#makeDirectories(directory);
    if (wrong !== undefined) return wrong;
    const commonName = `${serverName} CA`;
    const certificate = this.#certificate({ commonName, usage: 'ca', endS: this.#endS(CA_DAYS) }, key, {
      key,
    });
    const failure =
      this.#write('ca.key', key, SECRET_MODE) ??
      this.#write('ca.crt', certificate, PUBLIC_MODE) ??
      this.#writeList({ number: 1, revoked: [] }) ??
      this.#issueServer(serverName);
    key.fill(0);
    return failure;
  }

  #makeDirectories(directory: string): Refusal | undefined {
    const parent = directory.slice(0, directory.lastIndexOf('/'));
    for (const path of [parent, directory, `${directory}/issued`]) {
      const failure = this.#ground.files.makeDirectory(path, DIRECTORY_MODE);
      if (failure !== undefined) return refusal(`${path}: ${failure.text}`);
    }
    return undefined;
  }

  #clock(): Refusal | undefined {
    return this.#ground.wallS() < CLOCK_MIN_S ? refusal('the clock is not set; set it first') : undefined;
  }

  #newKey(kind: KeyKind): Uint8Array | Refusal {
    const der = this.#ground.keys.generate(kind);
    if (der === undefined) return refusal(`the TLS library of this ovpnd has no ${kind} keys`);
    const pem = toPem('PRIVATE KEY', der);
    der.fill(0);
    return pem;
  }

  #endS(days: number): number {
    return Math.floor(this.#ground.wallS()) + days * DAY_S;
  }

  #certificate(
    { endS, ...wanted }: Wanted,
    key: Uint8Array,
    issuer: { readonly certificate?: Uint8Array; readonly key: Uint8Array },
  ): Uint8Array {
    const { keys, random, sha1 } = this.#ground;
    const serial = random(SERIAL_LENGTH);
    // Positive, and of full length.
    serial[0] = (serial[0]! & 0x7f) | 0x40;
    const validity = { notBeforeS: this.#endS(0) - EARLIER_S, notAfterS: endS };
    const publicKey = keys.publicKey(key);
    return issueCertificate(keys, sha1, { ...wanted, serial, publicKey, ...validity }, issuer);
  }

  /** The authority's certificate and key; the caller wipes the key. */
  #issuer(): AuthorityPair | Refusal {
    const certificate = this.#read('ca.crt');
    if (isRefusal(certificate)) return refusal(`${certificate.refused}: there is no authority yet`);
    const { files, keys } = this.#ground;
    const key = files.read(this.#path('ca.key'));
    if ('failed' in key) {
      return refusal(
        `the authority's key ${this.#path('ca.key')} is not here (${key.text}): bring it back to sign`,
      );
    }
    if (!keys.isKey(key)) return refusal(`${this.#path('ca.key')} holds no private key`);
    const endS = lastEndS(certificate);
    return endS === undefined
      ? refusal(`${this.#path('ca.crt')} holds no certificate`)
      : { certificate, key, endS };
  }

  get canIssue(): boolean {
    const issuer = this.#issuer();
    if (isRefusal(issuer)) return false;
    issuer.key.fill(0);
    return true;
  }

  /**
   * A certificate with a fresh key of the authority's kind, remembered under its serial number. It does not outlive
   * the authority: nobody would take it then, whatever it said.
   */
  issue(commonName: string, usage: 'server' | 'client', days: number): Identity | Refusal {
    const wrong = checkCommonName(commonName);
    if (wrong !== undefined) return refusal(`common name '${commonName.replace(/[^ -~]/g, '?')}' ${wrong}`);
    const unset = this.#clock();
    if (unset !== undefined) return unset;
    const issuer = this.#issuer();
    if (isRefusal(issuer)) return issuer;
    if (issuer.endS <= this.#ground.wallS()) {
      issuer.key.fill(0);
      return refusal(`${this.#path('ca.crt')} has expired: renew it first`);
    }
    const key = this.#newKey(kindOf(this.#ground.keys.publicKey(issuer.key)));
    if (isRefusal(key)) return key;
    const endS = Math.min(this.#endS(days), issuer.endS);
    const certificate = this.#certificate({ commonName, usage, endS }, key, issuer);
    issuer.key.fill(0);
    const info = readCertificate(certificate)!;
    const failure = this.#write(`issued/${info.serial}.crt`, certificate, PUBLIC_MODE);
    if (failure === undefined) return { certificate, key, info };
    key.fill(0);
    return failure;
  }

  /**
   * A new server certificate and key, and in its last year a new certificate for the authority. That keeps name and
   * key: older certificates stay good, and older profiles know the server until the end they always had.
   */
  renew(serverName: string): Refusal | undefined {
    return this.#clock() ?? this.#renewItself() ?? this.#issueServer(serverName);
  }

  #renewItself(): Refusal | undefined {
    const issuer = this.#issuer();
    if (isRefusal(issuer)) return issuer;
    const { certificate: renews, key, endS } = issuer;
    const isDue = endS < this.#endS(RENEW_CA_BEFORE_DAYS);
    const wanted: Wanted = { commonName: '', usage: 'ca', endS: this.#endS(CA_DAYS), renews };
    const certificate = isDue ? this.#certificate(wanted, key, issuer) : undefined;
    key.fill(0);
    return certificate && this.#write('ca.crt', certificate, PUBLIC_MODE);
  }

  #issueServer(serverName: string): Refusal | undefined {
    const identity = this.issue(serverName, 'server', SERVER_DAYS);
    if (isRefusal(identity)) return identity;
    // The certificate last: a tunnel that reads in between finds the old pair or a key that does not fit, and stays.
    const failure =
      this.#write('server.key', identity.key, SECRET_MODE) ??
      this.#write('server.crt', identity.certificate, PUBLIC_MODE);
    identity.key.fill(0);
    return failure;
  }

  /** Everything that was issued, newest first. */
  list(): Issued[] | Refusal {
    const names = this.#ground.files.list(this.#path('issued'));
    if ('failed' in names)
      return refusal(`${this.#path('issued')}: ${names.text}: there is no authority yet`);
    const list = this.#revocations();
    if (isRefusal(list)) return list;
    const revoked = new Set(list.revoked.map(({ serial }) => serial));
    const nowS = this.#ground.wallS();
    const found: Omit<Issued, 'isDue'>[] = [];
    const lastS = new Map<string, number>();
    for (const name of names) {
      const bytes = name.endsWith('.crt') ? this.#read(`issued/${name}`) : undefined;
      const info = bytes === undefined || isRefusal(bytes) ? undefined : readCertificate(bytes);
      if (info === undefined) continue;
      const state = revoked.has(info.serial) ? 'revoked' : info.notAfterS < nowS ? 'expired' : 'valid';
      found.push({ ...info, state });
      if (state === 'valid')
        lastS.set(info.commonName, Math.max(info.notAfterS, lastS.get(info.commonName) ?? 0));
    }
    return found
      .map(item => {
        const { notBeforeS, notAfterS } = item;
        const isLast = notAfterS >= (lastS.get(item.commonName) ?? 0);
        const isOld = notAfterS - nowS < Math.min(RENEW_BEFORE_DAYS * DAY_S, (notAfterS - notBeforeS) / 3);
        return { ...item, isDue: item.state !== 'revoked' && isOld && isLast };
      })
      .sort((a, b) => b.notBeforeS - a.notBeforeS);
  }

  #revocations(): RevocationList | Refusal {
    const pem = this.#ground.files.read(this.#path('crl.pem'));
    if ('failed' in pem) {
      return pem.code === 'ENOENT'
        ? { number: 0, revoked: [] }
        : refusal(`${this.#path('crl.pem')}: ${pem.text}`);
    }
    // An unreadable list taken for an empty one would let everybody in again.
    return readRevocationList(pem) ?? refusal(`${this.#path('crl.pem')} holds no revocation list`);
  }

  #writeList(list: RevocationList): Refusal | undefined {
    const issuer = this.#issuer();
    if (isRefusal(issuer)) return issuer;
    const { keys, sha1, wallS } = this.#ground;
    const pem = issueRevocationList(keys, sha1, issuer, list, Math.floor(wallS()));
    issuer.key.fill(0);
    return this.#write('crl.pem', pem, PUBLIC_MODE);
  }

  /** Revokes every certificate of this name that is still valid; how many. */
  revoke(commonName: string): number | Refusal {
    const issued = this.list();
    if (isRefusal(issued)) return issued;
    const mine = issued.filter(item => item.commonName === commonName && item.state === 'valid');
    if (mine.length === 0) return 0;
    const old = this.#revocations();
    if (isRefusal(old)) return old;
    const atS = Math.floor(this.#ground.wallS());
    const revoked = [...old.revoked, ...mine.map(({ serial }) => ({ serial, atS }))];
    return this.#writeList({ number: old.number + 1, revoked }) ?? mine.length;
  }

  /** What will end soon or has ended, of the authority's and server's own certificates: lines for status and log. */
  warnings(): string[] {
    const lines: string[] = [];
    for (const [name, what, before] of [
      ['ca.crt', 'the authority', RENEW_CA_BEFORE_DAYS],
      ['server.crt', "the server's certificate", RENEW_BEFORE_DAYS],
    ] as const) {
      const pem = this.#read(name);
      const endS = isRefusal(pem) ? undefined : lastEndS(pem);
      if (endS === undefined) continue;
      const days = Math.floor((endS - this.#ground.wallS()) / DAY_S);
      if (days < before)
        lines.push(`${what} (${name}) ${days < 0 ? 'has expired' : `expires in ${days} days`}`);
    }
    return lines;
  }
}

/** The kind of an authority's key decides what it issues. */
function kindOf(publicKey: Uint8Array): KeyKind {
  const text = toHex(publicKey);
  // Object identifiers of Ed25519 and secp384r1.
  if (text.includes('06032b6570')) return 'Ed25519';
  return text.includes('06052b81040022') ? 'P-384' : 'P-256';
}
