// SPDX-License-Identifier: Apache-2.0
// The results of a run as tables: a row for what was asked for, a column for each pair of ends it was asked of.

/** `openvpn 2.7 server, ovpnd client: AES-128-GCM, ...`; in the title of a suite nothing follows. */
const ENDS = /^(?:(.*), )?(.+) server, (.+?) client(?:[:,] (.+))?$/;

/** Which table, row and column a test is a cell of. */
function placeOf(suite, title) {
  const ofSuite = ENDS.exec(suite);
  const ofTest = ENDS.exec(title);
  const [, , server, client] = ofTest ?? [];
  return {
    table: ofSuite?.[1] ?? suite,
    row: ofTest === null ? title : [ofTest[1], ofTest[4] ?? 'works'].filter(Boolean).join(', '),
    column: ofTest === null ? 'result' : `${server} > ${client}`,
  };
}

/** Every test is a cell; `results` holds {suite, title, failure, isSkipped}, failure being a message or undefined. */
export function tables(results) {
  const all = new Map();
  const reasons = [];
  for (const { suite, title, failure, isSkipped } of results) {
    const { table, row, column } = placeOf(suite, title);
    if (!all.has(table)) all.set(table, { columns: new Set(), rows: new Map() });
    const { columns, rows } = all.get(table);
    columns.add(column);
    if (!rows.has(row)) rows.set(row, new Map());
    if (failure !== undefined) reasons.push(`${suite}: ${title}: ${failure.split('\n')[0]}`);
    rows
      .get(row)
      .set(column, isSkipped ? 'skipped' : failure === undefined ? 'ok' : `FAIL ${reasons.length}`);
  }
  const lines = [...all].flatMap(([title, { columns, rows }]) => {
    const heads = [...columns];
    const width = Math.max(title.length, ...[...rows.keys()].map(row => row.length));
    const line = (first, cells) =>
      [first.padEnd(width), ...cells.map((cell, i) => cell.padEnd(heads[i].length))].join(' | ').trimEnd();
    const body = [...rows].map(([row, cells]) =>
      line(
        row,
        heads.map(head => cells.get(head) ?? ''),
      ),
    );
    return [
      '',
      line(title, heads),
      [width, ...heads.map(head => head.length)].map(n => '-'.repeat(n)).join('-+-'),
      ...body,
    ];
  });
  return [...lines, '', ...reasons.map((reason, i) => `FAIL ${i + 1}: ${reason}`)].join('\n');
}
