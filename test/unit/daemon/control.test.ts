// SPDX-License-Identifier: Apache-2.0
// Pages of status: every peer once, and each answer fits a message of the bus.

import { deepStrictEqual, ok } from 'node:assert';
import { onePage } from '../../../src/daemon/control.ts';
import { BLOB_BYTES_MAX, encodeTable } from '../../../src/ubus/blob.ts';

describe('daemon/control: pages', () => {
  const peers = Array.from({ length: 20_000 }, (_, i) => ({
    name: `${i}"\\x1b<b>`,
    vpn_addresses: ['10.8.0.2', 'fd42:8::2'],
    routes: [],
    rx_bytes: i,
    cipher: 'AES-256-GCM',
  }));

  it('together they hold every peer once, in order', () => {
    const seen: string[] = [];
    while (seen.length < peers.length) {
      const page = onePage(peers, seen.length);
      ok(page.length > 0);
      ok(encodeTable({ peers: page })!.length < BLOB_BYTES_MAX - 65_536);
      seen.push(...page.map(({ name }) => name));
    }
    deepStrictEqual(
      seen,
      peers.map(({ name }) => name),
    );
  });

  it('one peer is a page however long it is; behind the last there is none, before the first is the first', () => {
    const long = [{ name: 'x'.repeat(500_000) }, { name: 'y' }];
    deepStrictEqual(onePage(long, 0), [long[0]]);
    deepStrictEqual(onePage(long, 2), []);
    deepStrictEqual(onePage(long, -5), [long[0]]);
  });
});
