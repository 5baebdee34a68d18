// SPDX-License-Identifier: Apache-2.0
// Packets over one TCP connection: each is a record, two bytes of length in front. Reading and writing only; whose
// connection it is and when it ends is in streams.ts.
//
// As long as nobody is authenticated on it, a connection is read exactly: two bytes, then as many as they say. Then a
// plane that takes the connection over finds it between two records, and a stranger gets no more than its turn.
// Afterwards it is read widely: many records at once, or, where the kernel has it, one record by each call.

import type { DropReason } from '../core/drop.ts';
import { CONTROL_PACKET_RECEIVE_MAX } from '../core/limits.ts';
import { describe, isFailure, type TcpConnection } from '../host/host.ts';

/** Records read in one turn of an exact reader. */
const BATCH = 64;
const LENGTH_BYTES = 2;
/** What the kernel has for us in one call is at most this. */
const WIDE_READ = 65_538;
/** Bytes that wait for a slow peer before its data is dropped, and before it is given up. */
export const DATA_QUEUE_MAX = 256 * 1024;
export const CONTROL_QUEUE_MAX = 320 * 1024;

// One for all connections: what is read is passed on before another one is read.
const wideRoom = new Uint8Array(2 * WIDE_READ);
const frame = new Uint8Array(WIDE_READ);

/** Why a connection must end. */
export interface StreamEnd {
  readonly reason: string;
  readonly drop?: DropReason;
}

const CLOSED: StreamEnd = { reason: 'connection closed' };
const SLOW: StreamEnd = { reason: 'it does not read what it is sent' };

export class RecordStream {
  readonly connection: TcpConnection;
  /** Data records not sent because the peer was too slow. */
  dropped = 0;
  #held = new Uint8Array(LENGTH_BYTES + CONTROL_PACKET_RECEIVE_MAX);
  #heldLength = 0;
  #recordMax = CONTROL_PACKET_RECEIVE_MAX;
  #isWide = false;
  #isClosed = false;
  /** Somebody else reads and writes the connection. */
  #isReleased = false;
  readonly #queue: Uint8Array[] = [];
  #queued = 0;

  constructor(connection: TcpConnection) {
    this.connection = connection;
  }

  /** Neither a part of a record read nor a part of one sent. */
  get isBetweenRecords(): boolean {
    return this.#heldLength === 0 && this.#queued === 0;
  }

  get hasQueue(): boolean {
    return this.#queued > 0;
  }

  /** From now on there is somebody we know at the other end; records may be as long as its packets are. */
  widen(recordMax: number): void {
    this.#isWide = true;
    this.#recordMax = Math.max(recordMax, CONTROL_PACKET_RECEIVE_MAX);
    const held = new Uint8Array(LENGTH_BYTES + this.#recordMax);
    held.set(this.#held.subarray(0, this.#heldLength));
    this.#held = held;
  }

  /** Somebody else reads the connection from now on, also while `take` is still under way. */
  release(): void {
    this.#isReleased = true;
  }

  /** Passes on what is there; a record is borrowed until `take` returns. */
  read(take: (record: Uint8Array) => void): StreamEnd | undefined {
    if (this.#isReleased) return undefined;
    return this.#isWide ? this.#readWidely(take) : this.#readExactly(take);
  }

  #readExactly(take: (record: Uint8Array) => void): StreamEnd | undefined {
    const held = this.#held;
    for (let left = BATCH; left > 0 && !this.#isClosed && !this.#isWide && !this.#isReleased; ) {
      const have = this.#heldLength;
      const length = (held[0]! << 8) | held[1]!;
      const wanted = have < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + length;
      const taken = this.connection.read(held.subarray(have, wanted));
      if (taken === undefined) return undefined;
      if (isFailure(taken)) return { reason: describe(taken) };
      if (taken === 0) return CLOSED;
      this.#heldLength = have + taken;
      if (this.#heldLength < wanted) continue;
      if (wanted === LENGTH_BYTES) {
        const wrong = this.#check((held[0]! << 8) | held[1]!);
        if (wrong !== undefined) return wrong;
        continue;
      }
      this.#heldLength = 0;
      left--;
      take(held.subarray(LENGTH_BYTES, wanted));
    }
    return undefined;
  }

  #readWidely(take: (record: Uint8Array) => void): StreamEnd | undefined {
    const have = this.#heldLength;
    wideRoom.set(this.#held.subarray(0, have));
    const taken = this.connection.read(wideRoom.subarray(have, have + WIDE_READ));
    if (taken === undefined) return undefined;
    if (isFailure(taken)) return { reason: describe(taken) };
    if (taken === 0) return CLOSED;
    const end = have + taken;
    let at = 0;
    while (end - at >= LENGTH_BYTES && !this.#isClosed) {
      const length = (wideRoom[at]! << 8) | wideRoom[at + 1]!;
      const wrong = this.#check(length);
      if (wrong !== undefined) return wrong;
      if (end - at < LENGTH_BYTES + length) break;
      at += LENGTH_BYTES + length;
      take(wideRoom.subarray(at - length, at));
    }
    if (this.#isClosed) return undefined;
    this.#held.set(wideRoom.subarray(at, end));
    this.#heldLength = end - at;
    return undefined;
  }

  #check(length: number): StreamEnd | undefined {
    if (length > 0 && length <= this.#recordMax) return undefined;
    return { reason: `a record of ${length} bytes`, drop: 'record-length' };
  }

  /** Sends a packet whole, now or when there is room; data that finds too many before it is dropped. */
  send(packet: Uint8Array, isData: boolean): StreamEnd | undefined {
    const length = LENGTH_BYTES + packet.length;
    if (this.#isClosed || length > frame.length - 1) return undefined;
    if (isData && this.#queued + length > DATA_QUEUE_MAX) {
      this.dropped++;
      return undefined;
    }
    if (this.#queued + length > CONTROL_QUEUE_MAX) return SLOW;
    frame[0] = packet.length >> 8;
    frame[1] = packet.length & 0xff;
    frame.set(packet, LENGTH_BYTES);
    let taken = 0;
    if (this.#queued === 0) {
      const written = this.connection.write(frame.subarray(0, length));
      if (isFailure(written)) return { reason: describe(written) };
      taken = written;
    }
    if (taken < length) {
      this.#queue.push(frame.slice(taken, length));
      this.#queued += length - taken;
    }
    return undefined;
  }

  /** Sends what waits, as far as there is room. */
  flush(): StreamEnd | undefined {
    for (let first = this.#queue[0]; first !== undefined && !this.#isClosed; first = this.#queue[0]) {
      const written = this.connection.write(first);
      if (isFailure(written)) return { reason: describe(written) };
      this.#queued -= written;
      if (written < first.length) {
        this.#queue[0] = first.subarray(written);
        return undefined;
      }
      this.#queue.shift();
    }
    return undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.connection.close();
  }
}
