// SPDX-License-Identifier: Apache-2.0
// TCP on loopback: families, ends, what is refused.

import assert from 'node:assert/strict';
import { type Endpoint, formatIp, type Ip, parseIp } from '../../src/core/address.ts';
import { isFailure, type TcpConnection, type TcpListener } from '../../src/host/host.ts';
import { codeOf, good, newHost, rawShim, runUntil } from './support.ts';

const host = newHost();
const ip = (text: string): Ip => parseIp(text)!;
const bytes = (...values: number[]) => new Uint8Array(values);

/** Waits until the connection is there, or failed; the code of its outcome. */
function settle(connection: TcpConnection): string {
  host.loop.onWritable(connection.fd, () => host.loop.stop());
  runUntil(host);
  host.loop.forget(connection.fd);
  return codeOf(connection.outcome());
}

/** Waits until there is something to read or accept. */
function wait(fd: number): void {
  host.loop.onReadable(fd, () => host.loop.stop());
  runUntil(host);
  host.loop.forget(fd);
}

function join(listener: TcpListener, target: Ip): [TcpConnection, TcpConnection] {
  const client = good(host.connectTcp({ ip: target, port: listener.local.port }, {}));
  assert.equal(settle(client), 'fine');
  wait(listener.fd);
  return [client, good(listener.accept())];
}

function read(connection: TcpConnection, room: number): Uint8Array {
  wait(connection.fd);
  const into = new Uint8Array(room);
  return into.subarray(0, good(connection.read(into)));
}

const text = ({ ip: address, port }: Endpoint) => `${formatIp(address)} ${port}`;

