// SPDX-License-Identifier: Apache-2.0
// A program of its own, run inside a namespace: TCP connections that mean no good.
//   garbage HOST PORT    random bytes, one connection after the other, several at once
//   zero HOST PORT       records of length 0
//   huge HOST PORT       records of length 65535, and bytes without end behind it
//   slow HOST PORT       forty connections that send a byte a second
//   idle HOST PORT       four hundred connections that say nothing; one that is closed is opened again a second later
//   reset HOST PORT      connections that are reset in the middle of a record
//   cut HOST PORT        a relay on 127.0.0.1:1194 that resets both sides after 40 bytes, then after more and more
// Every tenth of a second and at SIGTERM it prints one JSON line: connections made, how many of them the other side closed, the most open at once.

import { randomBytes, randomInt } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';

const [mode, host, portText] = process.argv.slice(2);
const port = Number(portText);
let made = 0;
let closed = 0;
let open = 0;
let most = 0;

interface Manner {
  /** Connections at once. */
  readonly many: number;
  /** What a connection does once it is there. */
  readonly act: (socket: Socket) => void;
  /** Milliseconds until a connection that ended is replaced. */
  readonly again: number;
}

function begin(manner: Manner): void {
  const socket = connect({ host: host!, port });
  let isThere = false;
  socket.on('connect', () => {
    isThere = true;
    made++;
    most = Math.max(most, ++open);
    manner.act(socket);
  });
  socket.on('data', () => undefined);
  socket.on('error', () => undefined);
  socket.on('end', () => closed++);
  socket.on('close', () => {
    if (isThere) open--;
    setTimeout(() => begin(manner), manner.again);
  });
}

/** Writes as long as the other side takes it. */
function pour(socket: Socket, bytes: () => Uint8Array): void {
  const more = (): void => {
    if (socket.writable) socket.write(bytes(), () => setTimeout(more, 1));
  };
  more();
}

function drip(socket: Socket): void {
  // Begins as a packet of 54 bytes would.
  const bytes = Uint8Array.from([0, 54, 0x38, ...randomBytes(60)]);
  let at = 0;
  const timer = setInterval(() => {
    if (socket.writable && at < bytes.length) socket.write(bytes.subarray(at, ++at));
    else clearInterval(timer);
  }, 1000);
}

function record(length: number): Uint8Array {
  return Uint8Array.from([length >> 8, length & 0xff]);
}

/** Each connection goes twice as far as the one before. */
function cut(): void {
  const server = createServer(inside => {
    let left = 40 * 2 ** made++;
    const outside = connect({ host: host!, port });
    for (const [from, to] of [
      [inside, outside],
      [outside, inside],
    ] as const) {
      from.on('error', () => undefined);
      from.on('end', () => to.end());
      from.on('close', () => to.destroy());
      from.on('data', bytes => {
        to.write(bytes.subarray(0, Math.max(0, left)));
        left -= bytes.length;
        if (left >= 0) return;
        // What is under way arrives before the reset does.
        setTimeout(() => {
          inside.resetAndDestroy();
          outside.resetAndDestroy();
        }, 5);
      });
    }
  });
  server.listen(1194, '127.0.0.1', () => console.log('ready'));
}

const MANNERS: Readonly<Record<string, Manner>> = {
  garbage: { many: 8, again: 20, act: socket => pour(socket, () => randomBytes(randomInt(1, 3000))) },
  zero: { many: 4, again: 20, act: socket => socket.write(record(0)) },
  huge: {
    many: 4,
    again: 20,
    act: socket => {
      socket.write(record(65_535));
      pour(socket, () => randomBytes(1400));
    },
  },
  slow: { many: 40, again: 1000, act: drip },
  idle: { many: 400, again: 1000, act: () => undefined },
  reset: {
    many: 8,
    again: 20,
    act: socket => {
      socket.write(Uint8Array.from([0, 54, 0x38, ...randomBytes(randomInt(40))]));
      setTimeout(() => socket.resetAndDestroy(), randomInt(30));
    },
  },
};

const report = (): void => console.log(JSON.stringify({ made, closed, most, open }));
process.on('SIGTERM', () => {
  report();
  process.exit(0);
});

if (mode === 'cut') cut();
else {
  const manner = MANNERS[mode!]!;
  for (let i = 0; i < manner.many; i++) begin(manner);
  console.log('ready');
  setInterval(report, 100);
}
