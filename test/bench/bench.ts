// SPDX-License-Identifier: Apache-2.0
// ovpnd's js plane on both runtimes beside stock OpenVPN, on one machine in one interleaved run. Both ends of a tunnel
// share the machine's cores, so a throughput is cores divided by all CPU spent; CPU per GB is the steadier figure.
// Nothing here passes or fails by time.

import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { missing } from '../interop/harness/need.ts';
import type { Kind } from '../interop/harness/tunnel.ts';
import { type Spread, spread } from './measure.ts';
import { measureOffload } from './offload.ts';
import { AGREEMENT, Subject, startToListening, type Transfer, version } from './subject.ts';

const ROUNDS = 3;
const SECONDS = 3;
const STARTS = 7;
const HANDSHAKES = 20;
/** A transfer during which something else took more than this of a core is repeated... */
const FOREIGN_MAX = 0.3;
/** ...but not for ever: a machine that is never quiet gets its figures with the remark. */
const REPEATS_MAX = 3;

const SUBJECTS: readonly (readonly [string, Kind])[] = [
  ['ovpnd js, QuickJS', 'quickjs'],
  ['ovpnd js, Node', 'node'],
  ['openvpn 2.6', 'openvpn'],
];

interface Result {
  readonly title: string;
  readonly mbitPerS: Spread;
  readonly cpuSPerGb: Spread;
  readonly senderCpuSPerGb: Spread;
  readonly receiverCpuSPerGb: Spread;
  readonly idleKiB: number;
  readonly peakKiB: number;
  readonly handshakeServerCpuMs: number;
  readonly handshakesPerCoreS: number;
  readonly handshakeWallMs: number;
  readonly startMs: Spread;
  readonly transfers: readonly Transfer[];
}

let repeated = 0;

async function quietTransfer(subject: Subject): Promise<Transfer> {
  let best = await subject.transfer(SECONDS);
  for (let i = 0; i < REPEATS_MAX && best.foreignCores > FOREIGN_MAX; i++) {
    repeated++;
    const again = await subject.transfer(SECONDS);
    if (again.foreignCores < best.foreignCores) best = again;
  }
  return best;
}

/** Round by round, in an order that rotates: a slow phase of the machine meets everybody. */
async function measureTransfers(subjects: readonly Subject[]): Promise<Map<Subject, Transfer[]>> {
  const transfers = new Map<Subject, Transfer[]>(subjects.map(subject => [subject, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < subjects.length; i++) {
      const subject = subjects[(round + i) % subjects.length]!;
      const transfer = await quietTransfer(subject);
      transfers.get(subject)!.push(transfer);
      console.log(`round ${round + 1}: ${subject.title}: ${transfer.mbitPerS.toFixed(0)} Mbit/s`);
    }
  }
  return transfers;
}

async function measureStarts(): Promise<Map<Kind, number[]>> {
  const starts = new Map<Kind, number[]>(SUBJECTS.map(([, kind]) => [kind, []]));
  for (let round = 0; round < STARTS; round++) {
    for (const [, kind] of SUBJECTS) starts.get(kind)!.push(await startToListening(kind));
  }
  return starts;
}

async function measure(): Promise<Result[]> {
  const starts = await measureStarts();
  const subjects = SUBJECTS.map(([title, kind]) => new Subject(title, kind));
  for (const subject of subjects) await subject.open();
  const idle = subjects.map(subject => subject.serverMemoryKiB().resident);
  const transfers = await measureTransfers(subjects);
  const results: Result[] = [];
  for (const [i, subject] of subjects.entries()) {
    const handshakes = await subject.handshakes(HANDSHAKES);
    const runs = transfers.get(subject)!;
    const of = (pick: (transfer: Transfer) => number): Spread => spread(runs.map(pick));
    results.push({
      title: subject.title,
      mbitPerS: of(run => run.mbitPerS),
      cpuSPerGb: of(run => run.cpuSPerGb),
      senderCpuSPerGb: of(run => run.senderCpuSPerGb),
      receiverCpuSPerGb: of(run => run.receiverCpuSPerGb),
      idleKiB: idle[i]!,
      peakKiB: subject.serverMemoryKiB().peak,
      handshakeServerCpuMs: handshakes.serverCpuMs,
      handshakesPerCoreS: 1000 / handshakes.serverCpuMs,
      handshakeWallMs: handshakes.wallMs,
      startMs: spread(starts.get(subject.kind)!),
      transfers: runs,
    });
  }
  for (const subject of subjects) for (const complaint of await subject.close()) console.error(complaint);
  return results;
}

async function machine(): Promise<Record<string, string | number>> {
  const info = readFileSync('/proc/cpuinfo', 'latin1');
  return {
    kernel: release(),
    cpu: /^model name\s*:\s*(.*)$/m.exec(info)?.[1] ?? cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    ovpnd: await version(['build/ovpnd', 'version'], /ovpnd .*/),
    node: process.version,
    openvpn: await version(['sh', '-c', 'openvpn --version; true'], /OpenVPN [0-9.]+/),
    openssl: await version(['openssl', 'version'], /OpenSSL \S+/),
    iperf3: await version(['iperf3', '--version'], /iperf \S+/),
    tun_mtu: 1500,
    congestion: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'latin1').trim(),
    ...AGREEMENT,
  };
}

