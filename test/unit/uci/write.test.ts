// SPDX-License-Identifier: Apache-2.0
// The editing verbs against what the real `uci` printed after each command, and the text a commit writes.

import { equal, throws } from 'node:assert/strict';
import type { UciFile, UciSection } from '../../../src/uci/parse.ts';
import { parse } from '../../../src/uci/parse.ts';
import { byteString } from '../../../src/uci/text.ts';
import * as uci from '../../../src/uci/write.ts';
import data from '../../vectors/uci-vectors.json' with { type: 'json' };

interface Step {
  argv: string[];
  stdin?: string;
  stdout: string;
  exit: number;
}
interface Vector {
  id: string;
  description: string;
  kind: string;
  file: string | null;
  steps: Step[];
}

const vectors = (data as unknown as { vectors: Vector[] }).vectors.filter(v => v.kind === 'ops');

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

/** `uci` as a person would type it, on the functions of write.ts; what it prints, or undefined for a failure. */
class Shell {
  file: UciFile;
  private readonly committed: string;

  constructor(text: string) {
    this.committed = text;
    this.file = parse(bytes(text));
  }

  run(argv: readonly string[], stdin = ''): string | undefined {
    const [verb, ...rest] = argv;
    if (verb === '-X' && rest[0] === 'show') return uci.show(this.file, 't', true);
    const argument = rest[0] ?? '';
    const [, path = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(argument)!;
    const [, section, option] = path.split('.');
    const known = section === undefined ? undefined : uci.findSection(this.file, section);
    switch (verb) {
      case 'commit':
        return '';
      case 'export':
        return path === 't' ? uci.exportPackage(this.file, 't') : undefined;
      case 'show':
        return this.show(path, section);
      case 'add':
        return `${uci.addSection(this.file, rest[1]!).name}\n`;
      case 'import':
        return this.import(stdin);
      case 'batch':
        return this.batch(stdin);
      case 'revert':
        // The vector reverts one new option, then everything.
        if (option === undefined) this.file = parse(bytes(this.committed));
        else uci.deleteOption(known!, option);
        return '';
    }
    if (path.split('.')[0] !== 't' || section === undefined) return undefined;
    if (option !== undefined)
      return known === undefined ? undefined : this.option(verb!, known, option, value);
    return this.section(verb!, known, section, value);
  }

  private show(path: string, section: string | undefined): string | undefined {
    if (!path.startsWith('t')) return undefined;
    if (section === undefined) return uci.show(this.file, 't');
    return uci.show({ ...this.file, sections: [uci.findSection(this.file, section)!] }, 't');
  }

  private section(
    verb: string,
    known: UciSection | undefined,
    section: string,
    value: string | undefined,
  ): string | undefined {
    if (verb === 'set' && value !== undefined) {
      try {
        uci.setSection(this.file, section, value);
      } catch {
        return undefined;
      }
    } else if (known === undefined) return undefined;
    else if (verb === 'delete') uci.deleteSection(this.file, known);
    else if (verb === 'rename') equal(uci.renameSection(this.file, known, value!), true);
    else if (verb === 'reorder') uci.reorderSection(this.file, known, Number(value));
    else return undefined;
    return '';
  }

  private option(
    verb: string,
    section: UciSection,
    option: string,
    value: string | undefined,
  ): string | undefined {
    try {
      if (verb === 'delete' && section.options.has(option)) uci.deleteOption(section, option);
      else if (value === undefined) return undefined;
      else if (verb === 'set') uci.setOption(section, option, value);
      else if (verb === 'add_list') uci.addList(section, option, value);
      else if (verb === 'del_list') uci.deleteList(section, option, value);
      else if (verb === 'rename') uci.renameOption(section, option, value);
      return '';
    } catch {
      return undefined;
    }
  }

  private import(stdin: string): string | undefined {
    const file = parse(bytes(stdin));
    if (file.error !== undefined) return undefined;
    this.file = file;
    return '';
  }

  private batch(stdin: string): string {
    return stdin
      .split('\n')
      .filter(line => line !== '')
      .map(
        line =>
          this.run(
            line
              .replace(/["']/g, '')
              .match(/^\S+|\S.*$/g)!
              .flatMap(words),
          ) ?? '',
      )
      .join('');
  }
}

/** Everything after the verb is one argument, but for `add PACKAGE TYPE`. */
function words(part: string): string[] {
  const text = part.trim();
  return /^t \w+$/.test(text) ? text.split(' ') : [text];
}

describe('uci verbs', () => {
  it('has all vectors', () => equal(vectors.length, 17));

  for (const vector of vectors) {
    if (vector.file === null) continue; // No file: that is for whoever opens it.
    it(`${vector.id}: ${vector.description}`, () => {
      const shell = new Shell(vector.file!);
      let compared = 0;
      for (const step of vector.steps) {
        const argv = step.argv.slice(1);
        // Not here: the delta (changes), option lookup (get), merging, quiet.
        if (['changes', 'get', '-m', '-q'].includes(argv[0]!)) {
          if (argv[0] === '-m') break;
          continue;
        }
        equal(shell.run(argv, step.stdin), step.exit === 0 ? step.stdout : undefined, step.argv.join(' '));
        compared++;
      }
      equal(compared > 0, true);
    });
  }

  const BASE = "config a 'b'\n\toption x '1'\n\tlist l 'p'\n\tlist l 'q'\n\nconfig c\n\toption y '2'\n";

  function edited(edit: (file: UciFile, b: UciSection) => void): string {
    const file = parse(bytes(BASE));
    edit(file, uci.findSection(file, 'b')!);
    return byteString(uci.write(file));
  }

  it('a commit writes a blank line before each section and one at the end', () => {
    const text = "\nconfig a 'b'\n\toption x '1'\n\tlist l 'p'\n\tlist l 'q'\n\nconfig c\n\toption y '2'\n\n";
    equal(
      edited(() => {}),
      text,
    );
  });

  it('deleting the last value of a list deletes the list', () => {
    const text = edited((_, b) => {
      uci.deleteList(b, 'l', 'p');
      uci.deleteList(b, 'l', 'q');
      uci.deleteList(b, 'x', '1');
    });
    equal(text, "\nconfig a 'b'\n\toption x '1'\n\nconfig c\n\toption y '2'\n\n");
  });

  it('renames take no name that is there', () => {
    edited((file, b) => equal(uci.renameSection(file, uci.findSection(file, '@c[0]')!, b.name), false));
    const text = edited((_, b) => uci.renameOption(b, 'x', 'l'));
    equal(text, "\nconfig a 'b'\n\toption l '1'\n\nconfig c\n\toption y '2'\n\n");
  });

  it('text is stored as UTF-8', () => {
    const file = parse(bytes(''));
    uci.setOption(uci.setSection(file, 's', 't'), 'x', 'ä€');
    equal(Buffer.from(uci.write(file)).toString(), "\nconfig t 's'\n\toption x 'ä€'\n\n");
  });

  it('refuses what nobody could read back', () => {
    const file = parse(bytes(BASE));
    const b = uci.findSection(file, 'b')!;
    throws(() => uci.setOption(b, 'a-b', '1'));
    throws(() => uci.setOption(b, 'x', 'a\0b'));
    throws(() => uci.setSection(file, 'a b', 'c'));
    throws(() => uci.addSection(file, 'a b'));
  });
});
