// SPDX-License-Identifier: Apache-2.0
// What goes into an endpoint and what comes out: events are nouns, effects are verbs. Whoever runs the core
// applies the effects of one step in their order: plane first, network second, sends last, so that a peer
// never hears of a key that is not installed yet.

import type { Endpoint, Ip, Path } from './address.ts';
import type { ClientOptions } from './clientstate.ts';
import type { Crypto, Random } from './crypto.ts';
import type { DropReason } from './drop.ts';
import type { WantedNetwork } from './network.ts';
import type { PlaneCommand, PlaneNotice } from './plane.ts';
import type { ServerOptions } from './server.ts';
import type { TlsFactory } from './tls.ts';

export type Event =
  /** First event of every endpoint. */
  | { readonly kind: 'start' }
  /** A control packet, or anything else that is no data packet; bytes are borrowed. */
  | { readonly kind: 'datagram'; readonly path: Path; readonly bytes: Uint8Array }
  /** The time asked for with setTimer has come. */
  | { readonly kind: 'tick' }
  | { readonly kind: 'planeNotice'; readonly notice: PlaneNotice }
  /** The plane refused a command; `text` says why. */
  | { readonly kind: 'planeRefused'; readonly command: PlaneCommand; readonly text: string }
  /** An authentic inner payload that is neither IP nor ping. */
  | { readonly kind: 'inner'; readonly peerId: number; readonly payload: Uint8Array }
  /** Answer to `resolve`: addresses in the order to try, or why there are none. */
  | { readonly kind: 'resolved'; readonly addresses: readonly Ip[] }
  | { readonly kind: 'resolveFailed'; readonly reason: string }
  /** Answer to `openSocket`. */
  | { readonly kind: 'socketOpened'; readonly socket: number }
  | { readonly kind: 'socketFailed'; readonly reason: string }
  /** Answer to `askAuth`. */
  | { readonly kind: 'authResult'; readonly id: number; readonly refused?: LoginRefusal }
  /** Answer to `askTraffic`: bytes of IP packets to and from the peer since it was added. */
  | { readonly kind: 'traffic'; readonly peerId: number; readonly bytes: number }
  /** A TCP connection ended, or must end; answered with closeSocket. `drop`: what its peer sent wrong. */
  | {
      readonly kind: 'streamClosed';
      readonly path: Path;
      readonly reason: string;
      readonly drop?: DropReason;
    }
  /** An operator's wish. `peer` is the peer's name (server only). */
  | {
      readonly kind: 'command';
      readonly command: 'disconnect' | 'renegotiate';
      readonly peer?: string;
      readonly reason?: string;
    }
  /**
   * New options. `peers`: common names whose own configuration changed, they come anew. `reverify`: all certificates
   * must soon be looked at again.
   */
  | {
      readonly kind: 'configChange';
      readonly role: 'server';
      readonly options: ServerOptions;
      readonly peers: ReadonlySet<string>;
      readonly reverify: boolean;
    }
  /** `newSessions`: what is not connected yet begins anew with them. `reconnect`: what is connected does, too. */
  | {
      readonly kind: 'configChange';
      readonly role: 'client';
      readonly options: ClientOptions;
      readonly newSessions: boolean;
      readonly reconnect: boolean;
    }
  /** Leave politely; ends in an `exit` effect. */
  | { readonly kind: 'shutdown' };

/** Why a login is refused: `reason` for our log, `words` for the client; `retryS`: it may come again then, all the same. */
export interface LoginRefusal {
  readonly reason: string;
  readonly words?: string;
  /** Seconds. */
  readonly retryS?: number;
}

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

/** Something worth knowing. `text` is one printable line without secrets. */
export interface Notice {
  readonly level: LogLevel;
  readonly text: string;
  /** Name of the peer it is about. */
  readonly peer?: string;
  readonly action?: 'connected' | 'disconnected' | 'floated' | 'refused';
}

export type Effect =
  | { readonly kind: 'setPlane'; readonly command: PlaneCommand }
  | { readonly kind: 'setNet'; readonly network: WantedNetwork }
  | { readonly kind: 'notify'; readonly notice: Notice }
  | { readonly kind: 'resolve'; readonly host: string; readonly family: 4 | 6 | 0 }
  /** A new socket with a fresh local port, for one remote; over TCP a connection, in place of one under way. */
  | { readonly kind: 'openSocket'; readonly remote: Endpoint; readonly tcp?: boolean }
  | { readonly kind: 'closeSocket'; readonly socket: number }
  /** Whether this user name and password are good; authResult answers, at any time. `ip`: where the client is. */
  | {
      readonly kind: 'askAuth';
      readonly id: number;
      readonly username: string;
      readonly password: string;
      readonly ip: Ip;
    }
  /** What has passed; `traffic` answers, unless the plane has not this peer. */
  | { readonly kind: 'askTraffic'; readonly peerId: number }
  | { readonly kind: 'send'; readonly path: Path; readonly bytes: Uint8Array }
  /** Replaces the one timer of the endpoint; undefined = none. Monotonic milliseconds. */
  | { readonly kind: 'setTimer'; readonly at: number | undefined }
  | { readonly kind: 'exit' };

/** What an endpoint is built with; the core has no clock, no I/O and no randomness of its own. */
export interface CoreDeps {
  readonly crypto: Crypto;
  readonly random: Random;
  readonly tls: TlsFactory;
  /** Seconds since 1970, for the replay id of wrapped packets and for status only. */
  readonly wallS: () => number;
  /** Whether an exception ends only the peer that it concerns. */
  readonly contains?: boolean;
}

/** Collects the effects of one step, by kind. */
export interface Outbox {
  readonly plane: PlaneCommand[];
  network: WantedNetwork | undefined;
  readonly others: Effect[];
  readonly sends: Effect[];
}

export function newOutbox(): Outbox {
  return { plane: [], network: undefined, others: [], sends: [] };
}

export function notify(
  out: Outbox,
  level: LogLevel,
  text: string,
  more: Pick<Notice, 'peer' | 'action'> = {},
): void {
  out.others.push({ kind: 'notify', notice: { level, text, ...more } });
}

/** The effects in the order in which they must be applied, the timer last. */
export function effectsOf(out: Outbox, timerAt: number | undefined): Effect[] {
  const effects: Effect[] = out.plane.map(command => ({ kind: 'setPlane', command }));
  if (out.network !== undefined) effects.push({ kind: 'setNet', network: out.network });
  return effects.concat(out.others, out.sends, { kind: 'setTimer', at: timerAt });
}

/** The earlier of two optional deadlines. */
export function earlier(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined || a <= b ? a : b;
}
