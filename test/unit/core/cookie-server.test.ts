// SPDX-License-Identifier: Apache-2.0
// Strangers at a server's door: nothing is kept before the cookie comes back, and only the right one opens. Each
// acceptance has its refusal beside it.

import { deepEqual, equal, notDeepEqual } from 'node:assert/strict';
import type { Path } from '../../../src/core/address.ts';
import { writeU32 } from '../../../src/core/bytes.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { type ControlPacket, OPCODE } from '../../../src/core/wire.ts';
import {
  createWrap,
  noWrap,
  openStateless,
  tlsAuthKeys,
  tlsCryptKeys,
  type WrapKeys,
} from '../../../src/core/wrap.ts';
import { crypto, ip, type ServerBench, serverBench, T0 } from './bench.ts';
import { fakeTls } from './fake-tls.ts';
import { join, pathOf } from './hand.ts';

const STATIC_KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 5 + 1) & 255);
const CLIENT_SID = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
const EMPTY = new Uint8Array(0);

function door(wrap: WrapKeys = noWrap()): ServerBench {
  return serverBench(fakeTls({ role: 'server', commonName: 'server' }), { wrap });
}

const reset = (sessionId: Uint8Array = CLIENT_SID, more: Partial<ControlPacket> = {}): ControlPacket => ({
  opcode: OPCODE.hardResetClientV2,
  keyId: 0,
  sessionId,
  acks: [],
  messageId: 0,
  payload: EMPTY,
  ...more,
});

function knock(
  bench: ServerBench,
  packet: ControlPacket,
  path: Path = pathOf(),
  wrap: WrapKeys = noWrap(),
): ControlPacket[] {
  const bytes = createWrap(wrap, crypto, 1_700_000_000).seal(packet);
  bench.step({ kind: 'datagram', path, bytes });
  return bench.takeSent().map(sent => {
    const answer = openStateless(wrap, crypto, sent.bytes);
    if (isDrop(answer)) throw new Error(answer.drop);
    return answer;
  });
}

/** The cookie given to a client. */
function cookieFor(bench: ServerBench, sessionId = CLIENT_SID, path = pathOf()): Uint8Array {
  return knock(bench, reset(sessionId), path)[0]!.sessionId;
}

/** The first packet after the reset. */
const first = (cookie: Uint8Array, more: Partial<ControlPacket> = {}): ControlPacket => ({
  opcode: OPCODE.control,
  keyId: 0,
  sessionId: CLIENT_SID,
  acks: [0],
  remoteSessionId: cookie,
  messageId: 1,
  payload: EMPTY,
  ...more,
});

const ack = (cookie: Uint8Array, acks: readonly number[] = [0]): ControlPacket => {
  const { messageId: _, ...packet } = first(cookie);
  return { ...packet, opcode: OPCODE.ack, acks };
};

/** Sources enough that none of them is one too many. */
const many = (i: number): Path => pathOf(1 + (i % 100), 1024 + i);
/** Answers that count in the present period. */
const answersOf = (bench: ServerBench): number =>
  Object.values(bench.state.gate.budgets).reduce((sum, { answers }) => sum + answers, 0);

const sessions = (bench: ServerBench): number => bench.state.peers.size;

