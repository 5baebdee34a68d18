// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert';
import { encodeTable } from '../../../src/ubus/blob.ts';
import { createCall, createLookup, isUbusError, type UbusRequest } from '../../../src/ubus/client.ts';
import { type Attributes, encodeMessage, MESSAGE_TYPES, STATUS } from '../../../src/ubus/message.ts';
import { createUbusServer, type Method } from '../../../src/ubus/server.ts';
import { EXCHANGES, hex, messages, plain } from './helpers.ts';

const { hello, data, status } = MESSAGE_TYPES;

const echo: Method = { args: { x: 'string' }, call: args => ({ ...args, more: [1, { a: true }] }) };
const quiet: Method = { args: {}, call: () => undefined };
const SERVER = createUbusServer({
  objects: [
    { path: 'ovpnd.home', methods: { echo, quiet } },
    { path: 'ovpnd.office', methods: { echo } },
  ],
});

/** Lets a request and a server talk until neither has anything to say. */
function converse<T>(request: UbusRequest<T>): UbusRequest<T>['outcome'] {
  const connection = SERVER.connect();
  let toClient = connection.greeting;
  while (toClient.length > 0) toClient = connection.receive(request.receive(toClient));
  return request.outcome;
}

function tell(type: number, seq: number, attributes: Attributes): Uint8Array {
  return encodeMessage({ type, seq, peer: 9, attributes })!;
}

/** A call that has been greeted and was told the object's id. */
function found(): UbusRequest<object> {
  const request = createCall({ path: 'a', method: 'm' });
  request.receive(tell(hello, 0, {}));
  request.receive(tell(data, 1, { objpath: 'a', objid: 5 }));
  return request;
}

