// SPDX-License-Identifier: Apache-2.0
// The loop of both runtimes: epoll and signals in the shim, timers here. It blocks inside Node too: the daemon
// is synchronous, and one order of events for both runtimes is worth more than Node's own loop.

import type { Loop, SignalName, Timer } from './host.ts';
import { demand, type RawShim } from './raw.ts';

const READABLE = 1;
const WRITABLE = 2;
const SIGNALS: readonly SignalName[] = ['HUP', 'INT', 'TERM', 'USR1', 'USR2'];
const EVENTS_MAX = 64;
const WAIT_MAX_MS = 3_600_000;

interface Watch {
  readable: (() => void) | undefined;
  writable: (() => void) | undefined;
}

class HeapTimer implements Timer {
  readonly deadlineMs: number;
  /** Timers of one deadline fire in the order in which they were set. */
  readonly order: number;
  callback: (() => void) | undefined;
  readonly #heap: TimerHeap;

  constructor(heap: TimerHeap, deadlineMs: number, order: number, callback: () => void) {
    this.#heap = heap;
    this.deadlineMs = deadlineMs;
    this.order = order;
    this.callback = callback;
  }

  cancel(): void {
    if (this.callback === undefined) return;
    this.callback = undefined;
    this.#heap.cancelled();
  }
}

function isBefore(a: HeapTimer, b: HeapTimer): boolean {
  return a.deadlineMs < b.deadlineMs || (a.deadlineMs === b.deadlineMs && a.order < b.order);
}

/** A binary heap, earliest first. Cancelled timers stay until their turn, or until they are the most. */
class TimerHeap {
  #heap: HeapTimer[] = [];
  #cancelled = 0;

  cancelled(): void {
    this.#cancelled++;
    if (this.#cancelled < 64 || this.#cancelled * 2 < this.#heap.length) return;
    // In order is a heap too.
    this.#heap = this.#heap
      .filter(timer => timer.callback !== undefined)
      .sort((a, b) => (isBefore(a, b) ? -1 : 1));
    this.#cancelled = 0;
  }

  push(timer: HeapTimer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  /** The earliest timer that is not cancelled. */
  first(): HeapTimer | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.callback === undefined) {
      this.shift();
      this.#cancelled--;
    }
    return this.#heap[0];
  }

  shift(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

/** Loop on the shim's epoll. Exceptions of callbacks leave run(). */
export class ShimLoop implements Loop {
  readonly #shim: RawShim;
  readonly #handle: number;
  readonly #watches = new Map<number, Watch>();
  readonly #timers = new TimerHeap();
  readonly #signals: ((() => void) | undefined)[] = [];
  readonly #events = new Int32Array(EVENTS_MAX * 2);
  readonly #eventBytes = new Uint8Array(this.#events.buffer);
  #order = 0;
  #stopped = false;

  constructor(shim: RawShim) {
    this.#shim = shim;
    this.#handle = demand(shim, 'loop_open', shim.loop_open());
  }

  onReadable(fd: number, callback: () => void): void {
    this.#watch(fd, callback, this.#watches.get(fd)?.writable);
  }

  onWritable(fd: number, callback: (() => void) | undefined): void {
    this.#watch(fd, this.#watches.get(fd)?.readable, callback);
  }

  forget(fd: number): void {
    if (this.#watches.has(fd)) this.#watch(fd, undefined, undefined);
  }

  at(deadlineMs: number, callback: () => void): Timer {
    const timer = new HeapTimer(this.#timers, deadlineMs, this.#order++, callback);
    this.#timers.push(timer);
    return timer;
  }

  onSignal(name: SignalName, callback: () => void): void {
    const number = SIGNALS.indexOf(name);
    demand(this.#shim, 'signal_watch', this.#shim.signal_watch(number));
    this.#signals[number] = callback;
  }

  run(): void {
    this.#stopped = false;
    while (!this.#stopped) {
      const count = demand<number>(
        this.#shim,
        'loop_wait',
        this.#shim.loop_wait(this.#handle, this.#timeout(), this.#eventBytes),
      );
      for (let i = 0; i < count && !this.#stopped; i++) {
        const fd = this.#events[2 * i]!;
        const flags = this.#events[2 * i + 1]!;
        if (fd < 0) this.#raise(flags);
        else this.#dispatch(fd, flags);
      }
      if (!this.#stopped) this.#expire();
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** For tests that open many loops in one process; the daemon's lives as long as the process. */
  close(): void {
    this.#shim.loop_close(this.#handle);
  }

  #watch(fd: number, readable: (() => void) | undefined, writable: (() => void) | undefined): void {
    const flags = (readable === undefined ? 0 : READABLE) | (writable === undefined ? 0 : WRITABLE);
    const old = this.#watches.get(fd);
    const oldFlags =
      old === undefined
        ? 0
        : (old.readable === undefined ? 0 : READABLE) | (old.writable === undefined ? 0 : WRITABLE);
    if (flags !== oldFlags) demand(this.#shim, 'loop_watch', this.#shim.loop_watch(this.#handle, fd, flags));
    if (flags === 0) this.#watches.delete(fd);
    else this.#watches.set(fd, { readable, writable });
  }

  #timeout(): number {
    const first = this.#timers.first();
    if (first === undefined) return -1;
    const left = Math.ceil(first.deadlineMs - this.#shim.clock_monotonic());
    return Math.min(Math.max(left, 0), WAIT_MAX_MS);
  }

  #dispatch(fd: number, flags: number): void {
    // Looked up for each call: a callback may forget this or another descriptor.
    if ((flags & READABLE) !== 0) this.#watches.get(fd)?.readable?.();
    if ((flags & WRITABLE) !== 0) this.#watches.get(fd)?.writable?.();
  }

  #raise(mask: number): void {
    this.#signals.forEach((callback, number) => {
      if ((mask & (1 << number)) !== 0 && !this.#stopped) callback?.();
    });
  }

  /** Only what was due before: a timer that sets itself for now must not starve the descriptors. */
  #expire(): void {
    const now = this.#shim.clock_monotonic();
    const before = this.#order;
    for (;;) {
      const timer = this.#timers.first();
      if (this.#stopped || timer === undefined || timer.deadlineMs > now || timer.order >= before) return;
      const callback = timer.callback!;
      this.#timers.shift();
      timer.callback = undefined;
      callback();
    }
  }
}
