// SPDX-License-Identifier: Apache-2.0
// What the code needs from a runtime. Bodies: QuickJS executable and Node addon (both on the same C shim), and
// the simulated one of the tests. Nothing here blocks, except where it says so.

import type { Endpoint, Ip } from '../core/address.ts';
import type { Crypto, Random } from '../core/crypto.ts';
import type { TlsEngine, TlsRole } from '../core/tls.ts';

/** A system call that failed. `code` is the errno name (`EADDRINUSE`), `text` is strerror's. */
export interface Failure {
  readonly failed: true;
  /** The call or object: `bind`, `open /dev/net/tun`. */
  readonly call: string;
  readonly errno: number;
  readonly code: string;
  readonly text: string;
}

export type Result<T> = T | Failure;

export function isFailure(value: unknown): value is Failure {
  return typeof value === 'object' && value !== null && (value as { failed?: unknown }).failed === true;
}

/** One line: `bind: Address already in use`. */
export function describe(failure: Failure): string {
  return `${failure.call}: ${failure.text}`;
}

export type SignalName = 'HUP' | 'INT' | 'TERM' | 'USR1' | 'USR2';

export interface Timer {
  cancel(): void;
}

/** Single-threaded: descriptors, timers and signals, callbacks one at a time. */
export interface Loop {
  onReadable(fd: number, callback: () => void): void;
  /** undefined stops watching for writability. */
  onWritable(fd: number, callback: (() => void) | undefined): void;
  /** Must be called before the descriptor is closed. */
  forget(fd: number): void;
  /** Calls back once when `monotonicMs() >= deadlineMs`. */
  at(deadlineMs: number, callback: () => void): Timer;
  onSignal(name: SignalName, callback: () => void): void;
  /** Blocks until stop(). */
  run(): void;
  stop(): void;
}

export interface SocketOptions {
  readonly device?: string;
  readonly mark?: number;
  readonly sendBuffer?: number;
  readonly receiveBuffer?: number;
}

/** Of a UDP socket or a TCP listener. */
export interface BindOptions extends SocketOptions {
  /** 0 = one IPv6 socket that also takes IPv4. */
  readonly family: 4 | 6 | 0;
  /** Own address to bind; absent = any. */
  readonly ip?: Ip;
  /** 0 = the kernel chooses. */
  readonly port: number;
}

export interface Datagram {
  readonly from: Endpoint;
  /** The own address it came to. */
  readonly to: Ip;
  /** Borrowed: valid until the next receive on any socket. */
  readonly bytes: Uint8Array;
}

export interface UdpSocket {
  readonly fd: number;
  /** As bound, with the port the kernel chose. */
  readonly local: Endpoint;
  /** undefined: nothing there (EAGAIN). Errors of earlier sends (ECONNREFUSED...) are Failures, not fatal. */
  receive(): Result<Datagram> | undefined;
  /** `from`: own source address. EAGAIN is a Failure too: the datagram is lost, as on a wire. */
  send(bytes: Uint8Array, to: Endpoint, from?: Ip): Failure | undefined;
  close(): void;
}

/** Nothing waits to be sent together (TCP_NODELAY). */
export interface TcpConnection {
  readonly fd: number;
  readonly remote: Endpoint;
  /** Of a connection that was opened: what became of it, once it is writable; undefined: it is there. */
  outcome(): Failure | undefined;
  /** As bound now: of a connection that was opened, once it is there. */
  local(): Endpoint;
  /** Never more than the buffer holds; 0 at the end of the stream; undefined: nothing there. */
  read(into: Uint8Array): Result<number> | undefined;
  /** How many bytes were taken; 0 = full. */
  write(bytes: Uint8Array): Result<number>;
  close(): void;
}

export interface TcpListener {
  readonly fd: number;
  /** As bound, with the port the kernel chose. */
  readonly local: Endpoint;
  /** undefined: nobody waits. Failures concern one connection, or that this process has no descriptor left. */
  accept(): Result<TcpConnection> | undefined;
  close(): void;
}

