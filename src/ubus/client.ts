// SPDX-License-Identifier: Apache-2.0
// The asking side: one lookup, or one call of one method, over one connection. Sans-IO: bytes in, bytes out;
// call.ts drives it over a stream. Works against ubusd as well as against server.ts.

import { concat } from '../core/bytes.ts';
import { type BlobTable, decodeTable, encodeTable } from './blob.ts';
import {
  type Attributes,
  createAssembler,
  encodeMessage,
  MESSAGE_TYPES,
  type Message,
  STATUS,
  statusText,
} from './message.ts';

/** Why there is no answer. */
export interface UbusError {
  readonly failed: true;
  /** One of STATUS, as the other side gave it or as it would have said it. */
  readonly status: number;
  /** One line: `ovpnd.home: Not found`. */
  readonly text: string;
}

/** A question on its way. Feed what arrives until `outcome` is there, then close the connection. */
export interface UbusRequest<T> {
  /** Takes bytes (copied), answers with bytes to send. */
  receive(bytes: Uint8Array): Uint8Array;
  /** The connection ended, or the time is over (`timeout`): settles what is still open. */
  abort(reason: 'closed' | 'timeout'): void;
  readonly outcome: T | UbusError | undefined;
}

export interface UbusCall {
  /** The object's exact path. */
  readonly path: string;
  readonly method: string;
  readonly args?: object;
}

export function isUbusError(value: unknown): value is UbusError {
  return typeof value === 'object' && value !== null && (value as { failed?: unknown }).failed === true;
}

/** Longest list of objects kept; a bus has a few dozen. */
const PATHS_MAX = 4096;

const LOOKUP_SEQ = 1;
const INVOKE_SEQ = 2;
const NOTHING = new Uint8Array(0);

/** What differs between questions: what follows HELLO, and what each message for us means. */
interface Script<T> {
  readonly subject: string;
  start(): Uint8Array | undefined;
  /** Bytes to send, the outcome, a status that ends it, or undefined: go on. */
  take(message: Message): { send?: Uint8Array; outcome?: T; status?: number } | undefined;
}

function createRequest<T extends object>(script: Script<T>): UbusRequest<T> {
  const assembler = createAssembler();
  let greeted = false;
  let outcome: T | UbusError | undefined;

  function fail(status: number): void {
    outcome ??= { failed: true, status, text: `${script.subject}: ${statusText(status)}` };
  }

  function take(message: Message): Uint8Array {
    if (!greeted) {
      // Before HELLO nobody has anything to tell us.
      if (message.type !== MESSAGE_TYPES.hello) return NOTHING;
      greeted = true;
      const first = script.start();
      if (first === undefined) fail(STATUS.invalidArgument);
      return first ?? NOTHING;
    }
    const step = script.take(message);
    if (step?.outcome !== undefined) outcome = step.outcome;
    else if (step?.status !== undefined) fail(step.status);
    return step?.send ?? NOTHING;
  }

  return {
    receive(bytes) {
      if (outcome !== undefined) return NOTHING;
      assembler.push(bytes);
      const sends: Uint8Array[] = [];
      while (outcome === undefined) {
        const message = assembler.next();
        if (message === undefined) break;
        sends.push(take(message));
      }
      if (assembler.isBroken) fail(STATUS.parseError);
      return concat(...sends);
    },
    abort(reason) {
      fail(reason === 'timeout' ? STATUS.timeout : STATUS.connectionFailed);
    },
    get outcome() {
      return outcome;
    },
  };
}

function lookup(attributes: Attributes): Uint8Array | undefined {
  return encodeMessage({ type: MESSAGE_TYPES.lookup, seq: LOOKUP_SEQ, peer: 0, attributes });
}

/** A STATUS without its number says nothing good. */
function codeOf(message: Message): number {
  return message.attributes.status ?? STATUS.unknownError;
}

/** Asks which objects there are; `*` at the end of the pattern stands for anything. None is `Not found`. */
export function createLookup(pattern: string): UbusRequest<readonly string[]> {
  const paths: string[] = [];
  return createRequest<readonly string[]>({
    subject: pattern,
    start: () => lookup({ objpath: pattern }),
    take(message) {
      const { type, seq, attributes } = message;
      if (seq !== LOOKUP_SEQ) return undefined;
      if (type === MESSAGE_TYPES.data && attributes.objpath !== undefined && paths.length < PATHS_MAX) {
        paths.push(attributes.objpath);
      }
      if (type !== MESSAGE_TYPES.status) return undefined;
      return codeOf(message) === STATUS.ok ? { outcome: paths } : { status: codeOf(message) };
    },
  });
}

/**
 * Looks the object up and calls the method. The outcome is the data of its reply, an empty table when it sent
 * none; of several replies the last.
 */
export function createCall(call: UbusCall): UbusRequest<BlobTable> {
  let objid: number | undefined;
  let data: BlobTable | undefined = Object.create(null) as BlobTable;

  function invoke(): { send?: Uint8Array; status?: number } {
    if (objid === undefined) return { status: STATUS.notFound };
    const encoded = encodeTable(call.args ?? {});
    if (encoded === undefined) return { status: STATUS.invalidArgument };
    const attributes: Attributes = { objid, method: call.method, data: encoded };
    const send = encodeMessage({ type: MESSAGE_TYPES.invoke, seq: INVOKE_SEQ, peer: objid, attributes });
    return send === undefined ? { status: STATUS.invalidArgument } : { send };
  }

  return createRequest<BlobTable>({
    subject: `${call.path} ${call.method}`,
    start: () => lookup({ objpath: call.path }),
    take(message) {
      const { type, seq, attributes } = message;
      if (seq === LOOKUP_SEQ && objid === undefined && type === MESSAGE_TYPES.data) {
        if (attributes.objpath === call.path) objid = attributes.objid;
      } else if (seq === LOOKUP_SEQ && type === MESSAGE_TYPES.status) {
        return codeOf(message) === STATUS.ok ? invoke() : { status: codeOf(message) };
      } else if (seq === INVOKE_SEQ && type === MESSAGE_TYPES.data) {
        data = decodeTable(attributes.data ?? NOTHING);
      } else if (seq === INVOKE_SEQ && type === MESSAGE_TYPES.status) {
        if (codeOf(message) !== STATUS.ok) return { status: codeOf(message) };
        return data === undefined ? { status: STATUS.parseError } : { outcome: data };
      }
      return undefined;
    },
  });
}
