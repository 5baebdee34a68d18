// SPDX-License-Identifier: Apache-2.0
// ovpnd on the kernel's data plane with every kind of other end, cipher and address family; and the proof that its
// packets do not pass through the process.

import { strictEqual } from 'node:assert';
import { type Agreement, type Kind, SERVER_ADDRESSES, SERVER4, startClient, up } from './harness/ends.ts';
import { K, NAMES, offloaded } from './harness/offload.ts';
import { pingAll, reach } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';

const PAIRS: readonly (readonly [server: Kind, client: Kind])[] = [
  [K, 'dco'],
  [K, 'plain'],
  ['dco', K],
  ['plain', K],
  [K, K],
  [K, 'js'],
  ['js', K],
];

const AGREEMENTS: readonly Agreement[] = [
  { cipher: 'AES-256-GCM', family: 4 },
  { cipher: 'AES-256-GCM', family: 6 },
  { cipher: 'CHACHA20-POLY1305', family: 4 },
  { cipher: 'CHACHA20-POLY1305', family: 6 },
];

function row(server: Kind, client: Kind, agreement: Agreement): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: ${agreement.cipher}, udp${agreement.family}`,
    body: async scene => {
      const { wire } = await up(scene, { server, client }, agreement);
      await pingAll(wire.right, SERVER_ADDRESSES);
    },
  };
}

function peerRow(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: mode p2p`,
    body: async scene => {
      const agreement: Agreement = { mode: 'p2p' };
      const { wire, client: first } = await up(scene, { server, client }, agreement);
      await pingAll(wire.right, SERVER_ADDRESSES);
      // OpenVPN gives a peer that comes again a second for the rest of its handshake, which is little in here.
      if (server !== K) return;
      // Without a word: the old peer is still there.
      await first.process.stop();
      await startClient(scene, wire, client, agreement);
      await reach(scene, wire.right, SERVER4);
    },
  };
}

table(
  'kernel plane',
  2,
  PAIRS.flatMap(([server, client]) => AGREEMENTS.map(agreement => row(server, client, agreement))),
);

table('kernel plane, one peer', 2, [peerRow(K, 'dco'), peerRow('dco', K)]);

const PINGS = 1000;

function sleepRow(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: ${PINGS} pings do not wake the process`,
    body: async scene => {
      const tunnel = await up(scene, { server, client });
      const ends = [tunnel.server, tunnel.client].filter(end => end.ovpnd !== undefined);
      const { received } = await offloaded(tunnel.client, SERVER4, ends, PINGS);
      strictEqual(received, PINGS);
    },
  };
}

table('packets stay in the kernel', 1, [
  sleepRow(K, 'dco'),
  sleepRow('dco', K),
  sleepRow(K, K),
  {
    title: 'the measure itself: on the js plane every packet wakes the process',
    body: async scene => {
      const { server, client } = await up(scene, { server: 'js', client: 'plain' });
      await offloaded(client, SERVER4, [server], 200);
    },
  },
]);
