// SPDX-License-Identifier: Apache-2.0
// The wanted state of a tunnel's network as one value. Whoever applies it compares it with what is there and
// changes the difference.

import type { Ip, Prefix } from './address.ts';

/** An own address on the tunnel device. With `peer` the address is point-to-point. */
export interface WantedAddress {
  /** Host bits kept: 10.8.0.2/24. With `peer`, bits is 32 or 128. */
  readonly address: Prefix;
  readonly peer?: Ip;
}

export interface WantedRoute {
  /** Host bits clear. */
  readonly destination: Prefix;
  /** Next hop inside the tunnel; absent = the device itself. */
  readonly gateway?: Ip;
  readonly metric: number;
  /** A server's wish, which gives way where it lies in a network that this machine is in by another device. */
  readonly isPushed?: boolean;
}

/** A client's kill switch. */
export interface Guard {
  /** Reached through the device or not at all, also while this process is gone. Host bits clear. */
  readonly blocked: readonly Prefix[];
  /** The name of a server is being looked up: the name servers of the uplink must be reachable. */
  readonly isLookingUp: boolean;
}

/** Everything wanted on and around one tunnel device; a complete set, not steps. */
export interface WantedNetwork {
  readonly device: string;
  readonly mtu: number;
  readonly addresses: readonly WantedAddress[];
  readonly routes: readonly WantedRoute[];
  /** Addresses that must stay reachable outside the tunnel (the server): host routes by the present way. */
  readonly outside: readonly Ip[];
  /** Name servers and search domains the tunnel offers; only recorded until DNS has a consumer. */
  readonly dns: { readonly servers: readonly Ip[]; readonly domains: readonly string[] };
  readonly guard?: Guard;
  /** Nothing was connected yet: the device is left alone, only `outside` and `guard` count. */
  readonly isIdle?: boolean;
}
