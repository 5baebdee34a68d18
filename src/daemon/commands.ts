// SPDX-License-Identifier: Apache-2.0
// Commands that look at the configuration or talk to running tunnels: check, status, disconnect, reload.

import { printable } from '../core/text.ts';
import { describe, type Host, isFailure, type Stream } from '../host/host.ts';
import { createRtnetlinkNetwork } from '../network/rtnetlink.ts';
import { askUbus } from '../ubus/call.ts';
import { createCall, createLookup, isUbusError, type UbusError, type UbusRequest } from '../ubus/client.ts';
import { formatProblem } from '../uci/config.ts';
import { materialProblems, readConfigFile } from './configfile.ts';
import type { ReloadAnswer } from './run.ts';
import { readStatus, renderStatus, type StatusPeer, type TunnelStatus } from './status.ts';

const ANSWER_MS = 5000;

/** Prints every problem; 1 when one of them is an error. */
export function check(host: Host, configDirectory: string): number {
  const config = readConfigFile(host, configDirectory);
  const problems = [...config.problems, ...materialProblems(host, config)].sort((a, b) => a.line - b.line);
  for (const problem of problems) host.print(1, `${formatProblem(problem)}\n`);
  const errors = problems.filter(problem => problem.severity === 'error').length;
  const isRefused = (name: string): boolean =>
    problems.some(({ severity, section }) => severity === 'error' && section === name);
  const tunnels = [...config.servers, ...config.clients].filter(({ name }) => !isRefused(name)).length;
  const warnings = problems.length - errors;
  const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
  const counts = [count(tunnels, 'usable tunnel'), count(errors, 'error'), count(warnings, 'warning')];
  host.print(1, `${config.path}: ${counts.join(', ')}\n`);
  return errors > 0 ? 1 : 0;
}

/** Where running tunnels can be asked: each on a socket of its own, and on ubusd's where there is one. */
export interface Places {
  readonly runDirectory: string;
  readonly ubusSocket: string;
}

/** Puts one question to whoever is at the other end and waits. */
function question<T>(host: Host, stream: Stream, request: UbusRequest<T>): T | UbusError {
  let answer: T | UbusError | undefined;
  const { loop } = host;
  const parts = { loop, stream, monotonicMs: () => host.monotonicMs(), timeoutMs: ANSWER_MS };
  askUbus(parts, request, outcome => {
    answer = outcome;
    loop.stop();
  });
  loop.run();
  return answer!;
}

/** A connection to whoever serves the tunnel's object; a string says why there is none. */
function streamTo(host: Host, places: Places, tunnel: string): Stream | string {
  const own = host.connectUnix(`${places.runDirectory}/${tunnel}.sock`);
  if (!isFailure(own)) return own;
  const bus = host.connectUnix(places.ubusSocket);
  const found = isFailure(bus) ? undefined : question(host, bus, createLookup(`ovpnd.${tunnel}`));
  const stream = found === undefined || isUbusError(found) ? own : host.connectUnix(places.ubusSocket);
  if (!isFailure(stream)) return stream;
  const isAbsent = stream.code === 'ENOENT' || stream.code === 'ECONNREFUSED';
  return isAbsent ? `tunnel '${tunnel}' is not running` : `tunnel '${tunnel}': ${describe(stream)}`;
}

/** Asks an object of ubusd; a string says why there is no answer. */
export function askBus(
  host: Host,
  places: Places,
  path: string,
  method: string,
  args: object,
): object | string {
  const stream = host.connectUnix(places.ubusSocket);
  if (isFailure(stream)) return describe(stream);
  const answer = question(host, stream, createCall({ path, method, args }));
  return isUbusError(answer) ? answer.text : answer;
}

