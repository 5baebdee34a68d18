// SPDX-License-Identifier: Apache-2.0
// The uci reader and the configuration on top of it under arbitrary and hostile files.

import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { formatProblem, readConfig } from '../../src/uci/config.ts';
import { diffConfig, keepRefused } from '../../src/uci/diff.ts';
import type { UciFile, UciOption, UciSection } from '../../src/uci/parse.ts';
import { anonymousName, parse } from '../../src/uci/parse.ts';
import { OPTIONS } from '../../src/uci/schema.ts';
import { decodeUtf8, encodeUtf8 } from '../../src/uci/text.ts';
import { exportPackage, show, write } from '../../src/uci/write.ts';
import { steps } from './steps.ts';

const SECONDS = Number(process.env.OVPND_FUZZ_SECONDS ?? 0);
const RUNS =
  SECONDS > 0 ? { numRuns: 1_000_000_000, interruptAfterTimeLimit: SECONDS * 200 } : { numRuns: 500 };
const DEFAULTS = { hasAesInstructions: true };

const name = fc.stringMatching(/^[A-Za-z0-9_]{1,8}$/);
const type = fc.stringMatching(/^[!-~]{1,6}$/);
/** Byte strings without NUL. */
const value = fc
  .array(fc.integer({ min: 1, max: 255 }), { maxLength: 12 })
  .map(c => String.fromCharCode(...c));
const option = fc.record({
  name,
  value: fc.oneof(
    value.filter(text => text !== ''),
    fc.array(value, { minLength: 1, maxLength: 3 }),
  ),
});
const section = fc.record({
  type,
  name,
  anonymous: fc.boolean(),
  options: fc.array(option, { maxLength: 4 }),
});

/** A file as the reader could have made it: names are unique, line numbers are not compared. */
const file = fc.array(section, { maxLength: 5 }).map((drafts): UciFile => {
  const sections: UciSection[] = [];
  const names = new Set<string>();
  for (const draft of drafts) {
    const made = sections.length + 1;
    const own = draft.anonymous ? anonymousName(draft.type, made) : draft.name;
    if (names.has(own)) continue;
    names.add(own);
    const options = new Map<string, UciOption>();
    for (const { name, value } of draft.options) options.set(name, { name, value, lines: [] });
    sections.push({ ...draft, name: own, line: 0, options });
  }
  return { sections, made: sections.length };
});

function withoutLines(file: UciFile): unknown {
  return file.sections.map(({ type, name, anonymous, options }) => ({
    type,
    name,
    anonymous,
    options: [...options.values()].map(({ name, value }) => [name, value]),
  }));
}

const words = [
  'config',
  'option',
  'list',
  'server',
  'client',
  'peer',
  'user',
  'package',
  ' ',
  '\n',
  "'",
  '"',
  '\\',
];
const rows = OPTIONS.map(row => `\toption ${row.name} `).concat(OPTIONS.map(row => `\n\tlist ${row.name} '`));
const soup = fc
  .array(
    fc.oneof(fc.constantFrom(...words, ...rows, '#', ';', '10.8.0.1/24', '/x', '1', '\r\n'), fc.string()),
  )
  .map(parts => parts.join(''));

describe('fuzz: uci', function () {
  this.timeout(SECONDS * 1000 + 120_000);

  it('reads what it writes', () => {
    fc.assert(
      fc.property(file, before => {
        const after = parse(write(before));
        equal(after.error, undefined);
        deepEqual(withoutLines(after), withoutLines(before));
        deepEqual(write(after), write(before));
      }),
      RUNS,
    );
  });

  it('takes any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        everything(bytes);
      }),
      RUNS,
    );
  });

  it('takes any soup of its own words', () => {
    fc.assert(
      fc.property(soup, text => {
        everything(new Uint8Array(Buffer.from(text)));
      }),
      RUNS,
    );
  });

  it('UTF-8 there and back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const bytes = encodeUtf8(text);
        equal(decodeUtf8(bytes), Buffer.from(text).toString());
      }),
      RUNS,
    );
  });
});

