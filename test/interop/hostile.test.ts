// SPDX-License-Identifier: Apache-2.0
// Garbage, and truncated, altered and repeated packets of every kind a tunnel sends, from strangers and from the
// peer's own address: the tunnel comes up, loses nothing and drops them all.

import { ok } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Wire } from './harness/namespace.ts';
import { pingAll, reach, undisturbed } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Process, run } from './harness/process.ts';
import { type Row, table } from './harness/rows.ts';
import { once, runState } from './harness/state.ts';
import {
  type Ends,
  runtimesOf,
  SERVER_ADDRESSES,
  SERVER4,
  startClient,
  startServer,
  type Wrap,
} from './harness/tunnel.ts';
import { describeEnds, up } from './harness/works.ts';
import type { World } from './harness/world.ts';

const ALL_OPCODES = Array.from({ length: 32 }, (_, opcode) => opcode);
const RENEGOTIATE = { options: { reneg_sec: '4' }, lines: ['reneg-sec 4 4'] };

/** The nuisance program as one script, built once. */
function program(): Promise<string> {
  return once('nuisance', async () => {
    const path = join(runState().dir, 'nuisance.cjs');
    const words = ['--bundle', '--platform=node', '--format=cjs', `--outfile=${path}`, '--log-level=error'];
    await run([resolve('node_modules/.bin/esbuild'), 'test/interop/harness/nuisance.ts', ...words]);
    return path;
  });
}

/**
 * On one processor: what a process sends while it moves to another may arrive in another order, and without wrapping an
 * altered packet that comes first is the true one.
 */
function oneProcessor(): string[] {
  const first = /^Cpus_allowed_list:\s*([0-9]+)/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return ['taskset', '-c', first![1]!];
}

async function nuisance(
  world: World,
  { left4, right }: Wire,
  victim: Process,
  mode: 'flood' | 'relay',
  ...words: string[]
): Promise<Process> {
  const command = [...oneProcessor(), process.execPath, await program()];
  const child = world.spawn('nuisance', right, [
    ...command,
    mode,
    left4,
    '1194',
    String(victim.pid),
    ...words,
  ]);
  await child.line(/^ready$/);
  return child;
}

/** Waits until it has sent so many, of all these opcodes. */
async function harmDone(child: Process, sent: number, opcodes: readonly number[]): Promise<void> {
  await child.line(new RegExp(`^sent ${sent}$`));
  for (const opcode of opcodes) await child.line(new RegExp(`^opcode ${opcode}$`));
}

function relayed(ends: Ends, wrap: Wrap): Row {
  return {
    title: `${describeEnds(ends)}, ${wrap}: truncated, altered and repeated packets from the peer's own address`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const { right } = wire;
      const order = wrap === 'none' ? 'after' : 'before';
      const server = await startServer(world, wire.left, keys, ends.server, { wrap }, RENEGOTIATE);
      const relay = await nuisance(world, wire, server.process, 'relay', order);
      startClient(world, wire, keys, ends.client, { wrap }, { remote: '127.0.0.1' });
      await reach(world, right, SERVER4);
      await undisturbed(right, SERVER4, async () => {
        await pingAll(right, SERVER_ADDRESSES);
        // Soft reset, control, acknowledgement, data, hard resets of client and server: with a renegotiation.
        await harmDone(relay, 1000, [3, 4, 5, 7, 8, 9]);
        await pingAll(right, SERVER_ADDRESSES);
      });
      await relay.stop();
    },
  };
}

function flooded(ends: Ends, wrap: Wrap): Row {
  return {
    title: `${describeEnds(ends)}, ${wrap}: garbage from strangers`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const { wire, server } = await up(world, ends, { wrap });
      const from = server.process.lines.length;
      const flood = await nuisance(world, wire, server.process, 'flood');
      await undisturbed(wire.right, SERVER4, async () => {
        await pingAll(wire.right, SERVER_ADDRESSES);
        await harmDone(flood, 1000, ALL_OPCODES);
        await pingAll(wire.right, SERVER_ADDRESSES);
      });
      await flood.stop();
      const said = server.process.lines.length - from;
      ok(said < 20, `${said} log lines: ${flood.lines.at(-1)}`);
    },
  };
}

const OURS_THEIRS: Ends = { server: 'quickjs', client: 'openvpn' };
const THEIRS_OURS: Ends = { server: 'openvpn', client: 'quickjs' };
const ASAN_THEIRS: Ends = { server: 'asan', client: 'openvpn' };

table('hostile wires', { atOnce: 4 }, [
  ...(['none', 'tls-auth', 'tls-crypt'] as const).flatMap(wrap => [
    relayed(OURS_THEIRS, wrap),
    relayed(THEIRS_OURS, wrap),
    flooded(OURS_THEIRS, wrap),
  ]),
  relayed(ASAN_THEIRS, 'tls-crypt'),
  flooded(ASAN_THEIRS, 'none'),
]);
