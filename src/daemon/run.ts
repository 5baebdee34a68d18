// SPDX-License-Identifier: Apache-2.0
// `ovpnd run TUNNEL`: the life of one tunnel process, over reloads, until a signal.

import { describe, type Host, isFailure } from '../host/host.ts';
import { choosePlane } from '../plane/choose.ts';
import type { KernelGround } from '../plane/kernelground.ts';
import { nativeUnavailable } from '../plane/native.ts';
import { type Bus, createBus } from '../ubus/bus.ts';
import { listenUbus } from '../ubus/listen.ts';
import { createUbusServer, type ServedObject } from '../ubus/server.ts';
import { type ClientConfig, formatProblem, type Problem, type ServerConfig } from '../uci/config.ts';
import { keepRefused } from '../uci/diff.ts';
import { type ConfigFile, readConfigFile } from './configfile.ts';
import { controlObject } from './control.ts';
import { openGround, removeLeftGround } from './kernel.ts';
import { createLog, type Log } from './log.ts';
import { loadMaterial, type Material } from './material.ts';
import { startTunnel, type Tunnel } from './tunnel.ts';

export interface RunOptions {
  readonly tunnel: string;
  readonly configDirectory: string;
  readonly runDirectory: string;
  readonly ubusSocket: string;
  readonly toSyslog: boolean;
}

type Config = ServerConfig | ClientConfig;

interface Loaded {
  readonly config: Config;
  /** The whole file: a section that a later version of it breaks stays as it is here. */
  readonly file: ConfigFile;
  readonly material: Material;
}

/**
 * The tunnel's configuration and files, or the problems that keep it from running. What does not keep it from
 * running (a warning, a peer section left out) goes to the log.
 */
function load(host: Host, options: RunOptions, log: Log, before?: Loaded): Loaded | Problem[] {
  const read = readConfigFile(host, options.configDirectory);
  const isRefused = !read.readable || read.refused.includes(options.tunnel);
  // What is broken in a peer leaves that peer as it was.
  const file = before === undefined || isRefused ? read : { ...read, ...keepRefused(before.file, read) };
  const config = [...file.servers, ...file.clients].find(tunnel => tunnel.name === options.tunnel);
  const isOurs = (problem: Problem): boolean =>
    problem.section === undefined ||
    problem.section === options.tunnel ||
    (problem.sectionType === 'peer' && config?.role === 'server');
  const problems = read.problems.filter(isOurs);
  if (config === undefined) {
    const errors = problems.filter(problem => problem.severity === 'error' && problem.sectionType !== 'peer');
    const rule = `no server or client section named '${options.tunnel}'`;
    return errors.length > 0 ? errors : [{ severity: 'error', file: file.path, line: 0, rule }];
  }
  const ofFiles: Problem[] = [];
  const material = loadMaterial(host, file.path, config, ofFiles);
  const fatal = material === undefined ? ofFiles.filter(problem => problem.severity === 'error') : [];
  for (const problem of [...problems, ...ofFiles]) {
    // The log line has a level of its own.
    const text = formatProblem({ ...problem, severity: 'error' });
    if (!fatal.includes(problem)) log.write(problem.severity === 'error' ? 'error' : 'warn', text);
  }
  return material === undefined ? fatal : { config, file, material };
}

/** Runs until a signal or a failure; the answer is the exit code. */
export function run(host: Host, options: RunOptions): number {
  const early = createLog(host, options.tunnel, 'info', options.toSyslog);
  if (host.uid !== 0) {
    early.write('error', 'must run as root: it creates a network device and opens its port');
    return 1;
  }
  let next = loadOrReport(host, options, early);
  while (next !== undefined) {
    const process = new TunnelProcess(host, options, next);
    const code = process.run();
    next = process.next;
    if (next === undefined) return code;
  }
  return 1;
}

function loadOrReport(host: Host, options: RunOptions, log: Log): Loaded | undefined {
  const loaded = load(host, options, log);
  if (!Array.isArray(loaded)) return loaded;
  for (const problem of loaded) log.write('error', formatProblem(problem));
  return undefined;
}

class TunnelProcess {
  /** Set when a reload asks for a restart with a new configuration. */
  next: Loaded | undefined;
  readonly #host: Host;
  readonly #options: RunOptions;
  readonly #loaded: Loaded;
  readonly #log: Log;
  #tunnel: Tunnel | undefined;
  #isStopping = false;
  #closeControl: (() => void) | undefined;
  readonly #bus: Bus;

