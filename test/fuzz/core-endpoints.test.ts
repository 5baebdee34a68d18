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
import { OCC_EXIT_PAYLOAD } from '../../src/core/options.ts';
import { DEL_REASONS, type PlaneCommand } from '../../src/core/plane.ts';
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

const KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 13 + 7) & 255);
const WRAPS: readonly { readonly client: WrapKeys; readonly server: WrapKeys }[] = [
  { client: noWrap(), server: noWrap() },
  { client: tlsAuthKeys(KEY, 1, 'SHA1'), server: tlsAuthKeys(KEY, 0, 'SHA1') },
  { client: tlsCryptKeys(KEY, 'client'), server: tlsCryptKeys(KEY, 'server') },
];
const MAX_CLIENTS = 3;
const HANDS = 5;

interface Edit {
  readonly at: number;
  readonly how: 'flip' | 'cut' | 'grow' | 'join';
  readonly byte: number;
}

/** What happens next; numbers are taken modulo what there is. */
type Move =
  | { readonly kind: 'talk'; readonly who: number }
  | { readonly kind: 'open'; readonly who: number; readonly proto: number }
  | { readonly kind: 'say'; readonly who: number; readonly text: string }
  | { readonly kind: 'raw'; readonly who: number; readonly bytes: Uint8Array }
  | { readonly kind: 'rekey'; readonly who: number }
  | {
      readonly kind: 'replay';
      readonly which: number;
      readonly from: number;
      readonly edits: readonly Edit[];
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array; readonly from: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'event'; readonly event: Event }
  | { readonly kind: 'refuse' }
  /** A login is answered: which question, and how. */
  | { readonly kind: 'answer'; readonly which: number; readonly refused?: LoginRefusal }
  /** New options: what each user logs in with. */
  | { readonly kind: 'users'; readonly stamps: Readonly<Record<string, string>> }
  | { readonly kind: 'tls'; readonly who: number };

