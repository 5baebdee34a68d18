// SPDX-License-Identifier: Apache-2.0
// Whole files: the records they give, and the exact lines of what is wrong with them.

import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import { formatIp, formatPrefix } from '../../../src/core/address.ts';
import type { Config } from '../../../src/uci/config.ts';
import { formatProblem, readConfig } from '../../../src/uci/config.ts';

const SAMPLE = `
config server 'home'
	option enabled '1'
	option port '1194'
	list proto 'udp'                      # udp udp4 udp6 tcp tcp4 tcp6; several make several sockets
	list address '10.8.0.1/24'            # own address in each tunnel subnet; the pool is the rest of it
	list address 'fd42:8::1/64'
	option ca '/etc/ovpnd/home/ca.crt'
	option cert '/etc/ovpnd/home/server.crt'
	option key '/etc/ovpnd/home/server.key'
	option tls_crypt '/etc/ovpnd/home/tls-crypt.key'
	list push_route '192.168.1.0/24'
	list push_dns '192.168.1.1'

config peer 'alice_phone'
	option tunnel 'home'
	option common_name 'alice-phone'      # default: the section's name
	list address '10.8.0.10'              # fixed tunnel address
	list route '192.168.40.0/24'          # networks behind this peer

config client 'office'
	option enabled '1'
	list remote 'vpn.example.org 1194 udp'
	list remote 'vpn.example.org 443 tcp'
	option ca '/etc/ovpnd/office/ca.crt'
	option cert '/etc/ovpnd/office/client.crt'
	option key '/etc/ovpnd/office/client.key'
	option tls_crypt '/etc/ovpnd/office/tls-crypt.key'
`;
const SERVER = `config server 'a'
option enabled 1
list address 10.8.0.1/24
option ca /ca
option cert /cert
option key /key
`;
const CLIENT = `config client 'c'
option enabled 1
list remote vpn.example.org
option ca /ca
option cert /cert
option key /key
`;

function read(text: string, hasAesInstructions = true): Config {
  return readConfig('f', new Uint8Array(Buffer.from(text)), { hasAesInstructions });
}

function lines(text: string): string[] {
  return read(text).problems.map(formatProblem);
}

/** The problems of a file, and which sections were refused. */
function check(text: string, problems: readonly string[], refused: readonly string[] = []): void {
  const config = read(text);
  deepEqual(config.problems.map(formatProblem), problems);
  deepEqual(config.refused, refused);
}

