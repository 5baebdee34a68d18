// SPDX-License-Identifier: Apache-2.0
// README's table of what works is test/features.ts, each feature has tests, and each table of tests with real peers is
// somebody's proof.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type Against, FEATURES, NO_FEATURE } from '../features.ts';

/** What a test's source has in it when it meets that peer. */
const SIGNS: Readonly<Record<Against, RegExp>> = {
  '2.6': /'openvpn'/,
  '2.7': /openvpn-2\.7|OpenVPN 2\.7|'plain'/,
  DCO: /'dco'/,
  ovpnd:
    /OURS_OURS|\b(?:server|client): (?:'quickjs'|K), (?:server|client): (?:'quickjs'|K) |badKind: 'quickjs'|\('quickjs'\)/,
  'the kernel': /ip(route)?|netlink/,
  shells: /shell/,
  Chromium: /browser/,
  emulators: /qemu|'arm'/,
  'a stand-in of ubusd': /FakeUbusd/,
  'unit tests': /describe\(/,
};

const pathOf = (proof: string): string => `test/${proof.split(': ')[0]}.test.ts`;
const titleOf = (proof: string): string => proof.split(': ').slice(1).join(': ');

/** Beginnings of the titles of a file's tables, up to the first thing that is computed. */
function titles(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/\b(?:(?:table|describe)\(|title =)\s*(?:'([^']*)'|"([^"]*)"|`([^`$]*))/g)].map(
    match => match[1] ?? match[2] ?? match[3] ?? '',
  );
}

const word = (has: boolean): string => (has ? 'yes' : '-');

describe('README.md', () => {
  const section = /^## What works today\n\n([\s\S]*?)\n\n(?!\|)([\s\S]*?)^## /m.exec(
    readFileSync('README.md', 'utf8'),
  );

  it('has the table of test/features.ts', () => {
    const rows = FEATURES.map(
      ({ name, server, client, against }) =>
        `| ${name} | ${word(server)} | ${word(client)} | ${against.join(', ')} |`,
    );
    const table = ['| feature | server | client | proven against |', '|---|---|---|---|', ...rows].join('\n');
    equal(section?.[1], table);
  });

  it('promises nothing beside the table: what follows are remarks on words of it', () => {
    const lines = (section?.[2] ?? '').split('\n').filter(line => line.startsWith('- '));
    for (const line of lines) {
      const about = /^- `([^`]+)`: /.exec(line)?.[1];
      ok(
        about !== undefined && FEATURES.some(({ name }) => name.includes(about)),
        `which feature is it about? ${line}`,
      );
    }
  });
});

describe('features', () => {
  for (const { name, against, proof } of FEATURES) {
    it(`${name}: has its tests`, () => {
      for (const one of proof) {
        ok(existsSync(pathOf(one)), `${pathOf(one)} is there`);
        ok(titles(pathOf(one)).includes(titleOf(one)), `${pathOf(one)} has a table '${titleOf(one)}'`);
      }
      const sources = proof.map(one => readFileSync(pathOf(one), 'utf8')).join('\n');
      for (const peer of against) ok(SIGNS[peer].test(sources), `a test of it meets ${peer}`);
    });
  }

  it('no table of tests with real peers is forgotten', () => {
    const named = new Set([...FEATURES.flatMap(({ proof }) => proof), ...NO_FEATURE]);
    const all = ['interop', 'kernel'].flatMap(folder =>
      readdirSync(`test/${folder}`)
        .filter(name => name.endsWith('.test.ts'))
        .flatMap(name =>
          titles(`test/${folder}/${name}`).map(
            title => `${folder}/${name.replace('.test.ts', '')}: ${title}`,
          ),
        ),
    );
    ok(all.length > 30);
    deepEqual(
      [...new Set(all)].filter(title => !named.has(title)),
      [],
    );
  });
});
