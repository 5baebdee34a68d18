// SPDX-License-Identifier: Apache-2.0
// An exception in the core, made by a TLS engine here: it ends the session that it concerns, and nothing of it is left.

import { deepEqual, equal, match, throws } from 'node:assert/strict';
import {
  alive,
  type Client,
  client,
  connected,
  type Hand,
  join,
  negotiated,
  PUSH,
  pathOf,
  rekey,
  type Server,
  say,
  server,
} from './hand.ts';

const SECRET = 'hunter2';

function fail(): never {
  throw new TypeError(`cannot read ${SECRET}`);
}

function containing<T extends Server | Client>(bench: T): T {
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
    const bench = containing(server());
    const alice = join(bench);
    joinBroken(bench, 'bob');
    isGone(bench, 'alice');
    say(bench, alice, 'PUSH_REQUEST');
    rekey(bench, alice);
    deepEqual(alive(bench), ['alice']);
  });

  it('at a packet of a connected client ends it, and it may come again', () => {
    const bench = containing(server());
    join(bench);
    const bob = join(bench, { commonName: 'bob', path: pathOf(2) });
    bench.tls.engines[1]!.read = fail;
    say(bench, bob, 'PUSH_REQUEST');
    isGone(bench, 'alice');
    join(bench, { commonName: 'bob', path: pathOf(3) });
    deepEqual(alive(bench), ['alice', 'bob']);
  });
});

/** It waits for its next attempt, and that one is like any other. */
function triesAgain(bench: Client): void {
  equal(bench.plane.peers.size, 0);
  equal(bench.tls.living(), 0);
  match(bench.lastText(), /: internal error \(TypeError\); next attempt in 60 s$/);
  equal(bench.state.phase, 'waiting');
  bench.pass(60_000);
  connected(bench);
}

describe('core: an exception in a client', () => {
  it('is seen by whoever looks for errors', () => {
    const bench = client();
    const hand = connected(bench);
    bench.tls.engines[0]!.read = fail;
    throws(() => say(bench, hand, PUSH), TypeError);
  });

  for (const [title, begin, part] of [
    ['at a message ends the connection, and the next attempt succeeds', connected, 'read'],
    ['in what is to be sent does the same', connected, 'pull'],
    ['where keys are derived leaves no peer on the plane', negotiated, 'exportKey'],
  ] as const)
    it(title, () => {
      const bench = containing(client());
      const hand = begin(bench);
      bench.tls.engines[0]![part] = fail;
      say(bench, hand, PUSH);
      triesAgain(bench);
    });

  it('while it leaves is its end', () => {
    const bench = containing(client());
    const hand = connected(bench);
    bench.step({ kind: 'shutdown' });
    bench.tls.engines[0]!.read = fail;
    say(bench, hand, PUSH);
    equal(bench.isOver, true);
  });
});
