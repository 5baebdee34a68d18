// SPDX-License-Identifier: Apache-2.0
// Answers the core's question whether a user name and password are good: from the `user` sections, or by asking a
// method of another service. Whoever guesses is locked out; however many do, the rest of the tunnel goes on.

import { formatIp, type Ip } from '../core/address.ts';
import { encodeUtf8 } from '../core/bytes.ts';
import type { LoginRefusal } from '../core/event.ts';
import { AUTH_ANSWER_S } from '../core/limits.ts';
import { printable } from '../core/text.ts';
import type { Host, Timer } from '../host/host.ts';
import type { Bus } from '../ubus/bus.ts';
import { isUbusError } from '../ubus/client.ts';
import type { ServerConfig, UserConfig } from '../uci/config.ts';
import { Lockout, type Suspect, suspect } from './lockout.ts';
import { splitChallenge, TOTP_STEP_S, totp } from './onetime.ts';

/** Undefined: let in. */
export type Answer = LoginRefusal | undefined;

/** A hash of nothing, where there are no users. */
const NOBODY = '$6$ovpnd$';
/** Checking passwords may take one part in so many of the loop's time: anybody can make us do it. */
const SHARE = 4;
/** When to come again after a check that could not be made. */
const UNCHECKED_RETRY_S = 10;

export interface Question {
  readonly username: string;
  readonly password: string;
  readonly ip: Ip;
}

interface Waiting {
  readonly question: Question;
  readonly who: Suspect;
  readonly since: number;
  readonly done: (answer: Answer) => void;
}

export class Authenticator {
  readonly #host: Host;
  readonly #bus: Pick<Bus, 'invoke'>;
  readonly #lockout = new Lockout();
  /** The newest one-time code of each user: none is good twice. */
  readonly #steps = new Map<string, number>();
  /** In the order of their coming; the core bounds their number. */
  #queue: readonly Waiting[] = [];
  /** Asked of the other service and not answered yet, by name and by source. */
  readonly #asked = new Map<string, number>();
  /** No password is checked before. */
  #freeAt = 0;
  #timer: Timer | undefined;
  readonly #secret: Uint8Array;
  #config: ServerConfig;

  constructor(host: Host, bus: Pick<Bus, 'invoke'>, config: ServerConfig) {
    this.#host = host;
    this.#bus = bus;
    this.#config = config;
    this.#secret = host.random(32);
  }

  change(config: ServerConfig): void {
    const before = new Map(this.#config.users.map(user => [user.name, user.passwordHash]));
    this.#config = config;
    for (const { name, passwordHash } of config.users) {
      if (before.get(name) !== passwordHash) this.#lockout.forget(name);
    }
    this.#go();
  }

  /** Nobody is answered any more. */
  close(): void {
    this.#timer?.cancel();
    this.#queue = [];
  }

  /** Calls back once, at once or later. */
  ask(question: Question, done: (answer: Answer) => void): void {
    const { username, ip } = question;
    const since = this.#host.monotonicMs();
    this.#queue = [...this.#queue, { question, who: suspect(username, ip), since, done }];
    this.#go();
  }

  #go(): void {
    for (;;) {
      const now = this.#host.monotonicMs();
      const next = this.#queue.find(waiting => this.#isReady(waiting, now));
      if (next === undefined) break;
      this.#queue = this.#queue.filter(waiting => waiting !== next);
      this.#begin(next, now);
    }
    this.#timer?.cancel();
    // With the other service it is an answer that makes the next ready.
    const isPaced = this.#config.auth !== 'ubus' && this.#queue.length > 0;
    this.#timer = isPaced ? this.#host.loop.at(this.#freeAt, () => this.#go()) : undefined;
  }

