// SPDX-License-Identifier: Apache-2.0
// Drives a question (client.ts) over a stream. Timer: one, for the whole question.

import type { Loop, Stream } from '../host/host.ts';
import type { UbusError, UbusRequest } from './client.ts';

const READ_BYTES = 64 * 1024;

export interface AskOptions {
  readonly loop: Loop;
  /** A connected stream; closed here, whatever happens. */
  readonly stream: Stream;
  monotonicMs(): number;
  readonly timeoutMs: number;
}

/**
 * Asks and calls back once with the outcome, from the loop (never before this returns). A command line that wants
 * to wait runs the loop and stops it in the callback.
 */
export function askUbus<T>(
  options: AskOptions,
  request: UbusRequest<T>,
  done: (outcome: T | UbusError) => void,
): void {
  const { loop, stream } = options;
  let queue = new Uint8Array(0);
  let isWatchingWrites = false;
  const timer = loop.at(options.monotonicMs() + options.timeoutMs, () => {
    request.abort('timeout');
    settle();
  });
  loop.onReadable(stream.fd, read);

  function read(): void {
    const bytes = stream.read(READ_BYTES);
    if (bytes === undefined) return;
    if ('failed' in bytes || bytes.length === 0) request.abort('closed');
    else send(request.receive(bytes));
    settle();
  }

  function send(bytes: Uint8Array): void {
    const all = new Uint8Array(queue.length + bytes.length);
    all.set(queue);
    all.set(bytes, queue.length);
    queue = all;
    flush();
  }

  function flush(): void {
    while (queue.length > 0) {
      const taken = stream.write(queue);
      if (typeof taken !== 'number') {
        request.abort('closed');
        return;
      }
      if (taken === 0) break;
      queue = queue.slice(taken);
    }
    if (isWatchingWrites === queue.length > 0) return;
    isWatchingWrites = queue.length > 0;
    loop.onWritable(stream.fd, isWatchingWrites ? flushAndSettle : undefined);
  }

  function flushAndSettle(): void {
    flush();
    settle();
  }

  function settle(): void {
    const { outcome } = request;
    if (outcome === undefined) return;
    timer.cancel();
    loop.forget(stream.fd);
    stream.close();
    done(outcome);
  }
}
