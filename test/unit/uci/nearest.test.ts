// SPDX-License-Identifier: Apache-2.0
// What a mistyped word was meant to be.

import { equal } from 'node:assert/strict';
import { nearest } from '../../../src/uci/nearest.ts';

const KNOWN = ['port', 'proto', 'push_dns', 'push_route', 'keepalive'];

describe('nearest', () => {
  it('finishes a word of which there is one', () => {
    equal(nearest('prot', KNOWN), 'proto');
    equal(nearest('keep', KNOWN), 'keepalive');
  });

  it('finds letters that are wrong, missing or swapped', () => {
    equal(nearest('prt', KNOWN), 'port');
    equal(nearest('push_rouet', KNOWN), 'push_route');
    equal(nearest('keepalife', KNOWN), 'keepalive');
  });

  it('guesses nothing where several fit or none does', () => {
    equal(nearest('push_', KNOWN), undefined);
    equal(nearest('p', KNOWN), undefined);
    equal(nearest('certificate', KNOWN), undefined);
    equal(nearest('', KNOWN), undefined);
    equal(nearest('x'.repeat(41), ['x'.repeat(41)]), undefined);
  });
});
