// SPDX-License-Identifier: Apache-2.0
// UDP on loopback: families, own addresses, failures.

import assert from 'node:assert/strict';
import { formatIp, type Ip, parseIp } from '../../src/core/address.ts';
import type { Datagram, UdpSocket } from '../../src/host/host.ts';
import { codeOf, good, newHost } from './support.ts';

const host = newHost();
const ip = (text: string): Ip => parseIp(text)!;
const bytes = (...values: number[]) => new Uint8Array(values);

/** Sends and receives one datagram; loopback delivers before send returns. */
function carry(from: UdpSocket, to: UdpSocket, target: Ip, own?: Ip): Datagram {
  assert.equal(from.send(bytes(1, 2, 3), { ip: target, port: to.local.port }, own), undefined);
  const datagram = good(to.receive());
  assert.deepEqual(datagram.bytes, bytes(1, 2, 3));
  assert.equal(datagram.from.port, from.local.port);
  return datagram;
}

describe('UDP sockets', () => {
  it('carry IPv4, from the own address that was asked for', () => {
    const a = good(host.openUdp({ family: 4, port: 0 }));
    const b = good(host.openUdp({ family: 4, ip: ip('127.0.0.1'), port: 0 }));
    assert.equal(formatIp(a.local.ip), '0.0.0.0');
    assert.equal(formatIp(b.local.ip), '127.0.0.1');
    const there = carry(b, a, ip('127.0.0.5'));
    assert.equal(formatIp(there.to), '127.0.0.5');
    assert.equal(formatIp(there.from.ip), '127.0.0.1');
    assert.equal(there.from.scope, undefined);
    assert.equal(formatIp(carry(a, b, ip('127.0.0.1'), ip('127.0.0.9')).from.ip), '127.0.0.9');
    assert.equal(a.receive(), undefined);
    a.close();
    b.close();
  });

  it('carry IPv6', () => {
    const a = good(host.openUdp({ family: 6, port: 0 }));
    const b = good(host.openUdp({ family: 6, ip: ip('::1'), port: 0 }));
    const datagram = carry(b, a, ip('::1'));
    assert.equal(formatIp(datagram.to), '::1');
    assert.equal(formatIp(datagram.from.ip), '::1');
    assert.equal(formatIp(carry(a, b, ip('::1'), ip('::1')).from.ip), '::1');
    assert.equal(codeOf(a.send(bytes(1), { ip: ip('127.0.0.1'), port: b.local.port })), 'ENETUNREACH');
    a.close();
    b.close();
  });

  it('carry both on one socket, without mapped addresses', () => {
    const both = good(host.openUdp({ family: 0, port: 0 }));
    const four = good(host.openUdp({ family: 4, ip: ip('127.0.0.1'), port: 0 }));
    const six = good(host.openUdp({ family: 6, ip: ip('::1'), port: 0 }));
    const datagram = carry(four, both, ip('127.0.0.7'));
    assert.equal(formatIp(datagram.to), '127.0.0.7');
    assert.equal(formatIp(datagram.from.ip), '127.0.0.1');
    assert.equal(formatIp(carry(both, four, ip('127.0.0.1'), ip('127.0.0.7')).from.ip), '127.0.0.7');
    assert.equal(formatIp(carry(six, both, ip('::1')).from.ip), '::1');
    assert.equal(formatIp(carry(both, six, ip('::1'), ip('::1')).from.ip), '::1');
    const mixed = both.send(bytes(1), { ip: ip('::1'), port: six.local.port }, ip('127.0.0.1'));
    assert.equal(codeOf(mixed), 'EINVAL');
    const bound = good(host.openUdp({ family: 0, ip: ip('127.0.0.3'), port: 0 }));
    assert.equal(formatIp(bound.local.ip), '127.0.0.3');
    for (const socket of [both, four, six, bound]) socket.close();
  });

  it('carry datagrams of any length', () => {
    const a = good(host.openUdp({ family: 4, ip: ip('127.0.0.1'), port: 0, receiveBuffer: 1 << 20 }));
    for (const length of [0, 1, 1500, 65_507]) {
      assert.equal(a.send(host.random(length), a.local), undefined);
      assert.equal(good(a.receive()).bytes.length, length);
    }
    assert.equal(codeOf(a.send(new Uint8Array(65_508), a.local)), 'EMSGSIZE');
    a.close();
  });

  it('say what they refuse', () => {
    const a = good(host.openUdp({ family: 4, ip: ip('127.0.0.1'), port: 0 }));
    const again = host.openUdp({ family: 4, ip: ip('127.0.0.1'), port: a.local.port });
    assert.deepEqual(again, {
      failed: true,
      call: 'bind',
      errno: 98,
      code: 'EADDRINUSE',
      text: 'Address already in use',
    });
    assert.equal(codeOf(host.openUdp({ family: 4, ip: ip('192.0.2.1'), port: 0 })), 'EADDRNOTAVAIL');
    assert.equal(codeOf(host.openUdp({ family: 4, ip: ip('::1'), port: 0 })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 6, ip: ip('127.0.0.1'), port: 0 })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 4, ip: bytes(1, 2, 3), port: 0 })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 4, port: 65_536 })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 4, port: -1 })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 4, port: 0, device: 'a-name-far-too-long' })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 4, port: 0, receiveBuffer: -1 })), 'EINVAL');
    assert.equal(codeOf(host.openUdp({ family: 4, port: 0, mark: -1 })), 'EINVAL');
    assert.equal(codeOf(a.send(bytes(1), { ip: ip('::1'), port: 9 })), 'EINVAL');
    assert.equal(codeOf(a.send(bytes(1), { ip: ip('127.0.0.1'), port: 70_000 })), 'EINVAL');
    assert.equal(codeOf(a.send(bytes(1), a.local, ip('::1'))), 'EINVAL');
    // Which one depends on the kernel.
    assert.match(codeOf(a.send(bytes(1), a.local, ip('192.0.2.1'))), /^(EINVAL|ENETUNREACH|EADDRNOTAVAIL)$/);
    a.close();
    assert.equal(codeOf(a.send(bytes(1), a.local)), 'EBADF');
    assert.equal(codeOf(a.receive()), 'EBADF');
    a.close();
  });

  it('bind to a device and carry a mark, as root', function () {
    if (host.uid !== 0) {
      console.log('      skipped: SO_MARK needs root');
      this.skip();
    }
    const a = good(
      host.openUdp({ family: 4, port: 0, device: 'lo', mark: 0xffff_fffe, sendBuffer: 1 << 20 }),
    );
    assert.equal(formatIp(carry(a, a, ip('127.0.0.1')).from.ip), '127.0.0.1');
    a.close();
    assert.equal(codeOf(host.openUdp({ family: 4, port: 0, device: 'nothing0' })), 'ENODEV');
  });
});
