// SPDX-License-Identifier: Apache-2.0
// The ubus protocol served by the process that owns the objects, for machines without ubusd: `ubus -s SOCKET call
// ...` and our own command line work on it as on the real bus. Sans-IO: bytes in, bytes out; listen.ts has the
// sockets. Who may connect is decided by the mode of the socket, so there are no ACLs here; clients cannot publish
// or subscribe, and there are no events. Answers to everything else are those of ubusd and libubus.

import { concat } from '../core/bytes.ts';
import { BLOB_TYPES, type BlobTable, type BlobValue, decodeTable, encodeTable } from './blob.ts';
import {
  type Attributes,
  createAssembler,
  encodeMessage,
  MESSAGE_TYPES,
  type Message,
  STATUS,
} from './message.ts';

export type ArgumentType = 'string' | 'int' | 'bool';

/** Only arguments the method declares, each of its declared type; any may be missing. */
export type Arguments = Readonly<Record<string, string | number | boolean | undefined>>;

/** The answer of a method that refuses: one of STATUS, not `ok`, and no other member. */
export interface Refusal {
  readonly status: number;
}

export interface Method {
  readonly args: Readonly<Record<string, ArgumentType>>;
  /** Synchronous. The reply's data, a refusal, or undefined: done, nothing to tell. */
  call(args: Arguments): object | Refusal | undefined;
}

export interface ServedObject {
  /** `ovpnd.home` */
  readonly path: string;
  readonly methods: Readonly<Record<string, Method>>;
}

export interface UbusConnection {
  /** What to send first. */
  readonly greeting: Uint8Array;
  /** Takes bytes from the client (copied), answers with bytes for it: of a limited number of requests. */
  receive(bytes: Uint8Array): Uint8Array;
  /** More whole requests may be waiting: call `receive` with nothing, once the answers so far are on their way. */
  readonly hasMore: boolean;
  /** The stream makes no sense: close it after sending what `receive` gave. */
  readonly isBroken: boolean;
}

export interface UbusServer {
  connect(): UbusConnection;
}

/** The longest request taken. ubusd takes 1 MiB; no method here needs more than a few hundred bytes. */
export const REQUEST_BYTES_MAX = 64 * 1024;

/** Once a batch of answers is this long, further requests wait until it was sent. */
const ANSWER_BYTES_SOFT_MAX = 64 * 1024;

/** Requests handled in one go, so that one client cannot hold the tunnel's loop. */
const REQUESTS_PER_BATCH = 16;

/** Ids below are ubusd's own (event, acl, monitor). */
const ID_FIRST = 1024;

/** What rpcd adds to a call that came over HTTP. */
const SESSION_ARGUMENT = 'ubus_rpc_session';

const SIGNATURE_TYPES: Readonly<Record<ArgumentType, number>> = {
  string: BLOB_TYPES.string,
  int: BLOB_TYPES.int32,
  bool: BLOB_TYPES.bool,
};

const EMPTY = new Uint8Array(0);

interface Entry {
  readonly id: number;
  readonly path: string;
  readonly methods: ServedObject['methods'];
  readonly signature: Uint8Array;
}

