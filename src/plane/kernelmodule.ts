// SPDX-License-Identifier: Apache-2.0
// The commands of the `ovpn` family on one device, each answered before it returns. No state: what should be there
// is the caller's knowledge.

import type { KeySlot, PlaneKey } from '../core/plane.ts';
import {
  decodeOvpn,
  encodeKeyDel,
  encodeKeyGet,
  encodeKeyNew,
  encodeKeySwap,
  encodePeerDel,
  encodePeerDump,
  encodePeerGet,
  encodePeerNew,
  encodePeerSet,
  type OvpnPeer,
  type OvpnPeerConfig,
  type OvpnTarget,
} from '../netlink/ovpn.ts';
import { EEXIST, ENODEV, ENOENT, type KernelProblem, type KernelRequests } from './kernelrequests.ts';

export class OvpnModule {
  readonly #generic: KernelRequests;
  readonly #target: OvpnTarget;

  constructor(generic: KernelRequests, target: OvpnTarget) {
    this.#generic = generic;
    this.#target = target;
  }

  /** After a failure the kernel has no such peer. */
  addPeer(config: OvpnPeerConfig, socketFd: number): KernelProblem | undefined {
    const add = (): KernelProblem | undefined =>
      this.#generic.changeOnce(encodePeerNew(this.#target, config, socketFd));
    let problem = add();
    // None that is wanted: its deletion must have failed.
    if (problem?.errno === EEXIST && this.deletePeer(config.id) === undefined) problem = add();
    if (problem?.isUnsure === true) this.deletePeer(config.id);
    return problem;
  }

  setPeer(change: OvpnPeerConfig): KernelProblem | undefined {
    return this.#generic.change(encodePeerSet(this.#target, change));
  }

  /** undefined: the kernel has no such peer any more. */
  deletePeer(peerId: number): KernelProblem | undefined {
    const problem = this.#generic.change(encodePeerDel(this.#target, peerId));
    return problem?.errno === ENOENT || problem?.errno === ENODEV ? undefined : problem;
  }

  peer(peerId: number): OvpnPeer | KernelProblem {
    const { family } = this.#target;
    return this.#generic.get(
      encodePeerGet(this.#target, peerId),
      message => decodeOvpn(message, family)?.peer,
    );
  }

  peers(): OvpnPeer[] | KernelProblem {
    const { family } = this.#target;
    return this.#generic.dump(encodePeerDump(this.#target), message => decodeOvpn(message, family)?.peer);
  }

  /** Sent once: the kernel starts packet ids, and so nonces, anew with every key it is given. */
  addKey(key: Extract<PlaneKey, { format: 'aead' }>): KernelProblem | undefined {
    const message = encodeKeyNew(this.#target, key);
    const problem = this.#generic.changeOnce(message);
    message.fill(0);
    return problem;
  }

  /** The id of the key in a slot; ENOENT when the slot is empty or the peer gone. */
  keyIn(peerId: number, slot: KeySlot): number | KernelProblem {
    const { family } = this.#target;
    return this.#generic.get(
      encodeKeyGet(this.#target, peerId, slot),
      message => decodeOvpn(message, family)?.key?.keyId,
    );
  }

  swapKeys(peerId: number): KernelProblem | undefined {
    return this.#generic.changeOnce(encodeKeySwap(this.#target, peerId));
  }

  deleteKey(peerId: number, slot: KeySlot): KernelProblem | undefined {
    return this.#generic.change(encodeKeyDel(this.#target, peerId, slot));
  }

  close(): void {
    this.#generic.close();
  }
}
