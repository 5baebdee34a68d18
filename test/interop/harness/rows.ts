// SPDX-License-Identifier: Apache-2.0
// Rows of a table as mocha tests, each with its own result. Those of all files of a process are under way together, so
// many at once, in the order in which they are reported. OVPND_ROW=regex keeps only the rows whose full title matches.

import { missing } from './need.ts';
import type { Stock } from './openvpn.ts';
import type { Runtime } from './ovpnd.ts';
import { runState } from './state.ts';
import { inWorld, type World } from './world.ts';

export interface Row {
  readonly title: string;
  readonly body: (world: World) => Promise<void>;
  /** Runtimes of ovpnd it needs, and versions of OpenVPN. */
  readonly runtimes: readonly (Runtime | Stock)[];
  /** Most of its time is waiting: it begins with the first ones and takes no place of another. */
  readonly isWaiting?: boolean;
}

export interface TableOptions {
  /** Most rows of this table under way at once. */
  readonly atOnce: number;
}

/** From when a row's turn to be reported comes. Above what a row's own waits add up to, for those say what did not come. */
const TIMEOUT_MS = 600_000;
const SLOW_MS = 15_000;
/** Rows under way at once, of all tables: what keeps two processors busy while daemons start and wait for each other. */
const AT_ONCE = Number(process.env.OVPND_AT_ONCE ?? 6);

/** A row whose turn to begin has not come. */
export interface Waiting {
  readonly row: Row;
  readonly table: { readonly atOnce: number; running: number };
  /** Begins it; the promise never fails. */
  readonly begin: () => Promise<unknown>;
}

/** Begins what may begin: rows that mostly wait, and others as long as there is a place. */
function fill(): void {
  const { rows } = runState();
  for (let i = 0; i < rows.waiting.length; i++) {
    const { row, table, begin } = rows.waiting[i]!;
    const places = row.isWaiting ? 0 : 1;
    if (table.running >= table.atOnce || rows.running + places > AT_ONCE) continue;
    rows.waiting.splice(i--, 1);
    table.running++;
    rows.running += places;
    void begin().then(() => {
      table.running--;
      rows.running -= places;
      fill();
    });
  }
}

/** Puts the row into the queue; resolves with its failure, as a value: it may fail long before mocha asks for it. */
function queue(row: Row, table: Waiting['table']): Promise<unknown> {
  return new Promise(resolve => {
    const begin = async (): Promise<void> => {
      const failure = await inWorld(row.body).then(
        () => undefined,
        (error: unknown) => error ?? new Error('failed'),
      );
      resolve(failure);
    };
    runState().rows.waiting.push({ row, table, begin });
  });
}

export function table(title: string, options: TableOptions, all: readonly Row[]): void {
  const filter = new RegExp(process.env.OVPND_ROW ?? '');
  const rows = all.filter(row => filter.test(`${title} ${row.title}`));
  if (rows.length === 0) return;
  const shared = { atOnce: options.atOnce, running: 0 };
  const results = new Map<Row, Promise<unknown>>();
  for (const row of rows) if (missing(row.runtimes).length === 0) results.set(row, queue(row, shared));

  describe(title, () => {
    // By now all files have been read, and all their rows are in the queue.
    before(fill);

    for (const row of rows) {
      it(row.title, async function () {
        this.timeout(TIMEOUT_MS);
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
