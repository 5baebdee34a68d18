// SPDX-License-Identifier: Apache-2.0
// What a client knows: its options, the remotes, the attempt or connection at hand.

import type { Ip, Path, Prefix } from './address.ts';
import type { CipherName } from './crypto.ts';
import type { DataKeys } from './datakeys.ts';
import { type DropCounters, newDropCounters } from './drop.ts';
import type { CoreDeps } from './event.ts';
import type { ExpectedIdentity } from './identity.ts';
import type { WantedAddress } from './network.ts';
import type { PlaneCapabilities, RekeyAfter } from './plane.ts';
import { newPushCollector, type PushCollector, type PushedOptions } from './pushreply.ts';
import type { Session } from './session.ts';
import type { SessionLimits } from './sessionlimits.ts';
import type { WrapKeys } from './wrap.ts';

export interface ClientRemote {
  /** Address or host name. */
  readonly host: string;
  readonly port: number;
  /** 0 = either. */
  readonly family: 4 | 6 | 0;
  readonly tcp?: boolean;
}

export interface ClientOptions {
  readonly wrap: WrapKeys;
  readonly capabilities: PlaneCapabilities;
  /** In the order to try. */
  readonly remotes: readonly ClientRemote[];
  readonly remoteRandom: boolean;
  readonly ciphers: readonly CipherName[];
  readonly handWindowS: number;
  readonly renegS: number;
  /** Of each key, beside that. */
  readonly rekeyAfter?: RekeyAfter;
  /** Used unless the server pushes its own. */
  readonly ping: number;
  readonly pingRestart: number;
  readonly retryFirstS: number;
  readonly retryMaxS: number;
  /** How long one remote may take for its first answer. */
  readonly pollTimeoutS: number;
  readonly tunMtu: number;
  readonly occ: string;
  readonly occTcp?: string;
  readonly peerInfo: string;
  readonly expected?: ExpectedIdentity;
  /** Mode p2p: nothing is asked of the server, these are our addresses. */
  readonly ownAddresses?: readonly WantedAddress[];
  readonly username?: string;
  readonly password?: string;
  readonly device: string;
  readonly routes: readonly Prefix[];
  readonly routeNopull: boolean;
  /** Name servers of the server are wanted. */
  readonly pullDns: boolean;
  /** Whether the default route may lead into the tunnel; it then does, whatever the server pushes. */
  readonly redirectGateway: boolean;
  /** What the configuration sends into the tunnel leaves by it or not at all. */
  readonly killSwitch: boolean;
  readonly metric: number;
  readonly explicitExitNotify: boolean;
}

/**
 * resolving and opening wait for the runtime; negotiating: from the hard reset to the push reply; waiting: for the
 * next attempt; leaving: the exit notice is on its way.
 */
export type ClientPhase =
  | 'idle'
  | 'resolving'
  | 'opening'
  | 'negotiating'
  | 'connected'
  | 'waiting'
  | 'leaving';

/** What the push reply in effect said, with its updates. */
export interface Pulled {
  readonly lines: readonly string[];
  readonly pushed: PushedOptions;
  readonly addresses: readonly WantedAddress[];
}

export interface ClientState {
  /** Replaced by configChange, as are the remotes. */
  options: ClientOptions;
  readonly deps: CoreDeps;
  remotes: readonly ClientRemote[];
  readonly drops: DropCounters;
  phase: ClientPhase;
  remoteIndex: number;
  addresses: readonly Ip[];
  addressIndex: number;
  /** Whole rounds over all remotes without a connection. */
  round: number;
  retryAt: number | undefined;
  remote: { readonly ip: Ip; readonly port: number } | undefined;
  path: Path | undefined;
  session: Session | undefined;
  startedAt: number;
  pushRequestAt: number | undefined;
  pushDeadline: number | undefined;
  collector: PushCollector;
  /** Parts of an update. */
  updates: PushCollector;
  /** Whole updates since then. */
  updated: { since: number; count: number };
  keys: DataKeys | undefined;
  /** What the server pushed that later decisions need. */
  ccExit: boolean;
  pingRestartS: number;
  pulled: Pulled | undefined;
  /** Whether the network wanted last has a guard. */
  isGuarded: boolean;
  connectedAtS: number;
  handshakeAt: number;
  renegotiateAt: number | undefined;
  /** While connected. */
  limits: SessionLimits | undefined;
  stopAt: number | undefined;
  lastError: string;
  /** What the server gave us in place of the password. */
  token: string | undefined;
}

export function newClient(options: ClientOptions, deps: CoreDeps): ClientState {
  return {
    options,
    deps,
    remotes: orderRemotes(options, deps),
    drops: newDropCounters(),
    phase: 'idle',
    remoteIndex: 0,
    addresses: [],
    addressIndex: 0,
    round: 0,
    retryAt: undefined,
    remote: undefined,
    path: undefined,
    session: undefined,
    startedAt: 0,
    pushRequestAt: undefined,
    pushDeadline: undefined,
    collector: newPushCollector(),
    updates: newPushCollector(),
    updated: { since: 0, count: 0 },
    keys: undefined,
    ccExit: false,
    pingRestartS: options.pingRestart,
    pulled: undefined,
    isGuarded: false,
    connectedAtS: 0,
    handshakeAt: 0,
    renegotiateAt: undefined,
    limits: undefined,
    stopAt: undefined,
    lastError: '',
    token: undefined,
  };
}

/** Shown in place of the password from now on. */
export function takeToken(state: ClientState, token: string): void {
  if (state.options.username === undefined) return;
  state.token = token;
  if (state.session !== undefined) state.session.token = token;
}

/** The remotes in the order to try. */
export function orderRemotes(options: ClientOptions, deps: CoreDeps): readonly ClientRemote[] {
  return options.remoteRandom ? shuffle(options.remotes, deps) : options.remotes;
}

function shuffle(remotes: readonly ClientRemote[], deps: CoreDeps): ClientRemote[] {
  const left = [...remotes];
  const out: ClientRemote[] = [];
  while (left.length > 0) {
    const random = deps.random(2);
    out.push(...left.splice(((random[0]! << 8) | random[1]!) % left.length, 1));
  }
  return out;
}
