// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, notDeepEqual } from 'node:assert/strict';
import { type Path, parseIp } from '../../../src/core/address.ts';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import { checkCookie, cookieSessionId, cookieSlot } from '../../../src/core/cookie.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { flipBit, vector } from './vectors.ts';

const crypto = nobleCrypto();
const SECRET = new Uint8Array(32).fill(7);
const CLIENT = fromHex('0102030405060708');
const HAND_WINDOW_S = 60;
const NOW_S = 1_000_000;
const PATH: Path = { socket: 3, remote: { ip: parseIp('192.0.2.1')!, port: 1194 } };
const PATH6: Path = { socket: 3, remote: { ip: parseIp('fe80::1')!, port: 1194, scope: 2 } };

/** The cookie of a moment some slots away, by default of now. */
function cookieAt(slots = 0, path = PATH): Uint8Array {
  return cookieSessionId(crypto, SECRET, cookieSlot(NOW_S, HAND_WINDOW_S) + slots, path, CLIENT);
}

function check(
  cookie: Uint8Array,
  changes: { path?: Path; client?: Uint8Array; secret?: Uint8Array; nowS?: number } = {},
): boolean {
  const { path = PATH, client = CLIENT, secret = SECRET, nowS = NOW_S } = changes;
  return checkCookie(crypto, secret, nowS, HAND_WINDOW_S, path, client, cookie);
}

describe('core/cookie', () => {
  it('is accepted in its own slot and the two after, refused later and never before', () => {
    equal(check(cookieAt(0)), true);
    equal(check(cookieAt(-1)), true);
    equal(check(cookieAt(-2)), true);
    equal(check(cookieAt(-3)), false);
    equal(check(cookieAt(-100)), false);
    equal(check(cookieAt(1)), false);
    equal(check(cookieAt(2)), false);
  });

  it('lives 60 to 90 seconds', () => {
    const start = 30 * 5;
    const cookie = cookieSessionId(crypto, SECRET, cookieSlot(start, HAND_WINDOW_S), PATH, CLIENT);
    equal(check(cookie, { nowS: start - 1 }), false);
    equal(check(cookie, { nowS: start }), true);
    equal(check(cookie, { nowS: start + 89.9 }), true);
    equal(check(cookie, { nowS: start + 90 }), false);
  });

  it('is good from the first second of the clock on', () => {
    const cookie = cookieSessionId(crypto, SECRET, cookieSlot(0, HAND_WINDOW_S), PATH, CLIENT);
    equal(check(cookie, { nowS: 0 }), true);
    equal(check(cookie, { nowS: 30 }), true);
  });

  it('is refused with any bit changed, cut or longer', () => {
    const cookie = cookieAt();
    for (let bit = 0; bit < 64; bit++) equal(check(flipBit(cookie, bit)), false);
    for (let length = 0; length < 8; length++) equal(check(cookie.slice(0, length)), false);
    equal(check(new Uint8Array([...cookie, 0])), false);
    equal(check(new Uint8Array(8)), false);
  });

  it('is refused from another address, port, scope or socket', () => {
    const cookie = cookieAt();
    const from = (ip: string, port: number, socket = 3, scope = 0): Path => ({
      socket,
      remote: { ip: parseIp(ip)!, port, scope },
    });
    equal(check(cookie, { path: from('192.0.2.1', 1194) }), true);
    for (const ip of ['192.0.2.2', '192.0.3.1', '191.0.2.1', '192.1.2.1', '::c000:201']) {
      equal(check(cookie, { path: from(ip, 1194) }), false);
    }
    for (const port of [1195, 1193, 1194 + 256, 0, 65535]) {
      equal(check(cookie, { path: from('192.0.2.1', port) }), false);
    }
    equal(check(cookie, { path: from('192.0.2.1', 1194, 4) }), false);
    equal(check(cookie, { path: from('192.0.2.1', 1194, 3, 1) }), false);
    const cookie6 = cookieAt(0, PATH6);
    equal(check(cookie6, { path: PATH6 }), true);
    for (let bit = 0; bit < 128; bit++) {
      const path = { ...PATH6, remote: { ...PATH6.remote, ip: flipBit(PATH6.remote.ip, bit) } };
      equal(check(cookie6, { path }), false);
    }
    equal(check(cookie6, { path: { ...PATH6, remote: { ...PATH6.remote, scope: 3 } } }), false);
  });

  it('does not depend on our own address', () => {
    equal(check(cookieAt(), { path: { ...PATH, local: parseIp('198.51.100.1')! } }), true);
  });

  it('is refused for another client session id or secret', () => {
    for (let bit = 0; bit < 64; bit++) equal(check(cookieAt(), { client: flipBit(CLIENT, bit) }), false);
    for (let bit = 0; bit < 256; bit++) equal(check(cookieAt(), { secret: flipBit(SECRET, bit) }), false);
  });

  it('all slots are compared, whichever fits', () => {
    let compared = 0;
    const counting = {
      ...crypto,
      equal(a: Uint8Array, b: Uint8Array) {
        compared++;
        return crypto.equal(a, b);
      },
    };
    for (const slot of [0, -1, -2, -3]) {
      compared = 0;
      checkCookie(counting, SECRET, NOW_S, HAND_WINDOW_S, PATH, CLIENT, cookieAt(slot));
      equal(compared, 3);
    }
  });

  it('is never all zero', () => {
    const zero = { ...crypto, hmac: () => new Uint8Array(32) };
    deepEqual([...cookieSessionId(zero, SECRET, 1, PATH, CLIENT)], [0, 0, 0, 0, 0, 0, 0, 1]);
  });

  it('slots are half a hand window long', () => {
    const { inputs, outputs } = vector('cookie-session-id-linux-le');
    equal(cookieSlot(inputs.now, inputs.handwindow), inputs.slot);
    equal(cookieSlot(29, 60), 0);
    equal(cookieSlot(30, 60), 1);
    equal(cookieSlot(5, 0), 5);
    // OpenVPN's input differs from ours, which nobody sees; the construction is the same.
    const mac = crypto.hmac('SHA256', fromHex(inputs.secret), fromHex(inputs.hmac_input));
    equal(toHex(mac.slice(0, 8)), outputs.server_session_id);
    notDeepEqual(cookieAt(0), cookieAt(1));
  });
});
