// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert';
import { decodeTable, encodeTable } from '../../../src/ubus/blob.ts';
import {
  type Attributes,
  encodeMessage,
  MESSAGE_TYPES,
  type Message,
  STATUS,
} from '../../../src/ubus/message.ts';
import {
  type Arguments,
  createUbusServer,
  type Method,
  REQUEST_BYTES_MAX,
  type ServedObject,
} from '../../../src/ubus/server.ts';
import { EXCHANGES, hex, messages, plain } from './helpers.ts';

const { lookup, invoke, data, status, ping } = MESSAGE_TYPES;

function ask(type: number, attributes: Attributes, seq = 7, peer = 0): Uint8Array {
  return encodeMessage({ type, seq, peer, attributes })!;
}

/** An object like the daemon's, that records the arguments it got. */
function home(): { object: ServedObject; calls: [string, unknown][] } {
  const calls: [string, unknown][] = [];
  const method = (name: string, args: Method['args'], result: object | undefined): Method => ({
    args,
    call(given: Arguments) {
      calls.push([name, { ...given }]);
      return result;
    },
  });
  return {
    calls,
    object: {
      path: 'ovpnd.home',
      methods: {
        status: method('status', {}, { tunnel: 'home', peers: [] }),
        reload: method('reload', {}, undefined),
        disconnect: method('disconnect', { peer: 'string', reason: 'string' }, { status: STATUS.notFound }),
        log: method('log', { lines: 'int', follow: 'bool' }, { lines: ['x'] }),
        bad: method('bad', {}, { x: () => 1 }),
        huge: method('huge', {}, { x: 'x'.repeat(1 << 20) }),
        edge: method('edge', {}, { x: 'x'.repeat((1 << 20) - 12) }),
      },
    },
  };
}

/** Asks about ovpnd.home, the only object, and gives the messages of the answer. */
function call(
  method: string,
  args: object,
  served = home(),
): { answer: Message[]; calls: [string, unknown][] } {
  const connection = createUbusServer({ objects: [served.object] }).connect();
  const objid = messages(connection.receive(ask(lookup, { objpath: 'ovpnd.home' })))[0]!.attributes.objid!;
  const attributes = { objid, method, data: encodeTable(args)! };
  return { answer: messages(connection.receive(ask(invoke, attributes, 8, objid))), calls: served.calls };
}

function codes(answer: readonly Message[]): number[] {
  return answer.map(({ type, attributes }) => (type === status ? attributes.status! : -1));
}

