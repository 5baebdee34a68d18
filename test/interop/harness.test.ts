// SPDX-License-Identifier: Apache-2.0
// The harness itself, with stock OpenVPN on both ends: if these rows fail, no other row says anything about ovpnd.

import { deepStrictEqual, match, ok, rejects, strictEqual } from 'node:assert';
import { UP } from './harness/openvpn.ts';
import { ping, pingAll, reach, SteadyPing } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { SERVER_ADDRESSES, SERVER4, startClient, startServer, type Wrap } from './harness/tunnel.ts';

function stockRow(wrap: Wrap, tls: '1.2' | '1.3', family: 4 | 6): Row {
  return {
    title: `openvpn and openvpn, ${wrap}, TLS ${tls}, udp${family}`,
    runtimes: [],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const agreement = { wrap, tls, family, cipher: 'AES-256-GCM' };
      const server = await startServer(world, wire.left, keys, 'openvpn', agreement);
      const client = startClient(world, wire, keys, 'openvpn', agreement);
      await client.process.line(UP);
      await reach(world, wire.right, SERVER4);
      await pingAll(wire.right, SERVER_ADDRESSES);
      match(server.process.output, new RegExp(`Control Channel: TLSv${tls}`));
    },
  };
}

const refusal: Row = {
  title: 'a tunnel that cannot come up fails the row, with the logs of both ends',
  runtimes: [],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const agreement = { wrap: 'tls-crypt' } as const;
    const server = await startServer(world, wire.left, keys, 'openvpn', agreement);
    startClient(world, wire, keys, 'openvpn', agreement, { staticKey: keys.otherStaticKey });
    await server.process.line(/tls-crypt unwrap error/i);
    await rejects(reach(world, wire.right, SERVER4, 300), /not within 300 ms: 10\.8\.0\.1 answers/);
    match(world.tails(), /--- openvpn server-[\s\S]*--- openvpn client0-/);
  },
};

const snapshot: Row = {
  title: 'lost pings are counted and a snapshot shows what a tunnel leaves behind',
  runtimes: [],
  body: async world => {
    const keys = await pki();
    const wire = await world.pair();
    const before = await wire.right.snapshot();
    await startServer(world, wire.left, keys, 'openvpn', {});
    const client = startClient(world, wire, keys, 'openvpn', {});
    await client.process.line(UP);
    await reach(world, wire.right, SERVER4);
    ok((await wire.right.snapshot()) !== before);
    const steady = await SteadyPing.start(wire.right, SERVER4, { intervalS: 0.02 });
    await client.process.stop();
    deepStrictEqual(await ping(wire.right, SERVER4), { sent: 3, received: 0 });
    deepStrictEqual(await ping(wire.left, '10.8.0.2'), { sent: 3, received: 0 });
    const { sent, received } = await steady.stop();
    ok(received < sent - 1, `${received} of ${sent}`);
    strictEqual(await wire.right.snapshot(), before);
  },
};

table('harness', { atOnce: 4 }, [
  ...(['none', 'tls-auth', 'tls-crypt'] as const).map(wrap => stockRow(wrap, '1.3', 4)),
  stockRow('tls-crypt', '1.2', 6),
  refusal,
  snapshot,
]);
