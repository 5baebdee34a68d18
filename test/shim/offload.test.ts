// SPDX-License-Identifier: Apache-2.0
// Super-packets: cut by one plane, sent as packets, joined by another, cut again: what comes out is what went in. And
// frames whose headers lie, packets with wrong checksums, and what must never be joined.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import fc from 'fast-check';
import type { DataFormat } from '../../src/core/plane.ts';
import { NATIVE_FEATURES } from '../../src/host/host.ts';
import { openNativePlane } from '../../src/host/nativeplane.ts';
import { NativePlane, nativeLimits } from '../../src/plane/native.ts';
import type { PlaneMode } from '../../src/plane/plane.ts';
import { ok as done, keyPair, path } from '../unit/plane/helpers.ts';
import {
  FLAG,
  frame,
  GSO,
  HEADER,
  isRight,
  NEEDS_CSUM,
  packet,
  type Shape,
  superFrame,
} from './superpackets.ts';
import { good, rawShim } from './support.ts';

const SEPARATE = 0;
const JOINING = NATIVE_FEATURES.tun_gro | NATIVE_FEATURES.tun_uso;

interface Ends {
  readonly from: NativePlane;
  readonly to: NativePlane;
  readonly sent: Uint8Array[];
  /** Frames with their virtio headers, or bare packets without joining. */
  readonly delivered: Uint8Array[];
}

function open(
  mode: PlaneMode,
  features: number,
  mssfix: number,
  out: Pick<Ends, 'sent' | 'delivered'>,
): NativePlane {
  const options = {
    isMany: mode === 'mp',
    features,
    mssfix,
    usesLocal: false,
    peersMax: 4,
    limits: nativeLimits(),
    mtu: 1500,
    clientToClient: false,
    threads: 1,
  };
  return new NativePlane({
    mode,
    engine: good(openNativePlane(rawShim(), options)),
    isThreaded: false,
    peersMax: 4,
    sink: {
      send: (_, datagram) => void out.sent.push(datagram.slice()),
      deliver: frame => void out.delivered.push(frame.slice(features === SEPARATE ? HEADER : 0)),
      notice: () => undefined,
      inner: () => undefined,
      control: () => undefined,
      streamEnded: () => undefined,
      broken: () => undefined,
    },
  });
}

/** A client that sends and a peer of it that receives everything, from any source address. */
function ends(features: number, mssfix = 0, dataFormat: DataFormat = 'aead'): Ends {
  const sent: Uint8Array[] = [];
  const delivered: Uint8Array[] = [];
  const from = open('p2p', SEPARATE, mssfix, { sent, delivered: [] });
  const to = open('p2p', features, mssfix, { sent: [], delivered });
  const keys = keyPair(1, { dataFormat });
  done(from.addPeer({ peerId: 1, path: path(1194) }, 0));
  done(to.addPeer({ peerId: 1, path: path(5000) }, 0));
  done(from.addKey(keys.client));
  done(to.addKey(keys.server));
  return { from, to, sent, delivered };
}

/** Everything that is sent arrives; what was joined is told at the end. */
function carry({ to, sent }: Ends): void {
  for (const datagram of sent.splice(0)) to.fromNetwork(path(5000), datagram, 0);
  to.tick(0);
}

/** The packets that frames stand for, cut by a plane of their own. */
function cut(frames: readonly Uint8Array[]): Uint8Array[] {
  const second = ends(SEPARATE);
  for (const next of frames) second.from.fromFrame(next, 0);
  carry(second);
  return second.delivered;
}

const shapes = fc.record({
  format: fc.constantFrom('aead' as const, 'aead-epoch' as const),
  version: fc.constantFrom(4 as const, 6 as const),
  protocol: fc.constantFrom(6 as const, 17 as const),
  payload: fc
    .integer({ min: 1, max: 20_000 })
    .map(length => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255)),
  size: fc.integer({ min: 100, max: 1460 }),
  tos: fc.constantFrom(0, 2, 3, 0xb8),
  options: fc.constantFrom(new Uint8Array(0), Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8)),
});

