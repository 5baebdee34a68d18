// SPDX-License-Identifier: Apache-2.0
// Generic netlink (linux/genetlink.h): the header of its messages, and the controller that tells a family's number,
// its multicast groups and what it accepts. No sockets.
//
//   genlmsghdr  0 command u8 | 1 version u8 | 2 reserved u16 | 4 attributes

import {
  Attributes,
  attributesOf,
  HOST_LITTLE,
  type Message,
  MessageWriter,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
} from './message.ts';

export const NETLINK_GENERIC = 16;
export const GENERIC_HEADER_LENGTH = 4;
const GENERIC_VERSION = 1;

/** The controller's own family. */
export const GENL_ID_CTRL = 16;
export const CTRL_CMD_NEWFAMILY = 1;
export const CTRL_CMD_GETFAMILY = 3;
export const CTRL_CMD_GETPOLICY = 10;
const CTRL_VERSION = 1;

export const CTRL_ATTR_FAMILY_ID = 1;
export const CTRL_ATTR_FAMILY_NAME = 2;
export const CTRL_ATTR_MCAST_GROUPS = 7;
export const CTRL_ATTR_POLICY = 8;
export const CTRL_ATTR_OP_POLICY = 9;
export const CTRL_ATTR_OP = 10;
export const CTRL_ATTR_MCAST_GRP_NAME = 1;
export const CTRL_ATTR_MCAST_GRP_ID = 2;
export const CTRL_ATTR_POLICY_DO = 1;
export const NL_POLICY_TYPE_ATTR_POLICY_IDX = 8;

/** A request of a family's own, header written, attributes to follow. `flags` beside NLM_F_REQUEST. */
export function genericWriter(
  family: number,
  command: number,
  flags: number,
  little: boolean = HOST_LITTLE,
  version: number = GENERIC_VERSION,
): MessageWriter {
  return new MessageWriter(family, NLM_F_REQUEST | flags, little).u8(command).u8(version).u16(0);
}

/** The command of a message of a generic family; undefined when it is too short to have one. */
export function commandOf(message: Message): number | undefined {
  return message.body.length < GENERIC_HEADER_LENGTH ? undefined : message.body[0];
}

export function genericAttributes(message: Message): Attributes {
  return attributesOf(message, GENERIC_HEADER_LENGTH);
}

/** A family as the running kernel has it: the numbers are handed out when a module is loaded. */
export interface Family {
  readonly id: number;
  readonly name: string;
  /** Multicast groups by name. */
  readonly groups: ReadonlyMap<string, number>;
}

/** Asks for a family by name, which also loads the module that has it; ENOENT when there is none. */
export function encodeGetFamily(name: string, little: boolean = HOST_LITTLE): Uint8Array {
  return genericWriter(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK, little, CTRL_VERSION)
    .textAttribute(CTRL_ATTR_FAMILY_NAME, name)
    .finish();
}

/** Undefined when the message describes no family. */
export function decodeFamily(message: Message): Family | undefined {
  if (message.type !== GENL_ID_CTRL || commandOf(message) !== CTRL_CMD_NEWFAMILY) return undefined;
  const attributes = genericAttributes(message);
  const id = attributes.uint(CTRL_ATTR_FAMILY_ID);
  const name = attributes.text(CTRL_ATTR_FAMILY_NAME);
  if (id === undefined || name === undefined) return undefined;
  const groups = new Map<string, number>();
  // An array: the attribute types are 1, 2, 3...
  for (const [, bytes] of attributes.nested(CTRL_ATTR_MCAST_GROUPS)?.entries() ?? []) {
    const group = new Attributes(bytes, message.little);
    const groupName = group.text(CTRL_ATTR_MCAST_GRP_NAME);
    const groupId = group.uint(CTRL_ATTR_MCAST_GRP_ID);
    if (groupName !== undefined && groupId !== undefined) groups.set(groupName, groupId);
  }
  return { id, name, groups };
}

/** Asks which attributes `command` of a family takes: a dump, read into a PolicyTable. */
export function encodeGetPolicy(family: number, command: number, little: boolean = HOST_LITTLE): Uint8Array {
  return genericWriter(GENL_ID_CTRL, CTRL_CMD_GETPOLICY, NLM_F_DUMP, little, CTRL_VERSION)
    .u16Attribute(CTRL_ATTR_FAMILY_ID, family)
    .u32Attribute(CTRL_ATTR_OP, command)
    .finish();
}

/**
 * What a policy dump says, one message at a time:
 *   CTRL_ATTR_OP_POLICY { command { CTRL_ATTR_POLICY_DO number of the policy } }
 *   CTRL_ATTR_POLICY { number of a policy { attribute { NL_POLICY_TYPE_ATTR_POLICY_IDX policy inside a nest } } }
 */
export class PolicyTable {
  readonly #ofCommand = new Map<number, number>();
  /** By policy number: attributes, each with the policy of what is nested in it. */
  readonly #policies = new Map<number, Map<number, number | undefined>>();

  add(message: Message): void {
    if (message.type !== GENL_ID_CTRL || commandOf(message) !== CTRL_CMD_GETPOLICY) return;
    const { little } = message;
    const attributes = genericAttributes(message);
    for (const [command, bytes] of attributes.nested(CTRL_ATTR_OP_POLICY)?.entries() ?? []) {
      const policy = new Attributes(bytes, little).uint(CTRL_ATTR_POLICY_DO);
      if (policy !== undefined) this.#ofCommand.set(command, policy);
    }
    for (const [policy, bytes] of attributes.nested(CTRL_ATTR_POLICY)?.entries() ?? []) {
      for (const [attribute, inside] of new Attributes(bytes, little).entries()) {
        const nested = new Attributes(inside, little).uint(NL_POLICY_TYPE_ATTR_POLICY_IDX);
        this.#policy(policy).set(attribute, nested);
      }
    }
  }

  /** Whether `command` takes the attribute at the end of `path`, each but the last one a nest. */
  takes(command: number, path: readonly number[]): boolean {
    let policy = this.#ofCommand.get(command);
    for (const [i, attribute] of path.entries()) {
      const attributes: ReadonlyMap<number, number | undefined> | undefined =
        policy === undefined ? undefined : this.#policies.get(policy);
      if (attributes?.has(attribute) !== true) return false;
      if (i < path.length - 1) policy = attributes.get(attribute);
    }
    return path.length > 0;
  }

  #policy(number: number): Map<number, number | undefined> {
    let policy = this.#policies.get(number);
    if (policy === undefined) {
      policy = new Map();
      this.#policies.set(number, policy);
    }
    return policy;
  }
}
