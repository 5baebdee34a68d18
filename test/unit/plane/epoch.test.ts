// SPDX-License-Identifier: Apache-2.0
// The epoch data format: packets that stock OpenVPN made or answered, when an end moves on and follows, and what it
// does not take. All but the derivation runs on every plane.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import type { CipherName } from '../../../src/core/crypto.ts';
import type { KeyMaterial } from '../../../src/core/plane.ts';
import { newDirection } from '../../../src/plane/direction.ts';
import { EPOCH_FUTURE_KEYS, expandLabel, sendInEpoch } from '../../../src/plane/epoch.ts';
import { createKey, KEY_LIMITS, sealPacket } from '../../../src/plane/keys.ts';
import {
  drops,
  fromClient,
  hex,
  ip,
  keyPair,
  ok,
  packet,
  pair,
  path,
  type Recorder,
  record,
  takeSent,
  unhex,
} from './helpers.ts';
import { nodeCrypto } from './nodecrypto.ts';

const FILE = 'test/vectors/openvpn-vectors.json';
const HOME = path(5000);
const SERVER = path(1194, '203.0.113.1');
const CHACHA = 'CHACHA20-POLY1305' as const;
const EPOCH = 'aead-epoch' as const;
const COUNTER_LAST = 2 ** 48 - 1;
/** A packet of fromClient has 22 bytes, which count as 2 blocks and a packet: three of them for each epoch. */
const THREE = { gcmUsageSoft: 9 };

const epochOf = (datagram: Uint8Array): number => (datagram[4]! << 8) | datagram[5]!;
const counterOf = (datagram: Uint8Array): number => Number.parseInt(hex(datagram.subarray(6, 12)), 16);
const idsOf = (datagrams: readonly Uint8Array[]) => datagrams.map(one => [epochOf(one), counterOf(one)]);

function toServer(server: Recorder, datagrams: readonly Uint8Array[]): void {
  for (const datagram of datagrams) server.plane.fromNetwork(HOME, datagram, 0);
}

/** The epoch of what the server sends next; the client gets it. */
function answer(server: Recorder, client: Recorder): number {
  server.plane.fromTun(packet('10.8.0.1', '10.8.0.2'), 0);
  const [datagram] = takeSent(server);
  client.plane.fromNetwork(SERVER, datagram!, 0);
  return epochOf(datagram!);
}

/** Datagrams of the client's epochs 1 to `count`, one of each. */
function oneOfEach(client: Recorder, count: number): Uint8Array[] {
  const all = fromClient(client, 3 * count);
  return all.filter(datagram => counterOf(datagram) === 1);
}

interface Vector {
  readonly id: string;
  readonly kind: string;
  readonly inputs: Readonly<Record<string, string>> & { readonly length: number };
  readonly outputs: Readonly<Record<string, string>>;
}

const vectors = existsSync(FILE)
  ? (JSON.parse(readFileSync(FILE, 'utf8')) as { vectors: Vector[] }).vectors
  : [];

