// SPDX-License-Identifier: Apache-2.0
// Waiting for conditions instead of for time.

const POLL_MS = 20;

/**
 * How long a test waits for what must come. On a machine with nothing else to do it comes at once; a busy one is no
 * reason to fail. Below the minute after which a silent peer is given up, so that what came was told, not guessed.
 */
export const PATIENCE_MS = 40_000;
/** The same in a guest whose processor is emulated. */
export const GUEST_PATIENCE_MS = 120_000;

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

/** Polls until `probe` returns something other than undefined or false; throws `what` after `ms`. */
export async function until<T>(
  what: string,
  ms: number,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await pause(POLL_MS);
  }
}
