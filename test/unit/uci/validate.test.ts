// SPDX-License-Identifier: Apache-2.0
// What options and sections mean for each other, as the exact lines a person gets to read.

import { deepEqual, equal, ok } from 'node:assert/strict';
import { formatPrefix, overlaps, parsePrefix } from '../../../src/core/address.ts';
import type { Config } from '../../../src/uci/config.ts';
import { formatProblem, readConfig } from '../../../src/uci/config.ts';
import { isReserved } from '../../../src/uci/values.ts';

const SERVER = `config server 'a'
option enabled 1
list address 10.8.0.1/24
option ca /ca
option cert /cert
option key /key
`;
const SECOND = SERVER.replace("'a'", "'b'").replace('10.8.0', '10.9.0');
const CLIENT = `config client 'c'
option enabled 1
list remote vpn.example.org
option ca /ca
option cert /cert
option key /key
`;

function read(text: string): Config {
  return readConfig('f', new Uint8Array(Buffer.from(text)), { hasAesInstructions: true });
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

describe('rules inside a tunnel', () => {
  it('tls_auth, tls_crypt, key_direction', () => {
    check(
      `${SERVER}option key_direction 0\n`,
      ["f:7: server 'a': option key_direction '0': needs tls_auth"],
      ['a'],
    );
    check(
      `${SERVER}option tls_auth /t\noption tls_crypt /t\n`,
      ["f:8: server 'a': option tls_crypt '/t': excludes tls_auth"],
      ['a'],
    );
    equal(read(`${SERVER}option tls_auth /t\noption key_direction 0\n`).servers[0]!.keyDirection, 0);
    equal(read(`${SERVER}option tls_auth /t\n`).servers[0]!.keyDirection, undefined);
  });

  it('addresses', () => {
    check(
      `${SERVER}list address 10.9.0.1/24\n`,
      ["f:7: server 'a': list address '10.9.0.1/24': is a second IPv4 subnet"],
      ['a'],
    );
    check(
      SERVER.replace('.1/24', '.0/24'),
      ["f:3: server 'a': list address '10.8.0.0/24': must be an address of its subnet, such as 10.8.0.1/24"],
      ['a'],
    );
    check(
      SERVER.replace('.1/24', '.1/31'),
      ["f:3: server 'a': list address '10.8.0.1/31': must be a subnet of /8 to /30, with room for peers"],
      ['a'],
    );
    check(
      `${SERVER}list address fd42::1/64\noption tun_mtu 1279\n`,
      ["f:8: server 'a': option tun_mtu '1279': must be at least 1280 where there is an IPv6 address"],
      ['a'],
    );
    check(`${SERVER}option max_clients 254\n`, [
      "f:7: warning: server 'a': option max_clients '254': is more than 10.8.0.1/24 has room for: 253",
    ]);
  });

  it('sockets', () => {
    check(
      `${SERVER}list proto udp4\nlist proto udp\n`,
      ["f:7: server 'a': list proto 'udp4': is part of udp"],
      ['a'],
    );
    check(`${SERVER}list proto udp4\nlist proto udp6\n`, []);
    check(`${SERVER}list proto udp\nlist proto tcp4\nlist proto tcp6\n`, []);
    check(
      `${SERVER}list proto udp4\nlist proto tcp\nlist proto tcp6\n`,
      ["f:9: server 'a': list proto 'tcp6': is part of tcp"],
      ['a'],
    );
    check(`${SERVER}option local ::1\nlist proto tcp\nlist proto udp6\n`, []);
    check(
      `${SERVER}option local ::1\nlist proto tcp4\n`,
      ["f:8: server 'a': list proto 'tcp4': cannot use the IPv6 address of option local"],
      ['a'],
    );
    check(
      `${SERVER}option local 192.0.2.1\nlist proto udp4\nlist proto udp4\nlist proto udp6\n`,
      [
        "f:9: warning: server 'a': list proto 'udp4': is there twice",
        "f:10: server 'a': list proto 'udp6': cannot use the IPv4 address of option local",
      ],
      ['a'],
    );
    check(
      `${SERVER}option bind_device ov-a\n`,
      ["f:7: server 'a': option bind_device 'ov-a': must not be the tunnel itself"],
      ['a'],
    );
  });

  it('a kill switch needs something that must not leave', () => {
    check(
      `${CLIENT}option kill_switch 1\n`,
      [
        "f:7: client 'c': option kill_switch '1': needs redirect_gateway or route: what must not leave otherwise",
      ],
      ['c'],
    );
    for (const more of ['option redirect_gateway 1', 'list route 10.0.0.0/8']) {
      equal(read(`${CLIENT}option kill_switch 1\n${more}\n`).clients[0]!.killSwitch, true);
    }
    equal(read(`${CLIENT}option kill_switch 0\n`).clients[0]!.killSwitch, false);
  });

  it('the two names of one time', () => {
    const one = read(`${CLIENT}option connect_timeout 10\n`).clients[0]!;
    deepEqual([one.connectTimeout, one.serverPollTimeout], [10, 10]);
    check(
      `${CLIENT}option connect_timeout 10\noption server_poll_timeout 20\n`,
      [
        "f:8: client 'c': option server_poll_timeout '20': means the same as connect_timeout and must be equal to it",
      ],
      ['c'],
    );
  });
});

describe('rules between tunnels', () => {
  it('one device', () => {
    check(
      `${SERVER}${CLIENT}option device ov-a\n`,
      ["f:13: client 'c': option device 'ov-a': the interface ov-a is that of 'a'"],
      ['c'],
    );
    check(`${SERVER}${CLIENT.replace('enabled 1', 'enabled 0')}option device ov-a\n`, []);
  });

  it('one port', () => {
    const clash = (line: number) => [
      `f:${line}: server 'b': option port: server 'a' listens on the same address and port 1194`,
    ];
    check(SERVER + SECOND, clash(7), ['b']);
    check(`${SERVER}option local 192.0.2.1\n${SECOND}`, clash(8), ['b']);
    check(`${SERVER}option local 192.0.2.1\n${SECOND}option local 192.0.2.2\n`, []);
    check(`${SERVER}list proto udp4\n${SECOND}list proto udp6\n`, []);
    check(`${SERVER}list proto udp\n${SECOND}list proto tcp\n`, []);
    check(`${SERVER}option bind_device wan\n${SECOND}option bind_device lan\n`, []);
    check(`${SERVER}option bind_device wan\n${SECOND}`, clash(8), ['b']);
    check(`${SERVER}${SECOND}option port 1195\n`, []);
    check(SERVER + SECOND.replace('enabled 1', 'enabled 0'), []);
  });
});

describe('subnets of servers', () => {
  const server = (name: string, port: number, ...addresses: string[]) =>
    SERVER.replace("'a'", `'${name}'`).replace(
      'list address 10.8.0.1/24\n',
      `option port ${port}\n${addresses.map(address => `list address ${address}\n`).join('')}`,
    );

  it('are not shared, by whole or part', () => {
    for (const [theirs, ours] of [
      ['10.8.0.1/24', '10.8.0.1/24'],
      ['10.8.0.1/24', '10.8.0.129/25'],
      ['10.8.3.1/24', '10.8.0.1/16'],
      ['fd42:8::1/64', 'fd42:8::2/64'],
      ['fd42:8::1/64', 'fd42:8::8000:0:0:1/65'],
    ] as const) {
      check(
        server('a', 1, theirs) + server('b', 2, ours),
        [`f:11: server 'b': list address '${ours}': overlaps ${theirs} of server 'a'`],
        ['b'],
      );
    }
    // Whoever is refused takes nothing.
    check(
      server('a', 1, '10.8.0.1/24') + server('b', 1, '10.9.0.1/24') + server('c', 3, '10.9.0.1/24'),
      ["f:10: server 'b': option port '1': server 'a' listens on the same address and port 1"],
      ['b'],
    );
  });

  it('may be neighbours, of another family, or of a server that is off', () => {
    check(server('a', 1, '10.8.0.1/25') + server('b', 2, '10.8.0.129/25', 'fd42::1/64'), []);
    check(server('a', 1, 'fd42:8::1/64') + server('b', 2, 'fd42:8:0:1::1/64', '10.8.0.1/8'), []);
    const off = server('b', 2, '10.8.0.1/24').replace('enabled 1', 'enabled 0');
    check(server('a', 1, '10.8.0.1/24') + off, []);
    check(off + server('a', 1, '10.8.0.1/24'), []);
  });

  it('are compared as a plain comparison of all with all would', () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const servers = Array.from({ length: 200 }, (_, i) => {
      const bits = 17 + random(12);
      return {
        name: `s${i}`,
        port: i + 1,
        prefix: parsePrefix(`10.${random(2)}.${random(256)}.${1 + random(250)}/${bits}`)!,
      };
    }).filter(({ prefix }) => !isReserved(prefix, prefix.ip));
    const kept: typeof servers = [];
    for (const one of servers) if (!kept.some(({ prefix }) => overlaps(prefix, one.prefix))) kept.push(one);
    ok(kept.length > 20 && kept.length < servers.length - 20);
    const config = read(
      servers.map(({ name, port, prefix }) => server(name, port, formatPrefix(prefix))).join(''),
    );
    deepEqual(
      config.servers.map(({ name }) => name),
      kept.map(({ name }) => name),
    );
  });
});

