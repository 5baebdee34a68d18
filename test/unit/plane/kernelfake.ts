// SPDX-License-Identifier: Apache-2.0
// A model of the `ovpn` module of Linux 7.2 behind netlink sockets: the controller, peers, keys, notifications, and
// as much of route netlink as a device and its routes need. It is as strict as the kernel: nests must be marked,
// widths must fit, unknown attributes are refused. Any request can go wrong, and notifications can be lost, come
// twice or come late.

import { formatPrefix } from '../../../src/core/address.ts';
import {
  attributesOf,
  type Message,
  MessageWriter,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  readMessages,
  stampSequence,
  viewOf,
} from '../../../src/netlink/message.ts';
import {
  OVPN_COMMAND,
  OVPN_KEYCONF,
  OVPN_KEYDIR,
  OVPN_PEER,
  OVPN_TOP,
  type Spec,
} from '../../../src/netlink/ovpn.ts';
import { decodeRoute, type Route, RTM_DELROUTE, RTM_NEWROUTE } from '../../../src/netlink/route.ts';
import {
  IFLA_IFNAME,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from '../../../src/netlink/rtnetlink.ts';
import type { KernelSocket, SocketFailure } from '../../../src/plane/kernelrequests.ts';

export const FAMILY = 0x24;
const CTRL = 16;
const GROUP = 15;

export const E = {
  PERM: 1,
  NOENT: 2,
  SRCH: 3,
  NOMEM: 12,
  EXIST: 17,
  NODEV: 19,
  INVAL: 22,
  RANGE: 34,
  NOTSOCK: 88,
  OPNOTSUPP: 95,
  ADDRINUSE: 98,
  ADDRNOTAVAIL: 99,
} as const;

/** refuse: not done, ENOMEM. lost: done, the answer lost. mute: not done, no answer. unsent: send() fails once. */
export type Fault = 'refuse' | 'lost' | 'mute' | 'unsent';

export interface FakeKey {
  readonly keyId: number;
  readonly cipher: number;
  readonly bytes: string;
}

export interface FakePeer {
  readonly id: number;
  readonly fd: number;
  /** Attributes as given, by number. */
  readonly values: Map<number, Uint8Array>;
  readonly keys: [FakeKey | undefined, FakeKey | undefined];
  /** Values of the counters, by attribute number. */
  readonly counters: Map<number, number>;
}

export interface FakeLink {
  readonly index: number;
  readonly name: string;
  readonly kind: string | undefined;
  readonly mode: 'p2p' | 'mp';
  readonly peers: Map<number, FakePeer>;
}

class Refusal extends Error {
  readonly errno: number;
  constructor(errno: number, text = '') {
    super(text);
    this.errno = errno;
  }
}

interface Socket {
  readonly queue: (Uint8Array | SocketFailure)[];
  readonly protocol: number;
  isMember: boolean;
}

const mayBe = (...commands: number[]): ReadonlySet<number> => new Set(commands);
const INPUT_PEER_NEW = mayBe(1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 24);
const INPUT_PEER_SET = mayBe(1, 2, 3, 4, 5, 8, 9, 10, 11, 13, 14, 24);

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
    if (protocol === 0) return this.#handleRoute(request, out);
    if (request.type === CTRL) return this.#handleControl(request, out);
    if (request.type !== FAMILY || !this.isLoaded) throw new Refusal(E.NOENT);
    if (!this.isPrivileged) throw new Refusal(E.PERM);
    return this.#handleOvpn(request, out);
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

  // ---- route netlink

  #handleRoute(request: Message, out: Uint8Array[]): void {
    switch (request.type) {
      case RTM_GETLINK:
        return this.#getLink(request, out);
      case RTM_NEWLINK:
        return this.#newLink(request);
      case RTM_DELLINK: {
        const name = attributesOf(request, 16).text(IFLA_IFNAME);
        const named = [...this.links.values()].find(link => link.name === name);
        const index = named?.index ?? viewOf(request.body).getInt32(4, request.little);
        if (!this.links.has(index)) throw new Refusal(E.NODEV);
        return this.removeLink(index);
      }
      case RTM_NEWROUTE:
        return this.#newRoute(decodeRoute(request)!, request.flags);
      case RTM_DELROUTE: {
        const asked = decodeRoute(request)!;
        const at = this.routes.findIndex(
          route =>
            sameRoute(route, asked) && String(route.hops[0]?.gateway) === String(asked.hops[0]?.gateway),
        );
        if (at < 0) throw new Refusal(E.SRCH);
        this.routes.splice(at, 1);
        return;
      }
      default:
        throw new Refusal(E.OPNOTSUPP);
    }
  }

  #getLink(request: Message, out: Uint8Array[]): void {
    const name = attributesOf(request, 16).text(IFLA_IFNAME);
    const link = [...this.links.values()].find(one => one.name === name);
    if (link === undefined) throw new Refusal(E.NODEV);
    const writer = new MessageWriter(RTM_NEWLINK, 0).u32(0).u32(link.index).u32(0x90).u32(0);
    writer.textAttribute(IFLA_IFNAME, link.name);
    const { kind } = link;
    if (kind !== undefined) writer.nest(IFLA_LINKINFO, info => info.textAttribute(IFLA_INFO_KIND, kind));
    out.push(writer.finish());
  }

  #newLink(request: Message): void {
    if (!this.isPrivileged) throw new Refusal(E.PERM);
    const attributes = attributesOf(request, 16);
    const info = attributes.nested(IFLA_LINKINFO);
    const kind = info?.text(IFLA_INFO_KIND);
    // Only asking for the family loads the module.
    if (kind !== 'ovpn' || !this.isLoaded) throw new Refusal(E.OPNOTSUPP, 'Unknown device type');
    const name = attributes.text(IFLA_IFNAME)!;
    if ([...this.links.values()].some(link => link.name === name)) throw new Refusal(E.EXIST);
    const mode = info?.nested(IFLA_INFO_DATA)?.bytes(1);
    if (mode?.length !== 1 || mode[0]! > 1) throw new Refusal(E.RANGE, 'integer out of range');
    this.addLink(name, kind, mode[0] === 1 ? 'mp' : 'p2p');
  }

  #newRoute(asked: Route, flags: number): void {
    const index = asked.hops[0]!.index;
    if (!this.links.has(index)) throw new Refusal(E.NODEV);
    const same = this.routes.findIndex(route => sameRoute(route, asked));
    if (same >= 0 && (flags & NLM_F_EXCL) !== 0) throw new Refusal(E.EXIST);
    if (same >= 0 && (flags & NLM_F_REPLACE) !== 0) this.routes[same] = asked;
    else this.routes.push(asked);
  }

  // ---- the module

  #handleOvpn(request: Message, out: Uint8Array[]): void {
    const top = strict(request.body.subarray(4), OVPN_TOP, request.little);
    const ifindex = numberOf(top.get(1), request.little);
    if (ifindex === undefined) throw new Refusal(E.INVAL);
    const link = this.links.get(ifindex);
    if (link === undefined) throw new Refusal(E.NODEV);
    if (link.kind !== 'ovpn') throw new Refusal(E.INVAL);
    const isDump = (request.flags & NLM_F_DUMP) === NLM_F_DUMP;
    const command = request.body[0]!;
    const nest = top.get(command >= 6 ? 3 : 2);
    if (isDump) {
      if (command !== 3 || nest !== undefined) throw new Refusal(E.INVAL);
      for (const peer of link.peers.values()) out.push(peerBytes(peer, link.index, this.isNew));
      return;
    }
    if (nest === undefined) throw new Refusal(E.INVAL);
    if (command >= 6)
      return this.#handleKey(link, command, strict(nest, OVPN_KEYCONF, request.little), request, out);
    const values = strict(nest, OVPN_PEER, request.little);
    const id = numberOf(values.get(1), request.little);
    if (id === undefined) throw new Refusal(E.INVAL);
    if (id > 0xffffff) throw new Refusal(E.RANGE, 'integer out of range');
    return this.#handlePeer(link, command, id, values, request, out);
  }

  #handlePeer(
    link: FakeLink,
    command: number,
    id: number,
    values: Map<number, Uint8Array>,
    request: Message,
    out: Uint8Array[],
  ): void {
    if (command === OVPN_COMMAND.peerNew) return this.#peerNew(link, id, values, request.little);
    const peer = link.peers.get(id);
    if (command === OVPN_COMMAND.peerSet) {
      if (peer === undefined) throw new Refusal(E.NOENT);
      this.#checkPeer(link, values, INPUT_PEER_SET, request.little, peer);
      // A new remote of the other family takes the place of the old one.
      if (values.has(2) || values.has(3))
        for (const number of [2, 3, 4, 5, 10, 11]) peer.values.delete(number);
      for (const [number, value] of values) peer.values.set(number, value.slice());
      return;
    }
    if (values.size !== 1) throw new Refusal(E.INVAL, 'Unsupported attribute');
    if (peer === undefined) throw new Refusal(E.NOENT);
    if (command === OVPN_COMMAND.peerGet) out.push(peerBytes(peer, undefined, this.isNew));
    else if (command === OVPN_COMMAND.peerDel) this.removePeer(link, id, 1);
    else throw new Refusal(E.OPNOTSUPP);
  }

  #peerNew(link: FakeLink, id: number, values: Map<number, Uint8Array>, little: boolean): void {
    const fd = numberOf(values.get(6), little);
    if (fd === undefined) throw new Refusal(E.INVAL);
    const kind = this.sockets.get(fd);
    if (kind === undefined) throw new Refusal(E.NOTSOCK, 'cannot lookup peer socket');
    const hasRemote = values.has(2) || values.has(3);
    if (kind === 'udp' && !hasRemote) throw new Refusal(E.INVAL, 'missing remote IP address for UDP socket');
    if (kind === 'tcp' && hasRemote)
      throw new Refusal(E.INVAL, 'unexpected remote IP address for TCP socket');
    if (link.mode === 'mp' && link.peers.has(id)) throw new Refusal(E.EXIST);
    this.#checkPeer(link, values, INPUT_PEER_NEW, little);
    if (link.mode === 'mp' && !values.has(8) && !values.has(9))
      throw new Refusal(E.INVAL, 'VPN IP must be provided in MP mode');
    if (link.mode === 'p2p') for (const old of [...link.peers.keys()]) this.removePeer(link, old, 0);
    const copy = new Map([...values].map(([number, value]) => [number, value.slice()] as const));
    link.peers.set(id, { id, fd, values: copy, keys: [undefined, undefined], counters: new Map() });
  }

  #checkPeer(
    link: FakeLink,
    values: Map<number, Uint8Array>,
    allowed: ReadonlySet<number>,
    little: boolean,
    self?: FakePeer,
  ): void {
    for (const number of values.keys()) {
      if (!allowed.has(number) || (number === 24 && !this.isNew))
        throw new Refusal(E.INVAL, 'Unsupported attribute');
    }
    const hasRemote = values.has(2) || values.has(3);
    if (values.has(2) && values.has(3)) throw new Refusal(E.INVAL);
    if (hasRemote !== values.has(5)) throw new Refusal(E.INVAL);
    if ((values.has(10) && !values.has(2)) || (values.has(11) && !values.has(3))) throw new Refusal(E.INVAL);
    if (values.has(13) !== values.has(14))
      throw new Refusal(E.INVAL, 'keepalive interval and timeout are required together');
    for (const number of [13, 14])
      if ((numberOf(values.get(number), little) ?? 0) > 86400) throw new Refusal(E.RANGE);
    for (const number of [8, 9]) {
      const ip = values.get(number);
      if (ip === undefined) continue;
      if (link.mode === 'p2p') throw new Refusal(E.INVAL, 'VPN IP unexpected in P2P mode');
      if (ip[0] === 127) throw new Refusal(E.ADDRNOTAVAIL);
      if (ip.some(byte => byte !== 0)) {
        for (const other of link.peers.values()) {
          if (other !== self && String(other.values.get(number)) === String(ip))
            throw new Refusal(E.ADDRINUSE, 'VPN IP already in use');
        }
      }
    }
  }

  #handleKey(
    link: FakeLink,
    command: number,
    values: Map<number, Uint8Array>,
    request: Message,
    out: Uint8Array[],
  ): void {
    const { little } = request;
    const number = (one: Spec): number | undefined => numberOf(values.get(one.number), little);
    const peerId = number(OVPN_KEYCONF.peerId);
    const slot = number(OVPN_KEYCONF.slot);
    if (peerId === undefined) throw new Refusal(E.INVAL);
    const peer = link.peers.get(peerId);
    if (peer === undefined) throw new Refusal(E.NOENT, 'no peer with id');
    if (command === OVPN_COMMAND.keySwap) {
      if (slot !== undefined) throw new Refusal(E.INVAL);
      peer.keys.reverse();
      return;
    }
    if (slot === undefined) throw new Refusal(E.INVAL);
    if (slot > 1) throw new Refusal(E.RANGE);
    if (command === OVPN_COMMAND.keyDel) peer.keys[slot] = undefined;
    else if (command === OVPN_COMMAND.keyGet) out.push(keyBytes(peer, slot));
    else if (command === OVPN_COMMAND.keyNew) peer.keys[slot] = this.#keyOf(values, number, little);
    else throw new Refusal(E.OPNOTSUPP);
  }

  #keyOf(
    values: Map<number, Uint8Array>,
    number: (one: Spec) => number | undefined,
    little: boolean,
  ): FakeKey {
    const keyId = number(OVPN_KEYCONF.keyId);
    const cipher = number(OVPN_KEYCONF.cipher);
    if (keyId === undefined || cipher === undefined || !values.has(5) || !values.has(6))
      throw new Refusal(E.INVAL);
    if (keyId > 7 || cipher > 2) throw new Refusal(E.RANGE);
    const directions = [5, 6].map(one => strict(values.get(one)!, OVPN_KEYDIR, little));
    for (const direction of directions) {
      const length = direction.get(1)?.length ?? 0;
      if (direction.get(2)?.length !== 8) throw new Refusal(E.RANGE);
      if (cipher === 2 ? length !== 32 : ![16, 24, 32].includes(length)) throw new Refusal(E.INVAL);
    }
    if (!this.ciphers.has(cipher)) throw new Refusal(E.NOENT, 'cannot install new key');
    const bytes = directions.map(direction => Buffer.from(direction.get(1)!).toString('hex')).join(' ');
    this.keysSeen.push(bytes);
    return { keyId, cipher, bytes };
  }
}

