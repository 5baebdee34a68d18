// SPDX-License-Identifier: Apache-2.0
// The sockets of one tunnel, by number: UDP sockets here, TCP connections in streams.ts. Packets come out with the
// path they came by and go in with the path they shall take.

import type { Endpoint, Path } from '../core/address.ts';
import type { Event } from '../core/event.ts';
import {
  type BindOptions,
  describe,
  type Host,
  isFailure,
  type SocketOptions,
  type UdpSocket,
} from '../host/host.ts';
import type { ClientConfig, Proto, ServerConfig } from '../uci/config.ts';
import { listenProblem } from './failures.ts';
import { Streams } from './streams.ts';

/** Packets handled in one go, so that a flood on one descriptor starves no other. */
const BATCH = 64;
/** What a data packet is longer than what is in it, amply. */
const PACKET_HEADROOM = 168;

/** What sendmsg says of a source address that is no longer ours. */
const OWN_ADDRESS_GONE: ReadonlySet<string> = new Set(['EINVAL', 'EADDRNOTAVAIL']);

export interface SocketsParts {
  readonly host: Host;
  readonly config: ServerConfig | ClientConfig;
  /** A packet from the network; borrowed until return. */
  readonly packet: (path: Path, bytes: Uint8Array) => void;
  readonly dispatch: (event: Event) => void;
  /** The packets of one turn are through. */
  readonly settled: () => void;
  /** Who reads the sockets in our place. */
  readonly taker?: () => SocketTaker;
}

/** A data plane that reads sockets itself and hands on what is not its own. */
export interface SocketTaker {
  addSocket(socket: number, fd: number, family: 4 | 6, tunes: boolean): string | undefined;
  addStream(fd: number, path: Path, recordMax: number): string | undefined;
  sendControl(socket: number, packet: Uint8Array): void;
  removeSocket(socket: number): void;
}

/** A socket as status shows it. */
export interface ShownSocket {
  readonly proto: 'udp' | 'tcp';
  readonly local: Endpoint;
}

export class Sockets {
  readonly streams: Streams;
  readonly #parts: SocketsParts;
  readonly #host: Host;
  #config: ServerConfig | ClientConfig;
  readonly #udp = new Map<number, UdpSocket>();
  #next = 1;

  constructor(parts: SocketsParts) {
    const { host, config, packet, dispatch, settled, taker } = parts;
    this.#parts = parts;
    this.#host = host;
    this.#config = config;
    this.streams = new Streams({
      host,
      options: () => this.#options,
      connectTimeoutS: () =>
        this.#config.role === 'client' ? this.#config.serverPollTimeout : this.#config.handWindow,
      handWindowS: () => this.#config.handWindow,
      packetMax: config.tunMtu + PACKET_HEADROOM,
      number: () => this.#next++,
      packet,
      dispatch,
      settled,
      ...(taker && { taker }),
    });
  }

