// SPDX-License-Identifier: Apache-2.0
// A minute of renegotiations every five seconds under a steady ping, started by each side in each pairing. A packet
// lost at a key switch fails the row.

import { deepStrictEqual, ok } from 'node:assert';
import { isStock } from './harness/openvpn.ts';
import { ping, reach } from './harness/ping.ts';
import { EVERY_FIVE, NEVER, renegotiated, startedBy } from './harness/renegotiation.ts';
import { type Row, table } from './harness/rows.ts';
import { type Ends, runtimesOf, SERVER4 } from './harness/tunnel.ts';
import { pause } from './harness/wait.ts';
import { describeEnds, up } from './harness/works.ts';

const MINUTE_S = 60;
const INTERVAL_S = 0.02;
const COUNT = MINUTE_S / INTERVAL_S;

function row(ends: Ends, starter: 'server' | 'client'): Row {
  return {
    title: `${describeEnds(ends)}, started by the ${starter}`,
    runtimes: runtimesOf(ends),
    isWaiting: true,
    body: async world => {
      const { wire, server, client } = await up(world, ends, { wrap: 'tls-crypt' }, startedBy(starter));
      const [down, upward] = await Promise.all([
        ping(wire.left, '10.8.0.2', { count: COUNT / 2, intervalS: INTERVAL_S * 2 }),
        ping(wire.right, SERVER4, { count: COUNT, intervalS: INTERVAL_S, size: 700 }),
      ]);
      deepStrictEqual(upward, { sent: COUNT, received: COUNT });
      deepStrictEqual(down, { sent: COUNT / 2, received: COUNT / 2 });
      renegotiated([server, client], 10);
      for (const { kind, process } of [server, client]) {
        if (!isStock(kind)) continue;
        ok(process.count(/Peer Connection Initiated/) <= process.count(/Control Channel: TLS/));
      }
    },
  };
}

/** A client that stands still while the server renegotiates and throws it out: it hears so when it goes on. */
const thrownOut: Row = {
  title: 'ovpnd server, openvpn client: thrown out in the middle of a renegotiation',
  runtimes: ['quickjs'],
  isWaiting: true,
  body: async world => {
    const ends = { server: 'quickjs', client: 'openvpn' } as const;
    const { wire, server, client } = await up(world, ends, {}, { server: EVERY_FIVE, client: NEVER });
    client.process.signal('SIGSTOP');
    // By then it has begun, and cannot have ended.
    await pause(5500);
    ok((await server.ovpnd!.ask('disconnect', 'home', 'client0')).code === 0);
    client.process.signal('SIGCONT');
    await client.process.line(/Connection reset command was pushed by server/);
    await reach(world, wire.right, SERVER4);
  },
};

const PAIRS: readonly Ends[] = [
  { server: 'quickjs', client: 'openvpn' },
  { server: 'openvpn', client: 'quickjs' },
];

table('renegotiation every 5 s under a steady ping', { atOnce: 4 }, [
  ...PAIRS.flatMap(ends => [row(ends, 'server'), row(ends, 'client')]),
  thrownOut,
]);
