// SPDX-License-Identifier: Apache-2.0
// Sends or receives bytes over TCP and prints their SHA-256.
//   whole.cjs receive ADDRESS    one connection, to its end
//   whole.cjs send ADDRESS BYTES

import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';

const PORT = 5401;
const PIECE = 1 << 20;
const [mode, host, length] = process.argv.slice(2);
const hash = createHash('sha256');

function finish(): void {
  process.stdout.write(`${hash.digest('hex')}\n`, () => process.exit(0));
}

if (mode === 'receive') {
  const server = createServer(socket => {
    socket.on('data', bytes => hash.update(bytes));
    socket.on('end', () => {
      socket.end(finish);
    });
  });
  server.listen(PORT, host, () => console.log('ready'));
} else {
  const socket = connect(PORT, host ?? '');
  let left = Number(length);
  const send = (): void => {
    while (left > 0) {
      const bytes = randomBytes(Math.min(PIECE, left));
      left -= bytes.length;
      hash.update(bytes);
      if (!socket.write(bytes)) return;
    }
    socket.off('drain', send);
    socket.end();
  };
  socket.on('connect', send).on('drain', send);
  // Read to the end: the receiver closes when it has everything.
  socket.resume().on('end', finish);
}
