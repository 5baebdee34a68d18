// SPDX-License-Identifier: Apache-2.0
import { strictEqual } from 'node:assert';
import { mayConfigureNetwork } from '../../../src/daemon/privilege.ts';

describe('privilege', () => {
  it('is read from the effective capabilities', () => {
    const status = (digits: string): string =>
      `Name:\tovpnd\nCapPrm:\t0000000000000000\nCapEff:\t${digits}\n`;
    strictEqual(mayConfigureNetwork(status('000001ffffffffff')), true);
    strictEqual(mayConfigureNetwork(status('0000000000001000')), true);
    strictEqual(mayConfigureNetwork(status('0000000000001400')), true);
    strictEqual(mayConfigureNetwork(status('0000000000000000')), false);
    strictEqual(mayConfigureNetwork(status('000001ffffffefff')), false);
    strictEqual(mayConfigureNetwork(status('1000')), undefined);
    strictEqual(mayConfigureNetwork(''), undefined);
  });
});
