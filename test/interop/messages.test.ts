// SPDX-License-Identifier: Apache-2.0
// What a stock server says beside its push reply, led by its management interface: authentication that goes on
// elsewhere, restarts with their flags, the end.

import { strictEqual } from 'node:assert';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { ping, reach } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS, until } from './harness/wait.ts';

/** OpenVPN's management interface, which decides who comes in. */
class Management {
  private readonly socket: Socket;
  private text = '';

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on('error', () => undefined);
    this.socket.on('data', data => {
      this.text += data.toString();
    });
  }

  say(line: string): void {
    this.socket.write(`${line}\n`);
  }

  /** The client with this number asks to come in; its `CID KID`. */
  async asked(number: number): Promise<string> {
    const pattern = new RegExp(`>CLIENT:CONNECT,(${number}),([0-9]+)`);
    const [, cid, kid] = await until(
      `client ${number} asks`,
      PATIENCE_MS,
      () => pattern.exec(this.text) ?? undefined,
    );
    return `${cid} ${kid}`;
  }

  close(): void {
    this.socket.destroy();
  }
}

const all: Row = {
  title: 'AUTH_PENDING with INFO_PRE, RESTART with and without flags, HALT',
  runtimes: ['quickjs'],
  body: async world => {
    const wire = await world.pair();
    const path = join(world.dir, 'management');
    // Both families.
    const lines = [`management ${path} unix`, 'management-client-auth', 'proto udp6'];
    const keys = await pki();
    const server = await startServer(world, wire.left, keys, 'openvpn', {}, { lines });
    const management = new Management(path);
    const remote = [`${wire.left4} 1194 udp4`, `${wire.left6} 1194 udp6`];
    const options = {
      remote,
      connect_retry: '1 1',
      username: 'anna',
      password: 'x',
      server_poll_timeout: '60',
    };
    const client = startClient(world, wire, keys, 'quickjs', {}, { options });
    const connections = () => client.process.count(/office: info: connected: /);

    const first = await management.asked(0);
    management.say(`client-pending-auth ${first} "WEB_AUTH::https://sso.example.org/x" 120`);
    await client.process.line(/still authenticating us, up to 120 s/, PATIENCE_MS);
    strictEqual(connections(), 0);
    strictEqual((await ping(wire.right, SERVER4, { count: 1 })).received, 0);
    management.say(`client-auth-nt ${first}`);
    await reach(world, wire.right, SERVER4);

    for (const [number, message, said] of [
      [1, 'RESTART', /the server restarts; next/],
      [2, 'RESTART,[P]come again', /the server restarts: \[P\]come again; next/],
      [3, 'RESTART,[N]', /the server restarts: \[N\]; next/],
    ] as const) {
      management.say(`client-kill ${number - 1} "${message}"`);
      await client.process.line(said, PATIENCE_MS);
      management.say(`client-auth-nt ${await management.asked(number)}`);
      await until('it is back', PATIENCE_MS, () => connections() === number + 1);
      // Only that flag takes it to the next of its remotes.
      const at = String((await client.ovpnd!.status()).remote);
      strictEqual(at, `${number === 3 ? wire.left6 : wire.left4} 1194 udp`);
    }
    await reach(world, wire.right, SERVER4);
    management.say('client-kill 3 "HALT,closed"');
    await client.process.line(
      /the server ended the connection \(HALT: closed\); next attempt in (6|7)[0-9] s/,
      PATIENCE_MS,
    );
    strictEqual(server.process.exit, undefined);
    management.close();
  },
};

table('messages of a server', { atOnce: 1 }, [all]);
