// SPDX-License-Identifier: Apache-2.0
// One tunnel's configuration with its files read, or why it cannot run with them.

import type { Host } from '../host/host.ts';
import { formatProblem, type Problem } from '../uci/config.ts';
import { keepRefused } from '../uci/diff.ts';
import { type ConfigFile, readConfigFile } from './configfile.ts';
import { loadMaterial } from './material.ts';
import type { Usable } from './reload.ts';

export interface Loaded extends Usable {
  /** The whole file: a section that a later version of it breaks stays as it is here. */
  readonly file: ConfigFile;
  /** What does not keep it from running: warnings, peer sections left out. */
  readonly notes: readonly Problem[];
}

/** Loaded, the problems that keep it from running, or `gone`: a sound file without this tunnel. */
export function load(
  host: Host,
  configDirectory: string,
  tunnel: string,
  before?: Loaded,
): Loaded | Problem[] | 'gone' {
  const read = readConfigFile(host, configDirectory);
  const isRefused = !read.readable || read.refused.includes(tunnel);
  // What is broken in a peer leaves that peer as it was.
  const file = before === undefined || isRefused ? read : { ...read, ...keepRefused(before.file, read) };
  const config = [...file.servers, ...file.clients].find(({ name }) => name === tunnel);
  const isOurs = (problem: Problem): boolean =>
    problem.section === undefined ||
    problem.section === tunnel ||
    (problem.sectionType === 'peer' && config?.role === 'server');
  const problems = read.problems.filter(isOurs);
  if (config === undefined) {
    const errors = problems.filter(problem => problem.severity === 'error' && problem.sectionType !== 'peer');
    if (errors.length > 0) return errors;
    const isEmpty = file.servers.length + file.clients.length + read.refused.length === 0;
    // A file cut short by a full flash is empty, too.
    if (isEmpty) return [fileProblem(file, 'holds no server or client section')];
    return 'gone';
  }
  const ofFiles: Problem[] = [];
  const material = loadMaterial(host, file.path, config, ofFiles);
  if (material === undefined) return ofFiles.filter(problem => problem.severity === 'error');
  return { config, file, material, notes: [...problems, ...ofFiles] };
}

export function fileProblem(file: { readonly path: string }, rule: string): Problem {
  return { severity: 'error', file: file.path, line: 0, rule };
}

/** Without the word that a log line says itself. */
export function noteText(problem: Problem): string {
  return formatProblem({ ...problem, severity: 'error' });
}
