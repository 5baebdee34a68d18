// SPDX-License-Identifier: Apache-2.0
// The process inside the namespace: opens the TUN device and applies networks as it is told, one JSON command a
// line, one JSON answer a line.

import { createInterface } from 'node:readline';
import { parseIp, parsePrefix } from '../../src/core/address.ts';
import type { WantedNetwork } from '../../src/core/network.ts';
import { currentHost } from '../../src/host/current.ts';
import { isFailure, type TunDevice } from '../../src/host/host.ts';
import type { NetworkReport } from '../../src/network/network.ts';
import { createRtnetlinkNetwork } from '../../src/network/rtnetlink.ts';

/** A wanted network as text, for the pipe. */
export interface WantedText {
  readonly device: string;
  readonly mtu: number;
  /** `10.8.0.2/24` or `10.9.0.2/32 10.9.0.1`. */
  readonly addresses: readonly string[];
  /** `10.0.0.0/8 METRIC [GATEWAY]`. */
  readonly routes: readonly string[];
  readonly outside: readonly string[];
}

export interface Command {
  readonly does: 'open' | 'close' | 'apply' | 'clear' | 'recover' | 'packets' | 'cycles' | 'churn';
  readonly wanted?: WantedText;
  readonly other?: WantedText;
  readonly count?: number;
}

function wantedOf(text: WantedText): WantedNetwork {
  return {
    device: text.device,
    mtu: text.mtu,
    addresses: text.addresses.map(line => {
      const [own, peer] = line.split(' ');
      return { address: parsePrefix(own!)!, ...(peer && { peer: parseIp(peer)! }) };
    }),
    routes: text.routes.map(line => {
      const [to, metric, via] = line.split(' ');
      return {
        destination: parsePrefix(to!)!,
        metric: Number(metric),
        ...(via && { gateway: parseIp(via)! }),
      };
    }),
    outside: text.outside.map(line => parseIp(line)!),
    dns: { servers: [], domains: [] },
  };
}

/** Reads commands from standard input until it is killed or the input ends. */
export function runChild(stateDirectory: string): void {
  const host = currentHost();
  const network = createRtnetlinkNetwork({
    openNetlink: protocol => host.openNetlink(protocol),
    files: host.files,
    stateDirectory,
    tunnel: 'home',
  });
  let tun: TunDevice | undefined;
  const failures: string[] = [];
  const noted = (report: NetworkReport) => failures.push(...report.failures);
  const packets = () => {
    const seen: string[] = [];
    for (let packet = tun?.read(); packet !== undefined && !isFailure(packet); packet = tun?.read()) {
      // ICMPv6 behind an optional hop-by-hop header of 8 bytes.
      const at = packet[6] === 0 ? 48 : 40;
      seen.push(packet[0]! >> 4 === 6 ? `icmp6 ${packet[at]}` : `ip4 protocol ${packet[9]}`);
    }
    return seen;
  };
  const answer = ({ does, wanted, other, count }: Command): unknown => {
    if (does === 'open') {
      const opened = host.openTun('ov-home');
      if (isFailure(opened)) return opened;
      tun = opened;
      return opened.index;
    }
    if (does === 'close') return tun?.close() ?? null;
    if (does === 'apply') return network.apply(wantedOf(wanted!));
    if (does === 'clear') return network.clear();
    if (does === 'recover') return network.recover();
    if (does === 'packets') return packets();
    for (let i = 0; i < (count ?? Number.MAX_SAFE_INTEGER); i++) {
      noted(network.apply(wantedOf(wanted!)));
      if (other) noted(network.apply(wantedOf(other)));
      noted(network.clear());
    }
    return failures;
  };
  createInterface({ input: process.stdin }).on('line', line => {
    if (line.includes('"churn"')) process.stdout.write('"churning"\n');
    process.stdout.write(`${JSON.stringify(answer(JSON.parse(line)))}\n`);
  });
}
