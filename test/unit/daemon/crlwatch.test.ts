// SPDX-License-Identifier: Apache-2.0
// When a changed revocation list is taken up, and what a bad one does.

import { deepStrictEqual, match, strictEqual } from 'node:assert';
import { encodeUtf8 } from '../../../src/core/bytes.ts';
import { CrlWatch } from '../../../src/daemon/crlwatch.ts';
import type { Material } from '../../../src/daemon/material.ts';
import type { Failure, FileStatus } from '../../../src/host/host.ts';
import { nodeCrypto } from '../plane/nodecrypto.ts';

const GONE: Failure = { failed: true, call: 'status', errno: 2, code: 'ENOENT', text: 'No such file' };

class World {
  text: string | undefined = 'list 1';
  modifiedMs = 1;
  stats = 0;
  reads = 0;
  readonly log: string[] = [];
  readonly taken: string[] = [];
  readonly material: Pick<Material, 'tls' | 'digests'>;
  readonly #watch: CrlWatch;

  constructor() {
    const files = {
      status: (): FileStatus | Failure => {
        this.stats++;
        const size = this.text?.length;
        return size === undefined
          ? GONE
          : { kind: 'file', size, mode: 0o644, uid: 0, modifiedMs: this.modifiedMs };
      },
      read: () => {
        this.reads++;
        return this.text === undefined ? GONE : encodeUtf8(this.text);
      },
    };
    const tls = {
      setCrl: (pem: Uint8Array) => {
        const text = Buffer.from(pem).toString();
        if (text.startsWith('list')) this.taken.push(text);
        return text.startsWith('list');
      },
    };
    const digest = Buffer.from(nodeCrypto.hash('SHA256', encodeUtf8('list 1'))).toString('hex');
    this.material = { tls, digests: new Map([['crl', digest]]) } as unknown as World['material'];
    const log = { write: (level: string, text: string) => void this.log.push(`${level}: ${text}`) };
    this.#watch = new CrlWatch({ files, crypto: nodeCrypto } as never, log);
  }

  write(text: string | undefined): void {
    this.text = text;
    this.modifiedMs++;
  }

  look(path: '/crl' | 'none' = '/crl'): boolean {
    return this.#watch.look(path === 'none' ? undefined : path, this.material);
  }
}

describe('daemon/crlwatch', () => {
  it('a list as it was loaded is no news, nor is a touched one; another counts, once', () => {
    const world = new World();
    strictEqual(world.look(), false);
    world.write('list 1');
    strictEqual(world.look(), false);
    world.write('list 2');
    strictEqual(world.look(), true);
    strictEqual(world.look(), false);
    deepStrictEqual(world.taken, ['list 2']);
    deepStrictEqual(world.log, ["info: crl '/crl' changed: read anew"]);
  });

  it('a change of the same length is seen by its time, one of the same time by its length', () => {
    const world = new World();
    world.look();
    world.text = 'list 22';
    strictEqual(world.look(), true);
    world.write('list 33');
    strictEqual(world.look(), true);
  });

  it('a file that did not change is not read; without an option nothing is looked at', () => {
    const world = new World();
    for (let i = 0; i < 50; i++) strictEqual(world.look('none'), false);
    strictEqual(world.stats, 0);
    for (let i = 0; i < 50; i++) world.look();
    deepStrictEqual([world.stats, world.reads], [50, 1]);
  });

  it('broken, gone, back: the last good one counts, and a line says so each time it is another', () => {
    const world = new World();
    world.look();
    world.write('garbage');
    for (let i = 0; i < 3; i++) strictEqual(world.look(), false);
    world.write(undefined);
    for (let i = 0; i < 3; i++) strictEqual(world.look(), false);
    strictEqual(world.log.length, 2);
    match(world.log[0]!, /^error: crl '\/crl' is not a PEM revocation list: the list from before counts$/);
    match(world.log[1]!, /^error: crl '\/crl' cannot be read: No such file/);
    world.write('list 1');
    strictEqual(world.look(), false, 'the one that counts');
    world.write('list 2');
    strictEqual(world.look(), true);
  });
});
