// SPDX-License-Identifier: Apache-2.0
// The words of the command line: options apart from the rest, and what is wrong with them, for a person.

import { printable } from '../core/text.ts';
import { nearest } from '../uci/nearest.ts';
import { CONFIG_DIRECTORY, KEY_DIRECTORY, RUN_DIRECTORY, UBUS_SOCKET } from './configfile.ts';

export interface CommandLine {
  readonly words: readonly string[];
  readonly flags: ReadonlySet<string>;
  /** Options with a value, by their letter. */
  readonly values: ReadonlyMap<string, string>;
  readonly configDirectory: string;
  readonly runDirectory: string;
  readonly keyDirectory: string;
  readonly ubusSocket: string;
}

/** Options with a value that every command takes. */
export const COMMON: readonly string[] = ['-c', '-r', '-k', '-u'];
export const HELP: readonly string[] = ['-h', '--help'];

/** One line on a word that is none of `known`. */
export function notKnown(what: string, given: string, known: readonly string[]): string {
  const near = nearest(given, known);
  const hint = near === undefined ? 'ovpnd --help lists all' : `did you mean ${near}?`;
  return `there is no ${what} '${printable(given)}'; ${hint}`;
}

/** `valued`: options with a value, `flags`: those without. A string says what is wrong, in one line. */
export function parseCommandLine(
  args: readonly string[],
  valued: readonly string[],
  flags: readonly string[],
): CommandLine | string {
  const words: string[] = [];
  const given = new Set<string>();
  const values = new Map<string, string>();
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (valued.includes(word)) {
      const value = args[++i];
      if (value === undefined || value === '') return `option ${word} needs a value`;
      values.set(word, value);
    } else if (flags.includes(word)) given.add(word);
    else if (word.startsWith('-')) return notKnown('option', word, [...valued, ...flags]);
    else words.push(word);
  }
  return {
    words,
    flags: given,
    values,
    configDirectory: values.get('-c') ?? CONFIG_DIRECTORY,
    runDirectory: values.get('-r') ?? RUN_DIRECTORY,
    keyDirectory: values.get('-k') ?? KEY_DIRECTORY,
    ubusSocket: values.get('-u') ?? UBUS_SOCKET,
  };
}
