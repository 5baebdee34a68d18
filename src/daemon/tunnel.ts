// SPDX-License-Identifier: Apache-2.0
// One running tunnel: feeds the core with what sockets, TUN, timer and operator bring, and applies its effects.
// No protocol rule lives here.

import type { Path } from '../core/address.ts';
import { formatEndpoint } from '../core/address.ts';
import type { CoreDeps, Effect, Event, Notice } from '../core/event.ts';
import { earlier } from '../core/event.ts';
import type { WantedNetwork } from '../core/network.ts';
import type { PlaneCommand } from '../core/plane.ts';
import type { TlsEngine } from '../core/tls.ts';
import { OPCODE } from '../core/wire.ts';
import { type Host, isFailure, type Resolution, type Timer, type TunDevice } from '../host/host.ts';
import type { TunnelNetwork } from '../network/netifd.ts';
import { execute } from '../plane/command.ts';
import type { KernelPlane } from '../plane/kernel.ts';
import type { NativePlane } from '../plane/native.ts';
import type { PacketPlane, PlaneUnavailable } from '../plane/plane.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import { CrlWatch } from './crlwatch.ts';
import { createDropReport, type DropReport } from './dropreport.ts';
import { clientEndpoint, type Endpoint, serverEndpoint } from './endpoint.ts';
import { tunProblem } from './failures.ts';
import type { Log } from './log.ts';
import type { Lifetime, Material } from './material.ts';
import { createTunnelNetwork, watchDevice } from './network.ts';
import { createPlanes } from './planes.ts';
import type { ReloadPlan } from './reload.ts';
import { clientOptions, serverOptions } from './settings.ts';
import { Sockets } from './sockets.ts';
import type { TunnelParts } from './tunnelparts.ts';

/** Packets handled in one go, so that a flood on one descriptor starves no other. */
const BATCH = 64;

export interface Tunnel {
  readonly config: ServerConfig | ClientConfig;
  readonly endpoint: Endpoint;
  readonly plane: PacketPlane;
  readonly planesOff: readonly PlaneUnavailable[];
  readonly sockets: Sockets;
  readonly startedAt: number;
  network(): WantedNetwork | undefined;
  /** Of its certificates: see lifetimeWarnings. */
  readonly lifetimes: readonly Lifetime[];
  /** Goes on with a configuration that needs no restart. Owns `material` from now on. */
  change(config: ServerConfig | ClientConfig, material: Material, plan: ReloadPlan): void;
  /** Who applies it. */
  readonly net: TunnelNetwork;
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

function wantsTcp(config: ServerConfig | ClientConfig): boolean {
  const protos = config.role === 'server' ? config.proto : config.remote.map(({ proto }) => proto);
  return protos.some(proto => proto.startsWith('tcp'));
}

class RunningTunnel implements Tunnel {
  config: ServerConfig | ClientConfig;
  readonly endpoint: Endpoint;
  readonly plane: PacketPlane;
  readonly planesOff: readonly PlaneUnavailable[];
  readonly sockets: Sockets;
  readonly startedAt: number;
  readonly #parts: TunnelParts;
  #material: Material;
  readonly #crl: CrlWatch;
  readonly #host: Host;
  readonly #log: Log;
  readonly net: TunnelNetwork;
  readonly #controlDrops: DropReport;
  readonly #planeDrops: DropReport;
  readonly #queue: Event[] = [];
  #isDraining = false;
  #isClosed = false;
  /** The kernel has no device that we see. */
  #tun: TunDevice | undefined;
  #unwatch: (() => void) | undefined;
  #isBroken = false;
  readonly #kernel: KernelPlane | undefined;
  readonly #native: NativePlane | undefined;
  #wanted: WantedNetwork | undefined;
  #resolution: Resolution | undefined;
  #coreAt: number | undefined;
  #timer: Timer | undefined;
  #timerAt: number | undefined;