  get #options(): SocketOptions {
    const { bindDevice, fwmark, sndbuf, rcvbuf } = this.#config;
    return {
      ...(bindDevice !== undefined && { device: bindDevice }),
      ...(fwmark !== undefined && { mark: fwmark }),
      ...(sndbuf !== undefined && { sendBuffer: sndbuf }),
      ...(rcvbuf !== undefined && { receiveBuffer: rcvbuf }),
    };
  }

  /** For sockets opened from now on. */
  setConfig(config: ServerConfig | ClientConfig): void {
    this.#config = config;
  }

  shown(): ShownSocket[] {
    return [
      ...[...this.#udp.values()].map(({ local }) => ({ proto: 'udp', local }) as const),
      ...this.streams.locals().map(local => ({ proto: 'tcp', local }) as const),
    ];
  }

  /** A server's sockets, one for each protocol; a string says why not. */
  listen(config: ServerConfig): string | undefined {
    for (const proto of config.proto) {
      const { local, port } = config;
      const bind = { ...this.#options, family: familyOf(proto, local), port, ...(local && { ip: local }) };
      let failure = this.#bind(proto, bind);
      const isWithoutIp6 = failure?.code === 'EAFNOSUPPORT' && bind.family === 0;
      if (isWithoutIp6) failure = this.#bind(proto, { ...bind, family: 4 });
      if (failure !== undefined) return listenProblem(proto, config, failure);
    }
    return undefined;
  }

  #bind(proto: Proto, bind: BindOptions) {
    if (proto.startsWith('tcp')) return this.streams.listen(bind);
    const socket = this.#openUdp(bind);
    return typeof socket === 'number' ? undefined : socket;
  }

  /** A client's socket; socketOpened or socketFailed follows. */
  open(remote: Endpoint, tcp: boolean): void {
    if (tcp) return this.streams.connect(remote);
    const socket = this.#openUdp({ ...this.#options, family: remote.ip.length === 4 ? 4 : 6, port: 0 });
    if (typeof socket === 'number') this.#parts.dispatch({ kind: 'socketOpened', socket });
    else this.#parts.dispatch({ kind: 'socketFailed', reason: describe(socket) });
  }

  #openUdp(bind: BindOptions) {
    const socket = this.#host.openUdp(bind);
    if (isFailure(socket)) return socket;
    const number = this.#next++;
    this.#udp.set(number, socket);
    const taker = this.#parts.taker?.();
    const { sndbuf, rcvbuf } = this.#config;
    const tunes = sndbuf === undefined && rcvbuf === undefined;
    // One that cannot be handed over is read here: its data packets are lost, its control packets are not.
    const refused = taker?.addSocket(number, socket.fd, bind.family === 4 ? 4 : 6, tunes);
    if (taker === undefined || refused !== undefined) {
      this.#host.loop.onReadable(socket.fd, () => this.#receive(number, socket));
    }
    return number;
  }

  #receive(number: number, socket: UdpSocket): void {
    const isServer = this.#parts.config.role === 'server';
    for (let i = 0; i < BATCH && this.#udp.get(number) === socket; i++) {
      const datagram = socket.receive();
      if (datagram === undefined) break;
      // An ICMP error about something sent earlier; time-outs deal with that.
      if (isFailure(datagram)) continue;
      // A server answers from the address it was asked at; a client that moves must not cling to its old one.
      const { from: remote, to: local, bytes } = datagram;
      this.#parts.packet(isServer ? { socket: number, remote, local } : { socket: number, remote }, bytes);
    }
    this.#parts.settled();
  }

  /** `isData`: may be dropped when the way is full. */
  send(path: Path, bytes: Uint8Array, isData: boolean): void {
    if (path.tcp === true) return this.streams.send(path.socket, bytes, isData);
    const socket = this.#udp.get(path.socket);
    const failed = socket?.send(bytes, path.remote, path.local);
    // Our own address went away: any other is better than silence, and a client that hears us floats.
    if (failed !== undefined && OWN_ADDRESS_GONE.has(failed.code)) socket?.send(bytes, path.remote);
  }

  fd(number: number): number | undefined {
    return this.#udp.get(number)?.fd ?? this.streams.fd(number);
  }

  isStream(number: number): boolean {
    return this.streams.fd(number) !== undefined;
  }

  close(number: number): void {
    const socket = this.#udp.get(number);
    if (socket === undefined) return this.streams.close(number);
    this.#udp.delete(number);
    if (this.#parts.taker === undefined) this.#host.loop.forget(socket.fd);
    else this.#parts.taker().removeSocket(number);
    socket.close();
  }

  closeAll(): void {
    for (const number of [...this.#udp.keys()]) this.close(number);
    this.streams.closeAll();
  }
}

function familyOf(proto: Proto, local: Uint8Array | undefined): 0 | 4 | 6 {
  if (proto.endsWith('4')) return 4;
  if (proto.endsWith('6')) return 6;
  return local === undefined ? 0 : local.length === 4 ? 4 : 6;
}
