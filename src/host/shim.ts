// SPDX-License-Identifier: Apache-2.0
// Host on the C shim, the same for both runtimes.

import { shimCrypto, shimPrivateKeys, shimRandom } from './crypto.ts';
import type { Failure, FileStatus, Files, Host, Result } from './host.ts';
import { ShimLoop } from './loop.ts';
import { failure, outcome, type RawShim, type Runtime } from './raw.ts';
import { Resolver } from './resolver.ts';
import { connectTcp, connectUnix, listenTcp, listenUnix, openNetlink, openTun, openUdp } from './sockets.ts';
import { openTlsContext } from './tls.ts';

/** How often a file that is replaced while it is read is read again. */
const REPLACED_MAX = 10;
const KINDS = ['file', 'directory', 'other'] as const;

class ShimFiles implements Files {
  readonly #shim: RawShim;

  constructor(shim: RawShim) {
    this.#shim = shim;
  }

  read(path: string): Result<Uint8Array> {
    let bytes = this.#shim.file_read(path);
    // Somebody was just replacing it.
    for (let i = 0; i < REPLACED_MAX && this.#isStale(bytes); i++) bytes = this.#shim.file_read(path);
    return typeof bytes === 'number' ? failure(this.#shim, `read ${path}`, bytes) : bytes;
  }

  #isStale(bytes: Uint8Array | number): boolean {
    return typeof bytes === 'number' && failure(this.#shim, 'read', bytes).code === 'ESTALE';
  }

  write(path: string, bytes: Uint8Array, mode: number): Failure | undefined {
    return outcome(this.#shim, `write ${path}`, this.#shim.file_write(path, bytes, mode));
  }

  status(path: string): Result<FileStatus> {
    const numbers = this.#shim.file_status(path);
    if (typeof numbers === 'number') return failure(this.#shim, `status of ${path}`, numbers);
    const [kind, size, mode, uid, modifiedMs] = numbers as [number, number, number, number, number];
    return { kind: KINDS[kind]!, size, mode, uid, modifiedMs };
  }

  list(path: string): Result<string[]> {
    const text = this.#shim.file_list(path);
    if (typeof text === 'number') return failure(this.#shim, `list ${path}`, text);
    return text.split('/').slice(0, -1).sort();
  }

  makeDirectory(path: string, mode: number): Failure | undefined {
    return outcome(this.#shim, `make directory ${path}`, this.#shim.file_make_directory(path, mode));
  }

  remove(path: string): Failure | undefined {
    return outcome(this.#shim, `remove ${path}`, this.#shim.file_remove(path));
  }
}

/** Everything a Host needs, from a runtime's shim. One for each process: signals and answers are the process's. */
export function shimHost(runtime: Runtime): Host {
  const { shim, name, args } = runtime;
  const loop = new ShimLoop(shim);
  const monotonicMs = () => shim.clock_monotonic();
  const resolver = new Resolver(shim, loop, monotonicMs);
  const [uid, pid, aes] = shim.identity();
  return {
    runtime: name,
    args,
    crypto: shimCrypto(shim),
    random: shimRandom(shim),
    loop,
    files: new ShimFiles(shim),
    lockFile: path => {
      const lock = shim.file_lock(path);
      if (lock < 0) return failure(shim, `lock ${path}`, lock);
      return { release: () => void shim.file_unlock(lock, path) };
    },
    privateKeys: shimPrivateKeys(shim),
    hashPassword: (password, setting) => {
      if (password.includes('\0') || setting.includes('\0')) return undefined;
      const hash = shim.password_hash(password, setting);
      return typeof hash === 'string' ? hash : undefined;
    },
    monotonicMs,
    wallS: () => shim.clock_wall(),
    openUdp: options => openUdp(shim, options),
    listenTcp: options => listenTcp(shim, options),
    connectTcp: (remote, options) => connectTcp(shim, remote, options),
    openTun: (device, hasHeader = false) => openTun(shim, device, hasHeader),
    openNetlink: (protocol, receiveBuffer) => openNetlink(shim, protocol, receiveBuffer),
    listenUnix: (path, mode) => listenUnix(shim, path, mode),
    connectUnix: path => connectUnix(shim, path),
    tlsContext: options => openTlsContext(shim, options),
    resolve: (host, family, callback) => resolver.resolve(host, family, callback),
    hasAesInstructions: aes === 1,
    uid: uid!,
    pid: pid!,
    readInput: maxBytes => {
      const bytes = shim.input_read(maxBytes);
      return typeof bytes === 'number' ? failure(shim, 'read standard input', bytes) : bytes;
    },
    print: (fd, text) => {
      // A closed terminal or pipe is nobody's concern here.
      shim.print(fd, text.replaceAll('\0', '\ufffd'));
    },
    syslog: (level, text) => {
      shim.syslog(level, text.replaceAll('\0', '\ufffd'));
    },
    exit: code => runtime.exit(code),
  };
}
