// SPDX-License-Identifier: Apache-2.0
// How tests say that a pushed option must be taken, ignored or refused.

import { deepEqual, equal } from 'node:assert/strict';
import { type PushedOptions, parsePush } from '../../../src/core/pushreply.ts';

/** Parses options that must all be taken. */
export function taken(...options: string[]): PushedOptions {
  const pushed = parsePush(options);
  deepEqual(pushed.ignored, []);
  deepEqual(pushed.refused, []);
  return pushed;
}

/** Parses options of which the last must be ignored; returns the reason. */
export function ignored(...options: string[]): string {
  const pushed = parsePush(options);
  deepEqual(pushed.refused, []);
  equal(pushed.ignored.length, 1, options.join());
  equal(pushed.ignored[0]!.option, options.at(-1));
  return pushed.ignored[0]!.reason;
}

/** Parses options of which one must be refused; returns the reason. */
export function refused(...options: string[]): string {
  const pushed = parsePush(options);
  equal(pushed.refused.length, 1, options.join());
  return pushed.refused[0]!.reason;
}
