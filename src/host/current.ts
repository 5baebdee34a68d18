// SPDX-License-Identifier: Apache-2.0
// Picks the body of Host that fits the runtime; one Host for each process.

import type { Host } from './host.ts';
import { nodeRuntime } from './node.ts';
import { quickjsRuntime } from './quickjs.ts';
import type { Runtime } from './raw.ts';
import { shimHost } from './shim.ts';

let host: Host | undefined;

/** The runtime this script runs under. */
export function currentRuntime(): Runtime {
  return quickjsRuntime() ?? nodeRuntime();
}

/** The host of this process. */
export function currentHost(): Host {
  host ??= shimHost(currentRuntime());
  return host;
}
