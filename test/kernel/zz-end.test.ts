// SPDX-License-Identifier: Apache-2.0
// Last of the folder by its name: the kernel had nothing to complain about, and the guest goes.

import { deepStrictEqual } from 'node:assert';
import { Guest } from './harness/guest.ts';

const COMPLAINT =
  /WARNING:|BUG:|Oops|refcount_t|use-after-free|blocked for more than|unregister_netdevice: waiting/;

describe('after all rows', () => {
  it('the kernel has complained of nothing', async function () {
    this.timeout(30_000);
    const guest = await Guest.running();
    if (guest === undefined) this.skip();
    try {
      const lines = (await guest.run(['dmesg'])).split('\n');
      deepStrictEqual(
        lines.filter(line => COMPLAINT.test(line)),
        [],
      );
      deepStrictEqual(await guest.run(['ip', 'netns', 'list']), '');
    } finally {
      await guest.shutdown();
    }
  });
});
