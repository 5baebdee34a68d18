// SPDX-License-Identifier: Apache-2.0
import { deepStrictEqual, strictEqual } from 'node:assert';
import type { Failure, NetlinkSocket } from '../../../src/host/host.ts';
import {
  MessageWriter,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_OVERRUN,
  readMessages,
  stampSequence,
} from '../../../src/netlink/message.ts';
import { ATTEMPTS_MAX, isGone, RouteRequests } from '../../../src/network/requests.ts';

const failure = (code: string): Failure => ({ failed: true, call: 'recv', errno: 1, code, text: code });
const entry = (value: number, flags = 0) => new MessageWriter(24, flags).u32(value).finish();
const done = (flags = 0) => new MessageWriter(NLMSG_DONE, flags).u32(0).finish();
const ack = (errno: number) => new MessageWriter(NLMSG_ERROR, 0).u32(-errno).raw(new Uint8Array(16)).finish();
const request = () => new MessageWriter(26, NLM_F_REQUEST).finish();
const numberIn = (message: { body: Uint8Array }) => message.body[0]! + message.body[3]!;

/** Each send is answered by the next script; a number in a script is a step from the request's sequence number. */
function requestsOver(...scripts: (Uint8Array | Failure | [number, Uint8Array])[][]) {
  const counts = { opened: 0, closed: 0, sent: 0 };
  const open = (): NetlinkSocket => {
    counts.opened += 1;
    let queue: (Uint8Array | Failure)[] = [];
    return {
      fd: 3,
      send: message => {
        counts.sent += 1;
        const { sequence } = readMessages(message)[0]!;
        queue = (scripts.shift() ?? []).map(item => {
          const [step, answer] = Array.isArray(item) ? item : [0, item];
          if (answer instanceof Uint8Array) stampSequence(answer, sequence + step);
          return answer;
        });
        return undefined;
      },
      receive: () => queue.shift(),
      join: () => undefined,
      close: () => {
        counts.closed += 1;
      },
    };
  };
  return { requests: new RouteRequests(open), counts };
}

describe('netlink requests', () => {
  it('believes only answers to the request itself', () => {
    const { requests } = requestsOver([[-1, ack(1)], [-1, entry(9)], entry(5), done()]);
    deepStrictEqual(requests.dump(request(), numberIn), [5]);
  });

  it('starts a torn or lost dump from nothing, on a new socket', () => {
    for (const bad of [
      [entry(1), entry(2, NLM_F_DUMP_INTR), done()],
      [entry(1), done(NLM_F_DUMP_INTR)],
      [entry(1), failure('ENOBUFS')],
      [entry(1), ack(4)],
      [entry(1), new MessageWriter(NLMSG_OVERRUN, 0).finish()],
    ]) {
      const { requests, counts } = requestsOver(bad, [entry(3), done()]);
      deepStrictEqual(requests.dump(request(), numberIn), [3]);
      deepStrictEqual(counts, { opened: 2, closed: 1, sent: 2 });
      requests.close();
      strictEqual(counts.closed, 2);
    }
  });

  it('reads on after a signal, and uses one socket for several requests', () => {
    const { requests, counts } = requestsOver([failure('EINTR'), ack(0)], [ack(0)]);
    strictEqual(requests.change(request()), undefined);
    strictEqual(requests.change(request()), undefined);
    strictEqual(counts.opened, 1);
  });

  it('gives up after a few attempts, and at once on other failures', () => {
    const lost = Array.from({ length: ATTEMPTS_MAX + 1 }, () => [failure('ENOBUFS')]);
    const { requests, counts } = requestsOver(...lost);
    strictEqual(requests.change(request())?.text, 'no complete answer after several attempts');
    strictEqual(counts.sent, ATTEMPTS_MAX);
    const other = requestsOver([failure('EBADF')]);
    strictEqual(other.requests.change(request())?.text, 'EBADF');
    strictEqual(other.counts.sent, 1);
  });

  it('says so when nothing comes, or an acknowledgement without the thing asked for', () => {
    strictEqual(requestsOver([]).requests.change(request())?.text, 'no answer from the kernel');
    const { requests } = requestsOver([ack(0)]);
    deepStrictEqual(requests.get(request(), numberIn), {
      failed: true,
      errno: 0,
      text: 'no answer from the kernel',
    });
  });

  it('names errors, also those it does not know and those of MIPS', () => {
    const text = (errno: number) => requestsOver([ack(errno)]).requests.change(request())?.text;
    strictEqual(text(17), 'File exists');
    strictEqual(text(101), 'Network is unreachable');
    strictEqual(text(128), 'Network is unreachable');
    strictEqual(text(77), 'error 77');
    const gone = [3, 19, 99, 126].map(errno => isGone({ failed: true, errno, text: '' }));
    deepStrictEqual(gone, [true, true, true, true]);
    strictEqual(isGone({ failed: true, errno: 1, text: '' }), false);
  });
});
