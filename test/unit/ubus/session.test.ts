// SPDX-License-Identifier: Apache-2.0
// The session against the captures of ubusd: what an owner of objects answers, and what becomes of requests.

import assert from 'node:assert';
import {
  decodeMessage,
  encodeMessage,
  type Message,
  STATUS,
  MESSAGE_TYPES as T,
} from '../../../src/ubus/message.ts';
import { type Answer, Session, WAITING_MAX } from '../../../src/ubus/session.ts';
import { EXCHANGES, hex, toHex } from './helpers.ts';

interface Line {
  readonly dir: 'c2s' | 's2c';
  readonly bytes: Uint8Array;
  readonly message: Message;
}

/** One connection of an exchange, whole messages only. */
function linesOf(id: string, conn: string): Line[] {
  const exchange = EXCHANGES.find(one => one.id === id)!;
  return exchange.messages.flatMap(({ conn: whose, dir, hex: text }) => {
    if (whose !== conn || text === undefined) return [];
    const bytes = hex(text);
    return [{ dir, bytes, message: decodeMessage(bytes)! }];
  });
}

/** Registers a nameless object under the id that the captured calls are for. */
function owner(objid: number, invoked: () => Answer): { session: Session; sent: string[] } {
  const sent: string[] = [];
  const session = new Session(bytes => sent.push(toHex(bytes)));
  session.add({ invoked }, {}, () => undefined);
  session.push(encodeMessage({ type: T.data, seq: 1, peer: 0, attributes: { objid } })!);
  while (session.step());
  sent.length = 0;
  return { session, sent };
}

describe('ubus session against the captures of ubusd', () => {
  const calls = EXCHANGES.map(({ id }) => id).filter(
    id => /^(call-|status-|notify|acl-call-allowed|listen)/.test(id) && !/multi|fd|timeout/.test(id),
  );
  let compared = 0;

  it('answers calls, notifications and events byte for byte as libubus does', () => {
    for (const id of calls) {
      for (const conn of ['host', 'sub', 'listener']) {
        const lines = linesOf(id, conn);
        for (const { message, bytes, dir } of lines) {
          if (dir !== 's2c' || message.type !== T.invoke) continue;
          const { seq, peer, attributes } = message;
          const isAnswer = (line: Line): boolean =>
            line.dir === 'c2s' &&
            line.message.seq === seq &&
            line.message.peer === peer &&
            (line.message.type === T.data || line.message.type === T.status);
          const answers = lines.filter(isAnswer);
          if (answers.length === 0 && attributes.noReply !== 1) continue;
          const data = answers.find(line => line.message.type === T.data)?.message.attributes.data;
          const status = answers.at(-1)?.message.attributes.status ?? 0;
          const { session, sent } = owner(attributes.objid!, () => ({ status, ...(data && { data }) }));
          session.push(bytes);
          while (session.step());
          assert.deepStrictEqual(
            sent,
            answers.map(line => toHex(line.bytes)),
            `${id} ${conn}`,
          );
          compared++;
        }
      }
    }
    assert.ok(compared > 30, `${compared} compared`);
  });

  it('a request ends with the status of its own number and peer, and only once', () => {
    const session = new Session(() => undefined);
    const heard: string[] = [];
    const note = ({ type, attributes }: Message): void => {
      heard.push(`${type} ${attributes.status ?? ''}`);
    };
    const seq = session.ask({ type: T.invoke, peer: 7, attributes: { objid: 7, method: 'm' } }, note)!;
    const status = (number: number, peer: number) =>
      session.push(encodeMessage({ type: T.status, seq: number, peer, attributes: { status: 4 } })!);
    status(seq + 1, 7);
    status(seq, 8);
    session.push(encodeMessage({ type: T.data, seq, peer: 7, attributes: {} })!);
    status(seq, 7);
    status(seq, 7);
    while (session.step());
    assert.deepStrictEqual(heard, ['2 ', '1 4']);
  });

  it('no more requests wait than the limit, and one that is forgotten makes room', () => {
    const session = new Session(() => undefined);
    const ask = () => session.ask({ type: T.lookup, attributes: {} }, () => undefined);
    const first = ask()!;
    for (let i = 1; i < WAITING_MAX; i++) assert.ok(ask() !== undefined);
    assert.strictEqual(ask(), undefined);
    session.forget(first);
    assert.ok(ask() !== undefined);
  });

  it('a call for an object that is not ours is not found', () => {
    const { session, sent } = owner(5, () => ({ status: STATUS.ok }));
    session.push(encodeMessage({ type: T.invoke, seq: 9, peer: 3, attributes: { objid: 6, method: 'm' } })!);
    while (session.step());
    assert.strictEqual(decodeMessage(hex(sent[0]!))!.attributes.status, STATUS.notFound);
  });
});