function sameRoute(a: Route, b: Route): boolean {
  return formatPrefix(a.destination) === formatPrefix(b.destination) && a.metric === b.metric;
}

function failed(errno: number, code: string, text: string): SocketFailure {
  return { failed: true, errno, code, text };
}

const WIDTHS: Readonly<Record<string, number | undefined>> = {
  u8: 1,
  u32: 4,
  s32: 4,
  be16: 2,
  ip4: 4,
  ip6: 16,
  bytes8: 8,
};

/** Attributes of a request as the kernel's strict parser takes them; refuses what it refuses. */
function strict(
  bytes: Uint8Array,
  table: Readonly<Record<string, Spec>>,
  little: boolean,
): Map<number, Uint8Array> {
  const view = viewOf(bytes);
  const out = new Map<number, Uint8Array>();
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = view.getUint16(at, little);
    const type = view.getUint16(at + 2, little);
    if (length < 4 || at + length > bytes.length) throw new Refusal(E.INVAL);
    const number = type & 0x3fff;
    const spec = Object.values(table).find(one => one.number === number);
    if (spec === undefined) throw new Refusal(E.INVAL, 'Unknown attribute type');
    if ((spec.width === 'nest') !== ((type & 0x8000) !== 0))
      throw new Refusal(E.INVAL, 'NLA_F_NESTED is missing');
    const width = WIDTHS[spec.width];
    if (width !== undefined && length - 4 !== width)
      throw new Refusal(E.RANGE, 'Attribute failed policy validation');
    out.set(number, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  if (at !== bytes.length) throw new Refusal(E.INVAL, 'trailing bytes');
  return out;
}

function numberOf(value: Uint8Array | undefined, little: boolean): number | undefined {
  return value && viewOf(value).getUint32(0, little);
}

function endOf(request: Message, errno: number, text: string): Uint8Array {
  if ((request.flags & NLM_F_DUMP) === NLM_F_DUMP && errno === 0)
    return new MessageWriter(3, 2).u32(0).finish();
  const writer = new MessageWriter(2, 0x100 | (text === '' ? 0 : 0x200)).u32(-errno).raw(new Uint8Array(16));
  if (text !== '') writer.textAttribute(1, text);
  return writer.finish();
}

function peerBytes(peer: FakePeer, index: number | undefined, isNew: boolean): Uint8Array {
  const writer = new MessageWriter(FAMILY, index === undefined ? 0 : 2).u8(3).u8(1).u16(0);
  if (index !== undefined) writer.u32Attribute(1, index);
  return writer
    .nest(2, nest => {
      for (const [number, value] of peer.values) {
        const isCleared = (number === 8 || number === 9) && value.every(byte => byte === 0);
        if (number !== 6 && !isCleared) nest.attribute(number, value);
      }
      for (let number = 16; number <= 23; number++) {
        const count = peer.counters.get(number) ?? 0;
        if (count <= 0xffffffff) nest.u32Attribute(number, count);
        else {
          const wide = new Uint8Array(8);
          new DataView(wide.buffer).setBigUint64(0, BigInt(count), true);
          nest.attribute(number, wide);
        }
      }
      if (isNew && !peer.values.has(24)) nest.u32Attribute(24, peer.id);
    })
    .finish();
}

function keyBytes(peer: FakePeer, slot: number): Uint8Array {
  const key = peer.keys[slot];
  if (key === undefined) throw new Refusal(E.NOENT);
  return new MessageWriter(FAMILY, 0)
    .u8(7)
    .u8(1)
    .u16(0)
    .nest(3, nest =>
      nest
        .u32Attribute(1, peer.id)
        .u32Attribute(2, slot)
        .u32Attribute(3, key.keyId)
        .u32Attribute(4, key.cipher),
    )
    .finish();
}

const ROUTE_NAMES: Readonly<Record<number, string>> = {
  16: 'NEWLINK',
  17: 'DELLINK',
  18: 'GETLINK',
  24: 'NEWROUTE',
  25: 'DELROUTE',
};
const OVPN_NAMES = [
  '',
  'PEER_NEW',
  'PEER_SET',
  'PEER_GET',
  'PEER_DEL',
  '',
  'KEY_NEW',
  'KEY_GET',
  'KEY_SWAP',
  '',
  'KEY_DEL',
];

function nameOf(protocol: number, request: Message): string {
  if (protocol === 0) return ROUTE_NAMES[request.type] ?? `route ${request.type}`;
  const command = request.body[0]!;
  if (request.type === CTRL) return command === 3 ? 'GETFAMILY' : 'GETPOLICY';
  return (request.flags & NLM_F_DUMP) === NLM_F_DUMP
    ? 'PEER_DUMP'
    : (OVPN_NAMES[command] ?? `ovpn ${command}`);
}