describe('super-packets', () => {
  it('are cut into packets that are right, and joined again to the same', () => {
    fc.assert(
      fc.property(shapes, shape => {
        const pair = ends(JOINING, 0, shape.format);
        const isTcp = shape.protocol === 6;
        const input = { ...shape, flags: FLAG.ack | (isTcp ? FLAG.psh : 0) };
        pair.from.fromFrame(superFrame(input, shape.size), 0);
        const count = Math.ceil(shape.payload.length / shape.size);
        strictEqual(pair.sent.length, count);
        carry(pair);
        const again = cut(pair.delivered);
        strictEqual(again.length, count);
        ok(again.every(isRight));
        const headers = (shape.version === 4 ? 20 : 40) + (isTcp ? 20 + shape.options.length : 8);
        deepStrictEqual(
          Buffer.concat(again.map(bytes => bytes.subarray(headers))),
          Buffer.from(shape.payload),
        );
        // Only the last is pushed; ids and sequence numbers count on.
        const at = shape.version === 4 ? 20 : 40;
        again.forEach((bytes, i) => {
          const view = new DataView(bytes.buffer, bytes.byteOffset);
          if (shape.version === 4) strictEqual(view.getUint16(4), 7 + i);
          if (!isTcp) return;
          strictEqual(view.getUint32(at + 4), 1000 + i * shape.size);
          strictEqual(bytes[at + 13], FLAG.ack | (i === count - 1 ? FLAG.psh : 0));
        });
        if (count > 1 && count <= 40) ok(pair.delivered.length < count, 'something was joined');
      }),
      { numRuns: 150 },
    );
  });

  it('FIN goes with the last, CWR with the first', () => {
    const { from, to, sent, delivered } = ends(SEPARATE);
    const flags = FLAG.ack | FLAG.fin | FLAG.psh | FLAG.cwr;
    from.fromFrame(superFrame({ version: 4, protocol: 6, payload: new Uint8Array(3000), flags }, 1000), 0);
    carry({ from, to, sent, delivered });
    deepStrictEqual(
      delivered.map(bytes => bytes[33]),
      [FLAG.ack | FLAG.cwr, FLAG.ack, FLAG.ack | FLAG.fin | FLAG.psh],
    );
  });

  for (const version of [4, 6] as const) {
    it(`IPv${version}: who is to slow down loses one segment, or has all marked`, () => {
      const payload = new Uint8Array(3000);
      for (const tos of [0, 1, 2, 3]) {
        const pair = ends(SEPARATE);
        pair.from.fromFrame(superFrame({ version, protocol: 6, payload, tos: 0xb8 | tos }, 1000), 0, true);
        carry(pair);
        strictEqual(pair.delivered.length, tos === 0 ? 2 : 3);
        strictEqual(pair.from.drops().queue, tos === 0 ? 1 : 0);
        ok(pair.delivered.every(isRight));
        const seen = pair.delivered.map(bytes =>
          version === 4 ? bytes[1] : ((bytes[0]! & 15) << 4) | (bytes[1]! >> 4),
        );
        deepStrictEqual(new Set(seen), new Set([tos === 0 ? 0xb8 : 0xbb]));
      }
    });
  }

  it('what is no whole IP packet is not marked, and lost like any other', () => {
    const pair = ends(SEPARATE);
    for (const bytes of [
      [0x46, 3],
      [0x41, ...new Array(30).fill(3)],
      [0x60, 0x30, ...new Array(30).fill(0)],
    ])
      pair.from.fromFrame(frame(Uint8Array.from(bytes)), 0, true);
    carry(pair);
    strictEqual(pair.delivered.length, 0);
  });

  it('a checksum that the kernel left open is completed', () => {
    const whole = packet({ version: 6, protocol: 17, payload: Uint8Array.of(1, 2, 3) });
    const open = superFrame({ version: 6, protocol: 17, payload: Uint8Array.of(1, 2, 3) }, 0);
    open[1] = 0;
    const pair = ends(SEPARATE);
    pair.from.fromFrame(open, 0);
    carry(pair);
    deepStrictEqual(pair.delivered, [whole]);
  });

  for (const [format, around] of [
    ['aead', 24],
    ['aead-epoch', 28],
  ] as const) {
    it(`${format}: segments above the outer packet size are cut smaller, SYNs ask for no more`, () =>
      checkSizes(format, around));
  }

  function checkSizes(format: DataFormat, around: number): void {
    const pair = ends(SEPARATE, 1492, format);
    const mss = 1492 - 28 - around - 40;
    const payload = new Uint8Array(5000).fill(9);
    pair.from.fromFrame(superFrame({ version: 4, protocol: 6, payload }, 1460), 0);
    strictEqual(Math.max(...pair.sent.map(({ length }) => length)) + 28, 1492);
    pair.sent.length = 0;
    // Also one that comes alone.
    pair.from.fromFrame(frame(packet({ version: 4, protocol: 6, payload: payload.subarray(0, 1460) })), 0);
    deepStrictEqual(
      pair.sent.map(({ length }) => length),
      [around + 40 + mss, around + 40 + 1460 - mss],
    );
    const options = Uint8Array.of(1, 2, 4, 0x05, 0xb4, 1, 1, 1);
    const syn = { version: 4, protocol: 6, payload: new Uint8Array(0), flags: FLAG.syn, options } as const;
    pair.sent.length = 0;
    pair.from.fromFrame(frame(packet(syn)), 0);
    carry(pair);
    const [clamped] = pair.delivered;
    ok(isRight(clamped!));
    strictEqual((clamped![43]! << 8) | clamped![44]!, mss);
  }
});

