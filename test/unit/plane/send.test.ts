// SPDX-License-Identifier: Apache-2.0
// From TUN to the network: who gets a packet, and what a key's limits do.
import assert from 'node:assert/strict';
import { OCC_MAGIC } from '../../../src/plane/inner.ts';
import { KEY_LIMITS } from '../../../src/plane/keys.ts';
import {
  drops,
  fromClient,
  hex,
  ip,
  keyPair,
  ok,
  packet,
  pair,
  path,
  prefix,
  type Recorder,
  record,
  takeSent,
} from './helpers.ts';

const LAST = 0xffffffff;

function idOf(datagram: Uint8Array): number {
  return new DataView(datagram.buffer, datagram.byteOffset).getUint32(4);
}

describe('plane/js: from TUN, many peers', () => {
  function server(): Recorder {
    const recorder = record('mp');
    const common = { path: path(5000) };
    ok(recorder.plane.addPeer({ ...common, peerId: 1, vpnIp4: ip('10.8.0.2'), vpnIp6: ip('fd42::2') }, 0));
    const routes = [prefix('0.0.0.0/0'), prefix('::/0'), prefix('10.8.0.2/32')];
    ok(recorder.plane.addPeer({ path: path(5002), peerId: 2, vpnIp4: ip('10.8.0.3'), routes }, 0));
    const inside = [prefix('192.168.7.0/24')];
    ok(recorder.plane.addPeer({ path: path(5003), peerId: 3, vpnIp4: ip('10.8.0.4'), routes: inside }, 0));
    for (const peerId of [1, 2, 3]) ok(recorder.plane.addKey(keyPair(peerId).server, 0));
    return recorder;
  }
  const rows: [string, string, number][] = [
    ['10.8.0.1', '10.8.0.2', 1],
    ['fd42::1', 'fd42::2', 1],
    ['10.8.0.1', '10.8.0.3', 2],
    ['10.8.0.1', '8.8.8.8', 2],
    ['fd42::1', '2001:db8::1', 2],
    ['10.8.0.1', '192.168.7.9', 3],
    ['10.8.0.1', '192.168.8.9', 2],
  ];
  for (const [source, destination, peerId] of rows) {
    it(`sends to ${destination} through peer ${peerId}`, () => {
      const recorder = server();
      recorder.plane.fromTun(packet(source, destination), 0);
      assert.equal(recorder.sent.length, 1);
      assert.equal(hex(recorder.sent[0]!.datagram.subarray(0, 8)), `4800000${peerId}00000001`);
    });
  }

  it('drops multicast and broadcast even with a default route', () => {
    const recorder = server();
    for (const to of ['224.0.0.1', '239.255.255.250', '255.255.255.255']) {
      recorder.plane.fromTun(packet('10.8.0.1', to), 0);
    }
    recorder.plane.fromTun(packet('fd42::1', 'ff02::2'), 0);
    assert.deepEqual(drops(recorder), { group: 4 });
    recorder.plane.fromTun(packet('10.8.0.1', '240.0.0.1'), 0);
    assert.equal(recorder.sent.length, 1);
  });

  it('drops what no peer has', () => {
    const { server: recorder } = pair();
    recorder.plane.fromTun(packet('10.8.0.1', '10.8.0.9'), 0);
    recorder.plane.fromTun(packet('fd42:8::1', 'fd42:8::9'), 0);
    recorder.plane.fromTun(packet('fe80::1', 'ff02::2'), 0);
    assert.deepEqual(drops(recorder), { 'no-route': 2, 'link-local': 1 });
    assert.equal(recorder.sent.length, 0);
  });

  it('drops what is no IP packet', () => {
    const { server: recorder, client } = pair();
    for (const { plane } of [recorder, client]) {
      plane.fromTun(new Uint8Array(), 0);
      plane.fromTun(packet('10.8.0.1', '10.8.0.2').subarray(0, 19), 0);
      plane.fromTun(new Uint8Array(64), 0);
    }
    assert.deepEqual(drops(recorder), { 'not-ip': 3 });
    assert.deepEqual(drops(client), { 'not-ip': 3 });
  });

  it('writes txId where there is one', () => {
    const recorder = record('mp');
    ok(recorder.plane.addPeer({ peerId: 1, txId: 0xabcdef, path: path(1), vpnIp4: ip('10.8.0.2') }, 0));
    ok(recorder.plane.addKey(keyPair(1, { keyId: 6 }).server, 0));
    recorder.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    assert.equal(hex(recorder.sent[0]!.datagram.subarray(0, 4)), '4eabcdef');
  });

  it('gives a network to the newer peer, and back when that goes', () => {
    const recorder = server();
    const routes = [prefix('192.168.7.0/24')];
    ok(recorder.plane.addPeer({ path: path(5004), peerId: 4, vpnIp4: ip('10.8.0.5'), routes }, 0));
    ok(recorder.plane.addKey(keyPair(4).server, 0));
    const target = packet('10.8.0.1', '192.168.7.9');
    recorder.plane.fromTun(target, 0);
    ok(recorder.plane.delPeer(4, 0));
    recorder.plane.fromTun(target, 0);
    assert.deepEqual(
      recorder.sent.map(sent => sent.datagram[3]),
      [4, 3],
    );
  });
});

