// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import { parseIp } from '../../../src/core/address.ts';
import { type AppliedState, formatState, parseState } from '../../../src/network/state.ts';

const ip = (text: string) => parseIp(text)!;

const STATE: AppliedState = {
  device: 'ov-home',
  index: 7,
  before: { isUp: false, mtu: 1500, addrGenMode: 0 },
  addresses: [
    { index: 7, local: ip('10.8.0.2'), bits: 24 },
    { index: 7, local: ip('fd42::2'), bits: 128, peer: ip('fd42::1') },
  ],
  outside: [
    { ip: ip('192.0.2.1'), hop: { index: 2, gateway: ip('172.31.1.1'), flags: 4 }, metric: 7274503 },
    { ip: ip('192.0.2.2'), hop: { index: 2, gateway: ip('fe80::1'), flags: 0 }, metric: 7274503 },
    { ip: ip('10.0.0.77'), hop: { index: 2, flags: 0 }, metric: 7274503 },
  ],
};

describe('network state text', () => {
  it('reads back what was written', () => {
    deepStrictEqual(parseState(formatState(STATE)), STATE);
    const bare = { ...STATE, before: { isUp: true, mtu: 1280 }, addresses: [], outside: [] };
    deepStrictEqual(parseState(formatState(bare)), bare);
  });

  it('is refused whole when any part of it is wrong', () => {
    const value = JSON.parse(formatState(STATE));
    const [first] = value.outside;
    for (const bad of [
      { version: 2 },
      { device: 7 },
      { index: -1 },
      { index: 1.5 },
      { before: null },
      { before: { isUp: 'no', mtu: 1500 } },
      { before: { isUp: true, mtu: 1500, addrGenMode: 256 } },
      { addresses: 'x' },
      { addresses: ['10.8.0.2/33'] },
      { addresses: ['10.8.0.2/32 peer fd42::1'] },
      { addresses: ['10.8.0.2/32 peer 10.8.0.1 peer 10.8.0.1'] },
      { addresses: [1] },
      { outside: {} },
      { outside: [null] },
      { outside: [{ ...first, to: '192.0.2.0/24' }] },
      { outside: [{ ...first, via: 7 }] },
      { outside: [{ ...first, metric: 2 ** 32 }] },
      { outside: [{ ...first, index: '2' }] },
    ]) {
      strictEqual(parseState(JSON.stringify({ ...value, ...bad })), undefined, JSON.stringify(bad));
    }
  });
});