  /** Guesses under way count as failures until they are answered; those beyond wait. */
  #isReady({ who }: Waiting, now: number): boolean {
    if (this.#lockout.lockedMs(who, now) > 0) return true;
    if (this.#config.auth !== 'ubus') return now >= this.#freeAt;
    const asked = Math.max(this.#asked.get(who.name) ?? 0, this.#asked.get(who.source) ?? 0);
    return asked < this.#lockout.left(who, now);
  }

  #begin({ question, who, since, done }: Waiting, now: number): void {
    const shown = printable(question.username.slice(0, 128));
    const refuse = (why: LoginRefusal): void => done({ ...why, reason: `user '${shown}': ${why.reason}` });
    const lockedMs = this.#lockout.lockedMs(who, now);
    if (lockedMs > 0) {
      const retryS = Math.ceil(lockedMs / 1000);
      const reason = `too many failed logins, locked for ${retryS} s`;
      return refuse({ reason, words: 'too many failed logins', retryS });
    }
    if (now - since >= this.#answerMs()) {
      return refuse({ reason: 'waited too long to be checked', words: 'busy', retryS: UNCHECKED_RETRY_S });
    }
    const settle = (wrong: LoginRefusal | undefined): void => {
      if (wrong === undefined) this.#lockout.succeed(who);
      else this.#lockout.fail(who, this.#host.monotonicMs());
      if (wrong === undefined) done(undefined);
      else refuse(wrong);
    };
    if (this.#config.auth === 'ubus') this.#askUbus(question, who, settle, refuse);
    else settle(this.#checkUser(question));
  }

  /** Both ends give a handshake up after the hand window. */
  #answerMs(): number {
    return Math.min(AUTH_ANSWER_S, this.#config.handWindow / 2) * 1000;
  }

  /** The client hears why only where it has shown that it knows the password. */
  #checkUser({ username, password }: Question): LoginRefusal | undefined {
    const user = this.#config.users.find(({ name }) => name === username);
    const given = splitChallenge(password, user?.totpSecret !== undefined);
    const begun = this.#host.monotonicMs();
    const isRight = this.#isPassword(given.password, user?.passwordHash ?? this.#decoy(username));
    const ended = this.#host.monotonicMs();
    this.#freeAt = ended + (SHARE - 1) * (ended - begun);
    if (user === undefined || !isRight) return { reason: 'wrong user name or password' };
    if (!user.enabled) return { reason: 'is disabled', words: 'disabled by the administrator' };
    const wrong =
      user.totpSecret === undefined ? undefined : this.#checkCode(user, user.totpSecret, given.code);
    return wrong === undefined ? undefined : { reason: wrong };
  }

  /** The hash of one of the users, for a name always the same one: an unknown name takes as long as a known one. */
  #decoy(username: string): string {
    const { users } = this.#config;
    const mac = this.#host.crypto.hmac('SHA256', this.#secret, encodeUtf8(username));
    return users.length === 0 ? NOBODY : users[((mac[0]! << 8) | mac[1]!) % users.length]!.passwordHash;
  }

  #isPassword(password: string, hash: string): boolean {
    const made = this.#host.hashPassword(password, hash);
    if (made === undefined) return false;
    const bytes = (text: string): Uint8Array => Uint8Array.from(text, character => character.charCodeAt(0));
    return this.#host.crypto.equal(bytes(made), bytes(hash));
  }

  #checkCode(user: UserConfig, secret: string, code: string | undefined): string | undefined {
    if (code === undefined) return 'sent no one-time code';
    const step = Math.floor(this.#host.wallS() / TOTP_STEP_S);
    for (const near of [step, step - 1, step + 1]) {
      if (totp(this.#host.crypto, secret, near) !== code) continue;
      if (near <= (this.#steps.get(user.name) ?? 0)) return 'its one-time code was used before';
      this.#steps.set(user.name, near);
      return undefined;
    }
    return 'wrong one-time code';
  }

  /** The other service says `accepted`; that it cannot be asked is nobody's failed attempt, and passes. */
  #askUbus(
    { username, password, ip }: Question,
    who: Suspect,
    settle: (wrong: LoginRefusal | undefined) => void,
    refuse: (why: LoginRefusal) => void,
  ): void {
    const [path = '', method = ''] = (this.#config.authMethod ?? '').split(' ');
    const args = { tunnel: this.#config.name, username, password, address: formatIp(ip) };
    this.#count(who, 1);
    this.#bus.invoke({ path, method, args }, this.#answerMs(), outcome => {
      this.#count(who, -1);
      if (isUbusError(outcome)) {
        const reason = `${path} ${method} does not answer: ${outcome.text}`;
        refuse({ reason, words: 'logins cannot be checked', retryS: UNCHECKED_RETRY_S });
      } else {
        const isGood = (outcome as { accepted?: unknown }).accepted === true;
        settle(isGood ? undefined : { reason: 'wrong user name or password' });
      }
      this.#go();
    });
  }

  #count({ name, source }: Suspect, by: 1 | -1): void {
    for (const key of [name, source]) {
      const count = (this.#asked.get(key) ?? 0) + by;
      if (count > 0) this.#asked.set(key, count);
      else this.#asked.delete(key);
    }
  }
}