export interface TunDevice {
  readonly fd: number;
  /** The name the kernel gave. */
  readonly name: string;
  readonly index: number;
  /** One IP packet without header (IFF_NO_PI), borrowed until the next read; undefined: nothing there. */
  read(): Result<Uint8Array> | undefined;
  write(packet: Uint8Array): Failure | undefined;
  /** The native data plane on a device opened with `hasHeader`; close it before the device. */
  openPlane(options: NativePlaneOptions): Result<NativePlane>;
  /** The device and all its addresses and routes vanish. */
  close(): void;
}

/** Fast-path features of the native plane, as bits. */
export const NATIVE_FEATURES = { tun_tso: 1, tun_uso: 2, tun_gro: 4, tx_gso: 8, rx_gro: 16 } as const;

export interface NativePlaneOptions {
  readonly isMany: boolean;
  /** Bits of NATIVE_FEATURES that may be used. */
  readonly features: number;
  /** Outer packet size that TCP is cut to; 0 = off. */
  readonly mssfix: number;
  /** Keeps the own address that packets came to, and answers from it. */
  readonly usesLocal: boolean;
  readonly peersMax: number;
  /** Of keys: struct key_limits of src/shim/plane.h. */
  readonly limits: readonly number[];
  readonly mtu: number;
  readonly clientToClient: boolean;
  /** 2: one for each direction. Without a device there is none. */
  readonly threads: number;
}

/** One peer's description: layouts are those of src/shim/plane.h. Absent in a change: as before. */
export interface NativePeer {
  readonly peerId: number;
  readonly txId?: number;
  readonly isV1?: boolean;
  readonly path?: Uint8Array;
  readonly vpnIp4?: Uint8Array;
  readonly vpnIp6?: Uint8Array;
  readonly routes?: Uint8Array;
  readonly keepalive?: { readonly intervalS: number; readonly timeoutS: number };
}

export interface NativeKey {
  readonly peerId: number;
  readonly slot: 'primary' | 'secondary';
  readonly keyId: number;
  readonly cipher: string;
  /** Then the keys are the first epoch keys, and the tails empty. */
  readonly isEpoch: boolean;
  /** See RekeyAfter of src/core/plane.ts. */
  readonly rekeyAfter: { readonly packets: number; readonly bytes: number };
  readonly encrypt: { readonly key: Uint8Array; readonly tail: Uint8Array };
  readonly decrypt: { readonly key: Uint8Array; readonly tail: Uint8Array };
}

/** The shim's data plane, with its own thread where it has a device. Commands give a Failure or undefined. */
export interface NativePlane {
  /** Readable when there are events. */
  readonly fd: number;
  /** Fills the buffer with whole events; how many bytes. */
  take(buffer: Uint8Array): number;
  /** Its serial: tells it from other peers of this id in events. */
  addPeer(peer: NativePeer, now: number): Result<number>;
  setPeer(change: NativePeer, now: number): Failure | undefined;
  delPeer(peerId: number): Failure | undefined;
  addKey(key: NativeKey): Failure | undefined;
  swapKeys(peerId: number): Failure | undefined;
  delKey(peerId: number, slot: 'primary' | 'secondary'): Failure | undefined;
  sendInner(peerId: number, payload: Uint8Array, now: number): Failure | undefined;
  peers(): Uint8Array;
  /** Drops by reason, then the bits of the features that are on. */
  show(): readonly number[];
  /** The plane reads a UDP socket from now on. `tunes`: larger buffers than the system's default. */
  addSocket(socket: number, fd: number, family: 4 | 6, tunes: boolean): Failure | undefined;
  /** The same for a TCP connection, between two records. */
  addStream(fd: number, path: Uint8Array, recordMax: number): Failure | undefined;
  /** A control packet for a connection that the plane has, its length in front. */
  sendRecord(socket: number, record: Uint8Array): Failure | undefined;
  /** Before the descriptor is closed. */
  removeSocket(socket: number): Failure | undefined;
  /** Without a device: a datagram, a frame, the time. */
  fromNetwork(path: Uint8Array, datagram: Uint8Array, now: number): void;
  fromTun(frame: Uint8Array, now: number, tells?: boolean): void;
  tick(now: number): void;
  deadline(): number | undefined;
  /** Ends the thread and wipes all keys. */
  close(): void;
}

