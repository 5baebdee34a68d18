// SPDX-License-Identifier: Apache-2.0
// Each row of the schema with values that are taken and values that are refused. A row without both fails.

import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Config } from '../../../src/uci/config.ts';
import { readConfig } from '../../../src/uci/config.ts';
import type { OptionRow, SectionType } from '../../../src/uci/schema.ts';
import { COSTS, camelCase, OPTIONS, optionsOf, SECTION_TYPES } from '../../../src/uci/schema.ts';

const FP = Array(32).fill('aB').join(':');
const BOOLS = { yes: ['1', 'on', 'true', 'yes', 'enabled', '0', 'off'], no: ['2', 'TRUE', 'maybe'] };
const PATHS = {
  yes: ['/etc/ovpnd/x.pem', '/etc/ö x'],
  no: ['x.pem', '/etc/', '/a\nb', `/${'a'.repeat(4095)}`],
};
const NETWORKS = {
  yes: ['192.168.1.0/24', 'fd42:1::/32', '10.0.0.1', '0.0.0.0/0'],
  no: ['192.168.1.1/24', 'fd42::1/64', '10.0.0.0/33', 'lan', '::ffff:10.0.0.0/120'],
};
const SIZES = { yes: ['4096', '67108864'], no: ['4095', '67108865', '-1', '0x1000', 'big'] };
const NAMES = { yes: ['P-256:X25519', 'TLS_AES_128_GCM_SHA256'], no: ['a b', 'a;b', 'x'.repeat(1025)] };
const TIMES = { yes: ['1', '3600'], no: ['0', '3601', '1.5'] };
const FINGERPRINTS = { yes: [FP, FP.replaceAll(':', '')], no: [FP.slice(3), `${FP}:00`, 'sha256'] };
const SECTIONS = { yes: [] as string[], no: ['a-b', 'x'.repeat(33)] };

interface Values {
  readonly yes: readonly string[];
  readonly no: readonly string[];
}

