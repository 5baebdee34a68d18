// SPDX-License-Identifier: Apache-2.0
// A router of temporary files, on which the scripts of openwrt/files run in a real shell. Absolute paths in them
// are turned into paths of these files, which is all that is changed.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from '../../src/uci/parse.ts';
import { exportPackage } from '../../src/uci/write.ts';

export const FILES = 'openwrt/files';

/** Shells to run the scripts with: the machine's, and busybox's as on a router where there is one. */
export const SHELLS: readonly string[][] = [
  ['/bin/sh'],
  ...(existsSync('/bin/busybox') ? [['/bin/busybox', 'ash']] : []),
];

export interface Told {
  readonly status: number;
  /** Lines that procd or netifd would have got, words apart by tabs. */
  readonly records: readonly string[];
  /** Calls of other programs: `ubus -S call ...`. */
  readonly calls: readonly string[];
  readonly stderr: string;
}

export interface Router {
  readonly root: string;
  /** Paths of the router in a text as the router has them. */
  path(absolute: string): string;
  /** /etc/config/ovpnd; a text that uci does not take stays unreadable, as on a router. */
  configure(text: string | undefined): void;
  run(shell: readonly string[], script: string, words: readonly string[]): Told;
  close(): void;
}

const PLACES = ['/etc/', '/usr/sbin/', '/var/run/', '/sbin/', '/lib/', '/dev/net/'];

export function router(options: { readonly confined: boolean; readonly deaf?: boolean }): Router {
  const root = mkdtempSync(join(tmpdir(), 'ovpnd-router-'));
  for (const folder of [
    'etc/config',
    'etc/ovpnd',
    'usr/sbin',
    'var/run/ubus',
    'sbin',
    'lib/netifd/proto',
    'dev/net',
    'bin',
  ]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  cpSync('test/openwrt/standin/functions.sh', join(root, 'lib/functions.sh'));
  writeFileSync(join(root, 'lib/netifd/netifd-proto.sh'), '');
  writeFileSync(join(root, 'etc/passwd'), options.confined ? 'ovpnd:x:533:533::/:/bin/false\n' : '');
  const record = join(root, 'record');
  const calls = join(root, 'calls');
  const program = (path: string, body: string): void => {
    writeFileSync(join(root, path), `#!/bin/sh\n${body}\n`);
    chmodSync(join(root, path), 0o755);
  };
  const called = (name: string): string => `printf '%s\\n' "${name} $*" >>'${calls}'`;
  for (const name of ['chown', 'chgrp', 'logger']) program(`bin/${name}`, called(name));
  program('bin/ubus', `${called('ubus')}\nexit ${options.deaf === true ? 4 : 0}`);
  program('usr/sbin/ovpnd', called('ovpnd'));
  if (options.confined) program('sbin/ujail', '');
  program(
    'bin/uci',
    `case "$*" in *.enabled) sed -n "s/.*enabled '\\(.\\)'.*/\\1/p" '${root}/export' | head -n 1;; *) cat '${root}/export' 2>/dev/null;; esac`,
  );
  const path = (text: string): string =>
    PLACES.reduce(
      (out, place) => out.replaceAll(new RegExp(`(?<![A-Za-z0-9_./])${place}`, 'g'), `${root}${place}`),
      text,
    );
  const lines = (file: string): string[] =>
    existsSync(file)
      ? readFileSync(file, 'utf8')
          .trimEnd()
          .split('\n')
          .filter(line => line !== '')
      : [];
  return {
    root,
    path,
    configure: text => {
      rmSync(join(root, 'export'), { force: true });
      rmSync(join(root, 'etc/config/ovpnd'), { force: true });
      if (text === undefined) return;
      writeFileSync(join(root, 'etc/config/ovpnd'), text);
      const parsed = parse(Buffer.from(text));
      if (parsed.error === undefined)
        writeFileSync(join(root, 'export'), exportPackage(parsed, 'ovpnd').replace(/^package.*\n/, ''));
    },
    run: (shell, script, words) => {
      for (const file of [record, calls]) rmSync(file, { force: true });
      const body = path(readFileSync(join(FILES, script), 'utf8'));
      const isInit = body.includes('/etc/rc.common');
      const text = isInit ? `. ${root}/lib/functions.sh\n${body}\n"$@"\n` : body;
      const file = join(root, 'lib/netifd/proto/script');
      writeFileSync(file, text);
      const done = spawnSync(shell[0]!, [...shell.slice(1), file, ...words], {
        cwd: join(root, 'lib/netifd/proto'),
        env: { PATH: `${root}/bin:/usr/sbin:/usr/bin:/sbin:/bin`, RECORD: record, CALLS: calls },
        encoding: 'utf8',
        timeout: 20_000,
      });
      const plain = (text: string): string => text.replaceAll(root, '');
      return {
        status: done.status ?? -1,
        records: lines(record).map(plain),
        calls: lines(calls).map(plain),
        stderr: plain(done.stderr),
      };
    },
    close: () => rmSync(root, { recursive: true, force: true }),
  };
}
