// SPDX-License-Identifier: Apache-2.0
// Every request of apply(), of a change and of clear() goes wrong once, in each way there is.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { Died, type Fault } from './fakekernel.ts';
import { expected, OTHER, open, STATE, TUN, WANTED, type World, world } from './world.ts';

describe('rtnetlink network: one request goes wrong', function () {
  this.timeout(60_000);
  const target = expected(WANTED);
  const otherTarget = expected(OTHER);

  /** Does `first` once for every request it makes, with that request failing, and then looks with `check`. */
  function each<T>(
    fault: Fault,
    prepare: () => World,
    first: (w: World) => T,
    check: (w: World, result: T) => void,
  ) {
    const dry = prepare();
    const start = dry.kernel.requests;
    first(dry);
    const count = dry.kernel.requests - start;
    ok(count > 5);
    for (let n = 1; n <= count; n++) {
      const w = prepare();
      w.kernel.faults.set(w.kernel.requests + n, fault);
      const result = first(w);
      w.kernel.faults.clear();
      check(w, result);
    }
  }

  const applied = () => {
    const w = world();
    w.network.apply(WANTED);
    return w;
  };

  for (const fault of ['refuse', 'lost', 'torn', 'mute', 'unsent'] as const) {
    const isMadeGood = fault === 'lost' || fault === 'torn';
    const looksRight = (lines: readonly string[]) => {
      if (isMadeGood) deepStrictEqual(lines, []);
      for (const line of lines)
        ok(/^(device|address|route|host route) [^ ]+.*: .+$|^(routes|addresses): /.test(line), line);
    };

    it(`apply: ${fault} is reported or made good, and the next apply repairs`, () => {
      each(
        fault,
        world,
        w => w.network.apply(WANTED),
        (w, report) => {
          looksRight(report.failures);
          if (report.failures.length === 0) deepStrictEqual(w.kernel.snapshot(), target);
          deepStrictEqual(w.network.apply(WANTED).failures, []);
          deepStrictEqual(w.kernel.snapshot(), target);
          strictEqual(w.kernel.openSockets, 0);
        },
      );
    });

    it(`apply of a change: ${fault}`, () => {
      each(
        fault,
        applied,
        w => w.network.apply(OTHER),
        (w, report) => {
          looksRight(report.failures);
          if (report.failures.length === 0) deepStrictEqual(w.kernel.snapshot(), otherTarget);
          deepStrictEqual(w.network.apply(OTHER).failures, []);
          deepStrictEqual(w.kernel.snapshot(), otherTarget);
        },
      );
    });

    it(`apply then clear: ${fault} in apply leaves nothing behind`, () => {
      const before = world().kernel.snapshot();
      const check = (w: World) => {
        deepStrictEqual(w.network.clear().failures, []);
        deepStrictEqual(w.kernel.snapshot(), before);
        strictEqual(w.files.contents.size, 0);
      };
      each(fault, world, w => w.network.apply(WANTED), check);
      each(fault, applied, w => w.network.apply(OTHER), check);
    });

    it(`clear: ${fault} is reported or made good, and the next clear finishes`, () => {
      const before = world().kernel.snapshot();
      each(
        fault,
        applied,
        w => w.network.clear(),
        (w, report) => {
          looksRight(report.failures);
          if (report.failures.length === 0) deepStrictEqual(w.kernel.snapshot(), before);
          else ok(w.files.contents.has(STATE));
          deepStrictEqual(w.network.clear().failures, []);
          deepStrictEqual(w.kernel.snapshot(), before);
          strictEqual(w.files.contents.size, 0);
        },
      );
    });
  }

  const killed = (act: (w: World) => void) => (w: World) => {
    try {
      act(w);
    } catch (error) {
      if (!(error instanceof Died)) throw error;
    }
  };

  for (const fault of ['dieBefore', 'dieAfter'] as const) {
    for (const deviceGoes of [true, false]) {
      it(`recover after ${fault} anywhere; the device ${deviceGoes ? 'goes' : 'stays'}`, () => {
        const initial = world();
        if (deviceGoes) initial.kernel.removeLink(TUN);
        const before = initial.kernel.snapshot();
        const check = (w: World) => {
          if (deviceGoes) w.kernel.removeLink(TUN);
          deepStrictEqual(open(w.kernel, w.files).recover().failures, []);
          deepStrictEqual(w.kernel.snapshot(), before);
          strictEqual(w.files.contents.size, 0);
        };
        each(
          fault,
          world,
          killed(w => w.network.apply(WANTED)),
          check,
        );
        each(
          fault,
          applied,
          killed(w => w.network.apply(OTHER)),
          check,
        );
        each(
          fault,
          applied,
          killed(w => w.network.clear()),
          check,
        );
      });
    }
  }
});
