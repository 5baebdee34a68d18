// SPDX-License-Identifier: Apache-2.0
// What the kernel plane keeps of each peer beside what the kernel has: enough to compare both, to answer without
// asking, and to tell in time when a key is used up.

import { type Path, sameEndpoint } from '../core/address.ts';
import type { CipherName } from '../core/crypto.ts';
import {
  DEL_REASONS,
  type DelReason,
  type Keepalive,
  type PeerCounters,
  type PeerRecord,
  type PlaneKey,
  type PlanePeer,
  type PlanePeerChange,
  type RekeyAfter,
} from '../core/plane.ts';
import type { OvpnPeer, OvpnPeerConfig } from '../netlink/ovpn.ts';
import { isOver, KEY_LIMITS } from './keys.ts';
import { copyPath, copyRoutes, isUnspecified } from './peers.ts';

/** When a key should be replaced. Tests preset them. */
export interface UsageLimits {
  /** Packets sent. Well before 2^32: counters are looked at every few seconds only. */
  readonly packetsSoft: number;
  /** AES-GCM: packets plus 16-byte blocks in one direction. */
  readonly gcmUsageSoft: number;
}

export const USAGE_LIMITS: UsageLimits = {
  packetsSoft: (2 ** 32 / 8) * 7,
  gcmUsageSoft: KEY_LIMITS.gcmUsageSoft,
};

const GCM_BLOCK_LENGTH = 16;

/** A key in the kernel, and the peer's counters when it began to be used: the kernel counts by peer, not by key. */
export interface KernelKey {
  readonly keyId: number;
  readonly cipher: CipherName;
  readonly rekeyAfter: RekeyAfter | undefined;
  txPackets: number;
  txBytes: number;
  readonly rxPackets: number;
  readonly rxBytes: number;
  /** Whether it has been the key to send with. */
  wasPrimary: boolean;
  /** The keyExpiring notice has been given. */
  isExpiryTold: boolean;
}

