// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match } from 'node:assert/strict';
import fc from 'fast-check';
import { encodeUtf8, toHex } from '../../../src/core/bytes.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { decodeTexts, encodeText, hasControlCharacter, printable } from '../../../src/core/text.ts';

function read(text: string): readonly string[] | string {
  const texts = decodeTexts(encodeUtf8(text));
  return isDrop(texts) ? texts.drop : texts;
}

describe('core/text', () => {
  it('reads back what it wrote, one message or several in a record', () => {
    const message = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
      .filter(text => !hasControlCharacter(text));
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), list => {
        const record = list.flatMap(text => [...encodeText(text)]);
        deepEqual(decodeTexts(new Uint8Array(record)), list);
      }),
    );
    equal(toHex(encodeText('EXIT')), '4558495400');
  });

  it('cuts CR and LF at the end, and skips empty messages', () => {
    deepEqual(read('EXIT\r\n\0'), ['EXIT']);
    deepEqual(read('\0\0EXIT\n\n\0\0'), ['EXIT']);
    equal(read('\r\n\0'), 'text');
    equal(read(''), 'text');
    equal(read('\0'), 'text');
  });

  it('leaves out a message with a control character, not its neighbours', () => {
    deepEqual(read('A\0B\x1b[2J\0C\0'), ['A', 'C']);
    for (const bad of ['a\nb', '\ra', 'a\tb', 'a\x7f', 'a\u0085', 'a\u009b2J'])
      equal(read(`${bad}\0`), 'text');
    deepEqual(read('Grüße €\u00a0\0'), ['Grüße €\u00a0']);
  });

  it('leaves out what does not end in NUL', () => {
    equal(read('EXIT'), 'text');
    deepEqual(read('A\0EXIT'), ['A']);
  });

  it('takes 1023 bytes and a NUL, not 1024; a record of 2048, not 2049', () => {
    deepEqual(read(`${'x'.repeat(1023)}\0`), ['x'.repeat(1023)]);
    equal(read(`${'x'.repeat(1024)}\0`), 'text');
    deepEqual(read(`${'x'.repeat(1024)}\0y\0`), ['y']);
    equal((read('y\0'.repeat(1024)) as string[]).length, 1024);
    equal(read(`${'y\0'.repeat(1024)}\0`), 'text');
  });

  it('printable leaves 0x20..0x7e and escapes the rest', () => {
    const plain = Array.from({ length: 0x5f }, (_, i) => String.fromCharCode(0x20 + i)).join('');
    equal(printable(plain), plain);
    equal(printable('a\x1b[2J\n\x7f'), 'a\\x1b[2J\\x0a\\x7f');
    equal(printable('é€😀'), '\\xe9\\u{20ac}\\u{1f600}');
    equal(printable('\ud800'), '\\u{d800}');
    equal(printable('\u00ff\u0100'), '\\xff\\u{100}');
    fc.assert(fc.property(fc.string({ unit: 'binary' }), text => match(printable(text), /^[ -~]*$/)));
  });
});
