// SPDX-License-Identifier: Apache-2.0
// Where the kernel cannot carry the packets: ovpnd says why, and the tunnel works on the next plane.

import { ok, strictEqual } from 'node:assert';
import { type Agreement, SERVER_ADDRESSES, startClient, startServer } from './harness/ends.ts';
import type { Guest } from './harness/guest.ts';
import type { Namespace } from './harness/namespace.ts';
import { pingAll, reach } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import type { Scene } from './harness/scene.ts';

/** Takes modules out of the kernel and out of its reach until the scene ends. */
async function hideModules(scene: Scene, ...names: readonly string[]): Promise<void> {
  const { guest } = scene;
  const hide = (name: string): string =>
    `for f in $(find /usr/lib/modules -name '${name}.ko*'); do mv $f $f.hidden; done; ` +
    `! grep -q '^${name.replaceAll('-', '_')} ' /proc/modules || rmmod ${name}`;
  for (const name of names) await guest.sh(hide(name));
  scene.atEnd(() => unhide(guest));
}

function unhide(guest: Guest): Promise<string> {
  return guest.sh(
    'for f in $(find /usr/lib/modules -name "*.hidden"); do mv $f $(echo $f | sed s/.hidden//); done',
  );
}

/** An ovpnd server that may choose, with a client whose packets take any way. */
async function fallsBack(scene: Scene, namespaces: FallbackPlace, agreement: Agreement, reason: RegExp) {
  const { left, right, before } = namespaces;
  const wire = await scene.wire(left, right);
  const extra = before === undefined ? {} : { before };
  const server = await startServer(scene, left, 'auto', agreement, extra);
  const { data_plane } = await server.ovpnd!.status();
  ok(data_plane.name !== 'kernel', 'the kernel plane although it cannot work');
  const said = data_plane.reasons.find(text => text.startsWith('kernel: '));
  ok(said !== undefined && reason.test(said), `reasons: ${data_plane.reasons.join('; ')}`);
  await startClient(scene, wire, 'plain', agreement);
  await reach(scene, right, SERVER_ADDRESSES[0]);
  await pingAll(right, SERVER_ADDRESSES);
}

interface FallbackPlace {
  readonly left: Namespace;
  readonly right: Namespace;
  readonly before?: readonly string[];
}

async function place(scene: Scene): Promise<FallbackPlace> {
  return { left: await scene.namespace(), right: await scene.namespace() };
}

const absent: Row = {
  title: 'no module',
  body: async scene => {
    await hideModules(scene, 'ovpn');
    await fallsBack(scene, await place(scene), {}, /module/);
  },
};

const noAesGcm: Row = {
  title: 'the module without AES-GCM',
  body: async scene => {
    await hideModules(scene, 'gcm', 'aesni-intel');
    await fallsBack(scene, await place(scene), { cipher: 'AES-256-GCM' }, /AES|gcm/i);
  },
};

const unprivileged: Row = {
  title: 'root of a user namespace only: links may be made, but no peers',
  body: async scene => {
    const right = await scene.namespace();
    const holder = scene.spawn('holder', right, ['unshare', '-U', '-r', '-n', 'sleep', '1000']);
    const pid = await holder.pid();
    const left = await scene.adopt(pid);
    const before = ['nsenter', '-t', String(pid), '-U', '--preserve-credentials'];
    await fallsBack(scene, { left, right, before }, {}, /permi|privileg|EPERM|CAP_NET_ADMIN/i);
    strictEqual(holder.exit, undefined);
  },
};

table('without the kernel', 1, [absent, noAesGcm, unprivileged]);
