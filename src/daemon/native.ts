// SPDX-License-Identifier: Apache-2.0
// The native plane for one tunnel: its device and its thread in the shim.

import {
  describe,
  type Host,
  isFailure,
  NATIVE_FEATURES,
  type NativePlane,
  type TunDevice,
} from '../host/host.ts';
import { NATIVE_PEERS_MAX, nativeLimits } from '../plane/native.ts';
import type { PlaneUnavailable } from '../plane/plane.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import { tunProblem } from './failures.ts';
import { planeMode } from './settings.ts';

export interface NativeGround {
  readonly tun: TunDevice;
  readonly engine: NativePlane;
}

/** Names of the features that a set of bits stands for. */
export function featureNames(bits: number): string[] {
  return Object.entries(NATIVE_FEATURES).flatMap(([name, bit]) => ((bits & bit) !== 0 ? [name] : []));
}

function wantedFeatures(config: ServerConfig | ClientConfig): number {
  return Object.entries(NATIVE_FEATURES).reduce(
    (bits, [name, bit]) =>
      config.offload.includes(name as keyof typeof NATIVE_FEATURES) ? bits | bit : bits,
    0,
  );
}

/** Makes the tunnel's device and starts its data thread, or says why another plane must do. */
export function openNative(host: Host, config: ServerConfig | ClientConfig): NativeGround | PlaneUnavailable {
  const tun = host.openTun(config.device, true);
  if (isFailure(tun)) return { name: 'native', reason: tunProblem(config.device, tun) };
  const isServer = config.role === 'server';
  const engine = tun.openPlane({
    isMany: planeMode(config) === 'mp',
    features: wantedFeatures(config),
    mssfix: config.mssfix,
    usesLocal: isServer,
    peersMax: NATIVE_PEERS_MAX,
    limits: nativeLimits(),
    mtu: config.tunMtu,
    clientToClient: isServer && config.clientToClient,
    threads: config.dataThreads,
  });
  if (!isFailure(engine)) return { tun, engine };
  tun.close();
  return { name: 'native', reason: describe(engine) };
}
