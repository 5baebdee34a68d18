// SPDX-License-Identifier: Apache-2.0
// `ovpnd migrate` on real files.

import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { migrate } from '../../src/daemon/migrate.ts';
import { makeAuthority, makeLeaf } from './certificates.ts';
import { newHost, temporary } from './support.ts';

const host = newHost();

interface Scene {
  readonly config: string;
  readonly keys: string;
  readonly lines: string[];
  run(): number;
}

function scene(name: string, files: Readonly<Record<string, string>>): Scene {
  const [config, keys] = [temporary(`${name}.config`), temporary(`${name}.keys`)];
  fs.mkdirSync(config);
  for (const [file, text] of Object.entries(files)) fs.writeFileSync(`${config}/${file}`, text);
  const lines: string[] = [];
  const log = {
    write: (level: string, text: string) => void lines.push(`${level} ${text}`),
    recent: () => [],
    setLevel: () => undefined,
  };
  return {
    config,
    keys,
    lines,
    run: () => migrate(host, { configDirectory: config, keyDirectory: keys }, log),
  };
}

describe('migration from OpenVPN', () => {
  makeAuthority('migrate-ca');
  const leaf = (name: string, usage: 'serverAuth' | 'clientAuth'): { cert: string; key: string } => {
    makeLeaf(name, { authority: 'migrate-ca', usage });
    return { cert: temporary(`${name}.crt`), key: temporary(`${name}.key`) };
  };
  const ca = temporary('migrate-ca.crt');
  const server = leaf('migrate-server', 'serverAuth');
  const client = leaf('migrate-client', 'clientAuth');
  const paths = (who: { readonly cert: string; readonly key: string }): string =>
    `\toption ca '${ca}'\n\toption cert '${who.cert}'\n\toption key '${who.key}'\n`;
  const SERVER = `config openvpn 'home'\n\toption server '10.20.0.0 255.255.255.0'\n\toption up '/x.sh'\n${paths(server)}`;
  const CLIENT = `config interface 'office'\n\toption proto 'openvpn'\n\toption client '1'\n\toption remote 'x.example 1194'\n\toption remote_cert_tls 'server'\n\tlist pull_filter 'ignore dns'\n\tlist pull_filter 'ignore dhcp-option'\n${paths(client)}`;
  const read = (path: string): string => fs.readFileSync(path, 'utf8');

  it('takes servers and clients over, switched off, with copies of their keys, and says what is lost', () => {
    const { config, keys, lines, run } = scene('both', { openvpn: SERVER, network: CLIENT });
    assert.equal(run(), 0);
    const text = read(`${config}/ovpnd`);
    assert.match(text, /config server 'home'\n\toption enabled '0'\n\tlist address '10\.20\.0\.1\/24'/);
    assert.match(text, /config client 'office'\n\toption enabled '0'\n/);
    assert.equal(read(`${keys}/home/key.key`), read(server.key));
    assert.equal(fs.statSync(`${keys}/home/key.key`).mode & 0o777, 0o600);
    assert.equal(read(`${keys}/office/client.key`), read(client.key));
    assert.ok(lines.includes("warn 'home': up is left out: has no counterpart"));
    assert.equal(lines.filter(line => /was taken over/.test(line)).length, 2);
    assert.equal(read(`${config}/openvpn`), SERVER);
    // Once: what is there now is a person's.
    lines.length = 0;
    assert.equal(run(), 0);
    assert.deepEqual([lines, read(`${config}/ovpnd`)], [[], text]);
  });

  it('does nothing where there is nothing, and names what cannot be read', () => {
    const none = scene('none', {});
    assert.equal(none.run(), 0);
    assert.deepEqual([none.lines, fs.existsSync(`${none.config}/ovpnd`)], [[], false]);
    const broken = scene('broken', { openvpn: "config openvpn 'x\n", network: CLIENT });
    assert.equal(broken.run(), 0);
    assert.match(broken.lines[0]!, /^error .*broken\.config\/openvpn:/);
    assert.match(read(`${broken.config}/ovpnd`), /'office'/);
  });

  it('leaves what it cannot do, and the rest goes on', () => {
    const bad = `config openvpn 'tap'\n\toption dev 'tap0'\n\toption server_bridge '1 2'\n\nconfig openvpn\n\toption client '1'\n\n`;
    const missing = SERVER.replace("'home'", "'away'").replace(ca, '/none/ca.crt');
    const { config, lines, run } = scene('bad', { openvpn: `${bad}${missing}\n${SERVER}` });
    assert.equal(run(), 0);
    assert.match(read(`${config}/ovpnd`), /^\n?config server 'home'/);
    assert.equal(lines.filter(line => /^error .* was not taken over: /.test(line)).length, 2);
    assert.equal(lines.filter(line => /a tunnel without a name stays/.test(line)).length, 1);
  });

  it('asks to be tried again when it cannot write, and leaves nothing half done', () => {
    const { config, keys, run } = scene('full', { openvpn: SERVER });
    // In the place of the folder for keys.
    fs.writeFileSync(keys, '');
    assert.equal(run(), 1);
    assert.equal(fs.existsSync(`${config}/ovpnd`), false);
  });
});
