// SPDX-License-Identifier: Apache-2.0
// A model of the `ovpn` module of Linux 7.2 behind netlink sockets: the controller, notifications, and behind them the
// peers (kernelfakepeers.ts), devices and routes (kernelfakelinks.ts). Any request can go wrong, and notifications can
// be lost, come twice or come late.

import { formatPrefix } from '../../../src/core/address.ts';
import {
  attributesOf,
  type Message,
  MessageWriter,
  readMessages,
  stampSequence,
} from '../../../src/netlink/message.ts';
import { OVPN_COMMAND, OVPN_TOP } from '../../../src/netlink/ovpn.ts';
import type { Route } from '../../../src/netlink/route.ts';
import type { KernelSocket, SocketFailure } from '../../../src/plane/kernelrequests.ts';
import { handleRoute } from './kernelfakelinks.ts';
import { CTRL, E, endOf, FAMILY, nameOf, Refusal } from './kernelfakemessages.ts';
import { type FakeLink, handleOvpn } from './kernelfakepeers.ts';

const GROUP = 15;

/** refuse: not done, ENOMEM. lost: done, the answer lost. mute: not done, no answer. unsent: send() fails once. */
export type Fault = 'refuse' | 'lost' | 'mute' | 'unsent';

interface Socket {
  readonly queue: (Uint8Array | SocketFailure)[];
  readonly protocol: number;
  isMember: boolean;
}

export class FakeOvpn {
  readonly links = new Map<number, FakeLink>();
  routes: Route[] = [];
  /** Every key ever given, as text: none may come twice. */
  readonly keysSeen: string[] = [];
  /** Names of all requests in order, e.g. `PEER_NEW`. */
  readonly log: string[] = [];
  readonly faults = new Map<number, Fault>();
  /** The same by name of request: the next one of this name. */
  readonly faultsByName = new Map<string, Fault>();
  hasModule = true;
  /** Whether the module is there before its family is asked for. */
  isLoaded = false;
  isPrivileged = true;
  /** Linux 7.1 and later. */
  isNew = true;
  ciphers: ReadonlySet<number> = new Set([1, 2]);
  /** Descriptors that are usable sockets. */
  sockets = new Map<number, 'udp' | 'tcp'>([
    [7, 'udp'],
    [8, 'udp'],
    [9, 'tcp'],
  ]);
  openSockets = 0;
  /** Notifications: given to the members, dropped (ENOBUFS), given twice, or kept until release(). */
  notifications: 'given' | 'lost' | 'twice' | 'late' = 'given';
  readonly #late: Uint8Array[] = [];
  readonly #sockets: Socket[] = [];
  #nextIndex = 2;

  readonly open = (protocol: number): KernelSocket => {
    const socket: Socket = { queue: [], protocol, isMember: false };
    let isOpen = true;
    this.openSockets += 1;
    this.#sockets.push(socket);
    return {
      fd: 100 + this.#sockets.length,
      send: message => this.#send(socket, message),
      receive: () => socket.queue.shift(),
      join: group => {
        if (group !== GROUP) throw new Error(`no group ${group}`);
        socket.isMember = true;
        return undefined;
      },
      close: () => {
        if (isOpen) this.openSockets -= 1;
        isOpen = false;
        this.#sockets.splice(this.#sockets.indexOf(socket), 1);
      },
    };
  };

  get requests(): number {
    return this.log.length;
  }

  count(name: string): number {
    return this.log.filter(one => one === name).length;
  }

  addLink(name: string, kind: string | undefined, mode: 'p2p' | 'mp' = 'mp'): FakeLink {
    const link = { index: this.#nextIndex++, name, kind, mode, peers: new Map() };
    this.links.set(link.index, link);
    return link;
  }

  /** The one ovpn device. */
  get device(): FakeLink {
    const found = [...this.links.values()].find(link => link.kind === 'ovpn');
    if (found === undefined) throw new Error('no ovpn device');
    return found;
  }

  routeTexts(): string[] {
    return this.routes
      .map(
        ({ destination, hops, metric }) =>
          `${formatPrefix(destination)} via ${hops[0]?.gateway?.join('.') ?? 'link'} metric ${metric}`,
      )
      .sort();
  }

  removeLink(index: number): void {
    const link = this.links.get(index);
    if (link === undefined) return;
    for (const id of [...link.peers.keys()]) this.removePeer(link, id, 0);
    this.links.delete(index);
    this.routes = this.routes.filter(route => route.hops[0]?.index !== index);
  }

  /** As the kernel does by itself: reason 2 expired, 3 transport error, 4 socket closed. */
  removePeer(link: FakeLink, id: number, reason: number): void {
    link.peers.delete(id);
    this.#notify(OVPN_COMMAND.peerDelNtf, link.index, writer =>
      writer.nest(OVPN_TOP.peer.number, peer => peer.u32Attribute(15, reason).u32Attribute(1, id)),
    );
  }

