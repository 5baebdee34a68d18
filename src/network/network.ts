// SPDX-License-Identifier: Apache-2.0
// Whoever puts a tunnel's wanted network state into effect: rtnetlink here, netifd on a router that has it.

import type { WantedNetwork } from '../core/network.ts';

/** What could not be applied: one line for a person per item, e.g. `route 10.0.0.0/8: File exists`. */
export interface NetworkReport {
  readonly failures: readonly string[];
  readonly changes: number;
}

/** Applies wanted states to one tunnel's device. Synchronous: rtnetlink answers inside the request. */
export interface Network {
  apply(wanted: WantedNetwork): NetworkReport;
  /** Takes back everything applied, with `stayClosed` all but what the kill switch blocks; idempotent. */
  clear(stayClosed?: boolean): NetworkReport;
}