describe('plane/js: from TUN, one peer', () => {
  it('sends everything to it', () => {
    const { client } = pair();
    for (const to of ['10.8.0.1', '8.8.8.8', '224.0.0.1']) client.plane.fromTun(packet('10.8.0.2', to), 0);
    client.plane.fromTun(packet('fe80::1', 'ff02::2'), 0);
    assert.equal(client.sent.length, 4);
    assert.deepEqual(drops(client), {});
  });

  it('drops without a peer, and without a primary key', () => {
    const client = record('p2p');
    const bytes = packet('10.8.0.2', '10.8.0.1');
    client.plane.fromTun(bytes, 0);
    ok(client.plane.addPeer({ peerId: 1, path: path(1194) }, 0));
    ok(client.plane.addKey(keyPair(1, { slot: 'secondary' }).client, 0));
    client.plane.fromTun(bytes, 0);
    assert.deepEqual(drops(client), { 'no-peer': 1, 'no-peer-key': 1 });
    assert.equal(client.sent.length, 0);
    const { counters } = client.plane.peers()[0]!;
    // As the kernel: the packet was the VPN's, but never the link's.
    assert.deepEqual([counters.vpnTxPackets, counters.vpnTxBytes], [1, 20]);
    assert.deepEqual([counters.linkTxPackets, counters.linkTxBytes], [0, 0]);
  });

  it('counts both sides of what it sends', () => {
    const { client } = pair();
    fromClient(client, 3);
    const { counters } = client.plane.peers()[0]!;
    assert.deepEqual([counters.vpnTxPackets, counters.vpnTxBytes], [3, 66]);
    assert.deepEqual([counters.linkTxPackets, counters.linkTxBytes], [3, 66 + 3 * 24]);
  });

  it('sends inner messages, which count on the link only', () => {
    const { client, server } = pair();
    const exit = new Uint8Array([...OCC_MAGIC, 6]);
    ok(client.plane.sendInner(1, exit, 0));
    server.plane.fromNetwork(path(5000), takeSent(client)[0]!, 0);
    assert.deepEqual(server.inner, [{ peerId: 1, payload: exit }]);
    const { counters } = client.plane.peers()[0]!;
    assert.deepEqual([counters.vpnTxPackets, counters.linkTxPackets], [0, 1]);
    assert.equal(client.plane.sendInner(2, exit, 0)?.code, 'ENOENT');
    ok(client.plane.delKey(1, 'primary', 0));
    assert.equal(client.plane.sendInner(1, exit, 0)?.code, 'ENOENT');
  });
});

