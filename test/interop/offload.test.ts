// SPDX-License-Identifier: Apache-2.0
// Each feature of the native plane alone, all and none of them, on devices and paths that take less: what arrives is
// what was sent, over TCP, UDP and ICMP, IPv4 and IPv6, in fragments, of odd lengths, marked for congestion, and no
// checksum is wrong.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import type { Namespace, Wire } from './harness/namespace.ts';
import { ping, pingAll, undisturbed } from './harness/ping.ts';
import { type Row, table } from './harness/rows.ts';
import { Stream, type StreamOptions, Transfer } from './harness/traffic.ts';
import { type Ends, runtimesOf, SERVER_ADDRESSES, SERVER4, SERVER6 } from './harness/tunnel.ts';
import { pause } from './harness/wait.ts';
import { describeEnds, type Tunnel, up } from './harness/works.ts';
import type { World } from './harness/world.ts';

const CLIENT4 = '10.8.0.2';
const CLIENT6 = 'fd42:8::2';
const ALL = ['tun_tso', 'tun_uso', 'tun_gro', 'tx_gso', 'rx_gro'];
const OURS_OURS: Ends = { server: 'quickjs', client: 'quickjs' };
const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const BYTES = 3_000_000;
const STREAM_MS = 1200;
const CONGESTED = 3;

/** Counters of a namespace's kernel, as the files in /proc/net name them. */
async function counters(namespace: Namespace): Promise<Record<string, number>> {
  const text = await namespace.run(['cat', '/proc/net/snmp', '/proc/net/netstat', '/proc/net/snmp6']);
  const lines = text.split('\n').map(line => line.trim().split(/\s+/));
  const pairs = lines.flatMap(([name, ...rest], i) => {
    if (name === undefined) return [];
    if (!name.endsWith(':')) return rest.length === 1 ? [[name, Number(rest[0])] as const] : [];
    // A line of names, then one of numbers.
    const next = lines[i + 1]!;
    if (next[0] !== name || /^[0-9-]/.test(rest[0] ?? '')) return [];
    return rest.map((word, k) => [name.slice(0, -1) + word, Number(next[k + 1])] as const);
  });
  return Object.fromEntries(pairs);
}

/** No packet had a wrong checksum. */
async function checksumsAreRight({ left, right }: Wire): Promise<void> {
  for (const namespace of [left, right]) {
    const all = await counters(namespace);
    const wrong = Object.entries(all).filter(([name, count]) => /CsumErrors$/.test(name) && count > 0);
    deepStrictEqual(wrong, []);
    ok(
      'TcpInCsumErrors' in all && 'UdpInCsumErrors' in all && 'Udp6InCsumErrors' in all,
      'the kernel counts',
    );
  }
}

/** Files both ways over both protocols at once. */
async function transfers(world: World, { left, right }: Wire): Promise<void> {
  const all = await Promise.all([
    Transfer.start(world, right, left, SERVER4, BYTES),
    Transfer.start(world, right, left, SERVER6, BYTES),
    Transfer.start(world, left, right, CLIENT4, BYTES),
    Transfer.start(world, left, right, CLIENT6, BYTES),
  ]);
  for (const transfer of all) strictEqual(await transfer.finish(), BYTES);
}

/** Packets of all lengths, and such as the kernel makes many of one; all of them arrive, in order and with their marks. */
async function datagrams(world: World, { left, right }: Wire, rate: number): Promise<void> {
  const at = (from: Namespace, to: Namespace, address: string, options: StreamOptions) =>
    Stream.start(world, from, to, address, { rate, ...options });
  const streams = await Promise.all([
    at(right, left, SERVER4, { tos: CONGESTED }),
    at(left, right, CLIENT6, { tos: CONGESTED }),
    at(right, left, SERVER6, { size: 1401, tos: CONGESTED }),
    at(left, right, CLIENT4, { size: 999, tos: CONGESTED }),
  ]);
  await pause(STREAM_MS);
  for (const running of streams) {
    const { sent, received, marked, wrong, late, repeated } = await running.stop();
    ok(sent > 0);
    deepStrictEqual(
      { received, marked, wrong, late, repeated },
      { received: sent, marked: sent, wrong: 0, late: 0, repeated: 0 },
    );
  }
}

