// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { REPLAY_EXPIRE_MS, REPLAY_WINDOW, ReplayWindow } from '../../../src/plane/replay.ts';

const LAST = 0xffffffff;

/** The rules in words, with a set of everything ever seen. */
class NaiveWindow {
  readonly #seen = new Set<number>();
  #highest = 0;
  #floor = 0;
  #lastMs: number | undefined;

  accept(id: number, now: number): boolean {
    if (id === 0) return false;
    if (this.#lastMs !== undefined && now - this.#lastMs >= REPLAY_EXPIRE_MS) this.#floor = this.#highest;
    const isInWindow = id > this.#highest - REPLAY_WINDOW && id > this.#floor;
    if (id <= this.#highest && (!isInWindow || this.#seen.has(id))) return false;
    this.#seen.add(id);
    this.#highest = Math.max(this.#highest, id);
    this.#lastMs = now;
    return true;
  }
}

describe('plane/replay', () => {
  it('accepts each id once', () => {
    const window = new ReplayWindow();
    for (const id of [1, 2, 3]) assert.equal(window.accept(id, 0), true);
    for (const id of [1, 2, 3]) assert.equal(window.accept(id, 0), false);
    assert.equal(window.highest, 3);
  });

  it('refuses id 0, before and after others', () => {
    const window = new ReplayWindow();
    assert.equal(window.accept(0, 0), false);
    assert.equal(window.accept(1, 0), true);
    assert.equal(window.accept(0, 0), false);
  });

  it('accepts the oldest id of the window and refuses the one before', () => {
    // The same numbers that the kernel module shows.
    const window = new ReplayWindow();
    assert.equal(window.accept(3000, 0), true);
    assert.equal(window.accept(953, 0), true);
    assert.equal(window.accept(952, 0), false);
  });

  it('accepts any jump forward, up to the last id', () => {
    const window = new ReplayWindow();
    for (const id of [1, 2048, 2049, 10_000, 0x7fffffff, 0x80000000, LAST]) {
      assert.equal(window.accept(id, 0), true, `${id}`);
      assert.equal(window.accept(id, 0), false, `${id} again`);
    }
    assert.equal(window.accept(LAST - (REPLAY_WINDOW - 1), 0), true);
    assert.equal(window.accept(LAST - REPLAY_WINDOW, 0), false);
  });

  it('forgets bits that a jump takes over', () => {
    const window = new ReplayWindow();
    for (let id = 1; id <= REPLAY_WINDOW; id++) assert.equal(window.accept(id, 0), true);
    assert.equal(window.accept(2 * REPLAY_WINDOW - 1, 0), true);
    assert.equal(window.accept(REPLAY_WINDOW, 0), false);
    for (let id = REPLAY_WINDOW + 1; id < 2 * REPLAY_WINDOW - 1; id++) {
      assert.equal(window.accept(id, 0), true, `${id}`);
    }
  });

  it('refuses older ids once 30 seconds brought nothing, and not a moment before', () => {
    const before = new ReplayWindow();
    assert.equal(before.accept(10, 1000), true);
    assert.equal(before.accept(9, 1000 + REPLAY_EXPIRE_MS - 1), true);
    const after = new ReplayWindow();
    assert.equal(after.accept(10, 1000), true);
    assert.equal(after.accept(9, 1000 + REPLAY_EXPIRE_MS), false);
    assert.equal(after.accept(11, 1000 + REPLAY_EXPIRE_MS), true);
  });

  it('counts the 30 seconds from the last accepted packet, not from a refused one', () => {
    const window = new ReplayWindow();
    assert.equal(window.accept(10, 0), true);
    assert.equal(window.accept(10, REPLAY_EXPIRE_MS - 1), false);
    assert.equal(window.accept(9, REPLAY_EXPIRE_MS), false);
  });

  it('agrees with a window that remembers everything', () => {
    const id = fc.oneof(
      fc.integer({ min: 0, max: 5000 }),
      fc.integer({ min: LAST - 5000, max: LAST }),
      fc.integer({ min: 0, max: LAST }),
    );
    const step = fc.record({
      base: id,
      run: fc.integer({ min: 1, max: 80 }),
      stride: fc.constantFrom(-1, 0, 1, 31, 32, 2047, 2048),
      waitMs: fc.constantFrom(0, 0, 0, 1, REPLAY_EXPIRE_MS - 1, REPLAY_EXPIRE_MS),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const window = new ReplayWindow();
        const naive = new NaiveWindow();
        let now = 0;
        for (const { base, run, stride, waitMs } of steps) {
          now += waitMs;
          for (let i = 0; i < run; i++) {
            const next = Math.min(LAST, Math.max(0, base + i * stride));
            assert.equal(window.accept(next, now), naive.accept(next, now), `id ${next} at ${now}`);
          }
        }
      }),
      { numRuns: 400 },
    );
  });
});
