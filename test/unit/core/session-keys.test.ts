// SPDX-License-Identifier: Apache-2.0
// A session's keys: negotiation, its end by failure or time, renegotiation, and the texts that follow.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { concat, encodeUtf8 } from '../../../src/core/bytes.ts';
import { RENEGOTIATIONS_PER_MINUTE } from '../../../src/core/limits.ts';
import {
  closeSession,
  failKey,
  introduce,
  isQuiet,
  nextKeyId,
  renegotiate,
  sendText,
  sessionDeadline,
} from '../../../src/core/session.ts';
import { OPCODE } from '../../../src/core/wire.ts';
import { T0 } from './bench.ts';
import { type Ends, ends, failures, give, open, packet, seal, serverReset, shake, talk, up } from './ends.ts';
import { agree } from './fake-tls.ts';
import type { Hand } from './hand.ts';

describe('core/session: key negotiation', () => {
  it('both ends become active, once each, and know the same key', () => {
    const both = up();
    deepEqual(both.client.kinds(), ['keyMethod', 'active']);
    deepEqual(both.server.kinds(), ['keyMethod', 'active']);
    ok(agree(both.client.session.current.tls, both.server.session.current.tls));
    const { current } = both.server.session;
    equal(current.remoteSource!.preMaster!.length, 48);
    deepEqual(current.remoteSource!.random1, both.client.session.current.source!.random1);
    equal(both.client.session.current.remote!.options, 'server');
  });

  it('a server that does not introduce itself stays where it is', () => {
    const both = ends();
    both.server.isMute = true;
    shake(both);
    deepEqual(both.server.kinds(), ['keyMethod']);
    equal(both.server.session.current.phase, 'confirm');
    equal(both.client.session.current.phase, 'keyMethod');
    equal(sendText(both.server.session, 'AUTH_FAILED'), false);
    introduce(both.server.session, both.server.session.current);
    equal(sendText(both.server.session, 'AUTH_FAILED'), true);
    talk(both);
    deepEqual(both.client.texts, ['AUTH_FAILED']);
  });

  it('active only when the last message is acknowledged', () => {
    const both = ends();
    both.client.flush(T0);
    both.client.receive(serverReset(both.client), T0);
    // Everything but what comes after the server's key method message.
    for (let i = 0; i < 3; i++) {
      for (const bytes of both.client.flush(T0)) both.server.receive(bytes, T0);
      if (both.server.session.current.introduced) break;
      for (const bytes of both.server.flush(T0)) both.client.receive(bytes, T0);
    }
    equal(both.server.session.current.phase, 'confirm');
    for (const bytes of both.server.flush(T0)) both.client.receive(bytes, T0);
    both.server.tick(T0);
    equal(both.server.session.current.phase, 'confirm', 'on its way is not there');
    for (const bytes of both.client.flush(T0)) both.server.receive(bytes, T0);
    equal(both.server.session.current.phase, 'active');
  });

  it('a refused certificate fails both ends, by an alert', () => {
    const both = ends({ refuseClient: 'certificate has expired' });
    shake(both);
    deepEqual(failures(both.server), ['certificate has expired']);
    deepEqual(failures(both.client), ['peer sent alert: certificate has expired']);
    equal(both.server.session.current.phase, 'failed');
    equal(sessionDeadline(both.server.session), undefined, 'the alert has arrived and nothing is left');
  });

  it('so does a refused server, and a dead key makes no more outcomes', () => {
    const both = ends({ refuseServer: 'unable to get local issuer certificate' });
    shake(both);
    deepEqual(both.client.kinds(), ['failed']);
    deepEqual(both.server.kinds(), ['failed']);
    both.client.tick(T0 + 100_000);
    both.server.tick(T0 + 100_000);
    deepEqual(both.client.kinds(), ['failed']);
    deepEqual(both.server.kinds(), ['failed']);
  });

  it('key method messages that are none: refused, in both roles', () => {
    for (const bad of [new Uint8Array(0), new Uint8Array(3), new Uint8Array(300), new Uint8Array(3000)]) {
      const both = ends();
      both.server.isMute = true;
      shake(both);
      both.server.session.current.tls.write(bad);
      talk(both);
      deepEqual(failures(both.client), ['malformed key method 2 message']);
    }
    for (const introduction of [{ peerInfo: 'x'.repeat(2000) }, { occ: 'a\0b' }]) {
      const both = ends({ client: introduction });
      shake(both);
      deepEqual(failures(both.server), ['malformed key method 2 message']);
      deepEqual(both.server.kinds(), ['failed']);
    }
  });

  it('a second key method message is no text and changes nothing', () => {
    const both = up();
    const { remote } = both.server.session.current;
    introduce(both.client.session, both.client.session.current);
    talk(both);
    deepEqual(both.server.kinds(), ['keyMethod', 'active']);
    equal(both.server.session.current.remote, remote);
  });
});