describe('plane/js: limits of a key', () => {
  it('starts at packet id 1 for each key', () => {
    const { client } = pair();
    assert.deepEqual(fromClient(client, 3).map(idOf), [1, 2, 3]);
    ok(client.plane.addKey(keyPair(1, { keyId: 1 }).client, 0));
    assert.deepEqual(fromClient(client, 2).map(idOf), [1, 2]);
  });

  it('uses the last packet id and then nothing: the key goes, told once', () => {
    const { client } = pair({ limits: { firstPacketId: LAST - 1, packetIdSoft: LAST + 1 }, keyId: 4 });
    ok(client.plane.addKey(keyPair(1, { keyId: 5, slot: 'secondary' }).client, 0));
    assert.deepEqual(fromClient(client, 4).map(idOf), [LAST - 1, LAST]);
    assert.deepEqual(client.notices, [{ kind: 'keyExhausted', peerId: 1, keyId: 4 }]);
    assert.deepEqual(drops(client), { 'no-peer-key': 2 });
    const [peer] = client.plane.peers();
    assert.equal(peer!.primary, undefined);
    assert.equal(peer!.secondary?.keyId, 5, 'not promoted by itself');
    ok(client.plane.swapKeys(1, 0));
    assert.equal(fromClient(client, 1).length, 1);
  });

  it('receives no more with an exhausted key', () => {
    const { client, server } = pair({ limits: { firstPacketId: LAST } });
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    const [datagram] = takeSent(server);
    fromClient(client, 2);
    client.plane.fromNetwork(path(1194, '203.0.113.1'), datagram!, 0);
    assert.deepEqual(drops(client), { 'no-peer-key': 1, 'no-key': 1 });
  });

  it('tells once that the packet ids run low', () => {
    const { client } = pair({ limits: { firstPacketId: KEY_LIMITS.packetIdSoft - 2 } });
    fromClient(client, 2);
    assert.deepEqual(client.notices, []);
    assert.deepEqual(fromClient(client, 1).map(idOf), [0xff000000]);
    assert.deepEqual(client.notices, [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }]);
    assert.equal(fromClient(client, 3).length, 3, 'it still works');
    assert.equal(client.notices.length, 1);
  });

  it('counts packets and blocks of AES-GCM in each direction', () => {
    // 22 bytes are 2 blocks: each packet counts 3.
    const { client, server } = pair({ limits: { gcmUsageSoft: 9 } });
    const datagrams = fromClient(client, 2);
    assert.deepEqual(client.notices, []);
    datagrams.push(...fromClient(client, 1));
    const expected = [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }];
    assert.deepEqual(client.notices, expected);
    for (const datagram of datagrams.slice(0, 2)) server.plane.fromNetwork(path(5000), datagram, 0);
    assert.deepEqual(server.notices, []);
    server.plane.fromNetwork(path(5000), datagrams[2]!, 0);
    assert.deepEqual(server.notices, expected);
  });

  it('has the usage limit for AES-GCM at 7/8 of 2^36 - 1, and none for ChaCha', () => {
    assert.equal(KEY_LIMITS.gcmUsageSoft, Math.floor((2 ** 36 - 1) / 8) * 7);
    const { client } = pair({ cipher: 'CHACHA20-POLY1305', limits: { gcmUsageSoft: 1 } });
    fromClient(client, 5);
    assert.deepEqual(client.notices, []);
  });

  for (const dataFormat of ['aead', 'aead-epoch'] as const) {
    it(`${dataFormat}: tells once that so many packets, or bytes, went both ways as the key may have`, () => {
      const { client, server } = pair({ dataFormat });
      const keys = keyPair(1, { dataFormat });
      const size = 22 + (dataFormat === 'aead' ? 24 : 28);
      const expected = [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }];
      for (const rekeyAfter of [
        { packets: 4, bytes: 0 },
        { packets: 0, bytes: 4 * size - 3 },
        { packets: 0, bytes: 0 },
      ]) {
        ok(client.plane.addKey({ ...keys.client, rekeyAfter }, 0));
        ok(server.plane.addKey(keys.server, 0));
        const datagrams = fromClient(client, 2);
        for (const datagram of datagrams) server.plane.fromNetwork(path(5000), datagram, 0);
        server.plane.fromTun(packet('10.8.0.1', '10.8.0.2', [1, 2]), 0);
        client.plane.fromNetwork(path(1194, '203.0.113.1'), takeSent(server)[0]!, 0);
        assert.deepEqual(client.notices, []);
        fromClient(client, 3);
        assert.deepEqual(client.notices.splice(0), rekeyAfter.packets + rekeyAfter.bytes > 0 ? expected : []);
      }
      assert.deepEqual(server.notices, []);
    });
  }

  it('says nothing of a key that is not primary any more', () => {
    const { client, server } = pair({ limits: { gcmUsageSoft: 9 } });
    ok(server.plane.addKey(keyPair(1, { keyId: 1, slot: 'secondary' }).server, 0));
    ok(server.plane.swapKeys(1, 0));
    for (const datagram of fromClient(client, 3)) server.plane.fromNetwork(path(5000), datagram, 0);
    assert.equal(server.delivered.length, 3);
    assert.deepEqual(server.notices, []);
  });
});

describe('plane: client_to_client', () => {
  it('peers reach each other without the TUN device, under the rules for both', () => {
    for (const clientToClient of [true, false]) {
      const server = record('mp', { clientToClient });
      const clients = [1, 2].map(peerId => {
        const client = record('p2p');
        const keys = keyPair(peerId);
        const vpnIp4 = ip(`10.8.0.${peerId + 1}`);
        ok(server.plane.addPeer({ peerId, path: path(5000 + peerId), vpnIp4 }, 0));
        ok(client.plane.addPeer({ peerId, path: path(1194) }, 0));
        ok(server.plane.addKey(keys.server, 0));
        ok(client.plane.addKey(keys.client, 0));
        return client;
      });
      const across = packet('10.8.0.2', '10.8.0.3', [1]);
      clients[0]!.plane.fromTun(across, 0);
      server.plane.fromNetwork(path(5001), takeSent(clients[0]!)[0]!, 0);
      if (!clientToClient) {
        assert.deepEqual([takeSent(server), server.delivered], [[], [across]]);
        continue;
      }
      const [sent] = server.sent.splice(0);
      assert.deepEqual(sent!.path.remote.port, 5002);
      clients[1]!.plane.fromNetwork(path(1194), sent!.datagram, 0);
      assert.deepEqual(clients[1]!.delivered, [across]);
      // A false source goes nowhere; what is for the server or for a group goes to TUN.
      for (const [source, destination] of [
        ['10.8.0.9', '10.8.0.3'],
        ['10.8.0.2', '10.8.0.1'],
        ['10.8.0.2', '224.0.0.1'],
      ]) {
        clients[0]!.plane.fromTun(packet(source!, destination!), 0);
        server.plane.fromNetwork(path(5001), takeSent(clients[0]!)[0]!, 0);
      }
      assert.deepEqual(server.delivered.length, 2);
      assert.deepEqual(takeSent(server), []);
      const [one, two] = server.plane.peers();
      assert.deepEqual([one!.counters.vpnRxPackets, two!.counters.vpnTxPackets], [3, 1]);
    }
  });
});
