// SPDX-License-Identifier: Apache-2.0
// The row most others begin with: bring a tunnel up, pass traffic, and see that both ends agreed on what was asked.

import { type By, identified } from './identities.ts';
import type { Wire } from './namespace.ts';
import { isStock } from './openvpn.ts';
import { pingAll, reach } from './ping.ts';
import { pki } from './pki.ts';
import type { Row } from './rows.ts';
import {
  type Agreement,
  type End,
  type Ends,
  type Extra,
  runtimesOf,
  SERVER_ADDRESSES,
  SERVER4,
  startClient,
  startServer,
} from './tunnel.ts';
import type { World } from './world.ts';

export interface Tunnel {
  readonly wire: Wire;
  readonly server: End;
  readonly client: End;
}

/** Server left, client right, answering pings. */
export async function up(
  world: World,
  ends: Ends,
  agreement: Agreement,
  extra: { server?: Extra; client?: Extra } = {},
): Promise<Tunnel> {
  const keys = await pki();
  const wire = await world.pair();
  const server = await startServer(world, wire.left, keys, ends.server, agreement, extra.server);
  const client = startClient(world, wire, keys, ends.client, agreement, extra.client);
  await reach(world, wire.right, SERVER4);
  return { wire, server, client };
}

/** Small and 1400-byte packets over IPv4 and IPv6; both ends' logs tell what was agreed on. */
export async function works(world: World, ends: Ends, agreement: Agreement, by: By): Promise<void> {
  const { wire, server, client } = await up(world, ends, agreement, await identified(world, await pki(), by));
  await pingAll(wire.right, SERVER_ADDRESSES);
  const { cipher = '', tls = '' } = agreement;
  for (const end of [server, client]) {
    // Waits: openvpn buffers what it says.
    if (isStock(end.kind)) {
      await end.process.line(new RegExp(`Control Channel: TLSv${tls}`));
      await end.process.line(new RegExp(`Data Channel: cipher '${cipher}`));
    } else await end.process.line(new RegExp(`connected.*, ${cipher}.*, TLSv${tls}`));
  }
}

const NAMES = {
  quickjs: 'ovpnd',
  node: 'ovpnd on Node',
  asan: 'ovpnd with sanitizers',
  tsan: 'ovpnd with the thread sanitizer',
  mbedtls: 'ovpnd with Mbed TLS',
  package: 'ovpnd of the package',
  arm: 'ovpnd on ARM',
  aarch64: 'ovpnd on AArch64',
  mips: 'ovpnd on MIPS',
  openvpn: 'openvpn',
  'openvpn-2.7': 'openvpn 2.7',
};

/** `ovpnd server, openvpn client`. */
export function describeEnds(ends: Ends): string {
  return `${NAMES[ends.server]} server, ${NAMES[ends.client]} client`;
}

export function worksRow(ends: Ends, agreement: Agreement, by: By = 'certificate'): Row {
  const isOurs = !isStock(ends.server) && !isStock(ends.client);
  // ovpnd has an oldest TLS version, but no newest: between two of them it is 1.3.
  const met: Agreement = isOurs && agreement.tls === '1.2' ? { ...agreement, tls: '1.3' } : agreement;
  const { cipher, wrap, tls, family, transport, mode } = met;
  const terms = [
    mode,
    cipher,
    wrap,
    tls && `TLS ${tls}`,
    family && `${transport ?? 'udp'}${family}`,
    by !== 'certificate' && by,
  ].filter(term => typeof term === 'string');
  return {
    title: `${describeEnds(ends)}: ${terms.join(', ')}`,
    runtimes: runtimesOf(ends),
    body: world => works(world, ends, met, by),
  };
}
