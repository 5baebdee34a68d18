// SPDX-License-Identifier: Apache-2.0
// Writes build/packages/ARCH/*.ipk with their index from build/cross and openwrt/files, and .apk where the apk tool is.
// Two runs on one commit give equal bytes.
//   node scripts/packages.mjs [FOLDER]      instead of build/packages
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { gzip, tar, tarInOrder } from './tar.mjs';

const OUT = process.argv[2] ?? 'build/packages';
const VERSION = `${JSON.parse(readFileSync('package.json', 'utf8')).version}-r1`;
const EPOCH = Number(
  process.env.SOURCE_DATE_EPOCH ?? execFileSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' }),
);
const FIELDS = {
  License: 'Apache-2.0',
  Section: 'net',
  SourceDateEpoch: String(EPOCH),
};

function filesBelow(folder, at = folder) {
  if (!existsSync(at)) return [];
  return readdirSync(at, { withFileTypes: true }).flatMap(entry => {
    const path = join(at, entry.name);
    return entry.isDirectory() ? filesBelow(folder, path) : [relative(folder, path)];
  });
}

/** Scripts that something runs, what only root may read, and all else. */
function modeOf(path) {
  if (
    /^(etc\/(init\.d|uci-defaults|hotplug\.d\/[^/]+)|lib\/netifd\/proto|usr\/s?bin|usr\/libexec\/rpcd)\//.test(
      path,
    )
  )
    return 0o755;
  return /^etc\/config\//.test(path) ? 0o600 : 0o644;
}

function tree(folder, to = '') {
  return filesBelow(folder).map(path => {
    const name = join(to, path);
    return { path: name, mode: modeOf(name), bytes: readFileSync(join(folder, path)) };
  });
}

/** As OpenWrt's own build writes them: users, services and defaults are the work of its functions.sh. */
function script(name) {
  return [
    '#!/bin/sh',
    '[ "$IPKG_NO_SCRIPT" = "1" ] && exit 0',
    '[ -s "$IPKG_INSTROOT/lib/functions.sh" ] || exit 0',
    '. "$IPKG_INSTROOT/lib/functions.sh"',
    `default_${name} "$0" "$@"`,
    '',
  ].join('\n');
}

