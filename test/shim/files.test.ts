// SPDX-License-Identifier: Apache-2.0
// Files and unix streams.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import type { Stream } from '../../src/host/host.ts';
import { codeOf, good, newHost, temporary } from './support.ts';

const host = newHost();
const text = (words: string) => new TextEncoder().encode(words);

describe('files of the shim', () => {
  it('are written whole, with the mode asked for, and read back', () => {
    const path = temporary('whole');
    for (const [length, mode] of [
      [0, 0o600],
      [1, 0o666],
      [4096, 0o640],
      [1 << 20, 0o755],
    ] as const) {
      const bytes = host.random(length);
      assert.equal(host.files.write(path, bytes, mode), undefined);
      assert.deepEqual(good(host.files.read(path)), bytes);
      const modifiedMs = Math.floor(fs.statSync(path).mtimeMs);
      const status = { kind: 'file', size: length, mode, uid: host.uid, modifiedMs };
      assert.deepEqual(host.files.status(path), status);
    }
    assert.deepEqual(
      fs.readdirSync(temporary('.')).filter(name => name.startsWith('whole.')),
      [],
    );
  });

  it('belong to the owner of what they replace, or of their folder', function () {
    if (host.uid !== 0) return this.skip();
    const folder = temporary('others');
    assert.equal(host.files.makeDirectory(folder, 0o700), undefined);
    fs.chownSync(folder, 1234, 4321);
    const ownerOf = (name: string): number[] => {
      const { uid, gid } = fs.lstatSync(`${folder}/${name}`);
      return [uid, gid];
    };
    assert.equal(host.files.write(`${folder}/new`, text('x'), 0o600), undefined);
    assert.deepEqual(ownerOf('new'), [1234, 4321]);
    assert.equal(host.files.makeDirectory(`${folder}/inner`, 0o700), undefined);
    assert.deepEqual(ownerOf('inner'), [1234, 4321]);
    fs.chownSync(`${folder}/new`, 77, 88);
    assert.equal(host.files.write(`${folder}/new`, text('y'), 0o600), undefined);
    assert.deepEqual(ownerOf('new'), [77, 88]);
    // A link is replaced: nobody's by what it points to.
    fs.writeFileSync(temporary('roots'), '');
    fs.symlinkSync(temporary('roots'), `${folder}/link`);
    assert.equal(host.files.write(`${folder}/link`, text('z'), 0o600), undefined);
    assert.deepEqual(ownerOf('link'), [1234, 4321]);
  });

  it('replace a symbolic link rather than follow it', () => {
    const target = temporary('target');
    const link = temporary('link');
    fs.writeFileSync(target, 'precious');
    fs.symlinkSync(target, link);
    assert.equal(host.files.write(link, text('new'), 0o600), undefined);
    assert.equal(fs.readFileSync(target, 'utf8'), 'precious');
    assert.ok(fs.lstatSync(link).isFile());
  });

  it('say what they refuse', () => {
    const folder = temporary('refusals');
    assert.equal(host.files.makeDirectory(folder, 0o700), undefined);
    assert.equal(codeOf(host.files.read(folder)), 'EISDIR');
    assert.equal(codeOf(host.files.read(`${folder}/none`)), 'ENOENT');
    assert.equal(codeOf(host.files.read('')), 'ENOENT');
    assert.equal(codeOf(host.files.read('/dev/null')), 'EINVAL');
    fs.writeFileSync(`${folder}/large`, new Uint8Array((1 << 20) + 1));
    assert.equal(codeOf(host.files.read(`${folder}/large`)), 'EFBIG');
    execFileSync('mkfifo', [`${folder}/pipe`]);
    assert.equal(codeOf(host.files.read(`${folder}/pipe`)), 'EINVAL');
    assert.equal(codeOf(host.files.write(folder, text('x'), 0o600)), 'EISDIR');
    assert.equal(codeOf(host.files.write(`${folder}/none/x`, text('x'), 0o600)), 'ENOENT');
    assert.equal(codeOf(host.files.write(`${folder}/x`, text('x'), -1)), 'EINVAL');
    assert.equal(codeOf(host.files.write(`${folder}/x`, text('x'), 0o10000)), 'EINVAL');
    assert.equal(codeOf(host.files.write('/'.repeat(5000), text('x'), 0o600)), 'ENAMETOOLONG');
    assert.equal(codeOf(host.files.list(`${folder}/large`)), 'ENOTDIR');
    assert.equal(codeOf(host.files.status(`${folder}/none`)), 'ENOENT');
    assert.equal(codeOf(host.files.remove(`${folder}/none`)), 'ENOENT');
    assert.equal(codeOf(host.files.remove(folder)), 'ENOTEMPTY');
    assert.deepEqual(host.files.list(folder), ['large', 'pipe'], 'no temporary file is left');
  });

  it('live in directories', () => {
    const folder = temporary('folder');
    assert.equal(host.files.makeDirectory(folder, 0o750), undefined);
    assert.equal(host.files.makeDirectory(folder, 0o700), undefined);
    assert.deepEqual(host.files.list(folder), []);
    const status = good(host.files.status(folder));
    assert.equal(status.kind, 'directory');
    assert.equal(status.mode, 0o750, 'an existing directory stays as it is');
    for (const name of ['b', 'a', 'ä\n']) fs.writeFileSync(`${folder}/${name}`, '');
    assert.deepEqual(host.files.list(folder), ['a', 'b', 'ä\n']);
    assert.equal(codeOf(host.files.makeDirectory(`${folder}/a`, 0o700)), 'EEXIST');
    for (const name of ['b', 'a', 'ä\n']) assert.equal(host.files.remove(`${folder}/${name}`), undefined);
    assert.equal(host.files.remove(folder), undefined);
  });

  it('are read to their end, whatever size they claim', () => {
    const bytes = good(host.files.read('/proc/self/status'));
    assert.match(new TextDecoder().decode(bytes), /^Name:[\s\S]*\nPid:/);
  });
});

