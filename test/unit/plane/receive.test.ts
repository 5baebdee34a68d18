// SPDX-License-Identifier: Apache-2.0
// From the network to TUN: each rule with something it lets through and something it stops.
import assert from 'node:assert/strict';
import type { CipherName } from '../../../src/core/crypto.ts';
import { PEER_ID_UNDEF } from '../../../src/core/plane.ts';
import { OCC_MAGIC, PING } from '../../../src/plane/inner.ts';
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
  subject,
  takeSent,
} from './helpers.ts';

const HOME = path(5000);
const AWAY = path(6000, '198.51.100.7');
const DATA = packet('10.8.0.2', '10.8.0.1', [1, 2, 3]);

/** What the client sends for any inner payload. */
function sealed(client: Recorder, peerId: number, payload: Uint8Array): Uint8Array {
  ok(client.plane.sendInner(peerId, payload, 0));
  return takeSent(client)[0]!;
}

describe('plane/js: from the network', () => {
  const ciphers: CipherName[] = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'];
  for (const cipher of ciphers) {
    for (const format of ['v1', 'v2'] as const) {
      it(`delivers ${cipher} in format ${format}, both ways`, () => {
        const { server, client } = pair({ cipher, format, keyId: 5 });
        client.plane.fromTun(DATA, 0);
        server.plane.fromNetwork(HOME, takeSent(client)[0]!, 0);
        assert.deepEqual(server.delivered.map(hex), [hex(DATA)]);
        const answer = packet('10.8.0.1', '10.8.0.2');
        server.plane.fromTun(answer, 0);
        client.plane.fromNetwork(path(1194, '203.0.113.1'), takeSent(server)[0]!, 0);
        assert.deepEqual(client.delivered.map(hex), [hex(answer)]);
      });
    }
  }

  it('drops what is too short for header, packet id and tag', () => {
    const { server } = pair();
    for (const length of [0, 1, 23]) {
      const bytes = new Uint8Array(length);
      if (length > 0) bytes.set([0x48, 0, 0, 1].slice(0, length));
      server.plane.fromNetwork(HOME, bytes, 0);
    }
    const v1 = new Uint8Array(20);
    v1[0] = 0x30;
    server.plane.fromNetwork(HOME, v1, 0);
    assert.deepEqual(drops(server), { short: 4 });
    assert.equal(server.plane.peers()[0]!.counters.linkRxPackets, 0);
  });

  it('drops other opcodes', () => {
    const { server, client } = pair();
    const [datagram] = fromClient(client, 1);
    for (const opcode of [0, 3, 4, 5, 7, 8, 10, 11, 31]) {
      server.plane.fromNetwork(HOME, new Uint8Array([opcode << 3, ...datagram!.subarray(1)]), 0);
    }
    assert.deepEqual(drops(server), { opcode: 9 });
  });

  it('drops an unknown peer id, also from a known path', () => {
    const { server, client } = pair();
    const [datagram] = fromClient(client, 1);
    datagram![3] = 2;
    server.plane.fromNetwork(HOME, datagram!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1 });
  });

  it('looks a P_DATA_V1 up by path and refuses it from elsewhere', () => {
    const { server, client } = pair({ format: 'v1' });
    const [first, second] = fromClient(client, 2);
    server.plane.fromNetwork(AWAY, first!, 0);
    server.plane.fromNetwork({ ...HOME, socket: 1 }, first!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 2 });
    server.plane.fromNetwork(HOME, second!, 0);
    assert.equal(server.delivered.length, 1);
  });

  it('takes a P_DATA_V1 also from a peer that is sent P_DATA_V2', () => {
    const { server, client } = pair({ format: 'v1' });
    const other = record('mp');
    ok(other.plane.addPeer({ peerId: 1, path: HOME, vpnIp4: ip('10.8.0.2') }, 0));
    ok(other.plane.addKey(keyPair(1).server, 0));
    other.plane.fromNetwork(HOME, fromClient(client, 1)[0]!, 0);
    assert.equal(other.delivered.length, 1);
    assert.equal(server.delivered.length, 0);
  });

  it('looks peer id ffffff up by path and refuses it from elsewhere', () => {
    const server = record('mp');
    const client = record('p2p');
    ok(server.plane.addPeer({ peerId: 3, txId: PEER_ID_UNDEF, path: HOME, vpnIp4: ip('10.8.0.2') }, 0));
    ok(client.plane.addPeer({ peerId: PEER_ID_UNDEF, path: path(1194) }, 0));
    ok(server.plane.addKey(keyPair(3).server, 0));
    ok(client.plane.addKey({ ...keyPair(3).client, peerId: PEER_ID_UNDEF }, 0));
    const [first, second] = fromClient(client, 2);
    assert.equal(hex(first!.subarray(0, 4)), '48ffffff');
    server.plane.fromNetwork(AWAY, first!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1 });
    server.plane.fromNetwork(HOME, second!, 0);
    assert.equal(server.delivered.length, 1);
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    client.plane.fromNetwork(path(1194), takeSent(server)[0]!, 0);
    assert.equal(client.delivered.length, 1);
  });

  it('drops key ids that no slot has, and finds both slots', () => {
    const { server, client } = pair({ keyId: 1 });
    ok(server.plane.addKey(keyPair(1, { keyId: 2, slot: 'secondary' }).server, 0));
    const [old] = fromClient(client, 1);
    ok(client.plane.addKey(keyPair(1, { keyId: 2 }).client, 0));
    const [young] = fromClient(client, 1);
    ok(client.plane.addKey(keyPair(1, { keyId: 3 }).client, 0));
    const [unknown] = fromClient(client, 1);
    for (const datagram of [young!, old!, unknown!]) server.plane.fromNetwork(HOME, datagram, 0);
    assert.equal(server.delivered.length, 2);
    assert.deepEqual(drops(server), { 'no-key': 1 });
  });

  it('tries only the primary when both slots have one key id', () => {
    const { server, client } = pair({ keyId: 1 });
    ok(server.plane.addKey(keyPair(1, { keyId: 1, slot: 'secondary', seed: 'other' }).server, 0));
    server.plane.fromNetwork(HOME, fromClient(client, 1)[0]!, 0);
    ok(client.plane.addKey(keyPair(1, { keyId: 1, seed: 'other' }).client, 0));
    server.plane.fromNetwork(HOME, fromClient(client, 1)[0]!, 0);
    assert.equal(server.delivered.length, 1);
    assert.deepEqual(drops(server), { auth: 1 });
  });

  it('drops any changed bit and then takes the packet as it was', () => {
    const { server, client } = pair();
    const [datagram] = fromClient(client, 1);
    for (let at = 0; at < datagram!.length; at++) {
      const changed = datagram!.slice();
      changed[at]! ^= 0x10;
      server.plane.fromNetwork(AWAY, changed, 0);
    }
    assert.equal(server.delivered.length, 0);
    assert.deepEqual(server.notices, []);
    server.plane.fromNetwork(HOME, datagram!, 0);
    assert.equal(server.delivered.length, 1);
  });

  it('drops a replay, from any path, without a float', () => {
    const { server, client } = pair();
    const [first, second] = fromClient(client, 2);
    server.plane.fromNetwork(HOME, second!, 0);
    server.plane.fromNetwork(HOME, first!, 0);
    for (const datagram of [first!, second!]) {
      server.plane.fromNetwork(HOME, datagram, 0);
      server.plane.fromNetwork(AWAY, datagram, 0);
    }
    assert.equal(server.delivered.length, 2);
    assert.deepEqual(drops(server), { replay: 4 });
    assert.deepEqual(server.notices, []);
  });

  it('refuses packet id 0', () => {
    const { server, client } = pair({ limits: { firstPacketId: 0 } });
    for (const datagram of fromClient(client, 2)) server.plane.fromNetwork(HOME, datagram, 0);
    assert.equal(server.delivered.length, 1);
    assert.deepEqual(drops(server), { replay: 1 });
  });

  it('keeps a replay window per key', () => {
    const { server, client } = pair({ keyId: 1 });
    const [old] = fromClient(client, 1);
    ok(server.plane.addKey(keyPair(1, { keyId: 2, slot: 'secondary' }).server, 0));
    ok(client.plane.addKey(keyPair(1, { keyId: 2 }).client, 0));
    const [young] = fromClient(client, 1);
    for (const datagram of [old!, young!, old!, young!]) server.plane.fromNetwork(HOME, datagram, 0);
    assert.equal(server.delivered.length, 2);
    assert.deepEqual(drops(server), { replay: 2 });
  });
});

