// SPDX-License-Identifier: Apache-2.0
// Runs in the guest: hundreds of peers with keys on the real kernel plane, without handshakes; after every batch the
// kernel's own dump must be the plane's table, at the end both must be empty.

import { currentHost } from '../../../src/host/current.ts';
import { isFailure } from '../../../src/host/host.ts';
import { createKernelPlane } from '../../../src/plane/kernel.ts';
import { openKernelGround } from '../../../src/plane/kernelground.ts';

const host = currentHost();
const PEERS = Number(host.args[0] ?? 200);
const BATCH = 50;

function check(isTrue: boolean, text: string): void {
  if (isTrue) return;
  host.print(1, `FAILED: ${text}\n`);
  host.exit(1);
}

const socket = host.openUdp({ family: 4, port: 0 });
if (isFailure(socket)) throw new Error(socket.text);
const ground = openKernelGround({
  device: 'many',
  mode: 'mp',
  ciphers: ['AES-256-GCM'],
  openNetlink: (protocol, receiveBuffer) => host.openNetlink(protocol, receiveBuffer),
  openProbeSocket: () => {
    const probe = host.openUdp({ family: 4, ip: new Uint8Array([127, 0, 0, 1]), port: 0 });
    return isFailure(probe) ? probe.text : probe;
  },
});
if ('reason' in ground) throw new Error(ground.reason);

const notices: string[] = [];
const plane = createKernelPlane({
  ground,
  addresses: [{ ip: new Uint8Array([10, 8, 0, 1]), bits: 16 }],
  socketFd: () => socket.fd,
  monotonicMs: () => host.monotonicMs(),
  sink: {
    notice: notice => notices.push(notice.kind),
    warn: text => host.print(1, `warn: ${text}\n`),
    broken: reason => check(false, reason),
  },
});

const half = { key: host.random(32), nonceTail: host.random(8) };
const other = { key: host.random(32), nonceTail: host.random(8) };
let now = host.monotonicMs();

function same(wanted: number, when: string): void {
  // One dump a second: the next one is due by then.
  now += 2000;
  const inPlane = plane.peers().filter(peer => peer.primary !== undefined).length;
  check(inPlane === wanted, `${when}: the plane has ${inPlane}, not ${wanted}`);
  plane.tick(now + 20_000);
  check(plane.peers().length === wanted, `${when}: after a comparison it has ${plane.peers().length}`);
  host.print(1, `${when}: ${wanted}\n`);
}

for (let id = 0; id < PEERS; id++) {
  const path = { socket: 1, remote: { ip: new Uint8Array([192, 0, 2, 1]), port: 1 + id } };
  const vpnIp4 = new Uint8Array([10, 8, 1 + (id >> 8), id & 255]);
  const keepalive = { intervalS: 1000, timeoutS: 3000 };
  const refused =
    plane.addPeer({ peerId: id, path, vpnIp4, keepalive }, now) ??
    plane.addKey(
      {
        format: 'aead',
        peerId: id,
        slot: 'primary',
        keyId: 0,
        cipher: 'AES-256-GCM',
        encrypt: half,
        decrypt: other,
      },
      now,
    );
  check(refused === undefined, `peer ${id}: ${refused?.text}`);
  if (id % BATCH === BATCH - 1) same(id + 1, 'added');
}
// The host compares the kernel's table with this number by other means while we wait for a line.
host.print(1, 'full\n');
const pause = host.monotonicMs() + 2000;
host.loop.at(pause, () => host.loop.stop());
host.loop.run();
for (let id = 0; id < PEERS; id++) {
  check(plane.delPeer(id, now) === undefined, `delete ${id}`);
  if (id % BATCH === BATCH - 1) same(PEERS - id - 1, 'left');
}
check(notices.length === PEERS && notices.every(kind => kind === 'peerDeleted'), `${notices.length} notices`);
plane.close();
host.print(1, 'done\n');
host.exit(0);
