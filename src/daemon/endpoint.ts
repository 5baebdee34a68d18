// SPDX-License-Identifier: Apache-2.0
// The two roles of the core behind one face, for whoever runs the loop; and what `status` says of each.

import { formatEndpoint, formatPrefix } from '../core/address.ts';
import { stepClient } from '../core/client.ts';
import { type ClientOptions, type ClientState, newClient } from '../core/clientstate.ts';
import type { CoreDeps, Effect, Event } from '../core/event.ts';
import type { PeerCounters } from '../core/plane.ts';
import { newServer, type ServerOptions, type ServerState, stepServer } from '../core/server.ts';
import type { StatusPeer, TunnelState } from './status.ts';

export interface Endpoint {
  readonly role: 'server' | 'client';
  step(event: Event, now: number): Effect[];
  readonly drops: Readonly<Record<string, number>>;
  state(): TunnelState;
  peers(counters: (peerId: number) => PeerCounters | undefined, now: number): StatusPeer[];
  /** Names an operator may use for a connected peer. */
  hasPeer(name: string): boolean;
  /** The remote in use; a server has none. */
  remote(): string | undefined;
  lastError(): string;
}

const NO_COUNTERS: PeerCounters = {
  vpnRxBytes: 0,
  vpnTxBytes: 0,
  vpnRxPackets: 0,
  vpnTxPackets: 0,
  linkRxBytes: 0,
  linkTxBytes: 0,
  linkRxPackets: 0,
  linkTxPackets: 0,
};

function traffic(
  counters: PeerCounters = NO_COUNTERS,
): Pick<StatusPeer, 'rx_bytes' | 'tx_bytes' | 'rx_packets' | 'tx_packets'> {
  return {
    rx_bytes: counters.vpnRxBytes,
    tx_bytes: counters.vpnTxBytes,
    rx_packets: counters.vpnRxPackets,
    tx_packets: counters.vpnTxPackets,
  };
}

export function serverEndpoint(options: ServerOptions, deps: CoreDeps): Endpoint {
  const state = newServer(options, deps);
  return {
    role: 'server',
    step: (event, now) => stepServer(state, event, now),
    drops: state.drops,
    state: () => (state.stopAt === undefined ? 'listening' : 'stopping'),
    peers: (counters, now) => serverPeers(state, counters, now),
    hasPeer: name => [...state.byId.values()].some(peer => peer.name === name || peer.commonName === name),
    remote: () => undefined,
    lastError: () => '',
  };
}

function serverPeers(
  state: ServerState,
  counters: (peerId: number) => PeerCounters | undefined,
  now: number,
): StatusPeer[] {
  return [...state.byId].map(([peerId, peer]) => ({
    name: peer.name,
    peer_id: peerId,
    real_address: formatEndpoint(peer.path.remote),
    vpn_addresses: peer.vpnIps,
    routes: peer.routes.map(formatPrefix),
    connected_since: peer.connectedAtS,
    cipher: peer.keys?.cipher ?? '',
    data_format: peer.keys?.format ?? '',
    tls: peer.session.current.tls.description(),
    handshake_age_s: Math.floor((now - peer.handshakeAt) / 1000),
    ...traffic(counters(peerId)),
  }));
}

export function clientEndpoint(options: ClientOptions, deps: CoreDeps): Endpoint {
  const state = newClient(options, deps);
  return {
    role: 'client',
    step: (event, now) => stepClient(state, event, now),
    drops: state.drops,
    state: () => clientState(state),
    peers: (counters, now) => clientPeers(state, counters, now),
    hasPeer: () => state.phase === 'connected',
    remote: () => {
      const remote = state.remotes[state.remoteIndex]!;
      return `${remote.host} ${remote.port} ${remote.tcp === true ? 'tcp' : 'udp'}`;
    },
    lastError: () => state.lastError,
  };
}

function clientState(state: ClientState): TunnelState {
  if (state.phase === 'leaving') return 'stopping';
  return state.phase === 'connected' ? 'connected' : 'connecting';
}

function clientPeers(
  state: ClientState,
  counters: (peerId: number) => PeerCounters | undefined,
  now: number,
): StatusPeer[] {
  const { keys, session, path } = state;
  if (state.phase !== 'connected' || keys === undefined || session === undefined || path === undefined)
    return [];
  return [
    {
      name: session.current.tls.peerCertificate()?.commonName ?? '',
      peer_id: keys.peerId,
      real_address: formatEndpoint(path.remote),
      vpn_addresses: [],
      routes: [],
      connected_since: state.connectedAtS,
      cipher: keys.cipher,
      data_format: keys.format,
      tls: session.current.tls.description(),
      handshake_age_s: Math.floor((now - state.handshakeAt) / 1000),
      ...traffic(counters(keys.peerId)),
    },
  ];
}
