// SPDX-License-Identifier: Apache-2.0
// The other end, led by hand: a session with fake TLS against a bench. As a client it connects to a server under
// test; as a server it answers a client under test.

import { type Path, pathKey } from '../../../src/core/address.ts';
import { encodeUtf8 } from '../../../src/core/bytes.ts';
import type { ClientOptions } from '../../../src/core/clientstate.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { OCC_EXIT_PAYLOAD } from '../../../src/core/options.ts';
import type { ServerOptions } from '../../../src/core/server.ts';
import {
  flushSession,
  introduce,
  type Outcome,
  openClientSession,
  openServerSession,
  receivePacket,
  renegotiate,
  type Session,
  type SessionOptions,
  sendText,
  tickSession,
} from '../../../src/core/session.ts';
import { OPCODE } from '../../../src/core/wire.ts';
import { createWrap, noWrap, openStateless, type WrapKeys } from '../../../src/core/wrap.ts';
import {
  type Bench,
  type ClientBench,
  clientBench,
  coreDeps,
  crypto,
  ip,
  type ServerBench,
  serverBench,
} from './bench.ts';
import { type FakeTls, fakeTls } from './fake-tls.ts';

/** All a present client can: v2 packets, request-push, exporter, cc-exit. */
export const PROTO_ALL = 2 + 4 + 8 + 128;
export const CIPHERS = 'AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305';

export function peerInfo(proto: number, more: Record<string, string> = { IV_CIPHERS: CIPHERS }): string {
  const lines = Object.entries({ IV_PROTO: String(proto), ...more });
  return lines.map(([key, value]) => `${key}=${value}\n`).join('');
}

export function pathOf(host = 1, port = 40000, address = `198.51.100.${host}`): Path {
  return { socket: 1, remote: { ip: ip(address), port } };
}

export interface HandOptions {
  readonly commonName?: string;
  readonly peerInfo?: string;
  readonly occ?: string;
  readonly path?: Path;
  readonly wrap?: WrapKeys;
  readonly seed?: number;
  readonly tls?: FakeTls;
  readonly username?: string;
  readonly password?: string;
}

let seeds = 1000;

/** One end of a session with what it heard. */
export class Hand {
  readonly texts: string[] = [];
  readonly outcomes: Outcome[] = [];
  readonly session: Session;
  readonly path: Path;
  /** A server's hand answers key method messages unless told otherwise. */
  isMute = false;

  constructor(session: Session, path: Path) {
    this.session = session;
    this.path = path;
  }

  receive(bytes: Uint8Array, now: number): void {
    const outcomes: Outcome[] = [];
    receivePacket(this.session, bytes, now, outcomes);
    this.#take(outcomes);
  }

  tick(now: number): void {
    const outcomes: Outcome[] = [];
    tickSession(this.session, now, outcomes);
    this.#take(outcomes);
  }

  #take(outcomes: Outcome[]): void {
    this.outcomes.push(...outcomes);
    for (const outcome of outcomes) {
      if (outcome.kind === 'text') this.texts.push(outcome.text);
      const isAsked = outcome.kind === 'keyMethod' && this.session.options.role === 'server';
      if (isAsked && !this.isMute) introduce(this.session, outcome.key);
    }
  }

  flush(now: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    flushSession(this.session, now, bytes => out.push(bytes));
    return out;
  }

  kinds(): string[] {
    return this.outcomes.map(outcome => outcome.kind);
  }
}

export function clientHand(options: HandOptions, now: number): Hand {
  const tls = options.tls ?? fakeTls({ role: 'client', commonName: options.commonName ?? 'alice' });
  const sessionOptions: SessionOptions = {
    role: 'client',
    wrap: options.wrap ?? noWrap(),
    handWindowMs: 60_000,
    ipOverhead: 28,
    introduce: {
      options: options.occ ?? '',
      peerInfo: options.peerInfo ?? peerInfo(PROTO_ALL),
      ...(options.username !== undefined && { username: options.username }),
      ...(options.password !== undefined && { password: options.password }),
    },
  };
  const deps = coreDeps(tls, options.seed ?? ++seeds);
  return new Hand(openClientSession(sessionOptions, deps, now), options.path ?? pathOf());
}

/** Packets go to and fro at one moment until both are silent. */
export function converse(bench: Bench, ...hands: Hand[]): void {
  for (let isBusy = true; isBusy; ) {
    isBusy = false;
    for (const { path, bytes } of bench.takeSent()) {
      for (const hand of hands) {
        if (pathKey(path) !== pathKey(hand.path)) continue;
        hand.receive(bytes, bench.now);
        isBusy = true;
      }
    }
    for (const hand of hands) {
      for (const bytes of hand.flush(bench.now)) {
        bench.step({ kind: 'datagram', path: hand.path, bytes });
        isBusy = true;
      }
    }
  }
}

