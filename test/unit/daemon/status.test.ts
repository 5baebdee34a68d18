// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert';
import {
  formatBytes,
  formatDuration,
  readStatus,
  renderStatus,
  type StatusPeer,
  type TunnelStatus,
} from '../../../src/daemon/status.ts';
import { decodeTable, encodeTable } from '../../../src/ubus/blob.ts';

const NOW = 1_760_000_000;
const DAY = 86400;

function peer(name: string, changes: Partial<StatusPeer> = {}): StatusPeer {
  return {
    name,
    peer_id: 0,
    real_address: '203.0.113.7:51234',
    vpn_addresses: ['10.8.0.10'],
    routes: [],
    connected_since: NOW - 7500,
    cipher: 'AES-256-GCM',
    data_format: 'aead',
    tls: 'TLSv1.3 TLS_AES_256_GCM_SHA384',
    handshake_age_s: 723,
    rx_bytes: 1_288_490_189,
    tx_bytes: 356_515_840,
    rx_packets: 1_000_000,
    tx_packets: 400_000,
    ...changes,
  };
}

const SERVER: TunnelStatus = {
  tunnel: 'home',
  role: 'server',
  state: 'listening',
  since: NOW - 3 * DAY - 4 * 3600,
  uptime: 3 * DAY + 4 * 3600,
  data_plane: {
    name: 'native',
    reasons: ['kernel: no ovpn module'],
    offload: ['tun_tso', 'tx_gso'],
    threads: 2,
  },
  device: 'ov-home',
  mtu: 1500,
  addresses: ['10.8.0.1/24', 'fd42:8::1/64'],
  sockets: [
    { proto: 'udp', address: '::', port: 1194 },
    { proto: 'tcp4', address: '192.0.2.1', port: 443 },
  ],
  peers: [
    peer('alice-phone', { vpn_addresses: ['10.8.0.10', 'fd42:8::a'] }),
    peer('bob', {
      real_address: '[2001:db8::5]:1194',
      vpn_addresses: ['10.8.0.2'],
      routes: ['192.168.40.0/24'],
      connected_since: NOW - 59,
      handshake_age_s: 59,
      cipher: 'CHACHA20-POLY1305',
      data_format: 'aead-epoch',
      rx_bytes: 0,
      tx_bytes: 1536,
    }),
  ],
  peers_total: 2,
  drops: { control: { hmac: 12, replay: 1, opcode: 0 }, plane: { 'no-key': 3 } },
  warnings: [],
  last_error: '',
  version: '0.1.0',
};

const CLIENT: TunnelStatus = {
  ...SERVER,
  tunnel: 'office',
  role: 'client',
  state: 'connecting',
  uptime: 95,
  since: NOW - 95,
  data_plane: { name: 'kernel', reasons: [], offload: [] },
  device: 'ov-office',
  addresses: [],
  sockets: [{ proto: 'udp', address: '0.0.0.0', port: 41000 }],
  remote: 'vpn.example.org 1194 udp',
  peers: [],
  peers_total: 0,
  drops: { control: {}, plane: {} },
  last_error: 'TLS: certificate has expired',
};

/** The block as printed; the margin of this file does not count. */
function block(text: string): string {
  return text
    .split('\n')
    .slice(1, -1)
    .map(line => line.replace(/^ {6}/, ''))
    .join('\n')
    .concat('\n');
}

