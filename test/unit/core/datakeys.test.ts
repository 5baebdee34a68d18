// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, notDeepEqual, ok } from 'node:assert/strict';
import {
  beginRenegotiation,
  confirmKey,
  type DataKeys,
  installFirst,
  installNext,
  keysDeadline,
  tickKeys,
} from '../../../src/core/datakeys.ts';
import type { DataFormat, PlaneCommand } from '../../../src/core/plane.ts';
import { renegotiate } from '../../../src/core/session.ts';
import { FakePlane, T0 } from './bench.ts';
import { type Ends, ends, shake, talk, up } from './ends.ts';

const HOUR = 3_600_000;

/** Both ends of a session with their data keys, each on a plane of its own. */
class Pair {
  readonly both: Ends = up();
  readonly planes = { client: new FakePlane(), server: new FakePlane() };
  readonly keys: { client: DataKeys; server: DataKeys };
  now = T0;

  constructor(derivation: 'tls-ekm' | 'tls1-prf' = 'tls-ekm', deferMs = 60_000, format: DataFormat = 'aead') {
    const chosen = { peerId: 0, cipher: 'AES-256-GCM', derivation, format, deferMs } as const;
    const first = (name: 'client' | 'server'): DataKeys => {
      const commands: PlaneCommand[] = [{ op: 'addPeer', peer: { peerId: 0, path: this.both.server.path } }];
      const keys = installFirst(this.both[name].session, chosen, commands)!;
      for (const command of commands) this.planes[name].apply(command);
      return keys;
    };
    this.keys = { client: first('client'), server: first('server') };
  }

  /** Lets one end do something with its keys. */
  on(
    name: 'client' | 'server',
    change: (keys: DataKeys, commands: PlaneCommand[], now: number) => void,
  ): string[] {
    const commands: PlaneCommand[] = [];
    change(this.keys[name], commands, this.now);
    for (const command of commands) this.planes[name].apply(command);
    return commands.map(command => command.op);
  }

  both2(change: (keys: DataKeys, commands: PlaneCommand[], now: number, name: 'client' | 'server') => void) {
    for (const name of ['client', 'server'] as const) {
      this.on(name, (keys, commands, now) => change(keys, commands, now, name));
    }
  }

  at(now: number): this {
    this.now = now;
    this.both2(tickKeys);
    return this;
  }

  /** A whole renegotiation at one moment; confirmed unless told otherwise. */
  rekey(isConfirmed = true): void {
    ok(renegotiate(this.both.client.session, this.now));
    talk(this.both, this.now);
    this.both2(beginRenegotiation);
    this.both2((keys, commands, now, name) => {
      ok(installNext(keys, this.both[name].session, commands, now));
    });
    if (isConfirmed) {
      this.both2((keys, _commands, now, name) => confirmKey(keys, this.both[name].session.current, now));
    }
  }

  shown(): string[] {
    return [this.planes.client.keys(), this.planes.server.keys()];
  }
}

