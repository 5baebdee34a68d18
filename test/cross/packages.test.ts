// SPDX-License-Identifier: Apache-2.0
// The packages: bytes as opkg reads them, the same each time, and a root file system made of one of them alone.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { reach } from '../interop/harness/ping.ts';
import { pki } from '../interop/harness/pki.ts';
import { table } from '../interop/harness/rows.ts';
import { SERVER4, startClient, startServer } from '../interop/harness/tunnel.ts';

const OUT = 'build/packages';
const ARCHES = ['aarch64_cortex-a53', 'arm_cortex-a7_neon-vfpv4', 'mips_24kc', 'mipsel_24kc', 'x86_64'];
const ARM = 'arm_cortex-a7_neon-vfpv4';
/** 600 KiB is the yardstick with the image's own Mbed TLS; these bring theirs, about 150. */
const ARM_BYTES_MAX = 750 * 1024;

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const tar = (...words: string[]) => execFileSync('tar', words, { encoding: 'utf8' });

function packagesOf(arch: string): string[] {
  return readdirSync(join(OUT, arch)).filter(name => name.endsWith('.ipk'));
}

/** Name to value of one stanza. */
function fieldsOf(text: string): Map<string, string> {
  return new Map(
    text
      .trim()
      .split('\n')
      .map(line => line.split(/: (.*)/s) as [string, string]),
  );
}

