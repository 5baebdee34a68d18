// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { createKernelPlane } from '../../../src/plane/kernel.ts';
import { openKernelGround, removeKernelLeftover } from '../../../src/plane/kernelground.ts';
import { ip, keyPair, path, prefix } from './helpers.ts';
import { FakeOvpn } from './kernelfake.ts';
import { DEVICE, groundOptions, isUnavailable, openWorld, serverPeer } from './kernelworld.ts';

function reasonOf(
  kernel: FakeOvpn,
  ...rest: Parameters<typeof groundOptions> extends [unknown, ...infer R] ? R : never
): string {
  const ground = openKernelGround(groundOptions(kernel, ...rest));
  strictEqual(isUnavailable(ground), true, 'the kernel was taken');
  strictEqual(kernel.openSockets, 0, 'a socket was left open');
  return isUnavailable(ground) ? ground.reason : '';
}

describe('kernel plane: whether the kernel can do it', () => {
  it('asks for the family first, since that loads the module; the device comes after', () => {
    const kernel = new FakeOvpn();
    const ground = openKernelGround(groundOptions(kernel));
    ok(!isUnavailable(ground));
    strictEqual(kernel.log[0], 'GETFAMILY');
    ok(kernel.log.indexOf('NEWLINK') > kernel.log.indexOf('GETPOLICY'));
    strictEqual(kernel.device.mode, 'mp');
    strictEqual(kernel.device.peers.size, 0, 'the peer of the probe is gone');
    strictEqual(kernel.keysSeen.length, 2, 'one key for each algorithm');
    strictEqual(ground.close(), undefined);
    strictEqual(kernel.links.size, 0);
    strictEqual(kernel.openSockets, 0);
  });

  it('says what is missing, one clear line each, and leaves nothing behind', () => {
    const none = new FakeOvpn();
    none.hasModule = false;
    strictEqual(reasonOf(none), 'the kernel has no module ovpn');
    const denied = new FakeOvpn();
    denied.isPrivileged = false;
    ok(/^no permission/.test(reasonOf(denied)));
    strictEqual(denied.count('NEWLINK'), 0, 'no device is made without permission');
    const noGcm = new FakeOvpn();
    noGcm.ciphers = new Set([2]);
    ok(/no AES-GCM/.test(reasonOf(noGcm)));
    const noChacha = new FakeOvpn();
    noChacha.ciphers = new Set([1]);
    ok(/no ChaCha20-Poly1305/.test(reasonOf(noChacha)));
    for (const kernel of [none, denied, noGcm, noChacha]) strictEqual(kernel.links.size, 0);
  });

  it('does not miss what the tunnel does not need', () => {
    const kernel = new FakeOvpn();
    kernel.ciphers = new Set([1]);
    ok(!isUnavailable(openKernelGround(groundOptions(kernel, 'p2p', ['AES-128-GCM']))));
    strictEqual(kernel.device.mode, 'p2p');
  });

  it('deletes the device of a process that died, never anything else', () => {
    const kernel = new FakeOvpn();
    const old = kernel.addLink(DEVICE, 'ovpn');
    ok(!isUnavailable(openKernelGround(groundOptions(kernel))));
    ok(!kernel.links.has(old.index));
    for (const kind of ['tun', 'wireguard', undefined]) {
      const other = new FakeOvpn();
      other.addLink(DEVICE, kind);
      ok(reasonOf(other).startsWith(`device ${DEVICE} exists and is `));
      strictEqual(other.links.size, 1);
    }
  });

  it('takes no device that a living process uses', () => {
    const kernel = new FakeOvpn();
    const { plane } = openWorld('mp', kernel);
    plane.addPeer(serverPeer(1), 0);
    const second = openKernelGround(groundOptions(kernel));
    ok(isUnavailable(second) && /in use by another process: it has 1 peers/.test(second.reason));
    strictEqual(kernel.device.peers.size, 1);
  });

  it('each request of the start failing in turn leaves no device and no socket', () => {
    const whole = new FakeOvpn();
    openKernelGround(groundOptions(whole));
    let refused = 0;
    for (let n = 1; n <= whole.requests; n++) {
      for (const fault of ['refuse', 'lost', 'mute', 'unsent'] as const) {
        const kernel = new FakeOvpn();
        kernel.faults.set(n, fault);
        const ground = openKernelGround(groundOptions(kernel));
        if (isUnavailable(ground)) {
          refused++;
          strictEqual(kernel.links.size, 0, `${fault} of request ${n}: ${ground.reason}`);
          strictEqual(kernel.openSockets, 0);
        } else {
          strictEqual(
            kernel.device.peers.size,
            whole.log[n - 1] === 'PEER_DEL' && fault === 'refuse' ? 1 : 0,
          );
          ground.close();
          strictEqual(kernel.links.size, 0);
        }
      }
    }
    ok(refused > 4);
  });
});