/** Asks one tunnel's process; a string says why there is no answer. */
export function ask(
  host: Host,
  places: Places,
  tunnel: string,
  method: string,
  args: object,
): object | string {
  const stream = streamTo(host, places, tunnel);
  if (typeof stream === 'string') return stream;
  const answer = question(host, stream, createCall({ path: `ovpnd.${tunnel}`, method, args }));
  return isUbusError(answer) ? answer.text : answer;
}

/** Names of the tunnels that can be asked. */
function runningTunnels(host: Host, places: Places): string[] {
  const files = host.files.list(places.runDirectory);
  const names = new Set(
    (isFailure(files) ? [] : files).filter(name => name.endsWith('.sock')).map(name => name.slice(0, -5)),
  );
  const stream = host.connectUnix(places.ubusSocket);
  const paths = isFailure(stream) ? [] : question(host, stream, createLookup('ovpnd.*'));
  for (const path of isUbusError(paths) ? [] : paths) names.add(path.slice('ovpnd.'.length));
  return [...names].sort();
}

/** The whole status: a tunnel with many peers tells them in several answers. */
function askStatus(host: Host, places: Places, tunnel: string): TunnelStatus | string {
  const peers: StatusPeer[] = [];
  for (;;) {
    const answer = ask(host, places, tunnel, 'status', peers.length === 0 ? {} : { from: peers.length });
    if (typeof answer === 'string') return answer;
    const status = readStatus(answer);
    if (status === undefined) return 'malformed answer';
    peers.push(...status.peers);
    if (status.peers.length === 0 || peers.length >= status.peers_total) return { ...status, peers };
  }
}

export function status(host: Host, places: Places, tunnel: string | undefined, asJson: boolean): number {
  const statuses: TunnelStatus[] = [];
  for (const name of tunnel === undefined ? runningTunnels(host, places) : [tunnel]) {
    const answer = askStatus(host, places, name);
    if (typeof answer !== 'string') statuses.push(answer);
    else if (tunnel !== undefined) return complain(host, answer);
  }
  if (!asJson) host.print(1, renderStatus(statuses));
  else host.print(1, `${JSON.stringify(tunnel === undefined ? statuses : statuses[0], undefined, 2)}\n`);
  return 0;
}

function complain(host: Host, text: string): number {
  host.print(2, `ovpnd: ${text}\n`);
  return 1;
}

export function disconnect(host: Host, places: Places, tunnel: string, peer: string): number {
  const answer = ask(host, places, tunnel, 'disconnect', { peer });
  if (typeof answer !== 'string') return 0;
  return complain(
    host,
    /not found/i.test(answer) ? `no peer '${peer}' is connected to tunnel '${tunnel}'` : answer,
  );
}

export function reload(host: Host, places: Places, tunnel: string): number {
  const answer = ask(host, places, tunnel, 'reload', {});
  if (typeof answer === 'string') return complain(host, answer);
  const { applied, changes = [], restarts, ends, problems = [] } = answer as Partial<ReloadAnswer>;
  for (const problem of problems) host.print(2, `${printable(problem)}\n`);
  if (applied !== true) return complain(host, 'nothing was changed');
  const how = ends ? 'ending' : restarts ? 'restarting' : 'applied';
  host.print(1, changes.length === 0 ? 'nothing changed\n' : `${how}: ${printable(changes.join(', '))}\n`);
  return 0;
}

/** Takes away what a tunnel that does not run any more left closed or behind; a running one is left alone. */
export function unblock(host: Host, { runDirectory }: Places, tunnel: string): number {
  const running = host.connectUnix(`${runDirectory}/${tunnel}.sock`);
  if (!isFailure(running)) {
    running.close();
    return complain(host, `tunnel '${tunnel}' is running: stop it instead`);
  }
  const network = createRtnetlinkNetwork({
    openNetlink: protocol => host.openNetlink(protocol),
    files: host.files,
    stateDirectory: runDirectory,
    tunnel,
  });
  const { failures } = network.recover();
  return failures.length === 0 ? 0 : complain(host, failures.join('; '));
}
