// SPDX-License-Identifier: Apache-2.0
// Rows of a table as mocha tests that run several at a time. Each is still a test of its own, with its own result.
// OVPND_ROW=regex keeps only the rows whose full title matches.

import { missing } from './need.ts';
import type { Stock } from './openvpn.ts';
import type { Runtime } from './ovpnd.ts';
import { inWorld, type World } from './world.ts';

export interface Row {
  readonly title: string;
  readonly body: (world: World) => Promise<void>;
  /** Runtimes of ovpnd it needs, and versions of OpenVPN. */
  readonly runtimes: readonly (Runtime | Stock)[];
  /** Milliseconds, from when its turn to be reported comes. */
  readonly timeoutMs?: number;
}

export interface TableOptions {
  /** Rows under way at once. */
  readonly atOnce: number;
}

const TIMEOUT_MS = 90_000;
const SLOW_MS = 15_000;

export function table(title: string, options: TableOptions, all: readonly Row[]): void {
  const filter = new RegExp(process.env.OVPND_ROW ?? '');
  const rows = all.filter(row => filter.test(`${title} ${row.title}`));
  if (rows.length === 0) return;
  describe(title, () => {
    const results = new Map<Row, Promise<unknown>>();

    before(() => {
      const ready = rows.filter(row => missing(row.runtimes).length === 0);
      const waiting = ready.map(row => {
        let start: () => void = () => undefined;
        const turn = new Promise<void>(resolve => {
          start = resolve;
        });
        // Failures become values: a row may fail long before mocha asks for it.
        const result = turn
          .then(() => inWorld(row.body))
          .catch((error: unknown) => error ?? new Error('failed'));
        results.set(row, result);
        return { start, result };
      });
      const next = async (): Promise<void> => {
        for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
          item.start();
          await item.result;
        }
      };
      for (let i = 0; i < options.atOnce; i++) void next();
    });

    for (const row of rows) {
      it(row.title, async function () {
        this.timeout(row.timeoutMs ?? TIMEOUT_MS);
        this.slow(SLOW_MS);
        const lacking = missing(row.runtimes);
        if (lacking.length > 0) {
          console.log(`      skipped, missing: ${lacking.join(', ')}`);
          this.skip();
        }
        const failure = await results.get(row);
        if (failure !== undefined) throw failure;
      });
    }

    // A row that mocha gave up on must still take down its world.
    after(async function () {
      this.timeout(TIMEOUT_MS);
      await Promise.all(results.values());
    });
  });
}
