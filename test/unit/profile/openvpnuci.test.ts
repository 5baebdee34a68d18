// SPDX-License-Identifier: Apache-2.0
// OpenWrt's OpenVPN sections as profiles and as server options.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import fc from 'fast-check';
import { importProfile } from '../../../src/profile/import.ts';
import { clientProfile, roleOf, serverDraft } from '../../../src/profile/openvpnuci.ts';
import { parseProfile } from '../../../src/profile/ovpn.ts';

type Options = Map<string, string | string[]>;
const options = (values: Record<string, string | string[]>): Options => new Map(Object.entries(values));

const SERVER = {
  enabled: '1',
  dev: 'tun',
  proto: 'udp6',
  server: '10.20.0.0 255.255.255.0',
  ca: '/a/ca.crt',
  cert: '/a/s.crt',
  key: '/a/s.key',
};

describe('openvpn sections of uci', () => {
  it('show whose they are', () => {
    strictEqual(roleOf(options({ server: '10.0.0.0 255.0.0.0' })), 'server');
    strictEqual(roleOf(options({ mode: 'server' })), 'server');
    strictEqual(roleOf(options({ tls_server: '1' })), 'server');
    strictEqual(roleOf(options({ tls_server: '0', client: '1' })), 'client');
    strictEqual(roleOf(options({ remote: ['x 1'] })), 'client');
    strictEqual(roleOf(options({ config: '/etc/openvpn/x.conf' })), undefined);
  });

  it('become the profile that says the same', () => {
    const interfaceOf = options({
      proto: 'openvpn',
      ovpnproto: 'tcp',
      metric: '5',
      client: '1',
      nobind: '0',
      remote: ['a.example 1', 'b.example 2 udp'],
      remote_cert_tls: 'server',
      username: 'me',
      password: 'secret',
    });
    const text = clientProfile(interfaceOf);
    strictEqual(
      text,
      'proto tcp\nclient\nremote a.example 1\nremote b.example 2 udp\nremote-cert-tls server\nauth-user-pass\n',
    );
  });

  it('cannot smuggle a directive in by a line end', () => {
    const loss = clientProfile(options({ client: '1', remote: 'x 1\nup /bin/sh' }));
    ok(typeof loss !== 'string' && loss.isEssential);
  });

  it('of a server become options, addresses and files', () => {
    const draft = serverDraft(
      options({
        ...SERVER,
        server_ipv6: 'fd20::/64',
        tls_auth: '/a/ta.key 0',
        auth: 'SHA256',
        push: [
          'route 192.168.1.0 255.255.255.0',
          'dhcp-option DNS 192.168.1.1',
          'dhcp-option DOMAIN home.example',
          'route 10.0.0.0 255.0.0.0 vpn_gateway 5',
          'topology subnet',
        ],
        data_ciphers: 'AES-256-GCM:BF-CBC',
        duplicate_cn: '0',
        client_to_client: '1',
        comp_lzo: 'no',
      }),
    );
    deepStrictEqual(draft.losses, []);
    deepStrictEqual(Object.fromEntries(draft.options), {
      proto: ['udp'],
      address: ['10.20.0.1/24', 'fd20::1/64'],
      key_direction: '0',
      tls_auth_digest: 'SHA256',
      push_route: ['192.168.1.0/24'],
      push_dns: ['192.168.1.1'],
      push_domain: ['home.example'],
      push_option: ['route 10.0.0.0 255.0.0.0 vpn_gateway 5'],
      data_ciphers: ['AES-256-GCM'],
      client_to_client: '1',
    });
    deepStrictEqual(Object.fromEntries(draft.files), {
      ca: '/a/ca.crt',
      cert: '/a/s.crt',
      key: '/a/s.key',
      tls_auth: '/a/ta.key',
    });
  });

  it('of a server for one peer become mode p2p', () => {
    const { server: _, ...own } = SERVER;
    const peer = (more: Record<string, string>) => serverDraft(options({ ...own, tls_server: '1', ...more }));
    const draft = peer({
      ifconfig: '10.4.0.1 10.4.0.2',
      ifconfig_ipv6: 'fd00:4::1/64 fd00:4::2',
      route: '192.168.4.0 255.255.255.0',
      route_ipv6: 'fd00:44::/48',
    });
    deepStrictEqual(draft.losses, []);
    const { mode, address, route } = Object.fromEntries(draft.options);
    deepStrictEqual(
      { mode, address, route },
      {
        mode: 'p2p',
        address: ['10.4.0.1 10.4.0.2', 'fd00:4::1/64'],
        route: ['192.168.4.0/24', 'fd00:44::/48'],
      },
    );
    deepStrictEqual(peer({ ifconfig: '10.4.0.1 255.255.255.252' }).options.get('address'), ['10.4.0.1/30']);
    const wrong = peer({ ifconfig: '10.4.0.1 x', ifconfig_ipv6: '10.4.0.1', route: 'x' });
    deepStrictEqual(
      wrong.losses.map(({ option }) => option),
      ['ifconfig', 'ifconfig_ipv6', 'route'],
    );
    // Spelled out what `server` stands for.
    deepStrictEqual(peer({ mode: 'server', ifconfig: '10.4.0.1 10.4.0.2' }).options.get('mode'), undefined);
  });

  it('say what is lost, and what nothing works without', () => {
    const lossesOf = (more: Record<string, string>): [string, boolean][] =>
      serverDraft(options({ ...SERVER, ...more })).losses.map(loss => [loss.option, loss.isEssential]);
    deepStrictEqual(lossesOf({ up: '/x.sh', client_config_dir: '/ccd', comp_lzo: 'yes' }), [
      ['up', false],
      ['client_config_dir', false],
      ['comp_lzo', false],
    ]);
    deepStrictEqual(lossesOf({ dev: 'tap0' }), [['dev', true]]);
    deepStrictEqual(lossesOf({ secret: '/s.key' }), [['secret', true]]);
    deepStrictEqual(lossesOf({ server: 'nonsense' }), [['server', true]]);
    deepStrictEqual(
      serverDraft(options({ server: '10.0.0.0 255.0.0.0' })).losses.map(({ option }) => option),
      ['ca', 'cert', 'key'],
    );
  });

  it('never throw, whatever they hold', () => {
    const value = fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 3 }));
    const name = fc.oneof(
      fc.constantFrom(...Object.keys(SERVER), 'push', 'tls_auth', 'auth', 'remote', 'ifconfig', 'route'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), pairs => {
        const made: Options = new Map(pairs);
        roleOf(made);
        serverDraft(made);
        const text = clientProfile(made);
        if (typeof text !== 'string') return;
        const bytes = new TextEncoder().encode(text);
        parseProfile(bytes);
        importProfile(bytes, () => 'no file');
      }),
    );
  });
});
