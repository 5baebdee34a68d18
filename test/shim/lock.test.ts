// SPDX-License-Identifier: Apache-2.0
// Two writers of one configuration file: neither loses what the other wrote. The other one is a shell that does what
// libuci does for `uci commit`: opens the file, waits for its lock, reads what it has opened, replaces the file.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileLock } from '../../src/host/host.ts';
import { codeOf, good, newHost, temporary } from './support.ts';

const host = newHost();
const text = (words: string) => new TextEncoder().encode(words);

/** Adds a line as libuci adds an option. */
const COMMIT = `
exec 9<>"$1"
flock -x 9
{ cat <&9; echo "$2"; } >"$1.uci"
mv "$1.uci" "$1"
`;

function commit(path: string, line: string): ChildProcess {
  return spawn('sh', ['-c', COMMIT, 'sh', path, line], { stdio: 'inherit' });
}

const ended = (child: ChildProcess): Promise<unknown> => new Promise(done => child.once('close', done));

/** Whether somebody waits for a lock on this file. */
function isAwaited(path: string): boolean {
  const inode = fs.statSync(path).ino;
  return fs
    .readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .some(line => line.includes('->') && line.includes(`:${inode} `));
}

const locked = (path: string): FileLock => good(host.lockFile(path));

describe('the lock of a configuration file', () => {
  it("is one at a time, also with libuci's", async () => {
    const path = temporary('lock');
    fs.writeFileSync(path, 'a\n');
    const lock = locked(path);
    assert.equal(codeOf(host.lockFile(path)), 'EAGAIN');
    lock.release();
    locked(path).release();
    const child = spawn('sh', ['-c', 'exec 9<>"$1"; flock -x 9; echo held; cat', 'sh', path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await new Promise(done => child.stdout.once('data', done));
    assert.equal(codeOf(host.lockFile(path)), 'EAGAIN');
    child.stdin.end();
    await ended(child);
    locked(path).release();
    assert.equal(fs.readFileSync(path, 'utf8'), 'a\n');
  });

  it('whoever waited for the replaced file finds what was written', async () => {
    for (const written of ['a\nb\n', '', `${'a line\n'.repeat(100_000)}`]) {
      const path = temporary('awaited');
      fs.writeFileSync(path, 'the text before, which is longer\n');
      const lock = locked(path);
      const other = commit(path, 'theirs');
      while (!isAwaited(path)) await sleep(5);
      assert.equal(host.files.write(path, text(written), 0o600), undefined);
      lock.release();
      await ended(other);
      assert.equal(fs.readFileSync(path, 'utf8'), `${written}theirs\n`);
    }
  });

  it('is of no use on a file that was just replaced, on a folder, or where nothing is', () => {
    const path = temporary('replaced');
    assert.equal(codeOf(host.lockFile(path)), 'ENOENT');
    assert.ok(/EISDIR|EINVAL/.test(codeOf(host.lockFile(temporary('.')))));
    assert.equal(codeOf(host.lockFile('/dev/null')), 'EINVAL');
    fs.writeFileSync(path, 'a\n');
    const lock = locked(path);
    fs.rmSync(path);
    lock.release();
    assert.ok(!fs.existsSync(path));
  });
});
