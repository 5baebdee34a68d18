// SPDX-License-Identifier: Apache-2.0
// Who applies the wanted state: netifd, where `config interface` with `proto 'ovpnd'` of the tunnel's name exists,
// else this process by rtnetlink. That may change while the tunnel runs, and its peers never notice:
//
//   unknown --(no such interface)--> rtnetlink --(the handler says: up)--> netifd
//      '----------(there is one)-------------------------------------------'^  |
//                  rtnetlink <--(down, and a moment later gone)----------------'
//
// netifd takes addresses, routes and name servers away by itself when the interface goes down.

import { formatPrefix, ipKey } from '../core/address.ts';
import type { WantedNetwork } from '../core/network.ts';
import type { Loop, Timer } from '../host/host.ts';
import type { NetworkReport } from './network.ts';
import { errorNotice, hostNotice, linkUpNotice, textOf } from './notice.ts';
import type { RtnetlinkNetwork } from './rtnetlink.ts';

/** Our protocol's name in netifd. */
export const PROTO = 'ovpnd';

/** A restarted interface comes back at once, a removed one never; netifd itself may take longer. */
export const RECHECK_MS = 3_000;

/** netifd was slow, or is being restarted. */
const AGAIN_MS = 2_000;

const NOTHING = { addresses: [], routes: [], dns: { servers: [], domains: [] } } as const;

/** ubus status codes that mean something here. */
const PERMISSION_DENIED = 6;
const NOT_FOUND = 4;

export interface AskFailure {
  readonly status: number;
  readonly text: string;
}

/** What netifd says of an interface. */
export interface InterfaceState {
  readonly proto: string;
  /** Set up, or being set up: it takes notices. */
  readonly isWanted: boolean;
}

export interface NetifdNeeds {
  readonly tunnel: string;
  readonly loop: Loop;
  monotonicMs(): number;
  readonly kernel: RtnetlinkNetwork;
  /** `notify_proto` with this message. `done` comes once, from the loop. */
  notify(message: object, done: (failure: AskFailure | undefined) => void): void;
  /** `done` comes once, from the loop. */
  inquire(done: (state: InterfaceState | 'no interface' | 'no netifd') => void): void;
  /** What was changed by rtnetlink. */
  report(report: NetworkReport): void;
  warn(text: string): void;
  /** Routes that others have on the device may have been taken along: those to networks behind peers. */
  onDeviceUp(): void;
}

export class TunnelNetwork {
  readonly #needs: NetifdNeeds;
  #by: 'unknown' | 'rtnetlink' | 'netifd' = 'unknown';
  #wanted: WantedNetwork | undefined;
  /** netifd wants the interface up. */
  #isWanted = false;
  /** netifd was told and has it up. */
  #isUp = false;
  /** The device was set down since: the kernel lacks part of it. */
  #isStale = false;
  /** netifd must let go of everything first. */
  #isAnew = false;
  #hasHostRoutes = true;
  /** Host dependencies since the interface was set up. */
  #hosts = new Set<string>();
  /** What netifd was told last. */
  #told = '';
  #isTelling = false;
  /** Said last. */
  #refusedRoutes = '';
  #lastError = '';
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(needs: NetifdNeeds) {
    this.#needs = needs;
  }

  /** For `status`; `unknown` lasts until netifd has answered, or nobody is there. */
  get by(): 'unknown' | 'rtnetlink' | 'netifd' {
    return this.#by;
  }

  /**
   * Takes back what a process that died left behind, with `stayClosed` all but what the kill switch blocks, then asks
   * who is in charge.
   */
  open(stayClosed = false): NetworkReport {
    const report = this.#needs.kernel.recover(stayClosed);
    this.inquire();
    return report;
  }

