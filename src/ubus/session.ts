// SPDX-License-Identifier: Apache-2.0
// One connection to ubusd: requests with their answers, and what comes to objects of ours. Sans-IO: bytes in through
// `push` and `step`, bytes out through `send`. bus.ts has the socket, the time and the coming back.

import {
  type Attributes,
  createAssembler,
  encodeMessage,
  MESSAGE_TYPES,
  type Message,
  STATUS,
} from './message.ts';

/** What a method answers: a status and, when it is ok, maybe an encoded table. */
export interface Answer {
  readonly status: number;
  readonly data?: Uint8Array;
}

/** An object of ours on the bus. Those without a path get notifications and events. */
export interface OwnObject {
  /** A call, a notification or an event; the answer goes nowhere when nobody waits for it. */
  invoked(method: string, data: Uint8Array | undefined): Answer;
  /** Whether anybody subscribes now. */
  watched?(isWatched: boolean): void;
  /** What this one had subscribed to is gone. */
  lost?(): void;
}

export interface Request {
  readonly type: number;
  /** The object asked; absent: ubusd itself. */
  readonly peer?: number;
  readonly attributes: Attributes;
}

/** Requests without answer at one time. */
export const WAITING_MAX = 256;

interface Waiting {
  readonly peer: number;
  readonly take: (message: Message) => void;
}

export class Session {
  /** HELLO has come. */
  isGreeted = false;
  readonly #send: (bytes: Uint8Array) => void;
  readonly #assembler = createAssembler();
  readonly #waiting = new Map<number, Waiting>();
  readonly #objects = new Map<number, OwnObject>();
  #seq = 0;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  get isBroken(): boolean {
    return this.#assembler.isBroken;
  }

  /** Copies. Take with `step` until it has nothing before the next one. */
  push(bytes: Uint8Array): void {
    this.#assembler.push(bytes);
  }

  /** Handles one message; false: there is no whole one. */
  step(): boolean {
    const message = this.#assembler.next();
    if (message !== undefined) this.#handle(message);
    return message !== undefined;
  }

  /**
   * Sends a request. `take` gets every DATA message of the answer, and last the STATUS. Answers the number for
   * `forget`; undefined when it is too long or too many wait.
   */
  ask(request: Request, take: (message: Message) => void): number | undefined {
    if (this.#waiting.size >= WAITING_MAX) return undefined;
    do this.#seq = (this.#seq % 0xffff) + 1;
    while (this.#waiting.has(this.#seq));
    const { type, peer = 0, attributes } = request;
    const bytes = encodeMessage({ type, seq: this.#seq, peer, attributes });
    if (bytes === undefined) return undefined;
    this.#waiting.set(this.#seq, { peer, take });
    this.#send(bytes);
    return this.#seq;
  }

  /** Nobody waits for this answer any more. */
  forget(seq: number): void {
    this.#waiting.delete(seq);
  }

  /** Registers an object; without a path it can only subscribe and listen. `done` gets its id or the status. */
  add(
    object: OwnObject,
    attributes: Pick<Attributes, 'objpath' | 'signature'>,
    done: (id: number | undefined, status: number) => void,
  ): void {
    let id: number | undefined;
    this.ask({ type: MESSAGE_TYPES.addObject, attributes }, ({ type, attributes: answer }) => {
      if (type === MESSAGE_TYPES.data) {
        id = answer.objid;
        // Before the status: the first call may be right behind it.
        if (id !== undefined) this.#objects.set(id, object);
      } else {
        done(id, answer.status ?? STATUS.unknownError);
      }
    });
  }

  /** Tells the subscribers of an own object; nothing comes back. */
  notify(id: number, method: string, data: Uint8Array): void {
    const attributes = { objid: id, method, data, noReply: 1 };
    this.#seq = (this.#seq % 0xffff) + 1;
    const bytes = encodeMessage({ type: MESSAGE_TYPES.notify, seq: this.#seq, peer: id, attributes });
    if (bytes !== undefined) this.#send(bytes);
  }

  #handle(message: Message): void {
    const { type, seq, peer, attributes } = message;
    const own = this.#objects.get(attributes.objid ?? 0);
    switch (type) {
      case MESSAGE_TYPES.hello:
        this.isGreeted = true;
        return;
      case MESSAGE_TYPES.data:
      case MESSAGE_TYPES.status: {
        const waiting = this.#waiting.get(seq);
        if (waiting === undefined || waiting.peer !== peer) return;
        if (type === MESSAGE_TYPES.status) this.#waiting.delete(seq);
        return waiting.take(message);
      }
      case MESSAGE_TYPES.invoke:
        return this.#invoked(message, own);
      case MESSAGE_TYPES.notify:
        return own?.watched?.(attributes.active === 1);
      case MESSAGE_TYPES.unsubscribe:
        return own?.lost?.();
    }
  }

  #invoked({ seq, peer, attributes }: Message, own: OwnObject | undefined): void {
    const { objid, method } = attributes;
    if (objid === undefined) return;
    const answer =
      own === undefined || method === undefined
        ? { status: own === undefined ? STATUS.notFound : STATUS.invalidArgument }
        : own.invoked(method, attributes.data);
    if (attributes.noReply === 1) return;
    let { status } = answer;
    if (answer.data !== undefined && status === STATUS.ok) {
      const data = encodeMessage({
        type: MESSAGE_TYPES.data,
        seq,
        peer,
        attributes: { objid, data: answer.data },
      });
      // It fitted a table, but not a message.
      if (data === undefined) status = STATUS.unknownError;
      else this.#send(data);
    }
    const end = encodeMessage({ type: MESSAGE_TYPES.status, seq, peer, attributes: { status, objid } });
    if (end !== undefined) this.#send(end);
  }
}
