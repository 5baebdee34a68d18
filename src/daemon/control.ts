// SPDX-License-Identifier: Apache-2.0
// The ubus object `ovpnd.<tunnel>`: status, reload, disconnect, renegotiate, log.

import { formatIp } from '../core/address.ts';
import { addressTexts } from '../core/pull.ts';
import type { Host } from '../host/host.ts';
import { STATUS } from '../ubus/message.ts';
import type { ServedObject } from '../ubus/server.ts';
import type { Log } from './log.ts';
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
      status: { args: {}, call: () => tunnelStatus(parts.host, tunnel) },
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
    ...(typeof reason === 'string' && reason !== '' ? { reason: reason.slice(0, 100) } : {}),
  });
  return {};
}

export function tunnelStatus(host: Host, tunnel: Tunnel): TunnelStatus {
  const now = host.monotonicMs();
  const uptime = Math.floor((now - tunnel.startedAt) / 1000);
  const records = new Map(tunnel.plane.peers().map(record => [record.peerId, record.counters]));
  const wanted = tunnel.network();
  const remote = tunnel.endpoint.remote();
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
    },
    device: tunnel.config.device,
    mtu: wanted?.mtu ?? tunnel.config.tunMtu,
    addresses: wanted === undefined ? [] : addressTexts(wanted),
    network: tunnel.net.by,
    dns: wanted === undefined ? [] : [...wanted.dns.servers.map(formatIp), ...wanted.dns.domains],
    sockets: tunnel.sockets.shown().map(({ proto, local }) => ({
      proto,
      address: formatIp(local.ip),
      port: local.port,
    })),
    ...(remote === undefined ? {} : { remote }),
    peers: tunnel.endpoint.peers(peerId => records.get(peerId), now),
    drops: {
      control: occurred(tunnel.endpoint.drops),
      plane: occurred({ ...tunnel.plane.drops(), 'slow-peer': tunnel.sockets.streams.dropped() }),
    },
    last_error: tunnel.endpoint.lastError(),
    version: VERSION,
  };
}

function occurred(counters: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).filter(([, count]) => count > 0));
}
