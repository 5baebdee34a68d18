// SPDX-License-Identifier: Apache-2.0
// Traffic through a tunnel, and one figure from it together with what it cost.

import { resolve } from 'node:path';
import type { Process } from '../interop/harness/process.ts';
import { cpuS, Meter } from './meter.ts';
import { bestRate } from './search.ts';
import type { Site } from './site.ts';

export interface Sample {
  readonly value: number;
  readonly foreignCores: number;
  /** CPU seconds for each GB (10^9 bytes) delivered: both daemons, generator, receiver and the network stack. */
  readonly cpuSPerGb?: number;
  /** Of the sending and the receiving daemon alone. */
  readonly senderCpuSPerGb?: number;
  readonly receiverCpuSPerGb?: number;
  /** Whatever else helps to understand the figure. */
  readonly detail?: Readonly<Record<string, number>>;
}

interface IperfReport {
  readonly start: { readonly tcp_mss_default: number };
  readonly end: {
    readonly sum_sent: { readonly retransmits: number };
    readonly sum_received: {
      readonly bytes: number;
      readonly bits_per_second: number;
      readonly seconds: number;
    };
    readonly cpu_utilization_percent: { readonly host_total: number; readonly remote_total: number };
  };
}

export interface TcpOptions {
  readonly streams?: number;
  /** From the server to the client. */
  readonly isReverse?: boolean;
  /** Further processes that belong to the measurement. */
  readonly pids?: readonly number[];
}

const iperfWords = (site: Site, seconds: number): string[] => {
  return ['iperf3', '-c', site.address, '-t', String(seconds), '-J', '-C', 'cubic'];
};

function iperfS({ end }: IperfReport): number {
  const { host_total, remote_total } = end.cpu_utilization_percent;
  return ((host_total + remote_total) / 100) * end.sum_received.seconds;
}

/** As fast as it goes, Mbit/s. */
export async function tcp(site: Site, seconds: number, options: TcpOptions = {}): Promise<Sample> {
  await site.listen();
  const words = [...iperfWords(site, seconds), '-P', String(options.streams ?? 1)];
  if (options.isReverse) words.push('-R');
  const meter = new Meter([...site.pids, ...(options.pids ?? [])]);
  const report = JSON.parse(await site.from.run(words)) as IperfReport;
  const usage = meter.stop(iperfS(report));
  const { start, end } = report;
  const gb = end.sum_received.bytes / 1e9;
  const [client = 0, server = 0, ...others] = usage.processS;
  const [sender, receiver] = options.isReverse ? [server, client] : [client, server];
  return {
    value: end.sum_received.bits_per_second / 1e6,
    foreignCores: usage.foreignCores,
    cpuSPerGb: (client + server + usage.kernelS + iperfS(report)) / gb,
    senderCpuSPerGb: sender / gb,
    receiverCpuSPerGb: receiver / gb,
    detail: {
      retransmits: end.sum_sent.retransmits,
      mss: start.tcp_mss_default,
      kernelCpuSPerGb: usage.kernelS / gb,
      otherCores: others.reduce((sum, s) => sum + s, 0) / usage.wallS,
    },
  };
}

const PING_INTERVAL_S = 0.01;

async function pings(
  site: Site,
  seconds: number,
): Promise<{ averageMs: number; maxMs: number; lost: number }> {
  const count = Math.ceil(seconds / PING_INTERVAL_S);
  const words = ['ping', '-n', '-q', '-i', String(PING_INTERVAL_S), '-c', String(count), site.address];
  const output = await site.from.run(words);
  const times = /= ([0-9.]+)\/([0-9.]+)\/([0-9.]+)\//.exec(output);
  if (times === null) throw new Error(`ping: no times\n${output}`);
  const received = Number(/([0-9]+) received/.exec(output)?.[1] ?? 0);
  return { averageMs: Number(times[2]), maxMs: Number(times[3]), lost: count - received };
}

/** Average round trip on a tunnel that has nothing else to do, microseconds. */
export async function idlePing(site: Site, seconds: number): Promise<Sample> {
  const meter = new Meter(site.pids);
  const { averageMs, maxMs, lost } = await pings(site, seconds);
  const { foreignCores } = meter.stop(0);
  return { value: averageMs * 1000, foreignCores, detail: { maxUs: maxMs * 1000, lost } };
}

const LOAD_LEAD_S = 0.5;

