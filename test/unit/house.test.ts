// SPDX-License-Identifier: Apache-2.0
// The rules of the house, held by reading the sources: who may import whom, what the core never touches, how long a
// file may be, what no file says.

import { deepStrictEqual, ok } from 'node:assert';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';

const LINES_MAX = 450;
const LINES_WARN = 400;

function walk(path: string): string[] {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap(name => walk(join(path, name)));
}

const isText = (path: string): boolean => /\.(ts|mjs|js|c|h|mk|sh|json|md)$|\/[^.]+$|^Makefile$/.test(path);
const sources = walk('src').filter(isText);
const scripts = sources.filter(path => path.endsWith('.ts'));
const folderOf = (path: string): string => path.split('/')[1]!;

/** The code without comments; with `strings` false also without what is between quotes. */
function codeOf(text: string, strings: boolean): string {
  // Comments, strings and, where an operand may begin, regular expressions: what comes first at a place wins.
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[=(,:[!&|?{};]\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g;
  return text.replace(token, match => {
    if (match.startsWith('//') || match.startsWith('/*')) return ' ';
    if (strings && !match.startsWith('/')) return match;
    // What a template computes is code.
    if (match.startsWith('`')) return (match.match(/\$\{[^}]*\}/g) ?? []).join(' ');
    return "''";
  });
}

interface Import {
  readonly from: string;
  /** A path in `src/`, or a package's name. */
  readonly target: string;
  readonly isTypeOnly: boolean;
}

function importsOf(path: string): Import[] {
  const code = codeOf(readFileSync(path, 'utf8'), true);
  const found: Import[] = [];
  const statement = /\b(?:import|export)\b\s*(?:([^'";()=]*?)\bfrom\s*)?\(?\s*['"]([^'"]+)['"]/g;
  for (const [, clause = '', specifier] of code.matchAll(statement)) {
    const isTypeOnly =
      /^type\b/.test(clause.trim()) || /^\{(\s*type\s+\w+( as \w+)?\s*,?)+\}$/.test(clause.trim());
    const target = specifier!.startsWith('.') ? posix.join(posix.dirname(path), specifier!) : specifier!;
    found.push({ from: path, target, isTypeOnly });
  }
  return found;
}

const imports = scripts.flatMap(importsOf);

const CODEC = ['src/core/address.ts', 'src/core/base64.ts', 'src/core/bytes.ts', 'src/core/crypto.ts'];
const HOST_TYPES = 'src/host/host.ts';

/** Per folder: beginnings of what it may import besides itself, and what it may import as types. */
const RULES: Readonly<
  Record<string, { readonly values: readonly string[]; readonly types?: readonly string[] }>
> = {
  core: { values: [] },
  netlink: { values: CODEC },
  uci: { values: CODEC },
  profile: { values: CODEC },
  ubus: { values: CODEC, types: [HOST_TYPES] },
  pki: { values: ['src/core/'], types: [HOST_TYPES] },
  plane: { values: ['src/core/', 'src/netlink/'] },
  network: { values: ['src/core/', 'src/netlink/'], types: [HOST_TYPES] },
  host: { values: ['src/core/', '@noble/'] },
  daemon: { values: ['src/'] },
};

function isAllowed({ from, target, isTypeOnly }: Import): boolean {
  const folder = folderOf(from);
  const rule = RULES[folder];
  if (rule === undefined) return false;
  const allowed = [`src/${folder}/`, ...rule.values, ...(isTypeOnly ? (rule.types ?? []) : [])];
  // The one part of ubus that is no codec: it serves a socket of the host.
  if (from === 'src/ubus/listen.ts') allowed.push(HOST_TYPES);
  // Node's own modules are a runtime's business.
  if (folder === 'host' && target.startsWith('node:')) return true;
  return allowed.some(start => target.startsWith(start));
}

describe('house', () => {
  it('tells code from comments, strings and patterns', () => {
    const template = ['`Date $', '{now()} Date`'].join('');
    const text = `const a = /['"]Date/; // Date\nconst b = 'Date' + ${template}; /* Date */ x = 4 / 2; y();`;
    const code = codeOf(text, false);
    ok(!code.includes('Date') && code.includes('now()') && code.includes('4 / 2; y();'), code);
    ok(codeOf("f('//'); Date.now();", false).includes('Date.now()'));
    ok(codeOf("import a from 'b'; // c", true).includes("'b'"));
  });

  it('refuses what the rules forbid', () => {
    const refused = [
      { from: 'src/core/wire.ts', target: 'src/host/host.ts', isTypeOnly: true },
      { from: 'src/core/wire.ts', target: '@noble/ciphers/aes.js', isTypeOnly: false },
      { from: 'src/uci/parse.ts', target: 'src/core/limits.ts', isTypeOnly: false },
      { from: 'src/network/run.ts', target: 'src/host/host.ts', isTypeOnly: false },
      { from: 'src/plane/js.ts', target: 'src/host/host.ts', isTypeOnly: true },
      { from: 'src/daemon/main.ts', target: 'node:fs', isTypeOnly: false },
    ];
    deepStrictEqual(refused.filter(isAllowed), []);
  });

  it('reads imports as they are', () => {
    ok(imports.length > 100 || scripts.length < 20, `${imports.length} imports in ${scripts.length} files`);
    for (const { target } of imports) {
      if (target.startsWith('src/')) ok(existsSync(target), `${target} is a file`);
    }
  });

  it('each folder imports only what it may', () => {
    const wrong = imports
      .filter(item => !isAllowed(item))
      .map(({ from, target }) => `${from} imports ${target}`);
    deepStrictEqual(wrong, []);
  });

  it('every folder of TypeScript has a rule', () => {
    deepStrictEqual(
      [...new Set(scripts.map(folderOf))].filter(folder => RULES[folder] === undefined),
      [],
    );
  });

  it('only host touches the shim and Node', () => {
    const wrong = scripts
      .filter(path => folderOf(path) !== 'host')
      .filter(path => {
        const text = readFileSync(path, 'utf8');
        const names =
          /\bshim\b|\bprocess\.(env|argv|exit|on|pid|std|hrtime|nextTick)\b|\bBuffer\s*[.(]|\bscriptArgs\b|\b__dirname\b|\bglobalThis\b/;
        return names.test(codeOf(text, false)) || /['"]node:|\brequire\s*\(\s*['"]/.test(codeOf(text, true));
      });
    deepStrictEqual(wrong, []);
  });

  it('the core has no clock, no randomness, no runtime', () => {
    const names =
      /\b(Date|Math\s*\.\s*random|setTimeout|setInterval|queueMicrotask|console|process|Buffer|TextDecoder|TextEncoder|crypto\s*\.\s*(subtle|getRandomValues)|performance|fetch|Promise|async|await)\b/;
    const wrong = scripts
      .filter(path => folderOf(path) === 'core')
      .flatMap(path => {
        const match = names.exec(codeOf(readFileSync(path, 'utf8'), false));
        return match === null ? [] : [`${path}: ${match[0]}`];
      });
    deepStrictEqual(wrong, []);
  });

  it(`no source file is longer than ${LINES_MAX} lines`, () => {
    const lengths = sources.map(path => ({ path, lines: readFileSync(path, 'utf8').split('\n').length - 1 }));
    for (const { path, lines } of lengths) {
      if (lines > LINES_WARN) console.log(`      long: ${path} has ${lines} lines, aim for ${LINES_WARN}`);
    }
    const wrong = lengths.filter(({ lines }) => lines > LINES_MAX);
    deepStrictEqual(wrong, []);
  });

  it('every source file begins with its licence', () => {
    const files = [...sources, ...walk('test'), ...walk('scripts'), 'Makefile'].filter(
      path => isText(path) && !/\.(json|md)$/.test(path),
    );
    const wrong = files.filter(path => {
      const lines = readFileSync(path, 'utf8').split('\n', 2);
      const first = lines[0]!.startsWith('#!') ? lines[1]! : lines[0]!;
      return !/^(\/\/|#|\/\*) SPDX-License-Identifier: Apache-2\.0/.test(first);
    });
    deepStrictEqual(wrong, []);
  });

  it('no file names the place it was written at', () => {
    // Put together here, so that this file does not say them.
    const words = [
      ['/wo', 'rk/'],
      ['ISS', 'UE-'],
      ['issue', ' #[0-9]'],
      ['re', 'solved": "'],
    ];
    const pattern = new RegExp(words.map(parts => parts.join('')).join('|'), 'i');
    const roots = [
      'src',
      'test',
      'scripts',
      'openwrt',
      'luci',
      '.ci',
      'Makefile',
      'package.json',
      'package-lock.json',
    ];
    const files = [...roots, 'README.md', 'ARCHITECTURE.md', 'tsconfig.json', 'biome.json']
      .flatMap(walk)
      .filter(isText);
    const wrong = files.flatMap(path => {
      const match = pattern.exec(readFileSync(path, 'utf8'));
      return match === null ? [] : [`${path}: ${match[0]}`];
    });
    deepStrictEqual(wrong, []);
    ok(!existsSync('.npmrc'), 'which registry a machine uses is its own affair');
  });
});
