// SPDX-License-Identifier: Apache-2.0
// The data plane in the shim's data thread: commands go down as calls, notices come back as events through one
// descriptor. Semantics are those of js.ts; descriptions are checked here by the same rules.

import type { Ip, Path } from '../core/address.ts';
import {
  DEL_REASONS,
  type DirectionKey,
  type EpochKey,
  type KeySlot,
  type PeerRecord,
  type PlaneCapabilities,
  type PlaneKey,
  type PlanePeer,
  type PlanePeerChange,
  type RekeyAfter,
} from '../core/plane.ts';
import { DROP_REASONS, type DropReason } from './drops.ts';
import { checkKey, KEY_LIMITS, type KeyLimits } from './keys.ts';
import {
  decodePath,
  decodePeer,
  EVENT,
  encodePath,
  encodeRoutes,
  LITTLE,
  PATH_LENGTH,
  SHOWN_LENGTH,
  TUN_HEADER_LENGTH,
} from './nativelayout.ts';
import { checkChange, checkPeer } from './peers.ts';
import type { PacketPlane, PlaneFailure, PlaneMode, PlaneResult, PlaneSink } from './plane.ts';

/** What the shim offers; see NativePlane in src/host/host.ts for what each means. */
export interface NativeEngine {
  readonly fd: number;
  take(buffer: Uint8Array): number;
  addPeer(peer: EnginePeer, now: number): EngineFailure | number;
  setPeer(change: EnginePeer, now: number): EngineFailure | undefined;
  delPeer(peerId: number): EngineFailure | undefined;
  addKey(key: EngineKey): EngineFailure | undefined;
  swapKeys(peerId: number): EngineFailure | undefined;
  delKey(peerId: number, slot: KeySlot): EngineFailure | undefined;
  sendInner(peerId: number, payload: Uint8Array, now: number): EngineFailure | undefined;
  peers(): Uint8Array;
  show(): readonly number[];
  addSocket(socket: number, fd: number, family: 4 | 6, tunes: boolean): EngineFailure | undefined;
  addStream(fd: number, path: Uint8Array, recordMax: number): EngineFailure | undefined;
  sendRecord(socket: number, record: Uint8Array): EngineFailure | undefined;
  removeSocket(socket: number): EngineFailure | undefined;
  fromNetwork(path: Uint8Array, datagram: Uint8Array, now: number): void;
  fromTun(frame: Uint8Array, now: number, tells?: boolean): void;
  tick(now: number): void;
  deadline(): number | undefined;
  close(): void;
}

interface EngineFailure {
  readonly code: string;
  readonly text: string;
}

interface EnginePeer {
  readonly peerId: number;
  readonly txId?: number;
  readonly isV1?: boolean;
  readonly path?: Uint8Array;
  readonly vpnIp4?: Ip;
  readonly vpnIp6?: Ip;
  readonly routes?: Uint8Array;
  readonly keepalive?: { readonly intervalS: number; readonly timeoutS: number };
}

interface EngineKey {
  readonly peerId: number;
  readonly slot: KeySlot;
  readonly keyId: number;
  readonly cipher: string;
  readonly isEpoch: boolean;
  readonly rekeyAfter: RekeyAfter;
  readonly encrypt: { readonly key: Uint8Array; readonly tail: Uint8Array };
  readonly decrypt: { readonly key: Uint8Array; readonly tail: Uint8Array };
}

export interface NativeSink extends PlaneSink {
  /** Only without a thread: a packet or super-packet behind its virtio header. */
  deliver(frame: Uint8Array): void;
  /** A packet that is no data packet, from a socket that the plane reads; borrowed until return. */
  control(path: Path, packet: Uint8Array): void;
  /** A connection ended; `errno` 0: by the other side. */
  streamEnded(socket: number, errno: number): void;
  /** The device is gone: nothing works any more. */
  broken(reason: string): void;
}

export interface NativePlaneParts {
  readonly mode: PlaneMode;
  /** Owned by the plane from now on. */
  readonly engine: NativeEngine;
  readonly sink: NativeSink;
  /** Whether the engine has a device and a thread; else packets are given by calls. */
  readonly isThreaded: boolean;
  readonly peersMax: number;
}

