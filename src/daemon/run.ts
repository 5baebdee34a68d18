// SPDX-License-Identifier: Apache-2.0
// `ovpnd run TUNNEL`: the life of one tunnel process, over reloads, until a signal.

import { describe, type Host, isFailure } from '../host/host.ts';
import { choosePlane } from '../plane/choose.ts';
import type { KernelGround } from '../plane/kernelground.ts';
import { type Bus, createBus } from '../ubus/bus.ts';
import { listenUbus } from '../ubus/listen.ts';
import { createUbusServer, type ServedObject } from '../ubus/server.ts';
import { formatProblem, type Problem } from '../uci/config.ts';
import { Authenticator } from './authenticate.ts';
import { waitForTime } from './clock.ts';
import { controlObject } from './control.ts';
import { openGround, removeLeftGround } from './kernel.ts';
import { fileProblem, type Loaded, load, noteText } from './load.ts';
import { createLog, type Log } from './log.ts';
import { loadMaterial } from './material.ts';
import { type NativeGround, openNative } from './native.ts';
import { privilegeProblem } from './privilege.ts';
import { needsRestart, planReload } from './reload.ts';
import { startTunnel, type Tunnel } from './tunnel.ts';

export interface RunOptions {
  readonly tunnel: string;
  readonly configDirectory: string;
  readonly runDirectory: string;
  readonly ubusSocket: string;
  readonly toSyslog: boolean;
}

/** What the method `reload` answers. */
export interface ReloadAnswer {
  /** False: nothing was changed, and `problems` say why. */
  readonly applied: boolean;
  /** Empty: the configuration is the same. */
  readonly changes: readonly string[];
  /** The tunnel begins anew with them, or ends. */
  readonly restarts: boolean;
  readonly ends: boolean;
  readonly problems: readonly string[];
}

/** Runs until a signal or a failure; the answer is the exit code. */
export function run(host: Host, options: RunOptions): number {
  const log = createLog(host, options.tunnel, 'info', options.toSyslog);
  const refused = privilegeProblem(host);
  if (refused !== undefined) {
    log.write('error', refused);
    return 1;
  }
  let next = loadOrReport(host, options, log);
  let before: Loaded | undefined;
  while (next !== undefined) {
    log.setLevel(next.config.logLevel);
    if (!waitForTime(host, next.config, log)) {
      next.material.tls.close();
      return 0;
    }
    const process = new TunnelProcess(host, options, next, log);
    const code = process.run();
    if (process.next !== undefined) {
      before = process.loaded;
      next = process.next;
    } else if (process.hasStarted || before === undefined) {
      return code;
    } else {
      log.write('error', 'the new configuration does not start: going back to the one before');
      next = again(host, before);
      before = undefined;
    }
  }
  return 1;
}

function loadOrReport(host: Host, options: RunOptions, log: Log): Loaded | undefined {
  const loaded = load(host, options.configDirectory, options.tunnel);
  const file = { path: `${options.configDirectory}/ovpnd` };
  const gone = fileProblem(file, `no server or client section named '${options.tunnel}'`);
  if (loaded === 'gone' || Array.isArray(loaded)) {
    for (const problem of loaded === 'gone' ? [gone] : loaded) log.write('error', formatProblem(problem));
    return undefined;
  }
  logNotes(log, loaded.notes);
  return loaded;
}

/** The same configuration with its files read anew; undefined: one is gone. */
function again(host: Host, old: Loaded): Loaded | undefined {
  const material = loadMaterial(host, old.file.path, old.config, []);
  return material && { ...old, material };
}

function logNotes(log: Log, notes: readonly Problem[]): void {
  for (const note of notes) log.write(note.severity === 'error' ? 'error' : 'warn', noteText(note));
}

class TunnelProcess {
  /** Set when a reload asks for a restart with a new configuration. */
  next: Loaded | undefined;
  /** What runs now. */
  loaded: Loaded;
  /** Whether it ever ran. */
  hasStarted = false;
  readonly #host: Host;
  readonly #options: RunOptions;
  readonly #log: Log;
  #tunnel: Tunnel | undefined;
  #isStopping = false;
  #closeControl: (() => void) | undefined;
  readonly #bus: Bus;

