// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { tokenise } from '../../../src/core/words.ts';

const table: [string, string[]][] = [
  ['', []],
  ['   ', []],
  ['ping 10', ['ping', '10']],
  ['\t ping  10 \r', ['ping', '10']],
  ['# ping 10', []],
  ['; ping 10', []],
  ['ping 10 # every ten seconds', ['ping', '10']],
  ['ping 10;x', ['ping', '10;x']],
  ['a#b c', ['a#b', 'c']],
  ['"a b" c', ['a b', 'c']],
  ["'a b' c", ['a b', 'c']],
  ['"" x', ['', 'x']],
  ["''", ['']],
  ['"a"b', ['a', 'b']],
  ['a"b c"', ['a"b', 'c"']],
  ["it's", ["it's"]],
  ['"a\\"b\\\\c"', ['a"b\\c']],
  ["'a\\b'", ['a\\b']],
  ['a\\ b', ['a b']],
  ['\\"a', ['"a']],
  ['"#" x', ['#', 'x']],
];

describe('core/words', () => {
  for (const [line, words] of table) {
    it(JSON.stringify(line), () => deepEqual(tokenise(line), words));
  }

  it('says what is wrong', () => {
    const wrong = (line: string, words: string) => {
      const result = tokenise(line);
      ok(typeof result === 'string' && result.includes(words), `${line}: ${result}`);
    };
    wrong('"a', 'closing');
    wrong("x 'a", 'closing');
    wrong('"a\\"', 'closing');
    wrong('a\\b', 'backslash');
    wrong('a\\', 'backslash');
    wrong('"\\n"', 'backslash');
    wrong('x'.repeat(256), '255');
    wrong('x '.repeat(17), '16');
    wrong(`${'x '.repeat(16)}x`, '16');
    wrong('# '.concat('x'.repeat(254)), '255');
  });

  it('takes 16 words and 255 characters', () => {
    equal(tokenise('x '.repeat(16)).length, 16);
    deepEqual(tokenise('x'.repeat(255)), ['x'.repeat(255)]);
    equal(tokenise(`${'x '.repeat(16)}# rest`).length, 16);
  });

  it('words in quotes or not are the same words', () => {
    const word = fc.stringMatching(/^[\w./:-]{1,8}$/);
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 8 }), words => {
        deepEqual(tokenise(words.join(' ')), words);
        deepEqual(tokenise(`${words.join(' ')} `), words);
      }),
    );
  });

  it('any words, quoted, come back', () => {
    const word = fc.string({ maxLength: 10 });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), words => {
        const line = words.map(each => `"${each.replace(/[\\"]/g, '\\$&')}"`).join(' ');
        deepEqual(tokenise(line), words);
      }),
    );
  });
});
