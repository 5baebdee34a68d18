// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { type Agenda, appoint, firstTurn, type Member, whoseTurn } from '../../../src/core/agenda.ts';

const members = (count: number): Member[] =>
  Array.from({ length: count }, () => ({ nextAt: undefined, place: 0 }));

describe('agenda', () => {
  it('is empty at first, and again when all have left', () => {
    const agenda: Agenda<Member> = [];
    const [one] = members(1) as [Member];
    strictEqual(firstTurn(agenda), undefined);
    deepStrictEqual(whoseTurn(agenda, Number.POSITIVE_INFINITY), []);
    appoint(agenda, one, undefined);
    appoint(agenda, one, 5);
    strictEqual(firstTurn(agenda), 5);
    appoint(agenda, one, undefined);
    strictEqual(firstTurn(agenda), undefined);
    strictEqual(agenda.length, 0);
  });

  it('has a turn at its very moment, and not before', () => {
    const agenda: Agenda<Member> = [];
    const [one] = members(1) as [Member];
    appoint(agenda, one, 7);
    deepStrictEqual(whoseTurn(agenda, 6), []);
    deepStrictEqual(whoseTurn(agenda, 7), [one]);
    // Who was asked for is still there.
    strictEqual(firstTurn(agenda), 7);
  });

  it('says what a look at all would say, whatever was changed before', () => {
    const at = fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined });
    const changes = fc.array(fc.tuple(fc.nat(11), at), { maxLength: 80 });
    fc.assert(
      fc.property(changes, list => {
        const agenda: Agenda<Member> = [];
        const all = members(12);
        for (const [i, time] of list) {
          appoint(agenda, all[i]!, time);
          const times = all.flatMap(({ nextAt }) => nextAt ?? []);
          strictEqual(firstTurn(agenda), times.length === 0 ? undefined : Math.min(...times));
          strictEqual(agenda.length, times.length);
          agenda.forEach((member, place) => {
            strictEqual(member.place, place);
          });
          const due = new Set(whoseTurn(agenda, 15));
          deepStrictEqual(due, new Set(all.filter(({ nextAt }) => nextAt !== undefined && nextAt <= 15)));
        }
      }),
    );
  });
});
