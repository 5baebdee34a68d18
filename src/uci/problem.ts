// SPDX-License-Identifier: Apache-2.0
// What is wrong with a configuration file, collected and printed.

import type { UciSection } from './parse.ts';
import { decodeUtf8, oneLine } from './text.ts';

/** What is wrong with a place in the file, for a person. */
export interface Problem {
  /** An error refuses its section; a warning refuses nothing. */
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly sectionType?: string;
  /** The section's name; absent when it has none. */
  readonly section?: string;
  readonly option?: string;
  /** Whether `option` is written with the keyword `list`. */
  readonly isList?: boolean;
  /** As in the file; never there for a secret or for an option that is not known (it may be a mistyped secret). */
  readonly value?: string;
  /** What holds, as the rest of a sentence: `must be a port number, 1 to 65535`. */
  readonly rule: string;
}

/** Of each severity; more helps nobody, and a hostile file could make millions. */
const PROBLEMS_MAX = 250;
const SHOWN_MAX = 80;

/** Short and on one line: what a file says must not be able to forge a log line. */
function shown(text: string): string {
  return oneLine(text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text);
}

/** What libuci says of a file, and what that means. */
const UCI_ERRORS: Readonly<Record<string, string>> = {
  'invalid character in name field': 'names are letters, digits and _ only: tls_crypt, not tls-crypt',
  'invalid command': 'a line begins with config, option or list',
  'insufficient arguments': 'a name or a value is missing',
  'too many arguments': 'a value with blanks needs quotation marks',
};

/** Why a file cannot be read as uci. */
export function uciErrorText(text: string): string {
  const meaning = UCI_ERRORS[text];
  return `cannot be read as uci: ${text}${meaning === undefined ? '' : ` (${meaning})`}`;
}

/** One line: `/etc/config/ovpnd:12: server 'home': option port '99999': must be a port number, 1 to 65535`. */
export function formatProblem(problem: Problem): string {
  // Line 0: the file as a whole.
  const parts = [problem.line > 0 ? `${problem.file}:${problem.line}` : problem.file];
  if (problem.severity === 'warning') parts.push('warning');
  if (problem.sectionType !== undefined) {
    const name = problem.section === undefined ? '' : ` '${shown(problem.section)}'`;
    parts.push(`${shown(problem.sectionType)}${name}`);
  }
  if (problem.option !== undefined) {
    const value = problem.value === undefined ? '' : ` '${shown(problem.value)}'`;
    parts.push(`${problem.isList === true ? 'list' : 'option'} ${shown(problem.option)}${value}`);
  }
  parts.push(problem.rule);
  return parts.join(': ');
}

/** Where in a section a problem is. */
export interface Place {
  readonly line?: number;
  readonly option?: string;
  readonly isList?: boolean;
  /** Byte string, as in the uci model. */
  readonly value?: string;
}

/** Collects the problems of one file. */
export class Report {
  private readonly file: string;
  private readonly list: Problem[] = [];
  private readonly counts = { error: 0, warning: 0 };

  constructor(file: string) {
    this.file = file;
  }

  add(severity: Problem['severity'], section: UciSection, place: Place, rule: string): void {
    const { line = section.line, value, ...rest } = place;
    this.push({
      severity,
      file: this.file,
      line,
      sectionType: section.type,
      ...(section.anonymous ? {} : { section: section.name }),
      ...rest,
      ...(value === undefined ? {} : { value: decodeUtf8(value) ?? value }),
      rule,
    });
  }

  /** A problem of the file itself. */
  addFile(line: number, rule: string): void {
    this.push({ severity: 'error', file: this.file, line, rule });
  }

  /** Whether one more problem would be listed. */
  hasRoom(severity: Problem['severity']): boolean {
    return this.counts[severity] < PROBLEMS_MAX;
  }

  private push(problem: Problem): void {
    if (this.counts[problem.severity]++ < PROBLEMS_MAX) this.list.push(Object.freeze(problem));
  }

  /** Frozen, in the order of the file. */
  problems(): readonly Problem[] {
    const sorted = [...this.list].sort((a, b) => a.line - b.line);
    for (const severity of ['error', 'warning'] as const) {
      const more = this.counts[severity] - PROBLEMS_MAX;
      if (more <= 0) continue;
      const line = sorted.at(-1)!.line;
      sorted.push({ severity, file: this.file, line, rule: `${more} more ${severity}s are not listed` });
    }
    return Object.freeze(sorted);
  }
}
