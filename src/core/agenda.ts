// SPDX-License-Identifier: Apache-2.0
// Whose turn comes next, among many: a binary heap, earliest first, whose members know their places, so that a new
// time for one of them costs the depth of the heap and not a look at all of them.

export interface Member {
  /** Monotonic milliseconds; undefined: never, and not in the heap. Set by `appoint` only. */
  nextAt: number | undefined;
  /** Index in the heap. */
  place: number;
}

export type Agenda<T extends Member> = T[];

/** Sets when the member's turn is; undefined takes it out. */
export function appoint<T extends Member>(agenda: Agenda<T>, member: T, at: number | undefined): void {
  const before = member.nextAt;
  if (at === before) return;
  member.nextAt = at;
  if (at === undefined) {
    const last = agenda.pop()!;
    if (last !== member) settle(agenda, last, member.place);
  } else {
    settle(agenda, member, before === undefined ? agenda.push(member) - 1 : member.place);
  }
}

/** The earliest time of all. */
export function firstTurn<T extends Member>(agenda: Agenda<T>): number | undefined {
  return agenda[0]?.nextAt;
}

/** Those whose turn has come, in no order. */
export function whoseTurn<T extends Member>(agenda: Agenda<T>, now: number): T[] {
  const due: T[] = [];
  const places = [0];
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    const member = agenda[place];
    if (member === undefined || member.nextAt! > now) continue;
    due.push(member);
    places.push(2 * place + 1, 2 * place + 2);
  }
  return due;
}

/** Puts the member where it belongs; `place` is free. */
function settle<T extends Member>(agenda: Agenda<T>, member: T, place: number): void {
  const at = member.nextAt!;
  let here = place;
  while (here > 0) {
    const parent = agenda[(here - 1) >> 1]!;
    if (parent.nextAt! <= at) break;
    put(agenda, parent, here);
    here = (here - 1) >> 1;
  }
  for (;;) {
    let child = 2 * here + 1;
    if (child >= agenda.length) break;
    if (child + 1 < agenda.length && agenda[child + 1]!.nextAt! < agenda[child]!.nextAt!) child++;
    if (agenda[child]!.nextAt! >= at) break;
    put(agenda, agenda[child]!, here);
    here = child;
  }
  put(agenda, member, here);
}

function put<T extends Member>(agenda: Agenda<T>, member: T, place: number): void {
  agenda[place] = member;
  member.place = place;
}
