// SPDX-License-Identifier: Apache-2.0
// What the plane tests share: packets, keys, paths, and a plane whose sink writes everything down.

import { type Ip, type Path, type Prefix, parseIp, parsePrefix } from '../../../src/core/address.ts';
import { CIPHER_KEY_LENGTH, type CipherName, type Crypto } from '../../../src/core/crypto.ts';
import type {
  DataFormat,
  DirectionKey,
  EpochKey,
  KeySlot,
  PlaneKey,
  PlaneNotice,
} from '../../../src/core/plane.ts';
import { createJsPlane, type JsPlaneOptions } from '../../../src/plane/js.ts';
import type { PacketPlane, PlaneMode, PlaneSink } from '../../../src/plane/plane.ts';
import { nodeCrypto } from './nodecrypto.ts';

export function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`no address: ${text}`);
  return parsed;
}

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`no prefix: ${text}`);
  return parsed;
}

export function path(port: number, address = '192.0.2.1', socket = 0): Path {
  return { socket, remote: { ip: ip(address), port } };
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** An IP packet as far as a plane looks: version, source, destination, then `payload`. */
export function packet(source: string, destination: string, payload: readonly number[] = []): Uint8Array {
  const from = ip(source);
  const to = ip(destination);
  const isIp4 = from.length === 4;
  const out = new Uint8Array((isIp4 ? 20 : 40) + payload.length);
  out[0] = isIp4 ? 0x45 : 0x60;
  out.set(from, isIp4 ? 12 : 8);
  out.set(to, isIp4 ? 16 : 24);
  out.set(payload, isIp4 ? 20 : 40);
  return out;
}

/** Key material that `seed` decides. */
export function direction(cipher: CipherName, seed: string): DirectionKey {
  const bytes = nodeCrypto.hash('SHA512', Buffer.from(seed));
  return { key: bytes.slice(0, CIPHER_KEY_LENGTH[cipher]), nonceTail: bytes.slice(32, 40) };
}

/** The same for the epoch format. */
export function epochDirection(seed: string): EpochKey {
  return { epochKey: nodeCrypto.hash('SHA256', Buffer.from(seed)) };
}

export interface KeyChoice {
  readonly slot?: KeySlot;
  readonly keyId?: number;
  readonly cipher?: CipherName;
  readonly seed?: string;
  readonly dataFormat?: DataFormat;
}

/** The server's and the client's view of one key. */
export function keyPair(peerId: number, choice: KeyChoice = {}): { server: PlaneKey; client: PlaneKey } {
  const { slot = 'primary', keyId = 0, cipher = 'AES-256-GCM', dataFormat = 'aead' } = choice;
  const seed = `${choice.seed ?? 'seed'} ${peerId} ${keyId}`;
  const common = { peerId, slot, keyId, cipher };
  if (dataFormat === 'aead-epoch') {
    const up = epochDirection(`${seed} up`);
    const down = epochDirection(`${seed} down`);
    return {
      server: { ...common, format: dataFormat, encrypt: down, decrypt: up },
      client: { ...common, format: dataFormat, encrypt: up, decrypt: down },
    };
  }
  const up = direction(cipher, `${seed} up`);
  const down = direction(cipher, `${seed} down`);
  return {
    server: { ...common, format: dataFormat, encrypt: down, decrypt: up },
    client: { ...common, format: dataFormat, encrypt: up, decrypt: down },
  };
}

/** A plane and everything its sink was given, copied. */
export interface Recorder {
  readonly plane: PacketPlane;
  readonly sent: { path: Path; datagram: Uint8Array }[];
  readonly delivered: Uint8Array[];
  readonly notices: PlaneNotice[];
  readonly inner: { peerId: number; payload: Uint8Array }[];
}

/** Which body the suite is about: test/shim/planes.test.ts runs it a second time, on the native one. */
export const subject: { isJs: boolean; create: (options: JsPlaneOptions) => PacketPlane } = {
  isJs: true,
  create: createJsPlane,
};

export function record(
  mode: PlaneMode,
  options: Partial<Omit<JsPlaneOptions, 'mode' | 'sink'>> & { sink?: Partial<PlaneSink> } = {},
): Recorder {
  const recorder = { sent: [], delivered: [], notices: [], inner: [] } as unknown as Recorder;
  const { sink, ...rest } = options;
  const plane = subject.create({
    crypto: nodeCrypto,
    ...rest,
    mode,
    sink: {
      send: (to, datagram) => {
        recorder.sent.push({ path: to, datagram: datagram.slice() });
        sink?.send?.(to, datagram);
      },
      deliver: bytes => {
        recorder.delivered.push(bytes.slice());
        sink?.deliver?.(bytes);
      },
      notice: notice => {
        recorder.notices.push(notice);
        sink?.notice?.(notice);
      },
      inner: (peerId, payload) => {
        recorder.inner.push({ peerId, payload: payload.slice() });
        sink?.inner?.(peerId, payload);
      },
    },
  });
  return Object.assign(recorder, { plane });
}

/** Everything sent since the last call. */
export function takeSent(recorder: Recorder): Uint8Array[] {
  return recorder.sent.splice(0).map(({ datagram }) => datagram);
}

/** Counters that are not zero, by reason. */
export function drops(recorder: Recorder): Record<string, number> {
  return Object.fromEntries(Object.entries(recorder.plane.drops()).filter(([, count]) => count > 0));
}

export const SERVER_PORT = 1194;

/** A server with one peer (10.8.0.2, fd42:8::2, path port 5000) and its client; both have the key in primary. */
export function pair(
  choice: KeyChoice & {
    format?: 'v1' | 'v2';
    crypto?: Crypto;
    peerId?: number;
    limits?: JsPlaneOptions['limits'];
    /** In place of `limits`. */
    serverLimits?: JsPlaneOptions['limits'];
    mssfix?: number;
  } = {},
): { server: Recorder; client: Recorder; peerId: number } {
  const peerId = choice.peerId ?? 1;
  const { limits, serverLimits = limits, mssfix = 0 } = choice;
  const options = { crypto: choice.crypto ?? nodeCrypto, mssfix, ...(limits && { limits }) };
  const server = record('mp', { ...options, ...(serverLimits && { limits: serverLimits }) });
  const client = record('p2p', options);
  const format = choice.format ?? 'v2';
  const keys = keyPair(peerId, choice);
  ok(
    server.plane.addPeer(
      { peerId, format, path: path(5000), vpnIp4: ip('10.8.0.2'), vpnIp6: ip('fd42:8::2') },
      0,
    ),
  );
  ok(client.plane.addPeer({ peerId, format, path: path(SERVER_PORT, '203.0.113.1') }, 0));
  ok(server.plane.addKey(keys.server, 0));
  ok(client.plane.addKey(keys.client, 0));
  return { server, client, peerId };
}

/** Throws when a command was refused. */
export function ok(result: { code: string; text: string } | undefined): void {
  if (result !== undefined) throw new Error(`${result.code}: ${result.text}`);
}

/** Packets from the client's TUN to datagrams. */
export function fromClient(client: Recorder, count: number, now = 0): Uint8Array[] {
  takeSent(client);
  for (let i = 0; i < count; i++) {
    client.plane.fromTun(packet('10.8.0.2', '10.8.0.1', [i >> 8, i & 0xff]), now);
  }
  return takeSent(client);
}
