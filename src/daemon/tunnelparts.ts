// SPDX-License-Identifier: Apache-2.0
// What a running tunnel is made of.

import type { Host } from '../host/host.ts';
import type { KernelGround } from '../plane/kernelground.ts';
import type { PlaneUnavailable } from '../plane/plane.ts';
import type { Bus } from '../ubus/bus.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import type { Authenticator } from './authenticate.ts';
import type { Log } from './log.ts';
import type { Material } from './material.ts';
import type { NativeGround } from './native.ts';

export interface TunnelParts {
  readonly host: Host;
  readonly config: ServerConfig | ClientConfig;
  readonly material: Material;
  readonly log: Log;
  /** Other services; it outlives the tunnel. */
  readonly bus: Bus;
  /** For the network state file; exists. */
  readonly runDirectory: string;
  /** Better planes that are off, and why. */
  readonly planesOff: readonly PlaneUnavailable[];
  /** Present: data packets are the kernel's, on this device. Owned by the tunnel from now on. */
  readonly ground?: KernelGround;
  /** Present: data packets are the shim's, on this device. Owned by the tunnel from now on. */
  readonly native?: NativeGround;
  /** Of a server: answers logins. */
  readonly authenticator?: Authenticator;
  /** Whether its end was asked for and nothing follows it; anything else leaves the kill switch closed. */
  readonly isEnding: () => boolean;
  /** The data plane is gone and will not come back. */
  readonly onBroken: (reason: string) => void;
  /** Everything is closed. */
  readonly onExit: () => void;
}
