// SPDX-License-Identifier: Apache-2.0
// TLS contexts and sessions on the shim.

import type { PeerCertificate, TlsEngine, TlsRole } from '../core/tls.ts';
import type { TlsContext, TlsFailure, TlsOptions } from './host.ts';
import { demand, type RawShim } from './raw.ts';

const ROLES: readonly TlsRole[] = ['client', 'server'];
const NO_ROLE = 2;
const VERIFY = ['none', 'optional', 'require'];
const DOUBTS = ['purpose', 'issuer'] as const;
const STATUS = ['handshake', 'established', 'failed'] as const;

class ShimTlsEngine implements TlsEngine {
  readonly #shim: RawShim;
  #handle: number;
  /** What stays to be said after close, or when the input could not be taken. */
  #failed = '';

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
  }

  feed(ciphertext: Uint8Array): void {
    if (this.#handle < 0 || this.#failed !== '') return;
    if (this.#shim.tls_feed(this.#handle, ciphertext) < 0) this.#failed = 'too much unread TLS data';
  }

  pull(max: number): Uint8Array | undefined {
    if (this.#handle < 0) return undefined;
    const bytes = demand<Uint8Array | 0>(this.#shim, 'tls_pull', this.#shim.tls_pull(this.#handle, max) as 0);
    return bytes === 0 ? undefined : bytes;
  }

  pending(): boolean {
    return this.#handle >= 0 && this.#shim.tls_pending(this.#handle) > 0;
  }

  read(): Uint8Array | undefined {
    if (this.#handle < 0 || this.#failed !== '') return undefined;
    const bytes = demand<Uint8Array | 0>(this.#shim, 'tls_read', this.#shim.tls_read(this.#handle) as 0);
    return bytes === 0 ? undefined : bytes;
  }

  write(plaintext: Uint8Array): boolean {
    if (this.#handle < 0 || this.#failed !== '') return false;
    return this.#shim.tls_write(this.#handle, plaintext) === 1;
  }

  status(): 'handshake' | 'established' | 'failed' {
    if (this.#handle < 0 || this.#failed !== '') return 'failed';
    return STATUS[demand<number>(this.#shim, 'tls_drive', this.#shim.tls_drive(this.#handle))]!;
  }

  error(): string {
    if (this.#handle < 0 || this.#failed !== '') return this.#failed;
    return demand<string>(this.#shim, 'tls_error', this.#shim.tls_error(this.#handle));
  }

  description(): string {
    if (this.#handle < 0) return '';
    return demand<string>(this.#shim, 'tls_description', this.#shim.tls_description(this.#handle));
  }

  peerCertificate(): PeerCertificate | undefined {
    if (this.#handle < 0) return undefined;
    const lines = this.#shim.tls_peer(this.#handle);
    if (typeof lines === 'number') return undefined;
    const [commonName, subject, fingerprint, serial, notAfter] = lines.split('\n');
    return {
      commonName: commonName!,
      subject: subject!,
      fingerprint: fingerprint!,
      serial: serial!,
      notAfterS: Number(notAfter),
    };
  }

  exportKey(label: string, length: number): Uint8Array {
    return demand<Uint8Array>(this.#shim, 'tls_export', this.#shim.tls_export(this.#handle, label, length));
  }

  close(): void {
    if (this.#handle < 0) return;
    if (this.#failed === '') this.#failed = this.error();
    this.#shim.tls_close(this.#handle);
    this.#handle = -1;
  }
}

class ShimTlsContext implements TlsContext {
  readonly notAfterS: number;
  readonly doubts: TlsContext['doubts'];
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.notAfterS = shim.tls_context_not_after(handle);
    const bits = shim.tls_context_doubts(handle);
    this.doubts = DOUBTS.filter((_, i) => (bits & (1 << i)) !== 0);
  }

  open(): TlsEngine {
    return new ShimTlsEngine(this.#shim, demand(this.#shim, 'tls_open', this.#shim.tls_open(this.#handle)));
  }

  setCrl(pem: Uint8Array): boolean {
    return this.#shim.tls_context_set_crl(this.#handle, pem) === 0;
  }

  close(): void {
    this.#shim.tls_context_close(this.#handle);
  }
}

/** Key material and settings, ready for sessions; or what is wrong with them. */
export function openTlsContext(shim: RawShim, options: TlsOptions): TlsContext | TlsFailure {
  const made = shim.tls_context(
    ROLES.indexOf(options.role),
    options.ca,
    options.cert,
    options.key,
    options.extraCerts,
    options.versionMin,
    options.versionMax,
    options.cipherList,
    options.cipherSuites,
    options.groups,
    VERIFY.indexOf(options.verifyPeer),
    options.remoteCertTls === undefined ? NO_ROLE : ROLES.indexOf(options.remoteCertTls),
    options.crl,
  );
  if (typeof made === 'number') return new ShimTlsContext(shim, demand(shim, 'tls_context', made));
  const space = made.indexOf(' ');
  return { failed: true, option: made.slice(0, space) as TlsFailure['option'], text: made.slice(space + 1) };
}