describe('plane/js: float', () => {
  it('moves the peer with its next authentic packet and sends there', () => {
    const { server, client } = pair();
    const [first] = fromClient(client, 1);
    server.plane.fromNetwork(AWAY, first!, 0);
    assert.deepEqual(server.notices, [{ kind: 'peerFloated', peerId: 1, path: AWAY }]);
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    assert.deepEqual(server.sent[0]!.path, AWAY);
    assert.deepEqual(server.plane.peers()[0]!.path, AWAY);
  });

  it('says nothing when the path is the same', () => {
    const { server, client } = pair();
    server.plane.fromNetwork(path(5000), fromClient(client, 1)[0]!, 0);
    assert.deepEqual(server.notices, []);
  });

  it('moves to another socket, port or scope alike', () => {
    const { server, client } = pair();
    const paths = [
      { ...HOME, socket: 7 },
      path(5001),
      { socket: 0, remote: { ip: ip('fe80::1'), port: 5001, scope: 2 } },
      { socket: 0, remote: { ip: ip('fe80::1'), port: 5001, scope: 3 } },
    ];
    const datagrams = fromClient(client, paths.length);
    for (const [i, to] of paths.entries()) server.plane.fromNetwork(to, datagrams[i]!, 0);
    assert.deepEqual(
      server.notices,
      paths.map(to => ({ kind: 'peerFloated', peerId: 1, path: to })),
    );
  });

  it('floats a point-to-point peer, too', () => {
    const { server, client } = pair();
    server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
    client.plane.fromNetwork(AWAY, takeSent(server)[0]!, 0);
    assert.deepEqual(client.notices, [{ kind: 'peerFloated', peerId: 1, path: AWAY }]);
  });

  it('floats on a ping and on a packet that a later check drops', () => {
    const { server, client, peerId } = pair();
    server.plane.fromNetwork(AWAY, sealed(client, peerId, PING), 0);
    server.plane.fromNetwork(HOME, sealed(client, peerId, new Uint8Array([0xfa])), 0);
    assert.equal(server.notices.length, 2);
  });

  it('neither from a TCP connection nor onto one', () => {
    const tcp = { ...path(7000, '192.0.2.1', 9), tcp: true };
    const other = { ...path(7001, '192.0.2.1', 10), tcp: true };
    const { server, client } = pair();
    const [first, second, third, fourth] = fromClient(client, 4);
    server.plane.fromNetwork(tcp, first!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1 });
    ok(server.plane.setPeer({ peerId: 1, path: tcp }, 0));
    for (const away of [AWAY, HOME, other, { ...tcp, remote: HOME.remote }]) {
      server.plane.fromNetwork(away, second!, 0);
    }
    assert.deepEqual(drops(server), { 'unknown-peer': 5 });
    server.plane.fromNetwork(tcp, third!, 0);
    server.plane.fromNetwork({ ...tcp }, fourth!, 0);
    assert.equal(server.delivered.length, 2);
    assert.deepEqual(server.notices, []);
    assert.deepEqual(server.plane.peers()[0]!.path, tcp);
  });

  it('learns the own address silently', () => {
    const { server, client } = pair();
    const local = ip('203.0.113.9');
    const [first, second] = fromClient(client, 2);
    server.plane.fromNetwork({ ...HOME, local }, first!, 0);
    // The caller may reuse its array.
    local.fill(0);
    server.plane.fromNetwork(HOME, second!, 0);
    assert.deepEqual(server.notices, []);
    assert.deepEqual(server.plane.peers()[0]!.path.local, ip('203.0.113.9'));
  });

  it('keeps no reference to the path of a packet', () => {
    const { server, client } = pair();
    const from = path(6000, '198.51.100.7');
    server.plane.fromNetwork(from, fromClient(client, 1)[0]!, 0);
    from.remote.ip.fill(9);
    assert.deepEqual(server.plane.peers()[0]!.path, AWAY);
  });

  it('does not cut off the peer that was on the path before', () => {
    // A peer with a good key could otherwise send from the address of a peer that is looked up by address.
    const { server, client: victim } = pair({ format: 'v1' });
    const attacker = record('p2p');
    ok(server.plane.addPeer({ peerId: 2, path: AWAY, vpnIp4: ip('10.8.0.3') }, 0));
    ok(server.plane.addKey(keyPair(2).server, 0));
    ok(attacker.plane.addPeer({ peerId: 2, path: path(1194) }, 0));
    ok(attacker.plane.addKey(keyPair(2).client, 0));
    attacker.plane.fromTun(packet('10.8.0.3', '10.8.0.1'), 0);
    server.plane.fromNetwork(HOME, takeSent(attacker)[0]!, 0);
    assert.equal(server.notices.length, 1);
    server.plane.fromNetwork(HOME, fromClient(victim, 1)[0]!, 0);
    assert.equal(server.delivered.length, 2);
  });

  it('is found by path where it floated to, and no longer where it was', () => {
    const { server, client } = pair({ limits: { firstPacketId: 10 } });
    server.plane.fromNetwork(AWAY, fromClient(client, 1)[0]!, 0);
    // The same key sends without peer id from now on.
    const old = record('p2p');
    ok(old.plane.addPeer({ peerId: 1, format: 'v1', path: path(1194) }, 0));
    ok(old.plane.addKey(keyPair(1).client, 0));
    const [first, second] = fromClient(old, 2);
    server.plane.fromNetwork(HOME, first!, 0);
    assert.deepEqual(drops(server), { 'unknown-peer': 1 });
    server.plane.fromNetwork(AWAY, second!, 0);
    assert.equal(server.delivered.length, 2);
  });

  // The other body tells afterwards: the packet has gone through by then.
  const itJs = subject.isJs ? it : () => undefined;
  itJs('stops at once when the notice makes the control plane delete the peer', () => {
    const { client } = pair();
    const server = record('mp', {
      sink: { notice: notice => void (notice.kind === 'peerFloated' && server.plane.delPeer(1, 0)) },
    });
    ok(server.plane.addPeer({ peerId: 1, path: HOME, vpnIp4: ip('10.8.0.2') }, 0));
    ok(server.plane.addKey(keyPair(1).server, 0));
    server.plane.fromNetwork(AWAY, fromClient(client, 1)[0]!, 0);
    assert.equal(server.delivered.length, 0);
    assert.deepEqual(server.plane.peers(), []);
  });
});

