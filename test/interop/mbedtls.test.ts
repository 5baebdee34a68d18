// SPDX-License-Identifier: Apache-2.0
// ovpnd with Mbed TLS against stock OpenVPN: renegotiations, what a refused peer hears, keys it has not. Its part of the
// matrix is there.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { reach } from './harness/ping.ts';
import { pki } from './harness/pki.ts';
import { type Row, table } from './harness/rows.ts';
import { type Ends, SERVER4, startClient, startServer } from './harness/tunnel.ts';
import { PATIENCE_MS } from './harness/wait.ts';
import { describeEnds, up } from './harness/works.ts';

const PAIRS: readonly Ends[] = [
  { server: 'mbedtls', client: 'openvpn' },
  { server: 'openvpn', client: 'mbedtls' },
];

/** Handshakes every two seconds: each ends a session of the library and begins another. */
function renegotiates(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}: renegotiates`,
    runtimes: ['mbedtls'],
    body: async world => {
      const often = { options: { reneg_sec: '2' }, lines: ['reneg-sec 2 2'] };
      const { wire, server, client } = await up(
        world,
        ends,
        { wrap: 'tls-crypt' },
        { server: often, client: often },
      );
      const stock = server.kind === 'openvpn' ? server : client;
      await stock.process.line(/Control Channel: TLS/, PATIENCE_MS, stock.process.lines.length);
      await stock.process.line(/Control Channel: TLS/, PATIENCE_MS, stock.process.lines.length);
      await reach(world, wire.right, SERVER4);
    },
  };
}

function refuses(tls: '1.2' | '1.3'): Row {
  return {
    title: `a stranger is told why, in TLS ${tls}`,
    runtimes: ['mbedtls'],
    body: async world => {
      const keys = await pki();
      const wire = await world.pair();
      const server = await startServer(world, wire.left, keys, 'mbedtls', { tls });
      const lines = ['tls-exit', 'connect-retry-max 1', 'hand-window 8'];
      const identity = { ...keys.strangeClient, ca: keys.server.ca };
      const client = startClient(world, wire, keys, 'openvpn', { tls }, { lines, identity });
      client.process.isEnding = true;
      await server.process.line(/unable to get local issuer certificate/);
      await client.process.line(/fatal SSL alert: unknown CA|alert unknown ca/);
      ok(server.process.find(/client connected/) === undefined);
    },
  };
}

/** The library has no Ed25519: said at once, and nothing is left behind. */
const noEdwards: Row = {
  title: 'Ed25519 keys are refused with the reason',
  runtimes: ['mbedtls'],
  body: async world => {
    const root = world.folder('edwards');
    const text = "config server 'home'\n\tlist address '10.8.0.1/24'\n";
    writeFileSync(join(root, 'ovpnd'), text, { mode: 0o600 });
    const places = ['-c', root, '-k', join(root, 'keys'), '-r', root, '-u', join(root, 'none')];
    const ovpnd = (words: string[], input = ''): { code: number | null; text: string } => {
      const { status, stdout, stderr } = spawnSync(resolve('build/mbedtls/ovpnd'), [...words, ...places], {
        input,
        encoding: 'utf8',
      });
      return { code: status, text: stdout + stderr };
    };
    const refused = 'the TLS library of this ovpnd has no Ed25519 keys';
    deepStrictEqual(ovpnd(['pki', 'init', 'home', '--key', 'ed25519']), {
      code: 1,
      text: `ovpnd: ${refused}\n`,
    });
    const wish = {
      address: '10.9.0.1/24',
      port: 1195,
      proto: 'udp',
      internet: false,
      lan: false,
      firewall: false,
    };
    const call = (method: string, args: object): Record<string, unknown> =>
      JSON.parse(ovpnd(['rpcd', 'call', method], JSON.stringify(args)).text);
    deepStrictEqual(call('server_create', { ...wish, tunnel: 'other', kind: 'ed25519' }), { error: refused });
    strictEqual(readFileSync(join(root, 'ovpnd'), 'utf8'), text);
    ok(!existsSync(join(root, 'keys')));
    deepStrictEqual(call('propose', {}).key_kinds, ['ec']);
    deepStrictEqual(call('server_create', { ...wish, tunnel: 'other' }), {});
  },
};

table('Mbed TLS, renegotiation', { atOnce: 2 }, PAIRS.map(renegotiates));
table('Mbed TLS, refusals', { atOnce: 2 }, [refuses('1.2'), refuses('1.3'), noEdwards]);
