// SPDX-License-Identifier: Apache-2.0
// Wrapping keys: dynamic tls-crypt at renegotiations, and tls-crypt-v2 keys made by one end and used by the other.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isStock } from './harness/openvpn.ts';
import { commandOf } from './harness/ovpnd.ts';
import { ping } from './harness/ping.ts';
import type { V2Keys } from './harness/pki.ts';
import { Process } from './harness/process.ts';
import { type Row, table } from './harness/rows.ts';
import { type Ends, type Extra, runtimesOf, SERVER4, type Wrap } from './harness/tunnel.ts';
import { describeEnds, up } from './harness/works.ts';

const SECONDS = 14;
const INTERVAL_S = 0.02;
const COUNT = SECONDS / INTERVAL_S;

const EVERY_FOUR: Extra = { options: { reneg_sec: '4' }, lines: ['reneg-sec 4 4'] };
const NEVER: Extra = { options: { reneg_sec: '0' }, lines: ['reneg-sec 0'] };

/** Renegotiations under a steady ping, with wrapping keys that TLS exported. */
function dynamic(ends: Ends, wrap: Wrap, starter: 'server' | 'client'): Row {
  return {
    title: `${describeEnds(ends)}: ${wrap}, started by the ${starter}`,
    runtimes: runtimesOf(ends),
    body: async world => {
      const extra = {
        server: starter === 'server' ? EVERY_FOUR : NEVER,
        client: starter === 'client' ? EVERY_FOUR : NEVER,
      };
      const { wire, server, client } = await up(world, ends, { wrap }, extra);
      deepStrictEqual(await ping(wire.right, SERVER4, { count: COUNT, intervalS: INTERVAL_S }), {
        sent: COUNT,
        received: COUNT,
      });
      for (const { kind, process } of [server, client]) {
        if (!isStock(kind)) continue;
        ok(process.count(/Control Channel: TLS/) >= 3, 'it did not renegotiate');
        ok(process.find(/protocol.flags.*dyn-tls-crypt/) !== undefined, 'not agreed on');
        ok(process.find(/SIGUSR1|Inactivity timeout|unwrapping failed/) === undefined, 'it reconnected');
      }
    },
  };
}

table('dynamic tls-crypt', { atOnce: 6 }, [
  dynamic({ server: 'quickjs', client: 'openvpn' }, 'none', 'client'),
  dynamic({ server: 'openvpn', client: 'quickjs' }, 'tls-auth', 'server'),
  dynamic({ server: 'quickjs', client: 'openvpn-2.7' }, 'tls-crypt-v2', 'server'),
  dynamic({ server: 'openvpn-2.7', client: 'quickjs' }, 'tls-crypt-v2', 'client'),
  dynamic({ server: 'quickjs', client: 'quickjs' }, 'tls-crypt', 'client'),
  dynamic({ server: 'openvpn', client: 'quickjs' }, 'none', 'client'),
]);

async function genkey(...words: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = new Process('ovpnd genkey', [...commandOf('quickjs'), 'genkey', ...words]);
  const { code } = await child.ended();
  return { code, output: child.output };
}

/** Keys made by ovpnd. */
async function ownKeys(dir: string): Promise<V2Keys> {
  const keys = { server: join(dir, 'server.key'), client: join(dir, 'client.key') };
  strictEqual((await genkey('tls-crypt-v2-server', '-o', keys.server)).code, 0);
  const metadata = Buffer.from('alice, phone').toString('base64');
  strictEqual((await genkey('tls-crypt-v2-client', keys.server, metadata, '-o', keys.client)).code, 0);
  strictEqual(statSync(keys.client).mode & 0o777, 0o600);
  return keys;
}

function ownKeysRow(ends: Ends): Row {
  return {
    title: `${describeEnds(ends)}, keys by ovpnd genkey`,
    runtimes: [...runtimesOf(ends), 'quickjs'],
    body: async world => {
      const v2 = await ownKeys(world.dir);
      const shown = { options: { log_level: 'debug' } };
      const { server } = await up(
        world,
        ends,
        { wrap: 'tls-crypt-v2' },
        { server: { v2, ...shown }, client: { v2 } },
      );
      // Waits for the log of the one that knows what stands in the key.
      if (!isStock(ends.server)) await server.process.line(/session opened by .* metadata 'alice, phone'/);
    },
  };
}

table('ovpnd genkey', { atOnce: 4 }, [
  ownKeysRow({ server: 'quickjs', client: 'openvpn' }),
  ownKeysRow({ server: 'openvpn', client: 'openvpn-2.7' }),
  {
    title: 'a static key that both take',
    runtimes: ['quickjs', 'openvpn'],
    body: async world => {
      const staticKey = join(world.dir, 'static.key');
      const { code, output } = await genkey('tls-crypt');
      strictEqual(code, 0);
      writeFileSync(staticKey, output);
      const ends = { server: 'openvpn', client: 'quickjs' } as const;
      await up(world, ends, { wrap: 'tls-crypt' }, { server: { staticKey }, client: { staticKey } });
    },
  },
  {
    title: 'refuses: metadata too long, no base64, no server key, a file that is there',
    runtimes: ['quickjs'],
    body: async world => {
      const keys = await ownKeys(world.dir);
      const before = readFileSync(keys.client, 'utf8');
      const long = Buffer.alloc(734).toString('base64');
      for (const [words, cause] of [
        [['tls-crypt-v2-client', keys.server, long], /734 bytes; 733 is the most/],
        [['tls-crypt-v2-client', keys.server, 'a!b'], /not base64/],
        [['tls-crypt-v2-client', keys.client], /holds no .*server key but an .*client key/],
        [['tls-crypt-v2-client', join(world.dir, 'nothing')], /nothing/],
        [['tls-crypt', '-o', keys.client], /exists already/],
      ] as const) {
        const { code, output } = await genkey(...words);
        strictEqual(code, 1, output);
        match(output, cause);
      }
      strictEqual(readFileSync(keys.client, 'utf8'), before);
      for (const words of [[], ['tls-crypt-v3'], ['tls-crypt-v2-client'], ['tls-auth', 'x']]) {
        strictEqual((await genkey(...words)).code, 64);
      }
      const most = Buffer.alloc(733).toString('base64');
      strictEqual((await genkey('tls-crypt-v2-client', keys.server, most)).code, 0);
    },
  },
]);
