// SPDX-License-Identifier: Apache-2.0
// The C shim's functions as both runtimes give them. A negative number is -errno; wrong argument types throw.
// Names and arguments mirror the tables in src/shim/*.c.

import type { Failure } from './host.ts';

type Status = number;
type Handle = number;

/** Length of the address block in front of a received datagram (SHIM_ADDRESS_LENGTH). */
export const ADDRESS_LENGTH = 40;

export interface RawShim {
  loop_open(): Handle | Status;
  loop_close(loop: Handle): Status;
  /** Flags: 1 readable, 2 writable, 0 forget. */
  loop_watch(loop: Handle, fd: number, flags: number): Status;
  /** Pairs of 32-bit words: descriptor (-1: signals) and flags (or the mask of signals). */
  loop_wait(loop: Handle, timeoutMs: number, events: Uint8Array): Status;
  signal_watch(number: number): Status;
  clock_monotonic(): number;
  clock_wall(): number;

  udp_open(
    family: number,
    ip: Uint8Array | undefined,
    port: number,
    device: string | undefined,
    mark: number,
    sendBuffer: number,
    receiveBuffer: number,
  ): Handle | Status;
  udp_close(socket: Handle): Status;
  udp_fd(socket: Handle): number;
  udp_local(socket: Handle, address: Uint8Array): Status;
  udp_receive(socket: Handle, buffer: Uint8Array): Status;
  udp_send(
    socket: Handle,
    bytes: Uint8Array,
    ip: Uint8Array,
    port: number,
    scope: number,
    from: Uint8Array | undefined,
  ): Status;

  tcp_listen(
    family: number,
    ip: Uint8Array | undefined,
    port: number,
    device: string | undefined,
    mark: number,
    sendBuffer: number,
    receiveBuffer: number,
  ): Handle | Status;
  tcp_unlisten(listener: Handle): Status;
  tcp_listener_fd(listener: Handle): number;
  tcp_listener_local(listener: Handle, address: Uint8Array): Status;
  /** A stream; writes the remote address. */
  tcp_accept(listener: Handle, address: Uint8Array): Handle | Status;
  /** A stream, perhaps not connected yet. */
  tcp_connect(
    ip: Uint8Array,
    port: number,
    scope: number,
    device: string | undefined,
    mark: number,
    sendBuffer: number,
    receiveBuffer: number,
  ): Handle | Status;
  /** 0: connected; meaningful once the stream is writable. */
  tcp_outcome(stream: Handle): Status;
  tcp_local(stream: Handle, address: Uint8Array): Status;

  tun_open(name: string, hasHeader: number): Handle | Status;
  tun_close(tun: Handle): Status;
  tun_fd(tun: Handle): number;
  tun_name(tun: Handle): string | Status;
  tun_index(tun: Handle): number;
  tun_read(tun: Handle, buffer: Uint8Array): Status;
  tun_write(tun: Handle, packet: Uint8Array): Status;

  netlink_open(protocol: number, receiveBuffer: number): Handle | Status;
  netlink_close(netlink: Handle): Status;
  netlink_fd(netlink: Handle): number;
  netlink_join(netlink: Handle, group: number): Status;
  netlink_send(netlink: Handle, message: Uint8Array): Status;
  netlink_receive(netlink: Handle): Uint8Array | Status;

  unix_listen(path: string, mode: number): Handle | Status;
  unix_unlisten(listener: Handle): Status;
  unix_listener_fd(listener: Handle): number;
  unix_accept(listener: Handle): Handle | Status;
  unix_connect(path: string): Handle | Status;
  stream_close(stream: Handle): Status;
  stream_fd(stream: Handle): number;
  stream_read(stream: Handle, buffer: Uint8Array): Status;
  stream_write(stream: Handle, bytes: Uint8Array): Status;