describe('peers', () => {
  const peer = (name: string, more = '') => `config peer '${name}'\noption tunnel a\n${more}`;

  it('belong to a server of the file', () => {
    check(
      "config peer 'p'\noption tunnel a\n",
      ["f:2: peer 'p': option tunnel 'a': there is no such server"],
      ['p'],
    );
    check(
      `${CLIENT}config peer 'p'\noption tunnel c\n`,
      ["f:8: peer 'p': option tunnel 'c': is a client, not a server"],
      ['p'],
    );
    const named = SERVER.replace("'a'", "'home'");
    deepEqual(lines(`${named}config peer 'p'\noption tunnel hmoe\n`), [
      "f:8: peer 'p': option tunnel 'hmoe': there is no such server; did you mean home?",
    ]);
    check(`${SERVER}option port 0\n${peer('p')}`, lines(`${SERVER}option port 0\n`), ['a']);
  });

  it('are refused alone', () => {
    const config = read(`${SERVER}${peer('p', 'list address 10.9.0.1\n')}${peer('q')}`);
    deepEqual(config.problems.map(formatProblem), [
      "f:9: peer 'p': list address '10.9.0.1': is not in 10.8.0.1/24",
    ]);
    deepEqual(
      config.servers[0]!.peers.map(p => p.commonName),
      ['q'],
    );
    deepEqual(config.refused, ['p']);
  });

  it('may stand before their server', () => {
    equal(read(peer('p') + SERVER).servers[0]!.peers.length, 1);
  });

  it('have addresses of their own', () => {
    const with1 = (more: string) => lines(SERVER + peer('p', 'list address 10.8.0.5\n') + more);
    deepEqual(with1(peer('q', 'list address 10.8.0.5\n')), [
      "f:12: peer 'q': list address '10.8.0.5': peer 'p' has the same",
    ]);
    deepEqual(with1(peer('q', 'list address 10.8.0.1\n')), [
      "f:12: peer 'q': list address '10.8.0.1': is the address of the server",
    ]);
    deepEqual(with1(peer('q', 'list address 10.8.0.255\n')), [
      "f:12: peer 'q': list address '10.8.0.255': is no address for a host",
    ]);
    deepEqual(with1(peer('q', 'list address 10.8.0.6\nlist address 10.8.0.7\n')), [
      "f:13: peer 'q': list address '10.8.0.7': is a second IPv4 address",
    ]);
  });

  it('have names and networks of their own', () => {
    check(
      SERVER + peer('p') + peer('q', 'option common_name p\n'),
      ["f:11: peer 'q': option common_name 'p': peer 'p' has the same"],
      ['q'],
    );
    const route = 'list route 192.168.1.0/24\n';
    check(
      SERVER + peer('p', route) + peer('q', route),
      ["f:12: peer 'q': list route '192.168.1.0/24': peer 'p' has the same"],
      ['q'],
    );
    const other = peer('q', 'option common_name p\n').replace('tunnel a', 'tunnel b');
    check(`${SERVER + SECOND}option port 2\n${peer('p')}${other}`, []);
  });

  it('a refused peer takes nothing from the next one', () => {
    const bad = peer('p', 'list address 10.8.0.5\nlist route x\n');
    check(
      SERVER + bad + peer('q', 'list address 10.8.0.5\n'),
      ["f:10: peer 'p': list route 'x': must be a network, such as 192.168.1.0/24 or fd42::/64"],
      ['p'],
    );
  });

  it('cannot have a fixed address that they share with themselves', () => {
    check(
      `${SERVER}option duplicate_cn 1\n${peer('p', 'list address 10.8.0.5\n')}`,
      ["f:10: peer 'p': list address '10.8.0.5': cannot be fixed while the server has duplicate_cn"],
      ['p'],
    );
  });
});

