// SPDX-License-Identifier: Apache-2.0
// The QuickJS executable (src/shim/main_quickjs.c) leaves the shim and its arguments as globals.

import type { RawShim, Runtime } from './raw.ts';

interface Globals {
  __ovpnd_shim?: RawShim;
  __ovpnd_args?: string[];
}

/** undefined under any other runtime. */
export function quickjsRuntime(): Runtime | undefined {
  const { __ovpnd_shim: shim, __ovpnd_args: args } = globalThis as Globals;
  if (shim === undefined) return undefined;
  return { name: 'quickjs', shim, args: args ?? [], exit: code => shim.exit(code) };
}
