// SPDX-License-Identifier: Apache-2.0
// ubus messages in bytes <-> values, and the cutting of a byte stream into messages. What they mean is in
// server.ts and client.ts.
//
//   | u8 version 0 | u8 type | u16 sequence | u32 peer | container: attribute header, attributes |

import { readU16, readU32 } from '../core/bytes.ts';
import { BLOB_BYTES_MAX, BlobWriter, readAttributes, readString } from './blob.ts';

export const MESSAGE_TYPES = {
  hello: 0,
  status: 1,
  data: 2,
  ping: 3,
  lookup: 4,
  invoke: 5,
  addObject: 6,
  removeObject: 7,
  subscribe: 8,
  unsubscribe: 9,
  notify: 10,
  monitor: 11,
} as const;

/** Status codes of ubus, in its order, with the words its own tools use. */
export const STATUS_TEXTS = [
  'Success',
  'Invalid command',
  'Invalid argument',
  'Method not found',
  'Not found',
  'No response',
  'Permission denied',
  'Request timed out',
  'Operation not supported',
  'Unknown error',
  'Connection failed',
  'Out of memory',
  'Parsing message data failed',
  'System error',
] as const;

export const STATUS = {
  ok: 0,
  invalidCommand: 1,
  invalidArgument: 2,
  methodNotFound: 3,
  notFound: 4,
  noData: 5,
  permissionDenied: 6,
  timeout: 7,
  notSupported: 8,
  unknownError: 9,
  connectionFailed: 10,
  noMemory: 11,
  parseError: 12,
  systemError: 13,
} as const;

/** `Not found`; a code without a name is written as a number. */
export function statusText(code: number): string {
  return STATUS_TEXTS[code] ?? `Status ${code}`;
}

/** Attributes of a message. Nested ones stay bytes: `data` and `signature` are for decodeTable. */
export interface Attributes {
  status?: number;
  objpath?: string;
  objid?: number;
  method?: string;
  objtype?: number;
  signature?: Uint8Array;
  data?: Uint8Array;
  target?: number;
  active?: number;
  noReply?: number;
  subscribers?: Uint8Array;
  user?: string;
  group?: string;
}

type AttributeKind = 'u32' | 'u8' | 'string' | 'nested';

const ATTRIBUTES: readonly (readonly [keyof Attributes, AttributeKind] | undefined)[] = [
  undefined,
  ['status', 'u32'],
  ['objpath', 'string'],
  ['objid', 'u32'],
  ['method', 'string'],
  ['objtype', 'u32'],
  ['signature', 'nested'],
  ['data', 'nested'],
  ['target', 'u32'],
  ['active', 'u8'],
  ['noReply', 'u8'],
  ['subscribers', 'nested'],
  ['user', 'string'],
  ['group', 'string'],
];

const ATTRIBUTE_IDS = new Map(ATTRIBUTES.map((entry, id) => [entry?.[0] as string | undefined, id]));

export interface Message {
  readonly type: number;
  readonly seq: number;
  /** Who it comes from or goes to: a client's id, or an object's. */
  readonly peer: number;
  readonly attributes: Attributes;
}

const FRAME_BYTES = 8;
const CONTAINER_BYTES = 4;

/** Writes a message, attributes in the object's own order; undefined when it is longer than ubusd takes. */
export function encodeMessage(message: Message): Uint8Array | undefined {
  const writer = new BlobWriter(FRAME_BYTES + BLOB_BYTES_MAX);
  writer.u8(0);
  writer.u8(message.type);
  writer.u16(message.seq);
  writer.u32(message.peer);
  const container = writer.open(0, false);
  for (const [name, value] of Object.entries(message.attributes)) {
    const id = ATTRIBUTE_IDS.get(name);
    if (id === undefined || value === undefined) continue;
    const start = writer.open(id, false);
    if (typeof value === 'string') writer.string(value);
    else if (typeof value !== 'number') writer.append(value);
    else if (ATTRIBUTES[id]![1] === 'u8') writer.u8(value);
    else writer.u32(value);
    writer.close(start);
  }
  writer.close(container);
  return writer.finish();
}

/**
 * Reads one whole message. As ubusd does: an attribute of a wrong length or without its NUL counts as absent, one
 * with an unknown id too, of several with one id the last counts, and the version is not looked at. Nested
 * attributes are borrowed from `bytes`. undefined only when it is too short for a message at all.
 */
export function decodeMessage(bytes: Uint8Array): Message | undefined {
  if (bytes.length < FRAME_BYTES + CONTAINER_BYTES) return undefined;
  const attributes: Attributes = {};
  for (const { id, payload } of readAttributes(bytes.subarray(FRAME_BYTES + CONTAINER_BYTES)).attributes) {
    const known = ATTRIBUTES[id];
    if (known === undefined) continue;
    const value = readValue(known[1], payload);
    if (value !== undefined) Object.assign(attributes, { [known[0]]: value });
  }
  return { type: bytes[1]!, seq: readU16(bytes, 2), peer: readU32(bytes, 4), attributes };
}

function readValue(kind: AttributeKind, payload: Uint8Array): number | string | Uint8Array | undefined {
  switch (kind) {
    case 'u32':
      return payload.length === 4 ? readU32(payload, 0) : undefined;
    case 'u8':
      return payload.length === 1 ? payload[0] : undefined;
    case 'string':
      return readString(payload);
    case 'nested':
      return payload;
  }
}

/** Cuts a stream into messages. Take with `next` until undefined before the next `push`: then it stays bounded. */
export interface Assembler {
  /** Copies the chunk. */
  push(chunk: Uint8Array): void;
  /** The next whole message; undefined: not yet, or broken. */
  next(): Message | undefined;
  /** A length that cannot be. Nothing in the stream can be found again. */
  readonly isBroken: boolean;
}

/** `limit`: the longest container accepted, its header included. */
export function createAssembler(limit: number = BLOB_BYTES_MAX): Assembler {
  let buffer = new Uint8Array(0);
  let start = 0;
  let end = 0;
  let isBroken = false;

  function makeRoom(count: number): void {
    if (buffer.length - end >= count) return;
    const used = end - start;
    // Doubling: a message that comes byte by byte is not copied for every byte. Room is made for what came, never
    // for what a header promises.
    const target =
      used + count <= buffer.length ? buffer : new Uint8Array(Math.max(used + count, 2 * buffer.length));
    target.set(buffer.subarray(start, end));
    buffer = target;
    start = 0;
    end = used;
  }

  return {
    push(chunk) {
      if (isBroken) return;
      makeRoom(chunk.length);
      buffer.set(chunk, end);
      end += chunk.length;
    },
    next() {
      if (isBroken || end - start < FRAME_BYTES + CONTAINER_BYTES) return undefined;
      const length = readU32(buffer, start + FRAME_BYTES) & 0xffffff;
      if (length < CONTAINER_BYTES || length > limit) {
        isBroken = true;
        buffer = new Uint8Array(0);
        return undefined;
      }
      if (end - start < FRAME_BYTES + length) return undefined;
      const bytes = buffer.slice(start, start + FRAME_BYTES + length);
      start += bytes.length;
      if (start === end) {
        // An idle connection holds nothing.
        buffer = new Uint8Array(0);
        start = 0;
        end = 0;
      }
      return decodeMessage(bytes);
    },
    get isBroken() {
      return isBroken;
    },
  };
}
