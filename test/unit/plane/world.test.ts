// SPDX-License-Identifier: Apache-2.0
// A server and three clients over a network that loses, repeats, reorders, changes and makes up packets, while
// clients move and keys change, of both formats. Whatever the schedule: what is delivered was sent, by whom it says and to whom
// it comes, and once; no nonce is used twice under one key; nothing but new authentic packets moves a peer.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatIp, type Path, sameEndpoint } from '../../../src/core/address.ts';
import type { Crypto } from '../../../src/core/crypto.ts';
import type { DataFormat } from '../../../src/core/plane.ts';
import {
  hex,
  ip,
  keyPair,
  ok,
  packet,
  path,
  type Recorder,
  record,
  SERVER_PORT,
  takeSent,
} from './helpers.ts';
import { nodeCrypto } from './nodecrypto.ts';

const CLIENTS = 3;
/** Eight packets of 22 bytes: in the epoch format keys follow each other while packets are on their way. */
const LIMITS = { gcmUsageSoft: 24 };
const SERVER_PATH = path(SERVER_PORT, '203.0.113.1');

const formatOf = (peer: number): DataFormat => (peer === 2 ? 'aead-epoch' : 'aead');

/** nodeCrypto that fails when a nonce comes twice under one key. */
function strictCrypto(): Crypto {
  const used = new Set<string>();
  return {
    ...nodeCrypto,
    aead(cipher, key) {
      const aead = nodeCrypto.aead(cipher, key);
      const name = hex(key);
      return {
        seal(nonce, aad, plaintext) {
          const pair = `${name} ${hex(nonce)}`;
          assert.ok(!used.has(pair), 'a nonce was used twice');
          used.add(pair);
          return aead.seal(nonce, aad, plaintext);
        },
        open: (nonce, aad, sealed) => aead.open(nonce, aad, sealed),
        wipe: () => aead.wipe(),
      };
    },
  };
}

/** A datagram on its way. Up: from client `peer` at `from`. Down: to the endpoint `from`. */
interface Flight {
  readonly isUp: boolean;
  readonly peer: number;
  readonly from: Path;
  readonly datagram: Uint8Array;
}

class World {
  readonly crypto = strictCrypto();
  readonly server = record('mp', { crypto: this.crypto, limits: LIMITS });
  readonly clients: Recorder[] = [];
  readonly paths: Path[] = [];
  readonly keyIds: number[] = [];
  readonly phases: number[] = [];
  readonly flights: Flight[] = [];
  readonly arrived: Flight[] = [];
  /** Payload to who may get it: `up` or the client's number. Deleted when it is delivered. */
  readonly expected = new Map<string, string>();
  now = 0;
  #serial = 0;
  #generation = 0;

  constructor() {
    for (let peer = 0; peer < CLIENTS; peer++) {
      const client = record('p2p', { crypto: this.crypto, limits: LIMITS });
      this.clients.push(client);
      this.paths.push(path(5000 + peer));
      this.keyIds.push(0);
      this.phases.push(0);
      const format = peer === 0 ? 'v1' : 'v2';
      const vpnIp4 = ip(`10.8.0.${peer + 2}`);
      ok(this.server.plane.addPeer({ peerId: peer, format, path: this.paths[peer]!, vpnIp4 }, 0));
      ok(client.plane.addPeer({ peerId: peer, format, path: SERVER_PATH }, 0));
      const keys = keyPair(peer, { dataFormat: formatOf(peer) });
      ok(this.server.plane.addKey(keys.server, 0));
      ok(client.plane.addKey(keys.client, 0));
    }
  }

