// SPDX-License-Identifier: Apache-2.0
// One running tunnel: feeds the core with what sockets, TUN, timer and operator bring, and applies its effects.
// No protocol rule lives here.

import type { Path } from '../core/address.ts';
import { formatEndpoint } from '../core/address.ts';
import type { CoreDeps, Effect, Event } from '../core/event.ts';
import { earlier } from '../core/event.ts';
import type { WantedNetwork } from '../core/network.ts';
import type { PlaneCommand } from '../core/plane.ts';
import { OPCODE } from '../core/wire.ts';
import {
  describe,
  type Host,
  isFailure,
  type Resolution,
  type Timer,
  type TunDevice,
  type UdpSocket,
} from '../host/host.ts';
import { createRtnetlinkNetwork, type RtnetlinkNetwork } from '../network/rtnetlink.ts';
import { execute } from '../plane/command.ts';
import { createJsPlane } from '../plane/js.ts';
import { createKernelPlane, type KernelPlane } from '../plane/kernel.ts';
import type { KernelGround } from '../plane/kernelground.ts';
import type { PacketPlane, PlaneUnavailable } from '../plane/plane.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import { createDropReport, type DropReport } from './dropreport.ts';
import { clientEndpoint, type Endpoint, serverEndpoint } from './endpoint.ts';
import type { Log } from './log.ts';
import type { Material } from './material.ts';
import { clientOptions, serverOptions } from './settings.ts';

/** Packets handled in one go, so that a flood on one descriptor starves no other. */
const BATCH = 64;

/** What sendmsg says of a source address that is no longer ours. */
const OWN_ADDRESS_GONE: ReadonlySet<string> = new Set(['EINVAL', 'EADDRNOTAVAIL']);

export interface TunnelParts {
  readonly host: Host;
  readonly config: ServerConfig | ClientConfig;
  readonly material: Material;
  readonly log: Log;
  /** For the network state file; exists. */
  readonly runDirectory: string;
  /** Better planes that are off, and why. */
  readonly planesOff: readonly PlaneUnavailable[];
  /** Present: data packets are the kernel's, on this device. Owned by the tunnel from now on. */
  readonly ground?: KernelGround;
  /** The data plane is gone and will not come back. */
  readonly onBroken: (reason: string) => void;
  /** Everything is closed. */
  readonly onExit: () => void;
}

export interface Tunnel {
  readonly config: ServerConfig | ClientConfig;
  readonly endpoint: Endpoint;
  readonly plane: PacketPlane;
  readonly planesOff: readonly PlaneUnavailable[];
  readonly sockets: ReadonlyMap<number, UdpSocket>;
  readonly startedAt: number;
  network(): WantedNetwork | undefined;
  dispatch(event: Event): void;
  /** Ends at once; without an exit notice. Idempotent. */
  close(): void;
}

/** Opens everything the tunnel needs and starts it; a string says why it cannot run, and nothing is left open. */
export function startTunnel(parts: TunnelParts): Tunnel | string {
  const tunnel = new RunningTunnel(parts);
  const failure = tunnel.start();
  if (failure === undefined) return tunnel;
  tunnel.close();
  return failure;
}

class RunningTunnel implements Tunnel {
  readonly config: ServerConfig | ClientConfig;
  readonly endpoint: Endpoint;
  readonly plane: PacketPlane;
  readonly planesOff: readonly PlaneUnavailable[];
  readonly sockets = new Map<number, UdpSocket>();
  readonly startedAt: number;
  readonly #parts: TunnelParts;
  readonly #host: Host;
  readonly #log: Log;
  readonly #network: RtnetlinkNetwork;
  readonly #controlDrops: DropReport;
  readonly #planeDrops: DropReport;
  readonly #queue: Event[] = [];
  #isDraining = false;
  #isClosed = false;
  /** Either a TUN device or the kernel's plane. */
  #tun: TunDevice | undefined;
  readonly #kernel: KernelPlane | undefined;
  #wanted: WantedNetwork | undefined;
  #nextSocket = 1;
  #resolution: Resolution | undefined;
  #coreAt: number | undefined;
  #timer: Timer | undefined;
  #timerAt: number | undefined;
  #reported = '';