  /** Asks netifd again: call it when ubusd has come back. */
  inquire(): void {
    this.#needs.inquire(state => {
      if (this.#isClosed) return;
      // Perhaps it is only being restarted, and what it has made is still there.
      if (state === 'no netifd' && this.#by === 'netifd')
        return this.#after(RECHECK_MS, () => this.inquire());
      if (typeof state === 'string' || state.proto !== PROTO) return this.#takeOver();
      if (this.#by !== 'netifd') this.#handOver();
      this.#isWanted = state.isWanted;
      this.#tell();
    });
  }

  apply(all: WantedNetwork): void {
    const { wanted, refused } = this.#needs.kernel.permit(all);
    const text = refused.map(formatPrefix).join(', ');
    if (text !== '' && text !== this.#refusedRoutes)
      this.#needs.warn(
        `pushed route ${text} not followed: in a network of another device; \`route\` would insist`,
      );
    this.#refusedRoutes = text;
    this.#wanted = wanted;
    if (this.#by === 'rtnetlink') this.#needs.report(this.#needs.kernel.apply(wanted));
    else {
      this.#guard();
      this.#tell();
    }
  }

  /** The kill switch is ours whoever has the addresses: netifd's routes go with the device. */
  #guard(): void {
    if (this.#wanted !== undefined) this.#needs.report(this.#needs.kernel.guard(this.#wanted));
  }

  /** The handler's setup: netifd wants the interface, and has nothing of it yet. */
  interfaceUp(hasHostRoutes: boolean): void {
    if (this.#isClosed) return;
    this.#timer?.cancel();
    if (this.#by !== 'netifd') this.#handOver();
    this.#isWanted = true;
    this.#hasHostRoutes = hasHostRoutes;
    this.#forget();
    this.#tell();
  }

  /** The handler's teardown: down, restarted, or removed, which only shows afterwards. */
  interfaceDown(): void {
    if (this.#isClosed || this.#by !== 'netifd') return;
    this.#isWanted = false;
    this.#forget();
    this.#after(RECHECK_MS, () => this.inquire());
  }

  /** Somebody set the device down. False: it was not up by our doing, nothing is missing. */
  deviceDown(): boolean {
    const isMissed = this.#by === 'rtnetlink' ? this.#wanted !== undefined : this.#isUp;
    if (isMissed) this.#isStale = true;
    return isMissed && !this.#isClosed;
  }

  /** It is up. True: again, and everything that the kernel has forgotten comes back. */
  deviceUp(): boolean {
    if (!this.#isStale || this.#isClosed) return false;
    this.#isStale = false;
    // netifd takes what it made for still there: only what it is told to let go of does it make anew.
    this.#isAnew = this.#by === 'netifd';
    this.#told = '';
    if (this.#wanted !== undefined) this.apply(this.#wanted);
    if (this.#by === 'rtnetlink') this.#needs.onDeviceUp();
    return true;
  }

  /** Shown by netifd with the interface. */
  error(text: string): void {
    if (this.#by !== 'netifd' || this.#isClosed || text === this.#lastError) return;
    this.#lastError = text;
    this.#needs.notify(errorNotice(this.#needs.tunnel, 'TUNNEL_ERROR', text), () => undefined);
  }

  /**
   * Nothing is told any more; netifd lets go of the interface when its device goes. `stayClosed`: what the kill switch
   * blocks stays blocked.
   */
  close(stayClosed = false): NetworkReport {
    this.#isClosed = true;
    this.#timer?.cancel();
    const { kernel } = this.#needs;
    return this.#by === 'netifd' ? kernel.unguard(stayClosed) : kernel.clear(stayClosed);
  }

  #forget(): void {
    this.#isUp = this.#isStale = this.#isAnew = false;
    this.#hosts.clear();
    this.#told = '';
    this.#lastError = '';
  }

  #handOver(): void {
    if (this.#by === 'rtnetlink') this.#needs.report(this.#needs.kernel.clear(true));
    this.#by = 'netifd';
    this.#forget();
    this.#guard();
  }

  #takeOver(): void {
    if (this.#by === 'rtnetlink') return;
    this.#by = 'rtnetlink';
    this.#isWanted = false;
    this.#forget();
    if (this.#wanted !== undefined) this.#needs.report(this.#needs.kernel.apply(this.#wanted));
  }

  /** One notice at a time: each builds on what the one before has made. */
  #tell(): void {
    const wanted = this.#wanted;
    if (this.#by !== 'netifd' || !this.#isWanted || this.#isTelling) return;
    if (wanted === undefined || wanted.isIdle) return;
    if (textOf(wanted) === this.#told) return;
    const host = this.#hasHostRoutes ? wanted.outside.find(ip => !this.#hosts.has(ipKey(ip))) : undefined;
    this.#isTelling = true;
    if (host !== undefined) {
      this.#hosts.add(ipKey(host));
      // Not found: netifd has no uplink yet; it takes the interface down and sets it up when there is one.
      return this.#needs.notify(hostNotice(this.#needs.tunnel, host), () => this.#next());
    }
    const report = this.#needs.kernel.prepare(wanted);
    if (report.failures.length > 0) this.#needs.report(report);
    const told = textOf(wanted);
    this.#told = told;
    const isAnew = this.#isAnew;
    this.#isAnew = false;
    const what = isAnew ? { ...wanted, ...NOTHING } : wanted;
    this.#needs.notify(linkUpNotice(this.#needs.tunnel, what), failure => {
      // In between the interface may have gone down and up again.
      const isLast = this.#told === told;
      if (failure !== undefined) {
        if (isLast) this.#isAnew = isAnew;
        this.#refused(failure, told);
      } else {
        if (isLast) this.#isUp = true;
        if (isLast && isAnew) this.#told = '';
        if (!isAnew) this.#needs.onDeviceUp();
      }
      this.#next();
    });
  }

  #next(): void {
    this.#isTelling = false;
    if (!this.#isClosed) this.#tell();
  }

  /** Denied: being torn down, so that a setup follows, or the interface is another one now. */
  #refused(failure: AskFailure, told: string): void {
    if (this.#isClosed || this.#told !== told) return;
    const isExpected = failure.status === PERMISSION_DENIED || failure.status === NOT_FOUND;
    if (!isExpected) this.#needs.warn(`netifd: ${failure.text}`);
    // What was told stays noted, so that nothing is said again before somebody was asked.
    this.#after(AGAIN_MS, () => {
      this.#told = '';
      this.inquire();
    });
  }

  #after(ms: number, callback: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#needs.loop.at(this.#needs.monotonicMs() + ms, callback);
  }
}
