// SPDX-License-Identifier: Apache-2.0
// The fake `ovpn` module's tables: the peers of a device and their two keys, what may be put in, and how they are read
// out.

import { type Message, MessageWriter, NLM_F_DUMP } from '../../../src/netlink/message.ts';
import {
  OVPN_COMMAND,
  OVPN_KEYCONF,
  OVPN_KEYDIR,
  OVPN_PEER,
  OVPN_TOP,
  type Spec,
} from '../../../src/netlink/ovpn.ts';
import { E, FAMILY, numberOf, Refusal, strict } from './kernelfakemessages.ts';

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

/** The part of FakeOvpn that requests to the module read and change. */
export interface FakeModule {
  readonly links: ReadonlyMap<number, FakeLink>;
  readonly isNew: boolean;
  readonly ciphers: ReadonlySet<number>;
  readonly sockets: ReadonlyMap<number, 'udp' | 'tcp'>;
  readonly keysSeen: string[];
  removePeer(link: FakeLink, id: number, reason: number): void;
}

const mayBe = (...commands: number[]): ReadonlySet<number> => new Set(commands);
const INPUT_PEER_NEW = mayBe(1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 24);
const INPUT_PEER_SET = mayBe(1, 2, 3, 4, 5, 8, 9, 10, 11, 13, 14, 24);

export function handleOvpn(module: FakeModule, request: Message, out: Uint8Array[]): void {
  const top = strict(request.body.subarray(4), OVPN_TOP, request.little);
  const ifindex = numberOf(top.get(1), request.little);
  if (ifindex === undefined) throw new Refusal(E.INVAL);
  const link = module.links.get(ifindex);
  if (link === undefined) throw new Refusal(E.NODEV);
  if (link.kind !== 'ovpn') throw new Refusal(E.INVAL);
  const isDump = (request.flags & NLM_F_DUMP) === NLM_F_DUMP;
  const command = request.body[0]!;
  const nest = top.get(command >= 6 ? 3 : 2);
  if (isDump) {
    if (command !== 3 || nest !== undefined) throw new Refusal(E.INVAL);
    for (const peer of link.peers.values()) out.push(peerBytes(peer, link.index, module.isNew));
    return;
  }
  if (nest === undefined) throw new Refusal(E.INVAL);
  if (command >= 6)
    return handleKey(module, link, command, strict(nest, OVPN_KEYCONF, request.little), request, out);
  const values = strict(nest, OVPN_PEER, request.little);
  const id = numberOf(values.get(1), request.little);
  if (id === undefined) throw new Refusal(E.INVAL);
  if (id > 0xffffff) throw new Refusal(E.RANGE, 'integer out of range');
  return handlePeer(module, link, command, id, values, request, out);
}

function handlePeer(
  module: FakeModule,
  link: FakeLink,
  command: number,
  id: number,
  values: Map<number, Uint8Array>,
  request: Message,
  out: Uint8Array[],
): void {
  if (command === OVPN_COMMAND.peerNew) return peerNew(module, link, id, values, request.little);
  const peer = link.peers.get(id);
  if (command === OVPN_COMMAND.peerSet) {
    if (peer === undefined) throw new Refusal(E.NOENT);
    checkPeer(module, link, values, INPUT_PEER_SET, request.little, peer);
    // A new remote of the other family takes the place of the old one.
    if (values.has(2) || values.has(3)) for (const number of [2, 3, 4, 5, 10, 11]) peer.values.delete(number);
    for (const [number, value] of values) peer.values.set(number, value.slice());
    return;
  }
  if (values.size !== 1) throw new Refusal(E.INVAL, 'Unsupported attribute');
  if (peer === undefined) throw new Refusal(E.NOENT);
  if (command === OVPN_COMMAND.peerGet) out.push(peerBytes(peer, undefined, module.isNew));
  else if (command === OVPN_COMMAND.peerDel) module.removePeer(link, id, 1);
  else throw new Refusal(E.OPNOTSUPP);
}

function peerNew(
  module: FakeModule,
  link: FakeLink,
  id: number,
  values: Map<number, Uint8Array>,
  little: boolean,
): void {
  const fd = numberOf(values.get(6), little);
  if (fd === undefined) throw new Refusal(E.INVAL);
  const kind = module.sockets.get(fd);
  if (kind === undefined) throw new Refusal(E.NOTSOCK, 'cannot lookup peer socket');
  const hasRemote = values.has(2) || values.has(3);
  if (kind === 'udp' && !hasRemote) throw new Refusal(E.INVAL, 'missing remote IP address for UDP socket');
  if (kind === 'tcp' && hasRemote) throw new Refusal(E.INVAL, 'unexpected remote IP address for TCP socket');
  if (link.mode === 'mp' && link.peers.has(id)) throw new Refusal(E.EXIST);
  checkPeer(module, link, values, INPUT_PEER_NEW, little);
  if (link.mode === 'mp' && !values.has(8) && !values.has(9))
    throw new Refusal(E.INVAL, 'VPN IP must be provided in MP mode');
  if (link.mode === 'p2p') for (const old of [...link.peers.keys()]) module.removePeer(link, old, 0);
  const copy = new Map([...values].map(([number, value]) => [number, value.slice()] as const));
  link.peers.set(id, { id, fd, values: copy, keys: [undefined, undefined], counters: new Map() });
}

function checkPeer(
  module: FakeModule,
  link: FakeLink,
  values: Map<number, Uint8Array>,
  allowed: ReadonlySet<number>,
  little: boolean,
  self?: FakePeer,
): void {
  for (const number of values.keys()) {
    if (!allowed.has(number) || (number === 24 && !module.isNew))
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

function handleKey(
  module: FakeModule,
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
  else if (command === OVPN_COMMAND.keyNew) peer.keys[slot] = keyOf(module, values, number, little);
  else throw new Refusal(E.OPNOTSUPP);
}

function keyOf(
  module: FakeModule,
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
  if (!module.ciphers.has(cipher)) throw new Refusal(E.NOENT, 'cannot install new key');
  const bytes = directions.map(direction => Buffer.from(direction.get(1)!).toString('hex')).join(' ');
  module.keysSeen.push(bytes);
  return { keyId, cipher, bytes };
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
