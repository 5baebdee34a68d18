// SPDX-License-Identifier: Apache-2.0
// Boots the guest with what is in build/, runs the given commands in it, prints what they print, and exits as they do.
// Each argument is a script of the guest's shell; without one the script is read from standard input. `--script FILE.ts`
// before them brings a bundled script into the guest, for `ovpnd-run /tmp/scripts/FILE.js`.

import { readFileSync } from 'node:fs';
import { Guest } from './harness/guest.ts';
import { missing } from './harness/need.ts';
import { bundleInto } from './harness/script.ts';

const TIMEOUT_MS = 600_000;

async function main(): Promise<number> {
  const reason = missing();
  if (reason !== undefined) throw new Error(`missing: ${reason}`);
  const words = process.argv.slice(2);
  const guest = await Guest.boot();
  console.error(`booted in ${guest.bootMs} ms`);
  while (words[0] === '--script') await bundleInto(guest, words.splice(0, 2)[1]!);
  let code = 0;
  for (const script of words.length > 0 ? words : [readFileSync(0, 'utf8')]) {
    const result = await guest.try(['sh', '-c', script], { ms: TIMEOUT_MS });
    console.log(result.output);
    code = result.code ?? 128;
    if (code !== 0) break;
  }
  const { consoleLog } = guest;
  if (consoleLog !== '') console.error(`--- kernel:\n${consoleLog}`);
  return code;
}

main().then(
  code => process.exit(code),
  error => {
    console.error(String(error));
    process.exit(1);
  },
);
