// SPDX-License-Identifier: Apache-2.0
// New options for a running endpoint. What is connected stays so; only peers whose own configuration changed come
// anew, and a client whose server is no longer named.

import { formatIp, ipKey } from './address.ts';
import { identify, pushOptions } from './admit.ts';
import { restart } from './attempt.ts';
import { type ClientOptions, type ClientState, orderRemotes } from './clientstate.ts';
import { type Event, notify, type Outbox } from './event.ts';
import { REVERIFY_SPREAD_MS } from './limits.ts';
import { lostLogin } from './login.ts';
import { makeWay, renewNetwork } from './pull.ts';
import { buildPush, optionLines } from './push.ts';
import { updateBetween } from './pushupdate.ts';
import { AUTH_FAILED } from './refusal.ts';
import type { ServerOptions, ServerState } from './server.ts';
import { closePeer, renegotiationTime, type ServerPeer, sendUpdates, settlePeer } from './serverpeer.ts';

type ConfigChange = Extract<Event, { kind: 'configChange' }>;

export function changeServer(
  state: ServerState,
  event: Extract<ConfigChange, { role: 'server' }>,
  now: number,
  out: Outbox,
): void {
  const before = state.options;
  state.options = event.options;
  out.network = event.options.network;
  reserveAddresses(state, event.peers, out);
  const told = { now: 0, later: 0 };
  for (const peer of [...state.byId.values()]) {
    const lost = lostLogin(state, peer);
    // Stock clients forget their token at that, and log in once more.
    if (lost !== undefined) closePeer(state, peer, lost, now, out, AUTH_FAILED);
    else if (event.peers.has(peer.commonName)) admitAnew(state, peer, now, out);
    else {
      const when = tellChanges(state, peer);
      if (when !== undefined) told[when]++;
      reschedule(state, peer, before, event.reverify, now, out);
    }
  }
  if (told.now + told.later === 0) return;
  notify(
    out,
    'info',
    `pushed options changed: ${told.now} peers told, ${told.later} learn it when they connect again`,
  );
}

/** Undefined: nothing of what a peer was told has changed, or it has not been told anything yet. */
function tellChanges(state: ServerState, peer: ServerPeer): 'now' | 'later' | undefined {
  if (state.options.p2p !== undefined) return undefined;
  const lines = pushOptions(state, peer);
  const items = updateBetween(optionLines(peer.told), lines);
  const isAsked = peer.pushedAt !== undefined;
  if (isAsked && !peer.takesUpdates) return items.length === 0 ? undefined : 'later';
  peer.told = lines.join();
  if (!isAsked || items.length === 0) return undefined;
  peer.updates = [...peer.updates, ...buildPush('PUSH_UPDATE', items)];
  sendUpdates(peer);
  return 'now';
}

/** The client connects again and finds its new addresses and routes, or is refused. */
function admitAnew(state: ServerState, peer: ServerPeer, now: number, out: Outbox): void {
  const { current, previous = current } = peer.session;
  // In the middle of a renegotiation the new key knows no certificate yet, or one that nobody has looked at.
  const identity = identify(state, current.introduced ? current : previous);
  const refusal = 'reason' in identity ? identity : undefined;
  closePeer(
    state,
    peer,
    refusal?.reason ?? 'its configuration changed',
    now,
    out,
    refusal?.text ?? 'RESTART',
  );
}

function reschedule(
  state: ServerState,
  peer: ServerPeer,
  before: ServerOptions,
  reverify: boolean,
  now: number,
  out: Outbox,
): void {
  if (before.renegS !== state.options.renegS) {
    const at = renegotiationTime(state, peer.handshakeAt);
    // What is overdue now is overdue for all of them: not in one moment.
    peer.renegotiateAt = at === undefined ? undefined : Math.max(at, soon(state, now));
  }
  if (reverify) peer.renegotiateAt = Math.min(peer.renegotiateAt ?? Infinity, soon(state, now));
  settlePeer(state, peer, now, out);
}

function soon(state: ServerState, now: number): number {
  return now + Math.round((state.deps.random(1)[0]! / 256) * REVERIFY_SPREAD_MS);
}

/** Fixed addresses are never given out; whoever has one already keeps it while it is connected. */
function reserveAddresses(state: ServerState, changed: ReadonlySet<string>, out: Outbox): void {
  const { options, pools } = state;
  const fixed = options.peers.flatMap(peer => peer.addresses);
  options.addresses.forEach((own, i) => {
    const { reserved } = pools[i]!;
    reserved.clear();
    for (const ip of [own.ip, ...fixed]) reserved.add(ipKey(ip));
  });
  for (const { name, commonName, addresses } of options.peers) {
    if (!changed.has(commonName)) continue;
    for (const holder of state.byId.values()) {
      const ip = addresses.find(address => holder.vpnIps.includes(formatIp(address)));
      if (ip === undefined || holder.commonName === commonName) continue;
      notify(out, 'warn', `${formatIp(ip)} of peer '${name}' stays with ${holder.name} until that leaves`);
    }
  }
}

export function changeClient(
  state: ClientState,
  event: Extract<ConfigChange, { role: 'client' }>,
  now: number,
  out: Outbox,
): void {
  const before = state.options;
  state.options = event.options;
  const isServerGone = changeRemotes(state, before);
  if (state.phase === 'leaving' || state.phase === 'idle') return;
  const isConnected = state.phase === 'connected';
  if (isServerGone || event.reconnect || (!isConnected && event.newSessions)) {
    state.round = 0;
    restart(state, 'the configuration changed', now, out, { level: 'info', advance: 'no' });
  } else if (isConnected) {
    if (before.renegS !== event.options.renegS) {
      const { renegS } = event.options;
      state.renegotiateAt = renegS === 0 ? undefined : Math.max(now, state.handshakeAt + renegS * 1000);
    }
    renewNetwork(state, out);
  } else if (before.killSwitch || event.options.killSwitch) {
    makeWay(state, false, out);
  }
}

/** Whether the server in use, or being tried, is no longer among the remotes. */
function changeRemotes(state: ClientState, before: ClientOptions): boolean {
  const key = (value: unknown): string => JSON.stringify(value);
  const { remotes, remoteRandom } = state.options;
  if (key(remotes) === key(before.remotes) && remoteRandom === before.remoteRandom) return false;
  const current = key(state.remotes[state.remoteIndex]);
  state.remotes = orderRemotes(state.options, state.deps);
  const index = state.remotes.findIndex(remote => key(remote) === current);
  state.remoteIndex = Math.max(0, index);
  if (index >= 0) return false;
  state.addresses = [];
  state.addressIndex = 0;
  return true;
}