/** By option, or by section and option where a name means several things. */
const VALUES: Readonly<Record<string, Values>> = {
  enabled: BOOLS,
  device: { yes: ['ov0', 'a.b_c-d', 'x'.repeat(15)], no: ['x'.repeat(16), 'a/b', '.', '..', 'a b'] },
  data_plane: { yes: ['auto', 'kernel', 'native', 'js'], no: ['dco', 'AUTO'] },
  mode: { yes: ['multi', 'p2p'], no: ['server', 'tap'] },
  tun_mtu: { yes: ['576', '1500', '65000'], no: ['575', '65001', '1e3'] },
  log_level: { yes: ['error', 'warn', 'info', 'debug'], no: ['3', 'verbose'] },
  reneg_sec: { yes: ['0', '3600', '604800'], no: ['604801', '-1', '1h'] },
  reneg_pkts: { yes: ['0', '1000', '4294967295'], no: ['4294967296', '-1', '1k'] },
  reneg_bytes: { yes: ['0', '64000000', '9999999999'], no: ['10000000000', '-1', '64M'] },
  hand_window: { yes: ['5', '3600'], no: ['4', '3601', ' 60'] },
  mssfix: { yes: ['0', '1450', '1492', '65000'], no: ['65001', 'x', '-1'] },
  data_threads: { yes: ['1', '2'], no: ['0', '3', 'x'] },
  offload: { yes: ['tun_tso', 'tun_uso', 'tun_gro', 'tx_gso', 'rx_gro', 'none'], no: ['tso', '1'] },
  ca: PATHS,
  cert: PATHS,
  key: PATHS,
  extra_certs: PATHS,
  crl: PATHS,
  pkcs12: PATHS,
  peer_fingerprint: FINGERPRINTS,
  verify_x509_name: { yes: ['vpn.example.org'], no: ['a\tb', 'x'.repeat(281)] },
  tls_auth: PATHS,
  key_direction: { yes: ['0', '1'], no: ['2', '00'] },
  tls_auth_digest: { yes: ['SHA1', 'SHA256', 'SHA384', 'SHA512'], no: ['MD5', 'sha1', 'none'] },
  tls_crypt: PATHS,
  tls_crypt_v2: PATHS,
  tls_version_min: { yes: ['1.2', '1.3'], no: ['1.0', '1.1', '1.4'] },
  tls_cipher: NAMES,
  tls_ciphersuites: NAMES,
  tls_groups: NAMES,
  data_ciphers: {
    yes: ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305', 'aes-256-gcm'],
    no: ['BF-CBC', 'AES-256-CBC', 'none', 'AES-256-GCM:AES-128-GCM', 'constructor'],
  },
  keepalive: { yes: ['10 60', '1 2', '60\t86400'], no: ['10', '10 19', '0 0', '10 60 1', '10 86401', 'a b'] },
  explicit_exit_notify: { yes: ['0', '1', '30'], no: ['31', 'on'] },
  float: { yes: ['1', 'yes'], no: ['0', 'off', 'x'] },
  sndbuf: SIZES,
  rcvbuf: SIZES,
  fwmark: {
    yes: ['1', '0x1', '0xffffffff', '4294967295'],
    no: ['0', '0x0', '4294967296', '0x1ffffffff', '1/1'],
  },
  bind_device: { yes: ['wan', 'eth0.2'], no: ['a b', 'x'.repeat(16)] },
  local: {
    yes: ['0.0.0.0', '192.0.2.1', '::', '2001:db8::1'],
    no: ['lan', '192.0.2.256', '224.0.0.1', 'ff02::1'],
  },
  port: { yes: ['1', '1194', '65535'], no: ['0', '65536', '99999', '01194', 'openvpn'] },
  proto: { yes: ['udp', 'udp4', 'udp6', 'tcp', 'tcp4', 'tcp6'], no: ['sctp', 'tcp5', 'tcp-client', 'TCP'] },
  'server.address': {
    yes: ['10.8.0.1/24', '10.8.0.2/30', '10.0.0.1/8', 'fd42:8::1/64', 'fd42:8::2/124'],
    no: [
      '10.8.0.0/24',
      '10.8.0.255/24',
      '10.8.0.1',
      '10.8.0.1/31',
      '10.8.0.1 10.8.0.2',
      '10.8.0.1/7',
      '127.0.0.1/8',
      '224.0.0.1/24',
      '0.1.2.3/24',
      'fd42:8::/64',
      'fd42:8::1/63',
      'fd42:8::1/125',
      'fe80::1/64',
      'ff02::1/64',
      '::1/64',
      '::ffff:10.8.0.1/120',
      'x/24',
    ],
  },
  'client.address': {
    yes: [
      '10.9.0.2/30',
      '10.9.0.0/31',
      '10.9.0.1/31',
      'fd42:9::1/64',
      'fd42:9::/127',
      '10.9.0.1 10.9.0.2',
      'fd42::1\tfd43::1',
    ],
    no: [
      '10.9.0.0/30',
      '10.9.0.1/32',
      '10.9.0.1',
      'fd42:9::1/128',
      'fd42:9::1/63',
      '10.9.0.1 10.9.0.1',
      '10.9.0.1 fd42::1',
      '10.9.0.1 10.9.0.2 10.9.0.3',
      '10.9.0.1/24 10.9.0.2',
      '10.9.0.1 127.0.0.1',
      '10.9.0.1 255.255.255.252',
      'a b',
    ],
  },
  client_to_client: BOOLS,
  block_lan: BOOLS,
  duplicate_cn: BOOLS,
  open_firewall: BOOLS,
  max_clients: { yes: ['1', '253'], no: ['0', '65536', 'many'] },
  'server.remote_cert_tls': { yes: ['none', 'client'], no: ['server', '1'] },
  verify_client_cert: { yes: ['require', 'optional', 'none'], no: ['1'] },
  auth: { yes: ['none', 'users', 'ubus'], no: ['pam'] },
  auth_method: { yes: ['radius.login check'], no: ['radius', 'a b c', 'a/b c'] },
  push_route: NETWORKS,
  push_dns: { yes: ['192.168.1.1', 'fd42::1'], no: ['dns.example.org', '239.0.0.1', '1.1.1'] },
  push_domain: {
    yes: ['lan', 'home.example.org.', '_x.example'],
    no: ['-a.org', 'a..b', 'a b', '10.0.0.1', 'x'.repeat(64), `${'a.'.repeat(127)}a`],
  },
  push_option: {
    yes: ['dhcp-option NTP 10.0.0.1', 'x'.repeat(255)],
    no: [' ', 'a,b', 'a\nb', 'a\u0085', 'x'.repeat(256), 'ä'.repeat(128)],
  },
  redirect_gateway: BOOLS,
  remote: {
    yes: [
      'vpn.example.org',
      'vpn.example.org 443',
      '192.0.2.1 1194 udp4',
      '2001:db8::1 1194 udp6',
      '127.0.0.1 9',
      'vpn.example.org 443 tcp',
      'vpn.example.org 443 tcp6',
      '192.0.2.1 443 tcp4',
    ],
    no: [
      '192.0.2.1 443 tcp6',
      'vpn.example.org 443 tcp5',
      'vpn.example.org 443 tcp-client',
      'vpn.example.org 0',
      'vpn.example.org 1194 sctp',
      'vpn.example.org 1194 udp x',
      '192.0.2.1 1194 udp6',
      '2001:db8::1 1194 udp4',
      '0.0.0.0',
      '10.0.0.300',
      '-x',
    ],
  },
  remote_random: BOOLS,
  'client.remote_cert_tls': { yes: ['server', 'none'], no: ['client', '1'] },
  username: { yes: ['alice'], no: ['a\nb', 'x'.repeat(129)] },
  password: { yes: ['hunter2'], no: ['a\nb', 'x'.repeat(129)] },
  auth_user_pass: PATHS,
  route_nopull: BOOLS,
  pull_dns: BOOLS,
  kill_switch: BOOLS,
  route: NETWORKS,
  metric: { yes: ['0', '2147483647'], no: ['-1', '2147483648'] },
  connect_retry: { yes: ['1', '5 5', '1 86400'], no: ['0', '10 5', '1 2 3', '1 x', '86401'] },
  connect_timeout: TIMES,
  server_poll_timeout: TIMES,
  tunnel: { ...SECTIONS, yes: ['s'] },
  common_name: { yes: ['alice-phone', 'Jörg Müller', 'x'.repeat(64)], no: ['a\x07b', 'x'.repeat(65)] },
  fingerprint: FINGERPRINTS,
  'peer.address': {
    yes: ['10.8.0.10', 'fd42:8::10'],
    no: ['10.8.0.10/32', '10.9.0.1', '10.8.0.1', '10.8.0.0', 'x'],
  },
  name: { yes: ['alice'], no: ['x'.repeat(129), 'a\nb'] },
  password_hash: {
    yes: [`$6$salt$${'a'.repeat(86)}`, `$6$rounds=99999$salt$${'a'.repeat(86)}`],
    no: ['secret', `$1$salt$${'a'.repeat(22)}`, `$6$rounds=100000$salt$${'a'.repeat(86)}`],
  },
  totp_secret: { yes: ['JBSWY3DPEHPK3PXP'], no: ['jbswy3dpehpk3pxp', 'JBSW', '0'.repeat(16)] },
};

