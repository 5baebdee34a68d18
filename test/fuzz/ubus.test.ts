// SPDX-License-Identifier: Apache-2.0
// Any bytes, and damaged real ones, against every reader of ubus; OVPND_FUZZ_SECONDS makes it longer.
import assert from 'node:assert';
import fc from 'fast-check';
import { readStatus, renderStatus } from '../../src/daemon/status.ts';
import { BLOB_TYPES, decodeTable, encodeTable, readAttributes } from '../../src/ubus/blob.ts';
import { createCall, createLookup } from '../../src/ubus/client.ts';
import { createAssembler, decodeMessage, encodeMessage } from '../../src/ubus/message.ts';
import { createUbusServer } from '../../src/ubus/server.ts';
import { Session } from '../../src/ubus/session.ts';
import { EXCHANGES, hex, toHex } from '../unit/ubus/helpers.ts';

const SECONDS = Number(process.env.OVPND_FUZZ_SECONDS ?? 0);
const PROPERTIES = 8;
const OPTIONS: fc.Parameters<unknown> =
  SECONDS > 0
    ? { numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: (SECONDS * 1000) / PROPERTIES }
    : { numRuns: 1000 };

const REAL = EXCHANGES.flatMap(({ messages }) =>
  messages.flatMap(({ hex: text }) => (text ? [hex(text)] : [])),
).filter(bytes => bytes.length < 4096);

/** A text that a C string can hold. */
const text = fc.string({ unit: 'binary' }).map(value => value.replace(/\0|\p{Cs}/gu, ''));

const value = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double().map(number => (Object.is(number, -0) ? 0 : number)),
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    tie('table'),
  ),
  table: fc.dictionary(fc.oneof(text, fc.constantFrom('__proto__', 'constructor', '')), tie('value'), {
    maxKeys: 5,
  }),
}));

/** A real message with some bytes changed, some left out or put in, maybe cut. */
const damaged = fc
  .tuple(
    fc.constantFrom(...REAL),
    fc.array(fc.tuple(fc.nat(4096), fc.constantFrom(0, 1, 2), fc.nat(255)), { maxLength: 4 }),
    fc.nat(5000),
  )
  .map(([bytes, changes, cut]) => {
    const out = [...bytes];
    for (const [at, kind, byte] of changes) {
      const where = at % out.length;
      if (kind === 0) out[where] = byte;
      else out.splice(where, kind - 1, ...(kind === 1 ? [byte] : []));
      if (out.length === 0) out.push(byte);
    }
    return new Uint8Array(out.slice(0, Math.max(1, cut)));
  });

/** Attributes with headers that are often nearly right. */
const shaped = fc
  .array(
    fc.tuple(
      fc.constantFrom(...Object.values(BLOB_TYPES), 9),
      fc.integer({ min: -5, max: 5 }),
      fc.uint8Array({ maxLength: 24 }),
    ),
    { maxLength: 6 },
  )
  .map(list =>
    Buffer.concat(
      list.map(([id, lie, payload]) => {
        const out = Buffer.alloc(4 + ((payload.length + 3) & ~3));
        out.writeUInt32BE((((0x80 | id) << 24) | Math.max(0, 4 + payload.length + lie)) >>> 0);
        out.set(payload, 4);
        return out;
      }),
    ),
  );

const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged, shaped);

