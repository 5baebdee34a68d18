// SPDX-License-Identifier: Apache-2.0
// Every cipher, wrapping, TLS version and transport against stock OpenVPN, in both roles; then the core of it with
// ovpnd on both ends, on Node, and with sanitizers.

import { type Row, table } from './harness/rows.ts';
import type { Ends, Wrap } from './harness/tunnel.ts';
import { describeEnds, worksRow } from './harness/works.ts';

const CIPHERS = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'] as const;
const WRAPS: readonly Wrap[] = ['none', 'tls-auth', 'tls-crypt'];
const AT_ONCE = 6;

function everything(ends: Ends): Row[] {
  return ([4, 6] as const).flatMap(family =>
    (['1.3', '1.2'] as const).flatMap(tls =>
      WRAPS.flatMap(wrap => CIPHERS.map(cipher => worksRow(ends, { cipher, wrap, tls, family }))),
    ),
  );
}

/** Each cipher with each wrapping; transports take turns. */
function core(ends: Ends): Row[] {
  return WRAPS.flatMap((wrap, i) =>
    CIPHERS.map((cipher, k) => worksRow(ends, { cipher, wrap, family: (i + k) % 2 === 0 ? 4 : 6 })),
  );
}

/** Each wrapping once; ciphers and transports take turns. */
function sample(ends: Ends): Row[] {
  return WRAPS.map((wrap, i) =>
    worksRow(ends, { cipher: CIPHERS[i + 1]!, wrap, family: 4, transport: i % 2 === 0 ? 'udp' : 'tcp' }),
  );
}

const STOCK_PAIRS: readonly Ends[] = [
  { server: 'quickjs', client: 'openvpn' },
  { server: 'openvpn', client: 'quickjs' },
];

const CORE_PAIRS: readonly Ends[] = [
  { server: 'quickjs', client: 'quickjs' },
  { server: 'node', client: 'openvpn' },
  { server: 'openvpn', client: 'node' },
  { server: 'node', client: 'quickjs' },
  { server: 'asan', client: 'openvpn' },
  { server: 'openvpn', client: 'asan' },
];

for (const ends of STOCK_PAIRS) table(`matrix, ${describeEnds(ends)}`, { atOnce: AT_ONCE }, everything(ends));
for (const ends of CORE_PAIRS) table(`core, ${describeEnds(ends)}`, { atOnce: AT_ONCE }, core(ends));
table('OpenVPN 2.7', { atOnce: AT_ONCE }, [
  ...sample({ server: 'quickjs', client: 'openvpn-2.7' }),
  ...sample({ server: 'openvpn-2.7', client: 'quickjs' }),
]);
