// SPDX-License-Identifier: Apache-2.0
// Every capability once, through Host alone: the same script runs under QuickJS, Node and the sanitizers.
// Its last line is `smoke ok`. Arguments: a folder with certificates (smoke-ca, smoke-server, smoke-client) to work
// in; `tun` where a device may be made.

import { formatIp } from '../../src/core/address.ts';
import { currentHost } from '../../src/host/current.ts';
import { describe as describeFailure, isFailure, type Result, type TlsOptions } from '../../src/host/host.ts';
import { refusals } from './refusals.ts';

const host = currentHost();
const folder = host.args[0] ?? '/tmp';

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`smoke: ${what}`);
}

function good<T>(result: Result<T> | undefined, what: string): T {
  if (result === undefined) throw new Error(`smoke: ${what}: nothing`);
  if (isFailure(result)) throw new Error(`smoke: ${what}: ${describeFailure(result)}`);
  return result;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

function cryptography(): void {
  const empty = new Uint8Array(0);
  const data = Uint8Array.from('abc', letter => letter.charCodeAt(0));
  check(hex(host.crypto.hash('MD5', data)) === '900150983cd24fb0d6963f7d28e17f72', 'md5');
  check(host.crypto.hmac('SHA512', empty, data).length === 64, 'hmac with an empty key');
  const key = host.crypto.aead('AES-256-GCM', host.random(32));
  const nonce = host.random(12);
  const sealed = key.seal(nonce, data, data);
  check(hex(key.open(nonce, data, sealed) ?? empty) === '616263', 'open');
  sealed[0]! ^= 1;
  check(key.open(nonce, data, sealed) === undefined, 'open of a forgery');
  key.wipe();
  const keys = { cipher: host.random(32), hmac: host.random(32) };
  const siv = host.crypto.sivSeal(keys, nonce, data);
  check(hex(host.crypto.sivOpen(keys, nonce, siv) ?? empty) === '616263', 'siv');
  siv[31]! ^= 1;
  check(host.crypto.sivOpen(keys, nonce, siv) === undefined, 'siv of a forgery');
  check(host.crypto.equal(data, data.slice()) && !host.crypto.equal(data, empty), 'equal');
}

function files(): void {
  const path = `${folder}/file`;
  const bytes = host.random(9000);
  check(host.files.write(path, bytes, 0o640) === undefined, 'write');
  check(hex(good(host.files.read(path), 'read')) === hex(bytes), 'read');
  const status = good(host.files.status(path), 'status');
  check(status.kind === 'file' && status.size === 9000 && status.mode === 0o640, 'status');
  check(good(host.files.list(folder), 'list').includes('file'), 'list');
  check(host.files.remove(path) === undefined, 'remove');
  const gone = host.files.read(path);
  check(isFailure(gone) && gone.code === 'ENOENT', 'read of nothing');
}

function sockets(): void {
  const a = good(host.openUdp({ family: 0, port: 0 }), 'udp');
  const b = good(host.openUdp({ family: 4, ip: new Uint8Array([127, 0, 0, 1]), port: 0 }), 'udp 4');
  const listener = good(host.listenUnix(`${folder}/socket`, 0o600), 'listen');
  const client = good(host.connectUnix(`${folder}/socket`), 'connect');
  const server = good(listener.accept(), 'accept');
  let seen = '';
  host.loop.onReadable(a.fd, () => {
    const datagram = good(a.receive(), 'receive');
    seen += `udp ${formatIp(datagram.from.ip)} ${formatIp(datagram.to)} ${hex(datagram.bytes)};`;
    check(a.receive() === undefined, 'second receive');
    check(good(client.write(new Uint8Array([7])), 'stream write') === 1, 'stream write');
  });
  host.loop.onReadable(server.fd, () => {
    seen += `stream ${hex(good(server.read(10), 'stream read'))};`;
    host.resolve('127.0.0.1', 4, addresses => {
      check(typeof addresses !== 'string', 'resolve');
      seen += `name ${formatIp(addresses[0]!)};`;
      host.loop.at(host.monotonicMs() + 5, () => host.loop.stop());
    });
  });
  const sent = b.send(new Uint8Array([1, 2]), { ip: new Uint8Array([127, 0, 0, 1]), port: a.local.port });
  check(sent === undefined, 'send');
  host.loop.run();
  check(seen === 'udp 127.0.0.1 127.0.0.1 0102;stream 07;name 127.0.0.1;', seen);
  for (const fd of [a.fd, server.fd]) host.loop.forget(fd);
  for (const socket of [a, b, server, client, listener]) socket.close();
}

function streams(): void {
  const listener = good(host.listenTcp({ family: 0, port: 0 }), 'tcp listen');
  const target = { ip: new Uint8Array([127, 0, 0, 1]), port: listener.local.port };
  const client = good(host.connectTcp(target, {}), 'tcp connect');
  const into = new Uint8Array(9);
  const open = [client];
  let seen = '';
  host.loop.onWritable(client.fd, () => {
    check(client.outcome() === undefined, 'tcp outcome');
    host.loop.onWritable(client.fd, undefined);
    check(good(client.write(new Uint8Array([1, 2, 3])), 'tcp write') === 3, 'tcp write');
  });
  host.loop.onReadable(listener.fd, () => {
    const server = good(listener.accept(), 'tcp accept');
    check(server.remote.port === client.local().port, 'tcp remote');
    open.push(server);
    host.loop.onReadable(server.fd, () => {
      const length = good(server.read(into.subarray(0, 2)), 'tcp read');
      seen += `${length};`;
      if (seen === '2;') client.close();
      if (length > 0) return;
      host.loop.forget(server.fd);
      host.loop.stop();
    });
  });
  host.loop.run();
  check(seen === '2;1;0;', seen);
  host.loop.forget(listener.fd);
  for (const socket of [listener, open[1]!]) socket.close();
}

function netlink(): void {
  const socket = good(host.openNetlink(0, 1 << 16), 'netlink');
  // RTM_GETLINK for interface 1, sequence 1; the answer comes before the call returns.
  const message = new Uint8Array(32);
  const view = new DataView(message.buffer);
  const little = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
  view.setUint32(0, 32, little);
  view.setUint16(4, 18, little);
  view.setUint16(6, 1, little);
  view.setUint32(8, 1, little);
  view.setInt32(20, 1, little);
  check(socket.send(message) === undefined, 'netlink send');
  const answer = good(socket.receive(), 'netlink receive');
  check(new DataView(answer.buffer).getUint16(4, little) === 16, 'RTM_NEWLINK');
  check(socket.receive() === undefined, 'netlink second receive');
  socket.close();
}

function identity(name: string): { cert: Uint8Array; key: Uint8Array } {
  const read = (end: string) => good(host.files.read(`${folder}/${name}.${end}`), name);
  return { cert: read('crt'), key: read('key') };
}

function tls(): void {
  const ca = identity('smoke-ca').cert;
  const open = (options: TlsOptions) => {
    const context = host.tlsContext(options);
    if ('failed' in context) throw new Error(`smoke: ${context.option} ${context.text}`);
    const engine = context.open();
    context.close();
    return engine;
  };
  const common = { ca, versionMin: '1.2', verifyPeer: 'require' } as const;
  for (const believed of [ca, identity('smoke-client').cert]) {
    const server = open({ ...common, ...identity('smoke-server'), role: 'server' });
    const client = open({ ...common, ...identity('smoke-client'), role: 'client', ca: believed });
    for (let i = 0; i < 4; i++) {
      client.status();
      for (let piece = client.pull(500); piece !== undefined; piece = client.pull(500)) server.feed(piece);
      server.status();
      for (let piece = server.pull(500); piece !== undefined; piece = server.pull(500)) client.feed(piece);
    }
    const isGood = believed === ca;
    check(client.status() === (isGood ? 'established' : 'failed'), `handshake: ${client.error()}`);
    check(client.peerCertificate()?.commonName === (isGood ? 'smoke-server' : undefined), 'peer');
    check(client.write(new Uint8Array([5])) === isGood, 'write');
    server.feed(client.pull(1000) ?? new Uint8Array(0));
    check(server.read()?.length === (isGood ? 1 : undefined), 'read');
    if (isGood) check(hex(client.exportKey('x', 9)) === hex(server.exportKey('x', 9)), 'exporter');
    // One of them is left open: the table of handles must own it, not the leak report.
    client.close();
  }
  const refused = host.tlsContext({
    ...common,
    ...identity('smoke-server'),
    role: 'server',
    ca: new Uint8Array(9),
  });
  check('failed' in refused && refused.option === 'ca', 'a CA that is none');
}

function tun(): void {
  const device = good(host.openTun('smoke0'), 'tun');
  check(device.name === 'smoke0' && device.index > 0 && device.read() === undefined, 'tun');
  const again = host.openTun('smoke0');
  check(isFailure(again) && again.code === 'EBUSY', 'the same tun twice');
  check(isFailure(device.write(new Uint8Array(20).fill(0x45))), 'write to a device that is down');
  device.close();
}

cryptography();
tls();
if (host.args[1] === 'tun') tun();
files();
sockets();
streams();
netlink();
refusals(check);
check(host.monotonicMs() > 0 && host.wallS() > 1_600_000_000 && host.pid > 0, 'clocks');
host.print(1, `smoke ok ${host.runtime}\n`);
host.exit(0);
