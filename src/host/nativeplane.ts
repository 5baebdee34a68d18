// SPDX-License-Identifier: Apache-2.0
// The shim's native data plane as an object.

import type { Failure, NativeKey, NativePeer, NativePlane, NativePlaneOptions, Result } from './host.ts';
import { demand, failure, outcome, type RawShim } from './raw.ts';

const SLOTS = { primary: 0, secondary: 1 } as const;

class ShimNativePlane implements NativePlane {
  readonly fd: number;
  readonly #shim: RawShim;
  readonly #handle: number;

  constructor(shim: RawShim, handle: number) {
    this.#shim = shim;
    this.#handle = handle;
    this.fd = demand(shim, 'plane_fd', shim.plane_fd(handle));
  }

  #outcome(call: string, status: number): Failure | undefined {
    return outcome(this.#shim, call, status);
  }

  take(buffer: Uint8Array): number {
    return demand(this.#shim, 'plane_take', this.#shim.plane_take(this.#handle, buffer));
  }

  addPeer(peer: NativePeer, now: number): Result<number> {
    const { peerId, txId = peerId, isV1, path, vpnIp4, vpnIp6, routes, keepalive } = peer;
    const status = this.#shim.plane_add_peer(
      this.#handle,
      peerId,
      txId,
      isV1 === true ? 1 : 0,
      path ?? new Uint8Array(0),
      vpnIp4,
      vpnIp6,
      routes,
      keepalive?.intervalS ?? 0,
      keepalive?.timeoutS ?? 0,
      now,
    );
    return status < 0 ? failure(this.#shim, 'add peer', status) : status;
  }

  setPeer(change: NativePeer, now: number): Failure | undefined {
    const { peerId, path, vpnIp4, vpnIp6, routes, keepalive } = change;
    const { intervalS, timeoutS } = keepalive ?? { intervalS: -1, timeoutS: -1 };
    const status = this.#shim.plane_set_peer(
      this.#handle,
      peerId,
      path,
      vpnIp4,
      vpnIp6,
      routes,
      intervalS,
      timeoutS,
      now,
    );
    return this.#outcome('set peer', status);
  }

  delPeer(peerId: number): Failure | undefined {
    return this.#outcome('delete peer', this.#shim.plane_del_peer(this.#handle, peerId));
  }

  addKey({
    peerId,
    slot,
    keyId,
    cipher,
    isEpoch,
    rekeyAfter,
    encrypt,
    decrypt,
  }: NativeKey): Failure | undefined {
    const status = this.#shim.plane_add_key(
      this.#handle,
      peerId,
      SLOTS[slot],
      keyId,
      cipher,
      isEpoch ? 1 : 0,
      encrypt.key,
      encrypt.tail,
      decrypt.key,
      decrypt.tail,
      rekeyAfter.packets,
      rekeyAfter.bytes,
    );
    return this.#outcome('add key', status);
  }

  swapKeys(peerId: number): Failure | undefined {
    return this.#outcome('swap keys', this.#shim.plane_swap_keys(this.#handle, peerId));
  }

  delKey(peerId: number, slot: 'primary' | 'secondary'): Failure | undefined {
    return this.#outcome('delete key', this.#shim.plane_del_key(this.#handle, peerId, SLOTS[slot]));
  }

  sendInner(peerId: number, payload: Uint8Array, now: number): Failure | undefined {
    return this.#outcome('send', this.#shim.plane_send_inner(this.#handle, peerId, payload, now));
  }

  peers(): Uint8Array {
    return demand<Uint8Array>(this.#shim, 'plane_peers', this.#shim.plane_peers(this.#handle));
  }

  show(): readonly number[] {
    return demand<readonly number[]>(this.#shim, 'plane_show', this.#shim.plane_show(this.#handle));
  }

  addSocket(socket: number, fd: number, family: 4 | 6, tunes: boolean): Failure | undefined {
    const status = this.#shim.plane_add_socket(this.#handle, socket, fd, family, tunes ? 1 : 0);
    return this.#outcome('hand over socket', status);
  }

  addStream(fd: number, path: Uint8Array, recordMax: number): Failure | undefined {
    return this.#outcome(
      'hand over connection',
      this.#shim.plane_add_stream(this.#handle, fd, path, recordMax),
    );
  }

  sendRecord(socket: number, record: Uint8Array): Failure | undefined {
    return this.#outcome('send', this.#shim.plane_send_record(this.#handle, socket, record));
  }

  removeSocket(socket: number): Failure | undefined {
    return this.#outcome('take back socket', this.#shim.plane_remove_socket(this.#handle, socket));
  }

  fromNetwork(path: Uint8Array, datagram: Uint8Array, now: number): void {
    demand(
      this.#shim,
      'plane_from_network',
      this.#shim.plane_from_network(this.#handle, path, datagram, now),
    );
  }

  fromTun(frame: Uint8Array, now: number, tells = false): void {
    demand(this.#shim, 'plane_from_tun', this.#shim.plane_from_tun(this.#handle, frame, now, tells ? 1 : 0));
  }

  tick(now: number): void {
    this.#shim.plane_tick(this.#handle, now);
  }

  deadline(): number | undefined {
    const [at] = demand<readonly number[]>(this.#shim, 'deadline', this.#shim.plane_deadline(this.#handle));
    return at! < 0 ? undefined : at;
  }

  close(): void {
    this.#shim.plane_close(this.#handle);
  }
}

/** `tun`: a handle of a device with header; without one packets are given and taken by calls. */
export function openNativePlane(shim: RawShim, options: NativePlaneOptions, tun = -1): Result<NativePlane> {
  const handle = shim.plane_open(
    options.isMany ? 1 : 0,
    tun,
    options.features,
    options.mssfix,
    options.usesLocal ? 1 : 0,
    options.peersMax,
    new Uint8Array(Float64Array.from(options.limits).buffer),
    options.mtu,
    options.clientToClient ? 1 : 0,
    options.threads,
  );
  return handle < 0 ? failure(shim, 'start data plane', handle) : new ShimNativePlane(shim, handle);
}
