// SPDX-License-Identifier: Apache-2.0
// Any events in any order, any bytes, and real packets bent in every way, into a server and a client: nothing
// throws, what they keep stays bounded, and no timer spins. Runs for OVPND_FUZZ_SECONDS in all; a failure prints the
// seed to repeat it with (OVPND_FUZZ_SEED).

import { equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import type { Path } from '../../src/core/address.ts';
import { concat } from '../../src/core/bytes.ts';
import type { Event, LoginRefusal } from '../../src/core/event.ts';
import { AUTH_WAITING_MAX, HANDSHAKES_MAX } from '../../src/core/limits.ts';
import { IV_PROTO_P2P } from '../../src/core/p2p.ts';
import type { PlaneCommand } from '../../src/core/plane.ts';
import type { ServerOptions } from '../../src/core/server.ts';
import { renegotiate, sendText } from '../../src/core/session.ts';
import { noWrap, tlsAuthKeys, tlsCryptKeys, type WrapKeys } from '../../src/core/wrap.ts';
import {
  type Bench,
  type ClientBench,
  clientBench,
  ip,
  type ServerBench,
  serverBench,
} from '../unit/core/bench.ts';
import { type FakeTls, fakeTls } from '../unit/core/fake-tls.ts';
import { clientHand, converse, type Hand, PUSH, pathOf, peerInfo, serve } from '../unit/core/hand.ts';
import { type Edit, type Move, moves } from './coremoves.ts';

const KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 13 + 7) & 255);
const WRAPS: readonly { readonly client: WrapKeys; readonly server: WrapKeys }[] = [
  { client: noWrap(), server: noWrap() },
  { client: tlsAuthKeys(KEY, 1, 'SHA1'), server: tlsAuthKeys(KEY, 0, 'SHA1') },
  { client: tlsCryptKeys(KEY, 'client'), server: tlsCryptKeys(KEY, 'server') },
];
const MAX_CLIENTS = 3;
const HANDS = 5;

function bend(packet: Uint8Array, other: Uint8Array, edits: readonly Edit[]): Uint8Array {
  let out: Uint8Array = packet.slice();
  for (const { at, how, byte } of edits) {
    const i = at % (out.length + 1);
    if (how === 'flip' && i < out.length) out[i]! ^= byte;
    else if (how === 'cut') out = out.slice(0, i);
    else if (how === 'grow') out = concat(out.slice(0, i), new Uint8Array([byte]), out.slice(i));
    else if (how === 'join') out = concat(out.slice(0, i), other);
  }
  return out;
}

/** One endpoint, the hands that talk to it, and every packet there ever was. */
abstract class Arena<B extends Bench> {
  readonly bench: B;
  readonly tls: FakeTls;
  readonly hands: Hand[] = [];
  readonly packets: Uint8Array[] = [];
  readonly isP2p: boolean;

  constructor(bench: B, tls: FakeTls, isP2p: boolean) {
    this.bench = bench;
    this.tls = tls;
    this.isP2p = isP2p;
  }

  abstract open(who: number, proto: number): void;
  abstract where(from: number): Path;
  abstract check(): void;
  answer(_which: number, _refused: LoginRefusal | undefined): void {}
  users(_stamps: Readonly<Record<string, string>>): void {}

  /** A hand's packets are remembered before they are delivered. */
  adopt(hand: Hand): void {
    const flush = hand.flush.bind(hand);
    hand.flush = now => {
      const packets = flush(now);
      for (const packet of packets) if (this.packets.length < 300) this.packets.push(packet.slice());
      return packets;
    };
    this.hands.push(hand);
    if (this.hands.length > HANDS) this.hands.shift();
  }

