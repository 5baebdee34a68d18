// SPDX-License-Identifier: Apache-2.0
// The epoch data format between two ovpnd and with stock OpenVPN 2.7, which alone has it too, on each data plane, with
// renegotiations under traffic. Keys that wear out: test/kernel/epoch.test.ts.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import type { TunnelStatus } from '../../src/daemon/status.ts';
import { isStock } from './harness/openvpn.ts';
import { ping, pingAll } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import { type Agreement, type Ends, runtimesOf, SERVER_ADDRESSES, SERVER4 } from './harness/tunnel.ts';
import { describeEnds, up } from './harness/works.ts';

type Plane = 'native' | 'js';

function row(ends: Ends, planes: { server: Plane; client: Plane }, more: Agreement = {}): Row {
  const { cipher = 'AES-256-GCM', transport = 'udp' } = more;
  return {
    title: `${describeEnds(ends)}: ${planes.server} and ${planes.client} plane, ${cipher}, ${transport}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const often = { reneg_sec: '5' };
      const { wire, server, client } = await up(
        world,
        ends,
        { wrap: 'tls-crypt', ...more },
        {
          server: { options: { data_plane: planes.server, ...(isStock(ends.client) && often) } },
          client: { options: { data_plane: planes.client, ...often } },
        },
      );
      await pingAll(wire.right, SERVER_ADDRESSES);
      const steady = { count: 300, intervalS: 0.05, size: 700 };
      const result = await ping(wire.right, SERVER4, steady);
      deepStrictEqual(result, { sent: 300, received: 300 });
      for (const { ovpnd } of [server, client]) {
        if (ovpnd === undefined) continue;
        const status = (await ovpnd.status()) as unknown as TunnelStatus;
        const peer = status.peers[0]!;
        strictEqual(peer.data_format, 'aead-epoch');
        ok(peer.handshake_age_s < 8, 'it was renegotiated');
        // IPv6 hosts say hello to everybody.
        const { group, 'link-local': local, ...rest } = status.drops.plane;
        deepStrictEqual(rest, {}, `beside ${group} and ${local}`);
      }
    },
  };
}

const OURS: Ends = { server: 'quickjs', client: 'quickjs' };

const JS = { server: 'js', client: 'js' } as const;
const NATIVE = { server: 'native', client: 'native' } as const;

table('epoch data format', { atOnce: 3 }, [
  row(OURS, { server: 'js', client: 'native' }),
  row(OURS, { server: 'native', client: 'js' }, { cipher: 'CHACHA20-POLY1305' }),
  row(OURS, NATIVE, { transport: 'tcp' }),
  row({ server: 'mbedtls', client: 'quickjs' }, NATIVE),
  row({ server: 'asan', client: 'tsan' }, NATIVE),
  row({ server: 'quickjs', client: 'openvpn-2.7' }, NATIVE),
  row({ server: 'quickjs', client: 'openvpn-2.7' }, JS, { cipher: 'CHACHA20-POLY1305' }),
  row({ server: 'openvpn-2.7', client: 'quickjs' }, NATIVE),
  row({ server: 'openvpn-2.7', client: 'quickjs' }, JS),
]);