describe('ubus client', () => {
  it('calls a method', () => {
    const outcome = converse(createCall({ path: 'ovpnd.home', method: 'echo', args: { x: 'y' } }));
    assert.deepStrictEqual(plain(outcome), { x: 'y', more: [1, { a: true }] });
    assert.strictEqual(isUbusError(outcome), false);
  });

  it('gives an empty table when there is no data', () => {
    assert.deepStrictEqual(plain(converse(createCall({ path: 'ovpnd.home', method: 'quiet' }))), {});
  });

  it('lists objects', () => {
    assert.deepStrictEqual(converse(createLookup('ovpnd.*')), ['ovpnd.home', 'ovpnd.office']);
    assert.deepStrictEqual(converse(createLookup('ovpnd.home')), ['ovpnd.home']);
  });

  it('says what failed', () => {
    const cases: [UbusRequest<unknown>, number, string][] = [
      [createCall({ path: 'ovpnd.no', method: 'echo' }), STATUS.notFound, 'ovpnd.no echo: Not found'],
      [createCall({ path: 'ovpnd.*', method: 'echo' }), STATUS.notFound, 'ovpnd.* echo: Not found'],
      [
        createCall({ path: 'ovpnd.home', method: 'no' }),
        STATUS.methodNotFound,
        'ovpnd.home no: Method not found',
      ],
      [
        createCall({ path: 'ovpnd.home', method: 'echo', args: { x: 1 } }),
        STATUS.invalidArgument,
        'ovpnd.home echo: Invalid argument',
      ],
      [
        createCall({ path: 'ovpnd.home', method: 'echo', args: { x: () => 1 } }),
        STATUS.invalidArgument,
        'ovpnd.home echo: Invalid argument',
      ],
      [createLookup('x.*'), STATUS.notFound, 'x.*: Not found'],
    ];
    for (const [request, code, text] of cases) {
      assert.deepStrictEqual(converse(request), { failed: true, status: code, text });
    }
  });

  it('waits for HELLO', () => {
    const request = createCall({ path: 'a', method: 'm' });
    assert.strictEqual(request.receive(tell(status, 1, { status: 4 })).length, 0);
    assert.strictEqual(request.outcome, undefined);
    assert.strictEqual(messages(request.receive(tell(hello, 0, {})))[0]!.attributes.objpath, 'a');
  });

  it('takes answers byte by byte', () => {
    const request = createCall({ path: 'ovpnd.home', method: 'echo' });
    const connection = SERVER.connect();
    let toClient = connection.greeting;
    while (toClient.length > 0) {
      const sent: Uint8Array[] = [];
      for (const byte of toClient) sent.push(request.receive(new Uint8Array([byte])));
      toClient = connection.receive(Buffer.concat(sent));
    }
    assert.deepStrictEqual(plain(request.outcome), { more: [1, { a: true }] });
  });

  it('ignores messages that are not about it', () => {
    const request = found();
    request.receive(tell(status, 7, { status: 4 }));
    request.receive(tell(MESSAGE_TYPES.invoke, 1, { objid: 5, method: 'x' }));
    request.receive(tell(hello, 0, {}));
    assert.strictEqual(request.outcome, undefined);
    const [invoke] = messages(request.receive(tell(status, 1, { status: 0 })));
    assert.strictEqual(invoke!.attributes.objid, 5);
    assert.strictEqual(invoke!.peer, 5);
    assert.strictEqual(invoke!.attributes.data!.length, 0);
  });

  it('does not take a lookup without the object for success', () => {
    const request = createCall({ path: 'a', method: 'm' });
    request.receive(tell(hello, 0, {}));
    request.receive(tell(data, 1, { objpath: 'b', objid: 5 }));
    request.receive(tell(status, 1, { status: 0 }));
    assert.strictEqual((request.outcome as { status?: number }).status, STATUS.notFound);
  });

  it('keeps the last of several replies, and refuses one that is malformed', () => {
    const good = found();
    good.receive(tell(status, 1, { status: 0 }));
    good.receive(tell(data, 2, { objid: 5, data: encodeTable({ n: 1 })! }));
    good.receive(tell(data, 2, { objid: 5, data: encodeTable({ n: 2 })! }));
    good.receive(tell(status, 2, { status: 0, objid: 5 }));
    assert.deepStrictEqual(plain(good.outcome), { n: 2 });
    const bad = found();
    bad.receive(tell(status, 1, { status: 0 }));
    bad.receive(tell(data, 2, { objid: 5, data: hex('8500000c') }));
    bad.receive(tell(status, 2, { status: 0, objid: 5 }));
    assert.strictEqual((bad.outcome as { status?: number }).status, STATUS.parseError);
  });

  it('settles once: by an end, a timeout, a stream without sense, a status without number', () => {
    const ended = found();
    ended.abort('closed');
    ended.abort('timeout');
    assert.deepStrictEqual(ended.outcome, { failed: true, status: 10, text: 'a m: Connection failed' });
    const late = found();
    late.abort('timeout');
    assert.strictEqual(late.receive(tell(status, 1, { status: 0 })).length, 0);
    assert.deepStrictEqual(late.outcome, { failed: true, status: 7, text: 'a m: Request timed out' });
    const broken = found();
    broken.receive(hex('0001000100000000 00000003'));
    assert.strictEqual((broken.outcome as { status?: number }).status, STATUS.parseError);
    const blank = found();
    blank.receive(tell(status, 1, {}));
    assert.strictEqual((blank.outcome as { status?: number }).status, STATUS.unknownError);
  });

  it('asks ubusd as its own tools do', () => {
    const captured = (id: string) => {
      const sides = EXCHANGES.find(exchange => exchange.id === id)!.messages.filter(
        ({ conn }) => conn !== 'host',
      );
      return (dir: string) =>
        sides.filter(side => side.dir === dir && side.hex !== undefined).map(({ hex: t }) => t!);
    };
    const board = captured('tb-system-board');
    const request = createCall({ path: 'system', method: 'board' });
    const sent = messages(request.receive(hex(board('s2c').join(''))));
    assert.deepStrictEqual(sent, messages(hex(board('c2s').join(''))));
    assert.strictEqual((request.outcome as { hostname?: string }).hostname, 'OpenWrt');
    const list = captured('list-wildcard');
    const names = createLookup('vec.s*');
    assert.deepStrictEqual(
      messages(names.receive(hex(list('s2c').join('')))),
      messages(hex(list('c2s').join(''))),
    );
    assert.deepStrictEqual(names.outcome, ['vec.sub', 'vec.sub2']);
  });
});