/** Average round trip beside one TCP stream of at most `mbitPerS` (0: as fast as it goes), microseconds. */
export async function loadedPing(site: Site, seconds: number, mbitPerS: number): Promise<Sample> {
  await site.listen();
  const words = iperfWords(site, seconds + 2 * LOAD_LEAD_S);
  if (mbitPerS > 0) words.push('-b', `${mbitPerS}M`);
  const meter = new Meter(site.pids);
  const load = site.from.run(words);
  // A failure of the pings must not leave this one unheard.
  load.catch(() => undefined);
  await new Promise(done => setTimeout(done, LOAD_LEAD_S * 1000));
  const { averageMs, maxMs, lost } = await pings(site, seconds);
  const report = JSON.parse(await load) as IperfReport;
  const { foreignCores } = meter.stop(iperfS(report));
  const carried = report.end.sum_received.bits_per_second / 1e6;
  return { value: averageMs * 1000, foreignCores, detail: { maxUs: maxMs * 1000, lost, mbitPerS: carried } };
}

const LOAD = resolve('build/bench/load');
const UDP_PORT = 5301;
const UDP_SIZE = 64;
/** Packets still on their way when the sender has ended. */
const SETTLE_MS = 60;

interface Trial {
  readonly sent: number;
  readonly received: number;
  readonly seconds: number;
  readonly helpersS: number;
  readonly daemonS: number;
}

async function trial(site: Site, rate: number, ms: number): Promise<Trial> {
  const receiver: Process = site.to.spawn('load', [LOAD, 'receive', String(UDP_PORT)]);
  await receiver.line(/^ready$/);
  const before = site.pids.map(cpuS);
  const arguments_ = [site.address, String(UDP_PORT), String(UDP_SIZE), String(rate), String(ms)];
  const sent = JSON.parse(await site.from.run([LOAD, 'send', ...arguments_])) as {
    sent: number;
    seconds: number;
    cpuS: number;
  };
  await new Promise(done => setTimeout(done, SETTLE_MS));
  await receiver.stop('SIGTERM');
  const counted = JSON.parse(receiver.lines.at(-1) ?? '{}') as { received: number; cpuS: number };
  const daemonS = site.pids.reduce((sum, pid, i) => sum + cpuS(pid) - before[i]!, 0);
  const { received } = counted;
  return { sent: sent.sent, received, seconds: sent.seconds, helpersS: sent.cpuS + counted.cpuS, daemonS };
}

const LOSS_MAX = 0.001;
/** A sender that does not keep the rate proves nothing about it. */
const KEPT_LEAST = 0.97;
const TRIES = 2;

/** Highest rate of small UDP packets that loses less than a thousandth, thousands of packets a second. */
export async function smallPackets(site: Site, seconds: number): Promise<Sample> {
  const ms = Math.min(1000, Math.max(300, seconds * 150));
  const meter = new Meter(site.pids);
  let helpersS = 0;
  let best: Trial | undefined;
  let trials = 0;
  const rate = await bestRate(async rate => {
    for (let i = 0; i < TRIES; i++) {
      const result = await trial(site, rate, ms);
      trials++;
      helpersS += result.helpersS;
      const isKept = result.sent >= (rate * ms * KEPT_LEAST) / 1000;
      if (!isKept || result.received < result.sent * (1 - LOSS_MAX)) continue;
      best = result;
      return true;
    }
    return false;
  });
  const { foreignCores } = meter.stop(helpersS);
  if (best === undefined) return { value: rate / 1000, foreignCores, detail: { trials } };
  const { received, daemonS } = best;
  return {
    value: received / best.seconds / 1000,
    foreignCores,
    cpuSPerGb: ((daemonS + best.helpersS) * 1e9) / (received * UDP_SIZE),
    detail: { trials, daemonUsPerPacket: (daemonS * 1e6) / received },
  };
}

const WHOLE_BYTES = 16 << 20;
const WHOLE = resolve('build/bench/whole.cjs');

/** Random bytes through the tunnel, whose SHA-256 must be the same at both ends. */
export async function checkWhole(site: Site): Promise<void> {
  for (const address of [site.address, site.address6]) {
    if (address === undefined) continue;
    const receiver = site.to.spawn('whole', [process.execPath, WHOLE, 'receive', address]);
    await receiver.line(/^ready$/).catch(error => {
      throw new Error(`${site.name}: ${error}\n${receiver.output}`);
    });
    const sent = await site.from.run([process.execPath, WHOLE, 'send', address, String(WHOLE_BYTES)]);
    await receiver.ended(30_000);
    const received = receiver.lines.at(-1);
    if (received !== sent.trim()) throw new Error(`${site.name}: sent ${sent}, received ${received}`);
  }
}
