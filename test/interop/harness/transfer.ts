// SPDX-License-Identifier: Apache-2.0
// A program of its own, run inside a namespace: bytes over TCP, and their SHA-256 at both ends.
//   serve PORT             reads each connection to its end and answers with the digest
//   send HOST PORT BYTES   sends so many random bytes (0: until SIGTERM), prints `connected`, then a JSON line with both digests

import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';

const CHUNK = 100_003;
const [mode, ...words] = process.argv.slice(2);

function serve(port: number): void {
  const server = createServer({ allowHalfOpen: true }, socket => {
    const hash = createHash('sha256');
    socket.on('data', bytes => void hash.update(bytes));
    socket.on('end', () => socket.end(hash.digest('hex')));
    socket.on('error', () => undefined);
  });
  server.listen(port, '::', () => console.log('ready'));
}

function send(host: string, port: number, bytes: number): void {
  const hash = createHash('sha256');
  const socket = connect({ host, port, allowHalfOpen: true });
  let left = bytes === 0 ? Number.POSITIVE_INFINITY : bytes;
  let answer = '';
  let sent = 0;
  const more = (): void => {
    for (let goesOn = true; goesOn; ) {
      if (left <= 0) {
        socket.end();
        return;
      }
      const chunk = randomBytes(Math.min(CHUNK, left));
      left -= chunk.length;
      sent += chunk.length;
      hash.update(chunk);
      goesOn = socket.write(chunk);
    }
  };
  socket.on('connect', () => {
    console.log('connected');
    more();
  });
  socket.on('drain', more);
  socket.setEncoding('latin1').on('data', text => {
    answer += text;
  });
  socket.on('end', () => console.log(JSON.stringify({ sent, ours: hash.digest('hex'), theirs: answer })));
  socket.on('error', error => {
    console.error(`transfer: ${error.message}`);
    process.exit(1);
  });
  process.on('SIGTERM', () => {
    left = 0;
    more();
  });
}

if (mode === 'serve') serve(Number(words[0]));
else send(words[0]!, Number(words[1]), Number(words[2]));
