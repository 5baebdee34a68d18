// SPDX-License-Identifier: Apache-2.0
// The one synchronous collaborator of the core: a TLS endpoint over memory buffers. OpenSSL or Mbed TLS in
// the shim, a fake in the simulator.

export type TlsRole = 'client' | 'server';

/** What the handshake proved about the other end. */
export interface PeerCertificate {
  /** Common name of the leaf; empty when there is none. Never longer than 64 characters. */
  readonly commonName: string;
  /** Whole subject as OpenVPN writes it: `C=KG, ST=NA, CN=x`. */
  readonly subject: string;
  /** SHA-256 of the leaf's DER, 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** Serial number, decimal. */
  readonly serial: string;
  /** `notAfter` as seconds since 1970. */
  readonly notAfterS: number;
}

export interface TlsEngine {
  /** Takes bytes that arrived from the wire (copied). */
  feed(ciphertext: Uint8Array): void;
  /** The next at most `max` bytes to put on the wire; undefined when there are none. */
  pull(max: number): Uint8Array | undefined;
  /** Whether `pull` would return bytes. */
  pending(): boolean;
  /**
   * The next piece of plaintext, one TLS record at a time (a text message is always one record);
   * undefined when there is none.
   */
  read(): Uint8Array | undefined;
  /** Sends `plaintext` as one record. False while the handshake is not complete or after a failure. */
  write(plaintext: Uint8Array): boolean;
  /** Drives the handshake; call after feed. */
  status(): 'handshake' | 'established' | 'failed';
  /** After a failure: one line for a person, e.g. `certificate verify failed: certificate has expired`. */
  error(): string;
  /** `TLSv1.3 TLS_AES_256_GCM_SHA384`; empty before the handshake is complete. */
  description(): string;
  /** Undefined before the handshake is complete or when the peer sent no certificate. */
  peerCertificate(): PeerCertificate | undefined;
  /** RFC 5705 / RFC 8446 exporter without context. Only once established. */
  exportKey(label: string, length: number): Uint8Array;
  /** Frees the session and wipes its keys. Idempotent. */
  close(): void;
}

/** Opens one TLS session; each key_id of a tunnel session has its own. */
export type TlsFactory = () => TlsEngine;
