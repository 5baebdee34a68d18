// SPDX-License-Identifier: Apache-2.0
// Requests to the kernel over one route netlink socket, each waited for: the kernel works inside send(), so the
// answer is there when send() returns. What is lost on the way (full buffer, a table that changed while it was
// dumped, a signal) is asked again, a few times.

import type { NetlinkSocket, Result } from '../host/host.ts';
import {
  type Ack,
  type Message,
  NLM_F_DUMP_INTR,
  NLMSG_OVERRUN,
  readAck,
  readMessages,
  stampSequence,
} from '../netlink/message.ts';
import { NETLINK_ROUTE } from '../netlink/rtnetlink.ts';

/** How often one request is sent at most. */
export const ATTEMPTS_MAX = 4;
/** Datagrams read for one answer: a full Internet table is about 3,000 of 32 KiB. */
export const DATAGRAMS_MAX = 16_384;

/** Why a request failed, for a person. `errno` is positive, 0 when there is none. Has the shape of a host Failure. */
export interface Problem {
  readonly failed: true;
  readonly errno: number;
  readonly text: string;
}

export function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && (value as { failed?: unknown }).failed === true;
}

export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
const EINTR = 4;
export const EEXIST = 17;
export const ENODEV = 19;
const ENXIO = 6;
/** The second number is that of MIPS, where numbers above 34 differ; route netlink never uses it otherwise. */
const EADDRNOTAVAIL: readonly number[] = [99, 126];

const ERROR_TEXTS: ReadonlyMap<number, string> = new Map([
  [EPERM, 'Operation not permitted'],
  [ENOENT, 'No such file or directory'],
  [ESRCH, 'No such process'],
  [EINTR, 'Interrupted system call'],
  [ENXIO, 'No such device or address'],
  [12, 'Out of memory'],
  [13, 'Permission denied'],
  [16, 'Device or resource busy'],
  [EEXIST, 'File exists'],
  [ENODEV, 'No such device'],
  [22, 'Invalid argument'],
  [34, 'Numerical result out of range'],
  [95, 'Operation not supported'],
  [122, 'Operation not supported'],
  [99, 'Cannot assign requested address'],
  [126, 'Cannot assign requested address'],
  [100, 'Network is down'],
  [127, 'Network is down'],
  [101, 'Network is unreachable'],
  [128, 'Network is unreachable'],
  [105, 'No buffer space available'],
  [132, 'No buffer space available'],
  [113, 'No route to host'],
  [148, 'No route to host'],
]);

/** Whether the refusal of a deletion says that there was nothing to delete. */
export function isGone(problem: Problem): boolean {
  const { errno } = problem;
  return errno === ESRCH || errno === ENODEV || errno === ENOENT || EADDRNOTAVAIL.includes(errno);
}

function problemOf(ack: Ack): Problem {
  const plain = ERROR_TEXTS.get(ack.errno) ?? `error ${ack.errno}`;
  return { failed: true, errno: ack.errno, text: ack.text === undefined ? plain : `${plain} (${ack.text})` };
}

const NO_ANSWER: Problem = { failed: true, errno: 0, text: 'no answer from the kernel' };
const NEVER_WHOLE: Problem = { failed: true, errno: 0, text: 'no complete answer after several attempts' };

/** One conversation with the kernel; close it after use. */
export class RouteRequests {
  readonly #open: (protocol: number) => Result<NetlinkSocket>;
  #socket: NetlinkSocket | undefined;
  #sequence = 0;

  constructor(open: (protocol: number) => Result<NetlinkSocket>) {
    this.#open = open;
  }

  /** A request that is answered by an acknowledgement only. `message` is stamped in place. */
  change(message: Uint8Array): Problem | undefined {
    return this.#ask(message, () => {});
  }

  /** The first answer that `read` understands. */
  get<T>(message: Uint8Array, read: (answer: Message) => T | undefined): T | Problem {
    let found: T | undefined;
    const problem = this.#ask(message, answer => {
      found ??= read(answer);
    });
    return problem ?? found ?? NO_ANSWER;
  }

  /** Everything of a dump for which `read` gives a value; what it does not want is never kept. */
  dump<T>(message: Uint8Array, read: (entry: Message) => T | undefined): T[] | Problem {
    let entries: T[] = [];
    const problem = this.#ask(
      message,
      entry => {
        const value = read(entry);
        if (value !== undefined) entries.push(value);
      },
      () => {
        entries = [];
      },
    );
    return problem ?? entries;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #ask(message: Uint8Array, visit: (answer: Message) => void, restart = () => {}): Problem | undefined {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      restart();
      const result = this.#attempt(message, visit);
      if (result !== 'again') return result;
      // A new socket: answers and a half-read dump of the failed attempt go with the old one.
      this.close();
    }
    return NEVER_WHOLE;
  }

  #attempt(message: Uint8Array, visit: (answer: Message) => void): Problem | 'again' | undefined {
    const socket = this.#socket ?? this.#open(NETLINK_ROUTE);
    if (isProblem(socket)) return socket;
    this.#socket = socket;
    this.#sequence += 1;
    stampSequence(message, this.#sequence);
    const refused = socket.send(message);
    if (refused) return refused.code === 'EINTR' || refused.code === 'ENOBUFS' ? 'again' : refused;

    let isTorn = false;
    for (let i = 0; i < DATAGRAMS_MAX; i++) {
      const datagram = socket.receive();
      if (datagram === undefined) return NO_ANSWER;
      if (isProblem(datagram)) {
        if (datagram.code === 'EINTR') continue;
        return datagram.code === 'ENOBUFS' ? 'again' : datagram;
      }
      for (const answer of readMessages(datagram)) {
        if (answer.sequence !== this.#sequence) continue;
        if (answer.type === NLMSG_OVERRUN) return 'again';
        if ((answer.flags & NLM_F_DUMP_INTR) !== 0) isTorn = true;
        const ack = readAck(answer);
        if (ack === undefined) visit(answer);
        else if (isTorn || ack.errno === EINTR) return 'again';
        else return ack.errno === 0 ? undefined : problemOf(ack);
      }
    }
    return NO_ANSWER;
  }
}
