// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import type { Keepalive } from '../../../src/core/plane.ts';
import { drops, fromClient, ip, keyPair, ok, packet, pair, path, type Recorder, record } from './helpers.ts';

const HOME = path(5000);

function withKeepalive(keepalive: Keepalive, now = 0): { server: Recorder; client: Recorder } {
  const { server, client } = pair();
  ok(server.plane.setPeer({ peerId: 1, keepalive }, now));
  return { server, client };
}

describe('plane/js: keepalive', () => {
  it('pings when nothing was sent for the interval', () => {
    const { server, client } = withKeepalive({ intervalS: 10, timeoutS: 60 }, 500);
    assert.equal(server.plane.deadline(), 10_500);
    server.plane.tick(10_499);
    assert.equal(server.sent.length, 0);
    server.plane.tick(10_500);
    assert.equal(server.sent.length, 1);
    assert.equal(server.sent[0]!.datagram.length, 40);
    assert.equal(server.plane.deadline(), 20_500);
    client.plane.fromNetwork(path(1194, '203.0.113.1'), server.sent[0]!.datagram, 10_500);
    assert.deepEqual(drops(client), {});
    assert.deepEqual([client.delivered.length, client.inner.length, client.sent.length], [0, 0, 0]);
    const { counters } = server.plane.peers()[0]!;
    assert.deepEqual([counters.linkTxPackets, counters.vpnTxPackets], [1, 0]);
  });

  it('puts the ping off with every packet sent', () => {
    const { server } = withKeepalive({ intervalS: 10, timeoutS: 60 });
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 9_000);
    server.plane.tick(10_000);
    server.plane.tick(18_999);
    assert.equal(server.sent.length, 1);
    server.plane.tick(19_000);
    assert.equal(server.sent.length, 2);
  });

  it('does not put the ping off with received packets', () => {
    const { server, client } = withKeepalive({ intervalS: 10, timeoutS: 60 });
    server.plane.fromNetwork(HOME, fromClient(client, 1)[0]!, 9_000);
    server.plane.tick(10_000);
    assert.equal(server.sent.length, 1);
  });

  it('deletes the peer after the timeout, told as expired', () => {
    const { server } = withKeepalive({ intervalS: 10, timeoutS: 25 });
    for (const now of [10_000, 20_000, 24_999]) server.plane.tick(now);
    assert.deepEqual(server.notices, []);
    assert.equal(server.plane.deadline(), 25_000);
    server.plane.tick(25_000);
    assert.deepEqual(server.notices, [{ kind: 'peerDeleted', peerId: 1, reason: 'expired' }]);
    assert.deepEqual(server.plane.peers(), []);
    assert.equal(server.plane.deadline(), undefined);
    assert.equal(server.sent.length, 2);
  });

  it('takes any authentic data as a sign of life, and nothing else', () => {
    const { server, client } = withKeepalive({ intervalS: 60, timeoutS: 30 });
    const datagrams = fromClient(client, 2);
    const forged = datagrams[1]!.slice();
    forged[30]! ^= 1;
    ok(client.plane.sendInner(1, new Uint8Array([0xfa]), 0));
    const odd = client.sent[0]!.datagram;
    server.plane.fromNetwork(HOME, datagrams[0]!, 10_000);
    server.plane.fromNetwork(HOME, odd, 20_000);
    // Neither a replay nor a forgery counts.
    server.plane.fromNetwork(HOME, datagrams[0]!, 30_000);
    server.plane.fromNetwork(HOME, forged, 30_000);
    assert.deepEqual(drops(server), { protocol: 1, replay: 1, auth: 1 });
    server.plane.tick(49_999);
    assert.equal(server.plane.peers().length, 1);
    server.plane.tick(50_000);
    assert.equal(server.plane.peers().length, 0);
  });

  const offs: Keepalive[] = [
    { intervalS: 0, timeoutS: 0 },
    { intervalS: 10, timeoutS: 0 },
    { intervalS: 0, timeoutS: 10 },
  ];
  for (const keepalive of offs) {
    it(`is off with interval ${keepalive.intervalS} and timeout ${keepalive.timeoutS}`, () => {
      const { server } = withKeepalive(keepalive);
      assert.equal(server.plane.deadline(), undefined);
      server.plane.tick(1e9);
      assert.equal(server.sent.length + server.notices.length, 0);
    });
  }

  it('is off where none was given, and can be turned off', () => {
    const { server } = pair();
    assert.equal(server.plane.deadline(), undefined);
    assert.deepEqual(server.plane.peers()[0]!.keepalive, { intervalS: 0, timeoutS: 0 });
    ok(server.plane.setPeer({ peerId: 1, keepalive: { intervalS: 1, timeoutS: 2 } }, 0));
    ok(server.plane.setPeer({ peerId: 1, keepalive: { intervalS: 0, timeoutS: 0 } }, 0));
    server.plane.tick(1e9);
    assert.equal(server.sent.length + server.notices.length, 0);
    assert.equal(server.plane.deadline(), undefined);
  });

  it('starts both clocks again with setPeer', () => {
    const { server } = withKeepalive({ intervalS: 10, timeoutS: 25 });
    ok(server.plane.setPeer({ peerId: 1, keepalive: { intervalS: 10, timeoutS: 25 } }, 9_000));
    server.plane.tick(18_999);
    assert.equal(server.sent.length, 0);
    server.plane.tick(33_999);
    assert.equal(server.notices.length, 0);
    server.plane.tick(34_000);
    assert.equal(server.notices.length, 1);
  });

  it('runs the clocks from addPeer, for each peer its own', () => {
    const server = record('mp');
    const add = (peerId: number, intervalS: number, now: number) => {
      const keepalive = { intervalS, timeoutS: 100 };
      const vpnIp4 = ip(`10.8.0.${peerId}`);
      ok(server.plane.addPeer({ peerId, path: path(5000 + peerId), vpnIp4, keepalive }, now));
      ok(server.plane.addKey(keyPair(peerId).server, now));
    };
    add(2, 30, 1_000);
    assert.equal(server.plane.deadline(), 31_000);
    add(3, 10, 2_000);
    assert.equal(server.plane.deadline(), 12_000);
    for (let now = 1_000; now <= 42_000; now += 1_000) server.plane.tick(now);
    assert.deepEqual(
      server.sent.map(sent => sent.path.remote.port),
      [5003, 5003, 5002, 5003, 5003],
    );
  });

  it('tries a ping once an interval while there is no key', () => {
    const { server } = withKeepalive({ intervalS: 10, timeoutS: 60 });
    ok(server.plane.delKey(1, 'primary', 0));
    server.plane.tick(10_000);
    assert.equal(server.sent.length, 0);
    assert.equal(server.plane.deadline(), 20_000);
    assert.deepEqual(drops(server), {});
  });

  it('takes commands from inside the expiry notice', () => {
    const server = record('mp', {
      sink: {
        notice: () => {
          const keepalive = { intervalS: 1, timeoutS: 5 };
          ok(server.plane.addPeer({ peerId: 2, path: HOME, vpnIp4: ip('10.8.0.2'), keepalive }, 9_000));
        },
      },
    });
    const keepalive = { intervalS: 5, timeoutS: 9 };
    ok(server.plane.addPeer({ peerId: 1, path: HOME, vpnIp4: ip('10.8.0.2'), keepalive }, 0));
    server.plane.tick(9_000);
    assert.deepEqual(
      server.plane.peers().map(peer => peer.peerId),
      [2],
    );
    assert.equal(server.plane.deadline(), 10_000);
  });
});
