// SPDX-License-Identifier: Apache-2.0
// The programs of the packages, emulated, against the stock OpenVPN of this machine: real sockets, real devices, both roles.

import type { Namespace } from '../interop/harness/namespace.ts';
import { pingAll } from '../interop/harness/ping.ts';
import { type Row, table } from '../interop/harness/rows.ts';
import { type Agreement, type Ends, SERVER_ADDRESSES } from '../interop/harness/tunnel.ts';
import { up, worksRow } from '../interop/harness/works.ts';

const AGREEMENTS: readonly Agreement[] = [
  { cipher: 'AES-256-GCM', wrap: 'tls-crypt', tls: '1.3', family: 6 },
  { cipher: 'CHACHA20-POLY1305', wrap: 'tls-auth', tls: '1.2', family: 4 },
];

const PATIENCE = 5;

/** An emulator on a busy machine may answer later than a ping waits: what must come through is asked again. */
async function pingPatiently(from: Namespace): Promise<void> {
  for (let left = PATIENCE; ; left--) {
    try {
      return await pingAll(from, SERVER_ADDRESSES);
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}

function row(ends: Ends, agreement: Agreement): Row {
  return {
    ...worksRow(ends, agreement),
    body: async world => pingPatiently((await up(world, ends, agreement)).wire.right),
  };
}

/** Both planes that a program has by itself, on the byte order that no other test has. */
function planeRow(plane: 'native' | 'js'): Row {
  return {
    title: `ovpnd on MIPS server, openvpn client: ${plane} plane`,
    runtimes: ['mips'],
    body: async world => {
      const extra = { server: { options: { data_plane: plane } } };
      const { wire } = await up(world, { server: 'mips', client: 'openvpn' }, { wrap: 'tls-crypt' }, extra);
      await pingPatiently(wire.right);
    },
  };
}

const rows = (['arm', 'aarch64', 'mips'] as const).flatMap(arch => [
  row({ server: arch, client: 'openvpn' }, AGREEMENTS[0]!),
  row({ server: 'openvpn', client: arch }, AGREEMENTS[1]!),
]);

table('packages of other architectures', { atOnce: 3 }, [...rows, planeRow('native'), planeRow('js')]);
