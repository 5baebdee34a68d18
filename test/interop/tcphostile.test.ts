// SPDX-License-Identifier: Apache-2.0
// TCP connections that mean no good, while a good client pings through the same port and loses nothing.

import { ok } from 'node:assert';
import { join, resolve } from 'node:path';
import { peerNames } from './harness/peers.ts';
import { reach, undisturbed } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { run } from './harness/process.ts';
import { type Row, table } from './harness/rows.ts';
import { once, runState } from './harness/state.ts';
import { type Ends, runtimesOf, SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import { describeEnds, up } from './harness/works.ts';
import type { World } from './harness/world.ts';

/** The nuisance program as one script, built once. */
function program(): Promise<string> {
  return once('tcpnuisance', async () => {
    const path = join(runState().dir, 'tcpnuisance.cjs');
    const words = ['--bundle', '--platform=node', '--format=cjs', `--outfile=${path}`, '--log-level=error'];
    await run([resolve('node_modules/.bin/esbuild'), 'test/interop/harness/tcpnuisance.ts', ...words]);
    return path;
  });
}

interface Harm {
  readonly made: number;
  readonly closed: number;
  readonly most: number;
  readonly open: number;
}

interface Case {
  readonly mode: string;
  readonly title: string;
  /** What must come of it. */
  readonly check: (harm: Harm) => boolean;
  readonly handWindow?: string;
}

/** How many TCP connections the server's process holds. */
async function connections(world: World, pid: number): Promise<number> {
  const { readlinkSync, readdirSync, readFileSync } = await import('node:fs');
  world.assertAlive('looking at its descriptors');
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`)
      .map(name => {
        try {
          return /^socket:\[([0-9]+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${name}`))?.[1];
        } catch {
          return undefined;
        }
      })
      .filter(inode => inode !== undefined),
  );
  const tables = ['tcp', 'tcp6'].map(name => readFileSync(`/proc/${pid}/net/${name}`, 'utf8'));
  const lines = tables.flatMap(text => text.split('\n'));
  // The kernel gives the table in pieces, and a line again when others have gone meanwhile.
  return new Set(lines.map(line => line.trim().split(/\s+/)[9] ?? '').filter(inode => inodes.has(inode)))
    .size;
}

function row(ends: Ends, { mode, title, check, handWindow }: Case): Row {
  return {
    title: `${describeEnds(ends)}: ${title}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const agreement = { wrap: 'tls-crypt', transport: 'tcp' } as const;
      const extra = { server: { options: { hand_window: handWindow } } };
      const { wire, server } = await up(world, ends, agreement, extra);
      const from = server.process.lines.length;
      const words = [process.execPath, await program(), mode, wire.left4, '1194'];
      const nuisance = world.spawn('nuisance', wire.right, words);
      await nuisance.line(/^ready$/);
      let held = 0;
      let reports = 0;
      await undisturbed(wire.right, SERVER4, () =>
        world.until(`enough of ${title}`, PATIENCE_MS, async () => {
          if (nuisance.lines.length === reports) return false;
          reports = nuisance.lines.length;
          held = Math.max(held, await connections(world, server.process.pid));
          const last = nuisance.lines.at(-1)!;
          return last.startsWith('{') && check(JSON.parse(last) as Harm);
        }),
      );
      await nuisance.stop();
      const harm = JSON.parse(nuisance.lines.at(-1)!) as Harm;
      // The listener, the good client, those without a session and one on its way.
      ok(held <= 2 + 32 + 1, `${held} connections held`);
      const said = server.process.lines.length - from;
      ok(said < 20, `${said} log lines about ${harm.made} connections`);
      await reach(world, wire.right, SERVER4);
    },
  };
}

const CASES: readonly Case[] = [
  {
    mode: 'garbage',
    title: 'random bytes',
    check: ({ made }) => made > 400,
  },
  {
    mode: 'zero',
    title: 'records of no length',
    check: ({ made, closed }) => made > 100 && closed > 100,
  },
  { mode: 'huge', title: 'records of 65535 bytes', check: ({ made }) => made > 100 },
  {
    mode: 'slow',
    title: 'a byte a second, closed when the hand window is over',
    handWindow: '5',
    check: ({ made, closed }) => made >= 80 && closed >= 40,
  },
  {
    mode: 'idle',
    title: 'four hundred connections of one source that say nothing: it has few places',
    check: ({ made, closed, open }) => made >= 400 && closed >= 300 && open <= 400,
  },
  { mode: 'reset', title: 'reset in the middle of a packet', check: ({ made }) => made > 100 },
];

function cutOff(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: connections reset at every stage of a handshake, then one that is not`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const agreement = { wrap: 'tls-crypt', transport: 'tcp' } as const;
      const server = await startServer(world, wire.left, keys, ends.server, agreement);
      const words = [process.execPath, await program(), 'cut', wire.left4, '1194'];
      const relay = world.spawn('relay', wire.right, words);
      await relay.line(/^ready$/);
      startClient(world, wire, keys, ends.client, agreement, {
        remote: '127.0.0.1',
        options: { connect_retry: '1 1' },
        lines: ['connect-retry 1 1'],
      });
      await reach(world, wire.right, SERVER4, 60_000);
      await relay.stop();
      const { made } = JSON.parse(relay.lines.at(-1)!) as Harm;
      ok(made >= 7, `${made} connections`);
      const { ovpnd } = server;
      if (ovpnd === undefined) return;
      // Of those that were reset nothing is left; the last one ended with the relay.
      await world.until('all are gone', PATIENCE_MS, async () => {
        return (await peerNames(ovpnd)).length === 0 && (await connections(world, server.process.pid)) === 1;
      });
    },
  };
}

table('hostile TCP', { atOnce: 4 }, [
  cutOff({ server: 'quickjs', client: 'openvpn' }),
  cutOff({ server: 'openvpn', client: 'quickjs' }),
  cutOff({ server: 'asan', client: 'asan' }),
  ...CASES.map(item => row({ server: 'quickjs', client: 'openvpn' }, item)),
  ...CASES.map(item => row({ server: 'asan', client: 'openvpn' }, item)),
]);
