// SPDX-License-Identifier: Apache-2.0
// Hundreds of worlds: ten minutes of a hostile network each, with renegotiations, then calm. While it is hostile
// nothing forged or repeated gets through, nothing throws, no nonce serves twice; soon after it everybody is back.

import { deepStrictEqual, ok } from 'node:assert';
import type { Crypto } from '../../src/core/crypto.ts';
import { noWrap, tlsAuthKeys, tlsCryptKeys, type WrapKeys } from '../../src/core/wrap.ts';
import { currentHost } from '../../src/host/current.ts';
import type { TlsContext, TlsOptions } from '../../src/host/host.ts';
import { createPki, type Pki } from './pki.ts';
import { createChance } from './random.ts';
import { World } from './world.ts';

const SEEDS = Number(process.env.OVPND_SIM_SEEDS ?? 300);
const HOSTILE_MS = 600_000;
/** Three hand windows. */
const CALM_MS = 180_000;

function wrapOf(seed: number): (role: 'client' | 'server') => WrapKeys {
  const key = createChance(seed ^ 0x5eed).bytes(256);
  return role => {
    switch (seed % 3) {
      case 0:
        return noWrap();
      case 1:
        return tlsAuthKeys(key, role === 'client' ? 1 : 0, 'SHA1');
      default:
        return tlsCryptKeys(key, role);
    }
  };
}

describe('simulated worlds', function () {
  // A minute, where the machine has time for it.
  this.timeout(1_800_000);
  const host = currentHost();
  const crypto: Crypto = host.crypto;
  let pki: Pki;
  const contexts: TlsContext[] = [];

  function context(options: TlsOptions): TlsContext {
    const made = host.tlsContext(options);
    if ('failed' in made) throw new Error(`${made.option}: ${made.text}`);
    contexts.push(made);
    return made;
  }

  before(() => {
    pki = createPki(3);
    const shared = { ca: pki.ca, verifyPeer: 'require' } as const;
    for (const version of ['1.2', '1.3']) {
      const versions = { versionMin: version, versionMax: version };
      context({ ...shared, ...versions, role: 'server', ...pki.server, remoteCertTls: 'client' });
      for (const client of pki.clients) {
        context({ ...shared, ...versions, role: 'client', ...client, remoteCertTls: 'server' });
      }
    }
  });
  after(() => {
    for (const one of contexts) one.close();
  });

  function runWorld(seed: number): World {
    // TLS 1.2 for every fourth world.
    const first = seed % 4 === 0 ? 0 : contexts.length / 2;
    const world = new World({
      seed,
      crypto,
      serverTls: () => contexts[first]!.open(),
      clientTls: n => () => contexts[first + 1 + n]!.open(),
      wrap: wrapOf(seed),
    });
    try {
      world.run(20_000);
      world.wire.hasFaults = true;
      world.run(HOSTILE_MS);
      world.wire.hasFaults = false;
      deepStrictEqual(world.unreachable(CALM_MS), []);
      ok(world.delivered > 0);
    } catch (error) {
      console.log(`seed ${seed} failed; repeat it with: make sim SEED=${seed}`);
      throw error;
    }
    return world;
  }

  const only = process.env.OVPND_SIM_SEED;
  if (only !== undefined && only !== '') {
    it(`seed ${only}`, () => {
      const world = runWorld(Number(only));
      console.log(JSON.stringify(world.wire.counts), `${world.delivered} inner packets delivered`);
      for (const client of world.clients) console.log(client.node.log.join('\n'));
    });
    return;
  }

  it(`${SEEDS} seeds`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) runWorld(seed);
  });
});