describe('plane/js: protocol check', () => {
  const cases: [string, Uint8Array, Record<string, number>][] = [
    ['an empty payload', new Uint8Array(), { empty: 1 }],
    ['an IPv4 header cut short', packet('10.8.0.2', '10.8.0.1').subarray(0, 19), { protocol: 1 }],
    ['an IPv6 header cut short', packet('fd42:8::2', 'fd42:8::1').subarray(0, 39), { protocol: 1 }],
    ['another version', new Uint8Array(60).fill(0x50), { protocol: 1 }],
    ['compression framing', new Uint8Array([0xfa, ...DATA]), { protocol: 1 }],
    ['a ping with a byte behind', new Uint8Array([...PING, 0]), { protocol: 1 }],
    ['a ping cut short', PING.subarray(0, 15), { protocol: 1 }],
    ['an OCC message without type', OCC_MAGIC, { protocol: 1 }],
    ['a ping', PING, {}],
  ];
  for (const [name, payload, expected] of cases) {
    it(`does not deliver ${name}`, () => {
      const { server, client, peerId } = pair();
      server.plane.fromNetwork(HOME, sealed(client, peerId, payload), 0);
      assert.deepEqual(drops(server), expected);
      assert.equal(server.delivered.length + server.inner.length, 0);
      assert.equal(server.sent.length, 0, 'nothing is answered');
    });
  }

  it('delivers the shortest headers', () => {
    const { server, client, peerId } = pair();
    for (const bytes of [packet('10.8.0.2', '10.8.0.1'), packet('fd42:8::2', 'fd42:8::1')]) {
      server.plane.fromNetwork(HOME, sealed(client, peerId, bytes), 0);
    }
    assert.deepEqual(
      server.delivered.map(bytes => bytes.length),
      [20, 40],
    );
  });

  it('hands OCC messages up with the peer they came from', () => {
    const { server, client, peerId } = pair();
    const exit = new Uint8Array([...OCC_MAGIC, 6]);
    server.plane.fromNetwork(HOME, sealed(client, peerId, exit), 0);
    assert.deepEqual(server.inner, [{ peerId, payload: exit }]);
    assert.equal(server.delivered.length, 0);
  });
});

