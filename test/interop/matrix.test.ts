// SPDX-License-Identifier: Apache-2.0
// Every cipher, wrapping, TLS version, transport, family and kind of identity against stock OpenVPN in both roles, and with
// ovpnd on both ends. As many rows as it takes for any two of them to have met; with OVPND_MATRIX=full, all there are.

import { covering, type Dimensions, product } from './harness/covering.ts';
import type { By } from './harness/identities.ts';
import { isStock } from './harness/openvpn.ts';
import { type Row, table } from './harness/rows.ts';
import type { Agreement, Ends } from './harness/tunnel.ts';
import { describeEnds, worksRow } from './harness/works.ts';

type Cell = Required<Omit<Agreement, 'mode'>> & { readonly by: By };

const DIMENSIONS: Dimensions<Cell> = {
  transport: ['udp', 'tcp'],
  family: [4, 6],
  wrap: ['none', 'tls-auth', 'tls-crypt', 'tls-crypt-v2'],
  tls: ['1.3', '1.2'],
  cipher: ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'],
  by: ['certificate', 'fingerprint', 'password'],
};
const AT_ONCE = 6;

const PAIRS: readonly Ends[] = [
  { server: 'quickjs', client: 'openvpn' },
  { server: 'openvpn', client: 'quickjs' },
  { server: 'quickjs', client: 'openvpn-2.7' },
  { server: 'openvpn-2.7', client: 'quickjs' },
  { server: 'quickjs', client: 'quickjs' },
];

/** The same code in other runtimes, with sanitizers and with the other TLS library. */
const BUILDS: readonly Ends[] = [
  { server: 'node', client: 'openvpn' },
  { server: 'openvpn', client: 'node' },
  { server: 'node', client: 'quickjs' },
  { server: 'asan', client: 'openvpn' },
  { server: 'openvpn', client: 'asan' },
  { server: 'mbedtls', client: 'openvpn' },
  { server: 'openvpn', client: 'mbedtls' },
];

/** ovpnd has an oldest TLS version, but no newest: between two of them it is 1.3. */
function dimensionsOf(ends: Ends): Dimensions<Cell> {
  return isStock(ends.server) || isStock(ends.client) ? DIMENSIONS : { ...DIMENSIONS, tls: ['1.3'] };
}

function rowsOf(ends: Ends): Row[] {
  const dimensions = dimensionsOf(ends);
  const few = covering(dimensions);
  const isFull = process.env.OVPND_MATRIX === 'full';
  const cells = isFull
    ? [
        ...product({ ...dimensions, by: ['certificate'] as const }),
        ...few.filter(cell => cell.by !== 'certificate'),
      ]
    : few;
  return cells.map(({ by, ...agreement }) => worksRow(ends, agreement, by));
}

for (const ends of PAIRS) table(`matrix, ${describeEnds(ends)}`, { atOnce: AT_ONCE }, rowsOf(ends));
table(
  'matrix, other builds',
  { atOnce: AT_ONCE },
  covering({ ...DIMENSIONS, ends: BUILDS }).map(({ ends, by, ...agreement }) =>
    worksRow(ends, agreement, by),
  ),
);
