// SPDX-License-Identifier: Apache-2.0
// An exception in the core, made by a TLS engine here: it ends the peer that it concerns, and nothing of it is left.

import { deepEqual, equal, match, throws } from 'node:assert/strict';
import { alive, type Hand, join, pathOf, rekey, type Server, say, server } from './hand.ts';

const SECRET = 'hunter2';

function fail(): never {
  throw new TypeError(`cannot read ${SECRET}`);
}

function containing(): Server {
  const bench = server();
  Object.assign(bench.state.deps, { contains: true });
  return bench;
}

/** Everything that a peer has taken is there for others again. */
function isGone(bench: Server, name: string): void {
  deepEqual(alive(bench), [name]);
  equal(bench.plane.peers.size, 1);
  equal(bench.state.peers.size, 1);
  equal(bench.state.gate.halfOpen.size, 0);
  equal(bench.state.agenda.length, 1);
  equal(bench.state.pools[0]!.used.size, 1);
  equal(bench.tls.living(), 1);
  const errors = bench.notices.filter(({ level }) => level === 'error').map(({ text }) => text);
  equal(errors.length, 1);
  match(errors[0]!, /internal error \(TypeError\)$/);
}

/** The engine of the next client fails where keys are derived: it has its addresses by then. */
function joinBroken(bench: Server, commonName: string): Hand {
  const { engines } = bench.tls;
  const push = engines.push.bind(engines);
  engines.push = engine => {
    engine.exportKey = fail;
    engines.push = push;
    return push(engine);
  };
  return join(bench, { commonName, path: pathOf(2) });
}

describe('core: an exception', () => {
  it('is seen by whoever looks for errors', () => {
    const bench = server();
    join(bench);
    throws(() => joinBroken(bench, 'bob'), TypeError);
  });

  it('while a client is let in ends it and nobody else', () => {
    const bench = containing();
    const alice = join(bench);
    joinBroken(bench, 'bob');
    isGone(bench, 'alice');
    say(bench, alice, 'PUSH_REQUEST');
    rekey(bench, alice);
    deepEqual(alive(bench), ['alice']);
  });

  it('at a packet of a connected client ends it, and it may come again', () => {
    const bench = containing();
    join(bench);
    const bob = join(bench, { commonName: 'bob', path: pathOf(2) });
    bench.tls.engines[1]!.read = fail;
    say(bench, bob, 'PUSH_REQUEST');
    isGone(bench, 'alice');
    join(bench, { commonName: 'bob', path: pathOf(3) });
    deepEqual(alive(bench), ['alice', 'bob']);
  });
});