describe('status table', () => {
  it('shows a server and its peers', () => {
    assert.strictEqual(
      renderStatus([SERVER]),
      block(`
      home: server, listening, up 3d 4h
        device      ov-home, mtu 1500
        addresses   10.8.0.1/24, fd42:8::1/64
        data plane  native, 2 threads tun_tso tx_gso (kernel: no ovpn module)
        listens on  udp [::]:1194, tcp4 192.0.2.1:443
        drops       control hmac 12, replay 1; plane no-key 3

        PEER         REAL ADDRESS        VPN ADDRESSES              CONNECTED  HANDSHAKE   RECEIVED  SENT     CIPHER
        alice-phone  203.0.113.7:51234   10.8.0.10, fd42:8::a       2h 5m      12m 3s ago  1.2 GiB   340 MiB  AES-256-GCM
        bob          [2001:db8::5]:1194  10.8.0.2, 192.168.40.0/24  59s        59s ago     0 B       1.5 KiB  CHACHA20-POLY1305 epoch
      `),
    );
  });

  it('shows what a person should see to', () => {
    const warnings = ['cert expires in 12 days', 'ca has expired: nobody can be known by it'];
    assert.match(
      renderStatus([{ ...SERVER, warnings }]),
      /\n {2}warning +cert expires in 12 days; ca has expired: nobody can be known by it\n/,
    );
    assert.match(renderStatus([{ ...SERVER, warnings: ['\x1b[2J'] }]), /warning +\\x1b\[2J\n/);
    assert.deepStrictEqual(readStatus({ tunnel: 'x', warnings: 'cert' })!.warnings, []);
  });

  it('shows a client on its way, and one that is there', () => {
    const connected: TunnelStatus = {
      ...CLIENT,
      state: 'connected',
      addresses: ['10.8.0.6/24'],
      peers: [peer('vpn.example.org', { real_address: '198.51.100.1:1194', vpn_addresses: [] })],
      last_error: '',
      since: NOW - 8000,
      uptime: 8000,
    };
    assert.strictEqual(
      renderStatus([CLIENT, connected]),
      block(`
      office: client, connecting, up 1m 35s
        device      ov-office, mtu 1500
        data plane  kernel
        remote      vpn.example.org 1194 udp
        last error  TLS: certificate has expired

      office: client, connected, up 2h 13m
        device      ov-office, mtu 1500
        addresses   10.8.0.6/24
        data plane  kernel
        remote      vpn.example.org 1194 udp

        PEER             REAL ADDRESS       VPN ADDRESSES  CONNECTED  HANDSHAKE   RECEIVED  SENT     CIPHER
        vpn.example.org  198.51.100.1:1194  -              2h 5m      12m 3s ago  1.2 GiB   340 MiB  AES-256-GCM
      `),
    );
  });

  it('shows a server without peers, and nothing at all', () => {
    const idle: TunnelStatus = {
      ...SERVER,
      state: 'starting',
      uptime: 0,
      device: '',
      addresses: [],
      sockets: [],
      data_plane: { name: '', reasons: [], offload: [] },
      peers: [],
      drops: { control: { hmac: 0 }, plane: {} },
    };
    assert.strictEqual(renderStatus([idle]), 'home: server, starting, up 0s\n\n  no peers\n');
    assert.strictEqual(renderStatus([]), 'no tunnel is running\n');
  });

  it('shows name servers, and whether anybody uses them', () => {
    const dns = ['10.9.0.53', 'office.example'];
    const shownBy = (network: string): string => renderStatus([{ ...CLIENT, network, dns }]);
    assert.match(shownBy('netifd'), /^ {2}dns {9}10\.9\.0\.53, office\.example$/m);
    assert.match(
      shownBy('rtnetlink'),
      /^ {2}dns .*office\.example \(not in use: needs an interface of proto 'ovpnd'\)$/m,
    );
    assert.doesNotMatch(renderStatus([{ ...CLIENT, network: 'rtnetlink', dns: [] }]), /^ {2}dns/m);
    const reply = { ...CLIENT, network: 'netifd', dns };
    const read = (value: object): unknown => JSON.parse(JSON.stringify(readStatus(value)));
    assert.deepStrictEqual(read(reply), reply);
    assert.deepStrictEqual(read({ ...reply, network: 7, dns: 'x' }), CLIENT);
  });

  it('keeps columns with many peers', () => {
    const peers = Array.from({ length: 300 }, (_, i) =>
      peer(`p${i}`, { rx_bytes: 10 ** (i % 18), cipher: 'x' }),
    );
    const lines = renderStatus([{ ...SERVER, peers }]).split('\n');
    const rows = lines.slice(
      lines.findIndex(line => line.includes('PEER')),
      -1,
    );
    assert.strictEqual(rows.length, 301);
    const at = rows[0]!.indexOf('CIPHER');
    for (const row of rows.slice(1)) assert.strictEqual(row.slice(at - 1), ' x', row);
  });

  it('does not obey what peers call themselves', () => {
    const names = [
      '\x1b[2J',
      'a\nroot',
      '\u202ereverse',
      'tab\there',
      'a  203.0.113.7',
      ' lead ',
      '\x7f\x9b',
      'Jürgen',
      '\ud800',
    ];
    const text = renderStatus([
      {
        ...CLIENT,
        peers: names.map(name => peer(name)),
        last_error: 'x\r\n\x1b]0;title\x07',
        tunnel: 'o\x00',
      },
    ]);
    assert.match(text, /^[\x20-\x7e\n]*$/);
    for (const expected of [
      '  \\x1b[2J  ',
      '  a\\x0aroot  ',
      '  \\u{202e}reverse  ',
      '  tab\\x09here  ',
      '  a\\x20 203.0.113.7  ',
      '  \\x20lead\\x20  ',
      '  \\x7f\\x9b  ',
      '  J\\xfcrgen  ',
      '  \\u{d800}  ',
      'last error  x\\x0d\\x0a\\x1b]0;title\\x07\n',
      'o\\x00: client',
    ]) {
      assert.ok(text.includes(expected), `${expected} in\n${text}`);
    }
    assert.strictEqual(text.split('\n').length, 5 + 2 + names.length + 1);
  });

  it('cuts what is too long', () => {
    const text = renderStatus([
      {
        ...SERVER,
        addresses: Array.from({ length: 9 }, (_, i) => `10.${i}.0.1/24`),
        peers: [peer('n'.repeat(65)), peer('m'.repeat(64))],
        last_error: 'e'.repeat(10_000),
      },
    ]);
    assert.ok(text.includes(`\n  ${'n'.repeat(61)}...  203`));
    assert.ok(text.includes(`\n  ${'m'.repeat(64)}  203`));
    assert.ok(text.includes('10.0.0.1/24, 10.1.0.1/24, 10.2.0.1/24, 10.3.0.1/24 and 5 more\n'));
    assert.ok(text.includes(`${'e'.repeat(197)}...\n`));
  });

  it('counts on the clock of the process that answered, and never backwards', () => {
    const at = (connected_since: number) =>
      renderStatus([{ ...SERVER, since: 100, uptime: 50, peers: [peer('a', { connected_since })] }]);
    assert.ok(at(90).includes('  1m 0s  '));
    assert.ok(at(1000).includes('  0s  '));
    // Not connected yet.
    assert.match(at(0), / {2}- +- +1\.2 GiB/);
  });
});

describe('status numbers', () => {
  it('durations have the two largest units', () => {
    const cases: [number, string][] = [
      [-5, '0s'],
      [0.9, '0s'],
      [59, '59s'],
      [60, '1m 0s'],
      [3599, '59m 59s'],
      [3600, '1h 0m'],
      [86399, '23h 59m'],
      [86400, '1d 0h'],
      [400 * DAY, '400d 0h'],
    ];
    for (const [seconds, text] of cases) assert.strictEqual(formatDuration(seconds), text);
  });

  it('bytes have the unit that keeps them short', () => {
    const cases: [number, string][] = [
      [-1, '0 B'],
      [0, '0 B'],
      [1023, '1023 B'],
      [1024, '1.0 KiB'],
      [10188, '9.9 KiB'],
      [10189, '10 KiB'],
      [1023.4 * 1024, '1023 KiB'],
      [1023.6 * 1024, '1.0 MiB'],
      [2 ** 53, '8.0 PiB'],
      [2 ** 75, '32768 EiB'],
    ];
    for (const [bytes, text] of cases) assert.strictEqual(formatBytes(bytes), text);
  });
});

describe('status reply', () => {
  it('goes through ubus unchanged', () => {
    for (const status of [SERVER, CLIENT]) {
      const again = readStatus(decodeTable(encodeTable(status)!));
      assert.deepStrictEqual(JSON.parse(JSON.stringify(again)), status);
      assert.strictEqual(renderStatus([again!]), renderStatus([status]));
    }
  });

  it('of another version or a liar becomes a status of the right types', () => {
    const blank = readStatus({ tunnel: 'x' })!;
    assert.strictEqual(renderStatus([blank]), 'x: server, starting, up 0s\n\n  no peers\n');
    const lies = readStatus({
      tunnel: 'x',
      role: 7,
      state: 'dancing',
      uptime: 'long',
      mtu: -1,
      addresses: 'all',
      sockets: [null, { proto: 'udp', address: {}, port: 'x' }],
      data_plane: [],
      peers: [
        null,
        5,
        { name: ['a'], rx_bytes: Number.NaN, tx_bytes: Number.POSITIVE_INFINITY, vpn_addresses: [1] },
      ],
      drops: { control: { hmac: 'many' }, plane: 3 },
      remote: 5,
    })!;
    assert.deepStrictEqual(lies.sockets[1], { proto: 'udp', address: '', port: 0 });
    assert.strictEqual(lies.peers.length, 3);
    assert.deepStrictEqual(lies.peers[2], { ...lies.peers[0], vpn_addresses: [''] });
    assert.strictEqual(lies.mtu, 0);
    assert.strictEqual('remote' in lies, false);
    assert.doesNotThrow(() => renderStatus([lies]));
    for (const nothing of [undefined, null, 5, 'x', [], {}, { tunnel: '' }, { tunnel: 5 }]) {
      assert.strictEqual(readStatus(nothing), undefined);
    }
  });
});
