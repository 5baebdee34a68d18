// SPDX-License-Identifier: Apache-2.0
// What the watch of the tunnel's device makes of notifications.

import { deepStrictEqual, ok, strictEqual } from 'node:assert';
import { type Failure, isFailure, type NetlinkSocket } from '../../../src/host/host.ts';
import { MessageWriter, NLMSG_ERROR, readMessages } from '../../../src/netlink/message.ts';
import {
  AF_UNSPEC,
  IFF_UP,
  IFLA_IFNAME,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from '../../../src/netlink/rtnetlink.ts';
import { DeviceWatch } from '../../../src/network/device.ts';

const INDEX = 7;
const AF_BRIDGE = 7;
const NAME = 'ov-home';
const ENODEV = 19;

const failed = (code: string): Failure => ({ failed: true, call: 'recv', errno: 1, code, text: code });

function link(type: number, flags: number, options: { index?: number; name?: string; family?: number } = {}) {
  const { index = INDEX, name = NAME, family = AF_UNSPEC } = options;
  const writer = new MessageWriter(type, 0).u8(family).u8(0).u16(0).u32(index).u32(flags).u32(0);
  return writer.textAttribute(IFLA_IFNAME, name).finish();
}

const UP = link(RTM_NEWLINK, IFF_UP);
const DOWN = link(RTM_NEWLINK, 0);

/** What the sink hears of these datagrams, and what the kernel was asked. */
function heard(...datagrams: (Uint8Array | Failure)[]): { heard: string[]; asked: number[] } {
  const words: string[] = [];
  const asked: number[] = [];
  const joined: number[] = [];
  const socket: NetlinkSocket = {
    fd: 9,
    send: message => void asked.push(readMessages(message)[0]!.type),
    receive: () => datagrams.shift(),
    join: group => void joined.push(group),
    close: () => void words.push('closed'),
  };
  const watch = DeviceWatch.open(() => socket, INDEX, NAME, {
    down: () => void words.push('down'),
    up: () => void words.push('up'),
    unsure: () => void words.push('unsure'),
    gone: why => void words.push(`gone: ${why}`),
  });
  ok(!isFailure(watch));
  strictEqual(watch.fd, 9);
  deepStrictEqual(joined, [1]);
  while (datagrams.length > 0) watch.receive();
  return { heard: words, asked };
}

describe('the watch of a device', () => {
  it('tells of up and down, each change once', () => {
    deepStrictEqual(heard(DOWN, UP, UP, DOWN, DOWN, UP).heard, ['up', 'down', 'up']);
  });

  it('reads every message of a datagram', () => {
    deepStrictEqual(heard(new Uint8Array([...UP, ...DOWN, ...UP])).heard, ['up', 'down', 'up']);
  });

  it('tells once that the device is deleted, moved or renamed, and nothing after that', () => {
    const gone = link(RTM_DELLINK, IFF_UP);
    deepStrictEqual(heard(UP, DOWN, gone, gone, UP).heard, ['up', 'down', 'gone: deleted or moved']);
    const renamed = link(RTM_NEWLINK, IFF_UP, { name: 'tun5' });
    deepStrictEqual(heard(UP, renamed).heard, ['up', 'gone: renamed to tun5']);
  });

  it('leaves other devices and other families alone', () => {
    const others = [
      link(RTM_NEWLINK, IFF_UP, { index: 8 }),
      link(RTM_DELLINK, 0, { index: 8, name: NAME }),
      link(RTM_DELLINK, 0, { family: AF_BRIDGE }),
      UP.subarray(0, 24),
      new Uint8Array([1, 2, 3]),
    ];
    deepStrictEqual(heard(...others).heard, []);
  });

  it('asks when notifications were lost, and takes the answer for what it is', () => {
    deepStrictEqual(heard(UP, failed('ENOBUFS'), UP), {
      heard: ['up', 'unsure', 'up'],
      asked: [RTM_GETLINK],
    });
    const none = new MessageWriter(NLMSG_ERROR, 0).u32(-ENODEV).raw(new Uint8Array(16)).finish();
    deepStrictEqual(heard(UP, failed('ENOBUFS'), none).heard, ['up', 'unsure', 'gone: deleted']);
    deepStrictEqual(heard(failed('EINTR'), failed('EIO'), UP).heard, ['up']);
  });

  it('without a socket there is none', () => {
    const sink = { down: () => {}, up: () => {}, unsure: () => {}, gone: () => {} };
    deepStrictEqual(
      DeviceWatch.open(() => failed('EMFILE'), INDEX, NAME, sink),
      failed('EMFILE'),
    );
    let closed = 0;
    const socket = { fd: 9, join: () => failed('EPERM'), close: () => closed++ } as unknown as NetlinkSocket;
    deepStrictEqual(
      DeviceWatch.open(() => socket, INDEX, NAME, sink),
      failed('EPERM'),
    );
    strictEqual(closed, 1);
  });
});
