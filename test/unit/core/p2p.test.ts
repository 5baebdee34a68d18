// SPDX-License-Identifier: Apache-2.0
// Mode p2p: what two ends make of what each says of itself, and both roles of the core without a push.

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import type { ClientOptions } from '../../../src/core/clientstate.ts';
import { isOccExit } from '../../../src/core/options.ts';
import { type Agreement, agree, IV_PROTO_P2P } from '../../../src/core/p2p.ts';
import type { PlaneCapabilities } from '../../../src/core/plane.ts';
import type { ServerOptions } from '../../../src/core/server.ts';
import type { Session } from '../../../src/core/session.ts';
import { agreeDynamicWrap } from '../../../src/core/sessionpacket.ts';
import { clientOptions, ip } from './bench.ts';
import {
  alive,
  type Client,
  client,
  converse,
  type Hand,
  join,
  negotiated,
  occExit,
  pathOf,
  peerInfo,
  rekey,
  type Server,
  say,
  server,
} from './hand.ts';

/** Of OpenVPN 2.6.14 without --pull: bits 1, 3, 5, 6, 7, 9. */
const STOCK = peerInfo(2 + 8 + 32 + 64 + 128 + 512);
const GCM = 'AES-256-GCM';
const { capabilities } = clientOptions();

interface Told {
  readonly role?: 'server' | 'client';
  readonly peerInfo?: string;
  readonly options?: string;
  readonly exported?: readonly number[];
  readonly ours?: ClientOptions['ciphers'];
  readonly capabilities?: PlaneCapabilities;
}

/** What an end that has heard this makes of it, and the exports it asked for. */
function outcome(told: Told): { agreed: Agreement | string; asked: string[] } {
  const asked: string[] = [];
  const exportKey = (label: string, length: number): Uint8Array => {
    asked.push(`${label} ${length}`);
    return new Uint8Array(told.exported ?? [1, 2, 3]);
  };
  const remote = { peerInfo: told.peerInfo ?? STOCK, options: told.options ?? '' };
  const session = { options: { role: told.role ?? 'client' }, current: { remote, tls: { exportKey } } };
  const ours = told.ours ?? [GCM, 'AES-128-GCM', 'CHACHA20-POLY1305'];
  return { agreed: agree(session as unknown as Session, ours, told.capabilities ?? capabilities), asked };
}

const agreed = (told: Told) => outcome(told).agreed as Agreement;

describe('core/p2p: what is agreed on', () => {
  it('with a present peer: exporter, P_DATA_V2, a peer-id of the exporter, both extras', () => {
    const all = outcome({ exported: [0xab, 0xcd, 0xef] });
    deepEqual(all.agreed, {
      cipher: GCM,
      derivation: 'tls-ekm',
      packets: 'v2',
      format: 'aead',
      peerId: 0xabcdef,
      dynamicWrap: true,
      ccExit: true,
    });
    deepEqual(all.asked, ['EXPORTER-OpenVPN-p2p-peerid 3']);
  });

  it('each feature only when the peer has it', () => {
    const without = (bit: number) => agreed({ peerInfo: peerInfo((2 + 8 + 32 + 128 + 512) & ~bit) });
    equal(without(8).derivation, 'tls1-prf');
    equal(without(8).peerId, 0x76706e);
    equal(without(128).ccExit, false);
    equal(without(512).dynamicWrap, false);
    deepEqual([without(2).packets, without(2).peerId], ['v1', 0]);
  });

  it('the epoch format, where both ends can and packets have a peer-id', () => {
    const can = { ...capabilities, epoch: true };
    const format = (proto: number, capabilities = can) =>
      agreed({ peerInfo: peerInfo(proto), capabilities }).format;
    equal(format(2 + 8 + 32 + 1024), 'aead-epoch');
    equal(format(2 + 8 + 32), 'aead');
    equal(format(8 + 32 + 1024), 'aead');
    equal(format(2 + 8 + 1024), 'aead', 'not without bit 5');
    equal(format(2 + 8 + 32 + 1024, capabilities), 'aead');
  });

  it('a peer that does not negotiate so: the other bits count for nothing', () => {
    const { agreed: old, asked } = outcome({ peerInfo: peerInfo(2 + 8 + 128 + 512) });
    deepEqual(old, {
      cipher: GCM,
      derivation: 'tls1-prf',
      packets: 'v1',
      format: 'aead',
      peerId: 0,
      dynamicWrap: false,
      ccExit: false,
    });
    deepEqual(asked, []);
  });

  it('the cipher is the first of the TLS server that the TLS client has', () => {
    const theirs = peerInfo(IV_PROTO_P2P, { IV_CIPHERS: 'BF-CBC:CHACHA20-POLY1305:AES-256-GCM' });
    equal(agreed({ role: 'client', peerInfo: theirs }).cipher, 'CHACHA20-POLY1305');
    equal(agreed({ role: 'server', peerInfo: theirs }).cipher, GCM);
    equal(agreed({ peerInfo: '', options: 'V4,cipher AES-128-GCM,auth SHA1' }).cipher, 'AES-128-GCM');
  });

  it('refuses what cannot work', () => {
    const ours = ['AES-128-GCM'] as const;
    match(
      outcome({ ours, peerInfo: peerInfo(IV_PROTO_P2P, { IV_CIPHERS: `${GCM}:x` }) }).agreed as string,
      /^no common data cipher: the peer offers AES-256-GCM:X, data_ciphers has AES-128-GCM$/,
    );
    match(outcome({ peerInfo: '' }).agreed as string, /offers none \(is it in mode p2p\?\)/);
    match(outcome({ options: 'V4,comp-lzo' }).agreed as string, /^the peer uses compression/);
    match(outcome({ exported: [255, 255, 255] }).agreed as string, /peer-id means none/);
    const kernel = { ...capabilities, dataV1: false };
    match(outcome({ peerInfo: peerInfo(32), capabilities: kernel }).agreed as string, /P_DATA_V2/);
    equal(agreed({ capabilities: kernel }).packets, 'v2');
  });
});

