// SPDX-License-Identifier: Apache-2.0
// ovpnd on the kernel's data plane beside OpenVPN with DCO, in one emulated guest and one interleaved run. The kernel
// does the same work in both, so the ratio is what counts, and it should be 1; the figures themselves are the
// emulator's.

import type { Kind, Tunnel } from '../kernel/harness/ends.ts';
import { SERVER4, up } from '../kernel/harness/ends.ts';
import { Guest } from '../kernel/harness/guest.ts';
import { missing } from '../kernel/harness/need.ts';
import { Scene } from '../kernel/harness/scene.ts';
import { type Spread, spread } from './statistics.ts';

const ROUNDS = 5;
const SECONDS = 4;

export interface OffloadResult {
  readonly ovpndMbitPerS: Spread;
  readonly openvpnMbitPerS: Spread;
  /** ovpnd's throughput by OpenVPN's, round by round. */
  readonly ratio: Spread;
}

async function throughput(scene: Scene, { wire }: Tunnel): Promise<number> {
  const server = scene.spawn('iperf3', wire.left, ['iperf3', '-s', '-1', '--forceflush', '-B', SERVER4]);
  await scene.until('iperf3 listens', 10_000, async () => /listening/i.test(server.output));
  const output = await wire.right.run(['iperf3', '-c', SERVER4, '-t', String(SECONDS), '-J']);
  server.isEnding = true;
  const report = JSON.parse(output) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e6;
}

async function compare(scene: Scene, other: Scene): Promise<OffloadResult> {
  const open = (where: Scene, kind: Kind): Promise<Tunnel> => up(where, { server: kind, client: kind });
  const ours = await open(scene, 'kernel');
  const theirs = await open(other, 'dco');
  const rounds: { ovpnd: number; openvpn: number }[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const measure = {
      ovpnd: () => throughput(scene, ours),
      openvpn: () => throughput(other, theirs),
    };
    const figures = { ovpnd: 0, openvpn: 0 };
    // The one that goes first changes: emulation warms up.
    for (const name of i % 2 === 0 ? (['ovpnd', 'openvpn'] as const) : (['openvpn', 'ovpnd'] as const)) {
      figures[name] = await measure[name]();
    }
    rounds.push(figures);
    console.log(
      `round ${i + 1}, guest: ovpnd kernel ${figures.ovpnd.toFixed(0)}, DCO ${figures.openvpn.toFixed(0)} Mbit/s`,
    );
  }
  return {
    ovpndMbitPerS: spread(rounds.map(round => round.ovpnd)),
    openvpnMbitPerS: spread(rounds.map(round => round.openvpn)),
    ratio: spread(rounds.map(round => round.ovpnd / round.openvpn)),
  };
}

/** undefined, with a word why, where the guest cannot be had. */
export async function measureOffload(): Promise<OffloadResult | undefined> {
  const lacking = missing();
  if (lacking !== undefined) {
    console.log(`kernel plane beside DCO: not measured, missing: ${lacking}`);
    return undefined;
  }
  let result: OffloadResult | undefined;
  await Scene.run(scene =>
    Scene.run(async other => {
      result = await compare(scene, other);
    }),
  );
  await (await Guest.running())?.shutdown();
  return result;
}
