// SPDX-License-Identifier: Apache-2.0
// A TLS client that takes short records only (max_fragment_length) gets no longer ones, also after the handshake.

import { equal, match } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TlsEngine } from '../../src/core/tls.ts';
import { type Identity, makeAuthority, makeLeaf } from './certificates.ts';
import { serverHost, temporary } from './support.ts';

const WORDS = 'x'.repeat(3000);

function serve(socket: Socket, engine: TlsEngine): void {
  let isSaid = false;
  socket.on('error', () => undefined);
  socket.on('data', bytes => {
    engine.feed(bytes);
    if (engine.status() === 'established' && !isSaid) isSaid = engine.write(new TextEncoder().encode(WORDS));
    for (let out = engine.pull(65_536); out !== undefined; out = engine.pull(65_536)) socket.write(out);
  });
}

/** What the client has read, and what it complains of. */
function talk(version: string, ca: Identity): Promise<{ read: string; said: string }> {
  const own = makeLeaf('server', { authority: 'test-ca', usage: 'serverAuth' });
  const client = makeLeaf('client', { authority: 'test-ca', usage: 'clientAuth' });
  const made = serverHost().tlsContext({
    ...{ role: 'server', versionMin: version, versionMax: version, verifyPeer: 'require' },
    ...{ ...own, ca: ca.cert },
  } as Parameters<ReturnType<typeof serverHost>['tlsContext']>[0]);
  if ('failed' in made) throw new Error(made.text);
  const engine = made.open();
  made.close();
  writeFileSync(temporary('short.pem'), Buffer.concat([client.cert, client.key]));
  return new Promise(resolve => {
    const listener = createServer(socket => serve(socket, engine)).listen(0, '127.0.0.1', () => {
      const to = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
      const pem = ['-cert', temporary('short.pem'), '-key', temporary('short.pem')];
      const child = spawn('openssl', ['s_client', '-quiet', '-connect', to, ...pem, '-maxfraglen', '512']);
      let read = '';
      let said = '';
      const end = (): boolean => child.kill();
      const late = setTimeout(end, 10_000);
      child.stdout.on('data', bytes => {
        read += bytes;
        if (read.length >= WORDS.length) end();
      });
      child.stderr.on('data', bytes => {
        said += bytes;
      });
      child.on('close', () => {
        clearTimeout(late);
        listener.close();
        engine.close();
        resolve({ read, said });
      });
    });
  });
}

describe('TLS records', () => {
  for (const version of ['1.2', '1.3'] as const) {
    it(`are as short as a client with a certificate wants them, TLS ${version}`, async () => {
      const { read, said } = await talk(version, makeAuthority('test-ca'));
      match(said, /verify return/);
      equal(read, WORDS, said);
    });
  }
});