describe('kernel plane: commands', () => {
  it('makes a peer, and only then starts its keepalive', () => {
    const { kernel, plane } = openWorld();
    strictEqual(plane.addPeer(serverPeer(3, { vpnIp6: ip('fd42::5') }), 0), undefined);
    // In one request the kernel's worker may look before the peer is in its table, and never again.
    deepStrictEqual(kernel.log, ['PEER_NEW', 'PEER_SET']);
    const peer = kernel.device.peers.get(3)!;
    const value = (number: number): string => [...(peer.values.get(number) ?? [])].join('.');
    strictEqual(peer.fd, 7);
    strictEqual(value(2), '192.0.2.1');
    strictEqual(value(5), `${4003 >> 8}.${4003 & 255}`);
    strictEqual(value(8), '10.8.0.5');
    strictEqual(value(10), '192.0.2.254');
    strictEqual(value(13), '10.0.0.0');
    strictEqual(value(14), '120.0.0.0');
    ok(peer.values.has(9) && !peer.values.has(24));
  });

  it('tells keepalive both times or none', () => {
    const { kernel, plane } = openWorld();
    plane.addPeer(serverPeer(1, { keepalive: { intervalS: 10, timeoutS: 0 } }), 0);
    const peer = kernel.device.peers.get(1)!;
    deepStrictEqual(kernel.log, ['PEER_NEW']);
    ok(!peer.values.has(13) && !peer.values.has(14));
    plane.setPeer({ peerId: 1, keepalive: { intervalS: 0, timeoutS: 5 } }, 0);
    deepStrictEqual([...peer.values.get(13)!, ...peer.values.get(14)!], [0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('hands a stream over without a remote', () => {
    const { kernel, plane } = openWorld();
    const peer = serverPeer(1);
    const stream = { ...peer.path, socket: 2, tcp: true };
    strictEqual(plane.addPeer({ ...peer, path: stream }, 0), undefined);
    const made = kernel.device.peers.get(1)!;
    strictEqual(made.fd, 9);
    ok(!made.values.has(2) && !made.values.has(5) && !made.values.has(10));
    // A dump says nothing about the remote: that is no float.
    kernel.forge(11, kernel.device.index, 1);
    plane.receive(0);
    deepStrictEqual(plane.peers()[0]!.path, stream);
  });

  it('refuses what the kernel could not do, before it is asked', () => {
    const { kernel, plane } = openWorld();
    const code = (peer: ReturnType<typeof serverPeer>): string | undefined => plane.addPeer(peer, 0)?.code;
    strictEqual(code(serverPeer(1, { format: 'v1' })), 'EOPNOTSUPP');
    strictEqual(code({ ...serverPeer(1), path: path(1, '192.0.2.1', 5) }), 'EINVAL');
    strictEqual(plane.sendInner(1, new Uint8Array(1), 0)?.code, 'EOPNOTSUPP');
    plane.addPeer(serverPeer(1), 0);
    const elsewhere = plane.setPeer({ peerId: 1, path: path(1, '192.0.2.1', 1) }, 0);
    strictEqual(elsewhere?.code, 'EOPNOTSUPP');
    deepStrictEqual(kernel.log, ['PEER_NEW', 'PEER_SET']);
  });

  it('uses another id for sending where the kernel can, and refuses it where not', () => {
    const { kernel, plane } = openWorld();
    strictEqual(plane.addPeer(serverPeer(1, { txId: 77 }), 0), undefined);
    strictEqual(kernel.device.peers.get(1)!.values.get(24)![0], 77);
    const old = new FakeOvpn();
    old.isNew = false;
    const world = openWorld('mp', old);
    strictEqual(world.plane.addPeer(serverPeer(1, { txId: 77 }), 0)?.code, 'EOPNOTSUPP');
    strictEqual(world.plane.addPeer(serverPeer(1, { txId: 1 }), 0), undefined);
  });

  it('passes the words of the kernel on', () => {
    const { kernel, plane } = openWorld();
    kernel.sockets.delete(7);
    const failure = plane.addPeer(serverPeer(1), 0);
    deepStrictEqual(failure, {
      code: 'EIO',
      text: 'Socket operation on non-socket (cannot lookup peer socket)',
    });
    strictEqual(plane.peers().length, 0);
  });

  it('swaps only what is there, and asks before', () => {
    const { kernel, plane, notices } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    plane.addKey(keyPair(1).server, 0);
    strictEqual(plane.swapKeys(1, 0)?.code, 'ENOENT');
    strictEqual(kernel.count('KEY_SWAP'), 0);
    plane.addKey(keyPair(1, { slot: 'secondary', keyId: 1 }).server, 0);
    strictEqual(plane.swapKeys(1, 0), undefined);
    strictEqual(kernel.device.peers.get(1)!.keys[0]!.keyId, 1);
    deepStrictEqual(notices, []);
  });

  it('rebuilds a peer whose secondary key is not what it should be', () => {
    for (const meddle of ['gone', 'other'] as const) {
      const { kernel, plane, notices } = openWorld();
      plane.addPeer(serverPeer(1), 0);
      plane.addKey(keyPair(1).server, 0);
      plane.addKey(keyPair(1, { slot: 'secondary', keyId: 1 }).server, 0);
      const there = kernel.device.peers.get(1)!;
      there.keys[1] = meddle === 'gone' ? undefined : { keyId: 5, cipher: 1, bytes: '' };
      ok(plane.swapKeys(1, 0) !== undefined);
      deepStrictEqual(notices, [{ kind: 'peerDeleted', peerId: 1, reason: 'transport_error' }]);
      strictEqual(kernel.device.peers.size, 0);
      strictEqual(kernel.count('KEY_SWAP'), 0);
    }
  });

  it('keeps the last counters of a deleted peer', () => {
    const { kernel, plane } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    kernel.device.peers
      .get(1)!
      .counters.set(17, 2 ** 33)
      .set(16, 5);
    plane.delPeer(1, 0);
    strictEqual(plane.finalCounters(1)!.vpnTxBytes, 2 ** 33);
    strictEqual(plane.finalCounters(1)!.vpnRxBytes, 5);
    deepStrictEqual(kernel.log, ['PEER_NEW', 'PEER_SET', 'PEER_GET', 'PEER_DEL']);
  });

  it('deletes the device at the end, and every socket with it', () => {
    const { kernel, plane, notices } = openWorld();
    plane.addPeer(serverPeer(1, { routes: [prefix('192.168.7.0/24')] }), 0);
    plane.close();
    strictEqual(kernel.links.size + kernel.routes.length + kernel.openSockets, 0);
    deepStrictEqual(notices, []);
    strictEqual(plane.deadline(), undefined);
  });

  it('a device that stays has no peers', () => {
    const { kernel, plane, warnings } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    kernel.faultsByName.set('DELLINK', 'refuse');
    plane.close();
    strictEqual(kernel.device.peers.size, 0);
    strictEqual(warnings.length, 1);
    strictEqual(kernel.openSockets, 0);
  });
});

describe('kernel plane: networks behind peers', () => {
  it('are routes by the VPN address, there while the peer is', () => {
    const { kernel, plane } = openWorld();
    const routes = [prefix('192.168.7.0/24'), prefix('fd07::/48')];
    plane.addPeer(serverPeer(1, { vpnIp6: ip('fd42::3'), routes }), 0);
    deepStrictEqual(kernel.routeTexts(), [
      '192.168.7.0/24 via 10.8.0.3 metric 100',
      `fd07::/48 via ${ip('fd42::3').join('.')} metric 100`,
    ]);
    deepStrictEqual(kernel.log, ['PEER_NEW', 'NEWROUTE', 'NEWROUTE', 'PEER_SET']);
    plane.delPeer(1, 0);
    deepStrictEqual(kernel.routes, []);
    ok(kernel.log.indexOf('DELROUTE') < kernel.log.indexOf('PEER_DEL'));
  });

  it('with a route to the peer itself when it is outside the networks of the device', () => {
    const { kernel, plane } = openWorld();
    plane.addPeer(serverPeer(1, { vpnIp4: ip('10.9.0.9'), routes: [prefix('192.168.7.0/24')] }), 0);
    deepStrictEqual(kernel.routeTexts(), [
      '10.9.0.9/32 via link metric 100',
      '192.168.7.0/24 via 10.9.0.9 metric 100',
    ]);
    ok(plane.delPeer(1, 0) === undefined && kernel.routes.length === 0);
  });

  it('go to the newest of two peers, and back', () => {
    const { kernel, plane } = openWorld();
    const routes = [prefix('192.168.7.0/24')];
    plane.addPeer(serverPeer(1, { routes }), 0);
    plane.addPeer(serverPeer(2, { routes }), 0);
    deepStrictEqual(kernel.routeTexts(), ['192.168.7.0/24 via 10.8.0.4 metric 100']);
    plane.delPeer(2, 0);
    deepStrictEqual(kernel.routeTexts(), ['192.168.7.0/24 via 10.8.0.3 metric 100']);
    plane.addPeer(serverPeer(2, { routes }), 0);
    plane.delPeer(1, 0);
    deepStrictEqual(kernel.routeTexts(), ['192.168.7.0/24 via 10.8.0.4 metric 100']);
    plane.delPeer(2, 0);
    deepStrictEqual(kernel.routes, []);
  });

  it('come back as they were after the device was down', () => {
    const { kernel, plane, warnings } = openWorld();
    plane.addPeer(serverPeer(1, { routes: [prefix('192.168.7.0/24')] }), 0);
    plane.addPeer(serverPeer(2, { vpnIp4: ip('10.9.0.9'), routes: [prefix('192.168.8.0/24')] }), 0);
    const before = kernel.routeTexts();
    kernel.routes.length = 0;
    plane.restoreRoutes();
    deepStrictEqual(kernel.routeTexts().sort(), before.sort());
    // Also when they were not gone.
    plane.restoreRoutes();
    deepStrictEqual([kernel.routeTexts().sort(), warnings], [before, []]);
  });

  it('follow a change of routes and of the address', () => {
    const { kernel, plane } = openWorld();
    plane.addPeer(serverPeer(1, { routes: [prefix('192.168.7.0/24')] }), 0);
    plane.setPeer({ peerId: 1, vpnIp4: ip('10.8.0.99'), routes: [prefix('192.168.8.0/24')] }, 0);
    deepStrictEqual(kernel.routeTexts(), ['192.168.8.0/24 via 10.8.0.99 metric 100']);
  });

  it('that the kernel refuses are said; the peer stays', () => {
    const { kernel, plane, warnings } = openWorld();
    kernel.faultsByName.set('NEWROUTE', 'refuse');
    strictEqual(
      plane.addPeer(serverPeer(1, { routes: [prefix('192.168.7.0/24'), prefix('fd07::/48')] }), 0),
      undefined,
    );
    deepStrictEqual(warnings, [
      'route fd07::/48: its peer has no VPN address of that family',
      'route 192.168.7.0/24: Out of memory',
    ]);
    strictEqual(plane.delPeer(1, 0), undefined);
  });
});

describe('kernel plane: which kernels float silently', () => {
  it('is known from what they take', () => {
    for (const isNew of [true, false]) {
      const kernel = new FakeOvpn();
      kernel.isNew = isNew;
      const ground = openKernelGround(groundOptions(kernel));
      ok(!isUnavailable(ground));
      strictEqual(ground.hasTxId, isNew);
      const plane = createKernelPlane({
        ground,
        addresses: [],
        socketFd: () => 7,
        monotonicMs: () => 0,
        sink: { notice: () => {}, warn: () => {}, broken: () => {} },
      });
      plane.addPeer(serverPeer(1), 0);
      strictEqual(plane.deadline(), isNew ? 10_000 : 3000);
    }
  });
});

describe('kernel plane: what a dead process left, seen from another plane', () => {
  it('is deleted when it is of our kind and nobody uses it', () => {
    const kernel = new FakeOvpn();
    kernel.isLoaded = true;
    const { index } = kernel.addLink(DEVICE, 'ovpn');
    removeKernelLeftover(groundOptions(kernel));
    ok(!kernel.links.has(index));
    strictEqual(kernel.openSockets, 0);
  });

  it('is left alone otherwise, and without a device of this name nothing is loaded', () => {
    const other = new FakeOvpn();
    other.addLink(DEVICE, 'tun');
    removeKernelLeftover(groundOptions(other));
    strictEqual(other.links.size, 1);
    const used = new FakeOvpn();
    openWorld('mp', used).plane.addPeer(serverPeer(1), 0);
    removeKernelLeftover(groundOptions(used));
    strictEqual(used.links.size, 1);
    const none = new FakeOvpn();
    removeKernelLeftover(groundOptions(none));
    deepStrictEqual(none.log, ['GETLINK']);
  });
});