  constructor(parts: TunnelParts) {
    const { host, config, material, log } = parts;
    this.#parts = parts;
    this.#host = host;
    this.#log = log;
    this.config = config;
    this.planesOff = parts.planesOff;
    this.startedAt = host.monotonicMs();
    this.#kernel = parts.ground && this.#kernelPlane(parts.ground);
    this.plane = this.#kernel ?? this.#jsPlane();
    const deps: CoreDeps = {
      crypto: host.crypto,
      random: host.random,
      tls: () => material.tls.open(),
      wallS: () => host.wallS(),
    };
    const { capabilities } = this.plane;
    this.endpoint =
      config.role === 'server'
        ? serverEndpoint(serverOptions(config, material.wrap, capabilities), deps)
        : clientEndpoint(clientOptions(config, material.wrap, capabilities), deps);
    this.#network = createRtnetlinkNetwork({
      openNetlink: protocol => host.openNetlink(protocol),
      files: host.files,
      stateDirectory: parts.runDirectory,
      tunnel: config.name,
    });
    this.#controlDrops = createDropReport('control', text => log.write('warn', text));
    this.#planeDrops = createDropReport('data', text => log.write('warn', text));
  }

  #jsPlane(): PacketPlane {
    return createJsPlane({
      mode: this.config.role === 'server' ? 'mp' : 'p2p',
      crypto: this.#host.crypto,
      sink: {
        send: (path, datagram) => this.#send(path, datagram),
        deliver: packet => this.#deliver(packet),
        notice: notice => this.dispatch({ kind: 'planeNotice', notice }),
        inner: (peerId, payload) => this.dispatch({ kind: 'inner', peerId, payload: payload.slice() }),
      },
    });
  }

  #kernelPlane(ground: KernelGround): KernelPlane {
    return createKernelPlane({
      ground,
      addresses: this.config.role === 'server' ? this.config.address : [],
      socketFd: number => this.sockets.get(number)?.fd,
      monotonicMs: () => this.#host.monotonicMs(),
      sink: {
        notice: notice => this.dispatch({ kind: 'planeNotice', notice }),
        warn: text => this.#log.write('warn', `data plane: ${text}`),
        broken: reason => this.#parts.onBroken(reason),
      },
    });
  }

  /** Opens the way for packets or, where they do not come here, for what the kernel says of them. */
  #openDevice(): string | undefined {
    const { loop } = this.#host;
    const kernel = this.#kernel;
    if (kernel !== undefined) {
      loop.onReadable(kernel.noticeFd, () => {
        kernel.receive(this.#host.monotonicMs());
        this.#arm();
      });
      return undefined;
    }
    const tun = this.#host.openTun(this.config.device);
    if (isFailure(tun)) return describe(tun);
    this.#tun = tun;
    loop.onReadable(tun.fd, () => this.#fromTun(tun));
    return undefined;
  }

  start(): string | undefined {
    for (const failure of this.#network.recover().failures)
      this.#log.write('warn', `left from before: ${failure}`);
    const noDevice = this.#openDevice();
    if (noDevice !== undefined) return noDevice;
    if (this.config.role === 'server') {
      const failure = this.#listen(this.config);
      if (failure !== undefined) return failure;
    }
    const off = this.planesOff.map(plane => `${plane.name}: ${plane.reason}`).join('; ');
    const where = [...this.sockets.values()].map(socket => formatEndpoint(socket.local)).join(' ');
    const listening = where === '' ? '' : `listening on udp ${where}, `;
    this.#log.write(
      'info',
      `${listening}device ${this.#tun?.name ?? this.config.device}, data plane ${this.plane.name}${off === '' ? '' : ` (${off})`}`,
    );
    this.dispatch({ kind: 'start' });
    return undefined;
  }

  #listen(config: ServerConfig): string | undefined {
    for (const proto of config.proto) {
      const family =
        proto === 'udp4'
          ? 4
          : proto === 'udp6'
            ? 6
            : config.local === undefined
              ? 0
              : config.local.length === 4
                ? 4
                : 6;
      const failure = this.#openSocket(family, config.port, config.local);
      if (failure !== undefined) return `cannot listen on ${proto} port ${config.port}: ${failure}`;
    }
    return undefined;
  }

  #openSocket(family: 0 | 4 | 6, port: number, ip?: Uint8Array): string | undefined {
    const { bindDevice, fwmark, sndbuf, rcvbuf } = this.config;
    const options = {
      port,
      ...(ip === undefined ? {} : { ip }),
      ...(bindDevice === undefined ? {} : { device: bindDevice }),
      ...(fwmark === undefined ? {} : { mark: fwmark }),
      ...(sndbuf === undefined ? {} : { sendBuffer: sndbuf }),
      ...(rcvbuf === undefined ? {} : { receiveBuffer: rcvbuf }),
    };
    let socket = this.#host.openUdp({ ...options, family });
    const isWithoutIp6 = isFailure(socket) && socket.code === 'EAFNOSUPPORT';
    if (isWithoutIp6 && family === 0) socket = this.#host.openUdp({ ...options, family: 4 });
    if (isFailure(socket)) return describe(socket);
    const number = this.#nextSocket++;
    this.sockets.set(number, socket);
    this.#host.loop.onReadable(socket.fd, () => this.#fromNetwork(number, socket));
    return undefined;
  }

  #fromNetwork(number: number, socket: UdpSocket): void {
    for (let i = 0; i < BATCH && this.sockets.get(number) === socket; i++) {
      const datagram = socket.receive();
      if (datagram === undefined) break;
      // An ICMP error about something sent earlier; time-outs deal with that.
      if (isFailure(datagram)) continue;
      // A server answers from the address it was asked at; a client that moves must not cling to its old one.
      const path: Path =
        this.config.role === 'server'
          ? { socket: number, remote: datagram.from, local: datagram.to }
          : { socket: number, remote: datagram.from };
      const opcode = (datagram.bytes[0] ?? 0) >> 3;
      const now = this.#host.monotonicMs();
      if (opcode === OPCODE.dataV2 || opcode === OPCODE.dataV1) {
        this.plane.fromNetwork(path, datagram.bytes, now);
        this.#planeDrops.look(this.plane.drops(), now, datagram.from);
      } else {
        this.dispatch({ kind: 'datagram', path, bytes: datagram.bytes });
        this.#controlDrops.look(this.endpoint.drops, now, datagram.from);
      }
    }
    this.#arm();
  }

  #fromTun(tun: TunDevice): void {
    for (let i = 0; i < BATCH && !this.#isClosed; i++) {
      const packet = tun.read();
      if (packet === undefined || isFailure(packet)) break;
      this.plane.fromTun(packet, this.#host.monotonicMs());
    }
    this.#arm();
  }

  #deliver(packet: Uint8Array): void {
    // A full queue drops the packet, as a link would.
    this.#tun?.write(packet);
  }

  #send(path: Path, bytes: Uint8Array): void {
    const socket = this.sockets.get(path.socket);
    const failed = socket?.send(bytes, path.remote, path.local);
    // Our own address went away: any other is better than silence, and a client that hears us floats.
    if (failed !== undefined && OWN_ADDRESS_GONE.has(failed.code)) socket?.send(bytes, path.remote);
  }

  network(): WantedNetwork | undefined {
    return this.#wanted;
  }

  dispatch(event: Event): void {
    this.#queue.push(event);
    // Effects of one event may bring the next; one at a time, in order.
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (let next = this.#queue.shift(); next !== undefined && !this.#isClosed; next = this.#queue.shift()) {
      for (const effect of this.endpoint.step(next, this.#host.monotonicMs())) {
        if (!this.#isClosed) this.#applyEffect(effect);
      }
    }
    this.#isDraining = false;
    this.#arm();
  }

  #applyEffect(effect: Effect): void {
    switch (effect.kind) {
      case 'setPlane':
        return this.#command(effect.command);
      case 'setNet':
        return this.#applyNetwork(effect.network);
      case 'notify':
        return this.#log.write(effect.notice.level, effect.notice.text);
      case 'send':
        return this.#send(effect.path, effect.bytes);
      case 'setTimer':
        this.#coreAt = effect.at;
        return;
      case 'resolve':
        this.#resolution = this.#host.resolve(effect.host, effect.family, answer => {
          this.#resolution = undefined;
          if (typeof answer === 'string') this.dispatch({ kind: 'resolveFailed', reason: answer });
          else this.dispatch({ kind: 'resolved', addresses: answer });
        });
        return;
      case 'openSocket': {
        const failure = this.#openSocket(effect.remote.ip.length === 4 ? 4 : 6, 0);
        if (failure !== undefined) this.dispatch({ kind: 'socketFailed', reason: failure });
        else this.dispatch({ kind: 'socketOpened', socket: this.#nextSocket - 1 });
        return;
      }
      case 'closeSocket':
        return this.#closeSocket(effect.socket);
      case 'exit':
        return this.close();
    }
  }

  #command(command: PlaneCommand): void {
    const now = this.#host.monotonicMs();
    const refused = execute(this.plane, command, now);
    if (refused === undefined) return;
    this.dispatch({ kind: 'planeRefused', command, text: `${refused.code}: ${refused.text}` });
  }

  #applyNetwork(wanted: WantedNetwork): void {
    this.#wanted = wanted;
    const { failures } = this.#network.apply(wanted);
    const report = failures.join('; ');
    // The same failure at every reconnect is worth one line.
    if (report !== '' && report !== this.#reported) this.#log.write('error', `network: ${report}`);
    this.#reported = report;
  }

  #closeSocket(number: number): void {
    const socket = this.sockets.get(number);
    if (socket === undefined) return;
    this.sockets.delete(number);
    this.#host.loop.forget(socket.fd);
    socket.close();
  }

  /** One timer for the core, the plane and the drop reports. */
  #arm(): void {
    if (this.#isClosed || this.#isDraining) return;
    let at = earlier(this.#coreAt, this.plane.deadline());
    at = earlier(earlier(at, this.#controlDrops.dueAt), this.#planeDrops.dueAt);
    if (at === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = at === undefined ? undefined : this.#host.loop.at(at, () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#timerAt = undefined;
    const now = this.#host.monotonicMs();
    const planeAt = this.plane.deadline();
    if (planeAt !== undefined && now >= planeAt) this.plane.tick(now);
    if (this.#coreAt !== undefined && now >= this.#coreAt) this.dispatch({ kind: 'tick' });
    this.#controlDrops.tick(now);
    this.#planeDrops.tick(now);
    this.#arm();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#resolution?.cancel();
    if (this.#wanted !== undefined) {
      for (const failure of this.#network.clear().failures) this.#log.write('warn', `network: ${failure}`);
    }
    if (this.#kernel !== undefined) this.#host.loop.forget(this.#kernel.noticeFd);
    this.plane.close();
    for (const number of [...this.sockets.keys()]) this.#closeSocket(number);
    if (this.#tun !== undefined) {
      this.#host.loop.forget(this.#tun.fd);
      this.#tun.close();
    }
    this.#parts.material.tls.close();
    this.#parts.onExit();
  }
}
