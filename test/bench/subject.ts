// SPDX-License-Identifier: Apache-2.0
// One thing to be measured: a tunnel with the same daemon at both ends, and the measurements on it.

import { hasUdpPort, type Wire } from '../interop/harness/namespace.ts';
import { UP } from '../interop/harness/openvpn.ts';
import { pki } from '../interop/harness/pki.ts';
import { run } from '../interop/harness/process.ts';
import { type End, type Kind, SERVER4, startClient, startServer } from '../interop/harness/tunnel.ts';
import { up } from '../interop/harness/works.ts';
import { World } from '../interop/harness/world.ts';
import { cpuS, machineBusyS, memoryKiB } from './measure.ts';

export const AGREEMENT = { cipher: 'AES-256-GCM', wrap: 'tls-crypt', family: 4 } as const;

export interface Transfer {
  readonly mbitPerS: number;
  /** CPU seconds for each GB (10^9 bytes) of both daemons together. */
  readonly cpuSPerGb: number;
  /** Of the sending and the receiving daemon. */
  readonly senderCpuSPerGb: number;
  readonly receiverCpuSPerGb: number;
  /** Cores kept busy by something else than the daemons and iperf3. */
  readonly foreignCores: number;
  readonly retransmits: number;
  /** Bytes of a TCP segment; where a tunnel does not clamp it, each packet travels as two fragments outside. */
  readonly mss: number;
}

interface IperfResult {
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

export class Subject {
  readonly title: string;
  readonly kind: Kind;
  private readonly world = new World();
  private tunnel: { wire: Wire; server: End; client: End } | undefined;

  constructor(title: string, kind: Kind) {
    this.title = title;
    this.kind = kind;
  }

  async open(): Promise<void> {
    this.tunnel = await up(this.world, { server: this.kind, client: this.kind }, AGREEMENT);
    const iperf = this.world.spawn('iperf3 -s', this.tunnel.wire.left, ['iperf3', '-s', '--forceflush']);
    await iperf.line(/Server listening/);
  }

  close(): Promise<string[]> {
    return this.world.destroy();
  }

  /** One TCP stream from the client to the server. */
  async transfer(seconds: number): Promise<Transfer> {
    const { wire, server, client } = this.tunnel!;
    const pids = [client.process.pid, server.process.pid] as const;
    const before = pids.map(cpuS);
    const busyBefore = machineBusyS();
    const begun = performance.now();
    const output = await wire.right.run(['iperf3', '-c', SERVER4, '-t', String(seconds), '-J']);
    const wallS = (performance.now() - begun) / 1000;
    const busy = machineBusyS() - busyBefore;
    const [sender = 0, receiver = 0] = pids.map((pid, i) => cpuS(pid) - before[i]!);
    const { start, end } = JSON.parse(output) as IperfResult;
    const { sum_received: sum, cpu_utilization_percent: iperf } = end;
    const iperfS = ((iperf.host_total + iperf.remote_total) / 100) * sum.seconds;
    const gb = sum.bytes / 1e9;
    return {
      mbitPerS: sum.bits_per_second / 1e6,
      cpuSPerGb: (sender + receiver) / gb,
      senderCpuSPerGb: sender / gb,
      receiverCpuSPerGb: receiver / gb,
      foreignCores: Math.max(0, (busy - sender - receiver - iperfS) / wallS),
      retransmits: end.sum_sent.retransmits,
      mss: start.tcp_mss_default,
    };
  }

  serverMemoryKiB(): { resident: number; peak: number } {
    return memoryKiB(this.tunnel!.server.process.pid);
  }

  /**
   * Stock clients that connect one after another, each killed when it is up. The wall time is mostly the client's own
   * start; what the server paid in CPU is what says how many it could take.
   */
  async handshakes(count: number): Promise<{ wallMs: number; serverCpuMs: number }> {
    const keys = await pki();
    const { left } = this.tunnel!.wire;
    const wire = await this.world.wire(left, await this.world.namespace());
    const { pid } = this.tunnel!.server.process;
    const before = cpuS(pid);
    const begun = performance.now();
    for (let i = 0; i < count; i++) {
      const client = startClient(this.world, wire, keys, 'openvpn', AGREEMENT, { number: 1 });
      await client.process.line(UP);
      await client.process.kill();
    }
    const wallMs = (performance.now() - begun) / count;
    return { wallMs, serverCpuMs: ((cpuS(pid) - before) * 1000) / count };
  }
}

/** Milliseconds from spawning a server to its port being bound; `ip netns exec` (a few) is part of it. */
export async function startToListening(kind: Kind): Promise<number> {
  const world = new World();
  try {
    const keys = await pki();
    const namespace = await world.namespace();
    let bound = 0;
    let watching = true;
    const begun = performance.now();
    const watch = (async () => {
      while (watching && bound === 0) {
        await new Promise(resolve => setTimeout(resolve, 1));
        if (world.pids().some(pid => namespace.holds(pid) && hasUdpPort(pid, 1194)))
          bound = performance.now();
      }
    })();
    await startServer(world, namespace, keys, kind, AGREEMENT);
    watching = false;
    await watch;
    return (bound === 0 ? performance.now() : bound) - begun;
  } finally {
    await world.destroy();
  }
}

export async function version(command: readonly string[], pattern: RegExp): Promise<string> {
  const output = await run(command).catch(error => String(error));
  return pattern.exec(output)?.[0] ?? 'unknown';
}
