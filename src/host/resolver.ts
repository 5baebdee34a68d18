// SPDX-License-Identifier: Apache-2.0
// Name resolution on the shim: questions by token, answers through the loop.

import type { Ip } from '../core/address.ts';
import type { Loop, Resolution } from './host.ts';
import { demand, type RawShim } from './raw.ts';

export type ResolveCallback = (addresses: readonly Ip[] | string) => void;

/** Asks in threads of the shim; a cancelled question's answer is dropped when it comes. */
export class Resolver {
  readonly #shim: RawShim;
  readonly #loop: Loop;
  readonly #monotonicMs: () => number;
  readonly #waiting = new Map<number, ResolveCallback>();
  #fd = -1;
  // The queue of answers is the process's: tokens of two resolvers in one process must not meet.
  static #token = 0;

  constructor(shim: RawShim, loop: Loop, monotonicMs: () => number) {
    this.#shim = shim;
    this.#loop = loop;
    this.#monotonicMs = monotonicMs;
  }

  /** See Host.resolve. */
  resolve(name: string, family: 4 | 6 | 0, callback: ResolveCallback): Resolution {
    if (this.#fd < 0) {
      this.#fd = demand(this.#shim, 'resolve_fd', this.#shim.resolve_fd());
      this.#loop.onReadable(this.#fd, () => this.#collect());
    }
    const token = Resolver.#token++;
    const status = this.#shim.resolve_start(name, family, token);
    if (status < 0) {
      const text = this.#shim.error_text(-status);
      const timer = this.#loop.at(this.#monotonicMs(), () => callback(text.slice(text.indexOf(' ') + 1)));
      return { cancel: () => timer.cancel() };
    }
    this.#waiting.set(token, callback);
    return { cancel: () => this.#waiting.delete(token) };
  }

  #collect(): void {
    for (;;) {
      const answer = this.#shim.resolve_take();
      if (typeof answer === 'number') return;
      const view = new DataView(answer.buffer, answer.byteOffset);
      const token = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
      const callback = this.#waiting.get(token);
      this.#waiting.delete(token);
      callback?.(answer[8] === 1 ? String.fromCharCode(...answer.subarray(9)) : readAddresses(answer));
    }
  }
}

function readAddresses(answer: Uint8Array): Ip[] {
  const addresses: Ip[] = [];
  for (let at = 9; at < answer.length; at += 1 + answer[at]!) {
    addresses.push(answer.slice(at + 1, at + 1 + answer[at]!));
  }
  return addresses;
}
