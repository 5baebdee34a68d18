// SPDX-License-Identifier: Apache-2.0
// Answers the core's question whether a user name and password are good: from the `user` sections, or by asking a
// method of another service. Whoever guesses is locked out, by name and by where it comes from.

import type { Ip } from '../core/address.ts';
import { formatIp } from '../core/address.ts';
import { fromBase64 } from '../core/base64.ts';
import { decodeUtf8, toHex } from '../core/bytes.ts';
import type { Crypto } from '../core/crypto.ts';
import { printable } from '../core/text.ts';
import type { Host } from '../host/host.ts';
import type { Bus } from '../ubus/bus.ts';
import { isUbusError } from '../ubus/client.ts';
import type { ServerConfig, UserConfig } from '../uci/config.ts';

export type Answer = { readonly reason: string; readonly text?: string } | undefined;

/** Failures until the door stays shut, and for how long. */
export const FAILURES_MAX = 5;
export const LOCKED_MS = 60_000;
/** How long a failure counts. */
const FORGET_MS = 600_000;
/** Names and sources that are remembered. */
const REMEMBERED_MAX = 1024;
const UBUS_ANSWER_MS = 30_000;
const TOTP_STEP_S = 30;
const TOTP_DIGITS = 6;
/** A hash of nothing, so that an unknown user takes as long as a wrong password. */
const NOBODY = '$6$ovpnd$';

interface Failures {
  count: number;
  lastMs: number;
}

/** Failed attempts by name or source, bounded: the oldest is forgotten first. */
class Lockout {
  readonly #failures = new Map<string, Failures>();

  isLocked(key: string, now: number): boolean {
    const known = this.#failures.get(key);
    if (known === undefined || now - known.lastMs >= FORGET_MS) return false;
    return known.count >= FAILURES_MAX && now - known.lastMs < LOCKED_MS;
  }

  fail(key: string, now: number): void {
    const known = this.#failures.get(key);
    const isOld = known === undefined || now - known.lastMs >= FORGET_MS;
    this.#failures.delete(key);
    this.#failures.set(key, { count: isOld ? 1 : known.count + 1, lastMs: now });
    if (this.#failures.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#failures.keys()) return void this.#failures.delete(oldest);
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }
}

/** A household or company: /32, or /56 of IPv6. */
function source(ip: Ip): string {
  return `from ${ip.length === 4 ? formatIp(ip) : toHex(ip.subarray(0, 7))}`;
}

export interface Question {
  readonly username: string;
  readonly password: string;
  readonly ip: Ip;
}

export class Authenticator {
  readonly #host: Host;
  readonly #bus: Pick<Bus, 'invoke'>;
  readonly #lockout = new Lockout();
  /** The newest one-time code of each user: none is good twice. */
  readonly #steps = new Map<string, number>();
  #config: ServerConfig;

  constructor(host: Host, bus: Pick<Bus, 'invoke'>, config: ServerConfig) {
    this.#host = host;
    this.#bus = bus;
    this.#config = config;
  }

  change(config: ServerConfig): void {
    this.#config = config;
  }

  /** Calls back once, at once or later; undefined: let in. */
  ask(question: Question, done: (answer: Answer) => void): void {
    const now = this.#host.monotonicMs();
    const keys = [`name ${question.username}`, source(question.ip)];
    const shown = printable(question.username.slice(0, 128));
    if (keys.some(key => this.#lockout.isLocked(key, now))) {
      return done({ reason: `user '${shown}': too many failed logins, locked for a minute` });
    }
    const settle = (wrong: string | undefined): void => {
      if (wrong === undefined) this.#lockout.forget(keys[0]!);
      else for (const key of keys) this.#lockout.fail(key, this.#host.monotonicMs());
      done(wrong === undefined ? undefined : { reason: `user '${shown}': ${wrong}` });
    };
    if (this.#config.auth === 'ubus') this.#askUbus(question, settle, done);
    else settle(this.#checkUser(question));
  }

  #checkUser({ username, password }: Question): string | undefined {
    const user = this.#config.users.find(({ name }) => name === username);
    const given = splitChallenge(password, user?.totpSecret !== undefined);
    const isRight = this.#isPassword(given.password, user?.passwordHash);
    if (user === undefined || !isRight) return 'wrong user name or password';
    if (!user.enabled) return 'is disabled';
    return user.totpSecret === undefined ? undefined : this.#checkCode(user, user.totpSecret, given.code);
  }

  #isPassword(password: string, hash: string | undefined): boolean {
    const made = this.#host.hashPassword(password, hash ?? NOBODY);
    if (hash === undefined || made === undefined) return false;
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

  /** The other service says `accepted`; that it cannot be asked is nobody's failed attempt. */
  #askUbus(
    { username, password, ip }: Question,
    settle: (wrong: string | undefined) => void,
    done: (answer: Answer) => void,
  ): void {
    const [path = '', method = ''] = (this.#config.authMethod ?? '').split(' ');
    const args = { tunnel: this.#config.name, username, password, address: formatIp(ip) };
    this.#bus.invoke({ path, method, args }, UBUS_ANSWER_MS, outcome => {
      if (isUbusError(outcome)) return done({ reason: `${path} ${method} does not answer: ${outcome.text}` });
      settle(
        (outcome as { accepted?: unknown }).accepted === true ? undefined : 'wrong user name or password',
      );
    });
  }
}

/** OpenVPN's static challenge: `SCRV1:base64(password):base64(code)`, or the code behind the password. */
function splitChallenge(
  text: string,
  hasCode: boolean,
): { readonly password: string; readonly code?: string } {
  const match = /^SCRV1:([A-Za-z0-9+/=]*):([A-Za-z0-9+/=]*)$/.exec(text);
  if (match !== null) {
    const [password, code] = [fromBase64(match[1]!), fromBase64(match[2]!)];
    return password === undefined || code === undefined
      ? { password: '' }
      : { password: decodeUtf8(password), code: decodeUtf8(code) };
  }
  const at = text.length - TOTP_DIGITS;
  const isBehind = hasCode && at >= 0 && /^[0-9]+$/.test(text.slice(at));
  return isBehind ? { password: text.slice(0, at), code: text.slice(at) } : { password: text };
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 6238 with SHA-1 and six digits, as authenticator apps have it. `secret`: base32. */
export function totp(crypto: Crypto, secret: string, step: number): string {
  const key: number[] = [];
  let bits = 0;
  let value = 0;
  for (const character of secret) {
    value = ((value << 5) | BASE32.indexOf(character)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    key.push((value >> bits) & 0xff);
  }
  const counter = new Uint8Array(8);
  new DataView(counter.buffer).setUint32(4, step);
  const mac = crypto.hmac('SHA1', Uint8Array.from(key), counter);
  const at = mac[19]! & 15;
  const number = new DataView(mac.buffer, mac.byteOffset).getUint32(at) & 0x7fffffff;
  return String(number % 10 ** TOTP_DIGITS).padStart(TOTP_DIGITS, '0');
}
