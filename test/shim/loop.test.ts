// SPDX-License-Identifier: Apache-2.0
// The loop: timers in order, descriptors, signals (in a child process), names resolved beside it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { formatIp } from '../../src/core/address.ts';
import { good, newHost, runUntil, temporary } from './support.ts';

const host = newHost();
const { loop } = host;

describe('the loop', () => {
  it('fires timers in order of deadline, then of setting', () => {
    const start = host.monotonicMs();
    const fired: string[] = [];
    loop.at(start + 30, () => {
      fired.push(`d${host.monotonicMs() >= start + 30}`);
      loop.stop();
    });
    loop.at(start + 10, () => fired.push('b'));
    loop.at(start + 10, () => fired.push('c'));
    loop.at(start - 5, () => fired.push('a'));
    const gone = loop.at(start + 5, () => fired.push('cancelled'));
    gone.cancel();
    gone.cancel();
    runUntil(host);
    assert.deepEqual(fired, ['a', 'b', 'c', 'dtrue']);
  });

  it('keeps thousands of timers sorted, cancelled ones too', () => {
    const start = host.monotonicMs();
    const fired: number[] = [];
    const timers = Array.from({ length: 5000 }, (_, i) => {
      const delay = (i * 7919) % 50;
      return loop.at(start + delay, () => fired.push(delay));
    });
    timers.forEach((timer, i) => {
      if (i % 3 !== 0) timer.cancel();
    });
    loop.at(start + 51, () => loop.stop());
    runUntil(host);
    assert.equal(fired.length, Math.ceil(5000 / 3));
    assert.deepEqual(
      fired,
      fired.slice().sort((a, b) => a - b),
    );
  });

  it('is not starved by a timer that sets itself again', () => {
    const socket = good(host.openUdp({ family: 4, ip: new Uint8Array([127, 0, 0, 1]), port: 0 }));
    let spins = 0;
    const spin = () => {
      spins++;
      if (spins < 100_000) loop.at(host.monotonicMs(), spin);
    };
    loop.at(host.monotonicMs(), spin);
    loop.onReadable(socket.fd, () => loop.stop());
    socket.send(new Uint8Array(1), socket.local);
    runUntil(host);
    assert.ok(spins < 10);
    loop.forget(socket.fd);
    socket.close();
    loop.at(host.monotonicMs() + 1, () => loop.stop());
    spins = 100_000;
    runUntil(host);
  });

  it('tells readable from writable, and forgets', () => {
    const path = temporary('loop');
    const listener = good(host.listenUnix(path, 0o600));
    const client = good(host.connectUnix(path));
    const server = good(listener.accept());
    const seen: string[] = [];
    loop.onReadable(client.fd, () => seen.push('readable'));
    loop.onWritable(client.fd, () => {
      seen.push('writable');
      loop.onWritable(client.fd, undefined);
      loop.at(host.monotonicMs() + 10, () => loop.stop());
    });
    runUntil(host);
    assert.deepEqual(seen, ['writable']);
    server.write(new Uint8Array(1));
    loop.onReadable(client.fd, () => {
      seen.push('readable');
      loop.forget(client.fd);
      loop.forget(client.fd);
      loop.at(host.monotonicMs() + 10, () => loop.stop());
    });
    runUntil(host);
    assert.deepEqual(seen, ['writable', 'readable']);
    // The end of a stream wakes whoever watches, for reading or for writing.
    server.close();
    loop.onReadable(client.fd, () => loop.stop());
    runUntil(host);
    loop.forget(client.fd);
    for (const end of [client, listener]) end.close();
    assert.throws(() => loop.onReadable(client.fd, () => {}), /EBADF/);
    assert.throws(() => loop.onReadable(-1, () => {}), /EINVAL/);
  });

  it('lets exceptions out, and runs again', () => {
    loop.at(0, () => {
      throw new Error('out');
    });
    assert.throws(() => loop.run(), /^Error: out$/);
    loop.at(0, () => loop.stop());
    runUntil(host);
  });

  it('resolves names', () => {
    const seen: (string | number)[] = [];
    const done = (addresses: readonly Uint8Array[] | string) => {
      seen.push(typeof addresses === 'string' ? addresses.length : addresses.map(formatIp).join());
      if (seen.length === 4) loop.stop();
    };
    host.resolve('127.0.0.1', 4, done);
    host.resolve('::1', 0, done);
    host.resolve('::ffff:10.0.0.1', 6, done);
    host.resolve('127.0.0.1', 0, () => seen.push('cancelled')).cancel();
    host.resolve('', 0, done);
    runUntil(host, 20_000);
    const texts = seen.filter(item => typeof item === 'string').sort();
    assert.deepEqual(texts, ['10.0.0.1', '127.0.0.1', '::1']);
    assert.ok(
      seen.some(item => typeof item === 'number' && item > 0),
      'an empty name is refused in words',
    );
  });

  it('refuses too many questions at once, and answers the others', () => {
    let answered = 0;
    let refused = 0;
    for (let i = 0; i < 60; i++) {
      host.resolve('127.0.0.1', 4, answer => {
        if (typeof answer === 'string') refused++;
        else answered++;
        if (answered + refused === 60) loop.stop();
      });
    }
    runUntil(host, 20_000);
    // The cancelled question of the test before may still take a place.
    assert.ok(answered >= 15);
    assert.ok(answered + refused === 60);
  });

  it('says why a name has no address', () => {
    let text = '';
    host.resolve('a name with spaces', 4, answer => {
      text = typeof answer === 'string' ? answer : 'addresses';
      loop.stop();
    });
    runUntil(host, 30_000);
    assert.match(text, /^[A-Z][\x20-\x7e]+$/);
  });

  it('hears signals, in a process of its own', () => {
    const script = temporary('signals.cjs');
    writeFileSync(
      script,
      `const shim = require(${JSON.stringify(process.env.OVPND_SHIM ?? `${__dirname.replace(/\/build\/.*/, '')}/build/shim.node`)});
      const loop = shim.loop_open();
      const words = new Int32Array(16);
      const names = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'];
      names.forEach((_, i) => { if (shim.signal_watch(i) !== 0) process.exit(2); });
      if (shim.signal_watch(5) >= 0 || shim.signal_watch(-1) >= 0) process.exit(3);
      const seen = [];
      for (const name of names) {
        process.kill(process.pid, name);
        process.kill(process.pid, name);
        const count = shim.loop_wait(loop, 2000, new Uint8Array(words.buffer));
        seen.push([count, words[0], words[1]].join(':'));
      }
      seen.push(shim.loop_wait(loop, 20, new Uint8Array(words.buffer)));
      console.log(seen.join(' '));`,
    );
    const child = spawnSync(process.execPath, [script], { encoding: 'utf8' });
    assert.equal(child.stdout, '1:-1:1 1:-1:2 1:-1:4 1:-1:8 1:-1:16 0\n', child.stderr);
  });
});