  /** A packet from elsewhere has moved the peer. */
  float(link: FakeLink, id: number, ip: Uint8Array, port: number): void {
    const { values } = link.peers.get(id)!;
    for (const number of [2, 3, 5]) values.delete(number);
    const portBytes = new Uint8Array([port >> 8, port & 255]);
    values.set(ip.length === 4 ? 2 : 3, ip).set(5, portBytes);
    if (!this.isNew) return;
    this.#notify(OVPN_COMMAND.peerFloatNtf, link.index, writer =>
      writer.nest(OVPN_TOP.peer.number, peer =>
        peer
          .u32Attribute(1, id)
          .attribute(ip.length === 4 ? 2 : 3, ip)
          .attribute(5, portBytes),
      ),
    );
  }

  /** The packet ids of the primary key are used up. */
  exhaust(link: FakeLink, id: number): void {
    const peer = link.peers.get(id)!;
    const keyId = peer.keys[0]!.keyId;
    peer.keys[0] = undefined;
    this.#notify(OVPN_COMMAND.keySwapNtf, link.index, writer =>
      writer.nest(OVPN_TOP.keyconf.number, key => key.u32Attribute(1, id).u16Attribute(3, keyId)),
    );
  }

  /** A notification of any content. */
  forge(command: number, index: number, id: number): void {
    this.#notify(command, index, writer =>
      writer.nest(OVPN_TOP.peer.number, peer => peer.u32Attribute(15, 2).u32Attribute(1, id)),
    );
  }

  /** What was late comes now. */
  release(): void {
    this.notifications = 'given';
    for (const message of this.#late.splice(0)) this.#deliver(message);
  }

  #notify(command: number, index: number, write: (writer: MessageWriter) => void): void {
    const writer = new MessageWriter(FAMILY, 0).u8(command).u8(1).u16(0).u32Attribute(1, index);
    write(writer);
    const message = writer.finish();
    if (this.notifications === 'late') this.#late.push(message);
    else if (this.notifications === 'lost') {
      for (const socket of this.#sockets) {
        if (socket.isMember) socket.queue.push(failed(105, 'ENOBUFS', 'No buffer space available'));
      }
    } else {
      this.#deliver(message);
      if (this.notifications === 'twice') this.#deliver(message);
    }
  }

  #deliver(message: Uint8Array): void {
    for (const socket of this.#sockets) if (socket.isMember) socket.queue.push(message);
  }

  #send(socket: Socket, bytes: Uint8Array): SocketFailure | undefined {
    const request = readMessages(bytes)[0]!;
    const name = nameOf(socket.protocol, request);
    this.log.push(name);
    const fault = this.faults.get(this.log.length) ?? this.faultsByName.get(name);
    this.faultsByName.delete(name);
    if (fault === 'unsent') return failed(105, 'ENOBUFS', 'No buffer space available');
    if (fault === 'mute') return undefined;
    const out: Uint8Array[] = [];
    let errno: number = E.NOMEM;
    let text = '';
    if (fault !== 'refuse') {
      try {
        this.#handle(socket.protocol, request, out);
        errno = 0;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        ({ errno, message: text } = error);
        out.length = 0;
      }
    }
    if (fault === 'lost') {
      socket.queue.push(failed(105, 'ENOBUFS', 'No buffer space available'));
      return undefined;
    }
    out.push(endOf(request, errno, text));
    for (const answer of out) {
      stampSequence(answer, request.sequence);
      socket.queue.push(answer);
    }
    return undefined;
  }

  #handle(protocol: number, request: Message, out: Uint8Array[]): void {
    if (protocol === 0) return handleRoute(this, request, out);
    if (request.type === CTRL) return this.#handleControl(request, out);
    if (request.type !== FAMILY || !this.isLoaded) throw new Refusal(E.NOENT);
    if (!this.isPrivileged) throw new Refusal(E.PERM);
    return handleOvpn(this, request, out);
  }

  #handleControl(request: Message, out: Uint8Array[]): void {
    const attributes = attributesOf(request, 4);
    if (request.body[0] === 3) {
      if (attributes.text(2) !== 'ovpn' || !this.hasModule) throw new Refusal(E.NOENT);
      this.isLoaded = true;
      out.push(
        new MessageWriter(CTRL, 0)
          .u8(1)
          .u8(2)
          .u16(0)
          .u16Attribute(1, FAMILY)
          .textAttribute(2, 'ovpn')
          .nest(7, groups => groups.nest(1, group => group.textAttribute(1, 'peers').u32Attribute(2, GROUP)))
          .finish(),
      );
      return;
    }
    const head = (): MessageWriter => new MessageWriter(CTRL, 2).u8(10).u8(2).u16(0).u16Attribute(1, FAMILY);
    out.push(
      head()
        .nest(9, ops => ops.nest(1, op => op.u32Attribute(1, 0)))
        .finish(),
    );
    out.push(
      head()
        .nest(8, policies =>
          policies.nest(0, policy => policy.nest(2, peer => peer.u32Attribute(1, 12).u32Attribute(8, 1))),
        )
        .finish(),
    );
    for (let number = 1; number <= (this.isNew ? 24 : 23); number++) {
      out.push(
        head()
          .nest(8, policies => policies.nest(1, policy => policy.nest(number, one => one.u32Attribute(1, 5))))
          .finish(),
      );
    }
  }
}

function failed(errno: number, code: string, text: string): SocketFailure {
  return { failed: true, errno, code, text };
}
