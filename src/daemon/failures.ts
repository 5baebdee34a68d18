// SPDX-License-Identifier: Apache-2.0
// What the kernel refuses at the start of a tunnel, with what a person can do about it.

import { formatIp } from '../core/address.ts';
import { describe, type Failure } from '../host/host.ts';
import type { ServerConfig } from '../uci/config.ts';

const withHint = (text: string, hint: string | undefined): string =>
  hint === undefined ? text : `${text} (${hint})`;

/** Why the tunnel's device cannot be made. */
export function tunProblem(device: string, failure: Failure): string {
  const hints: Readonly<Record<string, string>> = {
    EBUSY: 'something else has a device of this name; option device chooses another',
    EINVAL: `${device} is a device of another kind; option device chooses another name`,
    ENOENT: 'the kernel lacks TUN: load its module tun, on OpenWrt the package kmod-tun',
    ENODEV: 'the kernel lacks TUN: load its module tun, on OpenWrt the package kmod-tun',
    EPERM: 'root or CAP_NET_ADMIN is needed',
  };
  return withHint(describe(failure), hints[failure.code]);
}

/** Why a server cannot listen. */
export function listenProblem(proto: string, config: ServerConfig, failure: Failure): string {
  const { local, port, bindDevice } = config;
  const hints: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program, perhaps OpenVPN or another tunnel, has the port',
    EADDRNOTAVAIL: 'no interface has the address of option local',
    EACCES: 'ports below 1024 need root or CAP_NET_BIND_SERVICE',
    ENODEV: `there is no device ${bindDevice}, which option bind_device names`,
  };
  const where = local === undefined ? '' : ` of ${formatIp(local)}`;
  return withHint(`cannot listen on ${proto} port ${port}${where}: ${failure.text}`, hints[failure.code]);
}
