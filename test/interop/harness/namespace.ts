// SPDX-License-Identifier: Apache-2.0
// Network namespaces and the wires between them. Nothing here touches the machine's own network.

import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { Process, run, type SpawnOptions } from './process.ts';
import { runPrefix, runState } from './state.ts';
import { PATIENCE_MS, until } from './wait.ts';

export class Namespace {
  readonly name: string;
  private devices = 0;
  private readonly processes: Process[] = [];

  private constructor(name: string) {
    this.name = name;
  }

  static async create(): Promise<Namespace> {
    const state = runState();
    const namespace = new Namespace(`${runPrefix}-${state.next++}`);
    state.namespaces.add(namespace.name);
    await run(['ip', 'netns', 'add', namespace.name]);
    // A daemon inside may need to tell an address change from a loss: new addresses stay when the first one goes.
    await namespace.ip('link set lo up');
    await namespace.run([
      'sysctl',
      '-qw',
      'net.ipv4.conf.all.promote_secondaries=1',
      'net.ipv4.ip_forward=1',
    ]);
    return namespace;
  }

  /** Ends what still runs in here, and takes it away. */
  async remove(): Promise<void> {
    await Promise.all(this.processes.map(child => child.kill()));
    await run(['ip', 'netns', 'del', this.name]);
    runState().namespaces.delete(this.name);
  }

  /** The words that run a command in here. `ip` replaces itself by the command, so the process id is the command's. */
  command(words: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, ...words];
  }

  run(words: readonly string[], options?: SpawnOptions): Promise<string> {
    return run(this.command(words), options);
  }

  spawn(name: string, words: readonly string[], options?: SpawnOptions): Process {
    const child = new Process(name, this.command(words), options);
    this.processes.push(child);
    return child;
  }

  /** `ip` commands, one a line, in one process. */
  ip(...lines: readonly string[]): Promise<string> {
    return run(['ip', '-n', this.name, '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  /** Name of the next free Ethernet device: eth0, eth1... */
  nextDevice(): string {
    return `eth${this.devices++}`;
  }

  /** Whether the process already lives here (it moves in on its way from `ip` to the command). */
  holds(pid: number): boolean {
    try {
      return readlinkSync(`/proc/${pid}/ns/net`) === `net:[${statSync(`/var/run/netns/${this.name}`).ino}]`;
    } catch {
      return false;
    }
  }

  /** Addresses and routes as text, to compare before and after. */
  async snapshot(): Promise<string> {
    const words = [
      '-o addr show',
      '-4 route show table all',
      '-6 route show table all',
      '-o link show',
      'rule show',
    ];
    const parts = await Promise.all(words.map(text => run(['ip', '-n', this.name, ...text.split(' ')])));
    // Counters and timers move by themselves; ip says so when a namespace of another row has just gone.
    return parts
      .join('\n')
      .replace(/^Error: Peer netns reference is invalid\.\n/gm, '')
      .replace(/ (expires|valid_lft|preferred_lft) \S+/g, '');
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
  await left.ip(
    `link add ${wire.leftDevice} type veth peer name ${wire.rightDevice} netns ${right.name}`,
    `addr add ${wire.left4}/24 dev ${wire.leftDevice}`,
    `addr add ${wire.left6}/64 dev ${wire.leftDevice} nodad`,
    // Link-local addresses of our own (a router needs one): the kernel's appear late, and a snapshot would catch
    // them half-made.
    `addr add fe80::1/64 dev ${wire.leftDevice} nodad`,
    `link set ${wire.leftDevice} addrgenmode none up`,
  );
  await right.ip(
    `addr add ${wire.right4}/24 dev ${wire.rightDevice}`,
    `addr add ${wire.right6}/64 dev ${wire.rightDevice} nodad`,
    `addr add fe80::2/64 dev ${wire.rightDevice} nodad`,
    `link set ${wire.rightDevice} addrgenmode none up`,
  );
  await Promise.all([settled(left, wire.leftDevice), settled(right, wire.rightDevice)]);
  return wire;
}

/** The kernel finishes a new wire's IPv6 routes a moment later. */
async function settled(namespace: Namespace, device: string): Promise<void> {
  await until(`${device} in ${namespace.name} is up`, PATIENCE_MS, async () => {
    const routes = await run([
      'ip',
      '-n',
      namespace.name,
      '-6',
      'route',
      'show',
      'table',
      'all',
      'dev',
      device,
    ]);
    return routes.includes('multicast ff00::/8') && !routes.includes('linkdown');
  });
}

/** Whether a process's namespace has a UDP socket bound to `port`. */
export function hasUdpPort(pid: number, port: number): boolean {
  return hasSocket(pid, 'udp', port);
}

/** Whether a process's namespace has a TCP socket that listens at `port`. */
export function hasTcpPort(pid: number, port: number): boolean {
  return hasSocket(pid, 'tcp', port, '0A');
}

function hasSocket(pid: number, transport: string, port: number, state?: string): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return [transport, `${transport}6`].some(table => {
    const text = readQuietly(`/proc/${pid}/net/${table}`);
    return text.split('\n').some(line => {
      const words = line.trim().split(/\s+/);
      return words[1]?.endsWith(`:${hex}`) && (state === undefined || words[3] === state);
    });
  });
}

/** Whether a process's namespace has a network device of that name. */
export function hasDevice(pid: number, device: string): boolean {
  return new RegExp(`^\\s*${device}:`, 'm').test(readQuietly(`/proc/${pid}/net/dev`));
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has just ended.
    return '';
  }
}
