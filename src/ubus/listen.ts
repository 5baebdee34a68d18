// SPDX-License-Identifier: Apache-2.0
// A ubus server on a listening socket, within bounds: a client can neither hold the tunnel's loop nor fill its
// memory. It gets nothing more done until it has taken the answers it was given.
//
// Timers: one per connection with answers waiting, a client that took nothing for SEND_PATIENCE_MS is dropped; one
// that ends ACCEPT_PAUSE_MS. There is none for idle clients: the one idle longest makes room when a new one comes.

import type { Loop, Stream, StreamListener, Timer } from '../host/host.ts';
import type { UbusConnection, UbusServer } from './server.ts';

/** Connections at one time. */
export const CONNECTIONS_MAX = 8;

/** Answers waiting in one connection: one batch, whose last answer may be as long as a message can be. */
export const QUEUED_BYTES_MAX = (1 << 20) + 128 * 1024;

/** How long a client may take nothing while answers wait. */
export const SEND_PATIENCE_MS = 10_000;

/** How long nobody is accepted after that failed (no descriptors left): trying again at once would spin. */
export const ACCEPT_PAUSE_MS = 1_000;

/** Small, because everything in one read is handled before anybody else is looked at. */
const READ_BYTES = 4096;

export interface ListenOptions {
  readonly loop: Loop;
  readonly listener: StreamListener;
  readonly server: UbusServer;
  monotonicMs(): number;
}

interface Client {
  readonly stream: Stream;
  readonly connection: UbusConnection;
  /** Watched for writability; otherwise for reading. */
  isStuck: boolean;
  queue: Uint8Array;
  timer: Timer | undefined;
  /** Number of the last read that brought something, over all clients. */
  activity: number;
}

/** Serves until the answered function is called; that closes everything, the listener too. */
export function listenUbus(options: ListenOptions): () => void {
  const service = new Service(options);
  service.listen();
  return () => service.close();
}

class Service {
  private readonly options: ListenOptions;
  private readonly clients = new Set<Client>();
  private activity = 0;
  private pause: Timer | undefined;

  constructor(options: ListenOptions) {
    this.options = options;
  }

  listen(): void {
    const { loop, listener } = this.options;
    loop.onReadable(listener.fd, () => this.accept());
  }

  close(): void {
    const { loop, listener } = this.options;
    for (const client of [...this.clients]) this.drop(client);
    this.pause?.cancel();
    loop.forget(listener.fd);
    listener.close();
  }

  private drop(client: Client): void {
    if (!this.clients.delete(client)) return;
    client.timer?.cancel();
    this.options.loop.forget(client.stream.fd);
    client.stream.close();
  }

  private accept(): void {
    const { loop, listener } = this.options;
    for (;;) {
      const stream = listener.accept();
      if (stream === undefined) return;
      if ('failed' in stream) {
        loop.forget(listener.fd);
        this.pause = loop.at(this.options.monotonicMs() + ACCEPT_PAUSE_MS, () => this.listen());
        return;
      }
      this.admit(stream);
    }
  }

  private admit(stream: Stream): void {
    this.makeRoom();
    const connection = this.options.server.connect();
    const queue = connection.greeting;
    const activity = ++this.activity;
    const client: Client = { stream, connection, isStuck: false, queue, timer: undefined, activity };
    this.clients.add(client);
    this.options.loop.onReadable(stream.fd, () => this.read(client));
    this.serve(client);
  }

  /** Refusing the new one instead would let eight forgotten connections lock the administrator out. */
  private makeRoom(): void {
    if (this.clients.size < CONNECTIONS_MAX) return;
    let oldest: Client | undefined;
    for (const client of this.clients) {
      if (oldest === undefined || client.activity < oldest.activity) oldest = client;
    }
    if (oldest !== undefined) this.drop(oldest);
  }

  private read(client: Client): void {
    const bytes = client.stream.read(READ_BYTES);
    if (bytes === undefined) return;
    if ('failed' in bytes || bytes.length === 0) {
      this.drop(client);
      return;
    }
    client.activity = ++this.activity;
    client.queue = client.connection.receive(bytes);
    this.serve(client);
  }

  /** Sends what is queued, and handles requests that were read before, until one of both has to wait. */
  private serve(client: Client): void {
    while (this.flush(client) && client.connection.hasMore) {
      client.queue = client.connection.receive(new Uint8Array(0));
    }
  }

  /** Whether everything queued was sent and the client is still there. */
  private flush(client: Client): boolean {
    // A method may have closed everything.
    if (!this.clients.has(client)) return false;
    if (client.queue.length > QUEUED_BYTES_MAX) this.drop(client);
    while (this.clients.has(client) && client.queue.length > 0) {
      const taken = client.stream.write(client.queue);
      if (typeof taken !== 'number') {
        this.drop(client);
      } else if (taken === 0) {
        this.setStuck(client, true);
        return false;
      } else {
        client.timer?.cancel();
        client.timer = undefined;
        client.queue = client.queue.subarray(taken);
      }
    }
    if (client.connection.isBroken) this.drop(client);
    if (!this.clients.has(client)) return false;
    this.setStuck(client, false);
    return true;
  }

  /** Watching for one thing at a time: requests that nobody reads now would wake the loop without end. */
  private setStuck(client: Client, isStuck: boolean): void {
    const { loop } = this.options;
    if (isStuck) {
      const deadline = this.options.monotonicMs() + SEND_PATIENCE_MS;
      client.timer ??= loop.at(deadline, () => this.drop(client));
    }
    if (client.isStuck === isStuck) return;
    client.isStuck = isStuck;
    loop.forget(client.stream.fd);
    if (isStuck) loop.onWritable(client.stream.fd, () => this.serve(client));
    else loop.onReadable(client.stream.fd, () => this.read(client));
  }
}