const BASE: Readonly<Record<SectionType, Readonly<Record<string, string>>>> = {
  server: { address: '10.8.0.1/24', ca: '/ca', cert: '/cert', key: '/key' },
  client: { remote: 'vpn.example.org', ca: '/ca', cert: '/cert', key: '/key' },
  peer: { tunnel: 's' },
  user: { tunnel: 's', password_hash: `$6$salt$${'a'.repeat(86)}` },
};

function quoted(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

function section(type: SectionType, name: string, options: Readonly<Record<string, string>>): string {
  const rows = Object.entries(options).map(([option, value]) => {
    const keyword = optionsOf(type).get(option)?.list === true ? 'list' : 'option';
    return `\t${keyword} ${option} ${quoted(value)}\n`;
  });
  return `config ${type} '${name}'\n${rows.join('')}`;
}

function read(text: string): Config {
  return readConfig('f', new Uint8Array(Buffer.from(text)), { hasAesInstructions: true });
}

/** Options that one needs beside it. */
const NEEDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  key_direction: { tls_auth: '/ta' },
  auth_method: { auth: 'ubus' },
  username: { password: 'x' },
  password: { username: 'x' },
  'server.route': { mode: 'p2p' },
  'server.metric': { mode: 'p2p' },
  'client.address': { mode: 'p2p' },
  kill_switch: { redirect_gateway: '1' },
};

