// SPDX-License-Identifier: Apache-2.0
// Last of the folder by its name: after all rows nothing of theirs is left on the machine.

import { deepStrictEqual } from 'node:assert';
import { leftovers } from './harness/state.ts';

describe('after all rows', () => {
  it('no namespace, process or folder is left', () => {
    deepStrictEqual(leftovers(), []);
  });
});