/** Raw netlink: messages are whole byte arrays, built and read elsewhere. */
export interface NetlinkSocket {
  readonly fd: number;
  send(message: Uint8Array): Failure | undefined;
  /** One datagram (maybe several messages), a copy; undefined: nothing there. ENOBUFS is a Failure: notifications were lost. */
  receive(): Result<Uint8Array> | undefined;
  join(group: number): Failure | undefined;
  close(): void;
}

/** A connected stream (unix socket). */
export interface Stream {
  readonly fd: number;
  /** A copy; empty at end of stream; undefined: nothing there. */
  read(max: number): Result<Uint8Array> | undefined;
  /** How many bytes were taken; 0 = full. */
  write(bytes: Uint8Array): Result<number>;
  close(): void;
}

export interface StreamListener {
  readonly fd: number;
  /** undefined: nobody waits. */
  accept(): Result<Stream> | undefined;
  /** Also unlinks the path. */
  close(): void;
}

export interface TlsOptions {
  readonly role: TlsRole;
  /** PEM; several certificates allowed. Absent: no CA (peer_fingerprint). */
  readonly ca?: Uint8Array;
  readonly cert?: Uint8Array;
  readonly key?: Uint8Array;
  readonly extraCerts?: Uint8Array;
  /** PEM; several lists allowed. */
  readonly crl?: Uint8Array;
  /** '1.2' or '1.3'. */
  readonly versionMin: string;
  readonly versionMax?: string;
  /** OpenSSL syntax; absent = the library's forward-secret default. */
  readonly cipherList?: string;
  readonly cipherSuites?: string;
  readonly groups?: string;
  /** Whether the peer must show a certificate that chains to `ca`. */
  readonly verifyPeer: 'require' | 'optional' | 'none';
  /** The peer's leaf must carry keyUsage and this extended key usage (`remote-cert-tls`). */
  readonly remoteCertTls?: TlsRole;
}

/** Why key material cannot be used; `option` names the uci option at fault. */
export interface TlsFailure {
  readonly failed: true;
  readonly option:
    | 'ca'
    | 'cert'
    | 'key'
    | 'extra_certs'
    | 'crl'
    | 'tls_version_min'
    | 'tls_cipher'
    | 'tls_ciphersuites'
    | 'tls_groups';
  /** `not a PEM certificate`, `does not match the certificate`. */
  readonly text: string;
}

export interface TlsContext {
  open(): TlsEngine;
  /** Another revocation list (PEM, several allowed) for handshakes from now on. False: it is none, nothing changed. */
  setCrl(pem: Uint8Array): boolean;
  /** Own leaf certificate's end of life, seconds since 1970; 0 without one. */
  readonly notAfterS: number;
  /** What is odd about the own certificate: `purpose`, it is not for this role; `issuer`, none of `ca` or the chain signed it. */
  readonly doubts: readonly ('purpose' | 'issuer')[];
  close(): void;
}

export type KeyKind = 'P-256' | 'P-384' | 'Ed25519';

