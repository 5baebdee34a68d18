// SPDX-License-Identifier: Apache-2.0
// The data plane of one tunnel, tied to its sockets and its core.

import type { Path } from '../core/address.ts';
import type { Event } from '../core/event.ts';
import type { Host } from '../host/host.ts';
import { createJsPlane } from '../plane/js.ts';
import { createKernelPlane, type KernelPlane } from '../plane/kernel.ts';
import type { KernelGround } from '../plane/kernelground.ts';
import { NATIVE_PEERS_MAX, NativePlane } from '../plane/native.ts';
import type { PacketPlane } from '../plane/plane.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import type { Log } from './log.ts';
import type { NativeGround } from './native.ts';
import { planeMode } from './settings.ts';
import type { Sockets } from './sockets.ts';

/** What a plane has of its tunnel. */
export interface PlaneTies {
  readonly host: Host;
  readonly config: ServerConfig | ClientConfig;
  readonly log: Log;
  readonly sockets: Sockets;
  readonly dispatch: (event: Event) => void;
  /** A packet that is not the plane's. */
  readonly control: (path: Path, bytes: Uint8Array) => void;
  /** A packet for TUN. */
  readonly deliver: (packet: Uint8Array) => void;
  readonly broken: (reason: string) => void;
}

export interface TunnelPlanes {
  /** One of the two, or the js plane. */
  readonly plane: PacketPlane;
  readonly kernel?: KernelPlane;
  readonly native?: NativePlane;
}

/** The plane for which there is a ground. */
export function createPlanes(
  ties: PlaneTies,
  ground: KernelGround | undefined,
  nativeGround: NativeGround | undefined,
): TunnelPlanes {
  if (ground !== undefined) {
    const kernel = kernelPlane(ties, ground);
    return { plane: kernel, kernel };
  }
  if (nativeGround === undefined) return { plane: jsPlane(ties) };
  const native = nativePlane(ties, nativeGround);
  return { plane: native, native };
}

/** What all of them tell the core. */
function toCore({ dispatch }: PlaneTies) {
  return {
    notice: (notice: Extract<Event, { kind: 'planeNotice' }>['notice']) =>
      dispatch({ kind: 'planeNotice', notice }),
    inner: (peerId: number, payload: Uint8Array) =>
      dispatch({ kind: 'inner', peerId, payload: payload.slice() }),
  };
}

function jsPlane(ties: PlaneTies): PacketPlane {
  const { host, config, sockets, deliver } = ties;
  return createJsPlane({
    mode: planeMode(config),
    crypto: host.crypto,
    mssfix: config.mssfix,
    clientToClient: config.role === 'server' && config.clientToClient,
    sink: { send: (path, datagram) => sockets.send(path, datagram, true), deliver, ...toCore(ties) },
  });
}

function nativePlane(ties: PlaneTies, { engine }: NativeGround): NativePlane {
  const { config, sockets, control, broken } = ties;
  return new NativePlane({
    mode: planeMode(config),
    engine,
    isThreaded: true,
    peersMax: NATIVE_PEERS_MAX,
    sink: {
      send: () => undefined,
      deliver: () => undefined,
      ...toCore(ties),
      control,
      streamEnded: (socket, errno) => sockets.streams.ended(socket, errno),
      broken,
    },
  });
}

function kernelPlane(ties: PlaneTies, ground: KernelGround): KernelPlane {
  const { host, config, log, sockets, broken } = ties;
  return createKernelPlane({
    ground,
    addresses: config.role === 'server' ? config.address : [],
    socketFd: number => sockets.fd(number),
    isStream: number => sockets.isStream(number),
    monotonicMs: () => host.monotonicMs(),
    sink: {
      notice: toCore(ties).notice,
      warn: text => log.write('warn', `data plane: ${text}`),
      broken,
    },
  });
}
