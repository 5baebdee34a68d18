// SPDX-License-Identifier: Apache-2.0
// The connection to ubusd that a process keeps: calls of other services, objects served, notifications and events.
// ubusd may come late, go and come back at any time; what was registered is registered again.
//
// Timers: one for each call; one until the next attempt to connect; one until HELLO must be there; one until refused
// objects are offered again.

import type { Loop, Result, Stream, Timer } from '../host/host.ts';
import { type BlobTable, decodeTable, encodeTable } from './blob.ts';
import type { UbusCall, UbusError } from './client.ts';
import { Link } from './link.ts';
import { MESSAGE_TYPES, type Message, STATUS, statusText } from './message.ts';
import { answerOf, type ServedObject, signatureOf } from './server.ts';
import { type Answer, type OwnObject, Session } from './session.ts';

/** Until the next attempt to connect; the gap doubles. */
export const RETRY_FIRST_MS = 250;
export const RETRY_MAX_MS = 10_000;

/** HELLO comes at once or never. */
const HELLO_MS = 5_000;

/** A path that was taken is free once the process that had it is gone. */
const OFFER_AGAIN_MS = 5_000;

/** Above this many bytes on their way nothing more is handled, and events are left out. */
const QUEUE_SOFT_MAX = 64 * 1024;

/** ubusd's own object for events. */
const EVENT_OBJECT = 1;

export interface BusOptions {
  readonly loop: Loop;
  monotonicMs(): number;
  connect(): Result<Stream>;
  /** One line for the log: connected, lost, an object refused. */
  report?(level: 'info' | 'warn', text: string): void;
}

/** Something that was begun and can be called off; harmless afterwards. */
export interface Pending {
  cancel(): void;
}

export interface Bus {
  /** ubusd is there and has greeted us. */
  readonly isUp: boolean;
  /**
   * Calls a method of another service. `done` gets the reply's data (an empty table when there was none, the last
   * of several) or why there is none, once, from the loop, never before this returns; not after `cancel`. Without
   * ubusd that is `Connection failed`, at once.
   */
  invoke(call: UbusCall, timeoutMs: number, done: (outcome: BlobTable | UbusError) => void): Pending;
  /** Serves an object from now on. */
  serve(object: ServedObject): void;
  /** Tells whoever subscribed to the served object `path`. */
  notify(path: string, type: string, data: object): void;
  /** Publishes an event; it is left out when ubusd is not there or does not keep up. */
  sendEvent(name: string, data: object): void;
  /** Events by name; a pattern may end in `*`. */
  listen(pattern: string, happened: (name: string, data: BlobTable) => void): void;
  /** Notifications of another service's object, whenever that is there. */
  subscribe(path: string, notified: (type: string, data: BlobTable) => void): void;
  /** Called whenever ubusd has greeted us: now, if it has. */
  onUp(callback: () => void): void;
  close(): void;
}

export function createBus(options: BusOptions): Bus {
  const bus = new LiveBus(options);
  bus.connect();
  return bus;
}

interface Call {
  readonly call: UbusCall;
  readonly done: (outcome: BlobTable | UbusError) => void;
  timer: Timer | undefined;
  seq: number | undefined;
}

interface Served {
  readonly object: ServedObject;
  id: number | undefined;
  isWatched: boolean;
}

class LiveBus implements Bus {
  readonly #options: BusOptions;
  readonly #calls = new Set<Call>();
  readonly #served: Served[] = [];
  readonly #whenUp: (() => void)[] = [];
  /** Paths subscribed to, each with what looks for it again. */
  readonly #wanted = new Map<string, (() => void)[]>();
  #link: Link | undefined;
  #session: Session | undefined;
  #retryMs = RETRY_FIRST_MS;
  #timer: Timer | undefined;
  #offer: Timer | undefined;
  #isClosed = false;
  #wasUp = false;

  constructor(options: BusOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#session?.isGreeted === true;
  }

  get #isBusy(): boolean {
    return (this.#link?.queued ?? 0) > QUEUE_SOFT_MAX;
  }

  connect(): void {
    const stream = this.#options.connect();
    if ('failed' in stream) return this.#retry();
    const { loop, monotonicMs } = this.#options;
    const link = new Link({
      loop,
      stream,
      monotonicMs,
      received: bytes => {
        this.#session?.push(bytes);
        this.#work();
      },
      drained: () => this.#work(),
      // Closed in the meantime, it may be another one's turn.
      ended: () => link === this.#link && this.#drop(),
    });
    this.#link = link;
    this.#session = new Session(bytes => link.send(bytes));
    this.#after(HELLO_MS, () => this.#drop());
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
    this.#timer?.cancel();
  }