describe('ubus fuzz', function () {
  this.timeout(SECONDS * 1000 + 120_000);

  it('a table that was written reads back the same', () => {
    fc.assert(
      fc.property(value.table, table => {
        const again = decodeTable(encodeTable(table as object)!);
        assert.deepStrictEqual(normal(again), normal(table));
      }),
      OPTIONS,
    );
  });

  it('a table that can be read can be written, and is then stable', () => {
    fc.assert(
      fc.property(bytes, input => {
        for (const start of [0, 12]) {
          const table = decodeTable(input.subarray(start));
          if (table === undefined) continue;
          const once = encodeTable(table)!;
          assert.strictEqual(toHex(encodeTable(decodeTable(once)!)!), toHex(once));
        }
      }),
      OPTIONS,
    );
  });

  it('no bytes make a reader throw', () => {
    fc.assert(
      fc.property(bytes, input => {
        readAttributes(input);
        const message = decodeMessage(input);
        if (message === undefined) return;
        for (const part of Object.values(message.attributes))
          if (part instanceof Uint8Array) decodeTable(part);
        const again = decodeMessage(encodeMessage(message)!)!;
        assert.deepStrictEqual(Object.keys(again.attributes), Object.keys(message.attributes));
      }),
      OPTIONS,
    );
  });

  it('chunks do not matter to the assembler', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 4 }), fc.integer({ min: 1, max: 40 }), (parts, size) => {
        const stream = Buffer.concat(parts);
        const whole = take([stream]);
        const chunks: Uint8Array[] = [];
        for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
        assert.deepStrictEqual(take(chunks), whole);
      }),
      OPTIONS,
    );
  });

  it('the server answers anything with whole messages', () => {
    const methods = { m: { args: { a: 'int', b: 'string' }, call: (args: object) => args } } as const;
    const server = createUbusServer({ objects: [{ path: 'vec.echo', methods }] });
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 6 }), chunks => {
        const connection = server.connect();
        for (const chunk of chunks) {
          let rest: Uint8Array = chunk;
          do {
            const assembler = createAssembler();
            const answer = connection.receive(rest);
            assembler.push(answer);
            let length = 0;
            for (let message = assembler.next(); message; message = assembler.next()) {
              length += encodeMessage(message)!.length;
            }
            assert.strictEqual(length, answer.length);
            rest = new Uint8Array(0);
          } while (connection.hasMore);
        }
      }),
      OPTIONS,
    );
  });

  it('the client survives any server', () => {
    const greeting = hex('000000000d3094d700000004');
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 6 }), fc.boolean(), (chunks, isGreeted) => {
        for (const request of [createCall({ path: 'vec.echo', method: 'm' }), createLookup('vec.*')]) {
          if (isGreeted) request.receive(greeting);
          for (const chunk of chunks) request.receive(chunk);
          request.abort('closed');
          assert.notStrictEqual(request.outcome, undefined);
        }
      }),
      OPTIONS,
    );
  });

  it('the status table takes any reply and stays plain text', () => {
    const reply = fc.record(
      {
        tunnel: fc.oneof(text, fc.constant('x')),
        role: fc.constantFrom('client', 'server'),
        uptime: value.value,
        addresses: fc.array(value.value),
        sockets: fc.array(fc.record({ proto: text, address: text, port: value.value })),
        remote: value.value,
        peers: fc.array(fc.record({ name: text, rx_bytes: value.value, vpn_addresses: fc.array(text) })),
        drops: fc.record({ control: value.table, plane: value.value }),
        data_plane: value.value,
        last_error: text,
      },
      { requiredKeys: ['tunnel'] },
    );
    fc.assert(
      fc.property(reply, input => {
        const status = readStatus(input);
        if (status !== undefined) assert.match(renderStatus([status]), /^[\x20-\x7e\n]*$/);
      }),
      OPTIONS,
    );
  });

  it('a connection to the bus takes anything, and answers at most what it was asked', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(damaged, fc.uint8Array({ maxLength: 64 })), { maxLength: 6 }), chunks => {
        let sent = 0;
        const session = new Session(bytes => {
          sent++;
          assert.ok(decodeMessage(bytes) !== undefined);
        });
        const attributes = { objpath: 'x' };
        session.ask({ type: 4, attributes }, () => undefined);
        session.add({ invoked: () => ({ status: 0 }) }, { objpath: 'y' }, () => undefined);
        let handled = 0;
        for (const chunk of chunks) {
          session.push(chunk);
          while (session.step()) handled++;
        }
        assert.ok(sent <= 2 + 2 * handled);
      }),
      OPTIONS,
    );
  });
});

function take(chunks: readonly Uint8Array[]): unknown {
  const assembler = createAssembler(4096);
  const out: unknown[] = [];
  for (const chunk of chunks) {
    assembler.push(chunk);
    for (let message = assembler.next(); message; message = assembler.next()) out.push(message);
  }
  return { out, isBroken: assembler.isBroken };
}

/** Without prototypes and, for names like array indices, without order. */
function normal(input: unknown): unknown {
  if (Array.isArray(input)) return input.map(normal);
  if (typeof input !== 'object' || input === null) return input;
  return new Map(Object.entries(input).map(([name, member]) => [name, normal(member)]));
}
