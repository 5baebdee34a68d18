// SPDX-License-Identifier: Apache-2.0
// The guest's root file system: Debian sid's userland for stock OpenVPN and the tools, and beside it the libraries of
// this machine for ovpnd, which was linked against them.

import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Cpio } from './cpio.ts';

const KERNEL = resolve('build/kernel');
const ROOT = join(KERNEL, 'root');
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const LOADER = 'usr/lib64/ld-linux-x86-64.so.2';

const PROGRAMS = [
  'usr/bin/dash',
  'usr/sbin/openvpn',
  'usr/bin/ip',
  'usr/sbin/tc',
  'usr/sbin/genl',
  'usr/bin/ss',
  'usr/bin/ping',
  'usr/bin/iperf3',
  'usr/bin/tcpdump',
  'usr/bin/kmod',
];

/** Loaded by name at run time, so no program's header lists them. */
const PLUGINS = [
  `${LIBRARIES}/liblzma.so.5`,
  `${LIBRARIES}/libgcc_s.so.1`,
  `${LIBRARIES}/ossl-modules/legacy.so`,
];

/** With all they depend on; what is not a module is in the kernel itself. */
const MODULES = [
  'ovpn',
  'gcm',
  'ctr',
  'aesni-intel',
  'chacha20poly1305',
  'chacha',
  'tun',
  'veth',
  'dummy',
  'sch_netem',
  'udp_diag',
  'tcp_diag',
];

const ETC: Readonly<Record<string, string>> = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n',
  group: 'root:x:0:\nnogroup:x:65534:\n',
  hosts: '127.0.0.1 localhost\n::1 localhost\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
  'modprobe.d/.keep': '',
};

export function kernelRelease(): string {
  return readFileSync(join(KERNEL, 'release'), 'utf8').trim();
}

export function kernelImage(): string {
  return join(KERNEL, 'boot/usr/lib/modules', kernelRelease(), 'vmlinuz');
}

/** Paths of the shared libraries a program needs, by the dynamic loader that will load them. */
function librariesOf(program: string, loader: readonly string[]): string[] {
  const text = execFileSync(loader[0]!, [...loader.slice(1), '--list', program], { encoding: 'utf8' });
  return [...text.matchAll(/ => (\/\S+)/g)].map(match => match[1]!);
}

/** A file of the sid tree under its own path, through links to it as well. */
function addFromRoot(image: Cpio, path: string): void {
  const source = join(ROOT, path);
  if (lstatSync(source).isSymbolicLink()) {
    const target = readlinkSync(source);
    image.link(path, target);
    addFromRoot(image, target.startsWith('/') ? target.slice(1) : join(dirname(path), target));
    return;
  }
  image.file(path, statSync(source).mode & 0o777, readFileSync(source));
}

function addUserland(image: Cpio): void {
  for (const dir of ['bin', 'sbin', 'lib', 'lib64']) image.link(dir, `usr/${dir}`);
  addFromRoot(image, LOADER);
  const loader = [join(ROOT, LOADER), '--library-path', join(ROOT, LIBRARIES)];
  for (const program of PROGRAMS) {
    addFromRoot(image, program);
    for (const path of librariesOf(join(ROOT, program), loader)) {
      if (path.startsWith(`${ROOT}/`)) addFromRoot(image, path.slice(ROOT.length + 1));
    }
  }
  for (const plugin of PLUGINS) if (existsSync(join(ROOT, plugin))) addFromRoot(image, plugin);
  for (const name of ['modprobe', 'insmod', 'rmmod', 'lsmod', 'modinfo', 'depmod']) {
    image.link(`usr/sbin/${name}`, '../bin/kmod');
  }
  // Busybox's own shell would take its own ip and ping.
  image.link('usr/bin/sh', 'dash');
  addFromRoot(image, 'usr/bin/busybox');
  const applets = execFileSync(join(ROOT, 'usr/bin/busybox'), ['--list'], { encoding: 'utf8' });
  const taken = new Set([...PROGRAMS.map(path => basename(path)), 'modprobe', 'insmod', 'rmmod', 'lsmod']);
  for (const applet of applets.split('\n')) {
    if (applet !== '' && !taken.has(applet)) image.link(`usr/bin/${applet}`, 'busybox');
  }
  for (const [name, text] of Object.entries(ETC)) image.file(`etc/${name}`, 0o644, Buffer.from(text));
}

function addModules(image: Cpio): void {
  const dir = `usr/lib/modules/${kernelRelease()}`;
  const source = join(KERNEL, 'boot', dir);
  for (const name of readdirSync(source)) {
    if (name.startsWith('modules.')) image.file(`${dir}/${name}`, 0o644, readFileSync(join(source, name)));
  }
  const lines = readFileSync(join(source, 'modules.dep'), 'utf8').split('\n');
  const dependencies = new Map(
    lines.map(line => {
      const [module, ...rest] = line.split(/:? +|:$/).filter(word => word !== '');
      return [module ?? '', rest];
    }),
  );
  const add = (path: string): void => {
    image.file(`${dir}/${path}`, 0o644, readFileSync(join(source, path)));
    for (const other of dependencies.get(path) ?? []) add(other);
  };
  for (const path of dependencies.keys()) {
    if (MODULES.includes(basename(path).replace(/\.ko.*$/, ''))) add(path);
  }
}

/** ovpnd, and what runs any script with its shim, with the libraries they have on this machine. */
function addOvpnd(image: Cpio): void {
  const loader = '/lib64/ld-linux-x86-64.so.2';
  for (const name of ['ovpnd', 'ovpnd-run']) {
    const program = resolve('build', name);
    if (!existsSync(program)) continue;
    image.file(`host/${name}`, 0o755, readFileSync(program));
    for (const path of [loader, ...librariesOf(program, [loader])]) {
      image.file(`host/lib/${basename(path)}`, 0o755, readFileSync(realpathSync(path)));
    }
    const words = `/host/lib/ld-linux-x86-64.so.2 --argv0 ${name} --library-path /host/lib /host/${name}`;
    image.file(`usr/bin/${name}`, 0o755, Buffer.from(`#!/bin/sh\nexec ${words} "$@"\n`));
  }
}

/** One of our own programs for the guest, compiled when its source is newer. */
function compiled(name: string): Uint8Array {
  const source = `test/kernel/guest/${name}.c`;
  const program = join(KERNEL, name);
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    execFileSync(process.env.CC ?? 'gcc', ['-static', '-O2', '-Wall', '-Wextra', '-o', program, source]);
  }
  return readFileSync(program);
}

/** Writes the archive that becomes the guest's root file system. */
export function writeImage(path: string): void {
  const image = new Cpio();
  addUserland(image);
  addModules(image);
  addOvpnd(image);
  for (const folder of ['root', 'var']) image.folder(folder);
  image.file('init', 0o755, compiled('agent'));
  image.file('usr/bin/ovpn-peers', 0o755, compiled('ovpn-peers'));
  writeFileSync(path, image.end());
}
