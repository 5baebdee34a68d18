// SPDX-License-Identifier: Apache-2.0
// Which data plane a tunnel gets, and why not a better one. The answer is data for log and status.

import type { PlaneName, PlaneUnavailable } from './plane.ts';

/** Best first. */
export const PLANE_ORDER: readonly PlaneName[] = ['kernel', 'native', 'js'];

/** Says why a plane cannot be had here and for this tunnel; undefined = it can. */
export type PlaneProbe = () => PlaneUnavailable | undefined;

export interface PlaneChoice {
  /** undefined: the plane asked for cannot be had; `off` says why. */
  readonly name: PlaneName | undefined;
  /** The better planes that are off, or the one asked for, best first. */
  readonly off: readonly PlaneUnavailable[];
}

/**
 * `auto` takes the best plane that can be had. A plane asked for by name is taken or refused, never replaced:
 * who names one has a reason. Only planes that may be taken are probed, best first, until one can be had.
 */
export function choosePlane(
  wanted: 'auto' | PlaneName,
  probes: Readonly<Record<PlaneName, PlaneProbe>>,
): PlaneChoice {
  const off: PlaneUnavailable[] = [];
  for (const name of wanted === 'auto' ? PLANE_ORDER : [wanted]) {
    const unavailable = probes[name]();
    if (unavailable === undefined) return { name, off };
    off.push(unavailable);
  }
  return { name: undefined, off };
}
