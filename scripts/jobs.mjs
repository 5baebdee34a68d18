// SPDX-License-Identifier: Apache-2.0
// The folders of the tests as jobs, each a process of its own, as many at a time as there are processors. What they say is
// printed suite by suite, with what failed at each job's end; that once more and the sum come last.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';

const SCRIPT = new URL('test.mjs', import.meta.url).pathname;
/** Mocha's summary begins with it. */
const SUMMARY = /^ {2}[0-9]+ passing/;
const COUNTS = /^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/;

const children = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of children) child.kill(signal);
    process.exit(128);
  });
}

/** Prints what a job says; resolves with the lines of its summary. */
async function run(roots) {
  const child = spawn(process.execPath, [SCRIPT, ...roots], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  const ended = new Promise(resolve => {
    child.on('close', (code, signal) => {
      children.delete(child);
      resolve(code ?? signal);
    });
  });
  let suite = [];
  let summary;
  for await (const line of createInterface({ input: child.stdout })) {
    if (SUMMARY.test(line)) summary = [];
    (summary ?? suite).push(line);
    if (line !== '' || summary !== undefined) continue;
    if (suite.length > 1) console.log(suite.join('\n'));
    suite = [];
  }
  console.log([...suite, ...(summary ?? [])].join('\n'));
  return { roots, exit: await ended, summary: summary ?? [] };
}

/** Runs every job, each a list of files and folders, and counts tests; a job without a sum counts as a failure. */
export async function runJobs(jobs) {
  const waiting = [...jobs];
  const results = [];
  const next = async () => {
    for (let roots = waiting.shift(); roots !== undefined; roots = waiting.shift())
      results.push(await run(roots));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, next));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { roots, exit, summary } of results) {
    const sum = COUNTS.exec(summary.at(-1) ?? '');
    if (sum?.[2] !== '0') console.log(`${roots.join(' ')}:\n${summary.join('\n')}`);
    if (sum === null) console.log(`${roots.join(' ')}: ended without a result, ${exit}`);
    counts.passed += Number(sum?.[1] ?? 0);
    counts.failed += Number(sum?.[2] ?? 1);
    counts.skipped += Number(sum?.[3] ?? 0);
  }
  return counts;
}
