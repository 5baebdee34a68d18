// SPDX-License-Identifier: Apache-2.0
// The server's side of PUSH_REPLY and PUSH_UPDATE: options into as few messages as the limits allow. What a client makes
// of them is in pushreply.ts and pushupdate.ts.

import { utf8Length } from './bytes.ts';
import { OPTION_LENGTH_MAX, PUSH_SPARE, TEXT_MAX } from './limits.ts';
import { hasControlCharacter } from './text.ts';

/** Longest message without its NUL and without push-continuation, for which the spare bytes are. */
const PART_MAX = TEXT_MAX - PUSH_SPARE - 1;

/** Nearly every option: no space first, then nothing but printable ASCII without a comma. */
const PLAIN = /^[!-+\--~][ -+\--~]*$/;

/** Why an option cannot be pushed, in words; undefined when it can. */
export function pushOptionProblem(option: string): string | undefined {
  if (option.length <= OPTION_LENGTH_MAX && PLAIN.test(option)) return undefined;
  if (option.trim() === '') return 'it is empty';
  if (option.includes(',')) return 'it contains a comma';
  if (hasControlCharacter(option)) return 'it contains a control character';
  if (utf8Length(option) > OPTION_LENGTH_MAX) return `it is longer than ${OPTION_LENGTH_MAX} bytes`;
  return undefined;
}

/** The option lines of a text with commas between them: no option that is pushed has a comma in it. */
export function optionLines(told: string): string[] {
  return told === '' ? [] : told.split(',');
}

/**
 * The messages, in the order they must be sent. Every option must pass pushOptionProblem; one that does not is a
 * mistake of our own and throws.
 */
export function buildPush(command: 'PUSH_REPLY' | 'PUSH_UPDATE', options: readonly string[]): string[] {
  const parts: string[] = [];
  let part: string = command;
  let length = part.length;
  for (const option of options) {
    const problem = pushOptionProblem(option);
    if (problem !== undefined) throw new RangeError(`pushed option: ${problem}`);
    const added = 1 + utf8Length(option);
    if (length + added > PART_MAX) {
      parts.push(`${part},push-continuation 2`);
      part = command;
      length = part.length;
    }
    part += `,${option}`;
    length += added;
  }
  parts.push(parts.length > 0 ? `${part},push-continuation 1` : part);
  return parts;
}