describe('ubus server', () => {
  it('greets every client with its own id', () => {
    const server = createUbusServer({ objects: [home().object] });
    const [first] = messages(server.connect().greeting);
    const [second] = messages(server.connect().greeting);
    assert.deepStrictEqual(first, { ...second, peer: first!.peer });
    assert.deepStrictEqual(first!.attributes, {});
    assert.notStrictEqual(first!.peer, second!.peer);
    assert.ok(first!.peer >= 1024);
  });

  it('tells signatures as type numbers', () => {
    const connection = createUbusServer({ objects: [home().object] }).connect();
    const [found, done] = messages(connection.receive(ask(lookup, { objpath: 'ovpnd.*' })));
    assert.strictEqual(found!.attributes.objpath, 'ovpnd.home');
    const signature = plain(decodeTable(found!.attributes.signature!)) as Record<string, unknown>;
    assert.deepStrictEqual(signature.status, {});
    assert.deepStrictEqual(signature.disconnect, { peer: 3, reason: 3 });
    assert.deepStrictEqual(signature.log, { lines: 5, follow: 7 });
    assert.deepStrictEqual(done!.attributes, { status: 0 });
  });

  it('calls a method and sends its data, then the status, as the object', () => {
    const { answer, calls } = call('status', {});
    assert.deepStrictEqual(calls, [['status', {}]]);
    assert.deepStrictEqual(
      answer.map(({ type, seq }) => [type, seq]),
      [
        [data, 8],
        [status, 8],
      ],
    );
    const [reply, done] = answer;
    assert.strictEqual(reply!.peer, reply!.attributes.objid);
    assert.deepStrictEqual(plain(decodeTable(reply!.attributes.data!)), { tunnel: 'home', peers: [] });
    assert.deepStrictEqual(done!.attributes, { status: 0, objid: reply!.peer });
  });

  it('sends no data for a method that has none, the code of one that refuses', () => {
    assert.deepStrictEqual(codes(call('reload', {}).answer), [0]);
    assert.deepStrictEqual(codes(call('disconnect', { peer: 'bob' }).answer), [STATUS.notFound]);
    assert.deepStrictEqual(codes(call('nope', {}).answer), [STATUS.methodNotFound]);
    assert.deepStrictEqual(codes(call('toString', {}).answer), [STATUS.methodNotFound]);
  });

  it('says so when a reply does not fit', () => {
    for (const method of ['bad', 'huge', 'edge']) {
      assert.deepStrictEqual(codes(call(method, {}).answer), [STATUS.unknownError], method);
    }
  });

  it('gives methods only declared arguments of the declared type', () => {
    const accepted: [string, object, object][] = [
      ['disconnect', {}, {}],
      ['disconnect', { peer: 'bob', reason: 'x' }, { peer: 'bob', reason: 'x' }],
      ['disconnect', { peer: 'bob', ubus_rpc_session: '0'.repeat(32) }, { peer: 'bob' }],
      ['disconnect', { ubus_rpc_session: 5 }, {}],
      ['log', { lines: 20, follow: true }, { lines: 20, follow: true }],
      ['log', { lines: 2 ** 40 }, { lines: 2 ** 40 }],
    ];
    for (const [method, args, seen] of accepted)
      assert.deepStrictEqual(call(method, args).calls, [[method, seen]]);
    const refused: [string, object][] = [
      ['disconnect', { peer: 5 }],
      ['disconnect', { peer: null }],
      ['disconnect', { peer: ['bob'] }],
      ['disconnect', { peer: { toString: 'bob' } }],
      ['disconnect', { per: 'bob' }],
      ['disconnect', { toString: 'x' }],
      ['disconnect', JSON.parse('{"__proto__":{"peer":"bob"}}') as object],
      ['status', { peer: 'bob' }],
      ['log', { lines: '20' }],
      ['log', { lines: 1.5 }],
      ['log', { lines: true }],
      ['log', { follow: 1 }],
    ];
    for (const [method, args] of refused) {
      const { answer, calls } = call(method, args);
      assert.deepStrictEqual(codes(answer), [STATUS.invalidArgument], JSON.stringify(args));
      assert.deepStrictEqual(calls, []);
    }
  });

  it('refuses arguments that are no table', () => {
    const served = home();
    const connection = createUbusServer({ objects: [served.object] }).connect();
    const objid = messages(connection.receive(ask(lookup, {})))[0]!.attributes.objid!;
    for (const bytes of ['85000010000161000000000300000000', '8500000c']) {
      const answer = messages(connection.receive(ask(invoke, { objid, method: 'log', data: hex(bytes) })));
      assert.deepStrictEqual(codes(answer), [STATUS.invalidArgument]);
    }
    assert.deepStrictEqual(served.calls, []);
  });

  it('handles a limited number of requests at a time', () => {
    const connection = createUbusServer({ objects: [home().object] }).connect();
    const pings = Buffer.concat(Array.from({ length: 40 }, (_, i) => ask(ping, {}, i)));
    const seqs: number[] = [];
    let chunk: Uint8Array = pings;
    let rounds = 0;
    do {
      for (const { type, seq } of messages(connection.receive(chunk))) if (type === status) seqs.push(seq);
      chunk = new Uint8Array(0);
      rounds++;
    } while (connection.hasMore);
    assert.deepStrictEqual(seqs, [...Array(40).keys()]);
    assert.strictEqual(rounds, 3);
  });

  it('stops after a long answer', () => {
    const served: ServedObject = {
      path: 'a',
      methods: { m: { args: {}, call: () => ({ x: 'x'.repeat(100_000) }) } },
    };
    const connection = createUbusServer({ objects: [served] }).connect();
    const request = ask(invoke, { objid: 1024, method: 'm', data: new Uint8Array(0) });
    assert.strictEqual(messages(connection.receive(Buffer.concat([request, request]))).length, 2);
    assert.strictEqual(connection.hasMore, true);
    assert.strictEqual(messages(connection.receive(new Uint8Array(0))).length, 2);
  });

  it('breaks on a length that cannot be, after answering what came before', () => {
    const longest = Buffer.alloc(8 + REQUEST_BYTES_MAX);
    longest.writeUInt8(ping, 1);
    longest.writeUInt32BE(REQUEST_BYTES_MAX, 8);
    const connection = createUbusServer({ objects: [] }).connect();
    assert.deepStrictEqual(codes(messages(connection.receive(longest))), [-1, 0]);
    longest.writeUInt32BE(REQUEST_BYTES_MAX + 1, 8);
    const answer = connection.receive(Buffer.concat([ask(ping, {}), longest]));
    assert.deepStrictEqual(codes(messages(answer)), [-1, 0]);
    assert.strictEqual(connection.isBroken, true);
    assert.strictEqual(connection.receive(ask(ping, {})).length, 0);
    assert.strictEqual(connection.hasMore, false);
  });

  it('has an empty list of objects, but no object by a name', () => {
    const connection = createUbusServer({ objects: [] }).connect();
    assert.deepStrictEqual(codes(messages(connection.receive(ask(lookup, {})))), [0]);
    assert.deepStrictEqual(codes(messages(connection.receive(ask(lookup, { objpath: '*' })))), [
      STATUS.notFound,
    ]);
    assert.deepStrictEqual(codes(messages(connection.receive(ask(lookup, { objpath: '' })))), [
      STATUS.invalidArgument,
    ]);
  });
});

