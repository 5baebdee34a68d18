// SPDX-License-Identifier: Apache-2.0
// Two sessions face to face, without the endpoints around them.

import { equal } from 'node:assert/strict';
import { type Drop, isDrop } from '../../../src/core/drop.ts';
import { openServerSession, receivePacket } from '../../../src/core/session.ts';
import { type ControlPacket, OPCODE } from '../../../src/core/wire.ts';
import { createWrap, noWrap, openStateless, type WrapKeys } from '../../../src/core/wrap.ts';
import { coreDeps, crypto, T0 } from './bench.ts';
import { type FakeTls, fakeTls } from './fake-tls.ts';
import { clientHand, Hand, type HandOptions, pathOf } from './hand.ts';

export const SERVER_SID = new Uint8Array([9, 8, 7, 6, 5, 4, 3, 2]);

export interface Ends {
  readonly client: Hand;
  readonly server: Hand;
  readonly clientTls: FakeTls;
  readonly serverTls: FakeTls;
}

export interface EndsOptions {
  readonly wrap?: readonly [client: WrapKeys, server: WrapKeys];
  readonly ipOverhead?: number;
  readonly refuseClient?: string;
  readonly refuseServer?: string;
  readonly chainLength?: number;
  readonly client?: HandOptions;
  readonly zeroExporter?: boolean;
}

/** A client that has sent nothing yet, and the server its stateless reset exchange will lead to. */
export function ends(options: EndsOptions = {}): Ends {
  const { refuseClient, refuseServer, chainLength = 0, ipOverhead = 28, zeroExporter = false } = options;
  const clientTls = fakeTls({ role: 'client', commonName: 'alice', chainLength, refuse: () => refuseServer });
  const serverTls = fakeTls({
    role: 'server',
    commonName: 'server',
    chainLength,
    refuse: () => refuseClient,
    zeroExporter,
  });
  const [clientWrap, serverWrap] = options.wrap ?? [noWrap(), noWrap()];
  const client = clientHand({ tls: clientTls, wrap: clientWrap, ...options.client }, T0);
  Object.assign(client.session.options, { ipOverhead });
  const session = openServerSession(
    {
      role: 'server',
      wrap: serverWrap,
      handWindowMs: 60_000,
      ipOverhead,
      introduce: { options: 'server', peerInfo: '' },
    },
    coreDeps(serverTls, 77),
    SERVER_SID,
    client.session.localSid,
    T0,
  );
  return { client, server: new Hand(session, pathOf()), clientTls, serverTls };
}

/** What the stateless part of a server says. */
export function serverReset(client: Hand, more: Partial<ControlPacket> = {}): Uint8Array {
  return seal(client, {
    opcode: OPCODE.hardResetServerV2,
    keyId: 0,
    sessionId: SERVER_SID,
    acks: [0],
    remoteSessionId: client.session.localSid,
    messageId: 0,
    payload: new Uint8Array(0),
    ...more,
  });
}

export function seal(to: Hand, packet: ControlPacket): Uint8Array {
  const { keys } = to.session.wrap;
  const wrap = keys.kind === 'none' ? keys : { ...keys, send: keys.receive, receive: keys.send };
  return createWrap(wrap as WrapKeys, crypto, 1_700_000_000).seal(packet);
}

/** Takes a packet by hand; the reason when it was dropped. */
export function give(to: Hand, bytes: Uint8Array, now = T0): string | undefined {
  const refused: Drop | undefined = receivePacket(to.session, bytes, now, to.outcomes);
  return refused?.drop;
}

/** Packets go to and fro until both ends are silent; returns all of them. */
export function talk({ client, server }: Ends, now = T0): Uint8Array[] {
  const all: Uint8Array[] = [];
  for (let round = 0; round < 100; round++) {
    const fromClient = client.flush(now);
    const fromServer = server.flush(now);
    if (fromClient.length + fromServer.length === 0) break;
    all.push(...fromClient, ...fromServer);
    for (const bytes of fromClient) server.receive(bytes, now);
    for (const bytes of fromServer) client.receive(bytes, now);
  }
  return all;
}

export function up(options: EndsOptions = {}): Ends {
  const both = ends(options);
  shake(both);
  equal(both.client.session.current.phase, 'active');
  equal(both.server.session.current.phase, 'active');
  return both;
}

export function open(bytes: Uint8Array): ControlPacket {
  const packet = openStateless(noWrap(), crypto, bytes);
  if (isDrop(packet)) throw new Error(packet.drop);
  return packet;
}

export const packet = (from: Hand, more: Partial<ControlPacket> = {}): ControlPacket => ({
  opcode: OPCODE.control,
  keyId: 0,
  sessionId: from.session.localSid,
  acks: [],
  messageId: 40,
  payload: new Uint8Array(0),
  ...more,
});

/** Both resets are exchanged and everything after them. */
export function shake(both: Ends): void {
  both.client.flush(T0);
  both.client.receive(serverReset(both.client), T0);
  talk(both);
}

/** Why keys failed, in order. */
export function failures(hand: Hand): string[] {
  return hand.outcomes.flatMap(outcome => (outcome.kind === 'failed' ? outcome.reason : []));
}