  #hand(who: number): Hand | undefined {
    return this.hands[who % Math.max(1, this.hands.length)];
  }

  do(move: Move): void {
    const { bench } = this;
    const hand = 'who' in move ? this.#hand(move.who) : undefined;
    switch (move.kind) {
      case 'open':
        return this.open(move.who, move.proto);
      case 'talk':
        return hand && this.#converse(hand);
      case 'say':
        if (hand) sendText(hand.session, move.text.replaceAll('\0', ''));
        return hand && this.#converse(hand);
      case 'raw':
        hand?.session.current.tls.write(move.bytes);
        return hand && this.#converse(hand);
      case 'rekey':
        if (hand) renegotiate(hand.session, bench.now);
        return hand && this.#converse(hand);
      case 'tls':
        return hand && this.#spoil(hand);
      case 'replay': {
        const packet = this.packets[move.which % Math.max(1, this.packets.length)] ?? new Uint8Array(9);
        const other = this.packets[(move.which >> 8) % Math.max(1, this.packets.length)] ?? packet;
        const bent = bend(packet, other, move.edits);
        return void bench.step({ kind: 'datagram', path: this.where(move.from), bytes: bent });
      }
      case 'bytes':
        return void bench.step({ kind: 'datagram', path: this.where(move.from), bytes: move.bytes });
      case 'pass':
        return bench.pass(move.ms);
      case 'event':
        return this.#event(move.event);
      case 'answer':
        return this.answer(move.which, move.refused);
      case 'users':
        return this.users(move.stamps);
      case 'refuse': {
        // The last command, though the plane took it: as good as any other.
        const command: PlaneCommand | undefined = bench.plane.commands.at(-1);
        return command && void bench.step({ kind: 'planeRefused', command, text: 'no' });
      }
    }
  }

  #event(given: Event): void {
    const event = this.#aimed(given);
    if (event.kind === 'planeNotice' && event.notice.kind === 'peerDeleted') {
      const { peerId, reason } = event.notice;
      // The plane says so of what it had; its echoes of our own commands may come at any time.
      const isEcho = reason === 'userspace' || reason === 'teardown';
      if (!isEcho && !this.bench.plane.peers.delete(peerId)) return;
    }
    this.bench.step(event);
  }

  /** In mode p2p no peer-id can be foreseen: number 5 stands for the one there is. */
  #aimed(event: Event): Event {
    const [only] = this.bench.plane.peers.keys();
    if (!this.isP2p || only === undefined) return event;
    if (event.kind === 'inner' && event.peerId === 5) return { ...event, peerId: only };
    if (event.kind !== 'planeNotice' || event.notice.peerId !== 5) return event;
    return { ...event, notice: { ...event.notice, peerId: only } };
  }

  #converse(hand: Hand): void {
    for (const { bytes } of this.bench.sent) if (this.packets.length < 300) this.packets.push(bytes);
    converse(this.bench, hand);
  }

  /** Bytes that are no TLS record. */
  #spoil(hand: Hand): void {
    (hand.session.current.tls as { fail?: (error: string) => void }).fail?.('bad certificate');
    this.#converse(hand);
  }
}

type Mode = 'plain' | 'login' | 'p2p';

class ServerArena extends Arena<ServerBench> {
  readonly #wrap: WrapKeys;
  readonly #hasLogin: boolean;
  /** Users somebody said yes to, with what they logged in with; and the newest token. */
  readonly #accepted = new Set<string>();
  #token = 'SESS_ID_AT_x';

  constructor(wrap: { client: WrapKeys; server: WrapKeys }, renegS: number, mode: Mode) {
    const tls = fakeTls({ role: 'server', commonName: 'server' });
    const more: Record<Mode, Partial<ServerOptions>> = {
      plain: { maxClients: MAX_CLIENTS },
      login: { maxClients: MAX_CLIENTS, login: { users: new Map([['u0', 'a']]) } },
      p2p: { maxClients: 1, p2p: { peerInfo: peerInfo(IV_PROTO_P2P), peerIps: [] }, addresses: [] },
    };
    const options = { wrap: wrap.server, renegS, handWindowS: 10, ...more[mode] };
    super(serverBench(tls, options), tls, mode === 'p2p');
    this.#wrap = wrap.client;
    this.#hasLogin = mode === 'login';
  }

