// SPDX-License-Identifier: Apache-2.0
// Network namespaces in the guest, and the wires between them.

import { GUEST_PATIENCE_MS } from '../../interop/harness/wait.ts';
import type { Guest, Result, RunOptions } from './guest.ts';
import type { GuestProcess } from './guest-process.ts';

let next = 0;

const SETTINGS = [
  'net/ipv4/conf/all/promote_secondaries=1',
  'net/ipv4/ip_forward=1',
  'net/ipv6/conf/default/accept_dad=0',
];

export class Namespace {
  readonly name: string;
  readonly guest: Guest;
  private devices = 0;
  private readonly processes: GuestProcess[] = [];

  private constructor(guest: Guest, name: string) {
    this.guest = guest;
    this.name = name;
  }

  static async create(guest: Guest): Promise<Namespace> {
    const namespace = new Namespace(guest, `n${next++}`);
    const settings = SETTINGS.map(setting => setting.split('='));
    const writes = settings.map(([path, value]) => `echo ${value} >/proc/sys/${path}`);
    const inside = ['ip link set lo up', ...writes].join(' && ');
    await guest.sh(`ip netns add ${namespace.name} && ip netns exec ${namespace.name} sh -c '${inside}'`);
    return namespace;
  }

  /** Gives the network namespace of a process a name, once it has one of its own. */
  static async adopt(guest: Guest, pid: number): Promise<Namespace> {
    const namespace = new Namespace(guest, `n${next++}`);
    const unshared = `[ "$(readlink /proc/${pid}/ns/net)" != "$(readlink /proc/1/ns/net)" ]`;
    await guest.sh(`until [ "$(cat /proc/${pid}/comm)" = sleep ] && ${unshared}; do sleep 0.05; done`, {
      ms: GUEST_PATIENCE_MS,
    });
    await guest.sh(`ip netns attach ${namespace.name} ${pid} && ip -n ${namespace.name} link set lo up`);
    return namespace;
  }

  /** Ends what still runs in here, and takes it away. */
  async remove(): Promise<void> {
    await Promise.all(this.processes.map(child => child.kill()));
    await this.guest.run(['ip', 'netns', 'del', this.name]);
  }

  /** `ip` replaces itself by the command, so the process id is the command's. */
  command(words: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, ...words];
  }

  run(words: readonly string[], options?: RunOptions): Promise<string> {
    return this.guest.run(this.command(words), options);
  }

  try(words: readonly string[], options?: RunOptions): Promise<Result> {
    return this.guest.try(this.command(words), options);
  }

  sh(script: string, options?: RunOptions): Promise<string> {
    return this.run(['sh', '-c', script], options);
  }

  spawn(name: string, words: readonly string[], options: RunOptions = {}): GuestProcess {
    const child = this.guest.spawn(this.command(words), { ...options, name });
    this.processes.push(child);
    return child;
  }

  /** `ip` commands, one a line, in one process. */
  ip(...lines: readonly string[]): Promise<string> {
    return this.guest.run(['ip', '-n', this.name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  /** Name of the next free Ethernet device: eth0, eth1... */
  nextDevice(): string {
    return `eth${this.devices++}`;
  }

  /** Names of the `ovpn` interfaces in here. */
  async tunnels(): Promise<string[]> {
    const text = await this.run(['ip', '-o', 'link', 'show', 'type', 'ovpn']);
    return [...text.matchAll(/^[0-9]+: ([^:@]+)[:@]/gm)].map(match => match[1]!);
  }
}

export interface Wire {
  readonly left: Namespace;
  readonly right: Namespace;
  readonly leftDevice: string;
  readonly rightDevice: string;
  readonly left4: string;
  readonly right4: string;
  readonly left6: string;
  readonly right6: string;
}

/** Joins two namespaces by an Ethernet wire: 10.99.N.1 - 10.99.N.2 and fd99:N::1 - fd99:N::2. */
export async function connect(left: Namespace, right: Namespace, number = 0): Promise<Wire> {
  const wire: Wire = {
    left,
    right,
    leftDevice: left.nextDevice(),
    rightDevice: right.nextDevice(),
    left4: `10.99.${number}.1`,
    right4: `10.99.${number}.2`,
    left6: `fd99:${number}::1`,
    right6: `fd99:${number}::2`,
  };
  const { leftDevice, rightDevice } = wire;
  await left.ip(`link add ${leftDevice} type veth peer name ${rightDevice} netns ${right.name}`);
  await Promise.all([
    left.ip(
      `addr add ${wire.left4}/24 dev ${leftDevice}`,
      `addr add ${wire.left6}/64 dev ${leftDevice} nodad`,
      // A router asks for its neighbours from a link-local address; the kernel's own comes late.
      `addr add fe80::1/64 dev ${leftDevice} nodad`,
      `link set ${leftDevice} addrgenmode none up`,
    ),
    right.ip(
      `addr add ${wire.right4}/24 dev ${rightDevice}`,
      `addr add ${wire.right6}/64 dev ${rightDevice} nodad`,
      `addr add fe80::2/64 dev ${rightDevice} nodad`,
      `link set ${rightDevice} addrgenmode none up`,
    ),
  ]);
  await Promise.all([settled(left, leftDevice), settled(right, rightDevice)]);
  return wire;
}

/** The kernel finishes a new wire's IPv6 routes a moment later. */
async function settled(namespace: Namespace, device: string): Promise<void> {
  const routes = `ip -n ${namespace.name} -6 route show table all dev ${device}`;
  const isReady = `${routes} | grep -q 'multicast ff00::/8' && ! ${routes} | grep -q linkdown`;
  await namespace.guest.sh(`until ${isReady}; do sleep 0.02; done`, { ms: GUEST_PATIENCE_MS });
}
