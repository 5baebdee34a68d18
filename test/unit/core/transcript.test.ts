// SPDX-License-Identifier: Apache-2.0
// Complete recorded handshakes with real OpenVPN servers: every control packet through the wrapping of its session,
// both ways, and the values that came out of TLS through their readers.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { decodeUtf8, fromHex, toHex } from '../../../src/core/bytes.ts';
import { CIPHER_KEY_LENGTH, type CipherName } from '../../../src/core/crypto.ts';
import { isDrop } from '../../../src/core/drop.ts';
import { decodeKeyMethod2, encodeKeyMethod2 } from '../../../src/core/keymethod.ts';
import { prfKeys, splitEpochKeys, splitKeys } from '../../../src/core/keys.ts';
import { parsePeerInfo, peerCiphers, selectCipher } from '../../../src/core/peerinfo.ts';
import { collectPush, newPushCollector, parsePush } from '../../../src/core/pushreply.ts';
import { decodeTexts, encodeText } from '../../../src/core/text.ts';
import type { TlsRole } from '../../../src/core/tls.ts';
import { createWrap, tlsAuthKeys, tlsCryptKeys, type WrapKeys } from '../../../src/core/wrap.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { expandLabel } from '../../../src/plane/epoch.ts';
import { vector } from './vectors.ts';

const crypto = nobleCrypto();

interface Recorded {
  readonly dir: 'c>s' | 's>c';
  readonly packet: string;
  // biome-ignore lint/suspicious/noExplicitAny: fields as the recording has them.
  readonly decoded: any;
}

const KINDS: Record<string, (key: Uint8Array) => { client: WrapKeys; server: WrapKeys }> = {
  'transcript-A': key => ({ client: tlsCryptKeys(key, 'client'), server: tlsCryptKeys(key, 'server') }),
  'transcript-B': key => ({ client: tlsCryptKeys(key, 'client'), server: tlsCryptKeys(key, 'server') }),
  'transcript-C': key => ({ client: tlsAuthKeys(key, 1, 'SHA1'), server: tlsAuthKeys(key, 0, 'SHA1') }),
  'transcript-F': key => ({ client: tlsCryptKeys(key, 'client'), server: tlsCryptKeys(key, 'server') }),
};