describe('headers that lie', () => {
  const good4: Shape = { version: 4, protocol: 6, payload: new Uint8Array(4000) };
  const lies: readonly (readonly [name: string, frame: Uint8Array])[] = [
    ['no room for a header', new Uint8Array(9)],
    ['segments of nothing', superFrame(good4, 0)],
    ['segments of one byte', superFrame(good4, 1)],
    [
      'IPv6 said, IPv4 there',
      Uint8Array.from(superFrame(good4, 1000), (byte, i) => (i === 1 ? GSO.tcp6 : byte)),
    ],
    [
      'UDP said, TCP there',
      Uint8Array.from(superFrame(good4, 1000), (byte, i) => (i === 1 ? GSO.udp : byte)),
    ],
    ['an unknown kind', Uint8Array.from(superFrame(good4, 1000), (byte, i) => (i === 1 ? 3 : byte))],
    ['TCP header beyond the end', superFrame(good4, 1000).subarray(0, HEADER + 30)],
    ['checksum beyond the end', frame(packet(good4), { flags: NEEDS_CSUM, start: 4039, offset: 16 })],
    ['checksum far beyond', frame(packet(good4), { flags: NEEDS_CSUM, start: 65_535, offset: 65_535 })],
  ];
  for (const [name, lie] of lies) {
    it(name, () => {
      const pair = ends(SEPARATE);
      pair.from.fromFrame(lie, 0);
      deepStrictEqual(pair.sent, []);
      const { offload, 'not-ip': notIp } = pair.from.drops();
      strictEqual(offload + notIp, 1);
      pair.from.fromFrame(superFrame(good4, 1000), 0);
      strictEqual(pair.sent.length, 4);
    });
  }

  it('any header before any packet: nothing longer than what came, and it goes on', () => {
    const pair = ends(SEPARATE, 1492);
    const any = fc.tuple(
      fc.uint8Array({ minLength: HEADER, maxLength: HEADER }),
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        shapes.map(shape => packet({ ...shape, payload: shape.payload.subarray(0, 3000) })),
      ),
    );
    fc.assert(
      fc.property(any, ([header, inside]) => {
        pair.from.fromFrame(Uint8Array.from([...header, ...inside]), 0);
        for (const { length } of pair.sent.splice(0)) ok(length <= inside.length + 24);
      }),
      { numRuns: 500 },
    );
  });
});

