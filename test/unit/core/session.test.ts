// SPDX-License-Identifier: Apache-2.0
// One control session, packet by packet. Keys and what is said on them are in session-keys.test.ts.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { ACKS_PIGGYBACK_MAX } from '../../../src/core/limits.ts';
import { sendText } from '../../../src/core/session.ts';
import { OPCODE } from '../../../src/core/wire.ts';
import { noWrap, tlsAuthKeys, tlsCryptKeys, type WrapKeys } from '../../../src/core/wrap.ts';
import { createChance } from '../../sim/random.ts';
import { T0 } from './bench.ts';
import { ends, give, open, packet, SERVER_SID, seal, serverReset, talk, up } from './ends.ts';

const STATIC_KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 11 + 3) & 255);

describe('core/session: reset exchange', () => {
  it('a client begins with an empty hard reset, id 0, key 0, no acks', () => {
    const { client } = ends();
    const [first, ...more] = client.flush(T0);
    equal(more.length, 0);
    const { opcode, keyId, messageId, acks, payload } = open(first!);
    deepEqual([opcode, keyId, messageId, acks.length, payload.length], [7, 0, 0, 0, 0]);
  });

  it('its first packet after the reset acks id 0 and names the server', () => {
    const { client } = ends();
    client.flush(T0);
    equal(give(client, serverReset(client)), undefined);
    const [first] = client.flush(T0);
    const { opcode, acks, remoteSessionId, messageId } = open(first!);
    equal(opcode, OPCODE.control);
    deepEqual(acks, [0]);
    deepEqual(remoteSessionId, SERVER_SID);
    equal(messageId, 1);
  });

  it('resends the same reset with the same session id until it is answered', () => {
    const { client } = ends();
    const [first] = client.flush(T0);
    deepEqual(client.flush(T0 + 499), []);
    deepEqual(client.flush(T0 + 500), [first]);
  });

  it('TLS waits for the ack of our own reset', () => {
    const { client } = ends();
    client.flush(T0);
    const unacked = packet(client, { opcode: OPCODE.hardResetServerV2, messageId: 0, sessionId: SERVER_SID });
    equal(give(client, seal(client, unacked)), undefined);
    equal(client.session.current.phase, 'reset');
    deepEqual(
      client.flush(T0).map(bytes => open(bytes).opcode),
      [OPCODE.ack],
    );
    equal(give(client, serverReset(client)), 'duplicate');
    equal(client.session.current.phase, 'tls');
  });

  it('refuses a reset that is not packet 0 or comes from somebody else', () => {
    const { client } = ends();
    client.flush(T0);
    equal(give(client, serverReset(client, { messageId: 1 })), 'reset-id');
    equal(give(client, serverReset(client, { remoteSessionId: SERVER_SID })), 'remote-session-id');
    equal(client.session.remoteSid, undefined);
    equal(client.session.remoteSid, undefined);
    equal(give(client, serverReset(client)), undefined);
    equal(give(client, serverReset(client, { sessionId: new Uint8Array(8).fill(7) })), 'session-id');
    deepEqual(client.session.remoteSid, SERVER_SID);
  });

  it('before the reset a client takes nothing else', () => {
    const { client } = ends();
    client.flush(T0);
    for (const opcode of [OPCODE.control, OPCODE.ack, OPCODE.softReset] as const) {
      const { messageId: _, ...ack } = packet(client, { opcode, sessionId: SERVER_SID });
      const one =
        opcode === OPCODE.ack
          ? { ...ack, acks: [0], remoteSessionId: client.session.localSid }
          : { ...ack, messageId: 0, keyId: opcode === OPCODE.softReset ? 1 : 0 };
      ok(give(client, seal(client, one)) !== undefined, `opcode ${opcode}`);
    }
    equal(client.session.remoteSid, undefined);
    equal(client.session.remoteSid, undefined);
    ok(client.session.current.reliable.outgoing.length === 1, 'the reset is still on its way');
  });

  it('a server takes no hard reset in a session, a client none of a client', () => {
    const { client, server } = up();
    const reset = packet(client, { opcode: OPCODE.hardResetClientV2, messageId: 0 });
    equal(give(server, seal(server, reset)), 'opcode');
    const other = packet(client, { opcode: OPCODE.hardResetServerV2, messageId: 0 });
    equal(give(server, seal(server, other)), 'opcode');
    equal(give(client, seal(client, { ...reset, sessionId: SERVER_SID })), 'opcode');
    for (const opcode of [OPCODE.hardResetClientV3, OPCODE.controlWkc] as const) {
      equal(give(server, seal(server, packet(client, { opcode }))), 'opcode');
    }
  });

  it('a reset that comes again, even late, is only acknowledged', () => {
    const { client } = up();
    client.outcomes.length = 0;
    equal(give(client, serverReset(client)), 'duplicate');
    const [ack] = client.flush(T0 + 1);
    ok(open(ack!).acks.includes(0));
    deepEqual(client.outcomes, []);
  });
});

