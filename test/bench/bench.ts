// SPDX-License-Identifier: Apache-2.0
// ovpnd beside stock OpenVPN, on one machine in one interleaved run. Both ends of a tunnel share the machine's cores,
// so a throughput is cores divided by all CPU spent; CPU per GB is the steadier figure. Nothing here passes or fails
// by time.

import { writeFileSync } from 'node:fs';
import { missing } from '../interop/harness/need.ts';
import { Cases } from './cases.ts';
import { hold, type Line, lines } from './contest.ts';
import { measureOffload } from './offload.ts';
import { packageFigures } from './packages.ts';
import { PACKAGED, type Plan, readPlan, type Subject, subjectOf } from './plan.ts';
import { canRun, handshakes, idleMemory, machine, memory, peerMemory, sizes, starts } from './single.ts';
import { Quiet } from './statistics.ts';
import { formatTable } from './table.ts';

/** A machine that is never quiet gets its figures all the same, with the remark. */
const REPEATS_MAX = 3;
const REPEATS_BUDGET_S = 240;

async function chooseSubjects({ planes }: Plan): Promise<Subject[]> {
  const native = subjectOf('native');
  if (planes === undefined) return [(await canRun(native)) ? native : subjectOf('js')];
  const subjects = planes.map(subjectOf);
  for (const subject of subjects) {
    if (!(await canRun(subject))) throw new Error(`PLANES: ${subject.word} does not start here`);
  }
  return subjects;
}

interface Report {
  readonly lines: Line[];
  readonly quiet: Quiet;
  readonly samples: unknown;
}

async function measure(plan: Plan, subjects: readonly Subject[]): Promise<Report> {
  const quiet = new Quiet(REPEATS_MAX, REPEATS_BUDGET_S);
  const { rows } = plan;
  const table: Line[] = rows.has('start') ? await starts(subjects) : [];
  const cases = new Cases(plan, subjects, text => console.log(text));
  const weighed = rows.has('memory') && (await canRun(PACKAGED)) ? [...subjects, PACKAGED] : subjects;
  const idle = rows.has('memory') ? await idleMemory(cases, [...weighed, 'openvpn']) : undefined;
  const results = await hold(await cases.build(), plan, quiet, text => console.log(text));
  for (const [contest, samples] of results) table.push(...lines(contest, samples));
  table.push(...peerMemory(cases));
  if (idle !== undefined) table.push(...(await memory(cases, weighed, idle)));
  if (rows.has('handshake')) table.push(...(await handshakes(cases, subjects)));
  await cases.verify();
  for (const complaint of await cases.close()) console.error(complaint);
  const samples = [...results].map(([{ title }, of]) => ({ title, entrants: Object.fromEntries(of) }));
  if (rows.has('guest')) table.push(...(await measureOffload()));
  return { lines: table, quiet, samples };
}

function print(plan: Plan, about: Record<string, string | number>, report: Report): void {
  console.log(`\n${formatTable(report.lines)}\n`);
  console.log(
    `median (min-max) of ${plan.rounds} rounds of ${plan.seconds} s; ratios inside a round, above 1 is ours`,
  );
  console.log(
    'CPU s/GB: both daemons, generator, receiver and softirq threads (sending+receiving daemon alone)',
  );
  console.log(report.quiet.verdict());
  const kib = Object.entries(sizes()).map(([path, size]) => `${path} ${(size / 1024).toFixed(0)} KiB`);
  console.log(`sizes: ${kib.join(', ')}`);
  for (const [name, value] of Object.entries(about)) console.log(`${name}: ${value}`);
}

async function main(): Promise<void> {
  const plan = readPlan(process.env);
  const lacking = missing(['quickjs', 'node']);
  if (lacking.length > 0) throw new Error(`cannot run, missing: ${lacking.join(', ')}`);
  const about = await machine(plan);
  const report = await measure(plan, await chooseSubjects(plan));
  print(plan, about, report);
  const { quiet, ...rest } = report;
  const noise = { rejected: quiet.rejected, noisy: quiet.noisy, taken: quiet.taken };
  const file = {
    date: new Date().toISOString(),
    machine: about,
    plan: { ...plan, rows: [...plan.rows] },
    noise,
  };
  writeFileSync(
    'build/bench.json',
    `${JSON.stringify({ ...file, sizes: sizes(), packages: await packageFigures(), ...rest }, undefined, 2)}\n`,
  );
}

main().then(
  () => process.exit(0),
  error => {
    console.error(`bench: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  },
);