describe('core/session: hand window', () => {
  it('no answer at all', () => {
    const { client } = ends();
    client.flush(T0);
    client.tick(T0 + 59_999);
    equal(failures(client)[0], undefined);
    equal(client.session.current.phase, 'reset');
    client.tick(T0 + 60_000);
    equal(failures(client)[0], 'no answer within 60 s');
  });

  it('silence in the TLS handshake hints at the certificate', () => {
    const { client } = ends();
    client.flush(T0);
    client.receive(serverReset(client), T0);
    client.tick(T0 + 60_000);
    equal(
      failures(client)[0],
      'TLS negotiation not finished (does the other side trust our certificate?) within 60 s',
    );
  });

  it('later silence does not', () => {
    const both = ends();
    both.server.isMute = true;
    shake(both);
    both.server.tick(T0 + 60_000);
    equal(failures(both.server)[0], 'TLS negotiation not finished within 60 s');
  });

  it('does not touch an active key, and has a deadline until then', () => {
    const both = ends();
    equal(sessionDeadline(both.client.session), T0);
    both.client.flush(T0);
    equal(sessionDeadline(both.client.session), T0 + 500);
    equal(sessionDeadline(both.server.session), T0 + 60_000);
    both.client.receive(serverReset(both.client), T0);
    talk(both);
    equal(sessionDeadline(both.client.session), undefined);
    both.client.tick(T0 + 600_000);
    both.server.tick(T0 + 600_000);
    deepEqual([...both.client.kinds(), ...both.server.kinds()].includes('failed'), false);
  });

  it('failKey ends a negotiation without an outcome', () => {
    const { server } = ends();
    failKey(server.session.current);
    server.tick(T0 + 60_000);
    deepEqual(server.outcomes, []);
  });
});

describe('core/session: after', () => {
  it('what comes for a dead key is acknowledged, not kept', () => {
    const both = up();
    failKey(both.server.session.current);
    const [engine] = both.serverTls.engines;
    const before = engine!.fed;
    sendText(both.client.session, 'x'.repeat(900));
    const packets = both.client.flush(T0);
    ok(packets.length > 0);
    for (const bytes of packets) both.server.receive(bytes, T0);
    equal(engine!.fed, before);
    talk(both);
    ok(isQuiet(both.client.session));
  });

  it('closing frees every TLS session', () => {
    const both = up();
    renegotiate(both.client.session, T0);
    talk(both);
    closeSession(both.client.session);
    closeSession(both.server.session);
    equal(both.clientTls.living() + both.serverTls.living(), 0);
    deepEqual(talk(both), []);
    both.client.tick(T0 + 1);
  });

  it('quiet means nothing unacknowledged and nothing unsent', () => {
    const both = up();
    ok(isQuiet(both.client.session));
    sendText(both.client.session, 'EXIT');
    equal(isQuiet(both.client.session), false);
    const packets = both.client.flush(T0);
    equal(isQuiet(both.client.session), false);
    for (const bytes of packets) both.server.receive(bytes, T0);
    talk(both);
    ok(isQuiet(both.client.session));
  });

  it('key ids run 0, 1..7, 1..7', () => {
    const ids = [0];
    for (let i = 0; i < 15; i++) ids.push(nextKeyId(ids.at(-1)!));
    deepEqual(ids, [0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1]);
  });
});

