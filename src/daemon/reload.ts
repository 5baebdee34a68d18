// SPDX-License-Identifier: Apache-2.0
// What a new configuration means for a running tunnel: which options and files differ, and what the dearest of them
// costs. The costs are in the schema table; run.ts and tunnel.ts apply them.

import type { ClientConfig, PeerConfig, ServerConfig } from '../uci/config.ts';
import { costOf, diffTunnel, highest, type OptionChange } from '../uci/diff.ts';
import { type Cost, optionsOf } from '../uci/schema.ts';
import type { Material } from './material.ts';

/** A configuration with its files read. */
export interface Usable {
  readonly config: ServerConfig | ClientConfig;
  readonly material: Material;
}

export interface ReloadPlan {
  /** For a person: `port`, `ca (content)`, `peer alice`. Empty: nothing changed. */
  readonly changes: readonly string[];
  /** The dearest change of the tunnel's own options; undefined: there is none. */
  readonly cost: Cost | undefined;
  /** Common names of the peers whose sections changed. */
  readonly peers: ReadonlySet<string>;
  /** Revoked certificates changed: those in use must be looked at again. */
  readonly reverify: boolean;
}

export function planReload(before: Usable, after: Usable): ReloadPlan {
  // A section that turned from one role to the other has nothing in common with what runs.
  if (before.config.role !== after.config.role) {
    return { changes: [after.config.role], cost: 'restart', peers: new Set(), reverify: false };
  }
  const { options: own, peers } = diffTunnel(before.config, after.config);
  const options = [...own];
  const users = (config: ServerConfig | ClientConfig): string =>
    JSON.stringify(config.role === 'server' ? config.users.map(({ line: _, ...user }) => user) : []);
  if (users(before.config) !== users(after.config)) options.push({ option: 'users', cost: 'live' });
  const named = new Set(options.map(({ option }) => option));
  const contents = fileChanges(before, after).filter(({ option }) => !named.has(option));
  const changed: PeerConfig[] = [
    ...peers.added,
    ...peers.removed,
    ...peers.changed.flatMap(peer => [peer.before, peer.after]),
  ];
  return {
    changes: [
      ...options.map(({ option }) => option),
      ...contents.map(({ option }) => `${option} (content)`),
      ...[...new Set(changed.map(({ name }) => name))].map(name => `peer ${name}`),
    ],
    cost: highest([...options, ...contents]),
    peers: new Set(changed.map(({ commonName }) => commonName)),
    reverify: named.has('crl') || contents.some(({ option }) => option === 'crl'),
  };
}

/** Files whose content is another now, the paths of both times. */
function fileChanges(before: Usable, after: Usable): OptionChange[] {
  const rows = optionsOf(after.config.role);
  const old = before.material.digests;
  const now = after.material.digests;
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter(option => old.get(option) !== now.get(option))
    .map(option => {
      const row = rows.get(option);
      return { option, cost: row === undefined ? 'restart' : costOf(row, after.config.role) };
    });
}

/** Whether the tunnel must end and begin anew, alone. */
export function needsRestart(plan: ReloadPlan, role: 'server' | 'client'): boolean {
  // A client opens a new socket with its next connection; a server's peers are on the old ones.
  return plan.cost === 'restart' || (plan.cost === 'new socket' && role === 'server');
}
