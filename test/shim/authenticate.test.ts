// SPDX-License-Identifier: Apache-2.0
// Logins against user sections with real hashes, one-time codes, lock-outs; and by a method of another service.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { type Answer, Authenticator, FAILURES_MAX, LOCKED_MS, totp } from '../../src/daemon/authenticate.ts';
import type { Host } from '../../src/host/host.ts';
import { readConfig, type ServerConfig } from '../../src/uci/config.ts';
import { newHost } from './support.ts';

const real = newHost();
const HASH = execFileSync('openssl', ['passwd', '-6', '-salt', 'saltsalt', 'hunter2'], {
  encoding: 'utf8',
}).trim();
const SECRET = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
const HERE = Uint8Array.of(192, 0, 2, 1);

function config(auth: string, users = ''): ServerConfig {
  const text = `config server 's'\n\tlist address '10.8.0.1/24'\n\toption ca '/a'\n\toption cert '/b'\n\toption key '/c'\n${auth}${users}`;
  const read = readConfig('f', new Uint8Array(Buffer.from(text)), { hasAesInstructions: true });
  deepStrictEqual(read.problems, []);
  return read.servers[0]!;
}

const USERS = config(
  "\toption auth 'users'\n",
  `config user 'anna'\n\toption tunnel 's'\n\toption password_hash '${HASH}'\n` +
    `config user 'bob'\n\toption tunnel 's'\n\toption password_hash '${HASH}'\n\toption enabled '0'\n` +
    `config user 'carol'\n\toption tunnel 's'\n\toption name 'carol@x'\n\toption password_hash '${HASH}'\n\toption totp_secret '${SECRET}'\n`,
);

class World {
  now = 1_000_000;
  wall = 1_800_000_000;
  readonly calls: unknown[] = [];
  outcome: object = { accepted: true };
  readonly authenticator: Authenticator;

  constructor(server: ServerConfig = USERS) {
    const host: Host = { ...real, monotonicMs: () => this.now, wallS: () => this.wall };
    const invoke = (call: unknown, _: number, done: (outcome: never) => void) => {
      this.calls.push(call);
      done(this.outcome as never);
      return { cancel: () => undefined } as never;
    };
    this.authenticator = new Authenticator(host, { invoke }, server);
  }

  ask(username: string, password: string, ip = HERE): Answer | 'nothing' {
    let answer: Answer | 'nothing' = 'nothing';
    this.authenticator.ask({ username, password, ip }, said => {
      answer = said;
    });
    return answer;
  }

  refused(username: string, password: string, why: RegExp, ip = HERE): void {
    const answer = this.ask(username, password, ip);
    ok(answer !== undefined && answer !== 'nothing', 'refused');
    match(answer.reason, why);
    ok(!answer.reason.includes(password) || password === '', 'no password in it');
  }
}

describe('logins', () => {
  it('by user name and password', () => {
    const world = new World();
    strictEqual(world.ask('anna', 'hunter2'), undefined);
    world.refused('anna', 'hunter3', /wrong user name or password/);
    world.refused('anna', '', /wrong/);
    world.refused('nobody', 'hunter2', /'nobody': wrong user name or password/);
    world.refused('bob', 'hunter2', /is disabled/);
    world.refused('bob', 'wrong!', /wrong user/);
    const elsewhere = Uint8Array.of(192, 0, 2, 2);
    world.refused('a\nb', 'hunter2', /^user 'a\\x0ab': wrong/, elsewhere);
  });

  it('with a one-time code, behind the password or as static challenge, each once', () => {
    const world = new World();
    const code = (step = 0) => totp(real.crypto, SECRET, Math.floor(world.wall / 30) + step);
    const challenge = (password: string, response: string) =>
      `SCRV1:${Buffer.from(password).toString('base64')}:${Buffer.from(response).toString('base64')}`;
    strictEqual(world.ask('carol@x', `hunter2${code()}`), undefined);
    world.refused('carol@x', `hunter2${code()}`, /used before/);
    world.wall += 30;
    strictEqual(world.ask('carol@x', challenge('hunter2', code())), undefined);
    world.refused(
      'carol@x',
      'hunter2',
      /wrong user name or password|no one-time code/,
      Uint8Array.of(192, 0, 2, 9),
    );
    const other = new World();
    other.refused('carol@x', challenge('hunter2', '000000'), /wrong one-time code/);
    other.refused('carol@x', challenge('hunter2', code(5)), /wrong one-time code/);
    other.refused('carol@x', challenge('wrong', code()), /wrong user name/);
    other.refused('carol@x', 'SCRV1:*:*', /wrong user name/);
    strictEqual(other.ask('anna', challenge('hunter2', '')), undefined);
  });

  it('RFC 6238, appendix B', () => {
    const at = (seconds: number) => totp(real.crypto, SECRET, Math.floor(seconds / 30));
    deepStrictEqual([at(59), at(1_111_111_109), at(2_000_000_000)], ['287082', '081804', '279037']);
  });

  it('who guesses is locked out, by name and by source, for a while', () => {
    const world = new World();
    for (let i = 0; i < FAILURES_MAX; i++)
      world.refused('anna', `guess${i}`, /wrong/, Uint8Array.of(198, 51, 100, i));
    world.refused('anna', 'hunter2', /locked/, Uint8Array.of(203, 0, 113, 1));
    world.now += LOCKED_MS;
    strictEqual(world.ask('anna', 'hunter2', Uint8Array.of(203, 0, 113, 1)), undefined);
    const source = new World();
    for (let i = 0; i < FAILURES_MAX; i++) source.refused(`name${i}`, 'x', /wrong/);
    source.refused('anna', 'hunter2', /locked/);
    strictEqual(source.ask('anna', 'hunter2', Uint8Array.of(203, 0, 113, 1)), undefined);
    // Of IPv6 a whole /56 is one source.
    const six = (last: number) =>
      Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 1, last, ...new Array<number>(8).fill(last));
    const wide = new World();
    for (let i = 0; i < FAILURES_MAX; i++) wide.refused(`name${i}`, 'x', /wrong/, six(i));
    wide.refused('anna', 'hunter2', /locked/, six(99));
  });

  it('what is remembered of guessers is bounded', () => {
    const world = new World(config("\toption auth 'ubus'\n\toption auth_method 'a b'\n"));
    world.outcome = {};
    for (let i = 0; i < 3000; i++) world.ask(`n${i}`, 'x', Uint8Array.of(10, i >> 16, i >> 8, i));
    world.refused('n2999', 'x', /wrong/);
  });

  it('a changed configuration counts at once', () => {
    const world = new World();
    world.authenticator.change(config("\toption auth 'users'\n"));
    world.refused('anna', 'hunter2', /wrong/);
  });

  it('by a method of another service', () => {
    const world = new World(config("\toption auth 'ubus'\n\toption auth_method 'radius.login check'\n"));
    strictEqual(world.ask('anna', 'pw'), undefined);
    deepStrictEqual(world.calls, [
      {
        path: 'radius.login',
        method: 'check',
        args: { tunnel: 's', username: 'anna', password: 'pw', address: '192.0.2.1' },
      },
    ]);
    for (const outcome of [{}, { accepted: 1 }, { accepted: 'true' }, { accepted: false }]) {
      world.outcome = outcome;
      world.refused('anna', 'pw', /wrong/);
    }
  });
});