/** Making keys and signing with them. All throw when the library refuses. */
export interface PrivateKeys {
  /** A fresh key in PKCS #8, DER; the caller wipes it. undefined: the TLS library has no such keys. */
  generate(kind: KeyKind): Uint8Array | undefined;
  /** Whether this is a private key in PEM form, without password. */
  isKey(pem: Uint8Array): boolean;
  /** SubjectPublicKeyInfo, DER. */
  publicKey(pem: Uint8Array): Uint8Array;
  /** As certificates carry it: ECDSA or RSA with SHA-256 (P-384: SHA-384), Ed25519. */
  sign(pem: Uint8Array, data: Uint8Array): Uint8Array;
  /**
   * What a PKCS #12 file without a password holds, in PEM: the private key, its certificate, other certificates; the
   * caller wipes it. Else EINVAL: it is none; EACCES: it has a password; EOPNOTSUPP: it is encrypted in an old way; ENOSYS:
   * the TLS library cannot read any.
   */
  pkcs12(file: Uint8Array): Result<Uint8Array>;
}

export interface FileStatus {
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  /** Permission bits, e.g. 0o600. */
  readonly mode: number;
  readonly uid: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

/** Whole small files. Names come from configuration, never from a peer. */
export interface Files {
  /** At most 1 MiB (EFBIG). */
  read(path: string): Result<Uint8Array>;
  /** Follows no symbolic link in the last component; new file, then rename: readers see old or new. */
  write(path: string, bytes: Uint8Array, mode: number): Failure | undefined;
  status(path: string): Result<FileStatus>;
  /** Names in a directory, sorted. */
  list(path: string): Result<string[]>;
  /** No error when it exists as a directory. */
  makeDirectory(path: string, mode: number): Failure | undefined;
  remove(path: string): Failure | undefined;
}

/** The right to write a file, as libuci has it. */
export interface FileLock {
  /** Once. Whoever waits for the file reads what was written meanwhile. */
  release(): void;
}

/** A name being resolved in the background (getaddrinfo in a thread). */
export interface Resolution {
  cancel(): void;
}

export interface Host {
  readonly runtime: 'quickjs' | 'node' | 'simulated';
  /** Words after the program name. */
  readonly args: readonly string[];
  readonly crypto: Crypto;
  readonly random: Random;
  readonly loop: Loop;
  readonly files: Files;
  /** Does not wait: EAGAIN while another process has it. */
  lockFile(path: string): Result<FileLock>;
  readonly privateKeys: PrivateKeys;
  /** crypt(3) with the salt and method of `setting`; undefined: it knows no such method. Takes milliseconds. */
  hashPassword(password: string, setting: string): string | undefined;
  monotonicMs(): number;
  /** Seconds since 1970; certificates and the replay id of wrapped packets only. */
  wallS(): number;
  openUdp(options: BindOptions): Result<UdpSocket>;
  listenTcp(options: BindOptions): Result<TcpListener>;
  /** Begins to connect; becomes writable when `outcome` knows how it went. */
  connectTcp(remote: Endpoint, options: SocketOptions): Result<TcpConnection>;
  /** Name of at most 15 characters; fails with EBUSY when the device is in use. `hasHeader`: for openPlane. */
  openTun(name: string, hasHeader?: boolean): Result<TunDevice>;
  /** `protocol` 0 = route, 16 = generic. Extended acks are on. */
  openNetlink(protocol: number, receiveBuffer?: number): Result<NetlinkSocket>;
  listenUnix(path: string, mode: number): Result<StreamListener>;
  connectUnix(path: string): Result<Stream>;
  tlsContext(options: TlsOptions): TlsContext | TlsFailure;
  /** Calls back from the loop with addresses in the resolver's order, or one line saying why not. */
  resolve(name: string, family: 4 | 6 | 0, callback: (addresses: readonly Ip[] | string) => void): Resolution;
  /** Whether the CPU has AES and carry-less multiply instructions. */
  readonly hasAesInstructions: boolean;
  readonly uid: number;
  readonly pid: number;
  /** Standard input to its end, at most `maxBytes`; blocks. */
  readInput(maxBytes: number): Result<Uint8Array>;
  /** fd 1 or 2; blocks. */
  print(fd: 1 | 2, text: string): void;
  /** Level as in syslog(3): 3 error, 4 warning, 6 info, 7 debug. */
  syslog(level: number, text: string): void;
  exit(code: number): never;
}