describe('core/session: whose packet', () => {
  it('both session ids must fit', () => {
    const both = up();
    for (const [from, to] of [
      [both.client, both.server],
      [both.server, both.client],
    ] as const) {
      const stranger = new Uint8Array(8).fill(1);
      equal(give(to, seal(to, packet(from, { sessionId: stranger }))), 'session-id');
      const wrong = packet(from, { acks: [0], remoteSessionId: stranger });
      equal(give(to, seal(to, wrong)), 'remote-session-id');
      for (let i = 0; i < 8; i++) {
        const near = to.session.localSid.slice();
        near[i]! ^= 1;
        const close = packet(from, { acks: [0], remoteSessionId: near });
        equal(give(to, seal(to, close)), 'remote-session-id');
      }
      const id = from.session.current.reliable.sendNext;
      const right = packet(from, { acks: [0], remoteSessionId: to.session.localSid, messageId: id });
      equal(give(to, seal(to, right)), undefined, 'an empty control packet is legal');
    }
  });

  it('drops what is too long, too short, too far ahead or of no session', () => {
    const { client, server } = up();
    equal(give(server, new Uint8Array(2049).fill(0x20)), 'long');
    equal(give(server, new Uint8Array(2048).fill(0x20)), 'ack-count');
    equal(give(server, new Uint8Array(8).fill(0x20)), 'short');
    equal(give(server, new Uint8Array(0)), 'short');
    equal(give(server, seal(server, packet(client, { messageId: 400 }))), 'window');
    deepEqual(server.flush(T0), [], 'nothing outside the window is acknowledged');
    equal(give(server, seal(server, packet(client, { keyId: 3 }))), 'key-id');
  });

  it('borrowed bytes are copied', () => {
    const both = up();
    sendText(both.client.session, 'PUSH_REQUEST');
    const [bytes] = both.client.flush(T0);
    const late = bytes!.slice();
    // Out of order: what is kept must not change under the core's feet.
    sendText(both.client.session, 'EXIT');
    const [next] = both.client.flush(T0);
    both.server.receive(next!, T0);
    next!.fill(0xff);
    both.server.receive(late, T0);
    deepEqual(both.server.texts, ['PUSH_REQUEST', 'EXIT']);
  });
});

describe('core/session: sizes', () => {
  const wraps: [string, readonly [WrapKeys, WrapKeys]][] = [
    ['none', [noWrap(), noWrap()]],
    ['tls-auth', [tlsAuthKeys(STATIC_KEY, 1, 'SHA512'), tlsAuthKeys(STATIC_KEY, 0, 'SHA512')]],
    ['tls-crypt', [tlsCryptKeys(STATIC_KEY, 'client'), tlsCryptKeys(STATIC_KEY, 'server')]],
  ];
  for (const [name, wrap] of wraps) {
    for (const ipOverhead of [28, 48]) {
      it(`${name} over IPv${ipOverhead === 28 ? 4 : 6}: no packet above 1250 bytes with its headers`, () => {
        const both = ends({ wrap, ipOverhead, chainLength: 9000 });
        both.client.flush(T0);
        both.client.receive(serverReset(both.client), T0);
        const sizes = talk(both).map(bytes => bytes.length + ipOverhead);
        equal(both.client.session.current.phase, 'active');
        const largest = Math.max(...sizes);
        // tls-crypt leaves room for a block it does not use.
        const spare = name === 'tls-crypt' ? 16 : 0;
        ok(largest <= 1250 - spare && largest > 1250 - spare - 4 * ACKS_PIGGYBACK_MAX - 1, `${largest}`);
      });
    }
  }

  it('any bytes of any length behind a good head are looked at without harm', () => {
    const { client, server } = up();
    const chance = createChance(5);
    for (let length = 9; length <= 2100; length += 3) {
      const bytes = chance.bytes(length);
      bytes[0] = [0x20, 0x21, 0x28, 0x19, 0x38, 0x40][length % 6]!;
      bytes.set(client.session.localSid, 1);
      give(server, bytes);
      ok(server.session.current.reliable.incoming.filter(payload => payload !== undefined).length < 12);
    }
    equal(server.session.current.phase, 'active');
  });
});