describe('pkcs12', () => {
  const without = (text: string, ...names: string[]) =>
    names.reduce((left, name) => left.replace(`option ${name} /${name}\n`, ''), text);

  it('stands for ca, cert and key in both roles, and for ca only where there is none', () => {
    for (const section of [SERVER, CLIENT]) {
      check(`${without(section, 'ca', 'cert', 'key')}option pkcs12 /p\noption crl /c\n`, []);
      check(`${without(section, 'cert', 'key')}option pkcs12 /p\n`, []);
    }
    deepEqual(read(`${without(CLIENT, 'cert', 'key')}option pkcs12 /p\n`).clients[0]!.files.at(-1), {
      option: 'pkcs12',
      path: '/p',
      secret: true,
      line: 5,
    });
  });

  it('excludes cert and key', () => {
    check(
      `${CLIENT}option pkcs12 /p\n`,
      [
        "f:5: client 'c': option cert '/cert': excludes pkcs12, which holds one",
        "f:6: client 'c': option key '/key': excludes pkcs12, which holds one",
      ],
      ['c'],
    );
  });
});

describe('mode p2p', () => {
  const server = `${SERVER}option mode p2p\n`;
  const client = `${CLIENT}option mode p2p\nlist address '10.9.0.2 10.9.0.1'\n`;

  it('takes own addresses with a subnet of two or with that of the peer', () => {
    const { servers, problems } = read(server.replace('10.8.0.1/24', "'10.8.0.1 10.8.0.2'"));
    deepEqual(problems, []);
    const pair = { ip: new Uint8Array([10, 8, 0, 1]), bits: 32, peer: new Uint8Array([10, 8, 0, 2]) };
    deepEqual(servers[0]!.address, [pair]);
    check(server.replace('10.8.0.1/24', '10.8.0.1/31'), []);
    check(`${client}list address fd42::1/127\n`, []);
    check(
      SERVER.replace('10.8.0.1/24', "'10.8.0.1 10.8.0.2'"),
      [
        "f:3: server 'a': list address '10.8.0.1 10.8.0.2': must be an address with its prefix length; one with that of a peer is for mode p2p",
      ],
      ['a'],
    );
  });

  it('a client needs an address and a certificate, and may have none in the other mode', () => {
    check(
      `${CLIENT}option mode p2p\n`,
      ["f: client 'c': list address: is required in mode p2p: nobody gives the client an address"].map(text =>
        text.replace('f:', 'f:1:'),
      ),
      ['c'],
    );
    check(
      `${client.replace('option cert /cert\noption key /key\n', '')}option username u\noption password p\n`,
      [
        "f:1: client 'c': option cert: is required",
        "f:7: client 'c': option username: has no place in mode p2p: the peer shows a certificate",
        "f:8: client 'c': option password: has no place in mode p2p: the peer shows a certificate",
      ],
      ['c'],
    );
    check(
      `${CLIENT}list address 10.9.0.2/30\n`,
      [
        "f:7: client 'c': list address '10.9.0.2/30': needs mode p2p; else the server gives the client its address",
      ],
      ['c'],
    );
  });

  it('refuses what is for many peers or for a push, unless it says what holds anyway', () => {
    const options = [
      ['option max_clients', '7', 'there is one peer'],
      ['option duplicate_cn', '1', 'there is one peer'],
      ['option client_to_client', '1', 'there is one peer'],
      ['list push_route', '192.168.1.0/24', 'nothing is pushed'],
      ['list push_dns', '192.168.1.1', 'nothing is pushed'],
      ['list push_domain', 'lan', 'nothing is pushed'],
      ['list push_option', 'x', 'nothing is pushed'],
      ['option redirect_gateway', '1', 'nothing is pushed'],
      ['option auth', 'users', 'the peer shows a certificate'],
    ] as const;
    for (const [option, value, why] of options) {
      check(
        `${server}${option} ${value}\n`,
        [`f:8: server 'a': ${option} '${value}': has no place in mode p2p: ${why}`],
        ['a'],
      );
    }
    check(`${server}option max_clients 128\noption auth none\noption block_lan 1\n`, []);
    check(
      `${client}option pull_dns 1\n`,
      ["f:9: client 'c': option pull_dns '1': has no place in mode p2p: nothing is pushed"],
      ['c'],
    );
    check(
      `${server}config peer p\noption tunnel a\n`,
      ["f:9: peer 'p': option tunnel 'a': is in mode p2p, which has no peer sections"],
      ['p'],
    );
  });

  it('what is known of certificates has no effect where none is asked for', () => {
    const server =
      'config server a\nlist address 10.8.0.1/24\noption key /k\noption cert /c\noption auth users\n';
    const named = `${server}option verify_x509_name x\noption ca /a\noption verify_client_cert`;
    check(`${named} optional\n`, []);
    check(`${named} none\n`, [
      "f:6: warning: server 'a': option verify_x509_name 'x': has no effect with verify_client_cert none",
    ]);
  });

  it('routes are for both roles of it; a server for many has them behind its peers', () => {
    check(`${server}list route 192.168.9.0/24\noption metric 5\n`, []);
    check(
      `${SERVER}list route 192.168.9.0/24\n`,
      [
        "f:7: server 'a': list route '192.168.9.0/24': needs mode p2p; a network behind a client stands in its peer section",
      ],
      ['a'],
    );
  });
});