describe('the sample configuration', () => {
  it('is read', () => {
    const config = read(SAMPLE);
    deepEqual(config.problems, []);
    equal(config.clients.length, 1);
    const server = config.servers[0]!;
    const { address, pushRoute, pushDns, peers, files, ...rest } = server;
    deepEqual(address.map(formatPrefix), ['10.8.0.1/24', 'fd42:8::1/64']);
    deepEqual(pushRoute.map(formatPrefix), ['192.168.1.0/24']);
    deepEqual(pushDns.map(formatIp), ['192.168.1.1']);
    deepEqual(
      files.map(({ option, secret, line }) => [option, secret, line]),
      [
        ['ca', false, 8],
        ['cert', false, 9],
        ['key', true, 10],
        ['tls_crypt', true, 11],
      ],
    );
    const { address: fixed, route, ...peer } = peers[0]!;
    deepEqual(fixed.map(formatIp), ['10.8.0.10']);
    deepEqual(route.map(formatPrefix), ['192.168.40.0/24']);
    deepEqual(peer, {
      name: 'alice_phone',
      line: 15,
      enabled: true,
      tunnel: 'home',
      commonName: 'alice-phone',
    });
    deepEqual(rest, {
      role: 'server',
      name: 'home',
      line: 2,
      enabled: true,
      device: 'ov-home',
      dataPlane: 'auto',
      mode: 'multi',
      metric: 0,
      route: [],
      tunMtu: 1500,
      mssfix: 1492,
      dataThreads: 1,
      offload: ['tun_tso', 'tun_uso', 'tun_gro', 'tx_gso', 'rx_gro'],
      peerFingerprint: [],
      logLevel: 'info',
      renegSec: 3600,
      renegPkts: 0,
      renegBytes: 0,
      handWindow: 60,
      ca: '/etc/ovpnd/home/ca.crt',
      cert: '/etc/ovpnd/home/server.crt',
      key: '/etc/ovpnd/home/server.key',
      tlsCrypt: '/etc/ovpnd/home/tls-crypt.key',
      tlsAuthDigest: 'SHA1',
      tlsVersionMin: '1.2',
      dataCiphers: ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'],
      keepalive: { ping: 10, pingRestart: 60 },
      explicitExitNotify: 1,
      float: true,
      port: 1194,
      proto: ['udp'],
      clientToClient: false,
      blockLan: false,
      duplicateCn: false,
      openFirewall: true,
      maxClients: 128,
      remoteCertTls: 'none',
      verifyClientCert: 'require',
      auth: 'none',
      users: [],
      pushDomain: [],
      pushOption: [],
      redirectGateway: false,
    });
  });

  it('gives the client', () => {
    const config = read(SAMPLE);
    deepEqual(config.problems, []);
    const { files, ...client } = config.clients[0]!;
    equal(files.length, 4);
    deepEqual(client, {
      role: 'client',
      name: 'office',
      line: 21,
      enabled: true,
      device: 'ov-office',
      dataPlane: 'auto',
      mode: 'multi',
      tunMtu: 1500,
      mssfix: 1492,
      dataThreads: 1,
      offload: ['tun_tso', 'tun_uso', 'tun_gro', 'tx_gso', 'rx_gro'],
      peerFingerprint: [],
      logLevel: 'info',
      renegSec: 3600,
      renegPkts: 0,
      renegBytes: 0,
      handWindow: 60,
      ca: '/etc/ovpnd/office/ca.crt',
      cert: '/etc/ovpnd/office/client.crt',
      key: '/etc/ovpnd/office/client.key',
      tlsCrypt: '/etc/ovpnd/office/tls-crypt.key',
      tlsAuthDigest: 'SHA1',
      tlsVersionMin: '1.2',
      dataCiphers: ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'],
      keepalive: { ping: 10, pingRestart: 60 },
      explicitExitNotify: 1,
      float: true,
      remote: [
        { host: 'vpn.example.org', port: 1194, proto: 'udp' },
        { host: 'vpn.example.org', port: 443, proto: 'tcp' },
      ],
      remoteRandom: false,
      remoteCertTls: 'server',
      address: [],
      route: [],
      routeNopull: false,
      pullDns: false,
      redirectGateway: false,
      killSwitch: false,
      metric: 0,
      connectRetry: { first: 1, max: 300 },
      connectTimeout: 120,
      serverPollTimeout: 120,
    });
  });

  it('prefers ChaCha without AES instructions', () => {
    equal(read(SERVER, false).servers[0]!.dataCiphers[0], 'CHACHA20-POLY1305');
    const chosen = read(`${SERVER}list data_ciphers AES-128-GCM\n`, false).servers[0]!;
    deepEqual(chosen.dataCiphers, ['AES-128-GCM']);
  });

  it('is frozen', () => {
    const server = read(SAMPLE).servers[0]!;
    throws(() => Object.assign(server, { port: 1 }), TypeError);
    throws(() => Object.assign(server.peers[0]!, { enabled: false }), TypeError);
    throws(() => (server.proto as string[]).push('udp4'), TypeError);
  });
});