/** Packets of every small length, and larger than the tunnel. */
async function echoes({ left, right }: Wire): Promise<void> {
  const small = (address: string) =>
    `for n in $(seq 1 64); do ping -nqc1 -W5 -s $n ${address} >/dev/null || exit 1; done`;
  await Promise.all([
    right.run(['sh', '-c', small(SERVER4)]),
    left.run(['sh', '-c', small(CLIENT6)]),
    ...[SERVER4, SERVER6].map(async address => {
      const { received } = await ping(right, address, { size: 3048, count: 5 });
      strictEqual(received, 5, `pings of 3048 bytes to ${address}`);
    }),
  ]);
}

/** Of what fills no queue nothing is lost. */
async function packetsArrive(world: World, { wire }: Tunnel): Promise<void> {
  await pingAll(wire.right, SERVER_ADDRESSES);
  await echoes(wire);
  await datagrams(world, wire, 400);
}

/** TCP sends until a queue is full and something is dropped: it arrives all the same. */
async function filesArrive(world: World, tunnel: Tunnel): Promise<void> {
  const { wire } = tunnel;
  await transfers(world, wire);
  await checksumsAreRight(wire);
  for (const { ovpnd } of [tunnel.server, tunnel.client]) {
    if (ovpnd === undefined) continue;
    const { drops } = (await ovpnd.status()) as { drops: { plane: Record<string, number> } };
    // IPv6 hosts and kernels say hello to everybody.
    const { group, 'link-local': local, ...rest } = drops.plane;
    deepStrictEqual(rest, {}, `beside ${group} and ${local}`);
  }
}

/** Both ends of TCP connections inside may say that they were held up. */
async function wantEcn({ left, right }: Wire): Promise<void> {
  for (const namespace of [left, right]) await namespace.run(['sysctl', '-qw', 'net.ipv4.tcp_ecn=1']);
}

function features(ends: Ends, list: readonly string[]): Row {
  return {
    title: `${describeEnds(ends)}: offload ${list.join(' ')}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const options = { offload: list, data_plane: 'native' };
      // One end with a thread for each direction.
      const split = { ...options, data_threads: '2' };
      const tunnel = await up(
        world,
        ends,
        { wrap: 'tls-crypt' },
        { server: { options: split }, client: { options } },
      );
      await wantEcn(tunnel.wire);
      await packetsArrive(world, tunnel);
      await filesArrive(world, tunnel);
      const { data_plane } = (await tunnel.server.ovpnd!.status()) as {
        data_plane: { name: string; offload: string[] };
      };
      strictEqual(data_plane.name, 'native');
      // An old kernel may have less, none may have more.
      for (const feature of data_plane.offload) ok(list.includes(feature), `${feature} is on`);
      for (const namespace of [tunnel.wire.left, tunnel.wire.right]) {
        const { IpExtInECT0Pkts: capable } = await counters(namespace);
        ok(capable! > 0, 'no packet came that was capable of congestion marks');
      }
    },
  };
}

function narrow(ends: Ends, title: string, mssfix: string, prepare: (wire: Wire) => Promise<void>): Row {
  return {
    title: `${describeEnds(ends)}: ${title}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const options = { data_plane: 'native', mssfix };
      const extra = { server: { options }, client: { options, lines: ['mssfix 0'] } };
      const tunnel = await up(world, ends, { wrap: 'tls-crypt' }, extra);
      await prepare(tunnel.wire);
      await undisturbed(tunnel.wire.right, SERVER4, () => packetsArrive(world, tunnel));
      await filesArrive(world, tunnel);
    },
  };
}

async function atBoth(wire: Wire, command: (device: string) => string[]): Promise<void> {
  await wire.left.run(command(wire.leftDevice));
  await wire.right.run(command(wire.rightDevice));
}

const smallWire = (wire: Wire) => atBoth(wire, device => ['ip', 'link', 'set', device, 'mtu', '1400']);

const bareWire = (wire: Wire) =>
  atBoth(wire, device => [
    'ethtool',
    '-K',
    device,
    'tx',
    'off',
    'rx',
    'off',
    'sg',
    'off',
    'tso',
    'off',
    'gso',
    'off',
    'gro',
    'off',
  ]);

table('native plane, offloads', { atOnce: 4 }, [
  features(OURS_OURS, ALL),
  features(OURS_THEIRS, ALL),
  features(OURS_THEIRS, ['none']),
  ...[['tun_tso'], ['tun_tso', 'tun_uso'], ['tun_gro'], ['tx_gso'], ['rx_gro']].map(list =>
    features(OURS_THEIRS, list),
  ),
  narrow(OURS_OURS, 'a wire that takes less than the packets', '0', smallWire),
  narrow(OURS_THEIRS, 'a wire that takes less than the packets', '0', smallWire),
  narrow(OURS_THEIRS, 'devices that neither sum up nor cut', '0', bareWire),
]);