/** The rules that a section with this value breaks. */
function rules(row: OptionRow, type: SectionType, value: string): string[] {
  const options: Record<string, string> = { ...BASE[type], [row.name]: value };
  // What asks for more than the value alone.
  if (row.name === 'auth' && value === 'ubus') options.auth_method = 'a b';
  if (row.name === 'verify_client_cert' && value !== 'require') options.auth = 'users';
  const needs = NEEDS[`${type}.${row.name}`] ?? NEEDS[row.name] ?? {};
  for (const [name, text] of Object.entries(needs)) options[name] ??= text;
  if (type === 'client' && value === 'p2p') options.address = '10.9.0.2/30';
  if (row.name === 'pkcs12') for (const name of ['cert', 'key']) delete options[name];
  const auth = type === 'user' ? { auth: 'users' } : {};
  const server = section('server', 's', { ...BASE.server, ...auth });
  const both = `${server}\tlist address 'fd42:8::1/64'\n`;
  const text =
    type === 'server' || type === 'client' ? section(type, 'x', options) : both + section(type, 'x', options);
  return read(text).problems.map(problem => problem.rule);
}

describe('schema', () => {
  for (const row of OPTIONS) {
    for (const type of row.sections) {
      it(`${type} ${row.name}`, () => {
        const values = VALUES[`${type}.${row.name}`] ?? VALUES[row.name];
        ok(values !== undefined && values.yes.length > 0 && values.no.length > 0, 'no values to test with');
        const expected = row.later === true && row.default === undefined ? ['not supported yet'] : [];
        for (const value of values.yes) deepEqual(rules(row, type, value).sort(), expected, value);
        for (const value of values.no) {
          const broken = rules(row, type, value);
          equal(broken.length, 1, value);
          if (row.later !== true) continue;
          const wellFormed = ['1450', 'users', 'ubus'].includes(value);
          equal(broken[0] === 'not supported yet', wellFormed, value);
        }
      });
    }
  }

  it('tests no option that is not there', () => {
    for (const key of Object.keys(VALUES)) {
      const name = key.replace(/^.*\./, '');
      ok(
        OPTIONS.some(row => row.name === name),
        key,
      );
    }
  });

  it('names each option once per section, explains it and gives a default that it would take', () => {
    for (const type of SECTION_TYPES) {
      const rows = OPTIONS.filter(row => row.sections.includes(type));
      equal(optionsOf(type).size, rows.length);
      for (const row of rows) {
        ok(/^[A-Z].*\.$/.test(row.help), row.name);
        ok(COSTS.includes(row.cost));
        if (typeof row.default === 'string') deepEqual(rules(row, type, row.default), [], row.name);
      }
    }
  });

  it('later words and secrets are where the design has them', () => {
    const secret = OPTIONS.filter(row => row.secret === true).map(row => row.name);
    deepEqual(secret, ['username', 'password', 'password_hash', 'totp_secret']);
    const files = OPTIONS.filter(row => row.file === 'secret').map(row => row.name);
    deepEqual(files, ['key', 'pkcs12', 'tls_auth', 'tls_crypt', 'tls_crypt_v2', 'auth_user_pass']);
    for (const row of OPTIONS) equal(row.file !== undefined, row.type.kind === 'path');
  });

  it('writes names in camel case', () => {
    equal(camelCase('tls_crypt_v2'), 'tlsCryptV2');
    equal(camelCase('verify_x509_name'), 'verifyX509Name');
  });
});