describe('core/datakeys: derivation', () => {
  for (const derivation of ['tls-ekm', 'tls1-prf'] as const) {
    it(`${derivation}: what one end encrypts with, the other decrypts with`, () => {
      const pair = new Pair(derivation);
      const client = pair.planes.client.peers.get(0)!.primary!;
      const server = pair.planes.server.peers.get(0)!.primary!;
      deepEqual(client.encrypt, server.decrypt);
      deepEqual(client.decrypt, server.encrypt);
      notDeepEqual(client.encrypt, client.decrypt);
      ok(client.format === 'aead');
      equal(client.encrypt.key.length, 32);
      pair.rekey();
      const next = pair.planes.client.peers.get(0)!.secondary!;
      deepEqual(next.encrypt, pair.planes.server.peers.get(0)!.secondary!.decrypt);
      notDeepEqual(next.encrypt, client.encrypt);
    });
  }

  it('epoch format: 32 bytes for each direction whatever the cipher, and for the next key again', () => {
    const pair = new Pair('tls-ekm', 60_000, 'aead-epoch');
    const first = pair.planes.client.peers.get(0)!.primary!;
    const other = pair.planes.server.peers.get(0)!.primary!;
    ok(first.format === 'aead-epoch' && other.format === 'aead-epoch');
    equal(first.encrypt.epochKey.length, 32);
    deepEqual(first.encrypt, other.decrypt);
    deepEqual(first.decrypt, other.encrypt);
    notDeepEqual(first.encrypt, first.decrypt);
    pair.rekey();
    const next = pair.planes.client.peers.get(0)!.secondary!;
    equal(next.format, 'aead-epoch');
    notDeepEqual(next.encrypt, first.encrypt);
    deepEqual(next.encrypt, pair.planes.server.peers.get(0)!.secondary!.decrypt);
  });

  it('each key of a session is to be replaced after as much as the first', () => {
    const both = up();
    const rekeyAfter = { packets: 5, bytes: 0 };
    const commands: PlaneCommand[] = [];
    const chosen = { peerId: 0, cipher: 'AES-256-GCM', derivation: 'tls-ekm', format: 'aead' } as const;
    const keys = installFirst(both.client.session, { ...chosen, deferMs: 1, rekeyAfter }, commands)!;
    installNext(keys, both.client.session, commands, T0);
    deepEqual(
      commands.map(command => command.op === 'addKey' && command.key.rekeyAfter),
      [rekeyAfter, rekeyAfter],
    );
  });

  it('the two derivations differ, and key length follows the cipher', () => {
    const both = up();
    const make = (
      cipher: 'AES-128-GCM' | 'AES-192-GCM' | 'AES-256-GCM',
      derivation: 'tls-ekm' | 'tls1-prf',
    ) => {
      const commands: PlaneCommand[] = [];
      installFirst(
        both.client.session,
        { peerId: 0, cipher, derivation, format: 'aead', deferMs: 1 },
        commands,
      );
      const [command] = commands;
      return command?.op === 'addKey' && command.key.format === 'aead' ? command.key.encrypt.key : undefined;
    };
    // First: what it is made of is gone with the first key.
    const { source, remoteSource } = both.client.session.current;
    const prf = make('AES-256-GCM', 'tls1-prf');
    equal(prf?.length, 32);
    for (const bytes of Object.values({ ...source, ...remoteSource })) ok(bytes.every(byte => byte === 0));
    equal(make('AES-128-GCM', 'tls-ekm')!.length, 16);
    equal(make('AES-192-GCM', 'tls-ekm')!.length, 24);
    notDeepEqual(make('AES-256-GCM', 'tls-ekm'), prf);
    equal(make('AES-256-GCM', 'tls1-prf'), undefined);
  });

  it('no keys from zero material or before the key method message, and no command', () => {
    const early = ends({ zeroExporter: true });
    const chosen = {
      peerId: 0,
      cipher: 'AES-256-GCM',
      derivation: 'tls-ekm',
      format: 'aead',
      deferMs: 1,
    } as const;
    const commands: PlaneCommand[] = [];
    equal(installFirst(early.client.session, chosen, commands), undefined);
    shake(early);
    ok(installFirst(early.client.session, chosen, []) !== undefined);
    equal(installFirst(early.server.session, chosen, commands), undefined);
    deepEqual(commands, []);
  });

  it('a renegotiated key without material changes nothing', () => {
    const pair = new Pair();
    renegotiate(pair.both.client.session, T0);
    const before = JSON.stringify(pair.keys.client);
    const commands: PlaneCommand[] = [];
    equal(installNext(pair.keys.client, pair.both.client.session, commands, T0), false);
    deepEqual(commands, []);
    equal(JSON.stringify(pair.keys.client), before);
  });
});

