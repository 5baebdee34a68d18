// SPDX-License-Identifier: Apache-2.0
// The methods behind the web pages, on real files: what each does, what each refuses, and that nothing that is typed
// into them makes them throw, reach a path or give away a key.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import fc from 'fast-check';
import { encodeUtf8 } from '../../src/core/bytes.ts';
import { answer, methodList } from '../../src/daemon/rpcd.ts';
import { METHODS } from '../../src/daemon/rpcmethods.ts';
import type { Host } from '../../src/host/host.ts';
import { newHost, temporary } from '../shim/support.ts';

const host = newHost();
const READ_METHODS = ['schema', 'tunnels', 'settings', 'propose', 'check', 'pki_list'];

type Json = Readonly<Record<string, unknown>>;

interface Scene {
  readonly config: string;
  readonly keys: string;
  call(method: string, args?: unknown): Json;
  text(file?: string): string;
}

function scene(
  name: string,
  files: Readonly<Record<string, string>> = { ovpnd: '' },
  machine: Host = host,
): Scene {
  const root = temporary(`luci.${name}`);
  const [config, keys] = [`${root}/config`, `${root}/keys`];
  fs.mkdirSync(config, { recursive: true });
  for (const [file, text] of Object.entries(files)) fs.writeFileSync(`${config}/${file}`, text);
  const ground = {
    configDirectory: config,
    keyDirectory: keys,
    runDirectory: `${root}/run`,
    ubusSocket: `${root}/none`,
  };
  return {
    config,
    keys,
    call: (method, args = {}) => answer(machine, ground, method, encodeUtf8(JSON.stringify(args))) as Json,
    text: (file = 'ovpnd') => fs.readFileSync(`${config}/${file}`, 'utf8'),
  };
}

const WALL = "config zone\n\toption name 'lan'\n\n# mine\nconfig zone\n\toption name 'wan'\n";
const WISH = {
  tunnel: 'home',
  address: '10.8.0.1/24',
  port: 1194,
  proto: 'both',
  internet: true,
  lan: true,
  networks: '192.168.1.0/24 fd42::/64',
  dns: '192.168.1.1',
  firewall: true,
};

function home(name: string): Scene {
  const made = scene(name, { ovpnd: '# ours\n', firewall: WALL });
  assert.deepEqual(made.call('server_create', WISH), {});
  return made;
}

const refusals = (rows: readonly (readonly [string, unknown, RegExp])[], { call }: Scene): void => {
  for (const [method, args, rule] of rows) {
    const { error } = call(method, args);
    assert.match(String(error), rule, `${method} ${JSON.stringify(args).slice(0, 200)}`);
    assert.doesNotMatch(String(error), /\n/);
  }
};

const secretsOf = ({ keys }: Scene): string[] =>
  ['ca.key', 'server.key', 'tls-crypt-v2.key'].map(file => {
    return fs.readFileSync(`${keys}/home/${file}`, 'utf8').split('\n')[1]!;
  });

