// SPDX-License-Identifier: Apache-2.0

import { deepEqual, equal } from 'node:assert/strict';
import type { Config } from '../../../src/uci/config.ts';
import { readConfig } from '../../../src/uci/config.ts';
import type { TunnelDiff } from '../../../src/uci/diff.ts';
import { diffConfig, highest, keepRefused } from '../../../src/uci/diff.ts';

const SERVER = `config server 'a'
option enabled 1
list address 10.8.0.1/24
option ca /ca
option cert /cert
option key /key
`;
const CLIENT = `config client 'c'
option enabled 1
list remote vpn.example.org
option ca /ca
option cert /cert
option key /key
`;
const PEER = "config peer 'p'\noption tunnel a\nlist address 10.8.0.5\n";

function read(text: string): Config {
  return readConfig('f', new Uint8Array(Buffer.from(text)), { hasAesInstructions: true });
}

function diff(before: string, after: string): TunnelDiff[] {
  return diffConfig(read(before), read(after));
}

function only(before: string, after: string): TunnelDiff {
  const diffs = diff(before, after);
  equal(diffs.length, 1);
  return diffs[0]!;
}

function peerNames(result: TunnelDiff): string[][] {
  const { added, changed, removed } = result.peers;
  return [added.map(p => p.name), changed.map(p => p.after.name), removed.map(p => p.name)];
}

describe('diffConfig', () => {
  it('sees nothing where nothing changed', () => {
    const result = only(SERVER + PEER, `# comment\n\n${SERVER.replace('enabled 1', 'enabled yes')}${PEER}`);
    deepEqual([result.kind, result.options, result.cost], ['unchanged', [], undefined]);
    deepEqual(peerNames(result), [[], [], []]);
  });

  it('gives each option its cost, and the highest of them', () => {
    const live = only(SERVER, `${SERVER}option max_clients 9\n`);
    deepEqual(live.options, [{ option: 'max_clients', cost: 'live' }]);
    equal(live.cost, 'live');
    const more = only(SERVER, `${SERVER}option max_clients 9\noption port 5\nlist push_dns 10.8.0.1\n`);
    deepEqual(
      more.options.map(change => change.option),
      ['port', 'max_clients', 'push_dns'],
    );
    equal(more.cost, 'new socket');
    equal(only(SERVER, SERVER.replace('10.8.0.1/24', '10.8.0.2/24')).cost, 'restart');
    equal(only(SERVER, SERVER.replace('enabled 1', 'enabled 0')).cost, 'restart');
    equal(highest([]), undefined);
  });

  it('sees order, absence and objects', () => {
    const two = CLIENT.replace('list remote vpn.example.org\n', 'list remote a\nlist remote b\n');
    equal(only(two, two.replace('remote a\nlist remote b', 'remote b\nlist remote a')).cost, 'new sessions');
    equal(only(`${CLIENT}option sndbuf 65536\n`, CLIENT).cost, 'new socket');
    equal(only(`${CLIENT}option keepalive '5 20'\n`, CLIENT).cost, 'new sessions');
    equal(only(`${CLIENT}list route 10.0.0.0/8\n`, `${CLIENT}list route 10.0.0.0/9\n`).cost, 'live');
  });

  it('follows peers', () => {
    const other = "config peer 'q'\noption tunnel a\n";
    deepEqual(peerNames(only(SERVER + PEER, SERVER + other)), [['q'], [], ['p']]);
    const moved = only(SERVER + PEER + other, SERVER + other + PEER.replace('.5', '.6'));
    deepEqual(peerNames(moved), [[], ['p'], []]);
    deepEqual([moved.kind, moved.cost], ['changed', undefined]);
    deepEqual(moved.peers.changed[0]!.options, [{ option: 'address', cost: 'new sessions' }]);
  });

  it('finds tunnels that come, go and change their role', () => {
    const kinds = (before: string, after: string) => diff(before, after).map(d => [d.name, d.role, d.kind]);
    deepEqual(kinds(SERVER, CLIENT), [
      ['a', 'server', 'removed'],
      ['c', 'client', 'added'],
    ]);
    deepEqual(kinds(SERVER, CLIENT.replace("'c'", "'a'")), [
      ['a', 'server', 'removed'],
      ['a', 'client', 'added'],
    ]);
  });
});

describe('keepRefused', () => {
  function kept(before: string, after: string): TunnelDiff[] {
    const [old, now] = [read(before), read(after)];
    return diffConfig(old, keepRefused(old, now));
  }

  it('an unreadable file changes nothing', () => {
    const all = SERVER + PEER + CLIENT;
    deepEqual(
      kept(all, `${CLIENT}option 'x`).map(d => d.kind),
      ['unchanged', 'unchanged'],
    );
    const after = keepRefused(read(all), read('x'));
    deepEqual([after.readable, after.problems.length], [false, 1]);
  });

  it('a refused tunnel stays as it was, the others change', () => {
    const result = kept(SERVER + CLIENT, `${SERVER}option port 0\n${CLIENT}option metric 5\n`);
    deepEqual(
      result.map(d => [d.name, d.kind]),
      [
        ['a', 'unchanged'],
        ['c', 'changed'],
      ],
    );
    deepEqual(
      kept(SERVER + CLIENT, CLIENT).map(d => d.kind),
      ['removed', 'unchanged'],
    );
  });

  it('a refused peer stays as it was', () => {
    deepEqual(
      kept(SERVER + PEER, `${SERVER}${PEER}list route x\n`).map(d => d.kind),
      ['unchanged'],
    );
  });

  it('but not when something has its place', () => {
    const thief = PEER.replace("'p'", "'q'");
    const [result] = kept(SERVER + PEER, `${SERVER}${PEER}list route x\n${thief}`);
    deepEqual(peerNames(result!), [['q'], [], ['p']]);
    const [moved] = kept(SERVER + PEER, `${SERVER.replace('10.8.0', '10.9.0')}${PEER}`);
    deepEqual(peerNames(moved!), [[], [], ['p']]);
  });
});
