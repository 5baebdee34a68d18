// SPDX-License-Identifier: Apache-2.0
// UDP and TCP sockets, TUN devices, netlink sockets and unix streams on the shim.

import type { Endpoint, Ip } from '../core/address.ts';
import type {
  BindOptions,
  Datagram,
  Failure,
  NativePlane,
  NativePlaneOptions,
  NetlinkSocket,
  Result,
  SocketOptions,
  Stream,
  StreamListener,
  TcpConnection,
  TcpListener,
  TunDevice,
  UdpSocket,
} from './host.ts';
import { openNativePlane } from './nativeplane.ts';
import { ADDRESS_LENGTH, demand, failure, isAgain, outcome, type RawShim } from './raw.ts';

// One for all sockets: what receive and read return is borrowed until the next call. It holds any datagram.
const buffer = new Uint8Array(ADDRESS_LENGTH + 65_536);
const packetBuffer = new Uint8Array(65_536);
const STREAM_READ_MAX = 65_536;

function remoteOf(block: Uint8Array): Endpoint {
  const scope = ((block[4]! << 24) | (block[5]! << 16) | (block[6]! << 8) | block[7]!) >>> 0;
  const endpoint = { ip: block.slice(8, 8 + block[0]!), port: (block[2]! << 8) | block[3]! };
  return scope === 0 ? endpoint : { ...endpoint, scope };
}

