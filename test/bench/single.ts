// SPDX-License-Identifier: Apache-2.0
// Figures that need no rounds: memory, handshakes, start, sizes.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { hasUdpPort } from '../interop/harness/namespace.ts';
import { UP } from '../interop/harness/openvpn.ts';
import { pki } from '../interop/harness/pki.ts';
import { run } from '../interop/harness/process.ts';
import { startClient, startServer } from '../interop/harness/tunnel.ts';
import { World } from '../interop/harness/world.ts';
import { type Cases, CROWD } from './cases.ts';
import { type Line, lines } from './contest.ts';
import { cpuS, memoryKiB } from './meter.ts';
import type { Plan, Subject } from './plan.ts';
import { AGREEMENT, type Daemon, type Site } from './site.ts';
import { rotated } from './statistics.ts';
import { type Sample, tcp } from './traffic.ts';

const STOCK = 'openvpn';
const STARTS = 7;
const HANDSHAKES = 20;
const MEMORY_MAX_MIB = 8;
const PEER_MAX_KIB = 24;

const titleOf = (daemon: Daemon): string => (daemon === 'openvpn' ? STOCK : daemon.title);
const sampleOf = (value: number): Sample => ({ value, foreignCores: 0 });

type About = Pick<Line, 'row' | 'title' | 'unit'> & {
  readonly isLessBetter?: boolean;
  readonly most?: number;
};

/** One line for each subject, against stock. */
function versus(about: About, subjects: readonly Subject[], samples: Map<string, Sample[]>): Line[] {
  const { most, ...contest } = about;
  const target = most === undefined ? {} : { target: { most } };
  const comparisons = subjects.map(({ title }) => ({ ours: title, theirs: STOCK, ...target }));
  return lines({ ...contest, entrants: new Map(), comparisons }, samples);
}

/** MiB resident of a server that has one tunnel and one peer, before it has carried anything. */
export async function idleMemory(cases: Cases, daemons: readonly Daemon[]): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>();
  for (const daemon of daemons) {
    const [, server] = (await cases.plain(daemon)).daemons;
    samples.set(titleOf(daemon), [sampleOf(memoryKiB(server.pid).resident / 1024)]);
  }
  return samples;
}

/** The same and, of the same servers, what they took at most while they carried the traffic of this run. */
export async function memory(
  cases: Cases,
  subjects: readonly Subject[],
  idle: Map<string, Sample[]>,
): Promise<Line[]> {
  const peak = new Map<string, Sample[]>();
  for (const daemon of [...subjects, STOCK] as const) {
    const site = await cases.plain(daemon);
    await tcp(site, 1);
    peak.set(titleOf(daemon), [sampleOf(memoryKiB(site.daemons[1].pid).peak / 1024)]);
  }
  const about = { row: 'memory', unit: 'MiB', isLessBetter: true, most: MEMORY_MAX_MIB } as const;
  return [
    ...versus({ ...about, title: 'memory of a server, 1 peer, idle' }, subjects, idle),
    ...versus({ ...about, title: 'memory of a server, 1 peer, most in this run' }, subjects, peak),
  ];
}

/** KiB that each further connected peer takes of a server that has had the crowd. */
export function peerMemory({ crowds }: Cases): Line[] {
  return crowds.flatMap(({ subject, alone, among }) => {
    const [one = 0, many = 0] = [alone, among].map(site => memoryKiB(site.daemons[1].pid).resident);
    const samples = new Map([[subject.title, [sampleOf((many - one) / (CROWD - 1))]]]);
    const comparisons = [{ ours: subject.title, target: { most: PEER_MAX_KIB } }];
    const title = 'memory of each further peer';
    return lines({ row: 'crowd', title, unit: 'KiB', entrants: new Map(), comparisons }, samples);
  });
}

/**
 * Stock clients that connect one after another, each killed when it is up; milliseconds of CPU that each cost the
 * server. The wall time is mostly the client's own start; the CPU says how many the server could take.
 */
async function handshakeMs(site: Site): Promise<number> {
  const keys = await pki();
  const wire = await site.world.wire(site.wire.left, await site.world.namespace());
  const { pid } = site.daemons[1];
  const before = cpuS(pid);
  for (let i = 0; i < HANDSHAKES; i++) {
    const client = startClient(site.world, wire, keys, 'openvpn', AGREEMENT, { number: 1 });
    await client.process.line(UP);
    await client.process.kill();
  }
  return ((cpuS(pid) - before) * 1000) / HANDSHAKES;
}

