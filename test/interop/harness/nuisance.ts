// SPDX-License-Identifier: Apache-2.0
// A program of its own, run inside a namespace: something on the wire that means no good.
//   relay HOST PORT PID before|after   a UDP relay on 127.0.0.1:1194 that adds, to every datagram it passes on, truncated,
//                                      altered and repeated ones from the same address, in both directions
//   flood HOST PORT PID                datagrams of every opcode, key id and many lengths, from several addresses
// PID is the process that has the port, which may live in another namespace. What is sent waits in its socket's buffer
// while the machine is busy; to fill that would be a loss that proves nothing, so nobody is harmed who has not read yet.
// Lines: `opcode N` when the first of that opcode was sent, `sent N` at every hundredth; on SIGTERM `sent` once more.

import { randomBytes, randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';

const P_DATA_V1 = 6;
const P_DATA_V2 = 9;
/** Of the 208 KiB that a socket has by default, kernel's overhead included. */
const QUEUE_MAX = 48 * 1024;
const [mode, host, portText, pid, when] = process.argv.slice(2);
const port = Number(portText);
const family = host!.includes(':') ? 'udp6' : 'udp4';
let sent = 0;
const opcodes = new Set<number>();

function send(socket: Socket, bytes: Uint8Array, toPort: number, to: string): void {
  socket.send(bytes, toPort, to, () => undefined);
}

function harm(socket: Socket, bytes: Uint8Array, toPort: number, to: string): void {
  send(socket, bytes, toPort, to);
  if (++sent % 100 === 0) console.log(`sent ${sent}`);
  const opcode = (bytes[0] ?? 0) >> 3;
  if (bytes.length === 0 || opcodes.has(opcode)) return;
  opcodes.add(opcode);
  console.log(`opcode ${opcode}`);
}

/** Whether a UDP port, in the namespace of a process, has little to read. */
function isReading(process: string, ownPort: number): boolean {
  const suffix = `:${ownPort.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['udp', 'udp6'].every(table =>
    readFileSync(`/proc/${process}/net/${table}`, 'latin1')
      .split('\n')
      .map(line => line.trim().split(/\s+/))
      .filter(words => words[1]?.endsWith(suffix))
      .every(words => Number.parseInt(words[4]!.split(':')[1]!, 16) < QUEUE_MAX),
  );
}

/** Prefixes of a datagram: every boundary of a header, and some in the middle. */
function truncations(bytes: Uint8Array): Uint8Array[] {
  const n = bytes.length;
  const lengths = new Set([
    0,
    1,
    2,
    4,
    8,
    9,
    10,
    13,
    14,
    17,
    25,
    41,
    42,
    49,
    50,
    54,
    n >> 1,
    n - 16,
    n - 4,
    n - 1,
  ]);
  return [...lengths].filter(length => length >= 0 && length < n).map(length => bytes.subarray(0, length));
}

/** The same datagram with one bit wrong, here and there. The first byte stays: it says what kind of packet this is. */
function alterations(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length < 2) return [];
  return Array.from({ length: 4 }, () => {
    const copy = Uint8Array.from(bytes);
    copy[randomInt(1, copy.length)]! ^= 1 << randomInt(8);
    return copy;
  });
}

function isData(bytes: Uint8Array): boolean {
  const opcode = (bytes[0] ?? 0) >> 3;
  return opcode === P_DATA_V1 || opcode === P_DATA_V2;
}

function some<T>(items: readonly T[], count: number): T[] {
  return items.length === 0 ? [] : Array.from({ length: count }, () => items[randomInt(items.length)]!);
}

/**
 * Without wrapping, control packets have no authentication: one that is altered, or cut and first, is as good as the
 * true one. There only what comes after (a duplicate packet id) and what has a tag can be asked for.
 */
function variants(bytes: Uint8Array): Uint8Array[] {
  // A few each: more would overflow socket buffers, and that loss proves nothing.
  if (isData(bytes)) return [...some(truncations(bytes), 3), ...some(alterations(bytes), 2), bytes];
  const wrapped = when === 'before';
  return [...some(truncations(bytes), 5), ...(wrapped ? some(alterations(bytes), 2) : []), bytes];
}

/** Passes one datagram on, with its harm before and after. */
function passOn(socket: Socket, bytes: Uint8Array, toPort: number, to: string, isHarmed: boolean): void {
  const bad = isHarmed ? variants(bytes) : [];
  // The exact copy only after the original: before, it would be the original.
  if (when === 'before') for (const item of bad.slice(0, -1)) harm(socket, item, toPort, to);
  send(socket, bytes, toPort, to);
  for (const item of bad) harm(socket, item, toPort, to);
}

function relay(): void {
  const inside = createSocket('udp4');
  const outside = createSocket(family);
  let client: { port: number; address: string } | undefined;
  inside.on('message', (bytes, from) => {
    client = from;
    passOn(outside, bytes, port, host!, isReading(pid!, port));
  });
  outside.on('message', bytes => {
    if (client === undefined) return;
    passOn(inside, bytes, client.port, client.address, isReading('self', client.port));
  });
  inside.bind(1194, '127.0.0.1', () => console.log('ready'));
}

function flood(): void {
  const sockets = Array.from({ length: 4 }, () => createSocket(family));
  let kind = 0;
  console.log('ready');
  setInterval(() => {
    if (!isReading(pid!, port)) return;
    for (let i = 0; i < 8; i++) {
      const bytes = randomBytes(randomInt(3) === 0 ? randomInt(1500) : randomInt(64));
      // Opcode and key id in turn; some with an empty acknowledgement list, so that they parse further.
      if (bytes.length > 0) bytes[0] = kind++ & 0xff;
      if (bytes.length > 9 && randomInt(2) === 0) bytes[9] = randomInt(9);
      harm(sockets[i % sockets.length]!, bytes, port, host!);
    }
  }, 5);
}

process.on('SIGTERM', () => {
  console.log(`sent ${sent}`);
  process.exit(0);
});
if (mode === 'relay') relay();
else flood();
