// SPDX-License-Identifier: Apache-2.0
// ovpnd on the kernel's data plane beside OpenVPN with DCO, in one emulated guest and one interleaved run. The kernel
// does the same work in both, so the ratio is what counts, and it should be 1; the figures themselves are the
// emulator's.

import type { Kind, Tunnel } from '../kernel/harness/ends.ts';
import { SERVER4, up } from '../kernel/harness/ends.ts';
import { Guest } from '../kernel/harness/guest.ts';
import { missing } from '../kernel/harness/need.ts';
import { Scene } from '../kernel/harness/scene.ts';
import { type Line, lines } from './contest.ts';
import { rotated } from './statistics.ts';
import type { Sample } from './traffic.ts';

const ROUNDS = 5;
const SECONDS = 4;

const OURS = 'ovpnd kernel';
const THEIRS = 'openvpn 2.7 DCO';

async function throughput(scene: Scene, { wire }: Tunnel): Promise<number> {
  const server = scene.spawn('iperf3', wire.left, ['iperf3', '-s', '-1', '--forceflush', '-B', SERVER4]);
  await scene.until('iperf3 listens', 10_000, async () => /listening/i.test(server.output));
  const output = await wire.right.run(['iperf3', '-c', SERVER4, '-t', String(SECONDS), '-J']);
  server.isEnding = true;
  const report = JSON.parse(output) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e6;
}

async function compare(scene: Scene, other: Scene): Promise<Line[]> {
  const open = (where: Scene, kind: Kind): Promise<Tunnel> => up(where, { server: kind, client: kind });
  const ours = await open(scene, 'kernel');
  const theirs = await open(other, 'dco');
  const measures = [
    [OURS, () => throughput(scene, ours)],
    [THEIRS, () => throughput(other, theirs)],
  ] as const;
  const samples = new Map(measures.map(([name]) => [name as string, [] as Sample[]]));
  for (let round = 0; round < ROUNDS; round++) {
    // The one that goes first changes: emulation warms up.
    for (const [name, measure] of rotated(measures, round)) {
      samples.get(name)!.push({ value: await measure(), foreignCores: 0 });
    }
    const texts = [...samples].map(([name, of]) => `${name} ${of.at(-1)!.value.toFixed(0)}`);
    console.log(`round ${round + 1}: guest: ${texts.join(', ')} Mbit/s`);
  }
  const comparisons = [{ ours: OURS, theirs: THEIRS }];
  const title = 'in a guest with the ovpn module, TCP';
  return lines({ row: 'guest', title, unit: 'Mbit/s', entrants: new Map(), comparisons }, samples);
}

/** No line, and a word why, where the guest cannot be had. */
export async function measureOffload(): Promise<Line[]> {
  const lacking = missing();
  if (lacking !== undefined) {
    console.log(`kernel plane beside DCO: not measured, missing: ${lacking}`);
    return [];
  }
  let result: Line[] = [];
  await Scene.run(scene =>
    Scene.run(async other => {
      result = await compare(scene, other);
    }),
  );
  await (await Guest.running())?.shutdown();
  return result;
}
