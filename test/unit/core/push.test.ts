// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import fc from 'fast-check';
import { isDrop } from '../../../src/core/drop.ts';
import { buildPush, pushOptionProblem } from '../../../src/core/push.ts';
import { collectPush, newPushCollector } from '../../../src/core/pushreply.ts';
import { decodeTexts, encodeText } from '../../../src/core/text.ts';
import { vector } from './vectors.ts';

/** What a client gets out of the messages of a server. */
function received(parts: readonly string[]): readonly string[] | undefined {
  const state = newPushCollector();
  for (const [i, part] of parts.entries()) {
    const texts = decodeTexts(encodeText(part));
    ok(!isDrop(texts));
    deepEqual(texts, [part]);
    const result = collectPush(state, texts[0]!);
    if (i < parts.length - 1) equal(result, 'more');
    else return result === 'more' || isDrop(result) ? undefined : result.options;
  }
  return undefined;
}

describe('core/push', () => {
  it('writes what a real server wrote', () => {
    const text = vector('transcript-A').outputs.push_reply as string;
    deepEqual(buildPush('PUSH_REPLY', text.split(',').slice(1)), [text]);
    deepEqual(buildPush('PUSH_REPLY', []), ['PUSH_REPLY']);
  });

  it('a client gets every option, in order, from parts within the limit', () => {
    const option = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 200 })
      .map(text => text.trim())
      .filter(text => pushOptionProblem(text) === undefined && !text.startsWith('push-continuation'));
    fc.assert(
      fc.property(fc.array(option, { maxLength: 60 }), options => {
        const parts = buildPush('PUSH_REPLY', options);
        for (const part of parts) ok(encodeText(part).length <= 1024 - 84 + 20);
        deepEqual(received(parts), options);
      }),
    );
  });

  it('splits only when it must, and says in each part whether more follows', () => {
    // 10 + 4 * 232 = 938 bytes and a NUL: one short of the limit.
    const four = new Array<string>(4).fill('x'.repeat(231));
    equal(buildPush('PUSH_REPLY', four).length, 1);
    equal(encodeText(buildPush('PUSH_REPLY', four)[0]!).length, 939);
    four[3] += 'x';
    equal(buildPush('PUSH_REPLY', four).length, 1);
    four[2] += 'x';
    const parts = buildPush('PUSH_REPLY', four);
    equal(parts.length, 2);
    match(parts[0]!, /,push-continuation 2$/);
    match(parts[1]!, /,push-continuation 1$/);
  });

  it('counts bytes, not characters', () => {
    const options = new Array<string>(4).fill('é'.repeat(120));
    equal(buildPush('PUSH_REPLY', options).length, 2);
    for (const part of buildPush('PUSH_REPLY', options)) ok(encodeText(part).length <= 1024);
  });

  it('says why an option cannot be pushed, and does not push it', () => {
    const bad: [string, RegExp][] = [
      ['', /empty/],
      ['  ', /empty/],
      ['route 10.0.0.0,dev tap', /comma/],
      ['echo a\nb', /control/],
      ['echo \0', /control/],
      ['echo\n', /control/],
      ['echo \x7f', /control/],
      ['x'.repeat(256), /255/],
      ['é'.repeat(128), /255/],
    ];
    for (const [option, words] of bad) {
      match(pushOptionProblem(option) ?? '', words);
      throws(() => buildPush('PUSH_REPLY', ['ping 10', option]), RangeError);
    }
    equal(pushOptionProblem('x'.repeat(255)), undefined);
    equal(pushOptionProblem('é'.repeat(127)), undefined);
    equal(pushOptionProblem(' route 10.0.0.0 255.0.0.0'), undefined);
    equal(pushOptionProblem('route 10.0.0.0 255.0.0.0'), undefined);
  });
});
