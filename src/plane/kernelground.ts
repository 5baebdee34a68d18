// SPDX-License-Identifier: Apache-2.0
// What the kernel plane stands on: the `ovpn` family of this kernel, a device of that kind, and two netlink sockets.
// Opening it is also the probe that says whether the kernel can carry this tunnel, in the order that costs least:
//
//   family (asking for it loads the module; making a device would not) -> permission (a container may make devices
//   but not use the family) -> what the family takes -> the device -> ciphers, tried out with a peer and a key
//   (nothing else tells that a crypto module is missing) -> notifications.

import type { CipherName } from '../core/crypto.ts';
import { CIPHER_KEY_LENGTH } from '../core/crypto.ts';
import {
  decodeFamily,
  encodeGetFamily,
  encodeGetPolicy,
  NETLINK_GENERIC,
  PolicyTable,
} from '../netlink/generic.ts';
import {
  decodeOvpn,
  encodeKeyNew,
  encodeNewOvpnLink,
  encodePeerDel,
  encodePeerDump,
  encodePeerGet,
  encodePeerNew,
  OVPN_CIPHER,
  OVPN_COMMAND,
  OVPN_FAMILY,
  OVPN_GROUP_PEERS,
  OVPN_LINK_KIND,
  OVPN_PEER,
  OVPN_TOP,
  type OvpnPeerConfig,
  type OvpnTarget,
} from '../netlink/ovpn.ts';
import {
  decodeLink,
  encodeDeleteLink,
  encodeDeleteLinkByName,
  encodeGetLink,
  type Link,
  NETLINK_ROUTE,
} from '../netlink/rtnetlink.ts';
import {
  ENODEV,
  ENOENT,
  EPERM,
  isProblem,
  isSocketFailure,
  isUnsupported,
  type KernelProblem,
  KernelRequests,
  type KernelSocket,
  type OpenKernelSocket,
} from './kernelrequests.ts';
import type { PlaneMode, PlaneUnavailable } from './plane.ts';

/** Of the socket for notifications: thousands of peers may expire at once. */
export const NOTICE_BUFFER_BYTES = 1 << 20;

/** No device has it. */
const IFINDEX_NONE = 0x7fffffff;
/** The only peer there is while ciphers are tried out. */
const PROBE_PEER_ID = 1;
/** TEST-NET-1: nobody's address. */
const PROBE_VPN_IP = new Uint8Array([192, 0, 2, 1]);
/** Loopback, discard; nothing is sent: the device is down. */
const PROBE_REMOTE = { ip: new Uint8Array([127, 0, 0, 1]), port: 9 };

const NO_PERMISSION =
  'no permission: the module wants CAP_NET_ADMIN of the machine itself, not of a container';

/** Which module and package a person looks for. */
const ALGORITHMS: Readonly<Record<number, string>> = {
  1: 'AES-GCM (modules gcm and ctr, OpenWrt package kmod-crypto-gcm)',
  2: 'ChaCha20-Poly1305 (modules chacha20poly1305 and chacha, OpenWrt package kmod-crypto-chacha20poly1305)',
};

export interface GroundOptions {
  /** Name of the device to make. */
  readonly device: string;
  readonly mode: PlaneMode;
  /** All must work. */
  readonly ciphers: readonly CipherName[];
  readonly openNetlink: OpenKernelSocket;
  /** A bound UDP socket (IPv4) to try a peer with; a string says why there is none. */
  readonly openProbeSocket: () => { readonly fd: number; close(): void } | string;
}

export interface KernelGround {
  readonly device: string;
  readonly mode: PlaneMode;
  readonly target: OvpnTarget;
  readonly generic: KernelRequests;
  readonly route: KernelRequests;
  /** A member of the group `peers`. */
  readonly notices: KernelSocket;
  /** Linux 7.1 and later: other ids for sent packets, and notifications of floats. */
  readonly hasTxId: boolean;
  /** Deletes the device, and with it its peers, keys, addresses and routes; undefined = done, else why not. */
  close(): string | undefined;
}

