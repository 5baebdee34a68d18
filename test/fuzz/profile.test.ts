// SPDX-License-Identifier: Apache-2.0
// Any bytes as a profile: never a throw, every directive ruled on, and what is accepted is a section that uci reads.

import { ok } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { importProfile } from '../../src/profile/import.ts';
import { parseProfile } from '../../src/profile/ovpn.ts';

const FOLDER = 'test/profiles';
const corpus = readdirSync(FOLDER)
  .filter(name => name.endsWith('.ovpn'))
  .map(name => readFileSync(`${FOLDER}/${name}`));

const seconds = Number(process.env.OVPND_FUZZ_SECONDS ?? 0);
const bounds = seconds > 0 ? { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000 } : { numRuns: 300 };

function holds(bytes: Uint8Array): void {
  const result = importProfile(bytes, path => `names ${path}`);
  const profile = parseProfile(bytes);
  if ('text' in profile) {
    ok(result.isRefused);
    return;
  }
  ok(result.verdicts.length >= profile.directives.length);
  if (!result.isRefused) ok(result.options.has('remote'));
}

/** A profile of the corpus with lines dropped, doubled, swapped and bytes changed. */
const bent = fc
  .tuple(
    fc.constantFrom(...corpus),
    fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('byte', 'cut', 'double', 'drop')), {
      maxLength: 8,
    }),
  )
  .map(([profile, changes]) => {
    let bytes = Uint8Array.from(profile);
    for (const [at, value, kind] of changes) {
      const place = bytes.length === 0 ? 0 : at % bytes.length;
      if (kind === 'byte' && bytes.length > 0) bytes[place] = value;
      else if (kind === 'cut') bytes = bytes.slice(0, place);
      else if (kind === 'double') bytes = Uint8Array.from([...bytes.slice(0, place), ...bytes]);
      else bytes = Uint8Array.from([...bytes.slice(0, place), ...bytes.slice(place + value)]);
    }
    return bytes;
  });

describe('fuzz: profiles', function () {
  this.timeout(seconds * 1000 + 60_000);
  it('any bytes', () => fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), holds), bounds));
  it('any text', () => {
    const text = fc.string({ unit: 'binary', maxLength: 400 }).map(value => Buffer.from(value));
    fc.assert(fc.property(text, holds), bounds);
  });
  it('bent profiles', () => fc.assert(fc.property(bent, holds), bounds));
});
