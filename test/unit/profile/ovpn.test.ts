// SPDX-License-Identifier: Apache-2.0

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { encodeUtf8 } from '../../../src/core/bytes.ts';
import { importProfile } from '../../../src/profile/import.ts';
import { PROFILE_MAX, parseProfile, splitWords } from '../../../src/profile/ovpn.ts';

const parse = (text: string) => parseProfile(encodeUtf8(text));

function directives(text: string) {
  const profile = parse(text);
  ok('directives' in profile, JSON.stringify(profile));
  return profile.directives;
}

describe('words of a profile', () => {
  const cases: readonly (readonly [line: string, words: readonly string[]])[] = [
    ['remote host 1194', ['remote', 'host', '1194']],
    ['\tremote\t host ', ['remote', 'host']],
    ['', []],
    ['# remote host', []],
    ['; remote host', []],
    ['remote host # comment', ['remote', 'host']],
    ['remote host#1', ['remote', 'host#1']],
    ['setenv X "a b"', ['setenv', 'X', 'a b']],
    ["setenv X 'a \\b'", ['setenv', 'X', 'a \\b']],
    ['setenv X "a \\"b\\" \\\\"', ['setenv', 'X', 'a "b" \\']],
    ['setenv X a\\ b', ['setenv', 'X', 'a b']],
    ['setenv X ""', ['setenv', 'X', '']],
    ['setenv X a"b c"d', ['setenv', 'X', 'ab cd']],
    ['setenv X "it\'s"', ['setenv', 'X', "it's"]],
  ];
  for (const [line, words] of cases) {
    it(JSON.stringify(line), () => deepStrictEqual(splitWords(line), words));
  }

  const refused: readonly (readonly [line: string, why: RegExp])[] = [
    ['remote "host', /quote that is not closed/],
    ["remote 'host", /quote that is not closed/],
    ['ca C:\\keys\\ca.crt', /backslash/],
    ['ca dir\\', /backslash/],
    [`remote ${'x '.repeat(16)}`, /more than 16 words/],
  ];
  for (const [line, why] of refused) {
    it(`refuses ${JSON.stringify(line.slice(0, 40))}`, () => {
      const words = splitWords(line);
      ok(typeof words === 'string' && why.test(words), String(words));
    });
  }

  it('takes 16 words', () => strictEqual(splitWords('x '.repeat(16)).length, 16));
});

describe('lines of a profile', () => {
  it('blocks are verbatim, line ends LF', () => {
    deepStrictEqual(directives('client\r\n<ca>\r\n # kept "\r\n</ca>\r\nverb 3'), [
      { name: 'client', args: [], line: 1 },
      { name: 'ca', args: [], line: 2, inline: ' # kept "\n' },
      { name: 'verb', args: ['3'], line: 5 },
    ]);
  });

  it('connections are opened up', () => {
    deepStrictEqual(
      directives('<connection>\nremote a\n</connection>\n<connection>\nremote b\n</connection>'),
      [
        { name: 'remote', args: ['a'], line: 2, connection: 0 },
        { name: 'remote', args: ['b'], line: 5, connection: 1 },
      ],
    );
  });

  it('a byte order mark and dashes do not count', () => {
    deepStrictEqual(
      directives('\ufeff--client\n--verb 3').map(({ name }) => name),
      ['client', 'verb'],
    );
  });

  const refused: readonly (readonly [text: string, line: number, why: RegExp])[] = [
    ['client\n<ca>\nx', 2, /never closed/],
    ['<connection>\n<connection>\n</connection>', 2, /inside/],
    ['client\n=x', 2, /name of an option/],
    ['a\0b', 0, /not a text file/],
    ['x\n'.repeat(4097), 4097, /more than 4096/],
    ['#'.repeat(PROFILE_MAX + 1), 0, /larger/],
  ];
  for (const [text, line, why] of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => {
      const error = parse(text);
      ok('text' in error && why.test(error.text), JSON.stringify(error));
      strictEqual(error.line, line);
    });
  }
});

describe('notes of an import', () => {
  it('are printable and short, whatever the profile says', () => {
    const { verdicts } = importProfile(
      encodeUtf8(`remote h 1 "\u001b[31m${'x'.repeat(5000)}"\ncipher "\u0085\u2028BF"\n`),
      () => 'gone',
    );
    for (const { note = '' } of verdicts) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
      ok(!/[\x00-\x1f\x7f-\x9f\u2028]/.test(note) && note.length <= 203, JSON.stringify(note));
    }
  });

  it('never show a password', () => {
    const text = 'client\nremote h\n<auth-user-pass>\nanna\ns3cret\n</auth-user-pass>\n';
    const { verdicts } = importProfile(encodeUtf8(text), () => 'gone');
    ok(!JSON.stringify(verdicts).includes('s3cret'));
  });
});