/** Makes the device or says why the kernel cannot carry this tunnel; then nothing is left behind. */
export function openKernelGround(options: GroundOptions): KernelGround | PlaneUnavailable {
  const opener = new Opener(options);
  const ground = opener.open();
  if (typeof ground !== 'string') return ground;
  opener.abandon();
  return { name: 'kernel', reason: ground };
}

/**
 * For tunnels on another plane: deletes the device that a process left behind which had this name for the kernel
 * plane and died. Anything else of this name is left alone.
 */
export function removeKernelLeftover(options: Pick<GroundOptions, 'device' | 'openNetlink'>): void {
  const { device, openNetlink } = options;
  const generic = new KernelRequests(openNetlink, NETLINK_GENERIC);
  const route = new KernelRequests(openNetlink, NETLINK_ROUTE);
  const link = findLink(route, device);
  if (typeof link === 'object' && link.kind === OVPN_LINK_KIND) {
    const family = generic.get(encodeGetFamily(OVPN_FAMILY), decodeFamily);
    if (!isProblem(family)) removeLeftover(device, generic, route, family.id);
  }
  generic.close();
  route.close();
}

/**
 * Deletes the device of a process that died: of the kind `ovpn` and without peers, since peers go with the process
 * that owns their socket. undefined: there is no such device any more; else why the name is not free.
 */
function removeLeftover(
  device: string,
  generic: KernelRequests,
  route: KernelRequests,
  family: number,
): string | undefined {
  const link = findLink(route, device);
  if (link === undefined) return undefined;
  if (typeof link === 'string') return link;
  if (link.kind !== OVPN_LINK_KIND) {
    return `device ${device} exists and is ${link.kind === undefined ? 'hardware' : `of kind ${link.kind}`}`;
  }
  const target = { family, ifindex: link.index };
  const peers = generic.dump(encodePeerDump(target), message => decodeOvpn(message, family)?.peer);
  if (!isProblem(peers) && peers.length > 0) {
    return `device ${device} is in use by another process: it has ${peers.length} peers`;
  }
  const problem = route.change(encodeDeleteLink(link.index));
  if (problem === undefined || problem.errno === ENODEV) return undefined;
  return `device ${device} is left from before and cannot be deleted: ${problem.text}`;
}

function findLink(route: KernelRequests, device: string): Link | string | undefined {
  const link = route.get(encodeGetLink(device), decodeLink);
  if (!isProblem(link)) return link;
  return link.errno === ENODEV ? undefined : `device ${device}: ${link.text}`;
}

class Opener {
  readonly #options: GroundOptions;
  readonly #generic: KernelRequests;
  readonly #route: KernelRequests;
  #index: number | undefined;
  #notices: KernelSocket | undefined;

  constructor(options: GroundOptions) {
    this.#options = options;
    this.#generic = new KernelRequests(options.openNetlink, NETLINK_GENERIC);
    this.#route = new KernelRequests(options.openNetlink, NETLINK_ROUTE);
  }

  /** A string says why not. */
  open(): KernelGround | string {
    const { device, mode } = this.#options;
    const family = this.#generic.get(encodeGetFamily(OVPN_FAMILY), decodeFamily);
    if (isProblem(family)) {
      return family.errno === ENOENT ? 'the kernel has no module ovpn' : `module ovpn: ${family.text}`;
    }
    const group = family.groups.get(OVPN_GROUP_PEERS);
    if (group === undefined) return 'the module ovpn of this kernel gives no notifications';
    const nowhere = { family: family.id, ifindex: IFINDEX_NONE };
    const denied = this.#generic.change(encodePeerGet(nowhere, 0));
    if (denied?.errno === EPERM) return NO_PERMISSION;
    const hasTxId = this.#takesTxId(family.id);
    const ifindex = this.#makeDevice(family.id);
    if (typeof ifindex === 'string') return ifindex;
    const target = { family: family.id, ifindex };
    const missing = this.#tryCiphers(target);
    if (missing !== undefined) return missing;
    const notices = this.#join(group);
    if (typeof notices === 'string') return notices;
    const [generic, route] = [this.#generic, this.#route];
    return { device, mode, target, generic, route, notices, hasTxId, close: () => this.abandon() };
  }

  abandon(): string | undefined {
    const problem = this.#index === undefined ? undefined : this.#route.change(encodeDeleteLink(this.#index));
    this.#index = undefined;
    this.#notices?.close();
    this.#generic.close();
    this.#route.close();
    return problem === undefined || problem.errno === ENODEV ? undefined : problem.text;
  }

  #takesTxId(family: number): boolean {
    const policies = new PolicyTable();
    // Also when the kernel answers with an error: then it is an old one.
    this.#generic.dump(encodeGetPolicy(family, OVPN_COMMAND.peerNew), message => policies.add(message));
    return policies.takes(OVPN_COMMAND.peerNew, [OVPN_TOP.peer.number, OVPN_PEER.txId.number]);
  }