describe('plane/epoch: known answers', () => {
  it('labels expand as in OpenVPN', () => {
    const { inputs, outputs } = vectors.find(({ id }) => id === 'ovpn-expand-label')!;
    const out = expandLabel(nodeCrypto, unhex(inputs.secret!), inputs.label!, inputs.length);
    assert.equal(hex(out), outputs.out);
    const other = expandLabel(nodeCrypto, unhex(inputs.secret!), `${inputs.label!}s`, inputs.length);
    assert.notEqual(hex(other), outputs.out);
  });

  it('keys of an epoch and the epoch key after it', () => {
    const { inputs, outputs } = vectors.find(({ id }) => id === 'epoch-derive-data-key')!;
    const label = (name: string, length: number) =>
      hex(expandLabel(nodeCrypto, unhex(inputs.epoch_key!), name, length));
    assert.equal(label('data_key', 24), outputs.data_key);
    assert.equal(label('data_iv', 12), outputs.data_iv);
    assert.equal(label('datakey upd', 32), outputs.next_epoch_key);
  });

  for (const epoch of [1, 4]) {
    it(`a packet of epoch ${epoch} in OpenVPN's own test`, () => {
      const { inputs, outputs } = vectors.find(({ id }) => id === `data-epoch${epoch}-aes-256-gcm-unit`)!;
      const epochKey = { epochKey: unhex(inputs.key2!).slice(0, 32) };
      const material: KeyMaterial = { format: EPOCH, encrypt: epochKey, decrypt: epochKey };
      const common = { peerId: 0, slot: 'primary', keyId: 0, cipher: 'AES-256-GCM' } as const;
      const key = createKey(nodeCrypto, { ...common, ...material }, KEY_LIMITS);
      if (epoch > 1) key.tx = sendInEpoch(key.epochs!, key.tx, epoch);
      const sealed = sealPacket(key, unhex(inputs.header!), unhex(inputs.plaintext!), KEY_LIMITS);
      assert.equal(hex(sealed!), outputs.packet);
      assert.equal(hex(key.tx.iv), inputs.implicit_iv);
      const aead = newDirection(nodeCrypto, 'AES-256-GCM', 1, unhex(inputs.data_key!), key.tx.iv).aead;
      const plain = aead.open(unhex(inputs.nonce!), unhex(inputs.aad!), sealed!.subarray(12));
      assert.equal(hex(plain!), inputs.plaintext);
    });
  }

  for (const vector of vectors.filter(({ id }) => /^data-epoch-/.test(id))) {
    it(`${vector.id}: is what the plane sends and takes, and changed is not`, () => {
      const cipher: CipherName = vector.id.includes('chacha') ? CHACHA : 'AES-256-GCM';
      const epochKey = { epochKey: unhex(vector.inputs.epoch_key_1!) };
      const recorder = record('p2p');
      ok(recorder.plane.addPeer({ peerId: 0, path: HOME }, 0));
      const common = { peerId: 0, slot: 'primary', keyId: 0, cipher } as const;
      ok(recorder.plane.addKey({ ...common, format: EPOCH, encrypt: epochKey, decrypt: epochKey }, 0));
      recorder.plane.fromTun(unhex(vector.inputs.plaintext!), 0);
      assert.deepEqual(takeSent(recorder).map(hex), [vector.outputs.packet]);
      const datagram = unhex(vector.outputs.packet!);
      for (let at = 0; at < datagram.length; at++) {
        const changed = datagram.slice();
        changed[at]! ^= 1;
        recorder.plane.fromNetwork(HOME, changed, 0);
      }
      assert.deepEqual(recorder.delivered, []);
      recorder.plane.fromNetwork(HOME, datagram, 0);
      recorder.plane.fromNetwork(HOME, datagram, 0);
      assert.deepEqual(recorder.delivered.map(hex), [vector.inputs.plaintext]);
      assert.equal(drops(recorder).replay, 1);
    });
  }
});

