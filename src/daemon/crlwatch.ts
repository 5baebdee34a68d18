// SPDX-License-Identifier: Apache-2.0
// The revocation list, read anew when its file changed: as OpenVPN does, looked at when a handshake begins. A list that
// cannot be used changes nothing; the last good one counts.

import { toHex } from '../core/bytes.ts';
import { type Host, isFailure } from '../host/host.ts';
import type { Log } from './log.ts';
import type { Material } from './material.ts';

export class CrlWatch {
  readonly #host: Pick<Host, 'files' | 'crypto'>;
  readonly #log: Pick<Log, 'write'>;
  /** What the file was like when it was last read, or why it could not be. */
  #seen = '';

  constructor(host: Pick<Host, 'files' | 'crypto'>, log: Pick<Log, 'write'>) {
    this.#host = host;
    this.#log = log;
  }

  /**
   * Whether another list counts from now on: in the context of the material, whose digest is kept up to date. A look
   * is nothing beside the handshake it is for.
   */
  look(path: string | undefined, { tls, digests }: Pick<Material, 'tls' | 'digests'>): boolean {
    if (path === undefined) return false;
    const status = this.#host.files.status(path);
    const state = isFailure(status) ? status.text : `${status.modifiedMs} ${status.size}`;
    if (this.#seen === `${path} ${state}`) return false;
    this.#seen = `${path} ${state}`;
    const bytes = isFailure(status) ? status : this.#host.files.read(path);
    if (isFailure(bytes)) return this.#stays(path, `cannot be read: ${bytes.text}`);
    const digest = toHex(this.#host.crypto.hash('SHA256', bytes));
    if (digest === digests.get('crl')) return false;
    if (!tls.setCrl(bytes)) return this.#stays(path, 'is not a PEM revocation list');
    digests.set('crl', digest);
    this.#log.write('info', `crl '${path}' changed: read anew`);
    return true;
  }

  #stays(path: string, why: string): false {
    this.#log.write('error', `crl '${path}' ${why}: the list from before counts`);
    return false;
  }
}
