// SPDX-License-Identifier: Apache-2.0
// The kernel plane for one tunnel: whether it can be had here, and what it stands on.

import { describe, type Host, isFailure } from '../host/host.ts';
import { type KernelGround, openKernelGround, removeKernelLeftover } from '../plane/kernelground.ts';
import type { PlaneUnavailable } from '../plane/plane.ts';
import type { ClientConfig, ServerConfig } from '../uci/config.ts';
import { planeMode } from './settings.ts';

const LOOPBACK = new Uint8Array([127, 0, 0, 1]);

/** Makes the tunnel's device in the kernel, or says why another plane must do. */
export function openGround(host: Host, config: ServerConfig | ClientConfig): KernelGround | PlaneUnavailable {
  // The module looks up routes without the device: packets would take another way than configured.
  if (config.bindDevice !== undefined) return { name: 'kernel', reason: 'it cannot do bind_device' };
  // There packets between peers go through the router's own forwarding and firewall.
  if (config.role === 'server' && config.clientToClient)
    return { name: 'kernel', reason: 'it cannot do client_to_client' };
  return openKernelGround({
    device: config.device,
    mode: planeMode(config),
    ciphers: config.dataCiphers,
    openNetlink: (protocol, receiveBuffer) => host.openNetlink(protocol, receiveBuffer),
    openProbeSocket: () => {
      const socket = host.openUdp({ family: 4, ip: LOOPBACK, port: 0 });
      return isFailure(socket) ? describe(socket) : socket;
    },
  });
}

/** For another plane: takes away the kernel's device of this name that a process of ours left when it died. */
export function removeLeftGround(host: Host, config: ServerConfig | ClientConfig): void {
  removeKernelLeftover({ device: config.device, openNetlink: protocol => host.openNetlink(protocol) });
}
