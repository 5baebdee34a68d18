// SPDX-License-Identifier: Apache-2.0
// Requests over one netlink socket, each waited for: the kernel works inside send(), so the answer is there when
// send() returns. An answer that got lost is asked for again only where doing a thing twice is harmless.

import {
  type Ack,
  type Message,
  NLM_F_DUMP_INTR,
  NLMSG_OVERRUN,
  readAck,
  readMessages,
  stampSequence,
} from '../netlink/message.ts';
import type { PlaneFailure } from './plane.ts';

/** How often one request is sent at most. */
const ATTEMPTS_MAX = 4;
/** Datagrams read for one answer; a dump of 16 million peers fits. */
const DATAGRAMS_MAX = 1 << 20;

/** A system call that failed, as the runtime says it. */
export interface SocketFailure {
  readonly failed: true;
  readonly errno: number;
  /** The errno's name: `ENOBUFS`. */
  readonly code: string;
  readonly text: string;
}

/** A netlink socket of the runtime: never blocks, extended acks are on. */
export interface KernelSocket {
  readonly fd: number;
  send(message: Uint8Array): SocketFailure | undefined;
  /** One datagram; undefined: nothing there. ENOBUFS: some were lost. */
  receive(): Uint8Array | SocketFailure | undefined;
  join(group: number): SocketFailure | undefined;
  close(): void;
}

/** Whether a call to a socket failed. */
export function isSocketFailure(value: object | undefined): value is SocketFailure {
  return (value as { failed?: unknown } | undefined)?.failed === true;
}

export type OpenKernelSocket = (protocol: number, receiveBuffer?: number) => KernelSocket | SocketFailure;

/** Why a request failed. */
export interface KernelProblem {
  readonly failed: true;
  /** Positive; 0 when the kernel gave no answer. */
  readonly errno: number;
  /** For a person, with the kernel's own words. */
  readonly text: string;
  /** The answer got lost: it may have been done or not. */
  readonly isUnsure: boolean;
}

export function isProblem(value: unknown): value is KernelProblem {
  return typeof value === 'object' && value !== null && (value as { failed?: unknown }).failed === true;
}

export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EEXIST = 17;
export const ENODEV = 19;
const EINTR = 4;
const EOPNOTSUPP: readonly number[] = [95, 122];

/** Numbers above 34 differ on MIPS: both are here, and no request of ours is answered with the other's meaning. */
const ERRORS: ReadonlyMap<number, readonly [PlaneFailure['code'], string]> = new Map([
  [EPERM, ['EIO', 'Operation not permitted']],
  [ENOENT, ['ENOENT', 'No such file or directory']],
  [ESRCH, ['ENOENT', 'No such process']],
  [12, ['ENOSPC', 'Out of memory']],
  [16, ['EIO', 'Device or resource busy']],
  [EEXIST, ['EEXIST', 'File exists']],
  [ENODEV, ['EIO', 'No such device']],
  [22, ['EINVAL', 'Invalid argument']],
  [28, ['ENOSPC', 'No space left on device']],
  [34, ['EINVAL', 'Numerical result out of range']],
  [88, ['EIO', 'Socket operation on non-socket']],
  [95, ['EOPNOTSUPP', 'Operation not supported']],
  [122, ['EOPNOTSUPP', 'Operation not supported']],
  [98, ['EADDRINUSE', 'Address already in use']],
  [125, ['EADDRINUSE', 'Address already in use']],
  [99, ['EADDRNOTAVAIL', 'Cannot assign requested address']],
  [126, ['EADDRNOTAVAIL', 'Cannot assign requested address']],
]);

export function isUnsupported(problem: KernelProblem): boolean {
  return EOPNOTSUPP.includes(problem.errno);
}

/** The problem as the control plane hears it. */
export function failureOf(problem: KernelProblem): PlaneFailure {
  return { code: ERRORS.get(problem.errno)?.[0] ?? 'EIO', text: problem.text };
}

function problemOf(ack: Ack): KernelProblem {
  const plain = ERRORS.get(ack.errno)?.[1] ?? `error ${ack.errno}`;
  const missing = ack.missingType === undefined ? undefined : `attribute ${ack.missingType} is missing`;
  const words = ack.text ?? missing;
  const text = words === undefined ? plain : `${plain} (${words})`;
  return { failed: true, errno: ack.errno, text, isUnsure: false };
}

