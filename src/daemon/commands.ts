// SPDX-License-Identifier: Apache-2.0
// Commands that look at the configuration or talk to running tunnels: check, status, disconnect, reload.

import { printable } from '../core/text.ts';
import { describe, type Host, isFailure } from '../host/host.ts';
import { askUbus } from '../ubus/call.ts';
import { createCall, isUbusError } from '../ubus/client.ts';
import { formatProblem } from '../uci/config.ts';
import { materialProblems, readConfigFile } from './configfile.ts';
import type { ReloadAnswer } from './run.ts';
import { readStatus, renderStatus, type TunnelStatus } from './status.ts';

const ANSWER_MS = 5000;

/** Prints every problem; 1 when one of them is an error. */
export function check(host: Host, configDirectory: string): number {
  const config = readConfigFile(host, configDirectory);
  const problems = [...config.problems, ...materialProblems(host, config)].sort((a, b) => a.line - b.line);
  for (const problem of problems) host.print(1, `${formatProblem(problem)}\n`);
  const errors = problems.filter(problem => problem.severity === 'error').length;
  const tunnels = config.servers.length + config.clients.length;
  const warnings = problems.length - errors;
  const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
  const counts = [count(tunnels, 'usable tunnel'), count(errors, 'error'), count(warnings, 'warning')];
  host.print(1, `${config.path}: ${counts.join(', ')}\n`);
  return errors > 0 ? 1 : 0;
}

/** Asks one tunnel's process; a string says why there is no answer. */
function ask(
  host: Host,
  runDirectory: string,
  tunnel: string,
  method: string,
  args: object,
): object | string {
  const stream = host.connectUnix(`${runDirectory}/${tunnel}.sock`);
  if (isFailure(stream)) {
    const isAbsent = stream.code === 'ENOENT' || stream.code === 'ECONNREFUSED';
    return isAbsent ? `tunnel '${tunnel}' is not running` : `tunnel '${tunnel}': ${describe(stream)}`;
  }
  let answer: object | string = 'no answer';
  const request = createCall({ path: `ovpnd.${tunnel}`, method, args });
  askUbus(
    { loop: host.loop, stream, monotonicMs: () => host.monotonicMs(), timeoutMs: ANSWER_MS },
    request,
    outcome => {
      answer = isUbusError(outcome) ? outcome.text : outcome;
      host.loop.stop();
    },
  );
  host.loop.run();
  return answer;
}

/** Names of tunnels whose process has a socket here. */
function runningTunnels(host: Host, runDirectory: string): string[] {
  const names = host.files.list(runDirectory);
  if (isFailure(names)) return [];
  return names.filter(name => name.endsWith('.sock')).map(name => name.slice(0, -'.sock'.length));
}

export function status(
  host: Host,
  runDirectory: string,
  tunnel: string | undefined,
  asJson: boolean,
): number {
  const statuses: TunnelStatus[] = [];
  for (const name of tunnel === undefined ? runningTunnels(host, runDirectory) : [tunnel]) {
    const answer = ask(host, runDirectory, name, 'status', {});
    const read = typeof answer === 'string' ? undefined : readStatus(answer);
    if (read !== undefined) statuses.push(read);
    else if (tunnel !== undefined)
      return complain(host, typeof answer === 'string' ? answer : 'malformed answer');
  }
  if (!asJson) host.print(1, renderStatus(statuses));
  else host.print(1, `${JSON.stringify(tunnel === undefined ? statuses : statuses[0], undefined, 2)}\n`);
  return 0;
}

function complain(host: Host, text: string): number {
  host.print(2, `ovpnd: ${text}\n`);
  return 1;
}

export function disconnect(host: Host, runDirectory: string, tunnel: string, peer: string): number {
  const answer = ask(host, runDirectory, tunnel, 'disconnect', { peer });
  if (typeof answer !== 'string') return 0;
  return complain(
    host,
    /not found/i.test(answer) ? `no peer '${peer}' is connected to tunnel '${tunnel}'` : answer,
  );
}

export function reload(host: Host, runDirectory: string, tunnel: string): number {
  const answer = ask(host, runDirectory, tunnel, 'reload', {});
  if (typeof answer === 'string') return complain(host, answer);
  const { applied, changes = [], restarts, ends, problems = [] } = answer as Partial<ReloadAnswer>;
  for (const problem of problems) host.print(2, `${printable(problem)}\n`);
  if (applied !== true) return complain(host, 'nothing was changed');
  const how = ends ? 'ending' : restarts ? 'restarting' : 'applied';
  host.print(1, changes.length === 0 ? 'nothing changed\n' : `${how}: ${printable(changes.join(', '))}\n`);
  return 0;
}
