// SPDX-License-Identifier: Apache-2.0
// What a changed configuration costs: by option, by file content, by peer.

import { deepStrictEqual, strictEqual } from 'node:assert';
import { encodeUtf8 } from '../../../src/core/bytes.ts';
import type { Material } from '../../../src/daemon/material.ts';
import { needsRestart, planReload, type Usable } from '../../../src/daemon/reload.ts';
import { readConfig } from '../../../src/uci/config.ts';

const SERVER = `config server 'home'
\toption enabled '1'
\tlist address '10.8.0.1/24'
\toption ca '/ca'
\toption cert '/cert'
\toption key '/key'
`;

const CLIENT = SERVER.replace('server', 'client').replace(/.*list address.*/, "\tlist remote 'a.example'");

function usable(text: string, digests: Record<string, string> = { ca: '1', cert: '2', key: '3' }): Usable {
  const config = readConfig('x', encodeUtf8(text), { hasAesInstructions: true });
  deepStrictEqual(config.problems, []);
  const material = { digests: new Map(Object.entries(digests)) } as unknown as Material;
  return { config: [...config.servers, ...config.clients][0]!, material };
}

describe('daemon/reload', () => {
  it('nothing changed, though lines moved', () => {
    const plan = planReload(usable(SERVER), usable(`# a comment\n\n${SERVER}`));
    deepStrictEqual(plan, { changes: [], cost: undefined, peers: new Set(), reverify: false });
  });

  it('the dearest option counts', () => {
    const cases: [string, string, boolean][] = [
      ["\toption log_level 'debug'", 'live', false],
      ["\tlist push_route '10.0.0.0/8'\n\toption max_clients '9'", 'new sessions', false],
      ["\toption port '1195'\n\tlist push_route '10.0.0.0/8'", 'new socket', true],
      ["\toption port '1195'\n\toption tun_mtu '1400'", 'restart', true],
    ];
    for (const [lines, cost, restart] of cases) {
      const plan = planReload(usable(SERVER), usable(`${SERVER}${lines}\n`));
      strictEqual(plan.cost, cost);
      strictEqual(needsRestart(plan, 'server'), restart);
    }
  });

  it('a client gets its new socket with its next connection', () => {
    const plan = planReload(usable(CLIENT), usable(`${CLIENT}\toption fwmark '7'\n`));
    deepStrictEqual(
      [plan.changes, plan.cost, needsRestart(plan, 'client')],
      [['fwmark'], 'new socket', false],
    );
  });

  it('a client that says something else of itself connects anew, a server does not end its sessions', () => {
    const cost = (text: string, now: Record<string, string>): string | undefined =>
      planReload(usable(text), usable(text, now)).cost;
    const now = { ca: '1', cert: '9', key: '3' };
    deepStrictEqual([cost(CLIENT, now), cost(SERVER, now)], ['new socket', 'new sessions']);
    deepStrictEqual(cost(CLIENT, { ca: '2', cert: '2', key: '3' }), 'new sessions');
    const named = planReload(
      usable(CLIENT),
      usable(`${CLIENT}\toption username 'u'\n\toption password 'p'\n`),
    );
    deepStrictEqual(named.cost, 'new socket');
  });

  it('the same path with another content is a change, another path is named once', () => {
    const now = { ca: '1', cert: '9', key: '8' };
    const plan = planReload(usable(SERVER), usable(SERVER.replace("'/key'", "'/key2'"), now));
    deepStrictEqual([plan.changes, plan.cost], [['key', 'cert (content)'], 'new sessions']);
    const same = planReload(usable(SERVER), usable(SERVER.replace("'/key'", "'/key2'")));
    deepStrictEqual(same.changes, ['key']);
  });

  it('peers: added, removed, changed and renamed, by their common names', () => {
    const peers = (...names: string[]): string =>
      SERVER + names.map(name => `config peer '${name}'\n\toption tunnel 'home'\n`).join('');
    const before = peers('a', 'b', 'c');
    const after = `${peers('a', 'd')}\toption common_name 'dora'\n`;
    const plan = planReload(usable(before), usable(after));
    deepStrictEqual(plan.cost, undefined);
    deepStrictEqual([...plan.peers].sort(), ['b', 'c', 'dora']);
    deepStrictEqual([...plan.changes].sort(), ['peer b', 'peer c', 'peer d']);
  });

  it('a section that changed its role has nothing in common', () => {
    strictEqual(planReload(usable(SERVER), usable(CLIENT)).cost, 'restart');
  });
});