describe('core/session: renegotiation', () => {
  const softReset = (from: Hand, keyId: number, messageId = 0) =>
    packet(from, { opcode: OPCODE.softReset, keyId, messageId });

  it('either end starts it, with a soft reset of the next key id, message 0', () => {
    for (const starter of ['client', 'server'] as const) {
      const both = up();
      const key = renegotiate(both[starter].session, T0);
      equal(key?.keyId, 1);
      const [first] = both[starter].flush(T0);
      const { opcode, keyId, messageId } = open(first!);
      deepEqual([opcode, keyId, messageId], [OPCODE.softReset, 1, 0]);
      const other = both[starter === 'client' ? 'server' : 'client'];
      other.receive(first!, T0);
      talk(both);
      deepEqual(both[starter].kinds().slice(2), ['keyMethod', 'active']);
      deepEqual(other.kinds().slice(2), ['renegotiating', 'keyMethod', 'active']);
      ok(agree(both.client.session.current.tls, both.server.session.current.tls));
    }
  });

  it('both at once is one renegotiation', () => {
    const both = up();
    renegotiate(both.client.session, T0);
    renegotiate(both.server.session, T0);
    talk(both);
    deepEqual(both.client.kinds().slice(2), ['keyMethod', 'active']);
    deepEqual(both.server.kinds().slice(2), ['keyMethod', 'active']);
    equal(both.client.session.current.keyId, 1);
    equal(both.server.session.current.keyId, 1);
  });

  it('many times, with key ids that never come back to 0; every old TLS session is closed', () => {
    const both = up();
    const ids: number[] = [];
    for (let i = 0; i < 16; i++) {
      renegotiate(both[i % 3 === 0 ? 'server' : 'client'].session, T0 + i);
      talk(both, T0 + i);
      equal(both.server.session.current.phase, 'active');
      equal(both.client.session.current.keyId, both.server.session.current.keyId);
      ids.push(both.client.session.current.keyId);
      equal(both.clientTls.living(), 1);
      equal(both.serverTls.living(), 1);
    }
    deepEqual(ids, [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 1, 2]);
  });

  it('a peer that asks too often waits for the next minute', () => {
    const both = up();
    const again = (now: number): boolean => {
      renegotiate(both.client.session, now);
      const before = both.server.session.current.keyId;
      for (const bytes of both.client.flush(now)) both.server.receive(bytes, now);
      return both.server.session.current.keyId !== before;
    };
    for (let i = 0; i < RENEGOTIATIONS_PER_MINUTE; i++) {
      ok(again(T0), `${i}`);
      talk(both);
    }
    equal(again(T0 + 1000), false);
    for (const bytes of both.client.flush(T0 + 61_000)) both.server.receive(bytes, T0 + 61_000);
    equal(both.server.session.current.keyId, both.client.session.current.keyId);
  });

  it('not before the first key is active, and not twice at a time', () => {
    const both = ends();
    equal(renegotiate(both.client.session, T0), undefined);
    equal(renegotiate(both.server.session, T0), undefined);
    equal(give(both.server, seal(both.server, softReset(both.client, 1))), 'key-out-of-sync');
    equal(both.server.session.current.keyId, 0);
    shake(both);
    ok(renegotiate(both.client.session, T0) !== undefined);
    equal(renegotiate(both.client.session, T0), undefined);
    equal(both.client.session.current.keyId, 1);
  });

  it('a soft reset with another id or another key is refused', () => {
    const { client, server } = up();
    equal(give(server, seal(server, softReset(client, 1, 1))), 'reset-id');
    equal(give(server, seal(server, softReset(client, 2))), 'key-id');
    equal(give(server, seal(server, softReset(client, 7))), 'key-id');
    equal(give(server, seal(server, softReset(client, 0))), 'key-id');
    equal(server.session.current.keyId, 0);
    equal(give(server, seal(server, packet(client, { keyId: 1, messageId: 0 }))), 'key-id');
    equal(give(server, seal(server, softReset(client, 1))), undefined);
    equal(give(server, seal(server, softReset(client, 1))), 'duplicate');
    equal(server.session.current.keyId, 1);
    equal(give(server, seal(server, softReset(client, 2))), 'key-out-of-sync');
  });

  it('a renegotiation that takes too long fails', () => {
    const { client } = up();
    renegotiate(client.session, T0 + 1000);
    client.flush(T0 + 1000);
    client.tick(T0 + 60_999);
    deepEqual(failures(client), []);
    client.tick(T0 + 61_000);
    deepEqual(failures(client), ['TLS negotiation not finished within 60 s']);
  });

  it('the key before only acknowledges what is repeated', () => {
    const both = up();
    sendText(both.client.session, 'PUSH_REQUEST');
    const [late] = both.client.flush(T0);
    renegotiate(both.server.session, T0);
    const before = both.server.session.previous;
    both.server.flush(T0);
    equal(give(both.server, late!), undefined);
    deepEqual(both.server.texts, [], "texts of an old key are nobody's");
    const [ack] = both.server.flush(T0);
    const { opcode, keyId, acks } = open(ack!);
    deepEqual([opcode, keyId, acks[0]], [OPCODE.ack, 0, before!.reliable.receiveNext - 1]);
    equal(give(both.server, late!), 'duplicate');
    deepEqual(
      both.server.flush(T0).map(bytes => open(bytes).keyId),
      [0],
    );
    // Two keys back is gone.
    talk(both, T0 + 500);
    ok(renegotiate(both.server.session, T0 + 500) !== undefined);
    equal(give(both.server, late!), 'key-id');
  });

  it('what was on its way on the old key is still resent', () => {
    const both = up();
    sendText(both.server.session, 'PUSH_REPLY');
    const lost = both.server.flush(T0);
    renegotiate(both.server.session, T0 + 10);
    talk(both, T0 + 10);
    const again = both.server.flush(T0 + 500);
    deepEqual(
      again.map(bytes => open(bytes).messageId),
      lost.map(bytes => open(bytes).messageId),
    );
    both.client.receive(again[0]!, T0 + 500);
    talk(both, T0 + 500);
    equal(sessionDeadline(both.server.session), undefined);
  });
});

