// SPDX-License-Identifier: Apache-2.0
// One script of all capabilities under QuickJS and Node, plain and with the sanitizers; and what the QuickJS
// executable does with scripts that fail.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { makeAuthority, makeLeaf } from './certificates.ts';
import { build, temporary } from './support.ts';

function bundle(): string {
  const out = temporary('smoke.js');
  const words = ['test/shim/smoke.ts', '--bundle', '--format=iife', '--platform=neutral', '--target=es2022'];
  execFileSync('node_modules/.bin/esbuild', [...words, '--log-level=warning', `--outfile=${out}`]);
  return out;
}

/** Runs a script with words; standard output, standard error and status. */
function run(command: string, words: string[], env: Record<string, string> = {}) {
  return spawnSync(command, words, { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 100_000 });
}

const CAN_UNSHARE =
  process.getuid!() === 0 && existsSync('/dev/net/tun') && spawnSync('unshare', ['-n', 'true']).status === 0;

/** The smoke script, with devices in a network namespace of its own where that can be had. */
function runSmoke(command: string[], env: Record<string, string>) {
  const words = [...command, temporary('.')];
  if (!CAN_UNSHARE) return run(words[0]!, words.slice(1), env);
  const setUp = 'ip link set lo up && exec env $SMOKE_ENV "$@"';
  // Only the program itself is run with the sanitizer's library.
  const inner = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return run('unshare', ['-n', 'sh', '-c', setUp, 'sh', ...words, 'tun'], { SMOKE_ENV: inner.join(' ') });
}

function script(text: string): string {
  const path = temporary(`script-${Math.random()}.js`);
  writeFileSync(path, text);
  return path;
}

describe('the same script in every runtime', () => {
  let smoke = '';

  before(() => {
    smoke = bundle();
    makeAuthority('smoke-ca');
    makeLeaf('smoke-server', { authority: 'smoke-ca', usage: 'serverAuth' });
    makeLeaf('smoke-client', { authority: 'smoke-ca', usage: 'clientAuth' });
    if (!CAN_UNSHARE) console.log('      without TUN devices: no root, /dev/net/tun or unshare -n');
  });

  for (const target of ['build', 'build/asan', 'build/mbedtls', 'build/mbedtls/asan'].map(
    path => `${path}/ovpnd-run`,
  )) {
    it(`QuickJS: ${target}`, function () {
      this.timeout(600_000);
      const done = runSmoke([build(target), smoke], { ASAN_OPTIONS: 'detect_leaks=1' });
      assert.equal(done.stdout, 'smoke ok quickjs\n', done.stderr);
      assert.equal(done.status, 0, done.stderr);
      assert.equal(done.stderr, '');
    });
  }

  for (const target of ['build/shim.node', 'build/mbedtls/shim.node']) {
    it(`Node: ${target}`, function () {
      this.timeout(600_000);
      const done = runSmoke([process.execPath, smoke], { OVPND_SHIM: build(target) });
      assert.equal(done.stdout, 'smoke ok node\n', done.stderr);
      assert.equal(done.status, 0);
    });
  }

  it('Node: build/asan/shim.node', function () {
    this.timeout(600_000);
    const library = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
    const done = runSmoke([process.execPath, smoke], {
      OVPND_SHIM: build('build/asan/shim.node'),
      LD_PRELOAD: library,
      // Node itself leaves memory behind.
      ASAN_OPTIONS: 'detect_leaks=0',
    });
    assert.equal(done.stdout, 'smoke ok node\n', done.stderr);
    assert.equal(done.status, 0);
  });
});

describe('the QuickJS executable', () => {
  const program = build('build/ovpnd-run');

  it('ends with 0, or the status of exit', () => {
    assert.equal(run(program, [script('1')]).status, 0);
    assert.equal(run(program, [script('__ovpnd_shim.exit(3)')]).status, 3);
    assert.equal(
      run(program, [script('__ovpnd_shim.print(1, __ovpnd_args.join("-"))'), 'a', 'ö']).stdout,
      'a-ö',
    );
  });

  it('prints an uncaught exception with its stack and ends with 70', () => {
    const thrown = run(program, [script('function f() {\n throw new RangeError("no");\n}\nf();')]);
    assert.equal(thrown.status, 70);
    assert.match(thrown.stderr, /^ovpnd: uncaught RangeError: no\n\s+at f \(.*:2/);
    assert.equal(run(program, [script('throw 5')]).stderr, 'ovpnd: uncaught 5\n');
    assert.equal(run(program, [script('throw { toString() { throw 1; } }')]).status, 70);
    assert.equal(run(program, [script('syntax error')]).status, 70);
    assert.equal(
      run(program, [script('let a = []; for (;;) a.push(a), f(); function f() { f(); }')]).status,
      70,
    );
  });

  it('runs jobs that are left over', () => {
    const text =
      'Promise.resolve("late").then(x => __ovpnd_shim.print(1, x)); __ovpnd_shim.print(1, "early ");';
    assert.equal(run(program, [script(text)]).stdout, 'early late');
    assert.equal(run(program, [script('Promise.resolve().then(() => { throw new Error("x"); })')]).status, 0);
  });

  it('has no way to the system but the shim', () => {
    const names = 'std, os, bjson, print, console, setTimeout, require, scriptArgs, load';
    const text = `__ovpnd_shim.print(1, "${names}".split(", ").filter(name => name in globalThis).join())`;
    assert.equal(run(program, [script(text)]).stdout, '');
  });

  it('says how it is used', () => {
    const done = run(program, []);
    assert.equal(done.status, 64);
    assert.match(done.stderr, /^usage: /);
  });
});

describe('the command line', () => {
  it('names the word that is wrong and how the command is used', () => {
    const wrong: [string[], RegExp][] = [
      [['chek'], /^ovpnd: there is no command 'chek'; did you mean check\?\n$/],
      [['constructor'], /^ovpnd: there is no command 'constructor'; ovpnd --help lists all\n$/],
      [['run'], /^usage:\n {2}ovpnd run TUNNEL \[-l\] .*\n$/],
      [['run', 'ho-me'], /^ovpnd: 'ho-me' cannot be the name of a section: .*\n$/],
      [
        ['check', '--json'],
        /^ovpnd: there is no option of check '--json'; .*\nusage:\n {2}ovpnd check .*\n$/,
      ],
      [['export', 'home', 'alice'], /^usage:\n {2}ovpnd export .*--remote HOST.*\n.*profile.*\n$/],
      [['pki', 'foo', 'home'], /^usage:\n( {2}ovpnd pki .*\n){5}$/],
      [['version', 'x'], /^usage:\n {2}ovpnd version\n$/],
    ];
    for (const [words, said] of wrong) {
      const { status, stderr } = run('build/ovpnd', words);
      assert.equal(status, 64);
      assert.match(stderr, said);
    }
  });
});
