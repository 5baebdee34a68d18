// SPDX-License-Identifier: Apache-2.0
// The scripts of a router in real shells: what procd and netifd are told, and that no value of the configuration is
// ever more than a value.

import { deepStrictEqual, match, ok, strictEqual } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FILES, router, SHELLS, type Told } from './router.ts';

const INIT = 'etc/init.d/ovpnd';
const PROTO = 'lib/netifd/proto/ovpnd.sh';

const CONFIG = `config server 'home'
	option enabled '1'
	option port '443'
	list proto 'udp4'
	list proto 'tcp'
	list address '10.8.0.1/24'
	option ca '/etc/ovpnd/home/ca.crt'

config server 'plain'
	option enabled 'on'
	option open_firewall '0'

config client 'office'
	option enabled '1'
	option port '22'

config client 'off'
	option enabled '0'

config peer 'alice'
	option enabled '1'
`;

const instance = (name: string, confined: string[] = []): string[] => [
  `instance\t${name}`,
  `param\tcommand\t/usr/sbin/ovpnd\trun\t${name}\t-l`,
  'param\trespawn\t3600\t10\t-1',
  'param\tterm_timeout\t10',
  'param\tstderr\t1',
  ...confined,
  'end',
];

const rule = (proto: string, family: string, port: string): string[] => [
  'object\t',
  'string\ttype\trule',
  'string\tsrc\twan',
  `string\tproto\t${proto}`,
  `string\tfamily\t${family}`,
  `string\tdest_port\t${port}`,
  'string\ttarget\tACCEPT',
  'close',
];

const instances = ({ records }: Told): string[] =>
  records.filter(line => line.startsWith('instance')).map(line => line.split('\t')[1]!);