/** A client by hand connects to the server under test, as far as the server lets it. */
export function join(bench: ServerBench, options: HandOptions = {}): Hand {
  const hand = clientHand(options, bench.now);
  converse(bench, hand);
  return hand;
}

export function say(bench: Bench, hand: Hand, text: string): void {
  sendText(hand.session, text);
  converse(bench, hand);
}

/** Writes raw plaintext as one record. */
export function sayRaw(bench: Bench, hand: Hand, plaintext: Uint8Array | string): void {
  hand.session.current.tls.write(typeof plaintext === 'string' ? encodeUtf8(plaintext) : plaintext);
  converse(bench, hand);
}

export function rekey(bench: Bench, hand: Hand): void {
  renegotiate(hand.session, bench.now);
  converse(bench, hand);
}

export function occExit(bench: Bench, peerId: number): void {
  bench.step({ kind: 'inner', peerId, payload: OCC_EXIT_PAYLOAD.slice() });
}

/** The name of a server by hand. */
export const SERVER_OCC = 'V4,dev-type tun,tls-server';

/**
 * Answers the client's reset and becomes its server: opens the socket the client asked for, and returns the hand
 * before the TLS handshake (`converse` goes on from there).
 */
export function serve(bench: ClientBench, options: HandOptions = {}, socket = 7): Hand {
  if (bench.state.phase === 'idle') bench.step({ kind: 'start' });
  if (bench.state.phase === 'opening') bench.step({ kind: 'socketOpened', socket });
  const reset = bench.takeSent().at(-1)!;
  const wrap = options.wrap ?? noWrap();
  const packet = openStateless(wrap, crypto, reset.bytes);
  if (isDrop(packet) || packet.opcode !== OPCODE.hardResetClientV2) throw new Error('no reset');
  const tls = options.tls ?? fakeTls({ role: 'server', commonName: options.commonName ?? 'server' });
  const deps = coreDeps(tls, options.seed ?? ++seeds);
  const localSid = deps.random(8);
  const bytes = createWrap(wrap, crypto, deps.wallS()).seal({
    opcode: OPCODE.hardResetServerV2,
    keyId: 0,
    sessionId: localSid,
    acks: [0],
    remoteSessionId: packet.sessionId,
    messageId: 0,
    payload: new Uint8Array(0),
  });
  const session = openServerSession(
    {
      role: 'server',
      wrap,
      handWindowMs: 60_000,
      ipOverhead: 28,
      introduce: { options: options.occ ?? SERVER_OCC, peerInfo: options.peerInfo ?? '' },
    },
    deps,
    localSid,
    packet.sessionId,
    bench.now,
  );
  bench.step({ kind: 'datagram', path: reset.path, bytes });
  return new Hand(session, reset.path);
}

export const PUSH =
  'PUSH_REPLY,topology subnet,route-gateway 10.8.0.1,ifconfig 10.8.0.2 255.255.255.0,ping 10,ping-restart 60,peer-id 5,cipher AES-256-GCM,protocol-flags cc-exit tls-ekm';

/** A client all the way to connected. */
export function connected(bench: ClientBench, push = PUSH, options: HandOptions = {}): Hand {
  const hand = serve(bench, options);
  converse(bench, hand);
  say(bench, hand, push);
  return hand;
}

export interface Server extends ServerBench {
  readonly tls: FakeTls;
}

/** A server under test. */
export function server(more: Partial<ServerOptions> = {}): Server {
  const tls = fakeTls({ role: 'server', commonName: 'server' });
  return Object.assign(serverBench(tls, more), { tls });
}

/** Names of the connected clients. */
export function alive(bench: ServerBench): string[] {
  return [...bench.state.byId.values()].map(peer => peer.name);
}

export interface Client extends ClientBench {
  readonly tls: FakeTls;
}

/** A client under test. */
export function client(more: Partial<ClientOptions> = {}, seed = 2): Client {
  const tls = fakeTls({ role: 'client', commonName: 'router' });
  return Object.assign(clientBench(tls, more, seed), { tls });
}

/** A client and its server with all negotiated but the push reply. */
export function negotiated(bench: ClientBench, options: HandOptions = {}): Hand {
  const hand = serve(bench, options);
  converse(bench, hand);
  return hand;
}
