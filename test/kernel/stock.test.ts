// SPDX-License-Identifier: Apache-2.0
// Stock OpenVPN 2.7 with itself: proves that the kernel, the modules and the harness can do what ovpnd is then asked for.

import { type Agreement, SERVER_ADDRESSES, up } from './harness/ends.ts';
import { pingAll } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';

function row(agreement: Agreement): Row {
  return {
    title: `dco server, dco client: ${agreement.cipher}, udp${agreement.family}`,
    body: async scene => {
      const { wire, server, client } = await up(scene, { server: 'dco', client: 'dco' }, agreement);
      await pingAll(wire.right, SERVER_ADDRESSES);
      const said = new RegExp(`Data Channel: cipher '${agreement.cipher}'`);
      for (const end of [server, client]) await end.process.line(said);
    },
  };
}

table('stock OpenVPN 2.7', 2, [
  row({ cipher: 'AES-256-GCM', family: 4 }),
  row({ cipher: 'AES-256-GCM', family: 6 }),
  row({ cipher: 'CHACHA20-POLY1305', family: 4 }),
  row({ cipher: 'CHACHA20-POLY1305', family: 6 }),
]);
