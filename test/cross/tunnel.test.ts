// SPDX-License-Identifier: Apache-2.0
// The programs of the packages, emulated, against the stock OpenVPN of this machine: real sockets, real devices, both roles.

import { table } from '../interop/harness/rows.ts';
import type { Agreement } from '../interop/harness/tunnel.ts';
import { worksRow } from '../interop/harness/works.ts';

const AGREEMENTS: readonly Agreement[] = [
  { cipher: 'AES-256-GCM', wrap: 'tls-crypt', tls: '1.3', family: 6 },
  { cipher: 'CHACHA20-POLY1305', wrap: 'tls-auth', tls: '1.2', family: 4 },
];

const rows = (['arm', 'aarch64', 'mips'] as const).flatMap(arch => [
  worksRow({ server: arch, client: 'openvpn' }, AGREEMENTS[0]!),
  worksRow({ server: 'openvpn', client: arch }, AGREEMENTS[1]!),
]);

table(
  'packages of other architectures',
  { atOnce: 3 },
  rows.map(row => ({ ...row, timeoutMs: 300_000 })),
);