describe('core/datakeys: when to switch and when to forget', () => {
  it('the first key is primary, with nothing to wait for', () => {
    const pair = new Pair();
    deepEqual(pair.shown(), ['0/-', '0/-']);
    equal(keysDeadline(pair.keys.client), undefined);
    pair.at(T0 + 100 * HOUR);
    deepEqual(pair.shown(), ['0/-', '0/-']);
  });

  it('the next goes into the secondary slot and stays there until it is confirmed', () => {
    const pair = new Pair().at(T0 + HOUR);
    pair.rekey(false);
    deepEqual(pair.shown(), ['0/1', '0/1']);
    equal(keysDeadline(pair.keys.client), undefined);
    pair.at(T0 + 2 * HOUR);
    deepEqual(pair.shown(), ['0/1', '0/1']);
  });

  it('confirmed in an old session: sent on a hand window after its negotiation began', () => {
    const pair = new Pair().at(T0 + HOUR);
    pair.rekey(false);
    pair.at(T0 + HOUR + 300);
    pair.both2((keys, _commands, now, name) => confirmKey(keys, pair.both[name].session.current, now));
    equal(keysDeadline(pair.keys.client), T0 + HOUR + 60_000);
    pair.at(T0 + HOUR + 59_999);
    deepEqual(pair.shown(), ['0/1', '0/1']);
    pair.at(T0 + HOUR + 60_000);
    deepEqual(pair.shown(), ['1/0', '1/0']);
  });

  it('half a short renegotiation period comes before a hand window', () => {
    const pair = new Pair('tls-ekm', 10_000).at(T0 + HOUR);
    pair.rekey();
    pair.at(T0 + HOUR + 9_999);
    deepEqual(pair.shown(), ['0/1', '0/1']);
    pair.at(T0 + HOUR + 10_000);
    deepEqual(pair.shown(), ['1/0', '1/0']);
  });

  it('a young session switches after a moment of grace', () => {
    const pair = new Pair().at(T0 + 119_999);
    pair.rekey();
    pair.at(T0 + 121_998);
    deepEqual(pair.shown(), ['0/1', '0/1']);
    pair.at(T0 + 121_999);
    deepEqual(pair.shown(), ['1/0', '1/0']);
    const old = new Pair().at(T0 + 120_000);
    old.rekey();
    equal(keysDeadline(old.keys.server), T0 + 180_000);
  });

  it('the old key is deleted when the transition window ends', () => {
    const pair = new Pair().at(T0 + HOUR);
    pair.rekey();
    pair.at(T0 + HOUR + 60_000);
    equal(keysDeadline(pair.keys.client), T0 + 2 * HOUR + 60_000);
    pair.at(T0 + 2 * HOUR + 59_999);
    deepEqual(pair.shown(), ['1/0', '1/0']);
    pair.at(T0 + 2 * HOUR + 60_000);
    deepEqual(pair.shown(), ['1/-', '1/-']);
    equal(keysDeadline(pair.keys.client), undefined);
    pair.at(T0 + 3 * HOUR);
    pair.rekey();
    deepEqual(pair.shown(), ['1/2', '1/2']);
  });

  it('the next renegotiation forces a switch that waits: the peer forgets the key before', () => {
    const pair = new Pair().at(T0 + HOUR);
    pair.rekey();
    deepEqual(pair.shown(), ['0/1', '0/1']);
    pair.at(T0 + HOUR + 5000);
    deepEqual(pair.on('client', beginRenegotiation), ['swapKeys']);
    equal(pair.planes.client.keys(), '1/0');
    // Once is enough, and without one that waits there is nothing to force.
    deepEqual(pair.on('client', beginRenegotiation), []);
  });

  it('an unconfirmed key is not forced, unless an even newer one needs its place', () => {
    const pair = new Pair().at(T0 + HOUR);
    pair.rekey(false);
    deepEqual(pair.on('client', beginRenegotiation), []);
    renegotiate(pair.both.client.session, pair.now + 5000);
    talk(pair.both, pair.now + 5000);
    pair.now += 5000;
    const { session } = pair.both.client;
    const done = pair.on('client', (keys, commands, now) => void installNext(keys, session, commands, now));
    deepEqual(done, ['swapKeys', 'addKey']);
    equal(pair.planes.client.keys(), '1/2');
  });

  it('an old key in the secondary slot is simply replaced', () => {
    const pair = new Pair().at(T0 + HOUR);
    pair.rekey();
    pair.at(T0 + HOUR + 60_000);
    pair.at(T0 + HOUR + 600_000);
    pair.rekey(false);
    deepEqual(pair.shown(), ['1/2', '1/2']);
    const swaps = pair.planes.client.commands.filter(command => command.op === 'swapKeys');
    equal(swaps.length, 1);
  });

  it('a late confirmation of another key is none', () => {
    const pair = new Pair().at(T0 + HOUR);
    const old = pair.both.client.session.current;
    confirmKey(pair.keys.client, old, pair.now);
    pair.rekey(false);
    confirmKey(pair.keys.client, old, pair.now);
    equal(keysDeadline(pair.keys.client), undefined);
  });
});
