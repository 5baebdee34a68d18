// SPDX-License-Identifier: Apache-2.0
// ovpnd on its own data plane against stock OpenVPN 2.7, whose packets the kernel carries or does not.

import { type Agreement, type Kind, SERVER_ADDRESSES, up } from './harness/ends.ts';
import { pingAll } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';

const NAMES: Partial<Record<Kind, string>> = {
  js: 'ovpnd (js)',
  dco: 'OpenVPN 2.7 with DCO',
  plain: 'OpenVPN 2.7 without DCO',
};

function row(server: Kind, client: Kind, agreement: Agreement): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: ${agreement.cipher}, udp${agreement.family}`,
    body: async scene => {
      const { wire } = await up(scene, { server, client }, agreement);
      await pingAll(wire.right, SERVER_ADDRESSES);
    },
  };
}

const STOCK = ['dco', 'plain'] as const;
const AGREEMENTS: readonly Agreement[] = [
  { cipher: 'AES-256-GCM', family: 4 },
  { cipher: 'CHACHA20-POLY1305', family: 6 },
];

table(
  'ovpnd and OpenVPN 2.7',
  2,
  STOCK.flatMap(kind =>
    AGREEMENTS.flatMap(agreement => [row('js', kind, agreement), row(kind, 'js', agreement)]),
  ),
);