  constructor(parts: TunnelParts) {
    const { host, config, material, log } = parts;
    this.#parts = parts;
    this.#material = material;
    this.#host = host;
    this.#log = log;
    this.#crl = new CrlWatch(host, log);
    this.config = config;
    this.planesOff = parts.planesOff;
    this.startedAt = host.monotonicMs();
    this.sockets = new Sockets({
      host,
      config,
      packet: (path, bytes) => this.#fromNetwork(path, bytes),
      dispatch: event => this.#fromSockets(event),
      settled: () => this.#arm(),
      ...(parts.native && { taker: () => this.#native! }),
    });
    const ties = {
      host,
      config,
      log,
      sockets: this.sockets,
      dispatch: (event: Event) => this.dispatch(event),
      control: (path: Path, bytes: Uint8Array) => this.#fromNetwork(path, bytes),
      deliver: (packet: Uint8Array) => this.#deliver(packet),
      broken: (reason: string) => this.#broken(reason),
    };
    const planes = createPlanes(ties, parts.ground, parts.native);
    this.plane = planes.plane;
    this.#kernel = planes.kernel;
    this.#native = planes.native;
    this.#tun = parts.native?.tun;
    const deps: CoreDeps = {
      crypto: host.crypto,
      random: host.random,
      tls: () => this.#openTls(),
      wallS: () => host.wallS(),
      contains: true,
    };
    const { capabilities } = this.plane;
    this.endpoint =
      config.role === 'server'
        ? serverEndpoint(serverOptions(config, material, capabilities), deps)
        : clientEndpoint(clientOptions(config, material, capabilities), deps);
    this.net = createTunnelNetwork({
      host,
      bus: parts.bus,
      log,
      tunnel: config.name,
      runDirectory: parts.runDirectory,
      onDeviceUp: () => this.#kernel?.restoreRoutes(),
    });
    this.#controlDrops = createDropReport('control', text => log.write('warn', text));
    this.#planeDrops = createDropReport('data', text => log.write('warn', text));
  }

  /** Opens the way for packets or, where they do not come here, for what the kernel says of them. */
  #openDevice(): string | undefined {
    const { loop } = this.#host;
    const far = this.#kernel ?? this.#native;
    if (far !== undefined) {
      loop.onReadable(far.noticeFd, () => {
        const now = this.#host.monotonicMs();
        far.receive(now);
        // The native plane counts under its locks: they are looked at when it asks for it.
        if (this.#kernel !== undefined) this.#planeDrops.look(this.#kernel.drops(), now);
        this.#arm();
      });
      return undefined;
    }
    const tun = this.#host.openTun(this.config.device);
    if (isFailure(tun)) return tunProblem(this.config.device, tun);
    this.#tun = tun;
    loop.onReadable(tun.fd, () => this.#fromTun(tun));
    return undefined;
  }

  start(): string | undefined {
    const isGuarded = this.config.role === 'client' && this.config.killSwitch;
    for (const failure of this.net.open(isGuarded).failures)
      this.#log.write('warn', `left from before: ${failure}`);
    const noDevice = this.#openDevice();
    if (noDevice !== undefined) return noDevice;
    this.#unwatch = watchDevice({
      host: this.#host,
      log: this.#log,
      net: this.net,
      device: this.#tun?.name ?? this.config.device,
      index: this.#tun?.index ?? this.#parts.ground!.target.ifindex,
      onGone: reason => this.#broken(reason),
    });
    if (!this.plane.capabilities.tcp && wantsTcp(this.config)) {
      return `data_plane: ${this.plane.name} cannot do TCP`;
    }
    if (this.config.role === 'server') {
      const failure = this.sockets.listen(this.config);
      if (failure !== undefined) return failure;
    }
    const off = this.planesOff.map(plane => `${plane.name}: ${plane.reason}`).join('; ');
    const where = this.sockets.shown().map(({ proto, local }) => `${proto} ${formatEndpoint(local)}`);
    const listening = where.length === 0 ? '' : `listening on ${where.join(' and ')}, `;
    this.#log.write(
      'info',
      `${listening}device ${this.#tun?.name ?? this.config.device}, data plane ${this.plane.name}${off === '' ? '' : ` (${off})`}`,
    );
    this.dispatch({ kind: 'start' });
    return undefined;
  }

  #fromSockets(event: Event): void {
    this.dispatch(event);
    if (event.kind !== 'streamClosed') return;
    this.#controlDrops.look(this.endpoint.drops, this.#host.monotonicMs(), event.path.remote);
  }