describe('plane/epoch: sending', () => {
  it('begins with packet 1 of epoch 1; header 12 bytes, tag at the end', () => {
    const { client } = pair({ dataFormat: EPOCH });
    const [first, second] = fromClient(client, 2);
    assert.equal(hex(first!.subarray(0, 12)), '480000010001000000000001');
    assert.equal(hex(second!.subarray(0, 12)), '480000010001000000000002');
    assert.equal(first!.length, 22 + 28);
  });

  it('goes on in the next epoch when a key of AES-GCM is worn, and tells nobody', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE });
    const datagrams = fromClient(client, 8);
    const expected = [1, 1, 1, 2, 2, 2, 3, 3].map((epoch, i) => [epoch, (i % 3) + 1]);
    assert.deepEqual(idsOf(datagrams), expected);
    toServer(server, datagrams);
    assert.equal(server.delivered.length, 8);
    assert.deepEqual([...client.notices, ...server.notices], []);
  });

  it('never for that with ChaCha20-Poly1305, but before its counter ends', () => {
    const { client, server } = pair({
      cipher: CHACHA,
      dataFormat: EPOCH,
      limits: { ...THREE, firstPacketId: COUNTER_LAST - 4 },
    });
    const datagrams = fromClient(client, 7);
    const before = [4, 3, 2, 1, 0].map(left => [1, COUNTER_LAST - left]);
    assert.deepEqual(idsOf(datagrams), [...before, [2, 1], [2, 2]]);
    toServer(server, datagrams);
    assert.equal(server.delivered.length, 7);
  });

  it('asks for a new key from a late epoch on, once; in the last one the counter may end', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: { ...THREE, epochSoft: 3, epochLast: 4 } });
    assert.deepEqual(idsOf(fromClient(client, 6)).at(-1), [2, 3]);
    assert.deepEqual(client.notices, []);
    const late = fromClient(client, 9);
    assert.deepEqual(idsOf(late).at(-1), [4, 6]);
    assert.deepEqual(client.notices, [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }]);
    toServer(server, late);
    assert.equal(server.delivered.length, 9);
  });

  it('ends with the last counter of the last epoch: the key goes, told once', () => {
    const limits = { firstPacketId: COUNTER_LAST, epochLast: 1 };
    const { client } = pair({ cipher: CHACHA, dataFormat: EPOCH, keyId: 3, limits });
    assert.deepEqual(idsOf(fromClient(client, 3)), [[1, COUNTER_LAST]]);
    assert.deepEqual(client.notices, [{ kind: 'keyExhausted', peerId: 1, keyId: 3 }]);
    assert.deepEqual(drops(client), { 'no-peer-key': 2 });
  });

  it('has limits of stock OpenVPN', () => {
    assert.equal(KEY_LIMITS.epochSoft, 0xf000);
    assert.equal(KEY_LIMITS.epochLast, 65530);
    assert.equal(EPOCH_FUTURE_KEYS, 4);
  });

  it('leaves room for four bytes more: a SYN asks for 1396', () => {
    const { client, server } = pair({ dataFormat: EPOCH, mssfix: 1492 });
    const tcp = [0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, 2, 1, 245, 0, 0, 0, 0, 2, 4, 0x05, 0xb4];
    const syn = packet('10.8.0.2', '10.8.0.1', tcp);
    syn[9] = 6;
    client.plane.fromTun(syn, 0);
    toServer(server, takeSent(client));
    assert.equal(hex(server.delivered[0]!.subarray(42, 44)), (1396).toString(16).padStart(4, '0'));
  });
});

