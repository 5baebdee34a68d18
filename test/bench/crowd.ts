// SPDX-License-Identifier: Apache-2.0
// Many clients in one process: the core with real handshakes over real sockets, and no tunnel devices.
//   crowd.cjs IP PORT CA CERT KEY TLS_CRYPT COUNT RATE
// Connects COUNT clients and keeps them, then prints `held COUNT`. From SIGUSR1 to SIGUSR2 it makes RATE more a second,
// each of which leaves once it is connected, and prints `storm STARTED CONNECTED`.

import { type Endpoint, type Path, parseIp } from '../../src/core/address.ts';
import { stepClient } from '../../src/core/client.ts';
import { type ClientOptions, type ClientState, newClient } from '../../src/core/clientstate.ts';
import type { CoreDeps, Effect, Event } from '../../src/core/event.ts';
import { earlier } from '../../src/core/event.ts';
import { parseStaticKey } from '../../src/core/keys.ts';
import {
  buildPeerInfo,
  IV_PROTO_CC_EXIT,
  IV_PROTO_DATA_V2,
  IV_PROTO_REQUEST_PUSH,
  IV_PROTO_TLS_EKM,
} from '../../src/core/peerinfo.ts';
import { OPCODE } from '../../src/core/wire.ts';
import { tlsCryptKeys } from '../../src/core/wrap.ts';
import { currentHost } from '../../src/host/current.ts';
import { isFailure, type Timer, type UdpSocket } from '../../src/host/host.ts';
import { execute } from '../../src/plane/command.ts';
import { createJsPlane } from '../../src/plane/js.ts';
import type { PacketPlane } from '../../src/plane/plane.ts';

const host = currentHost();
const [ip = '', port = '', ca = '', cert = '', key = '', tlsCrypt = '', count = '0', rate = '0'] = host.args;
/** Clients under way at once while the crowd gathers: the server answers only so many strangers. */
const AT_ONCE = 24;
const DATAGRAMS_MAX = 64;

function file(path: string): Uint8Array {
  const bytes = host.files.read(path);
  if (isFailure(bytes)) throw new Error(`${path}: ${bytes.text}`);
  return bytes;
}

const staticKey = parseStaticKey(Buffer.from(file(tlsCrypt)).toString('latin1'));
if (typeof staticKey === 'string') throw new Error(staticKey);
const tls = host.tlsContext({
  role: 'client',
  ca: file(ca),
  cert: file(cert),
  key: file(key),
  versionMin: '1.2',
  verifyPeer: 'require',
  remoteCertTls: 'server',
});
if ('failed' in tls) throw new Error(`${tls.option}: ${tls.text}`);

const deps: CoreDeps = {
  crypto: host.crypto,
  random: host.random,
  tls: () => tls.open(),
  wallS: () => host.wallS(),
};

const PEER_INFO = buildPeerInfo([
  ['IV_PROTO', String(IV_PROTO_DATA_V2 | IV_PROTO_REQUEST_PUSH | IV_PROTO_TLS_EKM | IV_PROTO_CC_EXIT)],
  ['IV_CIPHERS', 'AES-256-GCM'],
]);

function optionsFor(plane: PacketPlane): ClientOptions {
  return {
    wrap: tlsCryptKeys(staticKey as Uint8Array, 'client'),
    capabilities: plane.capabilities,
    remotes: [{ host: ip, port: Number(port), family: 4 }],
    remoteRandom: false,
    ciphers: ['AES-256-GCM'],
    handWindowS: 60,
    renegS: 0,
    ping: 10,
    pingRestart: 120,
    retryFirstS: 1,
    retryMaxS: 4,
    pollTimeoutS: 30,
    tunMtu: 1500,
    occ: '',
    peerInfo: PEER_INFO,
    device: 'none',
    routes: [],
    routeNopull: false,
    pullDns: true,
    redirectGateway: false,
    killSwitch: false,
    metric: 0,
    explicitExitNotify: true,
  };
}

class Member {
  private readonly plane: PacketPlane;
  private readonly state: ClientState;
  private readonly onConnected: (member: Member) => void;
  private readonly queue: Event[] = [];
  private socket: UdpSocket | undefined;
  private remote: Endpoint | undefined;
  private timer: Timer | undefined;
  private coreAt: number | undefined;
  private isBusy = false;
  private isConnected = false;
  private isGone = false;

  constructor(onConnected: (member: Member) => void) {
    this.onConnected = onConnected;
    this.plane = createJsPlane({
      mode: 'p2p',
      crypto: host.crypto,
      sink: {
        send: (_path, bytes) => this.send(bytes),
        deliver: () => undefined,
        notice: notice => this.dispatch({ kind: 'planeNotice', notice }),
        inner: (peerId, payload) => this.dispatch({ kind: 'inner', peerId, payload: payload.slice() }),
      },
    });
    this.state = newClient(optionsFor(this.plane), deps);
    this.dispatch({ kind: 'start' });
  }

