// SPDX-License-Identifier: Apache-2.0
// What was applied, as a file beside the process: after a crash the next process reads it and takes back what the
// kernel did not take back by itself (host routes on other devices; everything, on a device that outlived us).
// The text is JSON; whatever is not exactly of this shape is no state.

import { formatIp, type Ip, parseIp, parsePrefix } from '../core/address.ts';
import { decodeUtf8, encodeUtf8 } from '../core/bytes.ts';
import type { Files } from '../host/host.ts';
import { type Hop, RTNH_F_ONLINK } from '../netlink/route.ts';
import type { InterfaceAddress } from '../netlink/rtnetlink.ts';
import { addressText } from './difference.ts';
import { isProblem } from './requests.ts';

const VERSION = 1;
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** A host route on a device that is not the tunnel's. */
export interface OutsideRoute {
  readonly ip: Ip;
  readonly hop: Hop;
  readonly metric: number;
}

/** The device as it was before anything was applied. */
export interface DeviceBefore {
  readonly isUp: boolean;
  readonly mtu: number;
  /** Absent where the device had no IPv6. */
  readonly addrGenMode?: number;
}

export interface AppliedState {
  /** Name and index together: a device of that name made later has another index. */
  readonly device: string;
  readonly index: number;
  readonly before: DeviceBefore;
  readonly addresses: readonly InterfaceAddress[];
  readonly outside: readonly OutsideRoute[];
}

/** One tunnel's state file; failures are one line. */
export class StateFile {
  readonly #files: Files;
  readonly #directory: string;
  readonly #path: string;
  #written: string | undefined;

  constructor(files: Files, directory: string, tunnel: string) {
    this.#files = files;
    this.#directory = directory;
    this.#path = `${directory}/${tunnel}.network.json`;
  }

  /** Writes only what differs from the last write. */
  save(state: AppliedState): string | undefined {
    const text = formatState(state);
    if (text === this.#written) return undefined;
    const failure =
      this.#files.makeDirectory(this.#directory, DIRECTORY_MODE) ??
      this.#files.write(this.#path, encodeUtf8(text), FILE_MODE);
    if (failure) return `state file ${this.#path}: ${failure.text}`;
    this.#written = text;
    return undefined;
  }

  /** undefined: no file. A string says why the file is of no use. */
  load(): AppliedState | string | undefined {
    const bytes = this.#files.read(this.#path);
    if (isProblem(bytes)) {
      return bytes.code === 'ENOENT' ? undefined : `state file ${this.#path}: ${bytes.text}`;
    }
    return parseState(decodeUtf8(bytes)) ?? `state file ${this.#path}: not readable, ignored`;
  }

  remove(): string | undefined {
    this.#written = undefined;
    const failure = this.#files.remove(this.#path);
    if (failure === undefined || failure.code === 'ENOENT') return undefined;
    return `state file ${this.#path}: ${failure.text}`;
  }
}

export function formatState(state: AppliedState): string {
  const { device, index, before } = state;
  const outside = state.outside.map(({ ip, hop, metric }) => ({
    to: formatIp(ip),
    ...(hop.gateway && { via: formatIp(hop.gateway) }),
    index: hop.index,
    metric,
    ...((hop.flags & RTNH_F_ONLINK) !== 0 && { onlink: true }),
  }));
  const value = {
    version: VERSION,
    device,
    index,
    before,
    addresses: state.addresses.map(addressText),
    outside,
  };
  return `${JSON.stringify(value)}\n`;
}

/** undefined when the text is anything but a state. */
export function parseState(text: string): AppliedState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { version, device, index, before, addresses, outside } = fieldsOf(value);
  if (version !== VERSION || typeof device !== 'string' || !isUint(index)) return undefined;
  if (!Array.isArray(addresses) || !Array.isArray(outside)) return undefined;
  const readBefore = parseBefore(before);
  const readAddresses = addresses.map(item => parseAddress(item, index));
  const readOutside = outside.map(parseOutside);
  if (readBefore === undefined || !isWhole(readAddresses) || !isWhole(readOutside)) return undefined;
  return { device, index, before: readBefore, addresses: readAddresses, outside: readOutside };
}

function isWhole<T>(items: readonly (T | undefined)[]): items is readonly T[] {
  return !items.includes(undefined);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isUint(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

function parseBefore(value: unknown): DeviceBefore | undefined {
  const { isUp, mtu, addrGenMode } = fieldsOf(value);
  if (typeof isUp !== 'boolean' || !isUint(mtu)) return undefined;
  if (addrGenMode === undefined) return { isUp, mtu };
  return isUint(addrGenMode) && addrGenMode <= 255 ? { isUp, mtu, addrGenMode } : undefined;
}

function parseAddress(value: unknown, index: number): InterfaceAddress | undefined {
  if (typeof value !== 'string') return undefined;
  const [own, peerText, ...rest] = value.split(' peer ');
  const prefix = parsePrefix(own!);
  if (prefix === undefined || rest.length > 0) return undefined;
  const address = { index, local: prefix.ip, bits: prefix.bits };
  if (peerText === undefined) return address;
  const peer = parseIp(peerText);
  return peer?.length === prefix.ip.length ? { ...address, peer } : undefined;
}

function parseOutside(value: unknown): OutsideRoute | undefined {
  const { to, via, index, metric, onlink } = fieldsOf(value);
  const ip = typeof to === 'string' ? parseIp(to) : undefined;
  const gateway = typeof via === 'string' ? parseIp(via) : undefined;
  if (ip === undefined || !isUint(index) || !isUint(metric)) return undefined;
  if (via !== undefined && gateway === undefined) return undefined;
  const flags = onlink === true ? RTNH_F_ONLINK : 0;
  return { ip, metric, hop: { index, flags, ...(gateway && { gateway }) } };
}
