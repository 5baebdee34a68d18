// SPDX-License-Identifier: Apache-2.0
// wireguard-go as a further entrant, where the machine has it. Configured by its own socket: no other tool is needed.

import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { Namespace } from '../interop/harness/namespace.ts';
import { reach } from '../interop/harness/ping.ts';
import type { Process } from '../interop/harness/process.ts';
import { SERVER4 } from '../interop/harness/tunnel.ts';
import { until } from '../interop/harness/wait.ts';
import { World } from '../interop/harness/world.ts';
import type { Plan } from './plan.ts';
import { Site, setWire } from './site.ts';

export const hasWireguard = (): boolean =>
  spawnSync('wireguard-go', ['--version'], { stdio: 'ignore' }).error === undefined;

const PORT = 51820;
const MTU = 1420;
const RAW_LENGTH = 32;

/** Hex of the raw key, which is the end of its DER. */
function raw(key: KeyObject): string {
  const type = key.type === 'public' ? 'spki' : 'pkcs8';
  return Buffer.from(key.export({ type, format: 'der' }))
    .subarray(-RAW_LENGTH)
    .toString('hex');
}

function configure(path: string, lines: readonly string[]): Promise<void> {
  return new Promise((done, fail) => {
    const socket = connect(path, () => socket.write(`set=1\n${lines.join('\n')}\n\n`));
    socket.once('error', fail).once('data', answer => {
      socket.destroy();
      if (/errno=0/.test(answer.toString())) done();
      else fail(new Error(`wireguard-go: ${answer}`));
    });
  });
}

async function end(world: World, namespace: Namespace, device: string, address: string): Promise<Process> {
  // Its sockets live in one folder for the whole machine, whatever the namespace.
  const path = `/var/run/wireguard/${device}.sock`;
  process.once('exit', () => rmSync(path, { force: true }));
  const child = world.spawn('wireguard-go', namespace, ['wireguard-go', '-f', device]);
  await until('wireguard-go listens', 5000, () =>
    configure(path, []).then(
      () => true,
      () => false,
    ),
  );
  await namespace.ip(`addr add ${address}/24 dev ${device}`, `link set ${device} mtu ${MTU} up`);
  return child;
}

/** Both ends; the client is 10.8.0.2. */
export async function openWireguard(model: Plan['wire']): Promise<Site> {
  const world = new World();
  const wire = await world.pair();
  await setWire(wire, model);
  const devices = [`wgb${process.pid}s`, `wgb${process.pid}c`] as const;
  const server = await end(world, wire.left, devices[0], SERVER4);
  const client = await end(world, wire.right, devices[1], '10.8.0.2');
  const [serverKey, clientKey] = [generateKeyPairSync('x25519'), generateKeyPairSync('x25519')];
  await configure(`/var/run/wireguard/${devices[0]}.sock`, [
    `private_key=${raw(serverKey.privateKey)}`,
    `listen_port=${PORT}`,
    `public_key=${raw(clientKey.publicKey)}`,
    'allowed_ip=10.8.0.2/32',
  ]);
  await configure(`/var/run/wireguard/${devices[1]}.sock`, [
    `private_key=${raw(clientKey.privateKey)}`,
    `public_key=${raw(serverKey.publicKey)}`,
    `endpoint=${wire.left4}:${PORT}`,
    'allowed_ip=10.8.0.0/24',
  ]);
  await reach(world, wire.right, SERVER4);
  return new Site({
    name: 'wireguard-go',
    world,
    wire,
    from: wire.right,
    to: wire.left,
    address: SERVER4,
    address6: undefined,
    daemons: [client, server],
    server: undefined,
  });
}
