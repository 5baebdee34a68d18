// SPDX-License-Identifier: Apache-2.0
// TCP for one tunnel: listeners, the connections they accept, and the one a client opens. A connection is a socket
// number of its own to the core; that it ended is an event, and the core answers with closeSocket.
//
// Connections on which nobody is authenticated are few and short-lived. When there are too many the oldest goes: who
// opens connections only to hold them must not keep others out.

import type { Endpoint, Path } from '../core/address.ts';
import type { Event } from '../core/event.ts';
import { sourceName } from '../core/gate.ts';
import { CONTROL_PACKET_RECEIVE_MAX, HANDSHAKES_PER_SOURCE } from '../core/limits.ts';
import {
  type BindOptions,
  describe,
  type Failure,
  type Host,
  isFailure,
  type SocketOptions,
  type TcpConnection,
  type TcpListener,
  type Timer,
} from '../host/host.ts';
import { RecordStream, type StreamEnd } from './recordstream.ts';
import type { SocketTaker } from './sockets.ts';

/** Connections accepted in one turn. */
const ACCEPT_BATCH = 64;
/** Connections without an authenticated session, of everybody and of one source. */
export const HALF_OPEN_MAX = 256;
export const HALF_OPEN_PER_SOURCE = HANDSHAKES_PER_SOURCE;
const TOO_MANY = 'too many connections without a session';
/** The kernel says there is room when there is none: then it is asked again after this. */
const RETRY_MS = 20;
/** How long a listener rests when there is no descriptor left. */
const REST_MS = 1000;
const NO_DESCRIPTOR: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

export interface StreamsParts {
  readonly host: Host;
  readonly options: () => SocketOptions;
  /** Until a connection is there, and until somebody on it is authenticated. */
  readonly connectTimeoutS: () => number;
  readonly handWindowS: () => number;
  /** Longest packet of an authenticated peer. */
  readonly packetMax: number;
  /** The number of the next socket. */
  readonly number: () => number;
  /** A packet; borrowed until return. */
  readonly packet: (path: Path, bytes: Uint8Array) => void;
  readonly dispatch: (event: Event) => void;
  /** The packets of one turn are through. */
  readonly settled: () => void;
  /** Who reads connections in our place once somebody on them is authenticated. */
  readonly taker?: () => SocketTaker;
}

/** Who reads a connection. The kernel's plane gives us what is not its own by the same descriptor. */
export type StreamReader = 'us' | 'kernel' | 'native';

interface Entry {
  readonly path: Path;
  readonly stream: RecordStream;
  reader: StreamReader;
  /** The core has been told that it ended. */
  isEnded: boolean;
  retry: Timer | undefined;
}

export class Streams {
  readonly #parts: StreamsParts;
  readonly #host: Host;
  readonly #entries = new Map<number, Entry>();
  readonly #listeners: TcpListener[] = [];
  /** When each must be authenticated; oldest first. */
  readonly #halfOpen = new Map<number, number>();
  #halfOpenTimer: Timer | undefined;
  #connecting: { connection: TcpConnection; timer: Timer } | undefined;
  #rest: Timer | undefined;
  #droppedBefore = 0;

  constructor(parts: StreamsParts) {
    this.#parts = parts;
    this.#host = parts.host;
  }

