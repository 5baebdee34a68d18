// SPDX-License-Identifier: Apache-2.0
// The reader and the writer against what the real `uci` printed (test/vectors/uci-vectors.json).

import { deepEqual, equal, ok } from 'node:assert/strict';
import { parse } from '../../../src/uci/parse.ts';
import { byteString, decodeUtf8, encodeUtf8 } from '../../../src/uci/text.ts';
import { exportPackage, show, write } from '../../../src/uci/write.ts';
import data from '../../vectors/uci-vectors.json' with { type: 'json' };

type Text = string | { base64: string } | null;
interface Output {
  stdout: Text;
  stderr: string;
  exit: number;
}
interface Vector {
  id: string;
  description: string;
  kind: string;
  file: Text;
  export: Output;
  show: Output;
  show_X: Output;
}

const vectors = (data as unknown as { vectors: Vector[] }).vectors.filter(v => v.kind === 'parse');

function bytesOf(text: Text): Uint8Array {
  if (text === null) return new Uint8Array();
  return new Uint8Array(typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.base64, 'base64'));
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

function value(text: string): string | string[] | undefined {
  const file = parse(bytes(`config a b\n\toption x ${text}\n`));
  return file.error === undefined ? file.sections[0]!.options.get('x')?.value : `ERROR ${file.error.text}`;
}

describe('uci parse', () => {
  it('has all vectors', () => equal(vectors.length, 75));

  for (const vector of vectors) {
    it(`${vector.id}: ${vector.description}`, () => {
      const file = parse(bytesOf(vector.file));
      if (vector.export.exit === 0) {
        equal(file.error, undefined);
        equal(exportPackage(file, 't'), byteString(bytesOf(vector.export.stdout)));
        equal(show(file, 't'), byteString(bytesOf(vector.show.stdout)));
        equal(show(file, 't', true), byteString(bytesOf(vector.show_X.stdout)));
        const again = parse(write(file));
        equal(exportPackage(again, 't'), byteString(bytesOf(vector.export.stdout)));
        return;
      }
      ok(file.error !== undefined, 'must be refused');
      const { text, uciLine, uciByte } = file.error;
      const said = `uci: Parse error (${text}) at line ${uciLine}, byte ${uciByte}\n`;
      // libuci reads on after a NUL as if the line were joined to the next one; only the line is the same.
      if (vector.id === 'nul') {
        equal(text, 'NUL byte');
        ok(vector.export.stderr.includes(`line ${uciLine},`));
      } else equal(said, vector.export.stderr);
    });
  }
});

describe('uci parse: what the vectors leave open (each checked with the real uci)', () => {
  it('a line joined by a backslash goes on with what stands there', () => {
    equal(value('\\\nthree'), 'three');
    equal(value('one \\\n'), 'one');
    equal(value('\\\n   three'), 'ERROR too many arguments');
    equal(value('one\\\r\ntwo'), 'onetwo');
  });

  it('after a semicolon the next command follows when the word before it was quoted', () => {
    const text = "config 'a' 'b'; option c 'd'; option e f ;option g h; list k 'm'\n";
    const file = parse(bytes(text));
    equal(file.error, undefined);
    deepEqual([...file.sections[0]!.options.keys()], ['c', 'e', 'g']);
    equal(parse(bytes("config a b\noption x '1';\n")).error?.text, 'invalid command');
    equal(parse(bytes("config a b\noption x '1'; # c\n")).error, undefined);
  });

  it('an empty value changes nothing', () => {
    equal(exportPackage(parse(bytes("config a b\noption x 1\noption x ''\n")), 't').includes("x '1'"), true);
    equal(exportPackage(parse(bytes('config a b\nlist x 1\noption x\n')), 't').includes("x '1'"), true);
  });

  it('a keyword at the very end of the file', () => {
    equal(parse(bytes('config')).error?.text, 'config without name');
    equal(parse(bytes('config a b\nlist')).error?.text, 'option without name');
    equal(parse(bytes('package')).error?.text, 'package without name');
  });

  it('only the newline before it ends a keyword line', () => {
    equal(parse(bytes('config\va b\n')).error?.text, 'invalid command');
    equal(parse(bytes("config a b\noption x 1 ''\r\n")).error?.text, 'invalid command');
    equal(parse(bytes("config a b\noption x 1 '' option y 2\n")).sections[0]!.options.size, 2);
  });

  it('a name that looks generated reaches the anonymous section', () => {
    const file = parse(bytes('config a\nconfig a cfg01b606\noption x 1\n'));
    equal(file.sections.length, 1);
    equal(file.sections[0]!.options.size, 1);
  });
});

describe('uci parse: places', () => {
  it('numbers sections, options and list values', () => {
    const file = parse(bytes("\nconfig a b\n\n\tlist x '1\n'\n\tlist x 2\n\toption y 3 # c\n"));
    const section = file.sections[0]!;
    equal(section.line, 2);
    deepEqual(section.options.get('x'), { name: 'x', value: ['1\n', '2'], lines: [4, 6] });
    deepEqual(section.options.get('y'), { name: 'y', value: '3', lines: [7] });
  });

  it('an unterminated quote is shown where it was opened', () => {
    const error = parse(bytes("config a b\n\toption x 'abc\n\toption y 1\n")).error!;
    deepEqual([error.line, error.uciLine], [2, 3]);
  });

  it('keeps what came before an error', () => {
    const file = parse(bytes('config a b\n\toption x 1\nconfig c d e\n'));
    equal(file.error?.line, 3);
    equal(file.sections.length, 1);
  });
});

describe('UTF-8', () => {
  it('decodes what is valid', () => {
    equal(decodeUtf8(byteString(new Uint8Array(Buffer.from('ä€😀')))), 'ä€😀');
    equal(decodeUtf8('plain'), 'plain');
  });

  it('refuses what is not', () => {
    equal(decodeUtf8('\xe4'), undefined);
    equal(decodeUtf8('\xc0\xaf'), undefined);
    equal(decodeUtf8('\xed\xa0\x80'), undefined);
  });

  it('encodes', () => {
    equal(encodeUtf8('ä€😀'), byteString(new Uint8Array(Buffer.from('ä€😀'))));
    equal(encodeUtf8('\ud800'), '\xef\xbf\xbd');
  });
});