describe('plane/js: reverse path check', () => {
  function servers(): { server: Recorder; client: Recorder } {
    const { server, client } = pair();
    ok(server.plane.setPeer({ peerId: 1, routes: [prefix('192.168.0.0/16'), prefix('2001:db8::/32')] }, 0));
    const other = { peerId: 2, path: AWAY, vpnIp4: ip('10.8.0.3'), routes: [prefix('192.168.7.0/24')] };
    ok(server.plane.addPeer(other, 0));
    return { server, client };
  }
  const rows: [string, string, boolean][] = [
    ['the VPN address', '10.8.0.2', true],
    ['the IPv6 VPN address', 'fd42:8::2', true],
    ['a network behind the peer', '192.168.8.1', true],
    ['an IPv6 network behind the peer', '2001:db8:1::1', true],
    ["another peer's VPN address", '10.8.0.3', false],
    ["another peer's longer prefix inside", '192.168.7.1', false],
    ['nobody', '10.8.0.9', false],
    ['no IPv6 peer', 'fd42:8::3', false],
  ];
  for (const [name, source, isGood] of rows) {
    it(`${isGood ? 'delivers' : 'drops'} a packet from ${name}`, () => {
      const { server, client } = servers();
      client.plane.fromTun(packet(source, source.includes(':') ? 'fd42:8::1' : '10.8.0.1'), 0);
      server.plane.fromNetwork(HOME, takeSent(client)[0]!, 0);
      assert.equal(server.delivered.length, isGood ? 1 : 0);
      assert.deepEqual(drops(server), isGood ? {} : { 'reverse-path': 1 });
    });
  }

  it('has its own counter for IPv6 link-local sources', () => {
    const { server, client } = servers();
    for (const source of ['fe80::1', 'febf::1', 'fec0::1'])
      client.plane.fromTun(packet(source, 'ff02::2'), 0);
    for (const datagram of takeSent(client)) server.plane.fromNetwork(HOME, datagram, 0);
    assert.deepEqual(drops(server), { 'link-local': 2, 'reverse-path': 1 });
  });

  it('is not there in point-to-point mode', () => {
    const { server, client } = pair();
    server.plane.fromTun(packet('8.8.8.8', '10.8.0.2'), 0);
    client.plane.fromNetwork(path(1194, '203.0.113.1'), takeSent(server)[0]!, 0);
    assert.equal(client.delivered.length, 1);
  });
});

describe('plane/js: receive counters', () => {
  it('count the link before authentication and the VPN after delivery', () => {
    const { server, client, peerId } = pair();
    const [good] = fromClient(client, 1);
    const forged = good!.slice();
    forged[30]! ^= 1;
    const ping = sealed(client, peerId, PING);
    for (const datagram of [good!, good!, forged, ping]) server.plane.fromNetwork(HOME, datagram, 0);
    const { counters } = server.plane.peers()[0]!;
    assert.equal(counters.linkRxPackets, 4);
    assert.equal(counters.linkRxBytes, 3 * good!.length + ping.length);
    assert.equal(counters.vpnRxPackets, 1);
    assert.equal(counters.vpnRxBytes, good!.length - 24);
    assert.equal(ping.length, 40);
  });
});
