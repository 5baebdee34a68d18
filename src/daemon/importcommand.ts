// SPDX-License-Identifier: Apache-2.0
// `ovpnd import FILE NAME`: reads the profile and the files beside it, prints what became of each directive.

import { type Host, isFailure } from '../host/host.ts';
import type { Verdict } from '../profile/import.ts';
import { applyImport, type ImportTarget, planImport } from './import.ts';

/** 1 when nothing was written although it should have been, or could not be. `isTrial`: only says what would be. */
export function importProfileFile(host: Host, file: string, target: ImportTarget, isTrial: boolean): number {
  const bytes = host.files.read(file);
  if (isFailure(bytes)) {
    host.print(2, `ovpnd: ${file}: cannot be read: ${bytes.text}\n`);
    return 1;
  }
  const folder = file.includes('/') ? file.slice(0, file.lastIndexOf('/') + 1) : '';
  const read = (path: string): Uint8Array | string => {
    const content = host.files.read(path.startsWith('/') ? path : `${folder}${path}`);
    return isFailure(content) ? `names ${path}, which cannot be read: ${content.text}` : content;
  };
  const result = (isTrial ? planImport : applyImport)(host, target, bytes, read);
  for (const verdict of result.verdicts) host.print(1, `${verdictLine(verdict)}\n`);
  for (const warning of result.warnings) host.print(2, `${warning}\n`);
  for (const problem of result.problems) host.print(2, `ovpnd: ${file}: ${problem}\n`);
  if (result.problems.length > 0) return 1;
  const { name, configDirectory, keyDirectory } = target;
  const done = isTrial ? 'would become' : 'is now';
  host.print(
    1,
    `${file} ${done} client '${name}' in ${configDirectory}/ovpnd, its keys in ${keyDirectory}/${name}\n`,
  );
  if (result.asks.length > 0) {
    host.print(
      1,
      `it starts when ${result.asks.map(option => `option ${option}`).join(' and ')} and enabled '1' are set\n`,
    );
  }
  return 0;
}

function verdictLine({ line, name, verdict, note }: Verdict): string {
  const place = line > 0 ? `line ${line}` : 'profile';
  return `${place.padEnd(10)} ${name.padEnd(24)} ${verdict}${note === undefined ? '' : `: ${note}`}`.trimEnd();
}
