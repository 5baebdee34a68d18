// SPDX-License-Identifier: Apache-2.0
// A program of its own, run inside a namespace: a name server that answers every question for an IPv4 address with
// the one it was given, and has nothing else.
//   names OWN ADDRESS      OWN: where it listens

import { createSocket } from 'node:dgram';

const TYPE_A = 1;
const HEADER = 12;
const address = process.argv[3]!.split('.').map(Number);
const socket = createSocket('udp4');

socket.on('message', (query, { port, address: from }) => {
  const end = query.indexOf(0, HEADER) + 5;
  const isA = query.readUInt16BE(end - 4) === TYPE_A;
  const header = Buffer.from(query.subarray(0, HEADER));
  // A response, recursion available, one question, no or one answer.
  header.writeUInt16BE(0x8180, 2);
  header.writeUInt16BE(isA ? 1 : 0, 6);
  header.fill(0, 8);
  const answer = Buffer.from([0xc0, HEADER, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, ...address]);
  socket.send(Buffer.concat([header, query.subarray(HEADER, end), ...(isA ? [answer] : [])]), port, from);
});
socket.bind(53, process.argv[2], () => console.log('ready'));
