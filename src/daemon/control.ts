// SPDX-License-Identifier: Apache-2.0
// The ubus object `ovpnd.<tunnel>`: status, reload, disconnect, renegotiate, log.

import { formatIp } from '../core/address.ts';
import { addressTexts } from '../core/pull.ts';
import { printable } from '../core/text.ts';
import type { Host } from '../host/host.ts';
import { STATUS } from '../ubus/message.ts';
import type { ServedObject } from '../ubus/server.ts';
import type { Log } from './log.ts';
import { lifetimeWarnings } from './material.ts';
import { featureNames } from './native.ts';
import type { TunnelStatus } from './status.ts';
import type { Tunnel } from './tunnel.ts';
import { VERSION } from './version.ts';

export interface ControlParts {
  readonly host: Host;
  readonly tunnel: Tunnel;
  readonly log: Log;
  /** Reads the configuration again; what came of it, for the caller. */
  readonly reload: () => object;
}

export function controlObject(parts: ControlParts): ServedObject {
  const { tunnel, log } = parts;
  return {
    path: `ovpnd.${tunnel.config.name}`,
    methods: {
      status: {
        args: { from: 'int' },
        call: ({ from }) => tunnelStatus(parts.host, tunnel, typeof from === 'number' ? from : 0),
      },
      reload: { args: {}, call: () => parts.reload() },
      disconnect: {
        args: { peer: 'string', reason: 'string' },
        call: ({ peer, reason }) => command(tunnel, 'disconnect', peer, reason),
      },
      renegotiate: {
        args: { peer: 'string' },
        call: ({ peer }) => command(tunnel, 'renegotiate', peer, undefined),
      },
      // Said by netifd's handler of the interface with the tunnel's name.
      interface: {
        args: { up: 'bool', host_route: 'bool' },
        call: ({ up, host_route }) => {
          if (up === undefined) return { status: STATUS.invalidArgument };
          if (up) tunnel.net.interfaceUp(host_route !== false);
          else tunnel.net.interfaceDown();
          return {};
        },
      },
      log: {
        args: { lines: 'int' },
        call: ({ lines }) => ({ lines: log.recent(typeof lines === 'number' ? lines : 50) }),
      },
    },
  };
}

type Argument = string | number | boolean | undefined;

function command(
  tunnel: Tunnel,
  name: 'disconnect' | 'renegotiate',
  peer: Argument,
  reason: Argument,
): object {
  const isServer = tunnel.config.role === 'server';
  if (isServer && typeof peer !== 'string') return { status: STATUS.invalidArgument };
  if (!tunnel.endpoint.hasPeer(String(peer))) return { status: STATUS.notFound };
  tunnel.dispatch({
    kind: 'command',
    command: name,
    ...(typeof peer === 'string' ? { peer } : {}),
    ...(typeof reason === 'string' && reason !== '' ? { reason: printable(reason.slice(0, 100)) } : {}),
  });
  return {};
}

/** Characters of JSON that the peers of one answer may have; twice that as blobmsg, a message takes 1 MiB. */
const ANSWER_CHARACTERS = 300_000;

/** The peers from number `from` on, as many as fit into one answer, and at least one. */
export function onePage<T>(peers: readonly T[], from: number): T[] {
  const page: T[] = [];
  let length = 0;
  for (const peer of peers.slice(Math.max(0, from))) {
    length += JSON.stringify(peer).length;
    if (page.length > 0 && length > ANSWER_CHARACTERS) break;
    page.push(peer);
  }
  return page;
}

export function tunnelStatus(host: Host, tunnel: Tunnel, from: number): TunnelStatus {
  const now = host.monotonicMs();
  const uptime = Math.floor((now - tunnel.startedAt) / 1000);
  const records = new Map(tunnel.plane.peers().map(record => [record.peerId, record.counters]));
  const wanted = tunnel.network();
  const remote = tunnel.endpoint.remote();
  const peers = tunnel.endpoint.peers(peerId => records.get(peerId), now);
  return {
    tunnel: tunnel.config.name,
    role: tunnel.endpoint.role,
    state: tunnel.endpoint.state(),
    since: host.wallS() - uptime,
    uptime,
    data_plane: {
      name: tunnel.plane.name,
      reasons: tunnel.planesOff.map(plane => `${plane.name}: ${plane.reason}`),
      offload: featureNames(tunnel.plane.features?.() ?? 0),
      ...(tunnel.plane.name === 'native' && { threads: tunnel.config.dataThreads }),
    },
    device: tunnel.config.device,
    mtu: wanted?.mtu ?? tunnel.config.tunMtu,
    addresses: wanted === undefined ? [] : addressTexts(wanted),
    network: tunnel.net.by,
    dns: wanted === undefined ? [] : [...wanted.dns.servers.map(formatIp), ...wanted.dns.domains],
    ...(wanted?.guard && { kill_switch: true }),
    sockets: tunnel.sockets.shown().map(({ proto, local }) => ({
      proto,
      address: formatIp(local.ip),
      port: local.port,
    })),
    ...(remote === undefined ? {} : { remote }),
    peers: onePage(peers, from),
    peers_total: peers.length,
    drops: {
      control: occurred(tunnel.endpoint.drops),
      plane: occurred({ ...tunnel.plane.drops(), 'slow-peer': tunnel.sockets.streams.dropped() }),
    },
    warnings: lifetimeWarnings(tunnel.lifetimes, host.wallS()).map(({ option, rule }) => `${option} ${rule}`),
    last_error: tunnel.endpoint.lastError(),
    version: VERSION,
  };
}

function occurred(counters: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).filter(([, count]) => count > 0));
}