describe('joining', () => {
  const MSS = 1000;
  const part = (i: number, more: Partial<Shape> = {}): Uint8Array =>
    packet({
      version: 4,
      protocol: 6,
      payload: new Uint8Array(MSS).fill(i),
      sequence: 1000 + i * MSS,
      id: 7 + i,
      ...more,
    });

  /** How many frames come of packets, one after the other. */
  function frames(packets: readonly Uint8Array[]): Uint8Array[] {
    const pair = ends(JOINING);
    for (const bytes of packets) pair.from.fromTun(bytes, 0);
    carry(pair);
    const out = pair.delivered.splice(0);
    // Nothing is lost or changed, whatever was joined.
    deepStrictEqual(
      cut(out)
        .map(bytes => Buffer.from(bytes).toString('hex'))
        .sort(),
      packets.map(bytes => Buffer.from(bytes).toString('hex')).sort(),
    );
    return out;
  }

  it('takes what follows', () => strictEqual(frames([part(0), part(1), part(2)]).length, 1));

  const apart: readonly (readonly [name: string, second: Uint8Array])[] = [
    ['a gap', part(2)],
    ['a repetition', part(0)],
    ['another type of service', part(1, { tos: 2 })],
    ['FIN', part(1, { flags: FLAG.ack | FLAG.fin })],
    ['URG', part(1, { flags: FLAG.ack | FLAG.urg })],
    ['ECE', part(1, { flags: FLAG.ack | FLAG.ece })],
    ['CWR', part(1, { flags: FLAG.ack | FLAG.cwr })],
    ['other options', part(1, { options: Uint8Array.of(1, 1, 1, 1) })],
    ['a larger one', part(1, { payload: new Uint8Array(MSS + 1) })],
    ['a pure acknowledgement', part(1, { payload: new Uint8Array(0) })],
    ['another version', part(1, { version: 6 })],
    ['another transport', part(1, { protocol: 17 })],
    ['no DF, and an id out of turn', part(1, { mayFragment: true, id: 99 })],
  ];
  for (const [name, second] of apart)
    it(`not: ${name}`, () => strictEqual(frames([part(0), second]).length, 2));

  it('a short one and a pushed one are the last', () => {
    strictEqual(
      frames([part(0), part(1, { payload: new Uint8Array(10) }), part(2, { sequence: 2010 })]).length,
      2,
    );
    strictEqual(frames([part(0), part(1, { flags: FLAG.ack | FLAG.psh }), part(2)]).length, 2);
  });

  it('a wrong checksum stays wrong, and stays alone', () => {
    for (const place of [10, 36, 60]) {
      const pair = ends(JOINING);
      const broken = part(1);
      broken[place]! ^= 1;
      for (const bytes of [part(0), broken, part(2)]) pair.from.fromTun(bytes, 0);
      carry(pair);
      const out = pair.delivered.map(bytes => bytes.subarray(HEADER));
      ok(
        out.some(bytes => Buffer.from(bytes).equals(broken)),
        'as it came',
      );
    }
  });

  it('more flows than the table holds, in order within each', () => {
    const packets = Array.from({ length: 90 }, (_, i) => {
      const bytes = part(Math.floor(i / 30));
      // Source port: a flow of its own; the checksum takes the difference.
      const view = new DataView(bytes.buffer);
      const port = view.getUint16(20) + (i % 30);
      view.setUint16(20, port);
      const sum = (~view.getUint16(36) & 0xffff) + (i % 30);
      view.setUint16(36, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
      return bytes;
    });
    frames(packets);
  });
});
