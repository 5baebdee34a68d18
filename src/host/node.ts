// SPDX-License-Identifier: Apache-2.0
// Node: the shim is an addon, shim.node, beside the bundle.

import type { RawShim, Runtime } from './raw.ts';

/** The folder of the bundle; that of a test bundle is the build folder above build/test. */
function bundleFolder(): string {
  // A CommonJS bundle (tests) has __dirname; the daemon's is a plain script that Node may load as a module.
  const script = process.argv[1] ?? '.';
  const folder =
    typeof __dirname === 'string' ? __dirname : script.slice(0, script.lastIndexOf('/') + 1) || '.';
  return folder.replace(/\/build\/test(\/.*)?$/, '/build');
}

/** The Node runtime. Without a readable shim.node it throws: nothing of the daemon works without. */
export function nodeRuntime(): Runtime {
  const path = process.env.OVPND_SHIM ?? `${bundleFolder()}/shim.node`;
  const module = { exports: {} };
  // Not require: a bundle that Node takes for a module has none.
  process.dlopen(module, path);
  return {
    name: 'node',
    shim: module.exports as RawShim,
    args: process.argv.slice(2),
    exit: code => process.exit(code),
  };
}