  invoke(call: UbusCall, timeoutMs: number, done: Call['done']): Pending {
    const running: Call = { call, done, timer: undefined, seq: undefined };
    this.#calls.add(running);
    const wait = this.#session === undefined ? 0 : timeoutMs;
    const status = this.#session === undefined ? STATUS.connectionFailed : STATUS.timeout;
    this.#settleAfter(running, wait, status);
    if (this.isUp) this.#lookup(running);
    return { cancel: () => this.#end(running) };
  }

  serve(object: ServedObject): void {
    const served: Served = { object, id: undefined, isWatched: false };
    this.#served.push(served);
    if (this.isUp) this.#register(served);
  }

  notify(path: string, type: string, data: object): void {
    const served = this.#served.find(({ object }) => object.path === path);
    if (served?.id === undefined || !served.isWatched || this.#isBusy) return;
    const encoded = encodeTable(data);
    if (encoded !== undefined) this.#session?.notify(served.id, type, encoded);
  }

  sendEvent(name: string, data: object): void {
    if (!this.isUp || this.#isBusy) return;
    const encoded = encodeTable({ id: name, data });
    if (encoded !== undefined) this.#askEvents('send', encoded, () => undefined);
  }

  listen(pattern: string, happened: (name: string, data: BlobTable) => void): void {
    this.onUp(() =>
      this.#watcher({ invoked: receiver(happened) }, id => {
        // Ids are unsigned, but ubusd wants to see an int32.
        const data = encodeTable({ object: id | 0, pattern })!;
        this.#askEvents('register', data, ({ type, attributes }) => {
          if (type !== MESSAGE_TYPES.status || attributes.status === STATUS.ok) return;
          this.#warn(`events ${pattern}`, attributes.status);
        });
      }),
    );
  }

  subscribe(path: string, notified: (type: string, data: BlobTable) => void): void {
    if (this.#wanted.size === 0) {
      this.listen('ubus.object.add', (_, data) => {
        if (typeof data.path === 'string') for (const look of this.#wanted.get(data.path) ?? []) look();
      });
    }
    let look = (): void => undefined;
    this.#wanted.set(path, [...(this.#wanted.get(path) ?? []), () => look()]);
    this.onUp(() => {
      let target: number | undefined;
      look = () => undefined;
      const lost = (): void => {
        target = undefined;
      };
      this.#watcher({ invoked: receiver(notified), lost }, id => {
        look = () =>
          this.#find(path, found => {
            // The event that it is there and the answer that it is there may both come.
            if (found === undefined || target !== undefined) return;
            target = found;
            this.#subscribe(path, id, found);
          });
        look();
      });
    });
  }

  onUp(callback: () => void): void {
    this.#whenUp.push(callback);
    if (this.isUp) callback();
  }

  /** An object without a name, for events and notifications of this connection. */
  #watcher(object: OwnObject, ready: (id: number) => void): void {
    this.#session?.add(object, {}, id => id !== undefined && ready(id));
  }

  #subscribe(path: string, id: number, target: number): void {
    this.#session?.ask({ type: MESSAGE_TYPES.subscribe, attributes: { objid: id, target } }, message => {
      const { status } = message.attributes;
      if (status !== STATUS.ok) this.#warn(`subscription to ${path}`, status);
    });
  }

  #askEvents(method: string, data: Uint8Array, take: (message: Message) => void): void {
    const attributes = { objid: EVENT_OBJECT, method, data };
    this.#session?.ask({ type: MESSAGE_TYPES.invoke, peer: EVENT_OBJECT, attributes }, take);
  }

  #warn(what: string, status: number | undefined): void {
    this.#options.report?.('warn', `ubus: ${what}: ${statusText(status ?? STATUS.unknownError)}`);
  }

  #find(
    path: string,
    found: (id: number | undefined, status: number) => void,
    took?: (seq: number) => void,
  ): boolean {
    let id: number | undefined;
    const seq = this.#session?.ask(
      { type: MESSAGE_TYPES.lookup, attributes: { objpath: path } },
      ({ type, attributes }) => {
        if (type === MESSAGE_TYPES.data) {
          // A path that ends in * asks for many; none of them is meant.
          if (attributes.objpath === path) id = attributes.objid;
        } else found(id, attributes.status || (id === undefined ? STATUS.notFound : STATUS.ok));
      },
    );
    if (seq !== undefined) took?.(seq);
    return seq !== undefined;
  }

  #lookup(running: Call): void {
    const { path } = running.call;
    const isAsked = this.#find(
      path,
      (id, status) => {
        if (id === undefined) this.#fail(running, status);
        else this.#call(running, id);
      },
      seq => {
        running.seq = seq;
      },
    );
    if (!isAsked) this.#settleAfter(running, 0, STATUS.noMemory);
  }

  #call(running: Call, objid: number): void {
    const { method, args = {} } = running.call;
    const encoded = encodeTable(args);
    if (encoded === undefined) return this.#fail(running, STATUS.invalidArgument);
    let data: BlobTable | undefined = Object.create(null) as BlobTable;
    running.seq = this.#session?.ask(
      { type: MESSAGE_TYPES.invoke, peer: objid, attributes: { objid, method, data: encoded } },
      ({ type, attributes }) => {
        if (type === MESSAGE_TYPES.data) data = decodeTable(attributes.data ?? new Uint8Array(0));
        else if (attributes.status !== STATUS.ok)
          this.#fail(running, attributes.status ?? STATUS.unknownError);
        else if (data === undefined) this.#fail(running, STATUS.parseError);
        else this.#settle(running, data);
      },
    );
    if (running.seq === undefined) this.#fail(running, STATUS.invalidArgument);
  }

  #settleAfter(running: Call, ms: number, status: number): void {
    const { loop, monotonicMs } = this.#options;
    running.timer?.cancel();
    running.timer = loop.at(monotonicMs() + ms, () => this.#fail(running, status));
  }

  #fail(running: Call, status: number): void {
    const { path, method } = running.call;
    this.#settle(running, { failed: true, status, text: `${path} ${method}: ${statusText(status)}` });
  }

  #settle(running: Call, outcome: BlobTable | UbusError): void {
    if (this.#end(running)) running.done(outcome);
  }

  #end(running: Call): boolean {
    running.timer?.cancel();
    if (running.seq !== undefined) this.#session?.forget(running.seq);
    return this.#calls.delete(running);
  }

  #greeted(): void {
    this.#timer?.cancel();
    this.#retryMs = RETRY_FIRST_MS;
    this.#wasUp = true;
    this.#options.report?.('info', 'ubus: connected');
    for (const served of this.#served) this.#register(served);
    for (const callback of [...this.#whenUp]) callback();
    for (const running of [...this.#calls]) this.#lookup(running);
  }

  #register(served: Served): void {
    const { path, methods } = served.object;
    const object: OwnObject = {
      invoked: (method, data) => answerOf(methods, method, data),
      watched: isWatched => {
        served.isWatched = isWatched;
      },
    };
    this.#session?.add(object, { objpath: path, signature: signatureOf(served.object) }, (id, status) => {
      served.id = id;
      if (status === STATUS.ok) return;
      // ubusd says the same of a path that is taken and of one that an ACL forbids.
      if (this.#offer === undefined) this.#warn(`object ${path} was refused (taken, or not allowed)`, status);
      this.#offer?.cancel();
      this.#offer = this.#options.loop.at(this.#options.monotonicMs() + OFFER_AGAIN_MS, () => {
        for (const each of this.#served) if (each.id === undefined && this.isUp) this.#register(each);
      });
    });
  }

  /** Handles what has come, as long as the answers go out. */
  #work(): void {
    const session = this.#session;
    while (session !== undefined && session === this.#session && !this.#isBusy) {
      const wasUp = session.isGreeted;
      if (!session.step()) break;
      if (!wasUp && session.isGreeted) this.#greeted();
    }
    if (session?.isBroken && session === this.#session) this.#drop();
  }

  #drop(): void {
    this.#link?.close();
    this.#link = undefined;
    this.#session = undefined;
    this.#offer?.cancel();
    this.#offer = undefined;
    for (const served of this.#served) Object.assign(served, { id: undefined, isWatched: false });
    if (this.#wasUp && !this.#isClosed) this.#options.report?.('warn', 'ubus: the connection is lost');
    this.#wasUp = false;
    this.#retry();
    for (const running of [...this.#calls]) this.#fail(running, STATUS.connectionFailed);
  }

  #retry(): void {
    if (this.#isClosed) return;
    this.#after(this.#retryMs, () => this.connect());
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS);
  }

  #after(ms: number, callback: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#options.loop.at(this.#options.monotonicMs() + ms, callback);
  }
}

function receiver(take: (name: string, data: BlobTable) => void): OwnObject['invoked'] {
  return (name, bytes): Answer => {
    const data = decodeTable(bytes ?? new Uint8Array(0));
    if (data === undefined) return { status: STATUS.invalidArgument };
    take(name, data);
    return { status: STATUS.ok };
  };
}