  /** Client `peer` sends; with another's source address when `source` is not its own. */
  up(peer: number, source = peer): void {
    const bytes = packet(`10.8.0.${source + 2}`, '10.8.0.1', this.#next());
    if (source === peer) this.expected.set(hex(bytes), 'up');
    this.clients[peer]!.plane.fromTun(bytes, this.now);
    for (const datagram of takeSent(this.clients[peer]!)) {
      this.flights.push({ isUp: true, peer, from: this.paths[peer]!, datagram });
    }
  }

  down(peer: number): void {
    const bytes = packet('10.8.0.1', `10.8.0.${peer + 2}`, this.#next());
    this.expected.set(hex(bytes), `${peer}`);
    this.server.plane.fromTun(bytes, this.now);
    for (const { path: from, datagram } of this.server.sent.splice(0)) {
      this.flights.push({ isUp: false, peer, from, datagram });
    }
  }

  /** Lets a datagram arrive; one for an endpoint that nobody has any more is lost. */
  arrive(flight: Flight): void {
    if (flight.isUp) {
      this.server.plane.fromNetwork(flight.from, flight.datagram, this.now);
    } else {
      const at = this.paths.findIndex(own => sameEndpoint(own.remote, flight.from.remote));
      if (at < 0) return;
      this.clients[at]!.plane.fromNetwork(SERVER_PATH, flight.datagram, this.now);
    }
    this.arrived.push(flight);
    this.#check();
  }

  /** Lets something arrive everywhere that nobody must take: no delivery, no float, no answer. */
  refuse(datagram: Uint8Array, from: Path): void {
    const before = this.#progress();
    this.server.plane.fromNetwork(from, datagram, this.now);
    for (const client of this.clients) client.plane.fromNetwork(from, datagram, this.now);
    assert.deepEqual(this.#progress(), before);
  }

  /** One step of a key change, as two control planes do it: both get the key, one swaps, the other, both forget. */
  rekey(peer: number): void {
    const { plane } = this.clients[peer]!;
    const phase = this.phases[peer]!;
    this.phases[peer] = (phase + 1) % 4;
    if (phase === 0) {
      const keyId = (this.keyIds[peer]! + 1) % 8;
      this.keyIds[peer] = keyId;
      const seed = `${this.#generation++}`;
      const keys = keyPair(peer, { keyId, slot: 'secondary', seed, dataFormat: formatOf(peer) });
      ok(plane.addKey(keys.client, this.now));
      ok(this.server.plane.addKey(keys.server, this.now));
    } else if (phase === 1) {
      ok(plane.swapKeys(peer, this.now));
    } else if (phase === 2) {
      ok(this.server.plane.swapKeys(peer, this.now));
    } else {
      ok(plane.delKey(peer, 'secondary', this.now));
      ok(this.server.plane.delKey(peer, 'secondary', this.now));
    }
  }

  #next(): number[] {
    const serial = this.#serial++;
    return [serial >> 8, serial & 0xff];
  }

  #progress(): unknown[] {
    const all = [this.server, ...this.clients];
    return all.map(({ delivered, notices, sent, inner, plane }) => [
      [delivered.length, notices.length, sent.length, inner.length],
      plane.peers().map(peer => [peer.path, peer.counters.vpnRxPackets]),
    ]);
  }

  /** Everything delivered was expected by whom it came to, and is not any more. */
  #check(): void {
    for (const [i, recorder] of [this.server, ...this.clients].entries()) {
      for (const bytes of recorder.delivered.splice(0)) {
        assert.equal(
          this.expected.get(hex(bytes)),
          i === 0 ? 'up' : `${i - 1}`,
          formatIp(bytes.subarray(12, 16)),
        );
        this.expected.delete(hex(bytes));
      }
    }
  }
}

const client = fc.nat({ max: CLIENTS - 1 });
const pick = fc.nat();
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('up' as const), client }) },
  { weight: 6, arbitrary: fc.record({ what: fc.constant('down' as const), client }) },
  { weight: 10, arbitrary: fc.record({ what: fc.constant('arrive' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('lose' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('repeat' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant('replay' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant('change' as const), pick, at: pick }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('spoof' as const), client, pick }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('move' as const), client, pick }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('rekey' as const), client }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('wait' as const), pick }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function one<T>(list: readonly T[], index: number): T | undefined {
  return list[index % Math.max(1, list.length)];
}

function act(world: World, now: Step): void {
  switch (now.what) {
    case 'up':
      return world.up(now.client);
    case 'down':
      return world.down(now.client);
    case 'rekey':
      return world.rekey(now.client);
    case 'spoof':
      return world.up(now.client, (now.client + 1 + (now.pick % 2)) % CLIENTS);
    case 'wait':
      world.now += now.pick % 40_000;
      return;
    case 'move':
      // Whoever is looked up by path cannot move without its control plane; no two can be in one place.
      if (now.client > 0)
        world.paths[now.client] = path(6000 + CLIENTS * (now.pick % 10_000) + now.client, '198.51.100.7');
      return;
    default:
      return actOnFlight(world, now);
  }
}

function actOnFlight(
  world: World,
  now: Extract<Step, { what: 'arrive' | 'lose' | 'repeat' | 'replay' | 'change' }>,
): void {
  const elsewhere = path(9, '192.0.2.66');
  if (now.what === 'replay') {
    const old = one(world.arrived, now.pick);
    // Also where it never was meant for: a client's packet to clients, the server's to itself.
    if (old !== undefined) {
      world.refuse(old.datagram, old.from);
      world.refuse(old.datagram, elsewhere);
    }
    return;
  }
  const flight = one(world.flights, now.pick);
  if (flight === undefined) return;
  if (now.what === 'repeat') {
    world.flights.push(flight);
  } else if (now.what === 'change') {
    const datagram = flight.datagram.slice();
    datagram[now.at % datagram.length]! ^= 1 << (now.at % 8);
    world.refuse(datagram, flight.from);
    world.refuse(datagram, elsewhere);
  } else {
    world.flights.splice(world.flights.indexOf(flight), 1);
    if (now.what === 'arrive') world.arrive(flight);
  }
}

describe('plane/js: server and clients over a bad network', () => {
  it('deliver only what was sent, once, to whom it was meant; and all of it when the network heals', () => {
    let delivered = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 200 }), steps => {
        const world = new World();
        for (const now of steps) act(world, now);
        world.flights.length = 0;
        world.expected.clear();
        // A client that moved is found again once it has sent something.
        for (let peer = 0; peer < CLIENTS; peer++) world.up(peer);
        for (const flight of world.flights.splice(0)) world.arrive(flight);
        for (let peer = 0; peer < CLIENTS; peer++) world.down(peer);
        for (const flight of world.flights.splice(0)) world.arrive(flight);
        assert.deepEqual([...world.expected.values()], []);
        const counts = world.server.plane.peers().map(peer => peer.counters.vpnRxPackets);
        delivered += counts.reduce((sum, count) => sum + count, 0);
      }),
      { numRuns: 150 },
    );
    assert.ok(delivered > 500, `only ${delivered} packets got through: the schedule tests nothing`);
  });
});
