// SPDX-License-Identifier: Apache-2.0
// What the control plane may ask of a plane, what it is refused with, and that a refusal changes nothing.
import assert from 'node:assert/strict';
import type { Aead, Crypto } from '../../../src/core/crypto.ts';
import type { PlaneKey, PlanePeer, PlanePeerChange } from '../../../src/core/plane.ts';
import { execute } from '../../../src/plane/command.ts';
import { DROP_REASONS } from '../../../src/plane/drops.ts';
import {
  direction,
  drops,
  fromClient,
  ip,
  keyPair,
  ok,
  packet,
  pair,
  path,
  prefix,
  type Recorder,
  record,
  subject,
  takeSent,
} from './helpers.ts';

function withPeers(): Recorder {
  const recorder = record('mp', { peersMax: 3 });
  ok(
    recorder.plane.addPeer({ peerId: 1, path: path(5001), vpnIp4: ip('10.8.0.2'), vpnIp6: ip('fd42::2') }, 0),
  );
  ok(recorder.plane.addPeer({ peerId: 2, path: path(5002), vpnIp4: ip('10.8.0.3') }, 0));
  return recorder;
}

describe('plane/command', () => {
  it('leaves no key material behind: the plane has its copy', () => {
    const { plane } = withPeers();
    for (const dataFormat of ['aead', 'aead-epoch'] as const) {
      const { server } = keyPair(1, { dataFormat });
      assert.equal(execute(plane, { op: 'addKey', key: server }, 0), undefined);
      const material = [server.encrypt, server.decrypt].flatMap(half => Object.values(half) as Uint8Array[]);
      assert.equal(material.length, dataFormat === 'aead' ? 4 : 2);
      for (const bytes of material) assert.ok(bytes.length >= 8 && bytes.every(byte => byte === 0));
    }
  });
});