/** The SIGNATURE attribute of an object: for each method its arguments with the numbers of their types. */
export function signatureOf(object: ServedObject): Uint8Array {
  const methods = Object.entries(object.methods).map(([name, method]) => [
    name,
    Object.fromEntries(Object.entries(method.args).map(([arg, type]) => [arg, SIGNATURE_TYPES[type]])),
  ]);
  return encodeTable(Object.fromEntries(methods)) ?? EMPTY;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A bus with just these objects. Ids are counted, not random: nobody else hands out ids on this socket. */
export function createUbusServer(options: { objects: readonly ServedObject[] }): UbusServer {
  const entries = [...options.objects]
    .sort((a, b) => compare(a.path, b.path))
    .map((object, i) => ({
      id: ID_FIRST + i,
      path: object.path,
      methods: object.methods,
      signature: signatureOf(object),
    }));
  let nextClient = ID_FIRST + entries.length;
  return {
    connect() {
      const client = nextClient;
      nextClient = nextClient === 0xffffffff ? ID_FIRST + entries.length : nextClient + 1;
      return createConnection(entries, client);
    },
  };
}

function createConnection(entries: readonly Entry[], client: number): UbusConnection {
  const assembler = createAssembler(REQUEST_BYTES_MAX);
  let hasMore = false;
  return {
    greeting: encodeMessage({ type: MESSAGE_TYPES.hello, seq: 0, peer: client, attributes: {} }) ?? EMPTY,
    receive(bytes) {
      assembler.push(bytes);
      const answers: Uint8Array[] = [];
      let length = 0;
      let handled = 0;
      hasMore = true;
      while (hasMore && handled < REQUESTS_PER_BATCH && length < ANSWER_BYTES_SOFT_MAX) {
        const request = assembler.next();
        if (request === undefined) {
          hasMore = false;
        } else {
          const answer = handle(entries, request);
          answers.push(answer);
          length += answer.length;
          handled++;
        }
      }
      return concat(...answers);
    },
    get hasMore() {
      return hasMore;
    },
    get isBroken() {
      return assembler.isBroken;
    },
  };
}

/** The answer to one request: any number of DATA messages, then STATUS. Both carry the request's seq and peer. */
function handle(entries: readonly Entry[], request: Message): Uint8Array {
  const { attributes } = request;
  switch (request.type) {
    case MESSAGE_TYPES.ping:
      return concat(reply(request, MESSAGE_TYPES.data, attributes), status(request, STATUS.ok));
    case MESSAGE_TYPES.lookup:
      return lookup(entries, request);
    case MESSAGE_TYPES.invoke:
      return invoke(entries, request);
    case MESSAGE_TYPES.status:
    case MESSAGE_TYPES.data:
      // Answers to calls that nobody made.
      return EMPTY;
    case MESSAGE_TYPES.addObject:
      return status(request, STATUS.invalidArgument);
    case MESSAGE_TYPES.removeObject:
      return status(request, foreignObject(entries, attributes.objid, STATUS.permissionDenied));
    case MESSAGE_TYPES.notify:
      if (attributes.method === undefined) return status(request, STATUS.invalidArgument);
      return status(request, foreignObject(entries, attributes.objid, STATUS.permissionDenied));
    case MESSAGE_TYPES.subscribe:
    case MESSAGE_TYPES.unsubscribe:
      if (attributes.target === undefined) return status(request, STATUS.invalidArgument);
      return status(request, foreignObject(entries, attributes.objid, STATUS.invalidArgument));
    default:
      return status(request, STATUS.invalidCommand);
  }
}

/** Why a client cannot do this to object `id`: no client here owns one. */
function foreignObject(entries: readonly Entry[], id: number | undefined, ifThere: number): number {
  if (id === undefined) return STATUS.invalidArgument;
  return entries.some(entry => entry.id === id) ? ifThere : STATUS.notFound;
}

function reply(request: Message, type: number, attributes: Attributes): Uint8Array {
  return encodeMessage({ type, seq: request.seq, peer: request.peer, attributes }) ?? EMPTY;
}

function status(request: Message, code: number): Uint8Array {
  return reply(request, MESSAGE_TYPES.status, { status: code });
}

function lookup(entries: readonly Entry[], request: Message): Uint8Array {
  const pattern = request.attributes.objpath ?? '*';
  if (pattern === '') return status(request, STATUS.invalidArgument);
  const prefix = pattern.endsWith('*') ? pattern.slice(0, -1) : undefined;
  const found = entries.filter(({ path }) =>
    prefix === undefined ? path === pattern : path.startsWith(prefix),
  );
  // No pattern at all asks for whatever there is, and nothing is an answer to that.
  if (found.length === 0 && request.attributes.objpath !== undefined) return status(request, STATUS.notFound);
  const answers = found.map(({ id, path, signature }) =>
    reply(request, MESSAGE_TYPES.data, { objpath: path, objid: id, objtype: id, signature }),
  );
  return concat(...answers, status(request, STATUS.ok));
}

function invoke(entries: readonly Entry[], request: Message): Uint8Array {
  const { objid, method: name, data } = request.attributes;
  if (objid === undefined || name === undefined) return status(request, STATUS.invalidArgument);
  const entry = entries.find(({ id }) => id === objid);
  if (entry === undefined) return status(request, STATUS.notFound);
  // From here on it is the owner of the object that answers: with the object as peer and its id in the status.
  const answered: Message = { ...request, peer: objid };
  const result = answerOf(entry.methods, name, data);
  const answer =
    result.data === undefined ? EMPTY : reply(answered, MESSAGE_TYPES.data, { objid, data: result.data });
  // It fitted a table, but not a message.
  if (result.data !== undefined && answer.length === 0) {
    return ownerStatus(answered, objid, STATUS.unknownError);
  }
  return concat(answer, ownerStatus(answered, objid, result.status));
}

/** Calls a method of an object: the status and, with `ok`, the data that goes back, if any. */
export function answerOf(
  methods: ServedObject['methods'],
  name: string,
  data: Uint8Array | undefined,
): { readonly status: number; readonly data?: Uint8Array } {
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
  if (method === undefined) return { status: STATUS.methodNotFound };
  const args = data === undefined ? undefined : readArguments(method, data);
  if (args === undefined) return { status: STATUS.invalidArgument };
  const result = method.call(args);
  if (result === undefined) return { status: STATUS.ok };
  if (isRefusal(result)) return { status: result.status };
  const encoded = encodeTable(result);
  return encoded === undefined ? { status: STATUS.unknownError } : { status: STATUS.ok, data: encoded };
}

function ownerStatus(request: Message, objid: number, code: number): Uint8Array {
  return reply(request, MESSAGE_TYPES.status, { status: code, objid });
}

/**
 * Whether a method's answer is a refusal: `{ status: 4 }` and nothing else.
 */
function isRefusal(result: object): result is Refusal {
  const code = (result as { status?: unknown }).status;
  return typeof code === 'number' && Object.keys(result).length === 1;
}

/** The declared arguments; undefined for a wrong type or an argument that the method does not have. */
function readArguments(method: Method, data: Uint8Array): Arguments | undefined {
  const table = decodeTable(data);
  if (table === undefined) return undefined;
  const args = Object.create(null) as Record<string, string | number | boolean>;
  for (const [name, value] of Object.entries(table as BlobTable)) {
    if (name === SESSION_ARGUMENT) continue;
    const type = Object.hasOwn(method.args, name) ? method.args[name] : undefined;
    if (type === undefined || !isOfType(value, type)) return undefined;
    args[name] = value as string | number | boolean;
  }
  return args;
}

function isOfType(value: BlobValue, type: ArgumentType): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'int':
      return Number.isSafeInteger(value);
    case 'bool':
      return typeof value === 'boolean';
  }
}