describe('problems', () => {
  it('name file, line, section, option, value and rule', () => {
    deepEqual(lines(`${SERVER}option port '99999'\n`), [
      "f:7: server 'a': option port '99999': must be a port number, 1 to 65535",
    ]);
  });

  it('a file that is no uci gives nothing else', () => {
    const config = read(`${SERVER}option x "abc\n${CLIENT}`);
    deepEqual(config.problems.map(formatProblem), ['f:7: cannot be read as uci: EOF with unterminated "']);
    equal(config.readable, false);
    deepEqual([config.servers, config.clients, config.refused], [[], [], []]);
  });

  it('a name that uci does not take is explained', () => {
    const config = read(`${SERVER}option tls-crypt '/x'\n`);
    deepEqual(config.problems.map(formatProblem), [
      'f:7: cannot be read as uci: invalid character in name field ' +
        '(names are letters, digits and _ only: tls_crypt, not tls-crypt)',
    ]);
  });

  it('a value can neither end its line nor turn it around', () => {
    deepEqual(lines(`${SERVER}option port '1\x1b[2J\u202e\u2028'\n`), [
      "f:7: server 'a': option port '1\\x1b[2J\\u{202e}\\u{2028}': must be a port number, 1 to 65535",
    ]);
  });

  it('a bad section lists everything and leaves the others', () => {
    const bad = "config client 'x'\noption ca ca.pem\nlist port 1\noption metric x\n";
    const config = read(SERVER + bad + CLIENT);
    deepEqual(config.problems.map(formatProblem), [
      "f:7: client 'x': list remote: is required",
      "f:7: client 'x': option cert: is required, or else username and password",
      "f:8: client 'x': option ca 'ca.pem': must be the full path of a file",
      "f:9: warning: client 'x': option port: has no effect here; it belongs in a server section",
      "f:10: client 'x': option metric 'x': must be a number, 0 to 2147483647",
    ]);
    deepEqual([config.servers.length, config.clients.length], [1, 1]);
  });

  it('a disabled section is held to the same rules', () => {
    const off = SERVER.replace('enabled 1', 'enabled 0');
    equal(read(off).servers[0]!.enabled, false);
    check(
      `${off}option port 0\n`,
      ["f:7: server 'a': option port '0': must be a port number, 1 to 65535"],
      ['a'],
    );
  });

  it('secrets are never shown', () => {
    const text = `${CLIENT}option password 'hunter2'\noption pasword 'hunter2'\noption username "al\x07ice"\n`;
    const shown = lines(`${text}config user 'u'\noption tunnel x\noption password_hash 'hunter2'\n`);
    deepEqual(shown, [
      "f:8: warning: client 'c': option pasword: is not known and has no effect; did you mean password?",
      "f:9: client 'c': option username: must not contain control characters",
      "f:11: user 'u': option tunnel 'x': is no server of this file",
      "f:12: user 'u': option password_hash: must be a SHA-512 hash of crypt(3), $6$SALT$HASH, of at most 99999 rounds",
    ]);
    ok(!JSON.stringify(read(text).problems).includes('hunter2'));
  });

  it('cannot forge lines of a log', () => {
    deepEqual(lines(`${SERVER}option local "x\nf:1: fine\x1b[0m"\n`), [
      "f:7: server 'a': option local 'x\\x0af:1: fine\\x1b[0m': must be an IP address",
    ]);
    ok(lines(`${SERVER}option local ${'x'.repeat(9999)}\n`)[0]!.length < 200);
  });

  it('unknown options and sections are warnings, with a hint', () => {
    const [option, section, other] = lines(
      `${SERVER}option tls_cyrpt /x\nconfig servr s\nconfig globals g\n`,
    );
    equal(
      option,
      "f:7: warning: server 'a': option tls_cyrpt: is not known and has no effect; did you mean tls_crypt?",
    );
    equal(section, "f:8: warning: servr 's': a section of this type has no effect; did you mean server?");
    equal(other, "f:9: warning: globals 'g': a section of this type has no effect");
    equal(read(`${SERVER}option tls_cyrpt /x\n`).servers.length, 1);
  });

  it('names', () => {
    const long = 'x'.repeat(33);
    check(SERVER.replace("'a'", ''), ["f:1: server: needs a name: config server 'NAME'"]);
    check(
      SERVER.replace("'a'", long),
      [`f:1: server '${long}': must have a name of at most 32 characters`],
      [long],
    );
    equal(read(SERVER.replace("'a'", 'x'.repeat(32))).servers[0]!.device, `ov-${'x'.repeat(12)}`);
  });

  it('single options and lists', () => {
    const text = SERVER.replace('list address', 'option address');
    equal(read(text).servers[0]!.address.length, 1);
    check(
      `${SERVER}list port 1\nlist port 2\n`,
      ["f:7: server 'a': option port '1': is a single option, not a list"],
      ['a'],
    );
    check(`${SERVER}list push_domain lan\nlist push_domain lan\n`, [
      "f:8: warning: server 'a': list push_domain 'lan': is there twice",
    ]);
    check(`${SERVER}list push_domain\n`, ["f:7: server 'a': list push_domain '': must not be empty"], ['a']);
  });

  it('text that is not UTF-8', () => {
    const bytes = new Uint8Array(Buffer.from(`${SERVER}option ca '/\xe4'\n`, 'latin1'));
    const [problem] = readConfig('f', bytes, { hasAesInstructions: true }).problems;
    equal(formatProblem(problem!), "f:7: server 'a': option ca '/ä': must be UTF-8 text");
  });

  it('are limited in number', () => {
    const many = Array.from({ length: 400 }, (_, i) => `option zzzzz${i} 1\n`).join('');
    const shown = lines(`${SERVER}${many}option port 0\n`);
    equal(shown.length, 252);
    ok(shown.some(line => line.endsWith('1 to 65535')));
    equal(shown.at(-1), 'f:407: warning: 150 more warnings are not listed');
  });
});
