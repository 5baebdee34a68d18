// SPDX-License-Identifier: Apache-2.0
// TUN devices, in a network namespace that lives as long as a child process; netlink where no rights are needed.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { codeOf, good, newHost } from './support.ts';

const host = newHost();
const INSIDE = 'OVPND_TEST_NAMESPACE';

/** RTM_GETLINK for interface 1. */
function getLink(sequence: number, type = 18): Uint8Array {
  const message = new Uint8Array(32);
  new Uint32Array(message.buffer, 0, 1)[0] = 32;
  new Uint16Array(message.buffer, 4, 2).set([type, 1]);
  new Uint32Array(message.buffer, 8, 1)[0] = sequence;
  new Int32Array(message.buffer, 20, 1)[0] = 1;
  return message;
}

describe('netlink sockets', () => {
  it('ask and are answered, whole', () => {
    const socket = good(host.openNetlink(0));
    for (let sequence = 1; sequence < 4; sequence++) {
      assert.equal(socket.send(getLink(sequence)), undefined);
      const answer = good(socket.receive()).slice();
      assert.equal(new Uint32Array(answer.buffer, 0, 1)[0], answer.length);
      assert.equal(new Uint16Array(answer.buffer, 4, 1)[0], 16);
      assert.equal(new Uint32Array(answer.buffer, 8, 1)[0], sequence);
      assert.equal(socket.receive(), undefined);
    }
    socket.close();
    assert.equal(codeOf(socket.receive()), 'EBADF');
  });

  it('say what they refuse', () => {
    assert.equal(codeOf(host.openNetlink(200)), 'EPROTONOSUPPORT');
    assert.equal(codeOf(host.openNetlink(-1)), 'EINVAL');
    const socket = good(host.openNetlink(16, 1 << 20));
    assert.equal(codeOf(socket.join(0)), 'EINVAL');
    assert.equal(codeOf(socket.join(1 << 30)), 'EINVAL');
    socket.close();
  });
});

describe('TUN devices', () => {
  if (process.env[INSIDE] !== undefined) {
    it('come, carry and go', () => carry());
    return;
  }

  it('in a private network namespace', function () {
    const missing = [];
    if (host.uid !== 0) missing.push('root');
    if (!existsSync('/dev/net/tun')) missing.push('/dev/net/tun');
    if (spawnSync('unshare', ['-n', 'true']).status !== 0) missing.push('unshare -n');
    if (missing.length > 0) {
      console.log(`      skipped: no ${missing.join(', no ')}`);
      this.skip();
    }
    const mocha = `${process.cwd()}/node_modules/mocha/bin/mocha.js`;
    const words = ['-n', process.execPath, mocha, '--grep', 'TUN devices', __filename];
    const child = spawnSync('unshare', words, { encoding: 'utf8', env: { ...process.env, [INSIDE]: '1' } });
    assert.equal(child.status, 0, child.stdout + child.stderr);
    assert.match(child.stdout, /1 passing/);
  });
});

function ip(...words: string[]): string {
  const done = spawnSync('ip', words, { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout;
}

function carry(): void {
  const tun = good(host.openTun('vpn-test-device'));
  assert.equal(tun.name, 'vpn-test-device');
  assert.equal(codeOf(host.openTun('vpn-test-device')), 'EBUSY');
  assert.equal(codeOf(host.openTun('a-name-too-long-')), 'EINVAL');
  assert.equal(codeOf(host.openTun('')), 'EINVAL');
  assert.equal(codeOf(host.openTun('a/b')), 'EINVAL');
  assert.match(ip('link', 'show', tun.name), new RegExp(`^${tun.index}: `));
  assert.equal(codeOf(tun.write(new Uint8Array(20))), 'EINVAL');
  assert.equal(codeOf(tun.write(new Uint8Array(20).fill(0x45))), 'EIO', 'the device is down');
  // Without IPv6 the kernel says nothing of its own accord.
  spawnSync('sysctl', ['-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
  ip('address', 'add', '10.77.0.1/24', 'dev', tun.name);
  ip('link', 'set', tun.name, 'up', 'mtu', '1400');
  while (good(tun.read() ?? new Uint8Array(0)).length > 0);
  const socket = good(host.openUdp({ family: 4, ip: new Uint8Array([10, 77, 0, 1]), port: 7000 }));
  const peer = { ip: new Uint8Array([10, 77, 0, 2]), port: 7001 };
  assert.equal(socket.send(new Uint8Array([1, 2, 3]), peer), undefined);
  const packet = good(tun.read()).slice();
  // No header before the IP packet.
  assert.equal(packet[0], 0x45);
  assert.equal(packet.length, 20 + 8 + 3);
  assert.equal(tun.read(), undefined);
  // The same packet, turned around: swapping addresses and ports keeps both checksums.
  const answer = packet.slice();
  answer.set(packet.subarray(16, 20), 12);
  answer.set(packet.subarray(12, 16), 16);
  answer.set(packet.subarray(22, 24), 20);
  answer.set(packet.subarray(20, 22), 22);
  assert.equal(tun.write(answer), undefined);
  const datagram = good(socket.receive());
  assert.deepEqual(datagram.from, peer);
  assert.deepEqual(datagram.bytes, new Uint8Array([1, 2, 3]));
  assert.equal(codeOf(tun.write(new Uint8Array(0))), 'EINVAL');
  tun.close();
  assert.ok(!ip('link', 'show').includes('vpn-test-device'));
  assert.equal(codeOf(tun.read()), 'EBADF');
  socket.close();
}