/** Handshakes a second that one core of the server carries. */
export async function handshakes(cases: Cases, subjects: readonly Subject[]): Promise<Line[]> {
  const samples = new Map<string, Sample[]>();
  for (const daemon of [...subjects, STOCK] as const) {
    samples.set(titleOf(daemon), [sampleOf(1000 / (await handshakeMs(await cases.plain(daemon))))]);
  }
  return versus({ row: 'handshake', title: 'handshakes of one server core', unit: '1/s' }, subjects, samples);
}

/** Milliseconds from spawning a server to its port being bound; `ip netns exec` (a few) is part of it. */
async function startMs(daemon: Daemon): Promise<number> {
  const world = new World();
  try {
    const keys = await pki();
    const namespace = await world.namespace();
    let bound = 0;
    let isWatching = true;
    const begun = performance.now();
    const watch = (async () => {
      while (isWatching && bound === 0) {
        await new Promise(resolve => setTimeout(resolve, 1));
        if (world.pids().some(pid => namespace.holds(pid) && hasUdpPort(pid, 1194)))
          bound = performance.now();
      }
    })();
    const options = daemon === 'openvpn' ? {} : daemon.options;
    const kind = daemon === 'openvpn' ? 'openvpn' : daemon.kind;
    await startServer(world, namespace, keys, kind, AGREEMENT, { options });
    isWatching = false;
    await watch;
    return (bound === 0 ? performance.now() : bound) - begun;
  } finally {
    await world.destroy();
  }
}

export async function starts(subjects: readonly Subject[]): Promise<Line[]> {
  const daemons = [...subjects, STOCK] as const;
  const samples = new Map(daemons.map(daemon => [titleOf(daemon), [] as Sample[]]));
  for (let round = 0; round < STARTS; round++) {
    for (const daemon of rotated(daemons, round))
      samples.get(titleOf(daemon))!.push(sampleOf(await startMs(daemon)));
  }
  return versus(
    { row: 'start', title: 'start to listening', unit: 'ms', isLessBetter: true },
    subjects,
    samples,
  );
}

/** Whether a server with this data plane starts here. */
export async function canRun(subject: Subject): Promise<boolean> {
  return startMs(subject).then(
    () => true,
    () => false,
  );
}

const PACKAGES = 'build/packages';

/** Bytes of what is installed, and of the packages that have been built. */
export function sizes(): Record<string, number> {
  const packages = existsSync(PACKAGES) ? readdirSync(PACKAGES, { recursive: true }) : [];
  const files = [
    'build/ovpnd.js',
    'build/ovpnd',
    'build/shim.node',
    '/usr/sbin/openvpn',
    ...packages.map(name => join(PACKAGES, String(name))).filter(path => /\.(ipk|apk)$/.test(path)),
  ];
  return Object.fromEntries(files.filter(path => existsSync(path)).map(path => [path, statSync(path).size]));
}

async function version(command: readonly string[], pattern: RegExp): Promise<string> {
  const output = await run(command).catch(error => String(error));
  return (pattern.exec(output)?.[0] ?? 'unknown').trim();
}

const setting = (path: string): string => readFileSync(`/proc/sys/net/${path}`, 'latin1').trim();

/** What a figure depends on besides the code. */
export async function machine(plan: Plan): Promise<Record<string, string | number>> {
  const info = readFileSync('/proc/cpuinfo', 'latin1');
  return {
    kernel: release(),
    cpu: /^model name\s*:\s*(.*)$/m.exec(info)?.[1] ?? cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    ovpnd: await version(['build/ovpnd', 'version'], /ovpnd .*/),
    'ovpnd links': await version(
      ['sh', '-c', 'ldd build/ovpnd | grep -o "lib[a-z]*crypto[^ ]*" | head -1'],
      /.+/,
    ),
    node: process.version,
    openvpn: await version(['sh', '-c', 'openvpn --version; true'], /OpenVPN [0-9.]+/),
    'openvpn links': await version(['sh', '-c', 'openvpn --version; true'], /library versions: .*/),
    openssl: await version(['openssl', 'version'], /OpenSSL \S+/),
    iperf3: await version(['iperf3', '--version'], /iperf \S+/),
    'options of both':
      'UDP, IPv4, tls-crypt, AES-256-GCM, tun-mtu 1500, stock with --disable-dco, its mssfix 1492',
    congestion: 'cubic',
    wire: plan.wire,
    'LAN of forwarded rows': 'GRO on at the routers, checksums and segments made by the hosts, no conntrack',
    'net.core.rmem_max': setting('core/rmem_max'),
    'net.core.wmem_max': setting('core/wmem_max'),
  };
}
