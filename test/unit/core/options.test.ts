// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../src/core/bytes.ts';
import {
  buildOptions,
  isOccExit,
  isPing,
  OCC_EXIT_PAYLOAD,
  type OptionsInput,
  PING_PAYLOAD,
  readOptions,
} from '../../../src/core/options.ts';
import { flipBit, vector, vectorsOf } from './vectors.ts';

const CLIENT: OptionsInput = {
  role: 'client',
  transport: 'udp',
  tunMtu: 1500,
  tlsAuth: false,
  digest: 'SHA1',
};

describe('core/options', () => {
  it('writes the strings real peers send', () => {
    for (const { id, outputs } of vectorsOf('key-method-2')) {
      equal(
        buildOptions({ ...CLIENT, role: id === 'km2-real-server' ? 'server' : 'client' }),
        outputs.options.text,
      );
    }
    const tail = 'auth SHA1,keysize 128,key-method 2,tls-';
    const tcp = { ...CLIENT, transport: 'tcp' } as const;
    equal(buildOptions(tcp), `V4,dev-type tun,link-mtu 1543,tun-mtu 1500,proto TCPv4_CLIENT,${tail}client`);
    equal(
      buildOptions({ ...tcp, role: 'server' }),
      `V4,dev-type tun,link-mtu 1543,tun-mtu 1500,proto TCPv4_SERVER,${tail}server`,
    );
    equal(
      buildOptions({ ...CLIENT, tlsAuth: true, keyDirection: 1 }),
      'V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,keydir 1,auth SHA1,keysize 128,tls-auth,key-method 2,tls-client',
    );
    ok(!buildOptions({ ...CLIENT, tlsAuth: true }).includes('keydir'));
    ok(!buildOptions({ ...CLIENT, keyDirection: 0 }).includes('keydir'));
  });

  it('the recorded tls-auth session announced the same', () => {
    const { outputs } = vector('transcript-C');
    const text = (hex: string) => new TextDecoder('latin1').decode(fromHex(hex));
    ok(
      text(outputs.km2_server).includes(
        buildOptions({ ...CLIENT, role: 'server', tlsAuth: true, keyDirection: 0 }),
      ),
    );
  });

  it('known answer occ-link-mtu', () => {
    const { outputs } = vector('occ-link-mtu');
    const announced = (change: Partial<OptionsInput>) =>
      Number(/link-mtu ([0-9]+)/.exec(buildOptions({ ...CLIENT, ...change }))![1]);
    equal(announced({}), outputs['tun-mtu 1500, default (BF-CBC placeholder + SHA1), UDP']);
    equal(announced({ transport: 'tcp' }), outputs['tun-mtu 1500, default, TCP']);
    // The other rows have ciphers we never announce; they share the part for digest and packet id.
    equal(announced({ tunMtu: 1400 }) + 16, outputs['tun-mtu 1400, AES-128-CBC + SHA1, UDP']);
    equal(announced({ tunMtu: 1400 }) - 16 - 20, outputs['tun-mtu 1400, cipher none auth none, UDP']);
    equal(announced({ digest: 'SHA256' }), 1553);
    equal(announced({ digest: 'SHA512' }), 1585);
  });

  it('reads cipher, compression and device type of a peer, nothing else', () => {
    deepEqual(readOptions(buildOptions(CLIENT)), { compLzo: false, devTypeTap: false });
    deepEqual(readOptions('V4,dev-type tap,comp-lzo,cipher AES-256-GCM,auth SHA1'), {
      cipher: 'AES-256-GCM',
      compLzo: true,
      devTypeTap: true,
    });
    const none = { compLzo: false, devTypeTap: false };
    for (const text of [
      '',
      ',',
      'cipher',
      'cipher ',
      'cipher a b',
      `cipher ${'x'.repeat(33)}`,
      'cipher \x07',
      'xcomp-lzo',
    ]) {
      deepEqual(readOptions(text), none);
    }
    fc.assert(fc.property(fc.string(), text => ok(readOptions(text))));
  });

  it('ping and exit notice are the payloads OpenVPN uses', () => {
    equal(toHex(PING_PAYLOAD), vector('data-ping').inputs.plaintext);
    equal(toHex(OCC_EXIT_PAYLOAD), '287f346bd4ef7a812d56b8d3afc5459c06');
    ok(isPing(PING_PAYLOAD.slice()));
    ok(isOccExit(new Uint8Array([...OCC_EXIT_PAYLOAD, 1])));
    ok(!isPing(OCC_EXIT_PAYLOAD) && !isOccExit(PING_PAYLOAD));
    for (let bit = 0; bit < 128; bit++) ok(!isPing(flipBit(PING_PAYLOAD, bit)));
    for (let bit = 0; bit < 136; bit++) ok(!isOccExit(flipBit(OCC_EXIT_PAYLOAD, bit)));
    for (let length = 0; length < 17; length++) ok(!isOccExit(OCC_EXIT_PAYLOAD.slice(0, length)));
    ok(!isPing(new Uint8Array([...PING_PAYLOAD, 0])));
  });
});
