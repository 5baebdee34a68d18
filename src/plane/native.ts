// SPDX-License-Identifier: Apache-2.0
// The data plane in the worker threads of the shim. Not built yet: it always says so.

import type { PlaneUnavailable } from './plane.ts';

/** Why the native plane cannot be had. */
export function nativeUnavailable(): PlaneUnavailable {
  return { name: 'native', reason: 'not built yet' };
}