const P2P: NonNullable<ServerOptions['p2p']> = {
  peerInfo: peerInfo(IV_PROTO_P2P),
  peerIps: [ip('10.9.0.2')],
};

function peerServer(more: Partial<ServerOptions> = {}): Server {
  return server({ p2p: P2P, addresses: [], maxClients: 1, ...more });
}

describe('core/p2p: as TLS server', () => {
  it('connected by the key method message: no push, no VPN address for the plane, own keepalive', () => {
    const bench = peerServer();
    const hand = join(bench, { peerInfo: STOCK });
    deepEqual(alive(bench), ['alice']);
    const { peer } = [...bench.plane.peers.values()][0]!;
    deepEqual([peer.vpnIp4, peer.vpnIp6, peer.format], [undefined, undefined, 'v2']);
    deepEqual(peer.keepalive, { intervalS: 10, timeoutS: 60 });
    match(bench.lastText(), /^alice connected from [0-9.:]+: 10\.9\.0\.2, AES-256-GCM, FAKE$/);
    deepEqual(hand.texts, []);
    const told = hand.outcomes.find(one => one.kind === 'keyMethod');
    equal(told?.kind === 'keyMethod' && told.message.peerInfo, P2P.peerInfo);
    deepEqual(agree(hand.session, [GCM], capabilities), { ...agreed({}), peerId: peer.peerId });
  });

  it('the last that comes is the peer, whatever its name; one without a name will do', () => {
    const bench = peerServer();
    join(bench, { peerInfo: STOCK });
    join(bench, { peerInfo: STOCK, commonName: 'bob', path: pathOf(2) });
    deepEqual(alive(bench), ['bob']);
    equal(bench.plane.peers.size, 1);
    join(bench, { peerInfo: STOCK, commonName: '', path: pathOf(3) });
    deepEqual(alive(bench), ['peer']);
  });

  it('renegotiates, and is back after silence', () => {
    const bench = peerServer();
    const hand = join(bench, { peerInfo: STOCK });
    const [peerId] = bench.plane.peers.keys();
    agreeDynamicWrap(hand.session);
    rekey(bench, hand);
    equal(bench.plane.keys(peerId), '0/1');
    bench.plane.peers.clear();
    bench.step({ kind: 'planeNotice', notice: { kind: 'peerDeleted', peerId: peerId!, reason: 'expired' } });
    match(bench.lastText(), /disconnected: nothing heard for 60 s$/);
    join(bench, { peerInfo: STOCK, path: pathOf(2) });
    deepEqual(alive(bench), ['alice']);
  });

  it('leaves by EXIT, in a data packet to peers that do not know it', () => {
    const bench = peerServer();
    const hand = join(bench, { peerInfo: STOCK });
    bench.step({ kind: 'shutdown' });
    converse(bench, hand);
    deepEqual(hand.texts, ['EXIT']);
    deepEqual(bench.plane.inner, []);
    const old = peerServer();
    const silent = join(old, { peerInfo: peerInfo(2 + 32) });
    old.step({ kind: 'shutdown' });
    converse(old, silent);
    deepEqual(silent.texts, []);
    ok(isOccExit(old.plane.inner[0]!));
  });

  it('hears EXIT in both forms; sends a peer away by it', () => {
    const bench = peerServer();
    say(bench, join(bench, { peerInfo: STOCK }), 'EXIT');
    match(bench.lastText(), /disconnected: left$/);
    join(bench, { peerInfo: STOCK, path: pathOf(2) });
    occExit(bench, [...bench.plane.peers.keys()][0]!);
    match(bench.lastText(), /disconnected: left$/);
    const hand = join(bench, { peerInfo: STOCK, path: pathOf(3) });
    bench.step({ kind: 'command', command: 'disconnect', peer: 'alice' });
    converse(bench, hand);
    deepEqual(hand.texts, ['EXIT']);
  });

  it('tells a client that pulls, and one without a common cipher, that it is wrong here', () => {
    const bench = peerServer();
    const hand = join(bench);
    say(bench, hand, 'PUSH_REQUEST');
    match(bench.lastText(), /asks for options to be pushed, and this is mode p2p$/);
    deepEqual(hand.texts, ['AUTH_FAILED,nothing is pushed in mode p2p']);
    equal(bench.plane.peers.size, 0);
    join(bench, { peerInfo: peerInfo(IV_PROTO_P2P, { IV_CIPHERS: 'x' }), path: pathOf(2) });
    match(bench.lastText(), /refused: no common data cipher: the peer offers X/);
  });
});

