// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import { createDropReport } from '../../../src/daemon/dropreport.ts';

const FROM = { ip: new Uint8Array([192, 0, 2, 7]), port: 4000 };

describe('drop report', () => {
  it('says the first drop at once, with its meaning and its sender', () => {
    const said: string[] = [];
    createDropReport('control', text => said.push(text)).look({ hmac: 1 }, 0, FROM);
    strictEqual(said.length, 1);
    strictEqual(said[0]?.startsWith('dropped control packets: 1 hmac ('), true);
    strictEqual(said[0]?.endsWith('last from 192.0.2.7:4000'), true);
  });

  it('keeps quiet about what is ordinary, and about nothing new', () => {
    const said: string[] = [];
    const report = createDropReport('control', text => said.push(text));
    report.look({ duplicate: 5, 'no-instance': 3, group: 2, queue: 1 }, 0, FROM);
    report.look({ duplicate: 5, 'no-instance': 3, group: 2, queue: 1 }, 99_999, FROM);
    deepStrictEqual(said, []);
    strictEqual(report.dueAt, undefined);
  });

  it('sums up a flood in one line for each period', () => {
    const said: string[] = [];
    const report = createDropReport('data', text => said.push(text));
    for (let i = 1; i <= 1000; i++) report.look({ auth: i }, i, FROM);
    strictEqual(said.length, 1);
    strictEqual(report.dueAt, 10_001);
    report.tick(10_000);
    strictEqual(said.length, 1);
    report.tick(10_001);
    strictEqual(said.length, 2);
    strictEqual(said[1]?.includes('999 auth'), true);
    strictEqual(report.dueAt, undefined);
  });
});
