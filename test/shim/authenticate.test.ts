// SPDX-License-Identifier: Apache-2.0
// Logins against user sections with real hashes, one-time codes, lock-outs; and by a method of another service.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import type { LoginRefusal } from '../../src/core/event.ts';
import { AUTH_ANSWER_S } from '../../src/core/limits.ts';
import { type Answer, Authenticator } from '../../src/daemon/authenticate.ts';
import { FAILURES_MAX, LOCKED_MS } from '../../src/daemon/lockout.ts';
import { totp } from '../../src/daemon/onetime.ts';
import type { Host } from '../../src/host/host.ts';
import { STATUS } from '../../src/ubus/message.ts';
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
  /** What the other service says at once; undefined: it takes its time. */
  outcome: object | undefined = { accepted: true };
  readonly unanswered: ((outcome: object) => void)[] = [];
  /** How long a hash takes, and with which settings they were made. */
  hashMs = 0;
  readonly settings: string[] = [];
  readonly authenticator: Authenticator;
  timer: { at: number; callback: () => void } | undefined;
  timeoutMs = 0;

  constructor(server: ServerConfig = USERS) {
    const at = (deadline: number, callback: () => void) => {
      const timer = { at: deadline, callback };
      this.timer = timer;
      const cancel = () => {
        if (this.timer === timer) this.timer = undefined;
      };
      return { cancel };
    };
    const host: Host = {
      ...real,
      loop: { ...real.loop, at },
      monotonicMs: () => this.now,
      wallS: () => this.wall,
      hashPassword: (password, setting) => {
        this.now += this.hashMs;
        this.settings.push(setting);
        return real.hashPassword(password, setting);
      },
    };
    const invoke = (call: unknown, timeoutMs: number, done: (outcome: never) => void) => {
      this.calls.push(call);
      this.timeoutMs = timeoutMs;
      if (this.outcome === undefined) this.unanswered.push(done as (outcome: object) => void);
      else done(this.outcome as never);
      return { cancel: () => undefined } as never;
    };
    this.authenticator = new Authenticator(host, { invoke }, server);
  }

  /** Lets time pass until the timer, if there is one. */
  tick(): void {
    const { timer } = this;
    ok(timer !== undefined, 'a timer');
    this.timer = undefined;
    this.now = Math.max(this.now, timer.at);
    timer.callback();
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
    // Longer than crypt(3) takes: there is no hash to compare.
    world.refused('anna', 'x'.repeat(600), /wrong user/, Uint8Array.of(192, 0, 2, 3));
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
    const from = (last: number) => Uint8Array.of(203, 0, 113, last);
    for (const step of [-2, 2]) {
      const late = new World();
      late.wall = world.wall;
      late.refused('carol@x', `hunter2${code(step)}`, /wrong one-time code/);
    }
    // Clocks differ.
    for (const step of [-1, 1]) {
      const near = new World();
      near.wall = world.wall;
      strictEqual(near.ask('carol@x', `hunter2${code(step)}`), undefined);
    }
    const half = Buffer.from('hunter2').toString('base64');
    for (const [i, text] of ['*:*', `${half}:*`, '*:MTIz', half, `${half}:A`].entries())
      new World().refused('carol@x', `SCRV1:${text}`, /wrong user name/, from(i));
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
    // Counted anew: one more slip does not lock again.
    world.refused('anna', 'hunter4', /wrong/, Uint8Array.of(203, 0, 113, 1));
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

  it('locked: asked to come again, in words that say nothing of the name', () => {
    const locked = (username: string): Answer | 'nothing' => {
      const world = new World();
      for (let i = 0; i < FAILURES_MAX; i++) world.ask(username, 'x', Uint8Array.of(198, 51, 100, i));
      world.now += 10_500;
      return world.ask(username, 'hunter2', Uint8Array.of(203, 0, 113, 1));
    };
    for (const name of ['anna', 'nobody']) {
      deepStrictEqual(locked(name), {
        reason: `user '${name}': too many failed logins, locked for 50 s`,
        words: 'too many failed logins',
        retryS: 50,
      });
    }
  });

  it('a good login takes back its own slips, not those at other names', () => {
    const slips = (name: string): World => {
      const world = new World();
      for (let i = 0; i < FAILURES_MAX - 1; i++) world.refused(name, 'x', /wrong/);
      strictEqual(world.ask('anna', 'hunter2'), undefined);
      return world;
    };
    const own = slips('anna');
    own.refused('anna', 'x', /wrong/);
    strictEqual(own.ask('anna', 'hunter2'), undefined);
    const others = slips('bob');
    others.refused('nobody', 'x', /wrong/);
    others.refused('anna', 'hunter2', /locked/);
  });

  it('a new password opens the door again', () => {
    const world = new World();
    const from = (last: number) => Uint8Array.of(198, 51, 100, last);
    for (let i = 0; i < FAILURES_MAX; i++) world.refused('anna', 'x', /wrong/, from(i));
    const hash = real.hashPassword('fresh', '$6$othersalt$')!;
    const changed = { ...USERS, users: [{ ...USERS.users[0]!, passwordHash: hash }] };
    world.authenticator.change(USERS);
    world.refused('anna', 'fresh', /locked/, from(9));
    world.authenticator.change(changed);
    strictEqual(world.ask('anna', 'fresh', from(9)), undefined);
  });

  it('an unknown name takes the work of a known one, for a name always of the same, and never fits', () => {
    const rounds = real.hashPassword('other', '$6$rounds=9000$saltsalt$')!;
    const two = {
      ...USERS,
      users: [USERS.users[0]!, { ...USERS.users[0]!, name: 'x', passwordHash: rounds }],
    };
    const world = new World(two);
    const workFor = (name: string): string => {
      world.settings.length = 0;
      for (const password of ['hunter2', 'other']) world.refused(name, password, /wrong/, HERE);
      strictEqual(world.settings.length, 2);
      strictEqual(world.settings[0], world.settings[1]);
      world.now += 600_000;
      return world.settings[0]!;
    };
    const seen = new Set(Array.from({ length: 24 }, (_, i) => workFor(`nobody${i}`)));
    deepStrictEqual([...seen].sort(), [HASH, rounds].sort());
  });

  it('checks take a quarter of the time at most, in the order of their coming; a late one is not made', () => {
    const world = new World();
    world.hashMs = 50;
    const answers: string[] = [];
    const ask = (name: string, last: number) =>
      world.authenticator.ask(
        { username: name, password: 'hunter2', ip: Uint8Array.of(10, 0, 0, last) },
        answer => answers.push(`${name} ${world.now - 1_000_000} ${answer?.words ?? answer?.reason ?? 'in'}`),
      );
    for (const [i, name] of ['anna', 'bob', 'carl', 'dora'].entries()) ask(name, i);
    deepStrictEqual(answers, ['anna 50 in']);
    world.tick();
    world.tick();
    const wrong = "user 'carl': wrong user name or password";
    deepStrictEqual(answers.slice(1), ['bob 250 disabled by the administrator', `carl 450 ${wrong}`]);
    world.now += AUTH_ANSWER_S * 1000;
    const made = world.settings.length;
    world.tick();
    deepStrictEqual([answers.length, answers[3]?.slice(-4), world.settings.length], [4, 'busy', made]);
    strictEqual(world.timer, undefined);
    ask('anna', 1);
    ask('anna', 2);
    ok(world.timer !== undefined);
    world.authenticator.close();
    strictEqual(world.timer, undefined);
  });

  it('what is remembered of guessers is bounded', () => {
    const world = new World(config("\toption auth 'ubus'\n\toption auth_method 'a b'\n"));
    world.outcome = {};
    for (let i = 0; i < 3000; i++) world.ask(`n${i}`, 'x', Uint8Array.of(10, i >> 16, i >> 8, i));
    world.refused('n2999', 'x', /wrong/);
  });

  it('whatever a stranger sends is answered, once, and lets nobody in', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ minLength: 500, maxLength: 2000 }),
      fc.string().map(inner => `SCRV1:${inner}`),
      fc.tuple(fc.base64String(), fc.base64String()).map(([a, b]) => `SCRV1:${a}:${b}`),
      fc.stringMatching(/^[0-9]{0,8}$/),
    );
    const name = fc.oneof(fc.constantFrom('anna', 'carol@x', '__proto__', ''), text);
    fc.assert(
      fc.property(name, text, (username, password) => {
        let answers = 0;
        new World().authenticator.ask({ username, password, ip: HERE }, answer => {
          answers++;
          ok(answer !== undefined && !/[^ -~]/.test(answer.reason), answer?.reason);
        });
        strictEqual(answers, 1);
      }),
      { numRuns: 40 },
    );
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

  it("a service that does not answer is nobody's fault, and the client may come again", () => {
    const world = new World(config("\toption auth 'ubus'\n\toption auth_method 'a b'\n"));
    world.outcome = { failed: true, status: STATUS.timeout, text: 'a: Request timed out' };
    for (let i = 0; i < 2 * FAILURES_MAX; i++) {
      const answer = world.ask('anna', 'pw') as LoginRefusal;
      match(answer.reason, /'anna': a b does not answer: /);
      deepStrictEqual([answer.words, answer.retryS], ['logins cannot be checked', 10]);
    }
    world.outcome = { accepted: true };
    strictEqual(world.ask('anna', 'pw'), undefined);
    strictEqual(world.timeoutMs, AUTH_ANSWER_S * 1000);
    const brief = new World(
      config("\toption auth 'ubus'\n\toption auth_method 'a b'\n\toption hand_window '20'\n"),
    );
    brief.ask('anna', 'pw');
    strictEqual(brief.timeoutMs, 10_000);
  });

  it('guesses under way count: of one name, and from one place, no more than may fail', () => {
    const ubus = config("\toption auth 'ubus'\n\toption auth_method 'a b'\n");
    const place = (i: number) => Uint8Array.of(198, 51, 100, i);
    for (const [username, ip] of [
      [() => 'anna', place],
      [(i: number) => `n${i}`, () => HERE],
    ] as const) {
      const world = new World(ubus);
      world.outcome = undefined;
      const answers: Answer[] = [];
      for (let i = 0; i < 64; i++) {
        const question = { username: username(i), password: 'guess', ip: ip(i) };
        world.authenticator.ask(question, answer => answers.push(answer));
      }
      strictEqual(world.calls.length, FAILURES_MAX);
      for (const answer of world.unanswered.splice(0)) answer({ accepted: false });
      strictEqual(world.calls.length, FAILURES_MAX, 'the others are locked out');
      strictEqual(answers.filter(answer => answer?.retryS === 60).length, 64 - FAILURES_MAX);
    }
    // Forty routers with one name, after a restart: all are let in.
    const world = new World(ubus);
    world.outcome = undefined;
    let isIn = 0;
    for (let i = 0; i < 40; i++) {
      const question = { username: 'site', password: 'pw', ip: place(i) };
      world.authenticator.ask(question, answer => void (answer === undefined && isIn++));
    }
    for (let i = 0; i < 40; i++) world.unanswered.shift()?.({ accepted: true });
    strictEqual(isIn, 40);
  });
});