function drain(stream: Stream): number {
  let count = 0;
  for (;;) {
    const bytes = stream.read(1 << 20);
    if (bytes === undefined) return count;
    count += good(bytes).length;
  }
}

describe('unix streams of the shim', () => {
  it('listen, connect, talk and end', () => {
    const path = temporary('talk');
    const listener = good(host.listenUnix(path, 0o660));
    assert.equal(fs.statSync(path).mode & 0o777, 0o660);
    assert.equal(listener.accept(), undefined);
    const client = good(host.connectUnix(path));
    const server = good(listener.accept());
    assert.equal(server.read(10), undefined);
    assert.equal(client.write(text('hello')), 5);
    assert.deepEqual(server.read(2), text('he'));
    assert.deepEqual(server.read(10), text('llo'));
    client.close();
    assert.deepEqual(server.read(10), new Uint8Array(0));
    assert.equal(codeOf(server.write(text('x'))), 'EPIPE');
    server.close();
    listener.close();
    assert.ok(!fs.existsSync(path));
    assert.equal(codeOf(server.read(1)), 'EBADF');
    assert.equal(codeOf(listener.accept()), 'EBADF');
  });

  it('take what fits, then nothing, then more', () => {
    const path = temporary('full');
    const listener = good(host.listenUnix(path, 0o600));
    const client = good(host.connectUnix(path));
    const server = good(listener.accept());
    const block = new Uint8Array(1 << 16);
    let sent = 0;
    for (let taken = -1; taken !== 0; ) {
      taken = good(client.write(block));
      sent += taken;
    }
    assert.ok(sent > 0);
    assert.equal(drain(server), sent);
    assert.ok(good(client.write(block)) > 0);
    for (const end of [client, server, listener]) end.close();
  });

  it('replace the socket of a dead listener, and nothing else', () => {
    const path = temporary('stale');
    const script = `require('node:net').createServer().listen('${path}', () => process.kill(process.pid, 9))`;
    assert.equal(spawnSync(process.execPath, ['-e', script]).signal, 'SIGKILL');
    assert.ok(fs.lstatSync(path).isSocket());
    assert.equal(codeOf(host.connectUnix(path)), 'ECONNREFUSED');
    const listener = good(host.listenUnix(path, 0o600));
    assert.equal(codeOf(host.listenUnix(path, 0o600)), 'EADDRINUSE');
    // What took the place of our socket is not ours to remove.
    fs.unlinkSync(path);
    fs.writeFileSync(path, 'somebody');
    listener.close();
    assert.equal(fs.readFileSync(path, 'utf8'), 'somebody');
    assert.equal(codeOf(host.listenUnix(path, 0o600)), 'EADDRINUSE');
    const link = temporary('stale-link');
    fs.symlinkSync(path, link);
    assert.equal(codeOf(host.listenUnix(link, 0o600)), 'EADDRINUSE');
    assert.equal(fs.readFileSync(path, 'utf8'), 'somebody');
  });

  it('say what they refuse', () => {
    assert.equal(codeOf(host.listenUnix(`/${'x'.repeat(120)}`, 0o600)), 'ENAMETOOLONG');
    assert.equal(codeOf(host.listenUnix('', 0o600)), 'ENAMETOOLONG');
    assert.equal(codeOf(host.listenUnix(temporary('mode'), 0o1000)), 'EINVAL');
    assert.equal(codeOf(host.listenUnix(temporary('none/x'), 0o600)), 'ENOENT');
    assert.equal(codeOf(host.connectUnix(temporary('none'))), 'ENOENT');
    assert.equal(codeOf(host.connectUnix('')), 'ENAMETOOLONG');
  });
});
