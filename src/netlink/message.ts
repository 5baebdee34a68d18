// SPDX-License-Identifier: Apache-2.0
// Netlink messages and attributes as bytes (linux/netlink.h, net/netlink.h). No sockets and no families here.
//
//   message    0 length u32 (with header, without padding) | 4 type u16 | 6 flags u16 | 8 sequence u32 |
//              12 port id u32 | 16 body: the family's fixed header, then attributes; next message at a multiple of 4
//   attribute  0 length u16 (with header, without padding) | 2 type u16 (two flag bits on top) | 4 value;
//              next attribute at a multiple of 4
//
// Numbers are in the machine's byte order, so every reader and writer takes `little`, with the machine's own as
// default: the tests run both orders on one machine. Readers are total: they stop at the first malformed byte.

/** Whether this machine stores the low byte first. */
export const HOST_LITTLE: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export const HEADER_LENGTH = 16;

/** Message types below 16 belong to netlink itself. */
export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
/** The table changed while it was dumped: the dump may lack entries or show some twice. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_DUMP = 0x300;
/** In an acknowledgement: the request's body is not echoed. */
export const NLM_F_CAPPED = 0x100;
/** In an acknowledgement: attributes (NLMSGERR_ATTR_*) follow. */
export const NLM_F_ACK_TLVS = 0x200;

const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;
const NLMSGERR_ATTR_MISS_TYPE = 5;
const NLMSGERR_ATTR_MISS_NEST = 6;

export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLA_HEADER_LENGTH = 4;
const NLA_VALUE_LENGTH_MAX = 0xffff - NLA_HEADER_LENGTH;

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The next multiple of 4. */
export function align4(length: number): number {
  return (length + 3) & ~3;
}

/**
 * An unsigned integer of 1, 2, 4 or 8 bytes, by the length given; undefined for another length. Reading by length
 * instead of by a wished width is what keeps big-endian machines right when a kernel widens an attribute.
 * Above 2^53 the low bits are lost (counters only).
 */
export function readUint(bytes: Uint8Array, little: boolean = HOST_LITTLE): number | undefined {
  const view = viewOf(bytes);
  switch (bytes.length) {
    case 1:
      return view.getUint8(0);
    case 2:
      return view.getUint16(0, little);
    case 4:
      return view.getUint32(0, little);
    case 8:
      return view.getUint32(little ? 4 : 0, little) * 0x1_0000_0000 + view.getUint32(little ? 0 : 4, little);
    default:
      return undefined;
  }
}

/** Text up to the first NUL; what is not printable ASCII becomes `?`, so that it can go into a log. */
export function readText(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    if (byte === 0) break;
    text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?';
  }
  return text;
}

/** The attributes of one level. Of several with one type the last counts, as for the kernel's own parser. */
export class Attributes {
  readonly little: boolean;
  readonly #values = new Map<number, Uint8Array>();

  /** `bytes` is borrowed: values are views into it. Reading stops at the first malformed attribute. */
  constructor(bytes: Uint8Array, little: boolean = HOST_LITTLE) {
    this.little = little;
    const view = viewOf(bytes);
    let at = 0;
    while (at + NLA_HEADER_LENGTH <= bytes.length) {
      const length = view.getUint16(at, little);
      if (length < NLA_HEADER_LENGTH || at + length > bytes.length) return;
      const type = view.getUint16(at + 2, little) & NLA_TYPE_MASK;
      this.#values.set(type, bytes.subarray(at + NLA_HEADER_LENGTH, at + length));
      at += align4(length);
    }
  }

  /** The value as it is, borrowed. */
  bytes(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  /** The value as an unsigned integer of whatever width it came in. */
  uint(type: number): number | undefined {
    const value = this.#values.get(type);
    return value && readUint(value, this.little);
  }

  text(type: number): string | undefined {
    const value = this.#values.get(type);
    return value && readText(value);
  }

  /** The attributes inside one; whether the sender set NLA_F_NESTED does not matter. */
  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value && new Attributes(value, this.little);
  }

  entries(): IterableIterator<[number, Uint8Array]> {
    return this.#values.entries();
  }
}

/** One received message. `body` is everything after the header, borrowed from the datagram. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  readonly body: Uint8Array;
  readonly little: boolean;
}

/** All whole messages of one datagram, in order; stops at the first malformed one. */
export function readMessages(bytes: Uint8Array, little: boolean = HOST_LITTLE): Message[] {
  const view = viewOf(bytes);
  const messages: Message[] = [];
  let at = 0;
  while (at + HEADER_LENGTH <= bytes.length) {
    const length = view.getUint32(at, little);
    if (length < HEADER_LENGTH || at + length > bytes.length) break;
    messages.push({
      type: view.getUint16(at + 4, little),
      flags: view.getUint16(at + 6, little),
      sequence: view.getUint32(at + 8, little),
      portId: view.getUint32(at + 12, little),
      body: bytes.subarray(at + HEADER_LENGTH, at + length),
      little,
    });
    at += align4(length);
  }
  return messages;
}

