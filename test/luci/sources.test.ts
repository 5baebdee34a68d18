// SPDX-License-Identifier: Apache-2.0
// The pages' sources: no markup is ever made of text, every method is in the rights exactly once and called with the
// arguments that it has, and every text can be translated.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METHODS } from '../../src/daemon/rpcmethods.ts';
import { OPTIONS } from '../../src/uci/schema.ts';

const APP = 'luci/luci-app-ovpnd';
const RESOURCES = `${APP}/htdocs/luci-static/resources`;

const scripts = readdirSync(RESOURCES, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.js'))
  .sort()
  .map(name => ({ name, text: readFileSync(join(RESOURCES, name), 'utf8') }));

const json = (path: string): Record<string, never> => JSON.parse(readFileSync(join(APP, path), 'utf8'));

/** Ways to make markup of text, but for the one E() in the shared module, whose children are always a list. */
const MARKUP =
  /innerHTML|outerHTML|insertAdjacentHTML|document\.write|rawhtml|createContextualFragment|DOMParser|\bE\(|dom\.(?:content|append|create)/g;

/** Texts of `_('...')`, as they are in the source. */
function texts(source: string): string[] {
  return [...source.matchAll(/\b_\((?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)")/g)].map(([, single, double]) =>
    (single ?? double)!.replace(/\\(.)/g, '$1'),
  );
}

/** The template of translations: each text once, with the files it is in. */
function template(): string {
  const places = new Map<string, Set<string>>();
  const add = (text: string, place: string): void => {
    places.set(text, (places.get(text) ?? new Set()).add(place));
  };
  for (const { name, text } of scripts) for (const found of texts(text)) add(found, name);
  for (const { help } of OPTIONS) add(help, 'src/uci/schema.ts');
  for (const { title } of Object.values(json('root/usr/share/luci/menu.d/luci-app-ovpnd.json')) as {
    title: string;
  }[])
    add(title, 'menu.d');
  const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;
  const entries = [...places].map(
    ([text, names]) => `${[...names].map(name => `#: ${name}\n`).join('')}msgid ${quoted(text)}\nmsgstr ""\n`,
  );
  return `msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n\n${entries.join('\n')}`;
}

describe("the pages' sources", () => {
  it('are scripts that a browser reads', () => {
    assert.ok(scripts.length >= 7);
    for (const { name, text } of scripts) {
      assert.doesNotThrow(() => new Function('L', text), name);
      assert.match(text, /^\/\/ SPDX-License-Identifier: Apache-2\.0\n[\s\S]*\n'use strict';\n/, name);
    }
  });

  it('make no markup of text', () => {
    for (const { name, text } of scripts) {
      const found = [...text.replace(/^\s*(?:\/\/|\/?\*).*$/gm, '').matchAll(MARKUP)].map(([match]) => match);
      assert.deepEqual(found, name === 'tools/ovpnd.js' ? ['E('] : [], name);
    }
    assert.match(
      scripts.find(({ name }) => name === 'tools/ovpnd.js')!.text,
      /return E\(tag, attributes \|\| \{\}, children\.flat\(2\)\.filter\(/,
    );
  });

  it('call methods that are there, with the arguments that they have', () => {
    const source = scripts.find(({ name }) => name === 'tools/ovpnd.js')!.text;
    const table = /const METHODS = (\{[\s\S]*?\n\});/.exec(source)![1]!;
    const called = new Function(`return ${table}`)() as Record<string, string[]>;
    assert.deepEqual(
      Object.entries(called)
        .map(([name, args]) => [name, [...args].sort()])
        .sort(),
      Object.entries(METHODS)
        .map(([name, { args }]) => [name, Object.keys(args).sort()])
        .sort(),
    );
  });

  it('have rights for each method once, and none that reads may change anything', () => {
    const acl = json('root/usr/share/rpcd/acl.d/luci-app-ovpnd.json')['luci-app-ovpnd'] as unknown as Record<
      'read' | 'write',
      Record<string, Record<string, string[]>>
    >;
    const { read, write } = { read: acl.read.ubus!, write: acl.write.ubus! };
    // No file, no uci, no cgi-io: methods alone, by name.
    assert.deepEqual([Object.keys(acl.read), Object.keys(acl.write)], [['ubus'], ['ubus']]);
    assert.deepEqual([...read.ovpnd!, ...write.ovpnd!].sort(), Object.keys(METHODS).sort());
    assert.deepEqual(read.ovpnd!.sort(), ['check', 'pki_list', 'propose', 'schema', 'settings', 'tunnels']);
    assert.deepEqual(read['ovpnd.*'], ['status', 'log']);
    assert.deepEqual(write['ovpnd.*'], ['reload', 'disconnect', 'renegotiate']);
  });

  it('have a menu whose pages exist', () => {
    const menu = json('root/usr/share/luci/menu.d/luci-app-ovpnd.json') as unknown as Record<
      string,
      { action: { type: string; path?: string } }
    >;
    for (const { action } of Object.values(menu)) {
      if (action.type === 'view') assert.ok(scripts.some(({ name }) => name === `view/${action.path}.js`));
    }
  });

  it('have every text in the template of translations', () => {
    const path = `${APP}/po/templates/ovpnd.pot`;
    const wanted = template();
    // Written anew by: OVPND_POT=1 node scripts/test.mjs test/luci/sources.test.ts
    if (process.env.OVPND_POT === '1') writeFileSync(path, wanted);
    assert.ok(
      readFileSync(path, 'utf8') === wanted,
      `${path} is not as the sources are; OVPND_POT=1 writes it`,
    );
  });
});