describe('plane/js: addPeer', () => {
  const base = { peerId: 9, path: path(5009), vpnIp4: ip('10.8.0.9') };
  const { vpnIp4: _none, ...bare } = base;
  const refused: [string, string, PlanePeer][] = [
    ['an id in use', 'EEXIST', { ...base, peerId: 1 }],
    ['a VPN address in use', 'EADDRINUSE', { ...base, vpnIp4: ip('10.8.0.2') }],
    ['an IPv6 VPN address in use', 'EADDRINUSE', { ...base, vpnIp6: ip('fd42::2') }],
    ['no VPN address', 'EINVAL', bare],
    ['an id of 25 bits', 'EINVAL', { ...base, peerId: 0x1000000 }],
    ['a negative id', 'EINVAL', { ...base, peerId: -1 }],
    ['a txId of 25 bits', 'EINVAL', { ...base, txId: 0x1000000 }],
    ['a broken id', 'EINVAL', { ...base, peerId: 1.5 }],
    ['loopback', 'EADDRNOTAVAIL', { ...base, vpnIp4: ip('127.1.2.3') }],
    ['multicast', 'EADDRNOTAVAIL', { ...base, vpnIp4: ip('224.0.0.5') }],
    ['broadcast', 'EADDRNOTAVAIL', { ...base, vpnIp4: ip('255.255.255.255') }],
    ['no address at all', 'EADDRNOTAVAIL', { ...base, vpnIp4: ip('0.0.0.0') }],
    ['IPv6 loopback', 'EADDRNOTAVAIL', { ...base, vpnIp6: ip('::1') }],
    ['IPv6 multicast', 'EADDRNOTAVAIL', { ...base, vpnIp6: ip('ff02::1') }],
    ['no IPv6 address at all', 'EADDRNOTAVAIL', { ...base, vpnIp6: ip('::') }],
    ['an IPv6 address as vpnIp4', 'EINVAL', { ...base, vpnIp4: ip('fd42::9') }],
    ['an IPv4 address as vpnIp6', 'EINVAL', { ...base, vpnIp6: ip('10.8.0.10') }],
    ['port 0', 'EINVAL', { ...base, path: path(0) }],
    ['a port of 17 bits', 'EINVAL', { ...base, path: path(65536) }],
    ['an own address of the other family', 'EINVAL', { ...base, path: { ...path(1), local: ip('::9') } }],
    ['a route too long', 'EINVAL', { ...base, routes: [{ ip: ip('10.0.0.0'), bits: 33 }] }],
    ['keepalive of more than a day', 'EINVAL', { ...base, keepalive: { intervalS: 1, timeoutS: 86_401 } }],
    ['negative keepalive', 'EINVAL', { ...base, keepalive: { intervalS: -1, timeoutS: 5 } }],
  ];
  for (const [name, code, peer] of refused) {
    it(`refuses ${name} with ${code}`, () => {
      const recorder = withPeers();
      const before = recorder.plane.peers();
      assert.equal(recorder.plane.addPeer(peer, 0)?.code, code);
      assert.deepEqual(recorder.plane.peers(), before);
      assert.deepEqual(recorder.notices, []);
      ok(recorder.plane.addPeer(base, 0));
    });
  }

  it('takes one VPN address of either family, and the largest id', () => {
    const recorder = record('mp');
    ok(recorder.plane.addPeer({ peerId: 0, path: path(1), vpnIp6: ip('fd42::2') }, 0));
    ok(recorder.plane.addPeer({ peerId: 0xffffff, path: path(2), vpnIp4: ip('10.8.0.2') }, 0));
    assert.deepEqual(
      recorder.plane.peers().map(peer => peer.peerId),
      [0, 0xffffff],
    );
  });

  it('refuses more peers than it can have with ENOSPC', () => {
    const recorder = withPeers();
    ok(recorder.plane.addPeer(base, 0));
    const more = { ...base, peerId: 10, vpnIp4: ip('10.8.0.10') };
    assert.equal(recorder.plane.addPeer(more, 0)?.code, 'ENOSPC');
    ok(recorder.plane.delPeer(9, 0));
    ok(recorder.plane.addPeer(more, 0));
  });

  it('keeps no reference to what it was given', () => {
    const { server, client } = pair();
    const given = {
      peerId: 2,
      path: path(5002),
      vpnIp4: ip('10.8.0.3'),
      routes: [prefix('192.168.7.0/24')],
    };
    ok(server.plane.addPeer(given, 0));
    given.path.remote.ip.fill(1);
    given.vpnIp4.fill(2);
    given.routes[0]!.ip.fill(3);
    const [, peer] = server.plane.peers();
    assert.deepEqual(peer!.path, path(5002));
    assert.deepEqual(peer!.vpnIp4, ip('10.8.0.3'));
    ok(server.plane.delPeer(2, 0));
    server.plane.fromTun(packet('10.8.0.1', '192.168.7.1'), 0);
    assert.deepEqual(drops(server), { 'no-route': 1 });
    assert.equal(client.notices.length, 0);
  });

  it('takes no VPN address in point-to-point mode, and one peer: a new one replaces it', () => {
    const { client } = pair();
    const wrong = client.plane.addPeer({ peerId: 2, path: path(1), vpnIp4: ip('10.8.0.2') }, 0);
    assert.equal(wrong?.code, 'EINVAL');
    assert.equal(client.plane.peers()[0]!.peerId, 1);
    ok(client.plane.addPeer({ peerId: 2, path: path(1) }, 0));
    assert.deepEqual(client.notices, [{ kind: 'peerDeleted', peerId: 1, reason: 'teardown' }]);
    ok(client.plane.addPeer({ peerId: 2, path: path(1) }, 0));
    assert.equal(client.notices.length, 2, 'also for the same id');
    const [peer] = client.plane.peers();
    assert.equal(peer!.primary, undefined, 'keys of the old one are gone');
    assert.equal(client.plane.capabilities.maxPeers, 1);
  });
});