describe('plane/epoch: receiving', () => {
  it('follows the sender, and sends in its epoch itself', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE, serverLimits: {} });
    assert.equal(answer(server, client), 1);
    toServer(server, fromClient(client, 4));
    assert.equal(answer(server, client), 2);
    toServer(server, fromClient(client, 4));
    assert.equal(answer(server, client), 3);
    assert.equal(client.delivered.length, 3);
  });

  it('stays in its own later epoch', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE, serverLimits: {} });
    const [first] = fromClient(client, 1);
    fromClient(client, 6);
    assert.equal(answer(server, client), 1);
    assert.deepEqual(idsOf(fromClient(client, 1)), [[3, 2]]);
    toServer(server, [first!]);
    assert.equal(server.delivered.length, 1);
  });

  it('takes what is late from the epoch before, each once, and nothing older', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE });
    const datagrams = fromClient(client, 9);
    const [first, second, , fourth, fifth, sixth, seventh] = datagrams;
    toServer(server, [first!, fourth!, second!, second!, first!, fourth!]);
    assert.equal(server.delivered.length, 3);
    assert.deepEqual(drops(server), { replay: 3 });
    toServer(server, [seventh!, sixth!, fifth!, datagrams[2]!]);
    assert.equal(server.delivered.length, 6);
    assert.deepEqual(drops(server), { replay: 3, epoch: 1 });
  });

  it('the window is as wide in the epoch before', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: { gcmUsageSoft: 3 * 2100 } });
    const all = fromClient(client, 2101);
    toServer(server, [all[2099]!, all[2100]!, all[51]!, all[52]!]);
    assert.equal(server.delivered.length, 3);
    assert.deepEqual(drops(server), { replay: 1 });
  });

  it('skips epochs that were lost, as far as there are keys', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE });
    const each = oneOfEach(client, 12);
    toServer(server, [each[5]!]);
    assert.deepEqual(drops(server), { epoch: 1 }, 'five ahead');
    toServer(server, [each[4]!]);
    assert.equal(server.delivered.length, 1, 'four ahead');
    toServer(server, [each[0]!, each[1]!, each[3]!, each[9]!]);
    assert.equal(server.delivered.length, 2, 'the first is the one before; those between are gone');
    assert.deepEqual(drops(server), { epoch: 4 });
    toServer(server, [each[8]!, each[4]!, each[11]!]);
    assert.equal(server.delivered.length, 4);
    assert.equal(drops(server).replay, 1);
  });

  it('does not follow what nobody sealed, nor what came before', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE });
    const each = oneOfEach(client, 3);
    const forged = each[2]!.slice();
    forged[20]! ^= 1;
    toServer(server, [forged, each[0]!]);
    const renamed = each[0]!.slice();
    renamed[5] = 2;
    toServer(server, [renamed]);
    assert.deepEqual(drops(server), { auth: 2 });
    assert.equal(server.delivered.length, 1);
    assert.equal(answer(server, client), 1);
  });

  it('refuses epoch 0, counter 0, and epochs after the last', () => {
    const none = pair({ dataFormat: EPOCH, limits: { firstPacketId: 0 } });
    const [zero, one] = fromClient(none.client, 2);
    const early = one!.slice();
    early[5] = 0;
    toServer(none.server, [zero!, early, one!]);
    assert.deepEqual(drops(none.server), { replay: 1, epoch: 1 });
    assert.equal(none.server.delivered.length, 1);
    const late = pair({ dataFormat: EPOCH, limits: THREE, serverLimits: { epochLast: 2 } });
    const each = oneOfEach(late.client, 3);
    toServer(late.server, [each[1]!, each[2]!]);
    assert.deepEqual(drops(late.server), { epoch: 1 });
  });

  it('drops what is too short for its longer id, and a P_DATA_V1', () => {
    const { client, server } = pair({ dataFormat: EPOCH });
    const [datagram] = fromClient(client, 1);
    const v1 = Uint8Array.of(0x30, ...datagram!.subarray(4));
    toServer(server, [datagram!.subarray(0, 23), datagram!.subarray(0, 24), datagram!.subarray(0, 27)]);
    assert.deepEqual(drops(server), { short: 3 });
    toServer(server, [datagram!.subarray(0, 28), v1]);
    assert.deepEqual(drops(server), { short: 3, auth: 1, opcode: 1 });
    toServer(server, [datagram!]);
    assert.equal(server.delivered.length, 1);
  });

  it('has nothing in common with the other format', () => {
    const epoch = pair({ dataFormat: EPOCH });
    const classic = pair();
    toServer(epoch.server, fromClient(classic.client, 1));
    toServer(classic.server, fromClient(epoch.client, 1));
    assert.deepEqual(drops(epoch.server), { epoch: 1 });
    assert.deepEqual(drops(classic.server), { auth: 1 });
  });

  it('a renegotiated key begins at epoch 1, beside the old one', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: THREE });
    const old = fromClient(client, 7);
    toServer(server, old.slice(0, 6));
    const next = keyPair(1, { keyId: 1, slot: 'secondary', dataFormat: EPOCH });
    for (const [end, key] of [
      [server, next.server],
      [client, next.client],
    ] as const) {
      ok(end.plane.addKey(key, 0));
      ok(end.plane.swapKeys(1, 0));
    }
    const young = fromClient(client, 4);
    assert.deepEqual(idsOf(young)[0], [1, 1]);
    toServer(server, [...young, old[6]!]);
    assert.equal(server.delivered.length, 11);
  });

  it('P_DATA_V1 has no epochs', () => {
    const { server } = pair({ format: 'v1' });
    const refused = server.plane.addKey(keyPair(1, { dataFormat: EPOCH }).server, 0);
    assert.deepEqual(refused, { code: 'EOPNOTSUPP', text: 'P_DATA_V1 has no epoch format' });
    assert.equal(server.plane.addKey(keyPair(2, { dataFormat: EPOCH }).server, 0)?.code, 'ENOENT');
  });
});