  /** What status shows: listeners, and the connection a client has. */
  locals(): Endpoint[] {
    const own = [...this.#entries.values()].map(entry => entry.stream.connection.local());
    return this.#listeners.length > 0 ? this.#listeners.map(listener => listener.local) : own;
  }

  /** Data records dropped for slow peers. */
  dropped(): number {
    let count = this.#droppedBefore;
    for (const { stream } of this.#entries.values()) count += stream.dropped;
    return count;
  }

  fd(number: number): number | undefined {
    return this.#entries.get(number)?.stream.connection.fd;
  }

  // ---- listening

  listen(bind: BindOptions): Failure | undefined {
    const listener = this.#host.listenTcp(bind);
    if (isFailure(listener)) return listener;
    this.#listeners.push(listener);
    this.#host.loop.onReadable(listener.fd, () => this.#accept(listener));
    return undefined;
  }

  #accept(listener: TcpListener): void {
    for (let i = 0; i < ACCEPT_BATCH && this.#listeners.includes(listener); i++) {
      const connection = listener.accept();
      if (connection === undefined) break;
      if (!isFailure(connection)) this.#admit(connection);
      else if (NO_DESCRIPTOR.has(connection.code) && !this.#evict()) return this.#pause();
    }
    this.#parts.settled();
  }

  #admit(connection: TcpConnection): void {
    const source = sourceName(connection);
    const isTooMany = this.#countOf(source) >= HALF_OPEN_PER_SOURCE;
    if (!isTooMany && this.#halfOpen.size >= HALF_OPEN_MAX) this.#evict();
    const number = this.#add(connection);
    // The newest goes: of many clients behind one address those that came first get done.
    if (isTooMany) return this.#end(number, { reason: TOO_MANY, drop: 'source-limit' });
    this.#halfOpen.set(number, this.#host.monotonicMs() + this.#parts.handWindowS() * 1000);
    this.#armHalfOpen();
  }

  /** Ends the oldest connection that nobody has authenticated on; false: there is none. */
  #evict(): boolean {
    for (const number of this.#halfOpen.keys()) {
      this.#end(number, { reason: TOO_MANY, drop: 'rate-limit' });
      return true;
    }
    return false;
  }

  /** Connections of a source that nobody has authenticated on. */
  #countOf(source: string): number {
    let count = 0;
    for (const number of this.#halfOpen.keys())
      if (sourceName(this.#entries.get(number)!.path) === source) count++;
    return count;
  }

  #pause(): void {
    for (const { fd } of this.#listeners) this.#host.loop.forget(fd);
    this.#rest?.cancel();
    this.#rest = this.#host.loop.at(this.#host.monotonicMs() + REST_MS, () => {
      for (const listener of this.#listeners)
        this.#host.loop.onReadable(listener.fd, () => this.#accept(listener));
    });
  }

  #armHalfOpen(): void {
    if (this.#halfOpenTimer !== undefined) return;
    for (const deadline of this.#halfOpen.values()) {
      this.#halfOpenTimer = this.#host.loop.at(deadline, () => this.#expire());
      return;
    }
  }

  #expire(): void {
    this.#halfOpenTimer = undefined;
    const now = this.#host.monotonicMs();
    for (const [number, deadline] of this.#halfOpen) {
      if (deadline > now) break;
      this.#end(number, { reason: `no session within ${this.#parts.handWindowS()} s` });
    }
    this.#armHalfOpen();
  }

  // ---- connecting

  /** Opens a connection in place of one that is still on its way; socketOpened or socketFailed follows. */
  connect(remote: Endpoint): void {
    this.#cancelConnect();
    const { host, options, dispatch } = this.#parts;
    const connectTimeoutS = this.#parts.connectTimeoutS();
    const connection = host.connectTcp(remote, options());
    if (isFailure(connection)) return dispatch({ kind: 'socketFailed', reason: describe(connection) });
    const timer = host.loop.at(host.monotonicMs() + connectTimeoutS * 1000, () => {
      this.#cancelConnect();
      dispatch({ kind: 'socketFailed', reason: `no connection within ${connectTimeoutS} s` });
    });
    this.#connecting = { connection, timer };
    host.loop.onWritable(connection.fd, () => {
      timer.cancel();
      this.#connecting = undefined;
      host.loop.forget(connection.fd);
      const failed = connection.outcome();
      if (failed === undefined) return dispatch({ kind: 'socketOpened', socket: this.#add(connection) });
      connection.close();
      dispatch({ kind: 'socketFailed', reason: describe(failed) });
    });
  }

  #cancelConnect(): void {
    if (this.#connecting === undefined) return;
    const { connection, timer } = this.#connecting;
    this.#connecting = undefined;
    timer.cancel();
    this.#host.loop.forget(connection.fd);
    connection.close();
  }

  // ---- connections

  #add(connection: TcpConnection): number {
    const number = this.#parts.number();
    const path = { socket: number, remote: connection.remote, tcp: true };
    const entry: Entry = {
      path,
      stream: new RecordStream(connection),
      reader: 'us',
      isEnded: false,
      retry: undefined,
    };
    this.#entries.set(number, entry);
    this.#host.loop.onReadable(connection.fd, () => this.#read(entry));
    return number;
  }

  #read(entry: Entry): void {
    const end = entry.stream.read(record => this.#parts.packet(entry.path, record));
    if (end !== undefined) this.#end(entry.path.socket, end);
    this.#parts.settled();
  }

  /** Packets to a connection that is gone are lost, as on a wire. */
  send(number: number, bytes: Uint8Array, isData: boolean): void {
    const entry = this.#entries.get(number);
    if (entry === undefined || entry.isEnded) return;
    if (entry.reader === 'native') return this.#parts.taker!().sendControl(number, bytes);
    const waited = entry.stream.hasQueue;
    const end = entry.stream.send(bytes, isData);
    if (end !== undefined) this.#end(number, end);
    else if (!waited && entry.stream.hasQueue) this.#wait(entry);
  }

  #wait(entry: Entry): void {
    const { loop } = this.#host;
    if (entry.reader !== 'kernel')
      return loop.onWritable(entry.stream.connection.fd, () => this.#flush(entry));
    entry.retry = loop.at(this.#host.monotonicMs() + RETRY_MS, () => this.#flush(entry));
  }

  #flush(entry: Entry): void {
    const { stream } = entry;
    const end = stream.flush();
    if (end !== undefined) return this.#end(entry.path.socket, end);
    if (entry.reader !== 'kernel' && !stream.hasQueue)
      this.#host.loop.onWritable(stream.connection.fd, undefined);
    else if (entry.reader === 'kernel' && stream.hasQueue) this.#wait(entry);
  }

  /** Why the connection cannot be given to the kernel at this moment; undefined: it can. */
  notReady(number: number): string | undefined {
    const entry = this.#entries.get(number);
    if (entry === undefined || entry.isEnded) return 'the connection is closed';
    return entry.stream.isBetweenRecords ? undefined : 'the connection is in the middle of a packet';
  }

  /** Somebody on the connection is authenticated; its data packets are the plane's. */
  establish(number: number, reader: StreamReader): void {
    const entry = this.#entries.get(number);
    if (entry === undefined) return;
    this.#halfOpen.delete(number);
    // The same peer with new keys, on a connection that was handed over before.
    if (entry.reader === 'native') return;
    entry.reader = reader;
    if (reader !== 'native') return entry.stream.widen(this.#parts.packetMax);
    const { fd } = entry.stream.connection;
    entry.stream.release();
    this.#host.loop.forget(fd);
    const recordMax = Math.max(this.#parts.packetMax, CONTROL_PACKET_RECEIVE_MAX);
    const refused = this.#parts.taker!().addStream(fd, entry.path, recordMax);
    if (refused !== undefined) this.#end(number, { reason: refused });
  }

  /** The plane that reads a connection says that it ended; `errno` 0: by the other side. */
  ended(number: number, errno: number): void {
    this.#end(number, { reason: errno === 0 ? 'connection closed' : `connection failed (error ${errno})` });
  }

  #end(number: number, end: StreamEnd): void {
    const entry = this.#entries.get(number);
    if (entry === undefined || entry.isEnded) return;
    entry.isEnded = true;
    this.#forget(entry);
    this.#parts.dispatch({ kind: 'streamClosed', path: entry.path, ...end });
  }

  #forget(entry: Entry): void {
    this.#halfOpen.delete(entry.path.socket);
    entry.retry?.cancel();
    if (entry.reader === 'native') this.#parts.taker!().removeSocket(entry.path.socket);
    else this.#host.loop.forget(entry.stream.connection.fd);
  }

  close(number: number): void {
    const entry = this.#entries.get(number);
    if (entry === undefined) return;
    this.#entries.delete(number);
    this.#droppedBefore += entry.stream.dropped;
    this.#forget(entry);
    entry.stream.close();
  }

  closeAll(): void {
    this.#cancelConnect();
    this.#rest?.cancel();
    this.#halfOpenTimer?.cancel();
    for (const listener of this.#listeners.splice(0)) {
      this.#host.loop.forget(listener.fd);
      listener.close();
    }
    for (const number of [...this.#entries.keys()]) this.close(number);
  }
}