function refusedBy(failure: SocketFailure): KernelProblem {
  return { failed: true, errno: failure.errno, text: failure.text, isUnsure: false };
}

function unanswered(text: string): KernelProblem {
  return { failed: true, errno: 0, text, isUnsure: true };
}

/** What one attempt came to; `unsent`: the kernel has not seen the request. */
type Attempt = KernelProblem | 'unsent' | undefined;

/** One conversation with the kernel; it opens its socket when it is needed. */
export class KernelRequests {
  readonly #open: OpenKernelSocket;
  readonly #protocol: number;
  #socket: KernelSocket | undefined;
  #sequence = 0;

  constructor(open: OpenKernelSocket, protocol: number) {
    this.#open = open;
    this.#protocol = protocol;
  }

  /** A request that may be sent again when its answer got lost. `message` is stamped in place. */
  change(message: Uint8Array): KernelProblem | undefined {
    return this.#ask(message, true);
  }

  /** A request that must not be done twice: an answer that got lost is a problem with `isUnsure`. */
  changeOnce(message: Uint8Array): KernelProblem | undefined {
    return this.#ask(message, false);
  }

  /** The first answer that `read` understands. */
  get<T>(message: Uint8Array, read: (answer: Message) => T | undefined): T | KernelProblem {
    let found: T | undefined;
    const problem = this.#ask(message, true, answer => {
      found ??= read(answer);
    });
    return problem ?? found ?? unanswered('the kernel’s answer is not understood');
  }

  /** Everything of a dump for which `read` gives a value. */
  dump<T>(message: Uint8Array, read: (entry: Message) => T | undefined): T[] | KernelProblem {
    let entries: T[] = [];
    const visit = (entry: Message): void => {
      const value = read(entry);
      if (value !== undefined) entries.push(value);
    };
    const restart = (): void => {
      entries = [];
    };
    return this.#ask(message, true, visit, restart) ?? entries;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #ask(
    message: Uint8Array,
    isRepeatable: boolean,
    visit: (answer: Message) => void = () => {},
    restart: () => void = () => {},
  ): KernelProblem | undefined {
    let last = unanswered('the kernel takes no request');
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      restart();
      const result = this.#attempt(message, visit);
      if (result === undefined) return undefined;
      if (result !== 'unsent') {
        if (!result.isUnsure) return result;
        last = result;
      }
      // A new socket: late answers and a half-read dump go with the old one.
      this.close();
      if (result !== 'unsent' && !isRepeatable) return result;
    }
    return last;
  }

  #attempt(message: Uint8Array, visit: (answer: Message) => void): Attempt {
    const socket = this.#socket ?? this.#open(this.#protocol);
    if (isSocketFailure(socket)) return refusedBy(socket);
    this.#socket = socket;
    this.#sequence += 1;
    stampSequence(message, this.#sequence);
    const refused = socket.send(message);
    if (refused)
      return refused.code === 'EINTR' || refused.code === 'ENOBUFS' ? 'unsent' : refusedBy(refused);
    return this.#answers(socket, visit);
  }

  #answers(socket: KernelSocket, visit: (answer: Message) => void): KernelProblem | undefined {
    let isTorn = false;
    for (let i = 0; i < DATAGRAMS_MAX; i++) {
      const datagram = socket.receive();
      if (datagram === undefined) return unanswered('no answer from the kernel');
      if (isSocketFailure(datagram)) {
        if (datagram.code === 'EINTR') continue;
        return unanswered(`the kernel’s answer got lost (${datagram.text})`);
      }
      for (const answer of readMessages(datagram)) {
        if (answer.sequence !== this.#sequence) continue;
        if (answer.type === NLMSG_OVERRUN) return unanswered('the kernel’s answer got lost');
        if ((answer.flags & NLM_F_DUMP_INTR) !== 0) isTorn = true;
        const ack = readAck(answer);
        if (ack === undefined) visit(answer);
        else if (isTorn || ack.errno === EINTR) return unanswered('no whole answer after several attempts');
        else return ack.errno === 0 ? undefined : problemOf(ack);
      }
    }
    return unanswered('an answer without end');
  }
}
