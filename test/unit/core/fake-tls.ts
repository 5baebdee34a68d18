// SPDX-License-Identifier: Apache-2.0
// A TLS endpoint without cryptography: a handshake of four messages, records, an exporter both ends agree on, and
// failures on demand. It behaves as the shim's does: work happens in `status` and `read`, and after `close` it is
// dead but harmless.

import { concat, decodeUtf8, encodeUtf8, sameBytes } from '../../../src/core/bytes.ts';
import type { PeerCertificate, TlsEngine, TlsFactory, TlsRole } from '../../../src/core/tls.ts';

export interface FakeTlsOptions {
  readonly role: TlsRole;
  /** In our certificate; empty = a certificate without one. */
  commonName: string;
  /** Tells certificates of one name apart. */
  serial?: number;
  /** Why we do not trust the other end's certificate; undefined = we do. */
  refuse?: (commonName: string) => string | undefined;
  /** Bytes a certificate chain takes. */
  chainLength?: number;
  /** What the exporter gives is all zero. */
  zeroExporter?: boolean;
}

/** Makes engines and remembers them all, to see that each is closed. */
export interface FakeTls extends TlsFactory {
  readonly options: FakeTlsOptions;
  readonly engines: FakeTlsEngine[];
  /** Engines not closed. */
  living(): number;
}

export function fakeTls(options: FakeTlsOptions): FakeTls {
  const engines: FakeTlsEngine[] = [];
  const make = (): TlsEngine => {
    const engine = new FakeTlsEngine(options);
    engines.push(engine);
    return engine;
  };
  return Object.assign(make, {
    options,
    engines,
    living: () => engines.filter(engine => !engine.isClosed).length,
  });
}

// A frame: u8 type, u16 length, payload.
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const CLIENT_FINISHED = 3;
const SERVER_FINISHED = 4;
const ALERT = 21;
const DATA = 23;

let serial = 0;

/** Different for each engine, and the same in each run. */
function freshRandom(): Uint8Array {
  serial++;
  return new Uint8Array([serial >> 24, serial >> 16, serial >> 8, serial]);
}

export class FakeTlsEngine implements TlsEngine {
  isClosed = false;
  /** Bytes fed in all. */
  fed = 0;
  readonly #options: FakeTlsOptions;
  readonly #random = freshRandom();
  #remoteRandom: Uint8Array | undefined;
  #remoteName: string | undefined;
  #remoteSerial = 0;
  #in: Uint8Array = new Uint8Array(0);
  #out: Uint8Array = new Uint8Array(0);
  readonly #records: Uint8Array[] = [];
  #status: 'handshake' | 'established' | 'failed' = 'handshake';
  #error = '';

  constructor(options: FakeTlsOptions) {
    this.#options = { ...options };
    if (options.role === 'client') this.#emit(CLIENT_HELLO, this.#random);
  }

