// SPDX-License-Identifier: Apache-2.0
// Data packets that stock OpenVPN made or answered, through the plane and through both bodies of Crypto.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import type { CipherName, Crypto } from '../../../src/core/crypto.ts';
import { CIPHER_KEY_LENGTH } from '../../../src/core/crypto.ts';
import type { PlaneKey } from '../../../src/core/plane.ts';
import { nobleCrypto } from '../../../src/host/noble.ts';
import { createKey, KEY_LIMITS, PacketOpener, sealPacket } from '../../../src/plane/keys.ts';
import { drops, hex, ip, ok, path, type Recorder, record, unhex } from './helpers.ts';
import { nodeCrypto } from './nodecrypto.ts';

const FILE = 'test/vectors/openvpn-vectors.json';

interface DataVector {
  readonly id: string;
  readonly kind: string;
  readonly description: string;
  readonly inputs: {
    readonly key: string;
    readonly implicit_iv: string;
    readonly nonce: string;
    readonly plaintext: string;
  };
  readonly outputs: { readonly packet: string };
}

const CIPHERS: readonly CipherName[] = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'];
const CRYPTOS: readonly [string, Crypto][] = [
  ['noble', nobleCrypto()],
  ['node', nodeCrypto],
];

function readVectors(): DataVector[] {
  const { vectors } = JSON.parse(readFileSync(FILE, 'utf8')) as { vectors: DataVector[] };
  return vectors.filter(vector => vector.kind === 'data-aead');
}

function cipherOf(vector: DataVector): CipherName {
  return CIPHERS.find(name => vector.id.includes(name.toLowerCase())) ?? 'AES-256-GCM';
}

function keyOf(vector: DataVector): PlaneKey {
  const { key, implicit_iv } = vector.inputs;
  const direction = { key: unhex(key), nonceTail: unhex(implicit_iv) };
  const keyId = Number.parseInt(vector.outputs.packet.slice(0, 2), 16) & 7;
  const cipher = cipherOf(vector);
  return {
    format: 'aead',
    peerId: 0,
    slot: 'primary',
    keyId,
    cipher,
    encrypt: direction,
    decrypt: direction,
  };
}

function packetIdOf(vector: DataVector): number {
  return Number.parseInt(vector.inputs.nonce.slice(0, 8), 16);
}

/** A point-to-point plane with the vector's key and peer id 0, which all vectors have. */
function planeFor(vector: DataVector, crypto: Crypto): Recorder {
  const recorder = record('p2p', { crypto, limits: { firstPacketId: packetIdOf(vector) } });
  const format = vector.outputs.packet.startsWith('3') ? 'v1' : 'v2';
  ok(recorder.plane.addPeer({ peerId: 0, format, path: path(1194) }, 0));
  ok(recorder.plane.addKey(keyOf(vector), 0));
  return recorder;
}

for (const [name, crypto] of CRYPTOS) {
  describe(`plane: data packets of OpenVPN, ${name} crypto`, () => {
    if (!existsSync(FILE)) {
      it(`needs ${FILE}`);
      return;
    }
    const vectors = readVectors();

    it('finds vectors of both formats and all kinds', () => {
      const packets = vectors.map(vector => vector.outputs.packet);
      assert.ok(packets.some(text => text.startsWith('30')));
      assert.ok(packets.some(text => text.startsWith('48')));
      for (const cipher of ['AES-128-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305']) {
        assert.ok(vectors.some(vector => cipherOf(vector) === cipher));
      }
    });

    for (const vector of vectors) {
      const datagram = unhex(vector.outputs.packet);
      const opcode = datagram[0]! >> 3;

      it(`${vector.id}: seals to equal bytes and opens`, () => {
        // Header length by what is in front of the packet id: the unit test's own header is no opcode.
        const headerLength = opcode === 6 ? 1 : 4;
        const limits = { ...KEY_LIMITS, firstPacketId: packetIdOf(vector) };
        const key = createKey(crypto, keyOf(vector), limits);
        const plaintext = unhex(vector.inputs.plaintext);
        const sealed = sealPacket(key, datagram.subarray(0, headerLength), plaintext, limits);
        assert.equal(hex(sealed!), vector.outputs.packet);
        const opened = new PacketOpener().open(key, key.rx, datagram, headerLength);
        assert.equal(hex(opened!), vector.inputs.plaintext);
      });

      if (opcode !== 6 && opcode !== 9) continue;
      const isIp = vector.inputs.plaintext.startsWith('4');

      it(`${vector.id}: is ${isIp ? 'delivered' : 'taken as a ping'}, and changed is not`, () => {
        const recorder = planeFor(vector, crypto);
        for (let at = 0; at < datagram.length; at++) {
          // In P_DATA_V1 nothing protects the first byte but the lookup of its key id.
          const changed = datagram.slice();
          changed[at]! ^= 1;
          recorder.plane.fromNetwork(path(1194), changed, 0);
        }
        assert.equal(recorder.delivered.length, 0);
        assert.equal(recorder.plane.drops().replay, 0);
        recorder.plane.fromNetwork(path(1194), datagram, 0);
        assert.deepEqual(recorder.delivered.map(hex), isIp ? [vector.inputs.plaintext] : []);
        assert.equal(recorder.plane.drops().protocol, 0);
        recorder.plane.fromNetwork(path(1194), datagram, 0);
        assert.equal(drops(recorder).replay, 1);
      });

      it(`${vector.id}: is what the plane sends`, () => {
        const recorder = planeFor(vector, crypto);
        const payload = unhex(vector.inputs.plaintext);
        if (isIp) recorder.plane.fromTun(payload, 0);
        else ok(recorder.plane.sendInner(0, payload, 0));
        assert.deepEqual(
          recorder.sent.map(sent => hex(sent.datagram)),
          [vector.outputs.packet],
        );
        assert.deepEqual(recorder.sent[0]!.path.remote.ip, ip('192.0.2.1'));
      });
    }
  });
}

describe('plane: noble and node crypto', () => {
  const bytes = (max: number) => fc.uint8Array({ maxLength: max });
  const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

  for (const cipher of CIPHERS) {
    it(`${cipher}: seal alike, open each other's, refuse each other's changed`, () => {
      const [noble, node] = CRYPTOS.map(([, crypto]) => crypto) as [Crypto, Crypto];
      fc.assert(
        fc.property(
          exactly(CIPHER_KEY_LENGTH[cipher]),
          exactly(12),
          bytes(20),
          bytes(300),
          fc.nat(),
          (key, nonce, aad, text, at) => {
            const a = noble.aead(cipher, key);
            const b = node.aead(cipher, key);
            const sealed = a.seal(nonce, aad, text);
            assert.equal(hex(b.seal(nonce, aad, text)), hex(sealed));
            assert.deepEqual(a.open(nonce, aad, sealed), new Uint8Array(text));
            assert.deepEqual(b.open(nonce, aad, sealed), new Uint8Array(text));
            sealed[at % sealed.length]! ^= 0x80;
            assert.equal(a.open(nonce, aad, sealed), undefined);
            assert.equal(b.open(nonce, aad, sealed), undefined);
          },
        ),
        { numRuns: 100 },
      );
    });
  }
});
