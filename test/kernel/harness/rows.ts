// SPDX-License-Identifier: Apache-2.0
// Rows of a table as mocha tests in the run's one guest, one after the other. OVPND_ROW=regex keeps only the rows
// whose full title matches.

import { missing } from './need.ts';
import { Scene } from './scene.ts';

export interface Row {
  readonly title: string;
  readonly body: (scene: Scene) => Promise<void>;
  readonly timeoutMs?: number;
  /** Why it cannot run; undefined: it can. */
  readonly lacks?: () => Promise<string | undefined>;
}

const TIMEOUT_MS = 90_000;
const SLOW_MS = 15_000;

export function table(title: string, all: readonly Row[]): void {
  const filter = new RegExp(process.env.OVPND_ROW ?? '');
  const rows = all.filter(row => filter.test(`${title} ${row.title}`));
  if (rows.length === 0) return;
  describe(title, () => {
    for (const row of rows) {
      it(row.title, async function () {
        this.timeout(row.timeoutMs ?? TIMEOUT_MS);
        this.slow(SLOW_MS);
        const lacking = missing() ?? (await row.lacks?.());
        if (lacking !== undefined) {
          console.log(`      skipped, missing: ${lacking}`);
          this.skip();
        }
        await Scene.run(row.body);
      });
    }
  });
}
