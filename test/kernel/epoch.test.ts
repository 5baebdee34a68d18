// SPDX-License-Identifier: Apache-2.0
// The epoch data format with OpenVPN 2.7, which has it without offload only: agreed on by both ends' own words, kept over
// a renegotiation, and followed by 2.7 when our keys wear out.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { GUEST_PATIENCE_MS } from '../interop/harness/wait.ts';
import { type End, type Extra, type Kind, SERVER_ADDRESSES, SERVER4, up } from './harness/ends.ts';
import { NAMES } from './harness/offload.ts';
import { ping, pingAll } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import type { Scene } from './harness/scene.ts';
import { bundleInto } from './harness/script.ts';

const VERB: Extra = { lines: ['verb 4'] };
/** What 2.7 says of a data key in this format and no other. */
const AGREED = /Outgoing Epoch Data key 1: Cipher 'AES-256-GCM'/;
const RENEWAL_S = 8;

interface Pair {
  readonly ours: End;
  readonly theirs: End;
  readonly right: End['namespace'];
}

async function connect(
  scene: Scene,
  kinds: { readonly server: Kind; readonly client: Kind },
  extra: Extra = {},
): Promise<Pair> {
  const isOurs = (kind: Kind) => kind !== 'plain';
  const extras = { server: isOurs(kinds.server) ? extra : VERB, client: isOurs(kinds.client) ? extra : VERB };
  const { wire, server, client } = await up(scene, kinds, { cipher: 'AES-256-GCM' }, extras);
  const [ours, theirs] = isOurs(kinds.server) ? [server, client] : [client, server];
  await theirs.process.line(AGREED, GUEST_PATIENCE_MS);
  strictEqual((await ours.ovpnd!.status()).peers[0]!.data_format, 'aead-epoch');
  return { ours, theirs, right: wire.right };
}

/** Pings for 15 s: nothing is lost on the way, nothing refused. */
async function steadily({ ours, right }: Pair): Promise<void> {
  const count = 150;
  // A server may speak before the client's keys are in place.
  const { plane: before } = (await ours.ovpnd!.status()).drops;
  const { received } = await ping(right, SERVER4, { count, intervalS: 0.1 });
  strictEqual(received, count, `${count - received} of ${count} pings were lost`);
  await pingAll(right, SERVER_ADDRESSES);
  const { plane } = (await ours.ovpnd!.status()).drops;
  const refused = Object.keys(plane).filter(
    reason => reason !== 'link-local' && reason !== 'group' && plane[reason] !== before[reason],
  );
  deepStrictEqual(refused, []);
}

function row(server: Kind, client: Kind): Row {
  return {
    title: `${NAMES[server]} server, ${NAMES[client]} client: keys wear out and are renewed under traffic`,
    body: async scene => {
      const script = await bundleInto(scene.guest, 'test/kernel/guest/worn-keys.ts');
      const extra = { program: ['ovpnd-run', script], options: { reneg_sec: String(RENEWAL_S) } };
      const pair = await connect(scene, { server, client }, extra);
      await steadily(pair);
      const { process } = pair.theirs;
      // What 2.7 itself sends with, two epochs on.
      await process.line(/Outgoing Epoch Data key 3/, GUEST_PATIENCE_MS);
      const handshakes = process.count(/Control Channel: TLS/);
      ok(handshakes >= 2, `${handshakes} handshakes`);
      strictEqual((await pair.ours.ovpnd!.status()).peers[0]!.data_format, 'aead-epoch');
    },
  };
}

table('epoch data format', 2, [row('native', 'plain'), row('plain', 'native')]);