function sizes(): Record<string, number> {
  const files = ['build/ovpnd.js', 'build/ovpnd', 'build/shim.node', '/usr/sbin/openvpn'];
  return Object.fromEntries(files.map(path => [path, statSync(path).size]));
}

function printTable(results: readonly Result[]): void {
  const range = (value: Spread, digits: number): string =>
    `${value.median.toFixed(digits)} (${value.min.toFixed(digits)}-${value.max.toFixed(digits)})`;
  const rows = [
    ['', ...results.map(result => result.title)],
    ['TCP, Mbit/s', ...results.map(result => range(result.mbitPerS, 0))],
    ['  segment size', ...results.map(result => String(result.transfers[0]!.mss))],
    ['CPU s/GB, both ends', ...results.map(result => range(result.cpuSPerGb, 2))],
    ['  sending end', ...results.map(result => range(result.senderCpuSPerGb, 2))],
    ['  receiving end', ...results.map(result => range(result.receiverCpuSPerGb, 2))],
    ['server RSS idle, one peer, KiB', ...results.map(result => String(result.idleKiB))],
    ['server RSS peak, KiB', ...results.map(result => String(result.peakKiB))],
    ['handshake, server CPU ms', ...results.map(result => result.handshakeServerCpuMs.toFixed(2))],
    ['handshakes/s of one core', ...results.map(result => result.handshakesPerCoreS.toFixed(0))],
    ['connect of a stock client, ms', ...results.map(result => result.handshakeWallMs.toFixed(0))],
    ['start to listening, ms', ...results.map(result => range(result.startMs, 0))],
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map(row => row[i]!.length)));
  console.log();
  for (const row of rows) {
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
    );
  }
}

async function main(): Promise<void> {
  const lacking = missing(['quickjs', 'node']);
  if (lacking.length > 0) {
    console.log(`bench: cannot run, missing: ${lacking.join(', ')}`);
    process.exit(1);
  }
  const about = await machine();
  const results = await measure();
  printTable(results);
  console.log();
  for (const [path, size] of Object.entries(sizes())) console.log(`${path}: ${(size / 1024).toFixed(0)} KiB`);
  console.log(
    `\n${Object.entries(about)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}`,
  );
  console.log(
    `median (min-max) of ${ROUNDS} rounds of ${SECONDS} s; both ends share the cores; kernel work outside`,
  );
  console.log(`the daemons is not in CPU s/GB; ${repeated} transfers were repeated because of foreign load`);
  const offload = await measureOffload();
  if (offload !== undefined) {
    const { median, min, max } = offload.ratio;
    console.log(
      `\nguest with the ovpn module, TCP: ovpnd kernel plane by OpenVPN 2.7 with DCO: ${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`,
    );
  }
  const report = {
    date: new Date().toISOString(),
    machine: about,
    sizes: sizes(),
    repeated,
    results,
    offload,
  };
  writeFileSync('build/bench.json', `${JSON.stringify(report, undefined, 2)}\n`);
}

main().then(
  () => process.exit(0),
  error => {
    console.error(error);
    process.exit(1);
  },
);