function everything(bytes: Uint8Array): void {
  const parsed = parse(bytes);
  if (parsed.error === undefined) {
    const again = parse(write(parsed));
    equal(exportPackage(again, 't'), exportPackage(parsed, 't'));
    show(parsed, 't', true);
  } else ok(parsed.error.line >= 1 && parsed.error.text !== '');
  const config = readConfig('f', bytes, DEFAULTS);
  equal(config.readable, parsed.error === undefined);
  // Shown on one line each, whatever the file holds.
  for (const problem of config.problems) ok([...formatProblem(problem)].every(c => c >= ' '));
  deepEqual(
    diffConfig(config, keepRefused(config, config)).filter(diff => diff.kind !== 'unchanged'),
    [],
  );
}

describe('hostile uci files take work in proportion to their size', function () {
  this.timeout(120_000);
  const SIZE = 1 << 18;

  /** A text repeated up to the size; `#` in it becomes a running number. */
  function filled(size: number, unit: string, head = ''): string {
    const parts = [head];
    for (let length = head.length, i = 0; length < size; i++) {
      const part = unit.replaceAll('@', String(i));
      parts.push(part);
      length += part.length;
    }
    return parts.join('');
  }

  const server =
    'config server s@\noption enabled 1\nlist address 10.8.0.1/24\noption ca /c\noption cert /c\noption key /k\n';
  const files = (size: number): Record<string, string> => ({
    'one unterminated quote': filled(size, 'a', "config a b\noption x '"),
    'newlines in a quote': filled(size, '\n', 'config a b\noption x "'),
    'joined lines': filled(size, '\\\n', 'config a b\noption x '),
    'parts of a word': filled(size, `''"a"`, 'config a b\noption x '),
    backslashes: filled(size, '\\', 'config a b\noption x "'),
    'different options': filled(size, 'o a@ 1\n', 'config server s\n'),
    'nearly known options': filled(size, 'o tls_cryp@ 1\n', 'config server s\n'),
    'one option': filled(size, 'o port 1\n', 'config server s\n'),
    'one list': filled(size, 'l push_dns 10.0.0.1\n', 'config server s\n'),
    'a list of mistakes': filled(size, 'l push_dns x\n', 'config server s\n'),
    'different networks': filled(size, 'l push_route fd@::/64\n', 'config server s\n'),
    'anonymous sections': filled(size, 'c server\n'),
    'unknown sections': filled(size, 'c a@ b@\n'),
    'one section': filled(size, 'c server s\n'),
    'peers of one server': filled(
      size,
      'c peer p@\no tunnel s0\nl address 10.8.0.5\n',
      server.replaceAll('@', '0'),
    ),
    'good peers': filled(size, 'c peer p@\no tunnel s0\n', server.replaceAll('@', '0')),
    'servers on different ports': filled(
      size,
      `${server}option device d@\noption port 1\noption local 10.0.@.1\n`,
    ),
    'servers on one port': filled(size, `${server}option device d@\noption local fd@::1\n`),
    'latin-1': filled(size, '\xe4', "config a b\noption x '"),
    nothing: '\0'.repeat(size),
    comments: filled(size, '#\n'),
    semicolons: filled(size, "'';", 'config a b;'),
  });
  const [small, large] = [files(SIZE / 4), files(SIZE)];

  /** How much work it is to read it. */
  function cost(text: string): number {
    const bytes = new Uint8Array(Buffer.from(text, 'latin1'));
    return steps(() => {
      const config = readConfig('f', bytes, DEFAULTS);
      keepRefused(config, config);
      ok(config.problems.length <= 502);
    });
  }

  for (const [title, text] of Object.entries(large)) {
    it(title, () => {
      const [one, four] = [cost(small[title]!), cost(text)];
      // Four times the file is four times the work, not sixteen times.
      ok(four < 5 * one, `${one} steps for a quarter of the file, ${four} for all of it`);
    });
  }
});