for (const [id, keysOf] of Object.entries(KINDS)) {
  const { inputs, outputs } = vector(id);
  const keys = keysOf(fromHex(inputs.static_key_or_Kc));
  const wkc = inputs.wkc ? fromHex(inputs.wkc).length : 0;
  const control = outputs.control as Recorded[];

  /** The packet without a wrapped client key at its end. */
  const bare = ({ packet, decoded }: Recorded) => {
    const bytes = fromHex(packet);
    const hasWkc = decoded.opcode === 10 || decoded.opcode === 11;
    return hasWkc ? bytes.subarray(0, bytes.length - wkc) : bytes;
  };

  describe(`core: ${id}`, () => {
    it('every control packet opens at its receiver with the recorded fields', () => {
      const ends = { 'c>s': createWrap(keys.server, crypto, 0), 's>c': createWrap(keys.client, crypto, 0) };
      ok(control.length > 8);
      for (const one of control) {
        const opened = ends[one.dir].open(bare(one));
        ok(!isDrop(opened), one.packet);
        const { decoded } = one;
        equal(opened.opcode, decoded.opcode);
        equal(opened.keyId, decoded.key_id);
        equal(toHex(opened.sessionId), decoded.session_id);
        deepEqual(opened.acks, decoded.acks);
        if (decoded.ack_remote_session_id) {
          equal(toHex(opened.remoteSessionId!), decoded.ack_remote_session_id);
        }
        equal(opened.messageId, decoded.message_id);
        equal(toHex(opened.payload), decoded.payload ?? '');
      }
    });

    it('no control packet opens at its sender, or a second time', () => {
      const own = { 'c>s': createWrap(keys.client, crypto, 0), 's>c': createWrap(keys.server, crypto, 0) };
      const ends = { 'c>s': createWrap(keys.server, crypto, 0), 's>c': createWrap(keys.client, crypto, 0) };
      for (const one of control) {
        const reflected = own[one.dir].open(bare(one));
        equal(isDrop(reflected) && reflected.drop, 'hmac');
        ok(!isDrop(ends[one.dir].open(bare(one))));
        const again = ends[one.dir].open(bare(one));
        equal(isDrop(again) && again.drop, 'replay');
      }
    });

    it('sealing the same packets again gives the recorded bytes', () => {
      for (const dir of ['c>s', 's>c'] as const) {
        const sender = dir === 'c>s' ? keys.client : keys.server;
        const receiver = createWrap(dir === 'c>s' ? keys.server : keys.client, crypto, 0);
        for (const one of control.filter(each => each.dir === dir)) {
          const opened = receiver.open(bare(one));
          ok(!isDrop(opened));
          const sent = Number.parseInt(one.decoded.replay.slice(0, 8), 16) - 1;
          const wrap = createWrap(sender, crypto, Number.parseInt(one.decoded.replay.slice(8), 16), sent);
          equal(toHex(wrap.seal(opened)), toHex(bare(one)));
        }
      }
    });

    it('key method 2 and PUSH_REPLY read as recorded', () => {
      const client = decodeKeyMethod2(fromHex(outputs.km2_client), 'client');
      const server = decodeKeyMethod2(fromHex(outputs.km2_server), 'server');
      ok(!isDrop(client) && !isDrop(server));
      equal(toHex(encodeKeyMethod2(client)), outputs.km2_client);
      const offered = peerCiphers(parsePeerInfo(client.peerInfo));
      equal(selectCipher([outputs.cipher], offered), outputs.cipher);
      const texts = decodeTexts(encodeText(outputs.push_reply));
      ok(!isDrop(texts));
      const push = collectPush(newPushCollector(), texts[0]!);
      ok(push !== 'more' && !isDrop(push));
      const pushed = parsePush(push.options);
      equal(pushed.cipher, outputs.cipher);
      equal(pushed.peerId, 0);
      deepEqual(pushed.refused, []);
      deepEqual(pushed.ignored, []);
      if (outputs.key2_method === 'tls1-prf') {
        const sids = [fromHex(outputs.client_session_id), fromHex(outputs.server_session_id)] as const;
        equal(toHex(prfKeys(crypto, client.source, server.source, ...sids)), outputs.key2);
      } else {
        equal(outputs.key2, outputs.ekm_datakeys);
        ok(pushed.protocolFlags.has('tls-ekm'));
      }
      equal(pushed.protocolFlags.has('aead-epoch'), outputs.epoch);
    });

    it('data packets open with the keys of their direction, not with the other', () => {
      const cipher = outputs.cipher;
      for (const { dir, packet, plaintext } of outputs.data) {
        const bytes = fromHex(packet);
        for (const role of ['client', 'server'] as const) {
          const plain = (outputs.epoch ? openEpoch1 : openPacket)(fromHex(outputs.key2), role, cipher, bytes);
          const isReceiver = role === (dir === 'c>s' ? 'server' : 'client');
          equal(plain && toHex(plain), isReceiver ? plaintext : undefined);
        }
      }
      ok(decodeUtf8(fromHex(outputs.data[0].plaintext)).endsWith('hello-openvpn-research'));
    });
  });
}

/** A packet with peer-id under the key of this role; undefined: the tag is wrong. */
function openPacket(key2: Uint8Array, role: TlsRole, cipher: CipherName, bytes: Uint8Array) {
  const { key, nonceTail } = splitKeys(key2, role, cipher)!.decrypt;
  const nonce = new Uint8Array([...bytes.slice(4, 8), ...nonceTail]);
  const sealed = new Uint8Array([...bytes.slice(24), ...bytes.slice(8, 24)]);
  return crypto.aead(cipher, key).open(nonce, bytes.slice(0, 8), sealed);
}

/** The same in the epoch format, in its first epoch. */
function openEpoch1(key2: Uint8Array, role: TlsRole, cipher: CipherName, bytes: Uint8Array) {
  const { epochKey } = splitEpochKeys(key2, role)!.decrypt;
  const key = expandLabel(crypto, epochKey, 'data_key', CIPHER_KEY_LENGTH[cipher]);
  const nonce = expandLabel(crypto, epochKey, 'data_iv', 12);
  for (let i = 0; i < 8; i++) nonce[i]! ^= bytes[4 + i]!;
  return crypto.aead(cipher, key).open(nonce, bytes.slice(0, 12), bytes.slice(12));
}
