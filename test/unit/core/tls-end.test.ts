// SPDX-License-Identifier: Apache-2.0
// TLS that ends right behind a message, as the shim tells it: the message is read, and nothing can be exported any more.

import { deepEqual, equal, match } from 'node:assert/strict';
import type { TlsFactory } from '../../../src/core/tls.ts';
import { clientBench, serverBench } from './bench.ts';
import { type FakeTls, fakeTls } from './fake-tls.ts';
import { alive, connected, converse, join, negotiated, PUSH, rekey, say, serve } from './hand.ts';

const ENDED = 'peer closed the TLS session';

/** TLS whose engine `which` ends behind record `last`. */
function ending(tls: FakeTls, which: number, last: number): TlsFactory {
  return () => {
    const engine = tls();
    const made = tls.engines.at(-1)!;
    const isIt = tls.engines.length === which + 1;
    let records = 0;
    const read = made.read.bind(made);
    made.read = () => {
      const record = read();
      if (record !== undefined && isIt && ++records === last) made.fail(ENDED, false);
      return record;
    };
    return engine;
  };
}

const ofServer = (): FakeTls => fakeTls({ role: 'server', commonName: 'server' });
const ofClient = (): FakeTls => fakeTls({ role: 'client', commonName: 'router' });

describe('core: TLS ends behind a message', () => {
  it('server: the first key method message', () => {
    const bench = serverBench(ending(ofServer(), 0, 1));
    join(bench);
    deepEqual(alive(bench), []);
    deepEqual(bench.plane.commands, []);
    match(bench.lastText(), /refused: peer closed the TLS session/);
  });

  it('server: that of a renegotiation', () => {
    const bench = serverBench(ending(ofServer(), 1, 1));
    const alice = join(bench);
    deepEqual(alive(bench), ['alice']);
    rekey(bench, alice);
    deepEqual(alive(bench), []);
    match(bench.lastText(), /alice .*disconnected: peer closed the TLS session/);
  });

  it('client: the push reply', () => {
    const bench = clientBench(ending(ofClient(), 0, 2));
    const hand = negotiated(bench);
    say(bench, hand, PUSH);
    deepEqual(bench.plane.commands, []);
    match(bench.lastText(), /peer closed the TLS session/);
  });

  it('client: the key method message of a renegotiation', () => {
    const bench = clientBench(ending(ofClient(), 1, 1));
    const hand = connected(bench);
    equal(bench.state.phase, 'connected');
    rekey(bench, hand);
    match(bench.lastText(), /peer closed the TLS session/);
  });

  it('client: the first key method message', () => {
    const bench = clientBench(ending(ofClient(), 0, 1));
    const hand = serve(bench);
    converse(bench, hand);
    match(bench.lastText(), /peer closed the TLS session/);
  });
});
