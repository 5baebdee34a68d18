// SPDX-License-Identifier: Apache-2.0
// PUSH_UPDATE (OpenVPN 2.7): the options of a connection change while it stands. Items are option lines as in a push
// reply; `-name` takes all lines of a name away, `?` before a name lets a client pass over what it does not know. Pure:
// lines in, lines out; what they mean is read anew from all of them.

import { printable } from './text.ts';

/** What may change, as OpenVPN 2.7 has it (options_util.c). */
const UPDATABLE: ReadonlySet<string> = new Set([
  'block-ipv6',
  'block-outside-dns',
  'dhcp-option',
  'dns',
  'ifconfig',
  'ifconfig-ipv6',
  'keepalive',
  'redirect-gateway',
  'redirect-private',
  'route',
  'route-gateway',
  'route-ipv6',
  'route-metric',
  'topology',
  'tun-mtu',
]);

const nameOf = (line: string): string => /^\S*/.exec(line)![0];

/** Two names of the same flags are one option. */
function kindOf(line: string): string {
  const name = nameOf(line);
  return name === 'redirect-private' ? 'redirect-gateway' : name;
}

/** The lines after an update, and the names it changed. */
export interface Updated {
  readonly lines: readonly string[];
  readonly names: readonly string[];
}

/**
 * Applies one whole update, all its parts put together. The first line of a name replaces all that were there, the next
 * ones are added. A string says why the connection must begin anew: something that cannot change, and is not optional.
 */
export function applyUpdate(lines: readonly string[], items: readonly string[]): Updated | string {
  const set = new Set<string>();
  const names = new Set<string>();
  let all = [...lines];
  for (const item of items) {
    const [, minus, optional, line] = /^(-?)(\??)([^?-].*)$/s.exec(item) ?? [];
    if (line === undefined) return `'${printable(item)}' is no option`;
    const kind = kindOf(line);
    if (!UPDATABLE.has(nameOf(line))) {
      if (optional === '?') continue;
      return `'${printable(nameOf(line))}' cannot change`;
    }
    // Only a bare name is taken away.
    if (minus === '-' && line !== nameOf(line)) continue;
    names.add(kind);
    if (minus === '-' || !set.has(kind)) all = all.filter(old => kindOf(old) !== kind);
    if (minus === '-') continue;
    set.add(kind);
    all.push(line);
  }
  return { lines: all, names: [...names] };
}

/** The items by which a client that was told `before` comes to `after`, as far as that can change; empty: nothing. */
export function updateBetween(before: readonly string[], after: readonly string[]): string[] {
  const kinds = new Set([...before, ...after].filter(line => UPDATABLE.has(nameOf(line))).map(kindOf));
  return [...kinds].flatMap(kind => {
    const [old, now] = [before, after].map(lines => lines.filter(line => kindOf(line) === kind));
    if (JSON.stringify(old) === JSON.stringify(now)) return [];
    return now!.length === 0 ? [`-${kind}`] : now!;
  });
}