/** More than any router serves; the engine's tables take them. */
export const NATIVE_PEERS_MAX = 65_535;
/** How often drop counters are looked at. */
const LOOK_MS = 10_000;

/** The limits as the engine takes them: struct key_limits of src/shim/plane.h. */
export function nativeLimits(more: Partial<KeyLimits> = {}): number[] {
  const limits = { ...KEY_LIMITS, ...more };
  return [
    limits.firstPacketId,
    limits.packetIdSoft,
    limits.gcmUsageSoft,
    limits.failuresSoft,
    limits.failuresMax,
    limits.epochSoft,
    limits.epochLast,
  ];
}

export class NativePlane implements PacketPlane {
  readonly name = 'native';
  readonly capabilities: PlaneCapabilities;
  /** Readable when receive() has something to tell. */
  readonly noticeFd: number;
  readonly #mode: PlaneMode;
  readonly #engine: NativeEngine;
  readonly #sink: NativeSink;
  readonly #isThreaded: boolean;
  readonly #events = new Uint8Array(128 * 1024);
  /** By peer id: notices of an earlier peer with the id may come late. */
  readonly #serials = new Map<number, number>();
  #lookAt = 0;
  #isClosed = false;
  #counts: readonly number[] = [];

  constructor({ mode, engine, sink, isThreaded, peersMax }: NativePlaneParts) {
    this.#mode = mode;
    this.#engine = engine;
    this.#sink = sink;
    this.#isThreaded = isThreaded;
    this.noticeFd = engine.fd;
    const maxPeers = mode === 'p2p' ? 1 : peersMax;
    this.capabilities = {
      dataV1: true,
      inner: true,
      tcp: true,
      epoch: true,
      ownsPeerRoutes: false,
      maxPeers,
    };
  }

