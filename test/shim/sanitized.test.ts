// SPDX-License-Identifier: Apache-2.0
// The native plane's suites and what takes foreign files apart, once more with the address and undefined sanitizers.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { build } from './support.ts';

/** Paths of test files, run by Node with the sanitizers in its shim. */
function runSanitized(...files: string[]) {
  const library = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
  return spawnSync(process.execPath, ['scripts/test.mjs', ...files], {
    encoding: 'utf8',
    env: {
      ...process.env,
      OVPND_SHIM: build('build/asan/shim.node'),
      LD_PRELOAD: library,
      // Node itself leaves memory behind.
      ASAN_OPTIONS: 'detect_leaks=0:halt_on_error=1',
      UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    },
  });
}

describe('with sanitizers', () => {
  for (const file of ['planes', 'offload', 'pkcs12'].map(name => `test/shim/${name}.test.ts`)) {
    it(file, function () {
      this.timeout(300_000);
      const done = runSanitized(file);
      assert.equal(done.status, 0, `${done.stdout.slice(-4000)}\n${done.stderr}`);
      assert.match(done.stdout, /^[1-9][0-9]* passed, 0 failed, 0 skipped$/m);
    });
  }
});
