// SPDX-License-Identifier: Apache-2.0
// A stream with a queue of what is to be sent. While that waits nothing is read: answers to more would only make it
// longer.

import type { Loop, Stream } from '../host/host.ts';

/** Above this the other side has stopped reading: it is better to begin anew. */
export const QUEUE_MAX = 4 << 20;

/** Small, because everything in one read is handled before anybody else is looked at. */
const READ_BYTES = 4096;

export interface LinkParts {
  readonly loop: Loop;
  /** Connected; owned by the link from now on. */
  readonly stream: Stream;
  monotonicMs(): number;
  received(bytes: Uint8Array): void;
  /** The queue is empty again. */
  drained(): void;
  /** The other side ended it, or does not read. From the loop, never from inside `send`; not after `close`. */
  ended(): void;
}

export class Link {
  readonly #parts: LinkParts;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #isStuck = false;
  #isOver = false;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#watch();
  }

  /** Bytes not yet sent. */
  get queued(): number {
    return this.#queued;
  }

  /** Keeps `bytes` until they are sent. */
  send(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (this.#queued > QUEUE_MAX) this.#fail();
    else if (!this.#isStuck) this.#flush();
  }

  close(): void {
    this.#isOver = true;
    this.#parts.loop.forget(this.#parts.stream.fd);
    this.#parts.stream.close();
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const taken = this.#parts.stream.write(this.#queue[0]!);
      if (typeof taken !== 'number') return this.#fail();
      if (taken === 0) return this.#setStuck(true);
      this.#queued -= taken;
      if (taken === this.#queue[0]!.length) this.#queue.shift();
      else this.#queue[0] = this.#queue[0]!.subarray(taken);
    }
    this.#setStuck(false);
  }

  #fail(): void {
    const { loop, stream, monotonicMs } = this.#parts;
    if (this.#isOver) return;
    this.#isOver = true;
    loop.forget(stream.fd);
    loop.at(monotonicMs(), () => this.#parts.ended());
  }

  #setStuck(isStuck: boolean): void {
    if (this.#isStuck === isStuck) return;
    this.#isStuck = isStuck;
    this.#parts.loop.forget(this.#parts.stream.fd);
    this.#watch();
    if (!isStuck) this.#parts.drained();
  }

  #watch(): void {
    const { loop, stream } = this.#parts;
    if (this.#isStuck) loop.onWritable(stream.fd, () => this.#flush());
    else loop.onReadable(stream.fd, () => this.#read());
  }

  #read(): void {
    const bytes = this.#parts.stream.read(READ_BYTES);
    if (bytes === undefined) return;
    if ('failed' in bytes || bytes.length === 0) this.#parts.ended();
    else this.#parts.received(bytes);
  }
}
