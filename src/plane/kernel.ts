// SPDX-License-Identifier: Apache-2.0
// The data plane in the Linux `ovpn` module. Not built yet: it always says so.

import type { PlaneUnavailable } from './plane.ts';

/** Why the kernel plane cannot be had. */
export function kernelUnavailable(): PlaneUnavailable {
  return { name: 'kernel', reason: 'not built yet' };
}