describe('plane/js: setPeer', () => {
  const refused: [string, string, PlanePeerChange][] = [
    ['an unknown id', 'ENOENT', { peerId: 9 }],
    ["another peer's VPN address", 'EADDRINUSE', { peerId: 1, vpnIp4: ip('10.8.0.3') }],
    ['to take the last VPN address away', 'EINVAL', { peerId: 2, vpnIp4: ip('0.0.0.0') }],
    ['loopback', 'EADDRNOTAVAIL', { peerId: 1, vpnIp4: ip('127.0.0.1') }],
    ['port 0', 'EINVAL', { peerId: 1, path: path(0) }],
    ['a day and a second', 'EINVAL', { peerId: 1, keepalive: { intervalS: 86_401, timeoutS: 1 } }],
  ];
  for (const [name, code, change] of refused) {
    it(`refuses ${name} with ${code}`, () => {
      const recorder = withPeers();
      const before = recorder.plane.peers();
      assert.equal(recorder.plane.setPeer({ path: path(7777), ...change }, 0)?.code, code);
      assert.deepEqual(recorder.plane.peers(), before);
    });
  }

  it('refuses VPN addresses in point-to-point mode', () => {
    const { client } = pair();
    assert.equal(client.plane.setPeer({ peerId: 1, vpnIp4: ip('10.8.0.2') }, 0)?.code, 'EINVAL');
  });

  it('changes the VPN address: the old one is free and leads nowhere', () => {
    const { server } = pair();
    ok(server.plane.setPeer({ peerId: 1, vpnIp4: ip('10.8.0.7') }, 0));
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    assert.deepEqual(drops(server), { 'no-route': 1 });
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.7'), 0);
    assert.equal(server.sent.length, 1);
    ok(server.plane.addPeer({ peerId: 2, path: path(5002), vpnIp4: ip('10.8.0.2') }, 0));
  });

  it('takes its own address again, and takes one of two away', () => {
    const { server } = pair();
    ok(server.plane.setPeer({ peerId: 1, vpnIp4: ip('10.8.0.2') }, 0));
    ok(server.plane.setPeer({ peerId: 1, vpnIp6: ip('::') }, 0));
    assert.equal(server.plane.peers()[0]!.vpnIp6, undefined);
    assert.equal(server.plane.setPeer({ peerId: 1, vpnIp4: ip('0.0.0.0') }, 0)?.code, 'EINVAL');
  });

  it('replaces the routes and leaves the rest', () => {
    const { server } = pair();
    ok(server.plane.setPeer({ peerId: 1, routes: [prefix('192.168.1.0/24')] }, 0));
    ok(server.plane.setPeer({ peerId: 1, routes: [prefix('192.168.2.0/24')] }, 0));
    for (const to of ['192.168.1.1', '192.168.2.1', '10.8.0.2']) {
      server.plane.fromTun(packet('10.8.0.1', to), 0);
    }
    assert.equal(server.sent.length, 2);
    assert.deepEqual(drops(server), { 'no-route': 1 });
  });

  it('moves the peer without a notice; by the new path it is found', () => {
    const { server, client } = pair({ format: 'v1' });
    const there = path(7000, '198.51.100.1');
    ok(server.plane.setPeer({ peerId: 1, path: there }, 0));
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    assert.deepEqual(server.sent[0]!.path, there);
    assert.deepEqual(server.notices, []);
    const [first, second] = fromClient(client, 2);
    server.plane.fromNetwork(path(5000), first!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1 });
    server.plane.fromNetwork(there, second!, 0);
    assert.equal(server.delivered.length, 1);
  });

  it('gives a path to the peer put there last, and back when that goes', () => {
    const { server, client } = pair({ format: 'v1' });
    ok(server.plane.addPeer({ peerId: 2, path: path(5000), vpnIp4: ip('10.8.0.3') }, 0));
    const [first, second] = fromClient(client, 2);
    server.plane.fromNetwork(path(5000), first!, 0);
    assert.deepEqual(drops(server), { 'no-key': 1 });
    ok(server.plane.delPeer(2, 0));
    server.plane.fromNetwork(path(5000), second!, 0);
    assert.equal(server.delivered.length, 1);
  });
});