describe('TCP connections', () => {
  for (const [family, own, target] of [
    [4, '127.0.0.1', '127.0.0.1'],
    [4, undefined, '127.0.0.5'],
    [6, '::1', '::1'],
    [0, undefined, '127.0.0.7'],
    [0, undefined, '::1'],
    [0, '127.0.0.3', '127.0.0.3'],
  ] as const) {
    it(`listener of family ${family} at ${own ?? 'any'} is reached at ${target}`, () => {
      const listener = good(host.listenTcp({ family, port: 0, ...(own && { ip: ip(own) }) }));
      assert.equal(listener.accept(), undefined);
      const [client, server] = join(listener, ip(target));
      assert.equal(text(server.remote), text(client.local()));
      assert.equal(text(server.local()), text(client.remote));
      assert.equal(formatIp(server.local().ip), target);
      assert.equal(server.read(new Uint8Array(9)), undefined);
      assert.equal(client.write(bytes(1, 2, 3, 4, 5)), 5);
      // No more than asked for: the rest stays where it is.
      assert.deepEqual(read(server, 2), bytes(1, 2));
      assert.deepEqual(read(server, 9), bytes(3, 4, 5));
      assert.equal(server.write(bytes(6)), 1);
      assert.deepEqual(read(client, 9), bytes(6));
      client.close();
      assert.equal(read(server, 9).length, 0);
      for (const socket of [server, listener]) socket.close();
    });
  }

  it('take what fits, then nothing until somebody reads', () => {
    const small = { sendBuffer: 4096, receiveBuffer: 4096 };
    const listener = good(host.listenTcp({ family: 4, ip: ip('127.0.0.1'), port: 0, ...small }));
    const client = good(host.connectTcp(listener.local, small));
    assert.equal(settle(client), 'fine');
    wait(listener.fd);
    const server = good(listener.accept());
    const piece = host.random(100_000);
    const first = good(client.write(piece));
    assert.ok(first > 0 && first < piece.length, `${first} taken`);
    let sent = first;
    for (let taken = sent; taken !== 0; sent += taken) taken = good(client.write(piece));
    let received = 0;
    while (received < sent) received += read(server, 65_536).length;
    assert.equal(received, sent);
    assert.ok(good(client.write(piece)) > 0);
    for (const socket of [client, server, listener]) socket.close();
  });

  it('are reset when what they brought is thrown away', () => {
    const listener = good(host.listenTcp({ family: 4, ip: ip('127.0.0.1'), port: 0 }));
    const [client, server] = join(listener, ip('127.0.0.1'));
    assert.equal(client.write(bytes(1)), 1);
    wait(server.fd);
    server.close();
    wait(client.fd);
    assert.equal(codeOf(client.read(new Uint8Array(1))), 'ECONNRESET');
    assert.equal(codeOf(client.write(bytes(1))), 'EPIPE');
    for (const socket of [client, listener]) socket.close();
  });

  it('say what they refuse', () => {
    const a = good(host.listenTcp({ family: 4, ip: ip('127.0.0.1'), port: 0 }));
    const { port } = a.local;
    assert.deepEqual(host.listenTcp({ family: 4, ip: ip('127.0.0.1'), port }), {
      failed: true,
      call: 'listen',
      errno: 98,
      code: 'EADDRINUSE',
      text: 'Address already in use',
    });
    const udp = good(host.openUdp({ family: 4, ip: ip('127.0.0.1'), port }));
    udp.close();
    assert.equal(codeOf(host.listenTcp({ family: 4, ip: ip('192.0.2.1'), port: 0 })), 'EADDRNOTAVAIL');
    for (const wrong of [
      { family: 4, ip: ip('::1'), port: 0 },
      { family: 6, ip: ip('127.0.0.1'), port: 0 },
      { family: 4, ip: bytes(1, 2, 3), port: 0 },
      { family: 5 as 4, port: 0 },
      { family: 4, port: 65_536 },
      { family: 4, port: -1 },
      { family: 4, port: 0, device: 'a-name-far-too-long' },
      { family: 4, port: 0, receiveBuffer: -1 },
      { family: 4, port: 0, mark: -1 },
    ] as const) {
      assert.equal(codeOf(host.listenTcp(wrong)), 'EINVAL', JSON.stringify(wrong));
    }
    a.close();
    assert.equal(codeOf(a.accept()), 'EBADF');
    const refused = host.connectTcp({ ip: ip('127.0.0.1'), port }, {});
    assert.equal(isFailure(refused) ? refused.code : settle(refused), 'ECONNREFUSED');
    if (!isFailure(refused)) refused.close();
    assert.equal(codeOf(host.connectTcp({ ip: bytes(1, 2, 3), port }, {})), 'EINVAL');
    assert.equal(codeOf(host.connectTcp({ ip: ip('127.0.0.1'), port: 70_000 }, {})), 'EINVAL');
    assert.equal(codeOf(host.connectTcp({ ip: ip('127.0.0.1'), port }, { mark: -1 })), 'EINVAL');
    assert.equal(codeOf(host.connectTcp({ ip: ip('127.0.0.1'), port }, { sendBuffer: -1 })), 'EINVAL');
  });

  it('take no handle of another kind', () => {
    const shim = rawShim();
    const block = new Uint8Array(40);
    const listener = shim.tcp_listen(4, ip('127.0.0.1'), 0, undefined, 0, 0, 0);
    assert.ok(listener >= 0);
    for (const status of [
      shim.stream_read(listener, block),
      shim.tcp_outcome(listener),
      shim.tcp_local(listener, block),
      shim.udp_local(listener, block),
    ]) {
      assert.ok(status < 0);
    }
    assert.ok(shim.tcp_accept(listener, new Uint8Array(39)) < 0);
    assert.ok(shim.tcp_listener_local(listener, new Uint8Array(39)) < 0);
    assert.equal(shim.tcp_listener_local(listener, block), 0);
    assert.equal(shim.tcp_unlisten(listener), 0);
    assert.ok(shim.tcp_unlisten(listener) < 0);
  });

  it('bind to a device and carry a mark, as root', function () {
    if (host.uid !== 0) {
      console.log('      skipped: SO_MARK needs root');
      this.skip();
    }
    const options = { device: 'lo', mark: 0xffff_fffe, sendBuffer: 1 << 20 };
    const listener = good(host.listenTcp({ family: 4, port: 0, ...options }));
    const client = good(host.connectTcp({ ip: ip('127.0.0.1'), port: listener.local.port }, options));
    assert.equal(settle(client), 'fine');
    for (const socket of [client, listener]) socket.close();
    assert.equal(codeOf(host.connectTcp(listener.local, { device: 'nothing0' })), 'ENODEV');
  });
});
