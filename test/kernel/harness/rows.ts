// SPDX-License-Identifier: Apache-2.0
// Rows of a table as mocha tests in the run's one guest, several under way at a time: most of their time is waiting.
// OVPND_ROW=regex keeps only the rows whose full title matches.

import { missing } from './need.ts';
import { Scene } from './scene.ts';

export interface Row {
  readonly title: string;
  readonly body: (scene: Scene) => Promise<void>;
}

/** From when a row's turn to be reported comes. Above what a row's own waits add up to, for those say what did not come. */
const TIMEOUT_MS = 900_000;
const SLOW_MS = 20_000;

interface Waiting {
  readonly start: () => void;
  /** Its failure as a value: a row may fail long before mocha asks for it. */
  readonly result: Promise<unknown>;
}

function prepare(row: Row): Waiting {
  let start: () => void = () => undefined;
  const turn = new Promise<void>(resolve => {
    start = resolve;
  });
  const result = turn.then(() => Scene.run(row.body)).catch((error: unknown) => error ?? new Error('failed'));
  return { start, result };
}

/** `atOnce` is 1 where rows change what all namespaces share, such as the kernel's modules. */
export function table(title: string, atOnce: number, all: readonly Row[]): void {
  const filter = new RegExp(process.env.OVPND_ROW ?? '');
  const rows = all.filter(row => filter.test(`${title} ${row.title}`));
  if (rows.length === 0) return;
  describe(title, () => {
    const results = new Map<Row, Promise<unknown>>();

    before(() => {
      if (missing() !== undefined) return;
      const waiting = rows.map(row => {
        const prepared = prepare(row);
        results.set(row, prepared.result);
        return prepared;
      });
      const next = async (): Promise<void> => {
        for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
          item.start();
          await item.result;
        }
      };
      for (let i = 0; i < atOnce; i++) void next();
    });

    for (const row of rows) {
      it(row.title, async function () {
        this.timeout(TIMEOUT_MS);
        this.slow(SLOW_MS);
        const lacking = missing();
        if (lacking !== undefined) {
          console.log(`      skipped, missing: ${lacking}`);
          this.skip();
        }
        const failure = await results.get(row);
        if (failure !== undefined) throw failure;
      });
    }

    // A row that mocha gave up on must still take down its scene.
    after(async function () {
      this.timeout(TIMEOUT_MS);
      await Promise.all(results.values());
    });
  });
}