describe('packages', function () {
  this.timeout(120_000);
  let folder = '';

  before(function () {
    if (!existsSync(OUT)) {
      console.log('      skipped, missing: build/packages (make packages)');
      this.skip();
    }
    folder = mkdtempSync(join(tmpdir(), 'ovpnd-packages-'));
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  it('are there for every architecture', () => {
    for (const arch of ARCHES)
      assert.ok(
        packagesOf(arch).some(name => name.startsWith('ovpnd-mbedtls_')),
        arch,
      );
    const [name] = packagesOf(ARM);
    const { size } = statSync(join(OUT, ARM, name!));
    assert.ok(size <= ARM_BYTES_MAX, `${size} bytes`);
  });

  it('are archives as opkg wants them', () => {
    for (const arch of ARCHES) {
      for (const name of packagesOf(arch)) {
        const path = join(OUT, arch, name);
        const bytes = readFileSync(path);
        assert.deepEqual([...bytes.subarray(0, 8)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0], 'no name and no date');
        assert.equal(tar('tzf', path), './debian-binary\n./data.tar.gz\n./control.tar.gz\n');
        const into = join(folder, name);
        mkdirSync(into);
        tar('xzf', path, '-C', into);
        assert.equal(readFileSync(join(into, 'debian-binary'), 'latin1'), '2.0\n');
        const data = tar('tvzf', join(into, 'data.tar.gz'), '--numeric-owner').trim().split('\n');
        assert.ok(
          data.every(line => / 0\/0 /.test(line)),
          'owned by root',
        );
        const names = data.map(line => line.replace(/^.* \.\//, './'));
        assert.deepEqual(names, [...names].sort(), 'directories before what is in them');
        assert.match(data.join('\n'), /^-rwxr-xr-x 0\/0 .* \.\/usr\/sbin\/ovpnd$/m);
        assert.match(data.join('\n'), /^drwx------ 0\/0 .* \.\/etc\/ovpnd\/$/m);
        for (const line of data)
          if (/\/etc\/(init\.d|uci-defaults)\/./.test(line)) assert.match(line, /^-rwxr-xr-x/);
        for (const line of data) if (/\/etc\/config\/./.test(line)) assert.match(line, /^-rw------- /);
        const control = tar('xzOf', join(into, 'control.tar.gz'), './control');
        const fields = fieldsOf(control);
        assert.equal(fields.get('Architecture'), arch);
        assert.equal(fields.get('Provides'), 'ovpnd');
        assert.match(fields.get('Depends')!, /\bkmod-tun\b/);
        const size = execFileSync('sh', ['-c', 'gzip -dc "$0" | wc -c', join(into, 'data.tar.gz')], {
          encoding: 'utf8',
        });
        assert.equal(fields.get('Installed-Size'), size.trim());
        assert.match(
          tar('xzOf', join(into, 'control.tar.gz'), './postinst'),
          /^#!\/bin\/sh\n[\s\S]*default_postinst/,
        );
      }
    }
  });

  it('have an index that is true', () => {
    for (const arch of ARCHES) {
      const stanzas = readFileSync(join(OUT, arch, 'Packages'), 'utf8')
        .trim()
        .split('\n\n')
        .map(fieldsOf);
      assert.equal(stanzas.length, packagesOf(arch).length);
      for (const fields of stanzas) {
        const bytes = readFileSync(join(OUT, arch, fields.get('Filename')!));
        assert.equal(fields.get('SHA256sum'), sha256(bytes));
        assert.equal(fields.get('Size'), String(bytes.length));
      }
      const packed = execFileSync('gzip', ['-dc', join(OUT, arch, 'Packages.gz')], { encoding: 'utf8' });
      assert.equal(packed, readFileSync(join(OUT, arch, 'Packages'), 'utf8'));
    }
  });

  it('come out the same again', () => {
    const again = join(folder, 'again');
    execFileSync(process.execPath, ['scripts/packages.mjs', again], { stdio: 'ignore' });
    for (const arch of ARCHES) {
      for (const name of [...packagesOf(arch), 'Packages', 'Packages.gz']) {
        const [one, two] = [OUT, again].map(at => sha256(readFileSync(join(at, arch, name))));
        assert.equal(two, one, name);
      }
    }
  });

  it('hold no instruction that the processor lacks', () => {
    for (const arch of ['mips_24kc', 'mipsel_24kc']) {
      const tool = `${arch.replace('_24kc', '')}-linux-gnu-objdump`;
      const done = spawnSync(
        'sh',
        ['-c', `${tool} -d "$0" | grep -c '[$]f[0-9]'`, `build/cross/${arch}/mbedtls/ovpnd`],
        {
          encoding: 'utf8',
        },
      );
      assert.equal(done.stdout, '0\n', `${arch} has no floating point`);
    }
  });
});

/** Unpacks the ARM package and nothing else; the emulator is the processor. */
function makeRoot(root: string): void {
  const path = join(OUT, ARM, packagesOf(ARM)[0]!);
  mkdirSync(root, { recursive: true });
  execFileSync('sh', ['-c', 'tar xzOf "$0" ./data.tar.gz | tar xz -C "$1"', path, root]);
  copyFileSync('/usr/bin/qemu-arm-static', join(root, 'qemu'));
  for (const name of ['dev', 'tmp']) mkdirSync(join(root, name), { recursive: true });
}

table('a root file system of one package', { atOnce: 2 }, [
  {
    title: 'checks its configuration',
    runtimes: ['arm'],
    body: async world => {
      const root = resolve(world.folder('root'));
      makeRoot(root);
      const check = () =>
        spawnSync('chroot', [root, '/qemu', '/usr/sbin/ovpnd', 'check'], { encoding: 'utf8' });
      // As it is installed: nothing is configured yet.
      assert.equal(check().status, 0, 'the configuration that comes with the package');
      writeFileSync(
        join(root, 'etc/config/ovpnd'),
        "config server 'home'\n\toption enabled '1'\n\toption mtu 'x'\n",
      );
      const bad = check();
      assert.equal(bad.status, 1, bad.stderr);
      assert.match(bad.stdout + bad.stderr, /\/etc\/config\/ovpnd/);
      writeFileSync(join(root, 'etc/config/ovpnd'), '');
      assert.equal(check().status, 0);
    },
  },
  {
    title: 'carries a tunnel',
    runtimes: ['arm'],
    body: async world => {
      const root = resolve(world.folder('root'));
      makeRoot(root);
      const mounts =
        'mount --bind /tmp "$0/tmp" && mount --bind /dev "$0/dev" && exec chroot "$0" /qemu /usr/sbin/ovpnd "$@"';
      const keys = await pki();
      const wire = await world.pair();
      const command = ['unshare', '-m', 'sh', '-c', mounts, root];
      await startServer(world, wire.left, keys, 'arm', { wrap: 'tls-crypt' }, { run: { command } });
      startClient(world, wire, keys, 'openvpn', { wrap: 'tls-crypt' });
      await reach(world, wire.right, SERVER4);
    },
  },
]);