describe('core/session: texts', () => {
  const heard = (from: (both: Ends) => void): string[] => {
    const both = up();
    from(both);
    talk(both);
    return both.server.texts;
  };

  it('one record, one text, without its NUL and line end', () => {
    deepEqual(
      heard(both => sendText(both.client.session, 'PUSH_REQUEST')),
      ['PUSH_REQUEST'],
    );
    deepEqual(
      heard(both => both.client.session.current.tls.write(encodeUtf8('EXIT\r\n\0'))),
      ['EXIT'],
    );
  });

  it('a record is split at NULs; empty pieces and a rest without NUL are left out', () => {
    const record = encodeUtf8('A\0\0B,c\0rest');
    deepEqual(
      heard(both => both.client.session.current.tls.write(record)),
      ['A', 'B,c'],
    );
    deepEqual(
      heard(both => both.client.session.current.tls.write(encodeUtf8('no end'))),
      [],
    );
  });

  it('a piece with control characters is dropped, its neighbours are not', () => {
    const record = encodeUtf8('A\0B\x07\0C\x1b[31m\0D\nE\0F\u0085\0G\0');
    deepEqual(
      heard(both => both.client.session.current.tls.write(record)),
      ['A', 'G'],
    );
  });

  it('too long a piece or record is dropped', () => {
    const text = (length: number) => concat(new Uint8Array(length).fill(0x41), new Uint8Array(1));
    equal(heard(both => both.client.session.current.tls.write(text(1023)))[0]?.length, 1023);
    deepEqual(
      heard(both => both.client.session.current.tls.write(text(1024))),
      [],
    );
    deepEqual(
      heard(both => both.client.session.current.tls.write(text(60_000))),
      [],
    );
  });

  it('none is sent before our key method message is', () => {
    const { client } = ends();
    equal(sendText(client.session, 'EXIT'), false);
    const both = up();
    renegotiate(both.client.session, T0);
    equal(sendText(both.client.session, 'EXIT'), false);
    talk(both);
    equal(sendText(both.client.session, 'EXIT'), true);
  });
});
