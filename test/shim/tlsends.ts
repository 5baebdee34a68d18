// SPDX-License-Identifier: Apache-2.0
// The two ends of a TLS session, joined in memory: who they are, how they meet, and how they fail.

import assert from 'node:assert/strict';
import type { TlsEngine } from '../../src/core/tls.ts';
import type { TlsContext, TlsOptions } from '../../src/host/host.ts';
import { type Identity, makeAuthority, makeLeaf } from './certificates.ts';
import { newHost, serverHost } from './support.ts';

export const host = newHost();
export const hostOfServer = serverHost();

// Made before the tests, not when the file is loaded: keys take time.
export let ca: Identity;
export let otherCa: Identity;
export let server: Identity;
export let client: Identity;

export function makeIdentities(): void {
  ca = makeAuthority('test-ca');
  otherCa = makeAuthority('other-ca');
  server = makeLeaf('server', { authority: 'test-ca', usage: 'serverAuth' });
  client = makeLeaf('client', {
    authority: 'test-ca',
    usage: 'clientAuth',
    serial: '12345678901234567890',
  });
}

export type Side = Partial<TlsOptions>;

export function context(options: TlsOptions): TlsContext {
  const made = (options.role === 'server' ? hostOfServer : host).tlsContext(options);
  if ('failed' in made) throw new Error(`${made.option}: ${made.text}`);
  return made;
}

/** Two ends, not yet joined. Defaults: mutual certificates of one authority. */
export function pair(serverSide: Side = {}, clientSide: Side = {}): { client: TlsEngine; server: TlsEngine } {
  const common = { versionMin: '1.2', verifyPeer: 'require', ca: ca.cert } as const;
  const open = (options: TlsOptions) => {
    const made = context(options);
    const engine = made.open();
    // A session outlives its context.
    made.close();
    return engine;
  };
  return {
    server: open({ ...common, ...server, role: 'server', ...serverSide }),
    client: open({ ...common, ...client, role: 'client', ...clientSide }),
  };
}

/** Carries bytes in small pieces until neither end has any; returns how many flights it took. */
export function join(a: TlsEngine, b: TlsEngine): number {
  let flights = 0;
  for (let moved = true; moved; flights++) {
    moved = false;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      from.status();
      for (let piece = from.pull(700); piece !== undefined; piece = from.pull(700)) {
        assert.ok(piece.length > 0 && piece.length <= 700);
        to.feed(piece);
        to.status();
        moved = true;
      }
    }
  }
  return flights;
}

export function close(ends: { client: TlsEngine; server: TlsEngine }): void {
  for (const end of [ends.client, ends.server]) {
    end.close();
    end.close();
    assert.equal(end.status(), 'failed');
    assert.equal(end.write(new TextEncoder().encode('late')), false);
    assert.equal(end.read(), undefined);
    assert.equal(end.pull(100), undefined);
    assert.equal(end.peerCertificate(), undefined);
  }
}

/** A handshake that must fail: the error of each end. */
export function errors(serverSide: Side, clientSide: Side): { client: string; server: string } {
  const ends = pair(serverSide, clientSide);
  join(ends.client, ends.server);
  const found = { client: ends.client.error(), server: ends.server.error() };
  const failed = [ends.client.status(), ends.server.status()].includes('failed');
  assert.ok(failed, `the handshake was accepted: ${JSON.stringify(found)}`);
  close(ends);
  return found;
}
