// SPDX-License-Identifier: Apache-2.0
// Watches one device for what others do to it: set down (the kernel then forgets its routes, and its IPv6 addresses
// with them), set up again, taken away. Notifications of the link group come here and nowhere else.

import type { Failure, NetlinkSocket, Result } from '../host/host.ts';
import { readAck, readMessages } from '../netlink/message.ts';
import {
  decodeLink,
  encodeGetLinkByIndex,
  IFF_UP,
  NETLINK_ROUTE,
  RTM_DELLINK,
  RTNLGRP_LINK,
} from '../netlink/rtnetlink.ts';
import { ENODEV, isProblem } from './requests.ts';

/** Datagrams of notifications read in one go. */
const NOTICES_MAX = 1024;

export interface DeviceSink {
  /** It was up and is down; what is deleted goes down first. */
  down(): void;
  /** It was down and is up; the first time, too. */
  up(): void;
  /** Whether it went down in between is not known: `up` follows if it is up. */
  unsure(): void;
  /** It is no longer ours to use, and will not come back. Said once. */
  gone(why: string): void;
}

export class DeviceWatch {
  /** Readable when receive() has something to tell. */
  readonly fd: number;
  readonly #socket: NetlinkSocket;
  readonly #index: number;
  readonly #name: string;
  readonly #sink: DeviceSink;
  #isUp = false;
  #isGone = false;

  private constructor(socket: NetlinkSocket, index: number, name: string, sink: DeviceSink) {
    this.fd = socket.fd;
    this.#socket = socket;
    this.#index = index;
    this.#name = name;
    this.#sink = sink;
  }

  /** The device has just been made, and is down. */
  static open(
    openNetlink: (protocol: number) => Result<NetlinkSocket>,
    index: number,
    name: string,
    sink: DeviceSink,
  ): DeviceWatch | Failure {
    const socket = openNetlink(NETLINK_ROUTE);
    if (isProblem(socket)) return socket;
    const failure = socket.join(RTNLGRP_LINK);
    if (failure === undefined) return new DeviceWatch(socket, index, name, sink);
    socket.close();
    return failure;
  }

  receive(): void {
    for (let i = 0; i < NOTICES_MAX; i++) {
      const datagram = this.#socket.receive();
      if (datagram === undefined) return;
      if (!isProblem(datagram)) this.#read(datagram);
      else if (datagram.code === 'ENOBUFS') this.#askAgain();
      else if (datagram.code !== 'EINTR') return;
    }
  }

  close(): void {
    this.#socket.close();
  }

  /** Notifications are lost. */
  #askAgain(): void {
    this.#isUp = false;
    this.#sink.unsure();
    this.#socket.send(encodeGetLinkByIndex(this.#index));
  }

  #read(datagram: Uint8Array): void {
    for (const message of readMessages(datagram)) {
      if (this.#isGone) return;
      if (readAck(message)?.errno === ENODEV) return this.#gone('deleted');
      const link = decodeLink(message);
      if (link?.index !== this.#index) continue;
      if (message.type === RTM_DELLINK) return this.#gone('deleted or moved');
      if (link.name !== this.#name) return this.#gone(`renamed to ${link.name}`);
      const isUp = (link.flags & IFF_UP) !== 0;
      if (isUp === this.#isUp) continue;
      this.#isUp = isUp;
      if (isUp) this.#sink.up();
      else this.#sink.down();
    }
  }

  #gone(why: string): void {
    this.#isGone = true;
    this.#sink.gone(why);
  }
}