  constructor(host: Host, options: RunOptions, loaded: Loaded) {
    this.#host = host;
    this.#options = options;
    this.#loaded = loaded;
    this.#log = createLog(host, options.tunnel, loaded.config.logLevel, options.toSyslog);
    this.#bus = createBus({
      loop: host.loop,
      monotonicMs: () => host.monotonicMs(),
      connect: () => host.connectUnix(options.ubusSocket),
      report: (level, text) => this.#log.write(level, text),
    });
  }

  run(): number {
    const code = this.#run();
    this.#bus.close();
    return code;
  }

  #run(): number {
    const { config, material } = this.#loaded;
    const directory = this.#host.files.makeDirectory(this.#options.runDirectory, 0o755);
    if (directory !== undefined) return this.#fail(describe(directory));
    const taken = this.#serveControl();
    if (taken !== undefined) return this.#fail(taken);
    let ground: KernelGround | undefined;
    const choice = choosePlane(config.dataPlane, {
      kernel: () => {
        const opened = openGround(this.#host, config);
        if ('reason' in opened) return opened;
        ground = opened;
        return undefined;
      },
      native: nativeUnavailable,
      js: () => undefined,
    });
    if (choice.name === undefined) {
      this.#closeControl?.();
      const why = choice.off.map(plane => `${plane.name}: not available: ${plane.reason}`).join('; ');
      return this.#fail(`data_plane '${config.dataPlane}': ${why}`);
    }
    if (ground === undefined) removeLeftGround(this.#host, config);
    const tunnel = startTunnel({
      host: this.#host,
      config,
      material,
      log: this.#log,
      bus: this.#bus,
      runDirectory: this.#options.runDirectory,
      planesOff: choice.off,
      ...(ground && { ground }),
      onBroken: reason => this.#startAgain(reason),
      onExit: () => this.#host.loop.stop(),
    });
    if (typeof tunnel === 'string') {
      this.#closeControl?.();
      return this.#fail(tunnel);
    }
    this.#tunnel = tunnel;
    this.#bus.serve(this.#object(tunnel));
    for (const signal of ['INT', 'TERM'] as const) this.#host.loop.onSignal(signal, () => this.#stop());
    this.#host.loop.onSignal('HUP', () => this.#reload());
    this.#host.loop.run();
    this.#closeControl?.();
    this.#log.write('info', this.next === undefined ? 'stopped' : 'restarting with the new configuration');
    return 0;
  }

  #fail(text: string): number {
    this.#log.write('error', text);
    return 1;
  }

  /** A second signal does not wait for the peers to hear of it. */
  #stop(): void {
    if (this.#isStopping) return this.#tunnel?.close();
    this.#isStopping = true;
    this.#tunnel?.dispatch({ kind: 'shutdown' });
  }

  /** The data plane is gone for good: begins anew, perhaps on another one. */
  #startAgain(reason: string): void {
    this.#log.write('error', `data plane: ${reason}, starting again`);
    this.next ??= loadOrReport(this.#host, this.#options, this.#log);
    this.#tunnel?.dispatch({ kind: 'shutdown' });
  }

  #serveControl(): string | undefined {
    const path = `${this.#options.runDirectory}/${this.#options.tunnel}.sock`;
    const running = this.#host.connectUnix(path);
    if (!isFailure(running)) {
      running.close();
      return `tunnel '${this.#options.tunnel}' is running already (${path} answers)`;
    }
    const listener = this.#host.listenUnix(path, 0o600);
    if (isFailure(listener)) return `${path}: ${describe(listener)}`;
    const server = {
      connect: () => createUbusServer({ objects: [this.#object(this.#tunnel!)] }).connect(),
    };
    this.#closeControl = listenUbus({
      loop: this.#host.loop,
      listener,
      server,
      monotonicMs: () => this.#host.monotonicMs(),
    });
    return undefined;
  }

  #object(tunnel: Tunnel): ServedObject {
    return controlObject({ host: this.#host, tunnel, log: this.#log, reload: () => this.#reload() });
  }

  /** An invalid configuration changes nothing; a changed one restarts this tunnel. */
  #reload(): object {
    const loaded = load(this.#host, this.#options, this.#log, this.next ?? this.#loaded);
    if (Array.isArray(loaded)) {
      const problems = loaded.map(formatProblem);
      for (const text of problems) this.#log.write('error', `reload refused: ${text}`);
      return { applied: false, changed: false, problems };
    }
    if (sameConfig(loaded, this.#loaded)) {
      loaded.material.tls.close();
      this.#log.write('info', 'reload: nothing changed');
      return { applied: true, changed: false, problems: [] };
    }
    this.next?.material.tls.close();
    this.next = loaded;
    this.#log.write('info', 'reload: the configuration changed');
    // The caller's answer goes out first.
    this.#host.loop.at(this.#host.monotonicMs() + 50, () => this.#tunnel?.dispatch({ kind: 'shutdown' }));
    return { applied: true, changed: true, problems: [] };
  }
}

/** Line numbers move when something else in the file changes; they make no difference. */
function sameConfig(a: Loaded, b: Loaded): boolean {
  const text = (loaded: Loaded): string =>
    JSON.stringify(loaded.config, (key, value) => (key === 'line' ? undefined : value));
  return text(a) === text(b);
}
