// SPDX-License-Identifier: Apache-2.0
// A kernel plane on the fake kernel, with everything it says written down.

import type { CipherName } from '../../../src/core/crypto.ts';
import type { PlaneNotice, PlanePeer } from '../../../src/core/plane.ts';
import { createKernelPlane, type KernelPlane } from '../../../src/plane/kernel.ts';
import { type GroundOptions, type KernelGround, openKernelGround } from '../../../src/plane/kernelground.ts';
import type { UsageLimits } from '../../../src/plane/kernelpeers.ts';
import type { PlaneMode, PlaneUnavailable } from '../../../src/plane/plane.ts';
import { ip, path, prefix } from './helpers.ts';
import { FakeOvpn } from './kernelfake.ts';

export const DEVICE = 'vpn0';
export const UDP_FD = 7;

export function groundOptions(
  kernel: FakeOvpn,
  mode: PlaneMode = 'mp',
  ciphers: readonly CipherName[] = ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'],
): GroundOptions {
  return {
    device: DEVICE,
    mode,
    ciphers,
    openNetlink: kernel.open,
    openProbeSocket: () => ({ fd: 8, close: () => {} }),
  };
}

export function isUnavailable(ground: KernelGround | PlaneUnavailable): ground is PlaneUnavailable {
  return 'reason' in ground;
}

export interface World {
  readonly kernel: FakeOvpn;
  readonly plane: KernelPlane;
  readonly notices: PlaneNotice[];
  readonly warnings: string[];
  readonly broken: string[];
  /** Milliseconds; advance it by hand. */
  readonly clock: { now: number };
  /** Lets time pass; notifications are read and ticks happen as the daemon does them. */
  pass(ms: number): void;
}

export function openWorld(
  mode: PlaneMode = 'mp',
  kernel: FakeOvpn = new FakeOvpn(),
  limits: Partial<UsageLimits> = {},
): World {
  const ground = openKernelGround(groundOptions(kernel, mode));
  if (isUnavailable(ground)) throw new Error(ground.reason);
  const notices: PlaneNotice[] = [];
  const warnings: string[] = [];
  const broken: string[] = [];
  const clock = { now: 100_000 };
  const plane = createKernelPlane({
    ground,
    addresses: mode === 'mp' ? [prefix('10.8.0.1/24'), prefix('fd42::1/64')] : [],
    socketFd: socket => [UDP_FD, 8, 9][socket],
    isStream: socket => socket === 2,
    monotonicMs: () => clock.now,
    sink: {
      notice: notice => notices.push(notice),
      warn: text => warnings.push(text),
      broken: reason => broken.push(reason),
    },
    limits,
  });
  kernel.log.length = 0;
  // The probe gave the all-zero key once for each algorithm.
  kernel.keysSeen.length = 0;
  const pass = (ms: number): void => {
    const end = clock.now + ms;
    for (;;) {
      plane.receive(clock.now);
      const due = plane.deadline();
      if (due === undefined || due > end) break;
      clock.now = Math.max(clock.now, due);
      plane.tick(clock.now);
    }
    clock.now = end;
  };
  return { kernel, plane, notices, warnings, broken, clock, pass };
}

export function serverPeer(peerId: number, more: Partial<PlanePeer> = {}): PlanePeer {
  return {
    peerId,
    path: { ...path(4000 + peerId), local: ip('192.0.2.254') },
    vpnIp4: ip(`10.8.0.${peerId + 2}`),
    keepalive: { intervalS: 10, timeoutS: 120 },
    ...more,
  };
}