class ShimUdpSocket implements UdpSocket {
  readonly fd: number;
  readonly local: Endpoint;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'udp_fd', shim.udp_fd(handle));
    demand(shim, 'udp_local', shim.udp_local(handle, buffer));
    this.local = remoteOf(buffer);
  }

  receive(): Result<Datagram> | undefined {
    const length = this.#shim.udp_receive(this.#handle, buffer);
    if (length < 0) return isAgain(this.#shim, length) ? undefined : failure(this.#shim, 'recvmsg', length);
    return {
      from: remoteOf(buffer),
      to: buffer.slice(24, 24 + buffer[1]!),
      bytes: buffer.subarray(ADDRESS_LENGTH, ADDRESS_LENGTH + length),
    };
  }

  send(bytes: Uint8Array, to: Endpoint, from?: Ip): Failure | undefined {
    const status = this.#shim.udp_send(this.#handle, bytes, to.ip, to.port, to.scope ?? 0, from);
    return outcome(this.#shim, 'sendmsg', status);
  }

  close(): void {
    this.#shim.udp_close(this.#handle);
  }
}

/** What every socket call is given last. */
function words(options: SocketOptions): [string | undefined, number, number, number] {
  return [options.device, options.mark ?? 0, options.sendBuffer ?? 0, options.receiveBuffer ?? 0];
}

/** Opens and binds a UDP socket. */
export function openUdp(shim: RawShim, options: BindOptions): Result<UdpSocket> {
  const handle = shim.udp_open(options.family, options.ip, options.port, ...words(options));
  return handle < 0 ? failure(shim, 'bind', handle) : new ShimUdpSocket(shim, handle);
}

class ShimTcpConnection implements TcpConnection {
  readonly fd: number;
  readonly remote: Endpoint;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number, remote: Endpoint) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'stream_fd', shim.stream_fd(handle));
    this.remote = remote;
  }

  outcome(): Failure | undefined {
    return outcome(this.#shim, 'connect', this.#shim.tcp_outcome(this.#handle));
  }

  local(): Endpoint {
    demand(this.#shim, 'tcp_local', this.#shim.tcp_local(this.#handle, buffer));
    return remoteOf(buffer);
  }

  read(into: Uint8Array): Result<number> | undefined {
    const length = this.#shim.stream_read(this.#handle, into);
    if (length >= 0) return length;
    return isAgain(this.#shim, length) ? undefined : failure(this.#shim, 'read', length);
  }

  write(bytes: Uint8Array): Result<number> {
    const taken = this.#shim.stream_write(this.#handle, bytes);
    if (taken >= 0) return taken;
    return isAgain(this.#shim, taken) ? 0 : failure(this.#shim, 'write', taken);
  }

  close(): void {
    this.#shim.stream_close(this.#handle);
  }
}

class ShimTcpListener implements TcpListener {
  readonly fd: number;
  readonly local: Endpoint;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'tcp_listener_fd', shim.tcp_listener_fd(handle));
    demand(shim, 'tcp_listener_local', shim.tcp_listener_local(handle, buffer));
    this.local = remoteOf(buffer);
  }

  accept(): Result<TcpConnection> | undefined {
    const handle = this.#shim.tcp_accept(this.#handle, buffer);
    if (handle < 0) return isAgain(this.#shim, handle) ? undefined : failure(this.#shim, 'accept', handle);
    return new ShimTcpConnection(this.#shim, handle, remoteOf(buffer));
  }

  close(): void {
    this.#shim.tcp_unlisten(this.#handle);
  }
}

/** Opens, binds and listens. */
export function listenTcp(shim: RawShim, options: BindOptions): Result<TcpListener> {
  const handle = shim.tcp_listen(options.family, options.ip, options.port, ...words(options));
  return handle < 0 ? failure(shim, 'listen', handle) : new ShimTcpListener(shim, handle);
}

/** Begins to connect. */
export function connectTcp(shim: RawShim, remote: Endpoint, options: SocketOptions): Result<TcpConnection> {
  const handle = shim.tcp_connect(remote.ip, remote.port, remote.scope ?? 0, ...words(options));
  return handle < 0 ? failure(shim, 'connect', handle) : new ShimTcpConnection(shim, handle, remote);
}

class ShimTunDevice implements TunDevice {
  readonly fd: number;
  readonly name: string;
  readonly index: number;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'tun_fd', shim.tun_fd(handle));
    this.name = demand<string>(shim, 'tun_name', shim.tun_name(handle));
    this.index = demand(shim, 'tun_index', shim.tun_index(handle));
  }

  read(): Result<Uint8Array> | undefined {
    const length = this.#shim.tun_read(this.#handle, packetBuffer);
    if (length < 0) return isAgain(this.#shim, length) ? undefined : failure(this.#shim, 'read tun', length);
    return packetBuffer.subarray(0, length);
  }

  write(packet: Uint8Array): Failure | undefined {
    return outcome(this.#shim, 'write tun', this.#shim.tun_write(this.#handle, packet));
  }

  close(): void {
    this.#shim.tun_close(this.#handle);
  }

  openPlane(options: NativePlaneOptions): Result<NativePlane> {
    return openNativePlane(this.#shim, options, this.#handle);
  }
}

/** Creates a TUN device; EBUSY when one of this name exists. `hasHeader`: for the native plane. */
export function openTun(shim: RawShim, name: string, hasHeader: boolean): Result<TunDevice> {
  const handle = shim.tun_open(name, hasHeader ? 1 : 0);
  if (handle >= 0) return new ShimTunDevice(shim, handle);
  const failed = failure(shim, `create tun device ${name}`, handle);
  // Then it was the open, before the device had a name.
  const isMissing = failed.code === 'ENOENT' || failed.code === 'ENODEV' || failed.code === 'ENXIO';
  return isMissing ? { ...failed, call: 'open /dev/net/tun' } : failed;
}

class ShimNetlinkSocket implements NetlinkSocket {
  readonly fd: number;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'netlink_fd', shim.netlink_fd(handle));
  }

  send(message: Uint8Array): Failure | undefined {
    return outcome(this.#shim, 'send netlink', this.#shim.netlink_send(this.#handle, message));
  }

  receive(): Result<Uint8Array> | undefined {
    const received = this.#shim.netlink_receive(this.#handle);
    if (typeof received !== 'number') return received;
    return isAgain(this.#shim, received) ? undefined : failure(this.#shim, 'receive netlink', received);
  }

  join(group: number): Failure | undefined {
    return outcome(this.#shim, `join netlink group ${group}`, this.#shim.netlink_join(this.#handle, group));
  }

  close(): void {
    this.#shim.netlink_close(this.#handle);
  }
}

/** Opens a netlink socket with extended acks. */
export function openNetlink(shim: RawShim, protocol: number, receiveBuffer = 0): Result<NetlinkSocket> {
  const handle = shim.netlink_open(protocol, receiveBuffer);
  return handle < 0 ? failure(shim, 'open netlink', handle) : new ShimNetlinkSocket(shim, handle);
}

class ShimStream implements Stream {
  readonly fd: number;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'stream_fd', shim.stream_fd(handle));
  }

  read(max: number): Result<Uint8Array> | undefined {
    const room = packetBuffer.subarray(0, Math.min(Math.max(max, 1), STREAM_READ_MAX));
    const length = this.#shim.stream_read(this.#handle, room);
    if (length < 0) return isAgain(this.#shim, length) ? undefined : failure(this.#shim, 'read', length);
    return room.slice(0, length);
  }

  write(bytes: Uint8Array): Result<number> {
    const taken = this.#shim.stream_write(this.#handle, bytes);
    if (taken >= 0) return taken;
    return isAgain(this.#shim, taken) ? 0 : failure(this.#shim, 'write', taken);
  }

  close(): void {
    this.#shim.stream_close(this.#handle);
  }
}

class ShimStreamListener implements StreamListener {
  readonly fd: number;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'unix_listener_fd', shim.unix_listener_fd(handle));
  }

  accept(): Result<Stream> | undefined {
    const handle = this.#shim.unix_accept(this.#handle);
    if (handle < 0) return isAgain(this.#shim, handle) ? undefined : failure(this.#shim, 'accept', handle);
    return new ShimStream(this.#shim, handle);
  }

  close(): void {
    this.#shim.unix_unlisten(this.#handle);
  }
}

/** Listens at a path; a socket that nobody serves any more is replaced, anything else is EADDRINUSE. */
export function listenUnix(shim: RawShim, path: string, mode: number): Result<StreamListener> {
  const handle = shim.unix_listen(path, mode);
  return handle < 0 ? failure(shim, `listen on ${path}`, handle) : new ShimStreamListener(shim, handle);
}

export function connectUnix(shim: RawShim, path: string): Result<Stream> {
  const handle = shim.unix_connect(path);
  return handle < 0 ? failure(shim, `connect to ${path}`, handle) : new ShimStream(shim, handle);
}
