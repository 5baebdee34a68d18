// SPDX-License-Identifier: Apache-2.0
// mssfix: TCP SYNs of both directions ask for no more than fits the outer packet.

import { deepStrictEqual, strictEqual, ok as truth } from 'node:assert';
import fc from 'fast-check';
import { ip, keyPair, ok, packet, path, type Recorder, record, takeSent } from './helpers.ts';

const SYN = 2;

/** A TCP header with options, its checksum right. */
function tcp(source: string, destination: string, flags: number, options: readonly number[]): Uint8Array {
  const length = 20 + options.length;
  const header = [0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, (length / 4) << 4, flags, 1, 245, 0, 0, 0, 0];
  const out = packet(source, destination, [...header, ...options]);
  const at = out.length - length;
  if (at === 20) out[9] = 6;
  else out[6] = 6;
  const sum = ~total(out, at) & 0xffff;
  out.set([sum >> 8, sum & 0xff], at + 16);
  return out;
}

/** The one's complement sum of transport and pseudo header: 0xffff when the checksum is right. */
function total(bytes: Uint8Array, at: number): number {
  const words = [...(at === 20 ? bytes.subarray(12, 20) : bytes.subarray(8, 40)), 0, 6, 0, bytes.length - at];
  words.push(...bytes.subarray(at));
  let sum = 0;
  for (let i = 0; i < words.length; i += 2) sum += (words[i]! << 8) | (words[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

function ends(mssfix: number): { server: Recorder; client: Recorder } {
  const server = record('mp', { mssfix });
  const client = record('p2p');
  const keys = keyPair(1);
  ok(
    server.plane.addPeer({ peerId: 1, path: path(5000), vpnIp4: ip('10.8.0.2'), vpnIp6: ip('fd42:8::2') }, 0),
  );
  ok(client.plane.addPeer({ peerId: 1, path: path(1194) }, 0));
  ok(server.plane.addKey(keys.server, 0));
  ok(client.plane.addKey(keys.client, 0));
  return { server, client };
}

/** What the client's network gets of a packet from the server's TUN. */
function down(mssfix: number, bytes: Uint8Array): Uint8Array {
  const { server, client } = ends(mssfix);
  server.plane.fromTun(bytes, 0);
  client.plane.fromNetwork(path(1194), takeSent(server)[0]!, 0);
  return client.delivered[0]!;
}

const MSS_1460 = [2, 4, 0x05, 0xb4];

describe('plane: mssfix', () => {
  it('lowers the option of a SYN, IPv4 and IPv6, whatever is around it', () => {
    for (const options of [
      MSS_1460,
      [1, ...MSS_1460, 1, 1, 1],
      [4, 2, ...MSS_1460, 0, 0],
      [...MSS_1460, 3, 3, 7, 1],
    ]) {
      for (const [source, to, limit] of [
        ['10.8.0.1', '10.8.0.2', 1400],
        ['fd42:8::1', 'fd42:8::2', 1380],
      ] as const) {
        const before = tcp(source, to, SYN, options);
        const after = down(1492, before);
        const at = before.length - 20 - options.length;
        const place = at + 20 + options.indexOf(2, options.length > 7 ? (options[0] === 4 ? 2 : 0) : 0) + 2;
        strictEqual((after[place]! << 8) | after[place + 1]!, limit);
        strictEqual(total(after, at), 0xffff);
        strictEqual(after.length, before.length);
      }
    }
  });

  it('works on what is received, too', () => {
    const { server, client } = ends(1492);
    client.plane.fromTun(tcp('10.8.0.2', '10.8.0.1', SYN, MSS_1460), 0);
    server.plane.fromNetwork(path(5000), takeSent(client)[0]!, 0);
    deepStrictEqual([...server.delivered[0]!.subarray(42, 44)], [1400 >> 8, 1400 & 255]);
  });

  it('leaves all else as it is', () => {
    const same = [
      tcp('10.8.0.1', '10.8.0.2', 0x10, MSS_1460),
      tcp('10.8.0.1', '10.8.0.2', SYN, [2, 4, 0x02, 0x18]),
      tcp('10.8.0.1', '10.8.0.2', SYN, [3, 3, 7, 0]),
      tcp('10.8.0.1', '10.8.0.2', SYN, [2, 0, 0, 0]),
      tcp('10.8.0.1', '10.8.0.2', SYN, [9, 200, 2, 4]),
      packet('10.8.0.1', '10.8.0.2', [1, 2, 3]),
    ];
    for (const bytes of same) deepStrictEqual(down(1492, bytes), bytes);
    const syn = tcp('10.8.0.1', '10.8.0.2', SYN, MSS_1460);
    deepStrictEqual(down(0, syn), syn);
    const fragment = syn.slice();
    fragment[7] = 1;
    deepStrictEqual(down(1492, fragment), fragment);
  });

  it('survives any TCP header', () => {
    const { server } = ends(1492);
    const bytes = fc.tuple(
      fc.constantFrom(0x45, 0x4f, 0x60),
      fc.uint8Array({ minLength: 20, maxLength: 90 }),
    );
    fc.assert(
      fc.property(bytes, ([first, rest]) => {
        const inside = Uint8Array.of(first, ...rest);
        inside[9] = 6;
        server.plane.fromTun(inside, 0);
        truth(takeSent(server).every(({ length }) => length === inside.length + 24));
      }),
    );
  });
});
