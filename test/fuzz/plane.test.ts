// SPDX-License-Identifier: Apache-2.0
// Bytes and commands that nobody sane sends: the js plane never throws and never lets one through.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ipKey, type Path } from '../../src/core/address.ts';
import type { CipherName } from '../../src/core/crypto.ts';
import type { PlaneCommand } from '../../src/core/plane.ts';
import { execute } from '../../src/plane/command.ts';
import type { PacketPlane } from '../../src/plane/plane.ts';
import { direction, ip, ok, packet, pair, path, prefix, record, takeSent } from '../unit/plane/helpers.ts';

const SECONDS = Number(process.env.OVPND_FUZZ_SECONDS ?? 2);
/** Seven tests share the time. */
const settings = { numRuns: 1e9, interruptAfterTimeLimit: SECONDS * 140, markInterruptAsFailure: false };

const ipBytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const anyPath: fc.Arbitrary<Path> = fc.oneof(
  fc.constant(path(5000)),
  fc.record({
    socket: fc.nat({ max: 3 }),
    remote: fc.record({ ip: ipBytes, port: fc.integer({ min: 1, max: 65535 }) }),
    local: ipBytes,
  }),
);
/** Bytes with a start that looks right. */
const datagram = fc
  .tuple(
    fc.constantFrom(
      [],
      [0x48],
      [0x48, 0, 0, 1],
      [0x48, 0, 0, 1, 0, 1],
      [0x48, 0, 0, 1, 0, 5],
      [0x48, 0xff, 0xff, 0xff],
      [0x30],
      [0x4f, 0, 0, 1],
    ),
    fc.uint8Array({ maxLength: 100 }),
  )
  .map(([start, rest]) => new Uint8Array([...start, ...rest]));
const inside = fc
  .tuple(fc.constantFrom([], [0x45], [0x60], [0x2a, 0x18], [0x28, 0x7f]), fc.uint8Array({ maxLength: 100 }))
  .map(([start, rest]) => new Uint8Array([...start, ...rest]));

describe('fuzz: js plane', function () {
  this.timeout((SECONDS + 60) * 1000);

  for (const [dataFormat, around] of [
    ['aead', 24],
    ['aead-epoch', 28],
  ] as const) {
    it(`${dataFormat}: takes no datagram that nobody sealed`, () => {
      const { server, client } = pair({ dataFormat, limits: { gcmUsageSoft: 50 } });
      fc.assert(
        fc.property(anyPath, datagram, (from, bytes) => {
          const copy = bytes.slice();
          server.plane.fromNetwork(from, bytes, 0);
          client.plane.fromNetwork(from, bytes, 0);
          assert.deepEqual(bytes, copy, 'the argument is borrowed');
          for (const { delivered, notices, inner, sent } of [server, client]) {
            assert.equal(delivered.length + notices.length + inner.length + sent.length, 0);
          }
        }),
        settings,
      );
    });

    it(`${dataFormat}: takes any packet from TUN, and sends it only where it belongs`, () => {
      const { server } = pair({ dataFormat, limits: { gcmUsageSoft: 50 } });
      ok(server.plane.setPeer({ peerId: 1, routes: [prefix('0.0.0.0/1'), prefix('8000::/1')] }, 0));
      fc.assert(
        fc.property(inside, bytes => {
          server.plane.fromTun(bytes, 0);
          const isIp =
            (bytes[0]! >> 4 === 4 && bytes.length >= 20) || (bytes[0]! >> 4 === 6 && bytes.length >= 40);
          const sent = takeSent(server);
          assert.ok(sent.length === 0 || (isIp && sent[0]!.length === bytes.length + around));
        }),
        settings,
      );
    });

    it(`${dataFormat}: takes any payload that a peer with the key seals`, () => {
      const { server, client } = pair({ dataFormat, limits: { gcmUsageSoft: 50 } });
      fc.assert(
        fc.property(inside, bytes => {
          ok(client.plane.sendInner(1, bytes, 0));
          server.plane.fromNetwork(path(5000), takeSent(client)[0]!, 0);
          for (const delivered of server.delivered.splice(0)) {
            const source = delivered[0]! >> 4 === 4 ? delivered.subarray(12, 16) : delivered.subarray(8, 24);
            assert.ok([ip('10.8.0.2'), ip('fd42:8::2')].map(ipKey).includes(ipKey(source)));
          }
          server.inner.length = 0;
          server.notices.length = 0;
          client.notices.length = 0;
        }),
        settings,
      );
    });
  }

  it('takes any commands in any order', () => {
    fc.assert(
      fc.property(fc.constantFrom('p2p' as const, 'mp' as const), fc.array(command), (mode, commands) => {
        const { plane } = record(mode, { limits: { firstPacketId: 0xfffffffd } });
        commands.forEach((next, i) => {
          run(plane, next, i * 700);
          plane.fromTun(packet('10.8.0.1', '10.8.0.2'), i * 700);
          plane.fromNetwork(path(5000), new Uint8Array(60).fill(0x30), i * 700);
          plane.fromNetwork(
            path(5000),
            Uint8Array.of(0x48, 0, 0, 1, 0, (i % 6) + 1, ...new Uint8Array(50)),
            i * 700,
          );
          plane.tick(i * 700);
          assert.ok((plane.deadline() ?? Number.POSITIVE_INFINITY) > i * 700);
          checkUnique(plane, mode);
        });
        plane.close();
        assert.deepEqual(plane.peers(), []);
      }),
      settings,
    );
  });
});