function control(item, installedSize) {
  const fields = {
    Package: item.name,
    Version: VERSION,
    Depends: item.depends.join(', '),
    Conflicts: item.conflicts?.join(', '),
    Provides: item.provides?.join(', '),
    License: FIELDS.License,
    Section: item.section ?? FIELDS.Section,
    'Require-User': item.user,
    SourceDateEpoch: FIELDS.SourceDateEpoch,
    Architecture: item.arch,
    'Installed-Size': String(installedSize),
    Description: item.description,
  };
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

function ipk(item) {
  const data = tar(item.files, EPOCH);
  const text = control(item, data.length);
  const inside = [
    { path: 'control', mode: 0o644, bytes: Buffer.from(text) },
    { path: 'postinst', mode: 0o755, bytes: Buffer.from(script('postinst')) },
    { path: 'prerm', mode: 0o755, bytes: Buffer.from(script('prerm')) },
  ];
  if (item.conffiles.length > 0) {
    const lines = item.conffiles.map(path => `${path}\n`).join('');
    inside.push({ path: 'conffiles', mode: 0o644, bytes: Buffer.from(lines) });
  }
  const members = [
    { path: 'debian-binary', bytes: Buffer.from('2.0\n') },
    { path: 'data.tar.gz', bytes: gzip(data) },
    { path: 'control.tar.gz', bytes: gzip(tar(inside, EPOCH)) },
  ];
  return { text, bytes: gzip(tarInOrder(members, EPOCH)) };
}

/** What apk cannot take from our own hands it makes from a folder. */
function apk(item, path) {
  const root = mkdtempSync(join(tmpdir(), 'ovpnd-apk-'));
  try {
    for (const { path: name, mode, bytes } of item.files) {
      const to = join(root, name);
      mkdirSync(bytes === undefined ? to : dirname(to), { recursive: true });
      if (bytes !== undefined) writeFileSync(to, bytes, { mode });
    }
    const list = join(root, 'lib/apk/packages');
    mkdirSync(list, { recursive: true });
    const names = item.files.filter(file => file.bytes !== undefined).map(file => `/${file.path}\n`);
    writeFileSync(join(list, `${item.name}.list`), names.join(''));
    if (item.conffiles.length > 0)
      writeFileSync(join(list, `${item.name}.conffiles`), item.conffiles.map(name => `${name}\n`).join(''));
    if (item.user !== undefined) writeFileSync(join(list, `${item.name}.rusers`), item.user);
    for (const name of ['', ...readdirSync(root, { recursive: true })])
      utimesSync(join(root, name), EPOCH, EPOCH);
    const info = {
      name: item.name,
      version: VERSION,
      description: item.description,
      arch: item.arch === 'all' ? 'noarch' : item.arch,
      license: FIELDS.License,
      depends: item.depends.join(' '),
      provides: (item.provides ?? []).join(' '),
    };
    const words = Object.entries(info).flatMap(([name, value]) =>
      value ? ['--info', `${name}:${value}`] : [],
    );
    execFileSync('apk', ['mkpkg', ...words, '--files', root, '--output', path], {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(EPOCH) },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function daemon(arch, variant, title) {
  return {
    name: `ovpnd-${variant}`,
    arch,
    depends: ['libc', 'kmod-tun'],
    provides: ['ovpnd'],
    conflicts: variant === 'mbedtls' ? undefined : ['ovpnd-mbedtls'],
    user: 'ovpnd=533:ovpnd=533',
    conffiles: ['/etc/config/ovpnd'].filter(path => existsSync(join('openwrt/files', path))),
    description: `OpenVPN-compatible VPN daemon (${title})`,
    files: [
      ...tree('openwrt/files'),
      { path: 'etc/ovpnd', mode: 0o700 },
      { path: 'usr/sbin/ovpnd', mode: 0o755, bytes: readFileSync(`build/cross/${arch}/${variant}/ovpnd`) },
    ],
  };
}

function luci() {
  const base = 'luci/luci-app-ovpnd';
  if (!existsSync(base)) return [];
  const files = [
    ...tree(join(base, 'htdocs'), 'www'),
    ...tree(join(base, 'root')),
    ...tree(join(base, 'ucode'), 'usr/share/ucode/luci'),
  ];
  return [
    {
      name: 'luci-app-ovpnd',
      arch: 'all',
      depends: ['libc', 'luci-base', 'ovpnd'],
      section: 'luci',
      conffiles: [],
      description: 'LuCI pages for ovpnd',
      files,
    },
  ];
}

const TITLES = { mbedtls: 'Mbed TLS', openssl: 'OpenSSL' };
const arches = existsSync('build/cross') ? readdirSync('build/cross').sort() : [];
const items = arches.flatMap(arch =>
  Object.entries(TITLES)
    .filter(([variant]) => existsSync(`build/cross/${arch}/${variant}/ovpnd`))
    .map(([variant, title]) => daemon(arch, variant, title)),
);
if (items.length === 0) throw new Error('build/cross has no program: make packages');
const hasApk = spawnSync('apk', ['mkpkg', '--help'], { stdio: 'ignore' }).error === undefined;
rmSync(OUT, { recursive: true, force: true });
const stanzas = new Map();
for (const item of [...items, ...luci()]) {
  const folder = join(OUT, item.arch);
  const file = `${item.name}_${VERSION}_${item.arch}.ipk`;
  const { text, bytes } = ipk(item);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, file), bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const [before, description] = text.split(/(?=^Description: )/m);
  const stanza = `${before}Filename: ${file}\nSize: ${bytes.length}\nSHA256sum: ${sha256}\n${description}\n`;
  stanzas.set(folder, (stanzas.get(folder) ?? '') + stanza);
  if (hasApk) apk(item, join(folder, `${item.name}-${VERSION}.apk`));
  console.log(`${join(folder, file)}: ${bytes.length} bytes`);
}
for (const [folder, text] of stanzas) {
  writeFileSync(join(folder, 'Packages'), text);
  writeFileSync(join(folder, 'Packages.gz'), gzip(Buffer.from(text)));
  const packages = readdirSync(folder).filter(name => name.endsWith('.apk'));
  if (packages.length > 0)
    execFileSync('apk', [
      'mkndx',
      '--allow-untrusted',
      '--output',
      join(folder, 'packages.adb'),
      ...packages.map(name => join(folder, name)),
    ]);
}
if (!hasApk) console.log('no .apk: this machine has no apk tool (apk-tools 3)');