  /** Standard input to its end, which it waits for; at most so many bytes. */
  input_read(max: number): Uint8Array | Status;
  file_read(path: string): Uint8Array | Status;
  file_write(path: string, bytes: Uint8Array, mode: number): Status;
  /** [kind, size, mode, uid]. */
  /** -EAGAIN: somebody else has it. */
  file_lock(path: string): number;
  file_unlock(lock: number, path: string): Status;
  file_status(path: string): readonly number[] | Status;
  /** Names, each followed by `/`. */
  file_list(path: string): string | Status;
  file_make_directory(path: string, mode: number): Status;
  file_remove(path: string): Status;

  resolve_fd(): number;
  resolve_start(name: string, family: number, token: number): Status;
  resolve_take(): Uint8Array | Status;

  print(fd: number, text: string): Status;
  syslog(level: number, text: string): Status;
  /** [uid, pid, has AES instructions]. */
  identity(): readonly number[];
  exit(code: number): never;
  /** `EADDRINUSE Address already in use`. */
  error_text(errno: number): string;
  random_bytes(length: number): Uint8Array | Status;

  /** crypt(3). */
  password_hash(password: string, setting: string): string | Status;

  aead_key(cipher: string, key: Uint8Array): Handle | Status;
  aead_close(aead: Handle): Status;
  aead_seal(aead: Handle, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array | Status;
  aead_open(aead: Handle, nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | Status;
  siv_seal(
    cipherKey: Uint8Array,
    macKey: Uint8Array,
    header: Uint8Array,
    plaintext: Uint8Array,
  ): Uint8Array | Status;
  siv_open(
    cipherKey: Uint8Array,
    macKey: Uint8Array,
    header: Uint8Array,
    sealed: Uint8Array,
  ): Uint8Array | Status;
  hash(name: string, data: Uint8Array): Uint8Array | Status;
  hmac(name: string, key: Uint8Array, data: Uint8Array): Uint8Array | Status;
  equal(a: Uint8Array, b: Uint8Array): number;

  pkey_generate(kind: string): Uint8Array | Status;
  pkey_public(pem: Uint8Array): Uint8Array | Status;
  pkey_sign(pem: Uint8Array, data: Uint8Array): Uint8Array | Status;
  pkey_pkcs12(file: Uint8Array): Uint8Array | Status;

  /** A handle, -errno, or the text `option why`. */
  tls_context(
    role: number,
    ca: Uint8Array | undefined,
    cert: Uint8Array | undefined,
    key: Uint8Array | undefined,
    extraCerts: Uint8Array | undefined,
    versionMin: string,
    versionMax: string | undefined,
    cipherList: string | undefined,
    cipherSuites: string | undefined,
    groups: string | undefined,
    verify: number,
    remoteCertTls: number,
    crl: Uint8Array | undefined,
  ): Handle | Status | string;
  tls_context_close(context: Handle): Status;
  tls_context_set_crl(context: Handle, pem: Uint8Array): Status;
  tls_context_not_after(context: Handle): number;
  /** Bits: 1 not for this role, 2 issuer not found. */
  tls_context_doubts(context: Handle): number;
  tls_open(context: Handle): Handle | Status;
  tls_close(session: Handle): Status;
  tls_feed(session: Handle, bytes: Uint8Array): Status;
  tls_pending(session: Handle): Status;
  tls_pull(session: Handle, max: number): Uint8Array | Status;
  /** 0 handshake, 1 established, 2 failed. */
  tls_drive(session: Handle): Status;
  tls_read(session: Handle): Uint8Array | Status;
  tls_write(session: Handle, plaintext: Uint8Array): Status;
  tls_error(session: Handle): string | Status;
  tls_description(session: Handle): string | Status;
  /** Lines: common name, subject, fingerprint, serial, notAfter; 0: none. */
  tls_peer(session: Handle): string | Status;
  tls_export(session: Handle, label: string, length: number): Uint8Array | Status;

  plane_open(
    isMany: number,
    tun: Handle,
    features: number,
    mssfix: number,
    usesLocal: number,
    peersMax: number,
    /** Doubles in the machine's own order: struct key_limits of plane.h. */
    limits: Uint8Array,
    mtu: number,
    clientToClient: number,
    threads: number,
  ): Handle | Status;
  plane_close(plane: Handle): Status;
  plane_fd(plane: Handle): number;
  plane_take(plane: Handle, buffer: Uint8Array): number;
  plane_add_peer(
    plane: Handle,
    peerId: number,
    txId: number,
    isV1: number,
    path: Uint8Array,
    vpnIp4: Uint8Array | undefined,
    vpnIp6: Uint8Array | undefined,
    routes: Uint8Array | undefined,
    interval: number,
    timeout: number,
    now: number,
  ): Status;
  plane_set_peer(
    plane: Handle,
    peerId: number,
    path: Uint8Array | undefined,
    vpnIp4: Uint8Array | undefined,
    vpnIp6: Uint8Array | undefined,
    routes: Uint8Array | undefined,
    interval: number,
    timeout: number,
    now: number,
  ): Status;
  plane_del_peer(plane: Handle, peerId: number): Status;
  plane_add_key(
    plane: Handle,
    peerId: number,
    slot: number,
    keyId: number,
    cipher: string,
    isEpoch: number,
    encryptKey: Uint8Array,
    encryptTail: Uint8Array,
    decryptKey: Uint8Array,
    decryptTail: Uint8Array,
    rekeyPackets: number,
    rekeyBytes: number,
  ): Status;
  plane_swap_keys(plane: Handle, peerId: number): Status;
  plane_del_key(plane: Handle, peerId: number, slot: number): Status;
  plane_send_inner(plane: Handle, peerId: number, payload: Uint8Array, now: number): Status;
  plane_peers(plane: Handle): Uint8Array | Status;
  plane_show(plane: Handle): readonly number[] | Status;
  plane_add_socket(plane: Handle, socket: number, descriptor: number, family: number, tunes: number): Status;
  plane_add_stream(plane: Handle, descriptor: number, path: Uint8Array, recordMax: number): Status;
  plane_send_record(plane: Handle, socket: number, record: Uint8Array): Status;
  plane_remove_socket(plane: Handle, socket: number): Status;
  plane_from_network(plane: Handle, path: Uint8Array, datagram: Uint8Array, now: number): Status;
  plane_from_tun(plane: Handle, frame: Uint8Array, now: number, tells: number): Status;
  plane_tick(plane: Handle, now: number): Status;
  plane_deadline(plane: Handle): readonly number[] | Status;
}

/** What a runtime adds to the shim. */
export interface Runtime {
  readonly name: 'quickjs' | 'node';
  readonly shim: RawShim;
  readonly args: readonly string[];
  exit(code: number): never;
}

/** A negative status as a Failure. */
export function failure(shim: RawShim, call: string, status: number): Failure {
  const line = shim.error_text(-status);
  const space = line.indexOf(' ');
  return { failed: true, call, errno: -status, code: line.slice(0, space), text: line.slice(space + 1) };
}

/** undefined for success, else a Failure. */
export function outcome(shim: RawShim, call: string, status: number): Failure | undefined {
  return status < 0 ? failure(shim, call, status) : undefined;
}

/** For calls that only a programmer's mistake can make fail. */
export function demand<T>(shim: RawShim, call: string, value: T | number): T {
  if (typeof value === 'number' && value < 0) {
    throw new Error(`${call}: ${shim.error_text(-value)}`);
  }
  return value as T;
}

/** Whether a status is EAGAIN (EWOULDBLOCK), by name: the number differs between architectures. */
export function isAgain(shim: RawShim, status: number): boolean {
  if (status >= 0) return false;
  againErrno ??= findErrno(shim, 'EAGAIN');
  return -status === againErrno;
}

let againErrno: number | undefined;

function findErrno(shim: RawShim, name: string): number {
  for (let errno = 1; errno < 256; errno++) if (shim.error_text(errno).startsWith(`${name} `)) return errno;
  throw new Error(`no errno named ${name}`);
}