  addPeer(peer: PlanePeer, now: number): PlaneResult {
    const wrong = checkPeer(this.#mode, peer);
    if (wrong !== undefined) return wrong;
    const { peerId, txId = peerId, format, path, vpnIp4, vpnIp6, routes, keepalive } = peer;
    const described: EnginePeer = {
      peerId,
      txId,
      isV1: format === 'v1',
      path: encodePath(path),
      ...(vpnIp4 && { vpnIp4 }),
      ...(vpnIp6 && { vpnIp6 }),
      ...(routes && { routes: encodeRoutes(routes) }),
      ...(keepalive && { keepalive }),
    };
    const added = this.#engine.addPeer(described, now);
    if (typeof added !== 'number') return this.#done(added, peerId);
    // A point-to-point plane tells of the peer whose place was taken, though it may have had the same id.
    if (this.#mode === 'p2p') this.receive();
    this.#serials.set(peerId, added);
    return this.#done(undefined, peerId);
  }

  setPeer(change: PlanePeerChange, now: number): PlaneResult {
    const wrong = checkChange(this.#mode, change);
    if (wrong !== undefined) {
      // As elsewhere: that there is no such peer comes first.
      return this.peers().some(({ peerId }) => peerId === change.peerId) ? wrong : noPeer(change.peerId);
    }
    const { peerId, path, vpnIp4, vpnIp6, routes, keepalive } = change;
    const described: EnginePeer = {
      peerId,
      ...(path && { path: encodePath(path) }),
      ...(vpnIp4 && { vpnIp4 }),
      ...(vpnIp6 && { vpnIp6 }),
      ...(routes && { routes: encodeRoutes(routes) }),
      ...(keepalive && { keepalive }),
    };
    return this.#done(this.#engine.setPeer(described, now), peerId);
  }

  delPeer(peerId: number): PlaneResult {
    return this.#done(this.#engine.delPeer(peerId), peerId);
  }

  addKey(key: PlaneKey): PlaneResult {
    const wrong = checkKey(key);
    if (wrong !== undefined) {
      return this.peers().some(({ peerId }) => peerId === key.peerId) ? wrong : noPeer(key.peerId);
    }
    return this.#done(this.#engine.addKey(engineKey(key)), key.peerId);
  }

  swapKeys(peerId: number): PlaneResult {
    return this.#done(this.#engine.swapKeys(peerId), peerId, 'no secondary key');
  }

  delKey(peerId: number, slot: KeySlot): PlaneResult {
    return this.#done(this.#engine.delKey(peerId, slot), peerId);
  }

  sendInner(peerId: number, payload: Uint8Array, now: number): PlaneResult {
    return this.#done(this.#engine.sendInner(peerId, payload, now), peerId, 'no primary key');
  }

  peers(): PeerRecord[] {
    if (this.#isClosed) return [];
    const bytes = this.#engine.peers();
    const records: PeerRecord[] = [];
    for (let at = 0; at < bytes.length; at += SHOWN_LENGTH) {
      records.push(decodePeer(bytes.subarray(at, at + SHOWN_LENGTH)));
    }
    return records;
  }

  drops(): Readonly<Record<DropReason, number>> {
    // What was counted stays counted.
    if (!this.#isClosed) this.#counts = this.#engine.show();
    const counts = this.#counts;
    return Object.fromEntries(DROP_REASONS.map((reason, i) => [reason, counts[i] ?? 0])) as Record<
      DropReason,
      number
    >;
  }

  /** Bits of the features that are on. */
  features(): number {
    return this.#isClosed ? 0 : this.#engine.show()[DROP_REASONS.length]!;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#engine.close();
  }

  // ---- sockets

  /** The plane reads this UDP socket from now on. */
  addSocket(socket: number, fd: number, family: 4 | 6, tunes: boolean): string | undefined {
    return this.#engine.addSocket(socket, fd, family, tunes)?.text;
  }

  /** The plane reads and writes this connection from now on; it is between two records. */
  addStream(fd: number, path: Path, recordMax: number): string | undefined {
    return this.#engine.addStream(fd, encodePath(path), recordMax)?.text;
  }

  /** A control packet for a connection that the plane has. */
  sendControl(socket: number, packet: Uint8Array): void {
    const record = new Uint8Array(2 + packet.length);
    record.set([packet.length >> 8, packet.length & 0xff]);
    record.set(packet, 2);
    this.#engine.sendRecord(socket, record);
  }

  removeSocket(socket: number): void {
    if (!this.#isClosed) this.#engine.removeSocket(socket);
  }

  // ---- packets, without a thread

  fromNetwork(path: Path, datagram: Uint8Array, now: number): void {
    // A socket that the thread reads gives no packets to anybody else.
    if (this.#isThreaded || this.#isClosed) return;
    this.#engine.fromNetwork(encodePath(path), datagram, now);
    this.receive();
  }

  fromTun(packet: Uint8Array, now: number): void {
    if (this.#isThreaded || this.#isClosed) return;
    const frame = new Uint8Array(TUN_HEADER_LENGTH + packet.length);
    frame.set(packet, TUN_HEADER_LENGTH);
    this.fromFrame(frame, now);
  }

  /** A packet or super-packet behind its virtio header; `tells`: its sender is to slow down. */
  fromFrame(frame: Uint8Array, now: number, tells = false): void {
    this.#engine.fromTun(frame, now, tells);
    this.receive();
  }

  tick(now: number): void {
    if (this.#isClosed) return;
    this.#lookAt = now + LOOK_MS;
    if (this.#isThreaded) return;
    this.#engine.tick(now);
    this.receive();
  }

  /** With a thread only the next look at the drop counters: packets alone wake nobody here. */
  deadline(): number | undefined {
    if (this.#isClosed) return undefined;
    return this.#isThreaded ? this.#lookAt : this.#engine.deadline();
  }

  // ---- events

  /** Takes what the thread has to tell; what comes meanwhile is told through the descriptor. */
  receive(): void {
    while (!this.#isClosed) {
      // A copy: what is told may bring more commands, and those more events.
      const length = this.#engine.take(this.#events);
      const events = this.#events.slice(0, length);
      const view = new DataView(events.buffer);
      for (let at = 0; at < length && !this.#isClosed; ) {
        const size = view.getUint16(at + 2, LITTLE);
        this.#onEvent(events[at]!, events.subarray(at + 4, at + 4 + size));
        at += 4 + ((size + 3) & ~3);
      }
      if (length === 0 || this.#isThreaded) return;
    }
  }

  #onEvent(type: number, body: Uint8Array): void {
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    const word = (at: number): number => view.getUint32(at, LITTLE);
    const isPeers = type <= EVENT.expiring;
    const peerId = word(0);
    if (isPeers && this.#serials.get(peerId) !== word(4)) return;
    switch (type) {
      case EVENT.deleted:
        this.#serials.delete(peerId);
        return this.#sink.notice({ kind: 'peerDeleted', peerId, reason: DEL_REASONS[word(8)]! });
      case EVENT.floated:
        return this.#sink.notice({ kind: 'peerFloated', peerId, path: decodePath(body.subarray(8)) });
      case EVENT.exhausted:
        return this.#sink.notice({ kind: 'keyExhausted', peerId, keyId: word(8) });
      case EVENT.expiring:
        return this.#sink.notice({ kind: 'keyExpiring', peerId, keyId: word(8) });
      case EVENT.control:
        return this.#sink.control(decodePath(body), body.subarray(PATH_LENGTH));
      case EVENT.inner:
        return this.#sink.inner(peerId, body.subarray(4));
      case EVENT.streamEnd:
        return this.#sink.streamEnded(view.getInt32(0, LITTLE), word(4));
      case EVENT.broken:
        return this.#sink.broken(`the device is gone (error ${peerId})`);
      case EVENT.send:
        return this.#sink.send(decodePath(body), body.subarray(PATH_LENGTH));
      case EVENT.deliver:
        return this.#sink.deliver(body);
    }
  }

  /** Events that a command brought come before its end is told, where nobody else brings them. */
  #done(failure: EngineFailure | undefined, peerId: number, lacking = ''): PlaneResult {
    if (!this.#isThreaded) this.receive();
    if (failure === undefined) return undefined;
    switch (failure.code) {
      case 'ENOENT':
        return noPeer(peerId);
      case 'ENODATA':
        return { code: 'ENOENT', text: `peer ${peerId}: ${lacking}` };
      case 'EOPNOTSUPP':
        return { code: 'EOPNOTSUPP', text: 'P_DATA_V1 has no epoch format' };
      case 'EEXIST':
        return { code: 'EEXIST', text: `peer id ${peerId} is in use` };
      case 'EADDRINUSE':
        return { code: 'EADDRINUSE', text: 'another peer has this VPN address' };
      case 'ENOSPC':
        return { code: 'ENOSPC', text: `${this.capabilities.maxPeers} peers are all there can be` };
      case 'EINVAL':
        return { code: 'EINVAL', text: 'a peer among many needs a VPN address' };
      default:
        return { code: 'EIO', text: failure.text } satisfies PlaneFailure;
    }
  }
}

const NEVER: RekeyAfter = { packets: 0, bytes: 0 };
const NOTHING = new Uint8Array(0);

function engineKey({ peerId, slot, keyId, cipher, rekeyAfter = NEVER, ...material }: PlaneKey): EngineKey {
  const common = { peerId, slot, keyId, cipher, rekeyAfter };
  if (material.format === 'aead-epoch') {
    const direction = ({ epochKey }: EpochKey) => ({ key: epochKey, tail: NOTHING });
    const { encrypt, decrypt } = material;
    return { ...common, isEpoch: true, encrypt: direction(encrypt), decrypt: direction(decrypt) };
  }
  const direction = ({ key, nonceTail }: DirectionKey) => ({ key, tail: nonceTail });
  const { encrypt, decrypt } = material;
  return { ...common, isEpoch: false, encrypt: direction(encrypt), decrypt: direction(decrypt) };
}

function noPeer(peerId: number): PlaneResult {
  return { code: 'ENOENT', text: `no peer ${peerId}` };
}
