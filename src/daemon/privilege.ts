// SPDX-License-Identifier: Apache-2.0
// Whether this process may do what a tunnel needs. On a router it is not root: it has an account of its own and this
// one capability.

import { decodeUtf8 } from '../core/bytes.ts';
import { type Host, isFailure } from '../host/host.ts';

/** CAP_NET_ADMIN: devices, addresses, routes, the ovpn family. */
const NET_ADMIN = 12;

/** From the text of /proc/self/status; undefined when it does not say. */
export function mayConfigureNetwork(status: string): boolean | undefined {
  const digits = /^CapEff:\s*([0-9a-f]{16})\s*$/m.exec(status)?.[1];
  // Only the lower 32 of the 64 bits are looked at.
  return digits === undefined ? undefined : ((Number.parseInt(digits.slice(8), 16) >>> NET_ADMIN) & 1) === 1;
}

/** One line why not; undefined: it may, or it will show. */
export function privilegeProblem(host: Host): string | undefined {
  const bytes = host.files.read('/proc/self/status');
  const may = isFailure(bytes) ? undefined : mayConfigureNetwork(decodeUtf8(bytes) ?? '');
  if (may !== false) return undefined;
  return 'must run as root or with CAP_NET_ADMIN: it creates a network device';
}