describe('core/server: hard resets', () => {
  it('one reply: reset 0, ack 0, a session id that is no secret of ours', () => {
    const bench = door();
    const answers = knock(bench, reset());
    equal(answers.length, 1);
    const [answer] = answers;
    deepEqual(
      [answer!.opcode, answer!.keyId, answer!.messageId, answer!.acks, answer!.remoteSessionId],
      [OPCODE.hardResetServerV2, 0, 0, [0], CLIENT_SID],
    );
    notDeepEqual(answer!.sessionId, cookieFor(door(), CLIENT_SID, pathOf(2)));
    equal(sessions(bench), 0);
    equal(bench.timerAt, undefined, 'nothing to do later');
    bench.pass(60_000);
    deepEqual(bench.takeSent(), [], 'and never again');
  });

  it('10,000 of them leave nothing behind', () => {
    const bench = door();
    let answers = 0;
    for (let i = 0; i < 10_000; i++) {
      const sid = CLIENT_SID.slice();
      writeU32(sid, 0, i + 1);
      answers += knock(bench, reset(sid), pathOf(1 + (i % 200), 1024 + i)).length;
    }
    equal(answers, 100);
    equal(sessions(bench) + bench.state.byId.size, 0);
    equal(bench.state.drops['rate-limit'], 9900);
    equal(bench.timerAt, undefined);
    equal(bench.notices.length, 0, 'no line of log for each');
    deepEqual(bench.plane.commands, []);
  });

  it('100 answers in 10 s, then again 100', () => {
    const bench = door();
    const burst = (count: number): number => {
      let answers = 0;
      for (let i = 0; i < count; i++) answers += knock(bench, reset(), many(i)).length;
      return answers;
    };
    equal(burst(100), 100);
    equal(burst(1), 0);
    bench.now += 9_999;
    equal(burst(1), 0);
    bench.now += 1;
    equal(burst(150), 100);
  });

  it('an answer whose cookie comes back is given back', () => {
    const bench = door();
    for (let i = 0; i < 99; i++) knock(bench, reset(), many(i));
    const cookie = cookieFor(bench);
    equal(knock(bench, reset(), pathOf(3)).length, 0);
    knock(bench, first(cookie));
    equal(sessions(bench), 1);
    equal(knock(bench, reset(), pathOf(3)).length, 1);
    equal(knock(bench, reset(), pathOf(3)).length, 0, 'one, not more');
  });

  it('cookies of an earlier period give nothing back beyond what this one used', () => {
    const bench = door();
    const given = Array.from({ length: 50 }, (_, i) => cookieFor(bench, CLIENT_SID, many(i)));
    bench.now += 10_000;
    knock(bench, reset(), pathOf(3));
    for (const [i, cookie] of given.entries()) knock(bench, first(cookie), many(i));
    equal(sessions(bench), 50);
    let answers = 0;
    for (let i = 0; i < 200; i++) answers += knock(bench, reset(), many(i)).length;
    equal(answers, 100);
  });

  it('many honest clients are not limited', () => {
    const bench = door();
    for (let i = 0; i < 200; i++) {
      knock(bench, first(cookieFor(bench, CLIENT_SID, many(i))), many(i));
    }
    equal(sessions(bench), 200);
    equal(bench.state.drops['rate-limit'], 0);
    equal(answersOf(bench), 0);
  });

  it('no answer to a reset with another id or key, or from a later protocol', () => {
    const bench = door();
    deepEqual(knock(bench, reset(CLIENT_SID, { messageId: 1 })), []);
    deepEqual(knock(bench, reset(CLIENT_SID, { keyId: 1 })), []);
    for (const opcode of [OPCODE.hardResetClientV3, OPCODE.hardResetServerV2]) {
      deepEqual(knock(bench, reset(CLIENT_SID, { opcode })), []);
    }
    deepEqual(knock(bench, reset(CLIENT_SID, { opcode: OPCODE.softReset, keyId: 1 })), []);
    deepEqual(knock(bench, reset(new Uint8Array(8))), []);
    equal(bench.state.drops['reset-id'], 1);
    equal(knock(bench, reset()).length, 1);
  });

  it('nothing at all for those without the wrapping key', () => {
    for (const [ours, theirs, other] of [
      [
        tlsAuthKeys(STATIC_KEY, 0, 'SHA1'),
        tlsAuthKeys(STATIC_KEY, 1, 'SHA1'),
        tlsAuthKeys(STATIC_KEY.slice().reverse(), 1, 'SHA1'),
      ],
      [
        tlsCryptKeys(STATIC_KEY, 'server'),
        tlsCryptKeys(STATIC_KEY, 'client'),
        tlsCryptKeys(STATIC_KEY.slice().reverse(), 'client'),
      ],
    ] as const) {
      const bench = door(ours);
      equal(knock(bench, reset(), pathOf(), theirs).length, 1);
      deepEqual(knock(bench, reset(), pathOf(), other), []);
      deepEqual(knock(bench, reset()), []);
      const sealed = createWrap(theirs, crypto, 1).seal(reset());
      for (let bit = 0; bit < sealed.length * 8; bit += 5) {
        const forged = sealed.slice();
        forged[bit >> 3]! ^= 1 << (bit & 7);
        bench.step({ kind: 'datagram', path: pathOf(), bytes: forged });
      }
      deepEqual(bench.takeSent(), []);
      equal(answersOf(bench), 1, 'and they use up no answers');
    }
  });

  it('none while stopping', () => {
    const bench = door();
    const cookie = cookieFor(bench);
    bench.step({ kind: 'shutdown' });
    bench.isOver = false;
    deepEqual(knock(bench, reset()), []);
    knock(bench, first(cookie));
    equal(sessions(bench), 0);
    equal(bench.state.drops.state, 2);
  });
});

