// SPDX-License-Identifier: Apache-2.0
// Profiles in the styles that providers, appliances and scripts really publish, made for this test, without real keys:
// what each becomes, or why it is refused. Those that begin with x- break one rule each.

import { deepStrictEqual, ok } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import { encodeUtf8 } from '../../../src/core/bytes.ts';
import { byteArray, sectionText } from '../../../src/daemon/configtext.ts';
import { type ImportedProfile, importProfile } from '../../../src/profile/import.ts';
import { readConfig } from '../../../src/uci/config.ts';

const FOLDER = 'test/profiles';
const profiles = readdirSync(FOLDER).filter(name => name.endsWith('.ovpn'));
const EXPECTED = JSON.parse(readFileSync(`${FOLDER}/expected.json`, 'utf8')) as Record<string, object>;

/** Files beside the profiles. */
const BESIDE: Readonly<Record<string, string>> = {
  'ca.crt': '-----BEGIN CERTIFICATE-----\n',
  'client.crt': '-----BEGIN CERTIFICATE-----\n',
  'client.key': '-----BEGIN PRIVATE KEY-----\n',
  'ta.key': '-----BEGIN OpenVPN Static key V1-----\n',
  'fw-udp-1194-router-tls.key': '-----BEGIN OpenVPN Static key V1-----\n',
  'fw-udp-1194-router.p12': '0\u0001\u0002',
};

const read = (path: string): Uint8Array | string =>
  BESIDE[path] === undefined ? `names ${path}, which cannot be read` : encodeUtf8(BESIDE[path]);

/** What the daemon would say of the section, with what a person is asked for. */
function problems(result: ImportedProfile): string[] {
  const options = new Map<string, string | readonly string[]>(result.options);
  for (const { option, name } of result.files) options.set(option, `/etc/ovpnd/x/${name}`);
  for (const option of result.asks) options.set(option, 'given');
  const text = sectionText('client', 'x', options);
  const config = readConfig('f', byteArray(text), { hasAesInstructions: true });
  return config.problems.map(({ rule }) => rule);
}

function summary(result: ImportedProfile): object {
  const lines = (isEssential: boolean) =>
    result.verdicts
      .filter(verdict => verdict.verdict === 'refused' && (verdict.isEssential === true) === isEssential)
      .map(({ line, name, note }) => `${line} ${name}: ${note}`);
  if (result.isRefused) return { refused: lines(true) };
  return {
    options: Object.fromEntries(result.options),
    files: result.files.map(({ option }) => option),
    ...(result.asks.length > 0 && { asks: result.asks }),
    ...(lines(false).length > 0 && { without: lines(false) }),
  };
}

describe('profiles as they are published', () => {
  it('are enough', () => {
    ok(profiles.length >= 40);
    ok(profiles.filter(name => 'refused' in EXPECTED[name]!).length >= 15);
    deepStrictEqual(Object.keys(EXPECTED).sort(), [...profiles].sort());
  });

  for (const name of profiles) {
    it(name, () => {
      const result = importProfile(readFileSync(`${FOLDER}/${name}`), read);
      deepStrictEqual(summary(result), EXPECTED[name]);
      if (!result.isRefused) deepStrictEqual(problems(result), []);
      const directives = result.verdicts.filter(({ line }) => line > 0);
      ok(
        directives.every(({ verdict, note }) => verdict === 'taken' || note !== undefined),
        'reasons are given',
      );
    });
  }
});