const peerId = fc.constantFrom(0, 1, 2, 0xffffff, 0x1000000);
const vpnIp4 = fc.constantFrom('10.8.0.2', '10.8.0.3', '0.0.0.0', '127.0.0.1', 'fd42::2').map(ip);
const vpnIp6 = fc.constantFrom('fd42::2', 'fd42::3', '::', '::1', '10.8.0.2').map(ip);
const routes = fc.array(fc.constantFrom('10.0.0.0/8', '10.8.0.2/32', '::/0', '0.0.0.0/0').map(prefix));
const seconds = fc.constantFrom(0, 1, 2, 86_400, 86_401, -1);
const keepalive = fc.record({ intervalS: seconds, timeoutS: seconds });
const slot = fc.constantFrom('primary' as const, 'secondary' as const);
const key = fc
  .record({
    peerId,
    slot,
    keyId: fc.integer({ min: -1, max: 8 }),
    cipher: fc.constantFrom<CipherName>('AES-128-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'),
    material: fc.constantFrom<CipherName>('AES-128-GCM', 'AES-256-GCM'),
  })
  .map(({ material, ...rest }) => ({
    ...rest,
    format: 'aead' as const,
    encrypt: direction(material, 'a'),
    decrypt: direction(material, 'b'),
  }));
const epochKey = fc
  .record({ peerId, slot, keyId: fc.integer({ min: -1, max: 8 }), length: fc.constantFrom(32, 32, 31) })
  .map(({ length, ...rest }) => ({
    ...rest,
    cipher: 'AES-128-GCM' as const,
    format: 'aead-epoch' as const,
    encrypt: { epochKey: new Uint8Array(length).fill(1) },
    decrypt: { epochKey: new Uint8Array(32).fill(2) },
  }));
const optional = { requiredKeys: ['peerId', 'path'] as ['peerId', 'path'] };
const command: fc.Arbitrary<PlaneCommand> = fc.oneof(
  fc
    .record(
      {
        peerId,
        path: anyPath,
        txId: peerId,
        format: fc.constantFrom('v1' as const, 'v2' as const),
        vpnIp4,
        vpnIp6,
        routes,
        keepalive,
      },
      optional,
    )
    .map(peer => ({ op: 'addPeer' as const, peer })),
  fc
    .record({ peerId, path: anyPath, vpnIp4, vpnIp6, routes, keepalive }, { requiredKeys: ['peerId'] })
    .map(change => ({ op: 'setPeer' as const, change })),
  fc.record({ op: fc.constant('delPeer' as const), peerId }),
  fc.record({ op: fc.constant('addKey' as const), key: fc.oneof(key, epochKey) }),
  fc.record({ op: fc.constant('swapKeys' as const), peerId }),
  fc.record({ op: fc.constant('delKey' as const), peerId, slot }),
  fc.record({ op: fc.constant('sendInner' as const), peerId, payload: inside }),
);

function run(plane: PacketPlane, next: PlaneCommand, now: number): void {
  const before = plane.peers();
  const result = execute(plane, next, now);
  if (result !== undefined && next.op !== 'sendInner') assert.deepEqual(plane.peers(), before);
}

function checkUnique(plane: PacketPlane, mode: 'p2p' | 'mp'): void {
  const peers = plane.peers();
  const addresses = peers
    .flatMap(peer => [peer.vpnIp4, peer.vpnIp6])
    .filter(address => address !== undefined);
  assert.equal(new Set(addresses.map(ipKey)).size, addresses.length);
  if (mode === 'p2p') assert.ok(peers.length <= 1 && addresses.length === 0);
  else for (const peer of peers) assert.ok(peer.vpnIp4 !== undefined || peer.vpnIp6 !== undefined);
}