describe('core/server: cookies', () => {
  it('the right one opens a session, as a control packet or as an ack', () => {
    for (const make of [first, ack]) {
      const bench = door();
      knock(bench, make(cookieFor(bench)));
      equal(sessions(bench), 1);
      equal(bench.state.drops.cookie, 0);
    }
  });

  it('a wrong one does not: any bit, zeros, our own id, the client id', () => {
    const bench = door();
    const cookie = cookieFor(bench);
    for (let bit = 0; bit < 64; bit++) {
      const wrong = cookie.slice();
      wrong[bit >> 3]! ^= 1 << (bit & 7);
      deepEqual(knock(bench, first(wrong)), []);
      deepEqual(knock(bench, ack(wrong)), []);
    }
    for (const wrong of [new Uint8Array(8), new Uint8Array(8).fill(255), CLIENT_SID]) {
      knock(bench, first(wrong));
    }
    equal(sessions(bench), 0);
    equal(bench.state.drops.cookie, 131);
  });

  it('not from another address, port or socket, nor for another session id', () => {
    const bench = door();
    const cookie = cookieFor(bench);
    const paths: Path[] = [
      pathOf(2),
      pathOf(1, 40001),
      { ...pathOf(), socket: 2 },
      { socket: 1, remote: { ip: ip('::ffff:c633:6401'), port: 40000 } },
    ];
    for (const path of paths) {
      knock(bench, first(cookie), path);
      knock(bench, ack(cookie), path);
    }
    knock(bench, first(cookie, { sessionId: CLIENT_SID.slice().reverse() }));
    equal(sessions(bench), 0);
    equal(bench.state.drops.cookie, 9);
    knock(bench, first(cookie));
    equal(sessions(bench), 1);
  });

  it('not of another server, nor of this one before it was started anew', () => {
    const bench = door();
    const other = serverBench(fakeTls({ role: 'server', commonName: 'server' }), {}, 99);
    knock(other, first(cookieFor(bench)));
    equal(sessions(other), 0);
    equal(other.state.drops.cookie, 1);
  });

  it('for its own slot of 30 s and the two after; neither later nor from the future', () => {
    const slotStart = Math.ceil(T0 / 30_000) * 30_000;
    for (const [laterMs, opens] of [
      [0, 1],
      [29_999, 1],
      [89_999, 1],
      [90_000, 0],
      [3_600_000, 0],
      [-1, 0],
      [-30_000, 0],
    ] as const) {
      const bench = door();
      bench.now = slotStart;
      const cookie = cookieFor(bench);
      bench.now = slotStart + laterMs;
      knock(bench, first(cookie));
      equal(sessions(bench), opens, `${laterMs} ms`);
    }
  });

  it('not without acks, nor beside an id or ack above 1, nor with another key id or opcode', () => {
    const bench = door();
    const cookie = cookieFor(bench);
    const { remoteSessionId: _, ...bare } = first(cookie);
    knock(bench, { ...bare, acks: [] });
    knock(bench, first(cookie, { messageId: 2 }));
    knock(bench, first(cookie, { messageId: 0xffffffff }));
    knock(bench, first(cookie, { acks: [2] }));
    knock(bench, first(cookie, { acks: [0, 1, 2] }));
    knock(bench, ack(cookie, [0, 2]));
    equal(bench.state.drops['no-instance'], 6);
    knock(bench, first(cookie, { keyId: 1 }));
    equal(bench.state.drops['key-id'], 1);
    knock(bench, first(cookie, { opcode: OPCODE.softReset, keyId: 1 }));
    knock(bench, first(cookie, { opcode: OPCODE.controlWkc }));
    knock(bench, first(cookie, { opcode: OPCODE.hardResetServerV2 }));
    equal(sessions(bench), 0);
    knock(bench, first(cookie, { acks: [0, 1], messageId: 1 }));
    equal(sessions(bench), 1);
  });

  it('a repeated first packet opens no second session', () => {
    const bench = door();
    const cookie = cookieFor(bench);
    for (let i = 0; i < 5; i++) knock(bench, first(cookie));
    for (let i = 0; i < 5; i++) knock(bench, ack(cookie));
    equal(sessions(bench), 1);
    equal(knock(bench, reset()).length, 0, 'a reset of a session that is there gets no answer');
  });

  it('no more than 256 handshakes at once; they end with the hand window', () => {
    const bench = door();
    const open = (port: number): void => {
      const path = many(port);
      const [answer] = knock(bench, reset(CLIENT_SID), path);
      if (answer !== undefined) knock(bench, first(answer.sessionId), path);
    };
    for (let i = 0; i < 300; i++) open(1024 + i);
    equal(sessions(bench), 256);
    equal(bench.state.drops['rate-limit'], 44);
    bench.pass(59_999);
    equal(sessions(bench), 256);
    // Then each is closed, stays to acknowledge, and is gone.
    bench.pass(5_002);
    equal(sessions(bench), 0);
    // The log's summary is the last thing to come.
    bench.pass(10_000);
    equal(bench.timerAt, undefined);
    open(5000);
    equal(sessions(bench), 1);
  });

  it('connected clients do not count as handshakes', () => {
    const bench = serverBench(fakeTls({ role: 'server', commonName: 'server' }), {
      maxClients: 300,
      duplicateCn: true,
      addresses: [{ ip: ip('10.0.0.1'), bits: 16 }],
    });
    for (let i = 0; i < 260; i++) join(bench, { path: pathOf(1, 2000 + i) });
    equal(bench.state.byId.size, 260);
    knock(bench, first(cookieFor(bench)));
    equal(sessions(bench), 261);
  });
});