describe('plane/js: delPeer and close', () => {
  it('deletes with a notice, and refuses an unknown id', () => {
    const { server, client } = pair();
    assert.equal(server.plane.delPeer(2, 0)?.code, 'ENOENT');
    ok(server.plane.delPeer(1, 0));
    assert.deepEqual(server.notices, [{ kind: 'peerDeleted', peerId: 1, reason: 'userspace' }]);
    assert.equal(server.plane.delPeer(1, 0)?.code, 'ENOENT');
    server.plane.fromNetwork(path(5000), fromClient(client, 1)[0]!, 0);
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1, 'no-route': 1 });
  });

  // The other body is gone with all its counters.
  (subject.isJs ? it : () => undefined)('closes without notices', () => {
    const { server, client } = pair();
    ok(server.plane.setPeer({ peerId: 1, keepalive: { intervalS: 1, timeoutS: 5 } }, 0));
    server.plane.close();
    assert.deepEqual(server.plane.peers(), []);
    assert.deepEqual(server.notices, []);
    assert.equal(server.plane.deadline(), undefined);
    server.plane.fromNetwork(path(5000), fromClient(client, 1)[0]!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1 });
  });

  it('has a counter for each reason from the start', () => {
    assert.deepEqual(Object.keys(record('mp').plane.drops()), [...DROP_REASONS]);
  });
});

