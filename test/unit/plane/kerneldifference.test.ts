// SPDX-License-Identifier: Apache-2.0
// The same commands to the js plane and to the kernel plane: the same answers, the same notices, the same peers.
import { deepStrictEqual } from 'node:assert';
import fc from 'fast-check';
import type { PlaneCommand } from '../../../src/core/plane.ts';
import { execute } from '../../../src/plane/command.ts';
import type { PacketPlane, PlaneMode } from '../../../src/plane/plane.ts';
import { ip, keyPair, path, record } from './helpers.ts';
import { openWorld } from './kernelworld.ts';

const peerId = fc.nat(3);
const slot = fc.constantFrom('primary', 'secondary' as const);
const port = fc.integer({ min: 1, max: 65535 });
const vpnIp4 = fc.constantFrom('10.8.0.2', '10.8.0.3', '0.0.0.0', '127.0.0.1', '224.0.0.1').map(ip);
const vpnIp6 = fc.constantFrom('fd42::2', 'fd42::3', '::').map(ip);
const keepalive = fc.record({
  intervalS: fc.constantFrom(0, 5, 86400, 86401),
  timeoutS: fc.constantFrom(0, 60, -1),
});
const cipher = fc.constantFrom('AES-128-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305' as const);

function commands(mode: PlaneMode): fc.Arbitrary<PlaneCommand> {
  const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    fc.option(value, { nil: undefined });
  // A point-to-point peer has none: one is refused.
  const address = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    mode === 'mp'
      ? optional(value)
      : fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });
  const details = fc.record({
    peerId,
    port,
    vpnIp4: address(vpnIp4),
    vpnIp6: address(vpnIp6),
    keepalive: optional(keepalive),
    hasPath: fc.boolean(),
  });
  const present = (value: object): object =>
    Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));
  const peerOf = ({
    peerId: id,
    port: number,
    vpnIp4: ip4,
    vpnIp6: ip6,
    keepalive: times,
  }: Details): object =>
    present({ peerId: id, path: path(number), vpnIp4: ip4, vpnIp6: ip6, keepalive: times });
  return fc.oneof(
    details.map(one => ({ op: 'addPeer', peer: peerOf(one) }) as PlaneCommand),
    details.map(one => {
      const change = peerOf(one) as { path?: unknown };
      if (!one.hasPath) delete change.path;
      return { op: 'setPeer', change } as unknown as PlaneCommand;
    }),
    peerId.map(id => ({ op: 'delPeer', peerId: id }) as const),
    fc
      .tuple(peerId, slot, fc.integer({ min: 0, max: 8 }), cipher, fc.string())
      .map(([id, where, keyId, name, seed]): PlaneCommand => {
        const { server } = keyPair(id, { slot: where, keyId, cipher: name, seed });
        return { op: 'addKey', key: server };
      }),
    peerId.map(id => ({ op: 'swapKeys', peerId: id }) as const),
    fc.tuple(peerId, slot).map(([id, where]) => ({ op: 'delKey', peerId: id, slot: where }) as const),
  );
}

interface Details {
  readonly peerId: number;
  readonly port: number;
  readonly vpnIp4: Uint8Array | undefined;
  readonly vpnIp6: Uint8Array | undefined;
  readonly keepalive: { readonly intervalS: number; readonly timeoutS: number } | undefined;
  readonly hasPath: boolean;
}

/** What is there, without counters and without what only one plane keeps. */
function picture(plane: PacketPlane): unknown[] {
  return plane
    .peers()
    .map(({ counters: _, ...peer }) => peer)
    .sort((a, b) => a.peerId - b.peerId);
}

describe('kernel plane beside the js plane', () => {
  for (const mode of ['mp', 'p2p'] as const) {
    it(`answers the same and tells the same, ${mode}`, () => {
      fc.assert(
        fc.property(fc.array(commands(mode), { maxLength: 40 }), script => {
          const world = openWorld(mode);
          const js = record(mode);
          for (const command of script) {
            // Keys are overwritten.
            const ours = execute(world.plane, structuredClone(command), world.clock.now);
            const theirs = execute(js.plane, command, world.clock.now);
            deepStrictEqual(ours?.code, theirs?.code, JSON.stringify(command));
            world.plane.receive(world.clock.now);
          }
          world.pass(15_000);
          deepStrictEqual(world.notices, js.notices);
          deepStrictEqual(picture(world.plane), picture(js.plane));
          deepStrictEqual(
            [...world.kernel.device.peers.keys()].sort(),
            js.plane
              .peers()
              .map(peer => peer.peerId)
              .sort(),
          );
        }),
        { numRuns: 300 },
      );
    });
  }
});
