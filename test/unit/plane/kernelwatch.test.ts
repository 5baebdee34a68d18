// SPDX-License-Identifier: Apache-2.0
// Notifications that come, come late, come twice, come for others or do not come; and dumps that make good for it.
import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { ip, keyPair, prefix } from './helpers.ts';
import { FakeOvpn } from './kernelfake.ts';
import { openWorld, serverPeer } from './kernelworld.ts';

const deleted = (peerId: number, reason: string) => ({ kind: 'peerDeleted', peerId, reason });

describe('kernel plane: what the kernel tells', () => {
  it('a deletion is told with its reason, and its routes go', () => {
    for (const [number, reason] of [
      [2, 'expired'],
      [3, 'transport_error'],
      [4, 'transport_disconnect'],
      // Somebody else did it: no reason of ours, and not to be taken for one.
      [0, 'transport_error'],
      [1, 'transport_error'],
      [9, 'transport_error'],
    ] as const) {
      const { kernel, plane, notices, clock } = openWorld();
      plane.addPeer(serverPeer(1, { routes: [prefix('192.168.7.0/24')] }), 0);
      kernel.removePeer(kernel.device, 1, number);
      plane.receive(clock.now);
      deepStrictEqual(notices, [deleted(1, reason)]);
      deepStrictEqual(kernel.routes, []);
      strictEqual(plane.peers().length, 0);
    }
  });

  it('our own deletion is told once, by us', () => {
    for (const how of ['given', 'twice', 'lost'] as const) {
      const { kernel, plane, notices, pass } = openWorld();
      plane.addPeer(serverPeer(1), 0);
      kernel.notifications = how;
      plane.delPeer(1, 0);
      pass(30_000);
      deepStrictEqual(notices, [deleted(1, 'userspace')]);
    }
  });

  it('a late deletion does not hit the next peer of the id', () => {
    const { kernel, plane, notices, pass } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    kernel.notifications = 'late';
    kernel.removePeer(kernel.device, 1, 2);
    // The control plane gave it up for another reason.
    strictEqual(plane.delPeer(1, 0), undefined);
    plane.addPeer(serverPeer(1), 0);
    notices.length = 0;
    kernel.release();
    pass(1000);
    deepStrictEqual(notices, []);
    strictEqual(kernel.device.peers.size, 1);
  });

  it('a repeated deletion is told once', () => {
    const { kernel, plane, notices, pass } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    kernel.notifications = 'twice';
    kernel.removePeer(kernel.device, 1, 2);
    pass(1000);
    deepStrictEqual(notices, [deleted(1, 'expired')]);
  });

  it('what concerns other devices, unknown peers or unknown commands is nothing to us', () => {
    const { kernel, plane, notices, pass, clock } = openWorld();
    plane.addPeer(serverPeer(1), clock.now);
    kernel.log.length = 0;
    kernel.forge(5, kernel.device.index + 1, 1);
    kernel.forge(5, kernel.device.index, 2);
    kernel.forge(99, kernel.device.index, 1);
    pass(100);
    deepStrictEqual(notices, []);
    deepStrictEqual(kernel.log, []);
  });

  it('lost notifications are made good by a dump', () => {
    const { kernel, plane, notices, pass, clock } = openWorld();
    for (let id = 1; id <= 20; id++) plane.addPeer(serverPeer(id), clock.now);
    pass(2000);
    kernel.log.length = 0;
    kernel.notifications = 'lost';
    for (let id = 1; id <= 19; id++) kernel.removePeer(kernel.device, id, 2);
    pass(1000);
    strictEqual(kernel.count('PEER_DUMP'), 1);
    strictEqual(notices.length, 19);
    ok(notices.every(notice => notice.kind === 'peerDeleted' && notice.reason === 'transport_error'));
    strictEqual(plane.peers().length, 1);
  });

  it('without any notification the periodic dump finds it', () => {
    const { kernel, plane, notices, pass, clock } = openWorld();
    plane.addPeer(serverPeer(1), clock.now);
    kernel.device.peers.delete(1);
    pass(9000);
    deepStrictEqual(notices, []);
    pass(1001);
    deepStrictEqual(notices, [deleted(1, 'transport_error')]);
    pass(20_000);
    strictEqual(plane.deadline(), undefined, 'nothing left to look at');
  });

  it('the reason counts when the notification is still unread at the dump', () => {
    const { kernel, plane, notices, clock } = openWorld();
    plane.addPeer(serverPeer(1), clock.now);
    kernel.removePeer(kernel.device, 1, 2);
    clock.now += 20_000;
    plane.tick(clock.now);
    deepStrictEqual(notices, [deleted(1, 'expired')]);
  });

  it('a peer nobody wants is deleted', () => {
    const { kernel, plane, notices, pass, clock } = openWorld();
    plane.addPeer(serverPeer(1), clock.now);
    plane.addPeer(serverPeer(2), clock.now);
    kernel.faultsByName.set('PEER_DEL', 'refuse');
    strictEqual(plane.delPeer(2, clock.now), undefined);
    ok(kernel.device.peers.has(2));
    pass(2000);
    deepStrictEqual([...kernel.device.peers.keys()], [1]);
    deepStrictEqual(notices, [deleted(2, 'userspace')]);
  });

  it('the last one too, however often the kernel refuses', () => {
    const { kernel, plane, pass, clock } = openWorld();
    plane.addPeer(serverPeer(2), clock.now);
    for (let i = 0; i < 3; i++) {
      kernel.faultsByName.set('PEER_DEL', 'refuse');
      if (i === 0) plane.delPeer(2, clock.now);
      else pass(999);
      ok(kernel.device.peers.has(2));
    }
    pass(1000);
    strictEqual(kernel.device.peers.size, 0);
    // Its id is free at once all the same.
    const again = openWorld();
    again.plane.addPeer(serverPeer(2), 0);
    again.kernel.faultsByName.set('PEER_DEL', 'refuse');
    again.plane.delPeer(2, 0);
    strictEqual(again.plane.addPeer(serverPeer(2), 0), undefined);
  });

  it('never dumps more than once in a second, whoever asks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('status', 'lost', 'pass'), fc.nat(700)), { maxLength: 40 }),
        steps => {
          const { kernel, plane, clock, pass } = openWorld();
          plane.addPeer(serverPeer(1), clock.now);
          const dumps: number[] = [];
          const count = (): void => {
            while (dumps.length < kernel.count('PEER_DUMP')) dumps.push(clock.now);
          };
          for (const [what, ms] of steps) {
            if (what === 'status') plane.peers();
            if (what === 'lost') {
              kernel.notifications = 'lost';
              kernel.forge(11, kernel.device.index, 1);
            }
            count();
            for (let i = 0; i < ms; i += 50) {
              pass(50);
              count();
            }
          }
          for (let i = 1; i < dumps.length; i++) ok(dumps[i]! - dumps[i - 1]! >= 950, String(dumps));
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('kernel plane: peers that move', () => {
  it('are told once per place, with the place where they are now', () => {
    const { kernel, plane, notices, pass } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    kernel.notifications = 'twice';
    kernel.float(kernel.device, 1, ip('198.51.100.7'), 700);
    kernel.float(kernel.device, 1, ip('198.51.100.8'), 800);
    pass(100);
    deepStrictEqual(notices, [
      {
        kind: 'peerFloated',
        peerId: 1,
        path: { socket: 0, remote: { ip: ip('198.51.100.8'), port: 800 }, local: ip('192.0.2.254') },
      },
    ]);
    strictEqual(plane.peers()[0]!.path.remote.port, 800);
  });

  it('to another family lose the own address that no longer fits', () => {
    const { kernel, plane, notices, pass } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    kernel.float(kernel.device, 1, ip('2001:db8::7'), 700);
    pass(100);
    const [notice] = notices;
    ok(notice?.kind === 'peerFloated' && notice.path.local === undefined);
  });

  it('are found by looking where the kernel does not tell', () => {
    const kernel = new FakeOvpn();
    kernel.isNew = false;
    const { plane, notices, pass, clock } = openWorld('mp', kernel);
    plane.addPeer(serverPeer(1), clock.now);
    kernel.float(kernel.device, 1, ip('198.51.100.7'), 700);
    pass(3000);
    strictEqual(notices.length, 1);
    pass(30_000);
    strictEqual(notices.length, 1);
    strictEqual(kernel.count('PEER_DUMP'), 11);
  });

  it('by command are no notice, and stay where they were put', () => {
    const { kernel, plane, notices, pass } = openWorld();
    plane.addPeer(serverPeer(1), 0);
    const path = { socket: 0, remote: { ip: ip('203.0.113.5'), port: 99 } };
    strictEqual(plane.setPeer({ peerId: 1, path }, 0), undefined);
    strictEqual(kernel.device.peers.get(1)!.values.get(5)![1], 99);
    pass(30_000);
    deepStrictEqual(notices, []);
  });
});

/** Attributes of a peer in a dump (include/uapi/linux/ovpn.h). */
const LINK_RX_BYTES = 20;
const LINK_TX_BYTES = 21;
const LINK_RX_PACKETS = 22;
const LINK_TX_PACKETS = 23;

describe('kernel plane: keys that wear out', () => {
  const near = { packetsSoft: 1000, gcmUsageSoft: 1_000_000 };

  it('are announced once, counted since they became the key to send with', () => {
    const { kernel, plane, notices, pass, clock } = openWorld('mp', new FakeOvpn(), near);
    plane.addPeer(serverPeer(1), clock.now);
    plane.addKey(keyPair(1).server, clock.now);
    const sent = (count: number): void => void kernel.device.peers.get(1)!.counters.set(23, count);
    sent(999);
    pass(10_000);
    deepStrictEqual(notices, []);
    sent(1000);
    pass(10_000);
    deepStrictEqual(notices, [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }]);
    pass(60_000);
    strictEqual(notices.length, 1);
    plane.addKey(keyPair(1, { slot: 'secondary', keyId: 1 }).server, clock.now);
    sent(1500);
    pass(10_000);
    plane.swapKeys(1, clock.now);
    sent(2499);
    pass(10_000);
    strictEqual(notices.length, 1);
    sent(2500);
    pass(10_000);
    deepStrictEqual(notices[1], { kind: 'keyExpiring', peerId: 1, keyId: 1 });
  });

  it('or when so much went both ways as the key may have', () => {
    for (const rekeyAfter of [
      { packets: 100, bytes: 0 },
      { packets: 0, bytes: 5000 },
    ]) {
      const { kernel, plane, notices, pass, clock } = openWorld('mp', new FakeOvpn(), near);
      plane.addPeer(serverPeer(1), clock.now);
      plane.addKey({ ...keyPair(1).server, rekeyAfter }, clock.now);
      const { counters } = kernel.device.peers.get(1)!;
      // Link bytes and packets, received and sent.
      for (const [attribute, count] of [
        [LINK_RX_BYTES, 2500],
        [LINK_TX_BYTES, 2499],
        [LINK_RX_PACKETS, 50],
        [LINK_TX_PACKETS, 49],
      ] as const)
        counters.set(attribute, count);
      pass(10_000);
      deepStrictEqual(notices, []);
      counters.set(LINK_RX_BYTES, 2501);
      counters.set(LINK_TX_PACKETS, 50);
      pass(10_000);
      deepStrictEqual(notices, [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }]);
    }
  });

  it('by bytes where the cipher has such a limit', () => {
    for (const [cipher, expected] of [
      ['AES-256-GCM', 1],
      ['CHACHA20-POLY1305', 0],
    ] as const) {
      const { kernel, plane, notices, pass, clock } = openWorld('mp', new FakeOvpn(), near);
      plane.addPeer(serverPeer(1), clock.now);
      plane.addKey(keyPair(1, { cipher }).server, clock.now);
      kernel.device.peers.get(1)!.counters.set(20, 16_000_000);
      pass(10_000);
      strictEqual(notices.length, expected);
    }
  });

  it('and are gone are told once, in every way the kernel can say it', () => {
    for (const how of ['given', 'twice', 'lost'] as const) {
      const { kernel, plane, notices, pass, clock } = openWorld('mp', new FakeOvpn(), near);
      plane.addPeer(serverPeer(1), clock.now);
      plane.addKey(keyPair(1, { keyId: 3 }).server, clock.now);
      kernel.device.peers.get(1)!.counters.set(23, 2 ** 32);
      pass(10_000);
      kernel.notifications = how;
      kernel.exhaust(kernel.device, 1);
      pass(20_000);
      deepStrictEqual(notices, [
        { kind: 'keyExpiring', peerId: 1, keyId: 3 },
        { kind: 'keyExhausted', peerId: 1, keyId: 3 },
      ]);
    }
  });

  it('but a late word about an earlier key means nothing', () => {
    const { kernel, plane, notices, pass, clock } = openWorld();
    plane.addPeer(serverPeer(1), clock.now);
    plane.addKey(keyPair(1, { keyId: 3 }).server, clock.now);
    kernel.notifications = 'late';
    kernel.exhaust(kernel.device, 1);
    plane.addKey(keyPair(1, { keyId: 3, seed: 'new' }).server, clock.now);
    kernel.release();
    pass(1000);
    deepStrictEqual(notices, []);
  });
});

describe('kernel plane: a device that vanishes', () => {
  it('is told once, after its peers, whatever came first', () => {
    for (const first of ['notification', 'command', 'dump', 'status'] as const) {
      const { kernel, plane, notices, broken, pass, clock } = openWorld();
      plane.addPeer(serverPeer(1), clock.now);
      plane.addPeer(serverPeer(2), clock.now);
      if (first !== 'notification') kernel.notifications = 'late';
      kernel.removeLink(kernel.device.index);
      if (first === 'notification') plane.receive(clock.now);
      if (first === 'command') ok(plane.addPeer(serverPeer(3), clock.now) !== undefined);
      if (first === 'dump') pass(10_000);
      if (first === 'status') deepStrictEqual(plane.peers(), []);
      deepStrictEqual(notices, [deleted(1, 'transport_error'), deleted(2, 'transport_error')]);
      strictEqual(broken.length, 1, first);
      pass(20_000);
      ok(plane.addPeer(serverPeer(3), clock.now) !== undefined);
      strictEqual(broken.length, 1);
      plane.close();
      strictEqual(kernel.openSockets, 0);
    }
  });
});
