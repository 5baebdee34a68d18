// SPDX-License-Identifier: Apache-2.0
// How much a server does for strangers. Answers are counted in all and for each source network, apart for those
// without a wrapping key, with the key everybody shares, and with one of their own: nobody without a key, or with a
// captured packet, uses up what the others need. Half-open sessions are bounded for each source, too.

import type { Ip, Path } from './address.ts';
import type { DropReason } from './drop.ts';
import { notify, type Outbox } from './event.ts';
import { halfSipHash } from './halfsiphash.ts';
import {
  ANSWERS_PER_SOURCE,
  GATE_PERIOD_S,
  GATE_SLOTS,
  HANDSHAKE_GRACE_MS,
  HANDSHAKES_MAX,
  HANDSHAKES_PER_SOURCE,
  INITIAL_ANSWERS,
  REFUSALS_LOGGED,
} from './limits.ts';
import type { ServerState } from './server.ts';
import { closePeer, removePeer, type ServerPeer } from './serverpeer.ts';
import type { WrapKeys } from './wrap.ts';

/** What a stranger's packet proved. */
type Standing = 'none' | 'shared' | 'own';

interface Budget {
  answers: number;
  /** Answers by slot; a slot is a hash of the source network, so two of them may share one. */
  readonly sources: Uint8Array;
}

export interface Gate {
  /** 8 secret bytes: without them nobody can choose addresses that share a slot. */
  readonly seed: Uint8Array;
  readonly budgets: Readonly<Record<Standing, Budget>>;
  /** Start of the present period, in which answers and refusals are counted. */
  startedAt: number;
  /** Refusals of this period, and how many of them went without a line. */
  refusals: number;
  unreported: number;
  /** Peers that are not connected yet. */
  readonly halfOpen: Set<ServerPeer>;
}

export function newGate(seed: Uint8Array): Gate {
  const budget = (): Budget => ({ answers: 0, sources: new Uint8Array(GATE_SLOTS) });
  return {
    seed,
    budgets: { none: budget(), shared: budget(), own: budget() },
    startedAt: 0,
    refusals: 0,
    unreported: 0,
    halfOpen: new Set(),
  };
}

function budgetOf(gate: Gate, wrap: WrapKeys): Budget {
  if (wrap.kind === 'none') return gate.budgets.none;
  return wrap.kind === 'tls-crypt' && wrap.wrapped !== undefined ? gate.budgets.own : gate.budgets.shared;
}

/** The network a source is counted by: an IPv4 address, or the 56 bits of IPv6 that one customer has. */
function sourceOf(ip: Ip): Uint8Array {
  return ip.length === 4 ? ip : ip.subarray(0, 7);
}

function slotOf(gate: Gate, path: Path): number {
  return halfSipHash(gate.seed, sourceOf(path.remote.ip)) % GATE_SLOTS;
}

/** A new period begins when the old one is over; its summary is written then. */
export function tickGate(gate: Gate, now: number, out: Outbox): void {
  if (now - gate.startedAt < GATE_PERIOD_S * 1000) return;
  gate.startedAt = now;
  for (const budget of Object.values(gate.budgets)) {
    if (budget.answers > 0) budget.sources.fill(0);
    budget.answers = 0;
  }
  if (gate.unreported > 0) notify(out, 'warn', `${gate.unreported} more handshakes came to nothing`);
  gate.refusals = 0;
  gate.unreported = 0;
}

/** When tickGate has something to say. */
export function gateDeadline(gate: Gate): number | undefined {
  return gate.unreported > 0 ? gate.startedAt + GATE_PERIOD_S * 1000 : undefined;
}

/** Whether a hard reset is answered; counts it. */
export function admitReset(gate: Gate, wrap: WrapKeys, path: Path): DropReason | undefined {
  const budget = budgetOf(gate, wrap);
  if (budget.answers >= INITIAL_ANSWERS) return 'rate-limit';
  const slot = slotOf(gate, path);
  if (budget.sources[slot]! >= ANSWERS_PER_SOURCE) return 'source-limit';
  budget.sources[slot]!++;
  budget.answers++;
  return undefined;
}

/** A client that shows its cookie is no flood: its answer does not count. */
export function giveBack(gate: Gate, wrap: WrapKeys, path: Path): void {
  const budget = budgetOf(gate, wrap);
  const slot = slotOf(gate, path);
  // Its answer may have been one of the last period.
  if (budget.answers === 0 || budget.sources[slot] === 0) return;
  budget.answers--;
  budget.sources[slot]!--;
}

/**
 * Whether a session may begin. When all places are taken, the source that has the most gives one up, if it has
 * lasted longer than an honest handshake takes.
 */
export function admitSession(
  state: ServerState,
  path: Path,
  now: number,
  out: Outbox,
): DropReason | undefined {
  const { halfOpen } = state.gate;
  const counts = new Map<string, number>();
  for (const peer of halfOpen) {
    if (peer.connectedAtS > 0) halfOpen.delete(peer);
    else counts.set(sourceName(peer.path), (counts.get(sourceName(peer.path)) ?? 0) + 1);
  }
  if ((counts.get(sourceName(path)) ?? 0) >= HANDSHAKES_PER_SOURCE) return 'source-limit';
  if (state.peers.size - state.byId.size < HANDSHAKES_MAX) return undefined;
  let loser: ServerPeer | undefined;
  for (const peer of halfOpen) {
    const isStranger = peer.commonName === '' && peer.state === 'connecting';
    if (!isStranger || now - peer.handshakeAt < HANDSHAKE_GRACE_MS) continue;
    const most = loser === undefined ? 0 : counts.get(sourceName(loser.path))!;
    // In the order of their opening: the oldest of a source comes first.
    if (counts.get(sourceName(peer.path))! > most) loser = peer;
  }
  if (loser === undefined) return 'rate-limit';
  closePeer(state, loser, 'its place was needed for another handshake', now, out);
  removePeer(state, loser, out);
  return undefined;
}

/** The network that what comes from there is counted by. */
export function sourceName({ remote }: Pick<Path, 'remote'>): string {
  return sourceOf(remote.ip).join('.');
}

/** Whether a refusal of somebody unknown gets a line of its own; the others become one line for all. */
export function mayReport(gate: Gate): boolean {
  if (gate.refusals++ < REFUSALS_LOGGED) return true;
  gate.unreported++;
  return false;
}
