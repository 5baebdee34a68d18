// SPDX-License-Identifier: Apache-2.0
// Wires the network of one tunnel to netifd, over ubus, and to rtnetlink.

import { describe, type Host, isFailure } from '../host/host.ts';
import { DeviceWatch } from '../network/device.ts';
import { type InterfaceState, TunnelNetwork } from '../network/netifd.ts';
import type { NetworkReport } from '../network/network.ts';
import { createRtnetlinkNetwork } from '../network/rtnetlink.ts';
import type { BlobTable } from '../ubus/blob.ts';
import type { Bus } from '../ubus/bus.ts';
import { isUbusError } from '../ubus/client.ts';
import { STATUS } from '../ubus/message.ts';
import type { Log } from './log.ts';

/** netifd answers from memory; it is slow only while it starts scripts. */
const ANSWER_MS = 3_000;

export interface NetworkParts {
  readonly host: Host;
  readonly bus: Bus;
  readonly log: Log;
  readonly tunnel: string;
  /** For the state file; exists. */
  readonly runDirectory: string;
  /** Addresses of the device may have been gone; routes on it that are not ours may be. */
  readonly onDeviceUp: () => void;
}

/** What netifd's `status` of an interface says that matters here. */
export function interfaceState({ proto, up, pending }: BlobTable): InterfaceState {
  return { proto: typeof proto === 'string' ? proto : '', isWanted: up === true || pending === true };
}

export function createTunnelNetwork(parts: NetworkParts): TunnelNetwork {
  const { host, bus, log, tunnel } = parts;
  const warn = (text: string): void => log.write('warn', text);
  const network = new TunnelNetwork({
    tunnel,
    loop: host.loop,
    monotonicMs: () => host.monotonicMs(),
    kernel: createRtnetlinkNetwork({
      openNetlink: protocol => host.openNetlink(protocol),
      files: host.files,
      stateDirectory: parts.runDirectory,
      tunnel,
    }),
    notify: (message, done) => {
      const call = { path: 'network.interface', method: 'notify_proto', args: message };
      bus.invoke(call, ANSWER_MS, outcome => done(isUbusError(outcome) ? outcome : undefined));
    },
    inquire: done => {
      const call = { path: `network.interface.${tunnel}`, method: 'status' };
      bus.invoke(call, ANSWER_MS, outcome => {
        if (!isUbusError(outcome)) return done(interfaceState(outcome));
        if (outcome.status === STATUS.permissionDenied) warn(`netifd: ${outcome.text}`);
        if (outcome.status !== STATUS.notFound) return done('no netifd');
        // A notice without an interface: netifd, if it is there, calls that invalid.
        bus.invoke({ path: 'network.interface', method: 'notify_proto' }, ANSWER_MS, other => {
          const isThere = !isUbusError(other) || other.status === STATUS.invalidArgument;
          done(isThere ? 'no interface' : 'no netifd');
        });
      });
    },
    report: reporter(log),
    warn,
    onDeviceUp: parts.onDeviceUp,
  });
  bus.onUp(() => network.inquire());
  return network;
}

export interface WatchParts {
  readonly host: Host;
  readonly log: Log;
  readonly net: TunnelNetwork;
  readonly device: string;
  readonly index: number;
  readonly onGone: (reason: string) => void;
}

/** Takes back what others do to the device; where that cannot be, the log says so. Returns what ends it. */
export function watchDevice({ host, log, net, device, index, onGone }: WatchParts): (() => void) | undefined {
  const watch = DeviceWatch.open(protocol => host.openNetlink(protocol), index, device, {
    down: () => {
      if (net.deviceDown())
        log.write('warn', `device ${device} was set down: no packet passes until it is up`);
    },
    unsure: () => void net.deviceDown(),
    up: () => {
      if (net.deviceUp()) log.write('info', `device ${device} is up again, with its addresses and routes`);
    },
    gone: why => onGone(`the device is gone (${why})`),
  });
  if (!isFailure(watch)) {
    host.loop.onReadable(watch.fd, () => watch.receive());
    return () => {
      host.loop.forget(watch.fd);
      watch.close();
    };
  }
  log.write('warn', `device ${device} is not watched: ${describe(watch)}`);
  return undefined;
}

/** The same failure at every reconnect is worth one line. */
function reporter(log: Log): (report: NetworkReport) => void {
  let reported = '';
  return ({ failures }) => {
    const report = failures.join('; ');
    if (report !== '' && report !== reported) log.write('error', `network: ${report}`);
    reported = report;
  };
}