  open(who: number, proto: number): void {
    const commonName = `c${who % 3}`;
    const password = who % 2 === 0 ? this.#token : 'pw';
    const login = who % 5 === 4 ? {} : { username: `u${who % 3}`, password };
    const hand = clientHand(
      { commonName, peerInfo: peerInfo(proto), wrap: this.#wrap, path: this.where(who), ...login },
      this.bench.now,
    );
    this.adopt(hand);
  }

  override answer(which: number, refused: LoginRefusal | undefined): void {
    const { logins, loginSerial } = this.bench.state;
    // Mostly one that is asked; or an old one again.
    const ids = [...logins.keys()];
    const id = which === 7 ? loginSerial : (ids[which % Math.max(1, ids.length)] ?? which);
    const { username, stamp } = logins.get(id) ?? {};
    if (refused === undefined) this.#accepted.add(`${username} ${stamp}`);
    this.bench.step({ kind: 'authResult', id, ...(refused && { refused }) });
  }

  override users(stamps: Readonly<Record<string, string>>): void {
    if (!this.#hasLogin) return;
    const options = { ...this.bench.state.options, login: { users: new Map(Object.entries(stamps)) } };
    this.bench.step({ kind: 'configChange', role: 'server', options, peers: new Set(), reverify: false });
  }

  where(from: number): Path {
    return pathOf(from + 1);
  }

  check(): void {
    const { peers, byId } = this.bench.state;
    ok(peers.size <= HANDSHAKES_MAX + MAX_CLIENTS);
    ok(byId.size <= (this.isP2p ? 1 : MAX_CLIENTS));
    ok(!this.isP2p || this.bench.plane.peers.size <= 1);
    const all = new Set(peers.values());
    for (const [peerId, peer] of byId) {
      ok(all.has(peer), 'a connected peer that nobody finds');
      ok(peer.peerId === peerId && peer.state === 'connected' && peer.keys !== undefined);
    }
    const addresses = [...byId.values()].flatMap(peer => peer.vpnIps);
    equal(new Set(addresses).size, addresses.length);
    equal(this.bench.state.pools[0]?.used.size ?? 0, addresses.length);
    ok(this.bench.state.logins.size <= AUTH_WAITING_MAX);
    for (const { username, stamp, token } of this.#hasLogin ? byId.values() : []) {
      ok(this.#accepted.has(`${username} ${stamp}`), 'in without an answer');
      this.#token = token!;
      // A server that stops takes no new options.
      if (this.bench.state.stopAt === undefined)
        equal(this.bench.state.options.login?.users?.get(username!), stamp);
    }
    // One TLS session for each peer, two while it renegotiates.
    ok(this.tls.living() <= 2 * peers.size);
  }
}

class ClientArena extends Arena<ClientBench> {
  readonly #wrap: WrapKeys;

  constructor(wrap: { client: WrapKeys; server: WrapKeys }, renegS: number, isP2p: boolean) {
    const tls = fakeTls({ role: 'client', commonName: 'us' });
    const remotes = ['192.0.2.1', 'vpn.example', 'fd00::1'].map(host => ({
      host,
      port: 1194,
      family: 0 as const,
    }));
    const own = { address: { ip: ip('10.9.0.2'), bits: 30 } };
    const mode = isP2p ? { ownAddresses: [own], peerInfo: peerInfo(IV_PROTO_P2P) } : {};
    const options = { wrap: wrap.client, remotes, renegS, handWindowS: 10, pollTimeoutS: 5, ...mode };
    super(clientBench(tls, options), tls, isP2p);
    this.#wrap = wrap.server;
    this.bench.step({ kind: 'start' });
  }

  open(who: number, proto: number): void {
    const { bench } = this;
    if (bench.state.phase === 'waiting') bench.pass(bench.timerAt! - bench.now);
    if (bench.state.phase === 'resolving') bench.step({ kind: 'resolved', addresses: [ip('192.0.2.7')] });
    if (bench.state.phase !== 'opening') return;
    bench.sent.length = 0;
    this.adopt(serve(bench, { wrap: this.#wrap, peerInfo: this.isP2p ? peerInfo(proto) : '' }, who + 1));
    if (proto === 0) return;
    this.do({ kind: 'talk', who: this.hands.length - 1 });
    this.do({ kind: 'say', who: this.hands.length - 1, text: PUSH });
  }

  where(from: number): Path {
    return from > 5 || this.bench.state.path === undefined ? pathOf(from + 1) : this.bench.state.path;
  }

  check(): void {
    const { phase, session, keys } = this.bench.state;
    ok(this.tls.living() <= 2);
    equal(this.tls.living() > 0, session !== undefined);
    if (phase === 'connected') ok(session !== undefined && keys !== undefined);
    if (phase === 'waiting') ok(this.bench.timerAt !== undefined, 'it would wait for ever');
  }
}

function run(arena: Arena<Bench>, moves: readonly Move[]): void {
  for (const one of moves) {
    arena.do(one);
    arena.check();
    if (arena.bench.isOver) return;
    // A tick at one moment after the other must come to an end.
    arena.bench.pass(0);
  }
  // However it stands, it can be stopped; before that, all may come to rest.
  if (moves.length % 2 === 0) arena.bench.pass(20_000);
  arena.check();
  arena.bench.step({ kind: 'shutdown' });
  arena.bench.pass(1000);
  ok(arena.bench.isOver, 'it does not end');
}

const wrap = fc.constantFrom(...WRAPS);
const renegS = fc.constantFrom(0, 5, 3600);

type Property = fc.IPropertyWithHooks<[WrapPair, number, Move[]]>;

function serverProperty(isP2p: boolean): Property {
  return fc.property(wrap, renegS, moves, (wraps, seconds, list) => {
    const mode = isP2p ? 'p2p' : list.length % 3 > 0 ? 'login' : 'plain';
    const arena = new ServerArena(wraps, seconds, mode);
    for (const who of [0, 1]) {
      arena.open(who === 0 ? 3 : 1, isP2p ? IV_PROTO_P2P : 142);
      arena.do({ kind: 'talk', who });
      arena.do({ kind: 'answer', which: 0 });
      arena.do({ kind: 'talk', who });
    }
    run(arena, list);
  });
}

function clientProperty(isP2p: boolean): Property {
  return fc.property(wrap, renegS, moves, (wraps, seconds, list) => {
    const arena = new ClientArena(wraps, seconds, isP2p);
    arena.open(0, isP2p ? [0, 2, IV_PROTO_P2P][list.length % 3]! : list.length % 3);
    run(arena, list);
  });
}

const PROPERTIES: Record<string, Property> = {
  'server: any events, any packets': serverProperty(false),
  'client: any events, any packets': clientProperty(false),
  'server in mode p2p': serverProperty(true),
  'client in mode p2p': clientProperty(true),
};
type WrapPair = (typeof WRAPS)[number];

describe('fuzz: core endpoints', () => {
  const names = Object.keys(PROPERTIES);
  const seconds = Number(process.env.OVPND_FUZZ_SECONDS ?? 4);
  const seed = Number(process.env.OVPND_FUZZ_SEED ?? Date.now() & 0x7fffffff);

  for (const name of names) {
    it(`${name} (OVPND_FUZZ_SEED=${seed})`, function () {
      const limitMs = (seconds * 1000) / names.length;
      this.timeout(limitMs * 2 + 60_000);
      fc.assert(PROPERTIES[name]!, {
        seed,
        numRuns: Number.MAX_SAFE_INTEGER,
        interruptAfterTimeLimit: limitMs,
        markInterruptAsFailure: false,
      });
    });
  }
});