describe('methods behind the web pages', () => {
  it('lists what rpcd needs: a sample of each argument', () => {
    const list = methodList() as Record<string, Json>;
    assert.deepEqual(Object.keys(list), Object.keys(METHODS));
    assert.deepEqual(list.export, { tunnel: '', peer: '', remote: '', port: 0, days: 0 });
    for (const args of Object.values(list)) {
      for (const name of Object.keys(args)) assert.doesNotMatch(name, /path|file|dir/);
    }
  });

  it('makes a server with authority, keys and firewall, and a profile that is given once', () => {
    const made = home('create');
    assert.match(made.text(), /^# ours\n/);
    assert.match(made.text(), /list proto 'udp'\n\tlist proto 'tcp'\n/);
    assert.match(made.text(), /list push_route '192\.168\.1\.0\/24'\n\tlist push_route 'fd42::\/64'/);
    assert.match(
      made.text('firewall'),
      /^config zone\n\toption name 'lan'\n\n# mine\n[\s\S]*list device 'ov-home'/,
    );
    assert.deepEqual(made.call('check'), { problems: [], effects: [] });
    const { profile } = made.call('export', {
      tunnel: 'home',
      peer: 'phone',
      remote: 'vpn.example',
      days: 30,
    });
    assert.match(String(profile), /remote vpn\.example 1194 udp\n[\s\S]*BEGIN PRIVATE KEY/);
    const key = String(profile).split('BEGIN PRIVATE KEY-----\n')[1]!.split('\n')[0]!;
    for (const file of fs.readdirSync(`${made.keys}/home`, { recursive: true, encoding: 'utf8' })) {
      const path = `${made.keys}/home/${file}`;
      if (fs.statSync(path).isFile()) assert.ok(!fs.readFileSync(path, 'utf8').includes(key), file);
    }
    const { certificates } = made.call('pki_list', { tunnel: 'home' }) as { certificates: Json[] };
    assert.deepEqual(certificates.map(item => [item.common_name, item.state]).sort(), [
      ['home', 'valid'],
      ['phone', 'valid'],
    ]);
    const before = fs.readFileSync(`${made.keys}/home/server.crt`, 'utf8');
    assert.deepEqual(made.call('pki_renew', { tunnel: 'home' }), {});
    assert.notEqual(fs.readFileSync(`${made.keys}/home/server.crt`, 'utf8'), before);
    assert.equal(made.call('pki_revoke', { tunnel: 'home', peer: 'phone' }).count, 1);
    assert.deepEqual(made.call('peer_enable', { tunnel: 'home', peer: 'phone', enabled: false }), {});
    assert.match(made.text(), /config peer 'phone'\n\toption enabled '0'/);
    assert.deepEqual(made.call('peer_enable', { tunnel: 'home', peer: 'phone', enabled: true }), {});
    assert.match(made.text(), /config peer 'phone'\n\toption enabled '1'/);
    const [tunnel] = made.call('tunnels').tunnels as Json[];
    assert.deepEqual(tunnel!.peers, [{ name: 'phone', common_name: 'phone', enabled: true }]);
  });

  it('keeps clients out of the local network when they shall not reach it, where a firewall can', () => {
    const router = newHost();
    const status = (path: string) => host.files.status(path === '/sbin/fw4' ? '/proc/self/exe' : path);
    Object.assign(router.files, { status });
    const wish = { ...WISH, lan: false };
    const blocks = (title: string, machine: Host, words: object): boolean => {
      const made = scene(title, { ovpnd: '', firewall: WALL }, machine);
      assert.deepEqual(made.call('server_create', words), {});
      assert.deepEqual(made.call('check'), { problems: [], effects: [] });
      assert.equal(/dest 'lan'/.test(made.text('firewall')), words === WISH);
      return /option block_lan '1'/.test(made.text());
    };
    assert.equal(blocks('out', router, wish), true);
    assert.equal(blocks('in', router, WISH), false);
    // Who does not let us at the firewall says himself what it does; elsewhere the option would be refused.
    assert.equal(blocks('untouched', router, { ...wish, firewall: false }), false);
    assert.equal(blocks('no-fw4', host, wish), false);
  });

  it('makes a server with IPv6 and Ed25519 keys when asked to', () => {
    const made = scene('wishes', { ovpnd: '', firewall: WALL });
    const wish = { ...WISH, address6: 'fd42:8::1/64', kind: 'ed25519' };
    assert.deepEqual(made.call('propose').key_kinds, ['ec', 'ed25519']);
    assert.deepEqual(made.call('server_create', wish), {});
    assert.match(made.text(), /list address '10\.8\.0\.1\/24'\n\tlist address 'fd42:8::1\/64'\n/);
    const key = spawnSync('openssl', ['pkey', '-in', `${made.keys}/home/ca.key`, '-noout', '-text'], {
      encoding: 'utf8',
    });
    assert.match(key.stdout, /^ED25519 Private-Key/);
    const other = { ...wish, tunnel: 'other', port: 1195, address: '10.9.0.1/24' };
    refusals(
      [
        ['server_create', { ...other, address6: 'fd42:8::2/64' }, /overlaps fd42:8::1\/64 of server 'home'/],
        ['server_create', { ...other, address6: '10.10.0.1/24' }, /is a second IPv4 subnet/],
        ['server_create', { ...other, address6: 'fd42:9::/64' }, /must be an address of its subnet/],
        ['server_create', { ...other, address6: 'fd42:9::1' }, /argument address6 must be/],
        ['server_create', { ...other, kind: 'rsa' }, /argument kind must be one of ec, ed25519/],
      ],
      made,
    );
  });

  it('leaves everything as it was when a server cannot be made', () => {
    const made = home('undone');
    const before = [made.text(), made.text('firewall')];
    const other = { ...WISH, tunnel: 'other', port: 1195, address: '10.9.0.1/24' };
    refusals(
      [
        ['server_create', WISH, /section 'home' already/],
        ['server_create', { ...other, port: 1194 }, /port|1194/],
        ['server_create', { ...other, address: '10.8.0.1/24' }, /overlaps 10\.8\.0\.1\/24 of server 'home'/],
        ['server_create', { ...other, address: '10.9.0.0/24' }, /must be an address of its subnet/],
        ['server_create', { ...other, address: '/etc/shadow' }, /argument address must be/],
        ['server_create', { ...other, networks: 'lan' }, /argument networks must be/],
        ['server_create', { ...other, networks: '192.168.1.1/24' }, /host bits/],
        ['server_create', { ...other, networks: '10.9.0.0/16' }, /overlaps 10\.9\.0\.0\/16/],
        ['server_create', { ...other, proto: 'sctp' }, /argument proto must be one of udp, tcp, both/],
        ['server_create', { ...other, tunnel: '../x' }, /argument tunnel must be/],
        ['server_create', { ...other, internet: 'yes' }, /argument internet must be true or false/],
        ['server_create', { ...other, firewall: undefined }, /argument firewall is missing/],
      ],
      made,
    );
    fs.writeFileSync(`${made.config}/firewall`, "config zone\n\toption name 'lan'\n");
    refusals([['server_create', other, /has no zone 'wan'/]], made);
    fs.writeFileSync(`${made.config}/firewall`, "config 'zone\n");
    refusals([['server_create', other, /firewall:1: /]], made);
    fs.rmSync(`${made.config}/firewall`);
    refusals([['server_create', other, /firewall cannot be read/]], made);
    assert.equal(made.text(), before[0]);
    // Keys that somebody left there are nobody's to overwrite: then the firewall is as it was, too.
    fs.writeFileSync(`${made.config}/firewall`, before[1]!);
    fs.mkdirSync(`${made.keys}/other`);
    fs.writeFileSync(`${made.keys}/other/ca.key`, 'x');
    refusals([['server_create', other, /there already/]], made);
    assert.deepEqual([made.text(), made.text('firewall')], before);
  });

  it('shows settings without secrets and saves what check accepts', () => {
    const made = scene('settings', {
      ovpnd:
        "config client 'office'\n\toption username 'bob'\n\toption password 'hunter2'\n\toption pasword 'typo'\n\tlist remote 'a.example'\n",
    });
    const shown = JSON.stringify(made.call('settings'));
    assert.doesNotMatch(shown, /bob|hunter2|typo/);
    assert.match(shown, /"secrets":\["username","password"\]/);
    const change = (options: Json): unknown => ({ changes: [{ type: 'client', name: 'office', options }] });
    const before = made.text();
    const { problems } = made.call('save', change({ remote: ['b.example 99999'] })) as { problems: Json[] };
    assert.ok(problems.some(({ option, rule }) => option === 'remote' && /port number/.test(String(rule))));
    assert.equal(made.text(), before);
    refusals(
      [
        ['save', change({ remote: 'a.example' }), /option remote is a list/],
        ['save', change({ metric: ['1'] }), /option metric is a single option/],
        ['save', change({ nonsense: '1' }), /a client has no option nonsense/],
        ['save', change({ port: '1' }), /a client has no option port/],
        ['save', change({ ca: '/etc/shadow' }), /option ca must be a file in /],
        ['save', change({ ca: '../../etc/shadow' }), /option ca must be a file in /],
        ['save', change({ ca: 'absent.crt' }), /option ca must be a file in /],
        ['save', { changes: [{ type: 'server', name: 'office' }] }, /a client section 'office' already/],
        ['save', { changes: [{ type: 'zone', name: 'x' }] }, /argument changes must be/],
        ['save', { changes: [{ type: 'peer', name: 'a b' }] }, /argument changes must be/],
        ['save', { changes: [{ type: 'peer', name: 'x', options: { a: 1 } }] }, /argument changes must be/],
        ['save', change({ metric: '1\n\toption key /x' }), /argument changes must be/],
        ['save', { changes: [{ type: 'peer', name: 'x', remove: true }] }, /there is no peer section/],
        ['save', { changes: {} }, /argument changes must be/],
      ],
      made,
    );
    assert.equal(made.text(), before);
  });

  it('changes a running server at the cost that the schema names, and removes it with its peers', () => {
    const made = home('cost');
    const change = (options: Json): unknown => ({ changes: [{ type: 'server', name: 'home', options }] });
    assert.deepEqual(made.call('save', change({ max_clients: '5', push_dns: null })).effects, [
      { tunnel: 'home', kind: 'changed', cost: 'new sessions' },
    ]);
    assert.match(made.text(), /option max_clients '5'/);
    assert.doesNotMatch(made.text(), /push_dns/);
    assert.deepEqual(made.call('save', change({ ca: 'ca.crt' })).effects, []);
    const { hash } = made.call('hash_password', { password: "it's" });
    assert.match(String(hash), /^\$6\$[./A-Za-z0-9]{16}\$[./A-Za-z0-9]{86}$/);
    const add = [
      { type: 'server', name: 'home', options: { auth: 'users' } },
      { type: 'user', name: 'eve', options: { tunnel: 'home', password_hash: hash } },
      { type: 'peer', name: 'phone', options: { tunnel: 'home', address: ['10.8.0.9'] } },
    ];
    assert.deepEqual((made.call('check', { changes: add }) as { problems: Json[] }).problems, []);
    assert.doesNotMatch(made.text(), /eve/);
    assert.deepEqual((made.call('save', { changes: add }) as { problems: Json[] }).problems, []);
    assert.match(made.text(), /config user 'eve'/);
    assert.doesNotMatch(JSON.stringify(made.call('settings')), /\$6\$/);
    made.call('save', { changes: [{ type: 'server', name: 'home', remove: true }] });
    assert.equal(made.text().trim(), '');
    refusals([['hash_password', { password: '' }, /empty password/]], made);
  });

  it('saves no server whose subnet, port or device is taken, and says by whom', () => {
    const made = home('clash');
    const second = (options: Json): unknown => {
      const files = { ca: '/x/ca', cert: '/x/cert', key: '/x/key' };
      const text = Object.entries(files).map(([name, path]) => `\toption ${name} '${path}'\n`);
      fs.writeFileSync(`${made.config}/ovpnd`, `${before}\nconfig server 'other'\n${text.join('')}`);
      const sound = { address: ['10.9.0.1/24'], port: '1195', enabled: '1' };
      return { changes: [{ type: 'server', name: 'other', options: { ...sound, ...options } }] };
    };
    const before = made.text();
    const rulesOf = (options: Json): string[] =>
      (made.call('save', second(options)).problems as Json[])
        .filter(({ severity, option }) => severity === 'error' && !/^(?:ca|cert|key)$/.test(String(option)))
        .map(({ section, option, rule }) => `${section} ${option} ${rule}`);
    assert.deepEqual(rulesOf({ address: ['10.8.0.129/25'] }), [
      "other address overlaps 10.8.0.1/24 of server 'home'",
    ]);
    assert.deepEqual(rulesOf({ port: '1194' }), [
      "other port server 'home' listens on the same address and port 1194",
    ]);
    assert.deepEqual(rulesOf({ device: 'ov-home' }), [
      "other device the interface ov-home is that of 'home'",
    ]);
    assert.deepEqual(rulesOf({}), []);
    assert.deepEqual(rulesOf({ address: ['10.8.0.1/24'], enabled: '0' }), []);
    assert.doesNotMatch(made.text(), /10\.9\.0\.1|1195/);
  });

  it('imports a profile whose files are inside, and none that names files', () => {
    const made = home('import');
    const { profile } = made.call('export', { tunnel: 'home', peer: 'phone', remote: 'vpn.example' });
    const plan = made.call('import_plan', { text: profile, name: 'away' });
    assert.deepEqual(plan.problems, []);
    assert.doesNotMatch(made.text(), /away/);
    assert.deepEqual(made.call('import', { text: profile, name: 'away', enabled: false }).problems, []);
    assert.match(made.text(), /config client 'away'\n\toption enabled '0'/);
    const named = 'client\nremote a.example\nca /etc/shadow\nauth-user-pass\n';
    const refused = made.call('import', { text: named, name: 'thief' });
    assert.match(JSON.stringify(refused.verdicts), /names a file, which a web page cannot give/);
    assert.ok((refused.problems as string[]).length > 0);
    assert.doesNotMatch(made.text(), /thief/);
    refusals(
      [
        ['import', { text: '', name: 'x' }, /argument text must be/],
        ['import', { text: 'x'.repeat(262_145), name: 'x' }, /argument text must be/],
        ['import', { text: 'client', name: 'x', username: 'a\nb' }, /argument username must be/],
        ['import_plan', { text: 'client', name: 'x/y' }, /argument name must be/],
      ],
      made,
    );
  });

  it('refuses arguments of another kind, unknown ones and unknown methods', () => {
    const made = scene('refuse');
    refusals(
      [
        ['nothing', {}, /no such method/],
        ['toString', {}, /no such method/],
        ['tunnels', [], /must be a JSON object/],
        ['tunnels', { path: '/etc' }, /there is no argument path/],
        ['tunnels', { 'a\nb': 1 }, /there is no argument of this name/],
        ['pki_list', {}, /argument tunnel is missing/],
        ['pki_list', { tunnel: 7 }, /argument tunnel must be/],
        ['pki_list', { tunnel: 'none' }, /none/],
        ['pki_init', { tunnel: 'none', kind: 'rsa' }, /argument kind must be one of ec, ed25519/],
        ['pki_init', { tunnel: 'none' }, /there is no server 'none'/],
        ['pki_renew', { tunnel: 'none' }, /there is no authority yet/],
        ['pki_renew', { tunnel: '../x' }, /argument tunnel must be/],
        ['pki_revoke', { tunnel: 'none', peer: 'a/b' }, /argument peer must be/],
        ['peer_enable', { tunnel: 'none', peer: 'a', enabled: true }, /there is no server/],
        ['export', { tunnel: 'none', peer: 'a', remote: 'x y' }, /argument remote must be/],
        ['export', { tunnel: 'none', peer: 'a', remote: 'x', port: 65_536 }, /argument port must be/],
        ['export', { tunnel: 'none', peer: 'a', remote: 'x', days: 0.5 }, /argument days must be/],
        ['export', { tunnel: 'none', peer: 'a', remote: 'x' }, /no usable server 'none'/],
        ['hash_password', { password: 'x'.repeat(129) }, /argument password must be/],
      ],
      made,
    );
    // What rpcd adds is no argument.
    assert.deepEqual(made.call('tunnels', { ubus_rpc_session: '0'.repeat(32) }), { tunnels: [] });
    for (const input of ['', '{', 'null', '"x"', '[', `${'['.repeat(50_000)}`, '\xff\xfe']) {
      const bytes = Uint8Array.from(input, character => character.charCodeAt(0));
      const ground = {
        configDirectory: made.config,
        keyDirectory: made.keys,
        runDirectory: '/x',
        ubusSocket: '/x',
      };
      assert.match(String((answer(host, ground, 'tunnels', bytes) as Json).error), /must be a JSON object/);
    }
  });

  it('reads give no key, whatever they are asked', () => {
    const made = home('reads');
    const secrets = secretsOf(made);
    for (const method of READ_METHODS) {
      const args = method === 'pki_list' ? { tunnel: 'home' } : {};
      const text = JSON.stringify(made.call(method, args));
      for (const secret of secrets) assert.ok(!text.includes(secret), method);
    }
  });

  it('stands any arguments', () => {
    const made = home('fuzz');
    const before = fs.readdirSync(made.config).join();
    const secrets = secretsOf(made);
    const names = Object.keys(METHODS);
    const word = fc.oneof(
      fc.constantFrom(
        'home',
        'alice',
        '../x',
        '__proto__',
        'constructor',
        '10.8.0.1/24',
        'udp',
        '',
        '\0',
        "';",
      ),
      fc.string({ unit: 'binary', maxLength: 40 }),
    );
    const value = fc.oneof(word, fc.integer(), fc.boolean(), fc.jsonValue({ maxDepth: 3 }));
    const change = fc.record({
      type: fc.constantFrom('server', 'client', 'peer', 'user', 'zone'),
      name: word,
      options: fc.dictionary(fc.constantFrom('port', 'ca', 'key', 'enabled', 'tunnel', '__proto__'), value),
    });
    const call = fc.constantFrom(...names).chain(name => {
      const known = Object.keys(METHODS[name]!.args);
      const args = known.length === 0 ? fc.constant({}) : fc.dictionary(fc.constantFrom(...known), value);
      return fc.tuple(fc.constant(name), fc.oneof(args, fc.jsonValue()), fc.array(change, { maxLength: 3 }));
    });
    fc.assert(
      fc.property(call, ([name, args, changes]) => {
        const isEdit = name === 'check' || name === 'save';
        const given = isEdit ? { changes } : args;
        const text = JSON.stringify(made.call(name, given));
        if (name !== 'export') for (const secret of secrets) assert.ok(!text.includes(secret), name);
      }),
      { numRuns: 300 },
    );
    assert.equal(fs.readdirSync(made.config).join(), before);
    assert.deepEqual(
      (made.call('check') as { problems: Json[] }).problems.filter(({ severity }) => severity === 'error'),
      [],
    );
  });

  for (const command of [['build/ovpnd'], ['node', 'build/ovpnd.js']]) {
    it(`speaks rpcd's protocol: ${command.join(' ')}`, () => {
      const { config, keys } = scene(`plugin${command.length}`);
      const run = (words: readonly string[], input: string) => {
        const [program, ...first] = command;
        const place = ['-c', config, '-k', keys, '-r', '/nonexistent', '-u', '/nonexistent'];
        return spawnSync(program!, [...first, 'rpcd', ...words, ...place], { input, encoding: 'utf8' });
      };
      assert.deepEqual(JSON.parse(run(['list'], '').stdout), methodList());
      assert.equal(run(['call', 'tunnels'], '{}').stdout, '{"tunnels":[]}\n');
      const profile = { name: 'x', text: 'y'.repeat(200_000) };
      const { verdicts } = JSON.parse(run(['call', 'import_plan'], JSON.stringify(profile)).stdout);
      assert.ok(Array.isArray(verdicts));
      assert.equal(
        run(['call', 'tunnels'], ' '.repeat(600_000)).stdout,
        '{"error":"that is too much at once"}\n',
      );
      for (const words of [[], ['call'], ['list', 'x'], ['other']]) assert.equal(run(words, '{}').status, 64);
    });
  }
});