  #emit(type: number, payload: Uint8Array): void {
    const head = new Uint8Array([type, payload.length >> 8, payload.length & 255]);
    this.#out = concat(this.#out, head, payload);
  }

  #certificate(): Uint8Array {
    const { commonName, serial = 0, chainLength = 0 } = this.#options;
    const name = encodeUtf8(commonName);
    return concat(new Uint8Array([name.length]), name, new Uint8Array([serial]), new Uint8Array(chainLength));
  }

  /** Fails as on a bad certificate or record; `alert` goes to the other end. */
  fail(error: string, alert = true): void {
    this.#status = 'failed';
    this.#error = error;
    if (alert) this.#emit(ALERT, encodeUtf8(error));
  }

  feed(ciphertext: Uint8Array): void {
    if (this.isClosed) return;
    this.fed += ciphertext.length;
    this.#in = concat(this.#in, ciphertext);
  }

  /** As the shim's, no further than a record that nobody has read: what ends TLS may stand behind it. */
  #drive(): void {
    while (!this.isClosed && this.#status !== 'failed' && this.#in.length >= 3) {
      if (this.#records.length > 0) return;
      const length = (this.#in[1]! << 8) | this.#in[2]!;
      if (this.#in.length < 3 + length) return;
      const payload = this.#in.slice(3, 3 + length);
      const type = this.#in[0]!;
      this.#in = this.#in.slice(3 + length);
      this.#onFrame(type, payload);
    }
  }

  #onFrame(type: number, payload: Uint8Array): void {
    const isClient = this.#options.role === 'client';
    if (type === ALERT) return this.fail(`peer sent alert: ${decodeUtf8(payload)}`, false);
    if (type === DATA && this.#status === 'established') return void this.#records.push(payload);
    if (this.#status === 'handshake' && type === CLIENT_HELLO && !isClient) {
      this.#remoteRandom = payload;
      return this.#emit(SERVER_HELLO, concat(this.#random, this.#certificate()));
    }
    if (this.#status === 'handshake' && type === SERVER_HELLO && isClient) {
      this.#remoteRandom = payload.slice(0, 4);
      if (this.#trust(payload.subarray(4))) this.#emit(CLIENT_FINISHED, this.#certificate());
      return;
    }
    const isLast = type === CLIENT_FINISHED && !isClient && this.#remoteRandom !== undefined;
    if (this.#status === 'handshake' && isLast) {
      if (this.#trust(payload)) this.#emit(SERVER_FINISHED, new Uint8Array(0));
      return;
    }
    if (type === SERVER_FINISHED && isClient && this.#status === 'established') return;
    this.fail('bad record');
  }

  #trust(certificate: Uint8Array): boolean {
    const name = decodeUtf8(certificate.subarray(1, 1 + (certificate[0] ?? 0)));
    const problem = this.#options.refuse?.(name);
    if (problem !== undefined) this.fail(problem);
    else this.#status = 'established';
    this.#remoteName = name;
    this.#remoteSerial = certificate[1 + (certificate[0] ?? 0)] ?? 0;
    return problem === undefined;
  }

  pull(max: number): Uint8Array | undefined {
    if (this.isClosed || this.#out.length === 0) return undefined;
    const bytes = this.#out.slice(0, max);
    this.#out = this.#out.slice(max);
    return bytes;
  }

  pending(): boolean {
    return !this.isClosed && this.#out.length > 0;
  }

  read(): Uint8Array | undefined {
    this.#drive();
    return this.isClosed ? undefined : this.#records.shift();
  }

  write(plaintext: Uint8Array): boolean {
    if (this.isClosed || this.#status !== 'established') return false;
    this.#emit(DATA, plaintext);
    return true;
  }

  status(): 'handshake' | 'established' | 'failed' {
    this.#drive();
    return this.isClosed ? 'failed' : this.#status;
  }

  error(): string {
    return this.#error;
  }

  description(): string {
    return this.#status === 'established' ? 'FAKE' : '';
  }

  peerCertificate(): PeerCertificate | undefined {
    if (this.isClosed || this.#remoteName === undefined) return undefined;
    return {
      commonName: this.#remoteName,
      subject: `CN=${this.#remoteName}`,
      fingerprint: this.#remoteSerial.toString(16).padStart(64, '0'),
      serial: String(this.#remoteSerial),
      notAfterS: 0,
    };
  }

  exportKey(label: string, length: number): Uint8Array {
    if (this.isClosed || this.#status !== 'established') throw new Error('export before or after its time');
    if (this.#options.zeroExporter === true) return new Uint8Array(length);
    const [client, server] =
      this.#options.role === 'client'
        ? [this.#random, this.#remoteRandom!]
        : [this.#remoteRandom!, this.#random];
    // FNV-1a over both randoms, the label and a counter: equal at both ends, different between sessions.
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      let hash = 0x811c9dc5;
      for (const byte of concat(client, server, encodeUtf8(label), new Uint8Array([i]))) {
        hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
      }
      out[i] = (hash >>> 11) & 255;
    }
    return out;
  }

  close(): void {
    this.isClosed = true;
  }
}

/** Whether two engines met: their exporters agree. */
export function agree(a: TlsEngine, b: TlsEngine): boolean {
  return sameBytes(a.exportKey('x', 32), b.exportKey('x', 32));
}