describe('plane/js: keys', () => {
  const good = keyPair(1).server;
  const half = direction('AES-256-GCM', 'half');
  const aead = { ...good, format: 'aead' as const, encrypt: half, decrypt: half };
  const epochKey = (length: number) => ({ epochKey: new Uint8Array(length) });
  const epoch = { ...good, format: 'aead-epoch' as const, encrypt: epochKey(32), decrypt: epochKey(32) };
  const refused: [string, string, PlaneKey][] = [
    ['an unknown peer', 'ENOENT', { ...good, peerId: 2 }],
    ['key id 8', 'EINVAL', { ...good, keyId: 8 }],
    ['key id -1', 'EINVAL', { ...good, keyId: -1 }],
    ['an unknown cipher', 'EINVAL', { ...good, cipher: 'BF-CBC' as 'AES-256-GCM' }],
    ['a name that objects have', 'EINVAL', { ...good, cipher: 'toString' as 'AES-256-GCM' }],
    ['an unknown slot', 'EINVAL', { ...good, slot: 'peerId' as 'primary' }],
    ['a short key', 'EINVAL', { ...aead, encrypt: { ...half, key: new Uint8Array(31) } }],
    ['a long key', 'EINVAL', { ...aead, decrypt: { ...half, key: new Uint8Array(33) } }],
    ['a short tail', 'EINVAL', { ...aead, decrypt: { ...half, nonceTail: new Uint8Array(7) } }],
    ['a long tail', 'EINVAL', { ...aead, encrypt: { ...half, nonceTail: new Uint8Array(12) } }],
    ['an unknown format', 'EINVAL', { ...aead, format: 'cbc' as 'aead' }],
    ['a short epoch key', 'EINVAL', { ...epoch, encrypt: epochKey(16) }],
    ['a long epoch key', 'EINVAL', { ...epoch, decrypt: epochKey(64) }],
  ];
  for (const [name, code, key] of refused) {
    it(`refuses ${name} with ${code}, and the key before stays`, () => {
      const { server, client } = pair();
      assert.equal(server.plane.addKey(key, 0)?.code, code);
      server.plane.fromNetwork(path(5000), fromClient(client, 1)[0]!, 0);
      assert.equal(server.delivered.length, 1);
    });
  }

  it('takes the key ids 0 and 7', () => {
    for (const keyId of [0, 7]) {
      const { server, client } = pair({ keyId });
      server.plane.fromNetwork(path(5000), fromClient(client, 1)[0]!, 0);
      assert.equal(server.delivered.length, 1);
    }
  });

  it('shows the slots, and never key bytes', () => {
    const { server } = pair({ keyId: 3, cipher: 'AES-128-GCM' });
    ok(server.plane.addKey(keyPair(1, { keyId: 4, slot: 'secondary' }).server, 0));
    const [peer] = server.plane.peers();
    assert.deepEqual(peer!.primary, { keyId: 3, cipher: 'AES-128-GCM' });
    assert.deepEqual(peer!.secondary, { keyId: 4, cipher: 'AES-256-GCM' });
  });

  it('swaps, and refuses with ENOENT when there is nothing to swap in', () => {
    const { server } = pair({ keyId: 1 });
    assert.equal(server.plane.swapKeys(2, 0)?.code, 'ENOENT');
    assert.equal(server.plane.swapKeys(1, 0)?.code, 'ENOENT');
    assert.equal(server.plane.peers()[0]!.primary?.keyId, 1);
    ok(server.plane.addKey(keyPair(1, { keyId: 2, slot: 'secondary' }).server, 0));
    ok(server.plane.swapKeys(1, 0));
    const [peer] = server.plane.peers();
    assert.deepEqual([peer!.primary?.keyId, peer!.secondary?.keyId], [2, 1]);
  });

  it('deletes a key, an empty slot too, but not of an unknown peer', () => {
    const { server, client } = pair();
    ok(server.plane.delKey(1, 'secondary', 0));
    ok(server.plane.delKey(1, 'primary', 0));
    ok(server.plane.delKey(1, 'primary', 0));
    assert.equal(server.plane.delKey(2, 'primary', 0)?.code, 'ENOENT');
    server.plane.fromNetwork(path(5000), fromClient(client, 1)[0]!, 0);
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    assert.deepEqual(drops(server), { 'no-key': 1, 'no-peer-key': 1 });
  });

  // The keys of the other body are in the shim.
  const itJs = subject.isJs ? it : () => undefined;
  itJs('wipes every key it lets go of, once', () => {
    const wiped: number[] = [];
    let made = 0;
    const crypto = {
      aead: (): Aead => {
        const number = made++;
        return { seal: () => new Uint8Array(), open: () => undefined, wipe: () => void wiped.push(number) };
      },
    } as unknown as Crypto;
    const { plane } = record('mp', { crypto });
    const add = (slot: 'primary' | 'secondary') => ok(plane.addKey(keyPair(1, { slot }).server, 0));
    ok(plane.addPeer({ peerId: 1, path: path(1), vpnIp4: ip('10.8.0.2') }, 0));
    add('primary');
    add('primary');
    assert.deepEqual(wiped.splice(0), [0, 1], 'replaced');
    add('secondary');
    ok(plane.swapKeys(1, 0));
    ok(plane.delKey(1, 'secondary', 0));
    assert.deepEqual(wiped.splice(0), [2, 3], 'deleted');
    add('secondary');
    ok(plane.delPeer(1, 0));
    assert.deepEqual(wiped.splice(0), [4, 5, 6, 7], 'with the peer');
    plane.close();
    assert.deepEqual(wiped, []);
  });

  it('loses nothing over a swap under traffic', () => {
    const { server, client } = pair({ keyId: 0 });
    const there = path(1194, '203.0.113.1');
    let sent = 0;
    /** Both send three packets, and these arrive when the returned function is called. */
    const both = () => {
      const up = fromClient(client, 3);
      for (let i = 0; i < 3; i++) server.plane.fromTun(packet('10.8.0.1', '10.8.0.2', [i]), 0);
      const down = takeSent(server);
      sent += 3;
      return () => {
        for (const datagram of up) server.plane.fromNetwork(path(5000), datagram, 0);
        for (const datagram of down) client.plane.fromNetwork(there, datagram, 0);
      };
    };
    const first = both();
    const young = keyPair(1, { keyId: 1, slot: 'secondary' });
    ok(client.plane.addKey(young.client, 0));
    ok(server.plane.addKey(young.server, 0));
    const second = both();
    ok(client.plane.swapKeys(1, 0));
    const third = both();
    first();
    ok(server.plane.swapKeys(1, 0));
    const fourth = both();
    for (const arrive of [second, third, fourth]) arrive();
    ok(client.plane.delKey(1, 'secondary', 0));
    ok(server.plane.delKey(1, 'secondary', 0));
    both()();
    assert.deepEqual([server.delivered.length, client.delivered.length], [sent, sent]);
    assert.deepEqual([drops(server), drops(client)], [{}, {}]);
  });
});
