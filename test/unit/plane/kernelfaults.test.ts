// SPDX-License-Identifier: Apache-2.0
// Every request of a peer's life goes wrong in each way a kernel has. The control plane is played as it behaves:
// it gives up what was refused or is gone, and comes again with new keys. In the end both tables are one.
import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { keyPair, prefix } from './helpers.ts';
import { FakeOvpn, type Fault } from './kernelfake.ts';
import { openWorld, serverPeer, type World } from './kernelworld.ts';

const FAULTS: readonly Fault[] = ['refuse', 'lost', 'mute', 'unsent'];
const PEER = serverPeer(1, { routes: [prefix('192.168.7.0/24')] });

/** The control plane in small: a peer with two keys, made anew whenever it is lost. */
class Life {
  readonly world: World;
  #lives = 0;
  #seen = 0;
  #isUp = false;

  constructor(world: World) {
    this.world = world;
  }

  /** Connects, renegotiates, moves, and leaves; whatever is lost on the way is begun anew. */
  live(): void {
    const steps = [
      () => this.#renew(1),
      () => this.#swap(),
      () => this.#drop(),
      () => this.#move(),
      () => this.#renew(2),
      () => this.#swap(),
    ];
    this.#connect();
    for (const step of steps) {
      this.#settle();
      if (this.#isUp) step();
    }
    this.world.pass(15_000);
    this.#settle();
  }

  leave(): void {
    if (this.#isUp) this.world.plane.delPeer(1, this.world.clock.now);
    this.#isUp = false;
    this.world.pass(15_000);
  }

  /** Reads the notices; a peer that is gone comes again. */
  #settle(): void {
    const { notices, clock, plane } = this.world;
    plane.receive(clock.now);
    for (; this.#seen < notices.length; this.#seen++) {
      const notice = notices[this.#seen]!;
      if (notice.kind === 'peerDeleted' && notice.reason !== 'userspace') this.#isUp = false;
    }
    for (let tries = 0; !this.#isUp && tries < 5; tries++) this.#connect();
    ok(this.#isUp, 'the peer does not come up');
  }

  #connect(): void {
    const { plane, clock } = this.world;
    this.#lives++;
    if (plane.addPeer(PEER, clock.now) !== undefined) return;
    this.#isUp = true;
    this.#key('primary', 0);
  }

  #key(slot: 'primary' | 'secondary', keyId: number): void {
    const { plane, clock } = this.world;
    const key = keyPair(1, { slot, keyId, seed: `life ${this.#lives}` }).server;
    if (plane.addKey(key, clock.now) === undefined) return;
    // Refused: the peer is given up.
    plane.delPeer(1, clock.now);
    this.#isUp = false;
  }

  #renew(keyId: number): void {
    this.#key('secondary', keyId);
  }

  #swap(): void {
    this.world.plane.swapKeys(1, this.world.clock.now);
  }

  #drop(): void {
    this.world.plane.delKey(1, 'secondary', this.world.clock.now);
  }

  #move(): void {
    const path = { ...PEER.path, remote: { ...PEER.path.remote, port: 9999 } };
    this.world.plane.setPeer(
      { peerId: 1, path, keepalive: { intervalS: 5, timeoutS: 50 } },
      this.world.clock.now,
    );
  }
}

function assertOne({ kernel, plane }: World, what: string): void {
  const wanted = plane.peers().map(peer => ({
    id: peer.peerId,
    keys: [peer.primary?.keyId, peer.secondary?.keyId],
    port: peer.path.remote.port,
  }));
  const actual = [...kernel.device.peers.values()].map(peer => ({
    id: peer.id,
    keys: peer.keys.map(key => key?.keyId),
    port: (peer.values.get(5)![0]! << 8) | peer.values.get(5)![1]!,
  }));
  deepStrictEqual(actual, wanted, what);
  strictEqual(new Set(kernel.keysSeen).size, kernel.keysSeen.length, `${what}: a key was given twice`);
}

describe('kernel plane: each request fails in turn', () => {
  const whole = openWorld('mp');
  new Life(whole).live();
  const requests = [...whole.kernel.log];

  it('a life without faults needs all kinds of requests', () => {
    for (const name of [
      'PEER_NEW',
      'PEER_SET',
      'KEY_NEW',
      'KEY_GET',
      'KEY_SWAP',
      'KEY_DEL',
      'PEER_DUMP',
      'NEWROUTE',
    ]) {
      ok(requests.includes(name), name);
    }
    deepStrictEqual(whole.notices, []);
    assertOne(whole, 'no fault');
  });

  for (const fault of FAULTS) {
    it(`${fault}: both tables agree in the end, no key comes twice, nothing stays behind`, () => {
      for (let n = 1; n <= requests.length + 4; n++) {
        const kernel = new FakeOvpn();
        const world = openWorld('mp', kernel);
        kernel.faults.set(n, fault);
        const life = new Life(world);
        life.live();
        assertOne(world, `${fault} of request ${n} (${requests[n - 1]})`);
        strictEqual(kernel.device.peers.size, 1);
        life.leave();
        strictEqual(kernel.device.peers.size, 0);
        ok(kernel.routes.length === 0 || world.warnings.length > 0, 'a route stays silently');
        world.plane.close();
        strictEqual(kernel.links.size + kernel.routes.length + kernel.openSockets, 0);
        deepStrictEqual(world.broken, []);
      }
    });
  }

  it('all at once, over and over: nothing throws, and it comes good when the kernel does', () => {
    for (const fault of FAULTS) {
      const world = openWorld('mp');
      const { kernel, plane, clock } = world;
      plane.addPeer(PEER, clock.now);
      plane.addKey(keyPair(1).server, clock.now);
      for (let n = kernel.requests + 1; n < kernel.requests + 200; n++) kernel.faults.set(n, fault);
      plane.swapKeys(1, clock.now);
      plane.setPeer({ peerId: 1, keepalive: { intervalS: 1, timeoutS: 2 } }, clock.now);
      plane.addPeer(serverPeer(2), clock.now);
      plane.addKey(keyPair(2).server, clock.now);
      plane.delKey(1, 'primary', clock.now);
      plane.delPeer(1, clock.now);
      world.pass(5000);
      kernel.faults.clear();
      world.pass(20_000);
      assertOne(world, fault);
    }
  });
});
