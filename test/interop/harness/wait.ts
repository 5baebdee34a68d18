// SPDX-License-Identifier: Apache-2.0
// Waiting for conditions instead of for time.

const POLL_MS = 20;

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