  #makeDevice(family: number): number | string {
    const { device, mode } = this.#options;
    const inTheWay = removeLeftover(device, this.#generic, this.#route, family);
    if (inTheWay !== undefined) return inTheWay;
    const problem = this.#route.changeOnce(encodeNewOvpnLink(device, mode));
    if (problem?.errno === EPERM) return NO_PERMISSION;
    if (problem !== undefined && !problem.isUnsure) return `device ${device}: ${problem.text}`;
    const link = findLink(this.#route, device);
    if (link === undefined || typeof link === 'string' || link.kind !== OVPN_LINK_KIND) {
      // The name was free a moment ago: what has it is ours.
      if (typeof link === 'string') this.#route.change(encodeDeleteLinkByName(device));
      return `device ${device}: ${problem?.text ?? 'gone as soon as it was made'}`;
    }
    this.#index = link.index;
    return link.index;
  }

  /** Each algorithm once, in the order of preference; what the probe made is gone afterwards. */
  #tryCiphers(target: OvpnTarget): string | undefined {
    const socket = this.#options.openProbeSocket();
    if (typeof socket === 'string') return `no socket to try ciphers with: ${socket}`;
    const peer: OvpnPeerConfig = {
      id: PROBE_PEER_ID,
      remote: PROBE_REMOTE,
      ...(this.#options.mode === 'mp' && { vpnIp4: PROBE_VPN_IP }),
    };
    const problem = this.#generic.changeOnce(encodePeerNew(target, peer, socket.fd));
    const missing = problem === undefined ? this.#missingCipher(target) : peerRefused(problem);
    if (problem === undefined) this.#generic.change(encodePeerDel(target, PROBE_PEER_ID));
    socket.close();
    return missing;
  }

  #missingCipher(target: OvpnTarget): string | undefined {
    const tried = new Set<number>();
    for (const cipher of this.#options.ciphers) {
      const algorithm = OVPN_CIPHER[cipher];
      if (tried.has(algorithm)) continue;
      tried.add(algorithm);
      const direction = { key: new Uint8Array(CIPHER_KEY_LENGTH[cipher]), nonceTail: new Uint8Array(8) };
      const key = { peerId: PROBE_PEER_ID, slot: 'primary', keyId: 0, cipher } as const;
      const problem = this.#generic.change(
        encodeKeyNew(target, { ...key, encrypt: direction, decrypt: direction }),
      );
      if (problem === undefined) continue;
      // The peer is there, so it is the algorithm that is not.
      if (problem.errno === ENOENT) return `the kernel has no ${ALGORITHMS[algorithm]}`;
      return `${cipher} does not work in the kernel: ${problem.text}`;
    }
    return undefined;
  }

  #join(group: number): KernelSocket | string {
    const socket = this.#options.openNetlink(NETLINK_GENERIC, NOTICE_BUFFER_BYTES);
    if (isSocketFailure(socket)) return `no socket for notifications: ${socket.text}`;
    this.#notices = socket;
    const failure = socket.join(group);
    return failure === undefined ? socket : `no notifications: ${failure.text}`;
  }
}

function peerRefused(problem: KernelProblem): string {
  if (problem.errno === EPERM) return NO_PERMISSION;
  const what = isUnsupported(problem) ? 'the module ovpn is too old' : 'the module ovpn takes no peer';
  return `${what}: ${problem.text}`;
}