  constructor(host: Host, options: RunOptions, loaded: Loaded, log: Log) {
    this.#host = host;
    this.#options = options;
    this.loaded = loaded;
    this.#log = log;
    this.#bus = createBus({
      loop: host.loop,
      monotonicMs: () => host.monotonicMs(),
      connect: () => host.connectUnix(options.ubusSocket),
      report: (level, text) => this.#log.write(level, text),
    });
  }

  run(): number {
    const code = this.#run();
    this.#closeControl?.();
    this.#bus.close();
    return code;
  }

  #run(): number {
    const { config, material } = this.loaded;
    const directory = this.#host.files.makeDirectory(this.#options.runDirectory, 0o755);
    if (directory !== undefined) return this.#fail(describe(directory));
    const taken = this.#serveControl();
    if (taken !== undefined) return this.#fail(taken);
    let ground: KernelGround | undefined;
    let native: NativeGround | undefined;
    const choice = choosePlane(config.dataPlane, {
      kernel: () => {
        const opened = openGround(this.#host, config);
        if ('reason' in opened) return opened;
        ground = opened;
        return undefined;
      },
      native: () => {
        removeLeftGround(this.#host, config);
        const opened = openNative(this.#host, config);
        if ('reason' in opened) return opened;
        native = opened;
        return undefined;
      },
      js: () => undefined,
    });
    if (choice.name === undefined) {
      const why = choice.off.map(plane => `${plane.name}: not available: ${plane.reason}`).join('; ');
      return this.#fail(`data_plane '${config.dataPlane}': ${why}`);
    }
    if (choice.name === 'js') removeLeftGround(this.#host, config);
    const tunnel = startTunnel({
      host: this.#host,
      config,
      material,
      log: this.#log,
      bus: this.#bus,
      runDirectory: this.#options.runDirectory,
      planesOff: choice.off,
      ...(config.role === 'server' && { authenticator: new Authenticator(this.#host, this.#bus, config) }),
      ...(ground && { ground }),
      ...(native && { native }),
      isEnding: () => this.#isStopping,
      onBroken: reason => this.#startAgain(reason),
      onExit: () => this.#host.loop.stop(),
    });
    if (typeof tunnel === 'string') return this.#fail(tunnel);
    this.hasStarted = true;
    this.#tunnel = tunnel;
    this.#bus.serve(this.#object(tunnel));
    for (const signal of ['INT', 'TERM'] as const) this.#host.loop.onSignal(signal, () => this.#stop());
    this.#host.loop.onSignal('HUP', () => void this.#reload());
    this.#host.loop.run();
    this.#log.write('info', this.next === undefined ? 'stopped' : 'restarting');
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
    // No restart that a reload has asked for.
    this.next?.material.tls.close();
    this.next = undefined;
    this.#tunnel?.dispatch({ kind: 'shutdown' });
  }

  /** The data plane is gone for good: begins anew, perhaps on another one. */
  #startAgain(reason: string): void {
    this.#log.write('error', `data plane: ${reason}, starting again`);
    this.next ??= loadOrReport(this.#host, this.#options, this.#log) ?? again(this.#host, this.loaded);
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

  /** An invalid configuration changes nothing. While a restart is under way it is the next one that changes. */
  #reload(): ReloadAnswer {
    const nothing = { applied: false, changes: [], restarts: false, ends: false, problems: [] };
    if (this.#isStopping) return { ...nothing, problems: ['the tunnel is ending'] };
    const before = this.next ?? this.loaded;
    const loaded = load(this.#host, this.#options.configDirectory, this.#options.tunnel, before);
    if (Array.isArray(loaded)) {
      const problems = loaded.map(formatProblem);
      for (const text of problems) this.#log.write('error', `reload refused: ${text}`);
      return { ...nothing, problems };
    }
    const wasEnabled = before.config.enabled;
    if (loaded === 'gone' || (wasEnabled && !loaded.config.enabled)) {
      if (loaded !== 'gone') loaded.material.tls.close();
      this.#log.write('info', `reload: ${loaded === 'gone' ? 'the section is gone' : 'disabled'}, ending`);
      this.#soon(() => this.#stop());
      return { ...nothing, applied: true, changes: ['enabled'], ends: true };
    }
    logNotes(this.#log, loaded.notes);
    const answer = this.#apply(before, loaded);
    return { ...nothing, ...answer, applied: true, problems: loaded.notes.map(formatProblem) };
  }

  #apply(before: Loaded, loaded: Loaded): Pick<ReloadAnswer, 'changes' | 'restarts'> {
    const plan = planReload(before, loaded);
    const { changes } = plan;
    if (changes.length === 0) {
      loaded.material.tls.close();
      this.#log.write('info', 'reload: nothing changed');
      return { changes, restarts: false };
    }
    this.#log.write('info', `reload: ${changes.join(', ')}`);
    if (this.next === undefined && !needsRestart(plan, loaded.config.role)) {
      this.loaded = loaded;
      this.#tunnel?.change(loaded.config, loaded.material, plan);
      return { changes, restarts: false };
    }
    this.next?.material.tls.close();
    this.next = loaded;
    this.#soon(() => this.#tunnel?.dispatch({ kind: 'shutdown' }));
    return { changes, restarts: true };
  }

  /** The caller's answer goes out first. */
  #soon(callback: () => void): void {
    this.#host.loop.at(this.#host.monotonicMs() + 50, callback);
  }
}
