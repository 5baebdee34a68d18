// SPDX-License-Identifier: Apache-2.0
// node:assert/strict, as much of it as the unit tests use.

class AssertionError extends Error {
  override name = 'AssertionError';
}

function show(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes ${Array.from(value).join(' ')}`;
  try {
    return (
      JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner)) ?? String(value)
    );
  } catch {
    return String(value);
  }
}

function fails(text: string, message: unknown): never {
  if (message instanceof Error) throw message;
  throw new AssertionError(message === undefined ? text : `${String(message)}: ${text}`);
}

function keysOf(value: object): (string | symbol)[] {
  return Reflect.ownKeys(value).filter(key => Object.prototype.propertyIsEnumerable.call(value, key));
}

function sameEntries(a: Map<unknown, unknown>, b: Map<unknown, unknown>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (!b.has(key) || !same(value, b.get(key))) return false;
  return true;
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Map) return sameEntries(a, b as Map<unknown, unknown>);
  if (a instanceof Set) {
    const other = b as Set<unknown>;
    return a.size === other.size && [...a].every(x => other.has(x) || [...other].some(y => same(x, y)));
  }
  if (a instanceof Error && a.message !== (b as Error).message) return false;
  const keys = keysOf(a);
  if (keys.length !== keysOf(b).length) return false;
  return keys.every(key => Object.hasOwn(b, key) && same(Reflect.get(a, key), Reflect.get(b, key)));
}

export function ok(value: unknown, message?: unknown): asserts value {
  if (!value) fails(`${show(value)} is not truthy`, message);
}

export function equal(a: unknown, b: unknown, message?: unknown): void {
  if (!Object.is(a, b)) fails(`${show(a)} is not ${show(b)}`, message);
}

export function notEqual(a: unknown, b: unknown, message?: unknown): void {
  if (Object.is(a, b)) fails(`both are ${show(a)}`, message);
}

export function deepEqual(a: unknown, b: unknown, message?: unknown): void {
  if (!same(a, b)) fails(`${show(a)} is not ${show(b)}`, message);
}

export function notDeepEqual(a: unknown, b: unknown, message?: unknown): void {
  if (same(a, b)) fails(`both are ${show(a)}`, message);
}

export function match(text: string, pattern: RegExp, message?: unknown): void {
  if (!pattern.test(text)) fails(`${show(text)} does not match ${String(pattern)}`, message);
}

export function doesNotMatch(text: string, pattern: RegExp, message?: unknown): void {
  if (pattern.test(text)) fails(`${show(text)} matches ${String(pattern)}`, message);
}

export function fail(message?: unknown): never {
  fails('failed', message);
}

type Expected = RegExp | (new (...words: never[]) => Error) | { message?: RegExp | string; name?: string };

export function throws(body: () => unknown, expected?: Expected, message?: unknown): void {
  try {
    body();
  } catch (error) {
    if (expected === undefined) return;
    if (expected instanceof RegExp) return match(String(error), expected, message);
    if (typeof expected === 'function')
      return ok(error instanceof expected, message ?? `threw ${String(error)}`);
    const { message: text } = expected;
    if (text instanceof RegExp) match((error as Error).message, text, message);
    else if (text !== undefined) equal((error as Error).message, text, message);
    return;
  }
  fails('nothing was thrown', message);
}

export function doesNotThrow(body: () => unknown): void {
  body();
}

export {
  deepEqual as deepStrictEqual,
  equal as strictEqual,
  notDeepEqual as notDeepStrictEqual,
  notEqual as notStrictEqual,
};

export default Object.assign((value: unknown, message?: unknown) => ok(value, message), {
  ok,
  equal,
  notEqual,
  deepEqual,
  notDeepEqual,
  match,
  doesNotMatch,
  fail,
  throws,
  doesNotThrow,
  strictEqual: equal,
  notStrictEqual: notEqual,
  deepStrictEqual: deepEqual,
  notDeepStrictEqual: notDeepEqual,
});
