// SPDX-License-Identifier: Apache-2.0
// Wires the network of one tunnel to netifd, over ubus, and to rtnetlink.

import type { Host } from '../host/host.ts';
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
  /** netifd has brought the device up; routes on it may be gone. */
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

/** The same failure at every reconnect is worth one line. */
function reporter(log: Log): (report: NetworkReport) => void {
  let reported = '';
  return ({ failures }) => {
    const report = failures.join('; ');
    if (report !== '' && report !== reported) log.write('error', `network: ${report}`);
    reported = report;
  };
}