describe('ubus server against the captures of ubusd', () => {
  /** Ids of the captured objects, for ours in the same order. */
  const IDS = new Map([
    [0x022a60c4, 1024],
    [0xd291f295, 1025],
    [0x0d988a34, 1026],
  ]);
  const OBJECTS: ServedObject[] = ['vec.sub2', 'vec.echo', 'vec.sub'].map(path => ({
    path,
    methods: {
      types: { args: {}, call: () => ({}) },
      status: { args: { i32: 'int' }, call: ({ i32 }) => ({ status: i32 as number }) },
      ping: { args: {}, call: () => ({}) },
    },
  }));
  const REPLAYED = EXCHANGES.filter(
    ({ id }) =>
      /^(hello|list|list-.*|call-noargs|call-badmethod|status-.*|raw-.*)$/.test(id) &&
      // What a client may publish on the real bus it may not here.
      id !== 'raw-add-object',
  );

  function withOurIds(message: Message): Message {
    const { attributes } = message;
    const { objid, target } = attributes;
    return {
      ...message,
      peer: IDS.get(message.peer) ?? message.peer,
      attributes: {
        ...attributes,
        ...(objid === undefined ? {} : { objid: IDS.get(objid) ?? objid }),
        ...(target === undefined ? {} : { target: IDS.get(target) ?? target }),
      },
    };
  }

  /** Without what must differ: the client's id, the types of objects, what methods reply. */
  function comparable({ type, seq, peer, attributes }: Message): unknown {
    const { signature, data: content, objtype, ...rest } = attributes;
    return {
      type,
      seq,
      peer: type === MESSAGE_TYPES.hello ? 0 : peer,
      rest,
      has: [signature, content, objtype].map(value => value !== undefined),
    };
  }

  it('replays enough of them', () => assert.ok(REPLAYED.length >= 35, String(REPLAYED.length)));

  for (const { id, messages: captured } of REPLAYED) {
    it(id, () => {
      const connection = createUbusServer({ objects: OBJECTS }).connect();
      const sent: Message[] = messages(connection.greeting);
      const expected: Message[] = [];
      for (const { conn, dir, hex: text } of captured) {
        if (conn === 'host' || text === undefined) continue;
        const bytes = hex(text);
        const [message] = messages(bytes);
        if (dir === 's2c') {
          expected.push(withOurIds(message!));
        } else if (id === 'raw-bad-version' || id === 'raw-path-not-terminated' || message === undefined) {
          sent.push(...messages(connection.receive(bytes)));
        } else {
          sent.push(...messages(connection.receive(encodeMessage(withOurIds(message))!)));
        }
      }
      assert.deepStrictEqual(sent.map(comparable), expected.map(comparable));
      assert.strictEqual(connection.isBroken, id === 'raw-short-len');
    });
  }
});