const small = fc.nat({ max: 7 });
const peerId = fc.constantFrom(0, 0, 1, 2, 5, 5, 7);
const text = fc.oneof(
  fc.constantFrom(PUSH, 'PUSH_REQUEST', 'EXIT', 'RESTART', 'RESTART,[N]', 'AUTH_FAILED', 'HALT', 'INFO,x'),
  fc.constantFrom('AUTH_FAILED,TEMP[backoff 3,advance no]:x', 'AUTH_PENDING,timeout 0', 'AUTH_PENDING'),
  fc.constantFrom(
    `${PUSH},push-continuation 2`,
    'PUSH_REPLY,compress lzo',
    PUSH.replace('peer-id 5', 'verb 3'),
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('flip', 'cut', 'grow', 'join'),
  byte: fc.integer({ min: 1, max: 255 }),
});
const path: fc.Arbitrary<Path> = small.map(host => pathOf(host + 1));
const notice = fc.oneof(
  fc.record({
    kind: fc.constant('peerDeleted' as const),
    peerId,
    reason: fc.constantFrom(...DEL_REASONS),
  }),
  fc.record({ kind: fc.constant('peerFloated' as const), peerId, path }),
  fc.record({
    kind: fc.constantFrom('keyExhausted' as const, 'keyExpiring' as const),
    peerId,
    keyId: small,
  }),
);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('planeNotice' as const), notice }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'tick' as const }) },
  fc.record({
    kind: fc.constant('inner' as const),
    peerId,
    payload: fc.constantFrom(OCC_EXIT_PAYLOAD, new Uint8Array(0), new Uint8Array(20)),
  }),
  fc.record({
    kind: fc.constant('command' as const),
    command: fc.constantFrom('disconnect' as const, 'renegotiate' as const),
    peer: fc.constantFrom('c0', 'c1', 'nobody'),
  }),
  small.map(socket => ({
    kind: 'streamClosed' as const,
    path: { ...pathOf(socket + 1), socket, tcp: true },
    reason: 'closed',
    ...(socket % 2 === 0 && { drop: 'record-length' as const }),
  })),
  fc.constantFrom<Event>(
    { kind: 'shutdown' },
    { kind: 'resolved', addresses: [] },
    { kind: 'resolved', addresses: [ip('192.0.2.5'), ip('fd00::5')] },
    { kind: 'resolveFailed', reason: 'no' },
    { kind: 'socketOpened', socket: 9 },
    { kind: 'socketFailed', reason: 'no' },
  ),
);
const bytes = fc.uint8Array({ maxLength: 120 });
const proto = fc.constantFrom(142, 134, 398, 2, 0, 8);
const refused = fc.record(
  { reason: fc.constant('no'), words: fc.string({ maxLength: 20 }), retryS: small },
  { requiredKeys: ['reason'] },
);
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('talk' as const), who: small }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('open' as const), who: small, proto }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('say' as const), who: small, text }) },
  fc.record({ kind: fc.constant('raw' as const), who: small, bytes }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('rekey' as const), who: small }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('replay' as const),
      which: fc.nat(),
      from: small,
      edits: fc.array(edit, { maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('bytes' as const), bytes, from: small }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.oneof(fc.nat({ max: 3000 }), fc.nat({ max: 100_000 }), fc.nat({ max: 4_000_000 })),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('event' as const), event }) },
  fc.constant({ kind: 'refuse' as const }),
  {
    weight: 6,
    arbitrary: fc.record(
      { kind: fc.constant('answer' as const), which: small, refused },
      { requiredKeys: ['kind', 'which'] },
    ),
  },
  fc.record({
    kind: fc.constant('users' as const),
    stamps: fc.dictionary(fc.constantFrom('u0', 'u1', 'u2'), fc.constantFrom('a', 'b')),
  }),
  fc.record({ kind: fc.constant('tls' as const), who: small }),
);

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

  constructor(bench: B, tls: FakeTls) {
    this.bench = bench;
    this.tls = tls;
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

  #event(event: Event): void {
    if (event.kind === 'planeNotice' && event.notice.kind === 'peerDeleted') {
      const { peerId, reason } = event.notice;
      // The plane says so of what it had; its echoes of our own commands may come at any time.
      const isEcho = reason === 'userspace' || reason === 'teardown';
      if (!isEcho && !this.bench.plane.peers.delete(peerId)) return;
    }
    this.bench.step(event);
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

class ServerArena extends Arena<ServerBench> {
  readonly #wrap: WrapKeys;
  readonly #hasLogin: boolean;
  /** Users somebody said yes to, with what they logged in with; and the newest token. */
  readonly #accepted = new Set<string>();
  #token = 'SESS_ID_AT_x';

  constructor(wrap: { client: WrapKeys; server: WrapKeys }, renegS: number, hasLogin: boolean) {
    const tls = fakeTls({ role: 'server', commonName: 'server' });
    const login = hasLogin ? { login: { users: new Map([['u0', 'a']]) } } : {};
    const options = { wrap: wrap.server, maxClients: MAX_CLIENTS, renegS, handWindowS: 10, ...login };
    super(serverBench(tls, options), tls);
    this.#wrap = wrap.client;
    this.#hasLogin = hasLogin;
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
    ok(byId.size <= MAX_CLIENTS);
    const all = new Set(peers.values());
    for (const [peerId, peer] of byId) {
      ok(all.has(peer), 'a connected peer that nobody finds');
      ok(peer.peerId === peerId && peer.state === 'connected' && peer.keys !== undefined);
    }
    const addresses = [...byId.values()].flatMap(peer => peer.vpnIps.map(String));
    equal(new Set(addresses).size, addresses.length);
    equal(this.bench.state.pools[0]!.used.size, addresses.length);
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

  constructor(wrap: { client: WrapKeys; server: WrapKeys }, renegS: number) {
    const tls = fakeTls({ role: 'client', commonName: 'us' });
    const remotes = ['192.0.2.1', 'vpn.example', 'fd00::1'].map(host => ({
      host,
      port: 1194,
      family: 0 as const,
    }));
    super(clientBench(tls, { wrap: wrap.client, remotes, renegS, handWindowS: 10, pollTimeoutS: 5 }), tls);
    this.#wrap = wrap.server;
    this.bench.step({ kind: 'start' });
  }

  open(who: number, proto: number): void {
    const { bench } = this;
    if (bench.state.phase === 'waiting') bench.pass(bench.timerAt! - bench.now);
    if (bench.state.phase === 'resolving') bench.step({ kind: 'resolved', addresses: [ip('192.0.2.7')] });
    if (bench.state.phase !== 'opening') return;
    bench.sent.length = 0;
    this.adopt(serve(bench, { wrap: this.#wrap }, who + 1));
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

const moves = fc.array(move, { maxLength: 60, size: 'max' });
const wrap = fc.constantFrom(...WRAPS);
const renegS = fc.constantFrom(0, 5, 3600);

const PROPERTIES: Record<string, fc.IPropertyWithHooks<[WrapPair, number, Move[]]>> = {
  'server: any events, any packets': fc.property(wrap, renegS, moves, (wraps, seconds, list) => {
    const arena = new ServerArena(wraps, seconds, list.length % 3 > 0);
    for (const who of [0, 1]) {
      arena.open(who === 0 ? 3 : 1, 142);
      arena.do({ kind: 'talk', who });
      arena.do({ kind: 'answer', which: 0 });
      arena.do({ kind: 'talk', who });
    }
    run(arena, list);
  }),
  'client: any events, any packets': fc.property(wrap, renegS, moves, (wraps, seconds, list) => {
    const arena = new ClientArena(wraps, seconds);
    arena.open(0, list.length % 3);
    run(arena, list);
  }),
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
