// SPDX-License-Identifier: Apache-2.0
// Random and mutated bytes into every reader of the core: none may throw, none may take what was changed. Runs for
// OVPND_FUZZ_SECONDS in all; a failure prints the seed to repeat it with (OVPND_FUZZ_SEED).

import { deepEqual, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { concat, decodeUtf8, encodeUtf8, sameBytes } from '../../src/core/bytes.ts';
import { isDrop } from '../../src/core/drop.ts';
import { decodeKeyMethod2, encodeKeyMethod2 } from '../../src/core/keymethod.ts';
import { parseStaticKey } from '../../src/core/keys.ts';
import { readOptions } from '../../src/core/options.ts';
import { parsePeerInfo, peerCiphers, peerProto } from '../../src/core/peerinfo.ts';
import { collectPush, newPushCollector, parsePush } from '../../src/core/pushreply.ts';
import { applyUpdate, updateBetween } from '../../src/core/pushupdate.ts';
import { decodeTexts, printable } from '../../src/core/text.ts';
import { decodeBody, decodeHead, encodeBody, encodeHead, HEAD_LENGTH } from '../../src/core/wire.ts';
import { tokenise } from '../../src/core/words.ts';
import { createWrap, noWrap, openStateless, tlsAuthKeys, tlsCryptKeys } from '../../src/core/wrap.ts';
import { nobleCrypto } from '../../src/host/noble.ts';
import { controlPacket, keyMethod2 } from '../unit/core/arbitraries.ts';

const crypto = nobleCrypto();
const KEY = Uint8Array.from({ length: 256 }, (_, i) => (i * 7) & 255);
const WRAPS = [
  { a: noWrap(), b: noWrap() },
  { a: tlsAuthKeys(KEY, 1, 'SHA256'), b: tlsAuthKeys(KEY, 0, 'SHA256') },
  { a: tlsCryptKeys(KEY, 'client'), b: tlsCryptKeys(KEY, 'server') },
];

/** Where to change a packet, and how. */
const edit = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('flip', 'set', 'cut', 'grow', 'drop'),
  byte: fc.integer({ min: 1, max: 255 }),
});

function mutate(bytes: Uint8Array, edits: readonly { at: number; how: string; byte: number }[]): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (const { at, how, byte } of edits) {
    const i = at % (out.length + 1);
    if (how === 'flip' && i < out.length) out[i]! ^= byte;
    else if (how === 'set' && i < out.length) out[i] = byte;
    else if (how === 'cut') out = out.slice(0, i);
    else if (how === 'grow') out = concat(out.slice(0, i), new Uint8Array([byte]), out.slice(i));
    else if (how === 'drop') out = concat(out.slice(0, i), out.slice(i + 1));
  }
  return out;
}

const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
const bytes = fc.uint8Array({ maxLength: 400 });
const word = fc.constantFrom(
  ...'PUSH_REPLY,route-ipv6 ifconfig dns server address dhcp-option DOMAIN topology subnet peer-id tun-mtu'.split(
    ' ',
  ),
  ...'push-continuation,2 10.8.0.1 255.255.255.0 fd42::1/64 [fd42::1]:53 default " \' \\ # ; -1 0 99999999999'.split(
    ' ',
  ),
);
const optionText = fc
  .array(fc.oneof(word, fc.string({ maxLength: 8 })), { maxLength: 20 })
  .map(list => list.join(' '));