/** The attributes of a message after its fixed header of `headerLength` bytes. */
export function attributesOf(message: Message, headerLength: number): Attributes {
  return new Attributes(message.body.subarray(align4(headerLength)), message.little);
}

/** How a request (NLMSG_ERROR) or a dump (NLMSG_DONE) ended. */
export interface Ack {
  /** Positive errno; 0 = done. */
  readonly errno: number;
  /** The kernel's own words (extended ack); absent when it gave none. */
  readonly text?: string;
  /** Byte offset in the request of the attribute that is at fault. */
  readonly offset?: number;
  /** A required attribute that is missing, and the offset of the nest it is missing in. */
  readonly missingType?: number;
  readonly missingNest?: number;
}

/**
 * Reads an acknowledgement or the end of a dump; undefined for any other message and for one too short.
 *   NLMSG_ERROR  0 errno i32, negative | 4 the request: header, and body unless NLM_F_CAPPED | attributes
 *   NLMSG_DONE   0 errno i32, negative | 4 attributes
 */
export function readAck(message: Message): Ack | undefined {
  const { body, type, flags, little } = message;
  if ((type !== NLMSG_ERROR && type !== NLMSG_DONE) || body.length < 4) return undefined;
  const view = viewOf(body);
  const errno = Math.abs(view.getInt32(0, little));
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno };
  let start = 4;
  if (type === NLMSG_ERROR) {
    if (body.length < 4 + HEADER_LENGTH) return { errno };
    const echoed = (flags & NLM_F_CAPPED) !== 0 ? HEADER_LENGTH : view.getUint32(4, little);
    if (echoed < HEADER_LENGTH || echoed > body.length - 4) return { errno };
    start += align4(echoed);
  }
  const attributes = new Attributes(body.subarray(start), little);
  const text = attributes.text(NLMSGERR_ATTR_MSG);
  const offset = attributes.uint(NLMSGERR_ATTR_OFFS);
  const missingType = attributes.uint(NLMSGERR_ATTR_MISS_TYPE);
  const missingNest = attributes.uint(NLMSGERR_ATTR_MISS_NEST);
  return {
    errno,
    ...(text !== undefined && { text }),
    ...(offset !== undefined && { offset }),
    ...(missingType !== undefined && { missingType }),
    ...(missingNest !== undefined && { missingNest }),
  };
}

/** Builds one message; the sequence number is stamped in later, when it is sent. */
export class MessageWriter {
  readonly #little: boolean;
  #bytes = new Uint8Array(128);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  constructor(type: number, flags: number, little: boolean = HOST_LITTLE) {
    this.#little = little;
    this.u32(0).u16(type).u16(flags).u32(0).u32(0);
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, this.#little);
    return this;
  }

  /** Negative numbers are written as two's complement. */
  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, this.#little);
    return this;
  }

  /** Copied. */
  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    return this.build(type, () => this.raw(value));
  }

  u8Attribute(type: number, value: number): this {
    return this.build(type, () => this.u8(value));
  }

  u16Attribute(type: number, value: number): this {
    return this.build(type, () => this.u16(value));
  }

  u32Attribute(type: number, value: number): this {
    return this.build(type, () => this.u32(value));
  }

  /** ASCII text with its terminating NUL. */
  textAttribute(type: number, text: string): this {
    return this.build(type, () => {
      for (let i = 0; i < text.length; i++) this.u8(text.charCodeAt(i));
      this.u8(0);
    });
  }

  /** Attributes inside an attribute, marked NLA_F_NESTED: generic netlink demands it, rtnetlink allows it. */
  nest(type: number, inside: (writer: this) => void): this {
    return this.build(type | NLA_F_NESTED, () => inside(this));
  }

  /** The whole message, a copy. */
  finish(): Uint8Array {
    this.#view.setUint32(0, this.#length, this.#little);
    return this.#bytes.slice(0, this.#length);
  }

  /** An attribute whose value is whatever `writeValue` writes with this writer. */
  build(type: number, writeValue: () => void): this {
    // The gap belongs to no attribute: whoever wrote fixed bytes before may have left the end unaligned.
    this.#pad();
    const start = this.#length;
    this.u16(0).u16(type);
    writeValue();
    const length = this.#length - start;
    if (length - NLA_HEADER_LENGTH > NLA_VALUE_LENGTH_MAX) throw new RangeError('netlink attribute too long');
    this.#view.setUint16(start, length, this.#little);
    this.#pad();
    return this;
  }

  #pad(): void {
    this.#grow(align4(this.#length) - this.#length);
  }

  /** Makes room for `count` zero bytes at the end; returns where they begin. */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Writes the sequence number into a finished message, in place. */
export function stampSequence(message: Uint8Array, sequence: number, little: boolean = HOST_LITTLE): void {
  viewOf(message).setUint32(8, sequence, little);
}