for (const shell of SHELLS) {
  describe(`scripts of a router, by ${shell.join(' ')}`, () => {
    it('give procd an instance for each enabled tunnel, the trigger, and a rule for each port', () => {
      const made = router({ confined: false });
      made.configure(CONFIG);
      const { status, records, calls } = made.run(shell, INIT, ['start']);
      strictEqual(status, 0);
      deepStrictEqual(records, [
        ...instance('home'),
        ...instance('plain'),
        ...instance('office'),
        'trigger\tovpnd',
        'array\tfirewall',
        ...rule('udp', 'ipv4', '443'),
        ...rule('tcp', 'any', '443'),
        'close',
        'set',
      ]);
      // Not confined, it runs as root, and nothing is handed over.
      deepStrictEqual(calls, []);
      ok(existsSync(join(made.root, 'var/run/ovpnd')));
      made.close();
    });

    it('start one tunnel alone when only that is asked for', () => {
      const made = router({ confined: false });
      made.configure(CONFIG);
      deepStrictEqual(instances(made.run(shell, INIT, ['start', 'office'])), ['office']);
      deepStrictEqual(instances(made.run(shell, INIT, ['start', 'none'])), []);
      made.close();
    });

    it('confine where there is ujail: own account, one capability, only what is there is mounted', () => {
      const made = router({ confined: true });
      made.configure(CONFIG);
      const { records, calls } = made.run(shell, INIT, ['start', 'home']);
      const expected = (capabilities: string): string[] => [
        'param\tuser\tovpnd',
        'param\tgroup\tovpnd',
        `param\tcapabilities\t/etc/capabilities/${capabilities}.json`,
        'param\tno_new_privs\t1',
      ];
      const name = (tunnel: string): string[] => [
        `jail\tovpnd-${tunnel}\tlog\tprocfs`,
        'mount\t/etc/config\t/etc/ovpnd',
        'mount\t/var/run/ubus',
        'mount_rw\t/var/run/ovpnd',
      ];
      deepStrictEqual(
        records.slice(0, 13),
        instance('home', [...expected('ovpnd-lowport'), ...name('home')]).slice(0, 13),
      );
      ok(calls.includes('chown ovpnd:ovpnd /var/run/ovpnd'));
      // A client listens nowhere, whatever an option of that name says.
      const client = made.run(shell, INIT, ['start', 'office']).records;
      ok(client.includes('param\tcapabilities\t/etc/capabilities/ovpnd.json'));
      made.close();
    });

    it('say so when they would confine, but the account is missing', () => {
      const made = router({ confined: true });
      writeFileSync(join(made.root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\n');
      made.configure(CONFIG);
      const { records, calls } = made.run(shell, INIT, ['start', 'home']);
      deepStrictEqual(records.slice(0, 6), instance('home'));
      deepStrictEqual(calls, [
        "logger -t ovpnd -p daemon.warn there is no account 'ovpnd': tunnels run as root",
      ]);
      made.close();
    });

    it('mount key files that are kept elsewhere, but none that is not there or has a blank in its name', () => {
      const made = router({ confined: true });
      const away = `/etc/passwd`;
      made.configure(
        made.path(
          `config client 'office'\n\toption enabled '1'\n\toption ca '${away}'\n\toption cert '/etc/none.crt'\n\toption key '/etc/my key'\n`,
        ),
      );
      const { records, calls } = made.run(shell, INIT, ['start']);
      deepStrictEqual(
        records.filter(line => line.startsWith('mount\t')),
        ['mount\t/etc/config\t/etc/ovpnd', 'mount\t/var/run/ubus', `mount\t${away}`],
      );
      ok(calls.some(line => /^logger .*option key: keep the file in/.test(line)));
      made.close();
    });

    it('tell procd nothing when the file cannot be read: what runs goes on', () => {
      const made = router({ confined: false });
      for (const text of ["config server 'home'\n\toption x 'y\n", undefined]) {
        made.configure(text);
        for (const action of ['start', 'reload']) {
          const { status, records, calls } = made.run(shell, INIT, [action]);
          deepStrictEqual([status, records], [1, []]);
          match(calls[0]!, /^logger -t ovpnd -p daemon\.err .*cannot be read; nothing was changed$/);
        }
      }
      made.close();
    });

    it('have running tunnels read the file again on a reload, after procd knows which there are', () => {
      const made = router({ confined: false });
      made.configure(CONFIG);
      const { records, calls } = made.run(shell, INIT, ['reload']);
      strictEqual(records.at(-1), 'set');
      deepStrictEqual(calls, ['ovpnd reload home', 'ovpnd reload plain', 'ovpnd reload office']);
      made.close();
    });

    it('have the firewall keep peers out of zone lan, by the name of the device and nothing else', () => {
      const made = router({ confined: false });
      const server = (name: string, ...options: string[]): string =>
        [`config server '${name}'`, "option enabled '1'", "option open_firewall '0'", ...options, ''].join(
          '\n',
        );
      made.configure(
        [
          server('open'),
          server('home', "option block_lan '1'"),
          server('a_name_of_more_than_twelve', "option block_lan 'on'", "list proto 'udp'"),
          server('own', "option block_lan '1'", "option device 'vpn0.1'"),
          server('bad', "option block_lan '1'", "option device 'a b\"; x'"),
          "config server 'off'\noption block_lan '1'\n",
          "config client 'office'\noption enabled '1'\noption block_lan '1'\n",
        ].join('\n'),
      );
      const { records } = made.run(shell, INIT, ['start']);
      const keepOut = (device: string): string[] => [
        'object\t',
        'string\ttype\trule',
        'string\tsrc\t*',
        'string\tdest\tlan',
        `string\tdevice\t${device}`,
        'string\tproto\tall',
        'string\ttarget\tREJECT',
        'close',
      ];
      deepStrictEqual(records.slice(records.indexOf('array\tfirewall')), [
        'array\tfirewall',
        ...keepOut('ov-home'),
        ...keepOut('ov-a_name_of_mo'),
        ...keepOut('vpn0.1'),
        'close',
        'set',
      ]);
      made.close();
    });

    it('open what a crashed tunnel keeps closed once it shall not run any more, and only then', () => {
      const made = router({ confined: false });
      made.configure(CONFIG);
      mkdirSync(join(made.root, 'var/run/ovpnd'));
      for (const name of ['office', 'off', 'gone', 'a b', '$(touch HIT)']) {
        writeFileSync(join(made.root, 'var/run/ovpnd', `${name}.network.json`), '');
      }
      const opened = (...words: string[]): string[] =>
        made.run(shell, INIT, words).calls.filter(line => line.includes('unblock'));
      deepStrictEqual(opened('start'), []);
      deepStrictEqual(opened('reload').sort(), ['ovpnd unblock gone', 'ovpnd unblock off']);
      deepStrictEqual(opened('stop', 'office'), ['ovpnd unblock office']);
      deepStrictEqual(opened('stop').sort(), [
        'ovpnd unblock gone',
        'ovpnd unblock off',
        'ovpnd unblock office',
      ]);
      made.close();
    });

    it('refuse names that do not stay, and take no value for more than a value', () => {
      const made = router({ confined: true });
      const hostile = '$(touch HIT)`touch HIT`;touch HIT;\'"& *';
      const quoted = hostile.replaceAll("'", "'\\''");
      const long = 'a'.repeat(33);
      made.configure(
        `config server\n\toption enabled '1'\n\nconfig server '${long}'\n\toption enabled '1'\n\nconfig server 'home'\n\toption enabled '1'\n` +
          ['port', 'ca', 'cert', 'key', 'tls_crypt'].map(name => `\toption ${name} '/${quoted}'\n`).join('') +
          `\tlist proto '${quoted}'\n\tlist proto 'udp'\n`,
      );
      for (const action of ['start', 'reload']) {
        const told = made.run(shell, INIT, [action]);
        deepStrictEqual([told.status, instances(told)], [0, ['home']]);
        ok(told.records.every(line => !line.startsWith('string\tdest_port')));
        ok(told.calls.some(line => line.includes(`section '${long}' does not run`)));
      }
      deepStrictEqual(
        readdirSync(made.root).filter(name => name.includes('HIT')),
        [],
      );
      strictEqual(existsSync(join(made.root, 'lib/netifd/proto/HIT')), false);
      made.close();
    });

    it('say to netifd what the handler is, and to the tunnel what netifd wants', () => {
      const made = router({ confined: false });
      made.configure(CONFIG);
      const dump = made.run(shell, PROTO, ['ovpnd', 'dump']);
      deepStrictEqual(dump.records, ['option\tnohostroute', 'flags\t1\t1\t1\t1\t1']);
      const setup = (data: string): Told => made.run(shell, PROTO, ['ovpnd', 'setup', 'office', data]);
      deepStrictEqual(setup('{}').calls, [
        'ubus -S -t 3 call ovpnd.office interface {"up":true,"host_route":true}',
      ]);
      deepStrictEqual(setup('{"nohostroute":true}').calls, [
        'ubus -S -t 3 call ovpnd.office interface {"up":true,"host_route":false}',
      ]);
      deepStrictEqual(made.run(shell, PROTO, ['ovpnd', 'teardown', 'office', '{}']).calls, [
        'ubus -S -t 3 call ovpnd.office interface {"up":false}',
      ]);
      made.close();
    });

    it('report an interface without an enabled tunnel, but not one whose tunnel only starts later', () => {
      const made = router({ confined: false, deaf: true });
      const setup = (): readonly string[] =>
        made.run(shell, PROTO, ['ovpnd', 'setup', 'office', '{}']).records;
      made.configure("config client 'office'\n\toption enabled '1'\n");
      deepStrictEqual(setup(), []);
      made.configure("config client 'office'\n\toption enabled '0'\n");
      deepStrictEqual(setup(), ['error\toffice\tTUNNEL_NOT_ENABLED']);
      made.close();
    });
  });
}

describe('files of a router', () => {
  const walk = (folder: string): string[] =>
    readdirSync(folder, { withFileTypes: true }).flatMap(entry =>
      entry.isDirectory() ? walk(join(folder, entry.name)) : [join(folder, entry.name)],
    );
  const files = walk(FILES);

  it('have the modes they need', () => {
    for (const file of files) {
      const isProgram = readFileSync(file, 'utf8').startsWith('#!');
      strictEqual((statSync(file).mode & 0o111) !== 0, isProgram, file);
    }
  });

  it('are valid JSON where they say so', () => {
    const json = files.filter(file => file.endsWith('.json'));
    strictEqual(json.length, 3);
    for (const file of json) JSON.parse(readFileSync(file, 'utf8'));
  });

  it('give the daemon no capability but what it needs', () => {
    for (const [name, wanted] of [
      ['ovpnd', ['CAP_NET_ADMIN']],
      ['ovpnd-lowport', ['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE']],
    ] as const) {
      const sets = JSON.parse(readFileSync(`${FILES}/etc/capabilities/${name}.json`, 'utf8')) as object;
      deepStrictEqual(Object.keys(sets).sort(), [
        'ambient',
        'bounding',
        'effective',
        'inheritable',
        'permitted',
      ]);
      for (const set of Object.values(sets)) deepStrictEqual(set, wanted);
    }
  });

  it('are clean shell', function () {
    const shells = files.filter(file => /^#!\/bin\/sh/.test(readFileSync(file, 'utf8')));
    strictEqual(shells.length, 3);
    const checked = spawnSync('shellcheck', ['-s', 'dash', ...shells, 'test/openwrt/standin/functions.sh'], {
      encoding: 'utf8',
    });
    if (checked.error !== undefined) return this.skip();
    strictEqual(checked.stdout, '');
  });
});
