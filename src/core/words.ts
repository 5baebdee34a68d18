// SPDX-License-Identifier: Apache-2.0
// One line of OpenVPN's configuration language into words. Profiles and pushed options share it.

import { OPTION_LENGTH_MAX, OPTION_WORDS_MAX } from './limits.ts';

/** Nearly every line: one blank between words, in which nothing has a meaning of its own. */
const PLAIN = /^[\w./:-]+(?: [\w./:-]+)*$/;

function isBlank(character: string): boolean {
  return character === ' ' || character === '\t' || character === '\r' || character === '\n';
}

const TOO_MANY = `it has more than ${OPTION_WORDS_MAX} words`;

interface Word {
  readonly text: string;
  /** Where reading goes on. */
  readonly next: number;
}

/**
 * The words of a line, or what is wrong with it, in words. Words stand between blanks; "..." takes backslash
 * escapes, '...' is literal; a # or ; where a word would begin starts a comment. A quoted word ends with its quote.
 */
export function tokenise(line: string): string[] | string {
  if (line.length > OPTION_LENGTH_MAX) return `it is longer than ${OPTION_LENGTH_MAX} characters`;
  if (PLAIN.test(line)) {
    const plain = line.split(' ');
    return plain.length > OPTION_WORDS_MAX ? TOO_MANY : plain;
  }
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && isBlank(line[at]!)) at++;
    if (at >= line.length || line[at] === '#' || line[at] === ';') return words;
    if (words.length === OPTION_WORDS_MAX) return TOO_MANY;
    const word = readWord(line, at);
    if (typeof word === 'string') return word;
    words.push(word.text);
    at = word.next;
  }
}

function readWord(line: string, start: number): Word | string {
  const first = line[start]!;
  const quote = first === '"' || first === "'" ? first : undefined;
  let text = '';
  let at = quote === undefined ? start : start + 1;
  for (; at < line.length; at++) {
    const character = line[at]!;
    if (quote === undefined ? isBlank(character) : character === quote) break;
    if (character === '\\' && quote !== "'") {
      const escaped = line[++at];
      if (escaped !== '\\' && escaped !== '"' && escaped !== ' ') return 'it has a bad backslash';
      text += escaped;
    } else {
      text += character;
    }
  }
  if (quote === undefined) return { text, next: at };
  return at < line.length ? { text, next: at + 1 } : 'it has no closing quotation mark';
}
