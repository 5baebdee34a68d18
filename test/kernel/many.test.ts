// SPDX-License-Identifier: Apache-2.0
// Two hundred peers added to the kernel and taken away: at each step its table is the plane's.

import { match, strictEqual } from 'node:assert';
import { GUEST_PATIENCE_MS } from '../interop/harness/wait.ts';
import { table } from './harness/rows.ts';
import { bundleInto } from './harness/script.ts';

const PEERS = 200;

table('many peers', 1, [
  {
    title: `${PEERS} peers added and removed: the kernel's dump is the plane's table`,
    body: async scene => {
      const namespace = await scene.namespace();
      await namespace.run(['ip', 'link', 'set', 'lo', 'up']);
      const script = await bundleInto(scene.guest, 'test/kernel/guest/many-peers.ts');
      const child = scene.spawn('many peers', namespace, ['ovpnd-run', script, String(PEERS)]);
      child.isEnding = true;
      await child.line(/^full$/);
      const { peers } = JSON.parse(await namespace.run(['ovpn-peers', 'many'])) as { peers: unknown[] };
      strictEqual(peers.length, PEERS);
      await child.ended(GUEST_PATIENCE_MS);
      match(child.output, /^done$/m, child.output);
    },
  },
]);
