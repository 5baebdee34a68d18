// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, throws } from 'node:assert/strict';
import fc from 'fast-check';
import * as peerinfo from '../../../src/core/peerinfo.ts';
import {
  buildPeerInfo,
  isCipherName,
  parsePeerInfo,
  peerCiphers,
  peerProto,
  selectCipher,
} from '../../../src/core/peerinfo.ts';
import { vector } from './vectors.ts';

function infoOf(id: string): Map<string, string> {
  return parsePeerInfo(vector(id).outputs.peer_info.text);
}

const OURS = ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'] as const;

describe('core/peerinfo', () => {
  it('reads what real clients send', () => {
    const c25 = infoOf('km2-real-c25');
    equal(c25.get('IV_VER'), '2.5.1');
    equal(c25.get('IV_TCPNL'), '1');
    equal(c25.size, 11);
    equal(peerProto(c25), 6);
    deepEqual(peerCiphers(c25), ['AES-256-GCM', 'AES-128-GCM']);
    equal(peerProto(infoOf('km2-real-c26')), 990);
    equal(peerProto(infoOf('km2-real-c27')), 8094);
    equal(infoOf('km2-real-c27').has('UV_FOO'), true);
    deepEqual(peerCiphers(infoOf('km2-real-c27')), [...OURS]);
  });

  it('the bits add up to what real clients announce', () => {
    const bits = (list: number[]) => list.reduce((sum, bit) => sum | (1 << bit), 0);
    const p = peerinfo;
    const common =
      p.IV_PROTO_DATA_V2 |
      p.IV_PROTO_REQUEST_PUSH |
      p.IV_PROTO_TLS_EKM |
      p.IV_PROTO_AUTH_PENDING |
      p.IV_PROTO_CC_EXIT |
      p.IV_PROTO_AUTH_FAIL_TEMP |
      p.IV_PROTO_DYN_TLS_CRYPT;
    equal(common | p.IV_PROTO_DNS_26, 990);
    equal(common | p.IV_PROTO_EPOCH | p.IV_PROTO_DNS | p.IV_PROTO_PUSH_UPDATE, 8094);
    equal(common | p.IV_PROTO_DNS, 2974);
    equal(p.IV_PROTO_P2P_NCP, bits([5]));
  });

  it('reads back what it wrote', () => {
    const key = fc.stringMatching(/^[A-Za-z0-9_]{1,64}$/);
    const value = fc.stringMatching(/^[ -~é€]{0,60}$/);
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(key, value), { selector: one => one[0], maxLength: 64 }), list => {
        deepEqual([...parsePeerInfo(buildPeerInfo(list))], list);
      }),
    );
  });

  it('skips lines that are none, keeps the others', () => {
    const text = 'IV_VER=1\nnothing\n=x\nbad key=1\nIV-X=1\nA=\x1b[2J\nB=\u0085\nIV_VER=2\nC=a=b\n\nD=\nE=5';
    deepEqual(
      [...parsePeerInfo(text)],
      [
        ['IV_VER', '1'],
        ['C', 'a=b'],
        ['D', ''],
        ['E', '5'],
      ],
    );
    equal(parsePeerInfo('').size, 0);
  });

  it('keys that name properties of objects are just keys', () => {
    const info = parsePeerInfo('__proto__=1\nconstructor=2\ntoString=3\n');
    equal(info.get('__proto__'), '1');
    equal(info.get('constructor'), '2');
    equal(info.get('hasOwnProperty'), undefined);
    equal(peerProto(info), 0);
  });

  it('is bounded in entries, keys and values', () => {
    const lines = Array.from({ length: 100 }, (_, i) => `K${i}=1`);
    equal(parsePeerInfo(lines.join('\n')).size, 64);
    const size = (key: number, value: number) =>
      parsePeerInfo(`${'K'.repeat(key)}=${'v'.repeat(value)}`).size;
    equal(size(64, 512), 1);
    equal(size(65, 1), 0);
    equal(size(1, 513), 0);
  });

  it('does not write what nobody could read', () => {
    throws(() => buildPeerInfo([['A B', '1']]), RangeError);
    throws(() => buildPeerInfo([['A', '1\n2']]), RangeError);
  });

  it('IV_PROTO is a decimal number or nothing', () => {
    for (const bad of ['-6', '0x6', '6.0', '', ' 6', '99999999999', 'NaN', '6e3']) {
      equal(peerProto(new Map([['IV_PROTO', bad]])), 0, bad);
    }
  });

  it('finds the ciphers of a client: list, else IV_NCP, else options string', () => {
    const of = (text: string, occ?: string) => peerCiphers(parsePeerInfo(text), occ);
    deepEqual(of('IV_CIPHERS=aes-128-gcm::X:AES-256-GCM\nIV_NCP=2', 'BF-CBC'), [
      'AES-128-GCM',
      'X',
      'AES-256-GCM',
    ]);
    deepEqual(of('IV_NCP=2', 'BF-CBC'), ['AES-256-GCM', 'AES-128-GCM']);
    deepEqual(of('IV_NCP=1', 'aes-256-gcm'), ['AES-256-GCM']);
    deepEqual(of('', undefined), []);
    deepEqual(of('IV_CIPHERS=', 'AES-256-GCM'), []);
    equal(of(`IV_CIPHERS=${'A:'.repeat(200)}`).length, 32);
    deepEqual(of(`IV_CIPHERS=${'A'.repeat(33)}:${'B'.repeat(32)}`), ['B'.repeat(32)]);
  });

  it('selects by our preference, among what is offered', () => {
    equal(selectCipher(OURS, ['CHACHA20-POLY1305', 'AES-128-GCM']), 'AES-128-GCM');
    equal(selectCipher(['CHACHA20-POLY1305', 'AES-128-GCM'], [...OURS]), 'CHACHA20-POLY1305');
    equal(selectCipher(OURS, ['BF-CBC', 'AES-256-CBC']), undefined);
    equal(selectCipher(OURS, []), undefined);
    equal(selectCipher([], [...OURS]), undefined);
  });

  it('knows the names of our ciphers and no others', () => {
    for (const name of [...OURS, 'AES-192-GCM']) equal(isCipherName(name), true);
    for (const name of ['', 'aes-256-gcm', 'AES-256-CBC', 'toString', '__proto__', 'none']) {
      equal(isCipherName(name), false);
    }
  });
});
