// SPDX-License-Identifier: Apache-2.0
// The programs of the packages, emulated, against the stock OpenVPN of this machine: real sockets, real devices, both roles.

import { pingAll } from '../interop/harness/ping.ts';
import { type Row, table } from '../interop/harness/rows.ts';
import { type Agreement, SERVER_ADDRESSES } from '../interop/harness/tunnel.ts';
import { up, worksRow } from '../interop/harness/works.ts';

const AGREEMENTS: readonly Agreement[] = [
  { cipher: 'AES-256-GCM', wrap: 'tls-crypt', tls: '1.3', family: 6 },
  { cipher: 'CHACHA20-POLY1305', wrap: 'tls-auth', tls: '1.2', family: 4 },
];

/** Both planes that a program has by itself, on the byte order that no other test has. */
function planeRow(plane: 'native' | 'js'): Row {
  return {
    title: `ovpnd on MIPS server, openvpn client: ${plane} plane`,
    runtimes: ['mips'],
    body: async world => {
      const extra = { server: { options: { data_plane: plane } } };
      const { wire } = await up(world, { server: 'mips', client: 'openvpn' }, { wrap: 'tls-crypt' }, extra);
      await pingAll(wire.right, SERVER_ADDRESSES);
    },
  };
}

const rows = (['arm', 'aarch64', 'mips'] as const).flatMap(arch => [
  worksRow({ server: arch, client: 'openvpn' }, AGREEMENTS[0]!),
  worksRow({ server: 'openvpn', client: arch }, AGREEMENTS[1]!),
]);

table(
  'packages of other architectures',
  { atOnce: 3 },
  [...rows, planeRow('native'), planeRow('js')].map(row => ({ ...row, timeoutMs: 300_000 })),
);