const PROPERTIES: Record<string, fc.IPropertyWithHooks<unknown[]>> = {
  'control packets, any bytes': fc.property(bytes, datagram => {
    const head = decodeHead(datagram);
    if (isDrop(head)) return;
    const body = datagram.subarray(HEAD_LENGTH);
    const read = decodeBody(head.opcode, head.keyId, head.sessionId, body);
    // What was read is all there was: writing it gives the same bytes.
    if (!isDrop(read)) ok(sameBytes(concat(encodeHead(read), encodeBody(read)), datagram));
  }),
  'wrapped packets, mutated': fc.property(controlPacket, edits, (packet, changes) => {
    for (const { a, b } of WRAPS) {
      const sealed = createWrap(a, crypto, 5).seal(packet);
      const changed = mutate(sealed, changes);
      const opened = openStateless(b, crypto, changed);
      if (a.kind !== 'none') ok(isDrop(opened) || sameBytes(changed, sealed));
      const receiver = createWrap(b, crypto, 5);
      receiver.open(changed);
      deepEqual(sameBytes(changed, sealed) ? packet : receiver.open(sealed), packet);
    }
  }),
  'wrapped packets, any bytes': fc.property(bytes, datagram => {
    for (const { a } of WRAPS) {
      const opened = openStateless(a, crypto, datagram);
      if (a.kind !== 'none') ok(isDrop(opened));
    }
  }),
  'key method 2': fc.property(keyMethod2, edits, bytes, (message, changes, junk) => {
    for (const from of ['client', 'server'] as const) {
      const changed = decodeKeyMethod2(mutate(encodeKeyMethod2(message), changes), from);
      if (!isDrop(changed)) deepEqual(decodeKeyMethod2(encodeKeyMethod2(changed), from), changed);
      decodeKeyMethod2(concat(encodeKeyMethod2(message).subarray(0, 117), junk), from);
    }
  }),
  texts: fc.property(bytes, record => {
    const texts = decodeTexts(record);
    if (!isDrop(texts)) for (const text of texts) ok(/^[ -~]*$/.test(printable(text)));
    deepEqual(
      encodeUtf8(decodeUtf8(record)),
      encodeUtf8(new TextDecoder('utf-8', { ignoreBOM: true }).decode(record)),
    );
  }),
  'pushed options': fc.property(fc.array(optionText, { maxLength: 30 }), list => {
    const state = newPushCollector();
    for (const text of [`PUSH_REPLY,${list.join(',')}`, ...list]) collectPush(state, text);
    for (const text of list) tokenise(text);
    const pushed = parsePush(list);
    ok(pushed.routes.length <= 512 && pushed.dnsServers.length <= 8 && pushed.domains.length <= 10);
    for (const domain of pushed.domains) ok(/^[A-Za-z0-9.-]+$/.test(domain));
    const updated = applyUpdate(list.slice(0, 9), list.slice(9));
    if (typeof updated !== 'string') {
      ok(updated.lines.length <= list.length);
      const again = applyUpdate(list.slice(0, 9), updateBetween(list.slice(0, 9), updated.lines));
      ok(typeof again === 'object' && again.lines.length === updated.lines.length);
    }
    ok(pushed.tunMtu === undefined || (pushed.tunMtu >= 100 && pushed.tunMtu <= 1600));
  }),
  'peer info, options string, key file': fc.property(fc.string({ unit: 'binary', maxLength: 600 }), text => {
    const info = parsePeerInfo(text.replaceAll(' ', '=').replaceAll('!', '\n'));
    ok(info.size <= 64 && peerProto(info) >= 0 && peerCiphers(info, text).length <= 32);
    readOptions(text);
    parseStaticKey(`-----BEGIN OpenVPN Static key V1-----${text}-----END OpenVPN Static key V1-----`);
  }),
};

describe('fuzz: core codecs', () => {
  const names = Object.keys(PROPERTIES);
  const seconds = Number(process.env.OVPND_FUZZ_SECONDS ?? 2);
  const seed = Number(process.env.OVPND_FUZZ_SEED ?? Date.now() & 0x7fffffff);

  for (const name of names) {
    it(`${name} (OVPND_FUZZ_SEED=${seed})`, function () {
      const limitMs = (seconds * 1000) / names.length;
      this.timeout(limitMs * 2 + 60_000);
      fc.assert(PROPERTIES[name]!, {
        seed,
        numRuns: Number.MAX_SAFE_INTEGER,
        interruptAfterTimeLimit: limitMs,
        markInterruptAsFailure: false,
      });
    });
  }
});