  leave(): void {
    this.dispatch({ kind: 'shutdown' });
  }

  private send(bytes: Uint8Array): void {
    // A full queue loses it, as a wire would.
    if (this.remote !== undefined) this.socket?.send(bytes, this.remote);
  }

  private dispatch(event: Event): void {
    this.queue.push(event);
    if (this.isBusy) return;
    this.isBusy = true;
    for (let next = this.queue.shift(); next !== undefined && !this.isGone; next = this.queue.shift()) {
      for (const effect of stepClient(this.state, next, host.monotonicMs())) this.apply(effect);
    }
    this.isBusy = false;
    this.arm();
    if (this.isConnected || this.state.phase !== 'connected') return;
    this.isConnected = true;
    this.onConnected(this);
  }

  private apply(effect: Effect): void {
    switch (effect.kind) {
      case 'setPlane':
        execute(this.plane, effect.command, host.monotonicMs());
        return;
      case 'send':
        return this.send(effect.bytes);
      case 'setTimer':
        this.coreAt = effect.at;
        return;
      case 'resolve': {
        const address = parseIp(effect.host);
        if (address === undefined) throw new Error(`${effect.host} is no address`);
        return this.dispatch({ kind: 'resolved', addresses: [address] });
      }
      case 'openSocket':
        return this.open(effect.remote);
      case 'closeSocket':
        return this.close();
      case 'exit':
        this.isGone = true;
        this.close();
        return this.plane.close();
      default:
        return;
    }
  }

  private open(remote: Endpoint): void {
    const socket = host.openUdp({ family: 4, port: 0 });
    if (isFailure(socket)) return this.dispatch({ kind: 'socketFailed', reason: socket.text });
    this.socket = socket;
    this.remote = remote;
    host.loop.onReadable(socket.fd, () => this.receive(socket));
    this.dispatch({ kind: 'socketOpened', socket: socket.fd });
  }

  private receive(socket: UdpSocket): void {
    for (let i = 0; i < DATAGRAMS_MAX && this.socket === socket; i++) {
      const datagram = socket.receive();
      if (datagram === undefined) return;
      if (isFailure(datagram)) continue;
      const path: Path = { socket: socket.fd, remote: datagram.from };
      const opcode = (datagram.bytes[0] ?? 0) >> 3;
      if (opcode !== OPCODE.dataV2 && opcode !== OPCODE.dataV1) {
        this.dispatch({ kind: 'datagram', path, bytes: datagram.bytes.slice() });
      } else {
        this.plane.fromNetwork(path, datagram.bytes, host.monotonicMs());
      }
    }
  }

  private close(): void {
    if (this.socket === undefined) return;
    host.loop.forget(this.socket.fd);
    this.socket.close();
    this.socket = undefined;
  }

  private arm(): void {
    this.timer?.cancel();
    this.timer = undefined;
    const at = this.isGone ? undefined : earlier(this.coreAt, this.plane.deadline());
    if (at !== undefined) this.timer = host.loop.at(at, () => this.tick());
  }

  private tick(): void {
    const now = host.monotonicMs();
    if ((this.plane.deadline() ?? Number.POSITIVE_INFINITY) <= now) this.plane.tick(now);
    if (this.coreAt !== undefined && this.coreAt <= now) return this.dispatch({ kind: 'tick' });
    this.arm();
  }
}

const wanted = Number(count);
let started = 0;
let held = 0;

function gather(): void {
  while (started < wanted && started - held < AT_ONCE) {
    started++;
    new Member(() => {
      held++;
      // Not from within the member that has just connected.
      host.loop.at(host.monotonicMs(), gather);
    });
  }
  if (held === wanted) host.print(1, `held ${held}\n`);
}

let storm: { readonly since: number; started: number; connected: number } | undefined;

function blow(): void {
  if (storm === undefined) return;
  const now = host.monotonicMs();
  const current = storm;
  const due = ((now - current.since) * Number(rate)) / 1000;
  for (; current.started < due; current.started++) {
    new Member(member => {
      current.connected++;
      host.loop.at(host.monotonicMs(), () => member.leave());
    });
  }
  host.loop.at(now + 1000 / Number(rate), blow);
}

host.loop.onSignal('TERM', () => host.exit(0));
host.loop.onSignal('USR1', () => {
  storm = { since: host.monotonicMs(), started: 0, connected: 0 };
  blow();
});
host.loop.onSignal('USR2', () => {
  host.print(1, `storm ${storm?.started ?? 0} ${storm?.connected ?? 0}\n`);
  storm = undefined;
});
gather();
host.loop.run();