  #fromNetwork(path: Path, bytes: Uint8Array): void {
    const opcode = (bytes[0] ?? 0) >> 3;
    const now = this.#host.monotonicMs();
    if (opcode === OPCODE.dataV2 || opcode === OPCODE.dataV1) {
      this.plane.fromNetwork(path, bytes, now);
      this.#planeDrops.look(this.plane.drops(), now, path.remote);
    } else {
      this.dispatch({ kind: 'datagram', path, bytes });
      this.#controlDrops.look(this.endpoint.drops, now, path.remote);
    }
  }

  #fromTun(tun: TunDevice): void {
    for (let i = 0; i < BATCH && !this.#isClosed; i++) {
      const packet = tun.read();
      if (isFailure(packet) && packet.code === 'EBADFD') this.#broken(`the device is gone (${packet.text})`);
      if (packet === undefined || isFailure(packet)) break;
      this.plane.fromTun(packet, this.#host.monotonicMs());
    }
    this.#arm();
  }

  #deliver(packet: Uint8Array): void {
    // A full queue drops the packet, as a link would.
    this.#tun?.write(packet);
  }

  /** Said by the plane or the kernel, whoever finds out first. */
  #broken(reason: string): void {
    if (this.#isBroken || this.#isClosed) return;
    this.#isBroken = true;
    // Without its device the descriptor is always ready, and never gives a packet.
    if (this.#tun !== undefined && this.#native === undefined) this.#host.loop.forget(this.#tun.fd);
    this.#parts.onBroken(reason);
  }

  network(): WantedNetwork | undefined {
    return this.#wanted;
  }

  get lifetimes(): readonly Lifetime[] {
    return this.#material.lifetimes;
  }

  change(config: ServerConfig | ClientConfig, material: Material, plan: ReloadPlan): void {
    // Sessions opened from the old context keep what they need of it.
    this.#material.tls.close();
    this.#material = material;
    this.config = config;
    this.#log.setLevel(config.logLevel);
    this.sockets.setConfig(config);
    if (config.role === 'server') {
      this.#parts.authenticator?.change(config);
      this.#changeServer(config, plan);
    } else {
      const reconnect = plan.cost === 'new socket';
      const newSessions = reconnect || plan.cost === 'new sessions';
      const options = clientOptions(config, material, this.plane.capabilities);
      this.dispatch({ kind: 'configChange', role: 'client', options, newSessions, reconnect });
    }
  }

  #changeServer(config: ServerConfig, { peers, reverify }: Pick<ReloadPlan, 'peers' | 'reverify'>): void {
    const options = serverOptions(config, this.#material, this.plane.capabilities);
    this.dispatch({ kind: 'configChange', role: 'server', options, peers, reverify });
  }

  /** Under a list that changed, whoever is connected must still be who may be; a client is about to look anyway. */
  #openTls(): TlsEngine {
    const isAnother = this.#crl.look(this.config.crl, this.#material);
    if (isAnother && this.config.role === 'server')
      this.#changeServer(this.config, { peers: new Set(), reverify: true });
    return this.#material.tls.open();
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
        return this.#notify(effect.notice);
      case 'send':
        return this.sockets.send(effect.path, effect.bytes, false);
      case 'setTimer':
        this.#coreAt = effect.at;
        return;
      case 'resolve':
        this.#resolution?.cancel();
        this.#resolution = this.#host.resolve(effect.host, effect.family, answer => {
          this.#resolution = undefined;
          if (typeof answer === 'string') this.dispatch({ kind: 'resolveFailed', reason: answer });
          else this.dispatch({ kind: 'resolved', addresses: answer });
        });
        return;
      case 'askAuth': {
        const { id } = effect;
        return this.#parts.authenticator?.ask(effect, refused =>
          this.dispatch({ kind: 'authResult', id, ...(refused && { refused }) }),
        );
      }
      case 'askTraffic': {
        const { peerId } = effect;
        const peer = this.plane.peers().find(record => record.peerId === peerId);
        if (peer === undefined) return;
        const bytes = peer.counters.vpnRxBytes + peer.counters.vpnTxBytes;
        return this.dispatch({ kind: 'traffic', peerId, bytes });
      }
      case 'openSocket':
        return this.sockets.open(effect.remote, effect.tcp === true);
      case 'closeSocket':
        return this.sockets.close(effect.socket);
      case 'exit':
        return this.close();
    }
  }

  #notify({ level, text, peer, action }: Notice): void {
    this.#log.write(level, text);
    if (level === 'error') this.net.error(text);
    if (action === undefined) return;
    this.#parts.bus.sendEvent('ovpnd.peer', { tunnel: this.config.name, peer: peer ?? '', action });
  }

  #command(command: PlaneCommand): void {
    const stream = command.op === 'addPeer' && command.peer.path.tcp === true ? command.peer.path : undefined;
    const { streams } = this.sockets;
    const isKernels = this.#kernel !== undefined;
    const isTaken = isKernels || this.#native !== undefined;
    const notReady = stream && isTaken ? streams.notReady(stream.socket) : undefined;
    if (notReady !== undefined) return this.dispatch({ kind: 'planeRefused', command, text: notReady });
    const refused = execute(this.plane, command, this.#host.monotonicMs());
    if (refused !== undefined) {
      this.dispatch({ kind: 'planeRefused', command, text: `${refused.code}: ${refused.text}` });
    } else if (stream !== undefined) {
      streams.establish(stream.socket, isKernels ? 'kernel' : this.#native === undefined ? 'us' : 'native');
    }
  }

  #applyNetwork(wanted: WantedNetwork): void {
    this.#wanted = wanted;
    this.net.apply(wanted);
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
    if (planeAt !== undefined && now >= planeAt) {
      this.plane.tick(now);
      this.#planeDrops.look(this.plane.drops(), now);
    }
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
    this.#parts.authenticator?.close();
    for (const failure of this.net.close(!this.#parts.isEnding()).failures)
      this.#log.write('warn', `network: ${failure}`);
    this.#unwatch?.();
    const far = this.#kernel ?? this.#native;
    if (far !== undefined) this.#host.loop.forget(far.noticeFd);
    this.plane.close();
    this.sockets.closeAll();
    if (this.#tun !== undefined) {
      if (far === undefined) this.#host.loop.forget(this.#tun.fd);
      this.#tun.close();
    }
    this.#material.tls.close();
    this.#parts.onExit();
  }
}
