// SPDX-License-Identifier: Apache-2.0
// What left the right end of a wire for a VPN server at the left and elsewhere, counted on the wire (see witness.c), and a name server that knows one name.

import type { Namespace, Wire } from './namespace.ts';
import type { Process } from './process.ts';
import { bundled, compiled } from './traffic.ts';
import type { World } from './world.ts';

export interface Seen {
  /** To the VPN server. */
  readonly tunnel: number;
  /** Questions to a name server. */
  readonly names: number;
  /** Anything else. */
  readonly clear: number;
  /** Where the first packet in the clear went. */
  readonly first: string;
}

export class Witness {
  private readonly child: Process;

  private constructor(child: Process) {
    this.child = child;
  }

  static async start(world: World, { right, rightDevice, left4 }: Wire): Promise<Witness> {
    const child = world.spawn('witness', right, [await compiled('witness'), rightDevice, left4]);
    await child.line(/^ready$/);
    return new Witness(child);
  }

  async stop(): Promise<Seen> {
    await this.child.stop();
    return JSON.parse(this.child.lines.at(-1)!) as Seen;
  }
}

/** Answers at `own` every question for an IPv4 address with `address`. */
export async function startNames(
  world: World,
  namespace: Namespace,
  own: string,
  address: string,
): Promise<void> {
  const child = world.spawn('names', namespace, [process.execPath, await bundled('names'), own, address]);
  await child.line(/^ready$/);
}
