// SPDX-License-Identifier: Apache-2.0
// Garbage, and truncated, altered and repeated packets of every kind a tunnel sends, from strangers and from the
// peer's own address: the tunnel comes up, loses nothing and drops them all.

import { ok } from 'node:assert';
import { join, resolve } from 'node:path';
import type { Namespace } from './harness/namespace.ts';
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

async function nuisance(world: World, namespace: Namespace, ...words: string[]): Promise<Process> {
  const child = world.spawn('nuisance', namespace, [process.execPath, await program(), ...words]);
  await child.line(/^ready$/);
  return child;
}

async function harmDone(child: Process): Promise<{ sent: number; opcodes: number[] }> {
  await child.stop();
  return JSON.parse(child.lines.at(-1)!);
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
      const relay = await nuisance(world, right, 'relay', wire.left4, '1194', order);
      await startServer(world, wire.left, keys, ends.server, { wrap }, RENEGOTIATE);
      startClient(world, wire, keys, ends.client, { wrap }, { remote: '127.0.0.1' });
      const begun = performance.now();
      await reach(world, right, SERVER4, 15_000);
      // Through at least one renegotiation, so that control packets of every kind are among them.
      await undisturbed(right, SERVER4, async () => {
        do await pingAll(right, SERVER_ADDRESSES);
        while (performance.now() - begun < 6000);
      });
      const { sent, opcodes } = await harmDone(relay);
      ok(sent > 1000, `${sent} sent`);
      // Soft reset, control, acknowledgement, data, hard resets of client and server.
      for (const opcode of [3, 4, 5, 7, 8, 9]) ok(opcodes.includes(opcode), `opcode ${opcode} among them`);
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
      const flood = await nuisance(world, wire.right, 'flood', wire.left4, '1194');
      await undisturbed(wire.right, SERVER4, async () => {
        for (let i = 0; i < 5; i++) await pingAll(wire.right, SERVER_ADDRESSES);
      });
      const { sent, opcodes } = await harmDone(flood);
      ok(sent > 500 && opcodes.length === 32, `${sent} sent, ${opcodes.length} opcodes`);
      const said = server.process.lines.length - from;
      ok(said < 20, `${said} log lines about ${sent} datagrams`);
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