const OWN = [{ address: { ip: ip('10.9.0.2'), bits: 32 }, peer: ip('10.9.0.1') }];

function peerClient(more: Partial<ClientOptions> = {}): Client {
  return client({ ownAddresses: OWN, peerInfo: peerInfo(IV_PROTO_P2P), ...more });
}

function met(bench: Client, info = STOCK): Hand {
  return negotiated(bench, { peerInfo: info });
}

describe('core/p2p: as TLS client', () => {
  it('connected by the key method message, with its own addresses and routes, and never asks for a push', () => {
    const routes = [{ ip: ip('192.168.7.0'), bits: 24 }];
    const bench = peerClient({ routes, metric: 3 });
    const hand = met(bench);
    equal(bench.state.phase, 'connected');
    deepEqual(bench.networks.at(-1)?.addresses, OWN);
    deepEqual(bench.networks.at(-1)?.routes, [{ destination: routes[0], metric: 3 }]);
    const [peerId] = bench.plane.peers.keys();
    deepEqual(bench.plane.peers.get(peerId!)?.peer.keepalive, { intervalS: 10, timeoutS: 60 });
    bench.pass(30_000, () => converse(bench, hand));
    deepEqual(hand.texts, []);
    agreeDynamicWrap(hand.session);
    rekey(bench, hand);
    equal(bench.plane.keys(peerId), '0/1');
  });

  it('goes on without the peer when that leaves or is silent, and leaves by EXIT', () => {
    const bench = peerClient();
    say(bench, met(bench), 'EXIT');
    match(bench.lastText(), /the server left; next attempt in 1 s$/);
    bench.pass(2000);
    const hand = met(bench);
    equal(bench.state.phase, 'connected');
    bench.step({ kind: 'shutdown' });
    converse(bench, hand);
    deepEqual(hand.texts, ['EXIT']);
  });

  it('a server that pushes to many is no peer: says so and tries later', () => {
    const bench = peerClient();
    met(bench, '');
    match(
      bench.lastText(),
      /no common data cipher: the peer offers none \(is it in mode p2p\?\).*next attempt in 6[0-9] s$/,
    );
    equal(bench.plane.peers.size, 0);
  });
});