describe('plane: keys that receive badly', () => {
  /** Packets with a wrong tag, of whatever the client sends now. */
  function harm(client: Recorder, server: Recorder, count: number): Uint8Array {
    const [datagram] = fromClient(client, 1);
    for (let i = 0; i < count; i++) {
      const changed = datagram!.slice();
      changed[30]! ^= i + 1;
      toServer(server, [changed]);
    }
    return datagram!;
  }

  it('epoch: a worn receiving key makes us move on, so that the other end follows; once for each epoch', () => {
    const { client, server } = pair({ dataFormat: EPOCH, limits: {}, serverLimits: THREE });
    toServer(server, fromClient(client, 2));
    assert.equal(answer(server, client), 1);
    toServer(server, fromClient(client, 1));
    assert.deepEqual([answer(server, client), answer(server, client)], [2, 2]);
    assert.deepEqual(idsOf(fromClient(client, 1)), [[2, 1]]);
  });

  it('epoch: so do wrong tags', () => {
    const serverLimits = { failuresSoft: 3 };
    const { client, server } = pair({ dataFormat: EPOCH, cipher: CHACHA, limits: {}, serverLimits });
    harm(client, server, 3);
    assert.equal(answer(server, client), 1);
    harm(client, server, 1);
    assert.equal(answer(server, client), 2);
  });

  for (const dataFormat of ['aead', EPOCH] as const) {
    it(`${dataFormat}: nothing is opened after more wrong tags than the most`, () => {
      const { client, server } = pair({ dataFormat, limits: { failuresSoft: 3, failuresMax: 5 } });
      const good = harm(client, server, 5);
      toServer(server, [good]);
      assert.equal(server.delivered.length, 1);
      const other = harm(client, server, 1);
      toServer(server, [other]);
      assert.equal(server.delivered.length, 1);
      assert.deepEqual(drops(server), { auth: 7 });
      const expected = [{ kind: 'keyExpiring', peerId: 1, keyId: 0 }];
      assert.deepEqual(server.notices, dataFormat === 'aead' ? expected : []);
    });
  }

  it('the most are what stock OpenVPN has', () => {
    assert.deepEqual([KEY_LIMITS.failuresSoft, KEY_LIMITS.failuresMax], [2 ** 35, 2 ** 36]);
  });
});

describe('plane: both formats for different peers', () => {
  it('of one plane', () => {
    const { server } = pair();
    const client = record('p2p');
    ok(server.plane.addPeer({ peerId: 2, path: path(5002), vpnIp4: ip('10.8.0.3') }, 0));
    ok(client.plane.addPeer({ peerId: 2, path: path(1194) }, 0));
    const keys = keyPair(2, { dataFormat: EPOCH });
    ok(server.plane.addKey(keys.server, 0));
    ok(client.plane.addKey(keys.client, 0));
    for (const [to, length] of [
      ['10.8.0.2', 44],
      ['10.8.0.3', 48],
    ] as const) {
      server.plane.fromTun(packet('10.8.0.1', to), 0);
      assert.deepEqual(
        takeSent(server).map(datagram => datagram.length),
        [length],
      );
    }
  });
});