export interface KernelPeer {
  readonly peerId: number;
  /** Grows with every peer: tells a peer from an earlier one with its id. */
  readonly serial: number;
  /** Replaced, never changed: notices and records hand it out. */
  path: Path;
  vpnIp4: PlanePeer['vpnIp4'];
  vpnIp6: PlanePeer['vpnIp6'];
  routes: NonNullable<PlanePeer['routes']>;
  keepalive: Keepalive;
  primary: KernelKey | undefined;
  secondary: KernelKey | undefined;
  /** As last read. */
  counters: PeerCounters;
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

export function createKernelPeer(peer: PlanePeer, serial: number): KernelPeer {
  return {
    peerId: peer.peerId,
    serial,
    path: copyPath(peer.path),
    vpnIp4: peer.vpnIp4?.slice(),
    vpnIp6: peer.vpnIp6?.slice(),
    routes: copyRoutes(peer.routes),
    keepalive: effectiveKeepalive(peer.keepalive),
    primary: undefined,
    secondary: undefined,
    counters: { ...NO_COUNTERS },
  };
}

function effectiveKeepalive(keepalive: Keepalive | undefined): Keepalive {
  return keepalive === undefined ? { intervalS: 0, timeoutS: 0 } : { ...keepalive };
}

/** What PEER_NEW is told. A peer on a stream has no remote: the connection is it. */
export function configOf(peer: PlanePeer, isStream: boolean): OvpnPeerConfig {
  const { peerId, vpnIp4, vpnIp6, txId } = peer;
  return {
    id: peerId,
    ...pathConfig(peer.path, isStream),
    ...(vpnIp4 && { vpnIp4 }),
    ...(vpnIp6 && { vpnIp6 }),
    ...(txId !== undefined && txId !== peerId && { txId }),
  };
}

/** What PEER_SET is told; undefined when nothing of it is the kernel's business. */
export function changeConfig(change: PlanePeerChange, isStream: boolean): OvpnPeerConfig | undefined {
  const { peerId, path, vpnIp4, vpnIp6, keepalive } = change;
  const config = {
    id: peerId,
    ...(path && pathConfig(path, isStream)),
    ...(vpnIp4 && { vpnIp4 }),
    ...(vpnIp6 && { vpnIp6 }),
    ...keepaliveConfig(keepalive),
  };
  return Object.keys(config).length > 1 ? config : undefined;
}

function pathConfig(path: Path, isStream: boolean): Pick<OvpnPeerConfig, 'remote' | 'local'> {
  if (isStream) return {};
  return { remote: path.remote, ...(path.local && { local: path.local }) };
}

/** The kernel takes both times or none, and one that is 0 turns the other off. */
function keepaliveConfig(
  keepalive: Keepalive | undefined,
): Pick<OvpnPeerConfig, 'keepaliveInterval' | 'keepaliveTimeout'> {
  if (keepalive === undefined) return {};
  const { intervalS, timeoutS } = keepalive;
  const isOn = intervalS > 0 && timeoutS > 0;
  return { keepaliveInterval: isOn ? intervalS : 0, keepaliveTimeout: isOn ? timeoutS : 0 };
}

/** Takes a change over that the kernel has accepted; routes are somebody else's. */
export function applyChange(peer: KernelPeer, change: PlanePeerChange): void {
  const { vpnIp4, vpnIp6, path, keepalive, routes } = change;
  // The unspecified address takes one away.
  if (vpnIp4 !== undefined) peer.vpnIp4 = isUnspecified(vpnIp4) ? undefined : vpnIp4.slice();
  if (vpnIp6 !== undefined) peer.vpnIp6 = isUnspecified(vpnIp6) ? undefined : vpnIp6.slice();
  if (path !== undefined) peer.path = copyPath(path);
  if (keepalive !== undefined) peer.keepalive = { ...keepalive };
  if (routes !== undefined) peer.routes = copyRoutes(routes);
}

/** A key that goes into a slot now. */
export function createKernelKey(peer: KernelPeer, key: PlaneKey): KernelKey {
  const { linkTxPackets, linkTxBytes, linkRxPackets, linkRxBytes } = peer.counters;
  return {
    keyId: key.keyId,
    cipher: key.cipher,
    rekeyAfter: key.rekeyAfter,
    // The counters may be some seconds old: what they lack counts for the new key, which warns a little early.
    txPackets: linkTxPackets,
    txBytes: linkTxBytes,
    rxPackets: linkRxPackets,
    rxBytes: linkRxBytes,
    wasPrimary: key.slot === 'primary',
    isExpiryTold: false,
  };
}

/** The kernel has swapped the slots. */
export function swapSlots(peer: KernelPeer): void {
  [peer.primary, peer.secondary] = [peer.secondary, peer.primary];
  const key = peer.primary;
  if (key === undefined || key.wasPrimary) return;
  key.wasPrimary = true;
  key.txPackets = peer.counters.linkTxPackets;
  key.txBytes = peer.counters.linkTxBytes;
}

/** Whether the key to send with nears its end. */
export function isExpiring(peer: KernelPeer, key: KernelKey, limits: UsageLimits): boolean {
  const { counters } = peer;
  const sent = counters.linkTxPackets - key.txPackets;
  if (sent >= limits.packetsSoft) return true;
  const sentBytes = counters.linkTxBytes - key.txBytes;
  const received = counters.linkRxPackets - key.rxPackets;
  const receivedBytes = counters.linkRxBytes - key.rxBytes;
  if (key.rekeyAfter && isOver(key.rekeyAfter, sent + received, sentBytes + receivedBytes)) return true;
  if (key.cipher === 'CHACHA20-POLY1305') return false;
  const usage = Math.max(sent + sentBytes / GCM_BLOCK_LENGTH, received + receivedBytes / GCM_BLOCK_LENGTH);
  return usage >= limits.gcmUsageSoft;
}

/** Whether the kernel's answer names another remote than we know. */
export function hasMoved(peer: KernelPeer, actual: OvpnPeer): boolean {
  return actual.remote !== undefined && !sameEndpoint(actual.remote, peer.path.remote);
}

/** The path as the kernel has it; the socket is always the one it was made with. */
export function pathOf(peer: KernelPeer, actual: OvpnPeer): Path {
  const { local: known, ...path } = peer.path;
  const remote = actual.remote ?? path.remote;
  const local = known === undefined ? undefined : (actual.local ?? known);
  const isUsable = local !== undefined && local.length === remote.ip.length;
  return { ...path, remote, ...(isUsable && { local }) };
}

/** The peer as status shows it; counters are a snapshot. */
export function recordOf(peer: KernelPeer): PeerRecord {
  const { primary, secondary } = peer;
  return {
    peerId: peer.peerId,
    path: peer.path,
    ...(peer.vpnIp4 && { vpnIp4: peer.vpnIp4 }),
    ...(peer.vpnIp6 && { vpnIp6: peer.vpnIp6 }),
    keepalive: peer.keepalive,
    ...(primary && { primary: { keyId: primary.keyId, cipher: primary.cipher } }),
    ...(secondary && { secondary: { keyId: secondary.keyId, cipher: secondary.cipher } }),
    counters: { ...peer.counters },
  };
}

/** Why the kernel deleted a peer that we did not delete. What others did to it is an error of the transport to us. */
export function deletionReason(reason: number | undefined): DelReason {
  const name = DEL_REASONS[reason ?? -1];
  return name === undefined || name === 'userspace' || name === 'teardown' ? 'transport_error' : name;
}
